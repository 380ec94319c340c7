//! A word as a picture: shaped by `rustybuzz` and drawn by `tiny-skia` in one font, in one of five levels of difficulty.

use super::fonts::Font;
use super::layout::Layout;
use super::outline::outline;
use crate::drawn::Drawing;
use crate::emoji::{EmojiCorpus, PictureId};
use crate::image::{DecodeLimits, RgbImage, decode, to_rgb};
use crate::sample::MediaKey;
use bytes::Bytes;
use image::Rgb;
use image::imageops::{FilterType, resize};
use serde::{Deserialize, Serialize};
use tiny_skia::{FillRule, Paint, Pixmap, PremultipliedColorU8, Rect, Transform};

/// Version of the drawing: another one where the same description would give other pixels.
const VERSION: u32 = 1;
/// The smallest and the largest side of a picture in pixels: below, no letter can be read; above, nothing is gained.
pub const SIDES: std::ops::RangeInclusive<u32> = 32..=512;
/// Share of the side that a word of the largest size may be wide, and high.
const WIDEST: f32 = 0.92;
/// The same for its height: short words would fill the picture.
const HIGHEST: f32 = 0.45;
/// Of that, a small word's share.
const SMALL: f32 = 0.6;
/// What is kept of the picture behind a word, the rest is white: the word stays black on lighter.
const BEHIND: f32 = 0.55;
const BLACK: [u8; 3] = [0; 3];
const WHITE: [u8; 3] = [255; 3];

/// How hard a word is to read: each but the first changes one thing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Black on white, as large as fits.
    Plain,
    /// One colour on another.
    Coloured,
    /// Three fifths of the size.
    Small,
    /// Turned by 20 to 30 degrees.
    Rotated,
    /// Black on a picture of the corpus.
    Clutter,
}

impl Level {
    /// All levels.
    pub const ALL: [Level; 5] = [Self::Plain, Self::Coloured, Self::Small, Self::Rotated, Self::Clutter];

    /// The name in scores, `"plain"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Coloured => "coloured",
            Self::Small => "small",
            Self::Rotated => "rotated",
            Self::Clutter => "clutter",
        }
    }
}

/// A word in a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordPicture {
    word: String,
    font: Font,
    level: Level,
    layout: Layout,
    side: u32,
    /// What is behind it, at [`Level::Clutter`]: name and file.
    behind: Option<(String, Bytes)>,
    /// The word that it is a piece of, and is drawn as large as.
    piece_of: Option<String>,
}

impl WordPicture {
    /// A word in a square of `side` pixels. `behind` is shown at [`Level::Clutter`] alone.
    pub fn new(
        word: &str,
        font: Font,
        (level, layout): (Level, Layout),
        side: u32,
        behind: Option<(&EmojiCorpus, PictureId)>,
    ) -> Self {
        let behind = behind.filter(|_| level == Level::Clutter);
        let behind = behind.map(|(corpus, id)| (corpus.picture_name(id), corpus.picture(id).webp.clone()));
        Self { word: word.to_owned(), font, level, layout: layout.of(level), side, behind, piece_of: None }
    }

    /// The same with letters as large as those of a word that it is a piece of.
    pub fn piece_of(self, word: &str) -> Self {
        Self { piece_of: Some(word.to_owned()), ..self }
    }

    /// Where and in which colours it stands.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What is behind it, `"noto/1f600"`.
    pub fn behind(&self) -> Option<&str> {
        self.behind.as_ref().map(|(name, _)| name.as_str())
    }

    /// The ground.
    fn ground(&self, colour: [u8; 3]) -> Result<RgbImage, String> {
        let Some((name, webp)) = &self.behind else {
            return Ok(RgbImage::from_pixel(self.side, self.side, Rgb(colour)));
        };
        let icon = decode(name, webp, &DecodeLimits::default()).map_err(|error| error.to_string())?;
        let mut icon = resize(&to_rgb(icon, Some(WHITE)), self.side, self.side, FilterType::Triangle);
        let kept = (BEHIND * 256.0) as u32;
        let fade = |value: &mut u8| *value = ((u32::from(*value) * kept + 255 * (256 - kept)) >> 8) as u8;
        icon.iter_mut().for_each(fade);
        Ok(icon)
    }

