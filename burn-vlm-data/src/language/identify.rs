//! Which language is an answer written in? For answers of a word or two, where detectors of running text guess.
//!
//! Unusual here:
//! - the script decides first: an answer in Cyrillic letters is in one of the candidates that are written so. An answer that mixes
//!   scripts, or holds broken characters, is in no language;
//! - then the words: a corpus that has the same names in every language knows which words belong to which, and so do the words for yes
//!   and no. A word that several languages share (`ninja`) speaks for all of them, so the result is a set. More than half of the words must be known:
//!   a model that has lost a language writes what only looks like words;
//! - only a sentence, of which a general detector (whatlang, held to the same candidates) is sure, needs no known words.

use std::collections::{BTreeSet, HashMap};

use super::Language;
use crate::emoji::{EmojiCorpus, Split};
use crate::tasks::prompts;

/// Share of an answer's letters that must be in one script: a foreign name in a sentence is no mixture.
const ONE_SCRIPT: f64 = 0.8;
/// From so many words on an answer is a sentence.
const SENTENCE: usize = 4;

/// A script, as far as candidates differ in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Han,
    Other,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// One candidate alone is written in the answer's script.
    Script,
    /// The corpus's word lists.
    Words,
    /// The general detector.
    Detector,
    /// Nothing: no letters, mixed or foreign scripts, or words that no list knows.
    None,
}

/// The languages that an answer may be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Those that fit best, sorted; several where they share the words. Empty where nothing decides.
    pub languages: Vec<Language>,
    /// What decided.
    pub evidence: Evidence,
}

impl Identified {
    /// Whether the answer may be in `language`.
    pub fn fits(&self, language: Language) -> bool {
        self.languages.contains(&language)
    }
}

/// Tells the languages of short answers apart.
#[derive(Debug, Clone)]
pub struct LanguageIdentifier {
    candidates: Vec<Language>,
    scripts: HashMap<Language, Script>,
    /// Whole names, lower case, and the candidates that have them.
    names: HashMap<String, BTreeSet<Language>>,
    /// Single words of names and keywords, lower case, and the candidates that have them.
    words: HashMap<String, BTreeSet<Language>>,
}

impl LanguageIdentifier {
    /// An identifier for `candidates`, with the corpus's names and keywords as word lists.
    ///
    /// A script is what most letters of a candidate's names are written in.
    pub fn new(corpus: &EmojiCorpus, candidates: &[Language]) -> Self {
        let mut identifier = Self {
            candidates: candidates.to_vec(),
            scripts: HashMap::new(),
            names: HashMap::new(),
            words: HashMap::new(),
        };
        identifier.candidates.sort_unstable();
        identifier.candidates.dedup();
        for language in identifier.candidates.clone() {
            let mut counts: HashMap<Script, usize> = HashMap::new();
            let concepts =
                [Split::Train, Split::Validation, Split::Test].into_iter().flat_map(|split| corpus.split(split));
            for text in concepts.filter_map(|concept| corpus.text(concept.id, language)) {
                text.name.chars().filter_map(script).for_each(|script| *counts.entry(script).or_default() += 1);
                let phrases = std::iter::once(&text.name).chain(&text.keywords).map(|phrase| phrase.to_lowercase());
                for word in phrases.flat_map(|phrase| words(&phrase).collect::<Vec<_>>()) {
                    identifier.words.entry(word).or_default().insert(language);
                }
                identifier.names.entry(text.name.to_lowercase()).or_default().insert(language);
            }
            for word in [prompts(language).yes, prompts(language).no] {
                identifier.names.entry(word.to_lowercase()).or_default().insert(language);
            }
            let most = counts.into_iter().max_by_key(|(script, count)| (*count, *script));
            identifier.scripts.insert(language, most.map_or(Script::Other, |(script, _)| script));
        }
        identifier
    }

    /// The candidates.
    pub fn candidates(&self) -> &[Language] {
        &self.candidates
    }

