//! The model that is asked: prompts, pictures and their features behind every benchmark.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::language::AttentionInput;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmInput};
use burn_vlm_data::collate::TextBatch;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Turn};
use burn_vlm_data::encode::{EncodeOptions, Encoded, VisualCounts};
use burn_vlm_data::image::ProcessedImage;
use burn_vlm_data::prepare::{FeatureBank, PreparedImage, ShownMedia, ShownMedium, Visual};
use burn_vlm_data::processor::{Processor, VisualTokens};
use burn_vlm_data::sample::{Media, MediaKey, Picture, Video, pictures, placeholders_of};
use rayon::prelude::*;

use super::{BenchmarkError, Question};
use crate::error::{Result, TrainError};
use crate::objective::{int_tensor, routing_text, visual_features};

/// Pictures of one pass through the tower.
const TOWER_BATCH: usize = 32;
/// Tiles and frames of one pass through the tower of a model that takes videos.
const FRAMES_AT_A_TIME: usize = 8;

/// Values of features that an evaluation keeps of pictures which are in no bank: 256 MiB. Rows are asked picture by picture.
const KEPT_VALUES: usize = 1 << 26;

/// A model ready to be asked: without autodiff, with the processor that it was trained with.
pub struct Scorer<T: VisionTower = VisionEncoder, P: Projector = Connector> {
    /// The model, without autodiff.
    pub model: Vlm<T, P>,
    /// Device of the model.
    pub device: Device,
    /// Tokenizer, template and image processor.
    pub processor: Arc<Processor>,
    /// Features of pictures that were computed before, as they are.
    pub bank: Option<Arc<FeatureBank>>,
    /// Rows of one forward pass.
    pub batch: usize,
    /// Bytes of keys and values that answers may take while they are written; `None` is what `batch` rows need.
    pub cache_memory: Option<usize>,
}

/// A picture or a video with its key, as a question shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub(super) key: MediaKey,
    /// The picture; of a video its frames.
    pub(super) pictures: Vec<Picture>,
    pub(super) is_video: bool,
    /// The question that shows it, for errors; of what several show, one of them.
    pub(super) of: Option<Arc<str>>,
}

impl Shown {
    /// Reads the picture for its key.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn new(picture: &Picture) -> Result<Self> {
        let key = picture.key().map_err(TrainError::within(picture.name()))?;
        Ok(Self { key, pictures: vec![picture.clone()], is_video: false, of: None })
    }

    /// A video of these frames, for a model that takes videos.
    ///
    /// # Errors
    /// No frames, one that cannot be read.
    pub fn video(frames: &[Picture]) -> Result<Self> {
        if frames.is_empty() {
            return Err(TrainError::Data("a video without frames".into()));
        }
        let mut keys = Vec::with_capacity(frames.len() * size_of::<MediaKey>());
        for frame in frames {
            keys.extend(frame.key().map_err(TrainError::within(frame.name()))?.0);
        }
        Ok(Self { key: MediaKey::of(&keys), pictures: frames.to_vec(), is_video: true, of: None })
    }

    /// What errors call one of its pictures: behind the question that shows it.
    fn within(&self, picture: &Picture) -> String {
        match &self.of {
            Some(question) => format!("{question}: {}", picture.name()),
            None => picture.name(),
        }
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        self.pictures.first().map(Picture::name).unwrap_or_default()
    }
}

/// One conversation whose answer is scored.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The pictures, in the order of their placeholders.
    pub(super) shown: Vec<Shown>,
    /// The conversation, the answer last.
    pub(super) turns: Vec<Turn>,
    /// Every token of the text counts, not the answer's alone.
    pub(super) whole: bool,
}

/// Features of pictures that are in no bank, those used last.
#[derive(Default)]
pub struct Kept {
    /// Features, and how many of their tokens are no padding.
    values: HashMap<MediaKey, (Vec<f32>, usize)>,
    order: VecDeque<MediaKey>,
    total: usize,
}

impl Kept {
    fn keep(&mut self, key: MediaKey, values: Vec<f32>, tokens: usize) {
        self.total += values.len();
        self.values.insert(key, (values, tokens));
        self.order.push_back(key);
    }

    /// Drops the oldest, but for the last `needed`.
    fn shrink(&mut self, needed: usize) {
        while self.total > KEPT_VALUES && self.order.len() > needed {
            let Some(oldest) = self.order.pop_front() else { return };
            self.total -= self.values.remove(&oldest).map_or(0, |(values, _)| values.len());
        }
    }
}

