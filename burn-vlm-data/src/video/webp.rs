//! Frames of WebP files, animated or not.
//!
//! Unusual here: only single pictures are given to the decoder; the animation is put together here, since the decoder's own does not clear
//! a frame's rectangle that is to be disposed of. Blending is libwebp's, in whole numbers.

use super::gif::timed;
use super::info::VideoInfo;
use super::source::{End, FrameSource};
use super::{VideoError, VideoLimits, VideoOptions};
use crate::image::{DecodeLimits, DynamicImage, ImageError, RgbImage, decode, to_rgb};
use ::image::{Rgba, RgbaImage};
use std::ops::Range;
use std::time::{Duration, Instant};

/// A WebP file in memory.
#[derive(Debug)]
pub struct WebpSource {
    name: String,
    bytes: Vec<u8>,
    limits: VideoLimits,
    background: [u8; 3],
    layout: Option<(VideoInfo, Vec<Frame>)>,
}

/// A frame of an animation.
#[derive(Debug, Clone)]
struct Frame {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    /// How long it is shown, in thousandths of a second.
    milliseconds: u32,
    /// It is laid over what is there, else it replaces that.
    blends: bool,
    /// Its rectangle is cleared after it was shown.
    clears: bool,
    /// The chunks of its picture.
    data: Range<usize>,
}

/// A chunk's name, and where its content is.
type Chunk = ([u8; 4], Range<usize>);

/// Bytes of an animation's frame before its picture.
const FRAME_HEADER: usize = 16;

impl WebpSource {
    /// A WebP's bytes; nothing is looked at yet. `name` is what errors call it.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>, options: &VideoOptions) -> Self {
        let (limits, background) = (options.limits, options.background);
        Self { name: name.into(), bytes, limits, background, layout: None }
    }

    fn fail(&self, reason: impl Into<String>) -> VideoError {
        VideoError::File { name: self.name.clone(), reason: reason.into() }
    }

    fn layout(&mut self) -> Result<&(VideoInfo, Vec<Frame>), VideoError> {
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => self.look()?,
        };
        Ok(self.layout.insert(layout))
    }

    fn look(&self) -> Result<(VideoInfo, Vec<Frame>), VideoError> {
        let chunks = chunks(&self.bytes, 12);
        let canvas = chunks.iter().find(|(name, _)| name == b"VP8X").and_then(|(_, content)| {
            let content = self.bytes.get(content.clone())?;
            Some((three(content, 4)? + 1, three(content, 7)? + 1, *content.first()? & ANIMATED != 0))
        });
        let Some((width, height, true)) = canvas else {
            // A single picture.
            let image = self.picture(&self.bytes)?;
            let (width, height) = (image.width(), image.height());
            return Ok((timed(width, height, std::iter::once(0.1), "webp"), Vec::new()));
        };
        if u64::from(width) * u64::from(height) > self.limits.max_pixels {
            let max_pixels = self.limits.max_pixels;
            return Err(VideoError::TooLarge { name: self.name.clone(), width, height, max_pixels });
        }
        let mut frames = Vec::new();
        let mut damage = self.missing();
        for (_, content) in chunks.iter().filter(|(name, _)| name == b"ANMF") {
            let Some(frame) = frame(&self.bytes, content) else {
                damage
                    .get_or_insert_with(|| format!("what follows its frame {} is damaged and not shown", frames.len()));
                break;
            };
            if frame.left + frame.width > width || frame.top + frame.height > height {
                return Err(self.fail(format!("frame {} reaches beyond its {width} x {height} pixels", frames.len())));
            }
            frames.push(frame);
            if frames.len() > self.limits.max_frames {
                return Err(VideoError::TooLong { name: self.name.clone(), max_frames: self.limits.max_frames });
            }
        }
        if frames.is_empty() {
            return Err(VideoError::NoFrames {
                name: self.name.clone(),
                said: "; the WebP has no whole frame".to_owned(),
            });
        }
        // Frames that are shown for no time (which is for a player to say) for a tenth of a second, as GIF's.
        let delays = frames.iter().map(|frame| match frame.milliseconds {
            0 => 0.1,
            milliseconds => f64::from(milliseconds) / 1000.0,
        });
        Ok((VideoInfo { damage, ..timed(width, height, delays, "webp") }, frames))
    }

    /// What is wrong with a file that breaks off: its first bytes say how long it is.
    fn missing(&self) -> Option<String> {
        let length = u32::from_le_bytes(*self.bytes.get(4..)?.first_chunk()?);
        // Behind those that say what it is and how long.
        let (promised, there) = (u64::from(length) + 8, self.bytes.len() as u64);
        (promised > there).then(|| format!("it breaks off: its header promises {promised} bytes, {there} are there"))
    }

    /// Decodes a file of one picture.
    fn picture(&self, file: &[u8]) -> Result<DynamicImage, VideoError> {
        let limits = DecodeLimits { max_pixels: self.limits.max_pixels, ..DecodeLimits::default() };
        decode(&self.name, file, &limits).map_err(|error| match error {
            ImageError::TooLarge { name, width, height, max_pixels } => {
                VideoError::TooLarge { name, width, height, max_pixels }
            }
            // It would call the video a picture.
            ImageError::Decode { reason, .. } => self.fail(reason),
            other => self.fail(other.to_string()),
        })
    }

    /// The picture of a frame.
    fn decode_frame(&self, frame: &Frame) -> Result<RgbaImage, VideoError> {
        let file = single(&self.bytes, frame).ok_or_else(|| self.fail("a frame without a picture"))?;
        let image = self.picture(&file)?.into_rgba8();
        match image.dimensions() == (frame.width, frame.height) {
            true => Ok(image),
            false => Err(self.fail("a frame is not as large as it says")),
        }
    }
}

