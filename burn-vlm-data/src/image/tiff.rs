//! TIFF files in the colours that the image library does not read: palettes, L*a*b*, YCbCr, CMYK, grey with 2, 4 or 32 bits or in
//! floating point, grey and palettes with alpha, RGB with samples beyond it. Pillow writes each mode that PNG does not have so, and
//! Hugging Face's datasets with it.
//!
//! Samples are read as they are, by telling the decoder that they are plain channels; what they mean is told here, as Pillow's
//! `convert("RGB")` does. What is refused says which kind it is and what to do.

use super::decode::{DecodeLimits, sixteen_bits};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, RgbImage, RgbaImage};
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

/// Numbers of the tag that says what samples mean.
const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
const PALETTE: u16 = 3;
const CMYK: u16 = 5;
const YCBCR: u16 = 6;
const LAB: u16 = 8;
/// L*a*b* whose a and b begin at 128.
const ICC_LAB: u16 = 9;

const PHOTOMETRIC: u16 = 262;
/// Compression by JPEG, whose decoder has a rule of its own for colours.
const JPEG: [u16; 2] = [6, 7];
/// Kinds of samples beyond the colours.
const UNSPECIFIED: u16 = 0;
const PREMULTIPLIED: u16 = 1;
const ALPHA: u16 = 2;
/// Largest sample of a picture whose samples are 8 bits in wider numbers, and of one whose samples are 16 bits.
const EIGHT: i64 = 0xff;
const SIXTEEN: i64 = 0xffff;

/// What the headers of the first picture say.
struct Header {
    photometric: u16,
    bits: u16,
    samples: usize,
    /// What the first sample beyond the colours is.
    extra: Option<u16>,
    width: u32,
    height: u32,
}

/// Why a picture is not read.
pub(super) enum Refusal {
    /// For people.
    Reason(String),
    /// Its width and height, which are too many pixels.
    TooLarge(u32, u32),
}

impl From<tiff::TiffError> for Refusal {
    fn from(error: tiff::TiffError) -> Self {
        Self::Reason(error.to_string())
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Reason(reason.into()))
}

/// The picture of a TIFF file in colours that are read here, not yet turned; `None` for every other file.
pub(super) fn decode_odd(bytes: &[u8], limits: &DecodeLimits) -> Result<Option<(DynamicImage, Orientation)>, Refusal> {
    let Some((place, little)) = photometric_place(bytes) else { return Ok(None) };
    // A file that cannot be opened is told by the one that reads every other kind.
    let Ok(mut decoder) = Decoder::new(Cursor::new(bytes)) else { return Ok(None) };
    let Some(header) = header(&mut decoder)? else { return Ok(None) };
    let Header { width, height, .. } = header;
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(Refusal::TooLarge(width, height));
    }
    let map: Vec<u16> = decoder.find_tag_unsigned_vec(Tag::ColorMap)?.unwrap_or_default();
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    if header.samples > 1 && decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)?.unwrap_or(1) != 1 {
        return refuse("its channels stand one after the other; save it with interleaved channels, or as PNG");
    }
    drop(decoder);
    let mut plain = bytes.to_vec();
    let value = if little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
    if let Some(tag) = plain.get_mut(place..place + 2) {
        tag.copy_from_slice(&value);
    }
    let most = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX);
    let mut decoder_limits = Limits::default();
    decoder_limits.decoding_buffer_size = most;
    decoder_limits.intermediate_buffer_size = most;
    let samples = Decoder::new(Cursor::new(&plain))?.with_limits(decoder_limits).read_image()?;
    let image = image_of(&header, samples, &map)?;
    Ok(Some((image, orientation)))
}

/// Where the value of the tag stands that says what samples mean, in the first picture of a file; and whether numbers begin with
/// their low byte.
fn photometric_place(bytes: &[u8]) -> Option<(usize, bool)> {
    let little = match bytes.first_chunk::<4>()? {
        b"II\x2a\0" => true,
        b"MM\0\x2a" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let number = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) })
    };
    let number = *bytes.get(4..)?.first_chunk::<4>()?;
    let first = (if little { u32::from_le_bytes(number) } else { u32::from_be_bytes(number) }) as usize;
    let entries = usize::from(short(first)?);
    let place = (0..entries).map(|entry| first + 2 + entry * 12).find(|at| short(*at) == Some(PHOTOMETRIC))?;
    Some((place + 8, little))
}

