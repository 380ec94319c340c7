//! What has become of each row, one line of JSON each, appended as soon as it is known.
//!
//! ```no_run
//! use burn_vlm_data::pipeline::{Key, Outcome, Record, RecordLog};
//!
//! let mut log = RecordLog::open("runs/de.log.jsonl".as_ref())?;
//! let key = Key::of(["row 17", "Translate ...", "some-model", "{\"temperature\":0}"]);
//! if !log.is_settled(key) {
//!     // ask, and whatever comes of it:
//!     log.append(&Record::new(key, "row 17", Outcome::Kept, "Ein Apfel."))?;
//! }
//! let record: Option<Record<String>> = log.get(key)?;
//! # Ok::<(), burn_vlm_data::pipeline::LogError>(())
//! ```
//!
//! Unusual here:
//! - every final outcome is a record: what was rejected, or failed for good, is not done again either;
//! - memory holds 32 bytes a record (a hash of what was asked, and where its line stands): what was answered stays on the disk;
//! - a line that a kill has torn is cut off when the log is opened again; damage in the middle is an error with its line, which only a
//!   person can judge;
//! - a later record of the same key stands for it, and what both have cost counts;
//! - one process at a time has a log: a second one is refused.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{Read, Seek, SeekFrom};
use std::ops::{AddAssign, Range};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, io};

use burn_vlm_base::files::FileError;
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::lock::{Attempt, FileLock};
use serde::de::{DeserializeOwned, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How often the file is flushed to the disk: what a power cut may cost. A killed process loses nothing.
const FLUSH: Duration = Duration::from_secs(1);

/// A hash of all that decides on a record: row, prompt, pictures, model, parameters. 128 bits, so that no two of any number of rows
/// meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u128);

/// What has become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is part of the result.
    Kept,
    /// There is a result, which a check refused.
    Rejected,
    /// There is none, for good.
    Failed,
    /// There is none for a reason that lies outside of the row (a spent quota, say): not for good, the next run asks again.
    Deferred,
}

/// What a record has cost, tries that failed included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Requests.
    pub requests: u64,
    /// Tokens that were read, pictures included.
    pub prompt_tokens: u64,
    /// Tokens that were written.
    pub completion_tokens: u64,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<T> {
    /// What it is found by.
    pub key: Key,
    /// What has become of the row.
    pub outcome: Outcome,
    /// What it has cost.
    #[serde(default, skip_serializing_if = "Spent::is_nothing")]
    pub spent: Spent,
    /// The row, for people.
    pub row: String,
    /// Why it was not kept, as a word that reports count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whatever else is to be kept.
    pub body: T,
}

/// A log that cannot be read, written or had.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it.
    #[error("{path}: {who} is writing it; wait for it, or name another file", path = .path.display())]
    Busy {
        /// The log.
        path: PathBuf,
        /// Who, as far as known.
        who: String,
    },
    /// It cannot be read or written, or a line in its middle is damaged.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is read of a line when a log is opened.
#[derive(Deserialize)]
struct Head {
    key: Key,
    outcome: Outcome,
    #[serde(default)]
    spent: Spent,
}

/// Where a record stands. A line has less than 4 GiB.
#[derive(Debug, Clone, Copy)]
struct Place {
    begin: u64,
    length: u32,
    outcome: Outcome,
}

/// Where records stand. A key is a hash already: its own digits tell the place in the table.
type Places = HashMap<Key, Place, BuildHasherDefault<Digits>>;

/// The lower half of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Digits(u64);

impl Hasher for Digits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }

    // Keys are written by the method above; any other bytes are mixed, so that nothing is lost if that changes.
    fn write(&mut self, bytes: &[u8]) {
        self.0 = crate::random::mix(self.0, crate::random::hash_bytes(bytes));
    }
}

/// A log that is open: its records are found by their keys, and others can be appended.
#[derive(Debug)]
pub struct RecordLog {
    writer: JsonlWriter,
    reader: File,
    path: PathBuf,
    places: Places,
    spent: Spent,
    flushed: Instant,
    _lock: FileLock,
}

