//! Clips that are made here with the ffmpeg program; skipped where it is not there.

use super::{linspace, sampled};
use burn_vlm_data::image::RgbImage;
use burn_vlm_data::video::{Decoder, FrameSource, VideoLimits, VideoOptions, VideoReader, sample_frames};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs ffmpeg; `false`, said aloud, where it or its encoder is not there.
fn ffmpeg(arguments: &[&str], output: &Path) -> bool {
    match Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).arg(output).output() {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("Unknown encoder") => {
            println!("skipped: ffmpeg has no encoder for {arguments:?}");
            false
        }
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            println!("skipped: ffmpeg is not there");
            false
        }
    }
}

/// As [`GREYS`], so large that seeking costs less than decoding what is between frames that are 110 apart.
const LARGE_GREYS: &str = "color=s=64x48:r=10,format=gray,geq=lum='mod(4*N\\,252)',scale=640:360";

/// Every frame has a grey of its own: its number, in steps of four levels, beside the noise of the coder.
const GREYS: &str = "color=s=64x48:r=10,format=gray,geq=lum='mod(4*N\\,252)'";

/// What decodes: the programs, and the libraries where they are built in.
fn decoders() -> Vec<Decoder> {
    if cfg!(feature = "libav") { vec![Decoder::Programs, Decoder::Libav] } else { vec![Decoder::Programs] }
}

fn reader(decoder: Decoder, limits: VideoLimits) -> VideoReader {
    VideoReader::new(VideoOptions { decoder, limits, ..VideoOptions::default() })
}

fn open(decoder: Decoder, path: impl AsRef<Path>) -> Box<dyn FrameSource> {
    reader(decoder, VideoLimits::default()).open(path).unwrap()
}

/// All frames of a clip, read by the programs without seeking.
fn all<T>(path: &Path, make: impl Fn(RgbImage) -> T) -> Vec<T> {
    let mut source = open(Decoder::Programs, path);
    let frames = source.info().unwrap().frames;
    let found = sample_frames(source.as_mut(), &linspace(frames), &mut |_, frame| Ok(make(frame))).unwrap();
    assert_eq!(found.distinct.len(), frames);
    found.distinct
}

/// Frames that are sought are those that decoding from the beginning gives, bit for bit: with B frames, other containers, a beginning that
/// is hidden, a late start, and a rate that changes.
#[test]
fn sought_frames_are_the_right_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let coder = ["-c:v", "libx264", "-g", "8", "-bf", "2", "-pix_fmt", "yuv420p", "-frames:v", "400"];
    let make = |filter: &str, more: &[&str], name: &str| {
        let arguments = [&["-f", "lavfi", "-i", filter][..], &coder, more].concat();
        ffmpeg(&arguments, &path(name))
    };
    if !make(LARGE_GREYS, &[], "plain.mp4") {
        return;
    }
    let plain = path("plain.mp4");
    let plain = plain.to_str().unwrap();
    make(LARGE_GREYS, &[], "plain.mkv");
    make(
        &format!("{LARGE_GREYS},setpts='if(lt(N\\,90)\\,N\\,90+(N-90)*3)/10/TB'"),
        &["-fps_mode", "passthrough"],
        "rate.mp4",
    );
    ffmpeg(&["-ss", "3.15", "-i", plain, "-c", "copy"], &path("cut.mp4"));
    ffmpeg(&["-itsoffset", "2.5", "-i", plain, "-f", "lavfi", "-i", "sine=d=3", "-c:v", "copy"], &path("late.mp4"));
    let mut names = vec!["plain.mp4", "plain.mkv", "rate.mp4", "cut.mp4", "late.mp4"];
    // Frames that are shown before the key frame that they are decoded behind.
    let open_groups = [
        ("libx264", "-x264-params", "open-gop=1:bframes=3:keyint=8:min-keyint=8:scenecut=0", ["avc.mp4", "avc.mkv"]),
        (
            "libx265",
            "-x265-params",
            "open-gop=1:bframes=3:keyint=8:min-keyint=8:scenecut=0:log-level=none",
            ["hevc.mp4", "hevc.mkv"],
        ),
    ];
    for (coder, option, values, files) in open_groups {
        for name in files {
            let arguments = [
                "-f",
                "lavfi",
                "-i",
                LARGE_GREYS,
                "-frames:v",
                "400",
                "-c:v",
                coder,
                option,
                values,
                "-pix_fmt",
                "yuv420p",
            ];
            if ffmpeg(&arguments, &path(name)) {
                names.push(name);
            }
        }
    }
    for name in names {
        let right = all(&path(name), |frame| blake3::hash(frame.as_raw()));
        for decoder in decoders() {
            let mut source = open(decoder, path(name));
            let info = source.info().unwrap().clone();
            let interval = info.key_interval.unwrap();
            assert!((7.0..=9.0).contains(&interval), "{name}: {interval}");
            for count in [2, 3, 4] {
                let found = sampled(source.as_mut(), linspace(count)).unwrap();
                let apart = (info.frames - 1) / (count - 1);
                assert!(apart as f64 > 2.0 * interval && apart >= 110, "{name}: not sought");
                // References that are missing where decoding begins are no damage.
                assert_eq!(found.record.damage, None, "{decoder:?}: {name}");
                for (index, frame) in found.record.indices.iter().zip(found.iter()) {
                    assert!(
                        blake3::hash(frame.as_raw()) == right[*index],
                        "{decoder:?}: {name}: {count} frames: frame {index} is another"
                    );
                }
            }
            println!("{decoder:?}: {name}: {} frames", info.frames);
        }
    }
    let times = open(Decoder::Programs, path("rate.mp4")).info().unwrap().times.clone();
    assert!((times[20] - times[10] - 1.0).abs() < 0.05 && (times[130] - times[120] - 3.0).abs() < 0.25, "{times:?}");
}

