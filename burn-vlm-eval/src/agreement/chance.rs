//! Coefficients that correct an observed agreement for chance, as Gwet's handbook (2014) generalises them to missing ratings and
//! weights, with his standard errors; irrCAC's numbers.
//!
//! Unusual here: what is observed comes from items with two ratings or more, what is expected by chance also from items that one
//! annotator rated (but for alpha's). So Fleiss' kappa differs from the one over complete items as soon as ratings are missing.

use serde::Serialize;

use super::{Ratings, Undefined, Weights, student};

/// How agreement by chance is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coefficient {
    /// Gwet's AC1 (AC2 with weights): chance is guessing at items that are hard, the rarer the less the ratings vary. It stands where one
    /// category is chosen nearly always.
    Gwet,
    /// Fleiss' kappa: everybody choosing from the shares of all ratings.
    Fleiss,
    /// Conger's kappa: each annotator choosing from the own shares; Cohen's for two.
    Conger,
    /// Brennan and Prediger's: choosing blindly from the scale.
    BrennanPrediger,
    /// Krippendorff's alpha with weights in the place of a distance.
    Krippendorff,
}

impl Coefficient {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gwet, Self::Fleiss, Self::Conger, Self::BrennanPrediger, Self::Krippendorff];
}

/// A coefficient with what it was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// 1 for full agreement, 0 for as much as by chance; below 0 is legal.
    pub value: f64,
    /// The agreement that was observed, weighted.
    pub observed: f64,
    /// The agreement by chance.
    pub chance: f64,
    /// Items that it was computed from.
    pub items: usize,
    /// The standard error over items; none of one item.
    pub error: Option<StandardError>,
}

/// The standard error of a coefficient, items being drawn from many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StandardError {
    /// The standard error.
    pub standard: f64,
    /// Lower end of the 95 % interval, by Student's distribution.
    pub low: f64,
    /// Upper end, at most 1.
    pub high: f64,
}

/// What is common to all coefficients.
struct Counted {
    /// Of each item: how often each label was chosen, and the number of ratings.
    rows: Vec<(Vec<f64>, f64)>,
    /// Weights, row by row.
    weights: Vec<f64>,
    labels: usize,
}