impl Key {
    /// The hash of some parts, each with its length: no two lists of parts run together.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.as_ref().len() as u64).to_le_bytes());
            hasher.update(part.as_ref());
        }
        let hash = hasher.finalize();
        Self(hash.as_bytes().iter().take(16).fold(0, |key, byte| (key << 8) | u128::from(*byte)))
    }

    /// A number for what is drawn at random for this key.
    pub fn seed(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key of 32 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Key, E> {
                let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
                number.map(Key).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

impl Outcome {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Spent {
    /// Tokens that were read or written.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
    }
}

impl<T> Record<T> {
    /// A record without a reason, which has cost nothing.
    pub fn new(key: Key, row: impl Into<String>, outcome: Outcome, body: T) -> Self {
        Self { key, outcome, spent: Spent::default(), row: row.into(), reason: None, detail: None, body }
    }

    /// The same with why it was not kept.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>, detail: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self.detail = Some(detail.into()).filter(|detail| !detail.is_empty());
        self
    }
}

impl RecordLog {
    /// Opens a log, or begins one, and keeps others from it until it is dropped (by a file beside it, `.lock`). A torn last line is cut
    /// off.
    ///
    /// # Errors
    /// [`LogError::Busy`] where another process has it, or this one; a file that cannot be read or written; a line that is no record.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut lock = path.file_name().unwrap_or_default().to_os_string();
        lock.push(".lock");
        let lock = match FileLock::try_take(&path.with_file_name(lock))? {
            Attempt::Taken(lock) => lock,
            Attempt::Busy(who) => return Err(LogError::Busy { path: path.to_owned(), who }),
        };
        let (mut places, mut spent) = (Places::default(), Spent::default());
        let writer = JsonlWriter::resume_placed(path, |bytes: Range<u64>, head: &Head| {
            spent += head.spent;
            // A line beyond 4 GiB was never written by `append`.
            if let Ok(length) = u32::try_from(bytes.end - bytes.start) {
                places.insert(head.key, Place { begin: bytes.start, length, outcome: head.outcome });
            }
            true
        })?;
        let reader = File::open(path).map_err(FileError::io("read", path))?;
        Ok(Self { writer, reader, path: path.to_owned(), places, spent, flushed: Instant::now(), _lock: lock })
    }

    /// What has become of what was asked; `None` where that is not known yet.
    pub fn outcome(&self, key: Key) -> Option<Outcome> {
        self.places.get(&key).map(|place| place.outcome)
    }

    /// Whether what was asked has an outcome for good: it is not to be asked again.
    pub fn is_settled(&self, key: Key) -> bool {
        self.outcome(key).is_some_and(|outcome| outcome != Outcome::Deferred)
    }

    /// A record, read from the disk.
    ///
    /// # Errors
    /// A file that cannot be read, a body of another form.
    pub fn get<T: DeserializeOwned>(&mut self, key: Key) -> Result<Option<Record<T>>, LogError> {
        let Some(Place { begin, length, .. }) = self.places.get(&key).copied() else { return Ok(None) };
        let mut line = vec![0; length as usize];
        let read = self.reader.seek(SeekFrom::Start(begin)).and_then(|_| self.reader.read_exact(&mut line));
        read.map_err(FileError::io("read", &self.path))?;
        let record = serde_json::from_slice(&line);
        Ok(Some(record.map_err(|error| {
            // Lines are not counted here: the key finds it.
            let source = serde_json::Error::custom(format!("the record {key}: {error}"));
            FileError::Json { path: self.path.clone(), line: None, source }
        })?))
    }

    /// Appends a record; it is with the operating system when this returns, and on the disk a second later or at [`Self::flush`].
    ///
    /// # Errors
    /// A file that cannot be written, a line of 4 GiB.
    pub fn append<T: Serialize>(&mut self, record: &Record<T>) -> Result<(), LogError> {
        let begin = self.writer.end();
        self.writer.append(record)?;
        let length = u32::try_from(self.writer.end() - begin)
            .map_err(|_| FileError::io("write", &self.path)(io::Error::other("a record has 4 GiB or more")))?;
        self.places.insert(record.key, Place { begin, length, outcome: record.outcome });
        self.spent += record.spent;
        if self.flushed.elapsed() >= FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    /// Waits until all records are on the disk.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.writer.sync()?;
        self.flushed = Instant::now();
        Ok(())
    }

    /// Number of keys that have a record.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What all records have cost, those included that later ones stand for.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
