//! Frames of GIF files.
//!
//! Frames are counted by walking over the file's blocks; a picture whose data do not end is not counted. A file that is cut off within its
//! last picture shows the ones before it, and is said to be damaged.
//!
//! What no picture covers, and what one is cleared to, is the file's background colour, unless the picture has a transparent colour: as
//! FFmpeg shows it, by which other videos are read. (The decoder leaves both transparent; Pillow begins with colour 0 instead.)

use super::info::VideoInfo;
use super::source::{End, FrameSource};
use super::{VideoError, VideoLimits, VideoOptions, waiting};
use crate::image::{Blocks, DynamicImage, Picture, RgbImage, to_rgb};
use ::image::codecs::gif::GifDecoder;
use ::image::{AnimationDecoder, ImageDecoder, Limits, Rgba, RgbaImage};
use burn_vlm_base::guard;
use std::io::Cursor;
use std::time::{Duration, Instant};

/// Shorter delays, in hundredths of a second, count as [`USUAL_DELAY`], as in FFmpeg and browsers.
const LEAST_DELAY: u16 = 2;
/// See [`LEAST_DELAY`].
const USUAL_DELAY: u16 = 10;
/// What errors call the decoder.
const DECODER: &str = "the GIF decoder";
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
        let Some(blocks) = Blocks::new(&self.bytes) else {
            return Err(self.fail("the file is damaged: no GIF, or one that ends within its header"));
        };
        let (width, height) = (u32::from(blocks.width), u32::from(blocks.height));
        if u64::from(width) * u64::from(height) > self.limits.max_pixels {
            return Err(VideoError::TooLarge { name: name(), width, height, max_pixels: self.limits.max_pixels });
        }
        let most = self.limits.max_frames;
        let (begin, mut blocks, mut delays) = (Instant::now(), blocks, Vec::new());
        let mut part = false;
        for picture in blocks.by_ref() {
            self.limits.check(&self.name, DECODER, begin.elapsed())?;
            if !picture.whole {
                part = true;
                break;
            }
            delays.push(picture.delay);
            if delays.len() > most {
                return Err(VideoError::TooLong { name: name(), max_frames: most });
            }
        }
        let damage = match delays.len() {
            frames if part => Some(format!("it breaks off within its {} picture", ordinal(frames + 1))),
            _ if blocks.at_end() => None,
            frames if blocks.is_empty() => {
                Some(format!("it has no end behind its {} picture: more may be missing", ordinal(frames)))
            }
            frames => Some(format!("what follows its {} picture is damaged and not shown", ordinal(frames))),
        };
        if delays.is_empty() {
            return Err(VideoError::NoFrames { name: name(), said: "; the GIF has no whole picture".to_owned() });
        }
        let delays = delays.into_iter().map(|delay| if delay < LEAST_DELAY { USUAL_DELAY } else { delay });
        let info = timed(width, height, delays.map(|delay| f64::from(delay) / 100.0), "gif");
        Ok(VideoInfo { damage, ..info })
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`.
fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
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
        damage: None,
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
        let Some(mut blocks) = Blocks::new(&self.bytes) else { return Ok(End::All) };
        let mut ground = Ground::new(&blocks);
        let mut wanted = indices.iter().peekable();
        let mut worked = Duration::ZERO;
        for number in 0..=*last {
            self.limits.check(&self.name, DECODER, worked)?;
            let begin = Instant::now();
            let said = match guard::guarded(|| frames.next()) {
                Ok(Some(Ok(frame))) => {
                    let shown = wanted.next_if_eq(&&number).map(|_| {
                        let mut image = frame.into_buffer();
                        ground.lay(&mut image);
                        to_rgb(DynamicImage::ImageRgba8(image), Some(self.background))
                    });
                    if let Some(picture) = blocks.next().filter(|picture| picture.clears) {
                        ground.clear(&picture);
                    }
                    worked += begin.elapsed();
                    if let Some(image) = shown {
                        take(number, image)?;
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
    /// Whether a decoder that worked so long may go on, and whether anybody waits for it.
    pub(super) fn check(&self, name: &str, decoder: &str, worked: Duration) -> Result<(), VideoError> {
        waiting::check(name)?;
        if worked.as_secs_f64() <= self.seconds {
            return Ok(());
        }
        let (name, program) = (name.to_owned(), decoder.to_owned());
        Err(VideoError::TooSlow { name, program, seconds: self.seconds, said: String::new() })
    }
}

/// What is seen where a frame is transparent.
struct Ground {
    below: RgbaImage,
    background: Rgba<u8>,
}

impl Ground {
    fn new(blocks: &Blocks<'_>) -> Self {
        // What is cleared without a palette for all pictures is black in FFmpeg, too.
        let [r, g, b] = blocks.background.unwrap_or_default();
        let background = Rgba([r, g, b, u8::MAX]);
        let opaque = blocks.background.is_some() && blocks.clone().next().is_some_and(|first| !first.transparent);
        let begin = if opaque { background } else { Rgba([0; 4]) };
        Self { below: RgbaImage::from_pixel(blocks.width.into(), blocks.height.into(), begin), background }
    }

    /// Puts it behind a frame.
    fn lay(&self, frame: &mut RgbaImage) {
        for (pixel, below) in frame.pixels_mut().zip(self.below.pixels()) {
            if pixel.0[3] == 0 {
                *pixel = *below;
            }
        }
    }

    /// Clears the area of a picture that was shown.
    fn clear(&mut self, picture: &Picture) {
        let [left, top, width, height] = picture.area;
        let colour = if picture.transparent { Rgba([0; 4]) } else { self.background };
        for y in top..(top + height).min(self.below.height()) {
            for x in left..(left + width).min(self.below.width()) {
                self.below.put_pixel(x, y, colour);
            }
        }
    }
}
