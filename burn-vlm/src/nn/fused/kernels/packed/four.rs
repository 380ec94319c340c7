//! Blocks of 4-bit numbers: how weights are rounded to them, and how they are kept.

use half::f16;

use super::super::simd::{Isa, Kernel};
use super::{BLOCK, Form, SCALES, Unfit, place, put};

/// Inputs of a block whose numbers are in the low halves of its bytes; those of the others are in the high halves.
pub const HALF: usize = BLOCK / 2;
/// The largest number.
const MOST: f32 = 15.0;
/// Parts of the way from a block's least to its largest weight that are tried as what the numbers cover: weights are seldom at the ends,
/// and those between gain by a finer step.
const COVERED: [f32; 6] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8];

/// A block of an output.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Nibbles {
    /// Of inputs `at` and `at + 16`, in the low and the high half of byte `at`.
    pub numbers: [u8; HALF],
    /// What a number is multiplied with.
    pub scale: f32,
    /// What is added then; nothing where numbers begin at -8.
    pub least: f32,
}

impl Nibbles {
    /// Writes lane `lane` of a block of a panel.
    ///
    /// # Errors
    /// A scale that is no binary16.
    #[inline(always)]
    pub fn write(&self, form: Form, lane: usize, numbers: &mut [u8], scales: &mut [u8]) -> Result<(), Unfit> {
        let (scale, least) = (f16::from_f32(self.scale), f16::from_f32(self.least));
        if let Some((_, kept)) = [(scale, self.scale), (least, self.least)].iter().find(|(half, _)| !half.is_finite()) {
            return Err(Unfit(*kept));
        }
        put(scales, lane, scale);
        if form == Form::FourLeast {
            put(&mut scales[SCALES..], lane, least);
        }
        for (at, pair) in self.numbers.iter().enumerate() {
            numbers[place(at, lane)] = *pair;
        }
        Ok(())
    }
}

/// Rounds the inputs of one output into lane `lane` of its panel.
pub struct Pack<'a> {
    pub form: Form,
    pub inputs: &'a [f32],
    pub lane: usize,
    pub numbers: &'a mut [u8],
    pub scales: &'a mut [u8],
}

impl Kernel for Pack<'_> {
    type Output = Result<(), Unfit>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Result<(), Unfit> {
        let Self { form, inputs, lane, numbers, scales } = self;
        let places = numbers.chunks_exact_mut(form.block_bytes()).zip(scales.chunks_exact_mut(form.scale_bytes()));
        for (inputs, (numbers, scales)) in inputs.chunks(BLOCK).zip(places) {
            if let Some(unfit) = inputs.iter().find(|input| !input.is_finite()) {
                return Err(Unfit(*unfit));
            }
            // What fills the last block up must not widen the others' range.
            let mut whole = [inputs[0]; BLOCK];
            whole[..inputs.len()].copy_from_slice(inputs);
            let block = if form == Form::Four { around_zero(&whole) } else { from_least(&whole) };
            let farthest = || inputs.iter().fold(0f32, |far, input| if input.abs() > far.abs() { *input } else { far });
            block.write(form, lane, numbers, scales).map_err(|_| Unfit(farthest()))?;
        }
        Ok(())
    }
}

/// As near as a binary16 is.
fn nearest(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Numbers from 0 on of `value / scale`, kept within their bits; zeros for the scale zero.
#[inline(always)]
fn numbers(values: &[f32; BLOCK], scale: f32, least: f32) -> [f32; BLOCK] {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    values.map(|value| ((value - least) * inverse).round_ties_even().clamp(0.0, MOST))
}

#[inline(always)]
fn pairs(numbers: &[f32; BLOCK]) -> [u8; HALF] {
    std::array::from_fn(|at| numbers[at] as u8 | (numbers[at + HALF] as u8) << 4)
}

/// As `Q4_0` rounds: the weight that is farthest from zero is number -8, which is kept as 0.
#[inline(always)]
fn around_zero(values: &[f32; BLOCK]) -> Nibbles {
    let farthest = values.iter().fold(0f32, |far, value| if value.abs() > far.abs() { *value } else { far });
    let scale = nearest(farthest / -8.0);
    Nibbles { numbers: pairs(&numbers(values, scale, -8.0 * scale)), scale, least: 0.0 }
}

/// Scale and least value with the smallest sum of squared errors among [`COVERED`].
#[inline(always)]
fn from_least(values: &[f32; BLOCK]) -> Nibbles {
    let (low, high) =
        values.iter().fold((values[0], values[0]), |(low, high), value| (low.min(*value), high.max(*value)));
    let mut best = (f32::INFINITY, Nibbles::default());
    for covered in COVERED {
        let cut = (high - low) * (1.0 - covered) / 2.0;
        let (scale, least) = (nearest((high - low) * covered / MOST), nearest(low + cut));
        let numbers = numbers(values, scale, least);
        let error = values.iter().zip(&numbers).fold(0.0, |sum, (value, number)| {
            let error = value - (scale * number + least);
            sum + error * error
        });
        // The first is taken whatever its error: what is no binary16 must reach the caller.
        if covered == COVERED[0] || error < best.0 {
            best = (error, Nibbles { numbers: pairs(&numbers), scale, least });
        }
    }
    best.1
}
