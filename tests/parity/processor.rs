//! Image processors: pixel values of every picture, sizes, tiles, batch shapes.
//!
//! `pil.*` are what the processors on PIL return, which is what published models were trained with, and what ours reproduce.
//! `tv.*` are those of the torchvision variants, transformers' default since 5.0: the same geometry, another rounding in the
//! resizer. They are compared too, so that a difference in geometry would show, within what the two differ themselves.

use burn_vlm_data::image::{ImageProcessor, PixelBatch, ProcessedImage};

use crate::common::Fixture;
use crate::pictures::Pictures;

/// Largest and mean difference of pixel values: in grey levels (1 is 1 / 255 / std), and in normalised units.
pub struct Tolerance {
    levels: f64,
    mean: f64,
}

/// One grey level: a sum that falls on the other side of a half. The resizer is bit-exact, so that 0 is usual.
pub const PIL: Tolerance = Tolerance { levels: 1.0, mean: 1e-3 };
/// PIL and torchvision are up to 5 levels and 0.00196 on average apart from each other (README.txt of the folders; the
/// tall astronaut, whose columns are shrunk most).
pub const TORCHVISION: Tolerance = Tolerance { levels: 5.0, mean: 2.5e-3 };
/// Means and deviations of PIL's pixels: sums of up to 442,368 values in f32 on the reference's side, in f64 on ours.
const PIL_STATISTICS: f64 = 1e-5;
/// Means and deviations of torchvision's pixels: at most the mean difference of the pixels.
const TORCHVISION_STATISTICS: f64 = 2.5e-3;

/// Checks one processor's folder.
pub fn check(fixture: Fixture) {
    let processor = ImageProcessor::from_file(fixture.dir.join("preprocessor_config.json")).unwrap();
    let beside = Pictures::beside(&fixture.dir);
    let (pictures, in_order) = pictures(&fixture, &beside);
    let process = |picture: &String| {
        let (path, bytes) = beside.read(picture);
        processor.process_tiles_bytes(&path, &bytes).unwrap_or_else(|error| panic!("{error}"))
    };
    let processed: Vec<ProcessedImage> = pictures.iter().map(process).collect();
    for (picture, image) in pictures.iter().zip(&processed) {
        for (kind, tolerance, statistics) in
            [("pil", &PIL, PIL_STATISTICS), ("tv", &TORCHVISION, TORCHVISION_STATISTICS)]
        {
            let name = format!("{kind}.{picture}");
            if fixture.has(&name) {
                let (expected, shape) = fixture.floats(&name);
                assert_eq!(expected.len(), image.data.len(), "{name}: {shape:?}");
                compare(&fixture, &processor, &name, (&image.data, image), &expected, tolerance);
            } else if fixture.has(&format!("{name}.sampled")) {
                check_sampled(&fixture, &processor, &name, image, tolerance, statistics);
            }
        }
        let name = format!("{picture}.image_size");
        if fixture.has(&name) {
            let (height, width) = image.original_size;
            fixture.check_exact(&name, &vec![i64::from(height), i64::from(width)], &fixture.ints(&name).0);
        }
    }
    if fixture.names().iter().any(|name| name.starts_with("batch.")) {
        if in_order {
            check_batch(&fixture, &processed, processor.config().image_grid_pinpoints.is_some());
        } else {
            fixture.fail("batch.*: README.txt does not list the pictures, and so not their order".to_owned());
        }
    }
    fixture.finish(&[]);
}

/// The pictures that README.txt lists, in its order, which is that of the batch; then those that it does not list and the folder
/// has values for. Whether it lists them all.
fn pictures(fixture: &Fixture, beside: &Pictures) -> (Vec<String>, bool) {
    let names = fixture.names();
    let suffixes = ["", ".sampled", ".shape", ".mean", ".std"];
    let valued = |picture: &&str| {
        let of_kind = |kind: &str| {
            suffixes.iter().any(|suffix| names.iter().any(|name| *name == format!("{kind}.{picture}{suffix}")))
        };
        of_kind("pil") || of_kind("tv") || names.iter().any(|name| *name == format!("{picture}.image_size"))
    };
    let listed = beside.listed();
    let others: Vec<&str> =
        beside.names().into_iter().filter(valued).filter(|picture| !listed.contains(picture)).collect();
    let in_order = others.is_empty() && !listed.is_empty();
    // Without a batch, pictures without values have nothing to be compared with.
    let has_batch = names.iter().any(|name| name.starts_with("batch."));
    let listed = listed.into_iter().filter(|picture| has_batch || valued(picture));
    (listed.chain(others).map(str::to_owned).collect(), in_order)
}

