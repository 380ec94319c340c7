//! A model's folder: complete or not there.
//!
//! Unusual here: a folder that does not exist is written beside its place and renamed as a whole. In one that exists
//! everything is written aside first; then its `config.json`, by which a folder counts as a model, is removed, the files are
//! renamed one by one, and the new `config.json` comes last. Files that are none of ours stay; where companions are copied, those of
//! the old model do not, since words and settings that the new ones lack would be read with the new model.

use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm_base::files;

use super::config::CONFIG;
use super::{CheckpointError, StoreDtype};

/// 5 GB, as the Hugging Face hub has it.
const MAX_SHARD_SIZE: u64 = 5_000_000_000;

/// The files that say how conversations are written, in all formats: other programs read the older ones.
const WORDS: [&str; 11] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

/// The folder of chat templates besides the default one.
const MORE_TEMPLATES: &str = "additional_chat_templates";

/// The files that say how pictures and videos are prepared and texts are generated.
const SETTINGS: [&str; 4] =
    ["generation_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"];

/// An older place of how videos are prepared.
const VIDEO_SETTINGS: (&str, &str) = ("video_processor", "preprocessor_config.json");

/// How a model is written.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// Element type in the files.
    pub dtype: StoreDtype,
    /// Largest safetensors file in bytes; above it the weights are split into several files with an index. The default is 5 GB.
    pub max_shard_size: u64,
    /// A folder whose tokenizer and processor files are copied beside the weights, for example the one that the model came from.
    /// In a folder that holds a model they take the place of all such files there; without companions these stay.
    pub companions: Option<PathBuf>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { dtype: StoreDtype::F32, max_shard_size: MAX_SHARD_SIZE, companions: None }
    }
}

/// Copies tokenizer, template and processor files that are there.
pub(super) fn copy_companions(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    if !from.is_dir() {
        return Err(CheckpointError::format(from, "is no folder: tokenizer and processor files are copied from here"));
    }
    copy_words(from, to)?;
    copy(from, to, SETTINGS)?;
    let (folder, file) = VIDEO_SETTINGS;
    let (from, to) = (from.join(folder), to.join(folder));
    if !from.join(file).is_file() {
        return Ok(());
    }
    files::create_dir_all(&to)?;
    copy(&from, &to, [file])
}

/// Copies what a model's folder has of tokenizer and chat templates, as it is, into another folder.
///
/// # Errors
/// [`CheckpointError::Io`] for a file that cannot be read or written.
pub fn copy_words(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    copy(from, to, WORDS)?;
    let (from, to) = (from.join(MORE_TEMPLATES), to.join(MORE_TEMPLATES));
    let templates: Vec<String> = files::list_dir(&from)?.into_iter().filter(|name| name.ends_with(".jinja")).collect();
    if templates.is_empty() {
        return Ok(());
    }
    files::create_dir_all(&to)?;
    copy(&from, &to, &templates)
}

/// Copies those files that are there.
fn copy(from: &Path, to: &Path, names: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<(), CheckpointError> {
    for name in names {
        let source = from.join(&name);
        if source.is_file() {
            fs::copy(&source, to.join(&name)).map_err(CheckpointError::io(&source, "copying"))?;
        }
    }
    Ok(())
}

/// Lets `fill` write files into a new folder and gives it the name `folder`; `companions` says whether it writes companions too.
pub(super) fn publish(
    folder: &Path,
    companions: bool,
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
    replace(staging.path(), folder, companions)?;
    Ok(files::sync_folder(folder)?)
}

/// Replaces a model in a folder that may hold other things.
fn replace(staging: &Path, folder: &Path, companions: bool) -> Result<(), CheckpointError> {
    let names = files::list_dir(staging)?;
    files::remove_if_there(&folder.join(CONFIG))?;
    for name in files::list_dir(folder)? {
        if (is_weights(&name) || (companions && is_companion(&name))) && !names.contains(&name) {
            files::remove_if_there(&folder.join(name))?;
        }
    }
    if companions {
        remove_templates(&folder.join(MORE_TEMPLATES), &staging.join(MORE_TEMPLATES))?;
        let (of_videos, file) = VIDEO_SETTINGS;
        // What a link points to is somebody else's.
        if !folder.join(of_videos).is_symlink() && !staging.join(of_videos).join(file).is_file() {
            files::remove_if_there(&folder.join(of_videos).join(file))?;
        }
    }
    let (last, first): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.as_str() == CONFIG);
    for name in first.into_iter().chain(last) {
        let (from, to) = (staging.join(name), folder.join(name));
        if from.is_dir() && to.is_dir() {
            // A folder cannot be put into the place of one that holds something.
            files::list_dir(&from)?.iter().try_for_each(|name| rename(&from.join(name), &to.join(name)))?;
        } else {
            rename(&from, &to)?;
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    fs::rename(from, to).map_err(CheckpointError::io(to, "renaming the finished file"))
}

/// Removes the templates of a folder that another has not, and the folder where nothing is left in it.
fn remove_templates(folder: &Path, new: &Path) -> Result<(), CheckpointError> {
    if folder.is_symlink() {
        // What it points to is somebody else's.
        return Ok(files::remove_if_there(folder)?);
    }
    let new = files::list_dir(new)?;
    let mut stay = false;
    for name in files::list_dir(folder)? {
        if name.ends_with(".jinja") && !new.contains(&name) {
            files::remove_if_there(&folder.join(name))?;
        } else {
            stay = true;
        }
    }
    match folder.is_dir() && !stay {
        true => fs::remove_dir(folder).map_err(CheckpointError::io(folder, "removing the empty folder")),
        false => Ok(()),
    }
}

/// Whether a file of this name belongs to a model's words or settings.
fn is_companion(name: &str) -> bool {
    WORDS.contains(&name) || SETTINGS.contains(&name)
}

/// Whether a file of this name would be read as weights.
fn is_weights(name: &str) -> bool {
    let shard = name.strip_prefix("model-").is_some_and(|rest| rest.ends_with(".safetensors"));
    shard || name == "model.safetensors" || name == "model.safetensors.index.json"
}
