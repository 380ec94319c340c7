//! Percent agreement, in three definitions. With two annotators and no missing rating they are the same number.

use serde::Serialize;

use super::{Ratings, Undefined};

/// How often ratings are the same, 0 to 1; over items with at least two ratings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percent {
    /// Items with at least two ratings.
    pub items: usize,
    /// The mean over items of the share of an item's pairs that are the same: each item counts the same. Fleiss' and Gwet's observed
    /// agreement.
    pub mean_over_items: f64,
    /// The share of all pairs that are the same: items with more ratings count more.
    pub pooled_over_pairs: f64,
    /// The share of items that are rated the same by everybody who rated them.
    pub all_identical: f64,
}

/// Percent agreement.
///
/// # Errors
/// No item has two ratings.
pub fn percent(ratings: &Ratings) -> Result<Percent, Undefined> {
    let (mut items, mut share, mut same, mut pairs, mut identical) = (0, 0.0, 0.0, 0.0, 0);
    for (counts, sum) in ratings.table().into_iter().filter(|(_, sum)| *sum >= 2.0) {
        let alike: f64 = counts.iter().map(|count| count * (count - 1.0)).sum();
        let all = sum * (sum - 1.0);
        items += 1;
        share += alike / all;
        same += alike;
        pairs += all;
        identical += usize::from(alike == all);
    }
    if items == 0 {
        return Err(Undefined::NoPairs);
    }
    Ok(Percent {
        items,
        mean_over_items: share / items as f64,
        pooled_over_pairs: same / pairs,
        all_identical: identical as f64 / items as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::super::ratings::tests::table;
    use super::*;

    /// By hand: an item of four ratings with three alike (3 of 6 pairs), one of two alike, one rated once.
    #[test]
    fn missing_ratings_part_the_definitions() {
        let found = percent(&table(&["a a a b", "a a . .", "b . . ."])).unwrap();
        let wanted = Percent { items: 2, mean_over_items: 0.75, pooled_over_pairs: 4.0 / 7.0, all_identical: 0.5 };
        assert_eq!(found, wanted);
        assert_eq!(percent(&table(&["a .", ". b"])), Err(Undefined::NoPairs));
    }
}
