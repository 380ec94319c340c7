//! Text towers of the dual encoders, and the multilingual encoders that translation metrics stand on ([`TextEncoder`]).

mod clip;
mod encoder;
mod roberta;
mod siglip;
mod xlm_roberta;
mod xlm_roberta_xl;

pub use clip::{ClipTextConfig, ClipTextModel};
pub use encoder::{TextEncoder, TextEncoderConfig};
pub use roberta::{Dense, RobertaEmbeddings, RobertaSelfAttention};
pub use siglip::{SiglipTextConfig, SiglipTextModel};
pub use xlm_roberta::{
    NormedDense, PostNormAttention, PostNormEncoder, PostNormLayer, XlmRobertaConfig, XlmRobertaModel,
};
pub use xlm_roberta_xl::{PreNormAttention, PreNormEncoder, PreNormLayer, XlmRobertaXlConfig, XlmRobertaXlModel};

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::Embedding;

/// What a text tower computed.
#[derive(Debug, Clone)]
pub struct TextOutput {
    /// After the final norm: `[batch, tokens, hidden]`.
    pub last_hidden_state: Tensor<3>,
    /// One vector a text: `[batch, hidden]` (SigLIP: after its linear head, `[batch, projection_size]`).
    pub pooler_output: Tensor<2>,
}

/// Token embeddings plus learned positions.
#[derive(Module, Debug)]
pub struct TextEmbeddings {
    /// `[vocab_size, hidden]`
    pub token_embedding: Embedding,
    /// `[max_position_embeddings, hidden]`
    pub position_embedding: Embedding,
}

impl TextEmbeddings {
    fn new(vocabulary: usize, positions: usize, hidden: usize, fill: Fill, scope: &Scope) -> Self {
        Self {
            token_embedding: scope.embedding("token_embedding", vocabulary, hidden, fill),
            position_embedding: scope.embedding("position_embedding", positions, hidden, fill),
        }
    }

    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - returns `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    fn forward(&self, ids: Tensor<2, Int>) -> Result<Tensor<3>, ModelError> {
        let [_, tokens] = ids.dims();
        let positions = self.position_embedding.weight.val();
        let [max, _] = positions.dims();
        if tokens > max {
            return Err(ModelError::TooLong { what: "max_position_embeddings of the text tower", tokens, max });
        }
        Ok(self.token_embedding.forward(ids) + positions.narrow(0, 0, tokens).unsqueeze())
    }
}
