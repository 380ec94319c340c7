//! Pictures that are not plain RGB against what Pillow makes of them (tests/fixtures/README.md).

use burn_vlm_data::image::{DecodeLimits, RgbImage, decode, to_rgb};
use std::path::Path;

/// JPEG decoders differ in the rounding of their cosine transform: one level a channel, which the product of ink and black
/// (CMYK) can make two.
const JPEG_LEVELS: u8 = 2;
/// Colour pictures with coarser chroma differ by its interpolation besides, and conversion to RGB multiplies that by up to 1.8.
const CHROMA_LEVELS: u8 = 5;

fn read(name: &str, background: Option<[u8; 3]>) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name);
    to_rgb(decode(name, &std::fs::read(path).unwrap(), &DecodeLimits::default()).unwrap(), background)
}

fn check(name: &str, expected: &str, background: Option<[u8; 3]>, levels: u8) {
    let (found, expected) = (read(name, background), read(expected, None));
    assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
    let worst = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
    println!("{name:28} {worst:?} levels");
    assert!(worst.unwrap() <= levels, "{name}: {worst:?} levels");
}

#[test]
fn formats_as_pillow_reads_them() {
    for name in ["palette", "palette_transparent", "grey_alpha", "one_bit", "grey_16", "rgb_16", "exif_6"] {
        check(&format!("{name}.png"), &format!("{name}.rgb.png"), Some([255; 3]), 0);
    }
    for (name, levels) in [("exif_8", CHROMA_LEVELS), ("grey", JPEG_LEVELS), ("cmyk", JPEG_LEVELS)] {
        check(&format!("{name}.jpg"), &format!("{name}.rgb.png"), Some([255; 3]), levels);
    }
}

/// Without a background the alpha channel is dropped, as transformers 4 did.
#[test]
fn alpha_dropped_as_before() {
    for name in ["palette_transparent", "grey_alpha"] {
        check(&format!("{name}.png"), &format!("{name}.dropped.png"), None, 0);
    }
}
