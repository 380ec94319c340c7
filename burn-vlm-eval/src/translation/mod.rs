//! Translations against references: BLEU, chrF and TER with the numbers, signatures and printed lines of sacreBLEU
//! 2.6.0.
//!
//! Unusual here:
//! - a metric counts each segment once and adds the counts up, so that a corpus, a sentence and a resample are the same sum;
//! - of several references BLEU takes the best count of each run and the nearest length, chrF the reference with the best score,
//!   TER the fewest edits over the mean length;
//! - the tokenizers are those that need no model; `ja-mecab` and `ko-mecab` read MeCab's dictionaries where they are;
//! - white space is what Python takes for it, which is a little more than what Unicode does.

pub mod bleu;
pub mod chrf;
pub mod mecab;
pub mod ter;
pub mod tokenize;

use std::collections::HashMap;
use std::hash::Hash;

use crate::mean;
use crate::resample::{NumpyRandom, Resampling};

pub use bleu::{Bleu, BleuScore, Smoothing};
pub use chrf::Chrf;
pub use mecab::{Dictionary, Mecab};
pub use ter::Ter;
pub use tokenize::Tokenizer;

/// The version whose numbers these are, as signatures name it.
pub const VERSION: &str = "2.6.0";

/// A metric of sacreBLEU's with its settings.
pub trait Metric {
    /// What a segment adds to the sum that the score follows from.
    type Counts: Clone;

    /// The counts of one segment, whose references are at least one: none stand for an empty one.
    fn counts(&self, hypothesis: &str, references: &[&str]) -> Self::Counts;

    /// The sum of the counts of several segments.
    fn sum<'a>(&self, counts: impl Iterator<Item = &'a Self::Counts>) -> Self::Counts
    where
        Self::Counts: 'a;

    /// The score of summed counts in percent.
    fn value(&self, sum: &Self::Counts) -> f64;

    /// The settings as they stand in signatures.
    fn settings(&self) -> String;

    /// The whole signature, as sacreBLEU prints it; `references` is none where segments have different numbers of them.
    fn signed(&self, references: Option<usize>, resampling: Option<Resampling>) -> String {
        let references = references.map_or_else(|| "var".to_owned(), |references| references.to_string());
        let resampling =
            resampling.map_or(String::new(), |Resampling { resamples, seed }| format!("|bs:{resamples}|seed:{seed}"));
        format!("nrefs:{references}{resampling}|{}|version:{VERSION}", self.settings())
    }

    /// The score of all segments together, from their counts.
    fn of_all(&self, counts: &[Self::Counts]) -> f64 {
        self.value(&self.sum(counts.iter()))
    }

    /// The mean and the interval of the score over resamples of the segments.
    fn resampled(&self, counts: &[Self::Counts], resampling: Resampling) -> Spread {
        let mut random = NumpyRandom::new(resampling.seed);
        let scores = (0..resampling.resamples).map(|_| {
            let drawn = random.indices(counts.len());
            self.value(&self.sum(drawn.into_iter().filter_map(|at| counts.get(at))))
        });
        Spread::of(scores.collect())
    }
}

/// What resamples say of a score, as sacreBLEU prints it: mean and half the width of the 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean of the resamples' scores.
    pub mean: f64,
    /// Half the distance of the score that 1/40 lie below from the one that 1/40 lie above.
    pub half_width: f64,
}

impl Spread {
    fn of(mut scores: Vec<f64>) -> Self {
        scores.sort_by(f64::total_cmp);
        let cut = scores.len() / 40;
        let (low, high) = (scores.get(cut), scores.len().checked_sub(cut + 1).and_then(|high| scores.get(high)));
        let half_width = low.zip(high).map_or(0.0, |(low, high)| 0.5 * (high - low));
        Self { mean: mean(scores.iter().copied()), half_width }
    }
}

/// The references of a segment; an empty one where there is none.
fn or_empty<'r>(references: &'r [&'r str]) -> &'r [&'r str] {
    if references.is_empty() { &[""] } else { references }
}

/// How `case` stands in a signature.
fn case(lower: bool) -> &'static str {
    if lower { "lc" } else { "mixed" }
}

/// How `yes` stands in a signature.
fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// How often each run of `order` items occurs.
fn ngrams<T: Hash + Eq>(items: &[T], order: usize) -> HashMap<&[T], u64> {
    let mut counts = HashMap::new();
    for run in items.windows(order) {
        *counts.entry(run).or_default() += 1;
    }
    counts
}

/// How many runs of one side the other has too, each counted as often as both have it.
fn matches<T: Hash + Eq>(ours: &HashMap<&[T], u64>, theirs: &HashMap<&[T], u64>) -> u64 {
    ours.iter().filter_map(|(run, count)| theirs.get(run).map(|other| *count.min(other))).sum()
}
