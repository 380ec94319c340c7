//! What can be wrong with a set of outcomes.

use thiserror::Error;

/// Outcomes from which no honest score can be computed.
#[derive(Debug, Error, PartialEq)]
pub enum StatsError {
    /// Not one outcome was given.
    #[error("no outcomes to score: train and evaluate at least one cell first")]
    NoOutcomes,
    /// A score that is not in `0..=1`.
    #[error(
        "the score {score} of `{group}`, language `{language}` in {run} is not within 0..=1: store shares, not percent"
    )]
    ScoreOutOfRange {
        /// The offending score.
        score: f64,
        /// What it is about: a concept, a picture.
        group: String,
        /// Its language.
        language: String,
        /// The cell and seed.
        run: String,
    },
    /// Two runs of one group did not answer the same questions, so their scores cannot be compared.
    #[error(
        "{group}: {run} has {found} outcomes of {question}, but {other} has {expected}; every cell and seed must answer the same questions: delete the predictions of the shorter one and run the study again"
    )]
    QuestionsDiffer {
        /// Protocol and part of the benchmark.
        group: String,
        /// The run that deviates.
        run: String,
        /// The run it is compared with.
        other: String,
        /// What the questions are about, and their language.
        question: String,
        /// How many outcomes the other run has.
        expected: usize,
        /// How many outcomes this run has.
        found: usize,
    },
    /// A value that is no number, or a weight that is not above 0.
    #[error(
        "{what}: `{group}` in {language} of {run} measures {value} by {weight}: both must be numbers, the second above 0"
    )]
    Measured {
        /// What is measured.
        what: String,
        /// What it is about.
        group: String,
        /// Its language.
        language: String,
        /// The cell and seed.
        run: String,
        /// The value.
        value: f64,
        /// Its weight.
        weight: f64,
    },
    /// Two runs did not measure the same things, or one of them a thing twice.
    #[error(
        "{what}: {run} does not measure `{group}` in {language} once and by the weight that {other} does; delete the cell of one of them and run the study again"
    )]
    MeasuredDiffer {
        /// What is measured.
        what: String,
        /// What it is about.
        group: String,
        /// Its language.
        language: String,
        /// The run that deviates.
        run: String,
        /// The run it is compared with.
        other: String,
    },
    /// More runs, languages or groups of questions than the arrays can index.
    #[error("too many {what} in one study (more than {limit})")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
