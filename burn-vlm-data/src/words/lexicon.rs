//! The words that are drawn: names and keywords of the corpus that are one short word.
//!
//! A word is held out if it is known from held-out concepts alone: no name or keyword of a training concept, in any language, is the
//! word or has it among its words. So no training sample of any task of the corpus has it, and what is read was never met.

use super::fonts::Font;
use super::script::Script;
use crate::emoji::{EmojiCorpus, Split};
use crate::language::Language;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Greek and Hebrew, which the corpus has no texts in: language, concept and word, from CLDR as the corpus's own texts are.
const OTHERS: &str = include_str!("../../data/words/greek-hebrew.tsv");

/// A word that can be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As the corpus writes it, in Unicode's order of characters (not the order of what is drawn).
    pub text: String,
    /// In which it is written.
    pub script: Script,
    /// What it may be used for: training, validation or test.
    pub split: Split,
}

/// The words of every language, in an order that depends on the corpus alone.
#[derive(Debug)]
pub struct Lexicon {
    words: BTreeMap<Language, Vec<Word>>,
    /// Folded, of all languages.
    held_out: HashSet<String>,
}

impl Lexicon {
    /// The words of a corpus.
    pub fn new(corpus: &EmojiCorpus) -> Self {
        let texts = texts(corpus);
        // Every word of every training text, whatever the language: 'radio' is one word in many.
        let mut trained: HashSet<String> = HashSet::new();
        for (_, _, text) in texts.iter().filter(|(_, split, _)| *split == Split::Train) {
            let folded = fold(text);
            trained.extend(parts(&folded).map(str::to_owned));
            trained.insert(folded);
        }
        // What is not trained is asked in the test if any test concept has it, so that the two sides differ in every language.
        let mut tested: HashSet<String> = HashSet::new();
        tested.extend(texts.iter().filter(|(_, split, _)| *split == Split::Test).map(|(_, _, text)| fold(text)));
        let mut words: BTreeMap<Language, BTreeMap<String, Word>> = BTreeMap::new();
        for (language, _, text) in texts {
            let Some(script) = Script::of(language) else { continue };
            let folded = fold(text);
            if !script.lengths().contains(&text.chars().count()) || !script.has(text) || !Font::all_have(script, text) {
                continue;
            }
            let split = match (trained.contains(&folded), tested.contains(&folded)) {
                (true, _) => Split::Train,
                (false, true) => Split::Test,
                (false, false) => Split::Validation,
            };
            // Of two spellings the first in the corpus's order.
            words.entry(language).or_default().entry(folded).or_insert_with(|| Word {
                text: text.to_owned(),
                script,
                split,
            });
        }
        let all = words.values().flatten();
        let held_out = all.filter(|(_, word)| word.split != Split::Train).map(|(folded, _)| folded.clone()).collect();
        let words = words.into_iter().map(|(language, of)| (language, of.into_values().collect())).collect();
        Self { words, held_out }
    }

    /// Whether a text is a word of any language that training must not show, case aside.
    pub fn is_held_out(&self, text: &str) -> bool {
        self.held_out.contains(&fold(text))
    }

    /// The words of the embedded corpus, found once.
    pub fn embedded(corpus: &EmojiCorpus) -> Arc<Self> {
        static LEXICONS: OnceLock<Arc<Lexicon>> = OnceLock::new();
        // There is one embedded corpus; another one has its own words.
        match EmojiCorpus::embedded() {
            Ok(embedded) if std::ptr::eq(&*embedded, corpus) => {
                LEXICONS.get_or_init(|| Arc::new(Self::new(corpus))).clone()
            }
            _ => Arc::new(Self::new(corpus)),
        }
    }

    /// The languages with words.
    pub fn languages(&self) -> impl Iterator<Item = Language> + '_ {
        self.words.keys().copied()
    }

    /// The words of a language for one use, sorted.
    pub fn words(&self, language: Language, split: Split) -> impl Iterator<Item = &Word> {
        let of = self.words.get(&language).map_or(&[][..], Vec::as_slice);
        of.iter().filter(move |word| word.split == split)
    }
}

