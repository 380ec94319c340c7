//! Attention as matrix product, mask, softmax, matrix product, for a block of queries at a time.
//!
//! Unusual here: no more than [`AttentionConfig::score_elements`] scores exist at a time, forward and backward. The forward
//! pass keeps the log-sum-exp of each row, the backward pass recomputes a block's probabilities from it. Keys that no query
//! of a block can see by its position (later ones, those before the window) are left out of its products.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

use super::super::{AttentionConfig, AttentionSaved, KeyMask};
use super::tensor::{Float, bool_dtype, int_dtype};

/// Finite, so that a fully hidden row stays free of NaN; far below any score.
const HIDDEN_SCORE: f64 = -1e30;
/// Fewer queries than this in a block would make its matrix products inefficient.
const MIN_QUERIES: usize = 16;

/// `(out, lse)`: `[batch, tq, heads, head_dim]`, and `[batch, kv_heads, group, tq, 1]` for the backward pass.
pub fn forward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    keys: KeyMask<B>,
    config: &AttentionConfig,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let sizes = Sizes::of::<B>(&q, &k);
    let (mut outs, mut lses) = (Vec::new(), Vec::new());
    for block in sizes.blocks(config) {
        let hidden = hidden_keys::<B>(&sizes, &block, &keys, config, &q.device());
        let q = Float::<B>(q.clone()).span(1, block.queries);
        let [k, v] = [&k, &v].map(|x| Float::<B>(x.clone()).span(1, block.keys));
        let (out, lse) = forward_block::<B>(&sizes, q, k, v, hidden, config);
        outs.push(out);
        lses.push(lse);
    }
    (Float::cat(outs, 1).0, Float::cat(lses, 3).0)
}

fn forward_block<B: Backend>(
    sizes: &Sizes,
    q: Float<B>,
    k: Float<B>,
    v: Float<B>,
    hidden: Option<BoolTensor<B>>,
    config: &AttentionConfig,
) -> (Float<B>, Float<B>) {
    let dtype = q.0.dtype();
    let mut scores = raw_scores::<B>(sizes, q, k) * config.scale;
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
    let out = probabilities.matmul(v.permute(&[0, 2, 1, 3]));
    (sizes.ungroup(out), sizes.by_query(lse))
}

/// Gradients of `q`, `k`, `v`.
pub fn backward<B: Backend>(
    saved: AttentionSaved<B>,
    grad: FloatTensor<B>,
    config: &AttentionConfig,
) -> [FloatTensor<B>; 3] {
    let AttentionSaved { q, k, v, keys, out, lse } = saved;
    let sizes = Sizes::of::<B>(&q, &k);
    let dtype = q.dtype();
    let (mut dqs, mut dk, mut dv) = (Vec::new(), None, None);
    for block in sizes.blocks(config) {
        let hidden = hidden_keys::<B>(&sizes, &block, &keys, config, &q.device());
        let [q, out, grad] = [&q, &out, &grad].map(|x| Float::<B>(x.clone()).span(1, block.queries));
        let [k, v] = [&k, &v].map(|x| Float::<B>(x.clone()).span(1, block.keys));
        let lse = Float::<B>(lse.clone()).span(3, block.queries);
        let [dq, block_dk, block_dv] = backward_block::<B>(&sizes, [q, k, v, out, grad, lse], hidden, config);
        dqs.push(Float::<B>(dq.cast(dtype)));
        dk = Some(add_keys(dk, block_dk, &block, sizes.tk));
        dv = Some(add_keys(dv, block_dv, &block, sizes.tk));
    }
    let keys = |x: Option<Float<B>>, like: FloatTensor<B>| match x {
        Some(x) => x.permute(&[0, 2, 1, 3]).cast(dtype),
        None => like,
    };
    [Float::cat(dqs, 1).0, keys(dk, k), keys(dv, v)]
}

