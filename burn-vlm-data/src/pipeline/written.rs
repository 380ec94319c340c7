//! What a pipeline makes, as a source that is trained on as it is: LLaVA's JSONL with further fields, pictures beside it, and a mixture
//! file that names it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{FileError, create_dir_all, write_atomic};
use serde_json::{Map, Value, json};

use crate::conversation::{Role, Turn};
use crate::language::Language;
use crate::sample::{Media, MediaKey, Picture, Video};
use crate::source::{SkipKind, SkipReason};
use crate::video::Clip;

/// The folder of the pictures, beside the file.
const IMAGES: &str = "images";
/// The folder of the videos.
const VIDEOS: &str = "videos";
/// Fields of records that are read.
const READ: [&str; 5] = ["id", "image", "video", "conversations", "language"];

/// A sample that was made.
#[derive(Debug, Clone)]
pub struct MadeSample<'a> {
    /// Unique in the file.
    pub id: String,
    /// The conversation, with a placeholder for each of `media`.
    pub turns: &'a [Turn],
    /// What the placeholders stand for.
    pub media: &'a [Media],
    /// Its language.
    pub language: Language,
    /// Further fields, which training does not read: where it comes from.
    pub more: Map<String, Value>,
}

/// A sample that was not written.
#[derive(Debug, thiserror::Error)]
pub enum MadeError {
    /// A picture or video that cannot be read, or that the file has no place for.
    #[error("{0}")]
    Media(SkipReason),
    /// A file that cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes samples into `NAME.jsonl`, which is there once it is whole.
#[derive(Debug)]
pub struct MadeWriter {
    folder: PathBuf,
    name: String,
    temporary: PathBuf,
    file: BufWriter<File>,
    fields: BTreeMap<String, u64>,
    samples: u64,
}

impl MadeWriter {
    /// Begins the file in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(folder: &Path, name: &str) -> Result<Self, FileError> {
        create_dir_all(folder)?;
        let temporary = folder.join(format!("{}{name}.jsonl", burn_vlm_base::files::TEMP_PREFIX));
        let file = File::create(&temporary).map_err(FileError::io("write", &temporary))?;
        let (folder, file) = (folder.to_owned(), BufWriter::new(file));
        Ok(Self { folder, name: name.to_owned(), temporary, file, fields: BTreeMap::new(), samples: 0 })
    }

    /// Writes a sample and what it shows.
    ///
    /// # Errors
    /// [`MadeError::Media`] leaves the sample out; [`MadeError::File`] ends the file.
    pub fn write(&mut self, sample: &MadeSample<'_>) -> Result<(), MadeError> {
        let (mut images, mut videos) = (Vec::new(), Vec::new());
        for media in sample.media {
            match media {
                Media::Image(picture) => images.push(self.picture(picture)?),
                Media::Video(Video::Clip(Clip::File(path))) if path.is_file() => videos.push(self.link(VIDEOS, path)?),
                Media::Video(_) => {
                    let reason = "a video that is no file of its own has no place here; translate its source as files";
                    return Err(MadeError::Media(SkipReason::new(SkipKind::Malformed, reason)));
                }
            }
        }
        let turn = |turn: &Turn| {
            let from = match turn.role {
                Role::System => "system",
                Role::User => "human",
                Role::Assistant => "gpt",
            };
            json!({ "from": from, "value": turn.text })
        };
        let mut record = Map::new();
        record.insert("id".to_owned(), json!(sample.id));
        for (field, mut paths) in [("image", images), ("video", videos)] {
            let one = if paths.len() == 1 { paths.pop() } else { None };
            let value = one.map_or_else(|| json!(paths), Value::String);
            if value != json!([]) {
                record.insert(field.to_owned(), value);
            }
        }
        record.insert("conversations".to_owned(), sample.turns.iter().map(turn).collect());
        record.insert("language".to_owned(), json!(sample.language));
        record.extend(sample.more.clone());
        for name in record.keys().filter(|name| !READ.contains(&name.as_str())) {
            *self.fields.entry(name.clone()).or_default() += 1;
        }
        let line = Value::Object(record).to_string();
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.write_all(b"\n")).map_err(self.failed())?;
        self.samples += 1;
        Ok(())
    }

    /// Puts the file in its place, with `mixture.toml` that names it: `about` is its first line.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn finish(mut self, about: &str, tags: &[&str]) -> Result<u64, FileError> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        flushed.map_err(self.failed())?;
        let Self { folder, name, temporary, fields, samples, .. } = self;
        let path = folder.join(format!("{name}.jsonl"));
        fs::rename(&temporary, &path).map_err(FileError::io("write", &path))?;
        let quoted = |names: &mut dyn Iterator<Item = &str>| {
            names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        };
        let ignore = quoted(&mut fields.keys().map(String::as_str));
        let tags = quoted(&mut tags.iter().copied());
        let mixture = format!(
            "# {about}\nname = \"{name}\"\nseed = 0\n\n[[source]]\nname = \"{name}\"\npath = \"{name}.jsonl\"\nformat = \"llava_jsonl\"\n\
             image_root = \".\"\nlanguage_column = \"language\"\ntags = [{tags}]\n# Where each sample comes from; training does not read it.\n\
             ignore = [{ignore}]\ntake = \"all\"\n"
        );
        write_atomic(&folder.join("mixture.toml"), mixture.as_bytes())?;
        Ok(samples)
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> FileError + use<> {
        FileError::io("write", self.temporary.clone())
    }

    /// A picture's path from the folder; the file is there then.
    fn picture(&self, picture: &Picture) -> Result<String, MadeError> {
        if let Picture::File { path, .. } = picture {
            return self.link(IMAGES, path);
        }
        let bytes = picture.read().map_err(MadeError::Media)?;
        let ending = ::image::guess_format(&bytes).ok().and_then(|format| format.extensions_str().first().copied());
        let relative = format!("{IMAGES}/{}.{}", MediaKey::of(&bytes), ending.unwrap_or("png"));
        let path = self.folder.join(&relative);
        if !path.exists() {
            create_dir_all(&self.folder.join(IMAGES))?;
            write_atomic(&path, &bytes)?;
        }
        Ok(relative)
    }

    /// Another name of a file, or a copy where the disk is another: by its path, so that it need not be read.
    fn link(&self, kind: &str, file: &Path) -> Result<String, MadeError> {
        let hash = MediaKey::of(file.as_os_str().as_encoded_bytes());
        let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let relative = format!("{kind}/{hash}.{ending}");
        let path = self.folder.join(&relative);
        if !path.exists() {
            create_dir_all(&self.folder.join(kind))?;
            // Another run may have been faster.
            if fs::hard_link(file, &path).is_err() && !path.exists() {
                fs::copy(file, &path).map_err(FileError::io("write", &path))?;
            }
        }
        Ok(relative)
    }
}
