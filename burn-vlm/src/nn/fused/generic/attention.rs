//! Attention as matrix product, mask, softmax, matrix product; the backward pass recomputes the probabilities.

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::super::{AttentionConfig, AttentionSaved};
use super::tensor::{Float, bool_dtype, int_dtype};

/// Finite, so that a fully hidden row stays free of NaN; far below any score.
const HIDDEN_SCORE: f64 = -1e30;

/// `(out, lse)`: `[batch, tq, heads, head_dim]`, and `[batch, kv_heads, group * tq, 1]` for the backward pass.
pub fn forward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    padding: Option<BoolTensor<B>>,
    config: &AttentionConfig,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let sizes = Sizes::of::<B>(&q, &k);
    let dtype = q.dtype();
    let hidden = hidden_keys::<B>(&sizes, padding, config, &q.device());
    let mut scores = raw_scores::<B>(&sizes, q, k) * config.scale;
    if let Some(cap) = config.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    if let Some(hidden) = &hidden {
        scores = scores.mask_fill(hidden.clone(), HIDDEN_SCORE);
    }
    let largest = scores.clone().max_last();
    let mut weights = (scores - largest.clone()).exp();
    if let Some(hidden) = hidden {
        // Exact zeros there already, except in rows that see no key.
        weights = weights.mask_fill(hidden, 0.0);
    }
    let sum = weights.clone().sum_last();
    let empty = B::float_equal_elem(sum.0.clone(), 0f32.into(), bool_dtype::<B>(&sum.0.device()));
    let sum = sum.mask_fill(empty, 1.0);
    let lse = largest + sum.clone().log();
    let probabilities = Float::<B>((weights / sum).cast(dtype));
    let out = probabilities.matmul(Float(v).permute(&[0, 2, 1, 3]));
    (sizes.ungroup(out).0, lse.0)
}

/// Gradients of `q`, `k`, `v`.
pub fn backward<B: Backend>(
    saved: AttentionSaved<B>,
    grad: FloatTensor<B>,
    config: &AttentionConfig,
) -> [FloatTensor<B>; 3] {
    let AttentionSaved { q, k, v, padding, out, lse } = saved;
    let sizes = Sizes::of::<B>(&q, &k);
    let dtype = q.dtype();
    let hidden = hidden_keys::<B>(&sizes, padding, config, &q.device());
    let mut scores = raw_scores::<B>(&sizes, q.clone(), k.clone()) * config.scale;
    let mut cap_slope = None;
    if let Some(cap) = config.softcap {
        let tanh = (scores / cap).tanh();
        cap_slope = Some(tanh.clone().square() * -1.0 + 1.0);
        scores = tanh * cap;
    }
    let mut probabilities = (scores - Float(lse)).exp();
    if let Some(hidden) = hidden {
        probabilities = probabilities.mask_fill(hidden, 0.0);
    }
    let grad = sizes.group(Float::<B>::f32(grad));
    let mean = (grad.clone() * sizes.group(Float::f32(out))).sum_last();
    let v = Float::<B>::f32(v).permute(&[0, 2, 1, 3]);
    let dv = probabilities.clone().transpose().matmul(grad.clone());
    let mut slopes = probabilities * (grad.matmul(v.transpose()) - mean) * config.scale;
    if let Some(cap_slope) = cap_slope {
        slopes = slopes * cap_slope;
    }
    let dq = slopes.clone().matmul(Float::<B>::f32(k).permute(&[0, 2, 1, 3]));
    let dk = slopes.transpose().matmul(sizes.group(Float::f32(q)));
    let keys = |x: Float<B>| x.permute(&[0, 2, 1, 3]).cast(dtype);
    [sizes.ungroup(dq).cast(dtype), keys(dk), keys(dv)]
}

struct Sizes {
    batch: usize,
    tq: usize,
    tk: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Sizes {
    fn of<B: Backend>(q: &FloatTensor<B>, k: &FloatTensor<B>) -> Self {
        let ([batch, tq, heads, head_dim], [_, tk, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
        Self { batch, tq, tk, heads, kv_heads, head_dim }
    }

    /// `[b, tq, h, d]` to `[b, kv, group * tq, d]`: the query heads of a group become rows beside their shared keys.
    fn group<B: Backend>(&self, x: Float<B>) -> Float<B> {
        let group = self.heads / self.kv_heads;
        x.reshape([self.batch, self.tq, self.kv_heads, group, self.head_dim]).permute(&[0, 2, 3, 1, 4]).reshape([
            self.batch,
            self.kv_heads,
            group * self.tq,
            self.head_dim,
        ])
    }

    /// The inverse of `group`.
    fn ungroup<B: Backend>(&self, x: Float<B>) -> Float<B> {
        let group = self.heads / self.kv_heads;
        x.reshape([self.batch, self.kv_heads, group, self.tq, self.head_dim]).permute(&[0, 3, 1, 2, 4]).reshape([
            self.batch,
            self.tq,
            self.heads,
            self.head_dim,
        ])
    }
}

/// `q k^T` in f32, `[b, kv, group * tq, tk]`.
fn raw_scores<B: Backend>(sizes: &Sizes, q: FloatTensor<B>, k: FloatTensor<B>) -> Float<B> {
    let scores = sizes.group(Float::<B>(q)).matmul(Float(k).permute(&[0, 2, 3, 1]));
    Float::f32(scores.0)
}

/// True where a key is hidden, `[b, kv, group * tq, tk]`; `None` if every key is visible.
fn hidden_keys<B: Backend>(
    sizes: &Sizes,
    padding: Option<BoolTensor<B>>,
    config: &AttentionConfig,
    device: &B::Device,
) -> Option<BoolTensor<B>> {
    let (tq, tk) = (sizes.tq, sizes.tk);
    let bool_dtype = bool_dtype::<B>(device);
    let square =
        |tensor, shape: [usize; 2]| B::int_expand(B::int_reshape(tensor, Shape::from(shape)), Shape::from([tq, tk]));
    let distance = || {
        let dtype = int_dtype::<B>(device);
        let query = B::int_arange(tk as i64 - tq as i64..tk as i64, device, dtype);
        let key = B::int_arange(0..tk as i64, device, dtype);
        B::int_sub(square(query, [tq, 1]), square(key, [1, tk]))
    };
    let future = config.causal.then(|| B::int_lower_elem(distance(), 0i64.into(), bool_dtype));
    let far = config.window.map(|window| B::int_greater_equal_elem(distance(), (window as i64).into(), bool_dtype));
    let by_position = match (future, far) {
        (Some(future), Some(far)) => Some(B::bool_or(future, far)),
        (future, far) => future.or(far),
    };
    let group = sizes.heads / sizes.kv_heads;
    let full = Shape::from([sizes.batch, sizes.kv_heads, group, tq, tk]);
    let expand = |mask, shape: [usize; 5]| B::bool_expand(B::bool_reshape(mask, Shape::from(shape)), full.clone());
    let by_position = by_position.map(|mask| expand(mask, [1, 1, 1, tq, tk]));
    let by_padding = padding.map(|real| expand(B::bool_not(real), [sizes.batch, 1, 1, 1, tk]));
    let hidden = match (by_position, by_padding) {
        (Some(position), Some(padding)) => Some(B::bool_or(position, padding)),
        (position, padding) => position.or(padding),
    };
    hidden.map(|mask| B::bool_reshape(mask, Shape::from([sizes.batch, sizes.kv_heads, group * tq, tk])))
}
