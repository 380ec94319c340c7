//! From a source's sample to ids, labels and pixels, or features in their place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use crate::batching::{Batching, SampleSize};
use crate::conversation::{Turn, VIDEO_PLACEHOLDER};
use crate::encode::{EncodeError, EncodeOptions, Encoded, IGNORE, VisualCounts};
use crate::image::{Augmentation, ProcessedImage};
use crate::language::Language;
use crate::plain::PromptTemplate;
use crate::processor::{PictureInput, Processor};
use crate::random::mix;
use crate::sample::{Media, Picture, Sample};
use crate::source::{SkipKind, SkipReason};
use crate::video::Clips;

use super::{FeatureBank, ShownMedium};

/// One sample, ready to be laid into a batch.
#[derive(Debug, Clone)]
pub struct PreparedSample {
    /// Its name.
    pub id: String,
    /// Ids and labels.
    pub encoded: Arc<Encoded>,
    /// Its pictures in the order in which they are shown, frames of videos among them.
    pub images: Vec<PreparedImage>,
    /// Where the model takes videos, what [`Self::images`] are views of.
    pub media: Vec<ShownMedium>,
    /// Where it comes from.
    pub origin: Origin,
}

/// By what losses are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The language; `None` where the source does not say.
    pub language: Option<Language>,
    /// Name of the source.
    pub source: Arc<str>,
}

impl Origin {
    fn of(sample: &Sample) -> Self {
        Self { language: sample.language, source: sample.source.clone() }
    }
}

/// One picture, ready.
#[derive(Debug, Clone)]
pub enum PreparedImage {
    /// Its pixels.
    Pixels(ProcessedImage),
    /// What the frozen tower made of it.
    Features(Features),
}

/// Where a bank has a picture's features.
#[derive(Clone)]
pub struct Features {
    bank: Arc<FeatureBank>,
    row: usize,
}

impl Features {
    /// The features, `[tokens, width]`.
    pub fn values(&self) -> &[f32] {
        self.bank.row(self.row)
    }

    /// Tokens and width, padding included.
    pub fn shape(&self) -> [usize; 2] {
        self.bank.shape()
    }

    /// Tokens that are no padding: the first so many.
    pub fn tokens(&self) -> usize {
        self.bank.tokens(self.row)
    }

    /// Whether the bank's pictures have different numbers of tokens.
    pub fn is_padded(&self) -> bool {
        self.bank.counts().is_some()
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Features").field("row", &self.row).field("shape", &self.shape()).finish()
    }
}

impl PreparedImage {
    /// How often the vision tower looks at it: once, or at a thumbnail and tiles.
    pub fn views(&self) -> usize {
        match self {
            Self::Pixels(image) => image.tiles,
            Self::Features(_) => 1,
        }
    }
}

impl PreparedSample {
    /// What a batch has to make room for.
    pub fn size(&self) -> SampleSize {
        SampleSize { tokens: self.encoded.ids.len() as u32, images: self.images.len() as u32 }
    }

    /// Bytes of its pictures in a batch.
    pub fn image_bytes(&self) -> usize {
        let values = |image: &PreparedImage| match image {
            PreparedImage::Pixels(ProcessedImage { budget: Some(budget), .. }) => {
                budget.max_num_patches as usize * budget.patch_values()
            }
            PreparedImage::Pixels(image) => image.data.len(),
            PreparedImage::Features(features) => features.values().len(),
        };
        self.images.iter().map(values).sum::<usize>() * size_of::<f32>()
    }
}

/// Makes samples ready, in worker threads.
pub struct SampleMaker {
    /// Tokenizer, template and image processor.
    pub processor: Arc<Processor>,
    /// How conversations are written.
    pub template: PromptTemplate,
    /// Mask, length, truncation.
    pub options: EncodeOptions,
    /// What a micro-batch has room for.
    pub batching: Batching,
    /// Positions of the language model; a longer sample is refused.
    pub max_positions: usize,
    /// Light augmentation of pictures; not of those whose features are there.
    pub augment: bool,
    /// The features of all pictures, where the tower is frozen and they were computed.
    pub bank: Option<Arc<FeatureBank>>,
    /// Chooses the frames of video files; without it samples that show any are left out.
    pub clips: Option<Arc<Clips>>,
    encoded: EncodedCache,
}

