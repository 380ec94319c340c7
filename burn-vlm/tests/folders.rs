//! Folders in the Hugging Face layout: every fixture read, written in small shards, read again; options of loading and saving.

#![cfg(feature = "flex")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{
    CheckpointError, Layout, LoadOptions, Pretrained, SaveOptions, StoreDtype, TensorSource, parameters,
    save_parameters,
};
use burn_vlm::dual::DualEncoder;
use burn_vlm::language::{AttentionInput, LanguageModel};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::Vlm;
use common::{Fixture, fixtures, tiny, values};

/// Small enough that every fixture needs several files.
const SHARD: u64 = 20_000;
/// Half precision in every operation of a small decoder, relative to the largest logit.
const HALF_TOLERANCE: f32 = 0.1;

/// All files of a folder.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

/// Key, shape and values of every tensor.
fn tensors(dir: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let source = TensorSource::open(dir).unwrap();
    let entry = |(key, tensor): (&String, &burn_vlm::checkpoint::StoredTensor)| {
        (key.clone(), (tensor.shape.clone(), source.read_f32(key, tensor).unwrap()))
    };
    source.tensors().iter().map(entry).collect()
}

fn read_write_read<M: Pretrained>(name: &str, dtype: StoreDtype) {
    let device = Device::flex();
    let original = fixtures().join(name);
    let options = SaveOptions { dtype, max_shard_size: SHARD, companions: Some(original.clone()) };
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("a/first"), root.path().join("second"));
    M::load_pretrained(&original, &device).unwrap().save_pretrained_with(&first, &options).unwrap();
    M::load_pretrained(&first, &device).unwrap().save_pretrained_with(&second, &options).unwrap();
    assert_eq!(files(&first), files(&second), "{name}");
    assert!(files(&first).keys().any(|file| file.starts_with("model-00002-of-")), "{name}: one file");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2, "nothing else is left");

    // The same tensors under the same keys, but for the prefix that transformers 4.x and 5.x differ in.
    let plain = |key: &String| key.replace("vision_model.", "");
    let (mine, theirs) = (tensors(&first), tensors(&original));
    let rename = |all: BTreeMap<String, (Vec<usize>, Vec<f32>)>| -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        all.into_iter().map(|(key, value)| (plain(&key), value)).collect()
    };
    let (mine, theirs) = (rename(mine), rename(theirs));
    assert_eq!(mine.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{name}");
    assert!(mine == theirs, "{name}: values differ");
    for companion in ["tokenizer.json", "preprocessor_config.json", "chat_template.jinja", "generation_config.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(companion)).ok();
        assert_eq!(read(&first), read(&original), "{name}: {companion}");
    }
}

/// A flipped bit of a weight is another model; no format notices.
#[test]
fn weights_that_were_changed_since_are_told() {
    let root = tempfile::tempdir().unwrap();
    let (device, dir) = (Device::flex(), root.path().join("model"));
    let load = || LanguageModel::load_pretrained(&dir, &device);
    let model = LanguageModel::load_pretrained(&fixtures().join("gemma2"), &device).unwrap();
    model.save_pretrained(&dir, StoreDtype::F32).unwrap();
    let weights = dir.join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &flipped).unwrap();
    let error = load().unwrap_err().to_string();
    for part in ["model.safetensors", "is not what was written", "remove seal.json"] {
        assert!(error.contains(part), "{error}");
    }
    // Meant; and what is written anew is sealed anew.
    std::fs::remove_file(dir.join("seal.json")).unwrap();
    load().unwrap();
    model.save_pretrained(&dir, StoreDtype::F32).unwrap();
    load().unwrap();
    // Other files are edited by hand.
    let config = std::fs::read_to_string(dir.join("config.json")).unwrap();
    std::fs::write(dir.join("config.json"), format!("{config}\n")).unwrap();
    load().unwrap();
}

#[test]
fn every_fixture_survives_reading_and_writing() {
    for name in ["gemma2", "qwen2_tied", "qwen2_untied"] {
        read_write_read::<LanguageModel>(name, StoreDtype::F32);
    }
    read_write_read::<LanguageModel>("gemma2_bf16_sharded", StoreDtype::BF16);
    for name in ["clip_vision_p14", "siglip_vision_p16", "siglip2_vision_p14"] {
        read_write_read::<VisionEncoder>(name, StoreDtype::F32);
    }
    for name in ["clip_dual", "clip_dual_eos2", "siglip_dual"] {
        read_write_read::<DualEncoder>(name, StoreDtype::F32);
    }
    for name in ["llava_clip_qwen2", "parrot_clip_qwen2"] {
        read_write_read::<Vlm>(name, StoreDtype::F32);
    }
}

