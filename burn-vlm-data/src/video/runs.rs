//! Reading chosen frames of a file in stretches, with a new beginning where they are far apart: by FFmpeg's programs or its libraries.

use super::ffprobe::Probe;
use super::program::Patience;
use super::source::End;
use super::{VideoError, VideoOptions};
use crate::image::RgbImage;
use std::ops::Range;

/// Frames farther apart than this many key-frame intervals are sought.
const SEEK_BEYOND: f64 = 2.0;
/// And farther apart than so many pixels of frames, which are decoded in the time in which a process starts and seeks: 14 to 50 million were
/// measured (FFmpeg 5.1, H.264, 320 x 240 to 1280 x 720, one thread, key frames every 1 and 8 frames).
const SEEK_COSTS: f64 = 25e6;
/// What has been found out about a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    probe: Option<Probe>,
    /// Frames that decode and the decoder's last words, where they were counted.
    counted: Option<(usize, String)>,
}

/// What decodes a file.
pub(super) trait Decoding {
    /// What has been found out about the file.
    fn found(&mut self) -> &mut Found;

    /// The options.
    fn options(&self) -> &VideoOptions;

    /// Looks at every packet.
    fn look(&self) -> Result<Probe, VideoError>;

    /// Reads the frames `indices`, the first of which is the `first`-th that is decoded from `from` (seconds) on. Returns how many came,
    /// and the decoder's last words; where all came, those that tell of damage.
    fn run(
        &self,
        indices: &[usize],
        start: (usize, Option<f64>),
        patience: &mut Patience,
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<(usize, String), VideoError>;

    /// Number of frames that decode, and the decoder's last words.
    fn count(&self, patience: &mut Patience) -> Result<(usize, String), VideoError>;
}

/// What is known before decoding; found out once.
pub(super) fn probe<D: Decoding>(file: &mut D) -> Result<&Probe, VideoError> {
    let probe = match file.found().probe.take() {
        Some(probe) => probe,
        None => {
            let mut probe = file.look()?;
            if !probe.complaint.is_empty() || probe.cut.is_some() {
                // A file that breaks off: packets may be there whose frames are not.
                let mut patience = Patience::new(&file.options().limits);
                let (decoded, _) = count(file, &mut patience)?;
                set_decoded(&mut probe, decoded);
            }
            probe
        }
    };
    Ok(file.found().probe.insert(probe))
}

/// [`Decoding::count`], once.
fn count<D: Decoding>(file: &mut D, patience: &mut Patience) -> Result<(usize, String), VideoError> {
    let counted = match file.found().counted.take() {
        Some(counted) => counted,
        None => file.count(patience)?,
    };
    Ok(file.found().counted.insert(counted).clone())
}

/// Takes in what a decoder said of damage, although all frames came.
fn hear<D: Decoding>(file: &mut D, words: &str) {
    let Some(probe) = file.found().probe.as_mut().filter(|_| !words.is_empty()) else { return };
    let known = probe.info.damage.take().unwrap_or_default();
    // Each run may say the same.
    probe.info.damage = Some(match known.contains(words) {
        true => known,
        false if known.is_empty() => format!("the decoder said: {words}"),
        false => format!("{known}; the decoder said: {words}"),
    });
}

/// Takes in how many frames decode, and says how many of them may be shown.
fn set_decoded(probe: &mut Probe, decoded: usize) -> usize {
    let right = probe.right(decoded);
    probe.info.decoded = Some(right).filter(|right| *right < probe.info.frames);
    right
}

/// [`FrameSource::read`](super::FrameSource::read).
pub(super) fn read<D: Decoding>(
    file: &mut D,
    indices: &[usize],
    take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
) -> Result<End, VideoError> {
    let runs = runs(probe(file)?, indices);
    let mut patience = Patience::new(&file.options().limits);
    let (mut said, mut heard) = (String::new(), Vec::new());
    let sought = runs.iter().any(|run| run.from.is_some());
    let mut done = 0;
    for run in runs {
        let chosen = indices.get(run.places.clone()).unwrap_or_default();
        let (count, last) = file.run(chosen, (run.first, run.from), &mut patience, take)?;
        done += count;
        if count < chosen.len() {
            said = last;
            break;
        }
        heard.push(last);
    }
    heard.iter().filter(|words| !words.is_empty()).for_each(|words| hear(file, words));
    let Some(rest) = indices.get(done..).filter(|rest| !rest.is_empty()) else { return Ok(End::All) };
    if let Some(first) = rest.first().filter(|_| sought) {
        // Where seeking did not find them, decoding may.
        if let Some(probe) = file.found().probe.as_mut() {
            probe.keys.clear();
        }
        let (count, last) = file.run(rest, (*first, None), &mut patience, take)?;
        if count == rest.len() {
            hear(file, &last);
            return Ok(End::All);
        }
        said = last;
    }
    let (decoded, last) = count(file, &mut patience)?;
    let decoded = file.found().probe.as_mut().map_or(decoded, |probe| set_decoded(probe, decoded));
    Ok(End::Early { decoded, said: if last.is_empty() { said } else { last } })
}

/// Frames that are read from one beginning on.
#[derive(Debug, PartialEq)]
struct Run {
    /// Places among the wanted frames.
    places: Range<usize>,
    /// Which of the frames that are decoded from there is the first wanted one.
    first: usize,
    /// From when on it decodes, in seconds; from the beginning where absent.
    from: Option<f64>,
}

/// Splits the wanted frames where they are so far apart that seeking pays.
///
/// Decoding begins at the last key frame that is shown before the wanted one, and is told to give nothing that is shown before that: where
/// frames are shown before the key frame that they come behind (open groups), they could not be decoded, and would not be numbered.
fn runs(probe: &Probe, indices: &[usize]) -> Vec<Run> {
    let least = SEEK_COSTS / (f64::from(probe.info.width) * f64::from(probe.info.height)).max(1.0);
    let far = probe.info.key_interval.map(|interval| (interval * SEEK_BEYOND).max(least));
    let mut runs: Vec<Run> = Vec::new();
    let mut before = 0;
    for (place, index) in indices.iter().enumerate() {
        let is_far = far.is_some_and(|far| (index - before) as f64 > far);
        let key = probe.keys.partition_point(|key| key <= index).checked_sub(1).and_then(|last| probe.keys.get(last));
        let sought = key.filter(|key| is_far && **key > before).and_then(|key| {
            let time = |frame: usize| probe.info.times.get(frame).copied();
            // Half-way between the frame before and this one, so that rounding cannot matter.
            Some((index - key, (time(key.checked_sub(1)?)? + time(*key)?) / 2.0))
        });
        match (runs.last_mut(), sought) {
            (Some(run), None) => run.places.end = place + 1,
            (None, None) => runs.push(Run { places: place..place + 1, first: *index, from: None }),
            (_, Some((first, from))) => runs.push(Run { places: place..place + 1, first, from: Some(from) }),
        }
        before = *index;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::VideoInfo;

    #[test]
    fn what_is_far_apart_is_sought() {
        let mut probe = Probe {
            info: VideoInfo {
                frames: 100,
                decoded: None,
                width: 5000,
                height: 5000,
                fps: Some(10.0),
                times: (0..100).map(|frame| f64::from(frame) / 10.0).collect(),
                key_interval: Some(10.0),
                codec: "h264".to_owned(),
                damage: None,
            },
            keys: (0..100).step_by(10).collect(),
            complaint: String::new(),
            cut: None,
        };
        let run = |places, first, from| Run { places, first, from };
        // Spacings of 20 are decoded through, those of 21 are not; the first run begins at the beginning.
        assert_eq!(runs(&probe, &[3, 23, 44, 50]), [run(0..2, 3, None), run(2..4, 4, Some(3.95))]);
        // The first may be far from the beginning.
        assert_eq!(runs(&probe, &[95, 99]), [run(0..2, 5, Some(8.95))]);
        // Small frames are decoded through sooner than a process starts: 24 of a million pixels, but not 26.
        (probe.info.width, probe.info.height) = (1000, 1000);
        assert_eq!(runs(&probe, &[0, 24, 49]), [run(0..3, 0, None)]);
        assert_eq!(runs(&probe, &[0, 26]), [run(0..1, 0, None), run(1..2, 6, Some(1.95))]);
        (probe.info.width, probe.info.height) = (64, 48);
        assert_eq!(runs(&probe, &[0, 99]), [run(0..2, 0, None)]);
        // Without a key frame between them they are decoded through.
        (probe.info.width, probe.info.height) = (5000, 5000);
        probe.keys = vec![0, 40];
        assert_eq!(runs(&probe, &[41, 70, 99]), [run(0..3, 1, Some(3.95))]);
        probe.keys.clear();
        assert_eq!(runs(&probe, &[0, 99]), [run(0..2, 0, None)]);
        assert_eq!(runs(&probe, &[]), []);
    }
}
