//! The drawing of a scene: icons of the corpus on white.

use super::layout::Corner;
use super::level::{CANVAS, IconSize};
use crate::drawn::{Drawing, DrawnPicture};
use crate::emoji::{EmojiCorpus, PictureId};
use crate::image::{DecodeLimits, Resample, RgbImage, decode, resize, to_rgb};
use crate::sample::{MediaKey, WHITE};
use ::image::imageops::replace;
use bytes::Bytes;
use std::sync::Arc;

/// Digits of a scene's key in its name: 48 bits, which two of a million scenes share once in 500 times, were their icons the same.
const KEY_DIGITS: usize = 12;

/// Icons on a canvas of 192 x 192 pixels.
#[derive(Debug)]
struct Scene {
    side: u32,
    icons: Vec<Icon>,
}

/// An icon and where it stands.
#[derive(Debug)]
struct Icon {
    /// `noto/1f34e`.
    name: String,
    webp: Bytes,
    corner: Corner,
}

/// The picture of icons of one size at these corners.
pub(super) fn scene(corpus: &EmojiCorpus, size: IconSize, icons: &[(PictureId, Corner)]) -> DrawnPicture {
    let icon = |(picture, corner): &(PictureId, Corner)| Icon {
        name: corpus.picture_name(*picture),
        webp: corpus.picture(*picture).webp.clone(),
        corner: *corner,
    };
    let icons: Vec<Icon> = icons.iter().map(icon).collect();
    let names: Vec<&str> = icons.iter().map(|icon| icon.name.as_str()).collect();
    let words = format!("{} {}", size.as_str(), names.join(" "));
    let scene = Scene { side: size.side(), icons };
    // The same icons may stand elsewhere in another scene: the key tells them apart. A name is one file's, not a path.
    let key = MediaKey::of(scene.description().as_bytes()).to_string();
    let name = format!("scene {} {}", words.replace('/', "-"), &key[..KEY_DIGITS]);
    DrawnPicture::new(name, Arc::new(scene))
}

impl Drawing for Scene {
    fn description(&self) -> String {
        let mut text = format!("scenes/1 {CANVAS} {}", self.side);
        for icon in &self.icons {
            // Another corpus may have another picture of that name.
            let content = MediaKey::of(&icon.webp);
            text.push_str(&format!(" {}:{content}@{},{}", icon.name, icon.corner.left, icon.corner.top));
        }
        text
    }

    fn draw(&self) -> Result<RgbImage, String> {
        let mut canvas = RgbImage::from_pixel(CANVAS, CANVAS, ::image::Rgb(WHITE));
        for icon in &self.icons {
            let decoded = decode(&icon.name, &icon.webp, &DecodeLimits::default()).map_err(|e| e.to_string())?;
            let pixels =
                resize(&to_rgb(decoded, Some(WHITE)), self.side as usize, self.side as usize, Resample::Bicubic);
            let small = RgbImage::from_raw(self.side, self.side, pixels)
                .ok_or_else(|| format!("{} cannot be resized to {} pixels", icon.name, self.side))?;
            replace(&mut canvas, &small, i64::from(icon.corner.left), i64::from(icon.corner.top));
        }
        Ok(canvas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::Style;

    /// Icons stand where they should, at the size they should have, and nothing else is drawn.
    #[test]
    fn icons_stand_at_their_corners() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let apple = corpus.by_code("1f34e").unwrap().id;
        let picture = corpus.picture_in(apple, Style::Noto).unwrap().id;
        let corner = Corner { left: 120, top: 16 };
        let drawn = scene(&corpus, IconSize::Third, &[(picture, corner)]).draw().unwrap();
        assert_eq!(drawn.dimensions(), (CANVAS, CANVAS));
        // 64 of 192 pixels: the icon itself, not resized.
        let icon = corpus.media(picture);
        let crate::sample::Picture::Encoded { bytes, name } = &icon else { panic!("{icon:?}") };
        let icon = to_rgb(decode(name, bytes, &DecodeLimits::default()).unwrap(), Some(WHITE));
        for (x, y, pixel) in drawn.enumerate_pixels() {
            let inside = (120..184).contains(&x) && (16..80).contains(&y);
            let expected = if inside { *icon.get_pixel(x - 120, y - 16) } else { ::image::Rgb(WHITE) };
            assert_eq!(*pixel, expected, "{x}, {y}");
        }
    }

    #[test]
    fn the_description_decides() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let of = |code: &str| corpus.pictures_of(corpus.by_code(code).unwrap().id).next().unwrap().id;
        let of_scene = |size, icon, left| scene(&corpus, size, &[(icon, Corner { left, top: 0 })]);
        let key = |size, icon, left| of_scene(size, icon, left).key();
        let (apple, bear) = (of("1f34e"), of("1f43b"));
        let first = key(IconSize::Third, apple, 8);
        assert_eq!(first, key(IconSize::Third, apple, 8));
        let others = [key(IconSize::Third, bear, 8), key(IconSize::Third, apple, 16), key(IconSize::Quarter, apple, 8)];
        assert!(others.iter().all(|other| *other != first));
        // Another place is another name, which is a file's.
        let name = |left| of_scene(IconSize::Third, apple, left).name().to_owned();
        assert_ne!(name(8), name(16));
        let begin = format!("scene 1-3 {} ", corpus.picture_name(apple).replace('/', "-"));
        assert!(name(8).starts_with(&begin) && name(8).ends_with(&first.to_string()[..KEY_DIGITS]), "{}", name(8));
        assert!(!name(8).contains('/'), "{}", name(8));
    }
}
