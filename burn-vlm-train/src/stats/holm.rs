//! Holm's correction for several comparisons.

/// The p-values that hold for a whole family of comparisons, in the order of `p` (Holm 1979): with all of them below 0.05 called
/// differences, the probability that even one of those is none stays below 0.05, however the comparisons hang together.
///
/// The smallest of m p-values is multiplied by m, the next by m - 1, and so on; none is less than one before it, none more than 1.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least = 0.0_f64;
    for (rank, at) in order.into_iter().enumerate() {
        least = least.max(p[at] * (p.len() - rank) as f64).min(1.0);
        adjusted[at] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of a few numbers.
    const ROUNDING: f64 = 1e-15;

    #[test]
    fn equals_statsmodels() {
        // statsmodels 0.15.0, multipletests(p, method="holm"); the first by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 no less
        // than that.
        let cases: [(&[f64], &[f64]); 3] = [
            (&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]),
            (&[0.2, 0.0004, 0.03, 0.03, 0.9, 0.012], &[0.4, 0.0024, 0.12, 0.12, 0.9, 0.06]),
            (&[], &[]),
        ];
        for (p, expected) in cases {
            let found = holm(p);
            assert_eq!(found.len(), expected.len());
            let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < ROUNDING);
            assert!(near, "{found:?}, statsmodels {expected:?}");
        }
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
    }
}
