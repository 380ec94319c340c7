//! Which columns of a parquet file are read, and whether they have the types that are needed.

use super::super::answers::TEXTS;
use super::super::config::Fields;
use super::super::conversation::{
    ANSWERS, CAPTIONS, CONVERSATIONS, HINT, OPTION_LISTS, OPTION_PLACES, OPTIONS, SYSTEMS,
};
use super::super::interpret::{FILE_NAMES, IDS, IMAGES, numbered_fields};
use super::json_columns::JsonColumns;
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// Columns by name.
pub(super) struct Columns {
    /// Texts and everything else that becomes a field.
    pub(super) texts: Vec<String>,
    /// Pictures, in the order in which they are shown.
    pub(super) images: Vec<String>,
    /// Files may be named beside them, where they have nothing.
    pub(super) names_files: bool,
    /// Frames.
    pub(super) video: Option<String>,
    /// The id, whether there is such a column or not.
    pub(super) id: String,
    /// Columns of the file that are not read.
    pub(super) unread: Arc<[String]>,
    /// Columns whose strings are JSON.
    pub(super) json: JsonColumns,
    /// Each column's number in the schema, texts first.
    text_roots: Vec<usize>,
    picture_roots: Vec<usize>,
}

/// A column, what was expected and what is there.
type Wrong = (String, String, String);

/// What a column may hold.
#[derive(Clone, Copy)]
enum Wanted {
    Pictures,
    Conversation,
    Text,
    /// A text or a number.
    Said,
    Answer,
    Options,
    Id,
    Any,
}

impl Columns {
    /// Finds the columns that the fields name, or those of the usual names.
    pub(super) fn find(
        schema: &Schema,
        json: JsonColumns,
        fields: &Fields,
        language: Option<&str>,
    ) -> Result<Self, Wrong> {
        let read = |name: &str| schema.index_of(name).is_ok() && !fields.ignores(name);
        // A column of nothing is of no type; another of the usual names may hold what is looked for.
        let is_null = |name: &str| schema.field_with_name(name).is_ok_and(|field| field.data_type().is_null());
        let has = |name: &str| read(name) && !is_null(name);
        let first = |names: &[&str]| names.iter().find(|name| has(name)).map(|name| (*name).to_owned());
        let mut texts: Vec<(String, Wanted)> = Vec::new();
        let conversation = fields.conversations.clone().or_else(|| {
            let other = fields.question.is_some() || fields.caption.is_some();
            if other { None } else { first(&CONVERSATIONS) }
        });
        let question = fields.question.clone().or_else(|| first(&["question"]).filter(|_| fields.caption.is_none()));
        let caption = fields.caption.clone().or_else(|| first(&CAPTIONS));
        match (conversation, question, caption) {
            (Some(conversation), _, _) => texts.push((conversation, Wanted::Conversation)),
            (None, Some(question), _) => {
                texts.push((question, Wanted::Text));
                let answer = fields.answer.clone().or_else(|| first(&ANSWERS));
                // One option is no choice, but a column that happens to be called A.
                let lettered: Vec<&&str> = OPTIONS.iter().filter(|name| has(name)).collect();
                let lettered = if lettered.len() >= 2 { lettered } else { Vec::new() };
                let place = first(&OPTION_PLACES);
                let place = place.filter(|_| !lettered.is_empty() || first(&OPTION_LISTS).is_some());
                // The place of the right option stands in for an answer.
                if answer.is_some() || place.is_none() {
                    let nothing = || ANSWERS.iter().find(|name| read(name)).map_or("answer", |name| name);
                    texts.push((answer.unwrap_or_else(|| nothing().to_owned()), Wanted::Answer));
                }
                texts.extend(place.map(|name| (name, Wanted::Answer)));
                let said = lettered.into_iter().chain(HINT.iter().filter(|name| has(name)));
                texts.extend(said.map(|name| ((*name).to_owned(), Wanted::Said)));
                texts.extend(first(&OPTION_LISTS).map(|name| (name, Wanted::Options)));
            }
            (None, None, Some(caption)) => texts.push((caption, Wanted::Answer)),
            (None, None, None) => {
                let nothing = CONVERSATIONS.iter().chain(&["question"]).chain(&CAPTIONS).find(|name| read(name));
                texts.push((nothing.map_or("conversations", |name| name).to_owned(), Wanted::Conversation));
            }
        }
        // A column that is only called as a system text usually is does not make the file unreadable.
        let system = fields.system.clone().map(|name| (name, Wanted::Text));
        texts.extend(system.or_else(|| Some((first(&SYSTEMS)?, Wanted::Any))));
        texts.extend(language.map(|name| (name.to_owned(), Wanted::Text)));
        let id = fields.id.clone().or_else(|| first(&IDS));
        texts.extend(id.clone().map(|name| (name, Wanted::Id)));
        texts.extend(fields.more.iter().map(|name| (name.clone(), Wanted::Any)));

        let image = fields.image.clone().or_else(|| first(&IMAGES));
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let mut names_files = false;
        let images = match image {
            Some(image) => vec![image],
            None => {
                // Whether they name pictures, their endings tell record by record.
                let files = FILE_NAMES.iter().filter(|name| has(name));
                texts.extend(files.map(|name| ((*name).to_owned(), Wanted::Any)));
                names_files = FILE_NAMES.iter().any(|name| has(name));
                numbered_fields(names.clone().filter(|name| has(name))).into_iter().map(str::to_owned).collect()
            }
        };
        // Pictures named in JSON are fields like others.
        let (in_json, images): (Vec<String>, Vec<String>) = images.into_iter().partition(|name| json.is_json(name));
        texts.extend(in_json.into_iter().map(|name| (name, Wanted::Any)));
        // So are videos that are named: a folder of frames, or a list of them.
        let video = match &fields.video {
            Some(name) => Some((name.clone(), true)),
            None => first(&["video"]).map(|name| (name, false)),
        };
        let video = video.filter(|(name, is_chosen)| {
            let found = schema.field_with_name(name).map(Field::data_type);
            let is_field = match found {
                Ok(found) => is_named(found) || (!is_chosen && !Wanted::Pictures.fits(found)),
                Err(_) => false,
            };
            if is_field {
                texts.push((name.clone(), Wanted::Any));
            }
            !is_field
        });
        let video = video.map(|(name, _)| name);
        let mut seen = std::collections::HashSet::new();
        texts.retain(|(name, _)| seen.insert(name.clone()));
        let pictures: Vec<&String> = images.iter().chain(&video).collect();
        let text_roots = texts.iter().map(|(name, wanted)| check(schema, name, *wanted)).collect::<Result<_, _>>()?;
        let picture_roots: Vec<usize> =
            pictures.iter().map(|name| check(schema, name, Wanted::Pictures)).collect::<Result<_, _>>()?;
        let texts: Vec<String> = texts.into_iter().map(|(name, _)| name).collect();
        let is_read = |name: &str| texts.iter().chain(pictures.iter().copied()).any(|read| read == name);
        let unread: Vec<String> = names.filter(|name| !is_read(name) && !is_null(name)).map(str::to_owned).collect();
        let id = id.unwrap_or_else(|| "id".to_owned());
        let unread = Arc::from(unread);
        Ok(Self { texts, images, names_files, video, id, unread, json, text_roots, picture_roots })
    }

