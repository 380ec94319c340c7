//! burn-vlm's own rules (`rules = "burn-vlm"`): one reader of letters, of yes and no and of short answers for all
//! languages, completeness checked, invalid answers counted apart. `docs/strict-rules.md` is the table of what is read
//! from what; a test reads it.
//!
//! Unusual here: the same reader for every benchmark and language, no draw and no guess. What can be read in two ways
//! is [`Reading::Ambiguous`], wrong, and counted; so is what cannot be read at all.
//!
//! # Giving a benchmark these rules
//!
//! Say which [`Kind`] it is and hand on:
//!
//! ```text
//! const STRICT: strict::Kind = strict::Kind::Choice;         // or Circular, Binary, Pairs, Short, Open, Votes,
//! Holds // rules():     add Rules::BurnVlm // read():      if rules == Rules::BurnVlm { return strict::read(file,
//! base, language, STRICT); } // question():  if style == PromptStyle::BurnVlm { return STRICT.question(item); } //
//! score():     if rules == Rules::BurnVlm { return STRICT.score(items, answers); } // metrics():   if rules ==
//! Rules::BurnVlm { return STRICT.metrics(items); }
//! ```
//!
//! `prompts()` is the trait's, or [`crate::kit::styles`]. A benchmark whose rows have a form of their own keeps its
//! `read`, with [`Kind::reading`] for how and [`Kind::check`] on each item.

mod ask;
mod context;
mod letter;
mod score;
mod short;
mod text;
mod tokens;
mod words;
mod yes_no;

pub use ask::{Instruction, instruction};
pub use letter::letter;
pub use score::{ANSWER_INSTRUCTION, CIRCULAR, Kind, NO_WORDS, PAIRS, YES_WORDS, read};
pub use short::{accepts, short};
pub use yes_no::{yes_no, yes_no_with, yes_no_words};

/// A text as texts are compared: without what is not seen, folded, with single spaces.
pub(crate) fn compared(text: &str) -> String {
    let folded = text::fold(&text::visible(text));
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What was read from a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// One answer.
    Answer(T),
    /// More than one, or a letter and another option's text.
    Ambiguous,
    /// The reply says that there will be no answer.
    Refused,
    /// No answer that can be read.
    Unread,
    /// Nothing was written, or thought was not finished.
    Empty,
}

impl<T> Reading<T> {
    /// The answer.
    pub fn answer(self) -> Option<T> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// The same reading of an answer that is written otherwise.
    pub fn map<U>(self, written: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Answer(answer) => Reading::Answer(written(answer)),
            Self::Ambiguous => Reading::Ambiguous,
            Self::Refused => Reading::Refused,
            Self::Unread => Reading::Unread,
            Self::Empty => Reading::Empty,
        }
    }

    /// The name in predictions, reports and docs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Answer(_) => "answer",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::Unread => "unread",
            Self::Empty => "empty",
        }
    }
}
