//! The tokens that stand for pictures and videos: each placeholder's becomes as many as what it shows has visual tokens.

use super::{EncodeError, Encoded, IGNORE, Style, VisualCounts};
use crate::conversation::{IMAGE_PLACEHOLDER, Turn, VIDEO_PLACEHOLDER, count_images, count_videos};

/// What is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A picture.
    Image,
    /// A video.
    Video,
}

impl Medium {
    fn placeholder(self) -> &'static str {
        match self {
            Self::Image => IMAGE_PLACEHOLDER,
            Self::Video => VIDEO_PLACEHOLDER,
        }
    }

    /// That there is no token for it.
    fn no_token(self) -> EncodeError {
        let help = match self {
            Self::Image => "add it to the tokenizer's special tokens",
            Self::Video => "the model takes no videos, or its folder names no video token",
        };
        EncodeError::NoToken { token: self.placeholder().to_owned(), help }
    }
}

/// The ids that stand for pictures and videos, where there are any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisualIds {
    pub(crate) image: Option<u32>,
    pub(crate) video: Option<u32>,
}

impl VisualIds {
    /// Of pictures alone.
    pub(crate) fn of_images(id: u32) -> Self {
        Self { image: Some(id), video: None }
    }

    /// Those that a model is written to by.
    pub(crate) fn of(style: &Style) -> Self {
        Self { image: style.image_id(), video: style.video_id() }
    }

    /// All that there are.
    pub(crate) fn all(self) -> Vec<u32> {
        self.image.into_iter().chain(self.video).collect()
    }

    /// Splits a text at its placeholders: the words before each with what it shows, and the words behind the last. `<video>` is a word
    /// where nothing stands for videos.
    pub(crate) fn split(self, text: &str) -> (Vec<(&str, Medium)>, &str) {
        let (mut parts, mut rest) = (Vec::new(), text);
        loop {
            let media = [Some(Medium::Image), self.video.map(|_| Medium::Video)];
            let found =
                media.into_iter().flatten().filter_map(|medium| Some((rest.find(medium.placeholder())?, medium)));
            let Some((at, medium)) = found.min_by_key(|(at, _)| *at) else { return (parts, rest) };
            parts.push((&rest[..at], medium));
            rest = &rest[at + medium.placeholder().len()..];
        }
    }

    /// The id of what is shown.
    pub(crate) fn id(self, medium: Medium) -> Result<u32, EncodeError> {
        let id = match medium {
            Medium::Image => self.image,
            Medium::Video => self.video,
        };
        id.ok_or_else(|| medium.no_token())
    }

    /// Repeats each token of a picture or a video as often as `counts` says; these are never trained.
    pub(crate) fn expand(
        self,
        encoded: Encoded,
        turns: &[Turn],
        counts: VisualCounts<'_>,
    ) -> Result<Encoded, EncodeError> {
        let encoded = expand(Medium::Image, self.image, encoded, count_images(turns), counts.images)?;
        // Where nothing stands for videos their placeholder is a word.
        let placeholders = self.video.map_or(0, |_| count_videos(turns));
        expand(Medium::Video, self.video, encoded, placeholders, counts.videos)
    }
}

fn expand(
    medium: Medium,
    token: Option<u32>,
    encoded: Encoded,
    placeholders: usize,
    counts: &[usize],
) -> Result<Encoded, EncodeError> {
    let Some(token) = token else {
        return if placeholders == 0 && counts.is_empty() { Ok(encoded) } else { Err(medium.no_token()) };
    };
    let found = encoded.ids.iter().filter(|id| **id == token).count();
    if found == counts.len() && placeholders == counts.len() {
        return Ok(repeat(token, encoded, counts));
    }
    Err(match medium {
        Medium::Image => EncodeError::Images { placeholders, found, pictures: counts.len() },
        Medium::Video => EncodeError::Videos { placeholders, found, videos: counts.len() },
    })
}

/// Repeats a token as often as `counts` says at each of its places.
fn repeat(token: u32, encoded: Encoded, counts: &[usize]) -> Encoded {
    let mut counts = counts.iter();
    let mut repeated = Encoded::default();
    for (id, label) in encoded.ids.into_iter().zip(encoded.labels) {
        match if id == token { counts.next() } else { None } {
            Some(count) => {
                repeated.ids.extend(std::iter::repeat_n(id, *count));
                repeated.labels.extend(std::iter::repeat_n(IGNORE, *count));
            }
            None => {
                repeated.ids.push(id);
                repeated.labels.push(label);
            }
        }
    }
    repeated
}
