//! What can be wrong with a benchmark, told before anything is trained.

use std::path::PathBuf;

use burn_vlm_data::source::{Skip, SourceError};

/// Rows that a message names; the rest are counted.
const SHOWN: usize = 5;

/// A benchmark that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// A kind that nobody knows.
    #[error("[[benchmark]] {name:?}: unknown kind {kind:?}{hint}")]
    UnknownKind {
        /// The benchmark.
        name: String,
        /// Its kind as given.
        kind: String,
        /// The nearest kind, and all of them.
        hint: String,
    },
    /// A setting that is missing, or makes no sense.
    #[error("[[benchmark]] {name:?}: {message}")]
    Setting {
        /// The benchmark.
        name: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// Two benchmarks whose scores would be told apart by nothing.
    #[error("[[benchmark]] {first:?} and {second:?} both have the metric {metric:?}: give one of them another `name`")]
    SameMetric {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// The metric.
        metric: String,
    },
    /// A file that cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file in which no row has what every question needs.
    #[error("[[benchmark]] {name:?}: {}: no column {column:?} (there are {}); `fields` names columns that are called otherwise", file.display(), columns.join(", "))]
    NoColumn {
        /// The benchmark.
        name: String,
        /// The file.
        file: PathBuf,
        /// The column that is missing.
        column: String,
        /// Those that are there.
        columns: Vec<String>,
    },
    /// More rows than allowed cannot be used.
    #[error("[[benchmark]] {name:?}: {} of {rows} rows cannot be used, `max_skipped` allows {allowed}: {}", skipped.len(), listed(skipped))]
    Skipped {
        /// The benchmark.
        name: String,
        /// Rows of its files.
        rows: usize,
        /// How many may be left out.
        allowed: usize,
        /// The rows, with their places and reasons.
        skipped: Vec<Skip>,
    },
    /// A benchmark that asks nothing.
    #[error("[[benchmark]] {name:?} has no question{}", why.as_ref().map_or(String::new(), |why| format!(": {why}")))]
    Empty {
        /// The benchmark.
        name: String,
        /// Why, if that is known.
        why: Option<String>,
    },
    /// A study without columns, whose tables would have none.
    #[error(
        "the study has no [[column]], so that its tables would be empty: add one for each set of languages, such as name = \"All\", \
         languages = [{}]",
        languages.iter().map(|tag| format!("{tag:?}")).collect::<Vec<_>>().join(", ")
    )]
    NoColumns {
        /// Languages of the first benchmark's questions.
        languages: Vec<String>,
    },
    /// A benchmark that no column of the study can show.
    #[error(
        "[[benchmark]] {name:?} has questions in {}, and no [[column]] can show it: {columns}; add a column with these languages, or take the benchmark out",
        languages.join(", ")
    )]
    NoColumnShows {
        /// The benchmark.
        name: String,
        /// Languages of its questions.
        languages: Vec<String>,
        /// What each column lacks, in words.
        columns: String,
    },
    /// The first benchmark lacks a language of a column; its scores head the report.
    #[error(
        "the column {column:?} needs {}, in which the first benchmark {name:?} has no questions: its scores head the report; add them, or put another benchmark first",
        missing.join(", ")
    )]
    HeadlineLacks {
        /// The benchmark.
        name: String,
        /// The column.
        column: String,
        /// Languages without a question.
        missing: Vec<String>,
    },
    /// Replies that are not to these questions.
    #[error("benchmark {name:?}: {message}")]
    Replies {
        /// The benchmark.
        name: String,
        /// What was expected and what came.
        message: String,
    },
}

/// The first rows in words.
fn listed(skipped: &[Skip]) -> String {
    let mut text: Vec<String> = skipped.iter().take(SHOWN).map(ToString::to_string).collect();
    if skipped.len() > SHOWN {
        text.push(format!("and {} more", skipped.len() - SHOWN));
    }
    text.join("; ")
}
