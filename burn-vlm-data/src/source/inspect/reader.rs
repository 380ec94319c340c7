//! How a model would read a sample: its tokens, and which of them are trained.

use super::super::{SkipKind, SkipReason};
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::encode::{EncodeError, EncodeOptions, Encoded, IGNORE, MaskStyle, NO_END, VisualCounts};
use crate::processor::{Processor, ProcessorError, VisualTokens};
use crate::sample::{Media, Picture, Sample, Video, image_turns};
use crate::video::DEFAULT_FRAMES;
use bytes::Bytes;
use std::path::Path;

/// What a picture counts in tokens where neither its model nor anybody says: LLaVA-1.5's.
pub const TOKENS_PER_PICTURE: usize = 576;

/// A processor with what is asked of it: it reads samples as training does.
#[derive(Debug)]
pub struct Reader {
    processor: Processor,
    options: EncodeOptions,
    /// What somebody says a picture and a frame count.
    tokens_per_picture: Option<usize>,
}

/// A stretch of text whose tokens are all trained, or all not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The text; of visual tokens their number.
    pub text: String,
    /// Whether its tokens are trained.
    pub trained: bool,
    /// Whether it stands for visual tokens.
    pub visual: bool,
}

impl Reader {
    /// Reads `tokenizer.json` and the chat template of a Hugging Face folder, and how many tokens its model makes of pictures and videos.
    /// `tokens_per_picture` is what a picture counts instead, and a frame of a model that takes no videos: of tiled pictures, a mean.
    ///
    /// # Errors
    /// Files that are missing or damaged.
    pub fn from_folder(
        folder: impl AsRef<Path>,
        mask: MaskStyle,
        tokens_per_picture: Option<usize>,
    ) -> Result<Self, ProcessorError> {
        Ok(Self::new(Processor::counting_from_folder(folder)?, mask, tokens_per_picture))
    }

    /// A reader of a processor.
    pub fn new(processor: Processor, mask: MaskStyle, tokens_per_picture: Option<usize>) -> Self {
        Self { processor, options: EncodeOptions { mask, ..EncodeOptions::default() }, tokens_per_picture }
    }

