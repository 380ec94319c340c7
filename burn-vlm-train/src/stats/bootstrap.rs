//! Percentile bootstrap over what questions are about (concepts, pictures, pairs) and, where there are several, over seeds.
//!
//! A replicate draws as many units as there are, with replacement. Every run and language is averaged over the drawn
//! units; any score or difference is then a linear combination of those averages, so 2,000 replicates of a whole study
//! cost one small matrix product. [`Resampled::distribution`] makes that combination, and draws seeds where it averages over
//! several.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Group;
use super::distribution::{Distribution, Spread};

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
pub(super) const LEVEL: f64 = 0.95;

/// The quantile of the normal distribution that leaves (1 - [`LEVEL`]) / 2 above it.
pub(super) const NORMAL: f64 = 1.959_963_984_540_054;

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
    bootstrap: Bootstrap,
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
        Resampled { group: self, bootstrap: *bootstrap, observed, replicates }
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
    /// A score of 0 or 1 in every replicate has Wilson's interval over the units instead. Over units alone, shares of a single one have
    /// all that is possible for their interval: 0 to 1, and -1 to 1 of a difference.
    ///
    /// `languages` are indices into [`Group::languages`]. A language without a question in a replicate is left out of that
    /// replicate's mean. None where no language has a question at all, or a term has no run.
    pub fn estimate(&self, terms: &[Term], languages: &[usize]) -> Option<Estimate> {
        Some(self.distribution(terms, languages)?.estimate())
    }

    /// The same with all replicates. They are over units and seeds together where every term averages over several runs, else over
    /// units alone.
    pub fn distribution(&self, terms: &[Term], languages: &[usize]) -> Option<Distribution> {
        if terms.is_empty() || terms.iter().any(|term| term.runs.is_empty()) {
            return None;
        }
        let combined = Combined { resampled: self, terms, languages };
        let value = combined.mean(&self.observed);
        let over_seeds = terms.iter().all(|term| term.runs.len() > 1);
        let mut values: Vec<f64> = match over_seeds {
            true => combined.over_seeds(),
            false => self.replicates.iter().map(|means| combined.mean(means)).collect(),
        };
        values.retain(|value| !value.is_nan());
        if value.is_nan() || values.is_empty() {
            return None;
        }
        let is_score = self.group.shares && matches!(terms, [Term { weight: 1.0, .. }]);
        if is_score && (value == 0.0 || value == 1.0) && values.iter().all(|replicate| *replicate == value) {
            let interval = wilson(value, self.units_of(languages));
            return Some(Distribution::certain(interval, combined.seeds(), over_seeds));
        }
        if self.group.shares && !over_seeds && self.units_of(languages) == 1 {
            // One unit drawn again is itself. How another would differ is not known, only between what it must lie.
            let least = terms.iter().map(|term| term.weight.min(0.0)).sum();
            let most = terms.iter().map(|term| term.weight.max(0.0)).sum();
            let interval = Estimate { value, low: least, high: most };
            return Some(Distribution::certain(interval, combined.seeds(), false));
        }
        let variance = Some(variance(&values)).filter(|variance| *variance > NO_VARIANCE).unwrap_or(0.0);
        let freedom = over_seeds.then(|| combined.degrees_of_freedom(variance));
        let range = if is_score { (0.0, 1.0) } else { (f64::NEG_INFINITY, f64::INFINITY) };
        Some(Distribution::new(value, values, (variance, freedom), range, combined.seeds()))
    }

    /// How much of the uncertainty of the same combination is the seeds' and how much the units'. None where there is no such
    /// combination, or where its terms have not the same seeds.
    pub fn spread(&self, terms: &[Term], languages: &[usize]) -> Option<Spread> {
        let combined = Combined { resampled: self, terms, languages };
        let [list] = &combined.lists()[..] else { return None };
        let over_units = |of: &dyn Fn(&[f64]) -> f64| -> Option<f64> {
            let values: Vec<f64> = self.replicates.iter().map(|means| of(means)).filter(|v| !v.is_nan()).collect();
            (!values.is_empty()).then(|| variance(&values))
        };
        let seeds = list.len();
        let of_mean = over_units(&|means| combined.mean(means))?;
        if seeds == 1 {
            return Some(Spread { between_seeds: None, units: of_mean, seeds });
        }
        let of_one = (0..seeds).map(|at| over_units(&|means| combined.at_seed(means, list, at)));
        let of_one = of_one.sum::<Option<f64>>()? / seeds as f64;
        // The mean over S seeds has the units' own variance and a part in S of what is a seed's alone.
        let units = (of_mean - (of_one - of_mean) / (seeds as f64 - 1.0)).max(0.0);
        let values: Vec<f64> = (0..seeds).map(|at| combined.at_seed(&self.observed, list, at)).collect();
        Some(Spread { between_seeds: Some(sample_variance(&values)), units, seeds })
    }
}

/// Streams of the generator from this one down draw seeds: no replicate's own.
const SEED_STREAMS: u64 = u64::MAX;

