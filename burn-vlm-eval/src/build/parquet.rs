//! Editions as parquet: the columns of the table as texts, the picture as a struct of bytes and path.
//!
//! Unusual here: equal pictures of a row group are stored once, by parquet's dictionary.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use burn_vlm_base::files::write_atomic_at;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::write::{Table, WriteError, picture};

/// Rows and bytes of a row group, which is in memory until it is whole.
const GROUP_ROWS: usize = 1000;
const GROUP_BYTES: usize = 64 << 20;
/// Bytes of a dictionary: those of a row group's pictures.
const DICTIONARY: usize = GROUP_BYTES;
/// Rows of a batch.
const BATCH: usize = 64;
/// The first bytes of pictures, and how their files end.
const ENDINGS: [(&[u8], &str); 4] = [(b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"RIFF", "webp"), (b"GIF8", "gif")];

impl Table<'_> {
    /// Writes a parquet file.
    ///
    /// # Errors
    /// A file that cannot be written, a picture that cannot be read.
    pub fn write_parquet(&self, path: &Path) -> Result<(), WriteError> {
        let failed = |reason: String| WriteError::Format { path: path.to_owned(), reason };
        let image = Field::new("image", DataType::Struct(image_fields()), true);
        let texts = self.columns.iter().map(|name| Field::new(name, DataType::Utf8, true));
        let schema = Arc::new(Schema::new(texts.chain([image]).collect::<Vec<_>>()));
        let bytes = ColumnPath::from(vec!["image".to_owned(), "bytes".to_owned()]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_column_compression(bytes, Compression::UNCOMPRESSED)
            .set_dictionary_page_size_limit(DICTIONARY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        write_atomic_at(path, |temporary| {
            let file = File::create(temporary).map_err(|error| failed(error.to_string()))?;
            let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
                .map_err(|error| failed(error.to_string()))?;
            for rows in self.items().chunks(BATCH) {
                let mut known: HashMap<blake3::Hash, Bytes> = HashMap::new();
                let mut pictures = Vec::with_capacity(rows.len());
                for item in rows {
                    let picture = picture(item)?;
                    // One copy of each in memory, too.
                    let one = picture.map(|bytes| known.entry(blake3::hash(&bytes)).or_insert(bytes).clone());
                    pictures.push(one);
                }
                let cells: Vec<Vec<String>> = rows.iter().map(|item| self.cells(item)).collect();
                let mut columns: Vec<ArrayRef> = Vec::new();
                for at in 0..self.columns.len() {
                    let column =
                        cells.iter().map(|row| row.get(at).filter(|cell| !cell.is_empty()).map(String::as_str));
                    columns.push(Arc::new(column.collect::<StringArray>()));
                }
                let names = rows.iter().zip(&pictures).map(|(item, bytes)| Some(name(&item.index, bytes.as_ref()?)));
                let names = names.collect::<StringArray>();
                let bytes = pictures.iter().map(Option::as_deref).collect::<BinaryArray>();
                let nulls = bytes.nulls().cloned();
                let image = StructArray::try_new(image_fields(), vec![Arc::new(bytes), Arc::new(names)], nulls);
                columns.push(Arc::new(image.map_err(|error| failed(error.to_string()))?));
                let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| failed(error.to_string()))?;
                writer.write(&batch).map_err(|error| failed(error.to_string()))?;
            }
            writer.close().map(drop).map_err(|error| failed(error.to_string()))
        })
    }
}

fn image_fields() -> Fields {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)].into()
}

/// What a picture is called: its row's index, and what its first bytes say.
fn name(index: &str, bytes: &[u8]) -> String {
    let ending = ENDINGS.iter().find(|(begin, _)| bytes.starts_with(begin)).map_or("bin", |(_, ending)| ending);
    format!("{index}.{ending}")
}
