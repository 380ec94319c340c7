//! The loop: prefill, then one token a step.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use burn_vlm_base::random::ElementStream;

use super::choose::{TokenLogprob, choose_token, logprobs_of};
use super::{Finish, Generated, GenerationConfig, LeftPadded, TokenRule};
use crate::error::ModelError;
use crate::language::{AttentionInput, KvCache, LanguageModel};

/// A token as it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewToken {
    /// Row of the batch.
    pub row: usize,
    /// Its id; never a stop token.
    pub id: u32,
}

/// Generation under way: an iterator over its steps, each the new tokens of the rows that go on.
///
/// It ends when every row has met a stop token or `max_new_tokens` are there. An error ends it too.
#[derive(Debug)]
pub struct Decoding<'a> {
    model: &'a LanguageModel,
    config: GenerationConfig,
    cache: KvCache,
    /// What the next forward takes; none at the end.
    embeds: Option<Tensor<3>>,
    input: AttentionInput,
    padding: Option<Padding>,
    rows: Vec<Row>,
    step: usize,
}

/// Of a batch whose prompts differ in length.
#[derive(Debug)]
struct Padding {
    /// `[batch, prompt + max_new_tokens]`, true where the token is real.
    mask: Tensor<2, Bool>,
    lengths: Vec<usize>,
    prompt_tokens: usize,
}

impl<'a> Decoding<'a> {
    /// Begins with the embeddings of padded prompts, `[batch, tokens, hidden]`.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a config out of range.
    pub fn new(
        model: &'a LanguageModel,
        embeds: Tensor<3>,
        padded: LeftPadded,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
    ) -> Result<Self, ModelError> {
        let [batch, prompt_tokens, _] = embeds.dims();
        let device = embeds.device();
        let total = prompt_tokens + config.max_new_tokens;
        let padding = padded.is_padded().then(|| Padding {
            mask: Tensor::from_data(TensorData::new(padded.mask(total), [batch, total]), &device),
            lengths: padded.lengths,
            prompt_tokens,
        });
        let input = match &padding {
            Some(padding) => AttentionInput::left_padded(padding.mask.clone().narrow(1, 0, prompt_tokens)),
            None => AttentionInput::contiguous(),
        };
        let cache = model.new_cache(batch, total, &device);
        Ok(Self { padding, input, ..Self::resume(model, cache, embeds, prompts, config)? })
    }

    /// Goes on from a cache that holds the beginning of the prompts (a chat's earlier turns). `embeds` is what follows it;
    /// the cache is enlarged where it must be.
    ///
    /// # Shapes
    /// - `embeds`: `[batch, tokens, hidden]`; `prompts`: whole, without padding
    ///
    /// # Errors
    /// [`ModelError::Input`] for a config out of range.
    pub fn resume(
        model: &'a LanguageModel,
        mut cache: KvCache,
        embeds: Tensor<3>,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        cache.reserve(cache.len() + embeds.dims()[1] + config.max_new_tokens);
        let rows = prompts.iter().enumerate().map(|(index, prompt)| Row::new(index, prompt)).collect();
        let (input, embeds) = (AttentionInput::contiguous(), (config.max_new_tokens > 0).then_some(embeds));
        Ok(Self { model, config: config.clone(), cache, embeds, input, padding: None, rows, step: 0 })
    }

    /// Keeps the first row to a rule.
    #[must_use]
    pub fn ruled(mut self, rule: Box<dyn TokenRule>) -> Self {
        if let Some(row) = self.rows.first_mut() {
            row.rule = Some(rule);
        }
        self
    }

    /// Runs what is left and returns every row's tokens.
    ///
    /// # Errors
    /// [`ModelError::TooLong`], [`ModelError::Read`].
    pub fn finish(mut self) -> Result<Vec<Generated>, ModelError> {
        self.by_ref().try_for_each(|step| step.map(drop))?;
        Ok(self.into_parts().0)
    }

    /// Whether a row has as many tokens as it may have, and nothing else has ended it.
    pub fn is_cut(&self) -> bool {
        self.rows.iter().any(|row| row.end.is_none() && row.has_ended(&self.config))
    }

    /// The tokens chosen so far, and the cache for [`Self::resume`]. The cache lacks the last token: no step has run it yet.
    pub fn into_parts(self) -> (Vec<Generated>, KvCache) {
        (self.rows.into_iter().map(Row::finish).collect(), self.cache)
    }

    fn advance(&mut self, embeds: Tensor<3>) -> Result<Vec<NewToken>, ModelError> {
        let device = embeds.device();
        let hidden = self.model.forward(embeds, &self.input, Some(&mut self.cache))?;
        let [batch, tokens, width] = hidden.dims();
        let last = hidden.narrow(1, tokens - 1, 1).reshape([batch, width]);
        let (config, step) = (&self.config, self.step);
        let rows = self.rows.iter_mut().map(|row| Choice { row, config, step, logprobs: None });
        let chosen = choose_all(self.model, last, rows)?;
        let new = |(row, chosen): (&Row, Option<Chosen>)| Some(NewToken { row: row.index, id: chosen?.id });
        let chosen = self.rows.iter().zip(chosen).filter_map(new).collect();
        self.step += 1;
        if self.step < self.config.max_new_tokens && self.rows.iter().any(|row| row.end.is_none()) {
            self.prepare(&device);
        }
        Ok(chosen)
    }

