//! Videos that the tests make themselves: built-in formats, clips made with ffmpeg where it is there, and programs that misbehave.

mod built_in;
mod clips;
#[cfg(unix)]
mod programs;
mod rules;

use burn_vlm_data::image::RgbImage;
use burn_vlm_data::video::{FrameSource, SampledFrames, Sampling, VideoError, sample_frames};

/// The frames that a rule chooses.
fn sampled(source: &mut dyn FrameSource, rule: Sampling) -> Result<SampledFrames<RgbImage>, VideoError> {
    sample_frames(source, &rule, &mut |_, frame| Ok(frame))
}

fn linspace(frames: usize) -> Sampling {
    Sampling::Linspace { frames }
}