#[test]
fn shards_have_an_index_and_are_not_larger_than_asked_for() {
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    let model = LanguageModel::load_pretrained(&fixtures().join("qwen2_untied"), &device).unwrap();
    let options = SaveOptions { max_shard_size: 100_000, ..SaveOptions::default() };
    model.save_pretrained_with(&dir.path().join("model"), &options).unwrap();
    let files = files(&dir.path().join("model"));
    let index: serde_json::Value = serde_json::from_slice(&files["model.safetensors.index.json"]).unwrap();
    let bytes: usize = parameters(&model).iter().map(|parameter| parameter.num_elements() * 4).sum();
    assert_eq!(index["metadata"]["total_size"], bytes);
    let map = index["weight_map"].as_object().unwrap();
    assert_eq!(map.len(), parameters(&model).len());
    let shards: Vec<&String> = files.keys().filter(|name| name.ends_with(".safetensors")).collect();
    assert!(shards.len() >= 3, "{shards:?}");
    for (number, name) in shards.iter().enumerate() {
        assert_eq!(**name, format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len()));
        let file = safetensors::SafeTensors::deserialize(&files[*name]).unwrap();
        let size: usize = file.tensors().iter().map(|(_, tensor)| tensor.data().len()).sum();
        assert!(size <= 100_000 || file.len() == 1, "{name}: {size}");
        assert!(file.names().iter().all(|key| map[*key] == ***name));
        let (_, header) = safetensors::SafeTensors::read_metadata(&files[*name]).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    }
}

/// What docs/checkpoints.md shows.
fn in_half(dir: &Path, out: &Path) -> Result<[Vlm; 2], CheckpointError> {
    let device = Device::flex();
    let model = Vlm::load_pretrained(dir, &device)?;
    let options = LoadOptions { dtype: StoreDtype::BF16, ..LoadOptions::default() };
    let half = Vlm::load_pretrained_with(dir, &device, &options)?;
    let options = SaveOptions { dtype: StoreDtype::BF16, companions: Some(dir.into()), ..SaveOptions::default() };
    half.save_pretrained_with(out, &options)?;
    Ok([model, half])
}

#[test]
fn a_model_in_half_the_memory_is_written_in_half_the_size() {
    let (dir, out) = (fixtures().join("llava_clip_llama"), tempfile::tempdir().unwrap());
    let [model, half] = in_half(&dir, out.path()).unwrap();
    assert_eq!(parameters(&model).len(), parameters(&half).len());
    let size = |file: &Path| file.metadata().unwrap().len();
    let (whole, written) = (size(&dir.join("model.safetensors")), size(&out.path().join("model.safetensors")));
    assert!(written < whole * 6 / 10, "{written} of {whole} bytes");
    assert!(out.path().join("tokenizer.json").is_file());
}

#[test]
fn a_model_is_replaced_in_a_folder_that_holds_other_things() {
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    let small = tiny::language(&tiny::qwen2(), 1, &device);
    let other = tiny::language(&tiny::gemma2(), 1, &device);
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let shards = SaveOptions { max_shard_size: 2_000, ..SaveOptions::default() };
    small.save_pretrained_with(dir.path(), &shards).unwrap();
    assert!(files(dir.path()).len() > 4);
    // With companions, twice: what is replaced in place are the files, in their folder too.
    let backbone = tempfile::tempdir().unwrap();
    std::fs::create_dir(backbone.path().join("additional_chat_templates")).unwrap();
    for (number, text) in ["first", "second"].iter().enumerate() {
        std::fs::write(backbone.path().join("additional_chat_templates/tool_use.jinja"), text).unwrap();
        std::fs::write(backbone.path().join("chat_template.jinja"), text).unwrap();
        let companions = SaveOptions { companions: Some(backbone.path().into()), ..SaveOptions::default() };
        let with = dir.path().join("with");
        small.save_pretrained_with(&with, &companions).unwrap();
        for name in ["additional_chat_templates/tool_use.jinja", "chat_template.jinja"] {
            assert_eq!(std::fs::read_to_string(with.join(name)).unwrap(), *text, "{number}");
        }
    }
    // Another model with a backbone that has no templates: the old one's words are none of it, and what is nobody's stays.
    let (with, plain) = (dir.path().join("with"), tempfile::tempdir().unwrap());
    std::fs::write(with.join("added_tokens.json"), "{}").unwrap();
    std::fs::write(with.join("additional_chat_templates/notes.txt"), "mine").unwrap();
    other.save_pretrained(&with, StoreDtype::F32).unwrap();
    assert!(with.join("chat_template.jinja").is_file(), "without companions words stay");
    std::fs::write(plain.path().join("tokenizer.json"), "{}").unwrap();
    let companions = SaveOptions { companions: Some(plain.path().into()), ..SaveOptions::default() };
    other.save_pretrained_with(&with, &companions).unwrap();
    let names = |dir: &Path| {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&with),
        ["additional_chat_templates", "config.json", "model.safetensors", "seal.json", "tokenizer.json"]
    );
    assert_eq!(names(&with.join("additional_chat_templates")), ["notes.txt"]);
    std::fs::remove_file(with.join("additional_chat_templates/notes.txt")).unwrap();
    other.save_pretrained_with(&with, &companions).unwrap();
    assert!(!with.join("additional_chat_templates").exists(), "an empty folder is removed");
    // Companions from the folder itself stay.
    let own = SaveOptions { companions: Some(with.clone()), ..SaveOptions::default() };
    small.save_pretrained_with(&with, &own).unwrap();
    assert!(with.join("tokenizer.json").is_file());
    std::fs::remove_dir_all(&with).unwrap();
    // From many shards to one file of another model: nothing of the old one stays.
    other.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    assert_eq!(
        files(dir.path()).keys().collect::<Vec<_>>(),
        ["config.json", "model.safetensors", "notes.txt", "seal.json"]
    );
    let back = LanguageModel::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(back.config(), other.config());
    small.save_pretrained_with(dir.path(), &shards).unwrap();
    assert!(!files(dir.path()).contains_key("model.safetensors"));
    assert_eq!(LanguageModel::load_pretrained(dir.path(), &device).unwrap().config(), small.config());
}

