//! A multilingual text encoder of either kind.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{XlmRobertaConfig, XlmRobertaModel, XlmRobertaXlConfig, XlmRobertaXlModel};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};

/// Configuration of a text encoder, told apart by `model_type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model_type")]
pub enum TextEncoderConfig {
    /// XLM-RoBERTa, InfoXLM: post-norm.
    #[serde(rename = "xlm-roberta")]
    XlmRoberta(XlmRobertaConfig),
    /// XLM-RoBERTa-XL: pre-norm.
    #[serde(rename = "xlm-roberta-xl")]
    XlmRobertaXl(XlmRobertaXlConfig),
}

impl TextEncoderConfig {
    /// An encoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<TextEncoder, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// An encoder with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<TextEncoder, ModelError> {
        Ok(match self {
            Self::XlmRoberta(config) => TextEncoder::XlmRoberta(config.init_with(scope)?),
            Self::XlmRobertaXl(config) => TextEncoder::XlmRobertaXl(config.init_with(scope)?),
        })
    }

    /// Width of the hidden states.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::XlmRoberta(config) => config.hidden_size,
            Self::XlmRobertaXl(config) => config.hidden_size,
        }
    }

    /// Number of layers; hidden states are one more.
    pub fn num_layers(&self) -> usize {
        match self {
            Self::XlmRoberta(config) => config.num_hidden_layers,
            Self::XlmRobertaXl(config) => config.num_hidden_layers,
        }
    }

    /// Rows of the table of words.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::XlmRoberta(config) => config.vocab_size,
            Self::XlmRobertaXl(config) => config.vocab_size,
        }
    }

    /// Tokens of the longest text.
    pub fn max_tokens(&self) -> usize {
        match self {
            Self::XlmRoberta(config) => config.shape().max_tokens(),
            Self::XlmRobertaXl(config) => config.shape().max_tokens(),
        }
    }

    /// The padding id.
    pub fn pad_token_id(&self) -> i64 {
        match self {
            Self::XlmRoberta(config) => config.pad_token_id,
            Self::XlmRobertaXl(config) => config.pad_token_id,
        }
    }
}

/// A text encoder.
#[derive(Module, Debug)]
// One value a model: the difference in size between the variants costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum TextEncoder {
    /// XLM-RoBERTa, InfoXLM: post-norm.
    XlmRoberta(XlmRobertaModel),
    /// XLM-RoBERTa-XL: pre-norm.
    XlmRobertaXl(XlmRobertaXlModel),
}

impl TextEncoder {
    /// The configuration that it was built from.
    pub fn config(&self) -> TextEncoderConfig {
        match self {
            Self::XlmRoberta(model) => TextEncoderConfig::XlmRoberta(model.config.clone()),
            Self::XlmRobertaXl(model) => TextEncoderConfig::XlmRobertaXl(model.config.clone()),
        }
    }

    /// Shows `seen` every hidden state with its number, from 0 (the embeddings) to the number of layers; returns the last. They are
    /// shown as they come, so that none needs to be kept.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`, padded on the right by the padding id
    /// - `mask`: `[batch, tokens]`, true where the token is real; without it all are
    /// - every hidden state: `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn states(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<Tensor<2, Bool>>,
        seen: impl FnMut(usize, &Tensor<3>),
    ) -> Result<Tensor<3>, ModelError> {
        match self {
            Self::XlmRoberta(model) => model.states(ids, mask, seen),
            Self::XlmRobertaXl(model) => model.states(ids, mask, seen),
        }
    }

    /// All hidden states at once, as transformers' `output_hidden_states`.
    ///
    /// # Shapes
    /// As [`Self::states`].
    ///
    /// # Errors
    /// As [`Self::states`].
    pub fn hidden_states(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<Tensor<2, Bool>>,
    ) -> Result<Vec<Tensor<3>>, ModelError> {
        let mut states = Vec::new();
        self.states(ids, mask, |_, state| states.push(state.clone()))?;
        Ok(states)
    }
}
