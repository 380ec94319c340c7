//! Attention as matrix product, mask, softmax, matrix product.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Device, Int, Tensor};

use crate::nn::{AttentionMask, AttentionOptions};

/// Finite, so that a fully hidden row stays free of NaN; far below any score, so that `exp` of it is exactly zero.
const HIDDEN_SCORE: f64 = -1e30;

/// See [`crate::nn::attention()`]; stores the full score matrix.
///
/// # Shapes
/// - `q`: `[batch, tq, heads, head_dim]`; `k`, `v`: `[batch, tk, kv_heads, head_dim]`
/// - returns `[batch, tq, heads, head_dim]`
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    options: &AttentionOptions,
) -> Tensor<4> {
    let ([b, tq, h, d], [_, tk, kv, _]) = (q.dims(), k.dims());
    let (group, dtype, device) = (h / kv, q.dtype(), q.device());
    // The query heads of a group become rows of one product with their shared keys.
    let q = q.reshape([b, tq, kv, group, d]).permute([0, 2, 3, 1, 4]).reshape([b, kv, group * tq, d]);
    let mut scores = q.matmul(k.permute([0, 2, 3, 1])).cast(DType::F32) * options.scale;
    if let Some(cap) = options.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    let hidden = hidden_keys(mask, b, tq, tk, &device)
        .map(|m| m.expand([b, kv, group, tq, tk]).reshape([b, kv, group * tq, tk]));
    let probabilities = match hidden {
        None => softmax(scores, 3),
        // The second fill zeroes the rows that see no key; the others have exact zeros there already.
        Some(hidden) => softmax(scores.mask_fill(hidden.clone(), HIDDEN_SCORE), 3).mask_fill(hidden, 0.0),
    };
    probabilities
        .cast(dtype)
        .matmul(v.permute([0, 2, 1, 3]))
        .reshape([b, kv, group, tq, d])
        .permute([0, 3, 1, 2, 4])
        .reshape([b, tq, h, d])
}

/// True where a key is hidden, `[batch or 1, 1, 1, tq, tk]`; `None` if every key is visible.
fn hidden_keys(mask: &AttentionMask, batch: usize, tq: usize, tk: usize, device: &Device) -> Option<Tensor<5, Bool>> {
    let offset = tk as i64 - tq as i64;
    let query = Tensor::<1, Int>::arange(offset..tk as i64, device).reshape([tq, 1]);
    let key = Tensor::<1, Int>::arange(0..tk as i64, device).reshape([1, tk]);
    let distance = query.expand([tq, tk]) - key.expand([tq, tk]);
    let mut hidden: Option<Tensor<2, Bool>> = None;
    if mask.causal {
        hidden = Some(distance.clone().lower_scalar(0));
    }
    if let Some(window) = mask.window {
        let far = distance.greater_equal_scalar(window as i64);
        hidden = Some(match hidden {
            Some(future) => future.bool_or(far),
            None => far,
        });
    }
    let hidden = hidden.map(|m| m.reshape([1, 1, 1, tq, tk]));
    let padding = mask
        .key_padding
        .clone()
        .map(|real| real.bool_not().reshape([batch, 1, 1, 1, tk]).expand([batch, 1, 1, tq, tk]));
    match (hidden, padding) {
        (Some(hidden), Some(padding)) => Some(hidden.expand([batch, 1, 1, tq, tk]).bool_or(padding)),
        (hidden, padding) => hidden.or(padding),
    }
}
