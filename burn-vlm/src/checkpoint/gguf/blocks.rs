//! How GGUF stores values: floats, or blocks of small numbers with scales, as `ggml-quants.c` of llama.cpp defines them.
//!
//! Unusual here: a value is computed in f32 with the operations of the reference, in its order, so that it has the reference's bits.

use half::{bf16, f16};

#[cfg(feature = "flex")]
use crate::nn::fused::packed::{BLOCK, Form, Nibbles};

/// The types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockType {
    /// 32 bits.
    F32,
    /// Binary16.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// 32 numbers of 4 bits from -8 on, a scale.
    Q4_0,
    /// 32 numbers of 4 bits from 0 on, a scale and a least value.
    Q4_1,
    /// 32 numbers of 5 bits from -16 on, a scale.
    Q5_0,
    /// 32 numbers of 5 bits from 0 on, a scale and a least value.
    Q5_1,
    /// 32 numbers of 8 bits, a scale.
    Q8_0,
    /// 256 numbers of 4 bits in eights of 32, each with a scale and a least value of 6 bits, which have two scales.
    Q4K,
    /// 256 numbers of 5 bits, scaled as those of [`BlockType::Q4K`].
    Q5K,
    /// 256 numbers of 6 bits in sixteens of 16, each with a scale of 8 bits, which have a scale.
    Q6K,
}

/// Types by their number in a file, for errors.
const OTHERS: [(u32, &str); 12] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
];

impl BlockType {
    /// All of them, for errors.
    pub const NAMES: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K";

    /// The type with a number.
    ///
    /// # Errors
    /// What people call another type.
    pub fn from_number(number: u32) -> Result<Self, String> {
        Ok(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            other => {
                let known = OTHERS.iter().find(|(number, _)| *number == other);
                return Err(known.map_or(format!("type {other}"), |(_, name)| (*name).to_owned()));
            }
        })
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Values of a block.
    pub fn values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 4 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 4 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 4 + 12 + 128,
            Self::Q5K => 4 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// Bytes of a tensor; none where its rows are no whole blocks or their number does not fit.
    pub fn bytes(self, shape: &[usize]) -> Option<u64> {
        let row = shape.last()?;
        let values = shape.iter().try_fold(1u64, |values, side| values.checked_mul(*side as u64))?;
        let fits = row.is_multiple_of(self.values()) && usize::try_from(values).is_ok();
        fits.then(|| (values / self.values() as u64).checked_mul(self.block_bytes() as u64)).flatten()
    }

    /// The values of whole blocks.
    ///
    /// # Panics
    /// Where bytes and values are not of equally many whole blocks.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let (values, size) = (self.values(), self.block_bytes());
        let blocks = out.len() / values;
        assert!(out.len() == blocks * values && bytes.len() == blocks * size, "whole blocks of {}", self.name());
        let decode = match self {
            Self::F32 => {
                |block: &[u8], out: &mut [f32]| out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]])
            }
            Self::F16 => |block: &[u8], out: &mut [f32]| out[0] = half(block),
            Self::Bf16 => |block: &[u8], out: &mut [f32]| out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q5_0 => q5_0,
            Self::Q5_1 => q5_1,
            Self::Q8_0 => q8_0,
            Self::Q4K => |block: &[u8], out: &mut [f32]| q4_k(block, None, &block[16..], out),
            Self::Q5K => |block: &[u8], out: &mut [f32]| q4_k(block, Some(&block[16..48]), &block[48..], out),
            Self::Q6K => q6_k,
        };
        bytes.chunks_exact(size).zip(out.chunks_exact_mut(values)).for_each(|(block, out)| decode(block, out));
    }
}

#[cfg(feature = "flex")]
impl BlockType {
    /// As `gguf::kept`.
    pub fn kept(self) -> Option<Form> {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => None,
            Self::Q4_0 => Some(Form::Four),
            Self::Q4_1 | Self::Q4K => Some(Form::FourLeast),
            Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q5K | Self::Q6K => Some(Form::Eight),
        }
    }

    /// The numbers of whole blocks, of a type of 4 bits, by 32.
    ///
    /// # Panics
    /// For another type, or where bytes and numbers are not of equally many whole blocks.
    pub fn nibbles(self, bytes: &[u8], out: &mut [Nibbles]) {
        let (of_block, size) = (self.values() / BLOCK, self.block_bytes());
        assert!(out.len() * size == bytes.len() * of_block, "whole blocks of {}", self.name());
        let read = match self {
            Self::Q4_0 => |block: &[u8], out: &mut [Nibbles]| {
                out[0] = Nibbles { numbers: std::array::from_fn(|at| block[2 + at]), scale: half(block), least: 0.0 };
            },
            Self::Q4_1 => |block: &[u8], out: &mut [Nibbles]| {
                let numbers = std::array::from_fn(|at| block[4 + at]);
                out[0] = Nibbles { numbers, scale: half(block), least: half(&block[2..]) };
            },
            Self::Q4K => |block: &[u8], out: &mut [Nibbles]| {
                let (scale, least) = (half(block), half(&block[2..]));
                for (at, out) in out.iter_mut().enumerate() {
                    let (own_scale, own_least) = six_bits(&block[4..16], at);
                    let number = |lane: usize| block[16 + at / 2 * 32 + lane] >> (at % 2 * 4) & 15;
                    *out = Nibbles {
                        numbers: std::array::from_fn(|lane| number(lane) | number(lane + 16) << 4),
                        scale: scale * f32::from(own_scale),
                        least: -least * f32::from(own_least),
                    };
                }
            },
            _ => unreachable!("{} has no numbers of 4 bits", self.name()),
        };
        bytes.chunks_exact(size).zip(out.chunks_exact_mut(of_block)).for_each(|(block, out)| read(block, out));
    }
}