    /// What is to be said of the processor, whatever the samples are.
    pub fn note(&self) -> Option<&'static str> {
        (!self.processor.ends_answers()).then_some(NO_END)
    }

    /// What a picture counts, and whether that is the model's: where it depends on the picture, or nothing says, it is
    /// [`TOKENS_PER_PICTURE`].
    fn picture_tokens(&self) -> (usize, bool) {
        let of_view =
            self.processor.visual_tokens().filter(|tokens| !VisualTokens::vary(tokens)).map(|tokens| tokens.view);
        let known = self.tokens_per_picture.or(of_view);
        (known.unwrap_or(TOKENS_PER_PICTURE), known.is_some())
    }

    /// What a frame of a video file counts that is shown as a picture.
    fn frame_tokens(&self) -> usize {
        self.tokens_per_picture.or_else(|| self.processor.num_frame_tokens()).unwrap_or(TOKENS_PER_PICTURE)
    }

    /// What is to be said of pictures, where their tokens are a guess.
    pub fn note_of_pictures(&self) -> Option<String> {
        let (tokens, known) = self.picture_tokens();
        let why = match self.processor.visual_tokens() {
            Some(_) => "they differ with the size of each",
            None => "the folder does not say",
        };
        (!known && self.processor.image_token_id().is_some())
            .then(|| format!("pictures are counted as {tokens} tokens each, a guess: {why}"))
    }

    /// The tokens of a sample, visual ones among them.
    ///
    /// A tokenizer without `<image>` (a language model's own) cannot place pictures: their placeholders are left out, and their
    /// tokens are not counted.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse.
    pub fn encode(&self, sample: &Sample) -> Result<Encoded, SkipReason> {
        let shown = sample.media.iter().filter_map(|medium| match medium {
            Media::Image(_) => None,
            Media::Video(Video::Clip(_)) => Some(DEFAULT_FRAMES),
            Media::Video(Video::Frames(list)) => Some(list.len().min(DEFAULT_FRAMES)),
        });
        self.encode_frames(sample, &shown.collect::<Vec<_>>())
    }

    /// As [`Self::encode`], with so many frames of each of its videos: as a video where the model takes videos, else as so many pictures.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_frames(&self, sample: &Sample, frames: &[usize]) -> Result<Encoded, SkipReason> {
        let mut frames = frames.iter().copied();
        let picture = self.picture_tokens().0;
        let refused = |error: EncodeError| SkipReason::new(SkipKind::NotEncodable, error.to_string());
        if self.processor.video_token_id().is_some() {
            let (mut images, mut videos) = (Vec::new(), Vec::new());
            for medium in &sample.media {
                match medium {
                    Media::Image(_) => images.push(picture),
                    Media::Video(_) => {
                        videos.push(self.processor.num_video_tokens(frames.next().unwrap_or_default()));
                    }
                }
            }
            let counts = VisualCounts { images: &images, videos: &videos };
            return self.processor.encode_media(&sample.turns, counts, &self.options).map_err(refused);
        }
        let mut pictures = Vec::new();
        let counted = |medium: &Media| {
            let Media::Video(video) = medium else {
                pictures.push(picture);
                return medium.clone();
            };
            // Frames of a list are pictures as they are.
            let each = if matches!(video, Video::Clip(_)) { self.frame_tokens() } else { picture };
            let count = frames.next().unwrap_or_default();
            pictures.extend(std::iter::repeat_n(each, count));
            // Only how many there are is asked of them.
            Media::frames((0..count).map(|_| Picture::Encoded { name: String::new(), bytes: Bytes::new() }))
        };
        let media: Vec<Media> = sample.media.iter().map(counted).collect();
        let mut turns = image_turns(&sample.turns, &media);
        if self.processor.image_token_id().is_none() {
            turns.iter_mut().for_each(without_pictures);
            pictures.clear();
        }
        self.processor.encode(&turns, &pictures, &self.options).map_err(refused)
    }

    /// What a video of so many frames counts, in words.
    pub fn video_tokens(&self, frames: usize) -> String {
        match (self.processor.video_token_id(), self.processor.image_token_id()) {
            (Some(_), _) => format!("{} tokens", self.processor.num_video_tokens(frames)),
            (None, Some(_)) => format!(
                "{} tokens, its frames being pictures to a model that takes no videos",
                frames.saturating_mul(self.frame_tokens())
            ),
            (None, None) => "no tokens, since the tokenizer has none for pictures or videos".to_owned(),
        }
    }

    /// The sample as stretches of text, each video with so many frames as in [`Self::encode_frames`].
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn segments(&self, sample: &Sample, frames: &[usize]) -> Result<Vec<Segment>, SkipReason> {
        let Encoded { ids, labels, .. } = self.encode_frames(sample, frames)?;
        let visual = [self.processor.image_token_id(), self.processor.video_token_id()];
        let visual = |id: &u32| Some(*id).filter(|id| visual.contains(&Some(*id)));
        let kinds: Vec<(bool, Option<u32>)> =
            ids.iter().zip(&labels).map(|(id, label)| (*label != IGNORE, visual(id))).collect();
        let mut segments = Vec::new();
        let mut begin = 0;
        for run in kinds.chunk_by(|a, b| a == b) {
            let (trained, visual) = (run[0].0, run[0].1.is_some());
            let ids = &ids[begin..begin + run.len()];
            begin += run.len();
            let text = if visual { Ok(run.len().to_string()) } else { self.processor.tokenizer().decode(ids, false) };
            let text = text.map_err(|error| SkipReason::new(SkipKind::NotEncodable, error.to_string()))?;
            segments.push(Segment { text, trained, visual });
        }
        Ok(segments)
    }
}

/// Leaves out the placeholders, each with the line break after it.
fn without_pictures(turn: &mut Turn) {
    turn.text = turn.text.replace(&format!("{IMAGE_PLACEHOLDER}\n"), "").replace(IMAGE_PLACEHOLDER, "");
}
