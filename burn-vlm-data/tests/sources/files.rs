//! The same conversations written in every format, with pictures of the embedded corpus.

use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int64Array, LargeListArray, LargeStringArray, ListArray,
    RecordBatch, StringArray, StructArray, types::Int32Type,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::conversation::{Role, Turn};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{Format, LanguageRule, SourceConfig};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A conversation with its pictures.
#[derive(Debug, Clone)]
pub struct Item {
    pub id: String,
    pub pictures: Vec<(String, Vec<u8>)>,
    pub turns: Vec<Turn>,
    pub language: Language,
}

/// What a sample is compared by.
pub type Compared = (String, Vec<Vec<u8>>, Vec<Turn>, Option<Language>);

const LANGUAGES: [Language; 3] = [Language::EN, Language::DE, Language::ZH_HANS];

/// One question about one picture each.
pub fn simple_items(count: usize) -> Vec<Item> {
    let corpus = EmojiCorpus::embedded().unwrap();
    let item = |number: usize| {
        let picture = &corpus.pictures()[number * 7];
        let language = LANGUAGES[number % 3];
        let name = corpus.text(picture.concept, language).map_or("?", |text| &text.name);
        Item {
            id: format!("item-{number:03}"),
            pictures: vec![(format!("{number:03}.webp"), picture.webp.to_vec())],
            turns: vec![Turn::user("<image>\nWhat is \"this\"?\tSay."), Turn::assistant(name)],
            language,
        }
    };
    (0..count).map(item).collect()
}

/// Two pictures, text alone, several turns.
pub fn rich_items(count: usize) -> Vec<Item> {
    let mut items = simple_items(count);
    for (number, item) in items.iter_mut().enumerate() {
        match number % 4 {
            1 => {
                let (name, bytes) = item.pictures[0].clone();
                item.pictures.push((format!("b{name}"), bytes));
                item.turns[0] = Turn::user("This <image> or that <image>?");
                item.turns.push(Turn::user("Why?\n\"Say\" it"));
                item.turns.push(Turn::assistant("So."));
            }
            2 => {
                item.pictures.clear();
                item.turns = vec![Turn::system("Be brief."), Turn::user("2 + 2?"), Turn::assistant("4 ] } \\ 四")];
            }
            _ => {}
        }
    }
    items
}

pub fn expected(items: &[Item]) -> Vec<Compared> {
    let compared = |item: &Item| {
        let pictures = item.pictures.iter().map(|(_, bytes)| bytes.clone()).collect();
        (item.id.clone(), pictures, item.turns.clone(), Some(item.language))
    };
    items.iter().map(compared).collect()
}

pub fn compared(sample: &Sample) -> Compared {
    let pictures = sample.pictures().map(|picture| picture.read().unwrap().to_vec()).collect();
    (sample.id.clone(), pictures, sample.turns.clone(), sample.language)
}

/// A source whose language stands in the field `language`.
pub fn config(path: impl AsRef<Path>) -> SourceConfig {
    let path = path.as_ref().display().to_string();
    let language = LanguageRule::Field { field: "language".into(), aliases: BTreeMap::new() };
    SourceConfig { language: Some(language), tags: vec!["public".into()], ..SourceConfig::new("test", path) }
}

fn from_value(turns: &[Turn]) -> Value {
    let speaker = |role| match role {
        Role::System => "system",
        Role::User => "human",
        Role::Assistant => "gpt",
    };
    turns.iter().map(|turn| json!({"from": speaker(turn.role), "value": turn.text})).collect()
}

fn role_content(turns: &[Turn]) -> Value {
    turns.iter().map(|turn| json!({"role": turn.role, "content": turn.text})).collect()
}

fn write_pictures(folder: &Path, items: &[Item]) {
    fs::create_dir_all(folder.join("images/part")).unwrap();
    for (name, bytes) in items.iter().flat_map(|item| &item.pictures) {
        fs::write(folder.join("images/part").join(name), bytes).unwrap();
    }
}

