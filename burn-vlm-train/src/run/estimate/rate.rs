//! How fast a device multiplies matrices, and what of that a training step reaches.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::nn::Precision;

/// Share of the device's matrix-product rate that a whole training step of small models reaches; measured on the
/// recorded run of the default preset, so an estimate and no more.
pub const EFFICIENCY: f64 = 0.25;

/// Floating-point operations a second of a matrix product that is large enough to show the device's rate: the best of a few
/// rounds, since other programs only make it slower.
pub fn matmul_rate(device: &Device) -> f64 {
    const SIDE: usize = 512;
    matmul_rate_of(device, SIDE, Precision::F32)
}

/// The same of `side` x `side` matrices, which a GPU wants larger, in another element type.
pub fn matmul_rate_of(device: &Device, side: usize, precision: Precision) -> f64 {
    const ROUNDS: usize = 16;
    let ones = || {
        let ones = Tensor::<2>::from_data(TensorData::new(vec![1.0f32; side * side], [side, side]), device);
        precision.cast(ones)
    };
    let (a, b) = (ones(), ones());
    // one value back, so that the product is done and nothing else is timed
    let finish = |product: Tensor<2>| product.slice([0..1, 0..1]).into_data();
    finish(a.clone().matmul(b.clone()));
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        finish(a.clone().matmul(b.clone()));
        began.elapsed().as_secs_f64()
    });
    2.0 * (side as f64).powi(3) / rounds.fold(f64::INFINITY, f64::min)
}
