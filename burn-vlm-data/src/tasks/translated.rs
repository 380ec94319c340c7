//! Names that a small model has translated, with how near each is to the corpus's own: what a filter of translations does to a model that
//! is trained on what it keeps can be seen on them.
//!
//! Unusual here:
//! - they are wrong more often than not, on purpose: a translator of 4 million parameters made them;
//! - they stand in a file, so that every machine trains on the same ones; `burn-vlm data visionblocks --preset tiny` makes them anew.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::random::{hash_bytes, mix};

/// Code of the concept, language, quality and translation; made as data/translations/README.md says.
const NAMES: &str = include_str!("../../data/translations/names.tsv");

/// An English name of the corpus in another language, by the shipped part `backbone`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TranslatedName {
    /// Code of the concept.
    pub concept: &'static str,
    /// The language.
    pub language: Language,
    /// chrF of the translation against the corpus's own name, 0 to 1.
    pub quality: f64,
    /// The translation.
    pub text: &'static str,
}

/// Which translated names are trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranslatedSettings {
    /// Languages, each with the same share of the task's samples; where absent, those of the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<Language>,
    /// The least quality of what is kept; 0 keeps all.
    pub threshold: f64,
    /// As many of each language as the threshold keeps, but drawn at random from all of them: what is due to their number alone.
    pub random: bool,
}

impl TranslatedSettings {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with them, if anything.
    pub fn problem(&self) -> Option<String> {
        let threshold = self.threshold;
        let inside = (0.0..=1.0).contains(&threshold);
        (!inside).then(|| format!("`threshold = {threshold}` is a chrF from 0 to 1"))
    }
}

/// All translated names, by concept, and of each concept by the tag of the language.
pub fn translated_names() -> &'static [TranslatedName] {
    static READ: OnceLock<Vec<TranslatedName>> = OnceLock::new();
    READ.get_or_init(|| NAMES.lines().filter_map(read).collect())
}

fn read(line: &'static str) -> Option<TranslatedName> {
    let mut cells = line.splitn(4, '\t');
    let (concept, language) = (cells.next()?, Language::parse(cells.next()?).ok()?);
    Some(TranslatedName { concept, language, quality: cells.next()?.parse().ok()?, text: cells.next()? })
}

/// The names of a language that are kept, by concept.
pub(super) fn kept_names(
    language: Language,
    seed: u64,
    settings: &TranslatedSettings,
) -> HashMap<&'static str, &'static str> {
    let mut names: Vec<&TranslatedName> = translated_names().iter().filter(|name| name.language == language).collect();
    let is_kept = |name: &&TranslatedName| name.quality >= settings.threshold;
    if settings.random {
        let kept = names.iter().filter(|name| is_kept(name)).count();
        // By concept alone, so that the same ones are drawn in all languages that keep equally many.
        names.sort_by_key(|name| mix(seed, hash_bytes(name.concept.as_bytes())));
        names.truncate(kept);
    } else {
        names.retain(is_kept);
    }
    names.into_iter().map(|name| (name.concept, name.text)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::emoji::EmojiCorpus;

    #[test]
    fn every_line_is_a_name_of_the_corpus() {
        let names = translated_names();
        assert_eq!(names.len(), NAMES.lines().count());
        let corpus = EmojiCorpus::embedded().unwrap();
        let codes: HashSet<&str> = corpus.concepts().iter().map(|concept| concept.code.as_str()).collect();
        let mut seen = HashSet::new();
        for name in names {
            assert!(codes.contains(name.concept) && (0.0..=1.0).contains(&name.quality), "{name:?}");
            assert!(!name.text.trim().is_empty() && seen.insert((name.concept, name.language)), "{name:?}");
        }
    }

    #[test]
    fn a_control_has_as_many_of_each_language_and_others() {
        for language in [Language::DE, Language::ZH_HANS] {
            let kept = |threshold, random, seed| {
                let settings = TranslatedSettings { threshold, random, ..TranslatedSettings::default() };
                kept_names(language, seed, &settings)
            };
            let (all, good, drawn) = (kept(0.0, false, 0), kept(0.85, false, 0), kept(0.85, true, 0));
            assert!(all.len() > 1400 && good.len() * 3 < all.len(), "{language}: {} of {}", good.len(), all.len());
            assert_eq!(good.len(), drawn.len());
            assert_ne!(good, drawn);
            assert_ne!(drawn, kept(0.85, true, 1));
            // A fifth of all is good, and of what is drawn.
            let both = drawn.keys().filter(|concept| good.contains_key(*concept)).count();
            assert!(both * 2 < good.len(), "{both} of {}", good.len());
        }
    }

    #[test]
    fn settings_are_read_and_checked() {
        let read = |text: &str| toml::from_str::<TranslatedSettings>(text);
        assert!(read("").unwrap().is_default());
        assert_eq!(read("threshold = 0.85\nrandom = true").unwrap().problem(), None);
        assert!(read("threshold = 85.0").unwrap().problem().unwrap().contains("85"));
        assert!(read("least = 0.5").is_err());
    }
}
