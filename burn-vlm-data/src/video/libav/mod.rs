//! Frames of video files by FFmpeg's libraries in this process: no programs, no pipes; the feature `libav`.
//!
//! Unusual here:
//! - what is read and by which rules is that of the programs ([`FfmpegSource`](super::FfmpegSource)): the same containers, the same counts, the
//!   same frames, turned and coloured by the same filters;
//! - a decoder that hangs or crashes takes the process with it: time is looked at between packets. Files that nobody vouches for are read
//!   by the programs.

mod convert;
mod log;
mod open;

use self::convert::{Converter, turning};
use self::log::Listening;
use super::ffprobe::{self, CONTAINERS, Probe, Stream, refused_size};
use super::program::{Patience, damage, last_words};
use super::runs::{self, Decoding, Found};
use super::source::{End, FrameSource};
use super::{VideoError, VideoInfo, VideoOptions, waiting};
use crate::image::RgbImage;
use av::codec::packet::side_data::Type;
use av::codec::{Context, threading};
use av::format::context::Input;
use av::format::stream::Disposition;
use av::media::Type as Medium;
use av::{Dictionary, Packet};
use ffmpeg_next as av;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempPath;

/// What errors call the libraries.
const TITLE: &str = "libav";
/// `AV_PKT_FLAG_DISCARD`: decoded for the sake of others, not shown.
const DISCARD: i32 = 4;
/// Ticks a second of times for the whole file.
const TICKS: f64 = 1e6;
/// Seconds that the program seeks further back where frames are stored in another order than shown.
const REORDERED: f64 = 3.0 / 23.0;
/// Errors of a decoder behind the last packet, after which nothing more is asked of it.
const LAST_ERRORS: usize = 16;

/// A video file that the libraries read.
pub struct LibavSource {
    name: String,
    path: PathBuf,
    options: VideoOptions,
    found: Found,
    /// Removed with the source.
    _temporary: Option<TempPath>,
}

/// Which libraries these are: others may decode to other pixels.
pub(super) fn version() -> String {
    let of = |version: u32| format!("{}.{}.{}", version >> 16, (version >> 8) & 0xff, version & 0xff);
    format!("libavcodec {} libavfilter {}", of(av::codec::version()), of(av::filter::version()))
}

impl LibavSource {
    /// A file; nothing is read yet. `name` is what errors call it.
    pub fn open(name: impl Into<String>, path: impl Into<PathBuf>, options: &VideoOptions) -> Self {
        let (name, path, options) = (name.into(), path.into(), options.clone());
        Self { name, path, options, found: Found::default(), _temporary: None }
    }

    /// A file that is removed with the source.
    pub(super) fn temporary(name: String, path: TempPath, options: &VideoOptions) -> Self {
        let source = Self::open(name, path.to_path_buf(), options);
        Self { _temporary: Some(path), ..source }
    }

    fn error(&self, reason: impl std::fmt::Display, listening: &Listening) -> VideoError {
        let said = super::error::saying(&last_words(&listening.text()));
        VideoError::Program { name: self.name.clone(), program: TITLE.to_owned(), reason: format!("{reason}{said}") }
    }

    /// An error where time is up, or too much was said.
    fn check(&self, patience: &Patience, listening: &Listening) -> Result<(), VideoError> {
        let said = || super::error::saying(&last_words(&listening.text()));
        let (name, program) = (self.name.clone(), TITLE.to_owned());
        waiting::check(&self.name)?;
        if patience.is_over() {
            return Err(VideoError::TooSlow { name, program, seconds: self.options.limits.seconds, said: said() });
        }
        if listening.bytes() > self.options.limits.max_messages {
            return Err(VideoError::Flood { name, program, what: "too many messages".to_owned(), said: said() });
        }
        Ok(())
    }

    fn input(&self, listening: &Listening) -> Result<Input, VideoError> {
        let fail = |error: av::Error| self.error(format!("cannot read it ({error})"), listening);
        av::init().map_err(fail)?;
        let path = argument(&self.path).ok_or_else(|| VideoError::File {
            name: self.name.clone(),
            reason: "a name that is not UTF-8 cannot be given to libav; rename it, or read it by the programs"
                .to_owned(),
        })?;
        let options = [("protocol_whitelist", "file"), ("format_whitelist", CONTAINERS)];
        let max_pixels = self.options.limits.max_pixels.to_string();
        open::open(path, options.into_iter().collect(), &[("max_pixels", &max_pixels)]).map_err(fail)
    }

