//! Pictures that are not plain RGB against what Pillow makes of them (tests/fixtures/README.md).

use burn_vlm_data::image::{DecodeLimits, RgbImage, decode, lacks_end, to_rgb};
use std::path::Path;

/// Pillow's colour management interpolates a table, we compute each colour: most of all apart in dark saturated ones.
const LAB_LEVELS: u8 = 6;

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
    for name in ["exif_8", "grey", "cmyk"] {
        check(&format!("{name}.jpg"), &format!("{name}.rgb.png"), Some([255; 3]), 0);
    }
}

/// What Hugging Face's datasets stores as TIFF, and what other programs write: fixtures/make_tiff.py.
#[test]
fn tiff_colours_as_pillow_reads_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images/tiff");
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".rgb.png"));
    assert_eq!(names.len(), 18);
    for name in names {
        let levels = if name.starts_with("lab") { LAB_LEVELS } else { 0 };
        let file = format!("tiff/{}", name.replace(".rgb.png", ".tif"));
        check(&file, &format!("tiff/{name}"), Some([255; 3]), levels);
    }
}

/// What is not read says which kind it is, and what to do.
#[test]
fn tiff_kinds_that_are_not_read_say_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images/tiff");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let error = |bytes: &[u8]| decode("odd.tif", bytes, &DecodeLimits::default()).unwrap_err().to_string();
    for (name, parts) in [
        ("unit_float.tif", ["between 0 and 1", "multiply them by 255"]),
        ("huge_integers.tif", ["samples up to", "8 bits a sample"]),
    ] {
        let error = error(&read(name));
        assert!(error.contains("odd.tif") && parts.iter().all(|part| error.contains(part)), "{error}");
    }
    // Coarser chroma, a palette of another length, JPEG inside: each a changed tag of a file that is read.
    let change = |name: &str, tag: u16, place: usize, value: u8| {
        let mut bytes = read(name);
        let at = bytes.windows(4).position(|window| window[..2] == tag.to_le_bytes() && window[2] == 3).unwrap();
        bytes[at + place] = value;
        bytes
    };
    for (bytes, part) in [
        (change("ycbcr.tif", 530, 8, 2), "coarser chroma"),
        (change("palette.tif", 320, 4, 9), "palette of"),
        (change("ycbcr.tif", 259, 8, 7), "compressed as JPEG"),
    ] {
        let error = error(&bytes);
        assert!(error.contains(part), "{error}");
    }
    let small = DecodeLimits { max_pixels: 100, ..DecodeLimits::default() };
    let error = decode("odd.tif", &read("palette.tif"), &small).unwrap_err().to_string();
    assert!(error.contains("24 x 17"), "{error}");
    for cut in [1, 50, 300] {
        let whole = read("palette_4.tif");
        assert!(error_of_cut(&whole, cut).contains("odd.tif"));
    }
}

/// A TIFF of two pixels of RGB and more, uncompressed; `extra` says what the samples beyond RGB are.
fn rgb_tiff(samples: u32, extra: &[u32], pixels: &[u8]) -> Vec<u8> {
    // Tag, kind (3: numbers of 2 bytes, 4: of 4 bytes), count, the number or two of 2 bytes.
    let mut entries: Vec<(u16, u16, u32, u32)> = vec![
        (256, 3, 1, 2),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 0),
        (277, 3, 1, samples),
        (278, 3, 1, 1),
        (279, 4, 1, pixels.len() as u32),
    ];
    if let Some(first) = extra.first() {
        entries.push((338, 3, extra.len() as u32, first | extra.get(1).unwrap_or(&0) << 16));
    }
    let begin = 8 + 2 + 12 * entries.len() as u32 + 4;
    entries[5].3 = begin;
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(pixels);
    bytes
}

