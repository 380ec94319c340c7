//! Rows of a source written as JSONL with all of their fields, so that what one step keeps the next can read.
//!
//! Pictures that a record names by path, or holds in its JSON, stay as they are. Those that its format holds (parquet, archives, tables) are
//! written as files below `images`, named by their contents.

use crate::sample::{Media, MediaKey, Picture};
use crate::source::{FileSource, Format, Row};
use ::image::{ImageFormat, guess_format};
use burn_vlm_base::files::{FileError, create_dir_all, write_atomic};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The folder of pictures that are written.
const IMAGES: &str = "images";

/// Rows that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The system refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A row whose pictures or videos have no place in JSONL.
    #[error("{id}: {reason}")]
    Row {
        /// The row.
        id: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// One file of rows in a folder.
pub struct RowWriter {
    folder: PathBuf,
    name: String,
    file: BufWriter<File>,
    /// Rows are written with the fields that name their pictures as they are.
    as_given: bool,
    pictures: HashSet<MediaKey>,
    rows: u64,
}

impl RowWriter {
    /// Begins the file in a folder that is there, for rows of a source.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(folder: &Path, name: &str, source: &FileSource) -> Result<Self, FileError> {
        let path = folder.join(name);
        let file = File::create(&path).map_err(FileError::io("write", &path))?;
        let as_given = names_its_pictures(source);
        let file = BufWriter::new(file);
        Ok(Self { folder: folder.to_owned(), name: name.to_owned(), file, as_given, pictures: HashSet::new(), rows: 0 })
    }

    /// Writes a row with its id and `more` fields, which take the place of those of the same name.
    ///
    /// # Errors
    /// A video that its format holds, a picture that cannot be read, a full disk.
    pub fn write(&mut self, row: &Row, more: Map<String, Value>) -> Result<(), RowError> {
        let mut record = row.fields.clone();
        record.entry("id").or_insert_with(|| row.id.clone().into());
        if !self.as_given && !row.media.is_empty() {
            let refuse = |reason: String| RowError::Row { id: row.id.clone(), reason };
            let mut names = Vec::new();
            for medium in &row.media {
                match medium {
                    Media::Image(picture) => names.push(Value::from(self.picture(picture, &refuse)?)),
                    Media::Video(_) => {
                        let help = "videos within parquet files and archives are not carried; name them in JSON";
                        return Err(refuse(help.to_owned()));
                    }
                }
            }
            let names = if names.len() == 1 { names.remove(0) } else { Value::Array(names) };
            record.insert("image".to_owned(), names);
        }
        record.extend(more);
        let mut line = Value::Object(record).to_string();
        line.push('\n');
        let path = self.folder.join(&self.name);
        self.file.write_all(line.as_bytes()).map_err(FileError::io("write", path))?;
        self.rows += 1;
        Ok(())
    }

    /// A picture's path from the folder; the file is there then.
    fn picture(&mut self, picture: &Picture, refuse: &dyn Fn(String) -> RowError) -> Result<String, RowError> {
        let bytes = picture.read().map_err(|reason| refuse(reason.to_string()))?;
        let key = MediaKey::of(&bytes);
        let format = guess_format(&bytes).map_err(|error| refuse(format!("{}: {error}", picture.name())))?;
        let ending = match format {
            ImageFormat::Jpeg => "jpg",
            other => other.extensions_str().first().copied().unwrap_or("png"),
        };
        let name = format!("{IMAGES}/{key}.{ending}");
        if self.pictures.insert(key) {
            create_dir_all(&self.folder.join(IMAGES))?;
            write_atomic(&self.folder.join(&name), &bytes)?;
        }
        Ok(name)
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether rows need their pictures to be written: with [`FileSource::rows`], not [`FileSource::texts`].
    pub fn needs_pictures(&self) -> bool {
        !self.as_given
    }

    /// Ends the file.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.file.flush().map_err(FileError::io("write", self.folder.join(&self.name)))
    }
}

/// Where the pictures of rows of a source are that a [`RowWriter`] has written: the image root of a source that names its pictures; `None`
/// where they are written beside the rows.
pub fn picture_root(source: &FileSource) -> Option<PathBuf> {
    let root = source.config().image_root.as_ref().filter(|_| names_its_pictures(source));
    root.map(|root| root.canonicalize().unwrap_or_else(|_| root.clone()))
}

/// Whether the records of a source are JSON, which says itself where its pictures are.
fn names_its_pictures(source: &FileSource) -> bool {
    let ending = |path: &str| {
        let end = path.rsplit(['.', '/']).next().unwrap_or_default().to_ascii_lowercase();
        ["json", "jsonl", "ndjson"].contains(&end.as_str())
    };
    match source.config().format {
        Some(format) => format == Format::Json,
        None => ending(&source.config().path),
    }
}
