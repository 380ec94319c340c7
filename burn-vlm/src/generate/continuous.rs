//! Continuous batching: many requests take turns in one batch, and a row that ends is replaced by a waiting one.
//!
//! Unusual here:
//! - prompts are read some at a time, ahead of need, so that they fill a pass and what they begin with alike runs once; those that have
//!   been read wait with their keys and values until a row ends;
//! - all rows end at the same place of one [`KvCache`], which moves on with every step. Where it reaches the cache's end, the rows
//!   move to the front together; between, nothing is copied but the row that comes in;
//! - keys and values, those of prompts being read included, stay within a bound that the caller sets;
//! - a request may be taken out at any time ([`ContinuousDecoding::remove`]), and its row is free at the next step;
//! - a token depends on its own row alone, so results are those of one request at a time.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::choose::TokenLogprob;
use super::decoding::{Choice, Chosen, Row, choose_all};
use super::{
    Generated, GenerationConfig, NewToken, PassLimits, PrefixPass, PrefixTree, PrefixWork, PromptPart, TokenRule,
};
use crate::error::ModelError;
use crate::language::{CacheSpan, KvCache, LanguageModel};

/// Embeddings of parts of prompts, `[parts, tokens, hidden]`, shorter ones padded on the right to the tokens that are given.
pub type EmbedParts<'e, E> = dyn FnMut(&[PromptPart], usize) -> Result<Tensor<3>, E> + 'e;

/// Steps between two moves of all rows to the front, where memory allows: a move reads and writes what every step reads.
const STEPS_BETWEEN_MOVES: usize = 64;
/// The same where memory is short.
const FEWEST_STEPS_BETWEEN_MOVES: usize = 8;
/// Of the rows, those whose prompts are read at a time.
const READ_AT_A_TIME: usize = 4;
/// Prompts that are read at a time however few rows there are.
const FEWEST_READ: usize = 16;
/// Of the bound, what prompts may take while they are read and wait.
const SHARE_OF_PROMPTS: usize = 4;

/// One prompt to be continued.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's name for it.
    pub id: usize,
    /// Its ids, every image expanded to its image tokens.
    pub prompt: Vec<u32>,
    /// What tells its tokens from those of other prompts, one for each: where symbols of two prompts are the same up to a place, so
    /// are their hidden states, and they run once. `None` takes the ids: right for text alone, never for pictures, whose places
    /// have the same id whatever they show.
    pub symbols: Option<Vec<u64>>,
    /// How its tokens are chosen.
    pub config: GenerationConfig,
    /// Its index for sampling: with seed and own tokens, what a sampled token depends on.
    pub index: usize,
    /// Whether [`Step::logprobs`] tells how likely its tokens are, and how many of the likeliest are named besides.
    pub logprobs: Option<usize>,
}

/// How likely a new token was by the model's own probabilities, before temperature, penalty and cuts.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLogprobs {
    /// The token; `row` is the request's `id`.
    pub token: NewToken,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The likeliest tokens at its place, as many as the request asks for.
    pub top: Vec<TokenLogprob>,
}

/// A request that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The request's.
    pub id: usize,
    /// Its new tokens.
    pub generated: Generated,
}

/// What one step gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// New tokens; `row` is the request's `id`.
    pub tokens: Vec<NewToken>,
    /// Of the tokens whose requests ask for it, how likely they are; in the order of `tokens`.
    pub logprobs: Vec<NewLogprobs>,
    /// Requests that ended.
    pub finished: Vec<Finished>,
}

/// How much a [`ContinuousDecoding`] runs at a time.
#[derive(Debug, Clone, Copy)]
pub struct DecodingLimits {
    /// Rows of a step.
    pub rows: usize,
    /// Bytes of keys and values, those of prompts being read included; `None` is as many as `rows` need.
    pub cache_bytes: Option<usize>,
}

/// Generation of many requests in one batch.
#[derive(Debug)]
pub struct ContinuousDecoding<'a> {
    model: &'a LanguageModel,
    limits: DecodingLimits,
    max_positions: usize,
    /// Tokens whose keys and values fit the bound.
    most_tokens: usize,
    waiting: VecDeque<Waiting>,
    /// Read, without a row yet.
    ready: VecDeque<Ready>,
    /// By row of the cache; `None` has ended.
    live: Vec<Option<Live>>,
    cache: Option<KvCache>,
    /// Without any token to choose.
    empty: Vec<Finished>,
}

