//! What people did: a line of JSON each, in a file that is only written at its end.
//!
//! ```text
//! {"id":"5f1c…","time":1796026532000,"annotator":"ana","language":"de","item":"MMBench_DEV_EN/7","event":"refine","texts":{…}}
//! {"id":"90ab…","time":1796026590000,"annotator":"ben","language":"de","item":"MMBench_DEV_EN/7","event":"vote","texts":{…}}
//! {"id":"c3d4…","time":1796026601000,"annotator":"ben","language":"de","item":"MMBench_DEV_EN/7","event":"comment","text":"…"}
//! ```
//!
//! Unusual here: a record has an id of its own, so that a file that is read twice (downloaded here, uploaded there) counts once; and order
//! is by time, so that it does not matter in which order files are put together.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{FileError, create_dir_all, open_or_create, read_regular};
use burn_vlm_base::shorten::shorten;
use serde::{Deserialize, Serialize};

use super::task::{Task, Texts};

/// The most characters of a name, a comment, and a text.
const LONGEST_NAME: usize = 60;
const LONGEST_TEXT: usize = 20_000;
/// The most bytes of a file: 1 GiB.
const MOST_BYTES: u64 = 1 << 30;
/// What the machine's version is called; nobody else is.
pub const MACHINE: &str = "machine";

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A version of one's own; the same as the machine's says that this is right.
    Refine {
        /// Every text of the item.
        texts: Texts,
    },
    /// A vote for a version.
    Vote {
        /// The version's texts.
        texts: Texts,
    },
    /// A comment.
    Comment {
        /// What is said.
        text: String,
    },
}

/// One thing that somebody did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its own.
    pub id: String,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Who.
    pub annotator: String,
    /// In which language.
    pub language: String,
    /// The item.
    pub item: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Records that cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line.
    #[error("{}, line {line}: {message}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// Another process has it.
    #[error("{}: another process writes to it; end that one, or name another file", file.display())]
    Taken {
        /// The file.
        file: PathBuf,
    },
}

impl Record {
    /// Whether it is of this task, and whole.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self, task: &Task) -> Result<(), String> {
        let is_name = |text: &str| {
            !text.trim().is_empty() && text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control)
        };
        if !is_name(&self.id) || !is_name(&self.annotator) || self.annotator.trim() != self.annotator {
            return Err(format!("expected an id and a name of 1 to {LONGEST_NAME} characters"));
        }
        if self.annotator.eq_ignore_ascii_case(MACHINE) {
            return Err(format!("{MACHINE:?} is the name of the machine's version; take another one"));
        }
        if self.language != task.language.tag() {
            return Err(format!("it is about {:?}, and this is {:?}", self.language, task.language.tag()));
        }
        let item = task.item(&self.item).ok_or_else(|| format!("there is no item {:?} here", shorten(&self.item)))?;
        match &self.event {
            Event::Refine { texts } | Event::Vote { texts } => {
                item.check(texts)?;
                match texts.values().find(|text| text.chars().count() > LONGEST_TEXT) {
                    Some(_) => Err(format!("a text of more than {LONGEST_TEXT} characters")),
                    None => Ok(()),
                }
            }
            Event::Comment { text } if text.trim().is_empty() || text.chars().count() > LONGEST_TEXT => {
                Err(format!("a comment of 1 to {LONGEST_TEXT} characters was expected"))
            }
            Event::Comment { .. } => Ok(()),
        }
    }
}

/// Records of one or several files, by time, each once.
#[derive(Debug, Clone, Default)]
pub struct Records {
    by_time: BTreeMap<(u64, String), Record>,
    ids: HashSet<String>,
    /// Files whose last line was cut off, with its number; it counts as not written.
    pub torn: Vec<(PathBuf, usize)>,
    /// Records of other languages or items.
    pub foreign: usize,
}

impl Records {
    /// Adds the records of a file; those of other languages or items are counted.
    ///
    /// # Errors
    /// A file that is not there, a line that is no record.
    pub fn read(&mut self, file: &Path, task: &Task) -> Result<(), RecordError> {
        let bytes = read_regular(file, MOST_BYTES)?;
        self.add(file, &String::from_utf8_lossy(&bytes), task)
    }

    fn add(&mut self, file: &Path, text: &str, task: &Task) -> Result<(), RecordError> {
        let is_ended = text.is_empty() || text.ends_with('\n');
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in (1..).zip(&lines).filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |message: String| RecordError::Line { file: file.to_owned(), line: number, message };
            let record: Record = match serde_json::from_str(line) {
                Ok(record) => record,
                // The machine stopped while it was written.
                Err(_) if number == lines.len() && !is_ended => {
                    self.torn.push((file.to_owned(), number));
                    continue;
                }
                Err(error) => {
                    let message = format!("{error} in {}; expected a record as this page writes it", shorten(line));
                    return Err(wrong(message));
                }
            };
            if record.language != task.language.tag() || task.item(&record.item).is_none() {
                self.foreign += 1;
                continue;
            }
            record.check(task).map_err(wrong)?;
            self.insert(record);
        }
        Ok(())
    }

    /// Adds a record; false if it is there already.
    pub fn insert(&mut self, record: Record) -> bool {
        let is_new = self.ids.insert(record.id.clone());
        if is_new {
            self.by_time.insert((record.time, record.id.clone()), record);
        }
        is_new
    }

    /// Takes a record out again, which could not be kept.
    pub fn forget(&mut self, record: &Record) {
        self.ids.remove(&record.id);
        self.by_time.remove(&(record.time, record.id.clone()));
    }

    /// By time.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.by_time.values()
    }
}

/// The file that records are written to, which nobody else writes to meanwhile.
pub struct RecordFile {
    path: PathBuf,
    file: File,
    /// The last line is whole, and not ended.
    is_open: bool,
}

impl RecordFile {
    /// Opens a file, or begins one, and reads what is there.
    ///
    /// # Errors
    /// A file that cannot be opened or that another process writes to, a line that is no record.
    pub fn open(path: &Path, task: &Task) -> Result<(Self, Records), RecordError> {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            create_dir_all(folder)?;
        }
        let failed = || FileError::io("open", path);
        let mut file = open_or_create(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RecordError::Taken { file: path.to_owned() }),
            // Some file systems have no locks; then nothing is known.
            Err(TryLockError::Error(_)) => {}
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).map_err(failed())?;
        let text = String::from_utf8_lossy(&bytes);
        let mut records = Records::default();
        records.add(path, &text, task)?;
        let is_open = !text.is_empty() && !text.ends_with('\n') && records.torn.is_empty();
        if !records.torn.is_empty() {
            // Nobody was told that it is kept: what is left of it would only make the next line unreadable.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            file.set_len(whole as u64).map_err(failed())?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed())?;
        Ok((Self { path: path.to_owned(), file, is_open }, records))
    }

    /// Writes a record, and waits until it is on the disk.
    ///
    /// # Errors
    /// A full disk.
    pub fn append(&mut self, record: &Record) -> Result<(), FileError> {
        let mut line = if self.is_open { "\n".to_owned() } else { String::new() };
        line.push_str(
            &serde_json::to_string(record).map_err(|error| FileError::io("write", &self.path)(error.into()))?,
        );
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(FileError::io("write", &self.path))?;
        self.is_open = false;
        Ok(())
    }
}
