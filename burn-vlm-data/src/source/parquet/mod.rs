//! Parquet files as Hugging Face writes them.
//!
//! Unusual here:
//! - only the columns that are used are read, and only the pages that hold the rows asked for; a row group is never held as
//!   a whole;
//! - types are taken from the parquet schema, so that large strings, views and dictionaries are all plain strings;
//! - where a page is damaged, the rows around it are read one by one, so that only those that it holds are lost.

mod columns;
mod json_columns;
mod values;

use super::config::{Fields, Limits};
use super::error::SourceError;
use super::record::{RawPicture, RawRecord, RawResult, RawSkip, ReadRecords};
use super::skip::{Place, SkipKind, SkipReason};
use arrow_array::{Array, RecordBatch};
use columns::Columns;
use json_columns::JsonColumns;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use serde_json::Map;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Rows decoded at once; their pictures are in memory twice for a moment.
const BATCH_ROWS: usize = 16;

/// One parquet file.
pub(super) struct ParquetFile {
    path: Arc<Path>,
    metadata: ArrowReaderMetadata,
    columns: Columns,
    /// The first row of each row group, and the end.
    group_starts: Vec<u64>,
    limits: Limits,
}

/// What a batch of rows could not be read for.
type Broken = String;

impl ParquetFile {
    /// Reads the footer and finds the columns.
    pub(super) fn open(
        source: &str,
        path: Arc<Path>,
        fields: &Fields,
        language: Option<&str>,
        limits: &Limits,
    ) -> Result<Self, SourceError> {
        let damaged = |place: &str, reason: String| SourceError::Damaged {
            source_name: source.to_owned(),
            path: path.to_path_buf(),
            place: place.to_owned(),
            reason,
        };
        let file = File::open(&path).map_err(|error| SourceError::Unreadable {
            source_name: source.to_owned(),
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options)
            .map_err(|error| damaged("footer", format!("not a readable parquet file ({error}); fetch it again")))?;
        let json = JsonColumns::of(metadata.parquet_schema(), metadata.metadata().file_metadata().key_value_metadata());
        let columns =
            Columns::find(metadata.schema(), json, fields, language).map_err(|(column, expected, found)| {
                let path = path.to_path_buf();
                SourceError::Column { source_name: source.to_owned(), path, column, expected, found }
            })?;
        if let Some((column, compression)) = unknown_compression(&metadata, &columns.roots(true)) {
            let reason =
                format!("it is compressed by {compression}, which cannot be read here; write it again with zstd");
            return Err(damaged(&format!("column {column:?}"), reason));
        }
        let mut group_starts = vec![0];
        let mut rows = 0u64;
        for group in metadata.metadata().row_groups() {
            let count = u64::try_from(group.num_rows()).ok().and_then(|count| rows.checked_add(count));
            rows =
                count.ok_or_else(|| damaged("footer", "a row group with an impossible number of rows".to_owned()))?;
            group_starts.push(rows);
        }
        Ok(Self { path, metadata, columns, group_starts, limits: *limits })
    }

    fn rows(&self, rows: &[u64], pictures: bool) -> Result<Vec<RawResult>, Broken> {
        let read = || self.batches(rows, pictures);
        // A damaged page can lead the decoder to an impossible state; that is the file's fault, not a reason to die.
        let batches = match burn_vlm_base::guard::guarded(read) {
            Ok(batches) => batches.map_err(|error| error.to_string())?,
            Err(_) => return Err("the decoder gave up".to_owned()),
        };
        let found: usize = batches.iter().map(Vec::len).sum();
        if found != rows.len() {
            return Err(format!("{found} rows instead of {}", rows.len()));
        }
        Ok(batches.into_iter().flatten().collect())
    }

    fn batches(&self, rows: &[u64], pictures: bool) -> Result<Vec<Vec<RawResult>>, ParquetError> {
        let (groups, selection) = self.select(rows);
        let roots = self.columns.roots(pictures);
        let projection = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(&self.path)?, self.metadata.clone())
            .with_projection(projection)
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_batch_size(BATCH_ROWS.min(rows.len()))
            .build()?;
        let mut rows = rows.iter();
        let mut batches = Vec::new();
        for batch in reader {
            let batch = batch?;
            let records =
                (0..batch.num_rows()).map_while(|row| Some(self.record(&batch, row, *rows.next()?, pictures)));
            batches.push(records.collect());
        }
        Ok(batches)
    }

    /// The row groups that hold the rows, and the rows within them.
    fn select(&self, rows: &[u64]) -> (Vec<usize>, RowSelection) {
        let (mut groups, mut ranges): (Vec<usize>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
        // Rows of the groups chosen so far.
        let mut total = 0;
        let mut offset = 0;
        for row in rows {
            let group = self.group_starts.partition_point(|start| start <= row) - 1;
            let start = self.group_starts[group];
            if groups.last() != Some(&group) {
                groups.push(group);
                offset = total;
                total += (self.group_starts[group + 1] - start) as usize;
            }
            let at = offset + (row - start) as usize;
            match ranges.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                _ => ranges.push(at..at + 1),
            }
        }
        (groups, RowSelection::from_consecutive_ranges(ranges.into_iter(), total))
    }

