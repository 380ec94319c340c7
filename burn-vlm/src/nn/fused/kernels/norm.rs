//! RMSNorm and LayerNorm over rows.
//!
//! Parameter gradients are sums over rows: each block of a fixed number of rows sums its own, the blocks are then
//! added in order, so the result does not depend on the number of threads.

use super::parallel::{Buffer, chunks2, rows_per_piece};
use super::simd::{Isa, Kernel, dispatch, dot, sum, sum2};

/// Rows whose parameter gradients are summed together.
const BLOCK_ROWS: usize = 64;

/// Which norm, and its parameters.
#[derive(Clone, Copy)]
pub enum Norm<'a> {
    /// `x / rms(x) * (weight + offset)`.
    Rms {
        /// `[hidden]`
        weight: &'a [f32],
        /// Zero, or one for Gemma.
        offset: f32,
    },
    /// `(x - mean) / std * weight + bias`.
    Layer {
        /// `[hidden]`
        weight: &'a [f32],
        /// `[hidden]`
        bias: &'a [f32],
    },
}

impl Norm<'_> {
    /// Length of a row.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Rms { weight, .. } | Self::Layer { weight, .. } => weight.len(),
        }
    }
}

/// Normalises the rows of `x` in place and writes each row's `[mean, 1 / deviation]` (the mean is zero for RMSNorm).
pub fn forward(x: Buffer, norm: Norm, eps: f32, statistics: &mut [f32]) {
    let hidden = norm.hidden();
    let rows = rows_per_piece(hidden);
    chunks2(x.len(), (x, rows * hidden), (Buffer::in_place(statistics), rows * 2), |_, x, statistics| {
        dispatch(Forward { x, norm, eps, statistics });
    });
}

/// Turns `grad` into the gradient of `x`; returns the gradients of weight and bias (empty for RMSNorm).
pub fn backward(grad: Buffer, x: &[f32], norm: Norm, statistics: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let hidden = norm.hidden();
    let elements = x.len();
    let parameters = match norm {
        Norm::Rms { .. } => hidden,
        Norm::Layer { .. } => 2 * hidden,
    };
    let size = BLOCK_ROWS * hidden;
    let mut partial = vec![0f32; x.len().div_ceil(size.max(1)) * parameters];
    chunks2(elements, (grad, size), (Buffer::in_place(&mut partial), parameters), |block, grad, partial| {
        let x = &x[block * size..][..grad.len()];
        let statistics = &statistics[block * BLOCK_ROWS * 2..];
        dispatch(Backward { grad, x, norm, statistics, partial });
    });
    let mut total = vec![0f32; parameters];
    for block in partial.chunks(parameters.max(1)) {
        for (total, value) in total.iter_mut().zip(block) {
            *total += value;
        }
    }
    let bias = total.split_off(hidden);
    (total, bias)
}

struct Forward<'a> {
    x: &'a mut [f32],
    norm: Norm<'a>,
    eps: f32,
    statistics: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.norm.hidden();
        let n = hidden as f32;
        for (x, statistics) in self.x.chunks_exact_mut(hidden.max(1)).zip(self.statistics.chunks_exact_mut(2)) {
            match self.norm {
                Norm::Rms { weight, offset } => {
                    let inverse = 1.0 / (dot::<I>(x, x) / n + self.eps).sqrt();
                    for (x, weight) in x.iter_mut().zip(weight) {
                        *x = *x * inverse * (weight + offset);
                    }
                    statistics.copy_from_slice(&[0.0, inverse]);
                }
                Norm::Layer { weight, bias } => {
                    let mean = sum::<I>(x, |x| x) / n;
                    let variance = sum::<I>(x, |x| (x - mean) * (x - mean)) / n;
                    let inverse = 1.0 / (variance + self.eps).sqrt();
                    for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
                        *x = I::mul_add((*x - mean) * inverse, *weight, *bias);
                    }
                    statistics.copy_from_slice(&[mean, inverse]);
                }
            }
        }
    }
}

struct Backward<'a> {
    grad: &'a mut [f32],
    x: &'a [f32],
    norm: Norm<'a>,
    statistics: &'a [f32],
    partial: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.norm.hidden();
        let n = hidden as f32;
        let rows = self.grad.chunks_exact_mut(hidden.max(1)).zip(self.x.chunks_exact(hidden.max(1)));
        let (weight_grad, bias_grad) = self.partial.split_at_mut(hidden);
        for ((grad, x), statistics) in rows.zip(self.statistics.chunks_exact(2)) {
            let (mean, inverse) = (statistics[0], statistics[1]);
            match self.norm {
                Norm::Rms { weight, offset } => {
                    for ((total, grad), x) in weight_grad.iter_mut().zip(&*grad).zip(x) {
                        *total = I::mul_add(*grad, x * inverse, *total);
                    }
                    for (grad, weight) in grad.iter_mut().zip(weight) {
                        *grad *= weight + offset;
                    }
                    let factor = dot::<I>(grad, x) * inverse * inverse / n;
                    for (grad, x) in grad.iter_mut().zip(x) {
                        *grad = inverse * I::mul_add(-factor, *x, *grad);
                    }
                }
                Norm::Layer { weight, .. } => {
                    for (((total, bias), grad), x) in weight_grad.iter_mut().zip(&mut *bias_grad).zip(&*grad).zip(x) {
                        *total = I::mul_add(*grad, (x - mean) * inverse, *total);
                        *bias += grad;
                    }
                    for (grad, weight) in grad.iter_mut().zip(weight) {
                        *grad *= weight;
                    }
                    let grad_mean = sum::<I>(grad, |x| x) / n;
                    let factor =
                        sum2::<I>(grad, x, |grad, x, sum| I::mul_add(grad, x - mean, sum)) * inverse * inverse / n;
                    for (grad, x) in grad.iter_mut().zip(x) {
                        *grad = inverse * (*grad - grad_mean - (x - mean) * factor);
                    }
                }
            }
        }
    }
}
