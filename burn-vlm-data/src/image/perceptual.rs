//! A hash of what a picture shows: pictures that are the same in another size, format or quality have hashes of few different bits.
//!
//! Unusual here: it is the 64-bit DCT hash ("pHash") as Python's `imagehash` computes it (grey, 32 x 32 by Lanczos, DCT-II, the 8 x 8
//! lowest frequencies against their median), but for one thing. Symmetric pictures (most icons) have coefficients that are zero but for
//! rounding; `imagehash` makes bits of that noise, and a JPEG of a symmetric picture is another picture to it. Here a coefficient counts
//! as greater only where it is so by more than the noise of one grey level.

use super::config::Resample;
use super::resample::resize;
use ::image::RgbImage;
use serde::{Serialize, Serializer};
use std::f64::consts::PI;
use std::fmt;

/// Edge of the small grey picture.
const EDGE: usize = 32;
/// Edge of the square of frequencies that are used, the constant one among them.
const LOW: usize = 8;
/// How far a coefficient must be above the median: noise of one grey level (standard deviation 1 in each of the 32 x 32 pixels) has this
/// standard deviation in every coefficient of a DCT-II that is not normalised, 2 * 2 * sqrt(32 / 2) * sqrt(32 / 2).
const NOISE: f64 = 64.0;
/// A hash has half of its bits set where nothing is within the noise. Of pictures with fewer (one colour, a faint gradient) nothing can be told.
const FEWEST: u32 = 8;
/// Edge of the small picture in colour.
const SMALL: usize = 8;
/// Weights of red, green and blue in a grey value, in parts of 65,536: those of PIL's `convert("L")`.
const GREY: [u32; 3] = [19_595, 38_470, 7_471];

/// A perceptual hash: the bit of the lowest frequency first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerceptualHash(pub u64);

impl PerceptualHash {
    /// The hash of a picture; `None` of one that shows too little to be told from others (one colour).
    pub fn of(image: &RgbImage) -> Option<Self> {
        if image.width() == 0 || image.height() == 0 {
            return None;
        }
        let coefficients = low_frequencies(&grey(image));
        let mut sorted = coefficients;
        sorted.sort_by(f64::total_cmp);
        let median = (sorted[LOW * LOW / 2 - 1] + sorted[LOW * LOW / 2]) / 2.0;
        let bits = coefficients.iter().fold(0, |bits, value| bits << 1 | u64::from(*value > median + NOISE));
        (bits.count_ones() >= FEWEST).then_some(Self(bits))
    }

    /// Number of different bits, 0 to 64.
    pub fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }
}

/// 16 hexadecimal digits, as `imagehash` writes them.
impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for PerceptualHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A picture in 8 x 8 pixels, to tell how far two pictures with near hashes differ in colour, which the hash does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallPicture([u8; SMALL * SMALL * 3]);

impl SmallPicture {
    /// The means of 8 x 8 parts; `None` of a picture without pixels.
    pub fn of(image: &RgbImage) -> Option<Self> {
        if image.width() == 0 || image.height() == 0 {
            return None;
        }
        resize(image, SMALL, SMALL, Resample::Box).try_into().ok().map(Self)
    }

    /// Mean difference of the values of all channels, 0 to 255.
    pub fn difference(&self, other: &Self) -> f32 {
        let sum: u32 = self.0.iter().zip(&other.0).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        sum as f32 / self.0.len() as f32
    }
}

/// The picture in 32 x 32 grey values, row by row.
fn grey(image: &RgbImage) -> Vec<f64> {
    let mut grey = image.clone();
    for pixel in grey.pixels_mut() {
        let sum: u32 = pixel.0.iter().zip(GREY).map(|(value, weight)| u32::from(*value) * weight).sum();
        pixel.0 = [((sum + 0x8000) >> 16) as u8; 3];
    }
    resize(&grey, EDGE, EDGE, Resample::Lanczos).chunks_exact(3).map(|pixel| f64::from(pixel[0])).collect()
}

/// The 8 x 8 lowest coefficients of a DCT-II along columns and rows, not normalised (as scipy's), row by row.
fn low_frequencies(pixels: &[f64]) -> [f64; LOW * LOW] {
    let wave =
        |frequency: usize, at: usize| 2.0 * (PI * frequency as f64 * (2 * at + 1) as f64 / (2 * EDGE) as f64).cos();
    let waves: Vec<f64> = (0..LOW).flat_map(|frequency| (0..EDGE).map(move |at| wave(frequency, at))).collect();
    let wave = |frequency: usize| &waves[frequency * EDGE..][..EDGE];
    // Along the columns first: 8 x 32.
    let mut columns = [0.0; LOW * EDGE];
    for row in 0..LOW {
        for (weight, line) in wave(row).iter().zip(pixels.chunks_exact(EDGE)) {
            columns[row * EDGE..][..EDGE].iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    std::array::from_fn(|at| {
        let line = &columns[at / LOW * EDGE..][..EDGE];
        line.iter().zip(wave(at % LOW)).map(|(value, weight)| value * weight).sum()
    })
}
