//! How tokens are chosen.

use std::path::Path;

use burn_vlm_base::published;
use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointError;
use crate::error::ModelError;
use crate::language::TokenIds;

/// transformers' `top_k` where a file does not say it: sampling is among so many tokens.
pub const SAMPLED_AMONG: usize = 50;

/// How tokens are chosen, in the order of Hugging Face's processors: repetition penalty, temperature, top-k, top-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationConfig {
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// 0 is greedy; above, logits are divided by it before sampling.
    pub temperature: f64,
    /// Keep the `k` most likely tokens (and those that tie with the last of them).
    pub top_k: Option<usize>,
    /// Keep the smallest set of tokens whose probability reaches `p`.
    pub top_p: Option<f64>,
    /// Logits of tokens that occurred (prompt included) are divided by it where positive, multiplied where negative; 1 is off.
    pub repetition_penalty: f64,
    /// Ids that end a row.
    pub stop_tokens: Vec<u32>,
    /// Of the sampling.
    pub seed: u64,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            stop_tokens: Vec::new(),
            seed: 0,
        }
    }
}

impl GenerationConfig {
    /// What `generation_config.json` of a checkpoint says, and transformers' defaults for what it does not say or says `null` to:
    /// greedy, and, where tokens are sampled, at temperature 1 among the [`SAMPLED_AMONG`] likeliest. (Only `max_new_tokens` is
    /// this library's own: transformers' 20 tokens, prompt included, are of no use.)
    ///
    /// # Errors
    /// [`CheckpointError`] for a file that cannot be read; it names file and key.
    pub fn from_folder(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join("generation_config.json");
        if !path.is_file() {
            return Ok(Self { top_k: Some(SAMPLED_AMONG), ..Self::default() });
        }
        let text = std::fs::read_to_string(&path).map_err(CheckpointError::io(&path, "reading"))?;
        let invalid = |reason: String| CheckpointError::format(&path, reason);
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let file: Published = published::from_value_without_nulls(value).map_err(invalid)?;
        let defaults = Self::default();
        Ok(Self {
            max_new_tokens: file.max_new_tokens.unwrap_or(defaults.max_new_tokens),
            temperature: if file.do_sample { file.temperature.unwrap_or(1.0) } else { 0.0 },
            top_k: Some(file.top_k.unwrap_or(SAMPLED_AMONG)).filter(|k| *k > 0),
            top_p: file.top_p.filter(|p| *p < 1.0),
            repetition_penalty: file.repetition_penalty.unwrap_or(1.0),
            stop_tokens: file.eos_token_id.map(|ids| ids.to_vec()).unwrap_or_default(),
            seed: defaults.seed,
        })
    }

    /// What `generation_config.json` asks for, with a value that changes the text, and this library does not do: `num_beams = 4`,
    /// `min_p = 0.1`, ... Texts are written without it.
    ///
    /// # Errors
    /// [`CheckpointError`] for a file that cannot be read.
    pub fn unread_settings(folder: &Path) -> Result<Vec<String>, CheckpointError> {
        let path = folder.join("generation_config.json");
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&path).map_err(CheckpointError::io(&path, "reading"))?;
        let file: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| CheckpointError::format(&path, error.to_string()))?;
        let acts = |(key, idle): &&(&str, f64)| match &file[*key] {
            serde_json::Value::Number(number) => number.as_f64() != Some(*idle),
            serde_json::Value::Array(items) => !items.is_empty(),
            serde_json::Value::Object(entries) => !entries.is_empty(),
            serde_json::Value::Bool(on) => *on,
            _ => false,
        };
        Ok(NOT_DONE.iter().filter(acts).map(|(key, _)| format!("{key} = {}", file[*key])).collect())
    }

    /// Whether each token is the one with the largest logit, whatever came before.
    pub(super) fn takes_the_likeliest(&self) -> bool {
        self.temperature == 0.0 && self.repetition_penalty == 1.0
    }

    /// Whether every option is in its range.
    ///
    /// # Errors
    /// [`ModelError::Input`], which names the option.
    pub fn validate(&self) -> Result<(), ModelError> {
        let error = |text: &str| Err(ModelError::Input(format!("generation: {text}")));
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return error("temperature must be a finite number >= 0 (0 is greedy)");
        }
        if self.top_k == Some(0) {
            return error("top_k must be at least 1");
        }
        if self.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return error("top_p must be in (0, 1]");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return error("repetition_penalty must be a finite number > 0 (1 is off)");
        }
        Ok(())
    }
}

