//! Gemma 2 (Gemma Team 2024), the backbone of Tower+ and TowerVision.
//!
//! Unusual here:
//! - embeddings are multiplied by `sqrt(hidden)`; whether visual tokens are too is the VLM's `scale_visual_embeds`;
//! - norms around every sublayer, before and after ("sandwich"), scaled by `1 + weight`;
//! - soft-caps on attention scores and logits; scores are scaled by `query_pre_attn_scalar^-1/2`, not by the head's width;
//! - every other layer, beginning with the first, sees `sliding_window` positions only.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerType, TokenIds, check_heads};
use super::decoder::{AttentionShape, Decoder, DecoderAttention, DecoderLayer, DecoderShape, GatedMlp, MlpShape};
use super::rope_scaling::{RopeFrequencies, RopeParameters};
use super::{KvCache, Quirks};
use crate::count::LayerShape;
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, AttentionOptions, Linear, RmsNorm, RopeAngles};

/// Keys and defaults of `Gemma2Config`.
///
/// A key that is absent takes the default below; `null` means none. (TOML has no null: a soft-cap cannot be turned off there.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gemma2Config {
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
    /// Width of a head; heads x width need not be `hidden_size`.
    pub head_dim: usize,
    /// Activation of the MLP's gate.
    pub hidden_activation: Activation,
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
    /// Attention scores are scaled by this to the power -1/2.
    pub query_pre_attn_scalar: f64,
    /// Positions that a sliding layer sees.
    pub sliding_window: Option<usize>,
    /// Kind of each layer; absent, even layers slide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerType>>,
    /// Soft-cap of the logits.
    pub final_logit_softcapping: Option<f64>,
    /// Soft-cap of the attention scores.
    pub attn_logit_softcapping: Option<f64>,
    /// Whether the four projections of the attention have biases.
    pub attention_bias: bool,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Padding id.
    pub pad_token_id: Option<i64>,
    /// Id in front of every text.
    pub bos_token_id: Option<u32>,
    /// Id or ids that end a text.
    pub eos_token_id: Option<TokenIds>,
}

impl Default for Gemma2Config {
    fn default() -> Self {
        Self {
            vocab_size: 256_000,
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_attention_heads: 8,
            num_key_value_heads: 4,
            head_dim: 256,
            hidden_activation: Activation::GeluPytorchTanh,
            max_position_embeddings: 8192,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            rope_parameters: None,
            query_pre_attn_scalar: 256.0,
            sliding_window: Some(4096),
            layer_types: None,
            final_logit_softcapping: Some(30.0),
            attn_logit_softcapping: Some(50.0),
            attention_bias: false,
            tie_word_embeddings: true,
            pad_token_id: Some(0),
            bos_token_id: Some(2),
            eos_token_id: Some(TokenIds::One(1)),
        }
    }
}

impl Gemma2Config {
    /// A decoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init(&self, device: &Device) -> Result<Gemma2ForCausalLm, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A decoder with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init_with(&self, scope: &Scope) -> Result<Gemma2ForCausalLm, ModelError> {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        check_heads("gemma2", heads, kv_heads, self.head_dim, self.layer_types.as_deref(), self.num_hidden_layers)?;
        let rope = RopeFrequencies::new(
            "gemma2",
            [self.max_position_embeddings, self.head_dim],
            self.rope_theta,
            self.rope_parameters.as_ref(),
            self.rope_scaling.as_ref(),
        )?;
        let shape = DecoderShape {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            layers: self.num_hidden_layers,
            rope,
            norm_eps: self.rms_norm_eps,
            norm_plus_one: true,
            initializer_range: self.initializer_range,
            tie_word_embeddings: self.tie_word_embeddings,
        };
        let (model, lm_head) =
            shape.build(scope, |layer, fill, scope| Gemma2DecoderLayer::new(self, layer, fill, scope));
        Ok(Gemma2ForCausalLm { model, lm_head, softcaps_logits: true, config: self.clone() })
    }

    /// The sizes of its layers.
    pub fn layer_shape(&self) -> LayerShape {
        LayerShape {
            layers: self.num_hidden_layers,
            hidden_size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            intermediate_size: self.intermediate_size,
            gated: true,
            norms: 4,
        }
    }

    /// How many positions layer `layer` sees; `None` is all.
    pub fn layer_window(&self, layer: usize) -> Option<usize> {
        let slides = match &self.layer_types {
            Some(types) => types.get(layer) == Some(&LayerType::SlidingAttention),
            None => layer.is_multiple_of(2),
        };
        self.sliding_window.filter(|_| slides)
    }

    fn norm(&self, scope: &Scope) -> RmsNorm {
        RmsNorm::new(self.hidden_size, self.rms_norm_eps, true, scope.device())
    }
}

