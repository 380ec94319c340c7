//! The clips of the fixtures, where they are there: each shows the right frames, read off the frames themselves, or gives an error that
//! names the cause.
//!
//! `expected.json` has what PyAV 18.1.0 and Pillow 13.0.0 decode, and the rules' indices by numpy. Where decoders disagree the right frames
//! are those that the drawn indices tell.

use burn_vlm_data::image::RgbImage;
use burn_vlm_data::video::{Decoder, SampledFrames, Sampling, VideoOptions, VideoReader, sample_frames};
use serde_json::Value;
use std::path::PathBuf;

/// Levels of 255 by which a channel's mean may differ: decoders are exact but for rounding, the WebP decoder is one level off.
const CLOSE: f64 = 1.0;
/// The same for clips whose chroma is made larger in another way by each version of FFmpeg: 10 bits, and odd sizes.
const CHROMA: f64 = 2.0;
/// What the clips show a twelfth of: brighter is a one.
const MIDDLE: u32 = 3 * 128;

fn fixtures() -> Option<(PathBuf, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/video");
    let text = std::fs::read_to_string(folder.join("expected.json"));
    let Ok(text) = text else {
        println!("skipped: the fixtures are not there");
        return None;
    };
    Some((folder, serde_json::from_str(&text).unwrap()))
}

fn has_ffmpeg() -> bool {
    let there = |program| std::process::Command::new(program).arg("-version").output().is_ok();
    there("ffmpeg") && there("ffprobe")
}

/// What decodes: the programs, and the libraries where they are built in.
fn decoders() -> Vec<Decoder> {
    if cfg!(feature = "libav") { vec![Decoder::Programs, Decoder::Libav] } else { vec![Decoder::Programs] }
}

fn reader(decoder: Decoder, background: [u8; 3]) -> VideoReader {
    VideoReader::new(VideoOptions { decoder, background, ..VideoOptions::default() })
}

/// What a frame says: eight blocks along the top, the most significant bit first.
fn drawn(frame: &RgbImage, turned: bool) -> u64 {
    let (width, height) = if turned { (frame.height(), frame.width()) } else { frame.dimensions() };
    (0..8).fold(0, |number, block| {
        let (x, y) = ((2 * block + 1) * width / 16, height / 10);
        // Shown turned by a quarter to the left: what was at the top is at the left, from below.
        let pixel = if turned { frame.get_pixel(y, frame.height() - 1 - x) } else { frame.get_pixel(x, y) };
        number * 2 + u64::from(pixel.0.iter().map(|value| u32::from(*value)).sum::<u32>() > MIDDLE)
    })
}

fn mean(frame: &RgbImage) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for pixel in frame.pixels() {
        sums.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += f64::from(value));
    }
    sums.map(|sum| sum / f64::from(frame.width() * frame.height()))
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().filter_map(Value::as_u64).collect()
}

fn triple(value: &Value) -> [f64; 3] {
    std::array::from_fn(|channel| value[channel].as_f64().unwrap())
}

/// All frames that a rule chooses.
fn sampled(
    reader: &VideoReader,
    path: &std::path::Path,
    rule: &Sampling,
) -> Result<SampledFrames<RgbImage>, burn_vlm_data::video::VideoError> {
    let mut source = reader.open(path)?;
    sample_frames(source.as_mut(), rule, &mut |_, frame| Ok(frame))
}

/// Formats that need no program.
fn is_built_in(clip: &str) -> bool {
    clip.ends_with(".gif") || clip.ends_with(".webp")
}

#[test]
fn every_clip_shows_the_right_frames() {
    let Some((folder, expected)) = fixtures() else { return };
    for decoder in decoders() {
        let checked = every_clip(decoder, &folder, &expected);
        assert!(checked == 26 || !has_ffmpeg(), "{decoder:?}: {checked} clips");
    }
}