/// A request and its tokens so far.
#[derive(Debug)]
struct Live {
    id: usize,
    row: Row,
    config: GenerationConfig,
    /// Tokens chosen.
    step: usize,
    /// Tokens of the longest answer whose keys and values are kept.
    need: usize,
    logprobs: Option<usize>,
}

impl Live {
    fn choice(&mut self) -> Choice<'_> {
        Choice { row: &mut self.row, config: &self.config, step: self.step, logprobs: self.logprobs }
    }
}

impl Step {
    fn push(&mut self, row: usize, chosen: Option<Chosen>) {
        let Some(Chosen { id, logprobs }) = chosen else { return };
        let token = NewToken { row, id };
        self.tokens.push(token);
        self.logprobs.extend(logprobs.map(|(logprob, top)| NewLogprobs { token, logprob, top }));
    }
}

#[derive(Debug)]
struct Waiting {
    live: Live,
    symbols: Vec<u64>,
}

#[derive(Debug)]
struct Ready {
    live: Live,
    cache: Rc<KvCache>,
    span: CacheSpan,
}

impl<'a> ContinuousDecoding<'a> {
    /// Nothing to do yet.
    ///
    /// # Errors
    /// [`ModelError::Input`] for no rows.
    pub fn new(model: &'a LanguageModel, limits: DecodingLimits) -> Result<Self, ModelError> {
        if limits.rows == 0 {
            return Err(ModelError::Input("generation needs at least one row at a time".into()));
        }
        let most_tokens = limits.cache_bytes.map_or(usize::MAX, |bytes| bytes / model.cache_bytes().max(1));
        Ok(Self {
            model,
            limits,
            max_positions: model.config().max_position_embeddings(),
            most_tokens,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            live: Vec::new(),
            cache: None,
            empty: Vec::new(),
        })
    }

    /// Puts a request at the end of those that wait. They are begun in this order; those that begin alike best stand together.
    ///
    /// # Errors
    /// [`ModelError::Input`] for an empty prompt, other symbols than ids, a config out of range, and a row that the bound on keys and
    /// values cannot hold; [`ModelError::TooLong`] for a prompt beyond the model's positions.
    pub fn push(&mut self, request: Request) -> Result<(), ModelError> {
        self.push_ruled(request, None)
    }