#[test]
fn a_failed_save_leaves_nothing_or_what_was_there() {
    let device = Device::flex();
    let root = tempfile::tempdir().unwrap();
    let model = tiny::language(&tiny::qwen2(), 1, &device);
    let broken = SaveOptions { companions: Some(root.path().join("nowhere")), ..SaveOptions::default() };
    let dir = root.path().join("model");
    let error = model.save_pretrained_with(&dir, &broken).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    model.save_pretrained(&dir, StoreDtype::F32).unwrap();
    let before = files(&dir);
    assert!(model.save_pretrained_with(&dir, &broken).is_err());
    assert_eq!(files(&dir), before);
}

#[test]
fn keys_may_be_missing_or_left_over_only_by_name() {
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    // Qwen's decoder without its head and with a tensor too many.
    let model = tiny::language(&tiny::qwen2(), 1, &device);
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed =
        file.tensors().into_iter().map(|(key, tensor)| (key.replace("lm_head.weight", "score.weight"), tensor));
    safetensors::serialize_to_file(renamed.collect::<Vec<_>>(), None, &path).unwrap();
    std::fs::remove_file(dir.path().join("seal.json")).unwrap();
    let load = |missing: &[&str], unexpected: &[&str]| {
        let list = |patterns: &[&str]| patterns.iter().map(|pattern| pattern.to_string()).collect();
        let options =
            LoadOptions { allow_missing: list(missing), allow_unexpected: list(unexpected), ..Default::default() };
        LanguageModel::load_pretrained_with(dir.path(), &device, &options)
    };
    let problems = |result: Result<LanguageModel, CheckpointError>| match result {
        Err(CheckpointError::Keys { problems, .. }) => problems,
        other => panic!("{other:?}"),
    };
    assert_eq!(problems(load(&[], &[])), ["unexpected: score.weight [50, 24]", "missing: lm_head.weight [50, 24]"]);
    assert_eq!(problems(load(&["lm_head.*"], &[])), ["unexpected: score.weight [50, 24]"]);
    assert_eq!(problems(load(&[], &["score.*"])), ["missing: lm_head.weight [50, 24]"]);
    let partial = load(&["lm_head.*"], &["score.*"]).unwrap();
    // What is missing starts as a new model does.
    let fresh = tiny::language(&tiny::qwen2(), burn_vlm::init::DEFAULT_SEED, &device);
    let (LanguageModel::Qwen2(partial), LanguageModel::Qwen2(fresh), LanguageModel::Qwen2(model)) =
        (partial, fresh, model)
    else {
        panic!()
    };
    let head = |model: &burn_vlm::language::Qwen2ForCausalLm| values(model.lm_head.as_ref().unwrap().weight.val());
    assert_eq!(head(&partial), head(&fresh));
    assert_eq!(values(partial.model.embed_tokens.weight.val()), values(model.model.embed_tokens.weight.val()));
}

