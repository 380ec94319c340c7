//! Forward pass: one task per head and block of queries.

use super::super::math::exp;
use super::super::matmul::{Rows, RowsMut, Strided};
use super::super::parallel::{self, Buffer, Shared, for_each};
use super::super::simd::{Isa, Kernel, dispatch, dot, dot_f16, map_sum, max};
use super::values::sum_of_values;
use super::{
    Columns, Heads, KeysValues, Problem, QUERY_BLOCK, Transpose, apply_softcap, hide_ended, hide_others, hide_padding,
    with_scratch,
};

/// Up to this many queries (cached decoding), dot products with the keys as they are beat transposing the keys.
pub const FEW_QUERIES: usize = 4;

/// `(out, lse)`: `[batch, tq, heads, head_dim]` and `[batch, heads, tq]`.
///
/// The log-sum-exp of a row without visible keys is `+inf`, which makes its recomputed probabilities zero.
///
/// # Panics
/// For keys in f16 and more than [`FEW_QUERIES`] queries: widened once, they cost many queries less.
pub fn forward(p: &Problem, q: Heads, keys_values: KeysValues) -> (Vec<f32>, Vec<f32>) {
    let mut out = vec![0f32; p.batch * p.tq * p.heads * p.head_dim];
    let mut lse = vec![0f32; p.batch * p.heads * p.tq];
    let head_keys = p.head_dim * p.padded_keys();
    let packed = (p.tq > FEW_QUERIES).then(|| match keys_values {
        KeysValues::F32(k, _) => pack(p, k),
        KeysValues::F16(..) => unreachable!("{} queries of keys in f16", p.tq),
    });
    let (out_ptr, lse_ptr) = (Shared::new(&mut out), Shared::new(&mut lse));
    let blocks = p.tq.div_ceil(QUERY_BLOCK);
    for_each(p.batch * p.heads * blocks, p.work(), |task| {
        let (head, block) = (task / blocks, task % blocks);
        let (b, h) = (head / p.heads, head % p.heads);
        let kv = h / p.group();
        let first = block * QUERY_BLOCK;
        let last = (first + QUERY_BLOCK).min(p.tq);
        with_scratch((last - first) * p.padded_keys(), |scores| {
            dispatch(Block {
                p,
                batch: b,
                rows: (first, last),
                columns: p.columns(b, first, last),
                padding: p.padding_row(b),
                q: q.head(b, h),
                packed: packed.as_ref().map(|keys| &keys[(b * p.kv_heads + kv) * head_keys..][..head_keys]),
                kv: match keys_values {
                    KeysValues::F32(k, v) => Head::F32(k.head(b, kv), v.head(b, kv)),
                    KeysValues::F16(k, v) => Head::F16(k.head(b, kv), v.head(b, kv)),
                },
                out: RowsMut::shared(out_ptr, (b * p.tq * p.heads + h) * p.head_dim, p.heads * p.head_dim),
                lse: RowsMut::shared(lse_ptr, head * p.tq, 1),
                scores,
            });
        });
    });
    (out, lse)
}

/// Every key head transposed.
fn pack(p: &Problem, k: Heads) -> Vec<f32> {
    let size = p.head_dim * p.padded_keys();
    let mut packed = vec![0f32; p.batch * p.kv_heads * size];
    let elements = packed.len();
    parallel::chunks(elements, (Buffer::in_place(&mut packed), size), |i, target| {
        dispatch(Transpose {
            source: k.head(i / p.kv_heads, i % p.kv_heads),
            tokens: p.tk,
            padded: p.padded_keys(),
            head_dim: p.head_dim,
            target,
        });
    });
    packed
}

/// Keys and values of one head.
#[derive(Clone, Copy)]
enum Head<'a> {
    F32(Rows<'a>, Rows<'a>),
    F16(Rows<'a, u16>, Rows<'a, u16>),
}

/// The queries `rows` of one head.
struct Block<'a, 'p> {
    p: &'a Problem<'p>,
    batch: usize,
    rows: (usize, usize),
    columns: Columns,
    padding: Option<&'a [u8]>,
    q: Rows<'a>,
    packed: Option<&'a [f32]>,
    kv: Head<'a>,
    out: RowsMut<'a>,
    /// A column.
    lse: RowsMut<'a>,
    scores: &'a mut [f32],
}

