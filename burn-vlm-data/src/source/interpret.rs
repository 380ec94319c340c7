//! From a record to a sample: id, language, turns, pictures; and everything that can be wrong with them.

use super::config::{LanguageRule, Placeholders, SourceConfig};
use super::conversation::{Conversation, conversation, prepend};
use super::error::SourceError;
use super::image_root::ImageRoot;
use super::named::{is_there, named};
use super::record::{RawPicture, RawRecord};
use super::skip::{Place, SkipKind, SkipReason};
use super::text::kind;
use super::turns::NamedPart;
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn, VIDEO_PLACEHOLDER};
use crate::language::Language;
use crate::sample::{
    Media, Picture, Sample, Video, count_placeholders, placeholder_ends, placeholders_of, resolve_numbered,
};
use crate::video::Clip;
use ::image::{self, ImageFormat};
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
/// Endings of pictures that may move: one such file alone is a video where a video is expected.
const MOVING_ENDINGS: [&str; 2] = ["gif", "webp"];

/// What a source's configuration says about every record.
pub(super) struct Interpreter {
    config: SourceConfig,
    name: Arc<str>,
    tags: Arc<[String]>,
    root: Option<ImageRoot>,
    video_root: Option<ImageRoot>,
}

type Record = Map<String, Value>;

