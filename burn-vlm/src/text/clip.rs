//! CLIP's text tower.
//!
//! Unusual here: causal, and the pooled vector is the hidden state at the first end-of-text token. Checkpoints made before
//! the id was corrected have `eos_token_id` 2, which is no token: there the *largest* id marks the end of text.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{TextEmbeddings, TextOutput};
use crate::encoder::{Encoder, EncoderInit, EncoderShape, check_heads};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, LayerNorm};

/// The `eos_token_id` of configs written before the right id was put there.
const LEGACY_EOS: i64 = 2;

/// Keys and defaults of `CLIPTextConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Width of the shared space of the dual encoder (unused by the tower itself).
    pub projection_dim: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Longest text.
    pub max_position_embeddings: usize,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// End-of-text id; 2 in old configs, see the module's notes.
    pub eos_token_id: i64,
    /// Padding id.
    pub pad_token_id: Option<i64>,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
            pad_token_id: Some(1),
        }
    }
}

impl ClipTextConfig {
    /// A tower with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<ClipTextModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A tower with CLIP's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<ClipTextModel, ModelError> {
        let hidden = self.hidden_size;
        check_heads("clip_text_model", hidden, self.num_attention_heads)?;
        let shape = EncoderShape {
            hidden_size: hidden,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
            hidden_act: self.hidden_act,
            init: EncoderInit::Clip,
        };
        Ok(ClipTextModel {
            embeddings: TextEmbeddings::new(
                self.vocab_size,
                self.max_position_embeddings,
                hidden,
                Fill::Normal { std: 0.02 },
                &scope.at("embeddings"),
            ),
            encoder: Encoder::new(&shape, &scope.at("encoder")),
            final_layer_norm: LayerNorm::new(hidden, self.layer_norm_eps, scope.device()),
            config: self.clone(),
        })
    }
}

/// The CLIP text tower.
#[derive(Module, Debug)]
pub struct ClipTextModel {
    /// Tokens and positions.
    pub embeddings: TextEmbeddings,
    /// The layers.
    pub encoder: Encoder,
    /// After the last layer.
    pub final_layer_norm: LayerNorm,
    /// What the tower was built from.
    #[module(skip)]
    pub config: ClipTextConfig,
}

impl ClipTextModel {
    /// Right-padded texts need no `mask`: nothing before the end-of-text token sees what follows it.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - `mask`: `[batch, tokens]`, true where the token is real
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Option<Tensor<2, Bool>>) -> Result<TextOutput, ModelError> {
        let mask = AttentionMask::causal().with_key_padding(mask);
        let x = self.encoder.forward(self.embeddings.forward(ids.clone())?, &mask);
        let last_hidden_state = self.final_layer_norm.forward(x);
        let [batch, _, hidden] = last_hidden_state.dims();
        // argmax gives the first of equal values: the first end-of-text token, or position 0 if there is none
        let end = match self.config.eos_token_id {
            LEGACY_EOS => ids.argmax(1),
            eos => ids.equal_elem(eos).int().argmax(1),
        };
        let index = end.reshape([batch, 1, 1]).repeat_dim(2, hidden);
        let pooler_output = last_hidden_state.clone().gather(1, index).reshape([batch, hidden]);
        Ok(TextOutput { last_hidden_state, pooler_output })
    }
}
