//! What XLM-RoBERTa and XLM-RoBERTa-XL have in common: embeddings, self-attention, sizes.
//!
//! Unusual here: positions begin behind the padding id (2, 3, 4, ... where that is 1), so that a table of 514 rows serves 512 tokens;
//! there is one type of token, and its row is *added* to every token.

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};

use crate::encoder::check_heads;
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::{Activation, AttentionMask, AttentionOptions, Embedding, LayerNorm, Linear, attention};

/// The only kind of positions that published checkpoints have.
const ABSOLUTE: &str = "absolute";
/// Deviation of the initial weights: `initializer_range` of all published configs.
const INITIAL_STD: f64 = 0.02;

/// The sizes of either encoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct RobertaShape {
    pub(super) model: &'static str,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) pad_token_id: i64,
    pub(super) hidden_act: Activation,
}

impl RobertaShape {
    /// Checks what the encoders cannot be built with.
    pub(super) fn check(&self, position_embedding_type: &str) -> Result<(), ModelError> {
        check_heads(self.model, self.hidden_size, self.num_attention_heads)?;
        if position_embedding_type != ABSOLUTE {
            let found = position_embedding_type.to_owned();
            return Err(ModelError::config(self.model, "position_embedding_type", found, ABSOLUTE));
        }
        if self.type_vocab_size == 0 {
            return Err(ModelError::config(self.model, "type_vocab_size", 0, "at least 1: its first row is added"));
        }
        let ids = i64::try_from(self.vocab_size.min(self.max_position_embeddings)).unwrap_or(i64::MAX);
        if !(0..ids - 1).contains(&self.pad_token_id) {
            let expected = format!("an id below vocab_size and max_position_embeddings - 1, {}", ids - 1);
            return Err(ModelError::config(self.model, "pad_token_id", self.pad_token_id, expected));
        }
        Ok(())
    }

    /// Tokens of the longest text: the positions from behind the padding id on.
    pub(super) fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(usize::try_from(self.pad_token_id).unwrap_or(0) + 1)
    }

    /// A linear layer with BERT's initialisation.
    pub(super) fn linear(&self, scope: &Scope, name: &str, input: usize, output: usize) -> Linear {
        scope.linear(name, input, output, Fill::Normal { std: INITIAL_STD }, Some(Fill::ZEROS))
    }
}

/// Words, positions and the one type, summed; normalised where the encoder is post-norm.
#[derive(Module, Debug)]
pub struct RobertaEmbeddings {
    /// `[vocab_size, hidden]`
    pub word_embeddings: Embedding,
    /// `[max_position_embeddings, hidden]`; the rows up to the padding id are never used.
    pub position_embeddings: Embedding,
    /// `[type_vocab_size, hidden]`
    pub token_type_embeddings: Embedding,
    /// After the sum; XLM-RoBERTa-XL has none.
    pub layer_norm: Option<LayerNorm>,
    #[module(skip)]
    pad: i64,
}

impl RobertaEmbeddings {
    pub(super) fn new(shape: &RobertaShape, layer_norm: Option<LayerNorm>, scope: &Scope) -> Self {
        let table = |name, rows| scope.embedding(name, rows, shape.hidden_size, Fill::Normal { std: INITIAL_STD });
        Self {
            word_embeddings: table("word_embeddings", shape.vocab_size),
            position_embeddings: table("position_embeddings", shape.max_position_embeddings),
            token_type_embeddings: table("token_type_embeddings", shape.type_vocab_size),
            layer_norm,
            pad: shape.pad_token_id,
        }
    }

    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - returns `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Result<Tensor<3>, ModelError> {
        let [_, tokens] = ids.dims();
        let rows = self.position_embeddings.weight.lazy_shape().to_vec().first().copied().unwrap_or(0);
        let max = rows.saturating_sub(usize::try_from(self.pad).unwrap_or(0) + 1);
        if tokens > max {
            return Err(ModelError::TooLong { what: "max_position_embeddings of the text encoder", tokens, max });
        }
        let types: Tensor<3> = self.token_type_embeddings.weight.val().narrow(0, 0, 1).unsqueeze();
        let positions = self.position_embeddings.forward(position_ids(&ids, self.pad));
        let sum = self.word_embeddings.forward(ids) + types + positions;
        Ok(match &self.layer_norm {
            Some(norm) => norm.forward(sum),
            None => sum,
        })
    }
}

/// Positions of tokens: the padding id plus the number of tokens so far; padding keeps its own id.
///
/// # Shapes
/// - `ids` and the result: `[batch, tokens]`
fn position_ids(ids: &Tensor<2, Int>, pad: i64) -> Tensor<2, Int> {
    let real = ids.clone().not_equal_elem(pad).int();
    real.clone().cumsum(1) * real + pad
}

/// Which tokens are seen: those that are no padding.
pub(super) fn padding_mask(mask: Option<Tensor<2, Bool>>) -> AttentionMask {
    AttentionMask::full().with_key_padding(mask)
}

/// Queries, keys and values.
#[derive(Module, Debug)]
pub struct RobertaSelfAttention {
    /// Queries.
    pub query: Linear,
    /// Keys.
    pub key: Linear,
    /// Values.
    pub value: Linear,
    #[module(skip)]
    heads: usize,
}

impl RobertaSelfAttention {
    pub(super) fn new(shape: &RobertaShape, scope: &Scope) -> Self {
        let linear = |name| shape.linear(scope, name, shape.hidden_size, shape.hidden_size);
        Self { query: linear("query"), key: linear("key"), value: linear("value"), heads: shape.num_attention_heads }
    }

    /// The heads' outputs side by side, before the output projection.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let [batch, tokens, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let split = |x: Tensor<3>| x.reshape([batch, tokens, self.heads, head_dim]);
        let q = split(self.query.forward(x.clone()));
        let k = split(self.key.forward(x.clone()));
        let v = split(self.value.forward(x));
        attention(q, k, v, mask, &AttentionOptions::new(head_dim)).reshape([batch, tokens, hidden])
    }
}

/// A linear layer that checkpoints call `dense`.
#[derive(Module, Debug)]
pub struct Dense {
    /// The layer.
    pub dense: Linear,
}

impl Dense {
    pub(super) fn new(shape: &RobertaShape, scope: &Scope, input: usize, output: usize) -> Self {
        Self { dense: shape.linear(scope, "dense", input, output) }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn positions_begin_behind_the_padding_id() {
        let ids = TensorData::new(vec![0i64, 7, 2, 1, 1, 0, 2, 1, 5, 1], [2, 5]);
        let ids = Tensor::<2, Int>::from_data(ids, &Device::flex());
        let found: Vec<i64> = position_ids(&ids, 1).into_data().iter::<i64>().collect();
        assert_eq!(found, [2, 3, 4, 1, 1, 2, 3, 1, 4, 1]);
    }
}
