//! Cross entropy with ignored rows and soft-cap.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::tensor::{Float, bool_dtype, int_dtype};

/// `(losses, lse)`: `[rows]` and `[rows, 1]`, both f32.
pub fn forward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    softcap: Option<f64>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let logits = capped(Float::<B>::f32(logits), softcap);
    let rows = logits.dims()[0];
    let largest = logits.clone().max_last();
    let lse = (logits.clone() - largest.clone()).exp().sum_last().log() + largest;
    let index = B::int_reshape(B::int_clamp_min(targets.clone(), 0i64.into()), Shape::from([rows, 1]));
    let losses = (lse.clone() - logits.gather_last(index)).reshape([rows]);
    (losses.mask_fill(ignored::<B>(targets), 0.0).0, lse.0)
}

/// Gradient of the logits, given that of the losses.
pub fn backward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    lse: FloatTensor<B>,
    grad: FloatTensor<B>,
    softcap: Option<f64>,
) -> FloatTensor<B> {
    let dtype = logits.dtype();
    let device = logits.device();
    let logits = Float::<B>::f32(logits);
    let (rows, classes) = (logits.dims()[0], logits.dims()[1]);
    let grad = Float::<B>::f32(grad).mask_fill(ignored::<B>(targets.clone()), 0.0).reshape([rows, 1]);
    let capped = capped(logits, softcap);
    let probabilities = (capped.clone() - Float(lse)).exp();
    let shape = Shape::from([rows, classes]);
    let classes_row = B::int_arange(0..classes as i64, &device, int_dtype::<B>(&device));
    // Both sides in the device's integer type, which the targets need not have.
    let targets = B::int_cast(targets, int_dtype::<B>(&device));
    let is_target = B::int_equal(
        B::int_expand(B::int_reshape(classes_row, Shape::from([1, classes])), shape.clone()),
        B::int_expand(B::int_reshape(targets, Shape::from([rows, 1])), shape),
        bool_dtype::<B>(&device),
    );
    let slope = probabilities.clone().0;
    let slope = Float::<B>(B::float_mask_where(slope, is_target, (probabilities - 1.0).0)) * grad;
    match softcap {
        None => slope,
        Some(cap) => slope * ((capped / cap).square() * -1.0 + 1.0),
    }
    .cast(dtype)
}

fn capped<B: Backend>(logits: Float<B>, softcap: Option<f64>) -> Float<B> {
    match softcap {
        None => logits,
        Some(cap) => (logits / cap).tanh() * cap,
    }
}

/// True where the target is negative.
fn ignored<B: Backend>(targets: IntTensor<B>) -> burn::backend::tensor::BoolTensor<B> {
    let dtype = bool_dtype::<B>(&targets.device());
    B::int_lower_elem(targets, 0i64.into(), dtype)
}
