//! The drawing of a frame: icons of the corpus on white.

use super::film::{CIRCLE, Look, SHARES};
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
const SMALL: u32 = 28;
/// The smallest side of an icon that grows; each of the [`CIRCLE`] sizes is three quarters of a pixel larger than the one before.
const SMALLEST: u32 = 12;
/// Side of an icon that turns, as a share of the frame's: its corners stay in the frame.
const TURNED: f32 = 0.6875;
/// Icons side by side where there are several.
const CELLS: u32 = 2;
/// A picture looks the same when it is turned by an angle if its pixels, of which a part turns, differ by less than so many of 255 levels
/// in the mean: circles differ by less than 3 (resampling), a soccer ball by 10 to 13, most pictures by 20 to 60.
const SAME: f64 = 14.0;

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

    /// Filling the frame, turned clockwise by so many [`CIRCLE`]ths.
    fn draw_turned(&self, turn: u32) -> Result<RgbImage, String> {
        let turn = (turn % CIRCLE) as f32 / CIRCLE as f32;
        // Within half a turn to either side.
        let degrees = 360.0 * if turn > 0.5 { turn - 1.0 } else { turn };
        Ok(turned(&self.draw(CLIP_SIDE)?, degrees, TURNED, WHITE))
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
        Look::Moved { left, top } => format!("moved {left},{top}"),
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
            Look::Moved { left, top } => {
                for (x, y, pixel) in first.draw(SMALL)?.enumerate_pixels() {
                    canvas.put_pixel((left + x) % CLIP_SIDE, (top + y) % CLIP_SIDE, *pixel);
                }
            }
            Look::Sized(size) => {
                let side = SMALLEST + size * 3 / 4;
                let corner = i64::from((CLIP_SIDE - side) / 2);
                replace(&mut canvas, &first.draw(side)?, corner, corner);
            }
            Look::Turned(turn) => canvas = first.draw_turned(turn)?,
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

/// Whether turning can be seen: the picture is not much the same after a half, a quarter, or an eighth of a turn. Round pictures are, and
/// those of which two or four halves are alike. A picture that cannot be drawn cannot be seen.
pub(super) fn shows_turns(corpus: &EmojiCorpus, picture: PictureId) -> bool {
    turn_difference(&Icon::of(corpus, picture)).is_ok_and(|difference| difference >= SAME)
}

/// The least mean difference of a picture's pixels from those of the same one turned, in levels. Only what differs from white in one of both
/// counts, so that a small icon is not taken for a round one.
fn turn_difference(icon: &Icon) -> Result<f64, String> {
    let upright = icon.draw_turned(0)?;
    let mut least = f64::INFINITY;
    for turn in [CIRCLE / 2, CIRCLE / 4, CIRCLE / 8] {
        let turned = icon.draw_turned(turn)?;
        let (mut sum, mut count) = (0u64, 0u64);
        for (a, b) in upright.pixels().zip(turned.pixels()) {
            if *a != Rgb(WHITE) || *b != Rgb(WHITE) {
                sum += a.0.iter().zip(b.0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>();
                count += 3;
            }
        }
        least = least.min(sum as f64 / count.max(1) as f64);
    }
    Ok(least)
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

    #[test]
    fn an_icon_moves_by_pixels_and_comes_in_on_the_other_side() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let first = draw(&corpus, Look::Moved { left: 3, top: 5 });
        let second = draw(&corpus, Look::Moved { left: 60, top: 62 });
        for (x, y, pixel) in first.enumerate_pixels() {
            assert_eq!(second.get_pixel((x + 57) % CLIP_SIDE, (y + 57) % CLIP_SIDE), pixel, "{x}, {y}");
        }
        let [left, top, right, bottom] = box_of(&first);
        assert!(left >= 3 && top >= 5 && right < 3 + SMALL && bottom < 5 + SMALL);
    }

    #[test]
    fn sizes_grow_and_stay_in_the_frame() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let width = |size: u32| {
            let [left, top, right, bottom] = box_of(&draw(&corpus, Look::Sized(size)));
            assert!(left + right > 50 && left + right < 78 && top < bottom, "{left} {right}");
            right - left
        };
        let widths: Vec<u32> = (0..CIRCLE).step_by(7).map(width).collect();
        assert!(widths.windows(2).all(|pair| pair[0] < pair[1]), "{widths:?}");
        assert_eq!(SMALLEST + (CIRCLE - 1) * 3 / 4, 59);
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

    /// A quarter of a turn clockwise takes what is above to the right.
    #[test]
    fn turning_is_clockwise() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let [upright, quarter] = [0, CIRCLE / 4].map(|turn| draw(&corpus, Look::Turned(turn)));
        // Rotations by a quarter move pixels onto pixels; in a frame of an even side the centre lies between four of them.
        let moved = upright.enumerate_pixels().map(|(x, y, pixel)| {
            let there = quarter.get_pixel(CLIP_SIDE - 1 - y, x);
            pixel.0.iter().zip(there.0).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>()
        });
        let mean = moved.sum::<f64>() / f64::from(CLIP_SIDE * CLIP_SIDE * 3);
        // Resampled twice, by other fractions of a pixel.
        assert!(mean < 2.0, "{mean}");
    }

    #[test]
    fn round_and_symmetric_pictures_are_known() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let shown = |code: &str| shows_turns(&corpus, picture(&corpus, code));
        // Red circle, blue circle, black square, plus; against things with an upper end.
        for round in ["1f534", "1f535", "2b1b", "2795"] {
            assert!(!shown(round), "{round}");
        }
        for upright in ["1f34e", "1f43b", "1f337", "1f4a1", "1f697", "1f427"] {
            assert!(shown(upright), "{upright}");
        }
    }

    #[test]
    fn the_description_decides() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let of = |look, code: &str| frame(&corpus, look, &[picture(&corpus, code)]).key();
        let moved = |left| Look::Moved { left, top: 0 };
        assert_eq!(of(moved(1), "1f34e"), of(moved(1), "1f34e"));
        let others = [of(moved(2), "1f34e"), of(moved(1), "1f43b"), of(Look::Sized(1), "1f34e")];
        assert!(others.iter().all(|other| *other != of(moved(1), "1f34e")));
    }
}
