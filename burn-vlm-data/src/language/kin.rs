//! Script and kinship of the known languages.

use super::Language;

/// How a language is written, and what it is related to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// Code of the script (ISO 15924), the likeliest one by CLDR's likely subtags: `Kore` is Hangul with Han, `Jpan` Han with kana.
    pub script_code: &'static str,
    /// The script's English name.
    pub script: &'static str,
    /// The family, by Glottolog's name: `Indo-European`.
    pub family: &'static str,
    /// The branch of the family by which its languages are usually grouped: `Romance`.
    pub branch: &'static str,
}

const INDO_EUROPEAN: &str = "Indo-European";
const LATIN: (&str, &str) = ("Latn", "Latin");
const CYRILLIC: (&str, &str) = ("Cyrl", "Cyrillic");
const ARABIC: (&str, &str) = ("Arab", "Arabic");

impl Language {
    /// Script, family and branch; none for languages beyond [`Language::ALL`].
    pub fn kin(self) -> Option<Kin> {
        let ((script_code, script), family, branch) = match self {
            Self::EN | Self::DE | Self::NL | Self::NN | Self::NB | Self::DA | Self::IS | Self::SV => {
                (LATIN, INDO_EUROPEAN, "Germanic")
            }
            Self::ES | Self::ES_419 | Self::FR | Self::PT_PT | Self::PT_BR | Self::IT | Self::RO => {
                (LATIN, INDO_EUROPEAN, "Romance")
            }
            Self::CS | Self::PL => (LATIN, INDO_EUROPEAN, "Slavic"),
            Self::UK | Self::RU => (CYRILLIC, INDO_EUROPEAN, "Slavic"),
            Self::HI => (("Deva", "Devanagari"), INDO_EUROPEAN, "Indo-Aryan"),
            Self::BN => (("Beng", "Bengali"), INDO_EUROPEAN, "Indo-Aryan"),
            Self::SI => (("Sinh", "Sinhala"), INDO_EUROPEAN, "Indo-Aryan"),
            Self::UR => (ARABIC, INDO_EUROPEAN, "Indo-Aryan"),
            Self::AR => (ARABIC, "Afro-Asiatic", "Semitic"),
            Self::TA => (("Taml", "Tamil"), "Dravidian", "South Dravidian"),
            Self::ZH_HANS => (("Hans", "Han (simplified)"), "Sino-Tibetan", "Sinitic"),
            Self::ZH_HANT => (("Hant", "Han (traditional)"), "Sino-Tibetan", "Sinitic"),
            Self::KO => (("Kore", "Hangul"), "Koreanic", "Korean"),
            Self::JA => (("Jpan", "Han and kana"), "Japonic", "Japanese"),
            Self::TR => (LATIN, "Turkic", "Oghuz"),
            Self::FI => (LATIN, "Uralic", "Finnic"),
            Self::HU => (LATIN, "Uralic", "Hungarian"),
            _ => return None,
        };
        Some(Kin { script_code, script, family, branch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_language_has_its_kin() {
        for language in Language::ALL {
            let kin = language.kin().unwrap_or_else(|| panic!("{language} has no script and family"));
            // A tag that names its script means that one.
            let named = language.tag().split('-').nth(1).filter(|part| part.len() == 4);
            assert!(named.is_none_or(|script| script == kin.script_code), "{language}: {kin:?}");
            assert!(kin.script_code.len() == 4 && !kin.branch.is_empty(), "{language}: {kin:?}");
        }
        assert_eq!(Language::parse("th").unwrap().kin(), None);
    }

    /// The letters of the corpus's own texts, by Unicode's blocks, against the table.
    #[test]
    fn the_corpus_is_written_in_the_scripts_of_the_table() {
        let corpus = crate::emoji::EmojiCorpus::embedded().unwrap();
        for language in Language::ALL {
            let kin = language.kin().unwrap();
            let blocks: &[std::ops::RangeInclusive<u32>] = match kin.script_code {
                "Latn" => &[0x41..=0x24f, 0x1e00..=0x1eff],
                "Cyrl" => &[0x400..=0x52f],
                "Arab" => &[0x600..=0x6ff],
                "Deva" => &[0x900..=0x97f],
                "Beng" => &[0x980..=0x9ff],
                "Taml" => &[0xb80..=0xbff],
                "Sinh" => &[0xd80..=0xdff],
                "Hans" | "Hant" => &[0x4e00..=0x9fff],
                "Kore" => &[0xac00..=0xd7a3, 0x4e00..=0x9fff],
                "Jpan" => &[0x3040..=0x30ff, 0x4e00..=0x9fff],
                other => panic!("{language}: no block for {other}"),
            };
            let (mut inside, mut letters) = (0, 0);
            for concept in corpus.concepts().iter().take(200) {
                let Some(text) = corpus.text(concept.id, *language) else { continue };
                for letter in text.name.chars().filter(|c| c.is_alphabetic()) {
                    letters += 1;
                    inside += usize::from(blocks.iter().any(|block| block.contains(&u32::from(letter))));
                }
            }
            // Names may hold a Latin abbreviation or two.
            assert!(
                letters > 100 && inside * 10 >= letters * 9,
                "{language}: {inside} of {letters} letters in {kin:?}"
            );
        }
    }
}
