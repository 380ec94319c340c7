//! Evaluation: four-way choice (cloze and lettered), yes/no pairs, captions with their language, and zero-shot retrieval of encoders.
//!
//! Every item becomes one [`Prediction`], written to `predictions.jsonl`; scores, intervals and differences are
//! computed from those alone.

mod caption;
mod cloze;
mod fidelity;
mod lettered;
mod retrieval;
mod rows;
mod yes_no;

pub use caption::captions;
pub use cloze::{cloze, cloze_protocol};
pub use fidelity::{FIDELITY, IN_ENGLISH, IN_NONE, language_scores};
pub use lettered::lettered;
pub use retrieval::{RetrievalScore, retrieval};
pub use rows::{Row, Scorer, likelihoods};
pub use yes_no::{PAIRED, VANILLA, paired, yes_no};

use serde::{Deserialize, Serialize};

/// What a model answered to one item, and what would have been right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The item's id.
    pub id: String,
    /// `cloze`, `lettered`, `yes_no` or `caption`.
    pub protocol: String,
    /// `near` or `far`; absent for captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distractors: Option<String>,
    /// `seen` or `unseen`.
    pub concepts: String,
    /// Language tag.
    pub language: String,
    /// Code points of the concept.
    pub concept: String,
    /// Style and concept of the picture.
    pub picture: String,
    /// The question.
    pub question: String,
    /// The options; for captions the reference alone.
    pub options: Vec<String>,
    /// Position of the right option.
    pub answer: usize,
    /// One list of option scores a protocol name (`likelihood`, `pmi`), or a letter list for each rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub option_scores: Vec<OptionScores>,
    /// The generated text of a caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the item contributes to each protocol, 0 to 1.
    pub scores: Vec<NamedScore>,
}

/// Scores of the options under one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionScores {
    /// `likelihood`, `pmi`, or `rotation 0` to `rotation 3`.
    pub rule: String,
    /// One score an option, in the order in which the options are listed.
    pub values: Vec<f64>,
}

/// An item's score under one protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedScore {
    /// Protocol as in the summary, e.g. `cloze`.
    pub protocol: String,
    /// 0 to 1.
    pub score: f64,
}

/// Position of the largest value; the first of equals.
pub(crate) fn argmax(values: &[f64]) -> usize {
    values.iter().enumerate().fold(0, |best, (i, value)| if *value > values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0, 1.0]), 1);
        assert_eq!(argmax(&[-1.0]), 0);
    }
}
