//! The differentiable entry points.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

// Named by the generated dispatch code.
#[allow(unused_imports)]
use burn::backend::Autodiff;

use super::{AttentionConfig, FusedKernels, GradSlots, KeyMask, LinearLoss, Replay, linear_loss};
use crate::nn::{Activation, AdamWHyper};

/// Which keys are real tokens, as it crosses the dispatch boundary.
#[derive(Clone, Debug, ExtensionType)]
pub enum KeyPadding<B: Backend> {
    /// All of them.
    AllReal,
    /// `[batch, keys]`, true where the token is real.
    Real(BoolTensor<B>),
}

impl<B: Backend> KeyPadding<B> {
    /// The mask, if there is one.
    pub fn into_option(self) -> Option<BoolTensor<B>> {
        match self {
            Self::AllReal => None,
            Self::Real(mask) => Some(mask),
        }
    }
}

/// Which keys belong together, as it crosses the dispatch boundary.
#[derive(Clone, Debug, ExtensionType)]
pub enum KeySegments<B: Backend> {
    /// All of them.
    One,
    /// `[batch, keys]`, a number for each segment.
    Ids(IntTensor<B>),
    /// `[batch, keys]`, the position from which on a key is hidden.
    Until(IntTensor<B>),
}

/// Both together, as the kernels take them.
pub fn key_mask<B: Backend>(padding: KeyPadding<B>, segments: KeySegments<B>) -> KeyMask<B> {
    let (segments, until) = match segments {
        KeySegments::One => (None, None),
        KeySegments::Ids(ids) => (Some(ids), None),
        KeySegments::Until(until) => (None, Some(until)),
    };
    KeyMask { padding: padding.into_option(), segments, until }
}

/// The fused operations on any backend; `Autodiff` records a single step with a hand-written gradient for each.
///
/// The cargo feature gates below are evaluated in this crate, whose features switch Burn's on.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda"))
)]
pub trait FusedOps: FusedKernels {
    /// See [`crate::nn::attention()`].
    fn attention_op(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] padding: KeyPadding<Self>,
        #[extension_type] segments: KeySegments<Self>,
        config: AttentionConfig,
    ) -> FloatTensor<Self> {
        Self::attention_forward(q, k, v, key_mask(padding, segments), &config).0
    }

    /// See [`crate::nn::cross_entropy`].
    fn cross_entropy_op(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        softcap: Option<f64>,
    ) -> FloatTensor<Self> {
        Self::cross_entropy_forward(logits, targets, softcap).0
    }

    /// See [`crate::nn::linear_cross_entropy`].
    fn linear_loss_op(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        config: LinearLoss,
    ) -> FloatTensor<Self> {
        linear_loss::forward::<Self>(hidden, weight, targets, &config).0
    }

    /// `y`, the output of a block, as the result of a step that runs the block again; see [`crate::nn::checkpoint()`].
    fn replay_op(
        x: FloatTensor<Self>,
        chain: FloatTensor<Self>,
        y: FloatTensor<Self>,
        replay: Replay,
    ) -> FloatTensor<Self> {
        let _ = (x, chain, replay);
        y
    }

    /// The chain, tied to one parameter more.
    fn link_op(
        chain: FloatTensor<Self>,
        parameter: FloatTensor<Self>,
        slots: GradSlots,
        index: usize,
    ) -> FloatTensor<Self> {
        let _ = (parameter, slots, index);
        chain
    }

    /// A `[1]` whose backward pass gives `y` the gradient `grad`.
    fn seed_op(y: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let _ = grad;
        y
    }

    /// See [`crate::nn::rms_norm`].
    fn rms_norm_op(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64, offset: bool) -> FloatTensor<Self> {
        Self::rms_norm_forward(x, weight, eps, offset).0
    }

    /// See [`crate::nn::layer_norm`].
    fn layer_norm_op(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        Self::layer_norm_forward(x, weight, bias, eps).0
    }

    /// See [`Activation::forward`].
    fn activation_op(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        Self::activation_forward(activation, x)
    }

    /// See [`crate::nn::gated`].
    fn gated_op(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        Self::gated_forward(activation, gate, up)
    }

    /// `x w`, see [`crate::nn::linear()`].
    fn product_op(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::product(x, weight)
    }

    /// `x w` with a weight of 16-bit floats that is not trained, see [`crate::nn::linear()`]; no gradient reaches the weight.
    fn half_linear_op(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::half_linear(x, weight)
    }

    /// See [`crate::nn::rope()`]; no gradient reaches the angles.
    fn rotate_op(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::rotate_kernel(x, cos, sin, false)
    }

    /// See [`crate::nn::sum_squares`].
    fn sum_squares_op(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::sum_squares_kernel(x)
    }

    /// See [`crate::nn::adamw_step`].
    fn adamw_op(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        hyper: AdamWHyper,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [param, exp_avg, exp_avg_sq] = Self::adamw_kernel(param, grad, exp_avg, exp_avg_sq, &hyper);
        (param, exp_avg, exp_avg_sq)
    }
}

#[cfg(feature = "flex")]
impl FusedOps for burn::backend::Flex {}
#[cfg(feature = "ndarray")]
impl FusedOps for burn::backend::NdArray {}
#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl FusedOps for burn::backend::Cube {}
