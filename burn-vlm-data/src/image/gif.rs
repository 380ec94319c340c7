//! The blocks of a GIF, and the ground of one whose first picture is smaller than its screen.
//!
//! The decoder leaves that ground transparent, so that it would become white; Pillow fills it with colour 0 of the palette, unless the
//! picture has a transparent colour.

use ::image::{DynamicImage, Rgba};

/// Walks over the blocks of a GIF: an iterator of its pictures, of which the last may break off.
#[derive(Debug, Clone)]
pub(crate) struct Blocks<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Width of the screen.
    pub(crate) width: u16,
    /// Its height.
    pub(crate) height: u16,
    /// The background colour, where there is a palette for all pictures.
    pub(crate) background: Option<[u8; 3]>,
    /// Colour 0 of that palette.
    colour: [u8; 3],
}

/// What the header of a picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Left, top, width, height.
    pub(crate) area: [u32; 4],
    /// Colour 0 of its palette.
    pub(crate) colour: [u8; 3],
    /// It has a transparent colour.
    pub(crate) transparent: bool,
    /// Its area becomes the background after it was shown.
    pub(crate) clears: bool,
    /// How long it is shown, in hundredths of a second.
    pub(crate) delay: u16,
    /// Its data end within the file.
    pub(crate) whole: bool,
}

/// A block that says how the next picture is shown: flags, delay, transparent colour.
const CONTROL: u8 = 0xf9;
/// The mark of a GIF's end.
const END: u8 = 0x3b;
/// How a picture is disposed of that becomes background.
const TO_BACKGROUND: u8 = 2;

impl<'b> Blocks<'b> {
    /// Of a file's bytes; `None` where the header is not whole.
    pub(crate) fn new(bytes: &'b [u8]) -> Option<Self> {
        let start = Self { bytes, at: 13, width: 0, height: 0, background: None, colour: [0; 3] };
        let flags = start.byte(10)?;
        let palette = table(flags);
        let index = 3 * usize::from(start.byte(11)?);
        // A colour that the palette does not have is black.
        let background = (palette > 0).then(|| {
            let colour = start.colour(13 + index);
            colour.filter(|_| index < palette).unwrap_or_default()
        });
        let colour = if palette > 0 { start.colour(13).unwrap_or_default() } else { [0; 3] };
        let (width, height) = (start.number(6)?, start.number(8)?);
        Some(Self { at: 13 + palette, width, height, background, colour, ..start })
    }

    /// Whether the mark of a GIF's end is what comes next.
    pub(crate) fn at_end(&self) -> bool {
        self.byte(self.at) == Some(END)
    }

    /// Whether nothing comes next.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn number(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn colour(&self, at: usize) -> Option<[u8; 3]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    /// Behind blocks of data, each of which says how long it is, stands an empty one.
    fn behind(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.byte(at)? {
                0 => return Some(at + 1),
                length => at += 1 + usize::from(length),
            }
        }
    }
}

/// Bytes of a table of 2 to 256 colours, which follows where the first bit says so.
fn table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

impl Iterator for Blocks<'_> {
    type Item = Picture;

    fn next(&mut self) -> Option<Picture> {
        let (mut flags, mut delay) = (0, 0);
        loop {
            let at = self.at;
            match self.byte(at)? {
                0x21 => {
                    if self.byte(at + 1)? == CONTROL {
                        flags = self.byte(at + 3)?;
                        delay = self.number(at + 4).unwrap_or(0);
                    }
                    self.at = self.behind(at + 2)?;
                }
                0x2c => {
                    let number = |at| self.number(at).map(u32::from);
                    let area = [number(at + 1)?, number(at + 3)?, number(at + 5)?, number(at + 7)?];
                    let palette = table(self.byte(at + 9)?);
                    let colour = if palette > 0 { self.colour(at + 10)? } else { self.colour };
                    // Before the data stands the size of their codes.
                    let end = self.behind(at + 11 + palette);
                    self.at = end.unwrap_or(self.bytes.len());
                    let (transparent, clears) = (flags & 1 == 1, (flags >> 2) & 7 == TO_BACKGROUND);
                    return Some(Picture { area, colour, transparent, clears, delay, whole: end.is_some() });
                }
                _ => return None,
            }
        }
    }
}

/// Fills what the first picture leaves of the screen.
pub(super) fn lay_ground(image: &mut DynamicImage, bytes: &[u8]) {
    let first = Blocks::new(bytes).and_then(|mut blocks| blocks.next());
    let Some(Picture { area: [left, top, width, height], colour: [r, g, b], transparent: false, .. }) = first else {
        return;
    };
    let DynamicImage::ImageRgba8(image) = image else { return };
    let inside = |at: u32, begin: u32, length: u32| at >= begin && at - begin < length;
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if !inside(x, left, width) || !inside(y, top, height) {
            *pixel = Rgba([r, g, b, u8::MAX]);
        }
    }
}
