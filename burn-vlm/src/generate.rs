//! Text generation with a KV cache: greedy or sampled, batched with left padding.
//!
//! Unusual here:
//! - a sampled row depends on the seed, its index and its own tokens only: not on its neighbours, its padding or the backend's
//!   random numbers (logits are sampled on the host in f64);
//! - rows that have met a stop token ride along until all have, and contribute nothing.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::init::Stream;
use crate::language::{AttentionInput, LanguageModel};
use crate::vlm::{Vlm, VlmInput};

/// How tokens are chosen, in the order of Hugging Face's processors: repetition penalty, temperature, top-k, top-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationConfig {
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// 0 is greedy; above, logits are divided by it before sampling.
    pub temperature: f64,
    /// Keep the `k` most likely tokens (and those that tie with the last of them).
    pub top_k: Option<usize>,
    /// Keep the smallest set of tokens whose probability reaches `p`.
    pub top_p: Option<f64>,
    /// Logits of tokens that occurred (prompt included) are divided by it where positive, multiplied where negative; 1 is off.
    pub repetition_penalty: f64,
    /// Ids that end a row.
    pub stop_tokens: Vec<u32>,
    /// Of the sampling.
    pub seed: u64,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            stop_tokens: Vec::new(),
            seed: 0,
        }
    }
}

impl GenerationConfig {
    fn validate(&self) -> Result<(), ModelError> {
        let error = |text: &str| Err(ModelError::Input(format!("generation: {text}")));
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return error("temperature must be a finite number >= 0 (0 is greedy)");
        }
        if self.top_k == Some(0) {
            return error("top_k must be at least 1");
        }
        if self.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return error("top_p must be in (0, 1]");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return error("repetition_penalty must be a finite number > 0 (1 is off)");
        }
        Ok(())
    }
}

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// This stop token; it is not among the row's ids.
    Stop(u32),
    /// `max_new_tokens`.
    Length,
}

/// The new tokens of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Without the prompt and without the stop token.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// Prompts of one batch, padded on the left.
#[derive(Debug, Clone)]
pub struct LeftPadded {
    /// `[batch, tokens]`; padding is id 0.
    pub ids: Vec<i64>,
    /// Real tokens of each row.
    pub lengths: Vec<usize>,
    /// Tokens of the longest row.
    pub tokens: usize,
}

impl LeftPadded {
    /// # Errors
    /// [`ModelError::Input`] for an empty batch or an empty prompt.
    pub fn new(prompts: &[Vec<u32>]) -> Result<Self, ModelError> {
        if prompts.is_empty() || prompts.iter().any(Vec::is_empty) {
            return Err(ModelError::Input("generation needs at least one prompt, and no empty one".into()));
        }
        let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = vec![0; prompts.len() * tokens];
        for (row, prompt) in ids.chunks_mut(tokens).zip(prompts) {
            for (slot, id) in row[tokens - prompt.len()..].iter_mut().zip(prompt) {
                *slot = i64::from(*id);
            }
        }
        Ok(Self { ids, lengths, tokens })
    }

    /// `[batch, width]`, true from where the row's own tokens begin.
    fn mask(&self, width: usize) -> Vec<bool> {
        self.lengths.iter().flat_map(|length| (0..width).map(move |at| at + length >= self.tokens)).collect()
    }

    /// One flag for each token of each prompt, padded on the left as the ids are.
    fn align(&self, rows: &[Vec<bool>]) -> Result<Vec<bool>, ModelError> {
        if !rows.iter().map(Vec::len).eq(self.lengths.iter().copied()) {
            return Err(ModelError::Input("routing needs one flag for each token of each prompt".into()));
        }
        let padding = |length: usize| std::iter::repeat_n(false, self.tokens - length);
        Ok(rows.iter().flat_map(|row| padding(row.len()).chain(row.iter().copied())).collect())
    }

    fn is_padded(&self) -> bool {
        self.lengths.iter().any(|length| *length != self.tokens)
    }
}