    /// As [`Self::push`], and keeps its tokens to a rule; log-probabilities stay the model's own.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_ruled(&mut self, request: Request, rule: Option<Box<dyn TokenRule>>) -> Result<(), ModelError> {
        let Request { id, prompt, symbols, config, index, logprobs } = request;
        config.validate()?;
        if prompt.is_empty() {
            return Err(ModelError::Input("generation needs a prompt, and no empty one".into()));
        }
        if prompt.len() > self.max_positions {
            let (tokens, max) = (prompt.len(), self.max_positions);
            return Err(ModelError::TooLong { what: "max_position_embeddings", tokens, max });
        }
        let symbols = symbols.unwrap_or_else(|| prompt.iter().map(|id| u64::from(*id)).collect());
        if symbols.len() != prompt.len() {
            let text = format!("a prompt of {} ids, but {} symbols", prompt.len(), symbols.len());
            return Err(ModelError::Input(text));
        }
        let row = Row::new(index, &prompt).ruled(rule);
        if config.max_new_tokens == 0 {
            self.empty.push(Finished { id, generated: row.finish() });
            return Ok(());
        }
        // The last token of all is never run.
        let need = (prompt.len() + config.max_new_tokens - 1).min(self.max_positions);
        // While a prompt moves to its row, it is there twice.
        if prompt.len() + need > self.most_tokens {
            let bytes = |tokens: usize| tokens * self.model.cache_bytes();
            return Err(ModelError::Input(format!(
                "a prompt of {} tokens with up to {} new ones needs {} bytes of keys and values while it is read, the cache may have {}: \
                 allow more, or fewer new tokens",
                prompt.len(),
                config.max_new_tokens,
                bytes(prompt.len() + need),
                self.limits.cache_bytes.unwrap_or(usize::MAX)
            )));
        }
        self.waiting.push_back(Waiting { live: Live { id, row, config, step: 0, need, logprobs }, symbols });
        Ok(())
    }

    /// Takes a request out before it has ended: nothing more is told of it, and its place is free at the next step. False if there is
    /// none of that id.
    pub fn remove(&mut self, id: usize) -> bool {
        let before = self.unfinished();
        self.waiting.retain(|waiting| waiting.live.id != id);
        self.ready.retain(|ready| ready.live.id != id);
        self.empty.retain(|finished| finished.id != id);
        for row in &mut self.live {
            if row.as_ref().is_some_and(|live| live.id == id) {
                *row = None;
            }
        }
        self.unfinished() < before
    }

    /// Requests that have not ended.
    pub fn unfinished(&self) -> usize {
        self.waiting.len() + self.ready.len() + self.live.iter().flatten().count() + self.empty.len()
    }

    /// Bytes of keys and values that are held now.
    pub fn cache_bytes(&self) -> usize {
        self.held_tokens() * self.model.cache_bytes()
    }

    /// Reads waiting prompts if there is room for them, and chooses one token of every row. `embed` is asked for the embeddings of parts
    /// of prompts, whose `row` is the request's `id`: `[parts, tokens, hidden]`, shorter ones padded on the right.
    ///
    /// # Errors
    /// [`ModelError::TooLong`] for a row that grows beyond the model's positions, [`ModelError::Read`], and what `embed` fails with.
    pub fn step<E: From<ModelError>>(&mut self, embed: &mut EmbedParts<'_, E>) -> Result<Step, E> {
        let mut step = Step { finished: std::mem::take(&mut self.empty), ..Step::default() };
        self.refill(embed, &mut step)?;
        self.advance(&mut step)?;
        Ok(step)
    }

    /// Runs until nothing waits. `done` is told of every request that ends.
    ///
    /// # Errors
    /// As [`Self::step`], and what `done` fails with.
    pub fn run<E: From<ModelError>>(
        &mut self,
        embed: &mut EmbedParts<'_, E>,
        done: &mut dyn FnMut(Finished) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.unfinished() > 0 {
            self.step(embed)?.finished.into_iter().try_for_each(&mut *done)?;
        }
        Ok(())
    }

    /// Tokens of the cache, and of the caches of prompts that wait.
    fn held_tokens(&self) -> usize {
        let size = |cache: &KvCache| cache.slots() * cache.max_tokens();
        // Prompts that were read in one pass hold one cache.
        let caches: HashMap<*const KvCache, usize> =
            self.ready.iter().map(|ready| (Rc::as_ptr(&ready.cache), size(&ready.cache))).collect();
        self.cache.as_ref().map_or(0, size) + caches.values().sum::<usize>()
    }

    /// Gives rows that have ended to prompts that have been read, and reads more of them.
    fn refill<E: From<ModelError>>(&mut self, embed: &mut EmbedParts<'_, E>, step: &mut Step) -> Result<(), E> {
        loop {
            if self.live.iter().all(Option::is_none) {
                self.live.clear();
                self.cache = None;
            }
            while let Some(ready) = self.ready.front() {
                if !self.make_room(ready.live.need, ready.span.places.len())? {
                    break;
                }
                self.enter()?;
            }
            let free = self.live.iter().flatten().count() < self.limits.rows;
            if !self.ready.is_empty() || self.waiting.is_empty() || !free || !self.read(embed, step)? {
                break;
            }
        }
        // Nobody came for these rows.
        for row in (0..self.live.len()).rev().filter(|row| self.live[*row].is_none()).collect::<Vec<usize>>() {
            self.live.swap_remove(row);
            if let Some(cache) = &mut self.cache {
                cache.swap_remove(row);
            }
        }
        Ok(())
    }

    /// Gives the first prompt that has been read a row.
    fn enter(&mut self) -> Result<(), ModelError> {
        let (Some(ready), Some(cache)) = (self.ready.pop_front(), &mut self.cache) else { return Ok(()) };
        let row = self.live.iter().position(Option::is_none).unwrap_or(self.live.len());
        cache.put(row, &ready.cache, &ready.span)?;
        match self.live.get_mut(row) {
            Some(live) => *live = Some(ready.live),
            None => self.live.push(Some(ready.live)),
        }
        Ok(())
    }

    /// Whether there is a row for a prompt of `tokens` that may grow to `need`; makes or enlarges the cache for it.
    fn make_room(&mut self, need: usize, tokens: usize) -> Result<bool, ModelError> {
        let taken = self.live.iter().flatten().count();
        let (slots, width) = self.cache.as_ref().map_or((0, 0), |cache| (cache.slots(), cache.max_tokens()));
        let end = self.cache.as_ref().map_or(0, KvCache::len);
        if taken < slots && need <= width && tokens <= end {
            return Ok(true);
        }
        if taken < slots && need <= width {
            self.rearrange(slots, tokens, width);
            return Ok(true);
        }
        let (planned, planned_width) = self.plan();
        // Moving all rows for one more is not worth it.
        let wanted = if need > width { taken + 1 } else { slots + slots / 2 + 1 };
        if planned < wanted.max(taken + 1) || planned_width < need {
            return Ok(false);
        }
        match &self.cache {
            Some(_) => self.rearrange(planned, tokens, planned_width),
            None => {
                let Some(ready) = self.ready.front() else { return Ok(false) };
                // The first row makes the cache, and goes in like the others.
                let none = (*ready.cache).clone().rearranged(&[], planned, tokens, planned_width);
                self.cache = Some(none);
            }
        }
        Ok(true)
    }

    /// Moves the rows under way to the front of a cache of another size.
    fn rearrange(&mut self, slots: usize, end: usize, width: usize) {
        let Some(cache) = self.cache.take() else { return };
        let kept: Vec<usize> = (0..self.live.len()).filter(|row| self.live[*row].is_some()).collect();
        let spans: Vec<CacheSpan> = kept.iter().map(|row| cache.span(*row)).collect();
        self.live.retain(Option::is_some);
        self.cache = Some(cache.rearranged(&spans, slots, end, width));
    }

    /// Rows and tokens of a cache for what is under way and what comes next.
    fn plan(&self) -> (usize, usize) {
        let live = self.live.iter().flatten().map(|live| live.need);
        let ready = self.ready.iter().map(|ready| ready.live.need);
        let next = self.waiting.iter().take(self.limits.rows).map(|waiting| waiting.live.need);
        let sure = live.chain(ready.clone().take(1)).max().unwrap_or(0);
        let own = self.cache.as_ref().map_or(0, |cache| cache.slots() * cache.max_tokens());
        let others = self.held_tokens() - own;
        let most = self.most_tokens.saturating_sub(others);
        let most = most.min(sure.max(self.most_tokens - self.most_tokens / SHARE_OF_PROMPTS));
        // A long one that comes later is waited for only if it does not make all rows too long.
        let need = sure.max(ready.chain(next).max().unwrap_or(0)).min(most);
        let slots = (most / (need + FEWEST_STEPS_BETWEEN_MOVES)).clamp(1, self.limits.rows);
        (slots, (most / slots).min(need + STEPS_BETWEEN_MOVES))
    }

    /// Reads the prompts that come next; false if there is no memory for them now.
    fn read<E: From<ModelError>>(&mut self, embed: &mut EmbedParts<'_, E>, step: &mut Step) -> Result<bool, E> {
        let at_most = self.limits.rows.div_ceil(READ_AT_A_TIME).max(FEWEST_READ);
        let (mut longest, mut need, mut count) = (0, 0, 0);
        for waiting in self.waiting.iter().take(at_most) {
            let tokens = waiting.symbols.len();
            longest = longest.max(tokens);
            need = need.max(waiting.live.need);
            // A single prompt is held once, several with what they share besides: at most as much again.
            let held = if count == 0 { tokens } else { 2 * (count + 1) * longest };
            let fits = match &self.cache {
                Some(cache) => cache.slots() * cache.max_tokens() + held <= self.most_tokens,
                None if count == 0 => true,
                None => held <= self.most_tokens / SHARE_OF_PROMPTS && held + need <= self.most_tokens,
            };
            if !fits {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(false);
        }
        let chosen: Vec<Waiting> = self.waiting.drain(..count).collect();
        let (lives, symbols): (Vec<Live>, Vec<Vec<u64>>) =
            chosen.into_iter().map(|waiting| (waiting.live, waiting.symbols)).unzip();
        let tree = PrefixTree::new(&symbols);
        let limits = PassLimits { rows: count, tokens: usize::MAX, keep: true };
        let lives = lives.into_iter().map(|live| (live, None)).collect();
        let mut reading = Reading { model: self.model, embed, lives };
        self.model.walk(&tree, limits, &mut reading)?;
        for (live, held) in reading.lives {
            // The row is in the tree, so it has been read.
            let Some((token, cache, span)) = held else { continue };
            step.push(live.id, token);
            match live.row.has_ended(&live.config) {
                true => step.finished.push(Finished { id: live.id, generated: live.row.finish() }),
                false => self.ready.push_back(Ready { live, cache, span }),
            }
        }
        Ok(true)
    }

    /// One token of every row.
    fn advance(&mut self, step: &mut Step) -> Result<(), ModelError> {
        let Some(cache) = &self.cache else { return Ok(()) };
        if self.live.is_empty() {
            return Ok(());
        }
        if cache.len() == cache.max_tokens() {
            self.rearrange(cache.slots(), 0, cache.max_tokens());
        }
        let Some(cache) = &mut self.cache else { return Ok(()) };
        let longest = (0..cache.rows()).map(|row| cache.span(row).places.len()).max().unwrap_or(0);
        if longest >= self.max_positions {
            let (tokens, max) = (longest + 1, self.max_positions);
            return Err(ModelError::TooLong { what: "max_position_embeddings", tokens, max });
        }
        let device: Device = self.model.device();
        let next: Vec<i64> = self.live.iter().flatten().map(|live| i64::from(live.row.last())).collect();
        let rows = next.len();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(next, [rows, 1]), &device);
        let embeds = self.model.embed(ids);
        let input = cache.input(1, self.max_positions, &device);
        let hidden = self.model.forward(embeds, &input, Some(cache))?;
        let [_, _, width] = hidden.dims();
        let lives = self.live.iter_mut().flatten().map(Live::choice);
        let chosen = choose_all(self.model, hidden.reshape([rows, width]), lives)?;
        for (live, token) in self.live.iter_mut().zip(chosen) {
            let Some(mut row) = live.take() else { continue };
            row.step += 1;
            step.push(row.id, token);
            match row.row.has_ended(&row.config) {
                true => step.finished.push(Finished { id: row.id, generated: row.row.finish() }),
                false => *live = Some(row),
            }
        }
        Ok(())
    }
}