impl SampleMaker {
    /// A maker without augmentation or features.
    pub fn new(
        processor: Arc<Processor>,
        template: PromptTemplate,
        options: EncodeOptions,
        batching: Batching,
        max_positions: usize,
    ) -> Self {
        let (augment, bank, clips, encoded) = (false, None, None, EncodedCache::default());
        Self { processor, template, options, batching, max_positions, augment, bank, clips, encoded }
    }

    /// The sample with its pictures ready; `draw` decides what is random about it (augmentation, or the view among those computed),
    /// without it the pictures are as they are.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn make(&self, sample: &Sample, draw: Option<u64>) -> Result<PreparedSample, SkipReason> {
        let shown = self.shown(sample)?;
        let sample = shown.as_ref();
        if self.processor.video_token_id().is_some() {
            return self.make_media(sample, draw);
        }
        let pictures: Vec<&Picture> = sample.pictures().collect();
        let image = |(number, picture): (usize, &&Picture)| {
            self.image(picture, pictures.len(), draw.map(|draw| mix(draw, number as u64)))
        };
        let images = pictures.iter().enumerate().map(image).collect::<Result<Vec<_>, SkipReason>>()?;
        let counts: Vec<usize> = images.iter().map(|image| self.num_image_tokens(image)).collect();
        let turns = sample.image_turns();
        let encode = || self.processor.encode_as(self.template, &turns, &counts, &self.options);
        let encoded = self.encoded.get(&turns, &counts, encode).map_err(|error| refused(error.to_string()))?;
        self.checked(PreparedSample {
            id: sample.id.clone(),
            encoded,
            images,
            media: Vec::new(),
            origin: Origin::of(sample),
        })
    }

    /// The sample with the chosen frames in the place of video files: decoded at once, unless features were computed of them.
    fn shown<'s>(&self, sample: &'s Sample) -> Result<Cow<'s, Sample>, SkipReason> {
        match (&self.clips, sample.clips().next()) {
            (Some(clips), _) => clips.show_sample(sample, self.bank.is_none()),
            (None, None) => Ok(Cow::Borrowed(sample)),
            (None, Some(clip)) => {
                let detail = format!("{}: no rule chooses the frames of video files here", clip.name());
                Err(SkipReason::new(SkipKind::UnsupportedVideo, detail))
            }
        }
    }

    /// As [`Self::make`], for a model that takes videos.
    fn make_media(&self, sample: &Sample, draw: Option<u64>) -> Result<PreparedSample, SkipReason> {
        let pictures = sample.media.iter().filter(|medium| matches!(medium, Media::Image(_))).count();
        let (mut images, mut media) = (Vec::new(), Vec::new());
        let (mut image_counts, mut video_counts) = (Vec::new(), Vec::new());
        for (number, medium) in sample.media.iter().enumerate() {
            match medium {
                Media::Image(picture) => {
                    let augment = draw.filter(|_| self.augment).map(|draw| mix(draw, number as u64));
                    let image = pixels(&self.processor, picture, pictures, augment)?;
                    media.push(ShownMedium::picture(&image));
                    image_counts.push(self.processor.num_image_tokens(&image));
                    images.push(PreparedImage::Pixels(image));
                }
                Media::Video(video) => {
                    let frames = video.frames();
                    if frames.is_empty() {
                        return Err(SkipReason::new(SkipKind::UnreadableVideo, "a video without frames"));
                    }
                    for frame in frames {
                        images.push(self.frame(frame, draw)?);
                    }
                    media.push(ShownMedium::Video { frames: frames.len() });
                    video_counts.push(self.processor.num_video_tokens(frames.len()));
                }
            }
        }
        let counts = VisualCounts { images: &image_counts, videos: &video_counts };
        // Behind each other, with what no number of tokens is between them.
        let key = [image_counts.as_slice(), &[usize::MAX], video_counts.as_slice()].concat();
        let encode = || match (self.template, video_counts.is_empty()) {
            (PromptTemplate::Chat, _) => self.processor.encode_media(&sample.turns, counts, &self.options),
            (template, true) => self.processor.encode_as(template, &sample.turns, &image_counts, &self.options),
            (_, false) => Err(EncodeError::NoToken {
                token: VIDEO_PLACEHOLDER.to_owned(),
                help: "videos are shown in chats alone (`template = \"chat\"`)",
            }),
        };
        let encoded = self.encoded.get(&sample.turns, &key, encode).map_err(|error| refused(error.to_string()))?;
        self.checked(PreparedSample { id: sample.id.clone(), encoded, images, media, origin: Origin::of(sample) })
    }

    /// A frame of a video, for a model that takes videos.
    fn frame(&self, frame: &Picture, draw: Option<u64>) -> Result<PreparedImage, SkipReason> {
        if let Some(bank) = &self.bank
            && let Some(row) = bank.find(frame.key()?, draw)
        {
            return Ok(PreparedImage::Features(Features { bank: bank.clone(), row }));
        }
        self.processor.process_frame(frame).map(PreparedImage::Pixels)
    }

    /// The sample, if it can be trained on.
    fn checked(&self, sample: PreparedSample) -> Result<PreparedSample, SkipReason> {
        let PreparedSample { encoded, images, .. } = &sample;
        // The first position predicts nothing, so its label is no target.
        if encoded.labels.iter().skip(1).all(|label| *label == IGNORE) {
            let cut = match encoded.truncated {
                0 => String::new(),
                cut => format!(": {cut} were cut from its end to reach max_tokens, and with them the answers"),
            };
            return Err(SkipReason::new(SkipKind::NoAnswer, format!("none of its tokens is trained{cut}")));
        }
        let (tokens, max) = (encoded.ids.len(), self.max_positions);
        if tokens > max {
            return Err(refused(format!("it has {tokens} tokens, the language model's positions end at {max}")));
        }
        let padded = encoded.ids.len().next_multiple_of(self.batching.multiple_of.max(1));
        if let Some(max) = self.batching.max_tokens.filter(|max| padded > *max) {
            let detail = format!("it has {padded} tokens, a micro-batch may have {max} (batching.max_tokens)");
            return Err(refused(detail));
        }
        if let Some(max) = self.batching.max_images.filter(|max| images.len() > *max) {
            let detail = format!(
                "it has {} pictures and frames of videos, a micro-batch may have {max} (batching.max_images)",
                images.len()
            );
            return Err(refused(detail));
        }
        Ok(sample)
    }

    /// A picture among `among` of its sample.
    fn image(&self, picture: &Picture, among: usize, draw: Option<u64>) -> Result<PreparedImage, SkipReason> {
        let held;
        let picture = match (&self.bank, picture) {
            // Its content is its key: a file is read once for the key and the pixels.
            (Some(_), Picture::File { .. }) => {
                held = Picture::Encoded { name: picture.name(), bytes: picture.read()? };
                &held
            }
            _ => picture,
        };
        if let Some(bank) = &self.bank
            && let Some(row) = bank.find(picture.key()?, draw)
        {
            return Ok(PreparedImage::Features(Features { bank: bank.clone(), row }));
        }
        let augment = draw.filter(|_| self.augment);
        let pixels = pixels(&self.processor, picture, among, augment)?;
        // Pixels and features do not go into one batch.
        if self.bank.as_ref().is_some_and(|bank| bank.serves(draw)) {
            let detail =
                format!("{} could not be read when features were computed, or has changed since", picture.name());
            return Err(SkipReason::new(SkipKind::UnreadableImage, detail));
        }
        Ok(PreparedImage::Pixels(pixels))
    }

    fn num_image_tokens(&self, image: &PreparedImage) -> usize {
        match image {
            PreparedImage::Pixels(image) => self.processor.num_image_tokens(image),
            // As many as there are of features, where pictures have grids of their own.
            PreparedImage::Features(features) if features.is_padded() => features.tokens(),
            // Features are kept of pictures of one view only.
            PreparedImage::Features(_) => self.processor.visual_tokens().map_or(0, |tokens| tokens.view),
        }
    }
}

