//! Pixel by pixel what Pillow has: JPEG, PNG and WebP decoded, and a resized picture. The files and what Pillow makes of them are
//! written by tests/python/decoded_pixels.py.

use burn_vlm_data::image::{DecodeLimits, ImageProcessor, ImageProcessorConfig, RgbImage, decode, to_rgb};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decoded")
}

fn read(path: &Path) -> RgbImage {
    let name = path.display().to_string();
    to_rgb(decode(&name, &std::fs::read(path).unwrap(), &DecodeLimits::default()).unwrap(), None)
}

#[test]
fn jpeg_and_webp_are_pillows_pixels() {
    let mut counts = [0, 0];
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let Some(kind) = ["jpg", "webp"].iter().position(|ending| path.extension().is_some_and(|is| is == *ending))
        else {
            continue;
        };
        counts[kind] += 1;
        let (found, expected) = (read(&path), read(&path.with_extension("png")));
        assert_eq!(found.dimensions(), expected.dimensions(), "{}", path.display());
        let differ = found.as_raw().iter().zip(expected.as_raw()).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "{}: of {} samples", path.display(), expected.as_raw().len());
    }
    assert_eq!(counts, [9, 2], "pictures of each kind");
}

/// What libjpeg skips with a warning is no reason to lose a picture: bytes before a segment of the header (here the exact decoder
/// gives up and the other one, a few levels away, reads on), before the end, and behind it.
#[test]
fn stray_bytes_are_skipped_as_by_libjpeg() {
    let path = folder().join("baseline_420.jpg");
    let (bytes, expected) = (std::fs::read(&path).unwrap(), read(&path));
    let table = bytes.windows(2).position(|pair| pair == [0xff, 0xdb]).unwrap();
    for (at, levels) in [(table, 16), (bytes.len() - 2, 0), (bytes.len(), 0)] {
        let stray = [&bytes[..at], &[0x12, 0x34, 0x56], &bytes[at..]].concat();
        let found = to_rgb(decode("stray.jpg", &stray, &DecodeLimits::default()).unwrap(), None);
        let worst = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= levels, "bytes at {at}: {worst} levels");
    }
    // A limit is one, whichever decoder could read more.
    let limits = DecodeLimits { max_bytes: 100, ..DecodeLimits::default() };
    assert!(decode("large.jpg", &bytes, &limits).is_err());
}

/// Enlarged in one direction and shrunk in the other, where the order of the passes shows most (Pillow 13's).
#[test]
fn noise_is_resized_as_by_pillow() {
    let (noise, expected) = (read(&folder().join("noise.png")), read(&folder().join("noise.resized.png")));
    let found = ImageProcessor::new(ImageProcessorConfig::siglip(38)).unwrap().process(&noise).unwrap();
    assert_eq!((found.height, found.width), (38, 38));
    // Planes of (value / 255 - 0.5) / 0.5.
    let level = |value: f32| ((value * 0.5 + 0.5) * 255.0).round() as u8;
    let plane = 38 * 38;
    for (at, pixel) in expected.pixels().enumerate() {
        let found = [0, 1, 2].map(|channel| level(found.data[channel * plane + at]));
        assert_eq!(found, pixel.0, "pixel {at}");
    }
}
