//! How the mixture of the experts and its input become the visual tokens: paper and code differ.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The two sums, with the weight `w`. At random experts the first shrinks the visual tokens about tenfold (`w` = 0.1), the
/// second leaves them nearly as stage 1 made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residual {
    /// `M + w H`, the authors' code (`moe_weight`).
    #[default]
    Code,
    /// `H + w M`, equation 5 of the paper.
    Paper,
    /// `M` alone (`use_moe_residual` = false).
    None,
}

impl Residual {
    /// # Shapes
    /// - `input`: `H`; `mixture`: `M`; both and the result: the same shape
    pub fn join(self, input: Tensor<3>, mixture: Tensor<3>, weight: f64) -> Tensor<3> {
        match self {
            Self::Code => mixture + input * weight,
            Self::Paper => input + mixture * weight,
            Self::None => mixture,
        }
    }
}
