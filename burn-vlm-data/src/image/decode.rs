//! Decoding JPEG, PNG, WebP, GIF, BMP and TIFF with limits, and conversion to RGB.
//!
//! A picture that ends too early is an error, as in Pillow: decoders of JPEG and BMP fill what is missing with grey or black and
//! say nothing, so that a download that broke off would become a wrong picture. A JPEG must reach its end-of-image marker, and a
//! BMP hold the rows that its header promises; the decoders of the other formats find out by themselves. What follows the end is
//! ignored. Of an animation (GIF, WebP) or a document (TIFF) the first
//! picture counts.
//!
//! What becomes of pictures that are not plain RGB:
//! - EXIF orientation is applied, as Hugging Face's `load_image` does (PIL's `exif_transpose`);
//! - palettes and grey are expanded; transparency (alpha channel, or `tRNS` of a palette) is laid over the background;
//! - 16-bit samples keep their upper byte. PIL does the same for colour; 16-bit grey it cuts at 255, which makes nearly all of a
//!   picture white, and which is not reproduced here but for pictures whose samples are all below 256, which are taken as they are;
//! - CMYK and YCCK become RGB by the plain formula (1 - ink)(1 - black), as in PIL; colour profiles are ignored, as in PIL;
//! - TIFF's palettes, L*a*b*, YCbCr and grey in wide or floating-point numbers are read in `tiff.rs`; floating-point colours have
//!   no range that all agree on, and are refused.

use super::gif::lay_ground;
use super::tiff::{Refusal, decode_odd};
use super::{ImageError, jpeg};
use ::image::metadata::Orientation;
use ::image::{
    ColorType, DynamicImage, GrayImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Luma, Pixel, Rgb,
    RgbImage,
};
use burn_vlm_base::guard;
use std::io::Cursor;

/// What a decoder may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The most pixels of a picture, width times height.
    pub max_pixels: u64,
    /// The most bytes that the decoder may allocate.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    /// 64 million pixels (a large photograph) and 512 MiB.
    fn default() -> Self {
        Self { max_pixels: 64 << 20, max_bytes: 512 << 20 }
    }
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP or TIFF file, turned as its EXIF says; the format is told by its contents.
///
/// # Errors
/// An unknown format, damaged or truncated data, or a picture beyond the limits (found before its pixels are read); `name` says which.
pub fn decode(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<DynamicImage, ImageError> {
    guarded(name, || {
        // All pixels are there: Pillow reads such a file too.
        let ended = png_with_end(bytes);
        decode_unguarded(name, ended.as_deref().unwrap_or(bytes), limits)
    })
}

/// Whether a picture seems to be whole: as [`decode`], without the time for the pixels, so that damage among them is not seen. TIFF
/// files in colours that the crate `image` does not read (palettes, L*a*b*, YCbCr, CMYK, wide grey, ...) are decoded all the same.
///
/// # Errors
/// As [`decode`], for what the beginning and the end of the file tell.
pub fn look(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<(), ImageError> {
    guarded(name, || {
        let ended = png_with_end(bytes);
        open(name, ended.as_deref().unwrap_or(bytes), limits).map(drop)
    })
}

/// Whether a PNG has all its chunks but the one that ends it. [`decode`] reads it all the same; whoever wrote it was interrupted.
pub fn lacks_end(bytes: &[u8]) -> bool {
    png_with_end(bytes).is_some()
}

/// A decoder that panics on what it did not expect must not end the process: that is the picture's fault.
fn guarded<T>(name: &str, decode: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    // Nothing that the closure may leave half done is seen again.
    guard::guarded(decode).unwrap_or_else(|_| {
        let reason = "the decoder gave up on it: the file is damaged; save it again".to_owned();
        Err(ImageError::Decode { name: name.to_owned(), reason })
    })
}

/// A picture whose beginning and end were looked at.
enum Opened<'b> {
    /// Its pixels are to be decoded.
    Decoder(Box<dyn ImageDecoder + 'b>, ImageFormat),
    /// Some TIFF files are read at once.
    Image(DynamicImage),
}

fn open<'b>(name: &str, bytes: &'b [u8], limits: &DecodeLimits) -> Result<Opened<'b>, ImageError> {
    let fail = |reason: String| ImageError::Decode { name: name.to_owned(), reason };
    let reader = ImageReader::new(Cursor::new(bytes));
    let mut reader = reader.with_guessed_format().map_err(|error| fail(error.to_string()))?;
    let Some(format) = reader.format() else {
        return Err(fail("not a JPEG, PNG, WebP, GIF, BMP or TIFF file".to_owned()));
    };
    let too_large = |width, height| {
        let max_pixels = limits.max_pixels;
        ImageError::TooLarge { name: name.to_owned(), width, height, max_pixels }
    };
    if format == ImageFormat::Tiff {
        match decode_odd(bytes, limits) {
            Ok(None) => {}
            Ok(Some((mut image, orientation))) => {
                image.apply_orientation(orientation);
                return Ok(Opened::Image(image));
            }
            Err(Refusal::Reason(reason)) => return Err(fail(reason)),
            Err(Refusal::TooLarge(width, height)) => return Err(too_large(width, height)),
        }
    }
    let mut decoder_limits = Limits::default();
    decoder_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(decoder_limits);
    let decoder = reader.into_decoder().map_err(|error| fail(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(too_large(width, height));
    }
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(fail("its samples are floating-point numbers; save it with 8 bits a sample".to_owned()));
    }
    if !is_whole(format, bytes) {
        return Err(fail(format!("the file is truncated: {} bytes, and the picture is not at its end", bytes.len())));
    }
    Ok(Opened::Decoder(Box::new(decoder), format))
}

