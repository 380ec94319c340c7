//! Hashes of files that a later step reads back.
//!
//! A whole file may still be a damaged one: a flipped bit in a checkpoint gives another model, one in a score another table,
//! and no format notices. Who writes a folder therefore notes the hash of each file, and who reads it compares.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError, TEMP_PREFIX};

/// The file of a folder's [`Seal`], where nothing else lists its files.
pub const SEAL: &str = "seal.json";

/// The files of a folder, with what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seal {
    files: Vec<Sealed>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sealed {
    /// Below the folder, with `/`.
    path: String,
    bytes: u64,
    /// Hexadecimal.
    blake3: String,
}

/// A file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {why}")]
pub struct Damage {
    /// The file, below its folder.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
}

/// A file as the file system tells it from others.
type FileState = (PathBuf, u64, Option<SystemTime>);

/// The hash of a file's content, in hexadecimal. The file is read as a stream, about a gigabyte a second, and once for as long as
/// the program runs and the file does not change.
///
/// # Errors
/// Names the file.
pub fn hash_file(path: &Path) -> Result<String, FileError> {
    static KNOWN: Mutex<Option<HashMap<FileState, String>>> = Mutex::new(None);
    let data = fs::metadata(path).map_err(FileError::io("read", path))?;
    let state = (path.to_owned(), data.len(), data.modified().ok());
    // A poisoned lock guards a table that is whole: it is changed by single calls.
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = known().as_ref().and_then(|known| known.get(&state)) {
        return Ok(hash.clone());
    }
    let hash = hash_content(path)?;
    known().get_or_insert_default().insert(state, hash.clone());
    Ok(hash)
}

fn hash_content(path: &Path) -> Result<String, FileError> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(FileError::io("read", path))?;
    hasher.update_reader(file).map_err(FileError::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Most bytes that [`hash_contents`] reads of a compressed file without leaving any out.
const WHOLE: u64 = 64 << 20;
/// Pieces of a larger file, and their size.
const PIECES: u64 = 64;
const PIECE: u64 = 64 << 10;

/// Size and hash of a file for telling it from another one. It is read whole, but for a `.parquet` of more than 64 MiB: of this 64
/// pieces of 64 KiB, evenly spaced from its first byte to its last. Its columns are compressed, so that one that was written with another
/// value differs from there on and in the offsets at its end; a flipped bit between two pieces does not show.
///
/// # Errors
/// Names the file.
pub fn hash_contents(path: &Path) -> Result<(u64, String), FileError> {
    hash_contents_above(path, WHOLE)
}

/// The same, with the most bytes of a compressed file that is read whole.
fn hash_contents_above(path: &Path, whole: u64) -> Result<(u64, String), FileError> {
    let size = fs::metadata(path).map_err(FileError::io("read", path))?.len();
    let compressed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
    if !compressed || size <= whole.max(PIECE) {
        return Ok((size, hash_file(path)?));
    }
    Ok((size, hash_pieces_of(path, size)?))
}

/// Size of a file, and a hash of at most 64 pieces of 64 KiB, evenly spaced from its first byte to its last: for telling weights from
/// others, all of whose values differ, in the time that a small file takes. A change between two pieces does not show.
///
/// # Errors
/// Names the file.
pub fn hash_pieces(path: &Path) -> Result<(u64, String), FileError> {
    let size = fs::metadata(path).map_err(FileError::io("read", path))?.len();
    let hash = if size <= PIECES * PIECE { hash_file(path)? } else { hash_pieces_of(path, size)? };
    Ok((size, hash))
}

fn hash_pieces_of(path: &Path, size: u64) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::io("read", path))?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE as usize];
    for number in 0..PIECES {
        let at = (u128::from(size - PIECE) * u128::from(number) / u128::from(PIECES - 1)) as u64;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut piece))
            .map_err(FileError::io("read", path))?;
        hasher.update(&piece);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

