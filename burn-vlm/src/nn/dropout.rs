//! Dropout whose masks are a function of a seed and of nothing else.
//!
//! Unusual here: no layer holds a generator, and none is passed through the models. Whoever computes a training pass names its seed
//! ([`with_dropout`]); the n-th mask that is drawn on this thread meanwhile is a function of seed and n. So a step drops the same
//! whenever it is computed, on every backend, and a block that runs twice ([`checkpoint`](super::checkpoint())) draws its masks again.
//! Outside of such a pass nothing is dropped.

use std::cell::Cell;

use burn::tensor::{Tensor, TensorData};
use burn_vlm_base::random::mix;
use rayon::prelude::*;

/// The masks of a pass so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks {
    seed: u64,
    drawn: u64,
}

thread_local! {
    static MASKS: Cell<Option<Masks>> = const { Cell::new(None) };
}

/// Puts back what was there before, also where the pass panics.
struct Restore(Option<Masks>);

impl Drop for Restore {
    fn drop(&mut self) {
        MASKS.set(self.0);
    }
}

/// Computes a training pass whose dropout masks come from `seed`; `None` drops nothing.
pub fn with_dropout<R>(seed: Option<u64>, pass: impl FnOnce() -> R) -> R {
    resume(seed.map(|seed| Masks { seed, drawn: 0 }), pass)
}

/// The masks of the pass that is under way on this thread.
pub(crate) fn masks() -> Option<Masks> {
    MASKS.get()
}

/// Computes something with the masks from `masks` on.
pub(crate) fn resume<R>(masks: Option<Masks>, compute: impl FnOnce() -> R) -> R {
    let _restore = Restore(MASKS.replace(masks));
    compute()
}

/// `x` with each element zero with probability `rate`, the others divided by `1 - rate`; `None` where nothing is dropped.
///
/// # Shapes
/// - `x` and the result: any
pub(crate) fn dropout<const D: usize>(x: &Tensor<D>, rate: f64) -> Option<Tensor<D>> {
    let masks = MASKS.get().filter(|_| rate > 0.0)?;
    MASKS.set(Some(Masks { drawn: masks.drawn + 1, ..masks }));
    let key = mix(masks.seed, masks.drawn);
    let shape = x.dims();
    let values = mask(key, shape.iter().product(), rate);
    Some(x.clone() * Tensor::from_data(TensorData::new(values, shape), (&x.device(), x.dtype())))
}

/// Factors of `count` elements, two of each 64 random bits.
fn mask(key: u64, count: usize, rate: f64) -> Vec<f32> {
    // As many of the 2^32 values of 32 bits as the rate asks for are zeros.
    let (zeros, kept) = ((rate * (1u64 << 32) as f64) as u64, (1.0 / (1.0 - rate)) as f32);
    let mut values = vec![0.0; count];
    values.par_chunks_mut(2).enumerate().with_min_len(1 << 12).for_each(|(pair, values)| {
        let bits = mix(key, pair as u64);
        for (value, bits) in values.iter_mut().zip([bits >> 32, bits & u64::from(u32::MAX)]) {
            *value = if bits < zeros { 0.0 } else { kept };
        }
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three standard errors of the share of 100,000 elements are below this.
    const SHARE_TOLERANCE: f64 = 0.005;

    #[test]
    fn a_share_is_dropped_and_the_mean_stays() {
        for rate in [0.05, 0.5] {
            let values = mask(3, 100_001, rate);
            let zeros = values.iter().filter(|value| **value == 0.0).count() as f64 / values.len() as f64;
            assert!((zeros - rate).abs() < SHARE_TOLERANCE, "{rate}: {zeros}");
            let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
            assert!((mean - 1.0).abs() < SHARE_TOLERANCE / (1.0 - rate), "{rate}: {mean}");
        }
    }

    #[test]
    fn masks_follow_the_seed_and_the_number_of_the_draw() {
        let device = burn::tensor::Device::default();
        let x = Tensor::<2>::ones([4, 33], &device);
        let draw = || dropout(&x, 0.5).map(|y| y.into_data());
        assert!(draw().is_none(), "nothing is dropped outside of a pass");
        let (first, state, second) = with_dropout(Some(1), || (draw(), masks(), draw()));
        assert!(first != second && first.is_some());
        assert_eq!(with_dropout(Some(1), || (draw(), draw())), (first.clone(), second.clone()));
        assert_eq!(resume(state, draw), second, "from the middle on");
        assert_ne!(with_dropout(Some(2), draw), first);
        assert_eq!(with_dropout(Some(1), || with_dropout(None, draw)), None);
        assert_eq!(with_dropout(Some(1), || dropout(&x, 0.0).map(|y| y.into_data())), None);
        assert!(draw().is_none());
    }
}
