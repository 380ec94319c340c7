//! Evaluation: benchmarks, what a model answers to their questions, and zero-shot retrieval of encoders.
//!
//! A [`Benchmark`] is questions (turns, pictures, what is wanted), how replies are read and scored, and metrics with their level
//! of chance and their sentence for the report. [`evaluate`] asks a [`Scorer`] everything and gives one [`Prediction`] an item,
//! written to `predictions.jsonl`; scores, intervals and differences are computed from those alone.
//!
//! | kind | what is asked |
//! |---|---|
//! | `cloze`, `lettered`, `yes_no`, `caption` | the embedded corpus |
//! | `words` | which held-out word a picture shows |
//! | `scenes` | scenes of several icons of the embedded corpus |
//! | `clips` | what happens in clips of the embedded corpus, with controls: one frame, shuffled frames, none |
//! | `choice`, `short_answer` | a user's own file of questions |
//! | `mmmb`, `mmbench`, `pope`, ... | published files, scored as their references do ([`burn_vlm_eval::benchmarks`]) |

mod benchmark;
mod caption;
mod choice_items;
mod clips;
mod cloze;
mod compare;
mod embedded;
mod evaluate;
mod evaluated;
mod fidelity;
mod file;
mod imported;
mod lettered;
mod open;
mod pivot;
mod prediction;
mod prompts;
mod published;
mod replies;
mod results;
mod retrieval;
mod rows;
mod scenes;
mod scores;
mod suite;
mod text;
mod words;
mod yes_no;

pub use benchmark::{Benchmark, Metric, Question, Unreadable};
pub use burn_vlm_eval::BenchmarkError;
pub use burn_vlm_eval::ask::{Ask, Reply};
pub use burn_vlm_eval::file::{Cells, FileRecipe};
pub use caption::{Caption, CaptionRecipe};
pub use clips::{Clips, ClipsRecipe};
pub use cloze::{Cloze, ClozeRecipe};
pub use compare::{Changed, CompareError, Comparison, PairedScore, Pairs, Side, Unpaired, compare};
pub use embedded::CorpusRecipe;
pub(crate) use embedded::Drawn;
pub use evaluate::{Progress, ask, asked, evaluate};
pub use evaluated::{Evaluated, OtherRules, OtherVerdict, PublishedInfo};
pub(crate) use fidelity::{Shares as FidelityShares, shares as fidelity_shares};
pub use file::{Choice, ChoiceProtocol, ChoiceRecipe, ShortAnswer, ShortAnswerRecipe};
pub use imported::{ImportedReply, ItemName, Matched, match_predictions, read_predictions};
pub use lettered::Lettered;
pub use open::Benchmarks;
pub use pivot::{Dictionary, PivotRecipe, Translator, Untranslated, evaluate_through, translate_by};
pub(crate) use prediction::argmax;
pub use prediction::{NamedScore, OptionScores, Prediction};
pub use published::{PublishedBenchmark, PublishedRecipe};
pub use replies::{ReplyLog, ShownVideo, question_key};
pub use results::{RunInfo, results, write_results};
pub use retrieval::{RetrievalInput, RetrievalScore, retrieval, word_retrieval};
pub use rows::{Kept, Scorer, Shown};
pub use scenes::{SIZE, Scenes, ScenesRecipe};
pub(crate) use suite::missing_files as missing_benchmark_files;
pub use suite::{Average, Missing, NamedAverage, Origin, Suite};
pub use text::{TextLikelihood, TextQuestions, TextScores, Translation};
pub use words::{WordsBenchmark, WordsRecipe};
pub use yes_no::{YesNo, paired};

/// Each tag once, sorted.
fn distinct<'a>(tags: impl Iterator<Item = &'a str>) -> Vec<String> {
    tags.collect::<std::collections::BTreeSet<&str>>().into_iter().map(str::to_owned).collect()
}
