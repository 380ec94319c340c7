//! The key layouts that VLM files come in, and parts taken out of a whole.

#![cfg(feature = "flex")]

mod common;

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm::checkpoint::{Layout, Pretrained, StoreDtype, TensorSource, save_parameters};
use burn_vlm::language::{AttentionInput, LanguageModel};
use burn_vlm::vision::{VisionConfig, VisionEncoder};
use burn_vlm::vlm::{Vlm, VlmConfig, VlmInput, VlmType};
use common::{FORWARD_TOLERANCE, Fixture, fixtures, tiny};
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

/// LLaVA's original names, and its flat config around the fixture's decoder.
fn original(folder: &Path, to: &Path, with_tower: bool) {
    rewrite(folder, to, |name| {
        let replaced = [
            ("vision_tower.", "model.vision_tower.vision_tower.vision_model."),
            ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
            ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
            ("image_newline", "model.image_newline"),
            ("language_model.lm_head.", "lm_head."),
            ("language_model.model.", "model."),
        ];
        let (from, to) = replaced.iter().find(|(from, _)| name.starts_with(from)).unwrap();
        (with_tower || *from != "vision_tower.").then(|| name.replacen(from, to, 1))
    });
    let read = |path: &Path| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let published = read(&folder.join("config.json"));
    let mut flat = published["text_config"].clone();
    let family = flat["model_type"].as_str().unwrap().replace("qwen2", "qwen");
    flat["model_type"] = format!("llava_{family}").into();
    flat["mm_vision_tower"] = "nobody/a-tiny-tower".into();
    flat["mm_projector_type"] = "mlp2x_gelu".into();
    if let Some(layer) = published["vision_feature_layer"].as_i64() {
        flat["mm_vision_select_layer"] = layer.into();
    }
    flat["mm_vision_select_feature"] = "patch".into();
    flat["image_token_index"] = published["image_token_index"].clone();
    if let Some(pinpoints) = published["image_grid_pinpoints"].as_array() {
        let turned = pinpoints.iter().map(|size| serde_json::json!([size[1], size[0]]));
        flat["image_grid_pinpoints"] = turned.collect();
        flat["image_aspect_ratio"] = "anyres".into();
        flat["mm_patch_merge_type"] = "spatial_unpad".into();
    }
    std::fs::write(to.join("config.json"), flat.to_string()).unwrap();
    if with_tower {
        std::fs::write(to.join("vision_config.json"), published["vision_config"].to_string()).unwrap();
    } else {
        let whole = Vlm::load_pretrained(folder, &Device::flex()).unwrap();
        whole.vision_tower.save_pretrained(&to.join("vision_tower"), StoreDtype::F32).unwrap();
    }
}

#[test]
fn the_original_layout_of_llava_is_read_whole_and_in_parts() {
    let device = Device::flex();
    for name in ["llava_clip_llama", "llava_clip_qwen2", "llava_next_clip_qwen2"] {
        let folder = fixtures().join(name);
        let whole = Vlm::load_pretrained(&folder, &device).unwrap();
        for with_tower in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            original(&folder, dir.path(), with_tower);
            let found = Vlm::load_pretrained(dir.path(), &device).unwrap();
            assert_eq!(dump(&found), dump(&whole), "{name}");
            assert_eq!(found.config.pinpoints(), whole.config.pinpoints(), "{name}");
            assert_eq!(found.config.vision_feature_layer, whole.config.vision_feature_layer, "{name}");
            let strategy = found.config.vision_feature_select_strategy;
            assert_eq!(strategy, whole.config.vision_feature_select_strategy, "{name}");
            let part = LanguageModel::load_pretrained(dir.path(), &device).unwrap();
            assert_eq!(dump(&part), dump(&whole.language_model), "{name}");
            if with_tower {
                let part = VisionEncoder::load_pretrained(dir.path(), &device).unwrap();
                assert_eq!(dump(&part), dump(&whole.vision_tower), "{name}");
            }
        }
    }
}

#[test]
fn the_original_layout_gives_the_expected_outputs() {
    let device = Device::flex();
    let fixture = Fixture::open("llava_clip_llama");
    let dir = tempfile::tempdir().unwrap();
    original(&fixture.dir, dir.path(), true);
    let model = Vlm::load_pretrained(dir.path(), &device).unwrap();
    let features = model.encode_images(fixture.float_tensor::<4>("pixel_values", &device)).unwrap();
    let mask = fixture.mask("attention_mask", &device);
    let real = mask.clone().float().unsqueeze_dim::<3>(2);
    let mut input = VlmInput::new(fixture.int_tensor::<2>("input_ids", &device)).with_features(features);
    input.attention = AttentionInput::left_padded(mask);
    let hidden = model.forward(&input).unwrap();
    fixture.check("last_hidden_state", hidden.clone() * real.clone(), FORWARD_TOLERANCE);
    fixture.check("logits", model.language_model.logits(hidden) * real, FORWARD_TOLERANCE);
    // The other tensors are the parity test's.
    fixture.finish(&[""]);
}

#[test]
fn what_the_original_layout_lacks_is_named() {
    let device = Device::flex();
    let folder = fixtures().join("llava_clip_llama");
    let dir = tempfile::tempdir().unwrap();
    original(&folder, dir.path(), false);
    std::fs::rename(dir.path().join("vision_tower/config.json"), dir.path().join("vision_config.json")).unwrap();
    std::fs::remove_dir_all(dir.path().join("vision_tower")).unwrap();
    let error = || Vlm::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error().contains("no vision tower in these weights") && error().contains("mm_vision_tower"), "{}", error());
    std::fs::remove_file(dir.path().join("vision_config.json")).unwrap();
    assert!(error().contains("nobody/a-tiny-tower") && error().contains("vision_config.json"), "{}", error());
}

#[test]
fn parts_of_a_parrot_folder_load_alone() {
    let device = Device::flex();
    let folder = fixtures().join("parrot_clip_qwen2");
    let whole = Vlm::load_pretrained(&folder, &device).unwrap();
    let vision = VisionEncoder::load_pretrained(&folder, &device).unwrap();
    let language = LanguageModel::load_pretrained(&folder, &device).unwrap();
    assert_eq!(dump(&vision), dump(&whole.vision_tower));
    assert_eq!(dump(&language), dump(&whole.language_model));
}

#[test]
fn files_that_are_no_weights_say_what_to_do() {
    let device = Device::flex();
    let folder = fixtures().join("llama");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("config.json"), dir.path().join("config.json")).unwrap();
    let error = || LanguageModel::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error().contains("no model.safetensors"), "{}", error());
    std::fs::write(dir.path().join("pytorch_model.bin"), "PK").unwrap();
    assert!(error().contains("pytorch_model.bin") && error().contains("save_pretrained"), "{}", error());
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    std::fs::write(dir.path().join("model.safetensors"), pointer).unwrap();
    assert!(error().contains("model.safetensors") && error().contains("git lfs pull"), "{}", error());
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
    assert!(
        error.contains("missing: vision_model.post_layernorm.bias [40]") && error.contains("1 key (1 missing)"),
        "{error}"
    );
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
        serde_json::from_value::<VlmConfig>(Vlm::select_config(serde_json::json!({"model_type": "llava_nothing"})));
    assert!(error.unwrap_err().to_string().contains("llava_nothing"));
}
