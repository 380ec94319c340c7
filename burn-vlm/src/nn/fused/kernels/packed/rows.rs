//! The left side of a product as 8-bit numbers.

use super::super::simd::{Isa, Kernel, dispatch};
use super::{BLOCK, GROUP, GROUPS, LARGEST, OFFSET};

/// Below this a block's values are taken for zeros: the reciprocal of its scale would not be a number.
const SMALLEST: f32 = 1e-30;

/// Rows as numbers, in tiles of 1, 2, 4 or 8 rows; of a tile, the same [`GROUP`] inputs of all rows lie side by side, then the next ones.
pub struct Rows {
    numbers: Vec<i8>,
    /// Of each block, one for each row of the tile.
    scales: Vec<f32>,
    /// As `scales`: minus [`OFFSET`] times the sum of the row's numbers, where a sum over numbers with the offset begins.
    starts: Vec<i32>,
    /// As `scales`: the sum of the row's values as they are rounded.
    totals: Vec<f32>,
    count: usize,
    blocks: usize,
    most: usize,
}

/// Some rows.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// See [`Rows`].
    pub numbers: &'a [i8],
    /// See [`Rows`].
    pub scales: &'a [f32],
    /// See [`Rows`].
    pub starts: &'a [i32],
    /// See [`Rows`].
    pub totals: &'a [f32],
    /// The first row.
    pub first: usize,
    /// 1, 2, 4 or 8.
    pub count: usize,
}

impl Rows {
    /// Rows of `width` values, in tiles of at most `most` rows, a power of two.
    pub fn new(x: &[f32], width: usize, most: usize) -> Self {
        let (count, blocks) = (x.len() / width.max(1), width.div_ceil(BLOCK));
        let of_blocks = count * blocks;
        let mut rows = Self {
            numbers: vec![0; of_blocks * BLOCK],
            scales: vec![0.0; of_blocks],
            starts: vec![0; of_blocks],
            totals: vec![0.0; of_blocks],
            count,
            blocks,
            most,
        };
        dispatch(Round { x, width, rows: &mut rows });
        rows
    }

    /// First row and number of rows of each tile.
    fn cuts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (count, most, mut first) = (self.count, self.most, 0);
        std::iter::from_fn(move || {
            let left = count - first;
            let rows = if left >= most { most } else { left.checked_ilog2().map(|log| 1 << log)? };
            first += rows;
            Some((first - rows, rows))
        })
    }

    /// The tiles, in order.
    pub fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        self.cuts().map(|(first, count)| {
            let (at, blocks) = (first * self.blocks, count * self.blocks);
            Tile {
                numbers: &self.numbers[at * BLOCK..][..blocks * BLOCK],
                scales: &self.scales[at..][..blocks],
                starts: &self.starts[at..][..blocks],
                totals: &self.totals[at..][..blocks],
                first,
                count,
            }
        })
    }
}

struct Round<'a> {
    x: &'a [f32],
    width: usize,
    rows: &'a mut Rows,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { x, width, rows } = self;
        for (first, count) in rows.cuts() {
            let at = first * rows.blocks;
            for row in 0..count {
                let x = &x[(first + row) * width..][..width];
                for (block, values) in x.chunks(BLOCK).enumerate() {
                    let mut whole = [0f32; BLOCK];
                    whole[..values.len()].copy_from_slice(values);
                    let (numbers, scale, sum) = round(&whole);
                    let to = &mut rows.numbers[(at + block * count) * BLOCK..][..count * BLOCK];
                    for group in 0..GROUPS {
                        to[(group * count + row) * GROUP..][..GROUP]
                            .copy_from_slice(&numbers[group * GROUP..][..GROUP]);
                    }
                    rows.scales[at + block * count + row] = scale;
                    rows.starts[at + block * count + row] = -OFFSET * sum;
                    rows.totals[at + block * count + row] = scale * sum as f32;
                }
            }
        }
    }
}

/// Numbers, their scale, and their sum. The scale of a block with a value that is not finite is NaN.
#[inline(always)]
fn round(values: &[f32; BLOCK]) -> ([i8; BLOCK], f32, i32) {
    // As bits, whose order is that of the magnitudes, with infinity and NaN at the end.
    let bits = values.iter().fold(0, |largest, value| value.abs().to_bits().max(largest));
    let largest = f32::from_bits(bits);
    if !largest.is_finite() {
        return ([0; BLOCK], f32::NAN, 0);
    }
    if largest < SMALLEST {
        return ([0; BLOCK], 0.0, 0);
    }
    let inverse = LARGEST / largest;
    let (mut numbers, mut sum) = ([0; BLOCK], 0);
    for (number, value) in numbers.iter_mut().zip(values) {
        // SAFETY: finite, and at most 127 after rounding: the largest value is 127 within two roundings of an f32.
        let rounded: i32 = unsafe { (value * inverse).round_ties_even().to_int_unchecked() };
        sum += rounded;
        *number = rounded as i8;
    }
    (numbers, largest / LARGEST, sum)
}
