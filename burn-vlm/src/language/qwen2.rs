//! Qwen 2 (Qwen Team 2024), also Qwen 1.5, which has as many key heads as query heads.
//!
//! Unusual here: q, k and v have biases, the output projection has none. `use_sliding_window` limits only the layers from
//! `max_window_layers` on (transformers 5.x; 4.51's eager attention differed).

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::KvCache;
use super::config::{LayerType, RopeParameters, TokenIds, check_heads, rope_theta};
use super::decoder::{AttentionInput, AttentionShape, Decoder, DecoderAttention, DecoderLayer, GatedMlp};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, AttentionOptions, Linear, RmsNorm, RopeAngles, RopeTable};

/// Keys and defaults of `Qwen2Config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qwen2Config {
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
    /// Scaled rotary positions are not supported: anything but null or the kind `default` is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<serde_json::Value>,
    /// The same in transformers 5.x; it wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    /// Whether any layer slides.
    pub use_sliding_window: bool,
    /// Positions that a sliding layer sees.
    pub sliding_window: Option<usize>,
    /// The first layer that slides.
    pub max_window_layers: usize,
    /// Kind of each layer; it wins over `max_window_layers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerType>>,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Padding id.
    pub pad_token_id: Option<i64>,
    /// Id in front of every text.
    pub bos_token_id: Option<u32>,
    /// Id or ids that end a text.
    pub eos_token_id: Option<TokenIds>,
}

impl Default for Qwen2Config {
    fn default() -> Self {
        Self {
            vocab_size: 151_936,
            hidden_size: 4096,
            intermediate_size: 22_016,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: None,
            hidden_act: Activation::Silu,
            max_position_embeddings: 32_768,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            rope_parameters: None,
            use_sliding_window: false,
            sliding_window: Some(4096),
            max_window_layers: 28,
            layer_types: None,
            tie_word_embeddings: false,
            pad_token_id: None,
            bos_token_id: None,
            eos_token_id: None,
        }
    }
}

impl Qwen2Config {
    /// A decoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init(&self, device: &Device) -> Result<Qwen2ForCausalLm, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A decoder with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init_with(&self, scope: &Scope) -> Result<Qwen2ForCausalLm, ModelError> {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        let layer_types = self.layer_types.as_deref();
        check_heads("qwen2", heads, kv_heads, self.head_dim(), layer_types, self.num_hidden_layers)?;
        let theta = rope_theta("qwen2", self.rope_theta, self.rope_parameters.as_ref(), self.rope_scaling.as_ref())?;
        let fill = Fill::Normal { std: self.initializer_range };
        let inner = scope.at("model");
        let layers = inner.at("layers");
        Ok(Qwen2ForCausalLm {
            model: Decoder {
                embed_tokens: inner.embedding("embed_tokens", self.vocab_size, self.hidden_size, fill),
                layers: (0..self.num_hidden_layers)
                    .map(|layer| Qwen2DecoderLayer::new(self, layer, fill, &layers.at(layer)))
                    .collect(),
                norm: self.norm(scope),
                rope: RopeTable::new(self.head_dim(), theta, self.max_position_embeddings, scope.device()),
            },
            lm_head: (!self.tie_word_embeddings)
                .then(|| scope.linear("lm_head", self.hidden_size, self.vocab_size, fill, None)),
            config: self.clone(),
        })
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// How many positions layer `layer` sees; `None` is all.
    pub fn layer_window(&self, layer: usize) -> Option<usize> {
        let slides = match &self.layer_types {
            Some(types) => types.get(layer) == Some(&LayerType::SlidingAttention),
            None => layer >= self.max_window_layers,
        };
        self.sliding_window.filter(|_| self.use_sliding_window && slides)
    }

    fn norm(&self, scope: &Scope) -> RmsNorm {
        RmsNorm::new(self.hidden_size, self.rms_norm_eps, false, scope.device())
    }
}

/// A pre-norm layer:
///
/// ```text
/// x = x + self_attn(input_layernorm(x))
/// x = x + mlp(post_attention_layernorm(x))
/// ```
#[derive(Module, Debug)]
pub struct Qwen2DecoderLayer {
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

impl Qwen2DecoderLayer {
    fn new(config: &Qwen2Config, layer: usize, fill: Fill, scope: &Scope) -> Self {
        let shape = AttentionShape {
            hidden_size: config.hidden_size,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim(),
            qkv_bias: true,
            options: AttentionOptions::new(config.head_dim()),
        };
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            self_attn: DecoderAttention::new(&shape, fill, &scope.at("self_attn")),
            mlp: GatedMlp::new(hidden, inner, config.hidden_act, fill, &scope.at("mlp")),
            input_layernorm: config.norm(scope),
            post_attention_layernorm: config.norm(scope),
            window: config.layer_window(layer),
        }
    }
}

impl DecoderLayer for Qwen2DecoderLayer {
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

/// Qwen 2 with its head.
#[derive(Module, Debug)]
pub struct Qwen2ForCausalLm {
    /// Embeddings, layers, norm.
    pub model: Decoder<Qwen2DecoderLayer>,
    /// `None` where it is tied to the embeddings.
    pub lm_head: Option<Linear>,
    /// What the model was built from.
    #[module(skip)]
    pub config: Qwen2Config,
}

impl Qwen2ForCausalLm {
    /// See [`LanguageModel::embed`](super::LanguageModel::embed).
    pub fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.model.embed_tokens.forward(ids)
    }

    /// See [`LanguageModel::forward`](super::LanguageModel::forward).
    ///
    /// # Errors
    /// [`ModelError::TooLong`].
    pub fn forward(
        &self,
        embeds: Tensor<3>,
        input: &AttentionInput,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>, ModelError> {
        self.model.forward(embeds, input, cache)
    }

    /// See [`LanguageModel::hidden_states`](super::LanguageModel::hidden_states).
    ///
    /// # Errors
    /// [`ModelError::TooLong`].
    pub fn hidden_states(&self, embeds: Tensor<3>, input: &AttentionInput) -> Result<Vec<Tensor<3>>, ModelError> {
        self.model.hidden_states(embeds, input)
    }

    /// The head, `[.., hidden]` to `[.., vocab_size]`.
    pub fn head<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        self.model.head(hidden, self.lm_head.as_ref())
    }
}
