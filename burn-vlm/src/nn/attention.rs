//! Scaled dot-product attention with grouped queries, sliding window, padding and soft-cap.
//!
//! Unusual here:
//! - the layout is `[batch, tokens, heads, head_dim]`, the one the projections produce;
//! - keys and values of a group are shared, never copied once per query head;
//! - a query that may see no key at all gives zeros (and zero gradients), never NaN;
//! - scores exist for a block of queries at a time, in training too: the backward pass computes them again.

use burn::backend::Dispatch;
use burn::tensor::{Bool, Int, Tensor};

use super::fused::{AttentionConfig, FusedOps, KeyPadding, KeySegments};

/// Scores that exist at a time where they leave the processor's cache, in elements: 64 MB.
pub const SCORE_ELEMENTS: usize = 1 << 24;

/// Which keys a query may see.
///
/// The queries are the last `tq` of the `tk` positions, so that one call serves training (`tq == tk`) and
/// cached decoding (`tq < tk`). With `p = i + tk - tq`, the position of query `i`:
/// - `causal`: key `j` is visible iff `j <= p`;
/// - `window`: additionally `p - j < window` (Gemma 2's and Qwen 2's sliding window);
/// - `key_padding`: additionally the key is a real token;
/// - `segments`: additionally the key is in the query's segment (several samples packed into one row);
/// - `until`: additionally `p < until[j]` (a tree in one row, each branch behind what it grows from: a key is seen up to the end of what
///   grows from it).
#[derive(Clone, Debug, Default)]
pub struct AttentionMask {
    /// Hide the keys after the query.
    pub causal: bool,
    /// Number of positions a query sees, itself included; `None` is unlimited.
    pub window: Option<usize>,
    /// `[batch, keys]`, true where the key is a real token; `None` if all are.
    pub key_padding: Option<Tensor<2, Bool>>,
    /// `[batch, keys]`, the same number for all tokens of a segment; `None` if each row is one. Needs `tq <= tk`.
    pub segments: Option<Tensor<2, Int>>,
    /// `[batch, keys]`, the position from which on a key is hidden; `None` if none ever is. Needs `tq <= tk`, and no segments.
    pub until: Option<Tensor<2, Int>>,
}

impl AttentionMask {
    /// Every query sees every key (an encoder without padding).
    pub fn full() -> Self {
        Self::default()
    }

    /// Every query sees itself and what precedes it (a decoder).
    pub fn causal() -> Self {
        Self { causal: true, ..Self::default() }
    }

    /// The same mask limited to the last `window` positions.
    pub fn with_window(mut self, window: Option<usize>) -> Self {
        self.window = window;
        self
    }

    /// The same mask with padding keys hidden; `key_padding` is `[batch, keys]`, true where the token is real.
    pub fn with_key_padding(mut self, key_padding: Option<Tensor<2, Bool>>) -> Self {
        self.key_padding = key_padding;
        self
    }

    /// The same mask with every row cut into segments that do not see each other; `segments` is `[batch, keys]`.
    pub fn with_segments(mut self, segments: Option<Tensor<2, Int>>) -> Self {
        self.segments = segments;
        self
    }

    /// The same mask with every key hidden from a position on; `until` is `[batch, keys]`.
    pub fn with_until(mut self, until: Option<Tensor<2, Int>>) -> Self {
        self.until = until;
        self
    }

    /// The same mask outside any graph.
    pub fn inner(mut self) -> Self {
        self.key_padding = self.key_padding.map(Tensor::inner);
        self.segments = self.segments.map(Tensor::inner);
        self.until = self.until.map(Tensor::inner);
        self
    }

