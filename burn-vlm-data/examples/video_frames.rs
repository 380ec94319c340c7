//! Reads the frames of a video that a rule chooses, and says which these are.
//!
//! ```text
//! cargo run -p burn-vlm-data --example video_frames -- clip.mp4 32
//! cargo run -p burn-vlm-data --example video_frames -- clip.mp4 32 384
//! ```
//!
//! With a third argument the frames become pixels of that many rows and columns, as models of the OneVision layout want them.

use burn_vlm_data::image::RgbImage;
use burn_vlm_data::video::{Sampling, VideoProcessor, VideoProcessorConfig, VideoReader, sample_frames};
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
    let mut source = VideoReader::default().open(path)?;
    let rule = Sampling::Linspace { frames };
    let (record, values) = match side {
        Some(side) => {
            let processor = VideoProcessor::new(VideoProcessorConfig::onevision(side)?)?;
            let (pixels, record) = processor.process(source.as_mut(), &rule)?;
            (record, pixels.data.len())
        }
        None => {
            let mut count = |_, frame: RgbImage| Ok(frame.as_raw().len());
            let sampled = sample_frames(source.as_mut(), &rule, &mut count)?;
            let values = sampled.iter().sum();
            (sampled.record, values)
        }
    };
    println!("{}", serde_json::to_string(&record)?);
    println!("{values} values");
    Ok(())
}
