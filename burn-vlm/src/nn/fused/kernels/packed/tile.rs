//! A tile of rows times a panel of outputs, with each kind of instructions.

use super::rows::Tile;
use super::{BLOCK, Form, GROUP, GROUPS, OFFSET, PANEL, least_of, number_of, scale_of};
use crate::nn::vectors::Vectors;
#[cfg(target_arch = "x86_64")]
use x86::{avx_vnni, avx2, avx512_vnni};

/// The instructions that sum products of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// AVX-512 with its dot product of bytes (VNNI).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX2 with the same dot product (AVX-VNNI).
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX2, whose products of bytes are sums of two in 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the target guarantees.
    Portable,
}

impl Unit {
    /// All that this processor has, the best first. With less than its widest vectors it is taken for one that has AVX2 and no more.
    pub fn of_processor(most: Vectors) -> Vec<Self> {
        let mut units = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let whole = most >= Vectors::of_processor();
            if most >= Vectors::Avx512 && is_x86_feature_detected!("avx512vnni") {
                units.push(Self::Avx512Vnni);
            }
            if most >= Vectors::Avx2 && whole && is_x86_feature_detected!("avxvnni") {
                units.push(Self::AvxVnni);
            }
            if most >= Vectors::Avx2 {
                units.push(Self::Avx2);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = most;
        units.push(Self::Portable);
        units
    }

    /// The best of this processor, or what is set in its place.
    pub fn used() -> Self {
        static USED: std::sync::OnceLock<Unit> = std::sync::OnceLock::new();
        *USED.get_or_init(|| Self::of_processor(Vectors::used())[0])
    }

    /// Rows of a tile whose sums fit the registers.
    pub fn most_rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => 8,
            _ => 4,
        }
    }
}

/// The outputs of a panel, with all blocks.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    /// How the numbers are kept.
    pub form: Form,
    /// With the offset.
    pub numbers: &'a [u8],
    /// As bytes of binary16, with what is added.
    pub scales: &'a [u8],
    /// How many of its outputs there are.
    pub columns: usize,
}

/// Where the first element of the result is, and how many elements lie between those of two rows.
type To = (*mut f32, usize);

/// [`Form`] as a type.
trait Numbers {
    const FORM: Form;

    /// Where a sum of products begins, given minus [`OFFSET`] times the sum of the row's numbers: kept numbers are too large by the offset.
    #[inline(always)]
    fn start(of_bytes: i32) -> i32 {
        of_bytes / OFFSET * Self::FORM.offset()
    }

    /// Of a block's groups in the order in which they are read: where its bytes are, which group it is, and whether it is in the bytes'
    /// high halves.
    #[inline(always)]
    fn place(step: usize) -> (usize, usize, bool) {
        match Self::FORM {
            Form::Eight => (step, step, false),
            Form::Four | Form::FourLeast => (step / 2, step / 2 + step % 2 * (GROUPS / 2), step % 2 == 1),
        }
    }
}

struct Eight;
struct Four;
struct FourLeast;

impl Numbers for Eight {
    const FORM: Form = Form::Eight;
}

impl Numbers for Four {
    const FORM: Form = Form::Four;
}

impl Numbers for FourLeast {
    const FORM: Form = Form::FourLeast;
}

