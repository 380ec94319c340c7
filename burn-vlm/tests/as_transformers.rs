//! What transformers does with a folder's files, and we do: a head beside tied embeddings, biases of Gemma 2, null, values that are no
//! numbers, keys of LLaVA's original layout.

#![cfg(feature = "flex")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{LoadOptions, Pretrained, StoreDtype, TensorSource, parameters};
use burn_vlm::init::Scope;
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel};
use burn_vlm::vlm::Vlm;
use common::tiny::{VOCABULARY, gemma2, llama, mistral, qwen2};
use common::{FORWARD_TOLERANCE, fixtures, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(folder: &Path) -> Tensors {
    let source = TensorSource::open(folder).unwrap();
    let of = |(key, tensor): (&String, &burn_vlm::checkpoint::StoredTensor)| {
        (key.clone(), (tensor.shape.clone(), source.read_f32(key, tensor).unwrap()))
    };
    source.tensors().iter().map(of).collect()
}

fn write(folder: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(key, (shape, values))| (key, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(key, shape, data)| ((*key).clone(), TensorView::new(Dtype::F32, (*shape).clone(), data).unwrap()));
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, &folder.join("model.safetensors")).unwrap();
    // The weights are meant to be others now.
    burn_vlm_base::files::remove_if_there(&folder.join("seal.json")).unwrap();
}

/// Changes a folder's config.
fn change(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

fn logits(model: &LanguageModel, device: &Device) -> (Vec<f32>, Vec<f32>) {
    let ids = Tensor::<2, Int>::from_data(TensorData::new(vec![1_i64, 7, 3, 9], [1, 4]), device);
    let hidden = model.forward(model.embed(ids), &AttentionInput::contiguous(), None).unwrap();
    (values(hidden.clone()), values(model.head(hidden)))
}

fn tie(config: LanguageConfig) -> LanguageConfig {
    let mut json = serde_json::to_value(config).unwrap();
    json["tie_word_embeddings"] = true.into();
    serde_json::from_value(json).unwrap()
}

/// As transformers 5.24: the head in the file counts, whatever the config says; the product is worked out here.
#[test]
fn a_head_beside_tied_embeddings_is_obeyed() {
    let device = Device::flex();
    for config in [gemma2(), llama(), mistral(), qwen2()].map(tie) {
        let folder = tempfile::tempdir().unwrap();
        let model = config.init_with(&Scope::new(1, &device)).unwrap();
        model.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        let mut tensors = read(folder.path());
        assert!(!tensors.contains_key("lm_head.weight"));
        let (shape, table) = tensors["model.embed_tokens.weight"].clone();
        // The same values are no head of its own.
        tensors.insert("lm_head.weight".to_owned(), (shape.clone(), table.clone()));
        write(folder.path(), &tensors);
        let same = LanguageModel::load_pretrained(folder.path(), &device).unwrap();
        assert!(same.config().tie_word_embeddings());
        assert_eq!(logits(&same, &device), logits(&model, &device));
        let head: Vec<f32> = table.iter().enumerate().map(|(at, value)| value * 0.5 + (at % 7) as f32 * 0.01).collect();
        tensors.insert("lm_head.weight".to_owned(), (shape.clone(), head.clone()));
        write(folder.path(), &tensors);
        let own = LanguageModel::load_pretrained(folder.path(), &device).unwrap();
        assert!(!own.config().tie_word_embeddings());
        let (hidden, found) = logits(&own, &device);
        let width = shape[1];
        let largest = found.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (position, state) in hidden.chunks(width).enumerate() {
            for (token, row) in head.chunks(width).enumerate() {
                let expected: f64 = state.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let found = found[position * VOCABULARY + token];
                let off = (f64::from(found) - expected).abs();
                assert!(off <= FORWARD_TOLERANCE * f64::from(largest), "{found} {expected}");
            }
        }
        // What is written says so, and stays.
        let again = tempfile::tempdir().unwrap();
        own.save_pretrained(again.path(), StoreDtype::F32).unwrap();
        let again = LanguageModel::load_pretrained(again.path(), &device).unwrap();
        assert_eq!(logits(&again, &device), logits(&own, &device));
    }
}

#[test]
fn a_head_beside_tied_embeddings_of_a_whole_model_is_obeyed() {
    let device = Device::flex();
    let from = fixtures().join("llava_next_siglip_gemma2");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(from.join("config.json"), folder.path().join("config.json")).unwrap();
    let mut tensors = read(&from);
    let key = tensors.keys().find(|key| key.ends_with("embed_tokens.weight")).unwrap().clone();
    let (shape, mut head) = tensors[&key].clone();
    head.iter_mut().for_each(|value| *value *= 2.0);
    tensors.insert("language_model.lm_head.weight".to_owned(), (shape, head));
    write(folder.path(), &tensors);
    let (before, after) =
        (Vlm::load_pretrained(&from, &device).unwrap(), Vlm::load_pretrained(folder.path(), &device).unwrap());
    assert!(before.config.text_config.tie_word_embeddings() && !after.config.text_config.tie_word_embeddings());
    let (_, ours) = logits(&after.language_model, &device);
    let (_, theirs) = logits(&before.language_model, &device);
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - 2.0 * theirs).abs() <= 1e-4 * theirs.abs().max(1.0), "{ours} {theirs}");
    }
}