fn decode_unguarded(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<DynamicImage, ImageError> {
    let (mut decoder, format) = match open(name, bytes, limits)? {
        Opened::Decoder(decoder, format) => (decoder, format),
        Opened::Image(image) => return Ok(image),
    };
    // Damaged metadata is no reason to lose a picture; PIL ignores it too.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let fail = |reason: String| ImageError::Decode { name: name.to_owned(), reason };
    let exact = if format == ImageFormat::Jpeg { jpeg::decode(bytes, limits).map_err(fail)? } else { None };
    let mut image = match exact {
        Some(image) => image,
        None => DynamicImage::from_decoder(decoder).map_err(|error| fail(error.to_string()))?,
    };
    if format == ImageFormat::Gif {
        lay_ground(&mut image, bytes);
    }
    image.apply_orientation(orientation);
    Ok(image)
}

/// Converts to RGB. Transparent pixels are laid over `background`, as Hugging Face's processors do since transformers 5;
/// where there is none the alpha channel is dropped, as those of transformers 4 did.
pub fn to_rgb(image: DynamicImage, background: Option<[u8; 3]>) -> RgbImage {
    match (eight_bits(image), background) {
        (DynamicImage::ImageRgb8(rgb), _) => rgb,
        (image, Some(background)) if image.color().has_alpha() => over(&image, background),
        (image, _) => image.into_rgb8(),
    }
}

/// Samples of 16 bits as 8: the upper byte, or, of a grey picture that has none above 255, the samples themselves.
pub(super) fn sixteen_bits(image: &ImageBuffer<Luma<u16>, Vec<u16>>) -> GrayImage {
    match image.as_raw().iter().all(|sample| *sample <= u16::from(u8::MAX)) {
        true => shifted(image, 0),
        false => shifted(image, 8),
    }
}

/// Samples without their lowest `bits`.
fn shifted<P, Q>(image: &ImageBuffer<P, Vec<u16>>, bits: u32) -> ImageBuffer<Q, Vec<u8>>
where
    P: Pixel<Subpixel = u16>,
    Q: Pixel<Subpixel = u8>,
{
    let bytes = image.as_raw().iter().map(|sample| (sample >> bits) as u8).collect();
    // As many samples of the same number of channels: this cannot fail.
    ImageBuffer::from_raw(image.width(), image.height(), bytes).unwrap_or_else(|| ImageBuffer::new(0, 0))
}

/// The upper bytes of 16-bit samples.
fn eight_bits(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma16(image) => DynamicImage::ImageLuma8(sixteen_bits(&image)),
        DynamicImage::ImageLumaA16(image) => DynamicImage::ImageLumaA8(shifted(&image, 8)),
        DynamicImage::ImageRgb16(image) => DynamicImage::ImageRgb8(shifted(&image, 8)),
        DynamicImage::ImageRgba16(image) => DynamicImage::ImageRgba8(shifted(&image, 8)),
        image => image,
    }
}

