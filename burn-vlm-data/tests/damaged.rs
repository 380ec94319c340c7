//! Damaged files: bits flipped and ends cut off. Nothing may panic, hang, or take memory without bound, and every error names
//! the file. Some damage leaves a file valid; then it must load.

use burn_vlm_data::chat_template::{ChatTemplate, Message, RenderOptions};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::image::{
    DecodeLimits, DynamicImage, ImageProcessor, ImageProcessorConfig, RgbImage, decode, to_rgb,
};
use burn_vlm_data::processor::{PictureInput, Processor};
use burn_vlm_data::random::Stream;
use burn_vlm_data::tokenizer::Tokenizer;
use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A hang is far longer, a slow machine with a full load is not.
const LIMIT: Duration = Duration::from_secs(20);
/// Mutants of each file.
const MUTANTS: u64 = 24;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// Every fourth mutant is cut off; the others have one to three bits flipped.
fn mutant(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let mut at = |length: usize| stream.below(length.max(1));
    let mut bytes = bytes.to_vec();
    if seed % 4 == 3 {
        bytes.truncate(at(bytes.len()));
    } else {
        for _ in 0..1 + seed % 3 {
            let (byte, bit) = (at(bytes.len()), at(8));
            bytes[byte] ^= 1 << bit;
        }
    }
    bytes
}

/// Runs `load` on mutants of a file in a copy of its folder; `load` returns the error's text.
fn mutate(folder: &Path, file: &str, load: impl Fn(&Path, u64) -> Result<(), String>) -> (u64, u64) {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file() && entry.file_name() != "model.safetensors")
    {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let original = fs::read(folder.join(file)).unwrap();
    assert_eq!(load(copy.path(), 0), Ok(()), "{file} undamaged");
    let mut refused = 0;
    for seed in 0..MUTANTS {
        fs::write(copy.path().join(file), mutant(&original, seed)).unwrap();
        let begin = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| load(copy.path(), seed)));
        assert!(begin.elapsed() < LIMIT, "{file}, seed {seed}: {:?}", begin.elapsed());
        match result {
            Err(_) => panic!("{file}, seed {seed}: panicked"),
            Ok(Err(error)) => {
                refused += 1;
                let folder = copy.path().display().to_string();
                assert!(error.contains(file) || error.contains(&folder), "{file}, seed {seed}: not named in: {error}");
            }
            Ok(Ok(())) => {}
        }
    }
    println!("{file:28} {MUTANTS} mutants, {refused} refused");
    (MUTANTS, refused)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn conversation() -> [Message; 2] {
    [Message::with_images("user", 1, "What is this?"), Message::text("assistant", "A cat.")]
}

#[test]
fn mutated_files() {
    let llava = fixtures("llava_clip_qwen2");
    let picture = RgbImage::from_fn(90, 60, |x, y| [x as u8, y as u8, 7].into());
    let mut counted = Vec::new();
    let tokenizer = |folder: &Path, _| {
        let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).map_err(text)?;
        // Whatever the tokenizer has become, it must not fail in another way than by an error.
        let ids = tokenizer.encode_with_special_tokens("Was ist das? 这是什么 <image>").unwrap_or_default();
        let _ = tokenizer.decode(&ids, false);
        Ok(())
    };
    for (folder, file) in [
        ("tok_gemma", "tokenizer.json"),
        ("tok_gemma", "tokenizer_config.json"),
        ("tok_qwen", "tokenizer.json"),
        ("tok_qwen", "tokenizer_config.json"),
    ] {
        counted.push(mutate(&fixtures(folder), file, tokenizer));
    }
    for folder in ["tok_gemma", "llava_clip_qwen2"] {
        counted.push(mutate(&fixtures(folder), "chat_template.jinja", |folder, _| {
            let template = ChatTemplate::from_folder(folder).map_err(text)?;
            template.render_messages(&conversation(), &RenderOptions::default()).map_err(text)?;
            Ok(())
        }));
    }
    for folder in ["proc_clip_84", "proc_siglip_96", "proc_llava_next_48"] {
        counted.push(mutate(&fixtures(folder), "preprocessor_config.json", |folder, _| {
            let processor = ImageProcessor::from_folder(folder).map_err(text)?;
            let limits = DecodeLimits { max_pixels: 1 << 22, ..DecodeLimits::default() };
            // A valid configuration can ask for more pixels than allowed; it is the picture's error then.
            let _ = processor.with_limits(limits).process_tiles(&picture);
            Ok(())
        }));
    }
    for file in ["config.json", "processor_config.json"] {
        counted.push(mutate(&llava, file, |folder, _| {
            let processor = Processor::from_folder(folder).map_err(text)?;
            let images = processor.process_images(&[PictureInput::Rgb(&picture)]).map_err(text)?;
            let count = processor.num_image_tokens(&images[0]);
            let _ = processor.encode_prompt(&[Turn::user("<image>\nWhat is this?")], &[count]);
            Ok(())
        }));
    }
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    for file in ["palette.png", "rgb_16.png", "exif_8.jpg", "cmyk.jpg"] {
        counted.push(mutate(&images, file, |folder, _| {
            let limits = DecodeLimits { max_pixels: 1 << 22, max_bytes: 64 << 20 };
            let processor = ImageProcessor::new(ImageProcessorConfig::siglip(32)).map_err(text)?.with_limits(limits);
            let path = folder.join(file);
            let bytes = fs::read(&path).map_err(text)?;
            processor.process_bytes(&path.display().to_string(), &bytes).map(drop).map_err(text)
        }));
    }
    let (mutants, refused) = counted.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    println!("{mutants} mutants, {refused} refused");
    assert!(mutants >= 150 && refused >= mutants / 4, "{mutants} mutants, {refused} refused");
}

