//! Backward pass: one task per key head, so that its gradients are summed in a fixed order.

use super::super::math::exp;
use super::super::matmul::{Rows, RowsMut, Strided};
use super::super::parallel::{Shared, for_each};
use super::super::simd::{Isa, Kernel, dispatch, dot};
use super::{
    Columns, Heads, Problem, QUERY_BLOCK, Transpose, apply_softcap, hide_ended, hide_others, hide_padding, with_scratch,
};

/// What the backward pass reads.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// Queries.
    pub q: Heads<'a>,
    /// Keys.
    pub k: Heads<'a>,
    /// Values.
    pub v: Heads<'a>,
    /// The forward pass's result.
    pub out: Heads<'a>,
    /// The forward pass's log-sum-exp, `[batch, heads, tq]`.
    pub lse: &'a [f32],
    /// Gradient of the result.
    pub grad: Heads<'a>,
}

/// Gradients of `q`, `k` and `v`, each `[batch, tokens, heads, head_dim]`.
pub fn backward(p: &Problem, saved: &Saved) -> [Vec<f32>; 3] {
    let mut dq = vec![0f32; p.batch * p.tq * p.heads * p.head_dim];
    // The tasks add to these.
    let mut dk = vec![0f32; p.batch * p.tk * p.kv_heads * p.head_dim];
    let mut dv = vec![0f32; dk.len()];
    let pointers = [&mut dq, &mut dk, &mut dv].map(|buffer| Shared::new(buffer));
    let (head_keys, tile) = (p.head_dim * p.padded_keys(), QUERY_BLOCK * p.padded_keys());
    for_each(p.batch * p.kv_heads, 4 * p.work(), |task| {
        let (b, kv) = (task / p.kv_heads, task % p.kv_heads);
        with_scratch(2 * head_keys + 3 * tile, |scratch| {
            let (keys, rest) = scratch.split_at_mut(head_keys);
            let (values, rest) = rest.split_at_mut(head_keys);
            let (scores, rest) = rest.split_at_mut(tile);
            let (slopes, caps) = rest.split_at_mut(tile);
            for (source, target) in [(saved.k, &mut *keys), (saved.v, &mut *values)] {
                dispatch(Transpose {
                    source: source.head(b, kv),
                    tokens: p.tk,
                    padded: p.padded_keys(),
                    head_dim: p.head_dim,
                    target,
                });
            }
            let head = |data, tokens, heads, head| {
                RowsMut::shared(data, (b * tokens * heads + head) * p.head_dim, heads * p.head_dim)
            };
            let [dq, dk, dv] = pointers;
            for h in kv * p.group()..(kv + 1) * p.group() {
                for first in (0..p.tq).step_by(QUERY_BLOCK) {
                    let last = (first + QUERY_BLOCK).min(p.tq);
                    dispatch(Block {
                        p,
                        batch: b,
                        rows: (first, last),
                        columns: p.columns(b, first, last),
                        padding: p.padding_row(b),
                        q: saved.q.head(b, h),
                        k: saved.k.head(b, kv),
                        out: saved.out.head(b, h),
                        grad: saved.grad.head(b, h),
                        lse: &saved.lse[(b * p.heads + h) * p.tq..][..p.tq],
                        packed_keys: keys,
                        packed_values: values,
                        dq: head(dq, p.tq, p.heads, h),
                        dk: head(dk, p.tk, p.kv_heads, kv),
                        dv: head(dv, p.tk, p.kv_heads, kv),
                        scores,
                        slopes,
                        caps,
                    });
                }
            }
        });
    });
    [dq, dk, dv]
}

/// The queries `rows` of one head.
struct Block<'a, 'p> {
    p: &'a Problem<'p>,
    batch: usize,
    rows: (usize, usize),
    columns: Columns,
    padding: Option<&'a [u8]>,
    q: Rows<'a>,
    k: Rows<'a>,
    out: Rows<'a>,
    grad: Rows<'a>,
    lse: &'a [f32],
    packed_keys: &'a [f32],
    packed_values: &'a [f32],
    dq: RowsMut<'a>,
    dk: RowsMut<'a>,
    dv: RowsMut<'a>,
    /// Probabilities.
    scores: &'a mut [f32],
    /// Gradient of the probabilities, then of the raw scores.
    slopes: &'a mut [f32],
    /// Derivative of the soft-cap.
    caps: &'a mut [f32],
}

