//! Whoever ends the process at once ends the programs that read videos first. A test file of its own: it ends all of its process.
#![cfg(unix)]

use burn_vlm_data::video::{FfmpegSource, FrameSource, VideoOptions, end_programs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How slow a machine may be.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
fn becomes(what: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !what() && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    what()
}

/// Whether a process runs; one that has ended may wait for whoever inherited it.
fn runs(number: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    text.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn programs_end_with_whoever_started_them() {
    if !Path::new("/proc/self/stat").exists() {
        println!("skipped: there is no /proc");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (program, started) = (folder.path().join("ffprobe"), folder.path().join("started"));
    let script =
        format!("#!/bin/sh\nsleep 1000 &\necho $$ $! > {0}.new; mv {0}.new {0}\nsleep 1000\n", started.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = VideoOptions { ffprobe: program, ..VideoOptions::default() };
    let reading = std::thread::spawn(move || FfmpegSource::open("clip", "clip.mp4", &options).info().map(|_| ()));
    assert!(becomes(|| started.exists()), "it was not started");
    let numbers = std::fs::read_to_string(&started).unwrap();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    assert!(numbers.len() == 2 && numbers.iter().all(|number| runs(number)), "{numbers:?}");
    end_programs();
    assert!(becomes(|| !numbers.iter().any(|number| runs(number))), "{numbers:?}");
    let error = reading.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("clip") && error.contains("signal"), "{error}");
}
