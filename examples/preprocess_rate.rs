//! Preprocesses one picture many times on one thread: our side of `tests/python/pil_rate.py`, which times it.
//!
//! `preprocess_rate FILE whole|decode|resize_normalise COUNT`: decode, convert to RGB, resize to 384 x 384 (bicubic) and
//! normalise, or a part of that.

use std::hint::black_box;

use burn_vlm_data::image::{ImageProcessor, ImageProcessorConfig};
use burn_vlm_experiments::{AnyError, arguments};

const HELP: &str = "Usage: preprocess_rate FILE whole|decode|resize_normalise COUNT

Preprocesses a picture COUNT times on one thread; tests/python/pil_rate.py times it";

fn main() -> Result<(), AnyError> {
    let Some(arguments) = arguments(HELP, 3)? else { return Ok(()) };
    let [file, part, count] = arguments.as_slice() else {
        return Err(HELP.into());
    };
    let count: usize = count.parse().map_err(|_| format!("COUNT is `{count}`, expected a number"))?;
    let processor = ImageProcessor::new(ImageProcessorConfig::siglip(384))?;
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let image = processor.decode(file, &bytes)?;
    for _ in 0..count {
        match part.as_str() {
            "whole" => drop(black_box(processor.process_bytes(file, black_box(&bytes))?)),
            "decode" => drop(black_box(processor.decode(file, black_box(&bytes))?)),
            "resize_normalise" => drop(black_box(processor.process(black_box(&image))?)),
            other => return Err(format!("no part `{other}`: whole, decode or resize_normalise").into()),
        }
    }
    Ok(())
}
