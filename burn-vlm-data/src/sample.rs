//! A sample: a conversation, the pictures and videos that it shows, and where it comes from.
//!
//! There is one kind. The embedded corpus, a file of LLaVA's, a table of questions and a list in memory all give these.

use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::drawn::DrawnPicture;
use crate::image::{DecodeLimits, ImageError, RgbImage, decode, look, to_rgb};
use crate::language::Language;
use crate::source::{SkipKind, SkipReason, StoredPicture};
use crate::video::Clip;
use burn_vlm_base::files::{FileError, read_regular};
use bytes::Bytes;
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::conversation::VIDEO_PLACEHOLDER;

/// What transparent pixels are laid over.
pub(crate) const WHITE: [u8; 3] = [255; 3];

/// One conversation of a [`Source`](crate::source::Source).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// As the data names it (else the file's name and the place in it, `train-00000:17`), stable across runs.
    pub id: String,
    /// The conversation; the assistant's turns are the answers.
    pub turns: Vec<Turn>,
    /// What the placeholders of the turns stand for, in their order: as many as there are placeholders.
    pub media: Vec<Media>,
    /// The language; `None` where the source does not say.
    pub language: Option<Language>,
    /// Name of the source.
    pub source: Arc<str>,
    /// Tags of the source (public, synthetic, translated, ...).
    pub tags: Arc<[String]>,
    /// What the sample is about, where the source knows: samples of one group (translations of each other, questions about one
    /// thing) are not independent, so they stand on one side of a validation split and are resampled together.
    pub group: Option<Arc<str>>,
}

/// What one placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// A picture.
    Image(Picture),
    /// A video.
    Video(Video),
}

/// A video of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Video {
    /// Its frames, in time.
    Frames(Vec<Picture>),
    /// A file of which a rule chooses frames when it is shown ([`Clips`](crate::video::Clips)).
    Clip(Clip),
}

impl Video {
    /// Its frames; none of a file whose frames are not chosen yet.
    pub fn frames(&self) -> &[Picture] {
        match self {
            Self::Frames(frames) => frames,
            Self::Clip(_) => &[],
        }
    }

    /// The file, of one whose frames are not chosen yet.
    pub fn clip(&self) -> Option<&Clip> {
        match self {
            Self::Frames(_) => None,
            Self::Clip(clip) => Some(clip),
        }
    }
}

impl From<Vec<Picture>> for Video {
    fn from(frames: Vec<Picture>) -> Self {
        Self::Frames(frames)
    }
}

impl Media {
    /// A video of these frames.
    pub fn frames(frames: impl IntoIterator<Item = Picture>) -> Self {
        Self::Video(Video::Frames(frames.into_iter().collect()))
    }
}

/// A picture that is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Picture {
    /// A file that lies under the image root.
    File {
        /// The file, all links resolved.
        path: PathBuf,
        /// The most bytes it may have.
        max_bytes: u64,
    },
    /// The bytes of a file.
    Encoded {
        /// What errors call it.
        name: String,
        /// PNG, JPEG or WebP.
        bytes: Bytes,
    },
    /// In a record of a source of files, read when it is shown.
    Stored(StoredPicture),
    /// Drawn when it is shown.
    Drawn(DrawnPicture),
}

/// A hash of a picture's encoded bytes: the same picture has the same key in whatever source, under whatever name. Of a drawn picture
/// it is the hash of its description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaKey(pub [u8; 16]);

impl Sample {
    /// A sample that only has a conversation and its media; the rest is filled in by its source.
    pub fn new(id: impl Into<String>, turns: Vec<Turn>, media: Vec<Media>, language: Option<Language>) -> Self {
        Self { id: id.into(), turns, media, language, source: Arc::from(""), tags: Arc::from([]), group: None }
    }

    /// All pictures in the order in which they are shown, the frames of a video one by one; of a file whose frames are not chosen yet,
    /// none.
    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        pictures(&self.media)
    }

    /// The files of which frames are yet to be chosen.
    pub fn clips(&self) -> impl Iterator<Item = &Clip> {
        clips(&self.media)
    }

    /// The turns with one `<image>` for each of [`Self::pictures`]: in the place of a video's placeholder stands an `<image>` for each
    /// frame, each on a line of its own. That of a file whose frames are not chosen yet stays.
    pub fn image_turns(&self) -> Vec<Turn> {
        image_turns(&self.turns, &self.media)
    }

    /// The text of the last assistant turn, or the empty string where there is none.
    pub fn answer(&self) -> &str {
        self.turns.iter().rev().find(|turn| turn.role == Role::Assistant).map_or("", |turn| &turn.text)
    }

    /// The turns before the last assistant turn: what the model is given at inference.
    pub fn prompt(&self) -> &[Turn] {
        let end = self.turns.iter().rposition(|turn| turn.role == Role::Assistant).unwrap_or(self.turns.len());
        &self.turns[..end]
    }
}