/// Lays a picture with alpha over a plain ground.
fn over(image: &DynamicImage, background: [u8; 3]) -> RgbImage {
    let rgba = image.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, alpha] = rgba.get_pixel(x, y).0;
        let alpha = u32::from(alpha);
        let blend = |value: u8, ground: u8| {
            // PIL's alpha_composite: a rounded division by 255, with seven fractional bits.
            let sum = (u32::from(value) * alpha + u32::from(ground) * (255 - alpha) + 128) << 7;
            ((((sum >> 8) + sum) >> 8) >> 7) as u8
        };
        Rgb([blend(r, background[0]), blend(g, background[1]), blend(b, background[2])])
    })
}

/// Markers of a JPEG stream.
const END_OF_IMAGE: u8 = 0xd9;
const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const TEMPORARY: u8 = 0x01;

/// Whether the data of a picture of a known format are there to their end, as far as the format's decoder does not tell.
fn is_whole(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Bmp => bmp(bytes).unwrap_or(true),
        _ => true,
    }
}

/// Whether the end-of-image marker is there: segments are skipped by their length, so that a thumbnail's does not count, and
/// in what is between them, compressed data among it, `ff` is a marker unless a zero or a restart follows.
fn jpeg(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(at) = memchr::memchr(0xff, rest) {
        rest = &rest[at + 1..];
        let Some(marker) = rest.first().copied() else { return false };
        match marker {
            END_OF_IMAGE => return true,
            // The same byte may begin the next marker.
            0xff => {}
            0 | TEMPORARY => rest = &rest[1..],
            _ if RESTARTS.contains(&marker) => rest = &rest[1..],
            _ => {
                let Some(&[_, high, low]) = rest.first_chunk() else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(after) = rest.get(1 + length..) else { return false };
                rest = after;
            }
        }
    }
    false
}

/// Whether the rows are there; `None` where the header does not say how long they are (compressed or older kinds).
fn bmp(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize| Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (start, header) = (usize::try_from(number(10)?).ok()?, number(14)?);
    // Plain and bit-field rows; run lengths end where they say.
    if header < 40 || !matches!(number(30)?, 0 | 3) {
        return None;
    }
    let (width, height) = (u64::try_from(number(18)?).ok()?, u64::from(number(22)?.unsigned_abs()));
    let bits = u64::from(u16::from_le_bytes(*bytes.get(28..)?.first_chunk()?));
    // Rows are padded to four bytes.
    let row = width.checked_mul(bits)?.div_ceil(32).checked_mul(4)?;
    let needed = row.checked_mul(height)?.checked_add(start as u64)?;
    Some(bytes.len() as u64 >= needed)
}

