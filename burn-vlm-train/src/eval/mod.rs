//! Evaluation: benchmarks, what a model answers to their questions, and zero-shot retrieval of encoders.
//!
//! A [`Benchmark`] is questions (turns, pictures, what is wanted), how replies are read and scored, and metrics with their level
//! of chance and their sentence for the report. [`evaluate`] asks a [`Scorer`] everything and gives one [`Prediction`] an item,
//! written to `predictions.jsonl`; scores, intervals and differences are computed from those alone.
//!
//! | kind | what is asked |
//! |---|---|
//! | `cloze`, `lettered`, `yes_no`, `caption` | the embedded corpus |
//! | `mmmb` | MMMB's published files, in both protocols |
//! | `choice`, `short_answer` | a user's own file of questions |

mod benchmark;
mod caption;
mod cloze;
mod embedded;
mod error;
mod evaluate;
mod fidelity;
mod file;
mod lettered;
pub mod mmmb;
mod open;
mod prediction;
mod retrieval;
mod rows;
mod table;
mod yes_no;

pub use benchmark::{Ask, Benchmark, Metric, Question, Reply};
pub use caption::{Caption, CaptionRecipe};
pub use cloze::{Cloze, ClozeRecipe};
pub use embedded::CorpusRecipe;
pub(crate) use embedded::Drawn;
pub use error::BenchmarkError;
pub use evaluate::{asked, evaluate};
pub use file::{Cells, Choice, ChoiceProtocol, ChoiceRecipe, FileRecipe, ShortAnswer, ShortAnswerRecipe};
pub use lettered::Lettered;
pub use open::Benchmarks;
pub(crate) use prediction::argmax;
pub use prediction::{NamedScore, OptionScores, Prediction};
pub use retrieval::{RetrievalScore, retrieval};
pub use rows::{Kept, Scorer, Shown};
pub use yes_no::{YesNo, paired};

/// Each tag once, sorted.
fn distinct<'a>(tags: impl Iterator<Item = &'a str>) -> Vec<String> {
    tags.collect::<std::collections::BTreeSet<&str>>().into_iter().map(str::to_owned).collect()
}

/// The mean of some values; 0 for none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}
