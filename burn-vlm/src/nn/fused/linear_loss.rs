//! A linear layer and the cross entropy of its outputs, in chunks of the vocabulary.
//!
//! Logits of 4,096 tokens over Gemma's 256,000 words are 4 GB, their gradient as much again. Here only a chunk of
//! words is looked at, for all rows. Unusual here:
//! - the chunks cut the vocabulary, not the rows: each chunk then owns its rows of the weight's gradient, which is
//!   written once and never added up;
//! - the forward pass keeps the log-sum-exp of each row, the backward pass recomputes the logits: a third product more,
//!   paid only where the logits do not fit one chunk; where they do, they are kept;
//! - the weight may have another element type than the hidden states: each chunk of it is converted on its way.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Slice;

use super::FusedKernels;
use super::generic::tensor::{Float, bool_dtype};

/// Narrower chunks than this would leave the matrix products inefficient, whatever the number of rows.
const MIN_CLASSES: usize = 256;
/// Chunks are whole multiples of this many classes, for aligned rows.
const CLASS_MULTIPLE: usize = 64;

/// How the loss is computed, without the tensors.
#[derive(Clone, Copy, Debug)]
pub struct LinearLoss {
    /// Whether the weight is `[classes, hidden]` (an embedding table) or `[hidden, classes]` (a linear layer).
    pub class_rows: bool,
    /// Soft-cap on the logits.
    pub softcap: Option<f64>,
    /// Elements of the logits that may exist at a time.
    pub chunk_elements: usize,
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub struct LinearLossSaved<B: Backend> {
    /// `[rows, hidden]`
    pub hidden: FloatTensor<B>,
    /// See [`LinearLoss::class_rows`].
    pub weight: FloatTensor<B>,
    /// `[rows]`
    pub targets: IntTensor<B>,
    /// `[rows, 1]`, f32.
    pub lse: FloatTensor<B>,
    /// `[rows, classes]` where they fit one chunk.
    pub logits: Option<FloatTensor<B>>,
}

impl LinearLoss {
    /// First and last class of each chunk.
    fn chunks(&self, rows: usize, classes: usize) -> Vec<(usize, usize)> {
        let fits = self.chunk_elements / rows.max(1) / CLASS_MULTIPLE * CLASS_MULTIPLE;
        let width = if rows * classes <= self.chunk_elements { classes } else { fits.max(MIN_CLASSES) };
        let width = width.max(1);
        (0..classes).step_by(width).map(|first| (first, (first + width).min(classes))).collect()
    }

    fn classes<B: Backend>(&self, weight: &FloatTensor<B>) -> usize {
        weight.shape().to_vec()[usize::from(!self.class_rows)]
    }

    /// The chunk of the weight in the element type of `like`.
    fn part<B: Backend>(&self, weight: &FloatTensor<B>, chunk: (usize, usize), like: &FloatTensor<B>) -> Float<B> {
        let part = B::float_slice(weight.clone(), &self.slices(chunk));
        Float(Float::<B>(part).cast(like.dtype()))
    }

    /// Where a chunk lies in the weight.
    fn slices(&self, (first, last): (usize, usize)) -> [Slice; 2] {
        let classes = Slice::from(first..last);
        if self.class_rows { [classes, Slice::full()] } else { [Slice::full(), classes] }
    }

    /// `[rows, chunk]`
    fn logits<B: FusedKernels>(&self, hidden: &FloatTensor<B>, part: Float<B>) -> FloatTensor<B> {
        let part = if self.class_rows { part.transpose() } else { part };
        B::product(hidden.clone(), part.0)
    }
}

/// Losses `[rows]`, and what the backward pass needs besides the inputs: the log-sum-exp and, if they are one chunk,
/// the logits.
pub fn forward<B: FusedKernels>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    config: &LinearLoss,
) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
    let rows = hidden.shape().to_vec()[0];
    let chunks = config.chunks(rows, config.classes::<B>(&weight));
    let column = |lse| Float::<B>(lse).reshape([rows, 1]);
    if let [chunk] = chunks[..] {
        let logits = config.logits::<B>(&hidden, config.part::<B>(&weight, chunk, &hidden));
        let (losses, lse) = B::cross_entropy_forward(logits.clone(), targets, config.softcap);
        return (losses, column(lse).0, Some(logits));
    }
    let mut chosen: Option<Float<B>> = None;
    let mut parts = Vec::with_capacity(chunks.len());
    for (index, &chunk) in chunks.iter().enumerate() {
        let logits = config.logits::<B>(&hidden, config.part::<B>(&weight, chunk, &hidden));
        // A target beyond the last class stays one, so that the kernels report it.
        let end = (index + 1 < chunks.len()).then_some(chunk.1);
        let (local, elsewhere) = local_targets::<B>(targets.clone(), chunk.0, end);
        let local = B::int_mask_fill(local, elsewhere.clone(), (-1i64).into());
        let (losses, lse) = B::cross_entropy_forward(logits, local, config.softcap);
        let lse = column(lse);
        // The loss is `lse - logit`; this takes the logit out again, in the one chunk that has it.
        let logit = (lse.clone().reshape([rows]) - Float(losses)).mask_fill(elsewhere, 0.0);
        chosen = Some(match chosen {
            None => logit,
            Some(sum) => sum + logit,
        });
        parts.push(lse);
    }
    let lse = log_sum_exp(Float::cat_last(parts));
    let losses = match chosen {
        Some(chosen) => lse.clone().reshape([rows]) - chosen,
        None => lse.clone().reshape([rows]),
    };
    (losses.mask_fill(negative::<B>(targets), 0.0).0, lse.0, None)
}

