//! How much the routing says of the prompt's language: entropy, mutual information, and a permutation test.
//!
//! An item is one prompt about one picture; its routing weights are a distribution over the experts. With languages equally
//! frequent, `I(L; E) = H(mean over all) - mean over languages of H(mean over the language)`, in bits: 0 where every language is
//! routed alike, `log2 min(languages, experts)` where each has experts of its own.

use burn_vlm_data::random::Stream;

/// Routing weights of every picture in every language: `[picture][language][expert]`.
pub type Weights = Vec<Vec<Vec<f64>>>;

/// Entropy of a distribution in bits.
pub fn entropy(distribution: &[f64]) -> f64 {
    -distribution.iter().filter(|p| **p > 0.0).map(|p| p * p.log2()).sum::<f64>()
}

/// Mean weights of each language, `[language][expert]`.
pub fn mean_by_language(weights: &Weights) -> Vec<Vec<f64>> {
    let Some(first) = weights.first() else { return Vec::new() };
    (0..first.len()).map(|language| mean(weights.iter().map(|picture| &picture[language]))).collect()
}

/// Mutual information between language and expert in bits.
pub fn mutual_information(by_language: &[Vec<f64>]) -> f64 {
    if by_language.is_empty() {
        return 0.0;
    }
    let within = by_language.iter().map(|weights| entropy(weights)).sum::<f64>() / by_language.len() as f64;
    // rounding may leave a tiny negative number
    (entropy(&mean(by_language.iter())) - within).max(0.0)
}

/// Share of relabellings that have at least the mutual information of `weights`, the observed one counted as one of them. Languages
/// are exchanged within each picture, so that what differs between pictures does not count.
pub fn permutation_p(weights: &Weights, permutations: usize, seed: u64) -> f64 {
    // Relabelling changes the order of the sums, and so the last bits.
    const ROUNDING: f64 = 1e-12;
    let observed = mutual_information(&mean_by_language(weights)) - ROUNDING;
    let mut stream = Stream::new(seed);
    let mut relabelled = weights.clone();
    let mut as_large = 0;
    for _ in 0..permutations {
        relabelled.iter_mut().for_each(|picture| stream.shuffle(picture));
        as_large += usize::from(mutual_information(&mean_by_language(&relabelled)) >= observed);
    }
    (as_large + 1) as f64 / (permutations + 1) as f64
}

fn mean<'a>(rows: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let (mut sum, mut count) = (Vec::new(), 0.0);
    for row in rows {
        sum.resize(row.len(), 0.0);
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    sum.iter_mut().for_each(|sum: &mut f64| *sum /= f64::max(count, 1.0));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        assert_eq!(entropy(&[0.5, 0.5]), 1.0);
        assert_eq!(entropy(&[1.0, 0.0]), 0.0);
        assert!((entropy(&[0.25; 4]) - 2.0).abs() < 1e-12);
        // two languages, each its own expert: one bit; both alike: none
        assert!((mutual_information(&[vec![1.0, 0.0], vec![0.0, 1.0]]) - 1.0).abs() < 1e-12);
        assert_eq!(mutual_information(&[vec![0.3, 0.7], vec![0.3, 0.7]]), 0.0);
        // H(0.5, 0.5) - H(0.75, 0.25) = 1 - 0.811278
        let skewed = mutual_information(&[vec![0.75, 0.25], vec![0.25, 0.75]]);
        assert!((skewed - 0.188_721_875_540_867).abs() < 1e-12, "{skewed}");
        assert_eq!(mean_by_language(&vec![vec![vec![1.0, 0.0]], vec![vec![0.0, 1.0]]]), [[0.5, 0.5]]);
    }

    #[test]
    fn permutations_tell_language_from_chance() {
        let specialised: Weights = (0..12).map(|_| vec![vec![0.9, 0.1], vec![0.1, 0.9]]).collect();
        assert!(permutation_p(&specialised, 999, 1) < 0.01);
        let mut stream = Stream::new(3);
        let noise: Weights = (0..12)
            .map(|_| {
                (0..2)
                    .map(|_| {
                        let p = f64::from(stream.uniform(0.1, 0.9));
                        vec![p, 1.0 - p]
                    })
                    .collect()
            })
            .collect();
        assert!(permutation_p(&noise, 999, 1) > 0.05);
        // the same in every language: each relabelling is as good
        let constant: Weights = vec![vec![vec![0.6, 0.4]; 3]; 5];
        assert_eq!(permutation_p(&constant, 99, 1), 1.0);
    }
}