/// `[q, k, v, out, grad, lse]` of a block to the gradients of its queries `[b, rows, h, d]`, and of its keys and values
/// `[b, kv, keys, d]`, all f32.
fn backward_block<B: Backend>(
    sizes: &Sizes,
    [q, k, v, out, grad, lse]: [Float<B>; 6],
    hidden: Option<BoolTensor<B>>,
    config: &AttentionConfig,
) -> [Float<B>; 3] {
    let mut scores = raw_scores::<B>(sizes, q.clone(), k.clone()) * config.scale;
    let mut cap_slope = None;
    if let Some(cap) = config.softcap {
        let tanh = (scores / cap).tanh();
        cap_slope = Some(tanh.clone().square() * -1.0 + 1.0);
        scores = tanh * cap;
    }
    let mut probabilities = (scores - sizes.by_row(lse)).exp();
    if let Some(hidden) = hidden {
        probabilities = probabilities.mask_fill(hidden, 0.0);
    }
    let grad = sizes.group(Float::<B>::f32(grad.0));
    let mean = (grad.clone() * sizes.group(Float::f32(out.0))).sum_last();
    let v = Float::<B>::f32(v.0).permute(&[0, 2, 1, 3]);
    let dv = probabilities.clone().transpose().matmul(grad.clone());
    let mut slopes = probabilities * (grad.matmul(v.transpose()) - mean) * config.scale;
    if let Some(cap_slope) = cap_slope {
        slopes = slopes * cap_slope;
    }
    let dq = slopes.clone().matmul(Float::<B>::f32(k.0).permute(&[0, 2, 1, 3]));
    let dk = slopes.transpose().matmul(sizes.group(Float::f32(q.0)));
    [sizes.ungroup(dq), dk, dv]
}

/// Adds a block's gradient `[b, kv, keys, d]` to that of all `tk` keys.
fn add_keys<B: Backend>(sum: Option<Float<B>>, term: Float<B>, block: &Block, tk: usize) -> Float<B> {
    let (low, high) = block.keys;
    if (low, high) == (0, tk) {
        return match sum {
            None => term,
            Some(sum) => sum + term,
        };
    }
    let mut dims = term.dims();
    dims[2] = tk;
    let sum =
        sum.unwrap_or_else(|| Float(B::float_zeros(dims.into(), &term.0.device(), burn::tensor::FloatDType::F32)));
    let term = sum.clone().span(2, block.keys) + term;
    let slices = [Slice::full(), Slice::full(), Slice::from(low..high), Slice::full()];
    Float(B::float_slice_assign(sum.0, &slices, term.0))
}

