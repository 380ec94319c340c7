//! The drawing of a frame: icons of the corpus on white.

use super::film::{Look, SHARES, WAY};
use crate::drawn::{Drawing, DrawnPicture};
use crate::emoji::{EmojiCorpus, PictureId};
use crate::image::{DecodeLimits, Resample, RgbImage, decode, resize, to_rgb, turned};
use crate::sample::{MediaKey, WHITE};
use ::image::Rgb;
use ::image::imageops::replace;
use bytes::Bytes;
use std::sync::Arc;

/// Pixels of a frame's side: that of the corpus's pictures.
pub const CLIP_SIDE: u32 = 64;
/// Pixels of the side of an icon that moves, or of several.
pub(super) const SMALL: u32 = 32;
/// The smallest side of an icon that grows; each of the [`WAY`] sizes is half a pixel larger than the one before.
const SMALLEST: u32 = 12;
/// Side of an icon that goes round, and its distance from the frame's upper edge before it does: its corners stay in the frame.
const HAND: u32 = 28;
const HAND_TOP: u32 = 4;
/// Icons side by side where there are several.
const CELLS: u32 = 2;

/// A frame.
#[derive(Debug)]
struct Frame {
    look: Look,
    /// The icons that it shows, in the order of the look's places.
    icons: Vec<Icon>,
}

/// An icon.
#[derive(Debug, Clone)]
struct Icon {
    /// `noto/1f34e`.
    name: String,
    webp: Bytes,
}

impl Icon {
    fn of(corpus: &EmojiCorpus, picture: PictureId) -> Self {
        Self { name: corpus.picture_name(picture), webp: corpus.picture(picture).webp.clone() }
    }

    fn draw(&self, side: u32) -> Result<RgbImage, String> {
        let decoded = decode(&self.name, &self.webp, &DecodeLimits::default()).map_err(|e| e.to_string())?;
        let image = to_rgb(decoded, Some(WHITE));
        if image.dimensions() == (side, side) {
            return Ok(image);
        }
        let pixels = resize(&image, side as usize, side as usize, Resample::Bicubic);
        RgbImage::from_raw(side, side, pixels)
            .ok_or_else(|| format!("{} cannot be resized to {side} pixels", self.name))
    }
}

/// A frame that shows the pictures of its look's places.
pub(super) fn frame(corpus: &EmojiCorpus, look: Look, pictures: &[PictureId]) -> DrawnPicture {
    let of = |places: &[usize]| -> Vec<Icon> {
        places.iter().filter_map(|place| pictures.get(*place)).map(|picture| Icon::of(corpus, *picture)).collect()
    };
    // What is the same picture is the same drawing: an icon is a still one whatever its place, a blend of one alone is a still one.
    let (look, icons) = match look {
        Look::Blank | Look::Many(0) => (Look::Blank, Vec::new()),
        Look::Still(place) => (Look::Still(0), of(&[place])),
        Look::Blended(0) => (Look::Still(0), of(&[0])),
        Look::Blended(SHARES) => (Look::Still(0), of(&[1])),
        // A blend is told by the icon of which there is more; of a half of each, by the one whose name comes first.
        Look::Blended(share) => {
            let mut icons = of(&[0, 1]);
            let swaps = icons.first().zip(icons.get(1)).is_some_and(|(first, second)| first.name > second.name);
            if 2 * share > SHARES || (2 * share == SHARES && swaps) {
                icons.reverse();
            }
            (Look::Blended(share.min(SHARES - share)), icons)
        }
        other => (other, of(&[0])),
    };
    let names: Vec<&str> = icons.iter().map(|icon| icon.name.as_str()).collect();
    let name = format!("{} {}", words(look), names.join(" "));
    DrawnPicture::new(name.trim_end(), Arc::new(Frame { look, icons }))
}

/// A look in a few words, for names and descriptions.
fn words(look: Look) -> String {
    match look {
        Look::Blank => "blank".to_owned(),
        Look::Still(_) => "still".to_owned(),
        Look::Moved { sideways: true, along, across } => format!("moved {along},{across}"),
        Look::Moved { sideways: false, along, across } => format!("moved {across},{along} down"),
        Look::Sized(size) => format!("sized {size}"),
        Look::Turned(turn) => format!("turned {turn}"),
        Look::Blended(share) => format!("blended {share}"),
        Look::Many(cells) => format!("many {cells:04b}"),
    }
}

