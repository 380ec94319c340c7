//! WebDataset: tar archives in which the entries of a sample follow each other and share a key.
//!
//! The key of `a/0001.left.jpg` is `a/0001`, the rest (`left.jpg`) says what the entry is. As in webdataset and datasets, entries whose
//! file name begins with a dot or has no ending belong to no sample, and endings that nobody reads are let be. An archive is walked once
//! when it is opened, from header to header; contents are read when a sample is asked for.

use super::checkpoints::{Checkpoints, Mark};
use super::config::{Fields, Limits};
use super::interpret::PICTURE_ENDINGS;
use super::record::{RawPicture, RawRecord, RawResult, RawSkip, ReadRecords};
use super::skip::{Place, SkipKind, SkipReason};
use super::text::parse_object;
use crate::image::READABLE_ENDINGS;
use burn_vlm_base::shorten::shorten;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use tar::{Archive, EntryType};

/// Bytes of a block; every header begins at a multiple of it.
const BLOCK: u64 = 512;
/// Endings of texts, each the field that the text becomes.
const TEXTS: [&str; 3] = ["txt", "text", "caption"];
/// Endings of videos.
const VIDEOS: [&str; 12] = ["mp4", "webm", "avi", "mov", "mkv", "m4v", "mpg", "mpeg", "ts", "flv", "ogv", "wmv"];
/// Read at once of what follows the end mark.
const TAIL_BUFFER: usize = 1 << 16;

/// One archive.
pub(super) struct TarFile {
    path: Arc<Path>,
    checkpoints: Checkpoints,
    limits: Limits,
    /// Endings that are not read on purpose, each with its dot.
    ignore: Vec<String>,
    /// What a reader must know of it.
    notes: Vec<String>,
}

/// Entries that belong to no sample.
#[derive(Default)]
struct Others {
    hidden: u64,
    own: u64,
    without_ending: u64,
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
    pub(super) fn open(
        path: Arc<Path>,
        fields: &Fields,
        limits: &Limits,
        max_marks: usize,
    ) -> Result<Self, (String, String)> {
        let mut checkpoints = Checkpoints::new(max_marks);
        let mut last_key: Option<String> = None;
        let mut at = 0;
        let mut others = Others::default();
        let result = walk(&path, 0, Some(&mut others), |header, _| {
            at = header.begin;
            if last_key.as_deref() != Some(key(&header.name)) {
                let line = checkpoints.records();
                checkpoints.push(Mark { offset: header.begin, line });
                last_key = Some(key(&header.name).to_owned());
            }
            Ok(true)
        });
        let unreadable =
            |error: io::Error| (format!("after byte {at}"), format!("not a readable tar archive: {error}"));
        let end = result.map_err(unreadable)?;
        let mut notes = others.notes();
        match after(&path, end).map_err(unreadable)? {
            After::EndMark => {}
            After::Nothing if end == 0 => {
                return Err(("byte 0".to_owned(), "the file is empty, expected a tar archive; fetch it again".to_owned()));
            }
            After::Nothing => notes.push(
                "the archive has no end mark: it may be cut off between two entries; compare it with where it comes from".to_owned(),
            ),
            After::More(byte) => {
                let reason = format!(
                    "the archive ends here, but more follows at byte {byte}: a header is zeroed, or archives were joined. What \
                     follows would be lost; fetch it again, or keep the archives apart"
                );
                return Err((format!("byte {end}"), reason));
            }
        }
        if checkpoints.records() == 0 {
            notes.push("the archive holds no sample".to_owned());
        }
        let notes = notes.iter().map(|note| format!("{}: {note}", path.display())).collect();
        let ignore = fields.ignore.iter().filter(|name| name.starts_with('.')).cloned().collect();
        Ok(Self { path, checkpoints, limits: *limits, ignore, notes })
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
        let walked = walk(&self.path, mark.offset, None, |header, content| {
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
        sample.place_texts();
        let Collected { key, fields, pictures: found, videos, problem, unread, .. } = sample;
        let unread: Vec<String> = unread.into_iter().collect();
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
                    frames: (!videos.is_empty()).then_some(videos),
                    unread: unread.into(),
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

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// The parts of a sample so far.
struct Collected<'a> {
    archive: &'a TarFile,
    with_pictures: bool,
    key: String,
    fields: Map<String, Value>,
    pictures: Vec<RawPicture>,
    videos: Vec<RawPicture>,
    /// Texts by their whole ending.
    texts: Vec<(String, String)>,
    /// Endings that were there already.
    seen: HashSet<String>,
    /// Endings that nobody reads.
    unread: BTreeSet<String>,
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
            videos: Vec::new(),
            texts: Vec::new(),
            seen: HashSet::new(),
            unread: BTreeSet::new(),
            problem: None,
        }
    }

    fn fail(&mut self, kind: SkipKind, detail: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some(SkipReason::new(kind, detail));
        }
    }

    /// Two parts may say the same thing, but not two things of one name: one would be lost.
    fn field(&mut self, name: String, value: Value, entry: &str) {
        match self.fields.get(&name) {
            Some(known) if *known != value => {
                let detail = format!("{entry:?} has a {} that is another in a part before it", shorten(&name));
                self.fail(SkipKind::UnexpectedEntry, detail);
            }
            _ => drop(self.fields.insert(name, value)),
        }
    }

    /// Each text becomes the field of its ending: `0001.txt` and `0001.en.txt` are `txt`, both together `txt` and `en.txt`.
    fn place_texts(&mut self) {
        let last = |ending: &str| ending.rsplit('.').next().unwrap_or_default().to_owned();
        let texts = std::mem::take(&mut self.texts);
        let lasts: Vec<String> = texts.iter().map(|(ending, _)| last(ending)).collect();
        for ((ending, text), last) in texts.into_iter().zip(&lasts) {
            let alone = lasts.iter().filter(|other| *other == last).count() == 1;
            let entry = format!("{}.{ending}", self.key);
            self.field(if alone { last.clone() } else { ending }, Value::String(text), &entry);
        }
    }

