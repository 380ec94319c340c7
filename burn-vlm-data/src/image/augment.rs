//! Light augmentation: rotation, scale, shift, and colour, each picture by its seed.
//!
//! Unusual here: geometry and colour are one pass over the pixels, in 16-bit fixed point and a colour matrix, and sine and
//! cosine are their own series, so that a seed gives the same bytes on every platform.

use crate::random::Stream;
use ::image::RgbImage;
use serde::{Deserialize, Serialize};

/// How far pictures are changed. Each value is drawn uniformly; the default is what the tiny studies train with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Largest rotation either way, in degrees (at most 180).
    pub rotation: f32,
    /// Smallest and largest scale.
    pub scale: (f32, f32),
    /// Largest shift either way, as a fraction of width and height.
    pub shift: f32,
    /// Largest change of brightness, as a fraction.
    pub brightness: f32,
    /// Largest change of contrast, as a fraction.
    pub contrast: f32,
    /// Largest change of saturation, as a fraction.
    pub saturation: f32,
    /// The colour of what comes in from outside the picture.
    pub fill: [u8; 3],
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            rotation: 15.0,
            scale: (0.85, 1.1),
            shift: 0.06,
            brightness: 0.15,
            contrast: 0.15,
            saturation: 0.2,
            fill: [255; 3],
        }
    }
}

/// Fractional bits of coordinates.
const BITS: i32 = 16;
/// Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601, as PIL's).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

impl Augmentation {
    /// Changes a picture; equal seeds change it equally. The size stays.
    pub fn apply(&self, image: &RgbImage, seed: u64) -> RgbImage {
        let mut stream = Stream::new(seed);
        let angle = stream.uniform(-self.rotation, self.rotation).to_radians();
        let scale = stream.uniform(self.scale.0, self.scale.1).max(1e-3);
        let mut shift = || stream.uniform(-self.shift, self.shift);
        let (shift_x, shift_y) = (shift(), shift());
        let mut change = |by: f32| 1.0 + stream.uniform(-by, by);
        let colour = Colour::new(change(self.brightness), change(self.contrast), change(self.saturation));
        warp(image, &Inverse::new(image, angle, scale, shift_x, shift_y), &colour, self.fill)
    }
}

/// A picture turned clockwise about its centre by so many degrees (-180 to 180) and scaled, `fill` around it. The size stays, and the same
/// angle gives the same bytes on every platform.
pub(crate) fn turned(image: &RgbImage, degrees: f32, scale: f32, fill: [u8; 3]) -> RgbImage {
    let map = Inverse::new(image, degrees.to_radians(), scale, 0.0, 0.0);
    warp(image, &map, &Colour::new(1.0, 1.0, 1.0), fill)
}

/// The affine map from target to source coordinates: source = matrix * target + offset, in fixed point.
struct Inverse {
    matrix: [i32; 4],
    offset: [i32; 2],
}

impl Inverse {
    fn new(image: &RgbImage, angle: f32, scale: f32, shift_x: f32, shift_y: f32) -> Self {
        let (width, height) = (f64::from(image.width()), f64::from(image.height()));
        let (sin, cos) = sin_cos(f64::from(angle));
        let scale = f64::from(scale);
        let matrix = [cos / scale, sin / scale, -sin / scale, cos / scale];
        let centre = [(width - 1.0) / 2.0, (height - 1.0) / 2.0];
        let from = [centre[0] + f64::from(shift_x) * width, centre[1] + f64::from(shift_y) * height];
        let offset = [
            centre[0] - matrix[0] * from[0] - matrix[1] * from[1],
            centre[1] - matrix[2] * from[0] - matrix[3] * from[1],
        ];
        let fixed = |value: f64| (value * f64::from(1 << BITS)).round() as i32;
        Self { matrix: matrix.map(fixed), offset: offset.map(fixed) }
    }
}

/// Brightness, contrast and saturation as one affine map of a pixel.
struct Colour {
    matrix: [[f32; 3]; 3],
    offset: f32,
}

impl Colour {
    fn new(brightness: f32, contrast: f32, saturation: f32) -> Self {
        let gain = brightness * contrast;
        let entry = |row: usize, column: usize| {
            let own = if row == column { saturation } else { 0.0 };
            gain * (own + (1.0 - saturation) * LUMA[column])
        };
        // Contrast turns about the middle grey.
        Self {
            matrix: std::array::from_fn(|row| std::array::from_fn(|column| entry(row, column))),
            offset: 127.5 * (1.0 - contrast),
        }
    }

    #[inline]
    fn apply(&self, pixel: [f32; 3]) -> [u8; 3] {
        self.matrix.map(|row| {
            let value = row[0] * pixel[0] + row[1] * pixel[1] + row[2] * pixel[2] + self.offset;
            // `as` saturates, so this clamps to 0..=255.
            (value + 0.5) as u8
        })
    }
}

