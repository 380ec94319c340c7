//! A conversation: its turns, its pictures, and the cache of what the model has read.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::generate::{Decoding, GenerationConfig};
use burn_vlm::language::KvCache;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{Medium, Packing, VisualFeatures, Vlm, VlmInput};
use burn_vlm_data::constrain::Form;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn, VIDEO_PLACEHOLDER};
use burn_vlm_data::encode::VisualCounts;
use burn_vlm_data::image::{ImageError, ProcessedImage, RgbImage};
use burn_vlm_data::prepare::Visual;
use burn_vlm_data::processor::PictureInput;
use burn_vlm_data::sample::{Media, Picture, Video, pictures};
use burn_vlm_data::source::SkipReason;
use burn_vlm_data::text_stream::TextStream;
use burn_vlm_data::video::{Clip, Clips, VideoRecord};

use super::form::rule;
use super::model::size;
use super::{Answer, ChatModel};
use crate::error::{Result, TrainError};
use crate::objective::visual_features;

/// Frames that go through the tower at once: more would cost memory and save no time.
const FRAMES_AT_A_TIME: usize = 8;

/// A picture or a video of the conversation, encoded once.
pub(super) struct Seen {
    /// `[views, tokens, d_vision]`
    pub(super) features: Tensor<3>,
    /// What it is, with its views.
    medium: Medium,
    /// Its tokens in the ids.
    tokens: usize,
}

impl Seen {
    /// Encodes a processed picture. Where it is tiles they are not yet put together: all pictures of a conversation are, at once.
    pub(super) fn picture<T: VisionTower, P: Projector>(
        chat: &ChatModel<T, P>,
        image: &ProcessedImage,
    ) -> Result<Self> {
        let tokens = chat.processor.num_image_tokens(image);
        let medium = Medium::Picture { tiles: image.tiles, size: size(image) };
        let seen = visual_features(Visual::of_processed([image], false), chat.vlm()?, &chat.device)?;
        let features = seen.features.ok_or(ImageError::NoProcessor)?;
        Ok(Self { features, medium, tokens })
    }

    /// Encodes the processed frames of a video, some at a time: no more are made at once.
    pub(super) fn video<T: VisionTower, P: Projector, I: Borrow<ProcessedImage>>(
        chat: &ChatModel<T, P>,
        frames: impl IntoIterator<Item = Result<I>>,
    ) -> Result<Self> {
        let mut left = frames.into_iter();
        let (mut features, mut frames) = (Vec::new(), 0);
        loop {
            let chunk = left.by_ref().take(FRAMES_AT_A_TIME).collect::<Result<Vec<I>>>()?;
            if chunk.is_empty() {
                break;
            }
            frames += chunk.len();
            let visual = Visual::of_processed(chunk.iter().map(Borrow::borrow), false);
            features.extend(visual_features(visual, chat.vlm()?, &chat.device)?.features);
        }
        let tokens = chat.processor.num_video_tokens(frames);
        Ok(Self { features: Tensor::cat(features, 0), medium: Medium::Video { frames }, tokens })
    }

    /// The features of all that a conversation shows.
    pub(super) fn together<T: VisionTower, P: Projector>(model: &Vlm<T, P>, all: &[&Self]) -> Result<VisualFeatures> {
        if all.is_empty() {
            return Ok(VisualFeatures::default());
        }
        let features = Tensor::cat(all.iter().map(|seen| seen.features.clone()).collect(), 0);
        let config = &model.config;
        let packing = if config.is_flexible() {
            let counts: Vec<usize> = all.iter().map(|seen| seen.tokens).collect();
            Some(Packing::of_padded(&counts, features.dims()[1])?)
        } else if config.is_tiled() {
            Some(config.pack(&all.iter().map(|seen| seen.medium).collect::<Vec<_>>())?)
        } else {
            None
        };
        Ok(VisualFeatures { features: Some(features), packing, tokens: None })
    }

    fn is_video(&self) -> bool {
        matches!(self.medium, Medium::Video { .. })
    }
}