/// Writes the product of `tile` and `panel`.
///
/// # Safety
/// The processor must have the instructions; `tile.count` rows of `panel.columns` elements must lie where `to` says, and nobody else may
/// read or write them meanwhile.
pub unsafe fn run(unit: Unit, panel: Panel, tile: Tile, to: To) {
    let blocks = tile.scales.len() / tile.count;
    assert!(
        tile.count <= unit.most_rows()
            && panel.columns <= PANEL
            && panel.numbers.len() == blocks * panel.form.block_bytes()
            && panel.scales.len() == blocks * panel.form.scale_bytes()
            && tile.numbers.len() == blocks * tile.count * BLOCK
            && tile.starts.len() == tile.scales.len()
            && tile.totals.len() == tile.scales.len()
    );
    macro_rules! with {
        ($kernel:ident, $($rows:literal)*) => {
            match (panel.form, tile.count) {
                $(
                    // SAFETY: passed on; the sizes fit each other, as asserted.
                    (Form::Eight, $rows) => unsafe { $kernel::<Eight, $rows>(panel, tile, to) },
                    // SAFETY: passed on; the sizes fit each other, as asserted.
                    (Form::Four, $rows) => unsafe { $kernel::<Four, $rows>(panel, tile, to) },
                    // SAFETY: passed on; the sizes fit each other, as asserted.
                    (Form::FourLeast, $rows) => unsafe { $kernel::<FourLeast, $rows>(panel, tile, to) },
                )*
                (_, rows) => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    match unit {
        #[cfg(target_arch = "x86_64")]
        Unit::Avx512Vnni => with!(avx512_vnni, 1 2 4 8),
        #[cfg(target_arch = "x86_64")]
        Unit::AvxVnni => with!(avx_vnni, 1 2 4),
        #[cfg(target_arch = "x86_64")]
        Unit::Avx2 => with!(avx2, 1 2 4),
        Unit::Portable => with!(portable, 1 2 4),
    }
}

/// The scalar form, which the others equal bit by bit.
///
/// # Safety
/// As [`run`], with `R` rows.
unsafe fn portable<N: Numbers, const R: usize>(panel: Panel, tile: Tile, (to, stride): To) {
    let mut sums = [[0f32; PANEL]; R];
    let blocks =
        panel.numbers.chunks_exact(N::FORM.block_bytes()).zip(panel.scales.chunks_exact(N::FORM.scale_bytes()));
    for (block, (numbers, scales)) in blocks.enumerate() {
        let rows = &tile.numbers[block * R * BLOCK..][..R * BLOCK];
        for (row, sums) in sums.iter_mut().enumerate() {
            let mut dots = [0; PANEL];
            for at in 0..BLOCK {
                let value = i32::from(rows[(at / GROUP * R + row) * GROUP + at % GROUP]);
                for (lane, dot) in dots.iter_mut().enumerate() {
                    *dot += number_of(N::FORM, numbers, at, lane) * value;
                }
            }
            let (row_scale, total) = (tile.scales[block * R + row], tile.totals[block * R + row]);
            for (lane, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                *sum = (dot as f32).mul_add(scale_of(scales, lane) * row_scale, *sum);
                if N::FORM == Form::FourLeast {
                    *sum = least_of(N::FORM, scales, lane).mul_add(total, *sum);
                }
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: by the contract of this function.
        unsafe { to.add(row * stride).copy_from_nonoverlapping(sums.as_ptr(), panel.columns) };
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::SCALES;
    use super::{BLOCK, Form, GROUP, GROUPS, Numbers, OFFSET, PANEL, Panel, Tile, To};

    /// Bytes ahead of which numbers are asked for: a page, at whose end the processor stops to read ahead by itself.
    const AHEAD: usize = 4096;
    /// The low half of a byte.
    const LOW: i8 = 15;

    /// # Safety
    /// As [`super::run`], with `R` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    pub unsafe fn avx512_vnni<N: Numbers, const R: usize>(panel: Panel, tile: Tile, (to, stride): To) {
        // SAFETY: `blocks` blocks of the panel and of the rows are there, as `run` asserts; the rest by the contract of this function.
        unsafe {
            let mut sums = [_mm512_setzero_ps(); R];
            for block in 0..tile.scales.len() / R {
                let numbers = panel.numbers.as_ptr().add(block * N::FORM.block_bytes());
                let rows = tile.numbers.as_ptr().add(block * R * BLOCK);
                let mut dots = [_mm512_setzero_si512(); R];
                for (row, dot) in dots.iter_mut().enumerate() {
                    *dot = _mm512_set1_epi32(N::start(*tile.starts.as_ptr().add(block * R + row)));
                }
                for step in 0..GROUPS {
                    let (at, group, high) = N::place(step);
                    let numbers = numbers.add(at * GROUP * PANEL);
                    _mm_prefetch::<_MM_HINT_T0>(numbers.wrapping_add(AHEAD).cast());
                    let mut numbers = _mm512_loadu_si512(numbers.cast());
                    if high {
                        numbers = _mm512_srli_epi16::<4>(numbers);
                    }
                    if N::FORM != Form::Eight {
                        numbers = _mm512_and_si512(numbers, _mm512_set1_epi8(LOW));
                    }
                    for (row, dot) in dots.iter_mut().enumerate() {
                        let values = rows.add((group * R + row) * GROUP).cast::<i32>().read_unaligned();
                        *dot = _mm512_dpbusd_epi32(*dot, numbers, _mm512_set1_epi32(values));
                    }
                }
                let halves = panel.scales.as_ptr().add(block * N::FORM.scale_bytes());
                let scales = _mm512_cvtph_ps(_mm256_loadu_si256(halves.cast()));
                for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(*tile.scales.as_ptr().add(block * R + row)));
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, *sum);
                }
                if N::FORM == Form::FourLeast {
                    let least = _mm512_cvtph_ps(_mm256_loadu_si256(halves.add(SCALES).cast()));
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let total = _mm512_set1_ps(*tile.totals.as_ptr().add(block * R + row));
                        *sum = _mm512_fmadd_ps(least, total, *sum);
                    }
                }
            }
            let mask = u16::MAX >> (PANEL - panel.columns);
            for (row, sum) in sums.iter().enumerate() {
                _mm512_mask_storeu_ps(to.add(row * stride), mask, *sum);
            }
        }
    }

    /// # Safety
    /// As [`super::run`], with `R` rows.
    #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
    pub unsafe fn avx_vnni<N: Numbers, const R: usize>(panel: Panel, tile: Tile, to: To) {
        let add = |sum, numbers, values| _mm256_dpbusd_avx_epi32(sum, numbers, values);
        let end = |sum, start| _mm256_add_epi32(sum, _mm256_set1_epi32(start));
        // SAFETY: passed on.
        unsafe { narrow::<N, R>(panel, tile, to, add, end) }
    }

    /// # Safety
    /// As [`super::run`], with `R` rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn avx2<N: Numbers, const R: usize>(panel: Panel, tile: Tile, to: To) {
        let pairs = |products| _mm256_madd_epi16(products, _mm256_set1_epi16(1));
        if N::FORM == Form::Eight {
            let add = |sum, numbers, values| {
                // Magnitudes times values with the numbers' signs: two products of at most 128 x 127 fit 16 bits.
                let numbers = _mm256_xor_si256(numbers, _mm256_set1_epi8(OFFSET as u8 as i8));
                let products = _mm256_maddubs_epi16(_mm256_abs_epi8(numbers), _mm256_sign_epi8(values, numbers));
                _mm256_add_epi32(sum, pairs(products))
            };
            // SAFETY: passed on.
            unsafe { narrow::<N, R>(panel, tile, to, add, |sum, _| sum) }
        } else {
            // Two products of at most 15 x 127, and of all groups of a block, fit 16 bits.
            let add = |sum, numbers, values| _mm256_add_epi16(sum, _mm256_maddubs_epi16(numbers, values));
            let end = |sum, start| _mm256_add_epi32(pairs(sum), _mm256_set1_epi32(start));
            // SAFETY: passed on.
            unsafe { narrow::<N, R>(panel, tile, to, add, end) }
        }
    }

    /// Half of a panel at a time; `add` adds the products of four bytes each to what becomes 8 sums at the `end`, which is given where
    /// they begin.
    ///
    /// # Safety
    /// As [`super::run`], with `R` rows.
    #[inline(always)]
    unsafe fn narrow<N: Numbers, const R: usize>(
        panel: Panel,
        tile: Tile,
        (to, stride): To,
        add: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
        end: impl Fn(__m256i, i32) -> __m256i,
    ) {
        const HALF: usize = PANEL / 2;
        // SAFETY: `blocks` blocks of the panel and of the rows are there, as `run` asserts; the rest by the contract of this function.
        unsafe {
            for first in (0..panel.columns).step_by(HALF) {
                let mut sums = [_mm256_setzero_ps(); R];
                for block in 0..tile.scales.len() / R {
                    let numbers = panel.numbers.as_ptr().add(block * N::FORM.block_bytes() + first * GROUP);
                    let rows = tile.numbers.as_ptr().add(block * R * BLOCK);
                    let mut dots = [_mm256_setzero_si256(); R];
                    for step in 0..GROUPS {
                        let (at, group, high) = N::place(step);
                        let numbers = numbers.add(at * GROUP * PANEL);
                        _mm_prefetch::<_MM_HINT_T0>(numbers.wrapping_add(AHEAD).cast());
                        let mut numbers = _mm256_loadu_si256(numbers.cast());
                        if high {
                            numbers = _mm256_srli_epi16::<4>(numbers);
                        }
                        if N::FORM != Form::Eight {
                            numbers = _mm256_and_si256(numbers, _mm256_set1_epi8(LOW));
                        }
                        for (row, dot) in dots.iter_mut().enumerate() {
                            let values = rows.add((group * R + row) * GROUP).cast::<i32>().read_unaligned();
                            *dot = add(*dot, numbers, _mm256_set1_epi32(values));
                        }
                    }
                    let halves = panel.scales.as_ptr().add(block * N::FORM.scale_bytes() + first * size_of::<u16>());
                    let scales = _mm256_cvtph_ps(_mm_loadu_si128(halves.cast()));
                    for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                        let dot = end(dot, N::start(*tile.starts.as_ptr().add(block * R + row)));
                        let scale = _mm256_mul_ps(scales, _mm256_set1_ps(*tile.scales.as_ptr().add(block * R + row)));
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, *sum);
                    }
                    if N::FORM == Form::FourLeast {
                        let least = _mm256_cvtph_ps(_mm_loadu_si128(halves.add(SCALES).cast()));
                        for (row, sum) in sums.iter_mut().enumerate() {
                            let total = _mm256_set1_ps(*tile.totals.as_ptr().add(block * R + row));
                            *sum = _mm256_fmadd_ps(least, total, *sum);
                        }
                    }
                }
                let columns = HALF.min(panel.columns - first);
                for (row, sum) in sums.iter().enumerate() {
                    let mut whole = [0f32; HALF];
                    _mm256_storeu_ps(whole.as_mut_ptr(), *sum);
                    to.add(row * stride + first).copy_from_nonoverlapping(whole.as_ptr(), columns);
                }
            }
        }
    }
}