impl Interpreter {
    pub(super) fn new(config: SourceConfig) -> Result<Self, SourceError> {
        let open = |key: &str, path: &Option<PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            let root = ImageRoot::new(path, config.allow_links).map_err(|error| SourceError::Unreadable {
                source_name: config.name.clone(),
                path: path.clone(),
                reason: format!("{key}: {error}"),
            })?;
            Ok(Some(root))
        };
        let root = open("image_root", &config.image_root)?;
        let video_root = match open("video_root", &config.video_root)? {
            Some(root) => Some(root.for_videos()),
            None => root.as_ref().map(ImageRoot::for_videos_too),
        };
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            tags: Arc::from(config.tags.clone()),
            root,
            video_root,
            config,
        })
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
        if in_parts.is_empty() {
            media = arrange(turns.iter_mut().map(|turn| &mut turn.text), media);
        }
        media = self.with_parts(media, in_parts, count_placeholders(&turns), &label)?;
        let missing = !media.is_empty() && count_placeholders(&turns) == 0;
        if missing && (!places_pictures || self.config.placeholders == Placeholders::Prepend) {
            let images = count_images(&media);
            prepend(&mut turns, images, media.len() - images);
        }
        check_places(turns.iter().map(|turn| turn.text.as_str()), &media)?;
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
            NamedPart::Video(video) => {
                let mut videos = self.video(Some(&video), label)?;
                match (videos.pop(), videos.len()) {
                    (Some(video), 0) => Ok(video),
                    (last, more) => {
                        let count = more + usize::from(last.is_some());
                        let detail = format!("a content part of type video names {count} videos, expected one");
                        Err(SkipReason::new(SkipKind::Placeholders, detail))
                    }
                }
            }
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

    /// Names of what a record has beside its id, language, pictures and videos, and what was asked for by name: for who reads the rest.
    pub(super) fn others(&self, fields: &Record, unread: &[String]) -> BTreeSet<String> {
        let names = &self.config.fields;
        let image = self.image_fields(fields);
        let is_read = |name: &str| {
            (names.id.is_none() && IDS.contains(&name))
                || names.id.as_deref() == Some(name)
                || (names.image.is_none() && IMAGES.contains(&name))
                || image.contains(&name)
                || names.video.as_deref().unwrap_or("video") == name
                || names.more.iter().any(|more| more == name)
                || self.language_field() == Some(name)
        };
        let fields = fields.iter().filter(|(_, value)| is_there(value)).map(|(name, _)| name);
        let others = fields.chain(unread).filter(|name| !is_read(name) && !names.ignores(name));
        others.cloned().collect()
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
        media.extend(match frames {
            Some(videos) => self.videos(videos)?,
            None => self.video(fields.get(names.video.as_deref().unwrap_or("video")), label)?,
        });
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

    /// The videos of a value: a folder of frames, a video file or a list of them, a list of frames.
    fn video(&self, video: Option<&Value>, label: &str) -> Result<Vec<Media>, SkipReason> {
        match video {
            None => Ok(Vec::new()),
            Some(nothing) if !is_there(nothing) => Ok(Vec::new()),
            Some(found) => self.videos(named(found, label)?),
        }
    }

    /// Videos of files: each that is no picture is one, pictures together are the frames of one. A GIF is a video, and so is a WebP alone;
    /// one path alone may be a folder of frames.
    fn videos(&self, found: Vec<RawPicture>) -> Result<Vec<Media>, SkipReason> {
        let root =
            || self.root_of(self.video_root.as_ref(), "a video", "video_root or image_root", SkipKind::MissingVideo);
        if let [RawPicture::Path(path)] = found.as_slice()
            && root()?.is_folder(path)
        {
            let frames = root()?.frames(path)?;
            return Ok(vec![Media::frames(frames.into_iter().map(|path| self.picture(path)))]);
        }
        let alone = found.len() == 1;
        let is_video = |found: &RawPicture| match found {
            RawPicture::Path(path) => {
                !is_picture_name(path) || has_one_of(path, &["gif"]) || (alone && has_one_of(path, &MOVING_ENDINGS))
            }
            RawPicture::Encoded(_, bytes) => is_video(bytes),
        };
        let videos = found.iter().filter(|found| is_video(found)).count();
        if videos == 0 {
            if let [RawPicture::Path(path)] = found.as_slice() {
                let detail = format!("{} is a picture; expected a video file, or a folder of frames", shorten(path));
                return Err(SkipReason::new(SkipKind::UnsupportedVideo, detail));
            }
            let frames: Vec<Picture> =
                found.into_iter().map(|found| self.found(found, root)).collect::<Result<_, _>>()?;
            return Ok(if frames.is_empty() { Vec::new() } else { vec![Media::frames(frames)] });
        }
        if videos < found.len() {
            let detail = format!("{videos} videos and {} pictures stand in one list of a video", found.len() - videos);
            return Err(SkipReason::new(SkipKind::UnsupportedVideo, detail));
        }
        let clip = |found: RawPicture| match found {
            RawPicture::Path(path) => Ok(Media::Video(Video::Clip(Clip::File(root()?.file(&path)?)))),
            RawPicture::Encoded(name, bytes) => Ok(Media::Video(Video::Clip(Clip::Encoded { name, bytes }))),
        };
        found.into_iter().map(clip).collect()
    }

    fn files(&self, pictures: Vec<RawPicture>) -> Result<Vec<Picture>, SkipReason> {
        let root = || self.root_of(self.root.as_ref(), "an image", "image_root", SkipKind::MissingImage);
        pictures.into_iter().map(|found| self.found(found, root)).collect()
    }

    fn found<'r>(
        &self,
        found: RawPicture,
        root: impl Fn() -> Result<&'r ImageRoot, SkipReason>,
    ) -> Result<Picture, SkipReason> {
        match found {
            RawPicture::Encoded(name, bytes) => Ok(Picture::Encoded { name, bytes }),
            RawPicture::Path(path) => Ok(self.picture(root()?.file(&path)?)),
        }
    }

    fn picture(&self, path: PathBuf) -> Picture {
        Picture::File { path, max_bytes: self.config.limits.max_entry_bytes }
    }

    fn root_of<'r>(
        &self,
        root: Option<&'r ImageRoot>,
        what: &str,
        key: &str,
        missing: SkipKind,
    ) -> Result<&'r ImageRoot, SkipReason> {
        root.ok_or_else(|| {
            let detail = format!("the record names {what} file; set {key} to the folder that holds it");
            SkipReason::new(missing, detail)
        })
    }
}

fn count_images(media: &[Media]) -> usize {
    media.iter().filter(|media| matches!(media, Media::Image(_))).count()
}

fn placeholder_of(medium: &Media) -> &'static str {
    match medium {
        Media::Image(_) => IMAGE_PLACEHOLDER,
        Media::Video(_) => VIDEO_PLACEHOLDER,
    }
}

/// Puts pictures and videos into the order in which a text with placeholders shows them; a text without any stays as it is. As in the
/// records of sources, `<image>` may stand for a video, and is made its placeholder.
///
/// # Errors
/// Placeholders that are not as many as the pictures, or the videos.
pub fn place_media(text: &mut String, media: Vec<Media>) -> Result<Vec<Media>, SkipReason> {
    if placeholders_of(text).is_empty() {
        return Ok(media);
    }
    let media = arrange([&mut *text].into_iter(), media);
    check_places([text.as_str()].into_iter(), &media)?;
    Ok(media)
}

