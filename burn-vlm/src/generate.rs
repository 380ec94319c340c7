//! Text generation with a KV cache: greedy or sampled, batched with left padding, as a whole or token by token.
//!
//! Unusual here:
//! - a sampled row depends on the seed, its index and its own tokens only: not on its neighbours, its padding or the backend's
//!   random numbers (logits are sampled on the host in f64);
//! - in a fixed batch rows that have met a stop token ride along until all have, and contribute nothing;
//! - a chat keeps its cache: [`Decoding::resume`] runs only what was said since;
//! - many requests take turns in one batch: [`ContinuousDecoding`] puts a waiting one in the place of one that ended, within a
//!   bound on keys and values, and runs what prompts begin with alike ([`PrefixTree`]) once.

mod choose;
mod config;
mod continuous;
mod decoding;
mod prefix;
mod rule;

pub use choose::TokenLogprob;
pub use config::{GenerationConfig, SAMPLED_AMONG};
pub use continuous::{ContinuousDecoding, DecodingLimits, EmbedParts, Finished, NewLogprobs, Request, Step};
pub use decoding::{Decoding, NewToken};
pub use prefix::{PassLimits, PassNode, PrefixNode, PrefixPass, PrefixTree, PrefixWork, PromptPart};
pub use rule::TokenRule;

use burn::tensor::{Int, Tensor, TensorData};

use crate::connector::Projector;
use crate::error::ModelError;
use crate::language::LanguageModel;
use crate::vision::VisionTower;
use crate::vlm::{VisualFeatures, Vlm, VlmInput};

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// This stop token; it is not among the row's ids.
    Stop(u32),
    /// Its [`TokenRule`] lets nothing follow.
    Whole,
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

    /// The ids, `[batch, tokens]`.
    pub fn tensor(&self, device: &burn::tensor::Device) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(self.ids.clone(), [self.lengths.len(), self.tokens]), device)
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
        self.stream(prompts, config, device)?.finish()
    }

    /// As [`Self::generate`], token by token: an iterator over the steps.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn stream(
        &self,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
        device: &burn::tensor::Device,
    ) -> Result<Decoding<'_>, ModelError> {
        self.config().check_ids(prompts, &[])?;
        let padded = LeftPadded::new(prompts)?;
        let embeds = self.embed(padded.tensor(device));
        Decoding::new(self, embeds, padded, prompts, config)
    }
}

impl<T: VisionTower, P: Projector> Vlm<T, P> {
    /// Continues each prompt, in which every image is expanded to its image tokens, and every video to its video tokens.
    ///
    /// # Shapes
    /// - `features`: from [`Vlm::encode_images`], [`Vlm::encode_tiled_images`] or [`Vlm::media_tokens`], in the order of the prompts
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::ImageTokens`], [`ModelError::TooLong`], [`ModelError::Read`].
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        features: impl Into<VisualFeatures>,
        config: &GenerationConfig,
        device: &burn::tensor::Device,
    ) -> Result<Vec<Generated>, ModelError> {
        self.stream(prompts, features, config, device)?.finish()
    }

    /// As [`Self::generate`], token by token: an iterator over the steps.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn stream(
        &self,
        prompts: &[Vec<u32>],
        features: impl Into<VisualFeatures>,
        config: &GenerationConfig,
        device: &burn::tensor::Device,
    ) -> Result<Decoding<'_>, ModelError> {
        self.stream_routed(prompts, None, features, config, device)
    }

    /// As [`Self::stream`]; `routing` says which tokens of each prompt route a connector that
    /// [reads text](Projector::reads_text), `None` is all of them.
    ///
    /// # Errors
    /// As [`Self::generate`], and [`ModelError::Input`] unless `routing` has one entry for each token of each prompt.
    pub fn stream_routed(
        &self,
        prompts: &[Vec<u32>],
        routing: Option<&[Vec<bool>]>,
        features: impl Into<VisualFeatures>,
        config: &GenerationConfig,
        device: &burn::tensor::Device,
    ) -> Result<Decoding<'_>, ModelError> {
        self.language_model.config().check_ids(prompts, &self.config.visual_ids())?;
        let padded = LeftPadded::new(prompts)?;
        let mut input = VlmInput::new(padded.tensor(device)).with_features(features);
        if self.multi_modal_projector.reads_text() {
            let words = match routing {
                Some(chosen) => padded.align(chosen)?,
                None => padded.mask(padded.tokens),
            };
            let shape = [prompts.len(), padded.tokens];
            input.routing_text = Some(Tensor::from_data(TensorData::new(words, shape), device));
        }
        let embeds = self.embed(&input)?;
        Decoding::new(&self.language_model, embeds, padded, prompts, config)
    }
}
