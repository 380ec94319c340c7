//! Frames of video files, by the programs `ffmpeg` and `ffprobe` through pipes.
//!
//! Unusual here:
//! - frames come as a stream of PPM pictures, which say how large they are, so that a turned file needs no arithmetic of ours;
//! - every decoded frame is numbered by the program's own filter, behind edit lists: variable rates and late starts repeat and lose none;
//! - chosen frames that are farther apart than twice the key-frame interval are sought, each with a process of its own, which costs less
//!   than to decode what is between them, and more where they are closer, or small and few.

use super::ffprobe::{CONTAINERS, Probe, file_argument, probe};
use super::program::{Patience, Program};
use super::runs::{self, Decoding, Found};
use super::source::{End, FrameSource};
use super::{Decoder, VideoError, VideoInfo, VideoOptions};
use crate::image::RgbImage;
use ::image::{ImageFormat, guess_format};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempPath;

/// CPU seconds that ffmpeg allows itself, in multiples of [`VideoLimits::seconds`](super::VideoLimits) on each thread: far more than it
/// is ever waited for, so that one whose parent was killed ends some time, too.
const ORPHAN_TIMES: f64 = 10.0;
/// The longest line of a PPM header or a progress report.
const MAX_LINE: u64 = 256;

/// A video file that the programs read.
#[derive(Debug)]
pub struct FfmpegSource {
    name: String,
    path: PathBuf,
    options: VideoOptions,
    found: Found,
    /// Removed with the source.
    _temporary: Option<TempPath>,
}

