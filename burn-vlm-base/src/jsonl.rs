//! Files of one JSON record a line, which survive being killed in the middle of a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{self, FileError};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Appends records to a `.jsonl` file.
///
/// Each record goes to the operating system in one piece as soon as it is appended, so a killed process loses at most
/// the end of its last line; opening the file again cuts that torn line off.
#[derive(Debug)]
pub struct JsonlWriter {
    file: File,
    path: PathBuf,
    records: usize,
    end: u64,
}

impl JsonlWriter {
    /// Opens `path` to append to its records, made with its folders if missing. A torn last line is cut off.
    ///
    /// # Errors
    /// Names the file, and the line if one in the middle is no record.
    pub fn append_to(path: &Path) -> Result<Self, FileError> {
        Self::resume(path, |_: &serde_json::Value| true)
    }

    /// Opens `path` as [`append_to`](Self::append_to) does, and cuts it off before the first record for which `keep`
    /// is false. A resumed training keeps the records up to its checkpoint's step and writes the later ones anew.
    ///
    /// # Errors
    /// As [`append_to`](Self::append_to).
    pub fn resume<T, F>(path: &Path, keep: F) -> Result<Self, FileError>
    where
        T: DeserializeOwned,
        F: FnMut(&T) -> bool,
    {
        let mut keep = keep;
        Self::resume_placed(path, |_, record| keep(record))
    }

    /// The same, where `keep` is told the bytes of each record's line as well, so that it can be found again.
    ///
    /// # Errors
    /// As [`append_to`](Self::append_to).
    pub fn resume_placed<T, F>(path: &Path, keep: F) -> Result<Self, FileError>
    where
        T: DeserializeOwned,
        F: FnMut(Range<u64>, &T) -> bool,
    {
        let mut file = files::open_or_create(path)?;
        let (records, end) = scan(&file, path, keep)?;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(FileError::io("write", path))?;
        Ok(Self { file, path: path.to_owned(), records, end })
    }

    /// Begins `path` anew, made with its folders if missing.
    ///
    /// # Errors
    /// Names the file.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::create_dir_all(folder)?;
        }
        let file = File::create(path).map_err(FileError::io("create", path))?;
        Ok(Self { file, path: path.to_owned(), records: 0, end: 0 })
    }

    /// Appends one record.
    ///
    /// # Errors
    /// Names the file.
    pub fn append<T: Serialize + ?Sized>(&mut self, record: &T) -> Result<(), FileError> {
        let mut line = serde_json::to_vec(record).map_err(|source| FileError::Json {
            path: self.path.clone(),
            line: Some(self.records + 1),
            source,
        })?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Half a line may be there (a full disk): cut it off, or the next record would continue it. If even that
            // fails, opening the file again does it.
            let _ = self.file.set_len(self.end);
            let _ = self.file.seek(SeekFrom::Start(self.end));
            return Err(FileError::io("write", &self.path)(error));
        }
        self.end += line.len() as u64;
        self.records += 1;
        Ok(())
    }

    /// Flushes to the disk. Do it before a checkpoint is written that counts on these records.
    ///
    /// # Errors
    /// Names the file.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::io("flush", &self.path))
    }

    /// Bytes of the file: where the next record begins.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Number of records in the file.
    pub fn records(&self) -> usize {
        self.records
    }
}

/// Reads all whole records of a `.jsonl` file; a torn last line is left out.
///
/// # Errors
/// Names the file, and the line that is not as expected.
pub fn read_jsonl<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, FileError> {
    let file = File::open(path).map_err(FileError::io("read", path))?;
    let mut records = Vec::new();
    let mut lines = Lines::new(&file, path);
    while let Some((_, record)) = lines.next_record()? {
        records.push(record);
    }
    Ok(records)
}

/// Writes a file of one record a line, whole or not at all.
///
/// # Errors
/// Names the file, and the line of a record that is no JSON.
pub fn write_jsonl_atomic<'a, T, I>(path: &Path, records: I) -> Result<(), FileError>
where
    T: Serialize + 'a,
    I: IntoIterator<Item = &'a T>,
{
    let mut lines = Vec::new();
    for (index, record) in records.into_iter().enumerate() {
        let failed = |source| FileError::Json { path: path.to_owned(), line: Some(index + 1), source };
        serde_json::to_writer(&mut lines, record).map_err(failed)?;
        lines.push(b'\n');
    }
    files::write_atomic(path, &lines)
}

/// Number of records to keep, and the byte at which the last of them ends.
fn scan<T, F>(file: &File, path: &Path, mut keep: F) -> Result<(usize, u64), FileError>
where
    T: DeserializeOwned,
    F: FnMut(Range<u64>, &T) -> bool,
{
    let mut lines = Lines::new(file, path);
    let (mut records, mut end) = (0, 0);
    while let Some((line_end, record)) = lines.next_record()? {
        if !keep(end..line_end, &record) {
            break;
        }
        records += 1;
        end = line_end;
    }
    Ok((records, end))
}

struct Lines<'a> {
    reader: BufReader<&'a File>,
    path: &'a Path,
    /// The line under way; lines follow each other by the million.
    bytes: Vec<u8>,
    line: usize,
    offset: u64,
}

impl<'a> Lines<'a> {
    fn new(file: &'a File, path: &'a Path) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, file), path, bytes: Vec::new(), line: 0, offset: 0 }
    }

    /// The next record and the byte after its newline; `None` at the end or at a torn last line.
    fn next_record<T: DeserializeOwned>(&mut self) -> Result<Option<(u64, T)>, FileError> {
        let bytes = &mut self.bytes;
        bytes.clear();
        let read = self.reader.read_until(b'\n', bytes).map_err(FileError::io("read", self.path))?;
        // Without its newline a line is torn, even if it happens to be valid JSON.
        if bytes.last() != Some(&b'\n') {
            return Ok(None);
        }
        self.line += 1;
        self.offset += read as u64;
        match serde_json::from_slice(bytes) {
            Ok(record) => Ok(Some((self.offset, record))),
            Err(source) => {
                // A power cut can leave zeros at the end; anything else, and anything in the middle of a file, is damage
                // that only a person can judge.
                let rest = self.reader.fill_buf().map_err(FileError::io("read", self.path))?;
                if rest.is_empty() && bytes.contains(&0) {
                    return Ok(None);
                }
                Err(FileError::Json { path: self.path.to_owned(), line: Some(self.line), source })
            }
        }
    }
}