fn refused(detail: String) -> SkipReason {
    SkipReason::new(SkipKind::NotEncodable, detail)
}

/// A picture's pixels as the processor makes them, one of `among` of a conversation; augmented by a seed, or as it is.
///
/// # Errors
/// A picture that cannot be read, decoded or processed, named.
pub fn pixels(
    processor: &Processor,
    picture: &Picture,
    among: usize,
    augment: Option<u64>,
) -> Result<ProcessedImage, SkipReason> {
    let Some(seed) = augment else { return processor.process_picture(picture, among) };
    let name = picture.name();
    let image = match picture {
        Picture::Drawn(drawn) => drawn.draw()?,
        other => processor.decode(&name, &other.read()?)?,
    };
    let image = Augmentation::default().apply(&image, seed);
    if picture.is_frame() {
        return processor.process_rgb_frame(image).map_err(|error| error.of(&name).into());
    }
    processor.process_image(PictureInput::Rgb(&image), among).map_err(|error| error.of(&name).into())
}

/// Tokens that are kept at most, 12 bytes each: 48 MB beside the conversations themselves.
const MOST_TOKENS: usize = 4 << 20;

/// Conversations that were encoded before: small data is drawn again and again, and writing a template costs more than a step's share.
/// When there are too many, what is new is encoded anew each time.
#[derive(Default)]
struct EncodedCache {
    hasher: RandomState,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    by_hash: HashMap<u64, Vec<Entry>>,
    tokens: usize,
}

