//! What a model answered and what would have been right: one line of `predictions.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::{Axes, Outcome, Subset};

/// The tag of what is in no language that is told (BCP 47: undetermined).
const NO_LANGUAGE: &str = "und";

/// What a model answered to one item, and what would have been right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The item's id.
    pub id: String,
    /// Name of the benchmark.
    pub benchmark: String,
    /// Which part of the benchmark it belongs to, where that has parts which must not be averaged together.
    #[serde(default, skip_serializing_if = "Subset::is_empty")]
    pub subset: Subset,
    /// Language tag; absent where no language is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What the bootstrap resamples as a whole: the concept of the corpus, else what several questions have in common.
    pub group: String,
    /// Name of the picture; empty where none is shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub picture: String,
    /// The question, without placeholders.
    pub question: String,
    /// The options; none for questions that are answered freely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// What the model was asked in their place, where they were translated for it (`[evaluation.pivot]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Position of the right option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<usize>,
    /// What is right, of questions that are answered freely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// What the data files the question under, such as `category` and `split`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// One list of option scores a rule (`likelihood`, `pmi`), or a letter list for each rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub option_scores: Vec<OptionScores>,
    /// What the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was understood of it, such as the letter of an option; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub understood: Option<String>,
    /// What else is worth knowing of the reply: `invalid`, `no_reply`, `read_as_missing`, `random_in_reference`, `judge_failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// What the item contributes to each metric, 0 to 1.
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

/// An item's score under one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedScore {
    /// The metric's name, as the summary's `protocol`, e.g. `cloze`.
    pub protocol: String,
    /// 0 to 1.
    pub score: f64,
}

impl Prediction {
    /// A prediction with nothing but what every question has.
    pub fn new(id: impl Into<String>, benchmark: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            benchmark: benchmark.into(),
            subset: Subset::default(),
            language: None,
            group: group.into(),
            picture: String::new(),
            question: String::new(),
            options: Vec::new(),
            asked: None,
            answer: None,
            references: Vec::new(),
            tags: BTreeMap::new(),
            option_scores: Vec::new(),
            text: None,
            understood: None,
            flags: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// The tag of its language, `und` where none is told.
    pub fn language_tag(&self) -> &str {
        self.language.as_deref().unwrap_or(NO_LANGUAGE)
    }

    /// What it contributes to a metric, 0 to 1.
    pub fn score(&self, metric: &str) -> Option<f64> {
        self.scores.iter().find(|score| score.protocol == metric).map(|score| score.score)
    }

    /// What it contributes to each metric, as that of a run: the cell of a study, and the training seed.
    pub fn outcomes<'a>(&'a self, axes: &'a Axes, seed: u64) -> impl Iterator<Item = Outcome> + 'a {
        self.scores.iter().map(move |score| Outcome {
            axes: axes.clone(),
            seed,
            protocol: score.protocol.clone(),
            subset: self.subset.clone(),
            language: self.language_tag().to_owned(),
            group: self.group.clone(),
            score: score.score,
        })
    }
}

impl NamedScore {
    /// A share, 0 to 1.
    pub fn new(protocol: impl Into<String>, score: f64) -> Self {
        Self { protocol: protocol.into(), score }
    }

    /// 1 for right, 0 for wrong.
    pub fn right(protocol: impl Into<String>, right: bool) -> Self {
        Self::new(protocol, f64::from(u8::from(right)))
    }
}

impl OptionScores {
    /// Scores under a rule.
    pub fn new(rule: impl Into<String>, values: Vec<f64>) -> Self {
        Self { rule: rule.into(), values }
    }
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
