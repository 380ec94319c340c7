//! The outline of a word in a font: shaped in its script's direction, with joined letters, conjuncts and marks in their places.

use super::fonts::Font;
use rustybuzz::ttf_parser::{GlyphId, OutlineBuilder};
use rustybuzz::{UnicodeBuffer, shape};
use tiny_skia::{Path, PathBuilder};

/// The filled outline of a word, in units of the font, y downwards.
///
/// # Errors
/// A damaged font, a word without ink, a sign that the font lacks.
pub(super) fn outline(word: &str, font: Font) -> Result<Path, String> {
    let face = font.face().ok_or_else(|| format!("font {} is damaged", font.name()))?;
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(word);
    // A word has one script, which decides on its direction.
    buffer.guess_segment_properties();
    let shaped = shape(face, &[], buffer);
    let mut pen = Pen { path: PathBuilder::new(), x: 0.0, y: 0.0 };
    let (mut across, mut up) = (0, 0);
    // What a font lacks would be drawn as an empty box.
    if shaped.glyph_infos().iter().any(|glyph| glyph.glyph_id == 0) {
        return Err(format!("a part of {word:?} has no ink in {}, which lacks a sign", font.name()));
    }
    for (glyph, position) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
        pen.x = (across + position.x_offset) as f32;
        pen.y = (up + position.y_offset) as f32;
        if let Ok(glyph) = u16::try_from(glyph.glyph_id) {
            // Joiners have no outline.
            face.outline_glyph(GlyphId(glyph), &mut pen);
        }
        across += position.x_advance;
        up += position.y_advance;
    }
    let path = pen.path.finish().filter(|path| path.bounds().width() > 0.0 && path.bounds().height() > 0.0);
    path.ok_or_else(|| format!("{word:?} has no ink in {}", font.name()))
}

/// Puts a glyph's outline where the glyph stands.
struct Pen {
    path: PathBuilder,
    x: f32,
    y: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x, -(self.y + y))
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::*;

    fn width(word: &str, script: Script) -> f32 {
        outline(word, Font::of(script, false).next().unwrap()).unwrap().bounds().width()
    }

    /// A word is about as wide as its syllables side by side, also where a vowel sign is drawn before its consonant: nothing is drawn
    /// over something else. Syllable by syllable: Hindi, Bengali and Tamil words whose first or second sign is reordered.
    #[test]
    fn reordered_signs_have_room_of_their_own() {
        let words = [
            (Script::Devanagari, "टिकिया", &["टि", "कि", "या"][..]),
            (Script::Bengali, "জেব্রা", &["জে", "ব্রা"][..]),
            (Script::Tamil, "மைனா", &["மை", "னா"][..]),
        ];
        for (script, word, syllables) in words {
            let (whole, apart) = (width(word, script), syllables.iter().map(|one| width(one, script)).sum::<f32>());
            assert!((0.9..1.25).contains(&(whole / apart)), "{word}: {whole} of {apart}");
        }
    }

    #[test]
    fn what_has_no_ink_is_told() {
        let font = Font::of(Script::Latin, false).next().unwrap();
        assert!(outline(" ", font).unwrap_err().contains("no ink"));
        assert!(outline("", font).is_err());
    }
}