/// All pictures of some media in the order in which they are shown, the frames of a video one by one.
pub fn pictures(media: &[Media]) -> impl Iterator<Item = &Picture> {
    media.iter().flat_map(|media| match media {
        Media::Image(picture) => std::slice::from_ref(picture),
        Media::Video(video) => video.frames(),
    })
}

/// The files among some media of which frames are yet to be chosen.
pub fn clips(media: &[Media]) -> impl Iterator<Item = &Clip> {
    media.iter().filter_map(|media| match media {
        Media::Video(video) => video.clip(),
        Media::Image(_) => None,
    })
}

/// Turns with one `<image>` for each of the [`pictures`] of their media, see [`Sample::image_turns`]: the one way in which training,
/// evaluation and chat show a video's frames to a model that knows pictures alone.
pub fn image_turns(turns: &[Turn], media: &[Media]) -> Vec<Turn> {
    let mut media = media.iter();
    let expand = |turn: &Turn| {
        let mut text = String::with_capacity(turn.text.len());
        let mut rest = turn.text.as_str();
        while let Some((at, placeholder)) = next_placeholder(rest) {
            text.push_str(&rest[..at]);
            let (shown, count) = match media.next() {
                Some(Media::Video(Video::Clip(_))) => (VIDEO_PLACEHOLDER, 1),
                Some(Media::Video(Video::Frames(frames))) => (IMAGE_PLACEHOLDER, frames.len()),
                _ => (IMAGE_PLACEHOLDER, 1),
            };
            text.push_str(&vec![shown; count].join("\n"));
            rest = &rest[at + placeholder.len()..];
        }
        text.push_str(rest);
        Turn { role: turn.role, text }
    };
    turns.iter().map(expand).collect()
}

/// The first placeholder of a text and where it stands.
fn next_placeholder(text: &str) -> Option<(usize, &'static str)> {
    let at = |placeholder: &'static str| text.find(placeholder).map(|at| (at, placeholder));
    [at(IMAGE_PLACEHOLDER), at(VIDEO_PLACEHOLDER)].into_iter().flatten().min()
}

/// The placeholders of a text, in their order.
pub fn placeholders_of(text: &str) -> Vec<&'static str> {
    placeholders(text).into_iter().map(|(_, placeholder)| placeholder).collect()
}

/// Where each placeholder of a text ends.
pub(crate) fn placeholder_ends(text: &str) -> Vec<usize> {
    placeholders(text).into_iter().map(|(end, _)| end).collect()
}

/// Where each placeholder of a text ends, and which it is.
fn placeholders(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut begin = 0;
    while let Some((at, placeholder)) = next_placeholder(&text[begin..]) {
        begin += at + placeholder.len();
        found.push((begin, placeholder));
    }
    found
}

/// Number of placeholders, of pictures and of videos, in the turns.
pub(crate) fn count_placeholders(turns: &[Turn]) -> usize {
    let count =
        |turn: &Turn| turn.text.matches(IMAGE_PLACEHOLDER).count() + turn.text.matches(VIDEO_PLACEHOLDER).count();
    turns.iter().map(count).sum()
}