    /// Decodes from the beginning, or from a time on. `each` is given every frame that is shown, with its number from there, until it says that
    /// it has enough.
    fn decode(
        &self,
        from: Option<f64>,
        patience: &mut Patience,
        listening: &Listening,
        each: &mut dyn FnMut(usize, &Input, &av::frame::Video, &mut Patience) -> Result<bool, VideoError>,
    ) -> Result<(), VideoError> {
        let begin = Instant::now();
        let mut input = self.input(listening)?;
        let fail = |error: av::Error| self.error(format!("cannot decode it ({error})"), listening);
        let video =
            video_of(&input).ok_or_else(|| VideoError::NoStream { name: self.name.clone(), said: String::new() })?;
        let (index, time_base) = (video.index(), f64::from(video.time_base()));
        let mut context = Context::from_parameters(video.parameters()).map_err(fail)?;
        let count = self.options.limits.threads.max(1);
        context.set_threading(threading::Config { kind: threading::Type::Frame, ..threading::Config::count(count) });
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(video.time_base());
        let codec = av::codec::decoder::find(decoder.id()).ok_or_else(|| fail(av::Error::DecoderNotFound))?;
        let max_pixels = self.options.limits.max_pixels.to_string();
        let options: Dictionary = [("max_pixels", max_pixels.as_str())].into_iter().collect();
        let mut decoder = decoder.open_as_with(codec, options).and_then(|opened| opened.video()).map_err(fail)?;
        if let Some(from) = from {
            let to = ((from - REORDERED) * TICKS) as i64;
            // Where it cannot be sought, nothing comes, and it is decoded through.
            if input.seek(to, ..to).is_err() {
                return Ok(());
            }
        }
        patience.spend(begin);
        let (mut number, mut at_end, mut errors) = (0, false, 0);
        let mut frame = av::frame::Video::empty();
        loop {
            let begin = Instant::now();
            let received = decoder.receive_frame(&mut frame);
            patience.spend(begin);
            self.check(patience, listening)?;
            match received {
                Ok(()) => {
                    let time = frame.timestamp().map(|time| time as f64 * time_base);
                    if from.is_some_and(|from| time.is_none_or(|time| time < from)) {
                        continue;
                    }
                    if !each(number, &input, &frame, patience)? {
                        return Ok(());
                    }
                    number += 1;
                    continue;
                }
                Err(av::Error::Eof) => return Ok(()),
                Err(_) if at_end => {
                    errors += 1;
                    if errors > LAST_ERRORS {
                        return Ok(());
                    }
                    continue;
                }
                // More packets are wanted, or one could not be decoded, which was said.
                Err(_) => {}
            }
            let begin = Instant::now();
            loop {
                let mut packet = Packet::empty();
                if packet.read(&mut input).is_err() {
                    // A decoder that takes no end has none.
                    at_end = true;
                    let _end = decoder.send_eof();
                    break;
                }
                if packet.stream() == index {
                    // What cannot be decoded is left out, as the program does.
                    let _sent = decoder.send_packet(&packet);
                    break;
                }
            }
            patience.spend(begin);
        }
    }
}

impl Decoding for LibavSource {
    fn found(&mut self) -> &mut Found {
        &mut self.found
    }

    fn options(&self) -> &VideoOptions {
        &self.options
    }

    fn look(&self) -> Result<Probe, VideoError> {
        let limits = &self.options.limits;
        let mut patience = Patience::new(limits);
        let listening = Listening::new();
        let begin = Instant::now();
        let mut input = self.input(&listening)?;
        patience.spend(begin);
        let mut found = ffprobe::Found::of(input.format().name(), ffprobe::file_bytes(&self.path));
        let Some(video) = video_of(&input) else {
            return found.probe(&self.name, &self.options, &listening.text());
        };
        let (index, time_base, stream) = (video.index(), f64::from(video.time_base()), stream_of(&video));
        let refused = refused_size(&listening.text()).filter(|_| stream.width == 0);
        let (width, height) = refused.unwrap_or((stream.width, stream.height));
        if u64::from(width) * u64::from(height) > limits.max_pixels {
            let (name, max_pixels) = (self.name.clone(), limits.max_pixels);
            return Err(VideoError::TooLarge { name, width, height, max_pixels });
        }
        found.stream = Some(stream);
        loop {
            let begin = Instant::now();
            let mut packet = Packet::empty();
            let read = packet.read(&mut input);
            patience.spend(begin);
            self.check(&patience, &listening)?;
            if read.is_err() {
                break;
            }
            if packet.stream() == index {
                let time = packet.pts().map(|pts| pts as f64 * time_base);
                found.packet(time, packet.is_key(), is_discarded(&packet));
            }
            if found.shown > limits.max_frames {
                return Err(VideoError::TooLong { name: self.name.clone(), max_frames: limits.max_frames });
            }
        }
        found.probe(&self.name, &self.options, &listening.text())
    }

