//! Cross entropy over a vocabulary, one loss per row.
//!
//! Unusual here:
//! - rows are not averaged, so that the caller chooses the weights (per token, per sample, per language);
//! - a row with a negative target (-100 by convention) has loss zero and no gradient, so a batch in which
//!   nothing is trained gives zero, not NaN.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::fused::FusedOps;

/// `-log softmax(logits)[target]` of every row, in f32.
///
/// # Shapes
/// - `logits`: `[rows, vocabulary]`
/// - `targets`: `[rows]`, the class, or negative where the row does not count
/// - `softcap`: `cap * tanh(logits / cap)` before the softmax (Gemma 2's final soft-cap)
/// - returns `[rows]`
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Tensor<1> {
    assert_eq!(logits.dims()[0], targets.dims()[0], "cross_entropy: logits and targets must have one row count");
    let (logits, targets) = (logits.into_dispatch(), targets.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::cross_entropy_op(logits, targets, softcap))
}

/// Log-probability of each row's target, for scoring given answers; zero where the target is negative.
///
/// # Shapes
/// As [`cross_entropy`].
pub fn token_log_probs(logits: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Tensor<1> {
    cross_entropy(logits, targets, softcap).neg()
}