    /// Numbers of the columns to read.
    pub(super) fn roots(&self, pictures: bool) -> Vec<usize> {
        let pictures = if pictures { self.picture_roots.as_slice() } else { &[] };
        self.text_roots.iter().chain(pictures).copied().collect()
    }
}

fn check(schema: &Schema, name: &str, wanted: Wanted) -> Result<usize, Wrong> {
    let Ok(index) = schema.index_of(name) else {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let found = format!("no such column (there are {}); name the columns in fields", names.join(", "));
        return Err((name.to_owned(), wanted.expected().to_owned(), found));
    };
    let field = schema.field(index);
    if wanted.fits(field.data_type()) {
        return Ok(index);
    }
    Err((name.to_owned(), wanted.expected().to_owned(), field.data_type().to_string()))
}

impl Wanted {
    fn expected(self) -> &'static str {
        match self {
            Self::Pictures => "a struct of bytes and path, a column of bytes or of paths, or lists of these",
            Self::Conversation => "a list of structs (from and value, role and content, or user and assistant)",
            Self::Text => "a column of strings",
            Self::Said => "a column of strings or numbers",
            Self::Answer => {
                "a column of strings, of lists of strings or of structs with answer, or of numbers (whole ones or floats of 32 or \
                 64 bits)"
            }
            Self::Options => "a column of lists of strings or numbers",
            Self::Id => "a column of strings or whole numbers",
            Self::Any => "a column",
        }
    }

    fn fits(self, found: &DataType) -> bool {
        // A column of nothing fits everything: nothing is found in it.
        if found.is_null() {
            return true;
        }
        match self {
            Self::Pictures => item(found).unwrap_or(found).is_null() || is_picture(item(found).unwrap_or(found)),
            // A conversation may also be written as JSON in a string.
            Self::Conversation => {
                let turns = |item: &DataType| matches!(item, DataType::Struct(_) | DataType::Null);
                is_text(found) || item(found).is_some_and(turns)
            }
            Self::Text => is_text(found),
            Self::Said => is_text(found) || is_number(found),
            Self::Answer => is_answer(found),
            Self::Options => is_option(found),
            Self::Id => is_text(found) || found.is_integer(),
            Self::Any => true,
        }
    }
}

/// Texts, numbers, lists of them, structs with one under a known key.
fn is_answer(found: &DataType) -> bool {
    match found {
        DataType::Struct(fields) => {
            let text = TEXTS.iter().find_map(|key| fields.find(key));
            text.is_some_and(|(_, field)| is_answer(field.data_type()))
        }
        found => found.is_null() || is_text(found) || is_number(found) || item(found).is_some_and(is_answer),
    }
}

/// What JSON has words for throughout: the others would read as nothing, and an option would be lost.
fn is_option(found: &DataType) -> bool {
    match found {
        DataType::Struct(fields) => fields.iter().all(|field| is_option(field.data_type())),
        DataType::Null | DataType::Boolean => true,
        found => is_text(found) || is_number(found) || item(found).is_some_and(is_option),
    }
}

/// Numbers that become one of JSON; decimals and halves have no exact one here.
fn is_number(found: &DataType) -> bool {
    found.is_integer() || matches!(found, DataType::Float32 | DataType::Float64)
}

/// Names of files, or lists of them.
fn is_named(found: &DataType) -> bool {
    item(found).unwrap_or(found).is_string()
}

/// The type of a list's items.
fn item(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Some(field.data_type())
        }
        _ => None,
    }
}

fn is_picture(found: &DataType) -> bool {
    let bytes_or_path = |field: &&std::sync::Arc<Field>| matches!(field.name().as_str(), "bytes" | "path");
    match found {
        DataType::Struct(fields) => {
            let mut known = fields.iter().filter(bytes_or_path).peekable();
            known.peek().is_some() && known.all(|field| is_text(field.data_type()))
        }
        other => is_text(other),
    }
}

/// Strings, and bytes that may be some.
fn is_text(found: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(found, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}
