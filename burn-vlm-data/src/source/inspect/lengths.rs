//! A distribution of whole numbers in little memory: exact up to 1,024, above that within a thousandth.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Bits that are kept of a number.
const BITS: u32 = 10;

/// How long something is, over many samples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lengths {
    counts: BTreeMap<u64, u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Lengths {
    /// Adds a length.
    pub fn add(&mut self, length: u64) {
        let shift = (64 - length.leading_zeros()).saturating_sub(BITS);
        *self.counts.entry(length >> shift << shift).or_default() += 1;
        self.count += 1;
        self.sum += length;
        self.max = self.max.max(length);
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The longest.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The length that a part (0 to 1) of the samples does not exceed, by nearest rank.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = ((part * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map_or(0, |(length, _)| *length)
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly] = [0.5, 0.9, 0.99].map(|part| self.quantile(part));
        write!(f, "mean {:.1}, 50 % {half}, 90 % {most}, 99 % {nearly}, longest {}", self.mean(), self.max)
    }
}

impl Serialize for Lengths {
    /// As a table of count, sum, mean, quantiles and the longest.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [half, most, nearly] = [0.5, 0.9, 0.99].map(|part| self.quantile(part));
        serde_json::json!({
            "count": self.count, "sum": self.sum, "mean": self.mean(), "p50": half, "p90": most, "p99": nearly, "max": self.max,
        })
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let mut lengths = Lengths::default();
        (1..=1000).rev().for_each(|length| lengths.add(length));
        assert_eq!([0.0, 0.5, 0.9, 0.99, 1.0].map(|part| lengths.quantile(part)), [1, 500, 900, 990, 1000]);
        assert_eq!((lengths.count(), lengths.sum(), lengths.mean(), lengths.max()), (1000, 500_500, 500.5, 1000));
        lengths.add(1_000_001);
        let longest = lengths.quantile(1.0) as f64;
        assert!((longest / 1_000_001.0 - 1.0).abs() < 2e-3 && lengths.max() == 1_000_001);
        assert_eq!(Lengths::default().quantile(0.5), 0);
        assert_eq!(Lengths::default().mean(), 0.0);
    }
}
