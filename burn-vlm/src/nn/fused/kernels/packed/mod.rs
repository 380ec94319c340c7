//! Products of f32 rows with a matrix of 8-bit or 4-bit numbers, as GGUF has them ([`Form`]): blocks of [`BLOCK`] inputs of one output
//! share a scale, which is a binary16; a weight is its number times the scale, and more by the least one where there is such.
//!
//! Unusual here:
//! - the rows are rounded to 8 bits as well, each block to its own largest value, so that a block's products are integers and their sum
//!   is exact; only the sum over the blocks is one of floats;
//! - an element of the result is one chain of multiply-adds over the blocks, in order, and nothing else: it has the same bits whatever
//!   the number of rows, the threads, the tiles and the processor;
//! - [`PANEL`] outputs lie side by side in memory, four inputs of each at a time, as the processors' dot products of bytes take them;
//!   numbers are kept with [`Form::offset`] added, for one side of those products is unsigned;
//! - of 4-bit numbers a byte has those of inputs `at` and `at + 16` of a block, in the low and the high half, as in GGUF.
//!
//! Of one element, what rounding the weights to 8 bits adds is at most half a scale for each of them, and half of a row's scale for each
//! of its values: with `a` the largest weight and `b` the largest value of a block, below `32 (a b / 254 + a b / 254 + a b / 254^2)` for
//! the block, and about the root of 32 in the place of 32 where errors are independent. With 4 bits half a scale is a thirtieth of what
//! lies between the block's least and largest weight (`four`).

mod four;
mod rows;
mod tile;

pub use four::Nibbles;
pub use tile::Unit;

use half::f16;
use rayon::prelude::*;

use super::parallel::{self, Shared};
use super::simd::{Isa, Kernel, dispatch};
use rows::Rows;
use tile::Panel;

/// Inputs that have one scale.
pub const BLOCK: usize = 32;
/// Outputs that lie side by side in memory.
pub const PANEL: usize = 16;
/// Inputs of an output that lie side by side.
const GROUP: usize = 4;
/// Groups of a block.
const GROUPS: usize = BLOCK / GROUP;
/// What is added to a number of 8 bits, for it to have no sign.
const OFFSET: i32 = 128;
/// The largest number of 8 bits.
const LARGEST: f32 = 127.0;
/// Bytes of a binary16 of each output of a panel.
const SCALES: usize = PANEL * size_of::<u16>();

/// How a matrix has its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 8 bits from -128 on (`Q8_0`).
    Eight,
    /// 4 bits from -8 on (`Q4_0`).
    Four,
    /// 4 bits from 0 on, and a binary16 for each block that is added to its weights (`Q4_1`; `Q4_K` with its scales worked out).
    FourLeast,
}

impl Form {
    /// Bytes of the numbers of a block of a panel.
    const fn block_bytes(self) -> usize {
        match self {
            Self::Eight => BLOCK * PANEL,
            Self::Four | Self::FourLeast => BLOCK * PANEL / 2,
        }
    }

    /// Bytes of what a block of a panel has beside: its scales, then what is added.
    const fn scale_bytes(self) -> usize {
        match self {
            Self::Eight | Self::Four => SCALES,
            Self::FourLeast => 2 * SCALES,
        }
    }

    /// What is added to a number where it is kept.
    const fn offset(self) -> i32 {
        match self {
            Self::Eight => OFFSET,
            Self::Four => 8,
            Self::FourLeast => 0,
        }
    }
}

/// Rows up to which there is one task for a part of the outputs.
const FEW_ROWS: usize = 8;
/// Tasks for each thread where there are few rows.
const TASKS: usize = 2;
/// Rows of a task where there are many.
const MANY_ROWS: usize = 64;
/// Panels of a task where there are many.
const PANELS: usize = 8;
/// Bytes that a task reads at least where there are few rows: less is done before another thread has woken.
const TASK_BYTES: usize = 1 << 17;