    /// The languages that `answer` may be in.
    pub fn identify(&self, answer: &str) -> Identified {
        let answer = answer.trim().to_lowercase();
        let none = || Identified { languages: Vec::new(), evidence: Evidence::None };
        let Some(written) = main_script(&answer) else { return none() };
        let fitting: Vec<Language> =
            self.candidates.iter().copied().filter(|language| self.scripts.get(language) == Some(&written)).collect();
        match fitting.len() {
            0 => return none(),
            1 => return Identified { languages: fitting, evidence: Evidence::Script },
            _ => {}
        }
        let known = |languages: &BTreeSet<Language>| -> Vec<Language> {
            languages.iter().copied().filter(|language| fitting.contains(language)).collect()
        };
        if let Some(languages) = self.names.get(&answer).map(known).filter(|languages| !languages.is_empty()) {
            return Identified { languages, evidence: Evidence::Words };
        }
        if let Some(languages) = self.by_words(&answer, &fitting) {
            return Identified { languages, evidence: Evidence::Words };
        }
        let sentence = words(&answer).count() >= SENTENCE;
        let detected = if sentence { detect(&answer, &fitting) } else { None };
        detected.map_or_else(none, |language| Identified { languages: vec![language], evidence: Evidence::Detector })
    }

    /// Those of `fitting` whose word lists have the most words of the answer; `None` where no list has more than half of them.
    fn by_words(&self, answer: &str, fitting: &[Language]) -> Option<Vec<Language>> {
        let words: Vec<String> = words(answer).collect();
        let count = |language: &Language| {
            words.iter().filter(|word| self.words.get(*word).is_some_and(|known| known.contains(language))).count()
        };
        let most = fitting.iter().map(count).max().filter(|most| *most > 0 && most * 2 > words.len())?;
        Some(fitting.iter().copied().filter(|language| count(language) == most).collect())
    }
}

/// The words of a text, without punctuation.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
}

/// The script of nearly all letters; `None` without letters, for a mixture, and for text with broken characters.
fn main_script(text: &str) -> Option<Script> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut counts: HashMap<Script, usize> = HashMap::new();
    text.chars().filter_map(script).for_each(|script| *counts.entry(script).or_default() += 1);
    let letters: usize = counts.values().sum();
    let (script, most) = counts.into_iter().max_by_key(|(script, count)| (*count, *script))?;
    (most as f64 >= ONE_SCRIPT * letters as f64).then_some(script)
}

/// The script of a letter; `None` for everything else.
fn script(c: char) -> Option<Script> {
    if !c.is_alphabetic() {
        return None;
    }
    Some(match u32::from(c) {
        0x0041..=0x024f | 0x1e00..=0x1eff => Script::Latin,
        0x0400..=0x052f => Script::Cyrillic,
        0x0600..=0x06ff | 0x0750..=0x077f | 0xfb50..=0xfdff | 0xfe70..=0xfeff => Script::Arabic,
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x2ffff => Script::Han,
        _ => Script::Other,
    })
}

/// The general detector, held to `fitting`; languages that it does not know are never its answer.
fn detect(text: &str, fitting: &[Language]) -> Option<Language> {
    let known: Vec<(Language, whatlang::Lang)> =
        fitting.iter().filter_map(|language| Some((*language, whatlang_of(*language)?))).collect();
    let allowed = known.iter().map(|(_, lang)| *lang).collect();
    let found = whatlang::Detector::with_allowlist(allowed).detect(text).filter(whatlang::Info::is_reliable)?.lang();
    known.into_iter().find(|(_, lang)| *lang == found).map(|(language, _)| language)
}

