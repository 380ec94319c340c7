//! Languages by BCP 47 tag, and the language sets of the papers.
//!
//! Unusual here:
//! - [`Language`] is one byte, an index into a fixed table, so that it can be copied, compared and hashed freely;
//! - it serialises as its tag (`"zh-Hans"`);
//! - an unknown tag is an error that names the nearest known one: a typo in a recipe must not drop a language.

mod identify;
mod sets;

pub use identify::{Evidence, Identified, LanguageIdentifier};
pub use sets::{
    LanguageSet, MULTI_PIXMO_5, PARROT_6, TINY_5, TINY_UNSEEN, TOWERVISION_20, TOWERVISION_CORE_10, TOWERVISION_UNSEEN,
    UnknownLanguageSet, VIMUL_14,
};

use burn_vlm_base::suggest::closest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// One language or language variant, for example `de` or `zh-Hans`.
///
/// Ordered as in [`Language::ALL`]. Serialised as its tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(u8);

/// A tag that no known language has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown language {tag:?}: did you mean {nearest:?}? (known: {})", known_tags())]
pub struct UnknownLanguage {
    /// The tag as given.
    pub tag: String,
    /// The nearest known tag.
    pub nearest: &'static str,
}

macro_rules! languages {
    ($(($constant:ident, $index:literal, $tag:literal, $name:literal)),* $(,)?) => {
        /// Tag and English name, in the order of the constants.
        const TABLE: &[(&str, &str)] = &[$(($tag, $name)),*];
        impl Language {
            $(#[doc = concat!($name, " (`", $tag, "`).")]
            pub const $constant: Language = Language($index);)*
            /// All known languages.
            pub const ALL: &'static [Language] = &[$(Language::$constant),*];
        }
    };
}

languages![
    (EN, 0, "en", "English"),
    (DE, 1, "de", "German"),
    (NL, 2, "nl", "Dutch"),
    (ES, 3, "es", "Spanish"),
    (ES_419, 4, "es-419", "Spanish (Latin America)"),
    (FR, 5, "fr", "French"),
    (PT_PT, 6, "pt-PT", "Portuguese (Portugal)"),
    (PT_BR, 7, "pt-BR", "Portuguese (Brazil)"),
    (UK, 8, "uk", "Ukrainian"),
    (HI, 9, "hi", "Hindi"),
    (ZH_HANS, 10, "zh-Hans", "Chinese (Simplified)"),
    (ZH_HANT, 11, "zh-Hant", "Chinese (Traditional)"),
    (RU, 12, "ru", "Russian"),
    (CS, 13, "cs", "Czech"),
    (KO, 14, "ko", "Korean"),
    (JA, 15, "ja", "Japanese"),
    (IT, 16, "it", "Italian"),
    (PL, 17, "pl", "Polish"),
    (RO, 18, "ro", "Romanian"),
    (NN, 19, "nn", "Norwegian (Nynorsk)"),
    (NB, 20, "nb", "Norwegian (Bokmål)"),
    (AR, 21, "ar", "Arabic"),
    (TR, 22, "tr", "Turkish"),
    (DA, 23, "da", "Danish"),
    (FI, 24, "fi", "Finnish"),
    (HU, 25, "hu", "Hungarian"),
    (IS, 26, "is", "Icelandic"),
    (SV, 27, "sv", "Swedish"),
    (BN, 28, "bn", "Bengali"),
    (SI, 29, "si", "Sinhala"),
    (TA, 30, "ta", "Tamil"),
    (UR, 31, "ur", "Urdu"),
];

impl Language {
    /// Finds a language by its exact tag.
    ///
    /// # Errors
    /// [`UnknownLanguage`] with the nearest known tag; English names (`"german"`) and bare or differently written
    /// tags (`"zh"`, `"pt_br"`) are understood for the suggestion only.
    pub fn parse(tag: &str) -> Result<Self, UnknownLanguage> {
        match TABLE.iter().position(|(known, _)| *known == tag) {
            Some(index) => Ok(Self::ALL[index]),
            None => Err(UnknownLanguage { tag: tag.to_owned(), nearest: nearest(tag) }),
        }
    }

