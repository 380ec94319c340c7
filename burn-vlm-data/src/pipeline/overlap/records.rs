//! The records that are compared, whatever they come from: rows of files with all of their columns, samples, questions.

use crate::conversation::Turn;
use crate::language::Language;
use crate::sample::{Media, Sample, clips, pictures};
use crate::source::{FileSource, Limits, Row, Skip, SkipKind, SkipReason, Source};
use crate::video::Clip;
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// Columns with the ids of the records that a record was made of, beside its own id.
pub const ID_COLUMNS: [&str; 3] = ["source_id", "source_row", "original_id"];
/// The column in which rows that were made say where they come from; ids are looked for in it, too.
const PROVENANCE: &str = "provenance";
/// The column with the SHA-256 of the picture's file, in data that names its pictures by address.
const HASH_COLUMN: &str = "image_sha256";
/// Levels of a value whose texts are looked at.
const LEVELS: usize = 16;

/// A record with what it is compared by.
#[derive(Debug, Clone)]
pub struct OverlapRecord {
    /// Its number in its source.
    pub record: u64,
    /// Its id; made of file and place where the data gives none.
    pub id: String,
    /// The ids that the data gives: its own, and those of the records that it was made of.
    pub ids: Vec<String>,
    /// The language.
    pub language: Option<Language>,
    /// Its pictures and videos.
    pub media: Vec<Media>,
    /// Its texts.
    pub texts: Vec<String>,
    /// SHA-256 of its pictures' files, where the record has it.
    pub sha256: Vec<[u8; 32]>,
    /// Why it, or its pictures, cannot be read; what is there is compared all the same.
    pub problem: Option<Skip>,
    /// Its file and its place there, for what is found wrong later.
    pub place: (String, String),
}

/// Numbered records to compare.
pub trait OverlapRecords: Send + Sync {
    /// What reports call them.
    fn name(&self) -> &str;

    /// How many there are.
    fn len(&self) -> u64;

    /// Some of them, in their order.
    fn read(&self, records: Range<u64>) -> Vec<OverlapRecord>;

    /// What decoding their pictures may use.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// True if there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of files. All of their columns are compared; of parquet files those that their reader knows and `fields.more` of the
/// configuration.
pub struct FileRecords {
    source: FileSource,
    /// Columns with further ids.
    columns: Vec<String>,
}

impl FileRecords {
    /// The rows of a source. `columns` name further ones with ids, beside [`ID_COLUMNS`].
    pub fn new(source: FileSource, columns: &[String]) -> Self {
        let columns = ID_COLUMNS.iter().map(|name| (*name).to_owned()).chain(columns.iter().cloned()).collect();
        Self { source, columns }
    }

    fn record(&self, record: u64, row: Row, problem: Option<Skip>) -> OverlapRecord {
        let place = (row.file.display().to_string(), row.place.to_string());
        // What is made of file and place is no id of the data.
        let given = self.source.config().fields.id.as_ref().map_or(vec!["id", "index", "__key__"], |id| vec![id]);
        let is_given = given.iter().any(|name| row.fields.get(*name).is_some_and(|value| !value.is_null()));
        let mut ids: Vec<String> = is_given.then(|| row.id.clone()).into_iter().collect();
        let within = row.fields.get(PROVENANCE);
        let places = |name: &String| [row.fields.get(name), within.and_then(|within| within.get(name))];
        let named = self.columns.iter().flat_map(places).flatten();
        named.for_each(|value| scalars(value, &mut |id| ids.push(id)));
        let mut sha256 = Vec::new();
        if let Some(value) = row.fields.get(HASH_COLUMN) {
            scalars(value, &mut |text| sha256.extend(of_hexadecimal(&text)));
        }
        let texts = texts(&row, &self.columns);
        let Row { id, media, language, .. } = row;
        OverlapRecord { record, id, ids, language, media, texts, sha256, problem, place }
    }
}

impl OverlapRecords for FileRecords {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn limits(&self) -> Limits {
        self.source.limits()
    }

    fn read(&self, records: Range<u64>) -> Vec<OverlapRecord> {
        let numbers: Vec<u64> = records.collect();
        let rows = self.source.rows(&numbers).into_iter().zip(&numbers);
        rows.map(|(row, record)| match row {
            Ok(row) => self.record(*record, row, None),
            // Without its pictures it still has ids and texts.
            Err(skip) => match self.source.texts(&[*record]).pop() {
                Some(Ok(row)) => self.record(*record, row, Some(*skip)),
                _ => unread(*record, *skip),
            },
        })
        .collect()
    }
}

/// Samples of any source: their ids, turns and pictures.
pub struct SampleRecords(Arc<dyn Source>);

impl SampleRecords {
    /// The samples of a source.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self(source)
    }
}

