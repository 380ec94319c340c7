//! What is worked on.

use std::collections::{BTreeMap, HashMap};

use burn_vlm_data::language::Language;
use serde::Serialize;

use super::super::edition::{Edition, ItemReport, TextReport};
use super::super::source::SourceBenchmark;
use super::super::write::{WriteError, picture};

/// The texts of a version by their names.
pub type Texts = BTreeMap<String, String>;

/// A text that people see and change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskText {
    /// What records call it: `question`, `hint`, an option's letter; with the row's id before it where that is not the item's.
    pub name: String,
    /// `question`, `hint`, or a letter.
    pub field: String,
    /// In the source's language.
    pub source: String,
    /// The machine's translation; the source where there is none.
    pub machine: String,
    /// Translated back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
    /// It stays as it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_it_is: bool,
}

/// An item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskItem {
    /// `part/index`.
    pub id: String,
    /// The texts in the order in which they are shown.
    pub texts: Vec<TaskText>,
    /// What is right: a letter, or yes or no.
    pub answer: String,
    /// The number of its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<usize>,
    /// Why it could not be translated, in words.
    pub problems: Vec<String>,
    /// What a person should look at, in words.
    pub flags: Vec<String>,
}

/// A benchmark in a language.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// What it is called.
    pub name: String,
    /// The language that is worked on.
    pub language: Language,
    /// The source's.
    pub source_language: Language,
    /// The items.
    pub items: Vec<TaskItem>,
    /// Pictures as `data:` addresses, each once.
    pub pictures: Vec<String>,
}

/// The first bytes of pictures, and their media type.
const TYPES: [(&[u8], &str); 4] =
    [(b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"), (b"GIF8", "image/gif")];

impl Task {
    /// The items of an edition. Only those that a filter takes.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn of(
        name: &str,
        source: &SourceBenchmark,
        edition: &Edition,
        takes: impl Fn(&ItemReport) -> bool,
    ) -> Result<Self, WriteError> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let by_id: HashMap<&str, _> = source.items.iter().map(|item| (item.id.as_str(), item)).collect();
        let (mut items, mut pictures) = (Vec::new(), Vec::new());
        let mut known: HashMap<blake3::Hash, usize> = HashMap::new();
        for report in edition.reports.iter().filter(|report| takes(report)) {
            let bytes = by_id.get(report.id.as_str()).map(|item| picture(item)).transpose()?.flatten();
            let picture = bytes.map(|bytes| {
                *known.entry(blake3::hash(&bytes)).or_insert_with(|| {
                    let kind = TYPES.iter().find(|(begin, _)| bytes.starts_with(begin));
                    let kind = kind.map_or("application/octet-stream", |(_, kind)| kind);
                    pictures.push(format!("data:{kind};base64,{}", STANDARD.encode(&bytes)));
                    pictures.len() - 1
                })
            });
            items.push(TaskItem {
                id: report.id.clone(),
                texts: report.texts.iter().map(|text| of_text(report, text)).collect(),
                answer: report.answer.clone(),
                picture,
                problems: report.problems.iter().map(|problem| problem.words()).collect(),
                flags: report.flags.iter().map(|flag| flag.words()).collect(),
            });
        }
        let (language, source_language) = (edition.language, source.language);
        Ok(Self { name: name.to_owned(), language, source_language, items, pictures })
    }

    /// The item of an id.
    pub fn item(&self, id: &str) -> Option<&TaskItem> {
        self.items.iter().find(|item| item.id == id)
    }
}

impl TaskItem {
    /// The machine's version.
    pub fn machine(&self) -> Texts {
        self.texts.iter().map(|text| (text.name.clone(), text.machine.clone())).collect()
    }

    /// Whether a version has this item's texts, none of them blank.
    ///
    /// # Errors
    /// Says which is missing, blank or unknown.
    pub fn check(&self, texts: &Texts) -> Result<(), String> {
        for text in &self.texts {
            if texts.get(&text.name).is_none_or(|given| given.trim().is_empty()) {
                return Err(format!("{}: the text {:?} is missing or blank", self.id, text.name));
            }
        }
        let known = |name: &String| self.texts.iter().any(|text| text.name == *name);
        match texts.keys().find(|name| !known(name)) {
            Some(name) => Err(format!("{}: it has no text {name:?}", self.id)),
            None => Ok(()),
        }
    }
}

/// What records call a text.
pub fn name(report: &ItemReport, text: &TextReport) -> String {
    if text.id == report.id { text.field.clone() } else { format!("{}:{}", text.id, text.field) }
}

fn of_text(report: &ItemReport, text: &TextReport) -> TaskText {
    TaskText {
        name: name(report, text),
        field: text.field.clone(),
        source: text.source.clone(),
        machine: text.translation.clone().unwrap_or_else(|| text.source.clone()),
        back: text.back_translation.clone(),
        as_it_is: text.as_it_is,
    }
}
