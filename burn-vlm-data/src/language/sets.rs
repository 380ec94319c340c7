//! The language sets of the papers, each with the place it was taken from.
//!
//! Where a paper names a language without its variant ("Portuguese", "Chinese"), the set holds the variant that the
//! same paper trains on, or the commoner one; the `source` says which choice was made.

use super::Language;
use crate::emoji::EmojiCorpus;
use burn_vlm_base::suggest::closest;

/// A named list of languages with its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanguageSet {
    /// The name by which recipes call it.
    pub name: &'static str,
    /// Where the list stands, and what was decided where the source leaves something open.
    pub source: &'static str,
    /// The languages, in the source's order.
    pub languages: &'static [Language],
}

/// A name that no language set has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown language set {name:?}: did you mean {nearest:?}? (known: {})", set_names())]
pub struct UnknownLanguageSet {
    /// The name as given.
    pub name: String,
    /// The nearest known name.
    pub nearest: &'static str,
}

/// TowerVision's 20 languages and dialects.
pub const TOWERVISION_20: LanguageSet = LanguageSet {
    name: "towervision-20",
    source: "TowerVision, footnote 2: English, German, Dutch, Spanish (Latin America), French, Portuguese (Portugal), \
             Portuguese (Brazilian), Ukrainian, Hindi, Chinese (Simplified), Chinese (Traditional), Russian, Czech, \
             Korean, Japanese, Italian, Polish, Romanian, Norwegian (Nynorsk) and Norwegian (Bokmål)",
    languages: &[
        Language::EN,
        Language::DE,
        Language::NL,
        Language::ES_419,
        Language::FR,
        Language::PT_PT,
        Language::PT_BR,
        Language::UK,
        Language::HI,
        Language::ZH_HANS,
        Language::ZH_HANT,
        Language::RU,
        Language::CS,
        Language::KO,
        Language::JA,
        Language::IT,
        Language::PL,
        Language::RO,
        Language::NN,
        Language::NB,
    ],
};

/// TowerVision's ten "core" languages.
pub const TOWERVISION_CORE_10: LanguageSet = LanguageSet {
    name: "towervision-core-10",
    source: "TowerVision, section 5 and Table 11: English, German, Dutch, Portuguese, Russian, Simplified and \
             Traditional Chinese, Spanish, French, Italian. \"Portuguese\" is pt-PT and \"Spanish\" es-419 here, so that \
             the ten are a part of the twenty",
    languages: &[
        Language::EN,
        Language::DE,
        Language::NL,
        Language::PT_PT,
        Language::RU,
        Language::ZH_HANS,
        Language::ZH_HANT,
        Language::ES_419,
        Language::FR,
        Language::IT,
    ],
};

/// Parrot's six languages, those of MMMB.
pub const PARROT_6: LanguageSet = LanguageSet {
    name: "parrot-6",
    source: "Parrot, section 3.1: English (en), Chinese (zh), Portuguese (pt), Arabic (ar), Turkish (tr), Russian (ru). \
             zh is zh-Hans; pt is pt-BR (the paper names no variant)",
    languages: &[Language::EN, Language::ZH_HANS, Language::PT_BR, Language::AR, Language::TR, Language::RU],
};

/// Multi-PixMo's five European languages.
pub const MULTI_PIXMO_5: LanguageSet = LanguageSet {
    name: "multi-pixmo-5",
    source: "Multi-PixMo, abstract: five European languages (English, French, German, Italian, and Spanish)",
    languages: &[Language::EN, Language::FR, Language::DE, Language::IT, Language::ES],
};

/// The languages TowerVision was not trained on and is evaluated in.
pub const TOWERVISION_UNSEEN: LanguageSet = LanguageSet {
    name: "towervision-unseen",
    source: "TowerVision, Table 11, the rows marked with an asterisk: Danish, Finnish, Hungarian, Icelandic, Japanese, \
             Swedish. Footnote 2 lists Japanese among the 20 trained languages; the table marks it as unseen",
    languages: &[Language::DA, Language::FI, Language::HU, Language::IS, Language::JA, Language::SV],
};