/// A layer with norms before and after each sublayer:
///
/// ```text
/// x = x + post_attention_layernorm(self_attn(input_layernorm(x)))
/// x = x + post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)))
/// ```
#[derive(Module, Debug)]
pub struct Gemma2DecoderLayer {
    /// Attention.
    pub self_attn: DecoderAttention,
    /// Gated MLP.
    pub mlp: GatedMlp,
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// After the attention.
    pub post_attention_layernorm: RmsNorm,
    /// Before the MLP.
    pub pre_feedforward_layernorm: RmsNorm,
    /// After the MLP.
    pub post_feedforward_layernorm: RmsNorm,
    #[module(skip)]
    window: Option<usize>,
}

impl Gemma2DecoderLayer {
    fn new(config: &Gemma2Config, layer: usize, fill: Fill, scope: &Scope) -> Self {
        let shape = AttentionShape {
            hidden_size: config.hidden_size,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            qkv_bias: config.attention_bias,
            out_bias: config.attention_bias,
            options: AttentionOptions {
                scale: config.query_pre_attn_scalar.powf(-0.5),
                softcap: config.attn_logit_softcapping,
            },
        };
        let mlp = MlpShape {
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            activation: config.hidden_activation,
            bias: false,
        };
        Self {
            self_attn: DecoderAttention::new(&shape, fill, &scope.at("self_attn")),
            mlp: GatedMlp::new(&mlp, fill, &scope.at("mlp")),
            input_layernorm: config.norm(scope),
            post_attention_layernorm: config.norm(scope),
            pre_feedforward_layernorm: config.norm(scope),
            post_feedforward_layernorm: config.norm(scope),
            window: config.layer_window(layer),
        }
    }
}

impl DecoderLayer for Gemma2DecoderLayer {
    fn forward(
        &self,
        x: Tensor<3>,
        angles: &RopeAngles,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let y = self.self_attn.forward(self.input_layernorm.forward(x.clone()), angles, mask, cache);
        let x = x + self.post_attention_layernorm.forward(y);
        let y = self.mlp.forward(self.pre_feedforward_layernorm.forward(x.clone()));
        x + self.post_feedforward_layernorm.forward(y)
    }

    fn window(&self) -> Option<usize> {
        self.window
    }
}

/// Gemma 2 with its head.
#[derive(Module, Debug)]
pub struct Gemma2ForCausalLm {
    /// Embeddings, layers, norm.
    pub model: Decoder<Gemma2DecoderLayer>,
    /// `None` where it is tied to the embeddings, as in every published Gemma 2.
    pub lm_head: Option<Linear>,
    /// Whether `final_logit_softcapping` is applied; a VLM may not (see `softcap_logits` of
    /// [`VlmConfig`](crate::vlm::VlmConfig)).
    #[module(skip)]
    pub softcaps_logits: bool,
    /// What the model was built from.
    #[module(skip)]
    pub config: Gemma2Config,
}

impl Quirks for Gemma2ForCausalLm {
    fn embed_scale(&self) -> f64 {
        (self.config.hidden_size as f64).sqrt()
    }

    fn final_softcap(&self) -> Option<f64> {
        self.config.final_logit_softcapping.filter(|_| self.softcaps_logits)
    }

    fn set_final_softcap(&mut self, on: bool) {
        self.softcaps_logits = on;
    }
}
