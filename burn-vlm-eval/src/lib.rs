//! Published benchmarks for vision-language models: their files, prompts and scorers, without a model.
//!
//! | module | what it holds |
//! |---|---|
//! | [`published`] | the trait of a benchmark: items, prompts, verdicts, totals |
//! | [`benchmarks`] | the benchmarks, one file each |
//! | [`rules`] | whose rules a number follows |
//! | [`mod@file`], [`table`] | files of questions and their rows, as written or as pandas reads them |
//! | [`kit`], [`reply`] | what VLMEvalKit and its copies ask, and make of replies |
//! | [`letters_lmms`] | what lmms-eval's tasks make of replies to multiple choice |
//! | [`circular`] | groups of questions that are right together |
//! | [`reading`], [`lettered`], [`language_name`] | rows as items under any rules, options in lists, languages by name |
//! | [`judge_score`], [`similarity`] | a judge's numbers; how alike two texts are |
//! | [`rows`] | accepted answers, and replies as they reach the scorers |
//! | [`yes_no`], [`vqa`], [`ocr_text`] | rules that several benchmarks share: yes or no, short answers, read text |
//! | [`strict`] | burn-vlm's own rules: one strict reader for all languages |
//! | [`build`] | translated benchmarks that stay scorable |
//! | [`clean`] | what is done to a reply before it is scored |
//! | [`plain_text`] | files with one sentence a line, which belong together line by line |
//! | [`agreement`], [`resample`] | how far annotators agree; drawing with replacement |
//! | [`columns`] | tables of named columns: CSV, TSV, JSONL |
//! | [`translation`], [`cxmi`] | BLEU, chrF and TER as sacreBLEU has them; what a picture is worth to a translation |
//! | `endpoint` (a feature) | asking a model behind OpenAI's chat completions |
//! | `judge` (a feature) | asking a model at an endpoint what replies are worth |
//! | [`ask`], [`error`] | what a model is asked for; what can be wrong |
//!
//! The book has pages on [the benchmarks and their rules](https://github.com/burn-vlm/burn-vlm/blob/main/docs/evaluation.md) and on
//! [the strict rules](https://github.com/burn-vlm/burn-vlm/blob/main/docs/strict-rules.md).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod agreement;
pub mod ask;
pub mod benchmarks;
pub mod build;
mod cc_ocr_folder;
pub mod circular;
pub mod clean;
pub mod columns;
pub mod cxmi;
#[cfg(feature = "endpoint")]
pub mod endpoint;
pub mod error;
pub mod file;
#[cfg(feature = "judge")]
pub mod judge;
pub mod judge_score;
pub mod kit;
pub mod language_name;
pub mod lettered;
pub mod letters_lmms;
mod mme_folder;
pub mod ocr_text;
pub mod pandas;
pub mod plain_text;
pub mod published;
pub mod reading;
pub mod reply;
pub mod resample;
pub mod rows;
pub mod rules;
#[cfg(test)]
mod sample_tsv;
pub mod similarity;
pub mod strict;
pub mod table;
pub mod translation;
pub mod vqa;
pub mod yes_no;

pub use error::BenchmarkError;
pub use published::{Answer, Asked, Flag, Item, Items, JudgePrompt, MetricInfo, Published, Scored, Verdict};
pub use rules::{PromptStyle, Rules};

/// The mean of some values; 0 for none.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}