impl Kernel for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (first, last) = self.rows;
        let Columns { low, high, width } = self.columns;
        let (rows, keys, head_dim) = (last - first, high - low, self.p.head_dim);
        // SAFETY: rows `first..last` and keys `low..high` exist, each tile holds a row of `width` for each query,
        // and no other task writes these rows of `dq` or these heads of `dk` and `dv`.
        unsafe {
            let (q, grad, k) = (self.q.rows_from(first), self.grad.rows_from(first), self.k.rows_from(low));
            let (dq, dk, dv) = (self.dq.rows_from(first), self.dk.rows_from(low), self.dv.rows_from(low));
            for (left, packed, tile) in
                [(q, self.packed_keys, &mut *self.scores), (grad, self.packed_values, &mut *self.slopes)]
            {
                I::matmul(
                    (rows, width, head_dim),
                    left.strided(),
                    Rows::new(&packed[low.min(packed.len())..], self.p.padded_keys()),
                    RowsMut::new(tile, width),
                    false,
                );
            }
            for i in first..last {
                let mean = dot::<I>(self.out.part(i, 0, head_dim), self.grad.part(i, 0, head_dim));
                self.row::<I>(i, mean);
            }
            I::matmul((keys, head_dim, rows), Strided::new(self.scores, 1, width), grad, dv, true);
            I::matmul((keys, head_dim, rows), Strided::new(self.slopes, 1, width), q, dk, true);
            I::matmul((rows, head_dim, keys), Strided::new(self.slopes, width, 1), k, dq, false);
        }
    }
}

impl Block<'_, '_> {
    /// Probabilities of query `i` and the gradient of its raw scores; `mean` is `out . grad`, which equals the
    /// probability-weighted mean of the probabilities' gradients.
    #[inline(always)]
    fn row<I: Isa>(&mut self, i: usize, mean: f32) {
        let Columns { low, width, .. } = self.columns;
        let (first, last) = self.p.visible(self.batch, i);
        let start = (i - self.rows.0) * width;
        let live = first - low..last - low;
        let scores = &mut self.scores[start..start + width];
        let slopes = &mut self.slopes[start..start + width];
        let caps = &mut self.caps[start..start + width];
        for tile in [&mut *scores, &mut *slopes] {
            tile[..live.start].fill(0.0);
            tile[live.end..].fill(0.0);
        }
        let (scores, slopes, caps) = (&mut scores[live.clone()], &mut slopes[live.clone()], &mut caps[live]);
        let mut scale = self.p.scale;
        if let Some(cap) = self.p.softcap {
            apply_softcap::<I>(scores, scale, cap);
            scale = 1.0;
            let inverse = 1.0 / cap;
            for (slope, &score) in caps.iter_mut().zip(&*scores) {
                let tanh = score * inverse;
                *slope = I::mul_add(-tanh, tanh, 1.0);
            }
        }
        if let Some(real) = self.padding {
            hide_padding(scores, &real[first..last]);
        }
        if let Some((ids, own)) = self.p.compare(self.batch, i) {
            hide_others(scores, &ids[first..last], own);
        }
        if let Some((until, position)) = self.p.ends(self.batch, i) {
            hide_ended(scores, &until[first..last], position);
        }
        let lse = self.lse[i];
        for (score, slope) in scores.iter_mut().zip(slopes.iter_mut()) {
            let probability = exp::<I>(I::mul_add(*score, scale, -lse));
            *score = probability;
            *slope = probability * (*slope - mean) * self.p.scale;
        }
        if self.p.softcap.is_some() {
            for (slope, cap) in slopes.iter_mut().zip(&*caps) {
                *slope *= cap;
            }
        }
    }
}