impl FrameSource for WebpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn info(&mut self) -> Result<&VideoInfo, VideoError> {
        Ok(&self.layout()?.0)
    }

    fn read(
        &mut self,
        indices: &[usize],
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<End, VideoError> {
        let Some(last) = indices.last() else { return Ok(End::All) };
        let (info, frames) = self.layout()?.clone();
        if frames.is_empty() {
            if indices.contains(&0) {
                take(0, to_rgb(self.picture(&self.bytes)?, Some(self.background)))?;
            }
            return Ok(if *last == 0 { End::All } else { End::Early { decoded: 1, said: String::new() } });
        }
        let mut worked = Duration::ZERO;
        let mut canvas = RgbaImage::new(info.width, info.height);
        let mut wanted = indices.iter().peekable();
        for number in 0..=*last {
            self.limits.check(&self.name, "the WebP decoder", worked)?;
            let begin = Instant::now();
            let Some(frame) = frames.get(number) else {
                return Ok(End::Early { decoded: frames.len(), said: String::new() });
            };
            let picture = match self.decode_frame(frame) {
                Ok(picture) => picture,
                Err(error) => return Ok(End::Early { decoded: number, said: error.to_string() }),
            };
            lay(&mut canvas, &picture, frame);
            let shown = wanted
                .next_if_eq(&&number)
                .map(|_| to_rgb(DynamicImage::ImageRgba8(canvas.clone()), Some(self.background)));
            if frame.clears {
                clear(&mut canvas, frame);
            }
            worked += begin.elapsed();
            if let Some(image) = shown {
                take(number, image)?;
            }
        }
        Ok(End::All)
    }
}

/// Flags of a file's header.
const ANIMATED: u8 = 2;
/// See [`ANIMATED`].
const TRANSPARENT: u8 = 0x10;

/// Three bytes as a number.
fn three(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk::<3>()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

/// The whole chunks from a place on. Contents of odd length are followed by a byte that counts for nothing.
fn chunks(bytes: &[u8], mut at: usize) -> Vec<Chunk> {
    let mut found = Vec::new();
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u32::from_le_bytes([e, f, g, h]) as usize;
        let (begin, end) = (at + 8, (at + 8).saturating_add(length));
        if end > bytes.len() {
            break;
        }
        found.push(([a, b, c, d], begin..end));
        at = end + length % 2;
    }
    found
}

