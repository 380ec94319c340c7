//! A conversation: its turns, its pictures, and the cache of what the model has read.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::generate::{Decoding, GenerationConfig};
use burn_vlm::language::KvCache;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{Packing, VisualFeatures, Vlm, VlmInput};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use burn_vlm_data::image::{ImageError, RgbImage};
use burn_vlm_data::prepare::Visual;
use burn_vlm_data::processor::PictureInput;
use burn_vlm_data::text_stream::TextStream;

use super::model::size;
use super::{Answer, ChatModel};
use crate::error::{Result, TrainError};
use crate::objective::visual_features;

/// A picture of the conversation, encoded once.
struct Seen {
    /// `[tiles, tokens, d_vision]`
    features: Tensor<3>,
    tiles: usize,
    /// (height, width) before processing.
    size: (usize, usize),
    /// Its image tokens in the ids.
    tokens: usize,
}

/// A conversation with a model.
pub struct ChatSession<'a, T: VisionTower = VisionEncoder, P: Projector = Connector> {
    pub(super) chat: &'a ChatModel<T, P>,
    /// How the next answers are generated; the model's own settings at first.
    pub generation: GenerationConfig,
    turns: Vec<Turn>,
    images: Vec<Seen>,
    /// Pictures shown since the last question.
    waiting: usize,
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
            turns: Vec::new(),
            images: Vec::new(),
            waiting: 0,
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

    /// Pictures of the conversation, those of the next question included.
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
        let number = self.images.len() + 1;
        let seen = self.see(image, number)?;
        if number == 1 && self.chat.processor.several_differ() {
            self.alone = Some(image.clone());
        } else if let Some(first) = &self.alone {
            // Now it is one of several, and what was read of it is another picture's.
            let first = self.see(first, number)?;
            self.images[0] = first;
            self.alone = None;
            self.cache = None;
            self.cached.clear();
        }
        let tokens = seen.tokens;
        self.images.push(seen);
        self.waiting += 1;
        self.preparing += begin.elapsed();
        Ok(tokens)
    }

    /// Processes and encodes a picture that is one of `among`.
    fn see(&self, image: &RgbImage, among: usize) -> Result<Seen> {
        let (model, processor) = (self.chat.vlm()?, &self.chat.processor);
        let image = processor.process_image(PictureInput::Rgb(image), among)?;
        let tokens = processor.num_image_tokens(&image);
        let (tiles, size) = (image.tiles, size(&image));
        // Not yet put together where they are tiles: all pictures of the conversation are, at once.
        let seen = visual_features(Visual::of_processed([&image], false), model, &self.chat.device)?;
        let features = seen.features.ok_or(ImageError::NoProcessor)?;
        Ok(Seen { features, tiles, size, tokens })
    }

    /// Asks, with the pictures added since the last question, and gives the answer as an iterator over its text.
    ///
    /// # Errors
    /// A conversation that template or model refuse, one that is too long for the model among them, and a question with the
    /// mark of a picture in it; the question is then forgotten, its pictures are not.
    pub fn ask(&mut self, question: &str) -> Result<Answer<'_, 'a, T, P>> {
        let begin = Instant::now();
        for mark in [IMAGE_PLACEHOLDER, self.chat.processor.image_token()] {
            if !mark.is_empty() && question.contains(mark) {
                let message = format!("the question contains `{mark}`, which stands for a picture: leave it out");
                return Err(TrainError::Data(message));
            }
        }
        let pictures = IMAGE_PLACEHOLDER.to_string() + "\n";
        self.turns.push(Turn::user(pictures.repeat(self.waiting) + question));
        match self.begin() {
            Ok((decoding, prompt, reused)) => {
                self.waiting = 0;
                let stream = TextStream::new(self.chat.processor.tokenizer(), &self.chat.stop_strings);
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
        let counts: Vec<usize> = self.images.iter().map(|image| image.tokens).collect();
        let prompt = self.chat.prompt(&self.turns, &counts)?;
        let room = language_model.config().max_position_embeddings();
        if prompt.len() >= room {
            return Err(TrainError::Data(format!(
                "the conversation has {} tokens, the model reads {room} (max_position_embeddings): begin a new one",
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
        Ok((Decoding::resume(language_model, cache, rest, prompts, &generation)?, prompt, reused))
    }

    /// The features of all pictures.
    pub(super) fn features(&self, model: &Vlm<T, P>) -> Result<VisualFeatures> {
        if self.images.is_empty() {
            return Ok(VisualFeatures::default());
        }
        let features = Tensor::cat(self.images.iter().map(|image| image.features.clone()).collect(), 0);
        let config = &model.config;
        let packing = if config.is_flexible() {
            let counts: Vec<usize> = self.images.iter().map(|image| image.tokens).collect();
            Some(Packing::of_padded(&counts, features.dims()[1])?)
        } else if config.is_tiled() {
            let (tiles, sizes): (Vec<_>, Vec<_>) = self.images.iter().map(|image| (image.tiles, image.size)).unzip();
            Some(config.packing(&tiles, &sizes)?)
        } else {
            None
        };
        Ok(VisualFeatures { features: Some(features), packing, tokens: None })
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
        self.waiting = 0;
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