/// How many clips were looked at.
fn every_clip(decoder: Decoder, folder: &std::path::Path, expected: &Value) -> usize {
    let programs = has_ffmpeg() || decoder == Decoder::Libav;
    let mut checked = 0;
    for (clip, what) in expected["clips"].as_object().unwrap() {
        if !is_built_in(clip) && !programs {
            println!("{clip}: skipped, ffmpeg is not there");
            continue;
        }
        // Pillow lays transparent pixels on black.
        let reader = reader(decoder, [0; 3]);
        let path = folder.join(clip);
        let decoded = &what["decoded"];
        if decoded.is_null() {
            let error = sampled(&reader, &path, &Sampling::Linspace { frames: 8 }).unwrap_err().to_string();
            let cause = if clip == "audio_only.mp4" { "no video stream" } else { "moov atom not found" };
            assert!(error.contains(clip.as_str()) && error.contains(cause), "{clip}: {error}");
            println!("{clip}: {error}");
            checked += 1;
            continue;
        }
        let truncated = clip == "trunc_moov_first.mp4";
        let all = decoded["frames"].as_u64().unwrap() as usize;
        let means: Vec<[f64; 3]> = decoded["mean_rgb"].as_array().unwrap().iter().map(triple).collect();
        let order = numbers(&decoded["drawn"]);
        let close = if ["10bit", "odd"].iter().any(|part| clip.contains(part)) { CHROMA } else { CLOSE };
        let turned = clip.contains("rotate");
        let mut furthest: f64 = 0.0;
        for (rule, name, count) in [
            (Sampling::Linspace { frames: 4 }, "linspace", 4),
            (Sampling::Linspace { frames: 8 }, "linspace", 8),
            (Sampling::Linspace { frames: 32 }, "linspace", 32),
            (Sampling::Transformers5 { frames: 4 }, "transformers", 4),
            (Sampling::Transformers4 { frames: 8 }, "arange", 8),
        ] {
            let found = match sampled(&reader, &path, &rule) {
                Ok(found) => found,
                Err(error) if count > all && name == "transformers" => {
                    assert!(error.to_string().contains(&format!("it has {all}")), "{clip}: {error}");
                    continue;
                }
                Err(error) => panic!("{clip}: {error}"),
            };
            assert_eq!(found.record.total(), all, "{clip}");
            assert_eq!(truncated, found.record.decoded.is_some(), "{clip}");
            assert_eq!(truncated, found.record.damage.is_some(), "{clip}: {:?}", found.record.damage);
            let right = &what["indices"][name][count.to_string()];
            assert_eq!(found.record.indices.iter().map(|i| *i as u64).collect::<Vec<_>>(), numbers(right), "{clip}");
            assert_eq!(found.iter().count(), found.record.indices.len(), "{clip}");
            for (index, frame) in found.record.indices.iter().zip(found.iter()) {
                let right = &means[*index];
                if let Some(right) = order.get(*index) {
                    assert_eq!(drawn(frame, turned), *right, "{clip}: frame {index}");
                }
                let difference = mean(frame).iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(difference <= close, "{clip}: frame {index}: {:?}, expected {right:?}", mean(frame));
                furthest = furthest.max(difference);
            }
        }
        println!("{decoder:?}: {clip}: {all} frames, means within {furthest:.2} of 255");
        checked += 1;
    }
    checked
}

/// A file that breaks off, wherever that is, shows frames whose numbers are drawn in them, and says that it is not whole.
#[test]
fn cut_files_show_the_right_frames() {
    let Some((folder, _)) = fixtures() else { return };
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not there");
        return;
    }
    /// What is left of a file, in hundredths.
    const LEFT: [usize; 3] = [35, 62, 77];
    let made = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let path = made.path().join(name);
        let arguments = ["-v", "error", "-c", "copy", "-movflags", "+faststart"];
        let source = folder.join("h264_bframes.mp4");
        let run = std::process::Command::new("ffmpeg").arg("-i").arg(source).args(arguments).arg(&path).output();
        assert!(run.unwrap().status.success());
        path
    };
    let given = |name: &str| folder.join(name);
    for path in [copy("a.mp4"), copy("a.mkv"), given("h264.ts"), given("vp9.webm"), given("mpeg4_odd_161x91.avi")] {
        let bytes = std::fs::read(&path).unwrap();
        let clip = path.display();
        for left in LEFT {
            for decoder in decoders() {
                let part = &bytes[..bytes.len() * left / 100];
                let mut source = reader(decoder, [0; 3]).open_bytes("cut", part).unwrap();
                let frames = source.info().unwrap().frames;
                let rule = Sampling::Linspace { frames };
                let found = sample_frames(source.as_mut(), &rule, &mut |_, frame| Ok(frame)).unwrap();
                let SampledFrames { record, .. } = &found;
                for (index, frame) in record.indices.iter().zip(found.iter()) {
                    assert_eq!(drawn(frame, false), *index as u64, "{decoder:?}: {clip}, {left} % of it");
                }
                assert!(record.damage.is_some(), "{clip}, {left} % of it");
                // Not at the price of much else: two frames at most are held back, one may be there in part.
                assert!(record.total() + 3 >= record.counted, "{clip}, {left} % of it: {:?}", record.decoded);
            }
        }
    }
}

