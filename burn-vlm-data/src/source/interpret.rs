//! From a record to a sample: id, language, turns, pictures; and everything that can be wrong with them.

use super::config::{LanguageRule, Placeholders, SourceConfig};
use super::conversation::{conversation, prepend};
use super::error::SourceError;
use super::image_root::ImageRoot;
use super::record::{RawPicture, RawRecord};
use super::skip::{Place, SkipKind, SkipReason};
use super::text::kind;
use crate::conversation::Role;
use crate::language::Language;
use crate::sample::{Media, Picture, Sample, count_placeholders};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;

/// What a source's configuration says about every record.
pub(super) struct Interpreter {
    config: SourceConfig,
    name: Arc<str>,
    tags: Arc<[String]>,
    root: Option<ImageRoot>,
}

type Record = Map<String, Value>;

impl Interpreter {
    pub(super) fn new(config: SourceConfig) -> Result<Self, SourceError> {
        let unreadable = |(path, error): (&PathBuf, std::io::Error)| SourceError::Unreadable {
            source_name: config.name.clone(),
            path: path.clone(),
            reason: format!("image_root: {error}"),
        };
        let root = config.image_root.as_ref().map(|path| ImageRoot::new(path).map_err(|error| (path, error)));
        let root = root.transpose().map_err(unreadable)?;
        Ok(Self { name: Arc::from(config.name.as_str()), tags: Arc::from(config.tags.clone()), root, config })
    }

    /// The sample, or the record's id and what is wrong with it.
    pub(super) fn sample(&self, record: RawRecord) -> Result<Sample, (Option<String>, SkipReason)> {
        let given = self.given_id(&record.fields);
        let id = given.clone().unwrap_or_else(|| made_up_id(&record));
        self.parts(record, id).map_err(|reason| (given, reason))
    }

    fn parts(&self, record: RawRecord, id: String) -> Result<Sample, SkipReason> {
        let RawRecord { fields, pictures, frames, .. } = record;
        let language = self.language(&fields)?;
        let conversation = conversation(&fields, &self.config.fields, self.config.limits.max_depth)?;
        let mut turns = conversation.turns;
        let answers = |turn: &crate::conversation::Turn| turn.role == Role::Assistant && !turn.text.trim().is_empty();
        if !turns.iter().any(answers) {
            return Err(SkipReason::new(SkipKind::NoAnswer, "the assistant says nothing"));
        }
        let media = self.media(&fields, pictures, frames)?;
        let missing = !media.is_empty() && count_placeholders(&turns) == 0;
        if missing && (!conversation.places_pictures || self.config.placeholders == Placeholders::Prepend) {
            let images = media.iter().filter(|media| matches!(media, Media::Image(_))).count();
            prepend(&mut turns, images, media.len() - images);
        }
        let placeholders = count_placeholders(&turns);
        if placeholders != media.len() {
            let detail = format!("{placeholders} placeholders for {} pictures and videos", media.len());
            return Err(SkipReason::new(SkipKind::Placeholders, detail));
        }
        Ok(Sample { id, media, turns, language, source: self.name.clone(), tags: self.tags.clone(), group: None })
    }

    /// The id as the record has it.
    pub(super) fn given_id(&self, fields: &Record) -> Option<String> {
        let names: &[&str] = match &self.config.fields.id {
            Some(name) => &[name],
            None => &["id", "index", "__key__"],
        };
        names.iter().find_map(|name| match fields.get(*name)? {
            Value::String(id) if !id.is_empty() => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        })
    }

    /// The language as the source's rule has it.
    pub(super) fn language(&self, fields: &Record) -> Result<Option<Language>, SkipReason> {
        let (field, aliases) = match &self.config.language {
            None => return Ok(None),
            Some(LanguageRule::Fixed(language)) => return Ok(Some(*language)),
            Some(LanguageRule::Field { field, aliases }) => (field, aliases),
        };
        let unknown = |detail: String| SkipReason::new(SkipKind::UnknownLanguage, detail);
        let Some(Value::String(tag)) = fields.get(field) else {
            let found = fields.get(field).map_or("nothing", kind);
            return Err(unknown(format!("{field}: expected a language tag, found {found}")));
        };
        let known = aliases.get(tag).copied().map_or_else(|| Language::parse(tag), Ok);
        known.map(Some).map_err(|error| {
            unknown(format!("{field}: {tag:?}; did you mean {:?}? An alias can say so", error.nearest))
        })
    }

