//! Cohen's kappa (1960) of two annotators over the items that both rated, weighted (1968) or not, and Light's mean over pairs (1971).
//!
//! Unusual here: the weights come from the declared scale, so that a category that nobody used still lies between its neighbours.
//! scikit-learn without `labels` closes such gaps.

use serde::Serialize;

use super::{Ratings, Undefined, Weights};

/// Of a normal distribution 95 % lie within so many standard deviations.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// Kappa of two annotators.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Kappa {
    /// 1 for full agreement, 0 for as much as by chance; below 0 is legal.
    pub value: f64,
    /// Items that both rated.
    pub items: usize,
    /// The agreement, weighted.
    pub observed: f64,
    /// What it would be by chance, from the two annotators' own marginals.
    pub chance: f64,
    /// Large-sample standard errors; of weighted kappa none is computed.
    pub errors: Option<Errors>,
}

/// Large-sample standard errors of unweighted kappa (Fleiss, Cohen and Everitt, 1969).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Errors {
    /// The standard error.
    pub standard: f64,
    /// The standard error where kappa is 0, for a test of that.
    pub standard_of_zero: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Kappa of the annotators at two places.
///
/// # Errors
/// They have no item in common; both chose the same one category for all of them.
pub fn cohen(ratings: &Ratings, first: usize, second: usize, weights: Weights) -> Result<Kappa, Undefined> {
    let length = ratings.scale().len();
    // Shares by the choice of the first and of the second, row by row.
    let mut shares = vec![0.0; length * length];
    let mut items = 0;
    for row in ratings.rows() {
        let rating = |annotator: usize| row.get(annotator).copied().flatten().map(|place| place as usize);
        let Some((one, other)) = rating(first).zip(rating(second)) else { continue };
        if let Some(share) = shares.get_mut(one * length + other) {
            *share += 1.0;
            items += 1;
        }
    }
    if items == 0 {
        return Err(Undefined::NoCommonItem);
    }
    shares.iter_mut().for_each(|share| *share /= items as f64);
    let share = |one: usize, other: usize| shares.get(one * length + other).copied().unwrap_or(0.0);
    let of_first: Vec<f64> = (0..length).map(|one| (0..length).map(|other| share(one, other)).sum()).collect();
    let of_second: Vec<f64> = (0..length).map(|other| (0..length).map(|one| share(one, other)).sum()).collect();
    let (mut disagreed, mut by_chance) = (0.0, 0.0);
    for (one, first) in of_first.iter().enumerate() {
        for (other, second) in of_second.iter().enumerate() {
            let apart = 1.0 - weights.agree(one, other, length);
            disagreed += apart * share(one, other);
            by_chance += apart * first * second;
        }
    }
    // Sums of shares that are whole numbers over the items: exactly 0 where the two used one and the same category only.
    if by_chance == 0.0 {
        return Err(Undefined::NoVariation);
    }
    let value = 1.0 - disagreed / by_chance;
    let (observed, chance) = (1.0 - disagreed, 1.0 - by_chance);
    let errors = (weights == Weights::Identity).then(|| {
        let (mut on, mut off, mut null) = (0.0, 0.0, 0.0);
        for (one, (first, second)) in of_first.iter().zip(&of_second).enumerate() {
            on += share(one, one) * (1.0 - (first + second) * (1.0 - value)).powi(2);
            null += first * second * (first + second);
            for (other, theirs) in of_first.iter().enumerate().filter(|(other, _)| *other != one) {
                // How often the second chooses what the first chose here, and the first what the second chose.
                off += share(one, other) * (second + theirs).powi(2);
            }
        }
        let rest = (value - chance * (1.0 - value)).powi(2);
        let root = |variance: f64| (variance.max(0.0) / items as f64).sqrt() / by_chance;
        let standard = root(on + (1.0 - value).powi(2) * off - rest);
        let standard_of_zero = root(chance + chance * chance - null);
        Errors { standard, standard_of_zero, low: value - NORMAL_95 * standard, high: value + NORMAL_95 * standard }
    });
    Ok(Kappa { value, items, observed, chance, errors })
}

/// Light's kappa: the mean of Cohen's over the pairs of annotators of which it is defined, and how many these are.
///
/// # Errors
/// It is defined of none.
pub fn light(ratings: &Ratings, weights: Weights) -> Result<(f64, usize), Undefined> {
    let (mut sum, mut defined) = (0.0, 0);
    for (first, second) in pairs(ratings.annotators().len()) {
        if let Ok(kappa) = cohen(ratings, first, second, weights) {
            sum += kappa.value;
            defined += 1;
        }
    }
    if defined == 0 { Err(Undefined::NoDefinedPair) } else { Ok((sum / defined as f64, defined)) }
}

