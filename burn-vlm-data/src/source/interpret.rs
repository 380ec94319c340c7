//! From a record to a sample: id, language, turns, pictures; and everything that can be wrong with them.

use super::config::{LanguageRule, Placeholders, SourceConfig};
use super::conversation::{Conversation, conversation, prepend};
use super::error::SourceError;
use super::image_root::ImageRoot;
use super::named::{is_there, named};
use super::record::{RawPicture, RawRecord};
use super::skip::{Place, SkipKind, SkipReason};
use super::text::{kind, listing};
use super::turns::NamedPart;
use crate::conversation::{Role, Turn};
use crate::language::Language;
use crate::sample::{Media, Picture, Sample, count_placeholders, resolve_numbered};
use burn_vlm_base::shorten::shorten;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Names of fields that hold the id.
pub(super) const IDS: [&str; 3] = ["id", "index", "__key__"];
/// Names of fields that name pictures or hold them.
pub(super) const IMAGES: [&str; 4] = ["image", "images", "image_path", "image_paths"];
/// Names of fields that name pictures if their values end as pictures do (the metadata of an imagefolder).
pub(super) const FILE_NAMES: [&str; 2] = ["file_name", "file_names"];
/// Endings of pictures, whether they can be read or not.
pub(super) const PICTURE_ENDINGS: [&str; 20] = [
    "jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "jxl", "ppm",
    "pgm", "ico", "tga", "svg", "apng",
];
/// Names of fields that are known to hold pictures and are read only if the configuration names them.
const KNOWN_PICTURES: [&str; 20] = [
    "img",
    "imgs",
    "img_path",
    "img_paths",
    "image_file",
    "image_files",
    "image_name",
    "image_url",
    "image_urls",
    "image_bytes",
    "image_base64",
    "image_list",
    "picture",
    "pictures",
    "photo",
    "photos",
    "jpg",
    "jpeg",
    "png",
    "webp",
];
/// The same of videos.
const KNOWN_VIDEOS: [&str; 5] = ["videos", "video_path", "video_file", "frames", "mp4"];

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
        let root = match &config.image_root {
            None => None,
            Some(path) => Some(ImageRoot::new(path, config.allow_links).map_err(|error| unreadable((path, error)))?),
        };
        Ok(Self { name: Arc::from(config.name.as_str()), tags: Arc::from(config.tags.clone()), root, config })
    }

    /// The sample, or the record's id and what is wrong with it.
    pub(super) fn sample(&self, record: RawRecord) -> Result<Sample, (Option<String>, SkipReason)> {
        let given = self.given_id(&record.fields);
        let id = given.clone().unwrap_or_else(|| made_up_id(&record));
        self.parts(record, id).map_err(|reason| (given, reason))
    }

    fn parts(&self, record: RawRecord, id: String) -> Result<Sample, SkipReason> {
        let label = label(&record);
        let unread = record.unknown_columns();
        let RawRecord { fields, pictures, frames, .. } = record;
        let language = self.language(&fields)?;
        let Conversation { mut turns, places_pictures, named: in_parts, read, .. } =
            conversation(&fields, &self.config.fields, self.config.limits.max_depth, false)?;
        let answers = |turn: &Turn| turn.role == Role::Assistant && !turn.text.trim().is_empty();
        if !turns.iter().any(answers) {
            return Err(SkipReason::new(SkipKind::NoAnswer, "the assistant says nothing"));
        }
        let mut media = self.media(&fields, pictures, frames, &label)?;
        if media.is_empty() && in_parts.is_empty() {
            self.check_known(fields.iter().filter(|(name, _)| !read.contains(name.as_str())), &unread)?;
        }
        resolve_numbered(turns.iter_mut().map(|turn| &mut turn.text), &mut media)?;
        media = self.with_parts(media, in_parts, count_placeholders(&turns), &label)?;
        let missing = !media.is_empty() && count_placeholders(&turns) == 0;
        if missing && (!places_pictures || self.config.placeholders == Placeholders::Prepend) {
            let images = media.iter().filter(|media| matches!(media, Media::Image(_))).count();
            prepend(&mut turns, images, media.len() - images);
        }
        let placeholders = count_placeholders(&turns);
        if placeholders != media.len() {
            let detail = format!("{placeholders} placeholders for {} pictures and videos", media.len());
            return Err(SkipReason::new(SkipKind::Placeholders, detail));
        }
        self.check_count(&media)?;
        Ok(Sample { id, media, turns, language, source: self.name.clone(), tags: self.tags.clone(), group: None })
    }

    /// The media of the record with those that content parts name, each where its placeholder stands.
    fn with_parts(
        &self,
        media: Vec<Media>,
        parts: Vec<(usize, NamedPart)>,
        placeholders: usize,
        label: &str,
    ) -> Result<Vec<Media>, SkipReason> {
        if parts.is_empty() {
            return Ok(media);
        }
        let (named, others) = (parts.len(), placeholders.saturating_sub(parts.len()));
        if media.len() != others {
            let detail = format!(
                "{named} pictures are named inside content parts, {others} other placeholders stand beside them; \
                 the record itself has {} pictures and videos",
                media.len()
            );
            return Err(SkipReason::new(SkipKind::Placeholders, detail));
        }
        let mut parts = parts.into_iter().peekable();
        let mut media = media.into_iter();
        let mut all = Vec::with_capacity(placeholders);
        for number in 0..placeholders {
            match parts.next_if(|(at, _)| *at == number) {
                Some((_, part)) => all.push(self.part(part, &format!("content part {number} of {label}"))?),
                None => all.extend(media.next()),
            }
        }
        Ok(all)
    }

    /// What a content part names: exactly one picture, or the frames of a video.
    fn part(&self, part: NamedPart, label: &str) -> Result<Media, SkipReason> {
        match part {
            NamedPart::Video(video) => Ok(Media::Video(self.video(Some(&video), label)?)),
            NamedPart::Image(value) => {
                let mut files = self.files(named(&value, label)?)?;
                match (files.pop(), files.len()) {
                    (Some(picture), 0) => Ok(Media::Image(picture)),
                    (last, more) => {
                        let count = more + usize::from(last.is_some());
                        let detail = format!("a content part of type image names {count} pictures, expected one");
                        Err(SkipReason::new(SkipKind::Placeholders, detail))
                    }
                }
            }
        }
    }

    /// Refuses a record without pictures in which an unread field is known to hold some.
    pub(super) fn check_known<'r>(
        &self,
        mut fields: impl Iterator<Item = (&'r String, &'r Value)>,
        unread: &[String],
    ) -> Result<(), SkipReason> {
        let names = &self.config.fields;
        // Who names the pictures' field has said where they are.
        let chosen = names.image.is_some() || names.video.is_some();
        let known = |name: &str| {
            (KNOWN_PICTURES.contains(&name) || KNOWN_VIDEOS.contains(&name))
                && !names.ignores(name)
                && !names.named().any(|named| named == name)
        };
        let found = fields.find(|(name, value)| known(name) && is_there(value)).map(|(name, _)| name);
        match found.or_else(|| unread.iter().find(|name| known(name))).filter(|_| !chosen) {
            None => Ok(()),
            Some(name) => {
                let key = if KNOWN_VIDEOS.contains(&name.as_str()) { "video" } else { "image" };
                let detail = format!(
                    "the field {name:?} holds a picture or video and is not read: name it as the field of pictures or \
                     frames ({key} = {name:?}), or among those to ignore"
                );
                Err(SkipReason::new(SkipKind::UnreadField, detail))
            }
        }
    }

    /// What of a record is there and not read, each name once; of a record that cannot be used, nothing.
    pub(super) fn unread(&self, record: &RawRecord) -> BTreeSet<String> {
        let names = &self.config.fields;
        let Ok(conversation) = conversation(&record.fields, names, self.config.limits.max_depth, true) else {
            return BTreeSet::new();
        };
        let named = [&names.id, &names.image, &names.video].into_iter().flatten().chain(&names.more);
        let named: BTreeSet<&str> = named.map(String::as_str).chain(self.language_field()).collect();
        let image = self.image_fields(&record.fields);
        let is_read = |name: &str| {
            conversation.read.contains(name)
                || named.contains(name)
                || (names.id.is_none() && IDS.contains(&name))
                || image.contains(&name)
                || (names.video.is_none() && name == "video")
        };
        let fields = record.fields.iter().filter(|(name, value)| !is_read(name) && is_there(value));
        let fields = fields.map(|(name, _)| name.clone());
        let mut unread: BTreeSet<String> =
            fields.chain(record.unread.iter().cloned()).chain(conversation.unread.clone()).collect();
        unread.retain(|name| !names.ignores(name));
        unread
    }

    /// Leaves out the fields that are not read on purpose; whatever is made of a record, they have no part in it.
    pub(super) fn leave_ignored(&self, fields: &mut Record) {
        let names = &self.config.fields;
        fields.retain(|name, _| !names.ignores(name) || self.language_field() == Some(name.as_str()));
    }

    fn language_field(&self) -> Option<&str> {
        match &self.config.language {
            Some(LanguageRule::Field { field, .. }) => Some(field.as_str()),
            _ => None,
        }
    }

    /// The id as the record has it.
    pub(super) fn given_id(&self, fields: &Record) -> Option<String> {
        let names: &[&str] = match &self.config.fields.id {
            Some(name) => &[name],
            None => &IDS,
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
            let meant = error.nearest.map_or_else(
                || "expected a tag such as de, pt-BR or th.".to_owned(),
                |nearest| format!("did you mean {nearest:?}?"),
            );
            unknown(format!("{field}: {}; {meant} An alias can say so: language_map in a mixture or [[benchmark]], --aliases of data inspect", shorten(tag)))
        })
    }

    /// The fields that name the record's pictures, in their order.
    fn image_fields<'r>(&'r self, fields: &'r Record) -> Vec<&'r str> {
        if let Some(name) = &self.config.fields.image {
            return vec![name];
        }
        let there = |name: &str| fields.get(name).is_some_and(is_there);
        if let Some(name) = IMAGES.iter().find(|name| there(name)) {
            return vec![name];
        }
        let names_picture = |name: &&&str| there(name) && fields.get(**name).is_some_and(has_ending);
        if let Some(name) = FILE_NAMES.iter().find(names_picture) {
            return vec![name];
        }
        numbered_fields(fields.keys().map(String::as_str)).into_iter().filter(|name| there(name)).collect()
    }

    /// Pictures and videos in the order in which placeholders show them: pictures first. `label` is what errors call those that the
    /// record holds itself.
    pub(super) fn media(
        &self,
        fields: &Record,
        pictures: Option<Vec<RawPicture>>,
        frames: Option<Vec<RawPicture>>,
        label: &str,
    ) -> Result<Vec<Media>, SkipReason> {
        let names = &self.config.fields;
        let image_fields = self.image_fields(fields);
        let images = image_fields.iter().filter_map(|name| Some((*name, fields.get(*name)?)));
        let mut in_fields = Vec::new();
        if pictures.as_ref().is_none_or(Vec::is_empty) {
            for (name, value) in images {
                in_fields.extend(named(value, &format!("{name} of {label}"))?);
            }
        }
        let images = match pictures {
            // The format holds its pictures itself; files beside it are not looked for.
            Some(_) if in_fields.iter().any(|picture| matches!(picture, RawPicture::Path(_))) => {
                return Err(SkipReason::new(SkipKind::MissingImage, "a picture is named that is not there"));
            }
            Some(pictures) if in_fields.is_empty() => pictures,
            _ => in_fields,
        };
        let mut media: Vec<Media> = self.files(images)?.into_iter().map(Media::Image).collect();
        let video = match frames {
            Some(frames) => self.files(frames)?,
            None => self.video(fields.get(names.video.as_deref().unwrap_or("video")), label)?,
        };
        if !video.is_empty() {
            media.push(Media::Video(video));
        }
        self.check_count(&media)?;
        Ok(media)
    }

    fn check_count(&self, media: &[Media]) -> Result<(), SkipReason> {
        let count = crate::sample::pictures(media).count();
        if count <= self.config.limits.max_pictures {
            return Ok(());
        }
        let detail = format!("{count} pictures, at most {} are allowed", self.config.limits.max_pictures);
        Err(SkipReason::new(SkipKind::EntryTooLarge, detail))
    }

    /// The frames of a video: a list of files, or a folder of them.
    fn video(&self, video: Option<&Value>, label: &str) -> Result<Vec<Picture>, SkipReason> {
        match video {
            None => Ok(Vec::new()),
            Some(nothing) if !is_there(nothing) => Ok(Vec::new()),
            Some(Value::String(folder)) if listing(folder).is_none() => {
                let frames = self.root()?.frames(folder)?;
                Ok(frames.into_iter().map(|path| self.picture(path)).collect())
            }
            Some(frames) => self.files(named(frames, label)?),
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

/// Where a record stands, for what it holds itself.
pub(super) fn label(record: &RawRecord) -> String {
    format!("{} in {}", record.place, record.file.display())
}

/// A value that names files with the endings of pictures.
fn has_ending(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(has_ending),
        Value::String(name) => {
            let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
            PICTURE_ENDINGS.contains(&ending.as_str())
        }
        _ => false,
    }
}

/// `image_1`, `image_2`, ... among some names, by their number.
pub(super) fn numbered_fields<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let number = |name: &str| name.strip_prefix("image_")?.parse::<u16>().ok();
    let mut numbered: Vec<(u16, &str)> = names.filter_map(|name| Some((number(name)?, name))).collect();
    numbered.sort_unstable();
    numbered.into_iter().map(|(_, name)| name).collect()
}

/// The file's name and the place in it.
pub(super) fn made_up_id(record: &RawRecord) -> String {
    let file = record.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match &record.place {
        Place::Line(number) | Place::Element(number) | Place::Row(number) => format!("{file}:{number}"),
        Place::Key(key) => format!("{file}:{key}"),
    }
}