/// Compares values in units of a grey level of their channel.
pub fn compare(
    fixture: &Fixture,
    processor: &ImageProcessor,
    name: &str,
    (found, image): (&[f32], &ProcessedImage),
    expected: &[f32],
    tolerance: &Tolerance,
) {
    let plane = found.len() / (3 * image.tiles);
    let (mut worst, mut worst_levels, mut sum) = (0f64, 0f64, 0f64);
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = f64::from(found - expected).abs();
        let level = 1.0 / 255.0 / processor.config().image_std[at / plane % 3];
        worst = worst.max(difference);
        worst_levels = worst_levels.max(difference / level);
        sum += difference;
    }
    let mean = sum / found.len() as f64;
    println!(
        "{:24} {name:64} abs {worst:9.2e}  levels {worst_levels:4.2} of {}  mean {mean:9.2e} of {:.1e}",
        fixture.name, tolerance.levels, tolerance.mean
    );
    // A hair for the last bit of the normalised values.
    if !(worst_levels <= tolerance.levels + 1e-3 && mean <= tolerance.mean) {
        fixture.fail(format!("{name}: {worst_levels} grey levels, mean {mean:e}"));
    }
}

/// Large results are stored as every n-th row and column, with mean and deviation of each channel over all pixels.
fn check_sampled(
    fixture: &Fixture,
    processor: &ImageProcessor,
    name: &str,
    image: &ProcessedImage,
    tolerance: &Tolerance,
    statistics: f64,
) {
    let mut shape = vec![3, image.height as i64, image.width as i64];
    if processor.config().image_grid_pinpoints.is_some() {
        shape.insert(0, image.tiles as i64);
    }
    fixture.check_ints_if(&format!("{name}.shape"), &shape);

    let (expected, sampled) = fixture.floats(&format!("{name}.sampled"));
    let step = image.height / sampled[sampled.len() - 2];
    let mut found = Vec::new();
    for row in image.data.chunks_exact(image.width).collect::<Vec<_>>().chunks_exact(image.height) {
        found.extend(row.iter().step_by(step).flat_map(|row| row.iter().step_by(step)));
    }
    assert_eq!(found.len(), expected.len(), "{name}: every {step}th row and column, {sampled:?}");
    compare(fixture, processor, &format!("{name}.sampled"), (&found, image), &expected, tolerance);

    let planes: Vec<(f64, f64)> = image.data.chunks_exact(image.height * image.width).map(mean_and_deviation).collect();
    for (suffix, of) in [("mean", (|plane| plane.0) as fn(&(f64, f64)) -> f64), ("std", |plane| plane.1)] {
        let key = format!("{name}.{suffix}");
        if !fixture.asks(&key) {
            continue;
        }
        let (expected, _) = fixture.floats(&key);
        let worst =
            planes.iter().zip(&expected).map(|(plane, e)| (of(plane) - f64::from(*e)).abs()).fold(0.0, f64::max);
        println!("{:24} {key:64} abs {worst:9.2e}  tolerance {statistics:.1e}", fixture.name);
        if planes.len() != expected.len() || worst > statistics {
            fixture.fail(format!("{key}: {planes:?}, expected {expected:?}"));
        }
    }
}

/// Mean and unbiased deviation.
fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

/// All pictures in one batch: its shape, the sizes, and zeros where a picture has fewer tiles.
fn check_batch(fixture: &Fixture, processed: &[ProcessedImage], tiled: bool) {
    let batch = PixelBatch::stack(processed).unwrap();
    // Without tiling the batch has no dimension of tiles.
    let lengths = batch.shape.iter().enumerate().filter(|(at, _)| tiled || *at != 1);
    let shape: Vec<i64> = lengths.map(|(_, length)| *length as i64).collect();
    fixture.check_ints_if("batch.shape", &shape);
    let sizes: Vec<i64> = batch.image_sizes.iter().flat_map(|(h, w)| [i64::from(*h), i64::from(*w)]).collect();
    fixture.check_ints_if("batch.image_sizes", &sizes);
    let tile = batch.shape[2] * batch.shape[3] * batch.shape[4];
    for (image, pixels) in processed.iter().zip(batch.data.chunks_exact(batch.shape[1] * tile)) {
        assert_eq!(pixels[..image.tiles * tile], image.data);
        assert!(pixels[image.tiles * tile..].iter().all(|value| *value == 0.0));
    }
}
