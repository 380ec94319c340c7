//! The fused operations against three references: the same formulas differentiated by Burn, plain f64 loops, and
//! finite differences of those loops.

mod attention;
mod checkpointing;
mod half;
mod linear_loss;
#[allow(unsafe_code)]
mod math;
mod packed;
mod pointwise;
mod precision;
mod product;
mod rows;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

/// Two f32 computations of one formula in different order: sums of a few hundred terms.
const SAME_FORMULA: f64 = 2e-5;
/// An f32 kernel against f64 loops.
const AGAINST_F64: f64 = 2e-5;
/// A gradient in f32 against central differences in f64 (their own error is about `STEP^2`).
const DIFFERENCES: f64 = 1e-4;
/// Step of the central differences.
const STEP: f64 = 1e-4;

/// The CPU device with autodiff.
fn device() -> Device {
    Device::flex().autodiff()
}

/// Which implementation a test runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// The kernels of the CPU backend.
    Kernels,
    /// The hand-written forward and backward of the other backends, which f64 input takes here, too.
    Generic,
    /// Burn's operations, differentiated by Burn.
    Composed,
}

/// The forms that are compared with [`Form::Composed`].
const HAND_WRITTEN: [Form; 2] = [Form::Kernels, Form::Generic];

impl Form {
    fn is_fused(self) -> bool {
        self != Self::Composed
    }

    /// The input as the form needs it.
    fn input<const D: usize>(self, tensor: &Tensor<D>) -> Tensor<D> {
        match self {
            Self::Generic => tensor.clone().cast(DType::F64),
            _ => tensor.clone(),
        }
    }
}

/// Reproducible values in about `-1.7..1.7` with unit variance.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 12f32.sqrt()
        })
        .collect()
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let n = shape.iter().product();
    Tensor::from_data(TensorData::new(values(n, seed), shape), &device()).require_grad()
}

/// The same values outside any graph; `detach` alone would leave a leaf that wants a gradient one.
fn constant<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(tensor.inner())
}

fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_to_vec().unwrap()
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    to_vec(tensor).into_iter().map(f32::to_bits).collect()
}

fn grad<const D: usize>(tensor: &Tensor<D>, grads: &Gradients) -> Vec<f32> {
    to_vec(tensor.grad(grads).expect("a gradient"))
}

/// Compares with a tolerance relative to the largest expected value.
#[track_caller]
fn assert_close<A: Into<f64> + Copy, B: Into<f64> + Copy>(actual: &[A], expected: &[B], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1.0, |max: f64, &e| max.max(e.into().abs()));
    for (i, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let (actual, expected) = (actual.into(), expected.into());
        assert!((actual - expected).abs() <= tolerance * largest, "{what}[{i}]: {actual} instead of {expected}");
    }
}

/// Runs the same computation with one, two and three threads and expects the same bits.
fn assert_thread_invariant(run: impl Fn() -> Vec<Vec<u32>> + Send + Sync) {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&run)
    };
    let one = with(1);
    assert!(one == with(2), "two threads change the result");
    assert!(one == with(3), "three threads change the result");
}

/// A loss with a different weight for each element, so that every gradient is exercised.
fn weighted_sum<const D: usize>(tensor: Tensor<D>, seed: u64) -> Tensor<1> {
    let weights = random(tensor.dims(), seed).detach();
    (tensor * weights).sum()
}
