//! Folders written and read again, strict loading, and files that are not what they seem.

#![cfg(feature = "flex")]

mod common;

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm::checkpoint::{
    CheckpointError, Layout, Pretrained, StoreDtype, TensorSource, load_parameters, parameters, save_parameters,
};
use burn_vlm::dual::{DualConfig, DualEncoder, SiglipConfig};
use burn_vlm::init::Scope;
use burn_vlm::language::LanguageModel;
use burn_vlm::text::SiglipTextConfig;
use burn_vlm::vision::{VisionConfig, VisionEncoder};
use burn_vlm::vlm::Vlm;
use common::{Fixture, fixtures, tiny};

/// All parameters of a module: name, shape in the file, values.
fn dump<M: Module>(module: &M) -> Vec<(String, Vec<f32>)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.safetensors");
    save_parameters(module, &path, &Layout::Plain, StoreDtype::F32).unwrap();
    let source = TensorSource::open(&path).unwrap();
    source.tensors().iter().map(|(key, tensor)| (key.clone(), source.read_f32(key, tensor).unwrap())).collect()
}

fn round_trip<M: Pretrained>(model: &M, seeded_otherwise: M) {
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let back = M::load_pretrained(dir.path(), &device).unwrap();
    let expected = dump(model);
    assert_ne!(dump(&seeded_otherwise), expected, "the seed must matter");
    assert_eq!(dump(&back), expected);
    let names: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 3, "config, weights, seal, and no temporary file: {names:?}");
    // Writing again gives the same bytes.
    let first = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    back.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    assert_eq!(first, std::fs::read(dir.path().join("model.safetensors")).unwrap());
}

fn siglip_dual(seed: u64) -> DualEncoder {
    let VisionConfig::Siglip(vision) = tiny::siglip() else { panic!() };
    let text = SiglipTextConfig {
        vocab_size: 20,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 8,
        ..Default::default()
    };
    let config = DualConfig::Siglip(SiglipConfig { vision_config: vision, text_config: text });
    config.init_with(&Scope::new(seed, &Device::flex())).unwrap()
}

#[test]
fn every_model_survives_a_round_trip() {
    let device = Device::flex();
    for vision in [tiny::siglip(), tiny::clip()] {
        let model = |seed| vision.init_with(&Scope::new(seed, &device)).unwrap();
        round_trip(&model(1), model(2));
        for text in [tiny::gemma2(), tiny::qwen2(), tiny::llama()] {
            let config = tiny::vlm_config(vision.clone(), text);
            round_trip(&tiny::vlm(&config, 1, &device), tiny::vlm(&config, 2, &device));
        }
    }
    for text in [tiny::gemma2(), tiny::qwen2(), tiny::llama()] {
        round_trip(&tiny::language(&text, 1, &device), tiny::language(&text, 2, &device));
    }
    round_trip(&siglip_dual(1), siglip_dual(2));
}

#[test]
fn a_vlm_keeps_its_config() {
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    let model = tiny::vlm(&tiny::vlm_config(tiny::siglip(), tiny::gemma2()), 1, &device);
    model.save_pretrained(dir.path(), StoreDtype::BF16).unwrap();
    let back = Vlm::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(back.config.visual_tokens, model.config.visual_tokens);
    assert_eq!(back.config.text_config, model.config.text_config);
    assert_eq!(back.config.scale_visual_embeds, Some(true));
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(json["model_type"], "llava");
    assert_eq!(json["torch_dtype"], "bfloat16");
    let source = TensorSource::open(dir.path()).unwrap();
    assert!(source.tensors().contains_key("vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"));
    assert!(source.tensors().contains_key("language_model.model.embed_tokens.weight"));
    assert!(!source.tensors().contains_key("language_model.lm_head.weight"), "tied");
    // bf16 keeps 8 bits: a relative error of 2^-8 at most
    for ((name, found), (_, expected)) in dump(&back).iter().zip(dump(&model)) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= expected.abs() / 256.0, "{name}: {found} {expected}");
        }
    }
}

#[test]
fn names_are_those_of_the_published_files() {
    // What Hugging Face wrote is what we would write, key for key and shape for shape.
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    for name in ["gemma2", "qwen2_untied", "siglip_dual", "clip_dual"] {
        let folder = fixtures().join(name);
        if name.ends_with("dual") {
            DualEncoder::load_pretrained(&folder, &device)
                .unwrap()
                .save_pretrained(dir.path(), StoreDtype::F32)
                .unwrap();
        } else {
            LanguageModel::load_pretrained(&folder, &device)
                .unwrap()
                .save_pretrained(dir.path(), StoreDtype::F32)
                .unwrap();
        }
        let (ours, theirs) = (TensorSource::open(dir.path()).unwrap(), TensorSource::open(&folder).unwrap());
        let keys = |source: &TensorSource| -> Vec<(String, Vec<usize>)> {
            source.tensors().iter().map(|(key, tensor)| (key.clone(), tensor.shape.clone())).collect()
        };
        assert_eq!(keys(&ours), keys(&theirs), "{name}");
        for (key, tensor) in theirs.tensors() {
            let mine = ours.read_f32(key, &ours.tensors()[key]).unwrap();
            assert_eq!(mine, theirs.read_f32(key, tensor).unwrap(), "{name}: {key}");
        }
    }
}

