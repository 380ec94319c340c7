//! WebDataset: tar archives in which the entries of a sample follow each other and share a key.
//!
//! The key of `a/0001.left.jpg` is `a/0001`, the rest (`left.jpg`) says what the entry is. An archive is walked once when it
//! is opened, from header to header; contents are read when a sample is asked for.

use super::checkpoints::{Checkpoints, Mark};
use super::config::Limits;
use super::record::{RawPicture, RawRecord, RawResult, RawSkip, ReadRecords};
use super::skip::{Place, SkipKind, SkipReason};
use super::text::parse_object;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use tar::{Archive, EntryType};

/// Bytes of a block; every header begins at a multiple of it.
const BLOCK: u64 = 512;
/// Endings of pictures.
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Endings of texts; the first is the field that the text becomes.
const TEXTS: [&str; 3] = ["txt", "text", "caption"];

/// One archive.
pub(super) struct TarFile {
    path: Arc<Path>,
    checkpoints: Checkpoints,
    limits: Limits,
}

/// What the header of an entry says.
struct Header {
    /// Where the headers of the entry begin, those with a long name included.
    begin: u64,
    name: String,
    size: u64,
    /// A file; not a link, a device, ...
    is_file: bool,
    /// The whole content lies in the archive.
    is_whole: bool,
}

impl TarFile {
    /// Walks through the headers. The error has the place and the reason.
    pub(super) fn open(path: Arc<Path>, limits: &Limits, max_marks: usize) -> Result<Self, (String, String)> {
        let mut checkpoints = Checkpoints::new(max_marks);
        let mut last_key: Option<String> = None;
        let mut at = 0;
        let result = walk(&path, 0, |header, _| {
            at = header.begin;
            if last_key.as_deref() != Some(key(&header.name)) {
                let line = checkpoints.records();
                checkpoints.push(Mark { offset: header.begin, line });
                last_key = Some(key(&header.name).to_owned());
            }
            Ok(true)
        });
        match result {
            Ok(()) => Ok(Self { path, checkpoints, limits: *limits }),
            Err(error) => Err((format!("after byte {at}"), format!("not a readable tar archive: {error}"))),
        }
    }

    /// Reads the entries of one sample.
    fn sample(&self, record: u64, pictures: bool) -> RawResult {
        let mut sample = Collected::new(self, pictures);
        let fail = |key: String, reason| RawSkip { file: self.path.clone(), place: Place::Key(key), id: None, reason };
        let Some((mark, number)) = self.checkpoints.before(record) else {
            let reason = SkipReason::new(SkipKind::DamagedFile, format!("there is no sample {record}"));
            return Err(fail(String::new(), reason));
        };
        let mut current: Option<(String, u64)> = None;
        let walked = walk(&self.path, mark.offset, |header, content| {
            let key = key(&header.name).to_owned();
            let count = match current.take() {
                None => number,
                Some((last, count)) if last == key => count,
                Some((_, count)) => count + 1,
            };
            current = Some((key.clone(), count));
            if count == record {
                sample.key = key;
                sample.add(&header, content)?;
            }
            Ok(count <= record)
        });
        if let Err(error) = walked {
            sample.fail(SkipKind::DamagedFile, error.to_string());
        }
        let Collected { key, fields, pictures: found, problem, .. } = sample;
        match problem {
            Some(reason) => Err(fail(key, reason)),
            None => {
                // Pictures of the archive stand before those that a text may name.
                let found = pictures.then_some(found);
                let place = Place::Key(key);
                Ok(RawRecord {
                    file: self.path.clone(),
                    place,
                    fields,
                    pictures: found,
                    frames: None,
                    unread: Arc::default(),
                })
            }
        }
    }
}

impl ReadRecords for TarFile {
    fn len(&self) -> u64 {
        self.checkpoints.records()
    }

    fn read(&self, records: &[u64], pictures: bool) -> Vec<RawResult> {
        records.iter().map(|record| self.sample(*record, pictures)).collect()
    }
}

/// The parts of a sample so far.
struct Collected<'a> {
    archive: &'a TarFile,
    with_pictures: bool,
    key: String,
    fields: Map<String, Value>,
    pictures: Vec<RawPicture>,
    /// Endings that were there already.
    seen: HashSet<String>,
    /// The first thing that is wrong.
    problem: Option<SkipReason>,
}

