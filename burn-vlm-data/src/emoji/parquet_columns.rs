//! Whole columns of a parquet file as vectors, with errors that name file, column and row.
//!
//! The column readers are used directly: the crate's row iterator takes about ten times as long.

use super::CorpusError;
use bytes::Bytes;
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::path::{Path, PathBuf};

/// Rows asked for at once; row groups are smaller in practice, so this is "all of them".
const BATCH: usize = 1 << 20;

/// An open parquet file in memory.
pub(super) struct Columns {
    path: PathBuf,
    reader: SerializedFileReader<Bytes>,
    rows: usize,
}

/// The levels and non-null values of one column of one row group.
struct Levels<T> {
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<T>,
    max_definition: i16,
}

impl Columns {
    pub(super) fn open(path: &Path, bytes: Bytes) -> Result<Self, CorpusError> {
        let corrupt = |reason: String| CorpusError::Corrupt { path: path.to_owned(), reason };
        let reader = SerializedFileReader::new(bytes).map_err(|error| corrupt(error.to_string()))?;
        let rows = usize::try_from(reader.metadata().file_metadata().num_rows())
            .map_err(|_| corrupt("negative number of rows".to_owned()))?;
        Ok(Self { path: path.to_owned(), reader, rows })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// A column of strings in which every row has a value.
    pub(super) fn strings(&self, column: &'static str) -> Result<Vec<String>, CorpusError> {
        let values = self.optional_strings(column)?;
        self.required(column, "a string", values)
    }

    /// A column of strings in which rows may be empty.
    pub(super) fn optional_strings(&self, column: &'static str) -> Result<Vec<Option<String>>, CorpusError> {
        let values = self.flat::<ByteArrayType>(column, "a column of strings", PhysicalType::BYTE_ARRAY)?;
        let text = |(row, value): (usize, Option<ByteArray>)| value.map(|v| self.utf8(column, row, &v)).transpose();
        values.into_iter().enumerate().map(text).collect()
    }

    /// A column of byte strings in which every row has a value.
    pub(super) fn bytes(&self, column: &'static str) -> Result<Vec<Bytes>, CorpusError> {
        let values = self.flat::<ByteArrayType>(column, "a column of byte strings", PhysicalType::BYTE_ARRAY)?;
        let values = self.required(column, "bytes", values)?;
        // Copied, because a value shares the buffer of its whole page.
        Ok(values.iter().map(|value| Bytes::copy_from_slice(value.data())).collect())
    }

    /// A column of booleans in which every row has a value.
    pub(super) fn booleans(&self, column: &'static str) -> Result<Vec<bool>, CorpusError> {
        let values = self.flat::<BoolType>(column, "a column of booleans", PhysicalType::BOOLEAN)?;
        self.required(column, "true or false", values)
    }

    /// A column whose rows are lists of strings (three-level lists, `keywords.list.element`).
    pub(super) fn string_lists(&self, column: &'static str) -> Result<Vec<Vec<String>>, CorpusError> {
        let expected = "a column of lists of strings";
        let mut rows: Vec<Vec<String>> = Vec::with_capacity(self.rows);
        for group in 0..self.reader.num_row_groups() {
            let levels = self.read::<ByteArrayType>(group, column, expected, PhysicalType::BYTE_ARRAY)?;
            let mut values = levels.values.iter();
            if levels.repetitions.len() != levels.definitions.len() {
                return Err(self.schema(column, expected, "no lists".to_owned()));
            }
            for (repetition, definition) in levels.repetitions.iter().zip(&levels.definitions) {
                if *repetition == 0 {
                    rows.push(Vec::new());
                }
                if *definition == levels.max_definition
                    && let (Some(value), Some(row)) = (values.next(), rows.len().checked_sub(1))
                {
                    let text = self.utf8(column, row, value)?;
                    rows[row].push(text);
                }
            }
        }
        self.complete(column, rows)
    }

    /// A column without lists: one optional value a row.
    fn flat<T: DataType>(
        &self,
        column: &'static str,
        expected: &'static str,
        physical: PhysicalType,
    ) -> Result<Vec<Option<T::T>>, CorpusError> {
        let mut rows = Vec::with_capacity(self.rows);
        for group in 0..self.reader.num_row_groups() {
            let levels = self.read::<T>(group, column, expected, physical)?;
            if !levels.repetitions.is_empty() {
                return Err(self.schema(column, expected, "lists".to_owned()));
            }
            let mut values = levels.values.into_iter();
            if levels.max_definition == 0 {
                rows.extend(values.map(Some));
            } else {
                let present = |definition: &i16| {
                    if *definition == levels.max_definition { values.next() } else { None }
                };
                rows.extend(levels.definitions.iter().map(present));
            }
        }
        self.complete(column, rows)
    }

    fn read<T: DataType>(
        &self,
        group: usize,
        column: &'static str,
        expected: &'static str,
        physical: PhysicalType,
    ) -> Result<Levels<T::T>, CorpusError> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let position = schema.columns().iter().position(|c| c.path().parts().first().is_some_and(|p| p == column));
        let Some(position) = position else {
            let names: Vec<_> = schema.columns().iter().map(|c| c.path().string()).collect();
            return Err(self.schema(column, expected, format!("no such column (there are {})", names.join(", "))));
        };
        let descriptor = schema.column(position);
        if descriptor.physical_type() != physical {
            return Err(self.schema(column, expected, format!("{:?}", descriptor.physical_type())));
        }
        let corrupt = |reason: String| CorpusError::Corrupt {
            path: self.path.clone(),
            reason: format!("column {column:?}: {reason}"),
        };
        let reader: ColumnReader = self
            .reader
            .get_row_group(group)
            .and_then(|row_group| row_group.get_column_reader(position))
            .map_err(|error| corrupt(error.to_string()))?;
        let mut reader = get_typed_column_reader::<T>(reader);
        let mut levels = Levels {
            definitions: Vec::new(),
            repetitions: Vec::new(),
            values: Vec::new(),
            max_definition: descriptor.max_def_level(),
        };
        loop {
            let definitions = (descriptor.max_def_level() > 0).then_some(&mut levels.definitions);
            let repetitions = (descriptor.max_rep_level() > 0).then_some(&mut levels.repetitions);
            let (records, _, _) = reader
                .read_records(BATCH, definitions, repetitions, &mut levels.values)
                .map_err(|error| corrupt(error.to_string()))?;
            if records == 0 {
                return Ok(levels);
            }
        }
    }

