//! Languages by BCP 47 tag, and the language sets of the papers.
//!
//! Unusual here:
//! - [`Language`] is two bytes, an index into a table, so that it can be copied, compared and hashed freely; any other BCP 47 tag gets a
//!   row behind the known ones when it is first met, and is carried as what it is;
//! - it serialises as its tag (`"zh-Hans"`), and is ordered by the table and then by tag, whatever was met first;
//! - what is no tag, or one that leaves open which known language is meant (`zh`), is an error that names what may be meant: a typo in a
//!   recipe must not drop a language.

mod identify;
mod kin;
mod sets;
mod tag;

pub use identify::{Evidence, Identified, LanguageIdentifier};
pub use kin::Kin;
pub use sets::{
    LanguageSet, MULTI_PIXMO_5, PARROT_6, TINY_5, TINY_UNSEEN, TOWERVISION_20, TOWERVISION_CORE_10, TOWERVISION_UNSEEN,
    UnknownLanguageSet, VIMUL_14,
};
pub(crate) use tag::three_letters;

use burn_vlm_base::shorten::shorten;
use burn_vlm_base::suggest::similarity;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

/// The most tags beyond the table: data with more has something else in the place of its tags.
const MOST_OTHERS: usize = 4096;
/// A name of a language is taken for a slip from this similarity on.
const SLIP: f64 = 0.85;

/// Tags beyond the table, in the order in which they were met. They live as long as the process.
static OTHERS: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// One language or language variant, for example `de`, `zh-Hans` or `th`.
///
/// Ordered as in [`Language::ALL`], languages beyond it by their tag. Serialised as its tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(u16);

/// What is no tag of a language, or leaves open which one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown language {}{}: expected a BCP 47 tag such as de, pt-BR or th (with texts of their own: {})",
    shorten(tag),
    nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean {nearest:?}?")),
    known_tags()
)]
pub struct UnknownLanguage {
    /// The tag as given.
    pub tag: String,
    /// The tag that is meant, where that can be told: the same language written otherwise, or a slip.
    pub nearest: Option<String>,
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
    /// The language of a tag: one of the table, or any other BCP 47 tag in its usual case.
    ///
    /// # Errors
    /// [`UnknownLanguage`]: English names (`"german"`), differently written tags (`"pt_br"`, `"deu"`) and bare tags of which the table
    /// has variants (`"zh"`) are understood for the suggestion only.
    pub fn parse(tag: &str) -> Result<Self, UnknownLanguage> {
        if let Some(index) = TABLE.iter().position(|(known, _)| *known == tag) {
            return Ok(Self::ALL[index]);
        }
        let unknown = || UnknownLanguage { tag: tag.to_owned(), nearest: nearest(tag) };
        if !is_other(tag) {
            return Err(unknown());
        }
        Self::other(tag).ok_or_else(unknown)
    }

    /// The language of a tag that is not in the table; `None` where there are too many.
    fn other(tag: &str) -> Option<Self> {
        let find = |others: &[&'static str]| others.iter().position(|other| *other == tag);
        let known = find(&OTHERS.read().unwrap_or_else(PoisonError::into_inner));
        let position = match known {
            Some(position) => position,
            None => {
                let mut others = OTHERS.write().unwrap_or_else(PoisonError::into_inner);
                // Another thread may have been faster.
                match find(&others) {
                    Some(position) => position,
                    None if others.len() >= MOST_OTHERS => return None,
                    None => {
                        others.push(Box::leak(tag.to_owned().into_boxed_str()));
                        others.len() - 1
                    }
                }
            }
        };
        u16::try_from(TABLE.len() + position).ok().map(Self)
    }

    /// The tag, `"zh-Hans"`.
    pub fn tag(self) -> &'static str {
        let index = usize::from(self.0);
        match TABLE.get(index) {
            Some((tag, _)) => tag,
            None => {
                let others = OTHERS.read().unwrap_or_else(PoisonError::into_inner);
                others.get(index - TABLE.len()).copied().unwrap_or("und")
            }
        }
    }

