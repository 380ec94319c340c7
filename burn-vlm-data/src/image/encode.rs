//! Pixels -> PNG, which loses nothing, and small JPEGs to look at.

use super::ImageError;
use ::image::codecs::jpeg::JpegEncoder;
use ::image::codecs::png::{CompressionType, FilterType, PngEncoder};
use ::image::{DynamicImage, ExtendedColorType, ImageEncoder, RgbImage};

/// Encodes a picture as PNG; [`decode`](super::decode) gives the same pixels back.
///
/// # Errors
/// A picture without pixels.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let (width, height) = image.dimensions();
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive);
    encoder
        .write_image(image.as_raw(), width, height, ExtendedColorType::Rgb8)
        .map_err(|error| ImageError::Encode { width, height, reason: error.to_string() })?;
    Ok(bytes)
}

/// The picture as JPEG, its longer edge at most `edge` pixels, for pages that people look at.
///
/// # Errors
/// As the encoder says.
pub fn small_jpeg(image: RgbImage, edge: u32, quality: u8) -> Result<Vec<u8>, ImageError> {
    let (width, height) = image.dimensions();
    let image = DynamicImage::ImageRgb8(image);
    let small = match image.width().max(image.height()) > edge {
        true => image.thumbnail(edge, edge),
        false => image,
    };
    let mut bytes = Vec::new();
    small
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))
        .map_err(|error| ImageError::Encode { width, height, reason: error.to_string() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeLimits, decode, to_rgb};
    use super::*;
    use ::image::Rgb;

    #[test]
    fn pixels_come_back() {
        let image = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8 * 50, y as u8 * 100, 7]));
        let decoded = decode("a.png", &encode_png(&image).unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!(to_rgb(decoded, None), image);
        let error = encode_png(&RgbImage::new(0, 3)).unwrap_err().to_string();
        assert!(error.contains("0 x 3"), "{error}");
    }
}
