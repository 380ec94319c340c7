//! One kernel source, compiled once per instruction set and chosen at run time.
//!
//! Kernels are plain loops over slices with a fixed number of independent lanes; the compiler vectorises them.
//! The lane count and the order of every sum are the same for all instruction sets and thread counts; only
//! whether a product and a sum are rounded once or twice (fused multiply-add) differs between processors.

use super::matmul::{self, Rows, RowsMut, Strided};
#[cfg(target_arch = "x86_64")]
use crate::nn::vectors::Vectors;

/// What a kernel needs to know about the processor.
pub trait Isa: Copy {
    /// `a * b + c`, fused where the processor has it in hardware.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
    /// Whether eight rows of a matrix-product tile fit the registers, or only four.
    const EIGHT_ROWS: bool;
    /// The largest power of two of columns that fit beside them.
    const COLUMNS: usize;

    /// 16-bit floats as f32: bf16 where `BF16`, else binary16.
    #[inline(always)]
    fn widen<const BF16: bool, const C: usize>(bits: [u16; C]) -> [f32; C] {
        bits.map(widen::<BF16>)
    }

    /// Asks for the line of memory at an address, which may be any.
    #[inline(always)]
    fn prefetch(address: *const u8) {
        let _ = address;
    }

    /// Sum of sixteen lanes, pairwise.
    #[inline(always)]
    fn sum16(lanes: [f32; 16]) -> f32 {
        tree(lanes, |a, b| a + b)
    }

    /// Largest of sixteen lanes.
    #[inline(always)]
    fn max16(lanes: [f32; 16]) -> f32 {
        tree(lanes, larger)
    }

    /// [`matmul::matmul`] as a function of its own, so that each kernel holds a call and not a copy of it.
    ///
    /// # Safety
    /// As [`matmul::matmul`]; the processor must have this instruction set.
    unsafe fn matmul(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool);
}

/// A computation that can be compiled for any instruction set.
///
/// `run` must be `#[inline(always)]`, so that its body is compiled inside the function that enables the features.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The body.
    fn run<I: Isa>(self) -> Self::Output;
}

/// AVX-512: 32 registers of 16 lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Wide;
/// AVX2 with fused multiply-add and conversion of binary16: 16 registers of 8 lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Narrow;
/// Whatever the target guarantees (SSE2, NEON).
#[derive(Clone, Copy)]
pub struct Portable;

#[cfg(target_arch = "x86_64")]
impl Isa for Wide {
    #[inline(always)]
    fn prefetch(address: *const u8) {
        // SAFETY: a hint, which reads nothing.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast()) }
    }

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    // The compiler takes the numbers apart, and knows no other way for binary16 than a call for each.
    #[inline(always)]
    fn widen<const BF16: bool, const C: usize>(bits: [u16; C]) -> [f32; C] {
        let mut wide = [0f32; C];
        let ((bits, bits_tail), (wide_chunks, wide_tail)) = (bits.as_chunks::<16>(), wide.as_chunks_mut::<16>());
        for (wide, bits) in wide_chunks.iter_mut().zip(bits) {
            // SAFETY: this type is used only where the instructions were detected; the arrays have the sizes of the registers.
            unsafe {
                use std::arch::x86_64::{
                    __m256i, __m512, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_slli_epi32,
                };
                let bits = std::mem::transmute::<[u16; 16], __m256i>(*bits);
                let floats = if BF16 {
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
                } else {
                    _mm512_cvtph_ps(bits)
                };
                *wide = std::mem::transmute::<__m512, [f32; 16]>(floats);
            }
        }
        for (wide, &bits) in wide_tail.iter_mut().zip(bits_tail) {
            *wide = widen::<BF16>(bits);
        }
        wide
    }
    // The compiler would take the lanes apart.
    #[inline(always)]
    fn sum16(lanes: [f32; 16]) -> f32 {
        // SAFETY: this type is used only where AVX-512 was detected; the array has the size of the register.
        unsafe {
            std::arch::x86_64::_mm512_reduce_add_ps(std::mem::transmute::<[f32; 16], std::arch::x86_64::__m512>(lanes))
        }
    }

