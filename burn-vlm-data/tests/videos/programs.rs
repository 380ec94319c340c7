//! Programs that are missing, hang, flood, lie or fail: an error in bounded time, and nothing of them is left running.

use super::{linspace, sampled};
use burn_vlm_data::video::{
    FfmpegSource, FrameCache, FrameSource, VideoError, VideoLimits, VideoOptions, VideoProcessorConfig, Waiting,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a program may take here, in seconds, and what a machine may be slower than that.
const SECONDS: f64 = 0.7;
/// See [`SECONDS`].
const SLOW_MACHINE: Duration = Duration::from_secs(20);

/// A probe of a clip of five frames of 2 x 1 pixels.
const PROBE: &str = "for i in 0 1 2 3 4; do echo \"packet|pts_time=$i.0|flags=K_\"; done\n\
    echo 'stream|codec_name=h264|width=2|height=1|avg_frame_rate=1/1'; echo 'format|format_name=avi'";
/// A picture of two pixels.
const PICTURE: &str = "printf 'P6\\n2 1\\n255\\nabcdef'";
/// What ffmpeg answers first.
const VERSION: &str = "if [ \"$1\" = -version ]; then echo 'ffmpeg version 5.1.9'; exit; fi";

/// Scripts in the place of the programs; each notes its own number and what it is called with.
struct Fake {
    folder: TempDir,
    options: VideoOptions,
}

impl Fake {
    fn new(ffprobe: &str, ffmpeg: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, body: &str| -> PathBuf {
            let path = folder.path().join(name);
            let here = folder.path().display();
            let text = format!(
                "#!/bin/sh\n{VERSION}\necho $$ >> {here}/started\necho \"$@\" >> {here}/{name}.called\n{body}\n"
            );
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let limits = VideoLimits { seconds: SECONDS, max_messages: 1 << 20, ..VideoLimits::default() };
        let options = VideoOptions {
            limits,
            ffprobe: script("ffprobe", ffprobe),
            ffmpeg: script("ffmpeg", ffmpeg),
            ..VideoOptions::default()
        };
        Self { folder, options }
    }

    fn source(&self) -> FfmpegSource {
        FfmpegSource::open("clip.mp4", "-i.mp4", &self.options)
    }

    /// The error of reading five frames, in bounded time, with nothing left running.
    fn error(&self) -> VideoError {
        let begin = Instant::now();
        let error = sampled(&mut self.source(), linspace(5)).unwrap_err();
        assert!(begin.elapsed() < SLOW_MACHINE, "{:?}", begin.elapsed());
        assert!(error.to_string().contains("clip.mp4"), "{error}");
        self.nothing_is_left();
        error
    }

    /// The scripts and what they started are gone.
    fn nothing_is_left(&self) {
        let started = std::fs::read_to_string(self.folder.path().join("started")).unwrap();
        for number in started.lines() {
            let there = || Path::new("/proc").join(number).exists();
            let begin = Instant::now();
            // Those that were ended with their parent are reaped by the system a little later.
            while there() && begin.elapsed() < SLOW_MACHINE && !is_zombie(number) {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(!there() || is_zombie(number), "process {number} is still there");
        }
    }

    fn called(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name).with_extension("called")).unwrap_or_default()
    }
}

/// Whether a process has ended and only waits for whoever inherited it.
fn is_zombie(number: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Notes the number of a child that would outlive its parent.
fn with_child(then: &str) -> String {
    format!("sleep 1000 & echo $! >> \"$(dirname \"$0\")\"/started\n{then}")
}

#[test]
fn frames_come_through_and_names_are_no_options() {
    let fake = Fake::new(PROBE, &[PICTURE; 5].join("\n"));
    let found = sampled(&mut fake.source(), linspace(5)).unwrap();
    assert_eq!(found.distinct.len(), 5);
    assert_eq!(found.distinct[0].as_raw(), b"abcdef");
    for program in ["ffprobe", "ffmpeg"] {
        let called = fake.called(program);
        assert!(called.contains("-i file:-i.mp4") && called.contains("-protocol_whitelist file"), "{called}");
    }
    fake.nothing_is_left();
}

#[test]
fn a_missing_program_says_how_to_install_it() {
    for missing in [0, 1] {
        let mut fake = Fake::new(PROBE, PICTURE);
        let gone = PathBuf::from("no-such-ffmpeg");
        if missing == 0 {
            fake.options.ffprobe = gone
        } else {
            fake.options.ffmpeg = gone
        }
        let error = sampled(&mut fake.source(), linspace(5)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, VideoError::NoProgram { .. }), "{text}");
        assert!(text.contains("no-such-ffmpeg") && text.contains("apt-get install ffmpeg"), "{text}");
    }
}

#[test]
fn programs_that_hang() {
    // Before it says anything; with a child that holds the pipes; after a picture; with its output closed.
    let hanging = with_child("echo thinking >&2; sleep 1000");
    let error = Fake::new(&hanging, PICTURE).error();
    assert!(matches!(error, VideoError::TooSlow { .. }) && error.to_string().contains("thinking"), "{error}");
    let error = Fake::new(PROBE, &hanging).error();
    assert!(matches!(error, VideoError::TooSlow { .. }), "{error}");
    let error = Fake::new(PROBE, &format!("{PICTURE}\n{hanging}")).error();
    assert!(matches!(error, VideoError::TooSlow { .. }), "{error}");
    let error = Fake::new(PROBE, "exec >&-; sleep 1000").error();
    assert!(matches!(error, VideoError::TooSlow { .. }), "{error}");
}

/// What a program that ends well has started ends with it, though it holds none of its pipes.
#[test]
fn children_of_programs_that_end_well() {
    let with_child = |then: &str| with_child(then).replace("sleep 1000 &", "sleep 1000 > /dev/null 2>&1 &");
    let pictures = [PICTURE; 5].join("\n");
    for (ffprobe, ffmpeg) in [
        (with_child(PROBE), pictures.clone()),
        (PROBE.to_owned(), with_child(&pictures)),
        // Its frames run out, so that its end is waited for.
        (PROBE.to_owned(), with_child(&format!("case \"$*\" in *progress*) echo frame=1;; *) {PICTURE}; esac"))),
    ] {
        let fake = Fake::new(&ffprobe, &ffmpeg);
        let begin = Instant::now();
        let mut source = fake.source();
        assert_eq!(sampled(&mut source, linspace(5)).unwrap().order.len(), 5);
        assert!(begin.elapsed() < SLOW_MACHINE);
        fake.nothing_is_left();
    }
}

/// What a decoder says of damage is told although all frames came, and a program that does not end with its work is ended.
#[test]
fn damage_is_told_of_frames_that_all_come() {
    let pictures = [PICTURE; 5].join("\n");
    let damage = |ffmpeg: &str| {
        let fake = Fake::new(PROBE, ffmpeg);
        let mut source = fake.source();
        let damage = sampled(&mut source, linspace(5)).unwrap().record.damage;
        fake.nothing_is_left();
        // Read again, it is told once.
        assert_eq!(sampled(&mut source, linspace(5)).unwrap().record.damage, damage);
        damage
    };
    let bad = "echo '[h264 @ 0x1] error while decoding MB 4 3' >&2";
    let told = Some("the decoder said: error while decoding MB 4 3".to_owned());
    assert_eq!(damage(&format!("{bad}\n{pictures}")), told);
    assert_eq!(damage(&format!("{pictures}\n{bad}; sleep 1000")), told);
    let good = "echo '[image2pipe @ 0x1] Application provided invalid dts: 1 >= 1' >&2";
    assert_eq!(damage(&format!("{good}\n{pictures}")), None);
}

/// A program that nobody waits for any more is ended, long before its time is up.
#[test]
fn programs_that_nobody_waits_for() {
    let hanging = with_child("sleep 1000");
    for (ffprobe, ffmpeg) in [(hanging.as_str(), PICTURE), (PROBE, &format!("{PICTURE}\n{hanging}"))] {
        let mut fake = Fake::new(ffprobe, ffmpeg);
        fake.options.limits.seconds = 1e6;
        let waiting = Waiting::default();
        let begin = Instant::now();
        let error = std::thread::scope(|scope| {
            let reading = scope.spawn(|| waiting.work(|| sampled(&mut fake.source(), linspace(5)).unwrap_err()));
            // Both that are started, and the child of the one that hangs, have noted their numbers.
            let most = if ffprobe == PROBE { 3 } else { 2 };
            let noted =
                || std::fs::read_to_string(fake.folder.path().join("started")).unwrap_or_default().lines().count();
            while noted() < most && begin.elapsed() < SLOW_MACHINE {
                std::thread::sleep(Duration::from_millis(10));
            }
            waiting.give_up();
            reading.join().unwrap()
        });
        assert!(matches!(error, VideoError::GivenUp { .. }), "{error}");
        assert!(begin.elapsed() < 2 * SLOW_MACHINE);
        fake.nothing_is_left();
    }
}

/// Those who set no limit wait for ever, or nearly.
#[test]
fn patience_without_a_limit() {
    let mut fake = Fake::new(PROBE, &[PICTURE; 5].join("\n"));
    fake.options.limits.seconds = f64::INFINITY;
    assert_eq!(sampled(&mut fake.source(), linspace(5)).unwrap().distinct.len(), 5);
    for none in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        fake.options.limits.seconds = none;
        assert!(matches!(sampled(&mut fake.source(), linspace(5)), Err(VideoError::TooSlow { .. })), "{none}");
    }
}