    /// Sets up the forward of the tokens just chosen.
    fn prepare(&mut self, device: &Device) {
        let batch = self.rows.len();
        let next: Vec<i64> = self.rows.iter().map(|row| i64::from(row.last)).collect();
        self.embeds = Some(self.model.embed(Tensor::from_data(TensorData::new(next, [batch, 1]), device)));
        self.input = match &self.padding {
            Some(padding) => {
                let positions: Vec<i64> =
                    padding.lengths.iter().map(|length| (length + self.step - 1) as i64).collect();
                AttentionInput {
                    padding: Some(padding.mask.clone().narrow(1, 0, padding.prompt_tokens + self.step)),
                    positions: Some(Tensor::from_data(TensorData::new(positions, [batch, 1]), device)),
                    ..AttentionInput::default()
                }
            }
            None => AttentionInput::contiguous(),
        };
    }
}

impl Iterator for Decoding<'_> {
    type Item = Result<Vec<NewToken>, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        let embeds = self.embeds.take()?;
        Some(self.advance(embeds))
    }
}

/// A row whose next token is to be chosen.
pub(super) struct Choice<'r> {
    pub(super) row: &'r mut Row,
    pub(super) config: &'r GenerationConfig,
    /// Tokens chosen before.
    pub(super) step: usize,
    /// Whether log-probabilities are wanted: the token's own, and those of so many of the likeliest.
    pub(super) logprobs: Option<usize>,
}

/// The token of a row.
pub(super) struct Chosen {
    pub(super) id: u32,
    /// Its own log-probability and the likeliest tokens', where they are wanted.
    pub(super) logprobs: Option<(f64, Vec<TokenLogprob>)>,
}

/// The next token of each row from its last hidden state, `[rows, hidden]`, by its own rules; `None` for a row that has ended or ends
/// with it.
///
/// # Errors
/// [`ModelError::Read`].
pub(super) fn choose_all<'r>(
    model: &LanguageModel,
    hidden: Tensor<2>,
    rows: impl Iterator<Item = Choice<'r>>,
) -> Result<Vec<Option<Chosen>>, ModelError> {
    let rows: Vec<Choice<'r>> = rows.collect();
    let logits = model.logits(hidden);
    let unread = |error| ModelError::Read { what: "logits", reason: format!("{error:?}") };
    let is_free = |choice: &Choice<'_>| choice.logprobs.is_none() && choice.row.rule.is_none();
    if rows.iter().all(|choice| choice.config.takes_the_likeliest() && is_free(choice)) {
        // Nothing but one number of each row leaves the device.
        let best = logits.argmax(1).into_data().iter::<i64>().collect::<Vec<i64>>();
        let take = |(choice, id): (Choice<'r>, i64)| {
            choice.row.take(id as u32, choice.config).map(|id| Chosen { id, logprobs: None })
        };
        return Ok(rows.into_iter().zip(best).map(take).collect());
    }
    let [_, vocabulary] = logits.dims();
    let logits = logits.try_into_vec_as::<f32>().map_err(unread)?;
    let choose = |(choice, logits): (Choice<'r>, &[f32])| {
        let id = choice.row.choose(logits, choice.config, choice.step)?;
        Some(Chosen { id, logprobs: choice.logprobs.map(|most| logprobs_of(logits, id, most)) })
    };
    Ok(rows.into_iter().zip(logits.chunks(vocabulary)).map(choose).collect())
}

/// One row on its way.
#[derive(Debug)]
pub(super) struct Row {
    index: usize,
    prompt: usize,
    /// Prompt and new tokens.
    seen: Vec<u32>,
    last: u32,
    /// Why it has ended, before it was as long as it may be.
    end: Option<Finish>,
    rule: Option<Box<dyn TokenRule>>,
}

impl Row {
    pub(super) fn new(index: usize, prompt: &[u32]) -> Self {
        Self { index, prompt: prompt.len(), seen: prompt.to_vec(), last: 0, end: None, rule: None }
    }

    pub(super) fn ruled(self, rule: Option<Box<dyn TokenRule>>) -> Self {
        Self { rule, ..self }
    }

    /// The token chosen last.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Whether it has met a stop token, is whole by its rule, or has as many new tokens as it may.
    pub(super) fn has_ended(&self, config: &GenerationConfig) -> bool {
        self.end.is_some() || self.seen.len() >= self.prompt + config.max_new_tokens
    }

    /// Chooses the next token and keeps it, unless the row has ended or ends with a stop token.
    fn choose(&mut self, logits: &[f32], config: &GenerationConfig, step: usize) -> Option<u32> {
        if self.end.is_some() {
            return None;
        }
        let mut stream = ElementStream::new(config.seed ^ (self.index as u64).rotate_left(32), step as u64);
        let uniform = stream.unit();
        let token = match &mut self.rule {
            Some(rule) => {
                let mut masked = logits.to_vec();
                rule.mask(&mut masked);
                choose_token(&masked, &self.seen, config, uniform)
            }
            None => choose_token(logits, &self.seen, config, uniform),
        };
        self.take(token, config)
    }

    /// Keeps a token, unless the row has ended or ends with a stop token.
    fn take(&mut self, token: u32, config: &GenerationConfig) -> Option<u32> {
        if self.end.is_some() {
            return None;
        }
        self.last = token;
        if config.stop_tokens.contains(&token) {
            self.end = Some(Finish::Stop(token));
            return None;
        }
        self.seen.push(token);
        if self.rule.as_mut().is_some_and(|rule| rule.take(token)) {
            self.end = Some(Finish::Whole);
        }
        Some(token)
    }

    pub(super) fn finish(mut self) -> Generated {
        Generated { ids: self.seen.split_off(self.prompt), finish: self.end.unwrap_or(Finish::Length) }
    }
}
