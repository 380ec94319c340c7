//! The font of charts: a subset of DejaVu Sans (Latin, Greek, Russian, signs) that is part of the program, so that
//! drawings look the same on a machine without fonts. Made by fonttools' `pyftsubset` (see `assets/README.md`).

use std::sync::{Arc, LazyLock};

use resvg::usvg::fontdb::Database;
use ttf_parser::Face;

/// Font family as drawings name it: the embedded one first, then what browsers have.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, Segoe UI, sans-serif";

const REGULAR: &[u8] = include_bytes!("../../assets/DejaVuSans.subset.ttf");
const BOLD: &[u8] = include_bytes!("../../assets/DejaVuSans-Bold.subset.ttf");

/// Width of a character the font does not have, relative to the font size: that of a Chinese character.
const MISSING_GLYPH: f64 = 1.0;

/// The fonts for drawing text into pixels.
pub(super) fn database() -> Arc<Database> {
    static DATABASE: LazyLock<Arc<Database>> = LazyLock::new(|| {
        let mut database = Database::new();
        database.load_font_data(REGULAR.to_vec());
        database.load_font_data(BOLD.to_vec());
        database.set_sans_serif_family("DejaVu Sans");
        Arc::new(database)
    });
    DATABASE.clone()
}

/// Width of a text in pixels.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    static FACES: LazyLock<[Option<Face<'static>>; 2]> =
        LazyLock::new(|| [Face::parse(REGULAR, 0).ok(), Face::parse(BOLD, 0).ok()]);
    let face = &FACES[usize::from(bold)];
    let advance = |c: char| -> f64 {
        let Some(face) = face else {
            return MISSING_GLYPH;
        };
        let units = face.glyph_index(c).and_then(|glyph| face.glyph_hor_advance(glyph));
        units.map_or(MISSING_GLYPH, |units| f64::from(units) / f64::from(face.units_per_em()))
    };
    text.chars().map(advance).sum::<f64>() * size
}

/// Breaks a text between words into lines of at most `max` pixels; a longer word stands alone, shortened by [`fit`].
pub(super) fn wrap(text: &str, size: f64, bold: bool, max: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size, bold) <= max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, size, bold, max)),
        }
    }
    lines
}

/// The text, or as much of it as fits into `max` pixels with an ellipsis.
pub(super) fn fit(text: &str, size: f64, bold: bool, max: f64) -> String {
    if width(text, size, bold) <= max {
        return text.to_owned();
    }
    let mut short: String = text.to_owned();
    while !short.is_empty() && width(&format!("{short}…"), size, bold) > max {
        short.pop();
    }
    format!("{}…", short.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_the_fonts() {
        // Advance widths of DejaVu Sans 2.37 in units of 1/2048: `i` 569, `W` 2025; bold `W` 2259.
        assert!((width("i", 2048.0, false) - 569.0).abs() < 0.5);
        assert!((width("W", 2048.0, false) - 2025.0).abs() < 0.5);
        assert!((width("W", 2048.0, true) - 2259.0).abs() < 0.5);
        assert_eq!(width("猫", 10.0, false), 10.0);
    }

    #[test]
    fn lines_fit() {
        let lines = wrap("Each cell is trained on the same number of samples", 12.0, false, 120.0);
        assert!(lines.len() > 2);
        assert!(lines.iter().all(|line| width(line, 12.0, false) <= 120.0));
        assert_eq!(lines.join(" "), "Each cell is trained on the same number of samples");
        assert!(fit("Donaudampfschifffahrt", 12.0, false, 60.0).ends_with('…'));
        assert_eq!(fit("short", 12.0, false, 60.0), "short");
    }
}
