//! Which weights an adapter was made for: a warning where the model is another one.

use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm::checkpoint::{ADAPTER_CONFIG, OtherBase, other_base, record_base};

/// A folder of weights that begin with `text`.
fn model(folder: &Path, name: &str, text: &str) -> PathBuf {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.safetensors"), text).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    folder
}

#[test]
fn a_record_tells_other_weights_under_the_same_name_and_the_same_under_another() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    let config = r#"{"peft_type": "LORA", "base_model_name_or_path": "org/nowhere"}"#;
    fs::write(adapter.join(ADAPTER_CONFIG), config).unwrap();
    let base = model(folder.path(), "base", "weights");
    record_base(&adapter, &base).unwrap();
    assert_eq!(other_base(&adapter, &base).unwrap(), None, "the record goes before the name");
    assert_eq!(other_base(&adapter, &model(folder.path(), "moved", "weights")).unwrap(), None);
    let other = model(folder.path(), "other", "Weights");
    let OtherBase { message, proven } = other_base(&adapter, &other).unwrap().unwrap();
    assert!(
        proven && message.contains(&base.display().to_string()) && message.contains("other are others"),
        "{message}"
    );
}

#[test]
fn without_a_record_the_name_tells() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    let say = |base: &str| {
        let config = serde_json::json!({ "peft_type": "LORA", "base_model_name_or_path": base });
        fs::write(adapter.join(ADAPTER_CONFIG), config.to_string()).unwrap();
    };
    let same = model(folder.path(), "LLaVA-1.5-7b-hf", "x");
    let cached = model(folder.path(), "models--llava-hf--llava-1.5-7b-hf/snapshots/abc", "x");
    let named = model(folder.path(), "mine", "x");
    fs::write(named.join("config.json"), r#"{"_name_or_path": "llava-hf/llava-1.5-7b-hf"}"#).unwrap();
    let other = model(folder.path(), "TowerVision-2B", "x");
    say("llava-hf/llava-1.5-7b-hf");
    for model in [&same, &cached, &named] {
        assert_eq!(other_base(&adapter, model).unwrap(), None, "{}", model.display());
    }
    let OtherBase { message, proven } = other_base(&adapter, &other).unwrap().unwrap();
    assert!(
        !proven && message.contains("`llava-hf/llava-1.5-7b-hf`") && message.contains("TowerVision-2B"),
        "{message}"
    );
    say(&other.display().to_string());
    assert_eq!(other_base(&adapter, &other).unwrap(), None);
    fs::write(adapter.join(ADAPTER_CONFIG), r#"{"peft_type": "LORA", "base_model_name_or_path": null}"#).unwrap();
    assert_eq!(other_base(&adapter, &other).unwrap(), None, "nothing is said");
}

/// A GGUF file is other bytes than what it was made from, and has no config: its name is compared, a record is not.
#[test]
fn of_a_gguf_file_the_name_tells() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    let config = r#"{"peft_type": "LORA", "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"}"#;
    fs::write(adapter.join(ADAPTER_CONFIG), config).unwrap();
    let [same, other] =
        ["SmolLM2-135M-Instruct.Q4_1.gguf", "Qwen2-0.5B.Q8_0.gguf"].map(|name| folder.path().join(name));
    fs::write(&same, "GGUF").unwrap();
    fs::write(&other, "GGUF").unwrap();
    record_base(&adapter, &model(folder.path(), "base", "weights")).unwrap();
    assert_eq!(other_base(&adapter, &same).unwrap(), None);
    let OtherBase { message, proven } = other_base(&adapter, &other).unwrap().unwrap();
    assert!(!proven && message.contains("SmolLM2-135M-Instruct") && message.contains("Qwen2-0.5B"), "{message}");
}
