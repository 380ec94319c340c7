//! VLMEvalKit's TSV: a header, pictures in base64.
//!
//! An `image` of at most 64 characters is no picture but the `index` of the row that holds it.

use super::super::checkpoints::Mark;
use super::super::config::{Fields, Limits};
use super::super::named::{SHORTEST_BASE64 as REFERENCE, base64, named};
use super::super::record::{RawPicture, RawRecord, RawResult, RawSkip, ReadRecords};
use super::super::skip::{Place, SkipKind, SkipReason};
use super::rows::{Rows, cells};
use super::{Damage, Layout, TextFile, Walk, listing};
use crate::random::hash_bytes;
use burn_vlm_base::shorten::shorten;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

/// One file of rows.
pub(in super::super) struct TsvFile {
    text: TextFile,
    columns: Vec<String>,
    /// The columns with the index, the picture and the picture's path.
    index: Option<usize>,
    image: Option<usize>,
    image_path: Option<usize>,
    /// The picture's path is a field too, because it is asked for: several questions may share one.
    keeps_path: bool,
    /// Rows with a picture of their own, by the hash of their index: 16 bytes a row.
    rows: HashMap<u64, u64>,
}

/// A row taken apart.
type Cells = Result<Vec<String>, SkipReason>;

impl TsvFile {
    /// Walks through the file once. The error has the place and the reason.
    pub(in super::super) fn open(
        path: Arc<Path>,
        fields: &Fields,
        limits: &Limits,
        max_marks: usize,
    ) -> Result<Self, (String, String)> {
        Self::scan(path, fields, limits, max_marks).map_err(|damage| (damage.place, damage.reason))
    }

    fn scan(path: Arc<Path>, fields: &Fields, limits: &Limits, max_marks: usize) -> Result<Self, Damage> {
        let max_bytes = limits.max_entry_bytes;
        let mut header = Rows::new(BufReader::new(File::open(&path)?), Mark { offset: 0, line: 1 });
        let row = header.next(true, max_bytes)?.and_then(|piece| piece.bytes).unwrap_or_default();
        let row = std::str::from_utf8(&row).map(|row| row.trim_start_matches('\u{feff}').to_owned());
        let columns = row.map(|row| cells(&row)).unwrap_or_default();
        if columns.len() < 2 {
            let reason = format!("expected a header of column names with tabs between, found {columns:?}");
            return Err(Damage { place: "line 1".to_owned(), reason });
        }
        let find = |name: &str| columns.iter().position(|column| column == name);
        let read = |name: &str| find(name).filter(|_| !fields.ignores(name));
        let (index, image) = (find("index"), read(fields.image.as_deref().unwrap_or("image")));
        let image_path = read("image_path");
        let keeps_path = fields.more.iter().any(|name| name == "image_path");
        let mut rows = HashMap::new();
        let mut note = |record: u64, row: &[u8]| {
            let cell = |column: Option<usize>, cells: &[String]| column.and_then(|column| cells.get(column).cloned());
            let cells = cells(std::str::from_utf8(row).unwrap_or_default());
            if let (Some(index), Some(image)) = (cell(index, &cells), cell(image, &cells))
                && image.len() > REFERENCE
            {
                rows.insert(hash_bytes(index.as_bytes()), record);
            }
        };
        let first = header.position();
        let text = TextFile::scan(path, (Layout::Rows, first), max_marks, max_bytes, Some(&mut note))?;
        Ok(Self { text, columns, index, image, image_path, keeps_path, rows })
    }

    fn cells(&self, records: &[u64]) -> Vec<(Place, Cells)> {
        let split = |bytes: Vec<u8>| {
            let row = String::from_utf8(bytes).map_err(|_| SkipReason::malformed("not UTF-8"))?;
            let cells = cells(&row);
            if cells.len() == self.columns.len() {
                return Ok(cells);
            }
            Err(SkipReason::malformed(format!("{} cells under {} columns", cells.len(), self.columns.len())))
        };
        self.text.pieces(records).into_iter().map(|(place, bytes)| (place, bytes.and_then(split))).collect()
    }