/// Damage in the middle of a file, whose container is as it was: all or nearly all frames come, and the record says that they are not sound.
#[test]
fn damage_in_the_middle_is_told() {
    let Some((folder, _)) = fixtures() else { return };
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not there");
        return;
    }
    for clip in ["h264_bframes.mp4", "h264.ts", "mpeg4_odd_161x91.avi", "av1.mp4"] {
        let mut bytes = std::fs::read(folder.join(clip)).unwrap();
        let begin = bytes.len() * 45 / 100;
        bytes[begin..begin + 400].iter_mut().for_each(|byte| *byte ^= 0x5a);
        for decoder in decoders() {
            let mut source = reader(decoder, [0; 3]).open_bytes(clip, &bytes).unwrap();
            let found = sample_frames(source.as_mut(), &Sampling::Linspace { frames: 8 }, &mut |_, frame| Ok(frame));
            let record = found.unwrap().record;
            println!("{decoder:?}: {clip}: {:?} of {}: {:?}", record.decoded, record.counted, record.damage);
            assert!(record.damage.is_some(), "{decoder:?}: {clip}");
        }
    }
}

/// The rule of the training code, by its own rate.
#[test]
fn the_training_rule_on_every_clip() {
    let Some((folder, expected)) = fixtures() else { return };
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not there");
        return;
    }
    for (clip, what) in expected["clips"].as_object().unwrap() {
        let decoded = &what["decoded"];
        // The rule goes by the rate, which PyAV's newer FFmpeg has otherwise for delays of zero, and WebP's is not read by it at all.
        if decoded.is_null() || is_built_in(clip) {
            continue;
        }
        for bound in [4, 8, 32] {
            let rule = Sampling::Fps { fps: 1.0, upper_bound: Some(bound), force: false };
            for decoder in decoders() {
                let found = sampled(&reader(decoder, [255; 3]), &folder.join(clip), &rule).unwrap();
                let right = numbers(&what["indices"]["fork_1fps_upbound"][bound.to_string()]);
                assert_eq!(
                    found.record.indices.iter().map(|i| *i as u64).collect::<Vec<_>>(),
                    right,
                    "{decoder:?}: {clip}"
                );
            }
        }
    }
}

/// When frames are shown: PyAV's seconds, where it has them, from the first frame on.
#[test]
fn the_times_of_frames() {
    let Some((folder, expected)) = fixtures() else { return };
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not there");
        return;
    }
    /// Seconds: what was recorded has four digits, a WebM's clock ticks a thousand times a second.
    const CLOSE: f64 = 1e-3;
    for clip in
        ["h264_vfr.mp4", "h264_late_start.mp4", "h264.ts", "vp9.webm", "h264_editlist_cut.mp4", "mpeg4_odd_161x91.avi"]
    {
        let right: Vec<f64> = expected["clips"][clip]["decoded"]["seconds"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        for decoder in decoders() {
            let mut source = reader(decoder, [255; 3]).open(folder.join(clip)).unwrap();
            let info = source.info().unwrap();
            assert_eq!(info.times.len(), right.len(), "{decoder:?}: {clip}");
            for (found, right_time) in info.times.iter().zip(&right) {
                let (found, wanted) = (found - info.times[0], right_time - right[0]);
                assert!((found - wanted).abs() <= CLOSE, "{decoder:?}: {clip}: {found}, expected {wanted}");
            }
        }
    }
}

