//! Fleiss' kappa (1971) and Randolph's (2005) over the items that every annotator rated, as statsmodels has them: the papers know no
//! missing rating. [`chance`](super::chance) has what takes them.

use serde::Serialize;

use super::{Ratings, Undefined};

/// A kappa of complete items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Complete {
    /// 1 for full agreement, 0 for as much as by chance; below 0 is legal.
    pub value: f64,
    /// Items that every annotator rated.
    pub items: usize,
}

/// Fleiss' kappa: chance is everybody choosing from the shares of all ratings.
///
/// # Errors
/// No item was rated by everybody, or there is one annotator only; all ratings are the same.
pub fn fleiss(ratings: &Ratings) -> Result<Complete, Undefined> {
    let (observed, shares, items) = complete(ratings)?;
    if shares.iter().filter(|share| **share > 0.0).count() < 2 {
        return Err(Undefined::NoVariation);
    }
    let chance: f64 = shares.iter().map(|share| share * share).sum();
    Ok(Complete { value: (observed - chance) / (1.0 - chance), items })
}

/// Randolph's kappa: chance is choosing blindly from the scale.
///
/// # Errors
/// No item was rated by everybody, or there is one annotator only; a scale of one label.
pub fn randolph(ratings: &Ratings) -> Result<Complete, Undefined> {
    let (observed, shares, items) = complete(ratings)?;
    if shares.len() < 2 {
        return Err(Undefined::ShortScale);
    }
    let chance = 1.0 / shares.len() as f64;
    Ok(Complete { value: (observed - chance) / (1.0 - chance), items })
}

/// Observed agreement, the share of each label, and the number of complete items.
fn complete(ratings: &Ratings) -> Result<(f64, Vec<f64>, usize), Undefined> {
    let annotators = ratings.annotators().len();
    if annotators < 2 {
        return Err(Undefined::NoPairs);
    }
    let all = annotators as f64;
    let (mut items, mut observed, mut shares) = (0, 0.0, vec![0.0; ratings.scale().len()]);
    for (counts, _) in ratings.table().into_iter().filter(|(_, sum)| *sum == all) {
        items += 1;
        observed += counts.iter().map(|count| count * (count - 1.0)).sum::<f64>() / (all * (all - 1.0));
        shares.iter_mut().zip(counts).for_each(|(share, count)| *share += count);
    }
    if items == 0 {
        return Err(Undefined::NoCompleteItem);
    }
    shares.iter_mut().for_each(|share| *share /= items as f64 * all);
    Ok((observed / items as f64, shares, items))
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::super::ratings::tests::{on, table};
    use super::*;

    /// The worked example that is told with Fleiss' paper: 14 raters put 10 items into 5 categories. Mean agreement 0.378, chance 0.213,
    /// kappa 0.210.
    #[test]
    fn worked_example() {
        let counts = [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ];
        let row = |counts: [usize; 5]| {
            let labels = (1..).zip(counts).flat_map(|(label, count)| std::iter::repeat_n(label.to_string(), count));
            labels.collect::<Vec<_>>().join(" ")
        };
        let rows = counts.map(row);
        let ratings = table(&rows.each_ref().map(String::as_str));
        let found = fleiss(&ratings).unwrap();
        assert!((found.value - 0.210).abs() < 5e-4 && found.items == 10, "{found:?}");
        // (0.378 - 0.2) / 0.8
        let blind = randolph(&ratings).unwrap().value;
        assert!((blind - 0.2225).abs() < 5e-4, "{blind}");
    }

    #[test]
    fn undefined() {
        assert_eq!(fleiss(&table(&["a a .", "b . b"])), Err(Undefined::NoCompleteItem));
        assert_eq!(fleiss(&table(&["a", "b"])), Err(Undefined::NoPairs));
        assert_eq!(fleiss(&table(&["a a", "a a"])), Err(Undefined::NoVariation));
        assert_eq!(randolph(&table(&["a a"])), Err(Undefined::ShortScale));
        assert_eq!(randolph(&on(Scale::declared(["a", "b"]).unwrap(), &["a a"])).unwrap().value, 1.0);
    }
}