    /// The name in English, `"Chinese (Simplified)"`; of languages beyond the table the tag.
    pub fn english_name(self) -> &'static str {
        self.index().map_or_else(|| self.tag(), |index| TABLE[index].1)
    }

    /// Position in [`Language::ALL`]; `None` for languages beyond it.
    pub fn index(self) -> Option<usize> {
        Some(usize::from(self.0)).filter(|index| *index < TABLE.len())
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

/// A tag that is carried as what it is: well formed, in its usual case, and not the bare tag of which the table has variants.
fn is_other(tag: &str) -> bool {
    tag::canonical(tag).is_some_and(|canonical| canonical == tag) && variant_of(tag).is_none()
}

/// The first variant of a bare tag that the table has: `zh-Hans` of `zh`.
fn variant_of(tag: &str) -> Option<&'static str> {
    TABLE.iter().map(|(known, _)| *known).find(|known| known.split_once('-').is_some_and(|(bare, _)| bare == tag))
}

/// The tag that is meant by what is none, where that can be told.
fn nearest(tag: &str) -> Option<String> {
    let wanted = tag.trim().to_lowercase().replace('_', "-");
    let same = |known: &str| known.to_lowercase() == wanted;
    let found = TABLE.iter().find(|(tag, name)| same(tag) || same(name)).map(|(tag, _)| *tag);
    let found = found.or_else(|| variant_of(&wanted)).or_else(|| tag::of_three_letters(&wanted));
    if let Some(known) = found {
        return Some(known.to_owned());
    }
    if let Some(canonical) = tag::canonical(&wanted).filter(|canonical| is_other(canonical)) {
        return Some(canonical);
    }
    let begins = |name: &str| !wanted.is_empty() && name.to_lowercase().starts_with(&format!("{wanted} ("));
    let of_name = TABLE.iter().find(|(_, name)| begins(name));
    // Among tags of two and three letters every one is near every other: only names are taken for slips.
    let near = || TABLE.iter().find(|(_, name)| wanted.len() > 3 && similarity(&wanted, name) >= SLIP);
    of_name.or_else(near).map(|(tag, _)| (*tag).to_owned())
}

fn known_tags() -> String {
    TABLE.iter().map(|(tag, _)| *tag).collect::<Vec<_>>().join(" ")
}

impl Ord for Language {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.index(), other.index()) {
            (None, None) => self.tag().cmp(other.tag()),
            // A row of the table stands before all others.
            (a, b) => a.unwrap_or(usize::MAX).cmp(&b.unwrap_or(usize::MAX)),
        }
    }
}

impl PartialOrd for Language {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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
            assert_eq!(language.index(), Some(index));
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
            ("deu", "de"),
            ("zh_Hant", "zh-Hant"),
            ("th_TH", "th-TH"),
            ("zh-cn", "zh-CN"),
            ("TH", "th"),
        ] {
            let error = Language::parse(given).unwrap_err();
            assert_eq!(error.nearest.as_deref(), Some(expected), "{given}");
            assert!(error.to_string().contains(given) && error.to_string().contains(expected));
        }
        assert!(Language::parse("").is_err());
    }

    /// Any BCP 47 tag is a language of its own, and nothing else is taken for a slip of another.
    #[test]
    fn languages_beyond_the_table() {
        for tag in
            ["th", "id", "vi", "fa", "he", "el", "bg", "sw", "no", "yue", "zh-CN", "en-US", "sr-Latn-RS", "de-1996"]
        {
            let language = Language::parse(tag).unwrap();
            assert_eq!((language.tag(), language.english_name(), language.index()), (tag, tag, None));
            assert_eq!(Language::parse(tag), Ok(language));
            assert_eq!(serde_json::to_string(&language).unwrap(), format!("{tag:?}"));
            assert_eq!(serde_json::from_str::<Language>(&format!("{tag:?}")).unwrap(), language);
        }
        for (given, nearest) in
            [("xx", None), ("klingon", None), ("", None), ("thai!", None), ("t", None), ("a-b-c", None), ("q1", None)]
        {
            assert_eq!(Language::parse(given).unwrap_err().nearest, nearest, "{given}");
        }
        // By the table, then by tag, whatever was met first.
        let mut languages = ["vi", "en", "ur", "bg"].map(|tag| Language::parse(tag).unwrap());
        languages.sort();
        assert_eq!(languages.map(Language::tag), ["en", "ur", "bg", "vi"]);
        assert!(Language::parse(&"x".repeat(40_000)).unwrap_err().to_string().len() < 1000);
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
