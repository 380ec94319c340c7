//! Attention on tiles of one head: scores, softmax and products stay in cache, masked blocks are skipped.
//!
//! The forward pass keeps only the log-sum-exp of each row; the backward pass recomputes the probabilities from it.

mod backward;
mod ends;
mod forward;
mod segments;
mod values;

use std::cell::RefCell;

pub use backward::{Saved, backward};
pub use ends::Ends;
pub use forward::{FEW_QUERIES, forward};
pub use segments::Segments;

use super::math::tanh;
use super::matmul::Rows;
use super::simd::{Isa, Kernel, transpose};

/// Queries handled together: their scores against a few hundred keys fit the first-level cache.
const QUERY_BLOCK: usize = 32;
/// Packed keys are padded to whole vectors.
const PAD: usize = 16;

/// `[batch, tokens, heads, head_dim]` with any strides, the last one being 1.
#[derive(Clone, Copy)]
pub struct Heads<'a, T = f32> {
    /// From the first element on.
    pub data: &'a [T],
    /// Strides of batch, token and head.
    pub strides: [usize; 3],
}

impl<'a, T: Copy> Heads<'a, T> {
    /// One head of one batch row.
    fn head(&self, batch: usize, head: usize) -> Rows<'a, T> {
        Rows::new(&self.data[batch * self.strides[0] + head * self.strides[2]..], self.strides[1])
    }
}

/// Keys and values.
#[derive(Clone, Copy)]
pub enum KeysValues<'a> {
    F32(Heads<'a>, Heads<'a>),
    /// The bits of f16. A result is bit by bit that of the widened ones.
    F16(Heads<'a, u16>, Heads<'a, u16>),
}

/// Sizes and mask of one call.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Rows of the batch.
    pub batch: usize,
    /// Queries.
    pub tq: usize,
    /// Keys.
    pub tk: usize,
    /// Query heads.
    pub heads: usize,
    /// Key heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Soft-cap on the scaled scores.
    pub softcap: Option<f32>,
    /// Hide later keys.
    pub causal: bool,
    /// Hide keys this far back.
    pub window: Option<usize>,
    /// Which keys are real.
    pub padding: Option<&'a Padding>,
    /// Which tokens of a row belong together.
    pub segments: Option<&'a Segments>,
    /// From where on keys are hidden.
    pub until: Option<&'a Ends>,
}

/// Padding of a batch's keys.
pub struct Padding {
    /// `[batch, tk]`, nonzero where the key is real.
    real: Vec<u8>,
    /// The first real key of each row, `tk` if there is none: what is before costs nothing.
    first: Vec<usize>,
}

impl Padding {
    /// Padding of rows of `tokens` keys, nonzero where a key is real.
    pub fn new(real: Vec<u8>, tokens: usize) -> Self {
        let first = |row: &[u8]| row.iter().position(|real| *real != 0).unwrap_or(tokens);
        let first = real.chunks(tokens.max(1)).map(first).collect();
        Self { real, first }
    }
}

impl<'a> Problem<'a> {
    /// The keys `low..high` that position, window, the padding before the row and the ends of its segment leave visible to query `i` of
    /// row `batch`.
    fn visible(&self, batch: usize, i: usize) -> (usize, usize) {
        let tk = self.tk as isize;
        let position = i as isize + tk - self.tq as isize;
        let high = if self.causal { (position + 1).clamp(0, tk) } else { tk };
        let low = match self.window {
            Some(window) => position.saturating_sub_unsigned(window).saturating_add(1).clamp(0, high),
            None => 0,
        };
        let (low, high) = (low as usize, high as usize);
        let low = self.padding.map_or(low, |padding| padding.first[batch].clamp(low, high));
        match self.segments {
            None => (low, high),
            Some(segments) => {
                // There are at least as many keys as queries.
                let span = segments.span(batch, position as usize);
                let high = high.min(span.end);
                (low.max(span.start).min(high), high)
            }
        }
    }

    /// Columns that any query of a block sees; the first is a whole number of vectors.
    fn columns(&self, batch: usize, first: usize, last: usize) -> Columns {
        let (mut low, mut high) = (self.visible(batch, first).0, self.visible(batch, last - 1).1);
        // With position and window alone both ends grow from query to query; segments may lie in any order.
        if self.segments.is_some() {
            for i in first..last {
                let (query_low, query_high) = self.visible(batch, i);
                low = low.min(query_low);
                high = high.max(query_high);
            }
        }
        let low = low / PAD * PAD;
        Columns { low, high, width: (high - low).next_multiple_of(PAD) }
    }

