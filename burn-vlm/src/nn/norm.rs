//! Normalisation over the last dimension with f32 statistics.
//!
//! The parameters are named `weight` and `bias`, as in the published checkpoints. Burn's own norms call them
//! `gamma` and `beta`, which its PyTorch adapters rename; with the names used here those adapters find the
//! key as it is in both directions, and no renaming takes place.

use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::fused::FusedOps;
use crate::init::{DEFAULT_SEED, Fill, Scope};

/// Root-mean-square norm: `x / sqrt(mean(x^2) + eps) * weight`.
///
/// Unusual here: Gemma stores the weight as a difference from one, so that weight decay pulls towards the
/// identity; `offset` selects `1 + weight`.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[hidden]`
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
    /// Whether the factor is `1 + weight` (Gemma) instead of `weight`.
    pub offset: bool,
}

impl RmsNorm {
    /// The identity scale: zeros with `offset`, ones without.
    pub fn new(hidden: usize, eps: f64, offset: bool, device: &Device) -> Self {
        let fill = if offset { Fill::ZEROS } else { Fill::ONES };
        Self { weight: Scope::new(DEFAULT_SEED, device).param("weight", [hidden], fill), eps, offset }
    }

    /// # Shapes
    /// - `x` and the result: `[.., hidden]`
    ///
    /// # Panics
    /// If the last dimension of `x` is not `hidden`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        rms_norm(x, self.weight.val(), self.eps, self.offset)
    }
}

/// Layer norm: `(x - mean) / sqrt(var + eps) * weight + bias`, with the biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[hidden]`, initialised to ones.
    pub weight: Param<Tensor<1>>,
    /// `[hidden]`, initialised to zeros.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// The identity scale, as PyTorch initialises it.
    pub fn new(hidden: usize, eps: f64, device: &Device) -> Self {
        let scope = Scope::new(DEFAULT_SEED, device);
        Self {
            weight: scope.param("weight", [hidden], Fill::ONES),
            bias: scope.param("bias", [hidden], Fill::ZEROS),
            eps,
        }
    }

    /// # Shapes
    /// - `x` and the result: `[.., hidden]`
    ///
    /// # Panics
    /// If the last dimension of `x` is not `hidden`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }
}

/// `x / sqrt(mean(x^2) + eps) * weight`, with `offset` `* (1 + weight)`.
///
/// # Shapes
/// - `x` and the result: `[.., hidden]`; `weight`: `[hidden]`
///
/// # Panics
/// If the last dimension of `x` is not `hidden`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64, offset: bool) -> Tensor<D> {
    assert_hidden(&x, &weight);
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::rms_norm_op(x, weight, eps, offset))
}

/// `(x - mean) / sqrt(var + eps) * weight + bias`.
///
/// # Shapes
/// - `x` and the result: `[.., hidden]`; `weight`, `bias`: `[hidden]`
///
/// # Panics
/// If the last dimension of `x` is not `hidden`.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    assert_hidden(&x, &weight);
    assert_hidden(&x, &bias);
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::layer_norm_op(x, weight, bias, eps))
}

fn assert_hidden<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>) {
    assert_eq!(
        x.dims()[D - 1],
        weight.dims()[0],
        "norm: the last dimension of the input and the length of the parameter differ"
    );
}
