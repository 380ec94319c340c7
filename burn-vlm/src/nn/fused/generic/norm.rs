//! RMSNorm and LayerNorm.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};

use super::tensor::Float;

/// `(y, inverse)`: like `x`, and `[.., 1]` in f32.
pub fn rms_norm_forward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    eps: f64,
    offset: bool,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let dtype = x.dtype();
    let x = Float::<B>::f32(x);
    let inverse = (x.clone().square().mean_last() + eps).sqrt().recip();
    let y = x.clone() * inverse.clone() * scale(weight, offset, x.dims().len());
    (y.cast(dtype), inverse.0)
}

/// Gradients of `x` and `weight`.
pub fn rms_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    inverse: FloatTensor<B>,
    grad: FloatTensor<B>,
    offset: bool,
) -> [FloatTensor<B>; 2] {
    let (dtype, weight_dtype) = (x.dtype(), weight.dtype());
    let inverse = Float::<B>(inverse);
    let grad = Float::<B>::f32(grad);
    let normalised = Float::<B>::f32(x) * inverse.clone();
    let rank = normalised.dims().len();
    let weight_grad = sum_to_last(grad.clone() * normalised.clone());
    let grad = grad * scale(weight, offset, rank);
    let mean = (grad.clone() * normalised.clone()).mean_last();
    let dx = (grad - normalised * mean) * inverse;
    [dx.cast(dtype), weight_grad.cast(weight_dtype)]
}

/// `(y, statistics)`: like `x`, and `[.., 2]` (mean and inverse deviation) in f32.
pub fn layer_norm_forward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let dtype = x.dtype();
    let x = Float::<B>::f32(x);
    let rank = x.dims().len();
    let mean = x.clone().mean_last();
    let centred = x - mean.clone();
    let inverse = (centred.clone().square().mean_last() + eps).sqrt().recip();
    let y = centred * inverse.clone() * scale(weight, false, rank) + scale(bias, false, rank);
    (y.cast(dtype), Float::cat_last(vec![mean, inverse]).0)
}

/// Gradients of `x`, `weight` and `bias`.
pub fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    statistics: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let (dtype, weight_dtype) = (x.dtype(), weight.dtype());
    let statistics = Float::<B>(statistics);
    let (mean, inverse) = (statistics.clone().last(0, 1), statistics.last(1, 2));
    let grad = Float::<B>::f32(grad);
    let normalised = (Float::<B>::f32(x) - mean) * inverse.clone();
    let rank = normalised.dims().len();
    let weight_grad = sum_to_last(grad.clone() * normalised.clone());
    let bias_grad = sum_to_last(grad.clone());
    let grad = grad * scale(weight, false, rank);
    let mean = (grad.clone() * normalised.clone()).mean_last();
    let dx = (grad.clone() - grad.mean_last() - normalised * mean) * inverse;
    [dx.cast(dtype), weight_grad.cast(weight_dtype), bias_grad.cast(weight_dtype)]
}

/// `weight` or `1 + weight` in f32, as the last of `rank` dimensions.
fn scale<B: Backend>(weight: FloatTensor<B>, offset: bool, rank: usize) -> Float<B> {
    let weight = Float::<B>::f32(weight).unsqueeze_to(rank);
    if offset { weight + 1.0 } else { weight }
}

/// Sum over all dimensions but the last, as a vector.
fn sum_to_last<B: Backend>(x: Float<B>) -> Float<B> {
    let dims = x.dims();
    let hidden = dims[dims.len() - 1];
    let rows: usize = dims[..dims.len() - 1].iter().product();
    x.reshape([rows, hidden]).sum(0).reshape([hidden])
}