/// The header of a picture that is read here.
fn header(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<Option<Header>, Refusal> {
    let (width, height) = decoder.dimensions()?;
    let mut number = |tag: Tag, other: u16| -> Result<u16, Refusal> {
        Ok(decoder.find_tag_unsigned_vec::<u16>(tag)?.and_then(|values| values.first().copied()).unwrap_or(other))
    };
    let photometric = number(Tag::PhotometricInterpretation, RGB)?;
    let (bits, samples) = (number(Tag::BitsPerSample, 1)?, usize::from(number(Tag::SamplesPerPixel, 1)?));
    let (compression, format) = (number(Tag::Compression, 1)?, number(Tag::SampleFormat, 1)?);
    let subsampling = decoder.find_tag_unsigned_vec::<u16>(Tag::ChromaSubsampling)?;
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?.and_then(|values| values.first().copied());
    let header = Header { photometric, bits, samples, extra, width, height };
    let integers = format == 1;
    let ours = match photometric {
        WHITE_IS_ZERO | BLACK_IS_ZERO => samples > 1 || !matches!(bits, 1 | 8 | 16) || !integers,
        // Four samples of which the last is said to be opacity, or not said what it is, are read so elsewhere.
        RGB => samples > 3 && bits == 8 && !(samples == 4 && matches!(extra, None | Some(ALPHA))),
        PALETTE | LAB | ICC_LAB => true,
        CMYK => bits == 8,
        YCBCR => true,
        _ => false,
    };
    if !ours {
        return Ok(None);
    }
    if photometric == YCBCR {
        if JPEG.contains(&compression) {
            return refuse("a TIFF of YCbCr colours compressed as JPEG; save it as JPEG or PNG");
        }
        if subsampling.is_none_or(|factors| factors != [1, 1]) {
            return refuse("a TIFF of YCbCr colours with coarser chroma; save it as JPEG or PNG");
        }
    }
    Ok(Some(header))
}

/// Samples to a picture.
fn image_of(header: &Header, samples: DecodingResult, map: &[u16]) -> Result<DynamicImage, Refusal> {
    let Header { photometric, bits, samples: channels, extra, width, height } = *header;
    let alpha = matches!(extra, Some(ALPHA | PREMULTIPLIED));
    let kind = match photometric {
        WHITE_IS_ZERO | BLACK_IS_ZERO => "grey",
        PALETTE => "palette",
        LAB | ICC_LAB => "L*a*b*",
        YCBCR => "YCbCr",
        CMYK => "CMYK",
        _ => "RGB",
    };
    let other = || {
        refuse(format!(
            "a TIFF of {kind} colours with {channels} samples of {bits} bits a pixel; save it as PNG, or with 8 bits a sample"
        ))
    };
    let samples = match samples {
        DecodingResult::U8(samples) => samples,
        wide => {
            return match (photometric, channels) {
                (BLACK_IS_ZERO | WHITE_IS_ZERO, 1) => wide_grey(header, wide),
                (BLACK_IS_ZERO, 2) => match wide {
                    DecodingResult::U16(samples) if alpha => {
                        whole(ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA16))
                    }
                    _ => other(),
                },
                _ => other(),
            };
        }
    };
    let pixels = || samples.chunks_exact(channels);
    let invert = |value: u8| if photometric == WHITE_IS_ZERO { u8::MAX - value } else { value };
    match (photometric, channels, bits) {
        (WHITE_IS_ZERO | BLACK_IS_ZERO, 1, 2 | 4) => {
            let scale = u8::MAX / ((1 << bits) - 1);
            let values = packed(&samples, width, bits).map(|value| invert(value * scale)).collect();
            whole(GrayImage::from_raw(width, height, values).map(DynamicImage::ImageLuma8))
        }
        (WHITE_IS_ZERO | BLACK_IS_ZERO, 2, 8) => {
            let values = pixels().flat_map(|pixel| [invert(pixel[0]), if alpha { pixel[1] } else { u8::MAX }]);
            whole(GrayAlphaImage::from_raw(width, height, values.collect()).map(DynamicImage::ImageLumaA8))
        }
        (PALETTE, 1, 1 | 2 | 4) => {
            let colour = palette(map, bits)?;
            let values = packed(&samples, width, bits).flat_map(colour).collect();
            whole(RgbImage::from_raw(width, height, values).map(DynamicImage::ImageRgb8))
        }
        (PALETTE, 1, 8) => {
            let values = samples.iter().copied().flat_map(palette(map, bits)?).collect();
            whole(RgbImage::from_raw(width, height, values).map(DynamicImage::ImageRgb8))
        }
        (PALETTE, 2, 8) => {
            let colour = palette(map, bits)?;
            let values = pixels().flat_map(|pixel| {
                let [r, g, b] = colour(pixel[0]);
                [r, g, b, if alpha { pixel[1] } else { u8::MAX }]
            });
            whole(RgbaImage::from_raw(width, height, values.collect()).map(DynamicImage::ImageRgba8))
        }
        (RGB, 4.., 8) if extra == Some(PREMULTIPLIED) => {
            let values = pixels().flat_map(|pixel| {
                let plain = |value: u8| (u32::from(value) * 255).checked_div(pixel[3].into()).unwrap_or(value.into());
                [
                    plain(pixel[0]).min(255) as u8,
                    plain(pixel[1]).min(255) as u8,
                    plain(pixel[2]).min(255) as u8,
                    pixel[3],
                ]
            });
            whole(RgbaImage::from_raw(width, height, values.collect()).map(DynamicImage::ImageRgba8))
        }
        (RGB, 4.., 8) if extra == Some(UNSPECIFIED) => {
            three(header, pixels().map(|pixel| [pixel[0], pixel[1], pixel[2]]))
        }
        // Pillow takes the fourth sample for opacity where nothing is said of it, or something that nobody knows.
        (RGB, 4.., 8) => {
            let values = pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], pixel[3]]);
            whole(RgbaImage::from_raw(width, height, values.collect()).map(DynamicImage::ImageRgba8))
        }
        (CMYK, 4.., 8) => three(header, pixels().map(|pixel| cmyk([pixel[0], pixel[1], pixel[2], pixel[3]]))),
        (YCBCR, 3, 8) => three(header, pixels().map(|pixel| ycbcr([pixel[0], pixel[1], pixel[2]]))),
        (LAB, 3, 8) => three(header, pixels().map(|pixel| lab(pixel[0], pixel[1] as i8, pixel[2] as i8))),
        (ICC_LAB, 3, 8) => {
            let signed = |value: u8| (value ^ 0x80) as i8;
            three(header, pixels().map(|pixel| lab(pixel[0], signed(pixel[1]), signed(pixel[2]))))
        }
        _ => other(),
    }
}

