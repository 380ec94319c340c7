//! Elementary functions without branches or library calls, so that loops over them vectorise.
//!
//! NaN goes in, NaN comes out: a diverged run must not look healthy.

use super::simd::Isa;

/// Above this, `exp` saturates (near the largest finite f32) instead of reaching infinity.
const EXP_MAX: f32 = 88.37;
/// Below this, `exp` is zero.
const EXP_MIN: f32 = -87.33;
/// `1.5 * 2^23`: adding it rounds to an integer and leaves that integer in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;
/// `ln 2`, split so that `n * LN2_HIGH` is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`, relative error below 2e-7.
#[inline(always)]
pub fn exp<I: Isa>(x: f32) -> f32 {
    // Comparisons instead of min/max: those would replace NaN.
    let clamped = if x > EXP_MAX { EXP_MAX } else { x };
    let clamped = if clamped < EXP_MIN { EXP_MIN } else { clamped };
    let shifted = I::mul_add(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = I::mul_add(n, -LN2_HIGH, clamped);
    let r = I::mul_add(n, -LN2_LOW, r);
    // Minimax polynomial of e^r on [-ln2/2, ln2/2] (Cephes).
    let mut p = 1.987_569_1e-4;
    p = I::mul_add(p, r, 1.398_199_9e-3);
    p = I::mul_add(p, r, 8.333_452e-3);
    p = I::mul_add(p, r, 4.166_579_6e-2);
    p = I::mul_add(p, r, 1.666_666_5e-1);
    p = I::mul_add(p, r, 0.5);
    p = I::mul_add(p, r * r, r) + 1.0;
    let two_to_n = f32::from_bits(shifted.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000));
    if x < EXP_MIN { 0.0 } else { p * two_to_n }
}

/// `1 / (1 + e^-x)`, relative error below 5e-7.
#[inline(always)]
pub fn sigmoid<I: Isa>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<I>(-x))
}

/// Hyperbolic tangent, relative error below 1e-6 (the rational function of Eigen and XLA).
#[inline(always)]
pub fn tanh<I: Isa>(x: f32) -> f32 {
    // Where the rational function reaches one in f32.
    const LIMIT: f32 = 7.905_311;
    let x = if x > LIMIT { LIMIT } else { x };
    let x = if x < -LIMIT { -LIMIT } else { x };
    let s = x * x;
    let mut p = -2.760_768_5e-16;
    p = I::mul_add(p, s, 2.000_188e-13);
    p = I::mul_add(p, s, -8.604_672e-11);
    p = I::mul_add(p, s, 5.122_297_3e-8);
    p = I::mul_add(p, s, 1.485_722_4e-5);
    p = I::mul_add(p, s, 6.372_619e-4);
    p = I::mul_add(p, s, 4.893_524_6e-3);
    let mut q = 1.198_258_4e-6;
    q = I::mul_add(q, s, 1.185_347_1e-4);
    q = I::mul_add(q, s, 2.268_434_6e-3);
    q = I::mul_add(q, s, 4.893_525e-3);
    x * p / q
}

/// Error function, absolute error below 5e-7 (the rational function of Eigen and XLA).
#[inline(always)]
pub fn erf<I: Isa>(x: f32) -> f32 {
    const LIMIT: f32 = 4.0;
    let x = if x > LIMIT { LIMIT } else { x };
    let x = if x < -LIMIT { -LIMIT } else { x };
    let s = x * x;
    let mut p = -2.726_142_3e-10;
    p = I::mul_add(p, s, 2.770_681_4e-8);
    p = I::mul_add(p, s, -2.101_024e-6);
    p = I::mul_add(p, s, -5.692_506_4e-5);
    p = I::mul_add(p, s, -7.349_906_3e-4);
    p = I::mul_add(p, s, -2.954_6e-3);
    p = I::mul_add(p, s, -1.609_603_3e-2);
    let mut q = -1.456_607_2e-5;
    q = I::mul_add(q, s, -2.133_740_6e-4);
    q = I::mul_add(q, s, -1.682_827e-3);
    q = I::mul_add(q, s, -7.373_329e-3);
    q = I::mul_add(q, s, -1.426_474e-2);
    x * p / q
}
