//! XLM-RoBERTa: a multilingual encoder, post-norm as BERT. InfoXLM has the same structure.
//!
//! ```text
//! x = LayerNorm(x + attention.output(self_attention(x)))
//! x = LayerNorm(x + output(gelu(intermediate(x))))
//! ```
//!
//! Unusual here: the embeddings are normalised, and so is hidden state 0; no norm follows the last layer, whose own is its end. GELU is
//! the exact one.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::roberta::{Dense, RobertaEmbeddings, RobertaSelfAttention, RobertaShape, padding_mask};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::nn::{Activation, AttentionMask, LayerNorm, Linear};

/// Keys and defaults of `XLMRobertaConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct XlmRobertaConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the two layers of the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Rows of the table of positions; a text has `pad_token_id + 1` tokens less at most.
    pub max_position_embeddings: usize,
    /// Types of tokens, of which only the first is used.
    pub type_vocab_size: usize,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Padding id, behind which positions begin.
    pub pad_token_id: i64,
    /// `absolute` alone.
    pub position_embedding_type: String,
}

impl Default for XlmRobertaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            pad_token_id: 1,
            position_embedding_type: "absolute".into(),
        }
    }
}

impl XlmRobertaConfig {
    pub(super) fn shape(&self) -> RobertaShape {
        RobertaShape {
            model: "xlm-roberta",
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_attention_heads: self.num_attention_heads,
            max_position_embeddings: self.max_position_embeddings,
            type_vocab_size: self.type_vocab_size,
            pad_token_id: self.pad_token_id,
            hidden_act: self.hidden_act,
        }
    }

    /// An encoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<XlmRobertaModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// An encoder with BERT's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<XlmRobertaModel, ModelError> {
        let shape = self.shape();
        shape.check(&self.position_embedding_type)?;
        let norm = || LayerNorm::new(shape.hidden_size, self.layer_norm_eps, scope.device());
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let layer = |index: usize| {
            let scope = scope.at("encoder").at("layer").at(index);
            let attention = scope.at("attention");
            PostNormLayer {
                attention: PostNormAttention {
                    self_attention: RobertaSelfAttention::new(&shape, &attention.at("self")),
                    output: NormedDense {
                        dense: Dense::new(&shape, &attention.at("output"), hidden, hidden).dense,
                        layer_norm: norm(),
                    },
                },
                intermediate: Dense::new(&shape, &scope.at("intermediate"), hidden, inner),
                output: NormedDense {
                    dense: Dense::new(&shape, &scope.at("output"), inner, hidden).dense,
                    layer_norm: norm(),
                },
                activation: shape.hidden_act,
            }
        };
        Ok(XlmRobertaModel {
            embeddings: RobertaEmbeddings::new(&shape, Some(norm()), &scope.at("embeddings")),
            encoder: PostNormEncoder { layer: (0..self.num_hidden_layers).map(layer).collect() },
            config: self.clone(),
        })
    }
}

/// `LayerNorm(dense(x) + residual)`.
#[derive(Module, Debug)]
pub struct NormedDense {
    /// The layer.
    pub dense: Linear,
    /// After the residual was added.
    pub layer_norm: LayerNorm,
}

impl NormedDense {
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.layer_norm.forward(self.dense.forward(x) + residual)
    }
}

/// Self-attention with what follows it.
#[derive(Module, Debug)]
pub struct PostNormAttention {
    /// `self` in checkpoints.
    pub self_attention: RobertaSelfAttention,
    /// Output projection and norm.
    pub output: NormedDense,
}

/// One post-norm layer.
#[derive(Module, Debug)]
pub struct PostNormLayer {
    /// Self-attention.
    pub attention: PostNormAttention,
    /// Into the wide space.
    pub intermediate: Dense,
    /// And back, with the norm.
    pub output: NormedDense,
    #[module(skip)]
    activation: Activation,
}

impl PostNormLayer {
    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let attended = self.attention.self_attention.forward(x.clone(), mask);
        let x = self.attention.output.forward(attended, x);
        let inner = self.activation.forward(self.intermediate.dense.forward(x.clone()));
        self.output.forward(inner, x)
    }
}

/// The layers.
#[derive(Module, Debug)]
pub struct PostNormEncoder {
    /// In order of application.
    pub layer: Vec<PostNormLayer>,
}

/// XLM-RoBERTa without a head.
#[derive(Module, Debug)]
pub struct XlmRobertaModel {
    /// Words, positions, type.
    pub embeddings: RobertaEmbeddings,
    /// The layers.
    pub encoder: PostNormEncoder,
    /// What the encoder was built from.
    #[module(skip)]
    pub config: XlmRobertaConfig,
}

impl XlmRobertaModel {
    /// Shows `seen` every hidden state with its number, from 0 (the normalised embeddings) to the number of layers; returns the last.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`, padded on the right
    /// - `mask`: `[batch, tokens]`, true where the token is real
    /// - every hidden state: `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn states(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<Tensor<2, Bool>>,
        mut seen: impl FnMut(usize, &Tensor<3>),
    ) -> Result<Tensor<3>, ModelError> {
        let mask = padding_mask(mask);
        let mut x = self.embeddings.forward(ids)?;
        seen(0, &x);
        for (index, layer) in self.encoder.layer.iter().enumerate() {
            x = layer.forward(x, &mask);
            seen(index + 1, &x);
        }
        Ok(x)
    }
}