/// The header of an animation's frame.
fn frame(bytes: &[u8], content: &Range<usize>) -> Option<Frame> {
    let header = bytes.get(content.clone())?;
    let flags = *header.get(FRAME_HEADER - 1)?;
    Some(Frame {
        left: three(header, 0)? * 2,
        top: three(header, 3)? * 2,
        width: three(header, 6)? + 1,
        height: three(header, 9)? + 1,
        milliseconds: three(header, 12)?,
        blends: flags & 2 == 0,
        clears: flags & 1 != 0,
        data: content.start + FRAME_HEADER..content.end,
    })
}

/// A file of a frame's picture alone.
fn single(bytes: &[u8], frame: &Frame) -> Option<Vec<u8>> {
    let inside = bytes.get(..frame.data.end)?;
    let parts = chunks(inside, frame.data.start);
    let find = |name: &[u8; 4]| parts.iter().find(|(other, _)| other == name);
    let picture = find(b"VP8L").or_else(|| find(b"VP8 "))?;
    let mut body = b"WEBP".to_vec();
    let alpha = find(b"ALPH").filter(|_| picture.0 == *b"VP8 ");
    if let Some(alpha) = alpha {
        let side = |length: u32| (length - 1).to_le_bytes();
        let mut header = vec![TRANSPARENT, 0, 0, 0];
        header.extend_from_slice(side(frame.width).get(..3)?);
        header.extend_from_slice(side(frame.height).get(..3)?);
        push_chunk(&mut body, b"VP8X", &header)?;
        push_chunk(&mut body, b"ALPH", bytes.get(alpha.1.clone())?)?;
    }
    push_chunk(&mut body, &picture.0, bytes.get(picture.1.clone())?)?;
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    file.extend_from_slice(&body);
    Some(file)
}

fn push_chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) -> Option<()> {
    file.extend_from_slice(name);
    file.extend_from_slice(&u32::try_from(content.len()).ok()?.to_le_bytes());
    file.extend_from_slice(content);
    file.resize(file.len() + content.len() % 2, 0);
    Some(())
}

/// Lays a frame's picture on the canvas.
fn lay(canvas: &mut RgbaImage, picture: &RgbaImage, frame: &Frame) {
    for (x, y, pixel) in picture.enumerate_pixels() {
        if let Some(below) = canvas.get_pixel_mut_checked(frame.left + x, frame.top + y) {
            *below = if frame.blends { over(*pixel, *below) } else { *pixel };
        }
    }
}

/// A colour over another, neither multiplied by its alpha: libwebp's arithmetic.
fn over(Rgba(above): Rgba<u8>, Rgba(below): Rgba<u8>) -> Rgba<u8> {
    let [above_alpha, below_alpha] = [above[3], below[3]].map(u32::from);
    match above_alpha {
        255 => return Rgba(above),
        0 => return Rgba(below),
        _ => {}
    }
    let kept = (below_alpha * (256 - above_alpha)) >> 8;
    let alpha = above_alpha + kept;
    let scale = (1_u32 << 24) / alpha;
    let mix = |channel: usize| {
        let sum = u32::from(above[channel]) * above_alpha + u32::from(below[channel]) * kept;
        ((u64::from(sum) * u64::from(scale)) >> 24).min(255) as u8
    };
    Rgba([mix(0), mix(1), mix(2), alpha.min(255) as u8])
}

/// Makes a frame's rectangle transparent: players ignore the file's background colour, as the format allows.
fn clear(canvas: &mut RgbaImage, frame: &Frame) {
    for y in frame.top..frame.top + frame.height {
        for x in frame.left..frame.left + frame.width {
            if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
                *pixel = Rgba([0; 4]);
            }
        }
    }
}