/// Keys of `generation_config.json` that are not read and change a text, with the number at which they do not.
const NOT_DONE: [(&str, f64); 17] = [
    ("bad_words_ids", 0.0),
    ("begin_suppress_tokens", 0.0),
    ("diversity_penalty", 0.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("exponential_decay_length_penalty", 0.0),
    ("forced_bos_token_id", -1.0),
    ("guidance_scale", 1.0),
    ("min_length", 0.0),
    ("min_new_tokens", 0.0),
    ("min_p", 0.0),
    ("no_repeat_ngram_size", 0.0),
    ("num_beams", 1.0),
    ("penalty_alpha", 0.0),
    ("suppress_tokens", 0.0),
    ("typical_p", 1.0),
];

/// The keys of `generation_config.json` that concern us; the others are Hugging Face's own matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Published {
    do_sample: bool,
    max_new_tokens: Option<usize>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    repetition_penalty: Option<f64>,
    eos_token_id: Option<TokenIds>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        for config in [
            GenerationConfig { temperature: -1.0, ..Default::default() },
            GenerationConfig { top_k: Some(0), ..Default::default() },
            GenerationConfig { top_p: Some(0.0), ..Default::default() },
            GenerationConfig { repetition_penalty: 0.0, ..Default::default() },
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }

    #[test]
    fn a_published_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(folder.path().join("generation_config.json"), text).unwrap();
            GenerationConfig::from_folder(folder.path())
        };
        let config =
            read(r#"{"do_sample": true, "top_k": 20, "top_p": 0.8, "eos_token_id": [7, 9], "bos_token_id": 1}"#);
        let expected = GenerationConfig {
            temperature: 1.0,
            top_k: Some(20),
            top_p: Some(0.8),
            stop_tokens: vec![7, 9],
            ..Default::default()
        };
        assert_eq!(config.unwrap(), expected);
        // As GenerationConfig(do_sample=True) of transformers 4.57.1 has it, whether a key is absent or null.
        let sampled = GenerationConfig { temperature: 1.0, top_k: Some(50), ..Default::default() };
        assert_eq!(read(r#"{"do_sample": true}"#).unwrap(), sampled);
        let nulls = r#"{"do_sample": true, "top_k": null, "top_p": null, "temperature": null, "repetition_penalty": null,
            "eos_token_id": null, "max_new_tokens": null}"#;
        assert_eq!(read(nulls).unwrap(), sampled);
        let greedy = GenerationConfig { top_k: Some(50), ..Default::default() };
        assert_eq!(read(r#"{"do_sample": null, "temperature": 0.3}"#).unwrap(), greedy);
        assert_eq!(read(r#"{"do_sample": true, "top_k": 0}"#).unwrap().top_k, None);
        let error = read(r#"{"do_sample": true, "top_k": "many"}"#).unwrap_err().to_string();
        assert!(error.contains("generation_config.json") && error.contains("`top_k`"), "{error}");
        let unread = |text: &str| {
            std::fs::write(folder.path().join("generation_config.json"), text).unwrap();
            GenerationConfig::unread_settings(folder.path()).unwrap()
        };
        assert_eq!(unread(r#"{"num_beams": 4, "min_p": 0.1, "typical_p": 1.0}"#), ["min_p = 0.1", "num_beams = 4"]);
        let idle = r#"{"num_beams": 1, "min_p": null, "no_repeat_ngram_size": 0, "bad_words_ids": null, "suppress_tokens": []}"#;
        assert!(unread(idle).is_empty());
        assert!(read("{").unwrap_err().to_string().contains("generation_config.json"));
        std::fs::remove_file(folder.path().join("generation_config.json")).unwrap();
        assert_eq!(GenerationConfig::from_folder(folder.path()).unwrap(), greedy);
    }
}
