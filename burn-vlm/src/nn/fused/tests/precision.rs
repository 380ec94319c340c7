//! bf16 activations over f32 parameters, and pictures in chunks: whole models.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::*;
use crate::language::{AttentionInput, Gemma2Config, LanguageConfig};
use crate::nn::Precision;
use crate::vision::{SiglipVisionConfig, VisionConfig};
use crate::vlm::{FeatureLayer, SelectStrategy, Vlm, VlmConfig, VlmInput};

/// bf16 keeps eight bits of mantissa, and its errors add up over the layers.
const LOSS: f64 = 2e-2;
/// Gradients: their deviation as a part of their norm. Signs of small ones are rounding.
const GRADIENTS: f64 = 0.1;
/// Gradients that are zero but for rounding (of keys' biases, say): as a part of the largest norm of all parameters.
const NOISE: f64 = 2e-3;
const IMAGE_TOKEN: i64 = 31;

fn vlm() -> Vlm {
    let vision = SiglipVisionConfig {
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        image_size: 16,
        patch_size: 8,
        vision_use_head: false,
        ..SiglipVisionConfig::default()
    };
    let text = Gemma2Config {
        vocab_size: 32,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 64,
        initializer_range: 0.1,
        query_pre_attn_scalar: 8.0,
        ..Gemma2Config::default()
    };
    let config = VlmConfig {
        vision_feature_layer: FeatureLayer::One(-1),
        vision_feature_select_strategy: SelectStrategy::Full,
        ..VlmConfig::new(VisionConfig::Siglip(vision), LanguageConfig::Gemma2(text), IMAGE_TOKEN)
    };
    config.init(&device()).unwrap()
}

/// Losses and the gradients of all parameters, which must be f32.
fn train(model: &Vlm) -> (Vec<f32>, Vec<Vec<f32>>) {
    let row = |first: i64| (0..4).map(|_| IMAGE_TOKEN).chain((0..5).map(move |i| (first + 3 * i) % 30));
    let ids: Vec<i64> = row(1).chain(row(2)).chain(row(3)).collect();
    let mut input = VlmInput::new(Tensor::from_data(TensorData::new(ids, [3, 9]), &device()));
    input.attention = AttentionInput::contiguous();
    input.features = Some(model.encode_images(constant(random([3, 3, 16, 16], 1))).unwrap());
    let rows: Vec<i64> = (0..3).flat_map(|row| (4..8).map(move |at| row * 9 + at)).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [12]), &device());
    let targets: Vec<i64> = (0..12).map(|i| i * 5 % 30).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [12]), &device());
    let losses = model.target_losses(&input, rows, targets).unwrap();
    assert_eq!(losses.dtype(), DType::F32);
    struct Collect<'a>(&'a Gradients, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = param.val().grad(self.0) {
                assert_eq!(grad.dtype(), DType::F32);
                self.1.push(to_vec(grad));
            }
        }
    }
    let grads = losses.clone().mean().backward();
    let mut collect = Collect(&grads, Vec::new());
    model.visit(&mut collect);
    (to_vec(losses), collect.1)
}

#[test]
fn bf16_activations_train_f32_parameters() {
    let mut model = vlm();
    let (full_losses, full) = train(&model);
    model.set_precision(Precision::Bf16);
    let (half_losses, half) = train(&model);
    assert_ne!(full_losses, half_losses, "the switch does something");
    assert_close(&half_losses, &full_losses, LOSS, "losses");
    assert_eq!(full.len(), half.len());
    let squares = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x) * f64::from(x)).sum::<f64>();
    let largest = full.iter().map(|grad| squares(&mut grad.iter().copied()).sqrt()).fold(0.0, f64::max);
    for (index, (half, full)) in half.iter().zip(&full).enumerate() {
        let deviation = squares(&mut half.iter().zip(full).map(|(half, full)| half - full)).sqrt();
        let norm = squares(&mut full.iter().copied()).sqrt();
        let allowed = GRADIENTS * norm + NOISE * largest;
        assert!(deviation <= allowed, "parameter {index}: {deviation} of {norm}, largest {largest}");
    }
}

#[test]
fn bf16_and_gradient_checkpointing_go_together() {
    let mut model = vlm();
    model.set_precision(Precision::Bf16);
    let plain = train(&model);
    model.set_gradient_checkpointing(true);
    assert!(plain == train(&model));
}

#[test]
fn pictures_in_chunks_equal_all_at_once() {
    let mut model = vlm();
    let (losses, gradients) = train(&model);
    for chunk in [1, 2, 5] {
        model.images_per_chunk = Some(chunk);
        let (chunk_losses, chunk_gradients) = train(&model);
        assert_close(&chunk_losses, &losses, SAME_FORMULA, "losses");
        for (chunked, whole) in chunk_gradients.iter().zip(&gradients) {
            assert_close(chunked, whole, SAME_FORMULA, "gradients");
        }
    }
}

#[test]
fn packed_samples_train_as_samples_on_their_own() {
    let model = vlm().language_model;
    let ids: Vec<i64> = (0..12).map(|i| i * 7 % 30).collect();
    let int =
        |values: Vec<i64>, shape: [usize; 2]| Tensor::<2, Int>::from_data(TensorData::new(values, shape), &device());
    let losses = |ids: Tensor<2, Int>, input: &AttentionInput| {
        let [batch, tokens] = ids.dims();
        let hidden = model.forward(model.embed(ids.clone()), input, None).unwrap();
        let rows: Vec<i64> = (0..(batch * tokens) as i64).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch * tokens]), &device());
        to_vec(model.target_losses(hidden, rows, ids.reshape([batch * tokens])))
    };
    let alone = losses(int(ids.clone(), [3, 4]), &AttentionInput::contiguous());
    let segments = int((0..12).map(|i| i / 4).collect(), [1, 12]);
    let positions = int((0..12).map(|i| i % 4).collect(), [1, 12]);
    let packed = losses(int(ids, [1, 12]), &AttentionInput::packed(segments, positions));
    assert_close(&packed, &alone, SAME_FORMULA, "losses");
}