/// Gradients of the hidden states and of the weight, each only where it is wanted.
pub fn backward<B: FusedKernels>(
    saved: LinearLossSaved<B>,
    grad: FloatTensor<B>,
    config: &LinearLoss,
    wanted: [bool; 2],
) -> [Option<FloatTensor<B>>; 2] {
    let LinearLossSaved { hidden, weight, targets, lse, mut logits } = saved;
    let rows = hidden.shape().to_vec()[0];
    let chunks = config.chunks(rows, config.classes::<B>(&weight));
    let ignored = negative::<B>(targets.clone());
    let grad = Float::<B>::f32(grad).mask_fill(ignored.clone(), 0.0).0;
    let (mut dx, mut dw): (Option<Float<B>>, Option<FloatTensor<B>>) = (None, None);
    for &chunk in &chunks {
        let part = config.part::<B>(&weight, chunk, &hidden);
        let scores = logits.take().unwrap_or_else(|| config.logits::<B>(&hidden, part.clone()));
        // Rows whose target is elsewhere get one beyond the chunk: all of their gradient is the probabilities'.
        let (local, elsewhere) = local_targets::<B>(targets.clone(), chunk.0, Some(chunk.1));
        let local = B::int_mask_fill(local, elsewhere, ((chunk.1 - chunk.0) as i64).into());
        let local = B::int_mask_fill(local, ignored.clone(), (-1i64).into());
        let slopes = Float::<B>(B::cross_entropy_backward(scores, local, lse.clone(), grad.clone(), config.softcap));
        if wanted[0] {
            let part = if config.class_rows { part } else { part.transpose() };
            let term = Float::<B>::f32(B::product(slopes.clone().0, part.0));
            dx = Some(match dx {
                None => term,
                Some(sum) => sum + term,
            });
        }
        if wanted[1] {
            let hidden = Float::<B>(hidden.clone());
            let (left, right) = if config.class_rows { (slopes, hidden) } else { (hidden, slopes) };
            let term = Float::<B>(B::product(left.transpose().0, right.0)).cast(weight.dtype());
            dw = Some(if chunks.len() == 1 {
                term
            } else {
                // In place: nobody else holds the gradient yet.
                let whole = dw.unwrap_or_else(|| B::zeros_like(&weight));
                B::float_slice_assign(whole, &config.slices(chunk), term)
            });
        }
    }
    [dx.map(|dx| dx.cast(hidden.dtype())), dw]
}

/// Targets counted from `first`, and where they lie outside `first..end`.
fn local_targets<B: Backend>(targets: IntTensor<B>, first: usize, end: Option<usize>) -> (IntTensor<B>, BoolTensor<B>) {
    let dtype = bool_dtype::<B>(&targets.device());
    let local = B::int_sub_scalar(targets, (first as i64).into());
    let before = B::int_lower_elem(local.clone(), 0i64.into(), dtype);
    let elsewhere = match end {
        None => before,
        Some(end) => {
            let behind = B::int_greater_equal_elem(local.clone(), ((end - first) as i64).into(), dtype);
            B::bool_or(before, behind)
        }
    };
    (local, elsewhere)
}

/// True where the target is negative.
fn negative<B: Backend>(targets: IntTensor<B>) -> BoolTensor<B> {
    let dtype = bool_dtype::<B>(&targets.device());
    B::int_lower_elem(targets, 0i64.into(), dtype)
}

/// Over the last dimension, which stays with size one.
fn log_sum_exp<B: Backend>(x: Float<B>) -> Float<B> {
    let largest = x.clone().max_last();
    (x - largest.clone()).exp().sum_last().log() + largest
}