impl Drawing for Frame {
    fn description(&self) -> String {
        let mut text = format!("clips/1 {CLIP_SIDE} {}", words(self.look));
        for icon in &self.icons {
            // Another corpus may have another picture of that name.
            let content: String = MediaKey::of(&icon.webp).0.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!(" {}:{content}", icon.name));
        }
        text
    }

    fn draw(&self) -> Result<RgbImage, String> {
        let mut canvas = RgbImage::from_pixel(CLIP_SIDE, CLIP_SIDE, Rgb(WHITE));
        let Some(first) = self.icons.first() else { return Ok(canvas) };
        match self.look {
            Look::Blank => {}
            Look::Still(_) => canvas = first.draw(CLIP_SIDE)?,
            Look::Moved { sideways, along, across } => {
                // The way is as long as the frame and the icon together: nothing of it is seen at the first place.
                let along = i64::from(along) - i64::from(SMALL);
                let across = i64::from(across);
                let (left, top) = if sideways { (along, across) } else { (across, along) };
                replace(&mut canvas, &first.draw(SMALL)?, left, top);
            }
            Look::Sized(size) => {
                let side = SMALLEST + size / 2;
                let corner = i64::from((CLIP_SIDE - side) / 2);
                replace(&mut canvas, &first.draw(side)?, corner, corner);
            }
            Look::Turned(turn) => {
                let left = i64::from((CLIP_SIDE - HAND) / 2);
                replace(&mut canvas, &first.draw(HAND)?, left, i64::from(HAND_TOP));
                let turn = turn as f32 / WAY as f32;
                // Within half a turn to either side.
                canvas = turned(&canvas, 360.0 * if turn > 0.5 { turn - 1.0 } else { turn }, 1.0, WHITE);
            }
            Look::Blended(share) => {
                let Some(second) = self.icons.get(1) else { return first.draw(CLIP_SIDE) };
                let (first, second) = (first.draw(CLIP_SIDE)?, second.draw(CLIP_SIDE)?);
                let mix = |a: u8, b: u8| {
                    let sum = u32::from(a) * (SHARES - share) + u32::from(b) * share;
                    // A mean of bytes is one.
                    u8::try_from((sum + SHARES / 2) / SHARES).unwrap_or(u8::MAX)
                };
                for (pixel, (a, b)) in canvas.pixels_mut().zip(first.pixels().zip(second.pixels())) {
                    *pixel = Rgb(std::array::from_fn(|channel| mix(a[channel], b[channel])));
                }
            }
            Look::Many(cells) => {
                let small = first.draw(SMALL)?;
                let (pitch, margin) = (CLIP_SIDE / CELLS, (CLIP_SIDE / CELLS - SMALL) / 2);
                for cell in (0..CELLS * CELLS).filter(|cell| cells >> cell & 1 == 1) {
                    let corner = |number: u32| i64::from(number * pitch + margin);
                    replace(&mut canvas, &small, corner(cell % CELLS), corner(cell / CELLS));
                }
            }
        }
        Ok(canvas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::Style;

    fn picture(corpus: &EmojiCorpus, code: &str) -> PictureId {
        corpus.picture_in(corpus.by_code(code).unwrap().id, Style::Noto).unwrap().id
    }

    /// The box around what is not white: left, top, right, bottom.
    fn box_of(image: &RgbImage) -> [u32; 4] {
        let dark = || image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0.iter().any(|value| *value < 200));
        let [x, y] = [dark().map(|(x, ..)| x).collect::<Vec<_>>(), dark().map(|(_, y, _)| y).collect()];
        [x.iter().min(), y.iter().min(), x.iter().max(), y.iter().max()].map(|value| *value.unwrap())
    }

    fn draw(corpus: &EmojiCorpus, look: Look) -> RgbImage {
        let pictures = ["1f34e", "1f43b"].map(|code| picture(corpus, code));
        let drawn = frame(corpus, look, &pictures).draw().unwrap();
        assert_eq!(drawn.dimensions(), (CLIP_SIDE, CLIP_SIDE));
        drawn
    }

    /// By hand: the icon's corner from 32 pixels before the frame on.
    #[test]
    fn an_icon_moves_through_the_frame() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let at = |sideways, along, across| draw(&corpus, Look::Moved { sideways, along, across });
        assert!(at(true, 0, 5).pixels().all(|pixel| pixel.0 == WHITE));
        // 24 and 48 pixels on, so at -8 and 16.
        let (first, second) = (at(true, 24, 5), at(true, 48, 5));
        for y in 0..CLIP_SIDE {
            for x in 0..SMALL - 8 {
                assert_eq!(first.get_pixel(x, y), second.get_pixel(x + 24, y), "{x}, {y}");
            }
        }
        let [left, top, right, bottom] = box_of(&second);
        assert!(left >= 16 && right < 48 && top >= 5 && bottom < 37, "{left} {top} {right} {bottom}");
        // Downwards is the same way, standing.
        let down = at(false, 48, 16);
        assert_eq!(box_of(&down)[0], left);
        assert_eq!(box_of(&down)[1] - 16, top - 5);
    }

    #[test]
    fn sizes_grow_and_stay_in_the_frame() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let width = |size: u32| {
            let [left, top, right, bottom] = box_of(&draw(&corpus, Look::Sized(size)));
            assert!(left + right > 50 && left + right < 78 && top < bottom, "{left} {right}");
            right - left
        };
        let widths: Vec<u32> = (0..WAY).step_by(7).map(width).collect();
        assert!(widths.windows(2).all(|pair| pair[0] < pair[1]), "{widths:?}");
        assert_eq!(SMALLEST + (WAY - 1) / 2, 59);
    }

    #[test]
    fn still_blended_and_counted_icons() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let (apple, bear) = (draw(&corpus, Look::Still(0)), draw(&corpus, Look::Still(1)));
        assert_eq!(draw(&corpus, Look::Blended(0)), apple);
        assert_eq!(draw(&corpus, Look::Blended(SHARES)), bear);
        let half = draw(&corpus, Look::Blended(SHARES / 2));
        for ((a, b), pixel) in apple.pixels().zip(bear.pixels()).zip(half.pixels()) {
            for channel in 0..3 {
                // By hand: the mean, a half rounded up.
                assert_eq!(u32::from(pixel[channel]), (u32::from(a[channel]) + u32::from(b[channel])).div_ceil(2));
            }
        }
        // Backwards it is the same picture.
        let pictures = ["1f34e", "1f43b"].map(|code| picture(&corpus, code));
        let back = [pictures[1], pictures[0]];
        let key = |share: u32, pictures: &[PictureId]| frame(&corpus, Look::Blended(share), pictures).key();
        assert!((0..=SHARES).all(|share| key(share, &pictures) == key(SHARES - share, &back)));
        assert!(draw(&corpus, Look::Blank).pixels().all(|pixel| pixel.0 == WHITE));
        let many = draw(&corpus, Look::Many(0b1001));
        let quarter = |left: u32, top: u32| {
            let inside = |(x, y, _): &(u32, u32, &Rgb<u8>)| x / 32 == left && y / 32 == top;
            many.enumerate_pixels().filter(inside).any(|(_, _, pixel)| pixel.0 != WHITE)
        };
        assert_eq!([quarter(0, 0), quarter(1, 0), quarter(0, 1), quarter(1, 1)], [true, false, false, true]);
    }

    /// A quarter of a turn clockwise takes what is above to the right, and so on round; nothing leaves the frame.
    #[test]
    fn turning_is_clockwise() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let middle = |turn: u32| {
            let [left, top, right, bottom] = box_of(&draw(&corpus, Look::Turned(turn)));
            ((left + right) as i32 / 2 - 32, (top + bottom) as i32 / 2 - 32)
        };
        let quarters = [0, 1, 2, 3].map(|quarter| middle(quarter * WAY / 4));
        let side = |(x, y): (i32, i32)| if x.abs() > y.abs() { (x.signum(), 0) } else { (0, y.signum()) };
        assert_eq!(quarters.map(side), [(0, -1), (1, 0), (0, 1), (-1, 0)], "{quarters:?}");
        let farthest = f64::from(HAND / 2).hypot(f64::from(CLIP_SIDE / 2 - HAND_TOP));
        assert!(farthest <= f64::from(CLIP_SIDE / 2), "{farthest}");
    }

    #[test]
    fn the_description_decides() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let of = |look, code: &str| frame(&corpus, look, &[picture(&corpus, code)]).key();
        let moved = |along| Look::Moved { sideways: true, along, across: 0 };
        assert_eq!(of(moved(1), "1f34e"), of(moved(1), "1f34e"));
        let down = Look::Moved { sideways: false, along: 1, across: 0 };
        let others = [of(moved(2), "1f34e"), of(moved(1), "1f43b"), of(down, "1f34e"), of(Look::Sized(1), "1f34e")];
        assert!(others.iter().all(|other| *other != of(moved(1), "1f34e")));
    }
}
