//! JPEG, pixel by pixel as libjpeg-turbo decodes it, and so as Pillow, with which published models were trained.
//!
//! Decoders may differ in how they invert the cosine transform, enlarge the colour planes and round colours. zune-jpeg, which the
//! crate `image` takes, differs from Pillow by some grey levels; this one is equal (`tests/decoded_pixels.rs`).

use super::DecodeLimits;
use ::image::{DynamicImage, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits as Limits, Decoder, JpegError, PixelFormat};

/// Scans of a progressive picture: real ones have about ten, and each costs a pass over the picture.
const MAX_SCANS: usize = 500;

/// Decodes to RGB; grey and CMYK too. `None` for a file that this decoder does not read: bytes between two segments of the header,
/// for example, which libjpeg skips, and so does zune-jpeg.
///
/// # Errors
/// A picture beyond the limits.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Option<DynamicImage>, String> {
    let limits = Limits {
        max_pixels: limits.max_pixels,
        max_memory: Some(limits.max_bytes),
        max_scans: MAX_SCANS,
        ..Limits::default()
    };
    let decoded = Decoder::new_with_limits(bytes, limits).and_then(|mut decoder| {
        decoder.set_output_format(PixelFormat::Rgb);
        decoder.decode_image()
    });
    let image = match decoded {
        Ok(image) => image,
        Err(error @ JpegError::LimitExceeded { .. }) => return Err(error.to_string()),
        Err(_) => return Ok(None),
    };
    let (Ok(width), Ok(height)) = (u32::try_from(image.width), u32::try_from(image.height)) else { return Ok(None) };
    Ok(RgbImage::from_raw(width, height, image.data).map(DynamicImage::ImageRgb8))
}