impl OverlapRecords for SampleRecords {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn read(&self, records: Range<u64>) -> Vec<OverlapRecord> {
        let numbers: Vec<u64> = records.collect();
        let samples = self.0.get_many(&numbers).into_iter().zip(&numbers);
        samples
            .map(|(sample, record)| match sample {
                Ok(Sample { id, turns, media, language, .. }) => OverlapRecord {
                    record: *record,
                    ids: vec![id.clone()],
                    place: (self.0.name().to_owned(), format!("record {record}")),
                    texts: turns.into_iter().map(|turn| turn.text).collect(),
                    sha256: Vec::new(),
                    problem: None,
                    id,
                    language,
                    media,
                },
                Err(skip) => unread(*record, *skip),
            })
            .collect()
    }
}

/// A question of a benchmark.
#[derive(Debug, Clone)]
pub struct AskedRecord {
    /// Its id.
    pub id: String,
    /// The language.
    pub language: Option<Language>,
    /// What is asked.
    pub turns: Vec<Turn>,
    /// What it shows.
    pub media: Vec<Media>,
}

/// Questions as a benchmark asks them. Each line of a prompt is a text of its own, since prompts add instructions to what the benchmark's
/// file has.
pub struct AskedRecords {
    name: String,
    asked: Vec<AskedRecord>,
    limits: Limits,
}

impl AskedRecords {
    /// The questions of a benchmark.
    pub fn new(name: impl Into<String>, asked: Vec<AskedRecord>, limits: Limits) -> Self {
        Self { name: name.into(), asked, limits }
    }
}

impl OverlapRecords for AskedRecords {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.asked.len() as u64
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn read(&self, records: Range<u64>) -> Vec<OverlapRecord> {
        let asked = (records.start..records.end.min(self.len())).map(|record| (record, &self.asked[record as usize]));
        let lines = |turns: &[Turn]| turns.iter().flat_map(|turn| turn.text.lines().map(str::to_owned)).collect();
        asked
            .map(|(record, asked)| OverlapRecord {
                record,
                id: asked.id.clone(),
                ids: vec![asked.id.clone()],
                language: asked.language,
                media: asked.media.clone(),
                texts: lines(&asked.turns),
                sha256: Vec::new(),
                problem: None,
                place: (self.name.clone(), format!("question {record}")),
            })
            .collect()
    }
}

impl OverlapRecord {
    /// The pictures, frames of videos that are given as pictures among them.
    pub fn pictures(&self) -> impl Iterator<Item = &crate::sample::Picture> {
        pictures(&self.media)
    }

    /// Video files.
    pub fn clips(&self) -> impl Iterator<Item = &Clip> {
        clips(&self.media)
    }

    /// What is wrong with a part of it.
    pub(super) fn skip(&self, source: &str, reason: SkipReason) -> Skip {
        let (file, place) = self.place.clone();
        let SkipReason { kind: reason, detail } = reason;
        Skip { source: source.to_owned(), record: self.record, file, place, id: Some(self.id.clone()), reason, detail }
    }
}

fn unread(record: u64, skip: Skip) -> OverlapRecord {
    let id = skip.id.clone().unwrap_or_else(|| skip.place.clone());
    let place = (skip.file.clone(), skip.place.clone());
    let (ids, media, texts, sha256) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    OverlapRecord { record, id, ids, language: None, media, texts, sha256, problem: Some(skip), place }
}

/// The texts and numbers of a value, and of a list its items.
fn scalars(value: &Value, each: &mut dyn FnMut(String)) {
    match value {
        Value::String(text) => each(text.trim().to_owned()),
        Value::Number(number) => each(number.to_string()),
        Value::Array(items) => items.iter().filter(|item| !item.is_array()).for_each(|item| scalars(item, each)),
        Value::Null | Value::Bool(_) | Value::Object(_) => {}
    }
}

/// All texts of a record but for its ids, hashes, and what names its pictures.
fn texts(row: &Row, ids: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let other = |name: &String| [HASH_COLUMN, PROVENANCE].contains(&name.as_str()) || ids.contains(name);
    let is_text = |name: &String| row.others.contains(name) && !other(name);
    let texts = row.fields.iter().filter(|(name, _)| is_text(name));
    texts.for_each(|(_, value)| walk(value, LEVELS, &mut found));
    found
}

fn walk(value: &Value, levels: usize, found: &mut Vec<String>) {
    match value {
        // A picture among the parts of a turn.
        Value::String(text) if text.starts_with("data:") => {}
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) if levels > 0 => items.iter().for_each(|item| walk(item, levels - 1, found)),
        Value::Object(fields) if levels > 0 => fields.values().for_each(|item| walk(item, levels - 1, found)),
        _ => {}
    }
}

/// 64 hexadecimal digits.
fn of_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

/// A picture that cannot be read is told as such, whatever the system said.
pub(super) fn unreadable(detail: impl Into<String>) -> SkipReason {
    SkipReason::new(SkipKind::UnreadableImage, detail)
}
