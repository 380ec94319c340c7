//! The key layouts that VLM files come in, and parts taken out of a whole.

#![cfg(feature = "flex")]

mod common;

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm::checkpoint::{Layout, Pretrained, StoreDtype, TensorSource, save_parameters};
use burn_vlm::language::LanguageModel;
use burn_vlm::vision::{VisionConfig, VisionEncoder};
use burn_vlm::vlm::{Vlm, VlmConfig, VlmType};
use common::{fixtures, tiny};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Whole VLMs as transformers 5.x wrote them: tied and untied, with and without a newline.
const FIXTURES: [&str; 4] =
    ["llava_clip_llama", "llava_clip_qwen2", "llava_next_clip_qwen2", "llava_next_siglip_gemma2"];

/// All parameters of a module: name in the module, values.
fn dump<M: Module>(module: &M) -> Vec<(String, Vec<f32>)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.safetensors");
    save_parameters(module, &path, &Layout::Plain, StoreDtype::F32).unwrap();
    let source = TensorSource::open(&path).unwrap();
    source.tensors().iter().map(|(key, tensor)| (key.clone(), source.read_f32(key, tensor).unwrap())).collect()
}

/// The folder's config and weights with every key renamed; keys renamed to nothing are left out.
fn rewrite(folder: &Path, to: &Path, rename: impl Fn(&str) -> Option<String>) {
    std::fs::copy(folder.join("config.json"), to.join("config.json")).unwrap();
    let source = TensorSource::open(folder).unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = source
        .tensors()
        .iter()
        .filter_map(|(key, tensor)| {
            let values = source.read_f32(key, tensor).unwrap();
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Some((rename(&Layout::Llava.module_name(key).unwrap())?, tensor.shape.clone(), bytes))
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(key, shape, bytes)| (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &to.join("model.safetensors")).unwrap();
}

/// Files on the hub, written by 4.x.
fn hub(name: &str) -> String {
    match name.strip_prefix("vision_tower.") {
        Some(rest) => format!("vision_tower.vision_model.{rest}"),
        None => name.to_string(),
    }
}

/// Files written by 5.x.
fn five(name: &str) -> String {
    name.to_string()
}

/// The names of the modules in memory since 4.52, which some fine-tunes' files have.
fn modules(name: &str) -> String {
    match (name.strip_prefix("language_model.model."), name.strip_prefix("language_model.lm_head.")) {
        (Some(rest), _) => format!("model.language_model.{rest}"),
        (_, Some(rest)) => format!("lm_head.{rest}"),
        _ => format!("model.{name}"),
    }
}

/// The same while towers still had their own prefix.
fn modules_with_prefix(name: &str) -> String {
    modules(&hub(name))
}

#[test]
fn every_layout_gives_the_same_model_and_the_same_parts() {
    let device = Device::flex();
    for name in FIXTURES {
        let folder = fixtures().join(name);
        let whole = Vlm::load_pretrained(&folder, &device).unwrap();
        let (vision, language) = (dump(&whole.vision_tower), dump(&whole.language_model));
        let expected = dump(&whole);
        for (layout, rename) in [
            ("hub", hub as fn(&str) -> String),
            ("5.x", five),
            ("modules", modules),
            ("modules with prefix", modules_with_prefix),
        ] {
            let dir = tempfile::tempdir().unwrap();
            rewrite(&folder, dir.path(), |key| Some(rename(key)));
            assert_eq!(dump(&Vlm::load_pretrained(dir.path(), &device).unwrap()), expected, "{name}: {layout}");
            let part = VisionEncoder::load_pretrained(dir.path(), &device).unwrap();
            assert_eq!(dump(&part), vision, "{name}: {layout}");
            let part = LanguageModel::load_pretrained(dir.path(), &device).unwrap();
            assert_eq!(dump(&part), language, "{name}: {layout}");
        }
    }
}

#[test]
fn a_part_names_what_it_takes_and_is_complete_or_an_error() {
    let device = Device::flex();
    let folder = fixtures().join("llava_next_clip_qwen2");
    let dir = tempfile::tempdir().unwrap();
    rewrite(&folder, dir.path(), |key| (!key.contains("post_layernorm.bias")).then(|| modules(key)));
    let source = TensorSource::open(dir.path()).unwrap();
    let language = LanguageModel::load_pretrained(dir.path(), &device).unwrap();
    let taken = language.taken_keys(&source);
    assert!(taken.iter().all(|key| key.starts_with("model.language_model.") || key == "lm_head.weight"), "{taken:?}");
    assert_eq!(taken.len(), dump(&language).len());
    let error = VisionEncoder::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("missing: vision_model.post_layernorm.bias [40]") && error.contains("1 keys"), "{error}");
    let error = Vlm::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("missing: vision_tower.vision_model.post_layernorm.bias [40]"), "{error}");
}

#[test]
fn a_tiled_model_survives_a_round_trip() {
    let device = Device::flex();
    let model = tiny::vlm(&tiny::tiled_config(tiny::clip(), tiny::gemma2()), 1, &device);
    let dir = tempfile::tempdir().unwrap();
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let back = Vlm::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(dump(&back), dump(&model));
    assert_eq!(back.config.image_grid_pinpoints, model.config.image_grid_pinpoints);
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(json["model_type"], "llava_next");
    assert_eq!(json["architectures"][0], "LlavaNextForConditionalGeneration");
    assert_eq!(json["image_grid_pinpoints"][0], serde_json::json!([16, 32]));
    assert!(TensorSource::open(dir.path()).unwrap().tensors().contains_key("image_newline"));
}

#[test]
fn what_a_published_config_leaves_out_is_filled_in() {
    // The config of llava-hf/llava-1.5-7b-hf in its essence, and one that names no part at all.
    let text = r#"{"model_type": "llava", "image_token_index": 32000,
        "text_config": {"max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "vocab_size": 32064}}"#;
    let config: VlmConfig = serde_json::from_value(Vlm::select_config(serde_json::from_str(text).unwrap())).unwrap();
    let VisionConfig::Clip(vision) = &config.vision_config else { panic!() };
    assert_eq!((vision.hidden_size, vision.image_size, vision.num_hidden_layers), (1024, 336, 24));
    assert_eq!((config.text_config.vocab_size(), config.text_config.hidden_size()), (32_064, 4096));
    assert_eq!(config.num_visual_tokens(), 576);
    let config: VlmConfig =
        serde_json::from_value(Vlm::select_config(serde_json::json!({"model_type": "llava_next"}))).unwrap();
    assert_eq!((config.model_type, config.pinpoints().len()), (VlmType::LlavaNext, 5));
    assert!(config.validate().is_ok());
    let error =
        serde_json::from_value::<VlmConfig>(Vlm::select_config(serde_json::json!({"model_type": "llava_onevision"})));
    assert!(error.unwrap_err().to_string().contains("llava_onevision"));
}