/// The binary16 at the start.
fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The low halves of 16 bytes are the first 16 numbers, the high halves the last.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes[..16].iter().map(|byte| byte & 15).chain(bytes[..16].iter().map(|byte| byte >> 4))
}

fn q4_0(block: &[u8], out: &mut [f32]) {
    let scale = half(block);
    for (out, number) in out.iter_mut().zip(nibbles(&block[2..])) {
        *out = f32::from(i16::from(number) - 8) * scale;
    }
}

fn q4_1(block: &[u8], out: &mut [f32]) {
    let (scale, least) = (half(block), half(&block[2..]));
    for (out, number) in out.iter_mut().zip(nibbles(&block[4..])) {
        *out = f32::from(number) * scale + least;
    }
}

/// Bit `at` of four bytes, as the fifth of a number.
fn fifth(bits: &[u8], at: usize) -> u8 {
    (bits[at / 8] >> (at % 8) & 1) << 4
}

fn q5_0(block: &[u8], out: &mut [f32]) {
    let scale = half(block);
    for (at, (out, number)) in out.iter_mut().zip(nibbles(&block[6..])).enumerate() {
        *out = f32::from(i16::from(number | fifth(&block[2..], at)) - 16) * scale;
    }
}

fn q5_1(block: &[u8], out: &mut [f32]) {
    let (scale, least) = (half(block), half(&block[2..]));
    for (at, (out, number)) in out.iter_mut().zip(nibbles(&block[8..])).enumerate() {
        *out = f32::from(number | fifth(&block[4..], at)) * scale + least;
    }
}

fn q8_0(block: &[u8], out: &mut [f32]) {
    let scale = half(block);
    for (out, number) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(*number as i8) * scale;
    }
}

/// Scale and least value of eighth `at`, in 6 bits each: of the first four in the low bits of the first eight bytes, of the last four in
/// the last four bytes, with the high bits in those that the first left.
fn six_bits(bytes: &[u8], at: usize) -> (u8, u8) {
    if at < 4 {
        return (bytes[at] & 63, bytes[at + 4] & 63);
    }
    let low = bytes[at + 4];
    (low & 15 | bytes[at - 4] >> 6 << 4, low >> 4 | bytes[at] >> 6 << 4)
}

/// Of 4 bits, or of 5 where there are `fifths`.
fn q4_k(block: &[u8], fifths: Option<&[u8]>, numbers: &[u8], out: &mut [f32]) {
    let (scale, least) = (half(block), half(&block[2..]));
    for (at, out) in out.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_least) = six_bits(&block[4..16], at);
        let (scale, least) = (scale * f32::from(own_scale), least * f32::from(own_least));
        for (lane, out) in out.iter_mut().enumerate() {
            let byte = numbers[at / 2 * 32 + lane];
            let number = if at % 2 == 0 { byte & 15 } else { byte >> 4 };
            let number = number | fifths.map_or(0, |fifths| (fifths[lane] >> at & 1) << 4);
            *out = scale * f32::from(number) - least;
        }
    }
}

fn q6_k(block: &[u8], out: &mut [f32]) {
    let (low, high, scales, scale) = (&block[..128], &block[128..192], &block[192..208], half(&block[208..]));
    for (at, out) in out.iter_mut().enumerate() {
        // Halves of 128 values in quarters of 32.
        let (part, quarter, lane) = (at / 128, at / 32 % 4, at % 32);
        let byte = low[part * 64 + quarter % 2 * 32 + lane];
        let number = if quarter < 2 { byte & 15 } else { byte >> 4 };
        let number = number | (high[part * 32 + lane] >> (2 * quarter) & 3) << 4;
        *out = scale * f32::from(scales[at / 16] as i8) * f32::from(i16::from(number) - 32);
    }
}