/// Pictures of every format, written by the image crate and, where they have odd insides, by other programs.
fn pictures() -> Vec<(String, Vec<u8>)> {
    let plain = RgbImage::from_fn(61, 47, |x, y| [(x * 4) as u8, (y * 5) as u8, (x * y % 251) as u8].into());
    let plain = DynamicImage::ImageRgb8(plain);
    let written = ["jpg", "png", "webp", "gif", "bmp", "tiff"].map(|ending| {
        let mut bytes = Cursor::new(Vec::new());
        plain.write_to(&mut bytes, image::ImageFormat::from_extension(ending).unwrap()).unwrap();
        (format!("plain.{ending}"), bytes.into_inner())
    });
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    let found = ["cmyk.jpg", "exif_8.jpg", "grey.jpg", "palette.png"].map(|name| (name.to_owned(), images.join(name)));
    let photograph = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/china_501x334.jpg");
    let found = found.into_iter().chain([("china.jpg".to_owned(), photograph)]);
    let emoji = burn_vlm_data::emoji::EmojiCorpus::embedded().unwrap().pictures()[0].webp.clone();
    let read = found.map(|(name, path)| (name, fs::read(path).unwrap()));
    written.into_iter().chain(read).chain([("emoji.webp".to_owned(), emoji.to_vec())]).collect()
}

/// A file cut off anywhere is refused by name, as Pillow does; unless all of the picture is there, as in a PNG without its end.
/// What follows a whole file does no harm.
#[test]
fn truncated_pictures_are_refused() {
    for (name, bytes) in pictures() {
        let read = |bytes: &[u8]| decode(&name, bytes, &DecodeLimits::default()).map(|image| to_rgb(image, None));
        let whole = read(&bytes).unwrap();
        assert_eq!(read(&[&bytes[..], b"trailing bytes"].concat()).unwrap(), whole, "{name} with trailing bytes");
        let step = (bytes.len() / 60).max(1);
        let lengths = (0..bytes.len()).rev().enumerate().filter(|(cut, _)| *cut < 16 || cut % step == 0);
        for (cut, length) in lengths {
            match read(&bytes[..length]) {
                Err(error) => assert!(error.to_string().contains(&name), "not named in: {error}"),
                Ok(found) => {
                    assert!(cut < 16 && found == whole, "{name}: loads with {length} of {} bytes", bytes.len())
                }
            }
        }
        let half = read(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
        println!("{name:12} {:6} bytes; half of it: {half}", bytes.len());
    }
}

/// A narrow picture whose shorter edge is resized would become enormous.
#[test]
fn extreme_shapes_are_refused() {
    let processor = ImageProcessor::new(ImageProcessorConfig::clip(336)).unwrap();
    let error = processor.process(&RgbImage::new(1, 1_000_000)).unwrap_err().to_string();
    assert!(error.contains("336 x 336000000"), "{error}");
}

/// Headers that claim 60,000 x 60,000 pixels are refused before any memory is taken.
#[test]
fn headers_that_claim_too_much() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    let mut jpeg = fs::read(images.join("grey.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    let processor = ImageProcessor::new(ImageProcessorConfig::siglip(32)).unwrap();
    let error = processor.process_bytes("bomb.jpg", &jpeg).unwrap_err().to_string();
    assert!(error.contains("bomb.jpg") && error.contains("60000 x 60000"), "{error}");
}
