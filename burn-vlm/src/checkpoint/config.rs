//! `config.json`, in and out: checked before anything is built from it, written for both generations of transformers.

use std::path::{Path, PathBuf};

use burn_vlm_base::published;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::reader::{LFS_POINTER, LFS_START};
use super::{CheckpointError, gguf_config, is_gguf};
use crate::error::ModelError;

/// Sizes beyond this are no model's: the largest vocabularies have 2^18 ids, the longest contexts 2^20 positions.
const MAX_SIZE: u64 = 1 << 22;
/// The most repetitions of anything, where the file with the tensors is not at hand.
const MAX_REPEATED: usize = 1024;
/// Keys that say how often something is repeated: each repetition needs tensors in the file.
const COUNTS: [&str; 2] = ["num_hidden_layers", "num_experts"];
/// How keys end that say how large something is.
const SIZES: [&str; 9] =
    ["_size", "_heads", "_layers", "_experts", "_embeddings", "_dim", "_channels", "_positions", "_patches"];

/// A JSON file as any type.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(CheckpointError::io(path, "reading"))?;
    if text.starts_with(LFS_START) {
        return Err(CheckpointError::format(path, LFS_POINTER));
    }
    serde_json::from_str(&text).map_err(|error| CheckpointError::format(path, error.to_string()))
}

/// The config of a folder, or of a GGUF file, and the file that it is in.
pub(super) fn read_of(path: &Path) -> Result<(PathBuf, Value), CheckpointError> {
    if is_gguf(path) {
        return Ok((path.to_path_buf(), gguf_config(path)?));
    }
    let path = path.join(CONFIG);
    let json = read_json(&path)?;
    Ok((path, json))
}

/// A part's config.json as its type, its sizes checked against reason: for whoever has the weights elsewhere.
pub(crate) fn read_config<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let json: Value = read_json(path)?;
    check_sizes(&json, path, MAX_REPEATED)?;
    from_value(json, path)
}

/// What makes a folder a model.
pub(super) const CONFIG: &str = "config.json";

/// A config's content as its type; an error names the key, and `null` is absent where the type has no place for it.
pub(super) fn from_value<T: DeserializeOwned>(value: Value, path: &Path) -> Result<T, CheckpointError> {
    published::from_value(value).map_err(|reason| CheckpointError::format(path, reason))
}

/// Refuses weights that were quantised: their tensors are no plain floats.
pub(super) fn check_quantization(config: &Value, path: &Path) -> Result<(), CheckpointError> {
    let places = [Some(config), config.get("text_config"), config.get("vision_config")];
    let found = places.into_iter().flatten().find_map(|place| place.get("quantization_config"));
    let Some(found) = found.filter(|found| !found.is_null()) else { return Ok(()) };
    let method = found.get("quant_method").and_then(Value::as_str).unwrap_or("bitsandbytes");
    let reason = format!(
        "`quantization_config`: the weights are quantised ({method}), which is not read; use the checkpoint that they were \
         made from, or save the model dequantised"
    );
    Err(CheckpointError::format(path, reason))
}

/// Refuses sizes that no file of `tensors` tensors can have, before memory is asked for on their account, and patches of no
/// size, by which grids are divided.
pub(super) fn check_sizes(config: &Value, path: &Path, tensors: usize) -> Result<(), CheckpointError> {
    let Some(object) = config.as_object() else { return Ok(()) };
    for (key, value) in object {
        check_sizes(value, path, tensors)?;
        let Some(number) = value.as_f64() else { continue };
        if key == "patch_size" && number < 1.0 {
            return Err(CheckpointError::format(path, format!("`{key}` is {value}, expected at least 1")));
        }
        let limit = if COUNTS.contains(&key.as_str()) {
            tensors as f64
        } else if SIZES.iter().any(|end| key.ends_with(end)) {
            MAX_SIZE as f64
        } else {
            continue;
        };
        if number > limit {
            return Err(CheckpointError::format(path, format!("`{key}` is {value}, expected at most {limit}")));
        }
    }
    Ok(())
}

/// Adds what a file says of itself, and the keys of both transformers 4.x and 5.x where they differ.
pub(super) fn finish(config: &mut Value, architecture: &str, model_type: &str, dtype: &str) {
    let Some(object) = config.as_object_mut() else { return };
    object.insert("architectures".into(), json!([architecture]));
    object.insert("model_type".into(), json!(model_type));
    object.insert("torch_dtype".into(), json!(dtype));
    object.insert("dtype".into(), json!(dtype));
    both_ropes(object);
    whole_numbers(object);
    if let Some(text) = object.get_mut("text_config").and_then(Value::as_object_mut) {
        both_ropes(text);
        whole_numbers(text);
        if let Some(tied) = text.get("tie_word_embeddings").cloned() {
            object.insert("tie_word_embeddings".into(), tied);
        }
    }
}