    fn add(&mut self, header: &Header, content: &mut dyn Read) -> io::Result<()> {
        let ending = header.name[key(&header.name).len()..].trim_start_matches('.').to_ascii_lowercase();
        let limits = &self.archive.limits;
        let last = ending.rsplit('.').next().unwrap_or_default();
        let (is_picture, is_text, is_json) = (READABLE_ENDINGS.contains(&last), TEXTS.contains(&last), last == "json");
        let is_video = VIDEOS.contains(&last);
        let is_ignored =
            |name: &String| name.strip_prefix('.').is_some_and(|ignored| ignored == ending || ignored == last);
        if self.archive.ignore.iter().any(is_ignored) {
            return Ok(());
        }
        if !is_picture && !is_video && !is_text && !is_json {
            if PICTURE_ENDINGS.contains(&last) {
                let detail = format!(
                    "{:?}: such pictures cannot be read (those are: {})",
                    header.name,
                    READABLE_ENDINGS.join(", ")
                );
                self.fail(SkipKind::UnreadField, detail);
            } else {
                self.unread.insert(format!(".{ending}"));
            }
        } else if !header.is_file {
            self.fail(SkipKind::UnexpectedEntry, format!("{:?} is no file but a link or a device", header.name));
        } else if !self.seen.insert(ending.clone()) {
            self.fail(SkipKind::UnexpectedEntry, format!("{:?} is there twice", header.name));
        } else if header.size > limits.max_entry_bytes {
            let detail =
                format!("{:?}: {} bytes, at most {} are allowed", header.name, header.size, limits.max_entry_bytes);
            self.fail(SkipKind::EntryTooLarge, detail);
        } else if !header.is_whole {
            self.fail(SkipKind::DamagedFile, format!("the archive ends within {:?}; it is truncated", header.name));
        } else if !(is_picture || is_video) || self.with_pictures {
            let mut bytes = Vec::with_capacity(header.size as usize);
            content.read_to_end(&mut bytes)?;
            match (is_picture || is_video, is_json) {
                (true, _) => {
                    let name = format!("{} in {}", header.name, self.archive.path.display());
                    let found = RawPicture::Encoded(name, Bytes::from(bytes));
                    if is_video { self.videos.push(found) } else { self.pictures.push(found) }
                }
                (_, true) => match parse_object(&bytes, limits.max_depth) {
                    Ok(fields) => fields.into_iter().for_each(|(name, value)| self.field(name, value, &header.name)),
                    Err(reason) => self.fail(reason.kind, format!("{:?}: {}", header.name, reason.detail)),
                },
                _ => match String::from_utf8(bytes) {
                    Ok(text) => self.texts.push((ending, text)),
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

/// Goes from entry to entry of samples, until `visit` says no; it may read the content. Others are counted where that is asked for.
/// Returns where the archive ended, if it was walked to its end.
fn walk(
    path: &Path,
    begin: u64,
    mut others: Option<&mut Others>,
    mut visit: impl FnMut(Header, &mut dyn Read) -> io::Result<bool>,
) -> io::Result<u64> {
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
        if entry.header().entry_type() == EntryType::Directory {
            continue;
        }
        if let Some(why) = belongs_to_none(&header.name) {
            if let Some(others) = &mut others {
                others.count(why);
            }
            continue;
        }
        if !visit(header, &mut entry)? {
            break;
        }
    }
    Ok(next)
}

/// Why an entry belongs to no sample.
enum NoSample {
    /// Its name begins with a dot (attributes of a Mac).
    Hidden,
    /// It is webdataset's own (`__shard__`).
    Own,
    /// No dot in its name.
    WithoutEnding,
}

fn belongs_to_none(name: &str) -> Option<NoSample> {
    let first = name.split('/').next().unwrap_or_default();
    let own = first.len() > 4 && first.starts_with("__") && first.ends_with("__");
    match name.rsplit('/').next().unwrap_or_default() {
        file if file.starts_with('.') => Some(NoSample::Hidden),
        _ if own => Some(NoSample::Own),
        file if !file.contains('.') => Some(NoSample::WithoutEnding),
        _ => None,
    }
}

impl Others {
    fn count(&mut self, why: NoSample) {
        match why {
            NoSample::Hidden => self.hidden += 1,
            NoSample::Own => self.own += 1,
            NoSample::WithoutEnding => self.without_ending += 1,
        }
    }

    fn notes(&self) -> Vec<String> {
        let counts = [
            (self.hidden, "whose name begins with a dot"),
            (self.own, "of webdataset itself (__meta__ and the like)"),
            (self.without_ending, "without an ending"),
        ];
        let line = |(count, which): (u64, &str)| (count > 0).then(|| format!("{count} entries {which} are not read"));
        counts.into_iter().filter_map(line).collect()
    }
}

/// What follows the last entry.
enum After {
    /// Zeros, as it should be.
    EndMark,
    /// The file ends.
    Nothing,
    /// Something else after zeros, at this byte.
    More(u64),
}

fn after(path: &Path, end: u64) -> io::Result<After> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(end))?;
    let mut buffer = vec![0; TAIL_BUFFER];
    let mut at = end;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(if at == end { After::Nothing } else { After::EndMark });
        }
        if let Some(found) = buffer[..read].iter().position(|byte| *byte != 0) {
            return Ok(After::More(at + found as u64));
        }
        at += read as u64;
    }
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