fn llava_record(item: &Item) -> Value {
    let mut record = json!({"id": item.id, "conversations": from_value(&item.turns), "language": item.language});
    let paths: Vec<String> = item.pictures.iter().map(|(name, _)| format!("part/{name}")).collect();
    match paths.as_slice() {
        [] => {}
        [path] => record["image"] = json!(path),
        paths => record["image"] = json!(paths),
    }
    record
}

/// LLaVA's array, indented.
pub fn write_json(folder: &Path, items: &[Item]) -> SourceConfig {
    write_pictures(folder, items);
    let records: Vec<Value> = items.iter().map(llava_record).collect();
    let path = folder.join("llava.json");
    fs::write(&path, serde_json::to_string_pretty(&records).unwrap()).unwrap();
    SourceConfig { image_root: Some(folder.join("images")), ..config(path) }
}

/// One record a line, over two files, with roles and contents.
pub fn write_jsonl(folder: &Path, items: &[Item]) -> SourceConfig {
    write_pictures(folder, items);
    for (part, items) in ["a", "b"].iter().zip(items.chunks(items.len().div_ceil(2))) {
        let line = |item: &Item| {
            let mut record = llava_record(item);
            let turns = role_content(&item.turns);
            let record = record.as_object_mut().unwrap();
            record.remove("conversations");
            record.insert("messages".into(), turns);
            serde_json::to_string(&record).unwrap() + "\n"
        };
        fs::write(folder.join(format!("part-{part}.jsonl")), items.iter().map(line).collect::<String>()).unwrap();
    }
    SourceConfig { image_root: Some(folder.join("images")), ..config(folder.join("part-{a,b}.jsonl")) }
}

/// Ways in which Arrow writes the same columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Types {
    Plain,
    Large,
    Dictionary,
}

fn strings(values: Vec<&str>, types: Types) -> ArrayRef {
    match types {
        Types::Plain => Arc::new(StringArray::from(values)),
        Types::Large => Arc::new(LargeStringArray::from(values)),
        Types::Dictionary => Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>()),
    }
}

fn structs(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let field = |(name, array): (&str, ArrayRef)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array);
    Arc::new(StructArray::from(columns.into_iter().map(field).collect::<Vec<_>>()))
}

fn lists(values: ArrayRef, lengths: impl IntoIterator<Item = usize>, types: Types) -> ArrayRef {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    match types {
        Types::Large => Arc::new(LargeListArray::new(field, OffsetBuffer::from_lengths(lengths), values, None)),
        _ => Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, None)),
    }
}

