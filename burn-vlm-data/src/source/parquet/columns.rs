//! Which columns of a parquet file are read, and whether they have the types that are needed.

use super::super::config::Fields;
use super::super::conversation::{
    ANSWERS, CAPTIONS, CONVERSATIONS, HINT, OPTION_LISTS, OPTION_PLACES, OPTIONS, SYSTEMS,
};
use super::super::interpret::{IMAGES, numbered_fields};
use super::json_columns::JsonColumns;
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// Columns by name.
pub(super) struct Columns {
    /// Texts and everything else that becomes a field.
    pub(super) texts: Vec<String>,
    /// Pictures, in the order in which they are shown.
    pub(super) images: Vec<String>,
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
    Answer,
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
        let has = |name: &str| schema.index_of(name).is_ok();
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
                let place = first(&OPTION_PLACES).filter(|_| first(&OPTION_LISTS).is_some());
                // The place of the right option stands in for an answer.
                if answer.is_some() || place.is_none() {
                    texts.push((answer.unwrap_or_else(|| "answer".to_owned()), Wanted::Answer));
                }
                texts.extend(place.map(|name| (name, Wanted::Any)));
                let options = OPTIONS.iter().chain(&HINT).filter(|name| has(name));
                texts.extend(options.map(|name| ((*name).to_owned(), Wanted::Text)));
                texts.extend(first(&OPTION_LISTS).map(|name| (name, Wanted::Any)));
            }
            (None, None, Some(caption)) => texts.push((caption, Wanted::Text)),
            (None, None, None) => texts.push(("conversations".to_owned(), Wanted::Conversation)),
        }
        texts.extend(fields.system.clone().or_else(|| first(&SYSTEMS)).map(|name| (name, Wanted::Text)));
        texts.extend(language.map(|name| (name.to_owned(), Wanted::Text)));
        let id = fields.id.clone().or_else(|| first(&["id", "index"]));
        texts.extend(id.clone().map(|name| (name, Wanted::Id)));
        texts.extend(fields.more.iter().map(|name| (name.clone(), Wanted::Any)));
        let mut seen = std::collections::HashSet::new();
        texts.retain(|(name, _)| seen.insert(name.clone()));

        let image = fields.image.clone().or_else(|| first(&IMAGES));
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let images = match image {
            Some(image) => vec![image],
            None => numbered_fields(names.clone()).into_iter().map(str::to_owned).collect(),
        };
        // Pictures named in JSON are fields like others.
        let (in_json, images): (Vec<String>, Vec<String>) = images.into_iter().partition(|name| json.is_json(name));
        texts.extend(in_json.into_iter().map(|name| (name, Wanted::Any)));
        let pictures: Vec<&String> = images.iter().chain(&fields.video).collect();
        let text_roots = texts.iter().map(|(name, wanted)| check(schema, name, *wanted)).collect::<Result<_, _>>()?;
        let picture_roots: Vec<usize> =
            pictures.iter().map(|name| check(schema, name, Wanted::Pictures)).collect::<Result<_, _>>()?;
        let texts: Vec<String> = texts.into_iter().map(|(name, _)| name).collect();
        let is_read = |name: &str| texts.iter().chain(pictures.iter().copied()).any(|read| read == name);
        let unread: Vec<String> = names.filter(|name| !is_read(name)).map(str::to_owned).collect();
        let id = id.unwrap_or_else(|| "id".to_owned());
        let (video, unread) = (fields.video.clone(), Arc::from(unread));
        Ok(Self { texts, images, video, id, unread, json, text_roots, picture_roots })
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
            Self::Answer => "a column of strings, of lists of strings or of structs with answer, or of whole numbers",
            Self::Id => "a column of strings or whole numbers",
            Self::Any => "a column",
        }
    }

    fn fits(self, found: &DataType) -> bool {
        match self {
            Self::Pictures => is_picture(item(found).unwrap_or(found)),
            // A conversation may also be written as JSON in a string.
            Self::Conversation => is_text(found) || item(found).is_some_and(|item| matches!(item, DataType::Struct(_))),
            Self::Text => is_text(found),
            Self::Answer => {
                let one = item(found).unwrap_or(found);
                is_text(one) || matches!(one, DataType::Struct(_)) || found.is_numeric()
            }
            Self::Id => is_text(found) || found.is_integer(),
            Self::Any => true,
        }
    }
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
