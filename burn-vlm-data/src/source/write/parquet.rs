//! Parquet as Hugging Face writes it: pictures as bytes, conversations as lists of role and content.

use super::{NewSample, Problem, WriteError, WriteSamples, failed};
use crate::conversation::Turn;
use arrow_array::{ArrayRef, BinaryArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Samples, or bytes of pictures, that are held before they become a batch.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 16 << 20;
/// The most rows and bytes of a row group, which is in memory until it is whole.
const GROUP_ROWS: usize = 10_000;
const GROUP_BYTES: usize = 64 << 20;
/// Values between looks at the size of a page: pages stay small although single pictures are large.
const PAGE_CHECK: usize = 8;

/// One file.
pub(super) struct ParquetWriter {
    path: PathBuf,
    name: String,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    rows: Vec<Row>,
    bytes: usize,
}

/// A sample that is held.
struct Row {
    id: String,
    pictures: Vec<(String, Bytes)>,
    turns: Vec<Turn>,
    language: Option<&'static str>,
}

impl ParquetWriter {
    pub(super) fn create(folder: &Path, name: String) -> Result<Self, WriteError> {
        let path = folder.join(&name);
        let fail = |error: ParquetError| failed(&path, error);
        let file = File::create(&path).map_err(|error| failed(&path, error))?;
        let schema = Arc::new(schema());
        // Pictures are compressed already, and no two are alike enough for a dictionary.
        let pictures = ColumnPath::from("images.list.element.bytes");
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_column_compression(pictures.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(pictures, false)
            .set_write_batch_size(PAGE_CHECK)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(fail)?;
        Ok(Self { path, name, writer, schema, rows: Vec::new(), bytes: 0 })
    }

    fn put(&mut self) -> Result<(), WriteError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let fail = |error: String| failed(&self.path, error);
        let batch = batch(&self.schema, &rows).map_err(|error| fail(error.to_string()))?;
        self.writer.write(&batch).map_err(|error| fail(error.to_string()))
    }
}

impl WriteSamples for ParquetWriter {
    fn write(&mut self, sample: &NewSample<'_>) -> Result<(), Problem> {
        let pictures: Vec<(String, Bytes)> =
            sample.pictures.iter().map(|picture| (picture.name.clone(), picture.bytes.clone())).collect();
        self.bytes += pictures.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let language = sample.language.map(|language| language.tag());
        self.rows.push(Row { id: sample.id.to_owned(), pictures, turns: sample.turns.to_vec(), language });
        if self.rows.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.put()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<String, WriteError> {
        if !self.rows.is_empty() {
            self.put()?;
        }
        self.writer.close().map_err(|error| failed(&self.path, error))?;
        Ok(self.name)
    }
}

/// Bytes and path of a picture.
fn picture_fields() -> Fields {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)].into()
}

/// Role and content of a turn.
fn turn_fields() -> Fields {
    vec![Field::new("role", DataType::Utf8, true), Field::new("content", DataType::Utf8, true)].into()
}

/// A list's items.
fn item(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(fields), true))
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("images", DataType::List(item(picture_fields())), true),
        Field::new("messages", DataType::List(item(turn_fields())), true),
        Field::new("language", DataType::Utf8, true),
    ])
}

fn batch(schema: &Arc<Schema>, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let pictures = || rows.iter().flat_map(|row| &row.pictures);
    let turns = || rows.iter().flat_map(|row| &row.turns);
    let bytes = BinaryArray::from_iter_values(pictures().map(|(_, bytes)| bytes));
    let names = StringArray::from_iter_values(pictures().map(|(name, _)| name));
    let roles = StringArray::from_iter_values(turns().map(|turn| turn.role.as_str()));
    let texts = StringArray::from_iter_values(turns().map(|turn| &turn.text));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
        lists(picture_fields(), vec![Arc::new(bytes), Arc::new(names)], rows.iter().map(|row| row.pictures.len()))?,
        lists(turn_fields(), vec![Arc::new(roles), Arc::new(texts)], rows.iter().map(|row| row.turns.len()))?,
        Arc::new(rows.iter().map(|row| row.language).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema.clone(), columns)
}

/// Lists of structs, each with so many items.
fn lists(
    fields: Fields,
    columns: Vec<ArrayRef>,
    lengths: impl IntoIterator<Item = usize>,
) -> Result<ArrayRef, ArrowError> {
    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item(fields), offsets, Arc::new(structs), None)?))
}
