//! Operations with a hand-written backward pass, and CPU kernels for them.
//!
//! Burn differentiates a formula operation by operation: each makes a new buffer, runs on its own, and remembers
//! its inputs. Here one operation covers a whole formula, remembers what its gradient needs and no more (attention
//! keeps no score matrix, cross entropy no probabilities), and on the `flex` backend runs as one vectorised,
//! threaded pass. Other backends compose the same forward and backward formulas from their own primitives.
//!
//! | layer | what it is |
//! |---|---|
//! | `ops` | [`ops::FusedOps`], the differentiable entry points, dispatched to the tensor's backend at run time |
//! | `autodiff` | their registration with Burn's autodiff |
//! | [`FusedKernels`] | forward and backward as each backend computes them, composed by default |
//! | `generic` | those default bodies |
//! | `replay` | the steps of activation checkpointing |
//! | `linear_loss` | the head with its loss, in chunks, out of any backend's own kernels |
//! | `flex` | overrides for the CPU backend, which call `kernels` |
//! | `packed` | weights of 8-bit and 4-bit numbers as tensors of that backend |
//! | `kernels` | plain Rust on slices |

// Burn keeps the NdArray backend for now.
#![cfg_attr(feature = "ndarray", allow(deprecated))]

mod autodiff;
#[cfg(feature = "flex")]
mod flex;
pub(crate) mod generic;
#[cfg(feature = "flex")]
#[allow(unsafe_code)]
mod kernels;
mod linear_loss;
mod ops;
#[cfg(feature = "flex")]
pub(crate) mod packed;
#[cfg(not(feature = "flex"))]
#[path = "no_packed.rs"]
pub(crate) mod packed;
mod replay;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};

use super::{Activation, AdamWHyper, AttentionMask, AttentionOptions};

pub(crate) use linear_loss::LinearLoss;
pub(crate) use ops::{FusedOps, KeyPadding, KeySegments};
pub(crate) use replay::{GradSlots, Replay};

/// Scores and mask of attention, without the padding tensor.
#[derive(Clone, Copy, Debug)]
pub struct AttentionConfig {
    /// Factor on the scores.
    pub scale: f64,
    /// Soft-cap on the scaled scores.
    pub softcap: Option<f64>,
    /// Hide later keys.
    pub causal: bool,
    /// Hide keys this far back.
    pub window: Option<usize>,
    /// Scores that may exist at a time, where they leave the cache at all.
    pub score_elements: usize,
}

impl AttentionConfig {
    /// The parts of the public arguments that are no tensors.
    pub fn new(mask: &AttentionMask, options: &AttentionOptions, score_elements: usize) -> Self {
        let AttentionOptions { scale, softcap } = *options;
        Self { scale, softcap, causal: mask.causal, window: mask.window, score_elements }
    }
}

/// What hides keys besides their position.
#[derive(Clone, Debug)]
pub struct KeyMask<B: Backend> {
    /// `[batch, keys]`, true where the key is real.
    pub padding: Option<BoolTensor<B>>,
    /// `[batch, keys]`; a query sees the keys of its own segment.
    pub segments: Option<IntTensor<B>>,
    /// `[batch, keys]`; a key is hidden from the queries at this position and behind it.
    pub until: Option<IntTensor<B>>,
}

/// What attention's backward pass needs.
#[derive(Clone, Debug)]
pub struct AttentionSaved<B: Backend> {
    /// Queries.
    pub q: FloatTensor<B>,
    /// Keys.
    pub k: FloatTensor<B>,
    /// Values.
    pub v: FloatTensor<B>,
    /// What hides keys.
    pub keys: KeyMask<B>,
    /// The forward pass's result.
    pub out: FloatTensor<B>,
    /// The forward pass's log-sum-exp, in the layout of the backend that made it.
    pub lse: FloatTensor<B>,
}

