//! Many conversations at once: their answers are written in one batch, which a conversation may join or leave between any two tokens.
//!
//! Unusual here:
//! - an answer is that of a [`ChatSession`](super::ChatSession) with the same turns, pictures and settings, whatever else is being
//!   written;
//! - several answers to one prompt read it once, and so do prompts that begin alike and come together;
//! - features of pictures are kept by what is in the picture, within a bound, those used last;
//! - text comes out in whole characters, a token's log-probability with the text that the token gave.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::generate::{
    ContinuousDecoding, DecodingLimits, Finish, Finished, GenerationConfig, NewLogprobs, PromptPart, Request, Step,
    TokenLogprob,
};
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_data::constrain::Form;
use burn_vlm_data::sample::MediaKey;
use burn_vlm_data::text_stream::TextStream;

use super::form::rule;
use super::prompt::PromptMedium;
use super::session::Seen;
use super::{ChatModel, ChatPrompt};
use crate::error::{Result, TrainError};

/// How much a [`ChatBatch`] does at a time, and keeps.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Answers that are written at a time.
    pub rows: usize,
    /// Bytes of keys and values; `None` is as many as `rows` answers need.
    pub cache_bytes: Option<usize>,
    /// Bytes of features of pictures that are kept for other conversations; those of pictures in use come on top.
    pub feature_bytes: usize,
}

/// How an answer is written.
#[derive(Debug, Clone, Default)]
pub struct AnswerSettings {
    /// How its tokens are chosen, and how many at most; fewer where the model reads no more.
    pub generation: GenerationConfig,
    /// Texts that end it.
    pub stop: Vec<String>,
    /// Whether log-probabilities are told, and of how many of the likeliest tokens besides.
    pub logprobs: Option<usize>,
    /// Which answer to the same prompt it is, from 0: sampled ones differ by it.
    pub index: usize,
    /// What it is kept to ([`ChatModel::form`]); log-probabilities stay those of the model without it.
    pub form: Option<Arc<Form>>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// A stop token, a stop text, or the form has nothing that may follow.
    Stop,
    /// It has as many tokens as it may, or the model reads no more.
    Length,
}

/// A token of an answer whose log-probabilities are told.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenToken {
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The likeliest tokens in its place.
    pub top: Vec<TokenLogprob>,
}

/// What a step adds to an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerPart {
    /// The answer's number, as [`ChatBatch::push`] gave it.
    pub id: usize,
    /// New text; may be empty.
    pub text: String,
    /// Tokens chosen, without one that ends the answer.
    pub tokens: usize,
    /// The tokens whose text has come out, if log-probabilities are told.
    pub written: Vec<WrittenToken>,
    /// At the end, why.
    pub end: Option<AnswerEnd>,
}

/// An answer being written.
struct Row<'a> {
    stream: TextStream<'a>,
    /// Bytes of text that came out.
    released: usize,
    /// Tokens whose text has not come out, with where it begins.
    pending: Vec<(usize, WrittenToken)>,
}

/// What a prompt's tokens are to the decoder; several answers share them.
type Embedded = Tensor<3>;

/// Features of pictures, those used last.
struct Features {
    values: HashMap<(MediaKey, bool), (Arc<Seen>, u64)>,
    bytes: usize,
    most: usize,
    clock: u64,
}

/// Answers that are written at a time. The model is borrowed: one thread has it.
pub struct ChatBatch<'a, T: VisionTower = VisionEncoder, P: Projector = Connector> {
    chat: &'a ChatModel<T, P>,
    limits: BatchLimits,
    decoding: ContinuousDecoding<'a>,
    rows: BTreeMap<usize, Row<'a>>,
    /// Of prompts that have not been read.
    embedded: HashMap<usize, Embedded>,
    features: Features,
    next: usize,
}

impl BatchLimits {
    fn decoding(&self) -> DecodingLimits {
        DecodingLimits { rows: self.rows, cache_bytes: self.cache_bytes }
    }
}

impl<T: VisionTower, P: Projector> ChatModel<T, P> {
    /// The most new tokens that a prompt of so many may have: what the model reads, and what the bound on keys and values holds. 0 is a
    /// prompt that is too long.
    pub fn most_new_tokens(&self, prompt: usize, limits: &BatchLimits) -> usize {
        let model = self.model.language_model();
        let room = model.config().max_position_embeddings().saturating_sub(prompt);
        // While a prompt is read it is there twice; the last token of all is never run.
        let held = limits.cache_bytes.map(|bytes| bytes / model.cache_bytes().max(1));
        held.map_or(room, |held| room.min((held + 1).saturating_sub(2 * prompt)))
    }
}

impl<'a, T: VisionTower, P: Projector> ChatBatch<'a, T, P> {
    /// Nothing to do yet.
    ///
    /// # Errors
    /// No rows.
    pub fn new(chat: &'a ChatModel<T, P>, limits: BatchLimits) -> Result<Self> {
        let decoding = ContinuousDecoding::new(chat.model.language_model(), limits.decoding())?;
        let features = Features { values: HashMap::new(), bytes: 0, most: limits.feature_bytes, clock: 0 };
        Ok(Self { chat, limits, decoding, rows: BTreeMap::new(), embedded: HashMap::new(), features, next: 0 })
    }