impl<'a> Collected<'a> {
    fn new(archive: &'a TarFile, with_pictures: bool) -> Self {
        Self {
            archive,
            with_pictures,
            key: String::new(),
            fields: Map::new(),
            pictures: Vec::new(),
            seen: HashSet::new(),
            problem: None,
        }
    }

    fn fail(&mut self, kind: SkipKind, detail: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some(SkipReason::new(kind, detail));
        }
    }

    fn add(&mut self, header: &Header, content: &mut dyn Read) -> io::Result<()> {
        let ending = header.name[key(&header.name).len()..].trim_start_matches('.').to_ascii_lowercase();
        let limits = &self.archive.limits;
        let last = ending.rsplit('.').next().unwrap_or_default();
        let (is_picture, is_text, is_json) = (PICTURES.contains(&last), TEXTS.contains(&last), last == "json");
        if !header.is_file {
            self.fail(SkipKind::UnexpectedEntry, format!("{:?} is no file but a link or a device", header.name));
        } else if !is_picture && !is_text && !is_json {
            let detail = format!("{:?} is neither a picture ({}) nor .json or .txt", header.name, PICTURES.join(", "));
            self.fail(SkipKind::UnexpectedEntry, detail);
        } else if !self.seen.insert(ending.clone()) {
            self.fail(SkipKind::UnexpectedEntry, format!("{:?} is there twice", header.name));
        } else if header.size > limits.max_entry_bytes {
            let detail =
                format!("{:?}: {} bytes, at most {} are allowed", header.name, header.size, limits.max_entry_bytes);
            self.fail(SkipKind::EntryTooLarge, detail);
        } else if !header.is_whole {
            self.fail(SkipKind::DamagedFile, format!("the archive ends within {:?}; it is truncated", header.name));
        } else if !is_picture || self.with_pictures {
            let mut bytes = Vec::with_capacity(header.size as usize);
            content.read_to_end(&mut bytes)?;
            match (is_picture, is_json) {
                (true, _) => {
                    let name = format!("{} in {}", header.name, self.archive.path.display());
                    self.pictures.push(RawPicture::Encoded(name, Bytes::from(bytes)));
                }
                (_, true) => match parse_object(&bytes, limits.max_depth) {
                    Ok(fields) => self.fields.extend(fields),
                    Err(reason) => self.fail(reason.kind, format!("{:?}: {}", header.name, reason.detail)),
                },
                _ => match String::from_utf8(bytes) {
                    Ok(text) => drop(self.fields.insert(TEXTS[0].to_owned(), Value::String(text))),
                    Err(_) => self.fail(SkipKind::Malformed, format!("{:?} is not UTF-8", header.name)),
                },
            }
        }
        Ok(())
    }
}

/// A file from some byte on: the archive reader counts positions from where it starts.
struct Tail {
    file: File,
    begin: u64,
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Tail {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(position) => SeekFrom::Start(position.saturating_add(self.begin)),
            other => other,
        };
        let position = self.file.seek(to)?;
        position.checked_sub(self.begin).ok_or_else(|| io::Error::other("a position before the beginning"))
    }
}

/// Goes from entry to entry, directories left out, until `visit` says no; it may read the content.
fn walk(path: &Path, begin: u64, mut visit: impl FnMut(Header, &mut dyn Read) -> io::Result<bool>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin))?;
    let mut archive = Archive::new(Tail { file, begin });
    let mut next = begin;
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let content = begin + entry.raw_file_position();
        let size = entry.size();
        let header = Header {
            begin: next,
            name: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            size,
            is_file: matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous),
            is_whole: content.saturating_add(size) <= end,
        };
        next = content.saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
        let is_folder = entry.header().entry_type() == EntryType::Directory;
        if !is_folder && !visit(header, &mut entry)? {
            break;
        }
    }
    Ok(())
}

/// The part of an entry's name that its sample's entries share: up to the first dot of the file's name.
fn key(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    name[file..].find('.').map_or(name, |dot| &name[..file + dot])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_the_first_dot_of_the_file_name() {
        for (name, expected) in
            [("a/0001.left.jpg", "a/0001"), ("x.y/1.json", "x.y/1"), ("readme", "readme"), (".x", "")]
        {
            assert_eq!(key(name), expected);
        }
    }
}
