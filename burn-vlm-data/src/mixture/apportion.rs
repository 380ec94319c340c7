//! Whole numbers in given proportions: the largest remainder method (Hamilton's).

/// Splits `total` in proportion to `weights`: each gets its exact part rounded down, and what is left goes one each to the
/// largest remainders, of equal ones to the first. Adds up to `total`, unless all weights are 0: then to 0.
pub fn largest_remainder(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u64| u128::from(total) * u128::from(*weight);
    let mut parts: Vec<u64> = weights.iter().map(|weight| (exact(weight) / sum) as u64).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|index| (std::cmp::Reverse(exact(&weights[*index]) % sum), *index));
    // The remainders add up to a multiple of `sum` below `weights.len() * sum`.
    let left = total - parts.iter().sum::<u64>();
    by_remainder.iter().take(left as usize).for_each(|index| parts[*index] += 1);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_examples() {
        // 10 * (1/7, 2/7, 4/7) = 1.43, 2.86, 5.71: 1 + 2 + 5, the two left go to 2.86 and 5.71.
        assert_eq!(largest_remainder(10, &[1, 2, 4]), [1, 3, 6]);
        // Equal remainders: the first ones.
        assert_eq!(largest_remainder(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(largest_remainder(2, &[5, 0, 5, 5]), [1, 0, 1, 0]);
        assert_eq!(largest_remainder(7, &[0, 0]), [0, 0]);
        assert_eq!(largest_remainder(0, &[3, 4]), [0, 0]);
        assert_eq!(largest_remainder(u64::MAX, &[1, 0]), [u64::MAX, 0]);
        // Samples in proportion to samples are all of them.
        assert_eq!(largest_remainder(12, &[3, 4, 5]), [3, 4, 5]);
    }
}
