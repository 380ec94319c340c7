//! How a model would read a sample: its tokens, and which of them are trained.

use super::super::{SkipKind, SkipReason};
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::encode::{EncodeOptions, Encoded, IGNORE, MaskStyle, NO_END};
use crate::processor::{Processor, ProcessorError};
use crate::sample::{Media, Picture, Sample, Video, image_turns, pictures};
use crate::video::DEFAULT_FRAMES;
use bytes::Bytes;
use std::path::Path;

/// A processor with what is asked of it: it reads samples as training does.
#[derive(Debug)]
pub struct Reader {
    processor: Processor,
    options: EncodeOptions,
    tokens_per_picture: usize,
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
    /// Reads `tokenizer.json` and the chat template of a Hugging Face folder. `tokens_per_picture` is what a picture counts:
    /// of tiled pictures, a mean.
    ///
    /// # Errors
    /// Files that are missing or damaged.
    pub fn from_folder(
        folder: impl AsRef<Path>,
        mask: MaskStyle,
        tokens_per_picture: usize,
    ) -> Result<Self, ProcessorError> {
        Ok(Self::new(Processor::text_from_folder(folder)?, mask, tokens_per_picture))
    }

    /// A reader of a processor.
    pub fn new(processor: Processor, mask: MaskStyle, tokens_per_picture: usize) -> Self {
        Self { processor, options: EncodeOptions { mask, ..EncodeOptions::default() }, tokens_per_picture }
    }

    /// What is to be said of the processor, whatever the samples are.
    pub fn note(&self) -> Option<&'static str> {
        (!self.processor.ends_answers()).then_some(NO_END)
    }

    /// The tokens of a sample, visual ones among them.
    ///
    /// A tokenizer without `<image>` (a language model's own) cannot place pictures: their placeholders are left out, and their
    /// tokens are not counted.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse.
    pub fn encode(&self, sample: &Sample) -> Result<Encoded, SkipReason> {
        self.encode_frames(sample, DEFAULT_FRAMES)
    }

    /// As [`Self::encode`], a video file being so many pictures.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_frames(&self, sample: &Sample, frames: usize) -> Result<Encoded, SkipReason> {
        let counted = |medium: &Media| match medium {
            Media::Video(Video::Clip(clip)) => {
                // Only how many there are is asked of them.
                Media::frames((0..frames).map(|_| Picture::Encoded { name: clip.name(), bytes: Bytes::new() }))
            }
            other => other.clone(),
        };
        let media: Vec<Media> = sample.media.iter().map(counted).collect();
        let mut turns = image_turns(&sample.turns, &media);
        let mut pictures = vec![self.tokens_per_picture; pictures(&media).count()];
        if self.processor.image_token_id().is_none() {
            turns.iter_mut().for_each(without_pictures);
            pictures.clear();
        }
        let encoded = self.processor.encode(&turns, &pictures, &self.options);
        encoded.map_err(|error| SkipReason::new(SkipKind::NotEncodable, error.to_string()))
    }

    /// The sample as stretches of text, a video file being so many pictures.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn segments(&self, sample: &Sample, frames: usize) -> Result<Vec<Segment>, SkipReason> {
        let Encoded { ids, labels, .. } = self.encode_frames(sample, frames)?;
        let image = self.processor.image_token_id();
        let kinds: Vec<(bool, bool)> =
            ids.iter().zip(&labels).map(|(id, label)| (*label != IGNORE, Some(*id) == image)).collect();
        let mut segments = Vec::new();
        let mut begin = 0;
        for run in kinds.chunk_by(|a, b| a == b) {
            let (trained, visual) = run[0];
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