/// Parquet with a list of image structs and a list of turns, in row groups of `group` rows.
pub fn write_parquet(folder: &Path, items: &[Item], types: Types, group: usize) -> SourceConfig {
    let pictures: Vec<&(String, Vec<u8>)> = items.iter().flat_map(|item| &item.pictures).collect();
    let bytes = BinaryArray::from_iter_values(pictures.iter().map(|(_, bytes)| bytes));
    let names = strings(pictures.iter().map(|(name, _)| name.as_str()).collect(), types);
    let images = structs(vec![("bytes", Arc::new(bytes)), ("path", names)]);
    let turns: Vec<&Turn> = items.iter().flat_map(|item| &item.turns).collect();
    let roles = strings(turns.iter().map(|turn| turn.role.as_str()).collect(), types);
    let contents = strings(turns.iter().map(|turn| turn.text.as_str()).collect(), types);
    let turns = structs(vec![("role", roles), ("content", contents)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("unused", Arc::new(Int64Array::from(vec![0; items.len()]))),
        ("images", lists(images, items.iter().map(|item| item.pictures.len()), types)),
        ("id", strings(items.iter().map(|item| item.id.as_str()).collect(), types)),
        ("messages", lists(turns, items.iter().map(|item| item.turns.len()), types)),
        ("language", strings(items.iter().map(|item| item.language.tag()).collect(), types)),
    ];
    let path = folder.join(format!("{types:?}-{group}.parquet"));
    write_columns(&path, columns, group);
    config(path)
}

pub fn write_columns(path: &Path, columns: Vec<(&str, ArrayRef)>, group: usize) {
    // As pandas and datasets write them: every column may have nulls.
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A column of strings.
pub fn text_column(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A column of bytes.
pub fn bytes_column(values: &[&[u8]]) -> ArrayRef {
    Arc::new(BinaryArray::from(values.to_vec()))
}

/// A column of structs of bytes and path.
pub fn image_column(values: Vec<(Option<&[u8]>, Option<&str>)>) -> ArrayRef {
    let bytes: Vec<Option<&[u8]>> = values.iter().map(|(bytes, _)| *bytes).collect();
    let paths: Vec<Option<&str>> = values.iter().map(|(_, path)| *path).collect();
    structs(vec![("bytes", Arc::new(BinaryArray::from(bytes))), ("path", Arc::new(StringArray::from(paths)))])
}

/// An entry of an archive.
pub fn append(archive: &mut tar::Builder<File>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).unwrap();
}

/// Two archives.
pub fn write_webdataset(folder: &Path, items: &[Item]) -> SourceConfig {
    // A name of more than 100 characters has a header of its own.
    let long = "long/".repeat(30);
    for (shard, items) in items.chunks(items.len().div_ceil(2)).enumerate() {
        let mut archive = tar::Builder::new(File::create(folder.join(format!("shard-{shard:03}.tar"))).unwrap());
        for (number, item) in items.iter().enumerate() {
            let key = format!("{}{}", if number % 5 == 3 { &long } else { "" }, item.id);
            for (picture, (_, bytes)) in item.pictures.iter().enumerate() {
                append(&mut archive, &format!("{key}.{picture}.webp"), bytes);
            }
            let record = json!({"id": item.id, "conversations": from_value(&item.turns), "language": item.language});
            append(&mut archive, &format!("{key}.json"), &serde_json::to_vec(&record).unwrap());
        }
        archive.finish().unwrap();
    }
    config(folder.join("shard-{000..001}.tar"))
}

fn quoted(cell: &str) -> String {
    match cell.contains(['"', '\t', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

pub fn write_rows(path: &Path, rows: &[Vec<String>]) {
    let row = |row: &Vec<String>| row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join("\t") + "\n";
    fs::write(path, rows.iter().map(row).collect::<String>()).unwrap();
}

/// VLMEvalKit's table, questions of one picture only.
pub fn write_tsv(folder: &Path, items: &[Item]) -> SourceConfig {
    let mut rows = vec![["index", "image", "question", "answer", "language"].map(str::to_owned).to_vec()];
    for item in items {
        let question = item.turns[0].text.strip_prefix("<image>\n").unwrap().to_owned();
        let image = STANDARD.encode(&item.pictures[0].1);
        rows.push(vec![item.id.clone(), image, question, item.turns[1].text.clone(), item.language.tag().into()]);
    }
    let path = folder.join("table.tsv");
    write_rows(&path, &rows);
    config(path)
}

/// Every format but the table, which has one picture a row.
pub fn write_all(folder: &Path, items: &[Item]) -> Vec<(String, SourceConfig)> {
    let mut all = vec![
        ("json".to_owned(), write_json(folder, items)),
        ("jsonl".to_owned(), write_jsonl(folder, items)),
        ("webdataset".to_owned(), write_webdataset(folder, items)),
    ];
    for (types, group) in [(Types::Plain, 1000), (Types::Plain, 5), (Types::Large, 7), (Types::Dictionary, 3)] {
        all.push((format!("parquet {types:?} {group}"), write_parquet(folder, items, types, group)));
    }
    all
}

/// An empty folder that goes when the test's thread ends.
pub fn temporary() -> PathBuf {
    thread_local! {
        static FOLDERS: RefCell<Vec<tempfile::TempDir>> = const { RefCell::new(Vec::new()) };
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    FOLDERS.with_borrow_mut(|folders| folders.push(folder));
    path
}

pub const ALL_FORMATS: [Format; 4] = [Format::Json, Format::Parquet, Format::WebDataset, Format::Tsv];