    fn record(&self, batch: &RecordBatch, row: usize, number: u64, pictures: bool) -> RawResult {
        let (file, place) = (self.path.clone(), Place::Row(number));
        let json = &self.columns.json;
        let reader = values::Values { json, max_depth: self.limits.max_depth };
        let mut fields = Map::new();
        for name in &self.columns.texts {
            let path = Some(name.as_str()).filter(|name| json.is_within(name));
            let value =
                batch.column_by_name(name).map_or(Ok(serde_json::Value::Null), |column| reader.json(path, column, row));
            match value {
                Ok(value) => drop(fields.insert(name.clone(), value)),
                Err(reason) => {
                    let reason = SkipReason::malformed(format!("column {name:?}: {reason}"));
                    return Err(RawSkip { file, place, id: None, reason });
                }
            }
        }
        let find = |names: &[String]| {
            if names.is_empty() || !pictures {
                return Ok(None);
            }
            let of = |name: &String| self.pictures(batch.column_by_name(name).map(|c| c.as_ref()), row, name, &place);
            names.iter().map(of).collect::<Result<Vec<_>, _>>().map(|lists| Some(lists.concat()))
        };
        match find(&self.columns.images).and_then(|images| Ok((images, find(self.columns.video.as_slice())?))) {
            Ok((images, frames)) => {
                let images = images.filter(|images| !(images.is_empty() && self.columns.names_files));
                let unread = self.columns.unread.clone();
                Ok(RawRecord { file, place, fields, pictures: images, frames, unread })
            }
            Err(reason) => {
                let id = fields.get(&self.columns.id).and_then(|id| id.as_str()).map(str::to_owned);
                Err(RawSkip { file, place, id, reason })
            }
        }
    }

    fn pictures(
        &self,
        column: Option<&dyn Array>,
        row: usize,
        name: &str,
        place: &Place,
    ) -> Result<Vec<RawPicture>, SkipReason> {
        let label = format!("{name} of {place} in {}", self.path.display());
        let found = column.map_or_else(|| Ok(Vec::new()), |column| values::pictures(column, row, &label))?;
        let size = |picture: &RawPicture| match picture {
            RawPicture::Encoded(_, bytes) => bytes.len() as u64,
            RawPicture::Path(_) => 0,
        };
        match found.iter().map(size).max() {
            Some(largest) if largest > self.limits.max_entry_bytes => {
                let detail = format!("{label}: {largest} bytes, at most {} are allowed", self.limits.max_entry_bytes);
                Err(SkipReason::new(SkipKind::EntryTooLarge, detail))
            }
            _ => Ok(found),
        }
    }
}

/// The first of the columns to read that is compressed by what is not built in, and by what.
fn unknown_compression(metadata: &ArrowReaderMetadata, roots: &[usize]) -> Option<(String, &'static str)> {
    let schema = metadata.parquet_schema();
    let columns = metadata.metadata().row_groups().iter().flat_map(|group| group.columns().iter().enumerate());
    let mut used = columns.filter(|(leaf, _)| roots.contains(&schema.get_column_root_idx(*leaf)));
    used.find_map(|(_, column)| {
        let name = match column.compression() {
            Compression::BROTLI(_) => "brotli",
            Compression::LZO => "LZO",
            _ => return None,
        };
        Some((column.column_path().string(), name))
    })
}

impl ReadRecords for ParquetFile {
    fn len(&self) -> u64 {
        self.group_starts.last().copied().unwrap_or(0)
    }

    fn read(&self, records: &[u64], pictures: bool) -> Vec<RawResult> {
        match self.rows(records, pictures) {
            Ok(found) => found,
            Err(reason) if records.len() == 1 => {
                let reason = SkipReason::new(SkipKind::DamagedFile, reason);
                let (file, place) = (self.path.clone(), Place::Row(records[0]));
                vec![Err(RawSkip { file, place, id: None, reason })]
            }
            Err(_) => {
                let (first, second) = records.split_at(records.len() / 2);
                let mut found = self.read(first, pictures);
                found.extend(self.read(second, pictures));
                found
            }
        }
    }

    fn bytes_together(&self) -> Option<u64> {
        let roots = self.columns.roots(true);
        let schema = self.metadata.parquet_schema();
        let bytes = |group: &parquet::file::metadata::RowGroupMetaData| -> u64 {
            let used = group
                .columns()
                .iter()
                .enumerate()
                .filter(|(leaf, _)| roots.contains(&schema.get_column_root_idx(*leaf)));
            used.map(|(_, column)| u64::try_from(column.uncompressed_size()).unwrap_or(0)).sum()
        };
        let total: u64 = self.metadata.metadata().row_groups().iter().map(bytes).sum();
        Some(total.checked_div(self.len())?.max(1))
    }
}
