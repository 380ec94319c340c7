//! Reads the frames of a video that a rule chooses, and says which these are.
//!
//! ```text
//! cargo run -p burn-vlm-data --example video_frames -- clip.mp4 32
//! cargo run -p burn-vlm-data --example video_frames -- clip.mp4 32 384
//! ```
//!
//! With a third argument the frames become pixels of that many rows and columns, as SigLIP wants them.

use burn_vlm_data::image::{ImageProcessor, ImageProcessorConfig};
use burn_vlm_data::video::{Sampling, VideoReader, sample_frames};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a video")?;
    let frames = arguments.next().map_or(Ok(32), |frames| frames.parse())?;
    let side: Option<u32> = arguments.next().map(|side| side.parse()).transpose()?;
    let processor = side.map(|side| ImageProcessor::new(ImageProcessorConfig::siglip(side))).transpose()?;
    let mut source = VideoReader::default().open(path)?;
    let mut make = |_, frame| {
        let pixels = processor.as_ref().map(|processor| processor.process(&frame)).transpose()?;
        Ok(pixels.map_or(frame.as_raw().len(), |pixels| pixels.data.len()))
    };
    let sampled = sample_frames(source.as_mut(), &Sampling::Linspace { frames }, &mut make)?;
    println!("{}", serde_json::to_string(&sampled.record)?);
    println!("{} values", sampled.iter().sum::<usize>());
    Ok(())
}