/// Visual tokens of pictures by what is shown together.
pub(super) type Counts = BTreeMap<Vec<MediaKey>, Vec<usize>>;

pub(super) fn keys(shown: &[Shown]) -> Vec<MediaKey> {
    shown.iter().map(|one| one.key).collect()
}

impl<T: VisionTower, P: Projector> Scorer<T, P> {
    /// Takes a model out of training.
    pub fn new(
        model: &Vlm<T, P>,
        device: &Device,
        processor: Arc<Processor>,
        bank: Option<Arc<FeatureBank>>,
        batch: usize,
    ) -> Self {
        let mut model = model.valid();
        if model.config.takes_videos() {
            // The frames of a batch are many, and the tower's passes over them need not be one.
            model.images_per_chunk = model.images_per_chunk.or(Some(FRAMES_AT_A_TIME));
        }
        Self { model, device: device.clone().inner(), processor, bank, batch, cache_memory: None }
    }

    /// The same with a bound on the keys and values of answers that are being written, in bytes: fewer rows are written at a time where
    /// it is tight.
    pub fn with_cache_memory(mut self, bytes: Option<usize>) -> Self {
        self.cache_memory = bytes;
        self
    }

    /// The id that fills short rows.
    pub fn pad_id(&self) -> u32 {
        self.processor.tokenizer().pad_id().unwrap_or(0)
    }