/// Gemma's scale is a number here and an integer to transformers 5.x, which refuses 256.0.
fn whole_numbers(config: &mut Map<String, Value>) {
    let Some(value) = config.get_mut("query_pre_attn_scalar") else { return };
    if let Some(number) = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e9) {
        *value = json!(number as i64);
    }
}

/// `rope_theta` and `rope_scaling`, which transformers 4.x reads, beside `rope_parameters`. Only in this direction: 5.x reads
/// the older keys itself.
fn both_ropes(config: &mut Map<String, Value>) {
    let Some(Value::Object(parameters)) = config.get("rope_parameters") else { return };
    let mut rest = parameters.clone();
    let theta = rest.remove("rope_theta");
    let default = rest.get("rope_type").is_none_or(|kind| kind == "default");
    config.extend(theta.map(|theta| ("rope_theta".to_string(), theta)));
    config.insert("rope_scaling".into(), if default { Value::Null } else { Value::Object(rest) });
}

/// The [`ModelError`] of a config file.
pub(super) fn invalid(path: &Path) -> impl FnOnce(ModelError) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Config { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rope_styles_stand_in_what_is_written() {
        let finished = |text: Value| {
            let mut config = json!({ "text_config": text });
            finish(&mut config, "A", "a", "float32");
            config["text_config"].clone()
        };
        let parameters = json!({ "rope_type": "linear", "factor": 2.0, "rope_theta": 5.0 });
        let scaled = finished(json!({ "rope_theta": 1.0, "rope_parameters": parameters }));
        assert_eq!((&scaled["rope_theta"], &scaled["rope_parameters"]), (&json!(5.0), &parameters));
        assert_eq!(scaled["rope_scaling"], json!({ "rope_type": "linear", "factor": 2.0 }));
        let plain = finished(json!({ "rope_parameters": { "rope_type": "default", "rope_theta": 3.0 } }));
        assert_eq!((&plain["rope_theta"], &plain["rope_scaling"]), (&json!(3.0), &Value::Null));
        let old = json!({ "rope_theta": 3.0, "rope_scaling": null });
        assert_eq!(finished(old.clone()), old);
    }

    #[test]
    fn errors_name_the_key() {
        let read = |config: Value| {
            from_value::<crate::vlm::VlmConfig>(config, Path::new("config.json")).map(drop).map_err(|e| e.to_string())
        };
        let config = |key: &str, value: Value| {
            let mut text = json!({ "model_type": "llama", "hidden_size": 8 });
            text[key] = value;
            json!({ "model_type": "llava", "vision_config": { "model_type": "siglip" }, "text_config": text })
        };
        assert_eq!(read(config("hidden_size", json!(16))), Ok(()));
        for (key, value) in [
            ("hidden_size", json!("wide")),
            ("hidden_act", json!("sine")),
            ("model_type", json!("bloom")),
            ("vocab_size", json!(-1)),
        ] {
            let error = read(config(key, value)).unwrap_err();
            assert!(error.starts_with(&format!("config.json: `text_config.{key}`: ")), "{error}");
        }
    }

    #[test]
    fn quantised_weights_are_refused() {
        let config = json!({ "text_config": { "quantization_config": { "load_in_4bit": true } } });
        let error = check_quantization(&config, Path::new("config.json")).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("bitsandbytes"), "{error}");
        assert!(check_quantization(&json!({ "quantization_config": null }), Path::new("a")).is_ok());
    }

    #[test]
    fn sizes_beyond_reason_are_refused_wherever_they_stand() {
        let check = |config: Value| check_sizes(&config, Path::new("config.json"), 10).map_err(|e| e.to_string());
        assert_eq!(check(json!({ "num_hidden_layers": 10, "vocab_size": 256_000, "eos_token_id": 1e12 })), Ok(()));
        let error = check(json!({ "text_config": { "num_hidden_layers": 11 } })).unwrap_err();
        assert!(error.contains("config.json") && error.contains("num_hidden_layers"), "{error}");
        assert!(check(json!({ "hidden_size": 1e10 })).is_err());
    }
}
