//! Activations, gated units, rotary positions and the AdamW update.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};

use super::tensor::Float;
use crate::nn::{Activation, AdamWHyper};

/// `2 sqrt(2 / pi)`, of the tanh form of GELU written as a sigmoid.
const TWICE_SQRT_2_OVER_PI: f64 = 1.595_769_121_605_731;
/// The cubic coefficient of the tanh form of GELU.
const GELU_CUBIC: f64 = 0.044_715;
/// The slope inside the sigmoid form of GELU (CLIP).
const QUICK_GELU_SLOPE: f64 = 1.702;
/// `1 / sqrt(2 pi)`.
const INVERSE_SQRT_2_PI: f64 = 0.398_942_280_401_432_7;

/// `f(x)`.
pub fn activation_forward<B: Backend>(activation: Activation, x: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = x.dtype();
    value::<B>(activation, Float::f32(x)).cast(dtype)
}

/// `grad * f'(x)`.
pub fn activation_backward<B: Backend>(
    activation: Activation,
    x: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    (Float::<B>::f32(grad) * slope::<B>(activation, Float::f32(x))).cast(dtype)
}

/// `f(gate) * up`.
pub fn gated_forward<B: Backend>(activation: Activation, gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = gate.dtype();
    (value::<B>(activation, Float::f32(gate)) * Float::f32(up)).cast(dtype)
}

/// Gradients of `gate` and `up`.
pub fn gated_backward<B: Backend>(
    activation: Activation,
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let dtype = gate.dtype();
    let (gate, grad) = (Float::<B>::f32(gate), Float::<B>::f32(grad));
    let d_up = grad.clone() * value::<B>(activation, gate.clone());
    let d_gate = grad * Float::f32(up) * slope::<B>(activation, gate);
    [d_gate.cast(dtype), d_up.cast(dtype)]
}

fn value<B: Backend>(activation: Activation, x: Float<B>) -> Float<B> {
    match activation {
        Activation::Gelu => x.clone() * normal_cdf(x),
        Activation::GeluPytorchTanh | Activation::GeluNew => x.clone() * gelu_argument(x).sigmoid(),
        Activation::QuickGelu => x.clone() * (x * QUICK_GELU_SLOPE).sigmoid(),
        Activation::Silu => x.clone() * x.sigmoid(),
        Activation::Relu => Float(B::relu(x.0)),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => x.sigmoid(),
        Activation::Linear => x,
    }
}

fn slope<B: Backend>(activation: Activation, x: Float<B>) -> Float<B> {
    // The derivative of `x sigmoid(u(x))`.
    let gate_slope = |x: Float<B>, u: Float<B>, u_slope: Float<B>| {
        let gate = u.sigmoid();
        gate.clone() + x * u_slope * gate.clone() * (gate * -1.0 + 1.0)
    };
    let constant = |value: f64| x.clone() * 0.0 + value;
    match activation {
        Activation::Gelu => {
            let density = (x.clone().square() * -0.5).exp() * INVERSE_SQRT_2_PI;
            normal_cdf(x.clone()) + x * density
        }
        Activation::GeluPytorchTanh | Activation::GeluNew => {
            let u_slope = (x.clone().square() * (3.0 * GELU_CUBIC) + 1.0) * TWICE_SQRT_2_OVER_PI;
            gate_slope(x.clone(), gelu_argument(x), u_slope)
        }
        Activation::QuickGelu => gate_slope(x.clone(), x.clone() * QUICK_GELU_SLOPE, constant(QUICK_GELU_SLOPE)),
        Activation::Silu => gate_slope(x.clone(), x.clone(), constant(1.0)),
        Activation::Relu => {
            let ones = constant(1.0);
            Float(B::relu_backward(x.0, ones.0))
        }
        Activation::Tanh => x.tanh().square() * -1.0 + 1.0,
        Activation::Sigmoid => {
            let y = x.sigmoid();
            y.clone() * (y * -1.0 + 1.0)
        }
        Activation::Linear => constant(1.0),
    }
}

/// `2 sqrt(2/pi) (x + 0.044715 x^3)`: the tanh form of GELU is `x sigmoid` of it.
fn gelu_argument<B: Backend>(x: Float<B>) -> Float<B> {
    x.clone() * (x.square() * GELU_CUBIC + 1.0) * TWICE_SQRT_2_OVER_PI
}

/// Distribution function of the standard normal.
fn normal_cdf<B: Backend>(x: Float<B>) -> Float<B> {
    (x * std::f64::consts::FRAC_1_SQRT_2).erf() * 0.5 + 0.5
}

/// Rotates the pairs `(i, i + head_dim/2)`; `cos`, `sin`: `[1 or batch, tokens, head_dim / 2]`.
pub fn rotate<B: Backend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
    inverse: bool,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = Float::<B>::f32(x);
    let head_dim = x.dims()[3];
    let angles = |table: FloatTensor<B>| {
        let [batch, tokens, half] = table.shape().dims();
        Float::<B>::f32(table).reshape([batch, tokens, 1, half])
    };
    let cos = angles(cos);
    let sin = if inverse { angles(sin) * -1.0 } else { angles(sin) };
    let first = x.clone().last(0, head_dim / 2);
    let second = x.last(head_dim / 2, head_dim);
    Float::cat_last(vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin])
        .cast(dtype)
}

/// Sum of the squares of all elements in f32, `[1]`.
pub fn sum_squares<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(Float::<B>::f32(x).square().0)
}

/// One AdamW update of parameter, mean and mean square.
pub fn adamw<B: Backend>(
    param: FloatTensor<B>,
    grad: FloatTensor<B>,
    exp_avg: FloatTensor<B>,
    exp_avg_sq: FloatTensor<B>,
    hyper: &AdamWHyper,
) -> [FloatTensor<B>; 3] {
    let dtype = param.dtype();
    let state_dtype = exp_avg.dtype();
    let grad = Float::<B>::f32(grad);
    let param = Float::<B>::f32(param) * (1.0 - hyper.lr * hyper.weight_decay);
    let exp_avg = Float::<B>::f32(exp_avg) * hyper.beta1 + grad.clone() * (1.0 - hyper.beta1);
    let exp_avg_sq = Float::<B>::f32(exp_avg_sq) * hyper.beta2 + grad.square() * (1.0 - hyper.beta2);
    let (correction1, correction2) = hyper.bias_corrections();
    let denominator = exp_avg_sq.clone().sqrt() / correction2.sqrt() + hyper.eps;
    let param = param - exp_avg.clone() / denominator * (hyper.lr / correction1);
    [param.cast(dtype), exp_avg.cast(state_dtype), exp_avg_sq.cast(state_dtype)]
}
