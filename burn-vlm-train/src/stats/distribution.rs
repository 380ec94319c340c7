//! The bootstrap's replicates of a score or a difference, and what is read off them.

use super::bootstrap::{Estimate, LEVEL, NORMAL, percentile};
use super::{student_quantile, student_two_sided};

/// How often a difference of the size of [`Distribution::detectable`] would be found.
pub const POWER: f64 = 0.8;
/// The quantile of the normal distribution below which [`POWER`] lies.
const NORMAL_POWER: f64 = 0.841_621_233_572_914_3;

/// A score or a difference with its replicates.
///
/// Over units alone, the interval is that between percentiles of the replicates. Over seeds too it is the value plus and minus the
/// replicates' standard deviation times the quantile of Student's t at its degrees of freedom: a few seeds take few values, whose
/// percentiles are the outermost ones, and what they tell of the spread between seeds is uncertain itself. Percentiles of three seeds'
/// replicates cover the truth three of four times where seeds are all that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    interval: Estimate,
    /// Replicates at 0 or beyond it, on the side where there are fewer.
    beyond: usize,
    replicates: usize,
    standard_error: f64,
    /// Of the standard error; infinite over units alone.
    freedom: f64,
    seeds: usize,
    over_seeds: bool,
}

impl Distribution {
    /// From replicates in any order, of which there is at least one. `freedom` is known over seeds and units.
    pub(super) fn new(
        value: f64,
        mut replicates: Vec<f64>,
        (variance, freedom): (f64, Option<f64>),
        (least, most): (f64, f64),
        seeds: usize,
    ) -> Self {
        replicates.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - LEVEL) / 2.0;
        let standard_error = variance.sqrt();
        let (low, high) = match freedom {
            None => (percentile(&replicates, tail), percentile(&replicates, 1.0 - tail)),
            Some(freedom) => {
                let reach = student_quantile(tail, freedom) * standard_error;
                ((value - reach).clamp(least, most), (value + reach).clamp(least, most))
            }
        };
        let count = |holds: &dyn Fn(f64) -> bool| replicates.iter().filter(|value| holds(**value)).count();
        let beyond = count(&|value| value <= 0.0).min(count(&|value| value >= 0.0));
        Self {
            interval: Estimate { value, low, high },
            beyond,
            replicates: replicates.len(),
            standard_error,
            freedom: freedom.unwrap_or(f64::INFINITY),
            seeds,
            over_seeds: freedom.is_some(),
        }
    }

    /// One whose replicates are all alike, with an interval of its own.
    pub(super) fn certain(interval: Estimate, seeds: usize, over_seeds: bool) -> Self {
        let freedom = f64::INFINITY;
        let standard_error = (interval.high - interval.low) / 2.0 / NORMAL;
        Self { interval, beyond: 1, replicates: 1, standard_error, freedom, seeds, over_seeds }
    }

    /// The value with its 95 % interval.
    pub fn estimate(&self) -> Estimate {
        self.interval
    }

    /// The standard error: the standard deviation of the replicates.
    pub fn standard_error(&self) -> f64 {
        self.standard_error
    }

    /// Number of seeds that the value is the mean of; of the side that has fewer.
    pub fn seeds(&self) -> usize {
        self.seeds
    }

    /// Whether the interval is over seeds and units together; else it is over units alone.
    pub fn over_seeds(&self) -> bool {
        self.over_seeds
    }

    /// The two-sided p-value of the hypothesis that the difference is 0.
    ///
    /// Over units alone: twice the share of replicates at 0 or beyond it, one counted in addition, so that it is never 0 for having drawn
    /// too few (Davison and Hinkley 1997, section 4.2). Where no replicate is there, the normal distribution of the difference over its
    /// standard error tells how much less than that share it is: of many comparisons each must be tested at a level that no number of
    /// replicates reaches. Over seeds too: Student's t of the difference over its standard error, as the interval.
    pub fn p(&self) -> f64 {
        let share = (2.0 * (self.beyond as f64 + 1.0) / (self.replicates as f64 + 1.0)).min(1.0);
        if self.standard_error == 0.0 {
            return share;
        }
        let by_t = student_two_sided(self.interval.value / self.standard_error, self.freedom);
        match self.over_seeds {
            true => by_t,
            false if self.beyond == 0 => share.min(by_t),
            false => share,
        }
    }

    /// The smallest true difference that would be found: with probability 0.8 its interval at 95 % would exclude 0. It is (1.96 + 0.84)
    /// times the standard error; with few seeds the quantiles of Student's t in their place.
    pub fn detectable(&self) -> f64 {
        let quantile = |tail: f64| student_quantile(tail, self.freedom);
        let errors = match self.freedom.is_finite() {
            true => quantile((1.0 - LEVEL) / 2.0) + quantile(1.0 - POWER),
            false => NORMAL + NORMAL_POWER,
        };
        errors * self.standard_error
    }
}

/// What a value's uncertainty is made of, as variances of shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Variance of the value from seed to seed on the questions as they are; none with one seed.
    pub between_seeds: Option<f64>,
    /// Variance that the choice of questions leaves however many seeds there are; with one seed, all that it has with that seed.
    pub units: f64,
    /// Number of seeds that this is known from.
    pub seeds: usize,
}

/// How many seeds a standard error needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedsNeeded {
    /// So many.
    Seeds(u64),
    /// No number of seeds is enough: the choice of questions alone leaves more.
    MoreQuestions,
    /// One seed does not tell how much seeds differ.
    Unknown,
}

impl Spread {
    /// How many seeds would give a standard error, in shares (0.01 is one percentage point): the least S with
    /// between_seeds / S + units at most its square.
    pub fn seeds_for(&self, standard_error: f64) -> SeedsNeeded {
        let left = standard_error * standard_error - self.units;
        match self.between_seeds {
            None => SeedsNeeded::Unknown,
            Some(_) if left <= 0.0 => SeedsNeeded::MoreQuestions,
            Some(between) => SeedsNeeded::Seeds((between / left).ceil().max(1.0) as u64),
        }
    }
}