/// Rows and columns of a matrix, of which each output has its inputs side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Inputs.
    pub input: usize,
    /// Outputs.
    pub output: usize,
}

impl Size {
    /// Blocks of an output; the last one may be filled up.
    pub fn blocks(self) -> usize {
        self.input.div_ceil(BLOCK)
    }

    fn panels(self) -> usize {
        self.output.div_ceil(PANEL)
    }

    fn number_bytes(self, form: Form) -> usize {
        self.panels() * self.blocks() * form.block_bytes()
    }

    /// Bytes of the matrix: all numbers, then all scales.
    pub fn bytes(self, form: Form) -> usize {
        self.number_bytes(form) + self.panels() * self.blocks() * form.scale_bytes()
    }
}

/// A weight that a number and a scale cannot hold: NaN, infinite, or beyond what the largest binary16 gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unfit(pub f32);

/// Fills a matrix, output by output.
pub struct Packer<'a> {
    size: Size,
    form: Form,
    numbers: &'a mut [u8],
    scales: &'a mut [u8],
    filled: usize,
}

impl<'a> Packer<'a> {
    /// Of a matrix in `bytes`, whose content does not matter.
    ///
    /// # Panics
    /// For another number of bytes than [`Size::bytes`].
    pub fn new(bytes: &'a mut [u8], size: Size, form: Form) -> Self {
        assert_eq!(bytes.len(), size.bytes(form), "the bytes of {size:?}");
        let (numbers, scales) = bytes.split_at_mut(size.number_bytes(form));
        numbers.fill(if form == Form::Eight { OFFSET as u8 } else { 0 });
        scales.fill(0);
        Self { size, form, numbers, scales, filled: 0 }
    }

    /// Packs the next outputs, each with its inputs, which are rounded.
    ///
    /// # Errors
    /// The first weight that does not fit.
    ///
    /// # Panics
    /// For more outputs than the matrix has, or a part of one.
    pub fn push(&mut self, outputs: &[f32]) -> Result<(), Unfit> {
        let (input, form) = (self.size.input, self.form);
        self.fill(outputs, input, |inputs, lane, numbers, scales| match form {
            Form::Eight => dispatch(Pack { inputs, lane, numbers, scales }),
            Form::Four | Form::FourLeast => dispatch(four::Pack { form, inputs, lane, numbers, scales }),
        })
    }

    /// Packs the next outputs of a matrix of 4-bit numbers, each as its blocks, which are kept as they are.
    ///
    /// # Errors
    /// The first scale that is no binary16.
    ///
    /// # Panics
    /// As [`Self::push`], and for a matrix of 8-bit numbers.
    pub fn push_nibbles(&mut self, outputs: &[Nibbles]) -> Result<(), Unfit> {
        let (blocks, form) = (self.size.blocks(), self.form);
        assert_ne!(form, Form::Eight, "a matrix of 4-bit numbers");
        self.fill(outputs, blocks, |blocks, lane, numbers, scales| {
            let places = numbers.chunks_exact_mut(form.block_bytes()).zip(scales.chunks_exact_mut(form.scale_bytes()));
            blocks
                .iter()
                .zip(places)
                .try_for_each(|(block, (numbers, scales))| block.write(form, lane, numbers, scales))
        })
    }