fn three(header: &Header, pixels: impl Iterator<Item = [u8; 3]>) -> Result<DynamicImage, Refusal> {
    whole(RgbImage::from_raw(header.width, header.height, pixels.flatten().collect()).map(DynamicImage::ImageRgb8))
}

/// As many samples as the picture has pixels, or an error.
fn whole(image: Option<DynamicImage>) -> Result<DynamicImage, Refusal> {
    image.map_or_else(|| refuse("the file is truncated: it has fewer samples than its width and height say"), Ok)
}

/// Samples of less than a byte; rows begin with a byte.
fn packed(samples: &[u8], width: u32, bits: u16) -> impl Iterator<Item = u8> {
    let (width, bits) = (width as usize, usize::from(bits));
    samples.chunks((width * bits).div_ceil(8).max(1)).flat_map(move |row| {
        let value = move |x: usize| row.get(x * bits / 8).map(|byte| (byte << (x * bits % 8)) >> (8 - bits));
        (0..width).filter_map(value)
    })
}

/// The colour of a number: the map has all reds, all greens, all blues, of which the upper byte counts.
fn palette(map: &[u16], bits: u16) -> Result<impl Fn(u8) -> [u8; 3], Refusal> {
    let colours = 1 << bits;
    if map.len() != 3 * colours {
        return refuse(format!("a TIFF with a palette of {} numbers, expected {}", map.len(), 3 * colours));
    }
    let part = move |channel: usize, number: u8| (map[channel * colours + usize::from(number)] >> 8) as u8;
    Ok(move |number: u8| [0, 1, 2].map(|channel| part(channel, number)))
}

