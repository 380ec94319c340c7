//! Rows of a table by index.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::fused::packed;

/// A table of vectors; the checkpoint key is `weight`.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[rows, hidden]`
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// # Shapes
    /// - `ids`: `[batch, tokens]`, each below the number of rows
    /// - returns `[batch, tokens, hidden]`
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        embedding(self.weight.val(), ids)
    }
}

/// Rows of `weight` by index.
///
/// # Shapes
/// - `weight`: `[rows, hidden]`; `ids`: `[batch, tokens]`
/// - returns `[batch, tokens, hidden]`
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    if packed::is_packed(weight.dtype()) {
        let ([batch, tokens], [_, hidden]) = (ids.dims(), weight.dims());
        return packed::rows(weight, ids.reshape([batch * tokens])).reshape([batch, tokens, hidden]);
    }
    burn::tensor::module::embedding(weight, ids)
}