#[test]
fn parameters_take_the_element_type_that_is_asked_for() {
    let device = Device::flex();
    let fixture = Fixture::open("qwen2_untied");
    let load = |dtype| {
        let options = LoadOptions { dtype, ..Default::default() };
        LanguageModel::load_pretrained_with(&fixture.dir, &device, &options).unwrap()
    };
    let ids = Tensor::<2, Int>::from_data(TensorData::new(vec![5i64, 9, 7, 3], [1, 4]), &device);
    let logits = |model: &LanguageModel| {
        let hidden = model.forward(model.embed(ids.clone()), &AttentionInput::contiguous(), None).unwrap();
        let logits = model.logits(hidden);
        (logits.dtype(), values(logits.cast(DType::F32)))
    };
    let (_, exact) = logits(&load(StoreDtype::F32));
    let largest = exact.iter().fold(0f32, |max, value| max.max(value.abs()));
    for (dtype, expected) in [(StoreDtype::BF16, DType::BF16), (StoreDtype::F16, DType::F16)] {
        let model = load(dtype);
        assert_eq!(model.embed(ids.clone()).dtype(), expected);
        let (found, half) = logits(&model);
        // Beside such weights this device computes in f32.
        assert_eq!(found, DType::F32);
        let worst = half.iter().zip(&exact).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
        assert!(worst <= HALF_TOLERANCE * largest, "{dtype:?}: {worst} of {largest}");
        // Written again they are exactly what was rounded once.
        let dir = tempfile::tempdir().unwrap();
        save_parameters(&model, &dir.path().join("model.safetensors"), &Layout::Plain, dtype).unwrap();
        let once = TensorSource::open(dir.path()).unwrap();
        let original = TensorSource::open(&fixture.dir).unwrap();
        for (key, tensor) in original.tensors() {
            let rounded: Vec<f32> = original
                .read_f32(key, tensor)
                .unwrap()
                .into_iter()
                .map(|value| match dtype {
                    StoreDtype::F16 => half::f16::from_f32(value).to_f32(),
                    _ => half::bf16::from_f32(value).to_f32(),
                })
                .collect();
            assert_eq!(once.read_f32(key, &once.tensors()[key]).unwrap(), rounded, "{key}");
        }
    }
}

#[test]
fn a_parrot_between_other_parts_keeps_its_switches_in_llavas_layout() {
    use burn_vlm::connector::{ConnectorConfig, ParrotConfig, Residual, RoutingQuery};
    let device = Device::flex();
    let dir = tempfile::tempdir().unwrap();
    let parrot = ParrotConfig {
        num_experts: 2,
        intermediate_size: 4,
        query: RoutingQuery::Pooled,
        residual: Residual::Paper,
        ..ParrotConfig::default()
    };
    let mut config = tiny::vlm_config(tiny::siglip(), tiny::gemma2());
    config.connector = ConnectorConfig::Parrot(parrot.clone());
    let model = tiny::vlm(&config, 1, &device);
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let back = Vlm::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(back.config.connector, ConnectorConfig::Parrot(parrot));
    assert!(tensors(dir.path()).contains_key("multi_modal_projector.experts.1.gate_proj.weight"));
    let count = |model: &Vlm| model.num_params();
    assert_eq!(count(&back), count(&model));
}

#[test]
fn a_published_parrot_config_reads_as_the_authors_code_would() {
    use burn_vlm::connector::{ConnectorConfig, Residual};
    let folder = fixtures().join("parrot_clip_qwen2");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let parrot = |json: &serde_json::Value| {
        let config = Vlm::read_config(json.clone(), dir.path()).unwrap();
        let ConnectorConfig::Parrot(parrot) = config.connector.clone() else { panic!() };
        (config, parrot)
    };
    // Without vision_config.json the named tower is meant.
    let (config, switches) = parrot(&json);
    assert_eq!((config.num_visual_tokens(), config.vision_config.hidden_size()), (577, 1024));
    assert_eq!((switches.num_experts, switches.residual_weight, switches.bypass), (6, 0.1, false));
    assert_eq!((switches.residual, switches.top_k), (Residual::Code, None));
    let keys = json.as_object_mut().unwrap();
    keys.remove("moe_weight");
    keys.insert("use_moe".into(), false.into());
    keys.insert("use_moe_residual".into(), false.into());
    let (_, switches) = parrot(&json);
    assert_eq!((switches.residual_weight, switches.bypass, switches.residual), (1.0, true, Residual::None));
    json["mm_vision_tower"] = "somebody/else".into();
    let error = Vlm::read_config(json, dir.path()).unwrap_err().to_string();
    assert!(error.contains("somebody/else") && error.contains("vision_config.json"), "{error}");
}
