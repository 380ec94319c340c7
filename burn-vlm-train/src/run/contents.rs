//! What a stage's data was when the stage began, `data.json`: which records are drawn, and what stood in the files.
//!
//! Counts alone do not tell a corrected file from the one before. Names, sizes and hashes do, and need no clock: files may be copied
//! to another machine. A file up to 64 MB is hashed whole, of a larger one 64 pieces from all over it
//! ([`hash_pieces`]): a shard that was written anew differs in all of them, and a thousand shards take seconds. Pictures that records
//! name by their paths are not looked at.

use std::path::Path;

use burn_vlm_base::seal::hash_pieces;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::source::{Mixed, StreamState, mixture_files};
use serde::{Deserialize, Serialize};

use crate::ablation::{hash_table, parse_toml};
use crate::error::{Result, TrainError};
use crate::recipe::StageRecipe;

/// `data.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataState {
    /// What is drawn, in which order.
    #[serde(flatten)]
    stream: StreamState,
    /// What it is read from.
    #[serde(default)]
    files: Vec<FileState>,
}

/// A file, wherever it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    name: String,
    bytes: u64,
    blake3: String,
}

impl FileState {
    fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (bytes, blake3) = hash_pieces(path)?;
        Ok(Self { name, bytes, blake3 })
    }

    /// A mixture file by what it says: another comment is no other data.
    fn of_mixture(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| TrainError::io("cannot read", path, e))?;
        let table = parse_toml(path, &text).map_err(|error| TrainError::invalid(path, error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, bytes: 0, blake3: hash_table(&table) })
    }
}

/// The files of a stage: its mixtures, and what these name.
fn files(stage: &StageRecipe, base: &Path) -> Result<Vec<FileState>> {
    let mixture = stage.mixture.as_ref().map(|mixture| &mixture.file);
    let validated = stage.validation.as_ref().and_then(|validation| validation.file.as_ref());
    let mut found = Vec::new();
    for file in mixture.into_iter().chain(validated) {
        let path = base.join(file);
        found.push(FileState::of_mixture(&path)?);
        for data in mixture_files(&MixtureConfig::from_file(&path)?)? {
            found.push(FileState::of(&data)?);
        }
    }
    Ok(found)
}

/// The same as one hash. `None` where the stage reads no files.
///
/// # Errors
/// A file that is not there.
pub(crate) fn files_state(stage: &StageRecipe, base: &Path) -> Result<Option<String>> {
    let found = files(stage, base)?;
    Ok((!found.is_empty()).then(|| blake3::hash(format!("{found:?}").as_bytes()).to_hex().to_string()))
}

impl DataState {
    /// Of an open stage. Where the sources are a program's own, no file is known.
    pub(super) fn of(mixed: &Mixed, stage: Option<(&StageRecipe, &Path)>) -> Result<Self> {
        let files = stage.map(|(stage, base)| files(stage, base)).transpose()?.unwrap_or_default();
        Ok(Self { stream: mixed.state(0), files })
    }

    /// Why a run that began with `before` cannot go on with this, if it cannot: the first difference.
    pub(super) fn refusal(&self, before: &Self, mixed: &Mixed) -> Option<String> {
        if let Err(error) = mixed.resume(&before.stream) {
            return Some(error.to_string());
        }
        self.changed_files(before).into_iter().next()
    }

    fn changed_files(&self, before: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for file in &self.files {
            let named: Vec<&FileState> = before.files.iter().filter(|then| then.name == file.name).collect();
            match named.as_slice() {
                [] => lines.push(format!("{} is new", file.name)),
                named if named.contains(&file) => {}
                [then, ..] if then.bytes != file.bytes => {
                    lines.push(format!("{} has {} bytes and had {}", file.name, file.bytes, then.bytes));
                }
                [_, ..] if file.bytes == 0 => lines.push(format!("{} says something else", file.name)),
                [_, ..] => lines.push(format!("{} has other contents at the same size", file.name)),
            }
        }
        let gone = before.files.iter().filter(|then| !self.files.iter().any(|file| file.name == then.name));
        lines.extend(gone.map(|then| format!("{} is gone", then.name)));
        if lines.is_empty() && self.files != before.files {
            lines.push("the files are read in another order".to_owned());
        }
        lines
    }

    /// What is not as it was, a line each: sources by their draws, then files.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let of = |state: &Self, name: &str| {
            let groups = state.stream.groups.iter().filter(|group| group.source == name);
            groups.fold((0, 0), |(records, draws), group| (records + group.records, draws + group.draws))
        };
        let mut names: Vec<&String> =
            self.stream.groups.iter().chain(&before.stream.groups).map(|group| &group.source).collect();
        names.sort();
        names.dedup();
        let mut lines = Vec::new();
        for name in names {
            let ((records, draws), (had, drew)) = (of(self, name), of(before, name));
            match (draws, drew) {
                (0, _) => lines.push(format!("source {name} is gone ({had} records)")),
                (_, 0) => lines.push(format!("source {name} is new: {records} records, {draws} draws an epoch")),
                _ if (records, draws) != (had, drew) => lines.push(format!(
                    "source {name}: {records} records, {draws} draws an epoch; there were {had}, {drew} draws"
                )),
                _ => {}
            }
        }
        lines.extend(self.changed_files(before));
        if lines.is_empty() && self != before {
            lines.push("other records are chosen, as many as before".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm_data::source::GroupState;

    fn state(groups: &[(&str, u64)], files: &[(&str, u64, &str)]) -> DataState {
        let group = |(source, records): &(&str, u64)| GroupState {
            source: (*source).to_owned(),
            records: *records,
            chosen: *records,
            draws: *records,
            chunk: 1,
        };
        let file = |(name, bytes, hash): &(&str, u64, &str)| FileState {
            name: (*name).to_owned(),
            bytes: *bytes,
            blake3: (*hash).to_owned(),
        };
        DataState {
            stream: StreamState { position: 0, seed: 1, groups: groups.iter().map(group).collect() },
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn what_changed_is_said() {
        let before = state(&[("a", 10), ("b", 5)], &[("m.toml", 0, "x"), ("a.json", 9, "x"), ("b.json", 7, "x")]);
        assert!(before.changes(&before).is_empty());
        let now = state(&[("a", 12), ("c", 3)], &[("m.toml", 0, "y"), ("a.json", 9, "y"), ("c.json", 7, "x")]);
        let expected = [
            "source a: 12 records, 12 draws an epoch; there were 10, 10 draws",
            "source b is gone (5 records)",
            "source c is new: 3 records, 3 draws an epoch",
            "m.toml says something else",
            "a.json has other contents at the same size",
            "c.json is new",
            "b.json is gone",
        ];
        assert_eq!(now.changes(&before), expected);
        let swapped = state(&[("a", 10), ("b", 5)], &[("m.toml", 0, "x"), ("b.json", 7, "x"), ("a.json", 9, "x")]);
        assert_eq!(swapped.changes(&before), ["the files are read in another order"]);
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<DataState>(&json).unwrap(), before);
    }
}