struct Entry {
    turns: Box<[Turn]>,
    counts: Box<[usize]>,
    encoded: Arc<Encoded>,
}

impl EncodedCache {
    /// The encoding of these turns with so many visual tokens for each picture: as it is known, or as `encode` makes it.
    ///
    /// # Errors
    /// What `encode` fails with.
    fn get<E>(
        &self,
        turns: &[Turn],
        counts: &[usize],
        encode: impl FnOnce() -> Result<Encoded, E>,
    ) -> Result<Arc<Encoded>, E> {
        let hash = self.hasher.hash_one((turns, counts));
        {
            // A poisoned lock guards a table that is whole: it is changed by single calls.
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let found = known.by_hash.get(&hash).into_iter().flatten();
            if let Some(entry) = found.into_iter().find(|entry| *entry.turns == *turns && *entry.counts == *counts) {
                return Ok(entry.encoded.clone());
            }
        }
        let encoded = Arc::new(encode()?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.tokens + encoded.ids.len() <= MOST_TOKENS {
            known.tokens += encoded.ids.len();
            let entry = Entry { turns: turns.into(), counts: counts.into(), encoded: encoded.clone() };
            known.by_hash.entry(hash).or_default().push(entry);
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conversation_is_encoded_once() {
        let cache = EncodedCache::default();
        let turns = |text: &str| vec![Turn::user(text), Turn::assistant("b")];
        let get = |text: &str, count: usize| {
            let made = || Ok::<_, ()>(Encoded { ids: vec![text.len() as u32, count as u32], ..Default::default() });
            cache.get(&turns(text), &[count], made).unwrap()
        };
        let first = get("a", 1);
        assert!(Arc::ptr_eq(&first, &get("a", 1)));
        assert_eq!(get("a", 2).ids, [1, 2]);
        assert_eq!(get("aa", 1).ids, [2, 1]);
        assert!(cache.get(&turns("c"), &[], || Err::<Encoded, _>("no")).is_err());
    }
}