impl Kernel for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (first, last) = self.rows;
        let Columns { low, high, width } = self.columns;
        let head_dim = self.p.head_dim;
        let mut inverse_sums = [0f32; QUERY_BLOCK];
        // SAFETY: rows `first..last` and keys `low..high` exist, `scores` holds a row of `width` for each query,
        // and no other task writes these rows of `out` and `lse`.
        unsafe {
            self.raw_scores::<I>();
            for (i, inverse_sum) in (first..last).zip(&mut inverse_sums) {
                let row = &mut self.scores[(i - first) * width..][..width];
                let (lse, inverse) = softmax_row::<I>(self.p, self.batch, i, low, row, self.padding);
                self.lse.start(i, 1)[0] = lse;
                *inverse_sum = inverse;
            }
            let out = self.out.rows_from(first);
            let (size, scores) = ((last - first, head_dim, high - low), Strided::new(self.scores, width, 1));
            match self.kv {
                Head::F32(_, v) => I::matmul(size, scores, v.rows_from(low), out, false),
                Head::F16(_, v) => sum_of_values::<I>(size, scores, v.rows_from(low), out),
            }
            for (i, inverse) in inverse_sums[..last - first].iter().enumerate() {
                for value in out.start(i, head_dim) {
                    *value *= inverse;
                }
            }
        }
    }
}

impl Block<'_, '_> {
    /// `q k^T` of the block's rows and columns.
    ///
    /// # Safety
    /// The block must describe live memory, as built by [`forward`].
    #[inline(always)]
    unsafe fn raw_scores<I: Isa>(&mut self) {
        let (first, last) = self.rows;
        let Columns { low, high, width } = self.columns;
        let head_dim = self.p.head_dim;
        // SAFETY: by the contract.
        unsafe {
            let q = self.q.rows_from(first);
            if let Some(packed) = self.packed {
                I::matmul(
                    (last - first, width, head_dim),
                    q.strided(),
                    Rows::new(&packed[low.min(packed.len())..], self.p.padded_keys()),
                    RowsMut::new(self.scores, width),
                    false,
                );
                return;
            }
            for i in 0..last - first {
                let query = q.part(i, 0, head_dim);
                for j in low..high {
                    self.scores[i * width + j - low] = match self.kv {
                        Head::F32(k, _) => dot::<I>(query, k.part(j, 0, head_dim)),
                        Head::F16(k, _) => dot_f16::<I>(query, k.part(j, 0, head_dim)),
                    };
                }
            }
        }
    }
}

/// Turns raw scores of query `i` into `exp(score - max)`, zero where hidden; returns the log-sum-exp and `1 / sum`.
#[inline(always)]
fn softmax_row<I: Isa>(
    p: &Problem,
    batch: usize,
    i: usize,
    low: usize,
    row: &mut [f32],
    padding: Option<&[u8]>,
) -> (f32, f32) {
    let (first, last) = p.visible(batch, i);
    row[..first - low].fill(0.0);
    row[last - low..].fill(0.0);
    let live = &mut row[first - low..last - low];
    let mut scale = p.scale;
    if let Some(cap) = p.softcap {
        apply_softcap::<I>(live, scale, cap);
        scale = 1.0;
    }
    if let Some(real) = padding {
        hide_padding(live, &real[first..last]);
    }
    if let Some((ids, own)) = p.compare(batch, i) {
        hide_others(live, &ids[first..last], own);
    }
    if let Some((until, position)) = p.ends(batch, i) {
        hide_ended(live, &until[first..last], position);
    }
    let mut largest = max::<I>(live) * scale;
    if largest == f32::NEG_INFINITY {
        if !live.iter().any(|score| score.is_nan()) {
            live.fill(0.0);
            return (f32::INFINITY, 0.0);
        }
        largest = f32::NAN;
    }
    let sum = map_sum::<I>(live, |score| exp::<I>(I::mul_add(score, scale, -largest)));
    (largest + sum.ln(), 1.0 / sum)
}
