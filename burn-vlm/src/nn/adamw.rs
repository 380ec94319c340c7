//! One AdamW update as PyTorch computes it, and the sum of squares a global gradient norm is made of.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::fused::FusedOps;

/// Hyper-parameters of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWHyper {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the second moment, after its bias correction.
    pub eps: f64,
    /// Decoupled weight decay: the parameter shrinks by `lr * weight_decay`.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: usize,
}

impl AdamWHyper {
    /// `1 - beta1^step` and `1 - beta2^step`.
    pub fn bias_corrections(&self) -> (f64, f64) {
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        (correction(self.beta1), correction(self.beta2))
    }
}

/// Sum of the squares of all elements, in one pass; the global gradient norm is the root of the sum of these.
///
/// # Shapes
/// - `x`: any
/// - returns `[1]`, f32
pub fn sum_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::sum_squares_op(x.into_dispatch()))
}

/// Updates a parameter and its two moments.
///
/// The order of operations is that of `torch.optim.AdamW`: decay the parameter, update the moments, then
/// `param -= lr / (1 - beta1^t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps)`.
///
/// # Shapes
/// All four tensors and the three results have one shape. Pass tensors without autodiff (`.inner()`).
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    exp_avg: Tensor<D>,
    exp_avg_sq: Tensor<D>,
    hyper: &AdamWHyper,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (param, grad) = (param.into_dispatch(), grad.into_dispatch());
    let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
    let (param, exp_avg, exp_avg_sq) = <Dispatch as FusedOps>::adamw_op(param, grad, exp_avg, exp_avg_sq, *hyper);
    (Tensor::from_dispatch(param), Tensor::from_dispatch(exp_avg), Tensor::from_dispatch(exp_avg_sq))
}