    /// The tag, `"zh-Hans"`.
    pub fn tag(self) -> &'static str {
        TABLE[self.index()].0
    }

    /// The name in English, `"Chinese (Simplified)"`.
    pub fn english_name(self) -> &'static str {
        TABLE[self.index()].1
    }

    /// Position in [`Language::ALL`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Another tag whose texts are largely identical to this one's, so that the two are not independent: `es` and
    /// `es-419` share 80 % of their names in the emoji corpus, `nn` and `nb` 63 %, `pt-PT` and `pt-BR` 47 %.
    pub fn near_duplicate(self) -> Option<Language> {
        match self {
            Self::ES => Some(Self::ES_419),
            Self::ES_419 => Some(Self::ES),
            Self::NN => Some(Self::NB),
            Self::NB => Some(Self::NN),
            Self::PT_PT => Some(Self::PT_BR),
            Self::PT_BR => Some(Self::PT_PT),
            _ => None,
        }
    }
}

/// The known tag a reader most likely meant.
fn nearest(tag: &str) -> &'static str {
    let wanted = tag.trim().to_lowercase().replace('_', "-");
    let same = |known: &str| known.to_lowercase() == wanted;
    let starts = |known: &str| {
        let known = known.to_lowercase();
        !wanted.is_empty() && (known.starts_with(&format!("{wanted}-")) || known.starts_with(&format!("{wanted} (")))
    };
    let exact =
        TABLE.iter().find(|(t, n)| same(t) || same(n)).or_else(|| TABLE.iter().find(|(t, n)| starts(t) || starts(n)));
    if let Some((known, _)) = exact {
        return known;
    }
    let best = closest(&wanted, TABLE.iter().flat_map(|(tag, name)| [*tag, *name]));
    let row = TABLE.iter().find(|(tag, name)| best == Some(*tag) || best == Some(*name));
    row.map_or("en", |(known, _)| known)
}

fn known_tags() -> String {
    TABLE.iter().map(|(tag, _)| *tag).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.tag())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.tag())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(tag: &str) -> Result<Self, UnknownLanguage> {
        Self::parse(tag)
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.tag())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = String::deserialize(deserializer)?;
        Self::parse(&tag).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stand_at_their_index() {
        for (index, language) in Language::ALL.iter().enumerate() {
            assert_eq!(language.index(), index);
            assert_eq!(Language::parse(language.tag()), Ok(*language));
        }
        assert_eq!(Language::ZH_HANS.tag(), "zh-Hans");
        assert_eq!(Language::UR.english_name(), "Urdu");
    }

    #[test]
    fn unknown_tags_name_the_nearest() {
        for (given, expected) in [
            ("german", "de"),
            ("zh", "zh-Hans"),
            ("pt_br", "pt-BR"),
            ("EN", "en"),
            ("pt", "pt-PT"),
            ("norwegian", "nn"),
            ("Romanain", "ro"),
            ("chinese", "zh-Hans"),
        ] {
            let error = Language::parse(given).unwrap_err();
            assert_eq!(error.nearest, expected, "{given}");
            assert!(error.to_string().contains(given) && error.to_string().contains(expected));
        }
        assert!(Language::parse("").is_err());
    }

    #[test]
    fn serialises_as_tag() {
        let json = serde_json::to_string(&[Language::EN, Language::ES_419]).unwrap();
        assert_eq!(json, r#"["en","es-419"]"#);
        assert_eq!(serde_json::from_str::<Vec<Language>>(&json).unwrap(), [Language::EN, Language::ES_419]);
        let error = serde_json::from_str::<Language>(r#""german""#).unwrap_err();
        assert!(error.to_string().contains("\"de\""), "{error}");
    }
}
