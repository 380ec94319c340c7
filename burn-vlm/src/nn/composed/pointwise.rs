//! Row-wise and element-wise functions composed of Burn's tensor operations.

use burn::tensor::activation::{gelu, log_softmax, relu, sigmoid};
use burn::tensor::{DType, Int, Tensor};

use crate::nn::{Activation, AdamWHyper, RopeAngles};

/// `sqrt(2 / pi)`, of the tanh form of GELU.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// The cubic coefficient of the tanh form of GELU.
const GELU_CUBIC: f64 = 0.044_715;
/// The slope inside the sigmoid form of GELU (CLIP).
const QUICK_GELU_SLOPE: f64 = 1.702;

/// See [`Activation::forward`].
pub fn activation<const D: usize>(kind: Activation, x: Tensor<D>) -> Tensor<D> {
    match kind {
        Activation::Gelu => gelu(x),
        Activation::GeluPytorchTanh | Activation::GeluNew => {
            let inner = (x.clone() + x.clone().powi_scalar(3) * GELU_CUBIC) * SQRT_2_OVER_PI;
            x * 0.5 * (inner.tanh() + 1.0)
        }
        Activation::QuickGelu => x.clone() * sigmoid(x * QUICK_GELU_SLOPE),
        Activation::Silu => x.clone() * sigmoid(x),
        Activation::Relu => relu(x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Linear => x,
    }
}

/// See [`crate::nn::gated`].
pub fn gated<const D: usize>(kind: Activation, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    activation(kind, gate) * up
}

/// See [`crate::nn::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64, offset: bool) -> Tensor<D> {
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let inverse = (x.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    let weight = weight.cast(DType::F32).unsqueeze();
    let weight = if offset { weight + 1.0 } else { weight };
    (x * inverse * weight).cast(dtype)
}

/// See [`crate::nn::layer_norm`].
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let centred = x.clone() - x.mean_dim(D - 1);
    let inverse = (centred.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    let (weight, bias) = (weight.cast(DType::F32).unsqueeze(), bias.cast(DType::F32).unsqueeze());
    (centred * inverse * weight + bias).cast(dtype)
}

/// See [`crate::nn::rope()`].
pub fn rope(x: Tensor<4>, angles: &RopeAngles) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let cos = angles.cos.clone().unsqueeze_dim::<4>(2);
    let sin = angles.sin.clone().unsqueeze_dim::<4>(2);
    let first = x.clone().narrow(3, 0, half);
    let second = x.narrow(3, half, half);
    Tensor::cat(vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin], 3)
        .cast(dtype)
}

/// See [`crate::nn::cross_entropy`].
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, softcap: Option<f64>) -> Tensor<1> {
    let mut logits = logits.cast(DType::F32);
    if let Some(cap) = softcap {
        logits = (logits / cap).tanh() * cap;
    }
    let ignored = targets.clone().lower_scalar(0);
    let index = targets.clamp_min(0).unsqueeze_dim::<2>(1);
    log_softmax(logits, 1).gather(1, index).squeeze_dim::<1>(1).neg().mask_fill(ignored, 0.0)
}

/// See [`crate::nn::adamw_step`].
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    exp_avg: Tensor<D>,
    exp_avg_sq: Tensor<D>,
    hyper: &AdamWHyper,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let param = param * (1.0 - hyper.lr * hyper.weight_decay);
    let exp_avg = exp_avg * hyper.beta1 + grad.clone() * (1.0 - hyper.beta1);
    let exp_avg_sq = exp_avg_sq * hyper.beta2 + grad.square() * (1.0 - hyper.beta2);
    let (correction1, correction2) = hyper.bias_corrections();
    let denominator = exp_avg_sq.clone().sqrt() / correction2.sqrt() + hyper.eps;
    let param = param - exp_avg.clone() / denominator * (hyper.lr / correction1);
    (param, exp_avg, exp_avg_sq)
}