/// A conversation with a model.
pub struct ChatSession<'a, T: VisionTower = VisionEncoder, P: Projector = Connector> {
    pub(super) chat: &'a ChatModel<T, P>,
    /// How the next answers are generated; the model's own settings at first.
    pub generation: GenerationConfig,
    /// What the next answers are kept to ([`ChatModel::form`]).
    pub form: Option<Arc<Form>>,
    turns: Vec<Turn>,
    images: Vec<Seen>,
    /// Placeholders of what was shown since the last question.
    waiting: Vec<&'static str>,
    /// The first picture, kept while it stands alone if it looks otherwise among several.
    alone: Option<RgbImage>,
    /// Time that the pictures shown since the last question took.
    preparing: Duration,
    /// What the model has read, and the ids of it.
    cache: Option<KvCache>,
    cached: Vec<u32>,
}

impl<'a, T: VisionTower, P: Projector> ChatSession<'a, T, P> {
    pub(super) fn new(chat: &'a ChatModel<T, P>) -> Self {
        let generation = chat.generation.clone();
        Self {
            chat,
            generation,
            form: None,
            turns: Vec::new(),
            images: Vec::new(),
            waiting: Vec::new(),
            alone: None,
            preparing: Duration::ZERO,
            cache: None,
            cached: Vec::new(),
        }
    }

    /// Begins with instructions; before the first question.
    pub fn set_system(&mut self, text: &str) {
        self.turns.retain(|turn| turn.role != Role::System);
        self.turns.insert(0, Turn::system(text));
    }

    /// The turns so far.
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Pictures and videos of the conversation, those of the next question included; a video that is shown as pictures is so many.
    pub fn num_images(&self) -> usize {
        self.images.len()
    }

    /// Shows a picture (the bytes of a file) with the next question. Returns its number of visual tokens.
    ///
    /// # Errors
    /// Bytes that are no picture, a picture that the model does not take; `name` says which.
    pub fn add_image(&mut self, name: &str, bytes: &[u8]) -> Result<usize> {
        let begin = Instant::now();
        self.chat.vlm()?;
        let processor = self.chat.processor.image_processor().ok_or(ImageError::NoProcessor)?;
        let image = processor.decode(name, bytes)?;
        self.preparing += begin.elapsed();
        self.add_rgb_image(&image).map_err(TrainError::within(format!("picture {name}")))
    }

    /// As [`Self::add_image`], for a picture that is decoded already.
    ///
    /// # Errors
    /// A picture that the model does not take.
    pub fn add_rgb_image(&mut self, image: &RgbImage) -> Result<usize> {
        let begin = Instant::now();
        let seen = self.see(image, self.num_pictures() + 1)?;
        let tokens = self.add_picture(seen, Some(image))?;
        self.preparing += begin.elapsed();
        Ok(tokens)
    }

    /// Pictures of the conversation, frames that are shown as pictures among them.
    fn num_pictures(&self) -> usize {
        self.images.iter().filter(|seen| !seen.is_video()).count()
    }

    /// Takes in a picture, or a frame that is shown as one, which looks the same alone and among several. Returns its number of tokens.
    fn add_picture(&mut self, seen: Seen, image: Option<&RgbImage>) -> Result<usize> {
        let number = self.num_pictures() + 1;
        if number == 1 && self.chat.processor.several_differ() {
            self.alone = image.cloned();
        } else if let Some(first) = &self.alone {
            // Now it is one of several, and what was read of it is another picture's.
            let first = self.see(first, number)?;
            if let Some(place) = self.images.iter_mut().find(|seen| !seen.is_video()) {
                *place = first;
            }
            self.alone = None;
            self.cache = None;
            self.cached.clear();
        }
        let tokens = seen.tokens;
        self.images.push(seen);
        self.waiting.push(IMAGE_PLACEHOLDER);
        Ok(tokens)
    }