    /// The word alone on nothing, in its place.
    fn ink(&self, colour: [u8; 3]) -> Result<Pixmap, String> {
        let path = outline(&self.word, self.font)?;
        let ink = path.bounds();
        let sizing = match &self.piece_of {
            Some(word) => outline(word, self.font)?.bounds(),
            None => ink,
        };
        let side = self.side as f32;
        let (sin, cos) = f32::from(self.layout.angle.unsigned_abs()).to_radians().sin_cos();
        // The box of a turned word.
        let turned = |ink: Rect| (ink.width() * cos + ink.height() * sin, ink.width() * sin + ink.height() * cos);
        let most_high = if self.level == Level::Rotated { WIDEST } else { HIGHEST };
        let fits = |ink: Rect| {
            let (width, height) = turned(ink);
            (WIDEST * side / width).min(most_high * side / height).min(HIGHEST * side / ink.height())
        };
        let (width, height) = turned(ink);
        // A piece is no larger than its word, but for letters that join otherwise.
        let fits = fits(sizing).min(fits(ink));
        let small = if self.level == Level::Small { SMALL } else { 1.0 };
        let scale = fits * small * f32::from(self.layout.scale) / 100.0;
        let place = |free: f32, percent: u8| free * (0.5 * (1.0 - WIDEST) + WIDEST * f32::from(percent) / 100.0);
        let x = place(side - width * scale, self.layout.across) + 0.5 * width * scale;
        let y = place(side - height * scale, self.layout.down) + 0.5 * height * scale;
        let to_centre = Transform::from_translate(-ink.left() - 0.5 * ink.width(), -ink.top() - 0.5 * ink.height());
        let transform =
            to_centre.post_scale(scale, scale).post_rotate(f32::from(self.layout.angle)).post_translate(x, y);
        let mut pixmap = Pixmap::new(self.side, self.side).ok_or("a picture without pixels")?;
        let [red, green, blue] = colour;
        let mut paint = Paint::default();
        paint.set_color_rgba8(red, green, blue, u8::MAX);
        pixmap.fill_path(&path, &paint, FillRule::Winding, transform, None);
        Ok(pixmap)
    }
}

impl Drawing for WordPicture {
    fn description(&self) -> String {
        let Self { word, font, level, layout, side, .. } = self;
        let behind = match &self.behind {
            // Another corpus may have another picture of that name.
            Some((name, webp)) => format!("{name}:{}", MediaKey::of(webp)),
            None => "-".to_owned(),
        };
        let whole = self.piece_of.as_ref().map_or_else(String::new, |whole| format!(" of {whole}"));
        format!(
            "words/{VERSION} {side} {} {} {} {behind} {word}{whole}",
            level.as_str(),
            font.name(),
            layout.describe()
        )
    }

    fn draw(&self) -> Result<RgbImage, String> {
        if !SIDES.contains(&self.side) {
            return Err(format!("a side of {} pixels, expected {} to {}", self.side, SIDES.start(), SIDES.end()));
        }
        let (ink, ground) = match self.level {
            Level::Coloured => self.layout.colours(),
            _ => (BLACK, WHITE),
        };
        let mut picture = self.ground(ground)?;
        let ink = self.ink(ink)?;
        for (pixel, over) in picture.pixels_mut().zip(ink.pixels()) {
            lay_over(pixel, *over);
        }
        Ok(picture)
    }
}