impl Seal {
    /// Of the files below a folder, in the order of their paths, those for which `wanted` is true of the path; temporary files and
    /// a seal are left out.
    ///
    /// # Errors
    /// Names the file or folder that cannot be read.
    pub fn of(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self, FileError> {
        let mut seal = Self::default();
        seal.add(folder, "", &wanted)?;
        Ok(seal)
    }

    fn add(&mut self, folder: &Path, prefix: &str, wanted: &impl Fn(&str) -> bool) -> Result<(), FileError> {
        for name in files::list_dir(folder)? {
            let (path, shown) = (folder.join(&name), format!("{prefix}{name}"));
            if name.starts_with(TEMP_PREFIX) || shown == SEAL {
                continue;
            }
            let data = fs::metadata(&path).map_err(FileError::io("read", &path))?;
            if data.is_dir() {
                self.add(&path, &format!("{shown}/"), wanted)?;
            } else if wanted(&shown) {
                self.files.push(Sealed { bytes: data.len(), blake3: hash_file(&path)?, path: shown });
            }
        }
        Ok(())
    }

    /// Compares the files below a folder with what was noted; files that were added are nobody's concern.
    ///
    /// # Errors
    /// The first that is missing, cut, changed or unreadable.
    pub fn check(&self, folder: &Path) -> Result<(), Damage> {
        for Sealed { path, bytes, blake3 } in &self.files {
            let damage = |why: String| Damage { path: path.clone(), why };
            let file = folder.join(path);
            let found = fs::metadata(&file).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => damage("is missing".into()),
                _ => damage(format!("cannot be read: {error}")),
            })?;
            if found.len() != *bytes {
                return Err(damage(format!("has {} bytes and should have {bytes}", found.len())));
            }
            if hash_file(&file).map_err(|error| damage(error.to_string()))? != *blake3 {
                return Err(damage("is not what was written: its content has another hash".into()));
            }
        }
        Ok(())
    }

    /// Seals a folder: writes [`SEAL`] into it.
    ///
    /// # Errors
    /// Names the file or folder.
    pub fn write(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), FileError> {
        files::write_json_atomic(&folder.join(SEAL), &Self::of(folder, wanted)?)
    }

    /// The seal of a folder; `None` where it has none.
    ///
    /// # Errors
    /// Names the file.
    pub fn read(folder: &Path) -> Result<Option<Self>, FileError> {
        files::read_json_if_there(&folder.join(SEAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("model")).unwrap();
        fs::write(path("a.json"), "{}").unwrap();
        fs::write(path("model/w.bin"), [1u8, 2, 3, 4]).unwrap();
        fs::write(path("log.txt"), "free").unwrap();
        Seal::write(folder.path(), |name| name != "log.txt").unwrap();
        let check = || Seal::read(folder.path()).unwrap().unwrap().check(folder.path());
        check().unwrap();
        // Not sealed, or added.
        fs::write(path("log.txt"), "other").unwrap();
        fs::write(path("new"), "new").unwrap();
        check().unwrap();
        let damaged = |content: &[u8]| {
            fs::write(path("model/w.bin"), content).unwrap();
            check().unwrap_err().to_string()
        };
        assert_eq!(damaged(&[1, 2, 3, 5]), "model/w.bin is not what was written: its content has another hash");
        assert_eq!(damaged(&[1, 2, 3]), "model/w.bin has 3 bytes and should have 4");
        fs::remove_file(path("model/w.bin")).unwrap();
        assert_eq!(check().unwrap_err().to_string(), "model/w.bin is missing");
        fs::write(path("model/w.bin"), [1u8, 2, 3, 4]).unwrap();
        check().unwrap();
        assert_eq!(Seal::read(&path("model")).unwrap(), None);
    }

    /// One byte in a megabyte, at a place that no piece has.
    #[test]
    fn only_compressed_files_are_hashed_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |name: &str, changed: Option<usize>, whole: u64| {
            let mut content = vec![7u8; 8 << 20];
            changed.into_iter().for_each(|at| content[at] = 8);
            // Files are known by their names and times.
            let path = folder.path().join(format!("{changed:?}-{name}"));
            fs::write(&path, content).unwrap();
            hash_contents_above(&path, whole).unwrap()
        };
        let (between, last) = (Some(PIECE as usize + 9), Some((8 << 20) - 1));
        for name in ["a.jsonl", "a.json", "a.tar", "a.tsv", "a"] {
            assert_ne!(hash(name, None, 1 << 20), hash(name, between, 1 << 20), "{name}");
        }
        for name in ["a.parquet", "b.PARQUET"] {
            let before = hash(name, None, 1 << 20);
            assert_eq!(before.0, 8 << 20);
            assert_eq!(before, hash(name, between, 1 << 20), "{name}");
            assert_ne!(before, hash(name, last, 1 << 20), "{name}");
        }
        // Up to the limit whole.
        assert_ne!(hash("c.parquet", None, 8 << 20), hash("c.parquet", between, 8 << 20));
        assert_eq!(hash("d.jsonl", None, 0), hash_contents(&folder.path().join("None-d.jsonl")).unwrap());
    }

    /// BLAKE3's published test vector of the empty input.
    #[test]
    fn the_hash_is_blake3() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(hash_file(file.path()).unwrap(), expected);
    }
}