    /// Pictures and videos in the order in which placeholders show them: pictures first.
    pub(super) fn media(
        &self,
        fields: &Record,
        pictures: Option<Vec<RawPicture>>,
        frames: Option<Vec<RawPicture>>,
    ) -> Result<Vec<Media>, SkipReason> {
        let names = &self.config.fields;
        let images = match &names.image {
            Some(name) => fields.get(name),
            None => ["image", "images", "image_path"].iter().find_map(|name| fields.get(*name)),
        };
        let images = images.filter(|images| !images.is_null() && images.as_str() != Some(""));
        let images = match pictures {
            Some(pictures) if pictures.is_empty() && images.is_some() => {
                return Err(SkipReason::new(SkipKind::MissingImage, "a picture is named that is not there"));
            }
            Some(pictures) => pictures,
            None => images.map_or(Ok(Vec::new()), named)?,
        };
        let mut count = images.len();
        let mut media: Vec<Media> = self.files(images)?.into_iter().map(Media::Image).collect();
        let video = match frames {
            Some(frames) => self.files(frames)?,
            None => self.video(fields.get(names.video.as_deref().unwrap_or("video")))?,
        };
        count += video.len();
        if !video.is_empty() {
            media.push(Media::Video(video));
        }
        if count > self.config.limits.max_pictures {
            let detail = format!("{count} pictures, at most {} are allowed", self.config.limits.max_pictures);
            return Err(SkipReason::new(SkipKind::EntryTooLarge, detail));
        }
        Ok(media)
    }

    /// The frames of a video: a list of files, or a folder of them.
    fn video(&self, video: Option<&Value>) -> Result<Vec<Picture>, SkipReason> {
        match video {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(folder)) => {
                let frames = self.root()?.frames(folder)?;
                Ok(frames.into_iter().map(|path| self.picture(path)).collect())
            }
            Some(frames) => self.files(named(frames)?),
        }
    }

    fn files(&self, pictures: Vec<RawPicture>) -> Result<Vec<Picture>, SkipReason> {
        let file = |picture: RawPicture| match picture {
            RawPicture::Encoded(name, bytes) => Ok(Picture::Encoded { name, bytes }),
            RawPicture::Path(path) => Ok(self.picture(self.root()?.file(&path)?)),
        };
        pictures.into_iter().map(file).collect()
    }

    fn picture(&self, path: PathBuf) -> Picture {
        Picture::File { path, max_bytes: self.config.limits.max_entry_bytes }
    }

    fn root(&self) -> Result<&ImageRoot, SkipReason> {
        let detail = "the record names an image file; set image_root to the folder that holds it";
        self.root.as_ref().ok_or_else(|| SkipReason::new(SkipKind::MissingImage, detail))
    }
}

/// The paths of a field: a string, a list of strings, or structs with a path.
fn named(value: &Value) -> Result<Vec<RawPicture>, SkipReason> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(path) if path.is_empty() => Ok(Vec::new()),
        Value::String(path) => Ok(vec![RawPicture::Path(path.clone())]),
        Value::Array(items) => items.iter().map(named).collect::<Result<Vec<_>, _>>().map(|lists| lists.concat()),
        Value::Object(fields) => match fields.get("path") {
            Some(Value::String(path)) => Ok(vec![RawPicture::Path(path.clone())]),
            _ => Err(SkipReason::malformed("a picture is an object without a path")),
        },
        other => Err(SkipReason::malformed(format!("a picture is {}, expected a path", kind(other)))),
    }
}

/// The file's name and the place in it.
pub(super) fn made_up_id(record: &RawRecord) -> String {
    let file = record.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match &record.place {
        Place::Line(number) | Place::Element(number) | Place::Row(number) => format!("{file}:{number}"),
        Place::Key(key) => format!("{file}:{key}"),
    }
}
