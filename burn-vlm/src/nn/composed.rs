//! The same functions composed of Burn's tensor operations and differentiated by Burn.
//!
//! The yardstick for the fused operations: tests compare gradients with these, benchmarks compare times. The
//! formulas are the ones other backends run; what differs is that Burn derives the gradients.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::fused::{AttentionConfig, KeyMask, generic};
use super::{Activation, AdamWHyper, AttentionMask, AttentionOptions, HeadWeight, RopeAngles};

/// See [`crate::nn::attention()`].
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    options: &AttentionOptions,
) -> Tensor<4> {
    let padding = mask.key_padding.clone().map(Tensor::into_dispatch);
    let segments = mask.segments.clone().map(Tensor::into_dispatch);
    let until = mask.until.clone().map(Tensor::into_dispatch);
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    let config = AttentionConfig::new(mask, options, usize::MAX);
    let keys = KeyMask { padding, segments, until };
    Tensor::from_dispatch(generic::attention_forward::<Dispatch>(q, k, v, keys, &config).0)
}

/// See [`crate::nn::cross_entropy`].
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Tensor<1> {
    let (logits, targets) = (logits.into_dispatch(), targets.into_dispatch());
    Tensor::from_dispatch(generic::cross_entropy_forward::<Dispatch>(logits, targets, softcap).0)
}

/// See [`crate::nn::linear_cross_entropy`]: the whole `[rows, vocabulary]` at once.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: HeadWeight,
    targets: Tensor<1, Int>,
    softcap: Option<f64>,
) -> Tensor<1> {
    let weight = match weight {
        HeadWeight::Table(table) => table.transpose(),
        HeadWeight::Linear(weight) => weight,
    };
    cross_entropy(hidden.matmul(weight), targets, softcap)
}

/// See [`crate::nn::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64, offset: bool) -> Tensor<D> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(generic::rms_norm_forward::<Dispatch>(x, weight, eps, offset).0)
}

/// See [`crate::nn::layer_norm`].
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(generic::layer_norm_forward::<Dispatch>(x, weight, bias, eps).0)
}

/// See [`Activation::forward`].
pub fn activation<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(generic::activation_forward::<Dispatch>(activation, x.into_dispatch()))
}

/// See [`crate::nn::gated`].
pub fn gated<const D: usize>(activation: Activation, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
    Tensor::from_dispatch(generic::gated_forward::<Dispatch>(activation, gate, up))
}

/// See [`crate::nn::rope()`].
pub fn rope(x: Tensor<4>, angles: &RopeAngles) -> Tensor<4> {
    let (cos, sin) = (angles.cos.clone().into_dispatch(), angles.sin.clone().into_dispatch());
    Tensor::from_dispatch(generic::rotate::<Dispatch>(x.into_dispatch(), cos, sin, false))
}

/// See [`crate::nn::adamw_step`].
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    exp_avg: Tensor<D>,
    exp_avg_sq: Tensor<D>,
    hyper: &AdamWHyper,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (param, grad) = (param.into_dispatch(), grad.into_dispatch());
    let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
    let [param, exp_avg, exp_avg_sq] = generic::adamw::<Dispatch>(param, grad, exp_avg, exp_avg_sq, hyper);
    (Tensor::from_dispatch(param), Tensor::from_dispatch(exp_avg), Tensor::from_dispatch(exp_avg_sq))
}
