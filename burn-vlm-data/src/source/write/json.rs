//! LLaVA's JSON and JSONL, pictures as files beside them.

use super::{NewPicture, NewSample, Problem, WriteError, WriteSamples, failed};
use crate::conversation::{Role, Turn};
use crate::language::Language;
use serde::Serialize;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The folder of the pictures, beside the file.
const IMAGES: &str = "images";

/// One array, or one record a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Array,
    Lines,
}

/// A record as LLaVA has it.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image>,
    conversations: Vec<Exchange<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Image {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Serialize)]
struct Exchange<'a> {
    from: &'static str,
    value: &'a str,
}

impl<'a> Record<'a> {
    /// The record without its pictures.
    pub(super) fn new(sample: &NewSample<'a>) -> Self {
        let exchange = |turn: &'a Turn| Exchange {
            from: match turn.role {
                Role::System => "system",
                Role::User => "human",
                Role::Assistant => "gpt",
            },
            value: &turn.text,
        };
        let conversations = sample.turns.iter().map(exchange).collect();
        Self { id: sample.id, image: None, conversations, language: sample.language }
    }
}

/// One file of records.
pub(super) struct JsonWriter {
    folder: PathBuf,
    name: String,
    file: BufWriter<File>,
    layout: Layout,
    /// No record is written yet.
    first: bool,
    /// Names of the pictures that are there.
    pictures: HashSet<String>,
}

impl JsonWriter {
    pub(super) fn create(folder: &Path, name: String, layout: Layout) -> Result<Self, WriteError> {
        let path = folder.join(&name);
        let file = File::create(&path).map_err(|error| failed(&path, error))?;
        let pictures = HashSet::new();
        Ok(Self { folder: folder.to_owned(), name, file: BufWriter::new(file), layout, first: true, pictures })
    }

    /// The picture's path from the folder; the file is there then.
    fn picture(&mut self, picture: &NewPicture) -> Result<String, WriteError> {
        let relative = format!("{IMAGES}/{}", picture.name);
        if self.pictures.insert(picture.name.clone()) {
            let path = self.folder.join(&relative);
            let parent = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
            fs::write(&path, &picture.bytes).map_err(|error| failed(&path, error))?;
        }
        Ok(relative)
    }

    fn put(&mut self, text: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(text).map_err(|error| failed(&self.folder.join(&self.name), error))
    }
}

impl WriteSamples for JsonWriter {
    fn write(&mut self, sample: &NewSample<'_>) -> Result<(), Problem> {
        let mut paths = sample.pictures.iter().map(|picture| self.picture(picture)).collect::<Result<Vec<_>, _>>()?;
        let mut record = Record::new(sample);
        record.image = match paths.len() {
            0 => None,
            1 => paths.pop().map(Image::One),
            _ => Some(Image::Many(paths)),
        };
        let json = serde_json::to_vec(&record).map_err(|error| Problem::Refused(error.to_string()))?;
        // An array too has one record a line: it can be read, compared and cut by line.
        match (self.layout, self.first) {
            (Layout::Array, true) => self.put(b"[\n")?,
            (Layout::Array, false) => self.put(b",\n")?,
            (Layout::Lines, true) => {}
            (Layout::Lines, false) => self.put(b"\n")?,
        }
        self.first = false;
        Ok(self.put(&json)?)
    }

    fn finish(mut self: Box<Self>) -> Result<String, WriteError> {
        let end: &[u8] = match (self.layout, self.first) {
            (Layout::Array, true) => b"[]\n",
            (Layout::Array, false) => b"\n]\n",
            (Layout::Lines, true) => b"",
            (Layout::Lines, false) => b"\n",
        };
        self.put(end)?;
        self.file.flush().map_err(|error| failed(&self.folder.join(&self.name), error))?;
        Ok(self.name)
    }
}
