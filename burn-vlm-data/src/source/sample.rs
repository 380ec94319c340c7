//! A sample of a user's own data: a conversation, the pictures that it shows, and where it comes from.
//!
//! Kept apart from [`crate::sample::Sample`], whose task, concept and picture number belong to the embedded corpus: here a
//! picture is a file or bytes, and there may be many. Both meet in their [`Turn`]s.

use super::skip::{SkipKind, SkipReason};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::image::{DecodeLimits, ImageError, RgbImage, decode, to_rgb};
use crate::language::Language;
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// Stands in a turn's text where a video is shown.
pub const VIDEO_PLACEHOLDER: &str = "<video>";

/// What transparent pixels are laid over.
const WHITE: [u8; 3] = [255; 3];

/// One conversation of a [`Source`](super::Source).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSample {
    /// As the data names it, else the file's name and the place in it, `train-00000:17`.
    pub id: String,
    /// What the placeholders of the turns stand for, in their order: as many as there are placeholders.
    pub media: Vec<Media>,
    /// The conversation; at least one turn of the assistant has a text.
    pub turns: Vec<Turn>,
    /// The language; `None` where the source does not say.
    pub language: Option<Language>,
    /// Name of the source.
    pub source: Arc<str>,
    /// Tags of the source (public, synthetic, translated, ...).
    pub tags: Arc<[String]>,
}

/// What one placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// A picture.
    Image(Picture),
    /// The frames of a video, in time.
    Video(Vec<Picture>),
}

/// A picture that is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl SourceSample {
    /// All pictures in the order in which they are shown, the frames of a video one by one.
    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        self.media.iter().flat_map(|media| match media {
            Media::Image(picture) => std::slice::from_ref(picture),
            Media::Video(frames) => frames.as_slice(),
        })
    }

    /// The turns with one `<image>` for each of [`Self::pictures`]: the placeholder of a video is repeated for its frames.
    pub fn image_turns(&self) -> Vec<Turn> {
        let mut media = self.media.iter();
        let expand = |turn: &Turn| {
            let mut text = String::with_capacity(turn.text.len());
            let mut rest = turn.text.as_str();
            while let Some((at, placeholder)) = next_placeholder(rest) {
                text.push_str(&rest[..at]);
                let pictures = match media.next() {
                    Some(Media::Video(frames)) => frames.len(),
                    _ => 1,
                };
                (0..pictures).for_each(|_| text.push_str(IMAGE_PLACEHOLDER));
                rest = &rest[at + placeholder.len()..];
            }
            text.push_str(rest);
            Turn { role: turn.role, text }
        };
        self.turns.iter().map(expand).collect()
    }

    /// The text of the last assistant turn, or the empty string where there is none.
    pub fn answer(&self) -> &str {
        self.turns.iter().rev().find(|turn| turn.role == Role::Assistant).map_or("", |turn| &turn.text)
    }
}

/// The first placeholder of a text and where it stands.
fn next_placeholder(text: &str) -> Option<(usize, &'static str)> {
    let at = |placeholder: &'static str| text.find(placeholder).map(|at| (at, placeholder));
    [at(IMAGE_PLACEHOLDER), at(VIDEO_PLACEHOLDER)].into_iter().flatten().min()
}

/// Number of placeholders, of pictures and of videos, in the turns.
pub(super) fn count_placeholders(turns: &[Turn]) -> usize {
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
        }
    }

    /// The encoded bytes; of a file, read anew at each call.
    ///
    /// # Errors
    /// A file that cannot be read, or has too many bytes.
    pub fn read(&self) -> Result<Bytes, SkipReason> {
        let (path, max_bytes) = match self {
            Self::Encoded { bytes, .. } => return Ok(bytes.clone()),
            Self::File { path, max_bytes } => (path, *max_bytes),
        };
        let missing =
            |error: std::io::Error| SkipReason::new(SkipKind::MissingImage, format!("{}: {error}", self.name()));
        let size = std::fs::metadata(path).map_err(missing)?.len();
        if size > max_bytes {
            let detail = format!("{}: {size} bytes, at most {max_bytes} are allowed", self.name());
            return Err(SkipReason::new(SkipKind::EntryTooLarge, detail));
        }
        std::fs::read(path).map(Bytes::from).map_err(missing)
    }

    /// The pixels, transparent ones laid over white. Processors with another background decode [`Self::read`] themselves.
    ///
    /// # Errors
    /// As [`Self::read`], and a picture that is damaged or beyond the limits.
    pub fn decode(&self, limits: &DecodeLimits) -> Result<RgbImage, SkipReason> {
        let image = decode(&self.name(), &self.read()?, limits)?;
        Ok(to_rgb(image, Some(WHITE)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_becomes_its_frames() {
        let picture = |name: &str| Picture::Encoded { name: name.to_owned(), bytes: Bytes::new() };
        let sample = SourceSample {
            id: "a".to_owned(),
            media: vec![
                Media::Image(picture("1")),
                Media::Video(vec![picture("2"), picture("3")]),
                Media::Image(picture("4")),
            ],
            turns: vec![Turn::user("<image>\nand <video> or <image>?"), Turn::assistant("Yes.")],
            language: None,
            source: Arc::from("test"),
            tags: Arc::from([]),
        };
        assert_eq!(count_placeholders(&sample.turns), sample.media.len());
        assert_eq!(sample.image_turns()[0].text, "<image>\nand <image><image> or <image>?");
        assert_eq!(sample.pictures().map(Picture::name).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
        assert_eq!(sample.answer(), "Yes.");
    }
}