/// Ten hours: counted and sought in seconds, or refused by a limit.
#[test]
fn a_file_of_ten_hours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.mp4");
    let source = "color=s=16x16:r=1,geq=lum='mod(N\\,250)':cb=128:cr=128";
    let coder = ["-f", "lavfi", "-i", source, "-t", "36000", "-c:v", "mpeg4", "-q:v", "2", "-g", "250"];
    if !ffmpeg(&coder, &path) {
        return;
    }
    for decoder in decoders() {
        let mut clip = open(decoder, &path);
        let info = clip.info().unwrap();
        assert_eq!((info.frames, info.times.last().copied()), (36_000, Some(35_999.0)));
        assert_eq!(sampled(clip.as_mut(), linspace(8)).unwrap().distinct.len(), 8);
        let limits = VideoLimits { max_frames: 10_000, ..VideoLimits::default() };
        let error = reader(decoder, limits).open(&path).unwrap().info().unwrap_err().to_string();
        assert!(error.contains("long.mp4") && error.contains("more than 10000 frames"), "{error}");
        let limits = VideoLimits { seconds: 0.0, ..VideoLimits::default() };
        let error = reader(decoder, limits).open(&path).unwrap().info().unwrap_err().to_string();
        assert!(error.contains("longer than the 0 s"), "{error}");
    }
}

#[test]
fn names_are_names() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mp4");
    let arguments = ["-f", "lavfi", "-i", GREYS, "-frames:v", "5", "-c:v", "mpeg4"];
    if !ffmpeg(&arguments, &plain) {
        return;
    }
    for name in [
        "-y.mp4",
        "http:a.mp4",
        "concat:a|b.mp4",
        "a:b.mp4",
        "frame%03d.mp4",
        "with space'quote.mp4",
        "日本.mp4",
        "?*.mp4",
    ] {
        let path = folder.path().join(name);
        std::fs::copy(&plain, &path).unwrap();
        for decoder in decoders() {
            let found = sampled(open(decoder, &path).as_mut(), linspace(5)).unwrap();
            assert_eq!(found.distinct.len(), 5, "{decoder:?}: {name}");
        }
    }
}

/// Files that name other files, and pictures that are called videos, are refused: nothing else is opened for them.
#[test]
fn lists_of_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mp4");
    let arguments = ["-f", "lavfi", "-i", GREYS, "-frames:v", "5", "-c:v", "mpeg4"];
    if !ffmpeg(&arguments, &plain) {
        return;
    }
    let target = plain.display();
    let lists = [
        format!("ffconcat version 1.0\nfile '{target}'\n"),
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"),
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n".to_owned(),
    ];
    for list in lists {
        let path = folder.path().join("list.mp4");
        std::fs::write(&path, &list).unwrap();
        for decoder in decoders() {
            let error = open(decoder, &path).info().unwrap_err().to_string();
            assert!(error.contains("list.mp4"), "{error}");
        }
    }
}