/// A linear combination of runs, averaged over languages.
struct Combined<'a> {
    resampled: &'a Resampled<'a>,
    terms: &'a [Term],
    languages: &'a [usize],
}

impl Combined<'_> {
    /// The score of one run.
    fn of_run(&self, means: &[f64], run: usize) -> f64 {
        let width = self.resampled.group.languages().len();
        macro_mean(self.languages.iter().map(|&language| means[run * width + language]))
    }

    /// The combination, each term averaged over all its runs.
    fn mean(&self, means: &[f64]) -> f64 {
        let of_term = |term: &Term| {
            let total: f64 = term.runs.iter().map(|&run| self.of_run(means, run)).sum();
            term.weight * total / term.runs.len() as f64
        };
        self.terms.iter().map(of_term).sum()
    }

    fn seed(&self, run: usize) -> u64 {
        self.resampled.group.runs()[run].seed
    }

    fn has_list(&self, term: &Term, list: &[u64]) -> bool {
        term.runs.iter().map(|&run| self.seed(run)).eq(list.iter().copied())
    }

    /// The distinct lists of seeds of the terms: terms of one list are paired seed by seed.
    fn lists(&self) -> Vec<Vec<u64>> {
        let mut lists: Vec<Vec<u64>> = Vec::new();
        for term in self.terms {
            if !lists.iter().any(|list| self.has_list(term, list)) {
                lists.push(term.runs.iter().map(|&run| self.seed(run)).collect());
            }
        }
        lists
    }

    /// Seeds of the term that has fewest.
    fn seeds(&self) -> usize {
        self.terms.iter().map(|term| term.runs.len()).min().unwrap_or(0)
    }

    /// The terms of a list, each by its run of the seed at a position.
    fn at_seed(&self, means: &[f64], list: &[u64], at: usize) -> f64 {
        let terms = self.terms.iter().filter(|term| self.has_list(term, list));
        terms.map(|term| term.weight * self.of_run(means, term.runs[at])).sum()
    }

    /// The replicates with seeds drawn too: of S seeds S - 1, with replacement, the same ones for all terms of one list. The variance
    /// of a mean of S - 1 draws is s²/S, that of the mean over seeds; with S draws it would be (S - 1)/S of that, a third too small
    /// for three seeds (McCarthy and Snowden 1985).
    fn over_seeds(&self) -> Vec<f64> {
        let lists = self.lists();
        let of_list: Vec<(usize, Vec<&Term>)> = lists
            .iter()
            .map(|list| (list.len(), self.terms.iter().filter(|term| self.has_list(term, list)).collect()))
            .collect();
        let mut generators: Vec<ChaCha8Rng> = (0..lists.len() as u64)
            .map(|number| {
                let mut rng = ChaCha8Rng::seed_from_u64(self.resampled.bootstrap.seed);
                rng.set_stream(SEED_STREAMS - number);
                rng
            })
            .collect();
        let mut drawn = Vec::new();
        let mut replicate = |means: &Vec<f64>| -> f64 {
            let mut value = 0.0;
            for ((seeds, terms), rng) in of_list.iter().zip(&mut generators) {
                drawn.clear();
                drawn.extend((1..*seeds).map(|_| rng.random_range(0..*seeds as u32) as usize));
                for term in terms {
                    let total: f64 = drawn.iter().map(|&at| self.of_run(means, term.runs[at])).sum();
                    value += term.weight * total / drawn.len() as f64;
                }
            }
            value
        };
        self.resampled.replicates.iter().map(&mut replicate).collect()
    }

    /// Degrees of freedom of the replicates' variance `total` (Welch and Satterthwaite): the part that the seeds have is known from as
    /// few numbers as there are seeds, the rest from many units.
    fn degrees_of_freedom(&self, total: f64) -> f64 {
        let of_list = |list: &Vec<u64>| {
            let values: Vec<f64> = (0..list.len()).map(|at| self.at_seed(&self.resampled.observed, list, at)).collect();
            (sample_variance(&values) / list.len() as f64, list.len() as f64 - 1.0)
        };
        let parts: Vec<(f64, f64)> = self.lists().iter().map(of_list).collect();
        let of_seeds: f64 = parts.iter().map(|(variance, _)| variance).sum();
        let uncertain: f64 = parts.iter().map(|(variance, freedom)| variance * variance / freedom).sum();
        // Seeds that agree to the last digits of a sum do not differ.
        if of_seeds <= NO_VARIANCE {
            return f64::INFINITY;
        }
        total.max(of_seeds).powi(2) / uncertain
    }
}

/// Variances of shares below this are the rounding of sums.
const NO_VARIANCE: f64 = 1e-24;

/// The mean of squared distances from the mean.
fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// The same for values that are a sample of more: their sum over one less than there are.
fn sample_variance(values: &[f64]) -> f64 {
    variance(values) * values.len() as f64 / (values.len() as f64 - 1.0)
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
