//! Replies of earlier runs: a JSON file each, named by the hash of what was asked.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{FileError, create_dir_all, read_regular, write_json_atomic};
use serde_json::{Value, json};

use super::JudgeOptions;
use crate::published::JudgePrompt;

/// Goes into every hash: replies are asked anew where it changes.
const VERSION: u32 = 1;
/// Bytes of a file beyond reply and prompt.
const FRAME: u64 = 1 << 20;
/// JSON may need this many bytes for one of a text (`\u0000`).
const ESCAPED: u64 = 6;
/// Characters of the hash that name a folder: no folder has all files.
const FOLDER: usize = 2;

/// What is asked, as a hash: model, prompt and settings.
pub(super) fn key(model: &str, prompt: &JudgePrompt) -> String {
    blake3::hash(json!([VERSION, model, prompt]).to_string().as_bytes()).to_hex().to_string()
}

/// A folder of replies.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    model: String,
    max_bytes: u64,
}

/// What is in a cache.
#[derive(Debug, PartialEq)]
pub(super) enum Cached {
    Reply(String),
    Nothing,
    /// A file that is not what was written, with its name.
    Damaged(String),
}

impl Cache {
    pub(super) fn open(folder: &Path, options: &JudgeOptions) -> Result<Self, FileError> {
        create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), model: options.model.clone(), max_bytes: options.max_bytes })
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        let begin: String = key.chars().take(FOLDER).collect();
        self.folder.join(begin).join(format!("{key}.json"))
    }

    pub(super) fn read(&self, key: &str, prompt: &JudgePrompt) -> Cached {
        let path = self.path(key);
        let damaged = |why: &str| Cached::Damaged(format!("{}: {why}", path.display()));
        let most =
            (self.max_bytes.saturating_add(prompt.text.len() as u64)).saturating_mul(ESCAPED).saturating_add(FRAME);
        let bytes = match read_regular(&path, most) {
            Ok(bytes) => bytes,
            Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Cached::Nothing,
            Err(error) => return Cached::Damaged(error.to_string()),
        };
        let Ok(entry) = serde_json::from_slice::<Value>(&bytes) else { return damaged("it is no JSON") };
        let Some(reply) = entry["reply"].as_str() else { return damaged("it has no text `reply`") };
        let whole = self.entry(prompt, reply);
        match entry == whole {
            true => Cached::Reply(reply.to_owned()),
            false => damaged("it is not what was written for this prompt"),
        }
    }

    pub(super) fn write(&self, key: &str, prompt: &JudgePrompt, reply: &str) -> Result<(), FileError> {
        write_json_atomic(&self.path(key), &self.entry(prompt, reply))
    }

    fn entry(&self, prompt: &JudgePrompt, reply: &str) -> Value {
        let check = blake3::hash(reply.as_bytes()).to_hex().to_string();
        json!({ "model": self.model, "prompt": prompt, "reply": reply, "check": check })
    }
}
