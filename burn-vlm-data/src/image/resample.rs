//! Resizing exactly as PIL does it: an antialiasing filter along the rows, then along the columns (for tall pictures the other
//! way round), in fixed point of 22 bits, rounded to bytes after each.
//!
//! Unusual here: this is our own, because published models have seen PIL's pixels and faster resizers, which round their
//! weights more coarsely, differ from it by up to two grey levels. Its loops run over a fixed number of independent sums, which
//! the compiler turns into vector instructions; they are compiled for several instruction sets, of which the processor's is
//! chosen at run time. The sums are integers: all give the same bytes.

use super::config::Resample;
use ::image::RgbImage;
use pulp::{Arch, Simd, WithSimd};

/// Fractional bits of the weights: 32, less 8 for a byte and 2 for the filter's overshoot.
const PRECISION: u32 = 32 - 8 - 2;

/// The input pixels of one output pixel with their weights.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Resizes a picture; `width` and `height` and those of the picture must be positive.
pub(crate) fn resize(image: &RgbImage, width: usize, height: usize, filter: Resample) -> Vec<u8> {
    let (columns, rows) = (image.width() as usize, image.height() as usize);
    let source = image.as_raw();
    if filter == Resample::Nearest {
        return nearest(source, (columns, rows), (width, height));
    }
    let narrow = |pixels: &[u8]| along_rows(pixels, columns, &windows(columns, width, filter));
    // Both passes round to bytes, so their order shows; it is that of Pillow 13, found by trying sizes.
    if columns_first((columns, rows), (width, height)) {
        let low = along_columns(source, columns, &windows(rows, height, filter));
        return if width != columns { narrow(&low) } else { low };
    }
    let narrowed = (width != columns).then(|| narrow(source));
    let pixels = narrowed.as_deref().unwrap_or(source);
    if height != rows { along_columns(pixels, width, &windows(rows, height, filter)) } else { pixels.to_vec() }
}

/// Whether columns are resized before rows: where the picture loses more than twice as many rows as columns.
fn columns_first((columns, rows): (usize, usize), (width, height): (usize, usize)) -> bool {
    height < rows && (rows - height) as i64 > 2 * (columns as i64 - width as i64)
}

/// Half the width of a filter at scale 1, and its value.
fn kernel(filter: Resample) -> (f64, fn(f64) -> f64) {
    match filter {
        Resample::Box | Resample::Nearest => (0.5, |x| if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }),
        Resample::Bilinear => (1.0, |x| (1.0 - x.abs()).max(0.0)),
        Resample::Hamming => {
            (1.0, |x| if x.abs() < 1.0 { sinc(x) * (0.54 + 0.46 * (std::f64::consts::PI * x).cos()) } else { 0.0 })
        }
        Resample::Bicubic => (2.0, bicubic),
        Resample::Lanczos => (3.0, |x| if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }),
    }
}

/// Keys' cubic with a = -0.5 (Catmull-Rom).
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// The windows of `outputs` pixels over a line of `inputs` pixels; shrinking widens the filter.
fn windows(inputs: usize, outputs: usize, filter: Resample) -> Vec<Window> {
    let (radius, value) = kernel(filter);
    let scale = inputs as f64 / outputs as f64;
    let widening = scale.max(1.0);
    let radius = radius * widening;
    let window = |output: usize| {
        let centre = (output as f64 + 0.5) * scale;
        // Conversion to integers cuts towards zero and saturates at zero, as the reference's does with its checks.
        let start = (centre - radius + 0.5) as usize;
        let end = ((centre + radius + 0.5) as usize).min(inputs);
        let weights: Vec<f64> =
            (start..end).map(|input| value((input as f64 - centre + 0.5) * (1.0 / widening))).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| {
            let weight = if sum == 0.0 { *weight } else { weight / sum } * f64::from(1u32 << PRECISION);
            (weight + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Window { start, weights: weights.iter().map(fixed).collect() }
    };
    (0..outputs).map(window).collect()
}

/// Half of a byte's unit, for rounding.
const HALF: i32 = 1 << (PRECISION - 1);
/// Picture rows that are handled together along the rows.
const STRIP: usize = 16;
/// Sums that are kept in registers at once.
const LANES: usize = STRIP * 3;

/// Weighted sums of neighbouring groups of lanes, as bytes: `source` has a group every `stride` bytes.
#[inline(always)]
fn weigh(source: &[u8], stride: usize, weights: &[i32]) -> [u8; LANES] {
    let mut sums = [HALF; LANES];
    for (weight, group) in weights.iter().zip(source.chunks(stride)) {
        let Some(group) = group.first_chunk::<LANES>() else { continue };
        for (sum, value) in sums.iter_mut().zip(group) {
            *sum += i32::from(*value) * weight;
        }
    }
    sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8)
}

/// One direction of a resize, compiled for each instruction set and called for the processor's.
struct Pass<'a> {
    body: Direction,
    pixels: &'a [u8],
    columns: usize,
    windows: &'a [Window],
}

#[derive(Clone, Copy)]
enum Direction {
    /// Each row of `columns` pixels becomes as many pixels as there are windows.
    Rows,
    /// Each column does.
    Columns,
}

impl WithSimd for Pass<'_> {
    type Output = Vec<u8>;

    // The loops themselves are plain: what matters is that they are compiled in here, where the instruction set is known.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<u8> {
        match self.body {
            Direction::Rows => along_rows_body(self.pixels, self.columns, self.windows),
            Direction::Columns => along_columns_body(self.pixels, self.columns, self.windows),
        }
    }
}