    /// The numbers of the segments of row `batch` and of its query `i`, if they must be compared key by key.
    fn compare(&self, batch: usize, i: usize) -> Option<(&'a [i64], i64)> {
        let ids = self.segments?.compare(batch)?;
        Some((ids, ids[i + self.tk - self.tq]))
    }

    /// From where on the keys of row `batch` are hidden, and where its query `i` is.
    fn ends(&self, batch: usize, i: usize) -> Option<(&'a [i32], i32)> {
        Some((self.until?.row(batch), (i + self.tk - self.tq) as i32))
    }

    fn padded_keys(&self) -> usize {
        self.tk.next_multiple_of(PAD)
    }

    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The padding of one batch row.
    fn padding_row(&self, batch: usize) -> Option<&'a [u8]> {
        self.padding.map(|padding| &padding.real[batch * self.tk..][..self.tk])
    }

    /// A measure of the work, to decide about threads.
    fn work(&self) -> usize {
        self.batch * self.heads * self.tq * self.tk * self.head_dim / 8
    }
}

/// The columns of the score matrix one block of queries needs.
#[derive(Clone, Copy)]
struct Columns {
    /// First key.
    low: usize,
    /// After the last key.
    high: usize,
    /// `high - low` rounded up to whole vectors: the row stride of a tile.
    width: usize,
}

thread_local! {
    /// Tiles of the task that runs on this thread.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with `n` elements of this thread's scratch space, whose content is arbitrary.
fn with_scratch(n: usize, f: impl FnOnce(&mut [f32])) {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < n {
            scratch.resize(n, 0.0);
        }
        f(&mut scratch[..n]);
    });
}

/// Writes `[tokens, head_dim]` as `[head_dim, padded]`, zeros in the padding.
struct Transpose<'a> {
    source: Rows<'a>,
    tokens: usize,
    padded: usize,
    head_dim: usize,
    target: &'a mut [f32],
}

impl Kernel for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for start in (0..self.padded).step_by(PAD) {
            let tokens = PAD.min(self.tokens.saturating_sub(start));
            for d in (0..self.head_dim).step_by(PAD) {
                let width = PAD.min(self.head_dim - d);
                let mut block = [[0f32; PAD]; PAD];
                for (token, row) in block[..tokens].iter_mut().enumerate() {
                    // SAFETY: token `start + token` and elements `d..d + width` lie inside the head.
                    let source = unsafe { self.source.part(start + token, d, width) };
                    match source.first_chunk::<PAD>() {
                        Some(whole) => *row = *whole,
                        None => row[..width].copy_from_slice(source),
                    }
                }
                for (i, row) in transpose(block)[..width].iter().enumerate() {
                    self.target[(d + i) * self.padded + start..][..PAD].copy_from_slice(row);
                }
            }
        }
    }
}

/// `cap * tanh(scale * score / cap)`.
#[inline(always)]
fn apply_softcap<I: Isa>(scores: &mut [f32], scale: f32, cap: f32) {
    let inner = scale / cap;
    for score in scores {
        *score = cap * tanh::<I>(*score * inner);
    }
}

/// Minus infinity where the key is padding; `real` is nonzero where it is not.
#[inline(always)]
fn hide_padding(scores: &mut [f32], real: &[u8]) {
    for (score, &real) in scores.iter_mut().zip(real) {
        *score = if real == 0 { f32::NEG_INFINITY } else { *score };
    }
}

/// Minus infinity where the key ends at the query's position or before.
#[inline(always)]
fn hide_ended(scores: &mut [f32], until: &[i32], position: i32) {
    for (score, &until) in scores.iter_mut().zip(until) {
        *score = if until > position { *score } else { f32::NEG_INFINITY };
    }
}

/// Minus infinity where the key is in another segment than the query.
#[inline(always)]
fn hide_others(scores: &mut [f32], ids: &[i64], own: i64) {
    for (score, &id) in scores.iter_mut().zip(ids) {
        *score = if id == own { *score } else { f32::NEG_INFINITY };
    }
}