#[test]
fn bytes_damage_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let arguments =
        ["-f", "lavfi", "-i", GREYS, "-frames:v", "30", "-c:v", "libx264", "-bf", "2", "-movflags", "+faststart"];
    if !ffmpeg(&arguments, &path) {
        return;
    }
    let bytes = std::fs::read(&path).unwrap();
    for decoder in decoders() {
        damage_and_limits(decoder, &path, &bytes);
    }
}

fn damage_and_limits(decoder: Decoder, path: &Path, bytes: &[u8]) {
    let reader = |limits| reader(decoder, limits);
    let whole = reader(VideoLimits::default());
    let found = sampled(whole.open_bytes("memory", bytes).unwrap().as_mut(), linspace(30)).unwrap();
    assert!(found.distinct == all(path, |frame| frame));
    for length in [12, 40, bytes.len() / 3, bytes.len() / 2, bytes.len() - 20] {
        match sampled(whole.open_bytes("half", &bytes[..length]).unwrap().as_mut(), linspace(30)) {
            Ok(half) => {
                let decoded = half.record.decoded.unwrap_or(half.record.counted);
                assert!(decoded <= 30 && half.distinct.len() <= decoded, "{length}");
                assert!(half.distinct[0] == found.distinct[0], "{length}");
            }
            Err(error) => assert!(error.to_string().contains("half"), "{error}"),
        }
    }
    let error = sampled(whole.open_bytes("words", &b"hello ".repeat(500)).unwrap().as_mut(), linspace(2)).unwrap_err();
    assert!(error.to_string().contains("words"), "{error}");
    // A transport stream's header says nothing of its frames.
    let stream = path.with_extension("ts");
    assert!(ffmpeg(&["-i", path.to_str().unwrap(), "-c", "copy"], &stream));
    for path in [path, &stream] {
        let small = reader(VideoLimits { max_pixels: 64 * 48 - 1, ..VideoLimits::default() });
        let error = small.open(path).unwrap().info().unwrap_err().to_string();
        assert!(error.contains("64 x 48"), "{decoder:?}: {error}");
    }
}

/// However many frames are chosen that are no neighbours.
#[test]
fn hundreds_of_frames_that_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    if !ffmpeg(&["-f", "lavfi", "-i", GREYS, "-frames:v", "600", "-c:v", "mpeg4"], &path) {
        return;
    }
    let every = all(&path, |frame| frame);
    for decoder in decoders() {
        let found = sampled(open(decoder, &path).as_mut(), linspace(300)).unwrap();
        assert_eq!(found.record.indices.len(), 300);
        assert!(found.record.indices.windows(2).all(|pair| pair[1] > pair[0] + 1), "{:?}", found.record.indices);
        for (index, frame) in found.record.indices.iter().zip(found.iter()) {
            assert!(*frame == every[*index], "{decoder:?}: {index}");
        }
    }
}

/// A cover on a piece of music is no video.
#[test]
fn attached_pictures_are_no_video() {
    let folder = tempfile::tempdir().unwrap();
    let cover = folder.path().join("cover.png");
    RgbImage::new(16, 16).save(&cover).unwrap();
    let path: PathBuf = folder.path().join("song.m4a");
    let cover = cover.to_str().unwrap();
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "sine=d=1",
        "-i",
        cover,
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "png",
        "-disposition:v:0",
        "attached_pic",
    ];
    if !ffmpeg(&arguments, &path) {
        return;
    }
    for decoder in decoders() {
        let error = open(decoder, &path).info().unwrap_err().to_string();
        assert!(error.contains("no video stream"), "{error}");
    }
}

/// Frames that change their size in the middle all come as large as the first.
#[test]
fn a_size_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (folder.path().join("a.ts"), folder.path().join("b.ts"));
    let make = |size: &str, path: &Path| {
        let source = format!("color=s={size}:r=10:c=red");
        ffmpeg(&["-f", "lavfi", "-i", &source, "-frames:v", "10", "-c:v", "mpeg2video", "-pix_fmt", "yuv420p"], path)
    };
    if !make("64x48", &small) {
        return;
    }
    make("128x96", &large);
    let joined = folder.path().join("joined.ts");
    std::fs::write(&joined, [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat()).unwrap();
    for decoder in decoders() {
        let found = sampled(open(decoder, &joined).as_mut(), linspace(8)).unwrap();
        assert_eq!(found.iter().count(), 8);
        for frame in found.iter() {
            let [red, green, blue] = frame.get_pixel(30, 20).0;
            assert!(frame.dimensions() == (64, 48) && red > 230 && green < 20 && blue < 20, "{decoder:?}");
        }
    }
}
