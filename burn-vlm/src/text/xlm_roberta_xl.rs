//! XLM-RoBERTa-XL and XXL: pre-norm.
//!
//! ```text
//! x = x + attention.output(self_attention(self_attn_layer_norm(x)))
//! x = x + output(gelu(intermediate(LayerNorm(x))))
//! ```
//!
//! Unusual here: the embeddings have no norm; the hidden states but the last are the residual stream as it is, and only the last is
//! normalised (`encoder.LayerNorm`); the table of words has more rows than the tokenizer has ids. GELU is the exact one.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::roberta::{Dense, RobertaEmbeddings, RobertaSelfAttention, RobertaShape, padding_mask};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::nn::{Activation, AttentionMask, LayerNorm};

/// Keys and defaults of `XLMRobertaXLConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct XlmRobertaXlConfig {
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

impl Default for XlmRobertaXlConfig {
    fn default() -> Self {
        Self {
            vocab_size: 250_880,
            hidden_size: 2560,
            intermediate_size: 10_240,
            num_hidden_layers: 36,
            num_attention_heads: 32,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
            pad_token_id: 1,
            position_embedding_type: "absolute".into(),
        }
    }
}

impl XlmRobertaXlConfig {
    pub(super) fn shape(&self) -> RobertaShape {
        RobertaShape {
            model: "xlm-roberta-xl",
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
    pub fn init(&self, device: &Device) -> Result<XlmRobertaXlModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// An encoder with BERT's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<XlmRobertaXlModel, ModelError> {
        let shape = self.shape();
        shape.check(&self.position_embedding_type)?;
        let norm = || LayerNorm::new(shape.hidden_size, self.layer_norm_eps, scope.device());
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let layer = |index: usize| {
            let scope = scope.at("encoder").at("layer").at(index);
            let attention = scope.at("attention");
            PreNormLayer {
                attention: PreNormAttention {
                    self_attn_layer_norm: norm(),
                    self_attention: RobertaSelfAttention::new(&shape, &attention.at("self")),
                    output: Dense::new(&shape, &attention.at("output"), hidden, hidden),
                },
                intermediate: Dense::new(&shape, &scope.at("intermediate"), hidden, inner),
                output: Dense::new(&shape, &scope.at("output"), inner, hidden),
                layer_norm: norm(),
                activation: shape.hidden_act,
            }
        };
        Ok(XlmRobertaXlModel {
            embeddings: RobertaEmbeddings::new(&shape, None, &scope.at("embeddings")),
            encoder: PreNormEncoder { layer: (0..self.num_hidden_layers).map(layer).collect(), layer_norm: norm() },
            config: self.clone(),
        })
    }
}

/// Self-attention with the norm before it.
#[derive(Module, Debug)]
pub struct PreNormAttention {
    /// Before the attention.
    pub self_attn_layer_norm: LayerNorm,
    /// `self` in checkpoints.
    pub self_attention: RobertaSelfAttention,
    /// Output projection.
    pub output: Dense,
}

/// One pre-norm layer.
#[derive(Module, Debug)]
pub struct PreNormLayer {
    /// Self-attention.
    pub attention: PreNormAttention,
    /// Into the wide space.
    pub intermediate: Dense,
    /// And back.
    pub output: Dense,
    /// Before the feed-forward part.
    pub layer_norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl PreNormLayer {
    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let attention = &self.attention;
        let attended = attention.self_attention.forward(attention.self_attn_layer_norm.forward(x.clone()), mask);
        let x = attention.output.dense.forward(attended) + x;
        let inner = self.intermediate.dense.forward(self.layer_norm.forward(x.clone()));
        self.output.dense.forward(self.activation.forward(inner)) + x
    }
}

/// The layers and the norm after the last.
#[derive(Module, Debug)]
pub struct PreNormEncoder {
    /// In order of application.
    pub layer: Vec<PreNormLayer>,
    /// After the last.
    pub layer_norm: LayerNorm,
}

/// XLM-RoBERTa-XL without a head.
#[derive(Module, Debug)]
pub struct XlmRobertaXlModel {
    /// Words, positions, type.
    pub embeddings: RobertaEmbeddings,
    /// The layers.
    pub encoder: PreNormEncoder,
    /// What the encoder was built from.
    #[module(skip)]
    pub config: XlmRobertaXlConfig,
}

impl XlmRobertaXlModel {
    /// Shows `seen` every hidden state with its number, from 0 (the embeddings) to the number of layers, of which the last alone is
    /// normalised; returns the last.
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
        for (index, layer) in self.encoder.layer.iter().enumerate() {
            seen(index, &x);
            x = layer.forward(x, &mask);
        }
        let last = self.encoder.layer_norm.forward(x);
        seen(self.encoder.layer.len(), &last);
        Ok(last)
    }
}