impl FfmpegSource {
    /// A file; nothing is read yet. `name` is what errors call it.
    pub fn open(name: impl Into<String>, path: impl Into<PathBuf>, options: &VideoOptions) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            options: options.clone(),
            found: Found::default(),
            _temporary: None,
        }
    }

    /// A file that is removed with the source.
    pub(super) fn temporary(name: String, path: TempPath, options: &VideoOptions) -> Self {
        let source = Self::open(name, path.to_path_buf(), options);
        Self { _temporary: Some(path), ..source }
    }

    /// The error of a file that is a picture, where it is one; asked where the programs could make nothing of it.
    fn picture(&self) -> Option<VideoError> {
        let mut head = [0; 16];
        File::open(&self.path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
        let format = match guess_format(&head).ok()? {
            ImageFormat::Png => "PNG",
            ImageFormat::Jpeg => "JPEG",
            ImageFormat::Bmp => "BMP",
            ImageFormat::Tiff => "TIFF",
            ImageFormat::Avif => "AVIF",
            _ => return None,
        };
        Some(VideoError::Picture { name: self.name.clone(), format })
    }

    /// What comes before the file: limits, and from when on (in seconds) it is decoded.
    fn input(&self, from: Option<f64>) -> Vec<OsString> {
        let limits = &self.options.limits;
        let mut arguments: Vec<OsString> =
            ["-v", "error", "-nostdin", "-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
                .map(OsString::from)
                .into();
        arguments.extend(["-threads".to_owned(), limits.threads.to_string()].map(OsString::from));
        let cpu = (limits.seconds * limits.threads.max(1) as f64 * ORPHAN_TIMES).ceil().clamp(1.0, f64::from(i32::MAX));
        arguments.extend(["-timelimit".to_owned(), (cpu as i32).max(1).to_string()].map(OsString::from));
        arguments.extend(["-max_pixels".to_owned(), limits.max_pixels.to_string()].map(OsString::from));
        if !self.options.turn {
            arguments.push("-noautorotate".into());
        }
        if let Some(from) = from {
            let from = format!("{from:.6}");
            arguments.extend(["-seek_timestamp", "1", "-ss", &from].map(OsString::from));
        }
        arguments.push("-i".into());
        arguments.push(file_argument(&self.path));
        arguments.extend(["-map", "0:V:0"].map(OsString::from));
        arguments
    }
}

impl Decoding for FfmpegSource {
    fn found(&mut self) -> &mut Found {
        &mut self.found
    }

    fn options(&self) -> &VideoOptions {
        &self.options
    }

    fn look(&self) -> Result<Probe, VideoError> {
        probe(&self.name, &self.path, &self.options).map_err(|error| self.picture().unwrap_or(error))
    }

    fn run(
        &self,
        indices: &[usize],
        (first, from): (usize, Option<f64>),
        patience: &mut Patience,
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<(usize, String), VideoError> {
        let Some(start) = indices.first() else { return Ok((0, String::new())) };
        let mut arguments = self.input(from);
        arguments.extend(passthrough(&self.options.ffmpeg, patience, &self.options)?.map(OsString::from));
        let numbers = indices.iter().map(|index| index - start + first);
        let filter = format!("select='{}'", choose(numbers));
        arguments.extend(["-vf", &filter, "-frames:v", &indices.len().to_string()].map(OsString::from));
        arguments.extend(
            ["-pix_fmt", "rgb24", "-sws_flags", "bicubic", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
                .map(OsString::from),
        );
        let limits = &self.options.limits;
        let mut program = Program::start(&self.name, &self.options.ffmpeg, &arguments, limits, patience)?;
        for (count, index) in indices.iter().enumerate() {
            match read_ppm(&mut program) {
                Ok(Some(Ppm::Frame(frame))) => take(*index, frame)?,
                Ok(Some(Ppm::Size(width, height))) => {
                    let size = format!("a picture of {width} x {height} pixels, {} are allowed", limits.max_pixels);
                    return Err(program.error(format!("wrote {size}")));
                }
                Ok(None) => {
                    let status = program.wait()?;
                    let said = program.said();
                    if count == 0 && from.is_none() && !status.success() {
                        return Err(program.error(format!("cannot decode it ({status})")));
                    }
                    return Ok((count, said));
                }
                Err(error) => return Err(program.failure(&error)),
            }
        }
        Ok((indices.len(), program.close()))
    }

    fn count(&self, patience: &mut Patience) -> Result<(usize, String), VideoError> {
        let mut arguments = self.input(None);
        arguments.extend(passthrough(&self.options.ffmpeg, patience, &self.options)?.map(OsString::from));
        arguments.extend(["-progress", "pipe:1", "-f", "null", "-"].map(OsString::from));
        let limits = &self.options.limits;
        let mut program = Program::start(&self.name, &self.options.ffmpeg, &arguments, limits, patience)?;
        program.count_all_time();
        let mut frames = 0;
        let mut output = BufReader::new(&mut program);
        loop {
            let mut line = Vec::new();
            match (&mut output).take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {
                    let line = String::from_utf8_lossy(&line);
                    let number = line.trim().strip_prefix("frame=").and_then(|number| number.trim().parse().ok());
                    frames = number.unwrap_or(frames);
                }
                Err(error) => {
                    drop(output);
                    return Err(program.failure(&error));
                }
            }
        }
        drop(output);
        // A damaged file is decoded as far as it goes, whatever the status.
        program.wait()?;
        Ok((frames, program.said()))
    }
}

impl FrameSource for FfmpegSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn info(&mut self) -> Result<&VideoInfo, VideoError> {
        Ok(&runs::probe(self)?.info)
    }

    fn read(
        &mut self,
        indices: &[usize],
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<End, VideoError> {
        runs::read(self, indices, take)
    }
}

/// The program's expression for frames with these numbers, neighbours as ranges.
fn choose(numbers: impl Iterator<Item = usize>) -> String {
    let mut terms = Vec::new();
    let mut numbers = numbers.peekable();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if_eq(&(last + 1)) {
            last = next;
        }
        terms.push(match first == last {
            true => format!("eq(n\\,{first})"),
            false => format!("between(n\\,{first}\\,{last})"),
        });
    }
    sum(&terms)
}

/// The terms' sum, its halves in parentheses: FFmpeg 5.1.9 and 8.1 refuse an expression that is deeper than 100, and take a sum without
/// parentheses for as deep as it has terms.
fn sum(terms: &[String]) -> String {
    match terms {
        [] => String::new(),
        [term] => term.clone(),
        terms => {
            let (left, right) = terms.split_at(terms.len() / 2);
            format!("({}+{})", sum(left), sum(right))
        }
    }
}

/// A picture of the stream.
enum Ppm {
    Frame(RgbImage),
    /// It claims a size that is not allowed.
    Size(u32, u32),
}

/// Reads one picture; `None` at the end of the stream, also where it ends within one.
fn read_ppm(program: &mut Program<'_>) -> io::Result<Option<Ppm>> {
    let most = program.max_pixels();
    let mut line = || -> io::Result<Option<String>> {
        let mut line = String::new();
        let mut byte = [0];
        while program.read(&mut byte)? == 1 {
            if byte == [b'\n'] {
                return Ok(Some(line));
            }
            line.push(char::from(byte[0]));
            if line.len() as u64 > MAX_LINE {
                return Err(io::Error::other(format!("no picture, but {line:?}")));
            }
        }
        Ok(None)
    };
    let (Some(kind), Some(size), Some(depth)) = (line()?, line()?, line()?) else { return Ok(None) };
    let sides = size.split_once(' ').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (Some((width, height)), "P6", "255") = (sides, kind.as_str(), depth.as_str()) else {
        return Err(io::Error::other(format!("no picture of 8 bits, but {kind:?}, {size:?}, {depth:?}")));
    };
    if u64::from(width) * u64::from(height) > most {
        return Ok(Some(Ppm::Size(width, height)));
    }
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    match program.read_exact(&mut pixels) {
        Ok(()) => Ok(RgbImage::from_raw(width, height, pixels).map(Ppm::Frame)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a program answers when it is asked for its version.
#[derive(Debug, Clone)]
struct Version {
    /// The first line, such as `ffmpeg version 5.1.9-0+deb12u1 ...`.
    line: String,
    /// The option that neither repeats nor drops frames; it got another name in FFmpeg 5.1.
    passthrough: [&'static str; 2],
}

/// The programs that were asked for their version.
static KNOWN: Mutex<Option<HashMap<PathBuf, Version>>> = Mutex::new(None);

fn passthrough(
    program: &Path,
    patience: &mut Patience,
    options: &VideoOptions,
) -> Result<[&'static str; 2], VideoError> {
    Ok(ask_version(program, patience, options)?.passthrough)
}

/// What the program `ffmpeg` calls itself: another version may decode to other pixels.
pub(super) fn version(options: &VideoOptions) -> Result<String, VideoError> {
    match options.decoder {
        Decoder::Programs => version_of(&options.ffmpeg, options),
        #[cfg(feature = "libav")]
        Decoder::Libav => Ok(super::libav::version()),
        #[cfg(not(feature = "libav"))]
        Decoder::Libav => Err(VideoError::NoLibav),
    }
}

/// The same of either program.
pub(super) fn version_of(program: &Path, options: &VideoOptions) -> Result<String, VideoError> {
    Ok(ask_version(program, &mut Patience::new(&options.limits), options)?.line)
}

fn ask_version(program: &Path, patience: &mut Patience, options: &VideoOptions) -> Result<Version, VideoError> {
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().as_ref().and_then(|known| known.get(program)) {
        return Ok(known.clone());
    }
    let title = program.display().to_string();
    let mut running = Program::start(&title, program, &["-version".into()], &options.limits, patience)?;
    running.count_all_time();
    let mut text = Vec::new();
    let read = (&mut running).take(MAX_LINE).read_to_end(&mut text);
    if let Err(error) = read {
        return Err(running.failure(&error));
    }
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().to_owned();
    let version = Version { passthrough: of_version(&line), line };
    lock().get_or_insert_default().insert(program.to_owned(), version.clone());
    Ok(version)
}

/// The option of a program that calls itself `ffmpeg version 5.1.9-0+deb12u1 ...`. Builds between versions have no such number and are new.
fn of_version(text: &str) -> [&'static str; 2] {
    let version = text.split_whitespace().nth(2).unwrap_or_default().trim_start_matches('n');
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), minor) if (major, minor.unwrap_or(0)) < (5, 1) => ["-vsync", "0"],
        _ => ["-fps_mode", "passthrough"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_versions() {
        let of = |version: &str| of_version(&format!("ffmpeg version {version} Copyright (c) 2000-2026"))[0];
        for old in ["4.4.2-0ubuntu0.22.04.1", "n4.0", "5.0.3", "3.4"] {
            assert_eq!(of(old), "-vsync", "{old}");
        }
        for new in ["5.1.9-0+deb12u1", "n6.0", "7", "10.2", "N-109542-g1bf1bc8"] {
            assert_eq!(of(new), "-fps_mode", "{new}");
        }
    }

    #[test]
    fn expressions() {
        assert_eq!(choose([0, 29, 30, 31, 40].into_iter()), "(eq(n\\,0)+(between(n\\,29\\,31)+eq(n\\,40)))");
        assert_eq!(choose([5].into_iter()), "eq(n\\,5)");
    }
}
