//! Scored questions: four-way choice (cloze and lettered) and yes/no pairs.

use super::pool::{Distractors, Pool};
use super::prompts::prompts;
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::emoji::{ConceptId, PictureId};
use crate::language::Language;
use serde::{Deserialize, Serialize};

/// The letters of the options.
pub const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// What a choice question asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceQuestion {
    /// "What is this?", options are names ("flag: Dominica" for a flag, so that the question gives nothing away).
    Name,
    /// "Which country or region does this flag belong to?", options are countries; flags only.
    FlagCountry,
}

impl ChoiceQuestion {
    /// The question in a language.
    pub fn prompt(self, language: Language) -> &'static str {
        match self {
            Self::Name => prompts(language).what_is_this,
            Self::FlagCountry => prompts(language).whose_flag,
        }
    }
}

/// A question with four possible answers, one of them right.
///
/// Items of different languages with the same `parallel` id have the same picture, concepts and order of options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceItem {
    /// Unique and stable across runs: the parallel id and the language.
    pub id: String,
    /// The same in every language.
    pub parallel: String,
    /// What is asked.
    pub question: ChoiceQuestion,
    /// What the picture shows.
    pub concept: ConceptId,
    /// The picture, in the scored style.
    pub picture: PictureId,
    /// Language of question and options.
    pub language: Language,
    /// The question, without the picture's placeholder.
    pub prompt: String,
    /// The four answers, all different.
    pub options: [String; 4],
    /// What the options name.
    pub option_concepts: [ConceptId; 4],
    /// Position of the right option.
    pub answer: usize,
    /// Where the wrong options come from.
    pub distractors: Distractors,
    /// Seen or unseen concepts, validation or test.
    pub pool: Pool,
}

/// A choice question with its options in the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lettered {
    /// How far the options are rotated, 0 to 3.
    pub rotation: usize,
    /// The user turn: picture, question, lettered options, and the request for a letter.
    pub turns: Vec<Turn>,
    /// Position of the right letter in [`LETTERS`].
    pub answer: usize,
}

impl ChoiceItem {
    /// Cloze form: picture and question; the options are scored as the assistant's answer.
    pub fn cloze(&self) -> Vec<Turn> {
        vec![Turn::user(format!("{IMAGE_PLACEHOLDER}\n{}", self.prompt))]
    }

    /// The cloze form without the picture, whose likelihoods may be subtracted.
    pub fn cloze_text_only(&self) -> Vec<Turn> {
        vec![Turn::user(self.prompt.clone())]
    }

    /// The conversation in which option `option` is the answer.
    ///
    /// # Panics
    /// If `option` is not below 4.
    pub fn cloze_with(&self, option: usize) -> Vec<Turn> {
        let mut turns = self.cloze();
        turns.push(Turn::assistant(self.options[option].clone()));
        turns
    }

    /// Lettered form; with rotation `r` the option at position `i` gets letter `(i + r) % 4`, so that over the four
    /// rotations every option has every letter once.
    pub fn lettered(&self, rotation: usize) -> Lettered {
        let options = self.options.each_ref().map(String::as_str);
        lettered(self.language, &self.prompt, options, self.answer, rotation)
    }
}

/// Writes a question with its options.
pub(super) fn lettered(
    language: Language,
    prompt: &str,
    options: [&str; 4],
    answer: usize,
    rotation: usize,
) -> Lettered {
    let rotation = rotation % 4;
    let line = |letter: usize| format!("{}. {}", LETTERS[letter], options[(letter + 4 - rotation) % 4]);
    let lines = [line(0), line(1), line(2), line(3)].join("\n");
    let instruction = prompts(language).letter_only;
    let text = format!("{IMAGE_PLACEHOLDER}\n{prompt}\n{lines}\n{instruction}");
    Lettered { rotation, turns: vec![Turn::user(text)], answer: (answer + rotation) % 4 }
}

/// A yes/no question about a picture; each picture has two, one of either answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct YesNoItem {
    /// Unique and stable across runs.
    pub id: String,
    /// The same for both questions of a picture: a pair counts only if both are right.
    pub pair: String,
    /// What the picture shows.
    pub concept: ConceptId,
    /// The picture, in the scored style.
    pub picture: PictureId,
    /// Language of the question.
    pub language: Language,
    /// The question, without the picture's placeholder.
    pub prompt: String,
    /// The concept that the question names.
    pub named: ConceptId,
    /// True if the right answer is yes.
    pub answer: bool,
    /// Where the wrongly named concept comes from.
    pub distractors: Distractors,
    /// Seen or unseen concepts, validation or test.
    pub pool: Pool,
}

impl YesNoItem {
    /// The user turn: picture and question.
    pub fn turns(&self) -> Vec<Turn> {
        vec![Turn::user(format!("{IMAGE_PLACEHOLDER}\n{}", self.prompt))]
    }

    /// The language's words for yes and no.
    pub fn words(&self) -> (&'static str, &'static str) {
        let prompts = prompts(self.language);
        (prompts.yes, prompts.no)
    }

    /// The right answer's word.
    pub fn answer_word(&self) -> &'static str {
        let (yes, no) = self.words();
        if self.answer { yes } else { no }
    }
}