    /// Adds answers to one prompt; they are begun in the order of their numbers, which are returned. Pictures that are not known are
    /// encoded here.
    ///
    /// # Errors
    /// Settings out of range, a prompt that the bound on keys and values cannot hold, a picture that cannot be encoded; then none is
    /// added.
    pub fn push(&mut self, prompt: &ChatPrompt, answers: &[AnswerSettings]) -> Result<Vec<usize>> {
        let embedded = self.embed(prompt)?;
        let mut ids = Vec::with_capacity(answers.len());
        for settings in answers {
            let id = self.next;
            self.next += 1;
            let room = self.chat.most_new_tokens(prompt.tokens(), &self.limits);
            let max_new_tokens = settings.generation.max_new_tokens.min(room);
            let request = Request {
                id,
                prompt: prompt.ids.clone(),
                symbols: Some(prompt.symbols.clone()),
                config: GenerationConfig { max_new_tokens, ..settings.generation.clone() },
                index: settings.index,
                logprobs: settings.logprobs,
            };
            if let Err(error) = self.decoding.push_ruled(request, settings.form.as_ref().map(rule)) {
                ids.iter().for_each(|id| self.remove(*id));
                return Err(error.into());
            }
            let stream = TextStream::new(self.chat.processor.tokenizer(), &settings.stop);
            let stream = if settings.form.is_some() { stream.trimmed() } else { stream };
            self.rows.insert(id, Row { stream, released: 0, pending: Vec::new() });
            self.embedded.insert(id, embedded.clone());
            ids.push(id);
        }
        Ok(ids)
    }

    /// Takes an answer out before it has ended; its place is free for another. Nothing where there is none of that number.
    pub fn remove(&mut self, id: usize) {
        self.decoding.remove(id);
        self.rows.remove(&id);
        self.embedded.remove(&id);
    }

    /// Answers that have not ended.
    pub fn unfinished(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of features of pictures that are kept.
    pub fn feature_bytes(&self) -> usize {
        self.features.bytes
    }

    /// Whether the features of all that a prompt shows are known, so that [`Self::push`] takes no time.
    pub fn knows(&self, prompt: &ChatPrompt) -> bool {
        prompt.media.iter().all(|medium| self.features.values.contains_key(&medium.key))
    }

    /// One token of every answer; what it adds to each.
    ///
    /// # Errors
    /// What the model or the tokenizer fail with. The answers under way are then lost: call [`Self::clear`].
    pub fn step(&mut self) -> Result<Vec<AnswerPart>> {
        let embedded = &self.embedded;
        let step = self.decoding.step::<TrainError>(&mut |parts, tokens| embed_parts(embedded, parts, tokens))?;
        let Step { tokens, logprobs, finished } = step;
        let mut parts: BTreeMap<usize, AnswerPart> = BTreeMap::new();
        let mut logprobs = logprobs.into_iter().peekable();
        for token in tokens {
            let told = logprobs.next_if(|told| told.token == token);
            let Some(row) = self.rows.get_mut(&token.row) else { continue };
            // It has been read.
            self.embedded.remove(&token.row);
            let part = parts.entry(token.row).or_insert_with(|| AnswerPart::new(token.row));
            if part.end.is_some() {
                continue;
            }
            row.take(token.id, told, part)?;
            if row.stream.stopped() {
                part.end = Some(AnswerEnd::Stop);
            }
        }
        for Finished { id, generated } in finished {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            let part = parts.entry(id).or_insert_with(|| AnswerPart::new(id));
            if part.end.is_some() {
                continue;
            }
            row.finish(part)?;
            let stopped = row.stream.stopped() || matches!(generated.finish, Finish::Stop(_) | Finish::Whole);
            part.end = Some(if stopped { AnswerEnd::Stop } else { AnswerEnd::Length });
        }
        for part in parts.values().filter(|part| part.end.is_some()) {
            self.remove(part.id);
        }
        if self.rows.is_empty() {
            self.clear()?;
        }
        Ok(parts.into_values().collect())
    }

    /// Takes all answers out, and gives their memory back; features of pictures stay.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn clear(&mut self) -> Result<()> {
        self.rows.clear();
        self.embedded.clear();
        self.decoding = ContinuousDecoding::new(self.chat.model.language_model(), self.limits.decoding())?;
        Ok(())
    }

    /// How the experts of a connector that reads text are mixed for each picture of a prompt, `[pictures, experts]`, rows sum to 1: the
    /// weights by which [`Self::push`] mixes them. `None` where the model has no experts. Pictures that are not known are encoded here.
    ///
    /// # Errors
    /// A picture that cannot be encoded.
    pub fn routing(&mut self, prompt: &ChatPrompt) -> Result<Option<Vec<Vec<f32>>>> {
        let chat = self.chat;
        let Some(model) = chat.model.vlm().filter(|model| model.multi_modal_projector.reads_text()) else {
            return Ok(None);
        };
        let input = self.input(model, prompt)?;
        // None without pictures.
        let Some(routing) = model.routing(&input)? else { return Ok(Some(Vec::new())) };
        let [_, experts] = routing.weights.dims();
        let weights: Vec<f32> = routing.weights.into_data().iter::<f32>().collect();
        Ok(Some(weights.chunks(experts.max(1)).map(<[f32]>::to_vec).collect()))
    }