/// Biases of zero change nothing; a bias of the output projection is added behind the attention.
#[test]
fn gemma_2_has_biases_where_its_config_says_so() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let model = gemma2().init_with(&Scope::new(1, &device)).unwrap();
    model.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
    change(folder.path(), |config| config["attention_bias"] = true.into());
    let mut tensors = read(folder.path());
    let layers = tensors.keys().filter(|key| key.ends_with("q_proj.weight")).count();
    for layer in 0..layers {
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            let name = format!("model.layers.{layer}.self_attn.{part}");
            let rows = tensors[&format!("{name}.weight")].0[0];
            tensors.insert(format!("{name}.bias"), (vec![rows], vec![0.0; rows]));
        }
    }
    write(folder.path(), &tensors);
    let biased = LanguageModel::load_pretrained(folder.path(), &device).unwrap();
    assert_eq!(parameters(&biased).len(), parameters(&model).len() + 4 * layers);
    assert_eq!(logits(&biased, &device), logits(&model, &device));
    for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
        let mut tensors = tensors.clone();
        let key = format!("model.layers.0.self_attn.{part}.bias");
        let values = &mut tensors.get_mut(&key).unwrap().1;
        values.iter_mut().enumerate().for_each(|(at, value)| *value = 0.5 + at as f32);
        write(folder.path(), &tensors);
        let changed = LanguageModel::load_pretrained(folder.path(), &device).unwrap();
        assert_ne!(logits(&changed, &device), logits(&model, &device), "{part}");
    }
    // A value's bias passes through the attention, whose weights have the sum 1: it is the output's bias times its matrix.
    let mut shifted = tensors.clone();
    let (shape, matrix) = tensors["model.layers.0.self_attn.o_proj.weight"].clone();
    let (kv, heads, width) = (tensors["model.layers.0.self_attn.v_proj.bias"].0[0], shape[1], 8);
    let bias: Vec<f32> = (0..kv).map(|at| 0.1 * at as f32 - 0.3).collect();
    shifted.get_mut("model.layers.0.self_attn.v_proj.bias").unwrap().1 = bias.clone();
    write(folder.path(), &shifted);
    let by_value = logits(&LanguageModel::load_pretrained(folder.path(), &device).unwrap(), &device).1;
    // Each key and value head serves as many query heads.
    let repeated = |at: usize| bias[at / width / (heads / kv) * width + at % width];
    let moved = matrix.chunks(heads).map(|row| row.iter().enumerate().map(|(at, weight)| weight * repeated(at)).sum());
    shifted = tensors.clone();
    shifted.get_mut("model.layers.0.self_attn.o_proj.bias").unwrap().1 = moved.collect();
    write(folder.path(), &shifted);
    let by_output = logits(&LanguageModel::load_pretrained(folder.path(), &device).unwrap(), &device).1;
    let largest = by_value.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for (a, b) in by_value.iter().zip(&by_output) {
        assert!((a - b).abs() <= 1e-4 * largest, "{a} {b}");
    }
}

