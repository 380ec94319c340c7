//! Percentile intervals over resampled items: the items are drawn with replacement, each with all of its ratings.

use serde::Serialize;

use super::Ratings;
use crate::resample::{NumpyRandom, Resampling, quantile};

/// What resamples say of a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end; none where too few resamples have a value.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// Which share of the resamples lies between them.
    pub confidence: f64,
    /// The mean over the resamples.
    pub mean: Option<f64>,
    /// The standard deviation over the resamples.
    pub deviation: Option<f64>,
    /// Resamples in which the statistic has a value.
    pub resamples: usize,
    /// Those in which it is undefined; they are left out.
    pub undefined: usize,
}

impl Interval {
    /// The interval of a statistic's values in resamples.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>, confidence: f64) -> Self {
        let (mut there, mut undefined) = (Vec::new(), 0);
        for value in values {
            match value {
                Some(value) => there.push(value),
                None => undefined += 1,
            }
        }
        there.sort_by(f64::total_cmp);
        let count = there.len() as f64;
        let mean = (count > 0.0).then(|| there.iter().sum::<f64>() / count);
        let deviation = mean.filter(|_| count > 1.0).map(|mean| {
            let squares: f64 = there.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt()
        });
        let outside = (1.0 - confidence) / 2.0;
        let (low, high) = (quantile(&there, outside), quantile(&there, 1.0 - outside));
        Self { low, high, confidence, mean, deviation, resamples: there.len(), undefined }
    }
}

/// The items of each resample, as numpy draws them: `rng.integers(0, items, size=(resamples, items))`.
pub fn resamples(items: usize, resampling: Resampling) -> impl Iterator<Item = Vec<usize>> {
    let mut random = NumpyRandom::new(resampling.seed);
    (0..resampling.resamples).map(move |_| random.indices(items))
}

/// Intervals of several statistics over the same resamples.
pub fn resample<const N: usize>(
    ratings: &Ratings,
    resampling: Resampling,
    confidence: f64,
    statistics: impl Fn(&Ratings) -> [Option<f64>; N],
) -> [Interval; N] {
    let mut values: [Vec<Option<f64>>; N] = std::array::from_fn(|_| Vec::with_capacity(resampling.resamples));
    for items in resamples(ratings.len(), resampling) {
        let found = statistics(&ratings.select(&items));
        values.iter_mut().zip(found).for_each(|(values, value)| values.push(value));
    }
    values.map(|values| Interval::of(values, confidence))
}

#[cfg(test)]
mod tests {
    use super::super::ratings::tests::table;
    use super::super::{Level, alpha};
    use super::*;

    #[test]
    fn undefined_resamples_are_counted() {
        let ratings = table(&["a a", "b b"]);
        let resampling = Resampling { resamples: 400, seed: 7 };
        let [interval] = resample(&ratings, resampling, 0.95, |ratings| [alpha(ratings, Level::Nominal).ok()]);
        // Half of the resamples hold one item twice.
        assert!(interval.undefined.abs_diff(200) < 50, "{interval:?}");
        assert_eq!((interval.low, interval.resamples + interval.undefined), (Some(1.0), 400));
        let none = Interval::of([None, None], 0.95);
        assert_eq!((none.low, none.mean, none.undefined), (None, None, 2));
        let one = Interval::of([Some(0.5)], 0.9);
        assert_eq!((one.low, one.high, one.deviation), (Some(0.5), Some(0.5), None));
    }
}
