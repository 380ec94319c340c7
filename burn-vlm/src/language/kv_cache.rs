//! Keys and values of the tokens seen so far, so that each new token costs one row.
//!
//! Unusual here:
//! - the tensors are allocated once, at their full length, and written in place; growing them by concatenation copies everything
//!   at every token. Keys are stored after the rotation;
//! - all rows end at the same place, whatever their length: a row that is shorter than another begins later. So one forward takes
//!   rows of any lengths, a row can be replaced by another one while the others go on, and the tokens that several rows begin with
//!   can be computed once and handed to each of them.

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

use super::AttentionInput;
use crate::error::ModelError;

/// The cache of one batch.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// (keys, values) of each layer, `[slots, max_tokens, kv_heads, head_dim]`; the first [`Self::rows`] slots are in use.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    /// Where the tokens of each row begin.
    starts: Vec<usize>,
    len: usize,
    max_tokens: usize,
}

/// The tokens of a row of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSpan {
    /// The row.
    pub row: usize,
    /// Their places.
    pub places: Range<usize>,
}

impl KvCache {
    /// An empty cache; `shape` is `[batch, max_tokens, kv_heads, head_dim]`. The first tokens may have another element type.
    pub fn new(layers: usize, shape: [usize; 4], device: &Device, dtype: DType) -> Self {
        let zeros = || Tensor::zeros(shape, (device, dtype));
        let layers = (0..layers).map(|_| (zeros(), zeros())).collect();
        Self { layers, starts: vec![0; shape[0]], len: 0, max_tokens: shape[1] }
    }

    /// Tokens held, of the longest row that there can be: the place where the next token of every row goes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Rows in use.
    pub fn rows(&self) -> usize {
        self.starts.len()
    }

    /// Rows that fit.
    pub fn slots(&self) -> usize {
        self.layers.first().map_or(self.rows(), |(keys, _)| keys.dims()[0])
    }

    /// Where the tokens of row `row` stand.
    pub fn span(&self, row: usize) -> CacheSpan {
        CacheSpan { row, places: self.starts.get(row).copied().unwrap_or(self.len)..self.len }
    }

    /// Whether a row begins later than the first place.
    pub fn is_ragged(&self) -> bool {
        self.starts.iter().any(|start| *start > 0)
    }