/// A null where a key has a default is the default; where null means something, it means it.
#[test]
fn null_is_absent_in_a_config() {
    let config = |text: Value| {
        let json = json!({ "model_type": "llava", "projector_hidden_act": null, "vision_feature_select_strategy": null,
            "multimodal_projector_bias": null, "image_token_index": null, "vision_config": null, "text_config": text });
        Vlm::read_config(json, Path::new("m"))
    };
    let read = config(json!({ "model_type": "llama", "mlp_bias": null, "attention_bias": null, "rms_norm_eps": null,
        "hidden_act": null, "rope_scaling": null, "eos_token_id": null }))
    .unwrap();
    let plain = Vlm::read_config(json!({ "model_type": "llava" }), Path::new("m")).unwrap();
    let LanguageConfig::Llama(llama) = &read.text_config else { panic!() };
    assert_eq!(llama.eos_token_id, None);
    assert!(!llama.attention_bias && !llama.mlp_bias);
    assert_eq!((read.vision_config, read.projector_hidden_act), (plain.vision_config, plain.projector_hidden_act));
    let read =
        config(json!({ "model_type": "gemma2", "final_logit_softcapping": null, "attention_bias": null })).unwrap();
    let LanguageConfig::Gemma2(gemma) = &read.text_config else { panic!() };
    assert_eq!((gemma.final_logit_softcapping, gemma.attn_logit_softcapping), (None, Some(50.0)));
    let error =
        config(json!({ "model_type": "llama", "mlp_bias": null, "hidden_size": "wide" })).unwrap_err().to_string();
    assert!(error.contains("`text_config.hidden_size`"), "{error}");
}

#[test]
fn values_that_are_no_numbers_are_told_when_they_are_loaded() {
    let device = Device::flex();
    for (value, dtype, word) in [
        (f32::NAN, StoreDtype::F32, "damaged"),
        (f32::NEG_INFINITY, StoreDtype::BF16, "damaged"),
        (1e6, StoreDtype::F16, "float16"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let model = qwen2().init_with(&Scope::new(1, &device)).unwrap();
        model.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        let mut tensors = read(folder.path());
        let key = "model.layers.1.mlp.up_proj.weight";
        tensors.get_mut(key).unwrap().1[5] = value;
        write(folder.path(), &tensors);
        let options = LoadOptions { dtype, ..LoadOptions::default() };
        let error = LanguageModel::load_pretrained_with(folder.path(), &device, &options).unwrap_err().to_string();
        for word in [key, "1 of 768 values", "model.safetensors", word] {
            assert!(error.contains(word), "{word}: {error}");
        }
        let options = LoadOptions { allow_not_finite: true, ..options };
        assert!(LanguageModel::load_pretrained_with(folder.path(), &device, &options).is_ok());
    }
}

/// How LLaVA's original layout cuts pictures, or what it writes around them, is refused by name where it is not built.
#[test]
fn cuts_of_the_original_layout_that_are_not_built_are_named() {
    let flat = |key: &str, value: Value| {
        let mut json = json!({ "model_type": "llava_qwen", "mm_vision_tower": "openai/clip-vit-large-patch14-336",
            "mm_projector_type": "mlp2x_gelu", "vocab_size": 100 });
        json[key] = value;
        Vlm::read_config(json, Path::new("m")).map(|config| config.is_tiled()).map_err(|error| error.to_string())
    };
    for value in [Value::Null, json!("pad"), json!("square")] {
        assert_eq!(flat("image_aspect_ratio", value), Ok(false));
    }
    for value in ["anyres_max_0", "anyres_max_many", "highres", "crop_split"] {
        let error = flat("image_aspect_ratio", json!(value)).unwrap_err();
        assert!(error.contains("image_aspect_ratio") && error.contains(value), "{error}");
    }
    let error = flat("mm_use_im_start_end", json!(true)).unwrap_err();
    assert!(error.contains("mm_use_im_start_end"), "{error}");
    assert_eq!(flat("mm_use_im_start_end", json!(false)), Ok(false));
}