#[test]
fn programs_that_flood() {
    let error = Fake::new(&with_child("yes error >&2"), PICTURE).error();
    assert!(matches!(error, VideoError::Flood { .. }), "{error}");
    let error = Fake::new(PROBE, "yes error >&2").error();
    assert!(matches!(error, VideoError::Flood { .. }), "{error}");
    // Without a line break, and with packets without end.
    let error = Fake::new("yes | tr -d '\\n'", PICTURE).error();
    assert!(matches!(error, VideoError::TooSlow { .. }), "{error}");
    // Lines that mean nothing, faster than they are read; the same from the program that counts.
    let error = Fake::new("yes nonsense", PICTURE).error();
    assert!(matches!(error, VideoError::TooSlow { .. }), "{error}");
    let error = Fake::new(PROBE, &format!("case \"$*\" in *progress*) yes nonsense;; *) {PICTURE}; esac")).error();
    assert!(matches!(error, VideoError::TooSlow { .. }), "{error}");
    let mut fake = Fake::new("yes 'packet|pts_time=1|flags=K_'", PICTURE);
    fake.options.limits.max_frames = 1000;
    assert!(matches!(fake.error(), VideoError::TooLong { .. }));
}

#[test]
fn programs_that_fail_or_lie() {
    let error = Fake::new("echo 'moov atom not found' >&2; exit 1", PICTURE).error().to_string();
    assert!(error.contains("moov atom not found") && error.contains("exit status: 1"), "{error}");
    let error = Fake::new(PROBE, "echo 'no decoder' >&2; exit 3").error().to_string();
    assert!(error.contains("no decoder") && error.contains("exit status: 3"), "{error}");
    let error = Fake::new(PROBE, "yes nonsense").error().to_string();
    assert!(error.contains("no picture"), "{error}");
    let error = Fake::new(PROBE, "yes | tr -d '\\n'").error().to_string();
    assert!(error.contains("no picture"), "{error}");
    let error = Fake::new(PROBE, "printf 'P6\\n60000 60000\\n255\\n'; sleep 1000").error().to_string();
    assert!(error.contains("60000 x 60000"), "{error}");
    let error = Fake::new(PROBE, "printf 'P6\\n2 1\\n65535\\nabcdefabcdef'").error().to_string();
    assert!(error.contains("65535"), "{error}");
}