/// Bytes of a PNG before its first chunk, and of a chunk around its data.
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const CHUNK: usize = 12;
/// The chunk that ends a PNG.
const IEND: [u8; CHUNK] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// A PNG whose chunks are whole but for the one that ends it, with that put behind them; `None` for any other file.
fn png_with_end(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = PNG_SIGNATURE.len();
    let mut has_data = false;
    bytes.starts_with(PNG_SIGNATURE).then_some(())?;
    while let Some(&[a, b, c, d, kind @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = at.checked_add(length)?.checked_add(CHUNK)?;
        if end > bytes.len() {
            break;
        }
        if kind == *b"IEND" {
            return None;
        }
        has_data |= kind == *b"IDAT";
        at = end;
    }
    // What is left is less than the last chunk would be.
    let rest = bytes.get(at..)?;
    (has_data && rest.len() < CHUNK && IEND.starts_with(rest)).then(|| [&bytes[..at], &IEND].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::{EmojiCorpus, PICTURE_SIDE};
    use ::image::{Rgba, RgbaImage};

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    #[test]
    fn corpus_pictures_decode() {
        let corpus = EmojiCorpus::embedded().unwrap();
        for picture in corpus.pictures().iter().step_by(97) {
            let name = corpus.picture_name(picture.id);
            let image = to_rgb(decode(&name, &picture.webp, &DecodeLimits::default()).unwrap(), Some([255; 3]));
            assert_eq!(image.dimensions(), (PICTURE_SIDE, PICTURE_SIDE), "{name}");
            look(&name, &picture.webp, &DecodeLimits::default()).unwrap();
        }
    }

    #[test]
    fn alpha_over_white_or_dropped() {
        let image = RgbaImage::from_fn(2, 1, |x, _| Rgba([200, 0, 0, if x == 0 { 0 } else { 128 }]));
        let bytes = png(&DynamicImage::ImageRgba8(image));
        let decoded = || decode("a", &bytes, &DecodeLimits::default()).unwrap();
        let white = to_rgb(decoded(), Some([255; 3]));
        // 200 * 128/255 + 255 * 127/255 = 227.4, 255 * 127/255 = 127
        assert_eq!((white.get_pixel(0, 0).0, white.get_pixel(1, 0).0), ([255, 255, 255], [227, 127, 127]));
        assert_eq!(to_rgb(decoded(), None).get_pixel(0, 0).0, [200, 0, 0]);
    }

    #[test]
    fn errors_name_the_picture() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let webp = &corpus.pictures()[0].webp;
        for bytes in [&b""[..], b"hello", &webp[..20], &webp[..webp.len() / 2]] {
            let error = decode("noto/1f600", bytes, &DecodeLimits::default()).unwrap_err();
            assert!(error.to_string().contains("noto/1f600"), "{error}");
        }
        for bytes in [&b""[..], b"hello", &webp[..20]] {
            let error = look("noto/1f600", bytes, &DecodeLimits::default()).unwrap_err();
            assert!(error.to_string().contains("noto/1f600"), "{error}");
        }
        let limits = DecodeLimits { max_pixels: 1000, ..Default::default() };
        let error = decode("large.webp", webp, &limits).unwrap_err().to_string();
        assert!(error.contains("large.webp") && error.contains("64 x 64"), "{error}");
        assert_eq!(look("large.webp", webp, &limits).unwrap_err().to_string(), error);
    }

    /// A stand-in for a decoder that fails in a way nobody foresaw.
    #[test]
    fn a_decoder_that_panics_is_an_error_of_the_picture() {
        let error =
            guarded("odd.png", || -> Result<(), ImageError> { panic!("told to fail") }).unwrap_err().to_string();
        assert!(error.contains("odd.png") && error.contains("gave up"), "{error}");
        assert!(guarded("good.png", || Ok(7)).is_ok_and(|value| value == 7));
    }

    /// A PNG that claims 60,000 x 60,000 pixels must be refused by its header.
    #[test]
    fn decompression_bombs_are_refused() {
        let mut bytes = png(&DynamicImage::ImageRgb8(RgbImage::new(8, 8)));
        bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = decode("bomb.png", &bytes, &DecodeLimits::default()).unwrap_err().to_string();
        assert!(error.contains("bomb.png"), "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
        })
    }

    #[test]
    fn jpeg_streams() {
        // start, a segment of 4 bytes with an end marker inside, a scan header of 2, data with a stuffed ff and a restart
        let whole =
            [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 2, 7, 0xff, 0, 8, 0xff, 0xd3, 9, 0xff, 0xd9];
        assert!(jpeg(&whole));
        for length in 0..whole.len() {
            assert!(!jpeg(&whole[..length]), "{length}");
        }
        let filled = [&whole[..whole.len() - 1], &[0xff, 0xff, 0xd9]].concat();
        assert!(jpeg(&filled), "markers may be filled with ff");
        assert!(jpeg(&[&whole[..], b"anything, \xff\xda\xff\xff"].concat()), "trailing bytes");
    }
}