    /// Shows a video with the next question: to a model that takes videos as one, to another as so many pictures. `clips` chooses its
    /// frames ([`ChatModel::clips`]). Returns its number of visual tokens, and which frames are shown.
    ///
    /// # Errors
    /// A video that cannot be read, frames that the model does not take, more than it reads: this is told before they are decoded.
    pub fn add_video(&mut self, clip: &Clip, clips: &Arc<Clips>) -> Result<(usize, Arc<VideoRecord>)> {
        let begin = Instant::now();
        let chat = self.chat;
        chat.vlm()?;
        let processor = &chat.processor;
        let unreadable = |reason: SkipReason| TrainError::Data(reason.detail);
        self.check_room(&clip.name(), clips.count(clip).map_err(unreadable)?)?;
        let media = [Media::Video(Video::Clip(clip.clone()))];
        let shown = clips.show(&media, true).map_err(unreadable)?.into_owned();
        let record = clips.record(clip).map_err(unreadable)?;
        let frames: Vec<&Picture> = pictures(&shown).collect();
        if processor.video_processor().is_none() {
            self.preparing += begin.elapsed();
            let mut tokens = 0;
            for frame in frames {
                let begin = Instant::now();
                let image = processor.process_frame(frame).map_err(unreadable)?;
                let seen = Seen::picture(chat, &image).map_err(TrainError::within(frame.name()))?;
                tokens += self.add_picture(seen, None)?;
                self.preparing += begin.elapsed();
            }
            return Ok((tokens, record));
        }
        let seen =
            Seen::video(self.chat, frames.iter().map(|frame| processor.process_frame(frame).map_err(unreadable)))?;
        let tokens = seen.tokens;
        self.images.push(seen);
        self.waiting.push(VIDEO_PLACEHOLDER);
        self.preparing += begin.elapsed();
        Ok((tokens, record))
    }

    /// An error where so many frames of a video are more than the model reads beside what is shown already.
    fn check_room(&self, video: &str, frames: usize) -> Result<()> {
        let Some(tokens) = self.chat.num_video_tokens(frames) else { return Ok(()) };
        let shown: usize = self.images.iter().map(|seen| seen.tokens).sum();
        let room = self.chat.model.language_model().config().max_position_embeddings();
        if shown + tokens < room {
            return Ok(());
        }
        let beside = if shown > 0 { format!(" beside the {shown} of what was shown before") } else { String::new() };
        Err(TrainError::Data(format!(
            "video {video}: {frames} frames are {tokens} visual tokens{beside}, and the model reads {room} in all \
             (max_position_embeddings): show fewer frames (--frames){}",
            if shown > 0 { ", or begin a new conversation (/new)" } else { "" }
        )))
    }

    /// Processes and encodes a picture that is one of `among`.
    fn see(&self, image: &RgbImage, among: usize) -> Result<Seen> {
        self.chat.vlm()?;
        Seen::picture(self.chat, &self.chat.processor.process_image(PictureInput::Rgb(image), among)?)
    }

    /// Asks, with the pictures added since the last question, and gives the answer as an iterator over its text.
    ///
    /// # Errors
    /// A conversation that template or model refuse, one that is too long for the model among them, and a question with the
    /// mark of a picture in it; the question is then forgotten, its pictures are not.
    pub fn ask(&mut self, question: &str) -> Result<Answer<'_, 'a, T, P>> {
        let begin = Instant::now();
        if let Some((mark, what)) = self.chat.mark_in(question) {
            let message = format!("the question contains `{mark}`, which stands for a {what}: leave it out");
            return Err(TrainError::Data(message));
        }
        let shown: String = self.waiting.iter().map(|placeholder| format!("{placeholder}\n")).collect();
        self.turns.push(Turn::user(shown + question));
        match self.begin() {
            Ok((decoding, prompt, reused)) => {
                self.waiting.clear();
                let stream = TextStream::new(self.chat.processor.tokenizer(), &self.chat.stop_strings);
                let stream = if self.form.is_some() { stream.trimmed() } else { stream };
                let prepared = std::mem::take(&mut self.preparing) + begin.elapsed();
                Ok(Answer::new(self, decoding, stream, (prompt, reused), prepared))
            }
            Err(error) => {
                self.turns.pop();
                Err(error)
            }
        }
    }