    /// Ids and labels of a conversation whose pictures have so many visual tokens.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    pub(super) fn encode(&self, turns: &[Turn], counts: &[usize]) -> Result<Encoded> {
        let scope = self.model.multi_modal_projector.text_scope();
        let user_turns = scope.is_some_and(|scope| scope.needs_user_turns());
        let options = EncodeOptions { user_turns, ..EncodeOptions::default() };
        let (images, videos) = by_kind(turns, counts);
        Ok(self.processor.encode_media(turns, VisualCounts { images: &images, videos: &videos }, &options)?)
    }

    /// A question as the model can be shown it: one that takes no videos is shown their frames as so many pictures.
    pub(super) fn suited<'q>(&self, question: &'q Question) -> Cow<'q, Question> {
        match self.processor.video_token_id() {
            Some(_) => Cow::Borrowed(question),
            None => question.with_frames_as_pictures(),
        }
    }

    /// The ids that stand for visual tokens.
    pub(super) fn visual_ids(&self) -> Vec<u32> {
        let ids = [self.processor.image_token_id(), self.processor.video_token_id()];
        ids.into_iter().flatten().collect()
    }

    /// The ids of a conversation up to where the answer begins, with these pictures shown.
    ///
    /// # Errors
    /// A conversation that the template refuses, a picture that cannot be processed.
    pub fn prompt(&self, turns: &[Turn], shown: &[Shown]) -> Result<Vec<u32>> {
        let counts = self.counts([shown].into_iter())?;
        self.encode_prompt(turns, &counts[&keys(shown)])
    }

    /// The same of pictures and videos that have so many visual tokens, in the order of their placeholders.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    pub(super) fn encode_prompt(&self, turns: &[Turn], counts: &[usize]) -> Result<Vec<u32>> {
        let (images, videos) = by_kind(turns, counts);
        Ok(self.processor.encode_media_prompt(turns, VisualCounts { images: &images, videos: &videos })?)
    }

    /// The visual tokens of a question's pictures.
    ///
    /// # Errors
    /// A picture that cannot be read or processed.
    pub fn visual_tokens(&self, media: &[Media]) -> Result<usize> {
        let takes_videos = self.processor.video_token_id().is_some();
        let one = |medium: &Media| match medium {
            Media::Video(video) if takes_videos => Ok(vec![Shown::video(video.frames())?]),
            other => pictures(std::slice::from_ref(other)).map(Shown::new).collect(),
        };
        let shown: Vec<Shown> = media.iter().map(one).collect::<Result<Vec<_>>>()?.concat();
        let counts = self.counts([shown.as_slice()].into_iter())?;
        Ok(counts.values().flatten().sum())
    }

    pub(super) fn is_tiled(&self) -> bool {
        self.processor.visual_tokens().is_some_and(|tokens| tokens.tiling.is_some())
    }

    /// The pictures of one conversation, processed together, and the frames of its videos.
    fn process(&self, shown: &[Shown]) -> Result<Vec<ProcessedImage>> {
        let among = shown.iter().filter(|one| !one.is_video).count();
        let one = |(picture, shown): (&Picture, &Shown)| {
            let made = match shown.is_video {
                true => self.processor.process_frame(picture),
                false => self.processor.process_picture(picture, among),
            };
            made.map_err(TrainError::within(shown.within(picture)))
        };
        let all = shown.iter().flat_map(|one| one.pictures.iter().map(move |picture| (picture, one)));
        all.map(one).collect()
    }

    /// Visual tokens of each of the pictures and videos of one conversation.
    fn counted(&self, shown: &[Shown]) -> Result<Vec<usize>> {
        let among = shown.iter().filter(|one| !one.is_video).count();
        let one = |one: &Shown| match one.pictures.as_slice() {
            frames if one.is_video => Ok(self.processor.num_video_tokens(frames.len())),
            [picture] => {
                let made = self.processor.process_picture(picture, among);
                Ok(self.processor.num_image_tokens(&made.map_err(TrainError::within(one.within(picture)))?))
            }
            _ => Ok(0),
        };
        shown.iter().map(one).collect()
    }

    /// Visual tokens of everything that is shown. Only where pictures differ in them, they have to be looked at.
    pub(super) fn counts<'s>(&self, shown: impl Iterator<Item = &'s [Shown]>) -> Result<Counts> {
        let together: BTreeMap<Vec<MediaKey>, &[Shown]> = shown.map(|shown| (keys(shown), shown)).collect();
        let view = self.processor.visual_tokens().map_or(0, |tokens| tokens.view);
        let vary = self.processor.visual_tokens().is_some_and(VisualTokens::vary);
        // A bank of pictures with grids of their own knows them.
        let bank = self.bank.as_ref().filter(|bank| bank.counts().is_some());
        let banked = |one: &Shown| bank.and_then(|bank| Some(bank.tokens(bank.find(one.key, None)?)));
        let count = |(keys, shown): (Vec<MediaKey>, &[Shown])| {
            let counts = match vary {
                false => vec![view; shown.len()],
                true if shown.iter().all(|one| banked(one).is_some()) => shown.iter().filter_map(banked).collect(),
                true => self.counted(shown)?,
            };
            Ok((keys, counts))
        };
        together.into_par_iter().map(count).collect()
    }

    /// Positions that hold the image token or the video token.
    fn image_positions(&self, text: &TextBatch) -> Vec<i64> {
        let visual: Vec<i64> = self.visual_ids().into_iter().map(i64::from).collect();
        (0i64..).zip(&text.ids).filter(|(_, id)| visual.contains(id)).map(|(position, _)| position).collect()
    }

    /// A padded batch with the pictures of its rows as the model's input; the answers route nothing.
    ///
    /// # Errors
    /// A picture that cannot be shown, a connector that reads text the batch does not know.
    pub fn input(&self, text: &TextBatch, shown: &[&[Shown]], kept: &mut Kept) -> Result<VlmInput> {
        let routing = routing_text(&self.model.multi_modal_projector, text, &self.device)?;
        self.input_routed(text, shown, kept, routing)
    }

    /// As [`Self::input`], with the words that route given.
    ///
    /// # Errors
    /// A picture that cannot be shown.
    pub fn input_routed(
        &self,
        text: &TextBatch,
        shown: &[&[Shown]],
        kept: &mut Kept,
        routing_text: Option<Tensor<2, Bool>>,
    ) -> Result<VlmInput> {
        let shape = [text.batch, text.tokens];
        let positions = self.image_positions(text);
        let VisualFeatures { features, packing, tokens } = self.features_of(shown, kept)?;
        Ok(VlmInput {
            ids: Tensor::<2, Int>::from_data(TensorData::new(text.ids.clone(), shape), &self.device),
            features,
            packing,
            tokens,
            image_positions: (!positions.is_empty()).then(|| int_tensor(&positions, &self.device)),
            routing_text,
            noise_seed: None,
            attention: AttentionInput::contiguous(),
        })
    }

    /// Features of pictures and videos, of a model that takes both.
    fn media_features(&self, shown: &[&[Shown]], images: Vec<Vec<ProcessedImage>>) -> Result<VisualFeatures> {
        let images: Vec<PreparedImage> = images.into_iter().flatten().map(PreparedImage::Pixels).collect();
        let mut views = images.iter();
        let mut media = Vec::new();
        for one in shown.iter().copied().flatten() {
            let own: Vec<&PreparedImage> = views.by_ref().take(one.pictures.len()).collect();
            media.push(match own.as_slice() {
                _ if one.is_video => ShownMedium::Video { frames: one.pictures.len() },
                [PreparedImage::Pixels(image)] => ShownMedium::picture(image),
                _ => return Err(TrainError::Data(format!("{}: no pixels", one.name()))),
            });
        }
        visual_features(Visual::of_media(ShownMedia::of(&images, media)), &self.model, &self.device)
    }

    /// Features of pictures, those of a conversation together: from the bank where it has them, else the tower's.
    ///
    /// # Errors
    /// A picture that cannot be shown.
    pub fn features_of(&self, shown: &[&[Shown]], kept: &mut Kept) -> Result<VisualFeatures> {
        if shown.iter().all(|shown| shown.is_empty()) {
            return Ok(VisualFeatures::default());
        }
        if self.is_tiled() {
            let images: Vec<Vec<ProcessedImage>> =
                shown.par_iter().map(|shown| self.process(shown)).collect::<Result<_>>()?;
            if self.model.config.takes_videos() {
                return self.media_features(shown, images);
            }
            return visual_features(Visual::of_processed(images.iter().flatten(), true), &self.model, &self.device);
        }
        let all: Vec<&Shown> = shown.iter().copied().flatten().collect();
        let banked = |key: MediaKey| {
            let bank = self.bank.as_ref()?;
            let row = bank.find(key, None)?;
            Some((bank.row(row), bank.tokens(row)))
        };
        let mut missing: Vec<&Shown> = Vec::new();
        for one in &all {
            let known = banked(one.key).is_some() || kept.values.contains_key(&one.key);
            if !known && !missing.iter().any(|other| other.key == one.key) {
                missing.push(one);
            }
        }
        for chunk in missing.chunks(TOWER_BATCH) {
            let images: Vec<Vec<ProcessedImage>> =
                chunk.par_iter().map(|one| self.process(std::slice::from_ref(*one))).collect::<Result<_>>()?;
            let made =
                visual_features(Visual::of_processed(images.iter().flatten(), false), &self.model, &self.device)?;
            let Some(features) = made.features else { continue };
            let [_, tokens, width] = features.dims();
            let real: Vec<usize> =
                made.packing.map_or_else(|| vec![tokens; chunk.len()], |packing| packing.image_tokens().to_vec());
            let values: Vec<f32> = features.into_data().iter::<f32>().collect();
            for ((one, values), real) in chunk.iter().zip(values.chunks(tokens * width)).zip(real) {
                kept.keep(one.key, values.to_vec(), real);
            }
        }
        let (mut values, mut counts) = (Vec::new(), Vec::with_capacity(all.len()));
        for one in &all {
            let known = kept.values.get(&one.key).map(|(values, tokens)| (values.as_slice(), *tokens));
            let Some((features, tokens)) = banked(one.key).or(known) else {
                return Err(TrainError::Data(format!("{}: no features", one.name())));
            };
            values.extend_from_slice(features);
            counts.push(tokens);
        }
        kept.shrink(all.len());
        let width = self.model.config.feature_width();
        let shape = [values.len() / (all.len() * width).max(1), width];
        let counts = self.model.config.is_flexible().then_some(counts);
        visual_features(Visual::Features { values, shape, counts }, &self.model, &self.device)
    }
}

