//! Do two lists order the same things alike?

/// Up to so many things every order of them is gone through for the p-value: 362,880 for nine.
const MOST_EXACT: usize = 9;
/// Sums of integers that are divided by one square root: equal coefficients may differ in their last digits.
const EQUAL: f64 = 1e-12;

/// How far two lists order the same things alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankCorrelation {
    /// Kendall's tau-b: 1 for the same order, -1 for the reverse, 0 for no connection. Things that tie in one list alone make it
    /// less than 1.
    pub tau: f64,
    /// Number of things.
    pub n: usize,
    /// The exact two-sided p-value: the share of all orders of the one list that agree, or disagree, with the other at least as
    /// much. None for more than nine things.
    pub p: Option<f64>,
    /// The smallest p-value that so many things, with these ties, can have; none as `p`.
    pub least_p: Option<f64>,
}

/// Kendall's tau-b of two lists of values of the same things (Kendall 1945). None where the lists differ in length, hold less than two
/// things or a NaN, or where all things of a list tie.
pub fn kendall(first: &[f64], second: &[f64]) -> Option<RankCorrelation> {
    let n = first.len();
    if n != second.len() || n < 2 || first.iter().chain(second).any(|value| value.is_nan()) {
        return None;
    }
    let (first, second) = (signs(first), signs(second));
    let untied = |signs: &[i32]| signs.iter().filter(|sign| **sign != 0).count() as f64;
    let scale = (untied(&first) * untied(&second)).sqrt();
    if scale == 0.0 {
        return None;
    }
    let identity: Vec<usize> = (0..n).collect();
    let tau = f64::from(agreement(&first, &second, &identity)) / scale;
    let (mut p, mut least_p) = (None, None);
    if n <= MOST_EXACT {
        let mut counts = std::collections::BTreeMap::new();
        let mut orders = 0.0;
        permutations(&mut identity.clone(), n, &mut |order| {
            orders += 1.0;
            *counts.entry(agreement(&first, &second, order).abs()).or_insert(0.0) += 1.0;
        });
        let reached = counts.iter().filter(|(sum, _)| f64::from(**sum) / scale >= tau.abs() - EQUAL);
        p = Some(reached.map(|(_, count)| count).sum::<f64>() / orders);
        least_p = counts.last_key_value().map(|(_, count)| count / orders);
    }
    Some(RankCorrelation { tau, n, p, least_p })
}

/// For each ordered pair (row, column) whether the first thing's value is above, 1, below, -1, or equal, 0: `[row * n + column]`.
fn signs(values: &[f64]) -> Vec<i32> {
    let sign = |a: f64, b: f64| i32::from(a > b) - i32::from(a < b);
    values.iter().flat_map(|&a| values.iter().map(move |&b| sign(a, b))).collect()
}

/// Pairs that both lists order alike less those that they order otherwise, each counted twice; the second list's things stand in
/// `order`.
fn agreement(first: &[i32], second: &[i32], order: &[usize]) -> i32 {
    let n = order.len();
    let of_row = |row: usize| -> i32 {
        (0..n).map(|column| first[row * n + column] * second[order[row] * n + order[column]]).sum()
    };
    (0..n).map(of_row).sum()
}

/// Calls `see` with every order of `items` (Heap 1963).
fn permutations(items: &mut [usize], first: usize, see: &mut impl FnMut(&[usize])) {
    if first <= 1 {
        return see(items);
    }
    for i in 0..first {
        permutations(items, first - 1, see);
        if i + 1 < first {
            items.swap(if first.is_multiple_of(2) { i } else { 0 }, first - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One division and one root against scipy's.
    const ROUNDING: f64 = 1e-12;

    /// scipy 1.17.1, stats.kendalltau(.., method="exact") where nothing ties; with ties scipy has no exact p-value, and these were
    /// counted over itertools.permutations.
    #[test]
    fn equals_scipy() {
        type Case<'a> = (&'a [f64], &'a [f64], f64, f64);
        let cases: [Case<'_>; 5] = [
            (&[67.4, 76.6, 69.3, 77.1], &[70.1, 54.7, 71.3, 52.2], -0.666_666_666_666_666_9, 0.333_333_333_333_333_3),
            (
                &[1., 2., 3., 4., 5., 6., 7.],
                &[2., 1., 4., 3., 6., 5., 7.],
                0.714_285_714_285_714_3,
                0.030_158_730_158_730_16,
            ),
            (&[1., 2., 3.], &[3., 2., 1.], -1.0, 0.333_333_333_333_333_3),
            (&[12., 2., 1., 12., 2.], &[1., 4., 7., 1., 0.], -0.471_404_520_791_031_6, 0.366_666_666_666_666_64),
            (&[1., 1., 2., 2., 3.], &[1., 2., 2., 3., 3.], 0.75, 0.166_666_666_666_666_66),
        ];
        for (first, second, tau, p) in cases {
            let found = kendall(first, second).unwrap();
            assert!((found.tau - tau).abs() < ROUNDING, "{found:?}, scipy {tau}");
            assert!((found.p.unwrap() - p).abs() < ROUNDING, "{found:?}, counted {p}");
        }
        // Four things in the same order: 1 of 24 orders, and its reverse.
        let same = kendall(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]).unwrap();
        assert_eq!((same.tau, same.n), (1.0, 4));
        assert!((same.p.unwrap() - 2.0 / 24.0).abs() < ROUNDING && same.p == same.least_p);
    }

    #[test]
    fn nothing_to_order_is_none() {
        assert_eq!(kendall(&[1.0], &[2.0]), None);
        assert_eq!(kendall(&[1.0, 1.0], &[2.0, 3.0]), None);
        assert_eq!(kendall(&[1.0, 2.0], &[2.0, f64::NAN]), None);
        assert_eq!(kendall(&[1.0, 2.0], &[2.0]), None);
        let many: Vec<f64> = (0..12).map(f64::from).collect();
        let found = kendall(&many, &many).unwrap();
        assert_eq!((found.tau, found.p, found.least_p), (1.0, None, None));
    }
}
