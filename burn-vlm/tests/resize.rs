//! More token ids than a checkpoint has: on devices with and without gradients, with tied heads and heads of their own, in
//! every element type.

mod common;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{LoadOptions, Pretrained, StoreDtype};
use burn_vlm::init::Scope;
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel};
use common::tiny::{VOCABULARY, gemma2, llama, mistral, qwen2};
use common::{autodiff_device, values};

/// Rows that are added.
const NEW: usize = 3;
/// Means, relative to the largest of the table: a sum of some fifty f32 in another order.
const MEAN_TOLERANCE: f32 = 1e-6;
/// The same where the mean is rounded to bf16, which keeps 8 bits.
const BF16_TOLERANCE: f32 = 1.0 / 256.0;

fn untied(mut config: LanguageConfig) -> LanguageConfig {
    match &mut config {
        LanguageConfig::Gemma2(config) => config.tie_word_embeddings = false,
        LanguageConfig::Llama(config) => config.tie_word_embeddings = false,
        LanguageConfig::Mistral(config) => config.tie_word_embeddings = false,
        LanguageConfig::Qwen2(config) => config.tie_word_embeddings = false,
    }
    config
}

fn tied(config: LanguageConfig) -> LanguageConfig {
    let mut config = untied(config);
    match &mut config {
        LanguageConfig::Gemma2(config) => config.tie_word_embeddings = true,
        LanguageConfig::Llama(config) => config.tie_word_embeddings = true,
        LanguageConfig::Mistral(config) => config.tie_word_embeddings = true,
        LanguageConfig::Qwen2(config) => config.tie_word_embeddings = true,
    }
    config
}

/// Every backbone, tied and untied.
fn configs() -> Vec<LanguageConfig> {
    let kinds = [gemma2(), llama(), mistral(), qwen2()];
    kinds.into_iter().flat_map(|config| [tied(config.clone()), untied(config)]).collect()
}

fn model(config: &LanguageConfig, device: &Device) -> LanguageModel {
    config.init_with(&Scope::new(1, device)).unwrap()
}

/// The embedding table, and the head `[tokens, hidden]` where it has one of its own.
fn tables(model: &LanguageModel) -> Vec<(&'static str, Param<Tensor<2>>)> {
    let (embed, head) = match model {
        LanguageModel::Gemma2(model) => (&model.model.embed_tokens, &model.lm_head),
        LanguageModel::Llama(model) => (&model.model.embed_tokens, &model.lm_head),
        LanguageModel::Mistral(model) => (&model.model.embed_tokens, &model.lm_head),
        LanguageModel::Qwen2(model) => (&model.model.embed_tokens, &model.lm_head),
    };
    let mut tables = vec![("embeddings", embed.weight.clone())];
    tables.extend(head.as_ref().map(|head| ("head", head.weight.clone())));
    tables
}

/// The table's vectors, one a token.
fn vectors(name: &str, table: Tensor<2>) -> Vec<Vec<f32>> {
    let table = if name == "head" { table.transpose() } else { table };
    let width = table.dims()[1];
    values(table.cast(DType::F32)).chunks(width).map(<[f32]>::to_vec).collect()
}

fn assert_grown(name: &str, old: Tensor<2>, new: Tensor<2>, tolerance: f32) {
    assert_eq!(old.dtype(), new.dtype(), "{name}");
    let (old, new) = (vectors(name, old), vectors(name, new));
    assert_eq!(new.len(), VOCABULARY + NEW, "{name}");
    assert_eq!(new[..VOCABULARY], old[..], "{name}: what was there stays");
    let largest = old.iter().flatten().fold(0.0_f32, |most, value| most.max(value.abs()));
    for row in &new[VOCABULARY..] {
        for (column, found) in row.iter().enumerate() {
            let mean = old.iter().map(|row| row[column]).sum::<f32>() / VOCABULARY as f32;
            assert!((found - mean).abs() <= tolerance * largest, "{name}, column {column}: {found}, mean {mean}");
        }
    }
}

#[test]
fn new_rows_are_the_mean_with_and_without_gradients() {
    for device in [Device::flex(), autodiff_device()] {
        for config in configs() {
            let mut model = model(&config, &device);
            let before = tables(&model);
            assert_eq!(before.len(), 2 - usize::from(config.tie_word_embeddings()));
            model.resize_token_embeddings(VOCABULARY + NEW);
            assert_eq!(model.config(), config.clone().with_vocab_size(VOCABULARY + NEW));
            for ((name, old), (_, new)) in before.into_iter().zip(tables(&model)) {
                assert_grown(name, old.val(), new.val(), MEAN_TOLERANCE);
                assert_eq!(new.val().is_require_grad(), device.is_autodiff(), "{name}");
            }
            let grown = tables(&model);
            model.resize_token_embeddings(VOCABULARY);
            for ((name, old), (_, new)) in grown.into_iter().zip(tables(&model)) {
                assert_eq!(values(old.val()), values(new.val()), "{name}: fewer rows change nothing");
            }
        }
    }
}

#[test]
fn a_frozen_table_stays_frozen_and_a_later_training_model_is_trainable() {
    for config in configs() {
        let mut frozen = model(&config, &autodiff_device()).no_grad();
        frozen.resize_token_embeddings(VOCABULARY + NEW);
        assert!(tables(&frozen).iter().all(|(_, table)| !table.val().is_require_grad()));
        // As it is loaded where there are no gradients and taken to where there are.
        let mut plain = model(&config, &Device::flex());
        plain.resize_token_embeddings(VOCABULARY + NEW);
        let trained = plain.train();
        assert!(tables(&trained).iter().all(|(_, table)| table.val().is_require_grad()));
    }
}

/// Old and new tokens are read and predicted, so that every table's old and new rows have gradients.
#[test]
fn gradients_reach_old_and_new_rows() {
    let device = autodiff_device();
    let new = (VOCABULARY + NEW - 1) as i64;
    for config in configs() {
        let mut model = model(&config, &device);
        model.resize_token_embeddings(VOCABULARY + NEW);
        let ids = Tensor::<2, Int>::from_data(TensorData::new(vec![1_i64, new, 2, new], [1, 4]), &device);
        let input = AttentionInput::contiguous();
        let hidden = model.forward(model.embed(ids), &input, None).unwrap();
        let rows = Tensor::<1, Int>::from_data([0_i64, 1, 2], &device);
        let targets = Tensor::<1, Int>::from_data([new, 2, new], &device);
        let gradients = model.target_losses(hidden, rows, targets).sum().backward();
        for (name, table) in tables(&model) {
            let gradient = table.val().grad(&gradients).unwrap_or_else(|| panic!("no gradient of the {name}"));
            let gradient = vectors(name, gradient);
            for row in [2, new as usize] {
                assert!(gradient[row].iter().any(|value| *value != 0.0), "{name}: row {row} has no gradient");
            }
        }
    }
}

#[test]
fn half_precision_stays_half_precision() {
    for config in configs() {
        let folder = tempfile::tempdir().unwrap();
        model(&config, &Device::flex()).save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        for device in [Device::flex(), autodiff_device()] {
            let options = LoadOptions { dtype: StoreDtype::BF16, ..Default::default() };
            let mut model = LanguageModel::load_pretrained_with(folder.path(), &device, &options).unwrap();
            let before = tables(&model);
            model.resize_token_embeddings(VOCABULARY + NEW);
            for ((name, old), (_, new)) in before.into_iter().zip(tables(&model)) {
                assert_eq!(new.val().dtype(), DType::BF16, "{name}");
                assert_grown(name, old.val(), new.val(), BF16_TOLERANCE);
            }
        }
    }
}
