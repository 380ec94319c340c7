//! Ratios by language: a set of languages, how much of it is English, and how the others share the rest.

use super::amount::Share;
use crate::language::{Language, LanguageSet};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// How languages share what is not fixed by `english`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Equally.
    #[default]
    Uniform,
    /// As they have samples.
    Proportional,
}

/// Which languages a mixture has, and in which ratios.
///
/// Written `languages = "towervision-20"` (a set by its name, or one language by its tag), `languages = ["en", "de"]`, or
/// `languages = { set = "towervision-20", english = "50%" }` (`set` or `list`, with optional `english` and `balance`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LanguageRatios {
    /// The languages; samples in others, or in no known one, are not drawn.
    pub list: Vec<Language>,
    /// English's share; as any other language where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub english: Option<Share>,
    /// How the languages share the rest.
    pub balance: Balance,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    set: Option<String>,
    list: Option<Vec<Language>>,
    english: Option<Share>,
    #[serde(default)]
    balance: Balance,
}

impl LanguageRatios {
    /// Languages in equal parts.
    pub fn uniform(languages: &[Language]) -> Self {
        Self { list: languages.to_vec(), english: None, balance: Balance::Uniform }
    }

    /// The languages that a name stands for: those of a set, or the language with that tag.
    fn named(name: &str) -> Result<Vec<Language>, String> {
        let unknown_set = match LanguageSet::by_name(name) {
            Ok(set) => return Ok(set.languages.to_vec()),
            Err(error) => error,
        };
        // Tags are short; a longer name was meant as a set.
        match Language::parse(name) {
            Ok(language) => Ok(vec![language]),
            Err(error) if name.len() <= 6 => Err(error.to_string()),
            Err(_) => Err(unknown_set.to_string()),
        }
    }

    fn checked(self) -> Result<Self, String> {
        if self.list.is_empty() {
            return Err("languages: expected at least one language".to_owned());
        }
        if let Some(twice) = (1..self.list.len()).find(|index| self.list[..*index].contains(&self.list[*index])) {
            return Err(format!("languages: {} is named twice", self.list[twice]));
        }
        if self.english.is_some() && !self.list.contains(&Language::EN) {
            let help = "languages: english = ... needs \"en\" among the languages; add it, or leave the share out";
            return Err(help.to_owned());
        }
        if self.list == [Language::EN] && self.english.is_some_and(|share| share != Share::ONE) {
            return Err("languages: English alone cannot have less than 100%; add other languages".to_owned());
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for LanguageRatios {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ratios;
        impl<'de> Visitor<'de> for Ratios {
            type Value = LanguageRatios;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the name of a language set, a language tag, a list of tags, or a table with set or list, english and balance",
                )
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<LanguageRatios, E> {
                LanguageRatios::named(name).map(|list| LanguageRatios::uniform(&list)).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<LanguageRatios, A::Error> {
                let list = Vec::<Language>::deserialize(SeqAccessDeserializer::new(sequence))?;
                LanguageRatios::uniform(&list).checked().map_err(A::Error::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LanguageRatios, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let list = match (table.set, table.list) {
                    (Some(set), None) => LanguageRatios::named(&set).map_err(A::Error::custom)?,
                    (None, Some(list)) => list,
                    _ => return Err(A::Error::custom("languages: expected either set or list")),
                };
                let ratios = LanguageRatios { list, english: table.english, balance: table.balance };
                ratios.checked().map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::TOWERVISION_20;

    #[derive(Debug, Deserialize)]
    struct File {
        languages: LanguageRatios,
    }

    fn read(value: &str) -> Result<LanguageRatios, String> {
        let file: Result<File, _> = toml::from_str(&format!("languages = {value}"));
        file.map(|file| file.languages).map_err(|error| error.to_string())
    }

    #[test]
    fn the_ways_to_write_it() {
        assert_eq!(read("\"towervision-20\"").unwrap(), LanguageRatios::uniform(TOWERVISION_20.languages));
        assert_eq!(read("\"en\"").unwrap(), LanguageRatios::uniform(&[Language::EN]));
        assert_eq!(read("[\"de\", \"fr\"]").unwrap().list, [Language::DE, Language::FR]);
        let half = read(r#"{ set = "towervision-20", english = "50%", balance = "proportional" }"#).unwrap();
        assert_eq!((half.english.unwrap().parts(), half.balance), (500_000_000, Balance::Proportional));
        assert_eq!(read(r#"{ list = ["en", "de"], english = 0.25 }"#).unwrap().english.unwrap().to_string(), "25%");
        // What is written into a record can be read again.
        let json = serde_json::to_string(&half).unwrap();
        assert_eq!(serde_json::from_str::<LanguageRatios>(&json).unwrap(), half);
    }

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            ("\"towervision20\"", "towervision-20"),
            ("\"german\"", "de"),
            ("[\"en\", \"en\"]", "twice"),
            ("[]", "at least one"),
            ("{ list = [\"de\"], english = 0.5 }", "\"en\""),
            ("{ list = [\"en\"], english = 0.5 }", "100%"),
            ("{ english = 0.5 }", "set or list"),
            ("{ set = \"tiny-5\", english = 50 }", "50%"),
            ("{ set = \"tiny-5\", englisch = 0.5 }", "englisch"),
            ("7", "language set"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }
}
