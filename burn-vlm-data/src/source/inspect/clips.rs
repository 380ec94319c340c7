//! Videos of samples: whether the chosen frames can be decoded, and what they show.

use super::super::SkipReason;
use super::page::escape;
use crate::image::{DecodeLimits, ImageError, RgbImage, small_jpeg};
use crate::sample::Picture;
use crate::video::{Clip, SampledFrames, Sampling, VideoError, VideoReader, VideoRecord, VideoSettings, sample_frames};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// Pixels of the longer edge of a frame in a strip.
const FRAME: u32 = 120;
/// JPEG quality of frames.
const QUALITY: u8 = 75;

/// Decodes the frames that the rule chooses and makes something of each.
fn sampled<T>(
    clip: &Clip,
    videos: &VideoSettings,
    make: &mut dyn FnMut(usize, RgbImage) -> Result<T, VideoError>,
) -> Result<SampledFrames<T>, SkipReason> {
    let mut source = clip.open(&VideoReader::new(videos.reading.clone()))?;
    Ok(sample_frames(source.as_mut(), &videos.sampling, make)?)
}

/// Whether the chosen frames can be decoded, and which these are.
pub(super) fn check(clip: &Clip, videos: &VideoSettings) -> Result<VideoRecord, SkipReason> {
    sampled(clip, videos, &mut |_, _| Ok(())).map(|sampled| sampled.record)
}

/// How many frames are shown of a file, which is not decoded.
pub(super) fn count(clip: &Clip, videos: &VideoSettings) -> Result<usize, SkipReason> {
    match videos.sampling.frames() {
        Some(count) => Ok(count),
        None => Ok(videos.sampling.count(clip.open(&VideoReader::new(videos.reading.clone()))?.as_mut())?),
    }
}

/// How many of a list of frames are shown: those that the rule chooses of more than it chooses, else all.
pub(super) fn count_of_list(frames: usize, sampling: &Sampling) -> usize {
    sampling.frames().map_or(frames, |most| most.min(frames))
}

/// A frame as a small JPEG in base64.
fn small(frame: RgbImage) -> Result<String, ImageError> {
    small_jpeg(frame, FRAME, QUALITY).map(|jpeg| STANDARD.encode(jpeg))
}

/// A frame of a strip.
fn numbered(jpeg: &str, number: usize) -> String {
    format!("<img alt=\"\" title=\"frame {number}\" src=\"data:image/jpeg;base64,{jpeg}\"> ")
}

/// Frames of a list beside each other: those that the rule chooses of more than it chooses, else all.
pub(super) fn strip_of_list(html: &mut String, list: &[Picture], sampling: &Sampling, limits: &DecodeLimits) {
    let first = list.first().map(Picture::name).unwrap_or_default();
    let indices = match sampling.frames() {
        Some(most) if list.len() > most => sampling.indices(&first, list.len(), None),
        _ => Ok((0..list.len()).collect()),
    };
    let shown = indices.map_err(SkipReason::from).and_then(|indices| {
        let one = |index: usize| {
            let frame = list[index].decode(limits)?;
            let size = frame.dimensions();
            Ok::<_, SkipReason>((numbered(&small(frame)?, index), size))
        };
        indices.into_iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    let first = escape(&first);
    let _ = match shown {
        Err(reason) => {
            writeln!(html, "<figure>{}<figcaption>{first}</figcaption></figure>", escape(&reason.to_string()))
        }
        Ok(shown) => {
            let (width, height) = shown.first().map_or((0, 0), |(_, size)| *size);
            let count = shown.len();
            let strip: String = shown.into_iter().map(|(frame, _)| frame).collect();
            writeln!(
                html,
                "<figure class=\"strip\">{strip}<figcaption>{count} of {} listed frames, {width} x {height}, the first: {first}</figcaption></figure>",
                list.len(),
            )
        }
    };
}

/// The chosen frames beside each other, with their numbers and times; how many there are.
pub(super) fn strip(html: &mut String, clip: &Clip, videos: &VideoSettings) -> usize {
    let name = clip.name();
    let mut small = |index: usize, frame: RgbImage| {
        small(frame).map_err(|cause| VideoError::Frame { name: name.clone(), index, cause })
    };
    let found = sampled(clip, videos, &mut small);
    let count = found.as_ref().map_or(0, |found| found.order.len());
    let name = escape(&clip.name());
    let _ = match found {
        Err(reason) => {
            writeln!(html, "<figure>{}<figcaption>{name}</figcaption></figure>", escape(&reason.to_string()))
        }
        Ok(SampledFrames { distinct, record, .. }) => {
            let mut numbers = record.indices.clone();
            numbers.sort_unstable();
            numbers.dedup();
            let shown: String = distinct.iter().zip(numbers).map(|(jpeg, number)| numbered(jpeg, number)).collect();
            let length = record.fps.map_or_else(String::new, |fps| format!(", {:.1} s", record.total() as f64 / fps));
            let damage =
                record.damage.as_ref().map_or_else(String::new, |damage| format!(", not whole: {}", escape(damage)));
            let (width, height) = record.size;
            writeln!(
                html,
                "<figure class=\"strip\">{shown}<figcaption>{} by {}, {width} x {height}, {}{length}{damage}, {name}</figcaption></figure>",
                record.shown(),
                record.sampling.name(),
                escape(&record.codec),
            )
        }
    };
    count
}
