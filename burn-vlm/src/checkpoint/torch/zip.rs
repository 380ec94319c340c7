//! The directory of a zip archive: where each entry's bytes are.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::super::CheckpointError;
use super::read_at;

/// The directory's longest: torch writes some hundred bytes an entry, and a thousand entries.
const MAX_DIRECTORY: u64 = 64 << 20;
/// The longest comment behind the end of a directory, and that end.
const MAX_END: u64 = 0xFFFF + 22;
const END: u32 = 0x0605_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
const END_64: u32 = 0x0606_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// The extra field with sizes of 64 bits.
const EXTRA_64: u16 = 1;
/// Stands for a number that is in the extra field.
const ELSEWHERE: u64 = 0xFFFF_FFFF;

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// First byte of its content, from the start of the file.
    pub(super) start: u64,
    /// Bytes of its content.
    pub(super) size: u64,
    method: u16,
    flags: u16,
}

impl Entry {
    /// Whether its bytes stand in the file as they are.
    pub(super) fn stored(&self) -> bool {
        self.method == 0 && self.flags & 1 == 0
    }
}

/// All entries by name.
pub(super) fn entries(path: &Path, file: &File) -> Result<BTreeMap<String, Entry>, CheckpointError> {
    let size = file.metadata().map_err(CheckpointError::io(path, "reading the size"))?.len();
    let archive = Archive { path, file, size };
    let (start, length) = archive.directory()?;
    if length > MAX_DIRECTORY || start.checked_add(length).is_none_or(|end| end > size) {
        return Err(archive.damaged(format!("its directory would be bytes {start} to {start} + {length} of {size}")));
    }
    let directory = archive.bytes(start, length)?;
    let mut entries = BTreeMap::new();
    let mut rest = Fields(&directory);
    while !rest.0.is_empty() {
        let (name, entry) = archive.entry(&mut rest)?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(archive.damaged(format!("`{name}` is in it twice")));
        }
    }
    Ok(entries)
}

struct Archive<'a> {
    path: &'a Path,
    file: &'a File,
    size: u64,
}

impl Archive<'_> {
    fn damaged(&self, what: impl std::fmt::Display) -> CheckpointError {
        let reason = format!("a damaged or unfinished archive of torch.save: {what}; fetch the file again");
        CheckpointError::format(self.path, reason)
    }

    /// Some bytes, which lie within the file.
    fn bytes(&self, start: u64, length: u64) -> Result<Vec<u8>, CheckpointError> {
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(self.damaged(format!("{length} bytes at {start} of {}", self.size)));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        read_at(self.file, &mut bytes, start).map_err(CheckpointError::io(self.path, "reading"))?;
        Ok(bytes)
    }

    /// First byte and length of the directory.
    fn directory(&self) -> Result<(u64, u64), CheckpointError> {
        let length = self.size.min(MAX_END);
        let first = self.size - length;
        let tail = self.bytes(first, length)?;
        let found = tail.windows(4).rposition(|window| window == END.to_le_bytes());
        let Some(at) = found.filter(|at| tail.len() - at >= 22) else {
            return Err(self.damaged("the directory at its end is missing"));
        };
        let mut end = Fields(&tail[at + 12..]);
        let (length, start) = (u64::from(end.u32()), u64::from(end.u32()));
        // Behind a file of more than 4 GB the numbers are in a second end, before this one.
        let locator = (first + at as u64).checked_sub(20).map(|at| self.bytes(at, 20)).transpose()?;
        let Some(locator) = locator.filter(|locator| locator.starts_with(&END_64_LOCATOR.to_le_bytes())) else {
            return Ok((start, length));
        };
        let end = self.bytes(Fields(&locator[8..]).u64(), 56)?;
        if !end.starts_with(&END_64.to_le_bytes()) {
            return Err(self.damaged("the end of its directory is not where it should be"));
        }
        let mut end = Fields(&end[40..]);
        let (length, start) = (end.u64(), end.u64());
        Ok((start, length))
    }

    /// The next entry of the directory.
    fn entry(&self, rest: &mut Fields<'_>) -> Result<(String, Entry), CheckpointError> {
        if rest.0.len() < 46 || rest.u32() != CENTRAL {
            return Err(self.damaged("an entry of its directory is no entry"));
        }
        rest.skip(4);
        let (flags, method) = (rest.u16(), rest.u16());
        rest.skip(8);
        let (mut packed, mut size) = (u64::from(rest.u32()), u64::from(rest.u32()));
        let (name, extra, comment) = (rest.u16(), rest.u16(), rest.u16());
        rest.skip(8);
        let mut local = u64::from(rest.u32());
        let (name, extra) = (rest.take(name.into()), rest.take(extra.into()));
        rest.skip(comment.into());
        let mut extra = Fields(extra);
        while extra.0.len() >= 4 {
            let (kind, length) = (extra.u16(), extra.u16());
            let mut field = Fields(extra.take(length.into()));
            if kind == EXTRA_64 {
                for number in [&mut size, &mut packed, &mut local] {
                    if *number == ELSEWHERE {
                        *number = field.u64();
                    }
                }
            }
        }
        let name = String::from_utf8_lossy(name).into_owned();
        let header = self.bytes(local, 30)?;
        if !header.starts_with(&LOCAL.to_le_bytes()) {
            return Err(self.damaged(format!("`{name}` is not where its directory says")));
        }
        let mut lengths = Fields(&header[26..]);
        let start = local + 30 + u64::from(lengths.u16()) + u64::from(lengths.u16());
        if start.checked_add(packed).is_none_or(|end| end > self.size) {
            return Err(self.damaged(format!("`{name}` ends beyond the file, which has {} bytes", self.size)));
        }
        Ok((name, Entry { start, size: packed.min(size), method, flags }))
    }
}

/// Little-endian numbers one after the other; behind the end there are zeros and nothing.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn skip(&mut self, count: usize) {
        self.take(count);
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    fn u64(&mut self) -> u64 {
        self.number(8)
    }
}