    /// Fills the next outputs, of which each is `width` of `outputs`; `write` fills lane of the numbers and scales of a panel.
    fn fill<T: Sync>(
        &mut self,
        outputs: &[T],
        width: usize,
        write: impl Fn(&[T], usize, &mut [u8], &mut [u8]) -> Result<(), Unfit> + Sync,
    ) -> Result<(), Unfit> {
        if outputs.is_empty() {
            return Ok(());
        }
        let (first, count, blocks) = (self.filled, outputs.len() / width, self.size.blocks());
        assert!(
            outputs.len() == count * width && first + count <= self.size.output,
            "whole outputs of {:?}",
            self.size
        );
        self.filled += count;
        let panels = first / PANEL..(first + count).div_ceil(PANEL);
        let skip = panels.start;
        let numbers = self.numbers.par_chunks_exact_mut(blocks * self.form.block_bytes());
        let scales = self.scales.par_chunks_exact_mut(blocks * self.form.scale_bytes());
        let places = numbers.zip(scales).skip(skip).take(panels.len());
        places.enumerate().try_for_each(|(at, (numbers, scales))| {
            let start = (skip + at) * PANEL;
            (start.max(first)..(start + PANEL).min(first + count)).try_for_each(|output| {
                write(&outputs[(output - first) * width..][..width], output - start, numbers, scales)
            })
        })
    }
}

/// Writes the inputs of one output into lane `lane` of its panel.
struct Pack<'a> {
    inputs: &'a [f32],
    lane: usize,
    numbers: &'a mut [u8],
    scales: &'a mut [u8],
}

impl Kernel for Pack<'_> {
    type Output = Result<(), Unfit>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Result<(), Unfit> {
        let Self { inputs, lane, numbers, scales } = self;
        let numbers = numbers.chunks_exact_mut(Form::Eight.block_bytes());
        let scales = scales.chunks_exact_mut(Form::Eight.scale_bytes());
        for ((inputs, numbers), scales) in inputs.chunks(BLOCK).zip(numbers).zip(scales) {
            let largest = inputs.iter().fold(0f32, |largest, input| largest.max(input.abs()));
            let scale = not_less(largest / LARGEST);
            let unfit = inputs.iter().find(|input| !input.is_finite()).or((!scale.is_finite()).then_some(&largest));
            if let Some(unfit) = unfit {
                return Err(Unfit(*unfit));
            }
            put(scales, lane, scale);
            let scale = scale.to_f32();
            for (at, input) in inputs.iter().enumerate() {
                // A block of zeros has the scale zero.
                let number = if scale > 0.0 { (input / scale).round_ties_even() as i32 } else { 0 };
                numbers[place(at, lane)] = (number + OFFSET) as u8;
            }
        }
        Ok(())
    }
}

/// Where in a block of a panel the byte of input `at` of output `lane` is.
fn place(at: usize, lane: usize) -> usize {
    (at / GROUP * PANEL + lane) * GROUP + at % GROUP
}

/// The smallest binary16 that is not below `value`, so that no number is beyond [`LARGEST`].
fn not_less(value: f32) -> f16 {
    let near = f16::from_f32(value);
    if near.to_f32() < value { f16::from_bits(near.to_bits() + 1) } else { near }
}

/// Writes the binary16 of output `lane`.
fn put(scales: &mut [u8], lane: usize, value: f16) {
    scales[lane * 2..][..2].copy_from_slice(&value.to_bits().to_le_bytes());
}

/// A packed matrix.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    size: Size,
    form: Form,
    numbers: &'a [u8],
    scales: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// The matrix that `bytes` begin with; none where they are too few.
    pub fn new(bytes: &'a [u8], size: Size, form: Form) -> Option<Self> {
        let (numbers, scales) = bytes.get(..size.bytes(form))?.split_at(size.number_bytes(form));
        Some(Self { size, form, numbers, scales })
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Numbers and scales of a block of panel `panel`.
    fn block(&self, panel: usize, block: usize) -> (&'a [u8], &'a [u8]) {
        let (at, form) = (panel * self.size.blocks() + block, self.form);
        (
            &self.numbers[at * form.block_bytes()..][..form.block_bytes()],
            &self.scales[at * form.scale_bytes()..][..form.scale_bytes()],
        )
    }

    /// Writes the weights of output `output` as f32.
    ///
    /// # Panics
    /// Beyond the last output, or for another number of weights than the matrix has inputs.
    pub fn unpack(&self, output: usize, weights: &mut [f32]) {
        assert!(output < self.size.output && weights.len() == self.size.input, "output {output} of {:?}", self.size);
        let lane = output % PANEL;
        for (block, weights) in weights.chunks_mut(BLOCK).enumerate() {
            let (numbers, scales) = self.block(output / PANEL, block);
            let (scale, least) = (scale_of(scales, lane), least_of(self.form, scales, lane));
            for (at, weight) in weights.iter_mut().enumerate() {
                *weight = scale * number_of(self.form, numbers, at, lane) as f32 + least;
            }
        }
    }
}

