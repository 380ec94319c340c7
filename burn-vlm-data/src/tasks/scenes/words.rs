//! The words of questions about scenes: CLDR's names, its pattern of a category and its list, and the project's "What is this?".
//!
//! | question | words | in English |
//! |---|---|---|
//! | alone | What is this? | What is this? |
//! | place | name of an arrow: What is this? | up-left arrow: What is this? |
//! | beside | name of an arrow, name: What is this? | left arrow, tulip: What is this? |
//! | odd one out | name of the minus sign, name: What is this? | minus, tulip: What is this? |
//! | added, removed | name of the plus or minus sign: What is this? | plus: What is this? |
//! | count | name of 🔢: name | input numbers: tulip |
//!
//! Every question is in all 32 languages of the corpus, for each has these names, the pattern of a category (`{0}: {1}`) and "What is
//! this?"; numbers are digits. A name that a language lacks leaves the question out in all of them.
//!
//! Unusual here: names that stand in questions are of training concepts alone. The arrow down to the left is a held-out concept, so what
//! stands there is never asked for, though it may be shown.

use super::layout::Quarter;
use super::level::SceneQuestion;
use crate::emoji::ConceptId;
use crate::language::Language;
use crate::tasks::builder::TaskBuilder;
use crate::tasks::prompts::prompts;

const LEFT: &str = "2b05";
const RIGHT: &str = "27a1";
const PLUS: &str = "2795";
const MINUS: &str = "2796";
const NUMBERS: &str = "1f522";

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Alone,
    In(Quarter),
    LeftOf(ConceptId),
    RightOf(ConceptId),
    Besides(ConceptId),
    Added,
    Removed,
    NumberOf(ConceptId),
}

impl Asked {
    pub(super) fn question(self) -> SceneQuestion {
        match self {
            Self::Alone => SceneQuestion::Alone,
            Self::In(_) => SceneQuestion::Place,
            Self::LeftOf(_) | Self::RightOf(_) => SceneQuestion::Beside,
            Self::Besides(_) => SceneQuestion::OddOneOut,
            Self::Added => SceneQuestion::Added,
            Self::Removed => SceneQuestion::Removed,
            Self::NumberOf(_) => SceneQuestion::Count,
        }
    }

    /// The concept whose name says which: an arrow or a sign.
    fn sign(self) -> Option<&'static str> {
        match self {
            Self::Alone => None,
            Self::In(quarter) => arrow(quarter),
            Self::LeftOf(_) => Some(LEFT),
            Self::RightOf(_) => Some(RIGHT),
            Self::Added => Some(PLUS),
            Self::Besides(_) | Self::Removed => Some(MINUS),
            Self::NumberOf(_) => Some(NUMBERS),
        }
    }

    /// The concept that is named beside it.
    fn named(self) -> Option<ConceptId> {
        match self {
            Self::LeftOf(concept) | Self::RightOf(concept) | Self::Besides(concept) | Self::NumberOf(concept) => {
                Some(concept)
            }
            _ => None,
        }
    }

    /// The question in a language, without placeholders; none where a name is missing.
    pub(super) fn words(self, builder: &TaskBuilder<'_>, language: Language) -> Option<String> {
        let what_is_this = prompts(language).what_is_this;
        let Some(sign) = self.sign() else { return Some(what_is_this.to_owned()) };
        let name = |concept: ConceptId| builder.text(concept, language).map(|text| text.name.as_str());
        let sign = name(builder.corpus().by_code(sign)?.id)?;
        let category = |first: &str, second: &str| {
            let pattern = builder.corpus().strings(language)?.patterns.get("category-list")?;
            Some(pattern.replace("{0}", first).replace("{1}", second))
        };
        match (self, self.named()) {
            (Self::NumberOf(concept), _) => category(sign, name(concept)?),
            (_, Some(concept)) => category(&builder.join(language, &[sign, name(concept)?]), what_is_this),
            (_, None) => category(sign, what_is_this),
        }
    }
}

/// The quarters that may be asked about.
pub(super) fn asked_quarters() -> impl Iterator<Item = Quarter> {
    Quarter::ALL.into_iter().filter(|quarter| arrow(*quarter).is_some())
}

/// The arrow that points into a quarter, where it is no held-out concept.
fn arrow(quarter: Quarter) -> Option<&'static str> {
    match quarter {
        Quarter::UpLeft => Some("2196"),
        Quarter::UpRight => Some("2197"),
        Quarter::DownLeft => None,
        Quarter::DownRight => Some("2198"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::{EmojiCorpus, Split};

    /// What the documentation says of languages.
    #[test]
    fn every_question_has_words_in_every_language() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let tulip = corpus.by_code("1f337").unwrap().id;
        let languages = corpus.languages();
        assert_eq!(languages.len(), 32);
        let builder = TaskBuilder::new(&corpus, &languages, 0).unwrap();
        let mut asked = vec![Asked::Alone, Asked::LeftOf(tulip), Asked::RightOf(tulip), Asked::Besides(tulip)];
        asked.extend([Asked::Added, Asked::Removed, Asked::NumberOf(tulip)]);
        asked.extend(asked_quarters().map(Asked::In));
        for language in languages {
            let mut words: Vec<String> = asked.iter().map(|a| a.words(&builder, language).unwrap()).collect();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), asked.len(), "{language}: {words:?}");
        }
    }

    #[test]
    fn words_of_three_languages() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let languages = [Language::EN, Language::FR, Language::ZH_HANS];
        let builder = TaskBuilder::new(&corpus, &languages, 0).unwrap();
        let tulip = corpus.by_code("1f337").unwrap().id;
        let in_each = |asked: Asked| languages.map(|language| asked.words(&builder, language).unwrap());
        let up_left = in_each(Asked::In(Quarter::UpLeft));
        assert_eq!(up_left[0], "up-left arrow: What is this?");
        assert_eq!(up_left[1], "flèche haut gauche\u{202f}: Qu’est-ce que c’est ?");
        assert_eq!(in_each(Asked::LeftOf(tulip))[0], "left arrow, tulip: What is this?");
        assert_eq!(in_each(Asked::Besides(tulip))[0], "minus, tulip: What is this?");
        assert_eq!(in_each(Asked::NumberOf(tulip))[0], "input numbers: tulip");
        assert!(in_each(Asked::Added)[2].starts_with("加: "), "{:?}", in_each(Asked::Added));
    }

    #[test]
    fn words_are_names_of_training_concepts() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let signs = Quarter::ALL.into_iter().filter_map(arrow).chain([LEFT, RIGHT, PLUS, MINUS, NUMBERS]);
        let signs: Vec<_> = signs.map(|code| corpus.by_code(code).unwrap()).collect();
        assert_eq!(signs.len(), 8);
        assert!(signs.iter().all(|sign| sign.split == Split::Train));
        // The arrow that is left out is held out.
        assert_ne!(corpus.by_code("2199").unwrap().split, Split::Train);
    }
}