impl LanguageModel {
    /// Continues each prompt. Call it on a model without autodiff (`.valid()`): gradients would be kept for nothing.
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::TooLong`], [`ModelError::Read`].
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
        device: &burn::tensor::Device,
    ) -> Result<Vec<Generated>, ModelError> {
        let padded = LeftPadded::new(prompts)?;
        let shape = [prompts.len(), padded.tokens];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(padded.ids.clone(), shape), device);
        decode(self, self.embed(ids), &padded, prompts, config, &mut |_, _| {})
    }
}

impl Vlm {
    /// Continues each prompt, in which every image is expanded to its image tokens.
    ///
    /// # Shapes
    /// - `features`: `[images, num_feature_tokens, d_vision]` from [`Vlm::encode_images`], in the order of the prompts
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::ImageTokens`], [`ModelError::TooLong`], [`ModelError::Read`].
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        features: Option<Tensor<3>>,
        config: &GenerationConfig,
        device: &burn::tensor::Device,
    ) -> Result<Vec<Generated>, ModelError> {
        self.generate_streaming(prompts, features, config, device, &mut |_, _| {})
    }

    /// As [`Self::generate`]; `on_token` hears every token as it is chosen, with its row.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_streaming(
        &self,
        prompts: &[Vec<u32>],
        features: Option<Tensor<3>>,
        config: &GenerationConfig,
        device: &burn::tensor::Device,
        on_token: &mut dyn FnMut(usize, u32),
    ) -> Result<Vec<Generated>, ModelError> {
        self.generate_routed(prompts, None, features, config, device, on_token)
    }

    /// As [`Self::generate_streaming`]; `routing` says which tokens of each prompt route a connector that
    /// [reads text](crate::connector::Connector::reads_text), `None` is all of them.
    ///
    /// # Errors
    /// As [`Self::generate`], and [`ModelError::Input`] unless `routing` has one entry for each token of each prompt.
    pub fn generate_routed(
        &self,
        prompts: &[Vec<u32>],
        routing: Option<&[Vec<bool>]>,
        features: Option<Tensor<3>>,
        config: &GenerationConfig,
        device: &burn::tensor::Device,
        on_token: &mut dyn FnMut(usize, u32),
    ) -> Result<Vec<Generated>, ModelError> {
        let padded = LeftPadded::new(prompts)?;
        let shape = [prompts.len(), padded.tokens];
        let tensor = |mask: Vec<bool>| Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), device);
        let words = match routing {
            Some(chosen) => padded.align(chosen)?,
            None => padded.mask(padded.tokens),
        };
        let mut input = VlmInput::new(Tensor::from_data(TensorData::new(padded.ids.clone(), shape), device));
        input.features = features;
        input.routing_text = self.multi_modal_projector.reads_text().then(|| tensor(words));
        let embeds = self.embed(&input)?;
        decode(&self.language_model, embeds, &padded, prompts, config, on_token)
    }
}