    /// Forgets all tokens; the memory stays.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all tokens but the first `len`; the memory stays. More than there are changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.starts.iter_mut().for_each(|start| *start = (*start).min(len));
    }

    /// Makes room for `max_tokens` in all; what is held stays.
    pub fn reserve(&mut self, max_tokens: usize) {
        if max_tokens <= self.max_tokens {
            return;
        }
        let len = self.len;
        let grow = |old: &Tensor<4>| {
            let [batch, _, heads, dim] = old.dims();
            let new = Tensor::zeros([batch, max_tokens, heads, dim], (&old.device(), old.dtype()));
            match len {
                0 => new,
                _ => new.slice_assign([0..batch, 0..len, 0..heads, 0..dim], old.clone().narrow(1, 0, len)),
            }
        };
        for (keys, values) in &mut self.layers {
            *keys = grow(keys);
            *values = grow(values);
        }
        self.max_tokens = max_tokens;
    }

    /// The cache whose row `r` holds what `spans[r]` of this one does, with room for `max_tokens` and, where that is more than there
    /// are spans, for `slots` rows. The tokens of all rows end at place `len`, or where the longest span does if it begins at the first
    /// place. A row may be taken several times.
    ///
    /// One layer is copied after the other: of a cache that nobody else holds only one layer's keys are there twice.
    pub(crate) fn rearranged(mut self, spans: &[CacheSpan], slots: usize, len: usize, max_tokens: usize) -> Self {
        let len = spans.iter().map(|span| span.places.len()).max().unwrap_or(0).max(len);
        let (slots, max_tokens) = (slots.max(spans.len()), max_tokens.max(len));
        // What is nobody's token holds the first one's values: finite, and hidden from every query.
        let mut source = vec![0i64; slots * max_tokens];
        for (row, span) in source.chunks_mut(max_tokens.max(1)).zip(spans) {
            let first = span.row * self.max_tokens + span.places.start;
            for (place, from) in row[len - span.places.len()..len].iter_mut().zip(first..) {
                *place = from as i64;
            }
        }
        if let Some((keys, _)) = self.layers.first() {
            let count = source.len();
            let source = Tensor::<1, Int>::from_data(TensorData::new(source, [count]), &keys.device());
            let take = |old: Tensor<4>| {
                let [batch, tokens, heads, dim] = old.dims();
                let rows = old.reshape([batch * tokens, heads * dim]).select(0, source.clone());
                rows.reshape([slots, max_tokens, heads, dim])
            };
            for (keys, values) in &mut self.layers {
                keys.inplace(take);
                values.inplace(take);
            }
        }
        self.starts = spans.iter().map(|span| len - span.places.len()).collect();
        self.len = len;
        self.max_tokens = max_tokens;
        self
    }

    /// Gives row `row` the tokens `span` of another cache, so that they end where all rows do. `row` is one in use or the next one.
    ///
    /// # Errors
    /// [`ModelError::TooLong`] for more tokens than there are places before that end, or no slot left.
    pub(crate) fn put(&mut self, row: usize, from: &Self, span: &CacheSpan) -> Result<(), ModelError> {
        let tokens = span.places.len();
        if tokens > self.len {
            return Err(ModelError::TooLong { what: "the KV cache's beginning", tokens, max: self.len });
        }
        if row >= self.slots() || row > self.rows() {
            return Err(ModelError::TooLong { what: "the KV cache's rows", tokens: row + 1, max: self.slots() });
        }
        let (start, end) = (self.len - tokens, self.len);
        let copy = |target: &mut Tensor<4>, source: &Tensor<4>| {
            let [_, _, heads, dim] = source.dims();
            let taken = tokens_of(source, span).cast(target.dtype());
            target.inplace(|target| target.slice_assign([row..row + 1, start..end, 0..heads, 0..dim], taken));
        };
        for ((keys, values), (from_keys, from_values)) in self.layers.iter_mut().zip(&from.layers) {
            copy(keys, from_keys);
            copy(values, from_values);
        }
        match self.starts.get_mut(row) {
            Some(own) => *own = start,
            None => self.starts.push(start),
        }
        Ok(())
    }

    /// Drops row `row`; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, row: usize) {
        let last = self.rows().saturating_sub(1);
        if row < last {
            let span = self.span(last);
            for (keys, values) in &mut self.layers {
                for tensor in [keys, values] {
                    let [_, _, heads, dim] = tensor.dims();
                    let taken = tokens_of(tensor, &span);
                    let place = [row..row + 1, span.places.clone(), 0..heads, 0..dim];
                    tensor.inplace(|tensor| tensor.slice_assign(place, taken));
                }
            }
        }
        if row <= last {
            self.starts.swap_remove(row);
        }
    }

    /// What the next `tokens` tokens of each row see, and their positions: each row's own, from where it begins. Positions that only
    /// padding on the right can have, `max_positions` or more, are lowered to one that there is.
    pub(crate) fn input(&self, tokens: usize, max_positions: usize, device: &Device) -> AttentionInput {
        if !self.is_ragged() {
            return AttentionInput::contiguous();
        }
        let (rows, width) = (self.rows(), self.len + tokens);
        let real: Vec<bool> = self.starts.iter().flat_map(|start| (0..width).map(move |at| at >= *start)).collect();
        let position = |start: usize, at: usize| (self.len - start + at).min(max_positions.saturating_sub(1)) as i64;
        let positions: Vec<i64> =
            self.starts.iter().flat_map(|start| (0..tokens).map(move |at| position(*start, at))).collect();
        AttentionInput {
            padding: Some(Tensor::<2, Bool>::from_data(TensorData::new(real, [rows, width]), device)),
            positions: Some(Tensor::<2, Int>::from_data(TensorData::new(positions, [rows, tokens]), device)),
            ..AttentionInput::default()
        }
    }

    /// Whether `tokens` more fit.
    ///
    /// # Errors
    /// [`ModelError::TooLong`].
    pub(super) fn check(&self, tokens: usize) -> Result<(), ModelError> {
        if self.len + tokens > self.max_tokens {
            return Err(ModelError::TooLong { what: "the KV cache", tokens: self.len + tokens, max: self.max_tokens });
        }
        Ok(())
    }

    /// Writes the new tokens of one layer and returns its keys and values so far; of a layer that sees `window` positions
    /// only those that one of the new tokens can see. [`Self::advance`] follows after the last layer.
    ///
    /// # Shapes
    /// - `k`, `v`: `[batch, tokens, kv_heads, head_dim]`
    /// - returns two of `[batch, n, kv_heads, head_dim]`, the last `n` of `len + tokens`
    pub(super) fn append(
        &mut self,
        layer: usize,
        k: Tensor<4>,
        v: Tensor<4>,
        window: Option<usize>,
    ) -> (Tensor<4>, Tensor<4>) {
        let [batch, tokens, heads, dim] = k.dims();
        let (start, end) = (self.len, self.len + tokens);
        // The first new token sees `window` positions, itself included.
        let seen = window.map_or(end, |window| end.min(window + tokens - 1));
        let (keys, values) = &mut self.layers[layer];
        if keys.dtype() != k.dtype() {
            // The layer computes in another element type than was expected: the empty cache takes it with the first tokens.
            *keys = keys.clone().cast(k.dtype());
            *values = values.clone().cast(v.dtype());
        }
        keys.inplace(|keys| keys.slice_assign([0..batch, start..end, 0..heads, 0..dim], k));
        values.inplace(|values| values.slice_assign([0..batch, start..end, 0..heads, 0..dim], v));
        let view = |tensor: &Tensor<4>| tensor.clone().narrow(0, 0, batch).narrow(1, end - seen, seen);
        (view(keys), view(values))
    }

    /// Counts the tokens that every layer has appended.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

/// A copy of a row's tokens, `[1, tokens, kv_heads, head_dim]`, of `[slots, max_tokens, kv_heads, head_dim]`. (A view would hold a target
/// that is its own source twice, and a selection from a view copies the view first.)
fn tokens_of(tensor: &Tensor<4>, span: &CacheSpan) -> Tensor<4> {
    let [slots, max_tokens, heads, dim] = tensor.dims();
    let first = span.row * max_tokens;
    let places: Vec<i64> = span.places.clone().map(|place| (first + place) as i64).collect();
    let count = places.len();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &tensor.device());
    let rows = tensor.clone().reshape([slots * max_tokens, heads * dim]).select(0, places);
    rows.reshape([1, count, heads, dim])
}
