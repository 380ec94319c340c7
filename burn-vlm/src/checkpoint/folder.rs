//! A model's folder: complete or not there.
//!
//! Unusual here: a folder that does not exist is written beside its place and renamed as a whole. In one that exists
//! everything is written aside first; then its `config.json`, by which a folder counts as a model, is removed, the files are
//! renamed one by one, and the new `config.json` comes last. Files that are none of ours stay.

use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm_base::files;

use super::config::CONFIG;
use super::{CheckpointError, StoreDtype};

/// 5 GB, as the Hugging Face hub has it.
const MAX_SHARD_SIZE: u64 = 5_000_000_000;

/// Tokenizer and processor files, which are copied as they are.
const COMPANIONS: [&str; 13] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

/// How a model is written.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// Element type in the files.
    pub dtype: StoreDtype,
    /// Largest safetensors file in bytes; above it the weights are split into several files with an index. The default is 5 GB.
    pub max_shard_size: u64,
    /// A folder whose tokenizer and processor files are copied beside the weights, for example the one that the model came from.
    pub companions: Option<PathBuf>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { dtype: StoreDtype::F32, max_shard_size: MAX_SHARD_SIZE, companions: None }
    }
}

/// Copies tokenizer and processor files that are there.
pub(super) fn copy_companions(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    if !from.is_dir() {
        return Err(CheckpointError::format(from, "is no folder: tokenizer and processor files are copied from here"));
    }
    for name in COMPANIONS {
        let source = from.join(name);
        if source.is_file() {
            fs::copy(&source, to.join(name)).map_err(CheckpointError::io(&source, "copying"))?;
        }
    }
    Ok(())
}

/// Lets `fill` write files into a new folder and gives it the name `folder`.
pub(super) fn publish(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let exists = folder.is_dir();
    let staging = match exists {
        true => files::temp_dir_in(folder, folder)?,
        false => files::temp_dir_for(folder)?,
    };
    fill(staging.path())?;
    if !exists {
        return Ok(files::publish_dir(staging.path(), folder)?);
    }
    files::sync_tree(staging.path())?;
    move_files(staging.path(), folder, &files::list_dir(staging.path())?)?;
    Ok(files::sync_folder(folder)?)
}

/// Replaces a model in a folder that may hold other things.
fn move_files(staging: &Path, folder: &Path, names: &[String]) -> Result<(), CheckpointError> {
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CheckpointError::io(path, "removing the old file")(error))
        }
        _ => Ok(()),
    };
    remove(&folder.join(CONFIG))?;
    for entry in fs::read_dir(folder).map_err(CheckpointError::io(folder, "listing"))? {
        let entry = entry.map_err(CheckpointError::io(folder, "listing"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_weights(&name) && !names.contains(&name) {
            remove(&entry.path())?;
        }
    }
    let (last, first): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.as_str() == CONFIG);
    for name in first.into_iter().chain(last) {
        let path = folder.join(name);
        fs::rename(staging.join(name), &path).map_err(CheckpointError::io(&path, "renaming the finished file"))?;
    }
    Ok(())
}

/// Whether a file of this name would be read as weights.
fn is_weights(name: &str) -> bool {
    let shard = name.strip_prefix("model-").is_some_and(|rest| rest.ends_with(".safetensors"));
    shard || name == "model.safetensors" || name == "model.safetensors.index.json"
}