/// The languages of ViMUL-Bench.
pub const VIMUL_14: LanguageSet = LanguageSet {
    name: "vimul-14",
    source: "TowerVision, Table 3 (ViMUL-Bench): ar bn zh en fr de hi ja ru si es sv ta ur. zh is zh-Hans",
    languages: &[
        Language::AR,
        Language::BN,
        Language::ZH_HANS,
        Language::EN,
        Language::FR,
        Language::DE,
        Language::HI,
        Language::JA,
        Language::RU,
        Language::SI,
        Language::ES,
        Language::SV,
        Language::TA,
        Language::UR,
    ],
};

/// The languages of the default (tiny) studies.
pub const TINY_5: LanguageSet = LanguageSet {
    name: "tiny-5",
    source: "this project: English and four languages of three scripts, few enough for minutes of training on a CPU",
    languages: &[Language::EN, Language::DE, Language::FR, Language::RU, Language::ZH_HANS],
};

/// Languages that the tiny studies evaluate in and leave out of the finetuning.
pub const TINY_UNSEEN: LanguageSet = LanguageSet {
    name: "tiny-unseen",
    source: "this project: each is related to one language of tiny-5 (Spanish to French, Dutch to German)",
    languages: &[Language::ES, Language::NL],
};

impl LanguageSet {
    /// All named sets.
    pub const ALL: &'static [LanguageSet] = &[
        TOWERVISION_20,
        TOWERVISION_CORE_10,
        PARROT_6,
        MULTI_PIXMO_5,
        TOWERVISION_UNSEEN,
        VIMUL_14,
        TINY_5,
        TINY_UNSEEN,
    ];

    /// Finds a set by name.
    ///
    /// # Errors
    /// [`UnknownLanguageSet`] with the nearest known name.
    pub fn by_name(name: &str) -> Result<Self, UnknownLanguageSet> {
        if let Some(set) = Self::ALL.iter().find(|set| set.name == name) {
            return Ok(*set);
        }
        let wanted = name.trim().to_lowercase().replace('_', "-");
        let nearest = closest(&wanted, Self::ALL.iter().map(|set| set.name));
        Err(UnknownLanguageSet { name: name.to_owned(), nearest: nearest.unwrap_or_default() })
    }

    /// True if the set holds `language`.
    pub fn contains(&self, language: Language) -> bool {
        self.languages.contains(&language)
    }

    /// The languages of the set that `corpus` has texts in, and those that it lacks.
    pub fn in_corpus(&self, corpus: &EmojiCorpus) -> (Vec<Language>, Vec<Language>) {
        self.languages.iter().partition(|language| corpus.has_language(**language))
    }
}

fn set_names() -> String {
    LanguageSet::ALL.iter().map(|set| set.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn sizes_and_relations() {
        for set in LanguageSet::ALL {
            let distinct: BTreeSet<_> = set.languages.iter().collect();
            assert_eq!(distinct.len(), set.languages.len(), "{}", set.name);
            assert_eq!(LanguageSet::by_name(set.name), Ok(*set));
            if let Some(number) = set.name.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()) {
                assert_eq!(number, set.languages.len(), "{}", set.name);
            }
        }
        assert!(TOWERVISION_CORE_10.languages.iter().all(|l| TOWERVISION_20.contains(*l)));
        assert!(TINY_UNSEEN.languages.iter().all(|l| !TINY_5.contains(*l)));
        assert_eq!(LanguageSet::by_name("TINY_5x").unwrap_err().nearest, "tiny-5");
    }

    #[test]
    fn the_corpus_has_every_set() {
        let corpus = EmojiCorpus::embedded().unwrap();
        for set in LanguageSet::ALL {
            let (present, missing) = set.in_corpus(&corpus);
            assert_eq!(present, set.languages);
            assert!(missing.is_empty());
        }
    }
}
