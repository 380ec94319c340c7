//! Percentile bootstrap over what questions are about: concepts, pictures, pairs.
//!
//! A replicate draws as many units as there are, with replacement. Every run and language is averaged over the drawn
//! units; any score or difference is then a linear combination of those averages, so 2,000 replicates of a whole study
//! cost one small matrix product.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Group;

/// How intervals are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// Seed of the resampling. The same seed gives the same intervals, whatever the number of threads.
    pub seed: u64,
    /// Number of replicates.
    pub replicates: usize,
}

impl Default for Bootstrap {
    /// 4,000 replicates: the ends of a 95 % interval then move by about 3 % of its width with the seed.
    fn default() -> Self {
        Self { seed: 0, replicates: 4000 }
    }
}

/// The share of replicates within an interval.
const LEVEL: f64 = 0.95;

/// The quantile of the normal distribution that leaves (1 - [`LEVEL`]) / 2 above it.
const NORMAL: f64 = 1.959_963_984_540_054;

/// A score or a difference with its 95 % interval, as shares (0.01 is one percentage point).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value on the questions as they are.
    pub value: f64,
    /// Lower end: the 2.5th percentile of the replicates.
    pub low: f64,
    /// Upper end: the 97.5th percentile.
    pub high: f64,
}

impl Estimate {
    /// Whether 0 lies outside the interval.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// A weighted mean over runs, as a term of a score: a cell's score is one term of weight 1, a difference between two cells
/// a term of weight 1 and one of weight -1.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Weight of the term.
    pub weight: f64,
    /// Indices of the runs (seeds) that are averaged; not empty.
    pub runs: Vec<usize>,
}

/// A group with its bootstrap replicates.
#[derive(Clone, Debug)]
pub struct Resampled<'a> {
    group: &'a Group,
    /// Mean score `[run, language]` on the questions as they are; NaN where a language has no question.
    observed: Vec<f64>,
    /// The same for each replicate; NaN where no drawn unit has a question in the language.
    replicates: Vec<Vec<f64>>,
}

impl Group {
    /// Draws replicates of this group's units.
    pub fn resample(&self, bootstrap: &Bootstrap) -> Resampled<'_> {
        let observed = self.means(&vec![1.0; self.units().len()]);
        let replicate = |stream: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
            // One stream a replicate: each can be drawn by any thread.
            rng.set_stream(stream as u64);
            let mut drawn = vec![0.0; self.units().len()];
            for _ in 0..drawn.len() {
                // u32 and not usize, whose draws differ between 32- and 64-bit machines.
                drawn[rng.random_range(0..self.units().len() as u32) as usize] += 1.0;
            }
            self.means(&drawn)
        };
        let replicates = (0..bootstrap.replicates).into_par_iter().map(replicate).collect();
        Resampled { group: self, observed, replicates }
    }

    /// Mean scores `[run, language]` when each unit counts `drawn` times (`[unit]`).
    fn means(&self, drawn: &[f64]) -> Vec<f64> {
        let (runs, languages) = (self.runs().len(), self.languages().len());
        let mut sums = vec![0.0; runs * languages];
        let mut counts = vec![0.0; languages];
        for (unit, &times) in drawn.iter().enumerate().filter(|(_, times)| **times > 0.0) {
            add_scaled(&mut sums, &self.sums[unit * runs * languages..], times);
            add_scaled(&mut counts, &self.counts[unit * languages..], times);
        }
        for row in sums.chunks_exact_mut(languages.max(1)) {
            for (sum, count) in row.iter_mut().zip(&counts) {
                *sum /= count;
            }
        }
        sums
    }
}

fn add_scaled(sums: &mut [f64], values: &[f64], factor: f64) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// Wilson's interval of a share of 0 or 1 among `units`: where all are right, or none is, resampling them shows no spread, which is
/// no certainty.
fn wilson(value: f64, units: usize) -> Estimate {
    let reach = NORMAL * NORMAL / (units as f64 + NORMAL * NORMAL);
    match value {
        0.0 => Estimate { value, low: 0.0, high: reach },
        _ => Estimate { value, low: 1.0 - reach, high: 1.0 },
    }
}

impl Resampled<'_> {
    /// How many units have a question in one of some languages.
    fn units_of(&self, languages: &[usize]) -> usize {
        let width = self.group.languages().len().max(1);
        let asked = |counts: &&[f64]| languages.iter().any(|&language| counts[language] > 0.0);
        self.group.counts.chunks_exact(width).filter(asked).count()
    }

    /// The sum over `terms` of weight x mean over the term's runs of the macro mean over `languages`, with its interval.
    ///
    /// A score of 0 or 1 in every replicate has Wilson's interval over the units instead.
    ///
    /// `languages` are indices into [`Group::languages`]. A language without a question in a replicate is left out of that
    /// replicate's mean. None where no language has a question at all, or a term has no run.
    pub fn estimate(&self, terms: &[Term], languages: &[usize]) -> Option<Estimate> {
        if terms.is_empty() || terms.iter().any(|term| term.runs.is_empty()) {
            return None;
        }
        let width = self.group.languages().len();
        let value_of = |means: &[f64]| -> f64 {
            let of_run = |run: usize| macro_mean(languages.iter().map(|&language| means[run * width + language]));
            let of_term = |term: &Term| {
                let total: f64 = term.runs.iter().map(|&run| of_run(run)).sum();
                term.weight * total / term.runs.len() as f64
            };
            terms.iter().map(of_term).sum()
        };
        let value = value_of(&self.observed);
        let mut values: Vec<f64> =
            self.replicates.iter().map(|means| value_of(means)).filter(|v| !v.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        if value.is_nan() || values.is_empty() {
            return None;
        }
        if let ([Term { weight: 1.0, .. }], 0.0 | 1.0) = (terms, value)
            && values.iter().all(|replicate| *replicate == value)
        {
            return Some(wilson(value, self.units_of(languages)));
        }
        let tail = (1.0 - LEVEL) / 2.0;
        Some(Estimate { value, low: percentile(&values, tail), high: percentile(&values, 1.0 - tail) })
    }
}

/// The mean of the values that are numbers; NaN if none is.
fn macro_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.filter(|value| !value.is_nan()).fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / count
}

/// The `share` quantile (0..=1) of sorted values, linear between neighbours (numpy's default). NaN for no values.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