    /// What the decoder's first layer takes, `[1, tokens, hidden]`.
    fn embed(&mut self, prompt: &ChatPrompt) -> Result<Embedded> {
        let chat = self.chat;
        match chat.model.vlm() {
            Some(model) => Ok(model.embed(&self.input(model, prompt)?)?),
            None => Ok(chat.model.language_model().embed(self.ids(prompt))),
        }
    }

    fn ids(&self, prompt: &ChatPrompt) -> Tensor<2, Int> {
        let ids: Vec<i64> = prompt.ids.iter().map(|id| i64::from(*id)).collect();
        Tensor::from_data(TensorData::new(ids, [1, prompt.ids.len()]), &self.chat.device)
    }

    /// A prompt with the features of its pictures.
    fn input(&mut self, model: &Vlm<T, P>, prompt: &ChatPrompt) -> Result<VlmInput> {
        let shown = prompt.media.iter().map(|medium| self.see(medium)).collect::<Result<Vec<Arc<Seen>>>>()?;
        self.features.shrink();
        let features = Seen::together(model, &shown.iter().map(Arc::as_ref).collect::<Vec<&Seen>>())?;
        Ok(VlmInput::new(self.ids(prompt)).with_features(features))
    }

    fn see(&mut self, medium: &PromptMedium) -> Result<Arc<Seen>> {
        if let Some(seen) = self.features.get(medium.key) {
            return Ok(seen);
        }
        let seen = match medium.images() {
            [image] if !medium.is_video => Seen::picture(self.chat, image)?,
            frames => Seen::video(self.chat, frames.iter().map(Ok))?,
        };
        let seen = Arc::new(seen);
        self.features.keep(medium.key, seen.clone());
        Ok(seen)
    }
}

/// Parts of prompts that are being read, shorter ones padded with zeros on the right.
fn embed_parts(embedded: &HashMap<usize, Embedded>, parts: &[PromptPart], tokens: usize) -> Result<Tensor<3>> {
    let one = |part: &PromptPart| {
        let whole = embedded.get(&part.row).ok_or_else(|| TrainError::Data("a prompt that is not there".into()))?;
        let length = part.end - part.start;
        let own = whole.clone().narrow(1, part.start, length);
        if length == tokens {
            return Ok(own);
        }
        let [_, _, width] = own.dims();
        let padding = Tensor::zeros([1, tokens - length, width], (&own.device(), own.dtype()));
        Ok(Tensor::cat(vec![own, padding], 1))
    };
    Ok(Tensor::cat(parts.iter().map(one).collect::<Result<Vec<Tensor<3>>>>()?, 0))
}

impl AnswerPart {
    fn new(id: usize) -> Self {
        Self { id, text: String::new(), tokens: 0, written: Vec::new(), end: None }
    }
}

impl Row<'_> {
    fn take(&mut self, id: u32, told: Option<NewLogprobs>, part: &mut AnswerPart) -> Result<()> {
        let begin = self.stream.decoded();
        let text = self.stream.push(id)?;
        part.tokens += 1;
        self.pending.extend(told.map(|told| (begin, WrittenToken { id, logprob: told.logprob, top: told.top })));
        self.release(&text, part);
        Ok(())
    }

    /// The text that was held back. Without a stop text all tokens belong to the answer, those without any text too.
    fn finish(&mut self, part: &mut AnswerPart) -> Result<()> {
        let text = self.stream.finish()?;
        self.release(&text, part);
        if !self.stream.stopped() {
            part.written.extend(self.pending.drain(..).map(|(_, token)| token));
        }
        Ok(())
    }

    fn release(&mut self, text: &str, part: &mut AnswerPart) {
        self.released += text.len();
        part.text.push_str(text);
        let out = self.pending.iter().take_while(|(begin, _)| *begin < self.released).count();
        part.written.extend(self.pending.drain(..out).map(|(_, token)| token));
    }
}

impl Features {
    fn get(&mut self, key: (MediaKey, bool)) -> Option<Arc<Seen>> {
        self.clock += 1;
        let (seen, used) = self.values.get_mut(&key)?;
        *used = self.clock;
        Some(seen.clone())
    }

    fn keep(&mut self, key: (MediaKey, bool), seen: Arc<Seen>) {
        self.bytes += bytes(&seen);
        self.values.insert(key, (seen, self.clock));
    }

    /// Drops those that were not used for longest.
    fn shrink(&mut self) {
        while self.bytes > self.most {
            let oldest = self.values.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((seen, _)) = oldest.and_then(|key| self.values.remove(&key)) else { return };
            self.bytes -= bytes(&seen);
        }
    }
}

fn bytes(seen: &Seen) -> usize {
    seen.features.shape().num_elements() * seen.features.dtype().size()
}