/// Grey in numbers wider than a byte: 8 bits where none is larger, as Pillow reads them; the upper byte of 16 bits.
fn wide_grey(header: &Header, samples: DecodingResult) -> Result<DynamicImage, Refusal> {
    let integers: Vec<i64> = match samples {
        DecodingResult::U16(values) => values.into_iter().map(i64::from).collect(),
        DecodingResult::I16(values) => values.into_iter().map(i64::from).collect(),
        DecodingResult::U32(values) => values.into_iter().map(i64::from).collect(),
        DecodingResult::I32(values) => values.into_iter().map(i64::from).collect(),
        DecodingResult::F32(values) => return float_grey(header, &values),
        _ => {
            let bits = header.bits;
            return refuse(format!(
                "a TIFF of grey with {bits} bits a sample; save it as PNG, or with 8 bits a sample"
            ));
        }
    };
    let most = integers.iter().copied().max().unwrap_or(0);
    if most > SIXTEEN {
        return refuse(format!(
            "a TIFF of grey with samples up to {most}, whose range nobody states; save it with 8 bits a sample"
        ));
    }
    let white = if most > EIGHT { SIXTEEN } else { EIGHT };
    let value = |value: i64| match header.photometric {
        WHITE_IS_ZERO => (white - value).clamp(0, white) as u16,
        _ => value.max(0) as u16,
    };
    let values = integers.into_iter().map(value).collect();
    let image = ImageBuffer::from_raw(header.width, header.height, values);
    whole(image.map(|image| DynamicImage::ImageLuma8(sixteen_bits(&image))))
}

/// Grey in floating point: whole numbers up to 255, as Pillow reads them. A picture between 0 and 1 would be black.
fn float_grey(header: &Header, values: &[f32]) -> Result<DynamicImage, Refusal> {
    let most = values.iter().copied().fold(0.0, f32::max);
    if most <= 1.0 && values.iter().any(|value| *value > 0.0) {
        return refuse(
            "a TIFF of floating-point samples between 0 and 1; multiply them by 255 and save it with 8 bits a sample",
        );
    }
    // Cut at 0 and 255; what is no number becomes 0.
    let values = values.iter().map(|value| *value as u8).collect();
    whole(GrayImage::from_raw(header.width, header.height, values).map(DynamicImage::ImageLuma8))
}

/// Ink to light as Pillow does, with a rounded division by 255.
fn cmyk([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = u32::from(u8::MAX - black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * light + 128;
        (light - ((product + (product >> 8)) >> 8)) as u8
    })
}

/// Pillow's tables: six fractional bits, of which the sum is cut.
fn ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let part = |factor: f64, chroma: u8| (factor * (f64::from(chroma) - 128.0) * 64.0 + 0.5) as i32;
    let sum = |parts: i32| (i32::from(y) + (parts >> 6)).clamp(0, 255) as u8;
    [sum(part(1.402, cr)), sum(part(-0.34414, cb) + part(-0.71414, cr)), sum(part(1.772, cb))]
}

/// L*a*b* under D50 to sRGB, by the formulas that colour management tables are made of.
fn lab(lightness: u8, a: i8, b: i8) -> [u8; 3] {
    /// XYZ of white.
    const WHITE: [f64; 3] = [0.9642, 1.0, 0.8249];
    /// XYZ under D50 to linear sRGB (Bradford).
    const TO_SRGB: [[f64; 3]; 3] =
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]];
    let y = (f64::from(lightness) * 100.0 / 255.0 + 16.0) / 116.0;
    let linear = |t: f64| if t > 6.0 / 29.0 { t.powi(3) } else { 3.0 * (6.0f64 / 29.0).powi(2) * (t - 4.0 / 29.0) };
    let [fx, fy, fz] = [y + f64::from(a) / 500.0, y, y - f64::from(b) / 200.0].map(linear);
    let xyz = [WHITE[0] * fx, WHITE[1] * fy, WHITE[2] * fz];
    TO_SRGB.map(|row| {
        let light = row.iter().zip(xyz).map(|(factor, value)| factor * value).sum::<f64>().clamp(0.0, 1.0);
        let gamma = if light <= 0.0031308 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        (gamma * 255.0).round() as u8
    })
}