    fn required<T>(&self, column: &'static str, expected: &str, values: Vec<Option<T>>) -> Result<Vec<T>, CorpusError> {
        let value =
            |(row, value): (usize, Option<T>)| value.ok_or_else(|| self.value(row, column, expected, "nothing (null)"));
        values.into_iter().enumerate().map(value).collect()
    }

    fn complete<T>(&self, column: &'static str, rows: Vec<T>) -> Result<Vec<T>, CorpusError> {
        if rows.len() == self.rows {
            return Ok(rows);
        }
        let reason = format!("column {column:?} has {} rows instead of {}", rows.len(), self.rows);
        Err(CorpusError::Corrupt { path: self.path.clone(), reason })
    }

    fn utf8(&self, column: &'static str, row: usize, value: &ByteArray) -> Result<String, CorpusError> {
        let text = std::str::from_utf8(value.data());
        text.map(str::to_owned).map_err(|_| self.value(row, column, "UTF-8 text", "other bytes"))
    }

    /// An error about one value.
    pub(super) fn value(
        &self,
        row: usize,
        column: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> CorpusError {
        CorpusError::Value { path: self.path.clone(), row, column, expected: expected.into(), found: found.into() }
    }

    fn schema(&self, column: &str, expected: &'static str, found: String) -> CorpusError {
        CorpusError::Schema { path: self.path.clone(), column: column.to_owned(), expected, found }
    }
}
