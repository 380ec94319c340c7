//! Text files of records: lines, elements of a JSON array, rows of tab-separated values.
//!
//! Unusual here: a file is walked once when it is opened, to count its records and to remember where some of them begin;
//! no record is parsed and none is kept. Afterwards any record is read on its own.

mod elements;
mod json;
mod lines;
mod listing;
mod rows;
mod tsv;

pub(super) use json::{JsonFile, kind, parse_object, parse_value};
pub(super) use listing::listing;
pub(super) use tsv::TsvFile;

use super::checkpoints::{Checkpoints, Mark};
use super::skip::{Place, SkipKind, SkipReason};
use elements::Elements;
use lines::Lines;
use rows::Rows;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Read at once when a file is walked from end to end.
const SCAN_BUFFER: usize = 1 << 20;
/// Read at once when single records are fetched.
const READ_BUFFER: usize = 1 << 16;

/// One record as it stands in the file.
struct Piece {
    mark: Mark,
    /// `None` where it is longer than allowed, or was not asked for.
    bytes: Option<Vec<u8>>,
}

/// A file whose records can no longer be told apart.
#[derive(Debug)]
struct Damage {
    place: String,
    reason: String,
}

/// Goes from record to record.
trait Walk {
    /// The next record; its bytes where `keep` is set and it has at most `max_bytes`.
    fn next(&mut self, keep: bool, max_bytes: u64) -> Result<Option<Piece>, Damage>;
}

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Lines,
    Elements,
    Rows,
}

/// A text file with its marks.
struct TextFile {
    path: Arc<Path>,
    layout: Layout,
    checkpoints: Checkpoints,
    max_bytes: u64,
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self { place: "reading".to_owned(), reason: error.to_string() }
    }
}

/// Is shown each record with its number.
type Show<'a> = &'a mut dyn FnMut(u64, &[u8]);

impl TextFile {
    /// Walks through the file from `first` on, and shows each record with its number if its bytes are wanted.
    fn scan(
        path: Arc<Path>,
        (layout, first): (Layout, Mark),
        max_marks: usize,
        max_bytes: u64,
        mut show: Option<Show<'_>>,
    ) -> Result<Self, Damage> {
        let mut file = Self { path, layout, checkpoints: Checkpoints::new(max_marks), max_bytes };
        let mut walk = file.walk(first, SCAN_BUFFER)?;
        while let Some(piece) = walk.next(show.is_some(), max_bytes)? {
            if let (Some(show), Some(bytes)) = (&mut show, &piece.bytes) {
                show(file.checkpoints.records(), bytes);
            }
            file.checkpoints.push(piece.mark);
        }
        Ok(file)
    }

    fn walk(&self, from: Mark, buffer: usize) -> io::Result<Box<dyn Walk>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(from.offset))?;
        let reader = BufReader::with_capacity(buffer, file);
        Ok(match self.layout {
            Layout::Lines => Box::new(Lines::new(reader, from)),
            Layout::Elements => Box::new(Elements::new(reader, from)),
            Layout::Rows => Box::new(Rows::new(reader, from)),
        })
    }

    /// The bytes of records whose numbers rise.
    fn pieces(&self, records: &[u64]) -> Vec<(Place, Result<Vec<u8>, SkipReason>)> {
        let mut pieces = Vec::with_capacity(records.len());
        // The walk under way and the record that it comes to next.
        let mut under_way: Option<(Box<dyn Walk>, u64)> = None;
        for record in records {
            let piece = self.piece(*record, &mut under_way);
            if piece.is_err() {
                under_way = None;
            }
            pieces.push(match piece {
                Ok(Piece { mark, bytes }) => {
                    let reason =
                        || SkipReason::new(SkipKind::EntryTooLarge, format!("more than {} bytes", self.max_bytes));
                    (self.place(mark.line), bytes.ok_or_else(reason))
                }
                Err(damage) => {
                    let detail = format!("{}: {}; was the file changed?", damage.place, damage.reason);
                    (Place::Element(*record), Err(SkipReason::new(SkipKind::DamagedFile, detail)))
                }
            });
        }
        pieces
    }

    fn piece(&self, record: u64, under_way: &mut Option<(Box<dyn Walk>, u64)>) -> Result<Piece, Damage> {
        let gone = || Damage { place: format!("record {record}"), reason: "not there any more".to_owned() };
        let (mark, number) = self.checkpoints.before(record).ok_or_else(gone)?;
        // Reading on is no longer than starting from the mark.
        let goes_on = under_way.as_ref().is_some_and(|(_, next)| *next <= record && *next >= number);
        if !goes_on {
            *under_way = Some((self.walk(mark, READ_BUFFER)?, number));
        }
        let Some((walk, next)) = under_way.as_mut() else { return Err(gone()) };
        loop {
            let keep = *next == record;
            let piece = walk.next(keep, self.max_bytes)?.ok_or_else(gone)?;
            *next += 1;
            if keep {
                return Ok(piece);
            }
        }
    }

    fn place(&self, line: u64) -> Place {
        match self.layout {
            Layout::Elements => Place::Element(line),
            Layout::Lines | Layout::Rows => Place::Line(line),
        }
    }
}

/// Collects the bytes of a record as long as they are wanted and not too many.
struct Kept {
    bytes: Option<Vec<u8>>,
    max_bytes: u64,
}

impl Kept {
    fn new(keep: bool, max_bytes: u64) -> Self {
        Self { bytes: keep.then(Vec::new), max_bytes }
    }

    fn add(&mut self, more: &[u8]) {
        if let Some(bytes) = &mut self.bytes {
            if (bytes.len() + more.len()) as u64 > self.max_bytes {
                self.bytes = None;
            } else {
                bytes.extend_from_slice(more);
            }
        }
    }
}
