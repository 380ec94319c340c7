//! The fonts: Noto, cut down to the characters of the corpus's words (`data/words`), each script with one that training never sees.

use super::script::Script;
use rustybuzz::Face;
use std::sync::LazyLock;

/// A font of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Font {
    /// Position in [`FONTS`].
    index: usize,
    /// In which it draws.
    pub script: Script,
}

/// A file of the crate.
struct File {
    name: &'static str,
    bytes: &'static [u8],
    scripts: &'static [Script],
    held_out: bool,
}

macro_rules! font {
    ($name:literal, $scripts:expr, $held_out:literal) => {
        File {
            name: $name,
            bytes: include_bytes!(concat!("../../data/words/fonts/", $name)),
            scripts: $scripts,
            held_out: $held_out,
        }
    };
}

const EUROPEAN: &[Script] = &[Script::Latin, Script::Cyrillic, Script::Greek];
const EAST_ASIAN: &[Script] = &[Script::Han, Script::Kana, Script::Hangul];

/// All fonts. Held out is the design that is between the others where there are three, else the one with serifs.
static FONTS: [File; 17] = [
    font!("NotoSans-Regular.ttf", EUROPEAN, false),
    font!("NotoSansMono-Regular.ttf", EUROPEAN, false),
    font!("NotoSerif-Regular.ttf", EUROPEAN, true),
    font!("NotoNaskhArabic-Regular.ttf", &[Script::Arabic], false),
    font!("NotoKufiArabic-Regular.ttf", &[Script::Arabic], false),
    font!("NotoSansArabic-Regular.ttf", &[Script::Arabic], true),
    font!("NotoSansHebrew-Regular.ttf", &[Script::Hebrew], false),
    font!("NotoSansHebrew-Bold.ttf", &[Script::Hebrew], false),
    font!("NotoSerifHebrew-Regular.ttf", &[Script::Hebrew], true),
    font!("NotoSansDevanagari-Regular.ttf", &[Script::Devanagari], false),
    font!("NotoSerifDevanagari-Regular.ttf", &[Script::Devanagari], true),
    font!("NotoSansBengali-Regular.ttf", &[Script::Bengali], false),
    font!("NotoSerifBengali-Regular.ttf", &[Script::Bengali], true),
    font!("NotoSansTamil-Regular.ttf", &[Script::Tamil], false),
    font!("NotoSerifTamil-Regular.ttf", &[Script::Tamil], true),
    font!("NotoSansCJK-Regular.otf", EAST_ASIAN, false),
    font!("NotoSerifCJK-Regular.otf", EAST_ASIAN, true),
];

/// The fonts, read once; `None` in the place of a damaged file.
static FACES: LazyLock<Vec<Option<Face<'static>>>> =
    LazyLock::new(|| FONTS.iter().map(|file| Face::from_slice(file.bytes, 0)).collect());

impl Font {
    /// The fonts of a script: those that training shows, or those that are held out.
    pub fn of(script: Script, held_out: bool) -> impl Iterator<Item = Font> {
        let fits = move |file: &File| file.scripts.contains(&script) && file.held_out == held_out;
        FONTS.iter().enumerate().filter(move |(_, file)| fits(file)).map(move |(index, _)| Font { index, script })
    }

    /// Its name, `"NotoSans-Regular"`.
    pub fn name(self) -> &'static str {
        let name = FONTS[self.index].name;
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// For shaping and drawing; `None` of a damaged file.
    pub(super) fn face(self) -> Option<&'static Face<'static>> {
        FACES[self.index].as_ref()
    }

    /// Whether all fonts of a script have all characters of a word.
    pub(super) fn all_have(script: Script, word: &str) -> bool {
        let of_script = FONTS.iter().zip(FACES.iter()).filter(|(file, _)| file.scripts.contains(&script));
        let mut faces = of_script.map(|(_, face)| face);
        faces.all(|face| face.as_ref().is_some_and(|face| word.chars().all(|c| face.glyph_index(c).is_some())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_fonts_on_both_sides() {
        for script in Script::ALL {
            assert!(Font::of(script, false).next().is_some() && Font::of(script, true).next().is_some(), "{script:?}");
        }
        let bytes: usize = FONTS.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 3_000_000, "{bytes}");
    }

    #[test]
    fn files_are_fonts_of_their_name() {
        for (index, file) in FONTS.iter().enumerate() {
            let font = Font { index, script: file.scripts[0] };
            let names = font.face().unwrap().names().into_iter();
            let mut families = names.filter(|name| name.name_id == rustybuzz::ttf_parser::name_id::FAMILY);
            let family = families.find_map(|name| name.to_string()).unwrap();
            let family = family.replace(' ', "").replace("CJKSC", "CJK");
            assert!(font.name().starts_with(&family), "{family}, {}", font.name());
        }
    }

    #[test]
    fn a_missing_character_is_told() {
        assert!(Font::all_have(Script::Latin, "radio") && !Font::all_have(Script::Latin, "本"));
    }
}