/// Samples the picture bilinearly along the map, and changes its colours.
fn warp(image: &RgbImage, map: &Inverse, colour: &Colour, fill: [u8; 3]) -> RgbImage {
    let (width, height) = (image.width() as i32, image.height() as i32);
    let source = image.as_raw();
    let pixel = |x: i32, y: i32| -> [i32; 3] {
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        let at = if inside { (y * width + x) as usize * 3 } else { 0 };
        match source.get(at..at + 3) {
            Some(&[r, g, b]) if inside => [i32::from(r), i32::from(g), i32::from(b)],
            _ => fill.map(i32::from),
        }
    };
    let mut data = Vec::with_capacity(source.len());
    for y in 0..height {
        let mut at_x = map.matrix[1].wrapping_mul(y).wrapping_add(map.offset[0]);
        let mut at_y = map.matrix[3].wrapping_mul(y).wrapping_add(map.offset[1]);
        for _ in 0..width {
            let (x, y) = (at_x >> BITS, at_y >> BITS);
            // Eight bits of the fraction are enough for eight-bit colours.
            let (fx, fy) = ((at_x >> (BITS - 8)) & 255, (at_y >> (BITS - 8)) & 255);
            let (a, b, c, d) = (pixel(x, y), pixel(x + 1, y), pixel(x, y + 1), pixel(x + 1, y + 1));
            let blend = std::array::from_fn(|i| {
                let (top, bottom) = (a[i] * (256 - fx) + b[i] * fx, c[i] * (256 - fx) + d[i] * fx);
                (top * (256 - fy) + bottom * fy) as f32 * (1.0 / 65536.0)
            });
            data.extend_from_slice(&colour.apply(blend));
            at_x = at_x.wrapping_add(map.matrix[0]);
            at_y = at_y.wrapping_add(map.matrix[2]);
        }
    }
    // The data has the picture's own length; a picture of another one cannot come out.
    RgbImage::from_raw(image.width(), image.height(), data).unwrap_or_else(|| image.clone())
}

/// Sine and cosine of an angle within half a turn, by their series: the platform's own differ in the last bit.
fn sin_cos(angle: f64) -> (f64, f64) {
    let mut term = 1.0;
    let (mut sin, mut cos) = (0.0, 0.0);
    for n in 0..24 {
        match n % 4 {
            0 => cos += term,
            1 => sin += term,
            2 => cos -= term,
            _ => sin -= term,
        }
        term *= angle / f64::from(n + 1);
    }
    (sin, cos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::hash_bytes;
    use ::image::Rgb;

    fn still() -> Augmentation {
        Augmentation {
            rotation: 0.0,
            scale: (1.0, 1.0),
            shift: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            fill: [255; 3],
        }
    }

    fn picture() -> RgbImage {
        RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, (x + y) as u8]))
    }

    #[test]
    fn nothing_changes_nothing() {
        assert_eq!(still().apply(&picture(), 5), picture());
    }

    /// By hand: with y downwards, clockwise takes what is above the centre to its right.
    #[test]
    fn turning_is_clockwise() {
        let mut image = RgbImage::from_pixel(65, 65, Rgb([255; 3]));
        image.put_pixel(32, 12, Rgb([0; 3]));
        assert_eq!(turned(&image, 0.0, 1.0, [255; 3]), image);
        let turned = turned(&image, 90.0, 1.0, [255; 3]);
        let dark: Vec<(u32, u32)> =
            turned.enumerate_pixels().filter(|(_, _, pixel)| pixel[0] < 128).map(|(x, y, _)| (x, y)).collect();
        assert_eq!(dark, [(52, 32)]);
    }

    #[test]
    fn series_are_sine_and_cosine() {
        for angle in [-3.1, -0.26, 0.0, 0.26, 1.5, 3.1f64] {
            let (sin, cos) = sin_cos(angle);
            assert!((sin - angle.sin()).abs() < 1e-9 && (cos - angle.cos()).abs() < 1e-9, "{angle}");
        }
    }

    #[test]
    fn half_a_turn_is_exact_and_fill_is_white() {
        let image = picture();
        let map = Inverse::new(&image, std::f32::consts::PI, 1.0, 0.0, 0.0);
        let turned = warp(&image, &map, &Colour::new(1.0, 1.0, 1.0), [255; 3]);
        for (x, y) in [(1, 1), (10, 50), (62, 30)] {
            let (a, b) = (turned.get_pixel(x, y).0, image.get_pixel(63 - x, 63 - y).0);
            assert!(a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 1), "{a:?} {b:?}");
        }
        let map = Inverse::new(&image, 0.0, 1.0, 0.5, 0.0);
        let shifted = warp(&image, &map, &Colour::new(1.0, 1.0, 1.0), [255; 3]);
        assert_eq!(shifted.get_pixel(10, 10).0, [255; 3]);
        assert_eq!(shifted.get_pixel(40, 10).0, image.get_pixel(8, 10).0);
    }

    #[test]
    fn colours() {
        let grey = Colour::new(1.0, 1.0, 0.0).apply([255.0, 0.0, 0.0]);
        assert_eq!(grey, [76, 76, 76]);
        assert_eq!(Colour::new(1.5, 1.0, 1.0).apply([100.0, 200.0, 0.0]), [150, 255, 0]);
        assert_eq!(Colour::new(1.0, 0.5, 1.0).apply([0.0, 255.0, 128.0]), [64, 191, 128]);
    }

    #[test]
    fn seeds_decide() {
        let augmentation = Augmentation::default();
        let first = augmentation.apply(&picture(), 1);
        assert_eq!(first, augmentation.apply(&picture(), 1));
        assert_ne!(first, augmentation.apply(&picture(), 2));
        assert_eq!(first.dimensions(), (64, 64));
        // Pins the result: it must not change with a platform or a dependency.
        assert_eq!(hash_bytes(first.as_raw()), 0x55eb_fc79_365a_2bb4);
        assert_eq!(augmentation.apply(&RgbImage::new(0, 0), 1).dimensions(), (0, 0));
    }
}