impl Picture {
    /// What errors call it.
    pub fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Encoded { name, .. } => name.clone(),
            Self::Stored(stored) => stored.name().to_owned(),
            Self::Drawn(drawn) => drawn.name().to_owned(),
        }
    }

    /// The encoded bytes; of a file or a stored record, read anew at each call, of a drawn picture a PNG file.
    ///
    /// # Errors
    /// A file that cannot be read, or has too many bytes.
    pub fn read(&self) -> Result<Bytes, SkipReason> {
        let (path, max_bytes) = match self {
            Self::Encoded { bytes, .. } => return Ok(bytes.clone()),
            Self::Stored(stored) => return stored.read(),
            Self::Drawn(drawn) => return drawn.png(),
            Self::File { path, max_bytes } => (path, *max_bytes),
        };
        // A device would be read without end, a pipe waited for.
        read_regular(path, max_bytes).map(Bytes::from).map_err(|error| {
            let (kind, why) = match error {
                FileError::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge => {
                    (SkipKind::EntryTooLarge, source.to_string())
                }
                FileError::Io { source, .. } => (SkipKind::MissingImage, source.to_string()),
                other @ FileError::Json { .. } => (SkipKind::MissingImage, other.to_string()),
            };
            SkipReason::new(kind, format!("{}: {why}", self.name()))
        })
    }

    /// The pixels, transparent ones laid over white. Processors with another background decode [`Self::read`] themselves.
    ///
    /// # Errors
    /// As [`Self::read`], and a picture that is damaged or beyond the limits.
    pub fn decode(&self, limits: &DecodeLimits) -> Result<RgbImage, SkipReason> {
        if let Self::Drawn(drawn) = self {
            return drawn.draw();
        }
        let image = decode(&self.name(), &self.read()?, limits)?;
        Ok(to_rgb(image, Some(WHITE)))
    }

    /// Whether it is a frame that was chosen of a video file.
    pub fn is_frame(&self) -> bool {
        matches!(self, Self::Drawn(drawn) if drawn.is_frame())
    }

    /// Whether the picture seems to be whole, see [`look`].
    ///
    /// # Errors
    /// As [`Self::decode`], but for damage among the pixels.
    pub fn look(&self, limits: &DecodeLimits) -> Result<(), SkipReason> {
        Ok(look(&self.name(), &self.read()?, limits)?)
    }

    /// What the picture is, whatever it is called. Reads it; use [`MediaKey::of`] where the bytes are there already.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn key(&self) -> Result<MediaKey, SkipReason> {
        match self {
            Self::Stored(stored) => Ok(stored.key()),
            Self::Drawn(drawn) => Ok(drawn.key()),
            other => Ok(MediaKey::of(&other.read()?)),
        }
    }
}

impl MediaKey {
    /// The key of encoded bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&blake3::hash(bytes))
    }

    /// The key of bytes that were hashed piece by piece.
    pub(crate) fn from_hash(hash: &blake3::Hash) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        Self(key)
    }

    /// The key as a number, to seed what belongs to the picture.
    pub fn seed(self) -> u64 {
        self.0.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<ImageError> for SkipReason {
    fn from(error: ImageError) -> Self {
        let kind = match error {
            ImageError::TooLarge { .. } => SkipKind::ImageTooLarge,
            _ => SkipKind::UnreadableImage,
        };
        Self::new(kind, error.to_string())
    }
}

/// How a placeholder that says which picture it stands for begins and ends: `<image_1>`, `<image 1>` (MMMU), `<image1>`, `<|image_1|>`
/// (Phi).
const NUMBERED: [(&str, &str); 2] = [("<|image", "|>"), ("<image", ">")];
/// Digits of a number; more are no number of a picture.
const DIGITS: usize = 4;

/// Replaces numbered placeholders by plain ones, and puts the media into the order in which the texts show them: a picture that is
/// named twice is shown twice. Whether there were any.
///
/// Numbers are counted from 1; from 0 where a 0 is among them.
///
/// # Errors
/// A number without a picture, a picture without a number, numbered placeholders beside plain ones or a video.
pub fn resolve_numbered<'t>(
    texts: impl IntoIterator<Item = &'t mut String>,
    media: &mut Vec<Media>,
) -> Result<bool, SkipReason> {
    let mut texts: Vec<&mut String> = texts.into_iter().collect();
    let numbers: Vec<usize> =
        texts.iter().flat_map(|text| numbered_placeholders(text)).map(|(_, _, number)| number).collect();
    if numbers.is_empty() {
        return Ok(false);
    }
    let refuse = |detail: String| Err(SkipReason::new(SkipKind::Placeholders, detail));
    let plain = texts.iter().any(|text| text.contains(IMAGE_PLACEHOLDER) || text.contains(VIDEO_PLACEHOLDER));
    if plain || media.iter().any(|media| matches!(media, Media::Video(_))) {
        return refuse("numbered placeholders (<image_1>) stand beside plain ones or a video".to_owned());
    }
    let first = usize::from(!numbers.contains(&0));
    let pictures = media.len();
    if let Some(number) = numbers.iter().find(|number| **number >= pictures + first) {
        return refuse(format!("a placeholder names picture {number}, counted from {first}; there are {pictures}"));
    }
    if let Some(unnamed) = (first..pictures + first).find(|number| !numbers.contains(number)) {
        return refuse(format!("no placeholder names picture {unnamed} of {pictures}, counted from {first}"));
    }
    for text in &mut texts {
        let found: Vec<_> = numbered_placeholders(text).collect();
        for (begin, end, _) in found.into_iter().rev() {
            text.replace_range(begin..end, IMAGE_PLACEHOLDER);
        }
    }
    *media = numbers.iter().map(|number| media[number - first].clone()).collect();
    Ok(true)
}

