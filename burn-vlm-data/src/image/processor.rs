//! The image processor: pad to a square or cut into tiles, resize, crop, rescale, normalise.

use super::config::{ImageProcessorConfig, Size};
use super::decode::{DecodeLimits, decode, to_rgb};
use super::tiles::{self, ProcessedImage};
use super::{ImageError, resample};
use ::image::{Rgb, RgbImage};
use std::borrow::Cow;
use std::path::Path;

/// Normalised pixels of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelTensor {
    /// `3 * height * width` values, channel by channel, row by row.
    pub data: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Turns pictures into normalised pixels as the configuration says.
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: ImageProcessorConfig,
    limits: DecodeLimits,
    /// The normalised value of each byte, for each channel: rescaling and normalising are two look-ups.
    values: Box<[[f32; 256]; 3]>,
}

impl ImageProcessor {
    /// A processor for a configuration.
    ///
    /// # Errors
    /// A configuration whose sizes or deviations are not positive.
    pub fn new(config: ImageProcessorConfig) -> Result<Self, ImageError> {
        config.check()?;
        let values = std::array::from_fn(|channel| std::array::from_fn(|byte| normalised(&config, channel, byte)));
        Ok(Self { config, limits: DecodeLimits::default(), values: Box::new(values) })
    }

    /// The processor of a `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file that is missing or does not describe a processor, named.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        Self::new(ImageProcessorConfig::from_file(path)?)
    }

    /// The processor of a Hugging Face folder; see [`ImageProcessorConfig::from_folder`].
    ///
    /// # Errors
    /// A folder without such a file, or with one that does not describe a processor.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ImageError> {
        Self::new(ImageProcessorConfig::from_folder(folder)?)
    }

    /// Sets what the decoder may use; the limit on pixels also holds for a picture after resizing.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The configuration.
    pub fn config(&self) -> &ImageProcessorConfig {
        &self.config
    }

    /// Decodes a file to RGB, on the configured ground.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<RgbImage, ImageError> {
        Ok(to_rgb(decode(name, bytes, &self.limits)?, self.config.background))
    }

    /// Decodes and processes a file.
    ///
    /// # Errors
    /// As [`decode`] and [`ImageProcessor::process`], with the picture's name.
    pub fn process_bytes(&self, name: &str, bytes: &[u8]) -> Result<PixelTensor, ImageError> {
        self.process(&self.decode(name, bytes)?).map_err(|error| error.of(name))
    }

    /// Decodes a file and processes it with its tiles.
    ///
    /// # Errors
    /// As [`ImageProcessor::process_bytes`].
    pub fn process_tiles_bytes(&self, name: &str, bytes: &[u8]) -> Result<ProcessedImage, ImageError> {
        self.process_tiles(&self.decode(name, bytes)?).map_err(|error| error.of(name))
    }

    /// Processes a picture as a whole; with any-resolution tiling this is its first tile.
    ///
    /// # Errors
    /// A picture that cannot be resized (one without pixels).
    pub fn process(&self, image: &RgbImage) -> Result<PixelTensor, ImageError> {
        let image = self.squared(image);
        if self.config.image_grid_pinpoints.is_none() {
            return self.resize_and_normalise(&image);
        }
        // The whole picture is squeezed into a tile, whatever its aspect ratio.
        let tile = self.resized(&image, self.config.size.height_width())?;
        self.resize_and_normalise(&tile)
    }

    /// Processes a picture with all its tiles: the whole picture first, then the tiles of the best canvas row by row. Without
    /// any-resolution tiling the whole picture is the only tile.
    ///
    /// # Errors
    /// A picture that cannot be resized (one without pixels).
    pub fn process_tiles(&self, image: &RgbImage) -> Result<ProcessedImage, ImageError> {
        let whole = self.process(image)?;
        let mut processed = ProcessedImage {
            data: whole.data,
            tiles: 1,
            height: whole.height,
            width: whole.width,
            original_size: (image.height(), image.width()),
            budget: self.config.patch_budget(),
        };
        if let Some(pinpoints) = &self.config.image_grid_pinpoints {
            let image = self.squared(image);
            let canvas = tiles::best_resolution((image.height(), image.width()), pinpoints);
            let resized = self.resized(&image, tiles::fitting((image.height(), image.width()), canvas))?;
            for tile in tiles::cut(&resized, canvas, self.config.tile()) {
                let pixels = self.resize_and_normalise(&tile)?;
                if (pixels.height, pixels.width) != (processed.height, processed.width) {
                    return Err(ImageError::Config {
                        key: "image_grid_pinpoints",
                        expected: "tiles that come out as large as the whole picture",
                        found: format!("tiles of {} x {}", pixels.height, pixels.width),
                    });
                }
                processed.data.extend_from_slice(&pixels.data);
                processed.tiles += 1;
            }
        }
        Ok(processed)
    }

    /// The views of a processed picture as colours again, the whole picture first: what the vision tower is shown.
    pub fn views(&self, image: &ProcessedImage) -> Vec<RgbImage> {
        let values = (3 * image.height * image.width).max(1);
        image.data.chunks_exact(values).map(|pixels| self.colours(pixels, (image.height, image.width))).collect()
    }

    /// Rows and columns of the tiles of a processed picture, that of the whole picture not counted; `None` where it is not tiled.
    pub fn tile_grid(&self, image: &ProcessedImage) -> Option<(usize, usize)> {
        let pinpoints = self.config.image_grid_pinpoints.as_ref()?;
        let (height, width) = image.original_size;
        let size = if self.config.pads_to_square() { (height.max(width), height.max(width)) } else { (height, width) };
        let canvas = tiles::best_resolution(size, pinpoints);
        let tile = self.config.tile().max(1);
        let (rows, columns) = ((canvas.0 / tile) as usize, (canvas.1 / tile) as usize);
        (rows * columns + 1 == image.tiles).then_some((rows, columns))
    }

    /// Normalised pixels `[3, height, width]` as colours again.
    fn colours(&self, pixels: &[f32], (height, width): (usize, usize)) -> RgbImage {
        let config = &self.config;
        let colour = |channel: usize, value: f32| {
            let mut value = f64::from(value);
            if config.do_normalize {
                value = value * config.image_std[channel] + config.image_mean[channel];
            }
            if config.do_rescale {
                value /= config.rescale_factor;
            }
            // A cast from a float keeps to the range of its type.
            value.round() as u8
        };
        let plane = width * height;
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let at = y as usize * width + x as usize;
            [0, 1, 2].map(|channel| colour(channel, pixels[channel * plane + at])).into()
        })
    }

    /// A picture resized and cropped in 8 bits, as a video's frame is: neither padded to a square nor cut into tiles. What
    /// [`Self::normalise`] makes of it is what [`Self::process`] makes of the picture where the configuration asks for neither.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub(crate) fn resize_and_crop(&self, image: &RgbImage) -> Result<RgbImage, ImageError> {
        let own = (image.height(), image.width());
        let size = target(self.config.size, own);
        let resized = if self.config.do_resize { self.resized(image, size)? } else { Cow::Borrowed(image) };
        let crop = self.config.output_size().filter(|_| self.config.do_center_crop);
        let Some((height, width)) = crop.filter(|crop| *crop != (resized.height(), resized.width())) else {
            return Ok(resized.into_owned());
        };
        let at = |wanted: u32, available: u32| {
            let (before, skipped) = offsets(wanted as usize, available as usize);
            before as i64 - skipped as i64
        };
        let mut cropped = RgbImage::new(width, height);
        let (left, top) = (at(width, resized.width()), at(height, resized.height()));
        ::image::imageops::replace(&mut cropped, resized.as_ref(), left, top);
        Ok(cropped)
    }

    /// Normalises a picture as it is.
    pub(crate) fn normalise(&self, image: &RgbImage) -> PixelTensor {
        self.crop_and_normalise(image, (image.height(), image.width()))
    }

    /// The picture in the middle of a square of the mean colour, if the configuration pads; an odd pixel goes right or below.
    fn squared<'a>(&self, image: &'a RgbImage) -> Cow<'a, RgbImage> {
        let (width, height) = image.dimensions();
        if !self.config.pads_to_square() || width == height {
            return Cow::Borrowed(image);
        }
        let side = width.max(height);
        // Cut towards zero, as the reference's `int(x * 255)`.
        let mean = self.config.image_mean.map(|mean| (mean * 255.0) as u8);
        let mut square = RgbImage::from_pixel(side, side, Rgb(mean));
        ::image::imageops::replace(&mut square, image, i64::from((side - width) / 2), i64::from((side - height) / 2));
        Cow::Owned(square)
    }

    fn resize_and_normalise(&self, image: &RgbImage) -> Result<PixelTensor, ImageError> {
        let own = (image.height(), image.width());
        if let Some(budget) = self.config.patch_budget() {
            let image = self.resized(image, budget.target(own))?;
            return Ok(self.crop_and_normalise(&image, (image.height(), image.width())));
        }
        let size = target(self.config.size, own);
        let image = if self.config.do_resize { self.resized(image, size)? } else { Cow::Borrowed(image) };
        let size = if self.config.do_center_crop { self.config.output_size() } else { None };
        Ok(self.crop_and_normalise(&image, size.unwrap_or((image.height(), image.width()))))
    }

    /// The picture resized to (height, width).
    fn resized<'a>(
        &self,
        image: &'a RgbImage,
        (to_height, to_width): (u32, u32),
    ) -> Result<Cow<'a, RgbImage>, ImageError> {
        let (width, height) = image.dimensions();
        let fail = |reason: String| ImageError::Resize { width, height, reason };
        if width == 0 || height == 0 {
            return Err(fail("it has no pixels".to_owned()));
        }
        if (to_height, to_width) == (height, width) {
            return Ok(Cow::Borrowed(image));
        }
        // A narrow picture whose shorter edge is resized can become arbitrarily long.
        if to_height == 0 || to_width == 0 || u64::from(to_height) * u64::from(to_width) > self.limits.max_pixels {
            let max = self.limits.max_pixels;
            return Err(fail(format!("it would become {to_width} x {to_height}; from 1 to {max} pixels are allowed")));
        }
        let pixels = resample::resize(image, to_width as usize, to_height as usize, self.config.resample);
        let pixels = RgbImage::from_raw(to_width, to_height, pixels);
        pixels.map(Cow::Owned).ok_or_else(|| fail("the resizer returned too few pixels".to_owned()))
    }

    /// Takes `height` x `width` pixels from the centre (zeros where the picture is smaller) and normalises them.
    fn crop_and_normalise(&self, image: &RgbImage, (height, width): (u32, u32)) -> PixelTensor {
        let (height, width) = (height as usize, width as usize);
        let (rows, columns) = (image.height() as usize, image.width() as usize);
        let plane = height * width;
        let mut data = Vec::with_capacity(3 * plane);
        for values in self.values.iter() {
            data.resize(data.len() + plane, values[0]);
        }
        // Floor of half the difference on either side, as the reference: it pads by the ceiling where it must pad.
        let (top, skipped_rows) = offsets(height, rows);
        let (left, skipped_columns) = offsets(width, columns);
        let bytes = image.as_raw();
        for row in 0..height.min(rows) {
            let count = width.min(columns);
            let from = ((row + skipped_rows) * columns + skipped_columns) * 3;
            let to = (row + top) * width + left;
            for (channel, values) in self.values.iter().enumerate() {
                let target = &mut data[channel * plane + to..channel * plane + to + count];
                let pixels = bytes[from..from + count * 3].chunks_exact(3);
                for (value, pixel) in target.iter_mut().zip(pixels) {
                    *value = values[usize::from(pixel[channel])];
                }
            }
        }
        PixelTensor { data, height, width }
    }
}