/// By which words are told apart: case aside.
pub fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// The words that a text consists of; a text of a script without spaces is one.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let separates = |c: char| c.is_whitespace() || c.is_ascii_punctuation() || "–—’‘“”„«»·،؛、。・：（）".contains(c);
    text.split(separates).filter(|part| !part.is_empty())
}

/// Language, split of the concept, and text: names and keywords of the corpus, then Greek and Hebrew words.
fn texts(corpus: &EmojiCorpus) -> Vec<(Language, Split, &str)> {
    let mut texts = Vec::new();
    for language in corpus.languages() {
        for concept in corpus.concepts() {
            let Some(text) = corpus.text(concept.id, language) else { continue };
            texts.push((language, concept.split, text.name.as_str()));
            texts.extend(text.keywords.iter().map(|keyword| (language, concept.split, keyword.as_str())));
        }
    }
    let mut languages: HashMap<&str, Option<Language>> = HashMap::new();
    for line in OTHERS.lines() {
        let mut fields = line.split('\t');
        let (Some(tag), Some(code), Some(word)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let language = *languages.entry(tag).or_insert_with(|| Language::parse(tag).ok());
        if let (Some(language), Some(concept)) = (language, corpus.by_code(code)) {
            texts.push((language, concept.split, word));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> (Arc<EmojiCorpus>, Arc<Lexicon>) {
        let corpus = EmojiCorpus::embedded().unwrap();
        let lexicon = Lexicon::embedded(&corpus);
        (corpus, lexicon)
    }

    #[test]
    fn every_script_has_words_on_each_side() {
        let (_, lexicon) = lexicon();
        for script in Script::ALL {
            let languages: Vec<Language> =
                lexicon.languages().filter(|language| Script::of(*language) == Some(script)).collect();
            assert!(!languages.is_empty(), "{script:?}");
            for language in languages {
                let count = |split| lexicon.words(language, split).count();
                let sizes = [count(Split::Train), count(Split::Test), count(Split::Validation)];
                println!("{script:?} {language}: {sizes:?}");
                assert!(sizes[0] >= 200 && sizes[1] >= 40 && sizes[2] >= 40, "{language}: {sizes:?}");
            }
        }
    }

    /// The leak test of words: whatever is held out stands in no text of a training concept, in no language, neither alone nor
    /// among other words, in no case.
    #[test]
    fn held_out_words_are_in_no_training_text() {
        let (corpus, lexicon) = lexicon();
        let mut held_out: HashMap<String, Split> = HashMap::new();
        for language in lexicon.languages() {
            for split in [Split::Test, Split::Validation] {
                for word in lexicon.words(language, split) {
                    let known = held_out.insert(fold(&word.text), split);
                    assert!(known.is_none_or(|known| known == split), "{} is on two sides", word.text);
                }
            }
        }
        assert!(held_out.len() > 2000, "{}", held_out.len());
        for language in corpus.languages() {
            for concept in corpus.split(Split::Train) {
                let Some(text) = corpus.text(concept.id, language) else { continue };
                for text in std::iter::once(&text.name).chain(&text.keywords) {
                    let folded = text.to_lowercase();
                    let words = folded.split(|c: char| c.is_whitespace() || ":,;()-’'\"“”".contains(c));
                    for word in words.chain([folded.as_str()]) {
                        assert!(!held_out.contains_key(word), "{word:?} of {text:?} ({language}, {})", concept.code);
                    }
                }
            }
        }
        for language in lexicon.languages() {
            let leaked = lexicon.words(language, Split::Train).find(|word| held_out.contains_key(&fold(&word.text)));
            assert!(leaked.is_none(), "{leaked:?}");
        }
    }
}
