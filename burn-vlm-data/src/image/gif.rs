//! The ground of a GIF whose first picture is smaller than its screen.
//!
//! The decoder leaves it transparent, so that it would become white; Pillow fills it with colour 0 of the palette, unless the picture
//! has a transparent colour.

use ::image::{DynamicImage, Rgba};

/// What the header of the first picture says.
#[derive(Debug, PartialEq, Eq)]
struct First {
    /// Left, top, width, height.
    area: [u32; 4],
    /// Colour 0 of its palette.
    colour: [u8; 3],
    /// It has a transparent colour.
    transparent: bool,
}

/// Fills what the first picture leaves of the screen.
pub(super) fn lay_ground(image: &mut DynamicImage, bytes: &[u8]) {
    let Some(First { area: [left, top, width, height], colour: [r, g, b], transparent: false }) = first(bytes) else {
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

/// Reads the headers up to the first picture.
fn first(bytes: &[u8]) -> Option<First> {
    let byte = |at: usize| bytes.get(at).copied();
    // A colour table of 2 to 256 colours follows where the first bit says so.
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let colour = |at: usize| bytes.get(at..)?.first_chunk::<3>().copied();
    let flags = byte(10)?;
    let mut palette = if table(flags) > 0 { colour(13)? } else { [0; 3] };
    let mut at = 13 + table(flags);
    let mut transparent = false;
    loop {
        match byte(at)? {
            0x21 => {
                if byte(at + 1)? == 0xf9 {
                    transparent = byte(at + 3)? & 1 == 1;
                }
                at += 2;
                while byte(at)? != 0 {
                    at += 1 + usize::from(byte(at)?);
                }
                at += 1;
            }
            0x2c => {
                let number = |at: usize| Some(u32::from(u16::from_le_bytes([byte(at)?, byte(at + 1)?])));
                let area = [number(at + 1)?, number(at + 3)?, number(at + 5)?, number(at + 7)?];
                if table(byte(at + 9)?) > 0 {
                    palette = colour(at + 10)?;
                }
                return Some(First { area, colour: palette, transparent });
            }
            _ => return None,
        }
    }
}
