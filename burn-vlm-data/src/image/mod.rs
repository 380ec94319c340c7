//! Pictures: encoded bytes -> RGB -> resized and normalised pixels, and light augmentation.
//!
//! Unusual here:
//! - the arithmetic is that of Hugging Face's processors on PIL: resizing in 8 bits with antialiasing (bit by bit the
//!   same), then rescaling and normalising in f32;
//! - nothing from outside is trusted: decoders have limits, and every error names the picture.

mod augment;
mod config;
mod decode;
mod encode;
mod gif;
mod jpeg;
mod names;
mod patches;
mod perceptual;
mod processor;
mod resample;
mod tiff;
mod tiles;

pub use ::image::{DynamicImage, RgbImage};
pub use augment::Augmentation;
pub(crate) use augment::turned;
pub(crate) use config::class_of;
pub use config::{AspectRatio, CropSize, ImageProcessorConfig, Resample, Size};
pub use decode::{DecodeLimits, decode, lacks_end, look, to_rgb};
pub use encode::{encode_png, small_jpeg};
pub(crate) use gif::{Blocks, Picture};
pub(crate) use names::{READABLE_ENDINGS, is_picture, natural};
pub use patches::PatchBudget;
pub use perceptual::{PerceptualHash, SmallPicture};
pub use processor::{ImageProcessor, PixelTensor};
pub(crate) use resample::resize;
pub use tiles::{GridPinpoint, PixelBatch, ProcessedImage, best_resolution};
pub(crate) use tiles::{canvases, widen};

use std::path::PathBuf;

/// A picture or an image processor that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A picture cannot be decoded.
    #[error("picture {name}: {reason}")]
    Decode {
        /// The picture's name.
        name: String,
        /// What the decoder said.
        reason: String,
    },
    /// A picture cannot be encoded.
    #[error("encoding a picture of {width} x {height} pixels: {reason}")]
    Encode {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// What the encoder said.
        reason: String,
    },
    /// A picture is larger than allowed.
    #[error(
        "picture {name}: {width} x {height} pixels, at most {max_pixels} are allowed; shrink it, or raise \
         `max_pixels` (`limits = {{ max_pixels = N }}` of a stage's mixture or of a file of questions; `Limits` in code)"
    )]
    TooLarge {
        /// The picture's name.
        name: String,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit on width times height.
        max_pixels: u64,
    },
    /// A picture cannot be resized.
    #[error("resizing a picture of {width} x {height} pixels: {reason}")]
    Resize {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// What the resizer said.
        reason: String,
    },
    /// Pictures of a batch do not fit together.
    #[error(
        "picture {index} of the batch has tiles of {height} x {width}, the first has {first_height} x {first_width}"
    )]
    Batch {
        /// Its number, from 0.
        index: usize,
        /// Rows of its tiles.
        height: usize,
        /// Columns of its tiles.
        width: usize,
        /// Rows of the first picture's tiles.
        first_height: usize,
        /// Columns of the first picture's tiles.
        first_width: usize,
    },
    /// A picture for a model of words alone.
    #[error("there is no image processor here, so that no picture can be shown")]
    NoProcessor,
    /// A processor configuration cannot be read.
    #[error("{}: {reason}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        reason: String,
    },
    /// A processor configuration makes no sense.
    #[error("image processor: {key}: expected {expected}, found {found}")]
    Config {
        /// The key of `preprocessor_config.json`.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

impl ImageError {
    /// The error with the name of the picture.
    pub fn of(self, name: &str) -> Self {
        match self {
            Self::Resize { .. } => Self::Decode { name: name.to_owned(), reason: self.to_string() },
            other => other,
        }
    }
}