    #[inline(always)]
    fn max16(lanes: [f32; 16]) -> f32 {
        // SAFETY: as above.
        unsafe {
            std::arch::x86_64::_mm512_reduce_max_ps(std::mem::transmute::<[f32; 16], std::arch::x86_64::__m512>(lanes))
        }
    }

    const EIGHT_ROWS: bool = true;
    const COLUMNS: usize = 32;

    unsafe fn matmul(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        unsafe fn compiled(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
            // SAFETY: passed on.
            unsafe { matmul::matmul::<Wide>(size, a, b, c, accumulate) }
        }
        // SAFETY: passed on.
        unsafe { compiled(size, a, b, c, accumulate) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Isa for Narrow {
    #[inline(always)]
    fn prefetch(address: *const u8) {
        // SAFETY: a hint, which reads nothing.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast()) }
    }

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    // The compiler takes the numbers apart, and knows no other way for binary16 than a call for each.
    #[inline(always)]
    fn widen<const BF16: bool, const C: usize>(bits: [u16; C]) -> [f32; C] {
        let mut wide = [0f32; C];
        let ((bits, bits_tail), (wide_chunks, wide_tail)) = (bits.as_chunks::<8>(), wide.as_chunks_mut::<8>());
        for (wide, bits) in wide_chunks.iter_mut().zip(bits) {
            // SAFETY: this type is used only where the instructions were detected; the arrays have the sizes of the registers.
            unsafe {
                use std::arch::x86_64::{
                    __m128i, __m256, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_slli_epi32,
                };
                let bits = std::mem::transmute::<[u16; 8], __m128i>(*bits);
                let floats = if BF16 {
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
                } else {
                    _mm256_cvtph_ps(bits)
                };
                *wide = std::mem::transmute::<__m256, [f32; 8]>(floats);
            }
        }
        for (wide, &bits) in wide_tail.iter_mut().zip(bits_tail) {
            *wide = widen::<BF16>(bits);
        }
        wide
    }

    const EIGHT_ROWS: bool = false;
    const COLUMNS: usize = 16;

    unsafe fn matmul(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn compiled(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
            // SAFETY: passed on.
            unsafe { matmul::matmul::<Narrow>(size, a, b, c, accumulate) }
        }
        // SAFETY: passed on.
        unsafe { compiled(size, a, b, c, accumulate) }
    }
}

impl Isa for Portable {
    // Without hardware support `f32::mul_add` is a library call; NEON always has it.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
    }
    const EIGHT_ROWS: bool = false;
    const COLUMNS: usize = 8;

    unsafe fn matmul(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
        unsafe fn compiled(size: (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
            // SAFETY: passed on.
            unsafe { matmul::matmul::<Portable>(size, a, b, c, accumulate) }
        }
        // SAFETY: passed on.
        unsafe { compiled(size, a, b, c, accumulate) }
    }
}

/// Runs `kernel` with the best instruction set of this processor, or what is set in its place.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn wide<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Wide>()
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn narrow<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Narrow>()
        }
        match Vectors::used() {
            // SAFETY: never more than what was detected.
            Vectors::Avx512 => return unsafe { wide(kernel) },
            // SAFETY: never more than what was detected.
            Vectors::Avx2 => return unsafe { narrow(kernel) },
            Vectors::Portable => {}
        }
    }
    kernel.run::<Portable>()
}

/// A 16-bit float as f32.
#[inline(always)]
fn widen<const BF16: bool>(bits: u16) -> f32 {
    if BF16 { f32::from_bits(u32::from(bits) << 16) } else { half::f16::from_bits(bits).to_f32() }
}

/// Independent partial results of a reduction.
pub const LANES: usize = 32;

/// Sums `f(x)` over a slice in `LANES` interleaved chains.
#[inline(always)]
pub fn sum<I: Isa>(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    if !tail.is_empty() {
        let values = padded(tail, 0.0);
        for (i, (lane, &value)) in lanes.iter_mut().zip(&values).enumerate() {
            let term = f(value);
            *lane += if i < tail.len() { term } else { 0.0 };
        }
    }
    sum_lanes::<I>(lanes)
}

