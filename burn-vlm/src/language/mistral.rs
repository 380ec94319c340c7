//! Mistral 7B (Jiang et al. 2023), one of LLaVA-NeXT's backbones.
//!
//! Unusual here: the layers are Llama's without biases, but every one of them sees only the last `sliding_window` positions,
//! and the class default is 4096: where a config leaves the key out the window is there, where it says `null` (version 0.2 and
//! later) it is not.

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Quirks;
use super::config::TokenIds;
use super::decoder::Decoder;
use super::llama::{LlamaDecoderLayer, LlamaLike};
use super::rope_scaling::RopeParameters;
use crate::count::LayerShape;
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::nn::{Activation, Linear};

/// Keys and defaults of `MistralConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MistralConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head; absent, `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Standard deviation of the weights at the start.
    pub initializer_range: f64,
    /// Epsilon of the norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies (transformers 4.x).
    pub rope_theta: f64,
    /// Stretched rotary positions (transformers 4.x).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeParameters>,
    /// Base and stretching in transformers 5.x; it wins over `rope_theta`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    /// Positions that each layer sees; `None` is all.
    pub sliding_window: Option<usize>,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Padding id.
    pub pad_token_id: Option<i64>,
    /// Id in front of every text.
    pub bos_token_id: Option<u32>,
    /// Id or ids that end a text.
    pub eos_token_id: Option<TokenIds>,
}

impl Default for MistralConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 14_336,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: None,
            hidden_act: Activation::Silu,
            max_position_embeddings: 131_072,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            rope_parameters: None,
            sliding_window: Some(4096),
            tie_word_embeddings: false,
            pad_token_id: None,
            bos_token_id: Some(1),
            eos_token_id: Some(TokenIds::One(2)),
        }
    }
}

impl MistralConfig {
    /// A decoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init(&self, device: &Device) -> Result<MistralForCausalLm, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A decoder with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init_with(&self, scope: &Scope) -> Result<MistralForCausalLm, ModelError> {
        if self.sliding_window == Some(0) {
            return Err(ModelError::config("mistral", "sliding_window", 0, "at least 1, or null for none"));
        }
        let (model, lm_head) = self.like().build(scope, |_| self.sliding_window)?;
        Ok(MistralForCausalLm { model, lm_head, config: self.clone() })
    }

    /// The decoder in the form that Llama's kin share.
    pub(super) fn like(&self) -> LlamaLike<'_> {
        LlamaLike {
            name: "mistral",
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.num_hidden_layers,
            layer_types: None,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim(),
            activation: self.hidden_act,
            positions: self.max_position_embeddings,
            initializer_range: self.initializer_range,
            norm_eps: self.rms_norm_eps,
            rope_theta: self.rope_theta,
            rope_parameters: self.rope_parameters.as_ref(),
            rope_scaling: self.rope_scaling.as_ref(),
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            tie_word_embeddings: self.tie_word_embeddings,
        }
    }

    /// The sizes of its layers.
    pub fn layer_shape(&self) -> LayerShape {
        self.like().layer_shape()
    }

    /// How many positions layer `layer` sees; `None` is all.
    pub fn layer_window(&self, _layer: usize) -> Option<usize> {
        self.sliding_window
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

/// Mistral with its head.
#[derive(Module, Debug)]
pub struct MistralForCausalLm {
    /// Embeddings, layers, norm.
    pub model: Decoder<LlamaDecoderLayer>,
    /// `None` where it is tied to the embeddings.
    pub lm_head: Option<Linear>,
    /// What the model was built from.
    #[module(skip)]
    pub config: MistralConfig,
}

impl Quirks for MistralForCausalLm {}
