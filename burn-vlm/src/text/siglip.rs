//! SigLIP's text tower.
//!
//! Unusual here: no mask at all. Texts are padded to `max_position_embeddings`, padding attends and is attended to, nothing is
//! causal, and the pooled vector is the *last position* through a linear head. So the padding id matters, and a text must
//! always be padded to the same length to give the same vector.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{TextEmbeddings, TextOutput};
use crate::encoder::{Encoder, EncoderInit, EncoderShape, check_heads};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, LayerNorm, Linear};

/// Keys and defaults of `SiglipTextConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiglipTextConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Length that texts are padded to.
    pub max_position_embeddings: usize,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Padding id.
    pub pad_token_id: Option<i64>,
    /// Width of the shared space; `None` means `hidden_size`.
    pub projection_size: Option<usize>,
}

impl Default for SiglipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 64,
            hidden_act: Activation::GeluPytorchTanh,
            layer_norm_eps: 1e-6,
            pad_token_id: Some(1),
            projection_size: None,
        }
    }
}

impl SiglipTextConfig {
    /// A tower with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<SiglipTextModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A tower with SigLIP's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<SiglipTextModel, ModelError> {
        let hidden = self.hidden_size;
        check_heads("siglip_text_model", hidden, self.num_attention_heads)?;
        let shape = EncoderShape {
            hidden_size: hidden,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
            hidden_act: self.hidden_act,
            init: EncoderInit::Siglip,
        };
        let embedding = Fill::Normal { std: (hidden as f64).powf(-0.5) };
        let projection = self.projection_size.unwrap_or(hidden);
        Ok(SiglipTextModel {
            embeddings: TextEmbeddings::new(
                self.vocab_size,
                self.max_position_embeddings,
                hidden,
                embedding,
                &scope.at("embeddings"),
            ),
            encoder: Encoder::new(&shape, &scope.at("encoder")),
            final_layer_norm: LayerNorm::new(hidden, self.layer_norm_eps, scope.device()),
            head: scope.linear("head", hidden, projection, Fill::lecun_normal(hidden), Some(Fill::ZEROS)),
            config: self.clone(),
        })
    }
}

/// The SigLIP text tower.
#[derive(Module, Debug)]
pub struct SiglipTextModel {
    /// Tokens and positions.
    pub embeddings: TextEmbeddings,
    /// The layers.
    pub encoder: Encoder,
    /// After the last layer.
    pub final_layer_norm: LayerNorm,
    /// Last position to the shared space.
    pub head: Linear,
    /// What the tower was built from.
    #[module(skip)]
    pub config: SiglipTextConfig,
}

impl SiglipTextModel {
    /// # Shapes
    /// - `ids`: `[batch, tokens]`, padded to one length (see the module's notes)
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Result<TextOutput, ModelError> {
        let x = self.encoder.forward(self.embeddings.forward(ids)?, &AttentionMask::full());
        let last_hidden_state = self.final_layer_norm.forward(x);
        let [batch, tokens, hidden] = last_hidden_state.dims();
        let last = last_hidden_state.clone().narrow(1, tokens - 1, 1).reshape([batch, hidden]);
        Ok(TextOutput { pooler_output: self.head.forward(last), last_hidden_state })
    }
}