    /// The pictures of a row; a row without any has none.
    fn pictures(&self, place: &Place, cells: &[String]) -> Result<Vec<RawPicture>, SkipReason> {
        let cell = |column: Option<usize>| column.and_then(|column| cells.get(column)).filter(|cell| !cell.is_empty());
        let name = format!("{} {place}", self.text.path.display());
        match (cell(self.image), cell(self.image_path)) {
            (Some(image), _) if image.len() <= REFERENCE => self.other(image, &name),
            (Some(image), _) => decode(image, &name),
            (None, Some(path)) => Ok(list(path).into_iter().map(RawPicture::Path).collect()),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The row holds or names a picture in one of the table's own columns.
    fn has_pictures(&self, cells: &[String]) -> bool {
        let there =
            |column: Option<usize>| column.and_then(|column| cells.get(column)).is_some_and(|cell| !cell.is_empty());
        there(self.image) || there(self.image_path)
    }

    /// The pictures of the row that has this index.
    fn other(&self, index: &str, name: &str) -> Result<Vec<RawPicture>, SkipReason> {
        let missing = || {
            let detail = format!("{} is the index of no row with a picture", shorten(index));
            SkipReason::new(SkipKind::MissingImage, detail)
        };
        let record = self.rows.get(&hash_bytes(index.as_bytes())).ok_or_else(missing)?;
        let (_, cells) = self.cells(&[*record]).pop().ok_or_else(missing)?;
        let cells = cells?;
        // Hashes can meet; the index decides.
        if self.index.and_then(|column| cells.get(column)).is_none_or(|found| found != index) {
            return Err(missing());
        }
        let image = self.image.and_then(|column| cells.get(column)).filter(|image| image.len() > REFERENCE);
        decode(image.ok_or_else(missing)?, name)
    }
}

impl ReadRecords for TsvFile {
    fn len(&self) -> u64 {
        self.text.checkpoints.records()
    }

    fn read(&self, records: &[u64], pictures: bool) -> Vec<RawResult> {
        let record = |(place, cells): (Place, Cells)| {
            let file = self.text.path.clone();
            let id = cells.as_ref().ok().and_then(|cells| self.index.and_then(|column| cells.get(column).cloned()));
            let parts = cells.and_then(|cells| {
                // Without one of its own, the other fields may name some.
                let own = pictures && self.has_pictures(&cells);
                let pictures = if own { Some(self.pictures(&place, &cells)?) } else { None };
                Ok((pictures, cells))
            });
            let (pictures, cells) = match parts {
                Ok(parts) => parts,
                Err(reason) => return Err(RawSkip { file, place, id, reason }),
            };
            let field = |(column, cell): (usize, String)| {
                let is_path = Some(column) == self.image_path && !self.keeps_path;
                let is_text = Some(column) != self.image && !is_path && !cell.is_empty();
                is_text.then(|| (self.columns[column].clone(), Value::String(cell)))
            };
            let fields: Map<String, Value> = cells.into_iter().enumerate().filter_map(field).collect();
            Ok(RawRecord { file, place, fields, pictures, frames: None, unread: Arc::default() })
        };
        self.cells(records).into_iter().map(record).collect()
    }
}

/// A picture in base64, or a list of them.
fn decode(image: &str, name: &str) -> Result<Vec<RawPicture>, SkipReason> {
    let picture = |text: String| match text.trim_start().starts_with("data:") {
        true => named(&Value::String(text), name),
        false => Ok(vec![base64(&text, name)?]),
    };
    Ok(list(image).into_iter().map(picture).collect::<Result<Vec<_>, _>>()?.concat())
}

/// A cell that may be a list.
fn list(cell: &str) -> Vec<String> {
    listing(cell).unwrap_or_else(|| vec![cell.to_owned()])
}