/// Resizes each row of `columns` pixels to as many pixels as there are windows.
fn along_rows(pixels: &[u8], columns: usize, windows: &[Window]) -> Vec<u8> {
    Arch::new().dispatch(Pass { body: Direction::Rows, pixels, columns, windows })
}

/// Resizes each column to as many pixels as there are windows.
fn along_columns(pixels: &[u8], columns: usize, windows: &[Window]) -> Vec<u8> {
    Arch::new().dispatch(Pass { body: Direction::Columns, pixels, columns, windows })
}

/// A strip of rows is transposed, so that the values of a column lie beside each other and are weighed at once.
#[inline(always)]
fn along_rows_body(pixels: &[u8], columns: usize, windows: &[Window]) -> Vec<u8> {
    let (stride, out_stride) = (columns * 3, windows.len() * 3);
    let rows = pixels.len() / stride;
    let mut out = vec![0; rows * out_stride];
    let mut strip = vec![0; columns * LANES];
    for (pixels, out) in pixels.chunks(STRIP * stride).zip(out.chunks_mut(STRIP * out_stride)) {
        for (row, pixels) in pixels.chunks_exact(stride).enumerate() {
            for (pixel, lanes) in pixels.as_chunks::<3>().0.iter().zip(strip.chunks_exact_mut(LANES)) {
                lanes[3 * row..3 * row + 3].copy_from_slice(pixel);
            }
        }
        for (column, window) in windows.iter().enumerate() {
            let bytes = weigh(&strip[window.start * LANES..], LANES, &window.weights);
            for (row, pixel) in out.chunks_exact_mut(out_stride).zip(bytes.as_chunks::<3>().0) {
                row[3 * column..3 * column + 3].copy_from_slice(pixel);
            }
        }
    }
    out
}

#[inline(always)]
fn along_columns_body(pixels: &[u8], columns: usize, windows: &[Window]) -> Vec<u8> {
    let stride = columns * 3;
    let mut out = Vec::with_capacity(stride * windows.len());
    for window in windows {
        let rows = &pixels[window.start * stride..];
        let rows = &rows[..(window.weights.len() * stride).min(rows.len())];
        let mut done = 0;
        while done + LANES <= stride {
            out.extend_from_slice(&weigh(&rows[done..], stride, &window.weights));
            done += LANES;
        }
        for lane in done..stride {
            let values = rows[lane..].iter().step_by(stride);
            let sum = window.weights.iter().zip(values).fold(HALF, |sum, (w, value)| sum + i32::from(*value) * w);
            out.push((sum >> PRECISION).clamp(0, 255) as u8);
        }
    }
    out
}

fn nearest(source: &[u8], (columns, rows): (usize, usize), (width, height): (usize, usize)) -> Vec<u8> {
    let at = |output: usize, outputs: usize, inputs: usize| {
        let position = (output as f64 + 0.5) * (inputs as f64 / outputs as f64);
        (position as usize).min(inputs - 1)
    };
    let mut out = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let row = at(y, height, rows) * columns;
        for x in 0..width {
            let from = (row + at(x, width, columns)) * 3;
            out.extend_from_slice(&source[from..from + 3]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::Rgb;

    /// A step edge of 8 pixels to 4 and to 12; the values are what Pillow's formulas give by hand for the box filter and
    /// for the bilinear one.
    #[test]
    fn steps_by_hand() {
        let step = RgbImage::from_fn(8, 1, |x, _| Rgb([if x < 4 { 0 } else { 200 }; 3]));
        let red = |pixels: Vec<u8>| pixels.into_iter().step_by(3).collect::<Vec<_>>();
        assert_eq!(red(resize(&step, 4, 1, Resample::Box)), [0, 0, 200, 200]);
        // Weights 1/8, 3/8, 3/8, 1/8 over four input pixels.
        assert_eq!(red(resize(&step, 4, 1, Resample::Bilinear)), [0, 25, 175, 200]);
        assert_eq!(red(resize(&step, 4, 1, Resample::Nearest)), [0, 0, 200, 200]);
        // Growing by 3/2: output 6 is centred at 4.33, a third of a pixel from the edge pixel's own centre.
        assert_eq!(red(resize(&step, 12, 1, Resample::Bilinear))[4..8], [0, 33, 167, 200]);
    }

    /// Sizes at which Pillow 13 was seen to change the order.
    #[test]
    fn order_of_the_passes() {
        assert!(columns_first((60, 90), (21, 10)) && !columns_first((60, 90), (20, 10)));
        assert!(columns_first((100, 50), (81, 10)) && !columns_first((100, 50), (80, 10)));
        assert!(!columns_first((25, 91), (66, 105)) && columns_first((171, 437), (84, 214)));
    }

    #[test]
    fn flat_pictures_stay_flat() {
        let flat = RgbImage::from_pixel(37, 23, Rgb([255, 128, 1]));
        for filter in [Resample::Box, Resample::Bilinear, Resample::Hamming, Resample::Bicubic, Resample::Lanczos] {
            for (width, height) in [(5, 7), (64, 64), (37, 50), (1, 1)] {
                let pixels = resize(&flat, width, height, filter);
                assert_eq!(pixels.len(), width * height * 3);
                assert!(pixels.chunks(3).all(|pixel| pixel == [255, 128, 1]), "{filter:?} {width} {height}");
            }
        }
    }
}