/// FFmpeg lays transparent pixels on white, and so do we unless told otherwise.
#[test]
fn transparent_pixels_become_white() {
    let Some((folder, expected)) = fixtures() else { return };
    let right = &expected["clips"]["sprite_alpha.gif"]["decoders"]["ffmpeg"]["linspace"]["8"]["mean"];
    for clip in ["sprite_alpha.gif", "sprite_alpha.webp"] {
        let found = sampled(&VideoReader::default(), &folder.join(clip), &Sampling::Linspace { frames: 8 }).unwrap();
        for (frame, right) in found.iter().zip(right.as_array().unwrap()) {
            // The sprite's edge is half transparent in the WebP alone.
            let close = if clip.ends_with(".gif") { CLOSE } else { CHROMA };
            let far = mean(frame).iter().zip(triple(right)).any(|(a, b)| (a - b).abs() > close);
            assert!(!far, "{clip}: {:?}, expected {right}", mean(frame));
        }
    }
}

/// Stored as 160 x 96, shown as 96 x 160; other programs disagree, so both can be had.
#[test]
fn turned_or_as_stored() {
    let Some((folder, _)) = fixtures() else { return };
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not there");
        return;
    }
    let path = folder.join("h264_rotate90.mp4");
    for (decoder, turn) in decoders().into_iter().flat_map(|decoder| [(decoder, true), (decoder, false)]) {
        let reader = VideoReader::new(VideoOptions { decoder, turn, ..VideoOptions::default() });
        let found = sampled(&reader, &path, &Sampling::Linspace { frames: 3 }).unwrap();
        let size = if turn { (96, 160) } else { (160, 96) };
        assert_eq!(found.record.size, size);
        for (frame, index) in found.iter().zip([0, 19, 39]) {
            assert_eq!((frame.dimensions(), drawn(frame, turn)), (size, index));
        }
    }
}

#[test]
fn frames_of_a_folder_in_the_order_of_their_numbers() {
    let Some((folder, _)) = fixtures() else { return };
    let found =
        sampled(&reader(Decoder::Programs, [255; 3]), &folder.join("frames"), &Sampling::Linspace { frames: 12 })
            .unwrap();
    let shown: Vec<u64> = found.iter().map(|frame| drawn(frame, false)).collect();
    assert_eq!(shown, (0..12).collect::<Vec<u64>>());
}

/// Pixels of the libraries are those of the programs, where these are of the same version: sought or decoded through.
#[test]
#[cfg(feature = "libav")]
fn the_libraries_give_the_pixels_of_the_programs() {
    let Some((folder, expected)) = fixtures() else { return };
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not there");
        return;
    }
    for (clip, what) in expected["clips"].as_object().unwrap() {
        if what["decoded"].is_null() || is_built_in(clip) {
            continue;
        }
        let of = |decoder| {
            let found =
                sampled(&reader(decoder, [255; 3]), &folder.join(clip), &Sampling::Linspace { frames: 8 }).unwrap();
            let frames: Vec<RgbImage> = found.iter().cloned().collect();
            (found.record, frames)
        };
        let ((programs, theirs), (libraries, ours)) = (of(Decoder::Programs), of(Decoder::Libav));
        let record = |record: &burn_vlm_data::video::VideoRecord| {
            (
                record.indices.clone(),
                record.counted,
                record.decoded,
                record.size,
                record.codec.clone(),
                record.damage.is_some(),
            )
        };
        assert_eq!(record(&programs), record(&libraries), "{clip}");
        for (index, (theirs, ours)) in programs.indices.iter().zip(theirs.iter().zip(&ours)) {
            let most = theirs.as_raw().iter().zip(ours.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert_eq!((theirs.dimensions(), most), (ours.dimensions(), Some(0)), "{clip}: frame {index}");
        }
    }
}