    /// The same mask for the last `keys` of the keys: those before lie outside the window and were left out.
    pub fn of_last(mut self, keys: usize) -> Self {
        self.key_padding = self.key_padding.map(|padding| {
            let [_, all] = padding.dims();
            padding.narrow(1, all.saturating_sub(keys), keys.min(all))
        });
        self.segments = self.segments.map(|segments| {
            let [_, all] = segments.dims();
            segments.narrow(1, all.saturating_sub(keys), keys.min(all))
        });
        self.until = self.until.map(|until| {
            let [_, all] = until.dims();
            let left_out = all.saturating_sub(keys);
            until.narrow(1, left_out, keys.min(all)) - left_out as i64
        });
        self
    }
}

/// How scores become probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Factor on `q . k` (usually `head_dim^-1/2`; Gemma 2: `query_pre_attn_scalar^-1/2`).
    pub scale: f64,
    /// `softcap * tanh(score / softcap)` on the scaled scores (Gemma 2), before masking.
    pub softcap: Option<f64>,
}

impl AttentionOptions {
    /// The usual scale, `head_dim^-1/2`, and no soft-cap.
    pub fn new(head_dim: usize) -> Self {
        Self { scale: (head_dim as f64).powf(-0.5), softcap: None }
    }
}

/// `softmax(mask(softcap(scale * q k^T))) v`, the softmax in f32.
///
/// # Shapes
/// - `q`: `[batch, tq, heads, head_dim]`
/// - `k`, `v`: `[batch, tk, kv_heads, head_dim]`, `heads` a multiple of `kv_heads`; query head `h` reads
///   key head `h / (heads / kv_heads)`
/// - returns `[batch, tq, heads, head_dim]`
///
/// # Panics
/// If the shapes do not fit together as above.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    options: &AttentionOptions,
) -> Tensor<4> {
    attention_blockwise(q, k, v, mask, options, SCORE_ELEMENTS)
}

/// [`attention()`] with another bound on the scores that exist at a time. (A block has at least 16 queries.) Kernels that
/// keep scores in the processor's cache take no notice.
///
/// # Shapes
/// As [`attention()`].
///
/// # Panics
/// If the shapes do not fit together.
pub fn attention_blockwise(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    options: &AttentionOptions,
    score_elements: usize,
) -> Tensor<4> {
    check_shapes(&q, &k, &v, mask);
    let padding = match mask.key_padding.clone() {
        None => KeyPadding::AllReal,
        Some(real) => KeyPadding::Real(real.into_dispatch()),
    };
    let segments = match (mask.segments.clone(), mask.until.clone()) {
        (None, None) => KeySegments::One,
        (Some(ids), _) => KeySegments::Ids(ids.into_dispatch()),
        (None, Some(until)) => KeySegments::Until(until.into_dispatch()),
    };
    let config = AttentionConfig::new(mask, options, score_elements);
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::attention_op(q, k, v, padding, segments, config))
}

fn check_shapes(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, mask: &AttentionMask) {
    let ([b, tq, h, d], [kb, tk, kvh, kd]) = (q.dims(), k.dims());
    assert!(
        v.dims() == k.dims() && kb == b && kd == d && kvh > 0 && h % kvh == 0,
        "attention: q is {:?}, k is {:?}, v is {:?}; expected [b, tq, h, d], [b, tk, kv, d] twice, with h a multiple of kv",
        q.dims(),
        k.dims(),
        v.dims()
    );
    if let Some(padding) = &mask.key_padding {
        assert_eq!(padding.dims(), [b, tk], "attention: the key padding must be [batch, keys]");
    }
    if let Some(until) = &mask.until {
        assert_eq!(until.dims(), [b, tk], "attention: until must be [batch, keys]");
        assert!(tq <= tk, "attention: {tq} queries, but the ends of {tk} keys");
        assert!(mask.segments.is_none(), "attention: segments or until, not both");
    }
    if let Some(segments) = &mask.segments {
        assert_eq!(segments.dims(), [b, tk], "attention: the segments must be [batch, keys]");
        assert!(tq <= tk, "attention: {tq} queries, but segments of {tk} positions");
    }
}
