//! Video files of samples: whether the chosen frames can be decoded, and what they show.

use super::super::SkipReason;
use super::page::escape;
use crate::image::{RgbImage, small_jpeg};
use crate::video::{Clip, SampledFrames, Sampling, VideoError, VideoReader, sample_frames};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// Pixels of the longer edge of a frame in a strip.
const FRAME: u32 = 120;
/// JPEG quality of frames.
const QUALITY: u8 = 75;

/// Decodes the frames that `linspace` chooses and makes something of each.
fn sampled<T>(
    clip: &Clip,
    frames: usize,
    make: &mut dyn FnMut(usize, RgbImage) -> Result<T, VideoError>,
) -> Result<SampledFrames<T>, SkipReason> {
    let mut source = clip.open(&VideoReader::default())?;
    Ok(sample_frames(source.as_mut(), &Sampling::Linspace { frames }, make)?)
}

/// Whether the chosen frames can be decoded.
pub(super) fn check(clip: &Clip, frames: usize) -> Result<(), SkipReason> {
    sampled(clip, frames, &mut |_, _| Ok(())).map(drop)
}

/// The chosen frames beside each other, with their numbers and times.
pub(super) fn strip(html: &mut String, clip: &Clip, frames: usize) {
    let name = clip.name();
    let mut small = |index: usize, frame: RgbImage| {
        let named = |cause| VideoError::Frame { name: name.clone(), index, cause };
        small_jpeg(frame, FRAME, QUALITY).map(|jpeg| STANDARD.encode(jpeg)).map_err(named)
    };
    let found = sampled(clip, frames, &mut small);
    let name = escape(&clip.name());
    let _ = match found {
        Err(reason) => {
            writeln!(html, "<figure>{}<figcaption>{name}</figcaption></figure>", escape(&reason.to_string()))
        }
        Ok(SampledFrames { distinct, order, record }) => {
            let mut numbers = record.indices.clone();
            numbers.sort_unstable();
            numbers.dedup();
            let shown: String = distinct
                .iter()
                .zip(numbers)
                .map(|(jpeg, number)| {
                    format!("<img alt=\"\" title=\"frame {number}\" src=\"data:image/jpeg;base64,{jpeg}\"> ")
                })
                .collect();
            let length = record.fps.map_or_else(String::new, |fps| format!(", {:.1} s", record.total() as f64 / fps));
            let (width, height) = record.size;
            writeln!(
                html,
                "<figure class=\"strip\">{shown}<figcaption>{} of {} frames by {}, {width} x {height}, {}{length}, {name}</figcaption></figure>",
                order.len(),
                record.total(),
                record.sampling.name(),
                escape(&record.codec),
            )
        }
    };
}