/// Counts in the order of the placeholders, apart: those of pictures, those of videos.
fn by_kind(turns: &[Turn], counts: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let places = turns.iter().flat_map(|turn| placeholders_of(&turn.text));
    // What has no placeholder is told by the encoder as a picture that is not placed.
    let places = places.chain(std::iter::repeat(IMAGE_PLACEHOLDER));
    let (images, videos): (Vec<_>, Vec<_>) =
        counts.iter().copied().zip(places).partition(|(_, place)| *place == IMAGE_PLACEHOLDER);
    let count = |(count, _): (usize, &str)| count;
    (images.into_iter().map(count).collect(), videos.into_iter().map(count).collect())
}

/// The pictures and videos of a question.
///
/// # Errors
/// A video whose frames are not chosen; a picture that cannot be read.
pub(super) fn shown(benchmark: &str, question: &Question) -> Result<Vec<Shown>> {
    let one = |medium: &Media| match medium {
        Media::Image(picture) => Shown::new(picture),
        Media::Video(Video::Frames(frames)) => Shown::video(frames),
        Media::Video(Video::Clip(clip)) => {
            let message = format!("{}: no rule chooses the frames of {}", question.id, clip.name());
            Err(BenchmarkError::Setting { name: benchmark.to_owned(), message }.into())
        }
    };
    let of: Arc<str> = question.id.as_str().into();
    let told = |shown: Shown| Shown { of: Some(of.clone()), ..shown };
    question.media.iter().map(|medium| one(medium).map(told)).collect()
}