/// The number of input `at` of output `lane`, without the offset.
fn number_of(form: Form, numbers: &[u8], at: usize, lane: usize) -> i32 {
    let kept = match form {
        Form::Eight => numbers[place(at, lane)],
        Form::Four | Form::FourLeast => numbers[place(at % four::HALF, lane)] >> (at / four::HALF * 4) & 15,
    };
    i32::from(kept) - form.offset()
}

/// What is added to the weights of output `lane`.
fn least_of(form: Form, scales: &[u8], lane: usize) -> f32 {
    match form {
        Form::Eight | Form::Four => 0.0,
        Form::FourLeast => scale_of(&scales[SCALES..], lane),
    }
}

/// The scale of output `lane`.
fn scale_of(scales: &[u8], lane: usize) -> f32 {
    f16::from_bits(u16::from_le_bytes([scales[lane * 2], scales[lane * 2 + 1]])).to_f32()
}

/// `x w`, contiguous, with the best instructions of this processor.
///
/// A block of `x` with a value that is NaN or infinite makes its row's results NaN.
///
/// # Shapes
/// - `x`: `[m, input]` in contiguous rows; `w`: `[input, output]`
/// - returns `[m, output]`
///
/// # Panics
/// For an `x` of another size.
pub fn multiply(x: &[f32], w: Matrix) -> Vec<f32> {
    multiply_by(Unit::used(), x, w)
}

/// [`multiply`] with chosen instructions, which the processor must have.
fn multiply_by(unit: Unit, x: &[f32], w: Matrix) -> Vec<f32> {
    let Size { input, output } = w.size;
    let m = x.len().checked_div(input).unwrap_or(0);
    assert_eq!(x.len(), m * input, "rows of {input} elements");
    let mut out = vec![0.0; m * output];
    let (rows, panels) = if m <= FEW_ROWS {
        let least = TASK_BYTES / (w.size.blocks() * w.form.block_bytes()).max(1);
        (FEW_ROWS, w.size.panels().div_ceil(TASKS * rayon::current_num_threads()).max(least).max(1))
    } else {
        (MANY_ROWS, PANELS)
    };
    let down = m.div_ceil(rows);
    let integers = parallel::map(down, m * input, |part| {
        let x = &x[part * rows * input..];
        Rows::new(&x[..x.len().min(rows * input)], input, unit.most_rows())
    });
    let (shared, blocks, across) = (Shared::new(&mut out), w.size.blocks(), w.size.panels().div_ceil(panels));
    parallel::for_each(down * across, m * output * input, |task| {
        let (part, first) = (task / across, task % across * panels);
        for panel in first..(first + panels).min(w.size.panels()) {
            let bytes = blocks * w.form.block_bytes();
            let numbers = &w.numbers[panel * bytes..][..bytes];
            let bytes = blocks * w.form.scale_bytes();
            let scales = &w.scales[panel * bytes..][..bytes];
            let columns = PANEL.min(output - panel * PANEL);
            let weights = Panel { form: w.form, numbers, scales, columns };
            for tile in integers[part].tiles() {
                let to = (part * rows + tile.first) * output + panel * PANEL;
                // SAFETY: `m x output` elements are in the buffer; of these rows and columns only this task writes.
                unsafe { tile::run(unit, weights, tile, (shared.at(to).0, output)) };
            }
        }
    });
    out
}

#[cfg(test)]
mod tests;
