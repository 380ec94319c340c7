//! Krippendorff's alpha ("Computing Krippendorff's alpha-reliability", 2011): any number of annotators, missing ratings, four levels.
//!
//! Unusual here:
//! - only items with two ratings or more count, and an item counts by its ratings, not by its pairs;
//! - the ordinal distance depends on how often the categories between two were chosen, so that it is another one in every resample;
//! - the interval distance by chance is computed from sums, so that scores with many values cost no more than few.

use super::{Level, Ratings, Undefined};

/// Alpha: 1 for full agreement, 0 for as much as by chance; below 0 is legal.
///
/// # Errors
/// No item has two ratings; all that can be compared are the same; labels that are no numbers, or below 0, where the level needs them.
pub fn alpha(ratings: &Ratings, level: Level) -> Result<f64, Undefined> {
    let labels = ratings.scale().len();
    let mut totals = vec![0.0; labels];
    // Of each item: the labels that were chosen, and how often.
    let mut units: Vec<(Vec<(usize, f64)>, f64)> = Vec::new();
    for row in ratings.rows() {
        let mut chosen: Vec<usize> = row.iter().flatten().map(|place| *place as usize).collect();
        if chosen.len() < 2 {
            continue;
        }
        chosen.sort_unstable();
        let counts: Vec<_> =
            chosen.chunk_by(|a, b| a == b).filter_map(|run| Some((*run.first()?, run.len() as f64))).collect();
        for (place, count) in &counts {
            if let Some(total) = totals.get_mut(*place) {
                *total += count;
            }
        }
        units.push((counts, chosen.len() as f64));
    }
    if units.is_empty() {
        return Err(Undefined::NoPairs);
    }
    let used: Vec<(usize, f64)> = totals.iter().copied().enumerate().filter(|(_, total)| *total > 0.0).collect();
    if used.len() < 2 {
        return Err(Undefined::NoVariation);
    }
    let distance = Distance::new(ratings, level, &totals)?;
    let observed: f64 = units.iter().map(|(counts, sum)| apart(counts, &distance) / (sum - 1.0)).sum();
    let all: f64 = used.iter().map(|(_, total)| total).sum();
    let by_chance = match &distance {
        Distance::Interval(values) => {
            let value = |place: usize| values.get(place).copied().unwrap_or(0.0);
            let mean = used.iter().map(|(place, total)| total * value(*place)).sum::<f64>() / all;
            // The sum over all ordered pairs of the squared difference; from the mean, lest large numbers cancel.
            2.0 * all * used.iter().map(|(place, total)| total * (value(*place) - mean).powi(2)).sum::<f64>()
        }
        distance => apart(&used, distance),
    };
    Ok(1.0 - (all - 1.0) * observed / by_chance)
}

/// The sum of the distances of all ordered pairs.
fn apart(counts: &[(usize, f64)], distance: &Distance) -> f64 {
    let mut sum = 0.0;
    for (number, (one, first)) in counts.iter().enumerate() {
        for (other, second) in counts.iter().take(number) {
            sum += 2.0 * first * second * distance.between(*one, *other);
        }
    }
    sum
}

/// The squared distance of two labels.
enum Distance {
    Nominal,
    /// Ratings below each label, and half of those of the label itself.
    Ordinal(Vec<f64>),
    Interval(Vec<f64>),
    Ratio(Vec<f64>),
}

impl Distance {
    fn new(ratings: &Ratings, level: Level, totals: &[f64]) -> Result<Self, Undefined> {
        let values = || ratings.scale().values().map(<[f64]>::to_vec).ok_or(Undefined::NoNumbers);
        match level {
            Level::Nominal => Ok(Self::Nominal),
            Level::Ordinal => {
                let middles = totals.iter().scan(0.0, |below, total| {
                    let middle = *below + total / 2.0;
                    *below += total;
                    Some(middle)
                });
                Ok(Self::Ordinal(middles.collect()))
            }
            Level::Interval => Ok(Self::Interval(values()?)),
            Level::Ratio => {
                let values = values()?;
                if values.iter().any(|value| *value < 0.0) {
                    Err(Undefined::BelowZero)
                } else {
                    Ok(Self::Ratio(values))
                }
            }
        }
    }

    fn between(&self, one: usize, other: usize) -> f64 {
        let value = |values: &[f64], place: usize| values.get(place).copied().unwrap_or(0.0);
        match self {
            Self::Nominal => f64::from(u8::from(one != other)),
            // The ratings from the one to the other without half of both ends.
            Self::Ordinal(values) | Self::Interval(values) => (value(values, one) - value(values, other)).powi(2),
            Self::Ratio(values) => {
                let (a, b) = (value(values, one), value(values, other));
                if a + b == 0.0 { 0.0 } else { ((a - b) / (a + b)).powi(2) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::super::ratings::tests::table;
    use super::*;

    /// The example of Krippendorff's note, section C to F: nominal 0.743, ordinal 0.815, interval 0.849, ratio 0.797.
    #[test]
    fn worked_example_of_the_note() {
        let ratings = table(&[
            "1 1 . 1", "2 2 3 2", "3 3 3 3", "3 3 3 3", "2 2 2 2", "1 2 3 4", "4 4 4 4", "1 1 2 1", "2 2 2 2",
            ". 5 5 5", ". . 1 1", ". . 3 .",
        ]);
        for (level, wanted) in Level::ALL.into_iter().zip([0.743, 0.815, 0.849, 0.797]) {
            let found = alpha(&ratings, level).unwrap();
            assert!((found - wanted).abs() < 6e-4, "{level:?}: {found}");
        }
        // A declared label that nobody used changes nothing, whatever the level.
        let more = ratings.on_scale(Scale::declared(["1", "2", "3", "4", "5", "6"]).unwrap()).unwrap();
        for level in Level::ALL {
            assert_eq!(alpha(&more, level), alpha(&ratings, level));
        }
    }

    /// The note's first example, two observers and two values: 10 items, alpha 0.095.
    #[test]
    fn worked_example_of_two() {
        let (a, b) = ("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0");
        let rows: Vec<String> = a.split(' ').zip(b.split(' ')).map(|(one, other)| format!("{one} {other}")).collect();
        let ratings = table(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        let found = alpha(&ratings, Level::Nominal).unwrap();
        assert!((found - 0.095).abs() < 5e-4, "{found}");
    }

    #[test]
    fn undefined() {
        assert_eq!(alpha(&table(&["a .", ". b"]), Level::Nominal), Err(Undefined::NoPairs));
        assert_eq!(alpha(&table(&["a a", "b ."]), Level::Nominal), Err(Undefined::NoVariation));
        assert_eq!(alpha(&table(&["a a", "b b"]), Level::Interval), Err(Undefined::NoNumbers));
        assert_eq!(alpha(&table(&["-1 1", "1 1"]), Level::Ratio), Err(Undefined::BelowZero));
        // The same numbers far from 0 are as far apart.
        let near = alpha(&table(&["1 2", "2 2", "3 3"]), Level::Interval).unwrap();
        let far =
            alpha(&table(&["100000001 100000002", "100000002 100000002", "100000003 100000003"]), Level::Interval);
        assert!((near - far.unwrap()).abs() < 1e-12);
    }
}
