//! Softmax cross entropy, one row at a time while it is in cache.

use super::math::{exp, tanh};
use super::parallel::{Buffer, chunks, chunks2, rows_per_piece};
use super::simd::{Isa, Kernel, dispatch, max, sum};

/// Writes the losses and log-sum-exps of all rows; a negative target gives loss zero.
///
/// A target beyond the row gives NaN: it cannot be reported from here, and must not pass unnoticed.
pub fn forward(logits: &[f32], targets: &[i64], softcap: Option<f32>, losses: &mut [f32], lse: &mut [f32]) {
    let width = logits.len() / targets.len().max(1);
    let rows = rows_per_piece(width);
    chunks2(logits.len(), (Buffer::in_place(losses), rows), (Buffer::in_place(lse), rows), |piece, losses, lse| {
        for (i, (loss, lse)) in losses.iter_mut().zip(lse).enumerate() {
            let row = piece * rows + i;
            let logits = &logits[row * width..][..width];
            let target = usize::try_from(targets[row]).ok();
            (*loss, *lse) = dispatch(Forward { logits, target, softcap });
        }
    });
}

/// Turns the logits into their gradients, given those of the losses.
pub fn backward(logits: Buffer, targets: &[i64], lse: &[f32], grad: &[f32], softcap: Option<f32>) {
    let width = logits.len() / targets.len().max(1);
    let rows = rows_per_piece(width);
    chunks(logits.len(), (logits, rows * width), |piece, logits| {
        for (i, logits) in logits.chunks_mut(width.max(1)).enumerate() {
            let row = piece * rows + i;
            match usize::try_from(targets[row]) {
                Err(_) => logits.fill(0.0),
                Ok(target) => dispatch(Backward { logits, target, lse: lse[row], grad: grad[row], softcap }),
            }
        }
    });
}

struct Forward<'a> {
    logits: &'a [f32],
    target: Option<usize>,
    softcap: Option<f32>,
}

impl Kernel for Forward<'_> {
    /// Loss and log-sum-exp.
    type Output = (f32, f32);

    #[inline(always)]
    fn run<I: Isa>(self) -> (f32, f32) {
        let raw_max = max::<I>(self.logits);
        // tanh grows with its argument, so the largest logit stays the largest.
        let (largest, sum) = match self.softcap {
            None => {
                let sum = sum::<I>(self.logits, |x| exp::<I>(x - raw_max));
                (raw_max, sum)
            }
            Some(cap) => {
                let largest = capped::<I>(raw_max, cap);
                let sum = sum::<I>(self.logits, |x| exp::<I>(capped::<I>(x, cap) - largest));
                (largest, sum)
            }
        };
        let lse = largest + sum.ln();
        let loss = match self.target {
            None => 0.0,
            Some(target) => self
                .logits
                .get(target)
                .map_or(f32::NAN, |&logit| lse - self.softcap.map_or(logit, |cap| capped::<I>(logit, cap))),
        };
        (loss, lse)
    }
}

struct Backward<'a> {
    logits: &'a mut [f32],
    target: usize,
    lse: f32,
    grad: f32,
    softcap: Option<f32>,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { logits, target, lse, grad, softcap } = self;
        let before = logits.get(target).copied();
        match softcap {
            None => {
                for logit in logits.iter_mut() {
                    *logit = grad * exp::<I>(*logit - lse);
                }
            }
            Some(cap) => {
                for logit in logits.iter_mut() {
                    let tanh = tanh::<I>(*logit / cap);
                    let slope = I::mul_add(-tanh, tanh, 1.0);
                    *logit = grad * slope * exp::<I>(I::mul_add(cap, tanh, -lse));
                }
            }
        }
        if let (Some(logit), Some(before)) = (logits.get_mut(target), before) {
            *logit -= grad
                * softcap.map_or(1.0, |cap| {
                    let tanh = tanh::<I>(before / cap);
                    I::mul_add(-tanh, tanh, 1.0)
                });
        }
    }
}

#[inline(always)]
fn capped<I: Isa>(x: f32, cap: f32) -> f32 {
    cap * tanh::<I>(x / cap)
}
