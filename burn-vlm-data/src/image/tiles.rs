//! Any-resolution tiling, as LLaVA-NeXT does it: a picture is scaled into the best of several canvases, padded to it, and
//! cut into tiles.
//!
//! Unusual here:
//! - all sizes are (height, width), as in the reference's files, except those of `RgbImage`;
//! - an odd pixel of padding goes right or below (the reference lost it for some months of 2025);
//! - tiles are only padded to a common number when a batch asks for it.

use super::{ImageError, PatchBudget};
use ::image::{GenericImageView, RgbImage};
use burn_vlm_base::tiling::{Size, select_best_resolution};
use serde::{Deserialize, Serialize};

/// A canvas of any-resolution tiling: (height, width) in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridPinpoint(pub u32, pub u32);

/// Normalised pixels of one picture with its tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessedImage {
    /// `[tiles, 3, height, width]`, the whole picture first.
    pub data: Vec<f32>,
    /// Number of tiles, the whole picture included.
    pub tiles: usize,
    /// Rows of a tile.
    pub height: usize,
    /// Columns of a tile.
    pub width: usize,
    /// (height, width) of the picture before processing: the model's `image_sizes`.
    pub original_size: (u32, u32),
    /// Where the picture has a grid of patches of its own (NaFlex), what that was chosen by; `height` and `width` are its size then.
    pub budget: Option<PatchBudget>,
}

/// Normalised pixels of several pictures, padded with zeros to the largest number of tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelBatch {
    /// `[images, tiles, 3, height, width]`
    pub data: Vec<f32>,
    /// The five lengths of `data`.
    pub shape: [usize; 5],
    /// (height, width) of each picture before processing.
    pub image_sizes: Vec<(u32, u32)>,
    /// Number of tiles of each picture that are no padding.
    pub tile_counts: Vec<usize>,
}

impl PixelBatch {
    /// Stacks pictures whose tiles have the same size.
    ///
    /// # Errors
    /// Tiles of different sizes.
    pub fn stack(images: &[ProcessedImage]) -> Result<Self, ImageError> {
        let (first_height, first_width) = images.first().map_or((0, 0), |first| (first.height, first.width));
        let tiles = images.iter().map(|image| image.tiles).max().unwrap_or(0);
        let plane = 3 * first_height * first_width;
        let mut data = Vec::with_capacity(images.len() * tiles * plane);
        for (index, ProcessedImage { height, width, data: pixels, .. }) in images.iter().enumerate() {
            if (*height, *width) != (first_height, first_width) {
                return Err(ImageError::Batch { index, height: *height, width: *width, first_height, first_width });
            }
            data.extend_from_slice(pixels);
            data.resize((index + 1) * tiles * plane, 0.0);
        }
        Ok(Self {
            data,
            shape: [images.len(), tiles, 3, first_height, first_width],
            image_sizes: images.iter().map(|image| image.original_size).collect(),
            tile_counts: images.iter().map(|image| image.tiles).collect(),
        })
    }
}

/// The canvas (height, width) that a picture is scaled into: [`select_best_resolution`]'s; of a picture so thin that none shows
/// a pixel of it the smallest, and without canvases the picture's own size.
pub fn best_resolution(size: (u32, u32), pinpoints: &[GridPinpoint]) -> (u32, u32) {
    let canvases = canvases(pinpoints);
    let best = select_best_resolution(widen(size), &canvases);
    let chosen = best.and_then(|best| canvases.iter().position(|canvas| *canvas == best));
    let area = |canvas: &&GridPinpoint| u64::from(canvas.0) * u64::from(canvas.1);
    let canvas = chosen.and_then(|index| pinpoints.get(index)).or_else(|| pinpoints.iter().min_by_key(area));
    canvas.map_or(size, |GridPinpoint(rows, columns)| (*rows, *columns))
}

/// Canvases in the type of [`burn_vlm_base::tiling`].
pub(crate) fn canvases(pinpoints: &[GridPinpoint]) -> Vec<Size> {
    pinpoints.iter().map(|GridPinpoint(rows, columns)| widen((*rows, *columns))).collect()
}

/// A size in the type of [`burn_vlm_base::tiling`].
pub(crate) fn widen((height, width): (u32, u32)) -> Size {
    (height as usize, width as usize)
}

/// The size (height, width) of a picture scaled into a canvas: one side fits, the other is rounded up.
pub(super) fn fitting((height, width): (u32, u32), (to_height, to_width): (u32, u32)) -> (u32, u32) {
    let (by_height, by_width) = scale((to_height, to_width), (height, width));
    let up = |length: u32, scale: f64, most: u32| ((f64::from(length) * scale).ceil() as u32).min(most);
    if by_width < by_height {
        (up(height, by_width, to_height), to_width)
    } else {
        (to_height, up(width, by_height, to_width))
    }
}

/// How much a picture may grow in height and in width to fill a canvas.
fn scale(canvas: (u32, u32), (height, width): (u32, u32)) -> (f64, f64) {
    (f64::from(canvas.0) / f64::from(height), f64::from(canvas.1) / f64::from(width))
}

