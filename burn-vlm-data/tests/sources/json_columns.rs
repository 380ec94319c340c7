//! Columns of JSON as datasets 5 writes them: a plain string stands with its quotes, content parts as JSON text.

use crate::files::{self, simple_items, temporary};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::source::{FileSource, SkipKind, Source, SourceConfig};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

fn open(path: &Path) -> FileSource {
    let image_root = path.parent().map(|folder| folder.join("images"));
    FileSource::open(SourceConfig { image_root, language: None, ..files::config(path) }).unwrap()
}

/// Arrow's extension type alone, inside a list of structs.
#[test]
fn arrow_says_which_strings_are_json() {
    let folder = temporary();
    files::write_json(&folder, &simple_items(1));
    let json = |name: &str| {
        let metadata = [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())];
        Arc::new(Field::new(name, DataType::Utf8, true).with_metadata(metadata))
    };
    let contents = [
        r#"[{"type": "image", "image": "part/000.webp"}, {"type": "text", "text": "What \"now\"?"}]"#,
        r#""A \"plain\" string\n""#,
    ];
    let strings = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let turns = StructArray::from(vec![
        (Arc::new(Field::new("role", DataType::Utf8, true)), strings(&["user", "assistant"])),
        (json("content"), strings(&contents)),
    ]);
    let item = Arc::new(Field::new("item", turns.data_type().clone(), true));
    let messages = ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::new(turns), None);
    let field = Field::new("messages", messages.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(messages)]).unwrap();
    let path = folder.join("arrow.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let sample = open(&path).get(0).unwrap();
    assert_eq!(sample.turns, [Turn::user("<image>\nWhat \"now\"?"), Turn::assistant("A \"plain\" string\n")]);
    assert_eq!(sample.pictures().count(), 1);
}

/// Parquet's logical type alone: texts, a list of pictures, null, and what is no JSON.
#[test]
fn parquet_says_which_strings_are_json() {
    let folder = temporary();
    files::write_json(&folder, &simple_items(2));
    let path = folder.join("logical.parquet");
    let schema =
        "message m { required binary image (JSON); required binary question (JSON); required binary answer (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let columns = [
        [r#""part/000.webp""#, r#"["part/000.webp", "part/001.webp"]"#, "null", "null"],
        [r#""What?""#, r#""What?""#, r#""What?""#, "What?"],
        [r#""This.""#, "This.", "This.", "This."],
    ];
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in columns {
        let values = values.map(ByteArray::from);
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let source = open(&path);
    for (record, pictures) in [(0, 1), (1, 2), (2, 0)] {
        let sample = source.get(record).unwrap();
        assert_eq!(sample.pictures().count(), pictures);
        assert!(sample.turns[0].text.ends_with("What?") && !sample.turns[0].text.contains('"'));
    }
    // A column of plain strings keeps its quotes.
    assert_eq!(source.get(0).unwrap().answer(), "\"This.\"");
    let skip = source.get(3).unwrap_err();
    assert!(skip.reason == SkipKind::Malformed && skip.detail.contains("question"), "{skip}");
}