/// Pillow's rule (its table of modes): the fourth sample of RGB is opacity unless the file says that it means nothing.
#[test]
fn the_fourth_sample_of_a_tiff_is_opacity() {
    let colour = [200, 100, 50];
    for (extra, samples, first) in [
        (&[][..], 4, [255; 3]),
        (&[2], 4, [255; 3]),
        (&[1], 4, [255; 3]),
        // Corel Draw's.
        (&[999], 4, [255; 3]),
        (&[2, 0], 5, [255; 3]),
        (&[1, 0], 5, [255; 3]),
        (&[0], 4, colour),
        (&[0, 0], 5, colour),
    ] {
        // A pixel with nothing in its fourth sample and one with all.
        let rows = [[200, 100, 50, 0, 77], [200, 100, 50, 255, 77]];
        let pixels: Vec<u8> = rows.iter().flat_map(|row| &row[..samples as usize]).copied().collect();
        let image = decode("made.tif", &rgb_tiff(samples, extra, &pixels), &DecodeLimits::default()).unwrap();
        let found = to_rgb(image, Some([255; 3]));
        assert_eq!([found.get_pixel(0, 0).0, found.get_pixel(1, 0).0], [first, colour], "{samples} samples, {extra:?}");
    }
}

fn error_of_cut(whole: &[u8], cut: usize) -> String {
    decode("odd.tif", &whole[..whole.len() - cut], &DecodeLimits::default()).unwrap_err().to_string()
}

/// Without a background the alpha channel is dropped, as transformers 4 did.
#[test]
fn alpha_dropped_as_before() {
    for name in ["palette_transparent", "grey_alpha"] {
        check(&format!("{name}.png"), &format!("{name}.dropped.png"), None, 0);
    }
}

/// A GIF of 6 x 5 whose picture of 3 x 2 stands at (2, 1), as Pillow 13 wrote and reads it: colour 0 (green) around it, or, where a
/// colour is transparent, nothing, which is white.
#[test]
fn a_gif_smaller_than_its_screen_has_colour_0_around_it() {
    let gif = |control: &[u8]| {
        let mut bytes = b"GIF89a\x06\x00\x05\x00\x87\x00\x00".to_vec();
        let mut palette = vec![10, 200, 30, 250, 0, 0, 0, 0, 250];
        palette.resize(768, 0);
        bytes.extend(palette);
        bytes.extend(control);
        bytes.extend([44, 2, 0, 1, 0, 3, 0, 2, 0, 0, 8, 7, 0, 3, 8, 16, 40, 48, 32, 0, 59]);
        to_rgb(decode("small.gif", &bytes, &DecodeLimits::default()).unwrap(), Some([255; 3]))
    };
    let (green, red, blue, white) = ([10, 200, 30], [250, 0, 0], [0, 0, 250], [255; 3]);
    for (control, around, blue) in [(&[][..], green, blue), (&[33, 249, 4, 1, 0, 0, 2, 0], white, white)] {
        let expected = RgbImage::from_fn(6, 5, |x, y| match (x, y) {
            (2..5, 1..3) if (x + y) % 2 == 1 => red.into(),
            (2..5, 1..3) => blue.into(),
            _ => around.into(),
        });
        assert_eq!(gif(control).as_raw(), expected.as_raw(), "{control:?}");
    }
}

/// All pixels of a PNG are there before its last chunk: Pillow reads it without, and so do we; cut earlier it is an error.
#[test]
fn a_png_without_its_end_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images/rgb_16.png");
    let whole = std::fs::read(path).unwrap();
    let read = |bytes: &[u8]| decode("cut.png", bytes, &DecodeLimits::default()).map(|image| to_rgb(image, None));
    assert!(!lacks_end(&whole));
    for cut in [1, 8, 12] {
        let bytes = &whole[..whole.len() - cut];
        assert!(lacks_end(bytes) && read(bytes).unwrap() == read(&whole).unwrap(), "{cut}");
    }
    assert!(!lacks_end(&whole[..whole.len() - 20]) && read(&whole[..whole.len() - 60]).is_err());
    assert!(!lacks_end(&[&whole[..whole.len() - 4], &[0; 4]].concat()), "another end is no missing one");
}