#[test]
fn a_tower_loads_from_its_dual_encoder() {
    let device = Device::flex();
    for name in ["siglip_dual", "clip_dual"] {
        let folder = fixtures().join(name);
        let tower = VisionEncoder::load_pretrained(&folder, &device).unwrap();
        let whole = DualEncoder::load_pretrained(&folder, &device).unwrap().into_vision();
        assert_eq!(dump(&tower), dump(&whole), "{name}");
    }
}

#[test]
fn every_problem_stands_in_one_error() {
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let small = tiny::language(&tiny::qwen2(), 0, &device);
    save_parameters(&small, &path, &Layout::Plain, StoreDtype::F32).unwrap();
    // Gemma has other norms, other head sizes and no biases.
    let other = tiny::language(&tiny::gemma2(), 0, &device);
    let error = load_parameters(other, &TensorSource::open(&path).unwrap(), &Layout::Plain).unwrap_err();
    let CheckpointError::Keys { problems, .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    assert!(text.contains("model.safetensors"), "{text}");
    let has = |start: &str| problems.iter().any(|problem| problem.starts_with(start));
    assert!(has("missing: model.layers.2.mlp.gate_proj.weight [32, 24]"), "{text}");
    assert!(has("missing: model.layers.0.pre_feedforward_layernorm.weight [24]"), "{text}");
    assert!(has("unexpected: model.layers.0.self_attn.q_proj.bias [24]"), "{text}");
    assert!(has("shape: model.layers.0.self_attn.q_proj.weight is [24, 24] in "), "{text}");
    assert!(text.contains("the model needs [32, 24]"), "{text}");
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let device = Device::flex();
    let fixture = Fixture::open("qwen2_tied");
    let good = std::fs::read(fixture.dir.join("model.safetensors")).unwrap();
    let config = std::fs::read(fixture.dir.join("config.json")).unwrap();
    let attempt = |weights: &[u8], config: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.safetensors"), weights).unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        LanguageModel::load_pretrained(dir.path(), &device).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(attempt(&good, &config), Ok(()));
    for length in [0, 4, 8, 100, good.len() / 2, good.len() - 1] {
        let error = attempt(&good[..length], &config).unwrap_err();
        assert!(error.contains("model.safetensors"), "{length}: {error}");
    }
    assert!(attempt(&[good.as_slice(), &[0]].concat(), &config).unwrap_err().contains("after the last tensor"));
    for at in [0, 3, 7, 9, 20, 60] {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        if let Err(error) = attempt(&bad, &config) {
            assert!(error.contains("model.safetensors") || error.contains("do not fit"), "{at}: {error}");
        }
    }
    for (bad, names) in [
        (config[..config.len() / 2].to_vec(), "config.json"),
        (br#"{"model_type": "mamba"}"#.to_vec(), "mamba"),
        (
            String::from_utf8(config.clone())
                .unwrap()
                .replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4")
                .into(),
            "num_key_value_heads",
        ),
        (String::from_utf8(config).unwrap().replace("\"default\"", "\"yarn\"").into(), "rope_type"),
    ] {
        let error = attempt(&good, &bad).unwrap_err();
        assert!(error.contains("config.json") && error.contains(names), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(TensorSource::open(empty.path()), Err(CheckpointError::NoWeights { .. })));
}

#[test]
fn a_shard_that_is_missing_or_lies_elsewhere_is_an_error() {
    let device = Device::flex();
    let fixture = Fixture::open("gemma2_bf16_sharded");
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &Path| {
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    };
    copy(&fixture.dir);
    assert!(LanguageModel::load_pretrained(dir.path(), &device).is_ok());
    let index = dir.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("model-00003-of-00003", "../model-00003-of-00003")).unwrap();
    let error = LanguageModel::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("expected a file name"), "{error}");
    std::fs::write(&index, text).unwrap();
    std::fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    let error = LanguageModel::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00003.safetensors"), "{error}");
}

#[test]
fn parameters_are_listed_without_variants_and_in_file_shape() {
    let device = Device::flex();
    let model = tiny::vlm(&tiny::vlm_config(tiny::siglip(), tiny::gemma2()), 1, &device);
    let all = parameters(&model);
    let find = |name: &str| all.iter().find(|parameter| parameter.name == name).unwrap();
    assert_eq!(find("vision_tower.encoder.layers.1.mlp.fc1.weight").shape, [24, 16]);
    assert_eq!(find("multi_modal_projector.linear_1.weight").shape, [24, 16]);
    assert_eq!(find("language_model.model.layers.0.self_attn.q_proj.weight").shape, [32, 24]);
    assert_eq!(find("vision_tower.head.probe").shape, [1, 1, 16]);
    assert_eq!(all.iter().map(|parameter| parameter.num_elements()).sum::<usize>(), model.num_params());
}