/// Checks that each placeholder stands for a medium of its kind.
fn check_places<'t>(texts: impl Iterator<Item = &'t str>, media: &[Media]) -> Result<(), SkipReason> {
    let places: Vec<&str> = texts.flat_map(placeholders_of).collect();
    if places.len() != media.len() {
        let detail = format!("{} placeholders for {} pictures and videos", places.len(), media.len());
        return Err(SkipReason::new(SkipKind::Placeholders, detail));
    }
    if places.iter().zip(media).any(|(placeholder, medium)| *placeholder != placeholder_of(medium)) {
        let images = count_images(media);
        let detail = format!(
            "the record has {images} pictures and {} videos, its {IMAGE_PLACEHOLDER} and {VIDEO_PLACEHOLDER} are not as many",
            media.len() - images
        );
        return Err(SkipReason::new(SkipKind::Placeholders, detail));
    }
    Ok(())
}

/// Pictures and videos in the order in which the texts show them. Where all placeholders are of pictures, as in LLaVA's files of videos,
/// those that stand for videos are made theirs; where all are of videos, a GIF or WebP is one.
fn arrange<'t>(texts: impl Iterator<Item = &'t mut String>, media: Vec<Media>) -> Vec<Media> {
    let texts: Vec<&mut String> = texts.collect();
    let places: Vec<&str> = texts.iter().flat_map(|text| placeholders_of(text)).collect();
    let (images, shown) = (count_images(&media), places.iter().filter(|place| **place == IMAGE_PLACEHOLDER).count());
    if places.len() != media.len() {
        return media;
    }
    if shown == 0 && images > 0 {
        return media.into_iter().map(as_video).collect();
    }
    if shown == media.len() && images < media.len() {
        let mut kinds = media.iter().map(placeholder_of);
        for text in texts {
            let mut made = String::with_capacity(text.len());
            let mut begin = 0;
            for end in placeholder_ends(text) {
                made.push_str(&text[begin..end - IMAGE_PLACEHOLDER.len()]);
                made.push_str(kinds.next().unwrap_or(IMAGE_PLACEHOLDER));
                begin = end;
            }
            made.push_str(&text[begin..]);
            *text = made;
        }
        return media;
    }
    if shown != images {
        return media;
    }
    let (mut pictures, mut videos): (Vec<_>, Vec<_>) =
        media.into_iter().partition(|medium| matches!(medium, Media::Image(_)));
    pictures.reverse();
    videos.reverse();
    let take = |place: &&str| if *place == IMAGE_PLACEHOLDER { pictures.pop() } else { videos.pop() };
    places.iter().filter_map(take).collect()
}

/// A picture in a file that may move, as a video.
fn as_video(medium: Media) -> Media {
    match medium {
        Media::Image(Picture::File { path, .. }) if has_one_of(&path.to_string_lossy(), &MOVING_ENDINGS) => {
            Media::Video(Video::Clip(Clip::File(path)))
        }
        Media::Image(Picture::Encoded { name, bytes }) if moves(&bytes) => {
            Media::Video(Video::Clip(Clip::Encoded { name, bytes }))
        }
        other => other,
    }
}

/// Whether bytes are of a GIF or WebP.
fn moves(bytes: &[u8]) -> bool {
    matches!(image::guess_format(bytes), Ok(ImageFormat::Gif | ImageFormat::WebP))
}

/// Whether bytes are those of a video: of no picture, of a GIF, of a WebP that says that it is animated.
fn is_video(bytes: &[u8]) -> bool {
    /// Where the flags of an extended WebP stand, and the one of an animation.
    const FLAGS: (usize, u8) = (20, 2);
    match image::guess_format(bytes) {
        Err(_) | Ok(ImageFormat::Gif) => true,
        Ok(ImageFormat::WebP) => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(FLAGS.0).is_some_and(|flags| flags & FLAGS.1 != 0)
        }
        Ok(_) => false,
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
        Value::String(name) => is_picture_name(name),
        _ => false,
    }
}

fn is_picture_name(name: &str) -> bool {
    has_one_of(name, &PICTURE_ENDINGS)
}

fn has_one_of(name: &str, endings: &[&str]) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    endings.contains(&ending.as_str())
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
