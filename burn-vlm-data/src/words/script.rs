//! The scripts that words are drawn in, and which language's words are drawn in which.

use crate::language::Language;
use std::ops::RangeInclusive;

/// A script that words are drawn in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// Latin.
    Latin,
    /// Cyrillic.
    Cyrillic,
    /// Greek.
    Greek,
    /// Arabic, whose letters join; right to left.
    Arabic,
    /// Hebrew; right to left.
    Hebrew,
    /// Devanagari.
    Devanagari,
    /// Bengali.
    Bengali,
    /// Tamil.
    Tamil,
    /// Chinese characters.
    Han,
    /// Hiragana and katakana.
    Kana,
    /// Korean syllables.
    Hangul,
}

/// Zero-width non-joiner and joiner, which belong to words of the joining scripts.
const JOINERS: RangeInclusive<char> = '\u{200c}'..='\u{200d}';

impl Script {
    /// All scripts.
    pub const ALL: [Script; 11] = [
        Self::Latin,
        Self::Cyrillic,
        Self::Greek,
        Self::Arabic,
        Self::Hebrew,
        Self::Devanagari,
        Self::Bengali,
        Self::Tamil,
        Self::Han,
        Self::Kana,
        Self::Hangul,
    ];

    /// The name in scores, `"devanagari"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Latin => "latin",
            Self::Cyrillic => "cyrillic",
            Self::Greek => "greek",
            Self::Arabic => "arabic",
            Self::Hebrew => "hebrew",
            Self::Devanagari => "devanagari",
            Self::Bengali => "bengali",
            Self::Tamil => "tamil",
            Self::Han => "han",
            Self::Kana => "kana",
            Self::Hangul => "hangul",
        }
    }

    /// The script that a language's words are drawn in. Japanese is drawn in kana alone, since Chinese has the other characters;
    /// Sinhala has no font here.
    pub fn of(language: Language) -> Option<Self> {
        match language.tag() {
            "ru" | "uk" => Some(Self::Cyrillic),
            "el" => Some(Self::Greek),
            "ar" | "ur" => Some(Self::Arabic),
            "he" => Some(Self::Hebrew),
            "hi" => Some(Self::Devanagari),
            "bn" => Some(Self::Bengali),
            "ta" => Some(Self::Tamil),
            "zh-Hans" | "zh-Hant" => Some(Self::Han),
            "ja" => Some(Self::Kana),
            "ko" => Some(Self::Hangul),
            "si" => None,
            _ => language.index().map(|_| Self::Latin),
        }
    }

    /// How many characters a word may have: what can be read on a small picture, and is more than a letter.
    pub fn lengths(self) -> RangeInclusive<usize> {
        match self {
            Self::Han | Self::Hangul => 2..=4,
            Self::Kana => 2..=6,
            // Vowel signs and joiners count as characters.
            Self::Devanagari | Self::Bengali | Self::Tamil => 3..=8,
            _ => 3..=7,
        }
    }

    /// Whether a word is of letters of this script alone.
    pub fn has(self, word: &str) -> bool {
        word.chars().all(|c| self.has_letter(c))
    }

    fn has_letter(self, c: char) -> bool {
        match self {
            Self::Latin => matches!(c, 'a'..='z' | 'A'..='Z' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ɏ' | 'Ḁ'..='ỿ'),
            Self::Cyrillic => matches!(c, '\u{400}'..='\u{481}' | '\u{48a}'..='\u{52f}'),
            Self::Greek => matches!(c, '\u{386}' | '\u{388}'..='\u{3ce}'),
            Self::Arabic => {
                matches!(c, '\u{620}'..='\u{652}' | '\u{66e}'..='\u{6d3}' | '\u{6d5}') || JOINERS.contains(&c)
            }
            Self::Hebrew => matches!(c, '\u{5d0}'..='\u{5ea}'),
            Self::Devanagari => matches!(c, '\u{900}'..='\u{963}') || JOINERS.contains(&c),
            Self::Bengali => matches!(c, '\u{980}'..='\u{9e3}') || JOINERS.contains(&c),
            Self::Tamil => matches!(c, '\u{b82}'..='\u{bcd}') || JOINERS.contains(&c),
            Self::Han => matches!(c, '\u{4e00}'..='\u{9fff}'),
            Self::Kana => matches!(c, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'),
            Self::Hangul => matches!(c, '\u{ac00}'..='\u{d7a3}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_a_language_and_its_letters() {
        let words = [
            ("en", "radio"),
            ("ru", "радио"),
            ("el", "βιβλίο"),
            ("ur", "کتاب"),
            ("he", "ספר"),
            ("hi", "किताब"),
            ("bn", "বই"),
            ("ta", "புத்தகம்"),
            ("zh-Hans", "书本"),
            ("ja", "ラジオ"),
            ("ko", "라디오"),
        ];
        for ((tag, word), script) in words.into_iter().zip(Script::ALL) {
            let language = Language::parse(tag).unwrap();
            assert_eq!(Script::of(language), Some(script), "{tag}");
            let fits: Vec<Script> = Script::ALL.into_iter().filter(|script| script.has(word)).collect();
            assert_eq!(fits, [script], "{word}");
        }
        assert_eq!((Script::of(Language::SI), Script::of(Language::parse("th").unwrap())), (None, None));
        assert!(!Script::Latin.has("ab cd") && !Script::Latin.has("a×b") && !Script::Kana.has("本だな"));
    }
}
