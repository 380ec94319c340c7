//! Cross entropy over a vocabulary, one loss per row.
//!
//! Unusual here:
//! - rows are not averaged, so that the caller chooses the weights (per token, per sample, per language);
//! - a row with a negative target (-100 by convention) has loss zero and no gradient, so a batch in which
//!   nothing is trained gives zero, not NaN;
//! - with [`linear_cross_entropy`] the logits of a large vocabulary never exist as a whole.

use burn::backend::Dispatch;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use super::fused::{FusedOps, LinearLoss, packed};
use super::linear::linear;
use crate::error::ModelError;

/// Logits that exist at a time, in elements: 64 MB in f32, enough for matrix products at full speed.
pub const CHUNK_ELEMENTS: usize = 1 << 24;

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

/// The weight of a language model's head.
#[derive(Clone, Debug)]
pub enum HeadWeight {
    /// `[vocabulary, hidden]`: an embedding table that the head shares.
    Table(Tensor<2>),
    /// `[hidden, vocabulary]`: a [`Linear`](super::Linear) of its own.
    Linear(Tensor<2>),
}

impl HeadWeight {
    /// The tensor, and (hidden, vocabulary).
    fn into_parts(self) -> (Tensor<2>, bool, [usize; 2]) {
        match self {
            Self::Table(weight) => {
                let [vocabulary, hidden] = weight.dims();
                (weight, true, [hidden, vocabulary])
            }
            Self::Linear(weight) => {
                let dims = weight.dims();
                (weight, false, dims)
            }
        }
    }
}

/// [`cross_entropy`] of `hidden` times the head's weight, with at most [`CHUNK_ELEMENTS`] logits at a time, forward and
/// backward. A frozen weight costs no gradient.
///
/// The product has the element type of `hidden`, its gradients have those of `hidden` and of the weight.
///
/// # Shapes
/// - `hidden`: `[rows, hidden]`
/// - `targets`, `softcap` and the result: as [`cross_entropy`]; a row without a target is computed all the same, see
///   [`label_losses`]
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: HeadWeight,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
) -> Tensor<1> {
    linear_cross_entropy_chunked(hidden, weight, targets, softcap, CHUNK_ELEMENTS)
}

/// [`linear_cross_entropy`] with another bound on the logits that exist at a time. (A chunk has at least 256 classes.)
///
/// # Shapes
/// As [`linear_cross_entropy`].
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear_cross_entropy_chunked(
    hidden: Tensor<2>,
    weight: HeadWeight,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
    chunk_elements: usize,
) -> Tensor<1> {
    let (weight, class_rows, [width, vocabulary]) = weight.into_parts();
    let [rows, hidden_width] = hidden.dims();
    assert_eq!(rows, targets.dims()[0], "linear_cross_entropy: hidden and targets must have one row count");
    assert_eq!(hidden_width, width, "linear_cross_entropy: hidden and weight must have one width");
    if packed::is_packed(weight.dtype()) {
        // As a whole, for some rows at a time.
        let weight = if class_rows { weight.transpose() } else { weight };
        let chunk = (chunk_elements / vocabulary.max(1)).max(1);
        let losses = (0..rows).step_by(chunk).map(|first| {
            let range = first..(first + chunk).min(rows);
            let logits = linear(hidden.clone().slice([range.clone()]), weight.clone(), None);
            cross_entropy(logits, targets.clone().slice([range]), softcap)
        });
        let losses: Vec<Tensor<1>> = losses.collect();
        return if losses.is_empty() { Tensor::zeros([0], &hidden.device()) } else { Tensor::cat(losses, 0) };
    }
    let config = LinearLoss { class_rows, softcap, chunk_elements };
    let (hidden, weight, targets) = (hidden.into_dispatch(), weight.into_dispatch(), targets.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::linear_loss_op(hidden, weight, targets, config))
}

/// [`linear_cross_entropy`] for labels of which many do not count (prompts, padding): only rows with a target go through
/// the head; the others have loss zero. Reads the labels back from the device.
///
/// # Shapes
/// As [`linear_cross_entropy`].
///
/// # Errors
/// [`ModelError::Read`] if the labels cannot be read.
pub fn label_losses(
    hidden: Tensor<2>,
    weight: HeadWeight,
    labels: Tensor<1, Int>,
    softcap: Option<f64>,
) -> Result<Tensor<1>, ModelError> {
    let (device, rows) = (hidden.device(), labels.dims()[0]);
    let read = labels
        .clone()
        .try_into_vec_as::<i64>()
        .map_err(|error| ModelError::Read { what: "labels", reason: format!("{error:?}") })?;
    let counted: Vec<i64> = (0i64..).zip(&read).filter(|(_, label)| **label >= 0).map(|(row, _)| row).collect();
    let zeros = Tensor::<1>::zeros([rows], &device);
    if counted.is_empty() {
        return Ok(zeros);
    }
    let count = counted.len();
    let counted = Tensor::<1, Int>::from_data(TensorData::new(counted, [count]), &device);
    let losses =
        linear_cross_entropy(hidden.select(0, counted.clone()), weight, labels.select(0, counted.clone()), softcap);
    Ok(zeros.select_assign(0, counted, losses, IndexingUpdateOp::Add))
}
