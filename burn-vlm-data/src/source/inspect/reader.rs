//! How a model would read a sample: its tokens, and which of them are trained.

use super::super::{SkipKind, SkipReason};
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::encode::{EncodeError, EncodeOptions, Encoded, IGNORE, MaskStyle, NO_END, VisualCounts};
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
    /// Reads `tokenizer.json` and the chat template of a Hugging Face folder, and how many tokens a video has of a model that takes
    /// videos. `tokens_per_picture` is what a picture counts: of tiled pictures, a mean.
    ///
    /// # Errors
    /// Files that are missing or damaged.
    pub fn from_folder(
        folder: impl AsRef<Path>,
        mask: MaskStyle,
        tokens_per_picture: usize,
    ) -> Result<Self, ProcessorError> {
        Ok(Self::new(Processor::text_and_videos_from_folder(folder)?, mask, tokens_per_picture))
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

    /// As [`Self::encode`], `frames` of each video being shown, and all of a list of fewer: as a video where the model takes
    /// videos, else as so many pictures.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_frames(&self, sample: &Sample, frames: usize) -> Result<Encoded, SkipReason> {
        let refused = |error: EncodeError| SkipReason::new(SkipKind::NotEncodable, error.to_string());
        if self.processor.video_token_id().is_some() {
            let (mut images, mut videos) = (Vec::new(), Vec::new());
            for medium in &sample.media {
                match medium {
                    Media::Image(_) => images.push(self.tokens_per_picture),
                    Media::Video(video) => videos.push(self.processor.num_video_tokens(shown_of(video, frames))),
                }
            }
            let counts = VisualCounts { images: &images, videos: &videos };
            return self.processor.encode_media(&sample.turns, counts, &self.options).map_err(refused);
        }
        let counted = |medium: &Media| match medium {
            // Only how many there are is asked of them.
            Media::Video(video) => Media::frames(
                (0..shown_of(video, frames)).map(|_| Picture::Encoded { name: String::new(), bytes: Bytes::new() }),
            ),
            other => other.clone(),
        };
        let media: Vec<Media> = sample.media.iter().map(counted).collect();
        let mut turns = image_turns(&sample.turns, &media);
        let mut pictures = vec![self.tokens_per_picture; pictures(&media).count()];
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
                frames.saturating_mul(self.tokens_per_picture)
            ),
            (None, None) => "no tokens, since the tokenizer has none for pictures or videos".to_owned(),
        }
    }

    /// The sample as stretches of text, each video with `frames` frames as in [`Self::encode_frames`].
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn segments(&self, sample: &Sample, frames: usize) -> Result<Vec<Segment>, SkipReason> {
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

/// How many of a video's frames are shown where a rule chooses so many: of a list of fewer, all.
fn shown_of(video: &Video, frames: usize) -> usize {
    match video {
        Video::Clip(_) => frames,
        Video::Frames(list) => list.len().min(frames),
    }
}

/// Leaves out the placeholders, each with the line break after it.
fn without_pictures(turn: &mut Turn) {
    turn.text = turn.text.replace(&format!("{IMAGE_PLACEHOLDER}\n"), "").replace(IMAGE_PLACEHOLDER, "");
}