/// The tiles of a canvas, row by row, with the picture in its middle on black.
pub(super) fn cut(image: &RgbImage, (height, width): (u32, u32), tile: u32) -> Vec<RgbImage> {
    let mut canvas = RgbImage::new(width, height);
    let middle = |outer: u32, inner: u32| i64::from(outer.saturating_sub(inner) / 2);
    ::image::imageops::replace(&mut canvas, image, middle(width, image.width()), middle(height, image.height()));
    let corners = (0..height / tile).flat_map(|row| (0..width / tile).map(move |column| (column * tile, row * tile)));
    corners.map(|(x, y)| canvas.view(x, y, tile, tile).to_image()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageProcessor, ImageProcessorConfig};
    use ::image::Rgb;

    const PINPOINTS: [GridPinpoint; 5] = [
        GridPinpoint(336, 672),
        GridPinpoint(672, 336),
        GridPinpoint(672, 672),
        GridPinpoint(1008, 336),
        GridPinpoint(336, 1008),
    ];

    #[test]
    fn canvases() {
        // 600 x 171: in 336 x 672 whole, in 336 x 1008 too, with more padding.
        assert_eq!(best_resolution((171, 600), &PINPOINTS), (336, 672));
        assert_eq!(best_resolution((600, 800), &PINPOINTS), (672, 672));
        // Shown whole by both, but with less padding.
        assert_eq!(best_resolution((300, 400), &PINPOINTS), (336, 672));
        assert_eq!(best_resolution((1200, 400), &PINPOINTS), (1008, 336));
        // Of two that differ in nothing but their order the first wins.
        let square = [GridPinpoint(10, 20), GridPinpoint(20, 10)];
        assert_eq!(best_resolution((8, 8), &square), (10, 20));
        assert_eq!(fitting((171, 600), (336, 672)), (192, 672));
        assert_eq!(fitting((171, 600), (336, 1008)), (288, 1008));
        assert_eq!(fitting((437, 171), (1008, 336)), (859, 336));
    }

    /// A picture of 3 x 1 on a canvas of 4 x 4 in tiles of 2: an odd row of padding goes below.
    #[test]
    fn odd_padding_goes_below() {
        let image = RgbImage::from_pixel(4, 1, Rgb([9; 3]));
        let tiles = cut(&image, (4, 4), 2);
        assert_eq!(tiles.len(), 4);
        let rows: Vec<u8> = tiles[..].iter().flat_map(|tile| tile.as_raw().iter().step_by(6).copied()).collect();
        assert_eq!(rows, [0, 9, 0, 9, 0, 0, 0, 0]);
    }

    #[test]
    fn batches_pad_with_zeros_and_keep_sizes() {
        let mut config = ImageProcessorConfig::clip(8);
        config.image_grid_pinpoints = Some(vec![GridPinpoint(8, 16), GridPinpoint(16, 16)]);
        let processor = ImageProcessor::new(config).unwrap();
        let wide = processor.process_tiles(&RgbImage::from_pixel(40, 20, Rgb([255; 3]))).unwrap();
        let square = processor.process_tiles(&RgbImage::from_pixel(30, 31, Rgb([255; 3]))).unwrap();
        assert_eq!((wide.tiles, square.tiles, square.original_size), (3, 5, (31, 30)));
        let batch = PixelBatch::stack(&[wide.clone(), square]).unwrap();
        assert_eq!((batch.shape, batch.tile_counts), ([2, 5, 3, 8, 8], vec![3, 5]));
        assert_eq!(batch.data[..3 * 192], wide.data);
        assert!(batch.data[3 * 192..5 * 192].iter().all(|value| *value == 0.0));
        let other = ProcessedImage { height: 4, width: 16, ..wide.clone() };
        let error = PixelBatch::stack(&[wide, other]).unwrap_err().to_string();
        assert!(error.contains("picture 1") && error.contains("4 x 16"), "{error}");
    }

    #[test]
    fn padding_to_a_square_in_the_mean_colour() {
        let config = r#"{"size": {"shortest_edge": 4}, "crop_size": 4, "do_center_crop": true, "do_normalize": false,
            "do_rescale": false, "image_mean": [0.5, 0.25, 0.1], "image_std": [1, 1, 1], "image_aspect_ratio": "pad"}"#;
        let config: ImageProcessorConfig = serde_json::from_str(config).unwrap();
        let processor = ImageProcessor::new(config.clone()).unwrap();
        let pixels = processor.process(&RgbImage::from_pixel(4, 1, Rgb([200; 3]))).unwrap();
        let column: Vec<f32> = pixels.data.iter().copied().step_by(4).collect();
        assert_eq!(column, [127., 200., 127., 127., 63., 200., 63., 63., 25., 200., 25., 25.]);
        // The same under transformers' name for it.
        let named = ImageProcessorConfig {
            image_aspect_ratio: None,
            image_processor_type: Some("LlavaImageProcessor".to_owned()),
            do_pad: Some(true),
            ..config
        };
        assert!(named.pads_to_square());
    }

    #[test]
    fn impossible_canvases_are_named() {
        let mut config = ImageProcessorConfig::clip(8);
        config.image_grid_pinpoints = Some(vec![GridPinpoint(8, 12)]);
        let error = ImageProcessor::new(config).unwrap_err().to_string();
        assert!(error.contains("image_grid_pinpoints") && error.contains("12"), "{error}");
    }
}
