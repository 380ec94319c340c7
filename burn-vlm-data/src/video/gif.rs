//! Frames of GIF files.
//!
//! Frames are counted by walking over the file's blocks; a picture whose data do not end is not counted. A file that is cut off within its
//! last picture shows the ones before it.

use super::info::VideoInfo;
use super::source::{End, FrameSource};
use super::{VideoError, VideoLimits, VideoOptions};
use crate::image::{DynamicImage, RgbImage, to_rgb};
use ::image::codecs::gif::GifDecoder;
use ::image::{AnimationDecoder, ImageDecoder, Limits};
use burn_vlm_base::guard;
use std::io::Cursor;
use std::time::{Duration, Instant};

/// Shorter delays, in hundredths of a second, count as [`USUAL_DELAY`], as in FFmpeg and browsers.
const LEAST_DELAY: u16 = 2;
/// See [`LEAST_DELAY`].
const USUAL_DELAY: u16 = 10;
/// Bytes of a pixel with transparency.
const RGBA: u64 = 4;
/// Canvases that the decoder holds at once: the screen, the picture and a copy, with room for tables.
const CANVASES: u64 = 4;

/// A GIF file in memory.
#[derive(Debug)]
pub struct GifSource {
    name: String,
    bytes: Vec<u8>,
    limits: VideoLimits,
    background: [u8; 3],
    info: Option<VideoInfo>,
}

impl GifSource {
    /// A GIF's bytes; nothing is looked at yet. `name` is what errors call it.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>, options: &VideoOptions) -> Self {
        let (limits, background) = (options.limits, options.background);
        Self { name: name.into(), bytes, limits, background, info: None }
    }

    fn fail(&self, reason: impl Into<String>) -> VideoError {
        VideoError::File { name: self.name.clone(), reason: reason.into() }
    }

    fn look(&self) -> Result<VideoInfo, VideoError> {
        let name = || self.name.clone();
        let layout = layout(&self.bytes, self.limits.max_frames);
        let Some(Layout { width, height, delays }) = layout else {
            return Err(self.fail("the file is damaged: no GIF, or one that ends within its header"));
        };
        let (width, height) = (u32::from(width), u32::from(height));
        if u64::from(width) * u64::from(height) > self.limits.max_pixels {
            return Err(VideoError::TooLarge { name: name(), width, height, max_pixels: self.limits.max_pixels });
        }
        if delays.len() > self.limits.max_frames {
            return Err(VideoError::TooLong { name: name(), max_frames: self.limits.max_frames });
        }
        if delays.is_empty() {
            return Err(VideoError::NoFrames { name: name(), said: "; the GIF has no whole picture".to_owned() });
        }
        Ok(timed(width, height, delays.into_iter().map(|delay| f64::from(delay) / 100.0), "gif"))
    }
}

/// What is known of an animation whose frames are shown for so many seconds.
pub(super) fn timed(width: u32, height: u32, delays: impl Iterator<Item = f64>, codec: &str) -> VideoInfo {
    let mut now = 0.0;
    let mut show = |delay: f64| {
        let begin = now;
        now += delay;
        begin
    };
    let times: Vec<f64> = delays.map(&mut show).collect();
    let fps = (now > 0.0).then_some(times.len() as f64 / now);
    VideoInfo {
        frames: times.len(),
        decoded: None,
        width,
        height,
        fps,
        times,
        key_interval: None,
        codec: codec.to_owned(),
    }
}

impl FrameSource for GifSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn info(&mut self) -> Result<&VideoInfo, VideoError> {
        let info = match self.info.take() {
            Some(info) => info,
            None => self.look()?,
        };
        Ok(self.info.insert(info))
    }

    fn read(
        &mut self,
        indices: &[usize],
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<End, VideoError> {
        let Some(last) = indices.last() else { return Ok(End::All) };
        let pixels = u64::from(self.info()?.width) * u64::from(self.info()?.height);
        let decoder = guard::guarded(|| {
            let mut decoder = GifDecoder::new(Cursor::new(self.bytes.as_slice()))?;
            let mut limits = Limits::default();
            limits.max_alloc = Some(pixels * RGBA * CANVASES + (1 << 20));
            decoder.set_limits(limits)?;
            Ok(decoder.into_frames())
        });
        let mut frames = match decoder {
            Ok(Ok(frames)) => frames,
            Ok(Err(error)) => return Err(self.fail(::image::ImageError::to_string(&error))),
            Err(_) => return Err(self.fail(GAVE_UP)),
        };
        let mut wanted = indices.iter().peekable();
        let mut worked = Duration::ZERO;
        for number in 0..=*last {
            self.limits.check_time(&self.name, "the GIF decoder", worked)?;
            let begin = Instant::now();
            let next = guard::guarded(|| frames.next());
            worked += begin.elapsed();
            let said = match next {
                Ok(Some(Ok(frame))) => {
                    if wanted.next_if_eq(&&number).is_some() {
                        let image = DynamicImage::ImageRgba8(frame.into_buffer());
                        take(number, to_rgb(image, Some(self.background)))?;
                    }
                    continue;
                }
                Ok(None) => String::new(),
                Ok(Some(Err(error))) => error.to_string(),
                Err(_) => GAVE_UP.to_owned(),
            };
            return Ok(End::Early { decoded: number, said });
        }
        Ok(End::All)
    }
}

/// What is said of a decoder that panicked.
const GAVE_UP: &str = "the decoder gave up on it: the file is damaged; save it again";

impl VideoLimits {
    /// Whether a decoder that worked so long may go on.
    pub(super) fn check_time(&self, name: &str, decoder: &str, worked: Duration) -> Result<(), VideoError> {
        if worked.as_secs_f64() <= self.seconds {
            return Ok(());
        }
        let (name, program) = (name.to_owned(), decoder.to_owned());
        Err(VideoError::TooSlow { name, program, seconds: self.seconds, said: String::new() })
    }
}

/// What a GIF's blocks say.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    width: u16,
    height: u16,
    /// How long each picture is shown, in hundredths of a second.
    delays: Vec<u16>,
}

/// Walks over the blocks of a GIF, to at most one picture more than `most`. `None` where the header is not whole.
fn layout(bytes: &[u8], most: usize) -> Option<Layout> {
    let byte = |at: usize| bytes.get(at).copied();
    let number = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
    // A colour table of 2 to 256 colours follows where the first bit says so.
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let (width, height) = (number(6)?, number(8)?);
    let mut at = 13 + table(byte(10)?);
    let mut delays = Vec::new();
    let mut delay = 0;
    // Behind blocks of data, each of which says how long it is, stands an empty one.
    let behind = |mut at: usize| loop {
        match byte(at)? {
            0 => return Some(at + 1),
            length => at += 1 + usize::from(length),
        }
    };
    while let Some(kind) = byte(at).filter(|_| delays.len() <= most) {
        let next = match kind {
            0x21 => {
                if byte(at + 1) == Some(0xf9) {
                    delay = number(at + 4).unwrap_or(0);
                }
                behind(at + 2)
            }
            // Position, size and flags; perhaps a colour table; the size of a code; data.
            0x2c => byte(at + 9).and_then(|flags| behind(at + 11 + table(flags))),
            _ => None,
        };
        let Some(next) = next else { break };
        if kind == 0x2c {
            delays.push(if delay < LEAST_DELAY { USUAL_DELAY } else { delay });
            delay = 0;
        }
        at = next;
    }
    Some(Layout { width, height, delays })
}
