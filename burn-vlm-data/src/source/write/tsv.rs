//! VLMEvalKit's table: one question and answer a row, the picture in base64.

use super::{NewSample, Problem, WriteError, WriteSamples, failed};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const HEADER: [&str; 5] = ["index", "image", "question", "answer", "language"];
/// A cell of at most so many characters is the index of the row that holds the picture.
const REFERENCE: usize = 64;

/// One file of rows.
pub(super) struct TsvWriter {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    /// By the picture's name the index of the first row that shows it.
    pictures: HashMap<String, String>,
}

impl TsvWriter {
    pub(super) fn create(folder: &Path, name: String) -> Result<Self, WriteError> {
        let path = folder.join(&name);
        let file = File::create(&path).map_err(|error| failed(&path, error))?;
        let mut writer = Self { path, name, file: BufWriter::new(file), pictures: HashMap::new() };
        writer.row(HEADER)?;
        Ok(writer)
    }

    fn row(&mut self, cells: [&str; 5]) -> Result<(), WriteError> {
        let row = cells.map(quoted).join("\t") + "\n";
        self.file.write_all(row.as_bytes()).map_err(|error| failed(&self.path, error))
    }

    /// The picture, or the index of the row that has it.
    fn image(&mut self, sample: &NewSample<'_>) -> Result<String, Problem> {
        let [picture] = sample.pictures else {
            return if sample.pictures.is_empty() { Ok(String::new()) } else { Err(no_place("several pictures")) };
        };
        if let Some(index) = self.pictures.get(&picture.name) {
            return Ok(index.clone());
        }
        let image = STANDARD.encode(&picture.bytes);
        if image.len() <= REFERENCE {
            let reason = format!("picture {:?} is too small: {} bytes", picture.name, picture.bytes.len());
            return Err(Problem::Refused(reason));
        }
        if sample.id.len() <= REFERENCE {
            self.pictures.insert(picture.name.clone(), sample.id.to_owned());
        }
        Ok(image)
    }
}

impl WriteSamples for TsvWriter {
    fn write(&mut self, sample: &NewSample<'_>) -> Result<(), Problem> {
        let [Turn { role: Role::User, text: question }, Turn { role: Role::Assistant, text: answer }] = sample.turns
        else {
            return Err(no_place("anything but one question and its answer"));
        };
        // The reader puts the placeholder there.
        let first = format!("{IMAGE_PLACEHOLDER}\n");
        let question = question.strip_prefix(&first).unwrap_or(question);
        if question.is_empty() {
            return Err(no_place("a picture without a question"));
        }
        let image = self.image(sample)?;
        let language = sample.language.map_or("", |language| language.tag());
        Ok(self.row([sample.id, &image, question, answer, language])?)
    }

    fn finish(mut self: Box<Self>) -> Result<String, WriteError> {
        self.file.flush().map_err(|error| failed(&self.path, error))?;
        Ok(self.name)
    }
}

fn no_place(what: &str) -> Problem {
    Problem::Refused(format!("a row has no place for {what}; write json, parquet or webdataset"))
}

/// The cell as pandas writes it.
fn quoted(cell: &str) -> String {
    match cell.contains(['"', '\t', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}
