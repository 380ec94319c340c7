//! Llama (Touvron et al. 2023; Llama 3: 2024) and Vicuna, LLaVA-1.5's backbone; the pre-norm layer is Qwen 2's too.
//!
//! Unusual here: nothing; this is the plain form that the other decoders differ from. Llama 3.1 and later stretch their rotary
//! positions (`rope_type: llama3`), the long Vicunas do so linearly.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerType, TokenIds, check_heads};
use super::decoder::{AttentionShape, Decoder, DecoderAttention, DecoderLayer, DecoderShape, GatedMlp, MlpShape};
use super::rope_scaling::{RopeFrequencies, RopeParameters};
use super::{KvCache, Quirks};
use crate::count::LayerShape;
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::nn::{Activation, AttentionMask, AttentionOptions, Linear, RmsNorm, RopeAngles};

/// Keys and defaults of `LlamaConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlamaConfig {
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
    /// Key and value heads; absent, as many as query heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; absent, `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// Longest sequence; `linear` scaling multiplies it.
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
    /// Whether the four attention projections have biases.
    pub attention_bias: bool,
    /// Whether the three layers of the MLP have biases.
    pub mlp_bias: bool,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Padding id.
    pub pad_token_id: Option<i64>,
    /// Id in front of every text.
    pub bos_token_id: Option<u32>,
    /// Id or ids that end a text.
    pub eos_token_id: Option<TokenIds>,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: Activation::Silu,
            max_position_embeddings: 2048,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            rope_parameters: None,
            attention_bias: false,
            mlp_bias: false,
            tie_word_embeddings: false,
            pad_token_id: None,
            bos_token_id: Some(1),
            eos_token_id: Some(TokenIds::One(2)),
        }
    }
}

impl LlamaConfig {
    /// A decoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init(&self, device: &Device) -> Result<LlamaForCausalLm, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A decoder with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init_with(&self, scope: &Scope) -> Result<LlamaForCausalLm, ModelError> {
        let (model, lm_head) = self.like().build(scope, |_| None)?;
        Ok(LlamaForCausalLm { model, lm_head, config: self.clone() })
    }

    /// The decoder in the form that Llama's kin share.
    pub(super) fn like(&self) -> LlamaLike<'_> {
        LlamaLike {
            name: "llama",
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.num_hidden_layers,
            layer_types: None,
            heads: self.num_attention_heads,
            kv_heads: self.kv_heads(),
            head_dim: self.head_dim(),
            activation: self.hidden_act,
            positions: self.max_position_embeddings,
            initializer_range: self.initializer_range,
            norm_eps: self.rms_norm_eps,
            rope_theta: self.rope_theta,
            rope_parameters: self.rope_parameters.as_ref(),
            rope_scaling: self.rope_scaling.as_ref(),
            qkv_bias: self.attention_bias,
            out_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            tie_word_embeddings: self.tie_word_embeddings,
        }
    }

    /// The sizes of its layers.
    pub fn layer_shape(&self) -> LayerShape {
        self.like().layer_shape()
    }

    /// How many positions layer `layer` sees: all.
    pub fn layer_window(&self, _layer: usize) -> Option<usize> {
        None
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

/// What a decoder of Llama's kin is built from: [`LlamaDecoderLayer`]s that differ by biases and windows.
pub(super) struct LlamaLike<'a> {
    pub(super) name: &'static str,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) layers: usize,
    pub(super) layer_types: Option<&'a [LayerType]>,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) activation: Activation,
    pub(super) positions: usize,
    pub(super) initializer_range: f64,
    pub(super) norm_eps: f64,
    pub(super) rope_theta: f64,
    pub(super) rope_parameters: Option<&'a RopeParameters>,
    pub(super) rope_scaling: Option<&'a RopeParameters>,
    pub(super) qkv_bias: bool,
    pub(super) out_bias: bool,
    pub(super) mlp_bias: bool,
    pub(super) tie_word_embeddings: bool,
}

impl LlamaLike<'_> {
    /// The decoder and its head, unless that is tied; layer `i` sees `window(i)` positions, `None` is all.
    pub(super) fn build(
        &self,
        scope: &Scope,
        window: impl Fn(usize) -> Option<usize>,
    ) -> Result<(Decoder<LlamaDecoderLayer>, Option<Linear>), ModelError> {
        check_heads(self.name, self.heads, self.kv_heads, self.head_dim, self.layer_types, self.layers)?;
        let sizes = [self.positions, self.head_dim];
        let rope = RopeFrequencies::new(self.name, sizes, self.rope_theta, self.rope_parameters, self.rope_scaling)?;
        let shape = DecoderShape {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            layers: self.layers,
            rope,
            norm_eps: self.norm_eps,
            norm_plus_one: false,
            initializer_range: self.initializer_range,
            tie_word_embeddings: self.tie_word_embeddings,
        };
        let attention = AttentionShape {
            hidden_size: self.hidden_size,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            qkv_bias: self.qkv_bias,
            out_bias: self.out_bias,
            options: AttentionOptions::new(self.head_dim),
        };
        let mlp = MlpShape {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            activation: self.activation,
            bias: self.mlp_bias,
        };
        Ok(shape.build(scope, |index, fill, scope| {
            let norm = || RmsNorm::new(self.hidden_size, self.norm_eps, false, scope.device());
            LlamaDecoderLayer {
                self_attn: DecoderAttention::new(&attention, fill, &scope.at("self_attn")),
                mlp: GatedMlp::new(&mlp, fill, &scope.at("mlp")),
                input_layernorm: norm(),
                post_attention_layernorm: norm(),
                window: window(index),
            }
        }))
    }

    /// The sizes of its layers.
    pub(super) fn layer_shape(&self) -> LayerShape {
        LayerShape {
            layers: self.layers,
            hidden_size: self.hidden_size,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            intermediate_size: self.intermediate_size,
            gated: true,
            norms: 2,
        }
    }
}

/// A pre-norm layer:
///
/// ```text
/// x = x + self_attn(input_layernorm(x))
/// x = x + mlp(post_attention_layernorm(x))
/// ```
#[derive(Module, Debug)]
pub struct LlamaDecoderLayer {
    /// Attention.
    pub self_attn: DecoderAttention,
    /// Gated MLP.
    pub mlp: GatedMlp,
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// Before the MLP.
    pub post_attention_layernorm: RmsNorm,
    #[module(skip)]
    window: Option<usize>,
}

impl DecoderLayer for LlamaDecoderLayer {
    fn forward(
        &self,
        x: Tensor<3>,
        angles: &RopeAngles,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let y = self.self_attn.forward(self.input_layernorm.forward(x.clone()), angles, mask, cache);
        let x = x + y;
        x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x))
    }

    fn window(&self) -> Option<usize> {
        self.window
    }
}

/// Llama with its head.
#[derive(Module, Debug)]
pub struct LlamaForCausalLm {
    /// Embeddings, layers, norm.
    pub model: Decoder<LlamaDecoderLayer>,
    /// `None` where it is tied to the embeddings.
    pub lm_head: Option<Linear>,
    /// What the model was built from.
    #[module(skip)]
    pub config: LlamaConfig,
}

impl Quirks for LlamaForCausalLm {}