struct Sizes {
    batch: usize,
    tq: usize,
    tk: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// Queries handled together, and the keys that any of them may see by its position; first and behind the last.
struct Block {
    queries: (usize, usize),
    keys: (usize, usize),
}

impl Sizes {
    fn of<B: Backend>(q: &FloatTensor<B>, k: &FloatTensor<B>) -> Self {
        let ([batch, tq, heads, head_dim], [_, tk, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
        Self { batch, tq, tk, heads, kv_heads, head_dim }
    }

    fn group_size(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn blocks(&self, config: &AttentionConfig) -> Vec<Block> {
        let row = (self.batch * self.heads * self.tk).max(1);
        let rows = (config.score_elements / row).max(MIN_QUERIES).min(self.tq.max(1));
        let starts = (0..self.tq.max(1)).step_by(rows);
        starts
            .map(|first| {
                let last = (first + rows).min(self.tq);
                // Of the only block every key, so that nothing is cut out for little gain.
                let keys = if rows >= self.tq { (0, self.tk) } else { self.visible(first, last, config) };
                Block { queries: (first, last), keys }
            })
            .collect()
    }

    /// Keys that the queries `first..last` may see; at least one, for the shapes' sake.
    fn visible(&self, first: usize, last: usize, config: &AttentionConfig) -> (usize, usize) {
        let position = |query: usize| (query + self.tk).saturating_sub(self.tq);
        let high = if config.causal { (position(last - 1) + 1).min(self.tk) } else { self.tk };
        let low = config.window.map_or(0, |window| (position(first) + 1).saturating_sub(window));
        (low.min(high.saturating_sub(1)), high)
    }

    /// `[b, rows, h, d]` to `[b, kv, group * rows, d]`: the query heads of a group become rows beside their shared keys.
    fn group<B: Backend>(&self, x: Float<B>) -> Float<B> {
        let (group, rows) = (self.group_size(), x.dims()[1]);
        x.reshape([self.batch, rows, self.kv_heads, group, self.head_dim]).permute(&[0, 2, 3, 1, 4]).reshape([
            self.batch,
            self.kv_heads,
            group * rows,
            self.head_dim,
        ])
    }

    /// The inverse of `group`.
    fn ungroup<B: Backend>(&self, x: Float<B>) -> Float<B> {
        let group = self.group_size();
        let rows = x.dims()[2] / group;
        x.reshape([self.batch, self.kv_heads, group, rows, self.head_dim]).permute(&[0, 3, 1, 2, 4]).reshape([
            self.batch,
            rows,
            self.heads,
            self.head_dim,
        ])
    }

    /// `[b, kv, group * rows, 1]` to `[b, kv, group, rows, 1]`.
    fn by_query<B: Backend>(&self, x: Float<B>) -> Float<B> {
        let group = self.group_size();
        let rows = x.dims()[2] / group;
        x.reshape([self.batch, self.kv_heads, group, rows, 1])
    }

    /// The inverse of `by_query`.
    fn by_row<B: Backend>(&self, x: Float<B>) -> Float<B> {
        let rows = x.dims()[3];
        x.reshape([self.batch, self.kv_heads, self.group_size() * rows, 1])
    }
}

/// `q k^T` in f32, `[b, kv, group * rows, keys]`.
fn raw_scores<B: Backend>(sizes: &Sizes, q: Float<B>, k: Float<B>) -> Float<B> {
    Float::f32(sizes.group(q).matmul(k.permute(&[0, 2, 3, 1])).0)
}

/// True where a key is hidden, `[b, kv, group * rows, keys]`; `None` if every key is visible.
fn hidden_keys<B: Backend>(
    sizes: &Sizes,
    block: &Block,
    mask: &KeyMask<B>,
    config: &AttentionConfig,
    device: &B::Device,
) -> Option<BoolTensor<B>> {
    let ((first, last), (low, high)) = (block.queries, block.keys);
    let (rows, keys) = (last - first, high - low);
    let bool_dtype = bool_dtype::<B>(device);
    let span =
        |tensor: IntTensor<B>, from: usize, to: usize| B::int_slice(tensor, &[Slice::full(), Slice::from(from..to)]);
    let square = |tensor, shape: [usize; 2]| {
        B::int_expand(B::int_reshape(tensor, Shape::from(shape)), Shape::from([rows, keys]))
    };
    let distance = || {
        let dtype = int_dtype::<B>(device);
        let start = (first + sizes.tk) as i64 - sizes.tq as i64;
        let query = B::int_arange(start..start + rows as i64, device, dtype);
        let key = B::int_arange(low as i64..high as i64, device, dtype);
        B::int_sub(square(query, [rows, 1]), square(key, [1, keys]))
    };
    let full = Shape::from([sizes.batch, sizes.kv_heads, sizes.group_size(), rows, keys]);
    let expand = |mask, shape: [usize; 5]| B::bool_expand(B::bool_reshape(mask, Shape::from(shape)), full.clone());
    let future = config.causal.then(|| B::int_lower_elem(distance(), 0i64.into(), bool_dtype));
    let far = config.window.map(|window| B::int_greater_equal_elem(distance(), (window as i64).into(), bool_dtype));
    let by_position = [future, far].into_iter().flatten().map(|mask| expand(mask, [1, 1, 1, rows, keys]));
    let by_padding = mask.padding.clone().map(|real| {
        let real = B::bool_slice(real, &[Slice::full(), Slice::from(low..high)]);
        expand(B::bool_not(real), [sizes.batch, 1, 1, 1, keys])
    });
    let by_segment = mask.segments.clone().map(|ids| {
        let start = first + sizes.tk - sizes.tq;
        let pairs = Shape::from([sizes.batch, rows, keys]);
        let pair = |ids, shape: [usize; 3]| B::int_expand(B::int_reshape(ids, Shape::from(shape)), pairs.clone());
        let own = pair(span(ids.clone(), start, start + rows), [sizes.batch, rows, 1]);
        let other = pair(span(ids, low, high), [sizes.batch, 1, keys]);
        expand(B::int_not_equal(own, other, bool_dtype), [sizes.batch, 1, 1, rows, keys])
    });
    let by_end = mask.until.clone().map(|until| {
        let start = (first + sizes.tk) as i64 - sizes.tq as i64;
        let query = B::int_arange(start..start + rows as i64, device, int_dtype::<B>(device));
        let pairs = Shape::from([sizes.batch, rows, keys]);
        let pair = |ints, shape: [usize; 3]| B::int_expand(B::int_reshape(ints, Shape::from(shape)), pairs.clone());
        let left = B::int_sub(pair(span(until, low, high), [sizes.batch, 1, keys]), pair(query, [1, rows, 1]));
        expand(B::int_lower_equal_elem(left, 0i64.into(), bool_dtype), [sizes.batch, 1, 1, rows, keys])
    });
    let hidden = by_position.chain(by_padding).chain(by_segment).chain(by_end).reduce(B::bool_or);
    let flat = Shape::from([sizes.batch, sizes.kv_heads, sizes.group_size() * rows, keys]);
    hidden.map(|mask| B::bool_reshape(mask, flat))
}