/// Two frames of the five decode: the rule chooses among these.
#[test]
fn fewer_frames_than_counted() {
    let some = format!(
        "case \"$*\" in *progress*) echo frame=2; echo frame=2;; *) {PICTURE}; {PICTURE}; echo broken >&2; esac"
    );
    let fake = Fake::new(PROBE, &some);
    let found = sampled(&mut fake.source(), linspace(5)).unwrap();
    assert_eq!((found.record.counted, found.record.decoded, found.record.total()), (5, Some(2), 2));
    assert_eq!((found.record.indices, found.distinct.len()), (vec![0, 0, 0, 0, 1], 2));
    // None do, or each time fewer.
    let none = "case \"$*\" in *progress*) echo frame=0;; *) echo broken >&2; esac";
    let error = Fake::new(PROBE, none).error().to_string();
    assert!(error.contains("no frame") && error.contains("broken"), "{error}");
    let always = format!("case \"$*\" in *progress*) echo frame=5;; *) {PICTURE}; esac");
    assert!(matches!(Fake::new(PROBE, &always).error(), VideoError::NoFrames { .. }));
}

/// All frames are decoded at most once to count them.
#[test]
fn frames_are_counted_once() {
    let one = |count: usize| format!("case \"$*\" in *progress*) echo frame={count};; *) {PICTURE}; esac");
    let counted = |fake: &Fake| fake.called("ffmpeg").lines().filter(|line| line.contains("progress")).count();
    // What the probe complains about is counted at once, and fewer frames come than that.
    let complaint = format!("{PROBE}\necho 'stream is odd' >&2");
    let fake = Fake::new(&complaint, &one(5));
    assert!(matches!(sampled(&mut fake.source(), linspace(5)), Err(VideoError::NoFrames { .. })));
    assert_eq!(counted(&fake), 1);
    // A second reading of the same source knows what the first has found.
    let fake = Fake::new(PROBE, &one(1));
    let mut source = fake.source();
    for _ in 0..2 {
        let found = sampled(&mut source, linspace(5)).unwrap();
        assert_eq!((found.record.counted, found.record.decoded), (5, Some(1)));
    }
    assert_eq!(counted(&fake), 1);
    // The version, the frames that were not there, the count, and the one that was, twice.
    assert_eq!(fake.called("ffmpeg").lines().count(), 4, "{}", fake.called("ffmpeg"));
}