/// The loop: prefill, then one token a step.
fn decode(
    model: &LanguageModel,
    embeds: Tensor<3>,
    padded: &LeftPadded,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
    on_token: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Generated>, ModelError> {
    config.validate()?;
    let [batch, prompt_tokens, width] = embeds.dims();
    let device = embeds.device();
    let total = prompt_tokens + config.max_new_tokens;
    let mut cache = model.new_cache(batch, total, &device);
    let padding = padded
        .is_padded()
        .then(|| Tensor::<2, Bool>::from_data(TensorData::new(padded.mask(total), [batch, total]), &device));
    let mut rows: Vec<Row> = prompts.iter().enumerate().map(|(index, prompt)| Row::new(index, prompt)).collect();
    let mut input = match &padding {
        Some(padding) => AttentionInput::left_padded(padding.clone().narrow(1, 0, prompt_tokens)),
        None => AttentionInput::contiguous(),
    };
    let mut embeds = embeds;
    for step in 0..config.max_new_tokens {
        let hidden = model.forward(embeds, &input, Some(&mut cache))?;
        let [_, tokens, _] = hidden.dims();
        let last = hidden.narrow(1, tokens - 1, 1).reshape([batch, width]);
        let logits = model
            .logits(last)
            .try_into_vec_as::<f32>()
            .map_err(|error| ModelError::Read { what: "logits", reason: format!("{error:?}") })?;
        let vocabulary = logits.len() / batch;
        for (row, logits) in rows.iter_mut().zip(logits.chunks(vocabulary)) {
            if let Some(token) = row.choose(logits, config, step) {
                on_token(row.index, token);
            }
        }
        if step + 1 == config.max_new_tokens || rows.iter().all(|row| row.stop.is_some()) {
            break;
        }
        let next: Vec<i64> = rows.iter().map(|row| i64::from(row.last)).collect();
        embeds = model.embed(Tensor::from_data(TensorData::new(next, [batch, 1]), &device));
        if let Some(padding) = &padding {
            let positions: Vec<i64> = padded.lengths.iter().map(|length| (length + step) as i64).collect();
            input = AttentionInput {
                padding: Some(padding.clone().narrow(1, 0, prompt_tokens + step + 1)),
                positions: Some(Tensor::from_data(TensorData::new(positions, [batch, 1]), &device)),
            };
        }
    }
    Ok(rows.into_iter().map(Row::finish).collect())
}

/// One row on its way.
struct Row {
    index: usize,
    prompt: usize,
    /// Prompt and new tokens.
    seen: Vec<u32>,
    last: u32,
    stop: Option<u32>,
}

impl Row {
    fn new(index: usize, prompt: &[u32]) -> Self {
        Self { index, prompt: prompt.len(), seen: prompt.to_vec(), last: 0, stop: None }
    }

    /// Chooses the next token and keeps it, unless the row has ended or ends with it.
    fn choose(&mut self, logits: &[f32], config: &GenerationConfig, step: usize) -> Option<u32> {
        if self.stop.is_some() {
            return None;
        }
        let mut stream = Stream::new(config.seed ^ (self.index as u64).rotate_left(32), step as u64);
        let token = choose_token(logits, &self.seen, config, stream.unit());
        self.last = token;
        if config.stop_tokens.contains(&token) {
            self.stop = Some(token);
            return None;
        }
        self.seen.push(token);
        Some(token)
    }

    fn finish(mut self) -> Generated {
        Generated { ids: self.seen.split_off(self.prompt), finish: self.stop.map_or(Finish::Length, Finish::Stop) }
    }
}

/// The token for a uniform number in (0, 1); greedy ignores it.
fn choose_token(logits: &[f32], seen: &[u32], config: &GenerationConfig, uniform: f64) -> u32 {
    let mut scores: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    if config.repetition_penalty != 1.0 {
        let mut penalised: Vec<u32> = seen.to_vec();
        penalised.sort_unstable();
        penalised.dedup();
        for token in penalised {
            if let Some(score) = scores.get_mut(token as usize) {
                *score =
                    if *score > 0.0 { *score / config.repetition_penalty } else { *score * config.repetition_penalty };
            }
        }
    }
    if config.temperature == 0.0 {
        return argmax(&scores) as u32;
    }
    // Most likely first; equal scores in the order of their ids, so that the choice is the same everywhere.
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    if let Some(k) = config.top_k
        && k < order.len()
    {
        let threshold = scores[order[k - 1]];
        order.retain(|token| scores[*token] >= threshold);
    }
    let best = scores[order[0]];
    let weight = |token: usize| ((scores[token] - best) / config.temperature).exp();
    let total: f64 = order.iter().map(|token| weight(*token)).sum();
    let kept = match config.top_p {
        Some(p) => {
            let mut sum = 0.0;
            let within = order.iter().take_while(|token| {
                let before = sum;
                sum += weight(**token);
                before < p * total
            });
            within.count().max(1)
        }
        None => order.len(),
    };
    order.truncate(kept);
    let total: f64 = order.iter().map(|token| weight(*token)).sum();
    let mut left = uniform * total;
    for token in &order {
        left -= weight(*token);
        if left <= 0.0 {
            return *token as u32;
        }
    }
    // Rounding can leave a remainder after the last one.
    order[order.len() - 1] as u32
}

/// Index of the first largest value.
fn argmax(scores: &[f64]) -> usize {
    scores.iter().enumerate().fold(0, |best, (index, score)| if *score > scores[best] { index } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    fn sampled(config: &GenerationConfig) -> Vec<u32> {
        let mut tokens: Vec<u32> =
            (0..1000).map(|n| choose_token(&LOGITS, &[], config, (f64::from(n) + 0.5) / 1000.0)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    #[test]
    fn processors_cut_as_documented() {
        let config = GenerationConfig { temperature: 1.0, ..Default::default() };
        assert_eq!(sampled(&config), [0, 1, 2, 3]);
        assert_eq!(sampled(&GenerationConfig { top_k: Some(2), ..config.clone() }), [1, 2]);
        // softmax: 0.0889, 0.6572, 0.2418, 0.0120 for the ids 0, 1, 2, 3
        assert_eq!(sampled(&GenerationConfig { top_p: Some(0.6), ..config.clone() }), [1]);
        assert_eq!(sampled(&GenerationConfig { top_p: Some(0.89), ..config.clone() }), [1, 2]);
        assert_eq!(sampled(&GenerationConfig { top_p: Some(0.9), ..config.clone() }), [0, 1, 2]);
    }

    #[test]
    fn sampling_follows_the_probabilities() {
        let config = GenerationConfig { temperature: 1.0, ..Default::default() };
        let count =
            (0..10_000).filter(|n| choose_token(&LOGITS, &[], &config, (f64::from(*n) + 0.5) / 10_000.0) == 1).count();
        // exp(3) / (exp(1) + exp(3) + exp(2) + exp(-1)) = 0.6572
        let z: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        assert!((count as f64 / 10_000.0 - 3f64.exp() / z).abs() < 2e-4, "{count}");
    }

    #[test]
    fn repetition_penalty_divides_positive_and_multiplies_negative_logits() {
        let config = GenerationConfig { repetition_penalty: 2.0, ..Default::default() };
        // 3 / 2 = 1.5 < 2
        assert_eq!(choose_token(&LOGITS, &[1], &config, 0.5), 2);
        assert_eq!(choose_token(&[-1.0, -1.5], &[0], &config, 0.5), 1);
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0]), 1);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for config in [
            GenerationConfig { temperature: -1.0, ..Default::default() },
            GenerationConfig { top_k: Some(0), ..Default::default() },
            GenerationConfig { top_p: Some(0.0), ..Default::default() },
            GenerationConfig { repetition_penalty: 0.0, ..Default::default() },
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }
}
