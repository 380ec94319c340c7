//! Samples into files, in each of the formats that a [`Source`](super::Source) reads.
//!
//! Unusual here:
//! - what is written reads back as the same sample: id, turns, language, and the bytes of its pictures; a sample that would not
//!   is an error when it is written, not a skipped record when it is read;
//! - samples are written as they come, so that memory does not grow with their number;
//! - a picture that several samples show is stored once where the format can refer to it (files, rows of a table).

mod json;
mod parquet;
mod tsv;
mod webdataset;

use crate::conversation::{Role, Turn, count_images};
use crate::language::Language;
use bytes::Bytes;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteFormat {
    /// LLaVA's JSON, one array; pictures as files in `images/`.
    Json,
    /// The same, one record a line.
    Jsonl,
    /// Hugging Face parquet: `images` (lists of structs of bytes and path), `messages` (lists of structs of role and content).
    Parquet,
    /// WebDataset: tar archives, `000000042.png` beside `000000042.json`.
    WebDataset,
    /// VLMEvalKit's table, pictures in base64. It has no place for several turns or pictures.
    Tsv,
}

/// A sample to write.
#[derive(Debug, Clone, Copy)]
pub struct NewSample<'a> {
    /// Unique in the file.
    pub id: &'a str,
    /// The conversation, with one `<image>` for each picture; at least one turn of the assistant has a text.
    pub turns: &'a [Turn],
    /// The language, where it is known.
    pub language: Option<Language>,
    /// The pictures in the order of their placeholders.
    pub pictures: &'a [NewPicture],
}

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPicture {
    /// Its name with the ending of its format, `"noto/1f600.png"`. Equal names are equal pictures.
    pub name: String,
    /// PNG, JPEG or WebP.
    pub bytes: Bytes,
}

/// Files or samples that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The system refuses.
    #[error("cannot write {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The sample could not be read back.
    #[error("sample {id:?} cannot be written as {format}: {reason}")]
    Sample {
        /// The sample.
        id: String,
        /// The format.
        format: WriteFormat,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file below the folder, or several as `name-{000000..000003}.tar`: the `path` of a source.
    pub path: String,
    /// Number of samples.
    pub samples: u64,
}

/// Writes samples into the file or files of one source.
pub struct SampleWriter {
    format: WriteFormat,
    samples: u64,
    writer: Box<dyn WriteSamples>,
}

/// A format's part of the work.
trait WriteSamples {
    fn write(&mut self, sample: &NewSample<'_>) -> Result<(), Problem>;

    /// Ends the files; their path below the folder.
    fn finish(self: Box<Self>) -> Result<String, WriteError>;
}

/// Why a sample was not written.
enum Problem {
    /// The format has no place for it.
    Refused(String),
    Failed(WriteError),
}

impl SampleWriter {
    /// Begins the files `name.json`, `name.parquet`, ... in a folder that is there. Files of these names are written anew.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(folder: impl AsRef<Path>, name: &str, format: WriteFormat) -> Result<Self, WriteError> {
        let (folder, file) = (folder.as_ref(), format!("{name}.{}", format.ending()));
        let writer: Box<dyn WriteSamples> = match format {
            WriteFormat::Json => Box::new(json::JsonWriter::create(folder, file, json::Layout::Array)?),
            WriteFormat::Jsonl => Box::new(json::JsonWriter::create(folder, file, json::Layout::Lines)?),
            WriteFormat::Parquet => Box::new(parquet::ParquetWriter::create(folder, file)?),
            WriteFormat::WebDataset => Box::new(webdataset::TarWriter::create(folder, name)?),
            WriteFormat::Tsv => Box::new(tsv::TsvWriter::create(folder, file)?),
        };
        Ok(Self { format, samples: 0, writer })
    }

    /// Writes a sample.
    ///
    /// # Errors
    /// A sample that the format has no place for, or that a source would leave out; a full disk.
    pub fn write(&mut self, sample: &NewSample<'_>) -> Result<(), WriteError> {
        let refused = |reason| WriteError::Sample { id: sample.id.to_owned(), format: self.format, reason };
        check(sample).map_err(refused)?;
        self.writer.write(sample).map_err(|problem| match problem {
            Problem::Refused(reason) => refused(reason),
            Problem::Failed(error) => error,
        })?;
        self.samples += 1;
        Ok(())
    }

    /// Ends the files.
    ///
    /// # Errors
    /// A file that cannot be written to its end.
    pub fn finish(self) -> Result<Written, WriteError> {
        Ok(Written { path: self.writer.finish()?, samples: self.samples })
    }
}

/// What holds in every format.
fn check(sample: &NewSample<'_>) -> Result<(), String> {
    if sample.id.is_empty() {
        return Err("its id is empty".to_owned());
    }
    if !sample.turns.iter().any(|turn| turn.role == Role::Assistant && !turn.text.trim().is_empty()) {
        return Err("the assistant says nothing".to_owned());
    }
    let (placeholders, pictures) = (count_images(sample.turns), sample.pictures.len());
    if placeholders != pictures {
        return Err(format!("{placeholders} <image> placeholders for {pictures} pictures"));
    }
    sample.pictures.iter().try_for_each(|picture| picture.ending().map(drop))
}

impl NewPicture {
    /// The ending of its name.
    fn ending(&self) -> Result<&str, String> {
        let path = Path::new(&self.name);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
        if plain && !self.name.contains(['\\', '\0']) && ["png", "jpg", "jpeg", "webp"].contains(&ending) {
            return Ok(ending);
        }
        Err(format!("picture {:?}: expected a relative path that ends in .png, .jpg, .jpeg or .webp", self.name))
    }
}

impl WriteFormat {
    /// All formats.
    pub const ALL: [WriteFormat; 5] = [Self::Json, Self::Jsonl, Self::Parquet, Self::WebDataset, Self::Tsv];

    /// Its name in commands and errors, `"webdataset"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::WebDataset => "webdataset",
            Self::Tsv => "tsv",
        }
    }

    /// How its files end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::WebDataset => "tar",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for WriteFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

/// The error of a file.
fn failed(path: &Path, error: impl fmt::Display) -> WriteError {
    WriteError::File { path: path.to_owned(), reason: error.to_string() }
}