/// All pairs of so many annotators.
pub fn pairs(annotators: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..annotators).flat_map(move |first| (first + 1..annotators).map(move |second| (first, second)))
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::super::ratings::tests::{on, table};
    use super::*;

    /// Both sides divide the same whole numbers.
    const SAME: f64 = 1e-12;

    /// A table of how often each pair of labels was given.
    fn counted(labels: [&str; 3], counts: [[usize; 3]; 3]) -> Ratings {
        let mut rows = Vec::new();
        for (one, row) in labels.iter().zip(counts) {
            for (other, count) in labels.iter().zip(row) {
                rows.extend(std::iter::repeat_n(format!("{one} {other}"), count));
            }
        }
        on(Scale::declared(labels).unwrap(), &rows.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The example of Cohen's paper of 1960 (two psychologists, 200 patients, three diagnoses): kappa 0.492. With quadratic weights by
    /// hand.
    #[test]
    fn papers_example() {
        let ratings = counted(["1", "2", "3"], [[88, 14, 18], [10, 40, 10], [2, 6, 12]]);
        let kappa = cohen(&ratings, 0, 1, Weights::Identity).unwrap();
        // 140 of 200 alike; chance (120 * 100 + 60 * 60 + 20 * 40) / 200^2.
        assert!((kappa.observed - 0.70).abs() < SAME && (kappa.chance - 0.41).abs() < SAME, "{kappa:?}");
        assert!((kappa.value - 0.29 / 0.59).abs() < SAME);
        // One place apart 40 of 200, two places 20.
        let quadratic = cohen(&ratings, 0, 1, Weights::Quadratic).unwrap();
        let (near, far) = (40.0 / 200.0, 20.0 / 200.0);
        let near_chance = (120.0 * 60.0 + 60.0 * 100.0 + 60.0 * 40.0 + 20.0 * 60.0) / 40_000.0;
        let far_chance = (120.0 * 40.0 + 20.0 * 100.0) / 40_000.0;
        let wanted = 1.0 - (near + 4.0 * far) / (near_chance + 4.0 * far_chance);
        assert!((quadratic.value - wanted).abs() < SAME, "{} {wanted}", quadratic.value);
        assert!(quadratic.errors.is_none());
    }

    /// Agreement that is all there can be, and none.
    #[test]
    fn ends_and_undefined() {
        let perfect = cohen(&table(&["a a", "b b"]), 0, 1, Weights::Identity).unwrap();
        assert_eq!((perfect.value, perfect.errors.unwrap().standard), (1.0, 0.0));
        let never = cohen(&table(&["a b", "b a"]), 0, 1, Weights::Identity).unwrap();
        assert_eq!(never.value, -1.0);
        assert_eq!(cohen(&table(&["a a", "a a"]), 0, 1, Weights::Identity), Err(Undefined::NoVariation));
        assert_eq!(cohen(&table(&["a .", ". a"]), 0, 1, Weights::Identity), Err(Undefined::NoCommonItem));
        // One who never changes against one who does agree as chance does: 0, and no reason for undefined.
        assert_eq!(cohen(&table(&["a a", "a b"]), 0, 1, Weights::Identity).unwrap().value, 0.0);
        let (mean, defined) = light(&table(&["a a .", "b b .", "a a ."]), Weights::Identity).unwrap();
        assert_eq!((mean, defined), (1.0, 1));
        assert_eq!(light(&table(&["a ."]), Weights::Identity), Err(Undefined::NoDefinedPair));
    }

    /// The unused middle of a declared scale keeps its ends apart.
    #[test]
    fn gaps_of_a_scale_count() {
        let rows = ["1 1", "3 3", "1 2", "2 3", "5 3"];
        let seen = cohen(&table(&rows), 0, 1, Weights::Linear).unwrap();
        let declared = on(Scale::declared(["1", "2", "3", "4", "5"]).unwrap(), &rows);
        let declared = cohen(&declared, 0, 1, Weights::Linear).unwrap();
        // Distances 1, 1 and 2 against 1, 1 and 1.
        assert!((seen.observed - (1.0 - 3.0 / 3.0 / 5.0)).abs() < SAME);
        assert!((declared.observed - (1.0 - 4.0 / 4.0 / 5.0)).abs() < SAME);
        assert!(declared.value < seen.value, "{declared:?} {seen:?}");
    }
}