/// Frames of another version of the program are other frames; what needs no program has a key without it.
#[test]
fn the_version_is_in_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (clip, gif) = (folder.path().join("clip.mp4"), folder.path().join("clip.gif"));
    std::fs::write(&clip, "some clip").unwrap();
    std::fs::write(&gif, "GIF89a").unwrap();
    let cache = FrameCache::open(folder.path().join("cache"), 1 << 20).unwrap();
    let config = VideoProcessorConfig::onevision(8).unwrap();
    let key = |path: &Path, options: &VideoOptions| cache.key(path, options, &config, &linspace(2));
    let options = |version: &str| {
        let program = folder.path().join(version);
        std::fs::write(&program, format!("#!/bin/sh\necho 'ffmpeg version {version} Copyright'\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        VideoOptions { ffmpeg: program, ..VideoOptions::default() }
    };
    let (old, new) = (options("5.1.9"), options("9.0"));
    assert!(key(&clip, &old).is_some() && key(&clip, &old) == key(&clip, &old));
    assert_ne!(key(&clip, &old), key(&clip, &new));
    let missing = VideoOptions { ffmpeg: "no-such-ffmpeg".into(), ..VideoOptions::default() };
    assert!(key(&gif, &missing).is_some() && key(&gif, &missing) != key(&clip, &missing));
}

/// Whoever stops early ends the program.
#[test]
fn what_is_done_with_a_frame_may_fail() {
    let fake = Fake::new(PROBE, &with_child(&format!("{PICTURE}\nsleep 1000")));
    let mut source = fake.source();
    let mut take = |_, _| Err(VideoError::File { name: "clip.mp4".to_owned(), reason: "enough".to_owned() });
    let begin = Instant::now();
    let error = source.read(&[0, 4], &mut take).unwrap_err().to_string();
    assert!(error.contains("enough") && begin.elapsed().as_secs_f64() < SECONDS + SLOW_MACHINE.as_secs_f64());
    fake.nothing_is_left();
}