    /// Puts words and pictures together, and finds how much of it the cache holds; the decoder has run nothing yet.
    fn begin(&mut self) -> Result<(Decoding<'a>, Vec<u32>, usize)> {
        let (vlm, language_model) = (self.chat.model.vlm(), self.chat.model.language_model());
        let (videos, images): (Vec<&Seen>, Vec<&Seen>) = self.images.iter().partition(|seen| seen.is_video());
        let counts = |seen: Vec<&Seen>| seen.iter().map(|seen| seen.tokens).collect::<Vec<usize>>();
        let (images, videos) = (counts(images), counts(videos));
        let prompt = self.chat.prompt(&self.turns, VisualCounts { images: &images, videos: &videos })?;
        let room = language_model.config().max_position_embeddings();
        if prompt.len() >= room {
            let visual: usize = self.images.iter().map(|seen| seen.tokens).sum();
            // A conversation that has but begun would be as long again.
            let (what, help) = match self.turns.len() {
                1 => ("question", "ask less at once"),
                _ => ("conversation", "begin a new one (/new)"),
            };
            let more = if visual > 0 { ", or show fewer pictures or frames of videos (--frames)" } else { "" };
            return Err(TrainError::Data(format!(
                "the {what} has {} tokens, {visual} of them visual, and the model reads {room} (max_position_embeddings): {help}{more}",
                prompt.len()
            )));
        }
        let generation = GenerationConfig {
            max_new_tokens: self.generation.max_new_tokens.min(room - prompt.len()),
            ..self.generation.clone()
        };
        let visual = vlm.map(|model| model.config.visual_ids()).unwrap_or_default();
        language_model.config().check_ids(std::slice::from_ref(&prompt), &visual)?;
        let ids: Vec<i64> = prompt.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, prompt.len()]), &self.chat.device);
        let embeds = match vlm {
            Some(model) => model.embed(&VlmInput::new(ids).with_features(self.features(model)?))?,
            None => language_model.embed(ids),
        };
        let mut reused = 0;
        let cache = match self.cache.take() {
            // Where the words choose the experts, a new question changes the tokens of the old pictures too.
            Some(mut cache) if !vlm.is_some_and(|model| model.multi_modal_projector.reads_text()) => {
                reused = common_prefix(&self.cached, &prompt).min(cache.len()).min(prompt.len() - 1);
                cache.truncate(reused);
                cache
            }
            _ => language_model.new_cache(1, 1, &self.chat.device),
        };
        self.cached.clear();
        let rest = embeds.narrow(1, reused, prompt.len() - reused);
        let prompts = std::slice::from_ref(&prompt);
        let decoding = Decoding::resume(language_model, cache, rest, prompts, &generation)?;
        let decoding = match &self.form {
            Some(form) => decoding.ruled(rule(form)),
            None => decoding,
        };
        Ok((decoding, prompt, reused))
    }

    /// The features of all pictures.
    pub(super) fn features(&self, model: &Vlm<T, P>) -> Result<VisualFeatures> {
        Seen::together(model, &self.images.iter().collect::<Vec<_>>())
    }

    /// Takes back what an answer leaves: its text, and the cache with the ids that it holds.
    pub(super) fn end(&mut self, text: String, cache: KvCache, read: Vec<u32>) {
        self.turns.push(Turn::assistant(text));
        self.cached = read;
        self.cached.truncate(cache.len());
        self.cache = Some(cache);
    }

    /// Forgets turns and pictures; the instructions stay.
    pub fn clear(&mut self) {
        self.turns.retain(|turn| turn.role == Role::System);
        self.images.clear();
        self.alone = None;
        self.waiting.clear();
        self.preparing = Duration::ZERO;
        self.cache = None;
        self.cached.clear();
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.chat.device
    }
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