/// The detector's name of a language, by the tag's first part.
fn whatlang_of(language: Language) -> Option<whatlang::Lang> {
    use whatlang::Lang;
    let primary = language.tag().split('-').next().unwrap_or_default();
    Some(match primary {
        "en" => Lang::Eng,
        "de" => Lang::Deu,
        "nl" => Lang::Nld,
        "es" => Lang::Spa,
        "fr" => Lang::Fra,
        "pt" => Lang::Por,
        "uk" => Lang::Ukr,
        "hi" => Lang::Hin,
        "zh" => Lang::Cmn,
        "ru" => Lang::Rus,
        "cs" => Lang::Ces,
        "ko" => Lang::Kor,
        "ja" => Lang::Jpn,
        "it" => Lang::Ita,
        "pl" => Lang::Pol,
        "ro" => Lang::Ron,
        "nb" => Lang::Nob,
        "ar" => Lang::Ara,
        "tr" => Lang::Tur,
        "da" => Lang::Dan,
        "fi" => Lang::Fin,
        "hu" => Lang::Hun,
        "sv" => Lang::Swe,
        "bn" => Lang::Ben,
        "si" => Lang::Sin,
        "ta" => Lang::Tam,
        "ur" => Lang::Urd,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::PARROT_6;

    fn parrot() -> (std::sync::Arc<EmojiCorpus>, LanguageIdentifier) {
        let corpus = EmojiCorpus::embedded().unwrap();
        let identifier = LanguageIdentifier::new(&corpus, PARROT_6.languages);
        (corpus, identifier)
    }

    #[test]
    fn script_then_words_then_detector() {
        let (_, identifier) = parrot();
        let found = |text: &str| identifier.identify(text);
        assert_eq!(found("красное яблоко"), Identified { languages: vec![Language::RU], evidence: Evidence::Script });
        assert_eq!(found("红苹果").languages, [Language::ZH_HANS]);
        assert_eq!(found("تفاحة حمراء").languages, [Language::AR]);
        assert_eq!(found("red apple"), Identified { languages: vec![Language::EN], evidence: Evidence::Words });
        assert_eq!(found("kırmızı elma").languages, [Language::TR]);
        assert_eq!(found("maçã vermelha").languages, [Language::PT_BR]);
        assert!(found("ninja").fits(Language::PT_BR) && found("ninja").fits(Language::EN));
        // a sentence whose words no list has
        let sentence = found("bunlardan hiçbirisini göremiyordum çünkü uyumuştum");
        assert_eq!((sentence.languages.as_slice(), sentence.evidence), (&[Language::TR][..], Evidence::Detector));
        assert_eq!(found("1 2 3 ?!"), Identified { languages: vec![], evidence: Evidence::None });
        assert_eq!(found("ひらがな").evidence, Evidence::None);
        assert_eq!(found("").languages, []);
    }

    /// What models write that have lost a language.
    #[test]
    fn degenerate_answers_are_in_no_language() {
        let (_, identifier) = parrot();
        for text in [
            "kapyes",
            "\u{fffd}一",
            "ф鼠",
            "в луна с в haircut",
            "علمhas الصفo",
            "semblem",
            "olho greong",
            "iiiiii",
            "!!",
        ] {
            assert_eq!(identifier.identify(text).languages, [], "{text}");
        }
        assert_eq!(identifier.identify("yes").languages, [Language::EN]);
        assert_eq!(identifier.identify("no").languages, [Language::EN]);
        assert_eq!(identifier.identify("não").languages, [Language::PT_BR]);
        assert_eq!(identifier.identify("clock").languages, [Language::EN]);
    }

    /// What the measure says of right answers: the ceiling of every model.
    #[test]
    fn the_corpus_names_are_in_their_language() {
        let (corpus, identifier) = parrot();
        for language in PARROT_6.languages {
            let texts: Vec<_> =
                corpus.concepts().iter().filter_map(|concept| corpus.text(concept.id, *language)).collect();
            let fitting = texts.iter().filter(|text| identifier.identify(&text.name).fits(*language)).count();
            let share = fitting as f64 / texts.len() as f64;
            // a few names mix scripts or are written in another one ("T-Rex" in Arabic texts, say)
            assert!(share > 0.985, "{language}: {share}");
        }
    }

    /// And of answers in another language: how often a wrong language passes for the right one.
    #[test]
    fn other_languages_names_rarely_pass() {
        let (corpus, identifier) = parrot();
        for (written, prompt) in
            [(Language::EN, Language::PT_BR), (Language::EN, Language::TR), (Language::PT_BR, Language::EN)]
        {
            let texts: Vec<_> = corpus
                .concepts()
                .iter()
                .filter_map(|concept| Some((corpus.text(concept.id, written)?, corpus.text(concept.id, prompt)?)))
                .filter(|(a, b)| a.name.to_lowercase() != b.name.to_lowercase())
                .collect();
            let passing = texts.iter().filter(|(text, _)| identifier.identify(&text.name).fits(prompt)).count();
            let share = passing as f64 / texts.len() as f64;
            assert!(share < 0.03, "{written} for {prompt}: {share}");
        }
    }
}