/// Sums over two slices of one length: `f(x, y, sum)` adds a term to a chain.
#[inline(always)]
pub fn sum2<I: Isa>(x: &[f32], y: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (ys, y_tail) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane = f(x, y, *lane);
        }
    }
    if !x_tail.is_empty() {
        let (xs, ys) = (padded(x_tail, 0.0), padded(y_tail, 0.0));
        for (i, ((lane, &x), &y)) in lanes.iter_mut().zip(&xs).zip(&ys).enumerate() {
            let next = f(x, y, *lane);
            *lane = if i < x_tail.len() { next } else { *lane };
        }
    }
    sum_lanes::<I>(lanes)
}

/// Replaces every element by `f` of it and returns the sum of the new ones.
#[inline(always)]
pub fn map_sum<I: Isa>(x: &mut [f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = f(*value);
            *lane += *value;
        }
    }
    if !tail.is_empty() {
        let mut values = padded(tail, 0.0);
        for (i, (lane, value)) in lanes.iter_mut().zip(&mut values).enumerate() {
            *value = f(*value);
            *lane += if i < tail.len() { *value } else { 0.0 };
        }
        tail.copy_from_slice(&values[..tail.len()]);
    }
    sum_lanes::<I>(lanes)
}

/// `sum(x * y)`.
#[inline(always)]
pub fn dot<I: Isa>(x: &[f32], y: &[f32]) -> f32 {
    sum2::<I>(x, y, |x, y, sum| I::mul_add(x, y, sum))
}

/// `sum(x * y)` of a `y` in f16: the same bits as [`dot`] of the widened one.
#[inline(always)]
pub fn dot_f16<I: Isa>(x: &[f32], y: &[u16]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (ys, y_tail) = y.as_chunks::<LANES>();
    for (x, &y) in xs.iter().zip(ys) {
        let y = I::widen::<false, LANES>(y);
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(&y) {
            *lane = I::mul_add(x, y, *lane);
        }
    }
    if !x_tail.is_empty() {
        let mut bits = [0; LANES];
        bits[..y_tail.len()].copy_from_slice(y_tail);
        let (xs, ys) = (padded(x_tail, 0.0), I::widen::<false, LANES>(bits));
        for (i, ((lane, &x), &y)) in lanes.iter_mut().zip(&xs).zip(&ys).enumerate() {
            let next = I::mul_add(x, y, *lane);
            *lane = if i < x_tail.len() { next } else { *lane };
        }
    }
    sum_lanes::<I>(lanes)
}

/// The largest element; NaN is passed over (it shows up in the sum that always follows).
#[inline(always)]
pub fn max<I: Isa>(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    if !tail.is_empty() {
        for (lane, &value) in lanes.iter_mut().zip(&padded(tail, f32::NEG_INFINITY)) {
            *lane = larger(*lane, value);
        }
    }
    let mut half = [0.0; LANES / 2];
    for (i, lane) in half.iter_mut().enumerate() {
        *lane = larger(lanes[i], lanes[i + LANES / 2]);
    }
    I::max16(half)
}

/// The larger number; a NaN in second place is passed over.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// A tail with a neutral element behind it: loops with a constant number of lanes stay in registers.
#[inline(always)]
fn padded(tail: &[f32], neutral: f32) -> [f32; LANES] {
    let mut values = [neutral; LANES];
    values[..tail.len()].copy_from_slice(tail);
    values
}

#[inline(always)]
fn sum_lanes<I: Isa>(lanes: [f32; LANES]) -> f32 {
    let mut half = [0.0; LANES / 2];
    for (i, lane) in half.iter_mut().enumerate() {
        *lane = lanes[i] + lanes[i + LANES / 2];
    }
    I::sum16(half)
}

/// Combines sixteen lanes pairwise, halves first.
#[inline(always)]
fn tree(mut lanes: [f32; 16], combine: fn(f32, f32) -> f32) -> f32 {
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Transposes a block by four rounds of interleaving rows `i` and `i + 8`.
#[inline(always)]
pub fn transpose(mut rows: [[f32; 16]; 16]) -> [[f32; 16]; 16] {
    for _ in 0..4 {
        rows = std::array::from_fn(|i| {
            let (x, y) = (&rows[i / 2], &rows[i / 2 + 8]);
            let start = i % 2 * 8;
            std::array::from_fn(|j| if j % 2 == 0 { x[start + j / 2] } else { y[start + j / 2] })
        });
    }
    rows
}
