//! Sample order as a pure function of position: no state, so the position alone is the data cursor of a run.
//!
//! Unusual here: a shuffled epoch is a keyed permutation (a Feistel network walked until it falls into the range), not a
//! shuffled list. The sample at position ten million costs the same as the first, and nothing is stored.

use crate::random::mix;

/// Rounds of the Feistel network; four make it indistinguishable from random for this purpose, and short ranges, whose
/// halves have few bits, profit from more.
const ROUNDS: u64 = 6;

/// Shuffled positions of `len` samples, with a fresh permutation each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffled {
    len: u64,
    seed: u64,
}

impl Shuffled {
    /// An order of `len` samples.
    pub fn new(len: usize, seed: u64) -> Self {
        Self { len: len as u64, seed }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True if there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The epoch that a position lies in, from 0.
    pub fn epoch(&self, position: u64) -> u64 {
        position.checked_div(self.len).unwrap_or(0)
    }

    /// The sample at a position; any `len` positions from a multiple of `len` on hold each sample once. 0 where there
    /// is no sample.
    pub fn index(&self, position: u64) -> usize {
        if self.len == 0 {
            return 0;
        }
        permute(position % self.len, self.len, mix(self.seed, self.epoch(position))) as usize
    }

    /// Where in an epoch a sample comes, from 0: the inverse of [`Shuffled::index`]. `None` for an index of no sample.
    pub fn position(&self, epoch: u64, index: usize) -> Option<u64> {
        let index = index as u64;
        (index < self.len).then(|| unpermute(index, self.len, mix(self.seed, epoch)))
    }
}

/// A permutation of `0..len` chosen by `key`.
pub(crate) fn permute(value: u64, len: u64, key: u64) -> u64 {
    let (half, mask) = halves(len);
    let mut value = value;
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (round_key(key, round, right) & mask));
        }
        value = (left << half) | right;
        if value < len {
            return value;
        }
    }
}

/// The value that [`permute`] takes to `value`: the same walk backwards.
fn unpermute(value: u64, len: u64, key: u64) -> u64 {
    let (half, mask) = halves(len);
    let mut value = value;
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ (round_key(key, round, left) & mask), left);
        }
        value = (left << half) | right;
        if value < len {
            return value;
        }
    }
}

/// Bits of half a value, and their mask: the smallest even number of bits that holds the range, hence at most four times as
/// many values, so that the walk is short.
fn halves(len: u64) -> (u32, u64) {
    let half = (64 - (len - 1).leading_zeros()).div_ceil(2).max(1);
    (half, (1u64 << half) - 1)
}

fn round_key(key: u64, round: u64, value: u64) -> u64 {
    mix(key ^ round.wrapping_mul(0x9e37_79b9), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_epoch_is_a_fresh_permutation() {
        for len in [1usize, 2, 3, 5, 10, 64, 65, 1000] {
            let order = Shuffled::new(len, 3);
            let epoch = |e: u64| (0..len as u64).map(|i| order.index(e * len as u64 + i)).collect::<Vec<_>>();
            for e in 0..3 {
                let seen: HashSet<usize> = epoch(e).into_iter().collect();
                assert_eq!(seen.len(), len);
                assert!(seen.iter().all(|i| *i < len));
                let inverse = |(place, index): (usize, &usize)| order.position(e, *index) == Some(place as u64);
                assert!(epoch(e).iter().enumerate().all(inverse));
            }
            assert_eq!(order.position(0, len), None);
            if len >= 10 {
                assert_ne!(epoch(0), epoch(1));
                assert_ne!(epoch(0), (0..len).collect::<Vec<_>>());
                assert_ne!(epoch(0), (0..len).map(|i| Shuffled::new(len, 4).index(i as u64)).collect::<Vec<_>>());
            }
        }
        assert_eq!(Shuffled::new(0, 1).index(7), 0);
        assert_eq!(Shuffled::new(10, 1).epoch(25), 2);
    }

    /// Each value appears at each place about equally often over many epochs.
    #[test]
    fn permutations_are_even() {
        let (len, epochs) = (7u64, 7000u64);
        let order = Shuffled::new(len as usize, 11);
        let mut counts = [[0u64; 7]; 7];
        for position in 0..len * epochs {
            counts[(position % len) as usize][order.index(position)] += 1;
        }
        // Expected 1000 each, standard deviation 29: five of them.
        assert!(counts.iter().flatten().all(|count| (855..1145).contains(count)), "{counts:?}");
    }
}