/// The numbered placeholders of a text: begin, end, number.
fn numbered_placeholders(text: &str) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
    memchr::memchr_iter(b'<', text.as_bytes()).filter_map(move |begin| {
        let (length, number) = NUMBERED.iter().find_map(|(open, close)| numbered(&text[begin..], open, close))?;
        Some((begin, begin + length, number))
    })
}

/// Length and number of the placeholder that a text begins with.
fn numbered(text: &str, open: &str, close: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix(open)?;
    let rest = rest.strip_prefix([' ', '_', '-']).unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let after = rest[digits..].strip_prefix(close)?;
    let number = (1..=DIGITS).contains(&digits).then(|| rest[..digits].parse().ok())??;
    Some((text.len() - after.len(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_becomes_its_frames() {
        let picture = |name: &str| Picture::Encoded { name: name.to_owned(), bytes: Bytes::new() };
        let media = vec![
            Media::Image(picture("1")),
            Media::frames([picture("2"), picture("3")]),
            Media::Image(picture("4")),
            Media::Video(Video::Clip(Clip::File(PathBuf::from("a.mp4")))),
        ];
        let turns = vec![Turn::user("<image>\nand <video> or <image>? <video>"), Turn::assistant("Yes.")];
        let sample = Sample::new("a", turns, media, None);
        assert_eq!(count_placeholders(&sample.turns), sample.media.len());
        assert_eq!(sample.image_turns()[0].text, "<image>\nand <image>\n<image> or <image>? <video>");
        assert_eq!(sample.clips().map(Clip::name).collect::<Vec<_>>(), ["a.mp4"]);
        assert_eq!(sample.pictures().map(Picture::name).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
        assert_eq!(sample.answer(), "Yes.");
        assert_eq!(sample.prompt().len(), 1);
    }

    #[test]
    fn a_key_is_of_the_content() {
        let of = |name: &str, bytes: &'static [u8]| {
            Picture::Encoded { name: name.into(), bytes: Bytes::from_static(bytes) }.key().unwrap()
        };
        assert_eq!(of("a", b"x"), of("b", b"x"));
        assert_ne!(of("a", b"x"), of("a", b"y"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(Picture::File { path, max_bytes: 10 }.key().unwrap(), of("a", b"x"));
    }

    #[test]
    fn files_that_are_not_read_say_why() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("large"), "12345").unwrap();
        for (name, kind, word) in [
            ("large", SkipKind::EntryTooLarge, "large: 5 bytes, at most 4 are allowed"),
            ("none", SkipKind::MissingImage, "none: "),
            ("", SkipKind::MissingImage, "it is a folder"),
        ] {
            let reason = Picture::File { path: folder.path().join(name), max_bytes: 4 }.read().unwrap_err();
            assert!(reason.kind == kind && reason.detail.contains(word), "{name}: {reason}");
        }
    }

    fn resolved(texts: &[&str], pictures: usize) -> Result<(Vec<String>, String), SkipReason> {
        let picture = |number: usize| Picture::Encoded { name: number.to_string(), bytes: Bytes::new() };
        let mut media: Vec<Media> = (1..=pictures).map(|number| Media::Image(picture(number))).collect();
        let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        resolve_numbered(texts.iter_mut(), &mut media)?;
        Ok((texts, crate::sample::pictures(&media).map(Picture::name).collect()))
    }

    #[test]
    fn pictures_stand_where_their_number_is() {
        for (texts, order) in [
            (["<image_1> and <image_2>", ""], "12"),
            (["<image 2>, then", "<image 1>\nx"], "21"),
            (["<image1><image-2>", "é <image1>"], "121"),
            (["<|image_1|>\n<|image_2|>", "<| <image"], "12"),
            (["<image_1> <image_0>", ""], "21"),
        ] {
            let (plain, found) = resolved(&texts, 2).unwrap();
            assert_eq!(found, order, "{texts:?}");
            assert_eq!(plain.concat().matches("<image>").count(), order.len(), "{plain:?}");
        }
        assert_eq!(resolved(&["<image>", "<image_x> <image_12345> <images 1>"], 1).unwrap().1, "1");
        for (text, pictures, word) in [
            ("<image_3> <image_1>", 2, "picture 3"),
            ("<image_1>", 2, "picture 2 of 2"),
            ("<image_1>", 0, "there are 0"),
            ("<image_1> <image>", 2, "plain"),
            ("<image_1> <image_2> <video>", 2, "video"),
        ] {
            let reason = resolved(&[text], pictures).unwrap_err();
            assert!(reason.kind == SkipKind::Placeholders && reason.detail.contains(word), "{text}: {reason}");
        }
    }
}
