//! Translations against references: BLEU, chrF and TER with the numbers, signatures and printed lines of sacreBLEU
//! 2.6.0.
//!
//! Unusual here:
//! - a corpus has one reference a sentence;
//! - the tokenizers are those that need no model: `13a`, `intl` and `char`;
//! - white space is what Python takes for it, which is a little more than what Unicode does.

pub mod bleu;
pub mod chrf;
pub mod ter;
pub mod tokenize;

use std::collections::HashMap;
use std::hash::Hash;

pub use bleu::{Bleu, BleuScore};
pub use chrf::Chrf;
pub use tokenize::Tokenizer;

/// The version whose numbers these are, as signatures name it.
pub const VERSION: &str = "2.6.0";

/// How `case` stands in a signature.
fn case(lower: bool) -> &'static str {
    if lower { "lc" } else { "mixed" }
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
