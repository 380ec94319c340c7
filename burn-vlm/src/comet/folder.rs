//! A COMET model's files: `hparams.yaml` and `checkpoints/model.ckpt`, as its repository has them, and the folder of its encoder.
//!
//! Unusual here: a published repository has neither the encoder's config nor its tokenizer. COMET fetches them from the repository
//! that `pretrained_model` names; here they lie in a folder that is named, or in `encoder` beside `hparams.yaml`.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

use super::config::{FILE, Hparams};
use super::{CometConfig, CometModel};
use crate::checkpoint::{CheckpointError, Layout, TensorSource, load_parameters, read_config};
use crate::init::{DEFAULT_SEED, Scope};
use crate::text::TextEncoderConfig;

/// Where the weights are, in the order in which they are looked for.
const WEIGHTS: [&str; 2] = ["checkpoints/model.ckpt", "model.safetensors"];
/// Where the encoder's config and tokenizer are looked for when nobody names a folder.
const ENCODER: &str = "encoder";
/// The encoder's config.
const CONFIG: &str = "config.json";

/// The files of a COMET model.
#[derive(Debug, Clone)]
pub struct CometFolder {
    /// `hparams.yaml`
    pub hparams: PathBuf,
    /// The weights.
    pub weights: PathBuf,
    /// The folder with the encoder's config and tokenizer.
    pub encoder: PathBuf,
    /// The repository that COMET takes the encoder's config and tokenizer from.
    pub pretrained_model: String,
    /// What the model is made of.
    pub config: CometConfig,
}

impl CometFolder {
    /// Finds the files of a folder and reads what the model is made of; `encoder` is the folder with the encoder's config, `encoder` in
    /// `dir` where none is named.
    ///
    /// # Errors
    /// [`CheckpointError`] for a file that is missing or holds something else; it names the file.
    pub fn open(dir: &Path, encoder: Option<&Path>) -> Result<Self, CheckpointError> {
        let hparams = dir.join(FILE);
        if !hparams.is_file() {
            let reason = format!(
                "no {FILE} here: expected a COMET model's folder as its repository has it, {FILE} and {}",
                WEIGHTS[0]
            );
            return Err(CheckpointError::format(dir, reason));
        }
        let Some(weights) = WEIGHTS.map(|name| dir.join(name)).into_iter().find(|path| path.is_file()) else {
            return Err(CheckpointError::format(dir, format!("no weights here: expected {}", WEIGHTS.join(" or "))));
        };
        let read: Hparams = burn_vlm_base::published::from_value(read_yaml(&hparams)?)
            .map_err(|reason| CheckpointError::format(&hparams, reason))?;
        let encoder = encoder.map_or_else(|| dir.join(ENCODER), Path::to_path_buf);
        let path = encoder.join(CONFIG);
        if !path.is_file() {
            let reason = format!(
                "no {CONFIG} here: a COMET model's folder has neither the config of its encoder nor its tokenizer; put those \
                 of `{}` (pretrained_model) into this folder, or name the folder that has them",
                read.pretrained_model
            );
            return Err(CheckpointError::format(&encoder, reason));
        }
        let described: TextEncoderConfig = read_config(&path)?;
        let config = CometConfig::new(&read, described)
            .map_err(|source| CheckpointError::Config { path: hparams.clone(), source })?;
        Ok(Self { hparams, weights, encoder, pretrained_model: read.pretrained_model, config })
    }

    /// The model with its weights, strict and as f32.
    ///
    /// # Errors
    /// [`CheckpointError`]; it names the file.
    pub fn load(&self, device: &Device) -> Result<CometModel, CheckpointError> {
        let source = TensorSource::open(&self.weights)?;
        let invalid = |source| CheckpointError::Config { path: self.hparams.clone(), source };
        let model = CometModel::new(self.config.clone(), &Scope::new(DEFAULT_SEED, device)).map_err(invalid)?;
        load_parameters(model, &source, &Layout::Comet)
    }
}

/// A YAML file as JSON.
fn read_yaml(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(CheckpointError::io(path, "reading"))?;
    // A short file could stand for a very long one; hyper-parameters have no use for them.
    if let Some(line) = text.lines().position(|line| [": &", "- &"].iter().any(|mark| line.contains(mark))) {
        return Err(CheckpointError::format(path, format!("line {}: anchors (&name) are not read", line + 1)));
    }
    let documents =
        YamlLoader::load_from_str(&text).map_err(|error| CheckpointError::format(path, format!("no YAML: {error}")))?;
    match documents.into_iter().next() {
        Some(Yaml::Hash(keys)) => Ok(Value::Object(object(keys))),
        _ => Err(CheckpointError::format(path, "expected keys and values")),
    }
}

fn object(keys: yaml_rust2::yaml::Hash) -> Map<String, Value> {
    // Keys that are no texts are none that are read.
    keys.into_iter().filter_map(|(key, value)| Some((key.into_string()?, json(value)))).collect()
}

fn json(value: Yaml) -> Value {
    match value {
        Yaml::Real(text) => text.parse().map_or(Value::String(text), |number: f64| Value::from(number)),
        Yaml::Integer(number) => Value::from(number),
        Yaml::String(text) => Value::String(text),
        Yaml::Boolean(truth) => Value::Bool(truth),
        Yaml::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        Yaml::Hash(keys) => Value::Object(object(keys)),
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}