    fn run(
        &self,
        indices: &[usize],
        (first, from): (usize, Option<f64>),
        patience: &mut Patience,
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<(usize, String), VideoError> {
        let Some(start) = indices.first() else { return Ok((0, String::new())) };
        let listening = Listening::new();
        let mut converter = Converter::default();
        let mut done = 0;
        self.decode(from, patience, &listening, &mut |number, input, frame, patience| {
            let Some(wanted) = indices.get(done) else { return Ok(false) };
            if number == wanted - start + first {
                let begin = Instant::now();
                if done == 0 && self.options.turn {
                    converter.turn = turned(input).0;
                }
                let index = *wanted;
                let image =
                    converter.rgb(frame).map_err(|error| self.error(format!("frame {index}: {error}"), &listening))?;
                patience.spend(begin);
                take(index, image)?;
                done += 1;
            }
            Ok(done < indices.len())
        })?;
        let words = if done == indices.len() { damage } else { last_words };
        Ok((done, words(&listening.text())))
    }

    fn count(&self, patience: &mut Patience) -> Result<(usize, String), VideoError> {
        let listening = Listening::new();
        let mut frames = 0;
        self.decode(None, patience, &listening, &mut |number, _, _, _| {
            frames = number + 1;
            Ok(true)
        })?;
        Ok((frames, last_words(&listening.text())))
    }
}

impl FrameSource for LibavSource {
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

/// A file's name for the libraries: never a protocol.
fn argument(path: &Path) -> Option<CString> {
    CString::new(format!("file:{}", path.to_str()?)).ok()
}

/// The first stream of moving pictures; a cover is none.
fn video_of(input: &Input) -> Option<av::format::stream::Stream<'_>> {
    input.streams().find(|stream| {
        let attached = stream.disposition().contains(Disposition::ATTACHED_PIC);
        stream.parameters().medium() == Medium::Video && !attached
    })
}

/// How the frames of a file are turned, and whether width and height change places.
fn turned(input: &Input) -> (&'static str, bool) {
    video_of(input).map_or(("", false), |stream| turned_of(&stream))
}

fn turned_of(stream: &av::format::stream::Stream<'_>) -> (&'static str, bool) {
    let matrix = stream.side_data().find(|data| data.kind() == Type::DisplayMatrix);
    matrix.map_or(("", false), |matrix| turning(matrix.data()))
}

fn stream_of(stream: &av::format::stream::Stream<'_>) -> Stream {
    let decoder = Context::from_parameters(stream.parameters()).ok().and_then(|context| context.decoder().video().ok());
    let rate = f64::from(stream.avg_frame_rate());
    Stream {
        codec: stream.parameters().id().name().to_owned(),
        width: decoder.as_ref().map_or(0, |decoder| decoder.width()),
        height: decoder.as_ref().map_or(0, |decoder| decoder.height()),
        rate: Some(rate).filter(|rate| rate.is_finite() && *rate > 0.0),
        turned: turned_of(stream).1,
        promised: usize::try_from(stream.frames()).ok().filter(|frames| *frames > 0),
        held_back: held_back(stream),
    }
}

/// Frames that a decoder holds back to put them in order.
#[allow(unsafe_code)]
fn held_back(stream: &av::format::stream::Stream<'_>) -> usize {
    let parameters = stream.parameters();
    // SAFETY: the parameters are whole for as long as they are borrowed; the wrapper hides this number alone.
    let delay = unsafe { (*parameters.as_ptr()).video_delay };
    usize::try_from(delay).unwrap_or_default()
}

#[allow(unsafe_code)]
fn is_discarded(packet: &Packet) -> bool {
    use av::codec::packet::Ref;
    // SAFETY: the packet is whole for as long as it is borrowed; the wrapper hides this flag alone.
    unsafe { (*packet.as_ptr()).flags & DISCARD != 0 }
}