/// What a prompt leaves when it has been read: its first token, and where its keys and values are.
type Held = (Option<Chosen>, Rc<KvCache>, CacheSpan);

/// Prompts being read.
struct Reading<'a, 'e, E> {
    model: &'a LanguageModel,
    embed: &'e mut EmbedParts<'e, E>,
    lives: Vec<(Live, Option<Held>)>,
}

impl<E: From<ModelError>> PrefixWork for Reading<'_, '_, E> {
    type Error = E;

    fn embed(&mut self, parts: &[PromptPart], tokens: usize) -> Result<Tensor<3>, E> {
        let id = |row: usize| self.lives.get(row).map_or(0, |(live, _)| live.id);
        let parts: Vec<PromptPart> = parts.iter().map(|part| PromptPart { row: id(part.row), ..*part }).collect();
        (self.embed)(&parts, tokens)
    }

    fn read(&mut self, tree: &PrefixTree, pass: PrefixPass<'_>) -> Result<(), E> {
        let Some(cache) = pass.cache else { return Ok(()) };
        let cache = Rc::new(cache.clone());
        let [rows, tokens, width] = pass.hidden.dims();
        let mut ending: Vec<(usize, i64, &CacheSpan)> = Vec::new();
        for (place, span) in pass.nodes.iter().zip(pass.spans) {
            let last = (place.row * tokens + place.node.end - place.node.start - 1) as i64;
            ending.extend(tree.ending(place.node).iter().map(|row| (*row, last, span)));
        }
        if ending.is_empty() {
            return Ok(());
        }
        ending.sort_unstable_by_key(|(row, ..)| *row);
        let last: Vec<i64> = ending.iter().map(|(_, last, _)| *last).collect();
        let count = last.len();
        let last = Tensor::<1, Int>::from_data(TensorData::new(last, [count]), &pass.hidden.device());
        let hidden = pass.hidden.reshape([rows * tokens, width]).select(0, last);
        let mut of = ending.iter().map(|(row, ..)| *row).peekable();
        let mut lives: Vec<&mut (Live, Option<Held>)> = Vec::with_capacity(count);
        for (row, live) in self.lives.iter_mut().enumerate() {
            if of.next_if_eq(&row).is_some() {
                lives.push(live);
            }
        }
        let rows = lives.iter_mut().map(|(live, _)| live.choice());
        let chosen = choose_all(self.model, hidden, rows)?;
        for ((live, token), (.., span)) in lives.into_iter().zip(chosen).zip(&ending) {
            live.0.step = 1;
            live.1 = Some((token, cache.clone(), (*span).clone()));
        }
        Ok(())
    }
}