/// Lays a pixel over another, both in sRGB.
fn lay_over(pixel: &mut Rgb<u8>, over: PremultipliedColorU8) {
    let left = 255 - u32::from(over.alpha());
    let colours = [over.red(), over.green(), over.blue()];
    for (value, colour) in pixel.0.iter_mut().zip(colours) {
        *value = u32::from(colour).saturating_add((u32::from(*value) * left + 127) / 255).min(255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::*;

    /// In the first font of training.
    fn plain(word: &str, script: Script) -> RgbImage {
        let font = Font::of(script, false).next().unwrap();
        WordPicture::new(word, font, (Level::Plain, Layout::CENTRE), 96, None).draw().unwrap()
    }

    /// By hand: the piece's letters stand closer to each other than alone, since the whole word must fit.
    #[test]
    fn a_piece_is_as_large_as_in_its_word() {
        let font = Font::of(Script::Latin, false).next().unwrap();
        let draw = |written: &str| WordPicture::new(written, font, (Level::Plain, Layout::CENTRE), 96, None);
        let wide = |picture: WordPicture| columns(&picture.draw().unwrap()).iter().filter(|ink| **ink).count();
        let (word, half) = (wide(draw("momomo")), wide(draw("mom").piece_of("momomo")));
        assert!((0.4..0.6).contains(&(half as f32 / word as f32)), "{half} of {word}");
        assert!(wide(draw("mom")) > 3 * half / 2);
        assert_ne!(draw("mom").description(), draw("mom").piece_of("momomo").description());
    }

    fn ink_of(image: &RgbImage) -> usize {
        image.pixels().filter(|pixel| pixel.0[0] < 128).count()
    }

    /// Columns with ink.
    fn columns(image: &RgbImage) -> Vec<bool> {
        (0..image.width()).map(|x| (0..image.height()).any(|y| image.get_pixel(x, y).0[0] < 128)).collect()
    }

    #[test]
    fn a_word_has_ink_within_the_picture_in_every_font_and_level() {
        let words = ["radio", "слово", "βιβλίο", "كتاب", "ספר", "किताब", "কলম", "கதவு", "中文", "カメラ", "학교"];
        let corpus = EmojiCorpus::embedded().unwrap();
        let icon = corpus.pictures()[0].id;
        for (word, script) in words.into_iter().zip(Script::ALL) {
            for font in Font::of(script, false).chain(Font::of(script, true)) {
                for level in Level::ALL {
                    let layout = Layout { angle: 25, ..Layout::CENTRE };
                    let picture = WordPicture::new(word, font, (level, layout), 64, Some((&corpus, icon)));
                    let (drawn, ground) =
                        (picture.draw().unwrap(), picture.ground(picture.layout().colours().1).unwrap());
                    let ground = if level == Level::Coloured || level == Level::Clutter {
                        ground
                    } else {
                        RgbImage::from_pixel(64, 64, Rgb(WHITE))
                    };
                    let inked = drawn.pixels().zip(ground.pixels()).filter(|(a, b)| a != b).count();
                    assert!((20..2500).contains(&inked), "{word} {level:?} {}: {inked}", font.name());
                    let edge = |x: u32, y: u32| drawn.get_pixel(x, y) == ground.get_pixel(x, y);
                    assert!(
                        (0..64).all(|at| edge(at, 0) && edge(at, 63) && edge(0, at) && edge(63, at)),
                        "{word} {level:?}"
                    );
                }
            }
        }
    }

    /// Arabic letters join: the word is one connected stroke where its letters one by one are several. Order is from right to left:
    /// alef, which stands alone, is on the right in ا + ب and on the left in ب + ا.
    #[test]
    fn arabic_is_joined_and_runs_from_right_to_left() {
        let gaps = |word: &str| {
            let columns = columns(&plain(word, Script::Arabic));
            columns.windows(2).filter(|pair| pair[0] && !pair[1]).count()
        };
        assert_eq!((gaps("سسس"), gaps("س\u{200c}س\u{200c}س")), (1, 3));
        let right_heavy = |word: &str| {
            let image = plain(word, Script::Arabic);
            let height = |x: u32| (0..96).filter(|y| image.get_pixel(x, *y).0[0] < 128).count();
            let inked: Vec<u32> = (0..96).filter(|x| height(*x) > 0).collect();
            let quarter = inked.len() / 4;
            let tallest = |columns: &[u32]| columns.iter().map(|x| height(*x)).max();
            tallest(&inked[inked.len() - quarter..]) > tallest(&inked[..quarter])
        };
        assert!(right_heavy("ابب") && !right_heavy("بببا"));
    }

    /// The vowel sign i of Devanagari stands before the consonant that it follows in the text.
    #[test]
    fn devanagari_is_reordered() {
        // Both signs are a stem that reaches the line of the letters' heads, with an arc over the letter: of i the stem is on the left
        // of the consonant, of ii on the right. Where the stem of क stands, which is in its middle, is told by क itself.
        let stems = |word: &str| {
            let image = plain(word, Script::Devanagari);
            let height = |x: u32| (0..96).filter(|y| image.get_pixel(x, *y).0[0] < 128).count();
            let inked: Vec<u32> = (0..96).filter(|x| height(*x) > 0).collect();
            let (first, last) = (inked[0], inked[inked.len() - 1]);
            let tallest = inked.iter().map(|x| height(*x)).max().unwrap();
            let stems = inked.iter().filter(|x| 10 * height(**x) >= 8 * tallest);
            // In hundredths of the word's width.
            stems.map(|x| 100 * (x - first) / (last - first)).collect::<Vec<u32>>()
        };
        println!("{:?} {:?} {:?}", stems("क"), stems("कि"), stems("की"));
        assert!(stems("क").iter().all(|at| (30..70).contains(at)), "{:?}", stems("क"));
        assert!(stems("कि").iter().any(|at| *at < 30) && stems("कि").iter().all(|at| *at < 80), "{:?}", stems("कि"));
        assert!(stems("की").iter().any(|at| *at > 70) && stems("की").iter().all(|at| *at > 20), "{:?}", stems("की"));
    }

    #[test]
    fn what_is_drawn_depends_on_the_description_alone() {
        let font = Font::of(Script::Latin, true).next().unwrap();
        let picture = move |level, side| WordPicture::new("radio", font, (level, Layout::CENTRE), side, None);
        let here = picture(Level::Small, 64).draw().unwrap();
        let there = std::thread::spawn(move || picture(Level::Small, 64).draw().unwrap()).join().unwrap();
        assert_eq!(here, there);
        assert_eq!(picture(Level::Small, 64).description(), "words/1 64 small NotoSerif-Regular 50 50 0 0 100 - radio");
        // What a level does not use is not in its description: the same pixels are the same picture.
        let layout = Layout { angle: 25, colours: 3, ..Layout::CENTRE };
        let turned = WordPicture::new("radio", font, (Level::Small, layout), 64, None);
        assert_eq!(turned.description(), picture(Level::Small, 64).description());
        // What is behind a word is told by its content too: another corpus may have another picture of that name.
        let corpus = EmojiCorpus::embedded().unwrap();
        let icon = &corpus.pictures()[0];
        let cluttered = |behind| WordPicture::new("radio", font, (Level::Clutter, Layout::CENTRE), 64, behind);
        let described = cluttered(Some((&*corpus, icon.id))).description();
        let content = blake3::hash(&icon.webp).to_hex();
        assert!(
            described.contains(&format!(" {}:{} radio", corpus.picture_name(icon.id), &content[..32])),
            "{described}"
        );
        assert!(picture(Level::Plain, 8).draw().unwrap_err().contains("8 pixels"));
        assert!(ink_of(&picture(Level::Plain, 64).draw().unwrap()) > ink_of(&here));
    }

    #[test]
    fn a_word_that_cannot_be_drawn_says_so() {
        let font = Font::of(Script::Latin, false).next().unwrap();
        let error = WordPicture::new(" ", font, (Level::Plain, Layout::CENTRE), 64, None).draw().unwrap_err();
        assert!(error.contains("no ink"), "{error}");
    }
}