/// Forward and backward passes as a backend computes them; tensors are the backend's own, without autodiff.
///
/// Second results of the forward passes are for the backward pass of the same backend, in whatever layout it likes.
pub trait FusedKernels: Backend {
    /// `(out, lse)`; see [`crate::nn::attention()`].
    fn attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        keys: KeyMask<Self>,
        config: &AttentionConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        generic::attention_forward::<Self>(q, k, v, keys, config)
    }

    /// Gradients of `q`, `k`, `v`.
    fn attention_backward(
        saved: AttentionSaved<Self>,
        grad: FloatTensor<Self>,
        config: &AttentionConfig,
    ) -> [FloatTensor<Self>; 3] {
        generic::attention_backward::<Self>(saved, grad, config)
    }

    /// `(losses, lse)`; see [`crate::nn::cross_entropy`].
    fn cross_entropy_forward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        generic::cross_entropy_forward::<Self>(logits, targets, softcap)
    }

    /// Gradient of the logits.
    fn cross_entropy_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        lse: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        generic::cross_entropy_backward::<Self>(logits, targets, lse, grad, softcap)
    }

    /// `(y, statistics)`; see [`crate::nn::rms_norm`].
    fn rms_norm_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        offset: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        generic::rms_norm_forward::<Self>(x, weight, eps, offset)
    }

    /// Gradients of `x` and `weight`.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        offset: bool,
    ) -> [FloatTensor<Self>; 2] {
        generic::rms_norm_backward::<Self>(x, weight, statistics, grad, offset)
    }

    /// `(y, statistics)`; see [`crate::nn::layer_norm`].
    fn layer_norm_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        generic::layer_norm_forward::<Self>(x, weight, bias, eps)
    }

    /// Gradients of `x`, `weight` and `bias`.
    fn layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3] {
        generic::layer_norm_backward::<Self>(x, weight, statistics, grad)
    }

    /// `f(x)`.
    fn activation_forward(activation: Activation, x: FloatTensor<Self>) -> FloatTensor<Self> {
        generic::activation_forward::<Self>(activation, x)
    }

    /// `grad * f'(x)`.
    fn activation_backward(activation: Activation, x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        generic::activation_backward::<Self>(activation, x, grad)
    }

    /// `f(gate) * up`.
    fn gated_forward(activation: Activation, gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        generic::gated_forward::<Self>(activation, gate, up)
    }

    /// Gradients of `gate` and `up`.
    fn gated_backward(
        activation: Activation,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        generic::gated_backward::<Self>(activation, gate, up, grad)
    }

    /// `a b`.
    ///
    /// # Shapes
    /// - `a`: `[m, k]`; `b`: `[k, n]`
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }

    /// `x w` with a weight of 16-bit floats, in the element type of `x`; see [`crate::nn::linear()`].
    ///
    /// # Shapes
    /// - `x`: `[rows, input]`; `weight`: `[input, output]`
    fn half_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let weight = Self::float_cast(weight, x.dtype().into());
        Self::float_matmul(x, weight)
    }

    /// Rotation of the pairs `(i, i + head_dim/2)`, backwards if `inverse`.
    fn rotate_kernel(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        generic::rotate::<Self>(x, cos, sin, inverse)
    }

    /// A buffer of zeros for a whole gradient.
    fn zeros_like(like: &FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_zeros(like.shape(), &like.device(), like.dtype().into())
    }

    /// Sum of the squares of all elements, `[1]`.
    fn sum_squares_kernel(x: FloatTensor<Self>) -> FloatTensor<Self> {
        generic::sum_squares::<Self>(x)
    }

    /// One AdamW update of parameter, mean and mean square.
    fn adamw_kernel(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        hyper: &AdamWHyper,
    ) -> [FloatTensor<Self>; 3] {
        generic::adamw::<Self>(param, grad, exp_avg, exp_avg_sq, hyper)
    }
}

#[cfg(feature = "ndarray")]
impl FusedKernels for burn::backend::NdArray {}
// With the `fusion` feature this type is `Fusion<CubeBackend>`: the composed bodies are then fused by Burn.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl FusedKernels for burn::backend::Cube {}
// Only the trait bound of the generated dispatch needs this; it also serves the composed reference.
impl FusedKernels for burn::backend::Dispatch {}
