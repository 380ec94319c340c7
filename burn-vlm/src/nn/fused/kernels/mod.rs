//! CPU kernels on plain slices; nothing here knows about tensors.

pub mod attention;
mod awake;
pub mod cross_entropy;
pub mod elementwise;
pub mod half;
pub mod math;
pub mod matmul;
pub mod norm;
pub mod packed;
pub mod parallel;
pub mod product;
pub mod simd;