/// Where `available` lines are put among `wanted` ones, and how many of them are skipped first.
fn offsets(wanted: usize, available: usize) -> (usize, usize) {
    (wanted.saturating_sub(available).div_ceil(2), available.saturating_sub(wanted) / 2)
}

/// The value of a byte after rescaling and normalising, in the reference's order and precision.
fn normalised(config: &ImageProcessorConfig, channel: usize, byte: usize) -> f32 {
    let mut value = byte as f32;
    if config.do_rescale {
        value = (byte as f64 * config.rescale_factor) as f32;
    }
    if config.do_normalize {
        value = (value - config.image_mean[channel] as f32) / config.image_std[channel] as f32;
    }
    value
}

/// Height and width after resizing.
fn target(size: Size, (height, width): (u32, u32)) -> (u32, u32) {
    match size {
        Size::Unsaid => (height, width),
        Size::Exact { height, width } => (height, width),
        Size::ShortestEdge { shortest_edge: edge } | Size::Bare(edge) => {
            let long = |long: u32, short: u32| {
                u32::try_from(u64::from(edge) * u64::from(long) / u64::from(short.max(1))).unwrap_or(u32::MAX)
            };
            if width <= height { (long(height, width), edge) } else { (edge, long(width, height)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::Rgb;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 255]))
    }

    #[test]
    fn normalises_channel_by_channel() {
        let processor = ImageProcessor::new(ImageProcessorConfig::siglip(4)).unwrap();
        let pixels = processor.process(&gradient(4, 4)).unwrap();
        assert_eq!((pixels.height, pixels.width, pixels.data.len()), (4, 4, 48));
        // Column 3 of row 2: (3/255 - 0.5) / 0.5, (2/255 - 0.5) / 0.5, (1 - 0.5) / 0.5.
        let at = |channel: usize| pixels.data[channel * 16 + 2 * 4 + 3];
        assert!((at(0) + 0.976_470_6).abs() < 1e-6 && (at(1) + 0.984_313_7).abs() < 1e-6);
        assert_eq!(at(2), 1.0);
    }

    #[test]
    fn shortest_edge_and_centre_crop() {
        let mut config = ImageProcessorConfig::clip(10);
        config.do_normalize = false;
        config.do_rescale = false;
        let processor = ImageProcessor::new(config.clone()).unwrap();
        // 30 x 20 -> 15 x 10 -> the middle 10 columns, from floor(5 / 2) on.
        let pixels = processor.process(&gradient(30, 20)).unwrap();
        assert_eq!((pixels.height, pixels.width), (10, 10));
        // Output x is centred between the input columns 2x and 2x + 1; the byte is rounded up.
        assert_eq!(pixels.data[..3], [5.0, 7.0, 9.0]);
        // No resizing: a picture smaller than the crop is padded with zeros.
        config.do_resize = false;
        let pixels = ImageProcessor::new(config).unwrap().process(&gradient(4, 3)).unwrap();
        assert_eq!(pixels.data[..30].iter().sum::<f32>(), 0.0);
        assert_eq!(pixels.data[200 + 4 * 10..200 + 5 * 10], [0., 0., 0., 255., 255., 255., 255., 0., 0., 0.]);
    }

    /// Of a picture that is cut into tiles without being resized, the tiles are its parts, pixel by pixel.
    #[test]
    fn views_are_what_the_tower_is_shown() {
        let mut config = ImageProcessorConfig::siglip(4);
        config.image_grid_pinpoints = Some(vec![crate::image::GridPinpoint(4, 8), crate::image::GridPinpoint(8, 4)]);
        let processor = ImageProcessor::new(config).unwrap();
        let image = gradient(8, 4);
        let processed = processor.process_tiles(&image).unwrap();
        assert_eq!(processor.tile_grid(&processed), Some((1, 2)));
        let views = processor.views(&processed);
        assert_eq!(views.len(), 3);
        for (tile, left) in views[1..].iter().zip([0, 4]) {
            assert_eq!(*tile, ::image::imageops::crop_imm(&image, left, 0, 4, 4).to_image());
        }
        let whole = ImageProcessor::new(ImageProcessorConfig::clip(4)).unwrap();
        let processed = whole.process_tiles(&gradient(4, 4)).unwrap();
        assert_eq!((whole.views(&processed), whole.tile_grid(&processed)), (vec![gradient(4, 4)], None));
    }

    #[test]
    fn a_picture_without_pixels_is_an_error() {
        let processor = ImageProcessor::new(ImageProcessorConfig::siglip(8)).unwrap();
        let error = processor.process(&RgbImage::new(0, 5)).unwrap_err().to_string();
        assert!(error.contains("0 x 5"), "{error}");
    }
}
