//! Quantities that are no shares of right answers: ratios of sums, such as bits per byte, and differences of shares.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{Group, RunKey};
use super::{Axes, StatsError};

/// One measured thing of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The cell: the value of each axis.
    pub axes: Axes,
    /// Seed of the training run.
    pub seed: u64,
    /// Tag of its language.
    pub language: String,
    /// What is resampled as a whole: a concept.
    pub group: String,
    /// What is summed above the line: bits.
    pub value: f64,
    /// What is summed below the line, the same in every run: bytes; 1 for a mean.
    pub weight: f64,
}

/// The values and weights of a run, by what they are of and its language.
type OfRun<'a> = BTreeMap<(&'a str, &'a str), (f64, f64)>;

impl Group {
    /// The measurements as a group whose score of a run in a language is the sum of values over the sum of weights. Resampling draws
    /// what is measured with its weight, so that intervals are those of the ratio; they are not held within 0 and 1. `what` is what
    /// messages call it.
    ///
    /// # Errors
    /// None at all; a value that is no number, a weight that is not above 0; runs that did not measure the same things.
    pub fn of_measurements(what: &str, measurements: &[Measurement]) -> Result<Self, StatsError> {
        let mut by_run: BTreeMap<RunKey, OfRun<'_>> = BTreeMap::new();
        for measurement in measurements {
            let Measurement { axes, seed, language, group, value, weight } = measurement;
            let run = RunKey { axes: axes.clone(), seed: *seed };
            if !(value.is_finite() && weight.is_finite() && *weight > 0.0) {
                let (what, group, language) = (what.to_owned(), group.clone(), language.clone());
                let (run, value, weight) = (run.to_string(), *value, *weight);
                return Err(StatsError::Measured { what, group, language, run, value, weight });
            }
            let name = run.to_string();
            let of_run = by_run.entry(run).or_default();
            if of_run.insert((group, language), (*value, *weight)).is_some() {
                return Err(differ(what, (group, language), &name, &name));
            }
        }
        let Some((first, expected)) = by_run.first_key_value() else { return Err(StatsError::NoOutcomes) };
        for (run, of_run) in &by_run {
            let same = |(thing, (_, weight)): (&(&str, &str), &(f64, f64))| {
                of_run.get(thing).is_some_and(|(_, other)| other == weight)
            };
            let missing = expected.iter().find(|(thing, measured)| !same((thing, measured))).map(|(thing, _)| thing);
            let more = of_run.keys().find(|thing| !expected.contains_key(*thing));
            if let Some(thing) = missing.or(more) {
                return Err(differ(what, *thing, &run.to_string(), &first.to_string()));
            }
        }
        let names = |of: fn(&(&str, &str)) -> String| expected.keys().map(of).collect::<BTreeSet<_>>();
        let units: Vec<String> = names(|(group, _)| (*group).to_owned()).into_iter().collect();
        let languages: Vec<String> = names(|(_, language)| (*language).to_owned()).into_iter().collect();
        let runs: Vec<RunKey> = by_run.keys().cloned().collect();
        let mut counts = vec![0.0; units.len() * languages.len()];
        let mut sums = vec![0.0; units.len() * runs.len() * languages.len()];
        for (u, unit) in units.iter().enumerate() {
            for (l, language) in languages.iter().enumerate() {
                for (r, of_run) in by_run.values().enumerate() {
                    let Some((value, weight)) = of_run.get(&(unit.as_str(), language.as_str())) else { continue };
                    counts[u * languages.len() + l] = *weight;
                    sums[(u * runs.len() + r) * languages.len() + l] = *value;
                }
            }
        }
        Ok(Self { runs, languages, units, counts, sums, shares: false })
    }

    /// The same as shares: for values from 0 to 1 of weight 1, whose intervals are to be those of scores.
    pub fn as_shares(mut self) -> Self {
        self.shares = true;
        self
    }

    /// How many things are asked about or measured in a language, for one run.
    pub fn units_in(&self, language: usize) -> usize {
        let of_language = self.counts.iter().skip(language).step_by(self.languages().len().max(1));
        of_language.filter(|count| **count > 0.0).count()
    }
}

fn differ(what: &str, (group, language): (&str, &str), run: &str, other: &str) -> StatsError {
    let (group, language) = (group.to_owned(), language.to_owned());
    StatsError::MeasuredDiffer { what: what.to_owned(), group, language, run: run.to_owned(), other: other.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Bootstrap, Term};

    /// Sums of a few numbers in another order.
    const ROUNDING: f64 = 1e-12;

    fn measured(cell: &str, seed: u64, language: &str, group: &str, value: f64, weight: f64) -> Measurement {
        let axes = Axes::from([("data".to_owned(), cell.to_owned())]);
        Measurement { axes, seed, language: language.to_owned(), group: group.to_owned(), value, weight }
    }

    /// By hand: 30 bits of 12 bytes are 2.5 bits a byte, where the mean of 2 and 5 would be 3.5.
    #[test]
    fn a_score_is_a_ratio_of_sums() {
        let all: Vec<Measurement> = (0..3)
            .flat_map(|copy| {
                [
                    measured("a", 0, "de", &format!("x{copy}"), 20.0, 10.0),
                    measured("a", 0, "de", &format!("y{copy}"), 10.0, 2.0),
                    measured("b", 0, "de", &format!("x{copy}"), 40.0, 10.0),
                    measured("b", 0, "de", &format!("y{copy}"), 20.0, 2.0),
                ]
            })
            .collect();
        let group = Group::of_measurements("bits", &all).unwrap();
        let resampled = group.resample(&Bootstrap::default());
        let of = |terms: &[Term]| resampled.estimate(terms, &[0]).unwrap();
        let run = |weight: f64, run: usize| Term { weight, runs: vec![run] };
        let (a, b) = (of(&[run(1.0, 0)]), of(&[run(1.0, 1)]));
        assert!((a.value - 2.5).abs() < ROUNDING && (b.value - 5.0).abs() < ROUNDING, "{a:?} {b:?}");
        // All long texts, all short ones; above 1, which a share never is.
        assert!(a.low >= 2.0 && a.high <= 5.0 && a.low < 2.5 && a.high > 2.5, "{a:?}");
        // Paired: every replicate of one is twice the other's.
        let apart = of(&[run(1.0, 1), run(-2.0, 0)]);
        assert!([apart.value, apart.low, apart.high].iter().all(|v| v.abs() < ROUNDING), "{apart:?}");
        assert_eq!((group.units_in(0), group.languages(), group.runs().len()), (6, &["de".to_owned()][..], 2));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let refused = |all: &[Measurement]| Group::of_measurements("bits", all).unwrap_err().to_string();
        let first = measured("a", 0, "de", "x", 2.0, 3.0);
        assert!(refused(&[first.clone(), measured("b", 0, "de", "x", 2.0, 4.0)]).contains("data=b"));
        assert!(refused(&[first.clone(), measured("b", 0, "de", "y", 2.0, 3.0)]).contains("`x` in de"));
        assert!(refused(&[first.clone(), first.clone()]).contains("once"));
        assert!(refused(&[measured("a", 0, "de", "x", f64::NAN, 3.0)]).contains("NaN"));
        assert!(refused(&[measured("a", 0, "de", "x", 1.0, 0.0)]).contains("above 0"));
        assert_eq!(Group::of_measurements("bits", &[]).unwrap_err(), StatsError::NoOutcomes);
    }
}
