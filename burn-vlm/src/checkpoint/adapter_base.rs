//! Which weights an adapter was made for: told by this library's own record, which proves it, else by the name that peft writes.
//!
//! Unusual here: weights are told apart by pieces of their files, so that looking takes no longer for 7 billion parameters than for 7 million.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{list_dir, read_json_if_there, write_json_atomic};
use burn_vlm_base::seal::hash_pieces;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ADAPTER_CONFIG, CheckpointError, config};

/// The record beside an adapter's files; peft does not look at it.
const RECORD: &str = "base.json";
/// The end of the names of files of weights.
const WEIGHTS: &str = ".safetensors";

/// The weights that an adapter was trained beside.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Base {
    /// What the folder was called.
    model: String,
    /// By file, size and hash of pieces.
    weights: BTreeMap<String, Weights>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Weights {
    bytes: u64,
    blake3: String,
}

/// What tells the weights of a folder from others.
fn weights_of(folder: &Path) -> Result<BTreeMap<String, Weights>, CheckpointError> {
    let mut weights = BTreeMap::new();
    for name in list_dir(folder)?.into_iter().filter(|name| name.ends_with(WEIGHTS)) {
        let (bytes, blake3) = hash_pieces(&folder.join(&name))?;
        weights.insert(name, Weights { bytes, blake3 });
    }
    Ok(weights)
}

/// Notes beside an adapter which weights it was trained on: those in the folder `base`.
///
/// # Errors
/// A file that cannot be read or written.
pub fn record_base(adapter: &Path, base: &Path) -> Result<(), CheckpointError> {
    let record = Base { model: base.display().to_string(), weights: weights_of(base)? };
    Ok(write_json_atomic(&adapter.join(RECORD), &record)?)
}

/// That an adapter was made for other weights than those that it is put beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherBase {
    /// What tells, for people.
    pub message: String,
    /// Whether the weights themselves tell (the adapter has this library's record of those that it was trained on), and not a name.
    pub proven: bool,
}

/// Whether an adapter is made for other weights than those in `model`, a folder in Hugging Face's layout: they are not those of the
/// adapter's record, or, where it has none, the model is not called what `base_model_name_or_path` says. `None` where nothing speaks
/// against it.
///
/// # Errors
/// A folder without an adapter, a file that cannot be read, or is not what its name says.
pub fn other_base(adapter: &Path, model: &Path) -> Result<Option<OtherBase>, CheckpointError> {
    let path = config_of(adapter)?;
    // A GGUF file has no `config.json`, and its weights are other bytes than those it was made from: its name is all there is.
    let is_file = model.is_file();
    if !is_file && let Some(Base { model: named, weights }) = read_json_if_there::<Base>(&adapter.join(RECORD))? {
        let here = weights_of(model)?;
        let alike = here.len() == weights.len() && here.values().all(|one| weights.values().any(|other| one == other));
        let message = format!(
            "{} was trained on the weights of {named}, and those of {} are others: an adapter changes the weights that it was \
             trained on, and on others it means nothing ({RECORD} tells them apart)",
            adapter.display(),
            model.display()
        );
        return Ok((!alike).then_some(OtherBase { message, proven: true }));
    }
    let json: Value = config::read_json(&path)?;
    let Some(base) = json["base_model_name_or_path"].as_str().filter(|name| !name.trim().is_empty()) else {
        return Ok(None);
    };
    let own: Value = match is_file {
        true => Value::Null,
        false => read_json_if_there(&model.join("config.json"))?.unwrap_or_default(),
    };
    let names = own["_name_or_path"].as_str();
    let begins_alike =
        || model.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().starts_with(&last_of(base)));
    if is_file && begins_alike() || is_called(model, base) || names.is_some_and(|name| last_of(name) == last_of(base)) {
        return Ok(None);
    }
    let message = format!(
        "{}: `base_model_name_or_path` is `{base}`, and the model is {}: an adapter changes the weights that it was trained on, and on \
         others it means nothing. Nothing is wrong where this is the same model under another name",
        path.display(),
        model.display()
    );
    Ok(Some(OtherBase { message, proven: false }))
}

/// The configuration of the adapter in a folder.
///
/// # Errors
/// None is there: what is, and where an adapter may be.
pub(super) fn config_of(adapter: &Path) -> Result<PathBuf, CheckpointError> {
    let path = adapter.join(ADAPTER_CONFIG);
    if path.is_file() {
        return Ok(path);
    }
    let inside = adapter.join("adapter");
    let reason = if inside.join(ADAPTER_CONFIG).is_file() {
        format!("has no {ADAPTER_CONFIG}, and the folder {} in it has: name that one", inside.display())
    } else if adapter.is_dir() {
        format!(
            "has no {ADAPTER_CONFIG}, which an adapter in peft's layout has beside its weights: name the folder with both"
        )
    } else {
        format!("there is no such folder; expected one with {ADAPTER_CONFIG} and the weights of an adapter")
    };
    Err(CheckpointError::format(adapter, reason))
}

/// The last part of a name or path, in lower case.
fn last_of(name: &str) -> String {
    name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(name).to_lowercase()
}

/// Whether a folder is the model of this name or path: it is that folder, or one on the way to it is called so, as in the hub's cache
/// (`models--llava-hf--llava-1.5-7b-hf/snapshots/...`).
fn is_called(folder: &Path, base: &str) -> bool {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if Path::new(base).canonicalize().is_ok_and(|base| base == whole) {
        return true;
    }
    let base = last_of(base);
    let mut parts = whole.components().map(|part| part.as_os_str().to_string_lossy().to_lowercase());
    parts.any(|part| part == base || part.ends_with(&format!("--{base}")))
}
