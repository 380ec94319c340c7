//! Keys and values of the tokens seen so far, so that each new token costs one row.
//!
//! Unusual here: the tensors are allocated once, at their full length, and written in place; growing them by concatenation
//! copies everything at every token. Keys are stored after the rotation.

use burn::tensor::{Device, Tensor};

use crate::error::ModelError;

/// The cache of one batch.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// (keys, values) of each layer, `[batch, max_tokens, kv_heads, head_dim]`.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    len: usize,
    max_tokens: usize,
}

impl KvCache {
    /// An empty cache; `shape` is `[batch, max_tokens, kv_heads, head_dim]`.
    pub fn new(layers: usize, shape: [usize; 4], device: &Device) -> Self {
        let layers = (0..layers).map(|_| (Tensor::zeros(shape, device), Tensor::zeros(shape, device))).collect();
        Self { layers, len: 0, max_tokens: shape[1] }
    }

    /// Tokens held.
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

    /// Forgets all tokens; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets all tokens but the first `len`; the memory stays. More than there are changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
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
            // A model in half precision: the empty cache takes its element type with the first tokens.
            *keys = keys.clone().cast(k.dtype());
            *values = values.clone().cast(v.dtype());
        }
        keys.inplace(|keys| keys.slice_assign([0..batch, start..end, 0..heads, 0..dim], k));
        values.inplace(|values| values.slice_assign([0..batch, start..end, 0..heads, 0..dim], v));
        (keys.clone().narrow(1, end - seen, seen), values.clone().narrow(1, end - seen, seen))
    }

    /// Counts the tokens that every layer has appended.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}