/// Computes a coefficient.
///
/// # Errors
/// No item has two ratings; a scale of one label; all ratings are the same (for Fleiss, Conger and Krippendorff); an annotator without a
/// rating (for Conger).
pub fn coefficient(ratings: &Ratings, which: Coefficient, weights: Weights) -> Result<Estimate, Undefined> {
    let labels = ratings.scale().len();
    let rows: Vec<_> = ratings.table().into_iter().filter(|(_, sum)| *sum >= 1.0).collect();
    if !rows.iter().any(|(_, sum)| *sum >= 2.0) {
        return Err(Undefined::NoPairs);
    }
    if labels < 2 {
        return Err(Undefined::ShortScale);
    }
    let weights = (0..labels * labels).map(|cell| weights.agree(cell / labels, cell % labels, labels)).collect();
    let counted = Counted { rows, weights, labels };
    match which {
        Coefficient::Krippendorff => counted.krippendorff(),
        Coefficient::Gwet => {
            let shares = counted.shares();
            let factor = counted.weights.iter().sum::<f64>() / (labels * (labels - 1)) as f64;
            let chance = factor * shares.iter().map(|share| share * (1.0 - share)).sum::<f64>();
            let of_item = |counts: &[f64], sum: f64| {
                factor * counts.iter().zip(&shares).map(|(count, share)| count * (1.0 - share)).sum::<f64>() / sum
            };
            let of_items = counted.rows.iter().map(|(counts, sum)| of_item(counts, *sum)).collect();
            Ok(counted.estimate(chance, of_items))
        }
        Coefficient::BrennanPrediger => {
            let chance = counted.weights.iter().sum::<f64>() / (labels * labels) as f64;
            let of_items = vec![chance; counted.rows.len()];
            Ok(counted.estimate(chance, of_items))
        }
        Coefficient::Fleiss => {
            let shares = counted.shares();
            varied(&shares)?;
            let weighted = counted.weighted(&shares);
            let chance = shares.iter().zip(&weighted).map(|(share, weighted)| share * weighted).sum();
            let of_item = |(counts, sum): &(Vec<f64>, f64)| dot(counts, &weighted) / sum;
            let of_items = counted.rows.iter().map(of_item).collect();
            Ok(counted.estimate(chance, of_items))
        }
        Coefficient::Conger => {
            varied(&counted.shares())?;
            let (chance, of_items) = counted.conger(ratings)?;
            Ok(counted.estimate(chance, of_items))
        }
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Chance is certain where one category is all there is.
fn varied(shares: &[f64]) -> Result<(), Undefined> {
    match shares.iter().filter(|share| **share > 0.0).count() {
        0 | 1 => Err(Undefined::NoVariation),
        _ => Ok(()),
    }
}

impl Counted {
    /// How many pairs of an item's ratings agree, by the weights; each rating with the others.
    fn alike(&self, counts: &[f64]) -> f64 {
        self.weighted(counts).iter().zip(counts).map(|(weighted, count)| count * (weighted - 1.0)).sum()
    }

    /// The weights times a vector; they are symmetric.
    fn weighted(&self, vector: &[f64]) -> Vec<f64> {
        self.weights.chunks(self.labels).map(|row| dot(row, vector)).collect()
    }

    /// The mean over items of each label's share.
    fn shares(&self) -> Vec<f64> {
        let items = self.rows.len() as f64;
        let share = |label: usize| {
            let of_items = self.rows.iter().map(|(counts, sum)| counts.get(label).copied().unwrap_or(0.0) / sum);
            of_items.sum::<f64>() / items
        };
        (0..self.labels).map(share).collect()
    }

    /// The coefficient, from chance over all items and what each item says of it.
    fn estimate(&self, chance: f64, of_items: Vec<f64>) -> Estimate {
        let items = self.rows.len() as f64;
        let several = self.rows.iter().filter(|(_, sum)| *sum >= 2.0).count() as f64;
        let alike = |(counts, sum): &(Vec<f64>, f64)| match *sum >= 2.0 {
            true => self.alike(counts) / (sum * (sum - 1.0)),
            false => 0.0,
        };
        let observed = self.rows.iter().map(alike).sum::<f64>() / several;
        let value = (observed - chance) / (1.0 - chance);
        let influences = self.rows.iter().zip(of_items).map(|(row, of_item)| {
            let by_chance = if row.1 >= 2.0 { chance } else { 0.0 };
            let own = items / several * (alike(row) - by_chance) / (1.0 - chance);
            own - 2.0 * (1.0 - value) * (of_item - chance) / (1.0 - chance)
        });
        let error = error(value, value, &influences.collect::<Vec<_>>());
        Estimate { value, observed, chance, items: self.rows.len(), error }
    }

    fn krippendorff(&self) -> Result<Estimate, Undefined> {
        let rows: Vec<&(Vec<f64>, f64)> = self.rows.iter().filter(|(_, sum)| *sum >= 2.0).collect();
        let items = rows.len() as f64;
        let all: f64 = rows.iter().map(|(_, sum)| sum).sum();
        let mean = all / items;
        let shares: Vec<f64> = (0..self.labels)
            .map(|label| rows.iter().filter_map(|(counts, _)| counts.get(label)).sum::<f64>() / all)
            .collect();
        varied(&shares)?;
        let alike = |counts: &[f64], sum: f64| self.alike(counts) / (mean * (sum - 1.0));
        let raw = rows.iter().map(|(counts, sum)| alike(counts, *sum)).sum::<f64>() / items;
        let observed = (1.0 - 1.0 / all) * raw + 1.0 / all;
        let weighted = self.weighted(&shares);
        let chance = dot(&shares, &weighted);
        let corrected = |observed: f64| (observed - chance) / (1.0 - chance);
        let value = corrected(observed);
        let influence = |(counts, sum): &&(Vec<f64>, f64)| {
            let beyond = (sum - mean) / mean;
            let own = corrected(alike(counts, *sum) - observed * beyond);
            let of_item = dot(counts, &weighted) / mean - chance * beyond;
            own - 2.0 * (1.0 - corrected(raw)) * (of_item - chance) / (1.0 - chance)
        };
        let influences: Vec<f64> = rows.iter().map(influence).collect();
        let error = error(value, corrected(raw), &influences);
        Ok(Estimate { value, observed, chance, items: rows.len(), error })
    }

    /// Conger's chance, and what each item says of it.
    fn conger(&self, ratings: &Ratings) -> Result<(f64, Vec<f64>), Undefined> {
        let (_, of_each) = ratings.marginals();
        let sums: Vec<f64> = of_each.iter().map(|counts| counts.iter().sum::<u64>() as f64).collect();
        if sums.contains(&0.0) {
            return Err(Undefined::SilentAnnotator);
        }
        let annotators = sums.len() as f64;
        let shares: Vec<Vec<f64>> = of_each
            .iter()
            .zip(&sums)
            .map(|(counts, sum)| counts.iter().map(|count| *count as f64 / sum).collect())
            .collect();
        let of_all: Vec<f64> =
            (0..self.labels).map(|label| shares.iter().filter_map(|shares| shares.get(label)).sum()).collect();
        // Over all pairs of different annotators: all pairs without those of each with themselves.
        let own: f64 = shares.iter().map(|shares| dot(shares, &self.weighted(shares))).sum();
        let pairs = annotators * (annotators - 1.0);
        let chance = (dot(&of_all, &self.weighted(&of_all)) - own) / pairs;
        let items = self.rows.len() as f64;
        // For each annotator: what the others make of each label.
        let weighted_others: Vec<Vec<f64>> = shares
            .iter()
            .map(|shares| {
                let others: Vec<f64> = of_all.iter().zip(shares).map(|(all, own)| all - own).collect();
                self.weighted(&others)
            })
            .collect();
        let rated = ratings.rows().filter(|row| row.iter().any(Option::is_some));
        let of_item = |row: &[Option<u32>]| {
            let each = row.iter().zip(&sums).zip(shares.iter().zip(&weighted_others));
            let terms = each.map(|((place, sum), (shares, others))| {
                let chosen = place.and_then(|place| others.get(place as usize)).copied().unwrap_or(0.0);
                let is_there = f64::from(u8::from(place.is_some()));
                (chosen - (is_there - sum / items) * dot(shares, others)) * items / sum
            });
            terms.sum::<f64>() / pairs
        };
        Ok((chance, rated.map(of_item).collect()))
    }
}

/// The standard error of a value over items, from each item's influence and what these scatter about.
fn error(value: f64, about: f64, influences: &[f64]) -> Option<StandardError> {
    let items = influences.len() as f64;
    if influences.len() < 2 {
        return None;
    }
    let squares: f64 = influences.iter().map(|influence| (influence - about).powi(2)).sum();
    let standard = (squares / (items * (items - 1.0))).sqrt();
    let reach = student::quantile(0.975, items - 1.0) * standard;
    Some(StandardError { standard, low: value - reach, high: (value + reach).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::super::alpha::alpha;
    use super::super::cohen::cohen;
    use super::super::ratings::tests::{on, table};
    use super::super::{Level, fleiss};
    use super::*;

    /// Both sides divide the same whole numbers.
    const SAME: f64 = 1e-12;

    /// Gwet's table for the paradox of kappa (2008): 118 of 125 items positive by both, 5 and 2 by one of them, none negative by both. Raw
    /// agreement 0.944, kappa below 0, AC1 0.941 by hand.
    #[test]
    fn paradox_of_kappa() {
        let rows: Vec<&str> = [("+ +", 118), ("+ -", 5), ("- +", 2)]
            .into_iter()
            .flat_map(|(row, n)| std::iter::repeat_n(row, n))
            .collect();
        let ratings = table(&rows);
        let ac1 = coefficient(&ratings, Coefficient::Gwet, Weights::Identity).unwrap();
        let positive = (118.0 + 3.5) / 125.0;
        let chance = 2.0 * positive * (1.0 - positive);
        assert!((ac1.observed - 0.944).abs() < SAME && (ac1.chance - chance).abs() < SAME, "{ac1:?}");
        assert!((ac1.value - (0.944 - chance) / (1.0 - chance)).abs() < SAME && (ac1.value - 0.941).abs() < 1e-3);
        let kappa = cohen(&ratings, 0, 1, Weights::Identity).unwrap().value;
        assert!(kappa < 0.0, "{kappa}");
    }

    /// The coefficients are those of their own modules where these are defined.
    #[test]
    fn generalisations_are_the_same_without_missing_ratings() {
        let full = table(&["1 1 2", "2 2 2", "3 1 3", "4 4 4", "2 3 2", "1 1 1"]);
        let value = |ratings: &Ratings, which, weights| coefficient(ratings, which, weights).unwrap().value;
        assert!((value(&full, Coefficient::Fleiss, Weights::Identity) - fleiss(&full).unwrap().value).abs() < SAME);
        let two = table(&["1 1", "2 3", "3 3", "4 2", "1 2"]);
        for weights in [Weights::Identity, Weights::Linear, Weights::Quadratic] {
            let kappa = cohen(&two, 0, 1, weights).unwrap().value;
            assert!((value(&two, Coefficient::Conger, weights) - kappa).abs() < SAME, "{weights:?}");
        }
        let missing = table(&["1 1 . 2", "2 2 3 .", "3 . 3 3", ". . 4 4", "1 . . .", "2 2 1 2"]);
        for (weights, level) in [(Weights::Identity, Level::Nominal), (Weights::Quadratic, Level::Interval)] {
            let wanted = alpha(&missing, level).unwrap();
            assert!((value(&missing, Coefficient::Krippendorff, weights) - wanted).abs() < SAME, "{level:?}");
        }
    }

    #[test]
    fn undefined_and_certain() {
        let same = on(Scale::declared(["yes", "no"]).unwrap(), &["yes yes", "yes yes"]);
        for which in Coefficient::ALL {
            let found = coefficient(&same, which, Weights::Identity).map(|estimate| estimate.value);
            match which {
                Coefficient::Gwet | Coefficient::BrennanPrediger => assert_eq!(found, Ok(1.0)),
                _ => assert_eq!(found, Err(Undefined::NoVariation), "{which:?}"),
            }
            assert_eq!(coefficient(&table(&["a a"]), which, Weights::Identity), Err(Undefined::ShortScale));
            assert_eq!(coefficient(&table(&["a .", ". b"]), which, Weights::Linear), Err(Undefined::NoPairs));
        }
        let silent = table(&["a a .", "b a ."]);
        assert_eq!(coefficient(&silent, Coefficient::Conger, Weights::Identity), Err(Undefined::SilentAnnotator));
        assert!(coefficient(&table(&["a b"]), Coefficient::Gwet, Weights::Identity).unwrap().error.is_none());
    }
}
