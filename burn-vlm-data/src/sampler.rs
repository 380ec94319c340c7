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

/// A mixture that cannot be sampled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MixtureError {
    /// There is nothing to draw from.
    #[error("a mixture needs at least one source with a positive weight")]
    Empty,
    /// A source with a weight has no samples.
    #[error("source {index} has weight {weight} but no samples: remove it or set its weight to 0")]
    NoSamples {
        /// Number of the source, from 0.
        index: usize,
        /// Its weight.
        weight: f64,
    },
    /// A weight is no usable number.
    #[error("source {index}: weight {weight} must be a finite number of at least 0")]
    Weight {
        /// Number of the source, from 0.
        index: usize,
        /// Its weight.
        weight: f64,
    },
    /// A weight is too small to get a place.
    #[error("source {index}: weight {weight} is below one in {BLOCK} of the whole and would never be drawn")]
    TooRare {
        /// Number of the source, from 0.
        index: usize,
        /// Its weight.
        weight: f64,
    },
}

/// Length of a block of a [`Mixture`]: each block holds every source exactly in its proportion.
const BLOCK: u64 = 1000;

/// Several sources mixed by weight: position -> (source, index within the source).
///
/// Every 1000 positions hold each source exactly as often as its weight says (rounded to thousandths, the remainder to
/// the largest fractions), in an order shuffled anew; each source is walked through in its own shuffled epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixture {
    sources: Vec<Source>,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    /// How many places of a block it has.
    places: u64,
    /// Where its places end.
    end: u64,
    /// Its own order.
    order: Shuffled,
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

impl Mixture {
    /// A mixture of sources given as `(number of samples, weight)`; weights need not add up to 1.
    ///
    /// # Errors
    /// No source, a weight that is no number, or one below a thousandth of the whole, a weighted source without samples.
    pub fn new(sources: &[(usize, f64)], seed: u64) -> Result<Self, MixtureError> {
        for (index, (len, weight)) in sources.iter().enumerate() {
            if !weight.is_finite() || *weight < 0.0 {
                return Err(MixtureError::Weight { index, weight: *weight });
            }
            if *len == 0 && *weight > 0.0 {
                return Err(MixtureError::NoSamples { index, weight: *weight });
            }
        }
        let total: f64 = sources.iter().map(|(_, weight)| weight).sum();
        if total <= 0.0 {
            return Err(MixtureError::Empty);
        }
        let exact: Vec<f64> = sources.iter().map(|(_, weight)| weight / total * BLOCK as f64).collect();
        let mut places: Vec<u64> = exact.iter().map(|places| places.floor() as u64).collect();
        let mut by_fraction: Vec<usize> = (0..places.len()).collect();
        by_fraction.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
        let missing = BLOCK.saturating_sub(places.iter().sum()) as usize;
        by_fraction.iter().take(missing).for_each(|source| places[*source] += 1);
        if let Some(index) = (0..places.len()).find(|index| places[*index] == 0 && sources[*index].1 > 0.0) {
            return Err(MixtureError::TooRare { index, weight: sources[index].1 });
        }
        let mut end = 0;
        let source = |(index, places): (usize, u64)| {
            end += places;
            Source { places, end, order: Shuffled::new(sources[index].0, mix(seed, index as u64 + 1)) }
        };
        Ok(Self { sources: places.into_iter().enumerate().map(source).collect(), seed })
    }

    /// The share of each source, adding up to 1.
    pub fn proportions(&self) -> Vec<f64> {
        self.sources.iter().map(|source| source.places as f64 / BLOCK as f64).collect()
    }

    /// The source and the sample within it at a position.
    pub fn get(&self, position: u64) -> (usize, usize) {
        let (block, place) = (position / BLOCK, position % BLOCK);
        let place = permute(place, BLOCK, mix(self.seed, block));
        // The ends rise to the length of the block, so some source holds the place.
        let source = self.sources.partition_point(|source| source.end <= place);
        let Source { places, end, order } = self.sources[source];
        (source, order.index(block * places + (place + places - end)))
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

    #[test]
    fn mixtures_are_exact() {
        let mixture = Mixture::new(&[(10, 1.0), (1000, 3.0), (0, 0.0), (7, 2.0)], 5).unwrap();
        assert_eq!(mixture.proportions(), [0.167, 0.5, 0.0, 0.333]);
        for block in [0u64, 17] {
            let mut counts = [0usize; 4];
            (0..1000).for_each(|i| counts[mixture.get(block * 1000 + i).0] += 1);
            assert_eq!(counts, [167, 500, 0, 333]);
        }
        // Each source is walked through evenly: 167 draws of 10 samples.
        let mut drawn = [0usize; 10];
        (0..1000).map(|i| mixture.get(i)).filter(|(source, _)| *source == 0).for_each(|(_, index)| drawn[index] += 1);
        assert!(drawn.iter().all(|n| (16..=17).contains(n)), "{drawn:?}");
        assert_eq!(mixture.get(123_456_789), mixture.clone().get(123_456_789));
        let sources: Vec<usize> = (0..20).map(|i| mixture.get(i).0).collect();
        assert!(sources.windows(2).any(|w| w[0] != w[1]), "{sources:?}");
    }

    #[test]
    fn mixture_errors() {
        assert_eq!(Mixture::new(&[], 0), Err(MixtureError::Empty));
        assert_eq!(Mixture::new(&[(5, 0.0)], 0), Err(MixtureError::Empty));
        assert_eq!(Mixture::new(&[(0, 1.0)], 0), Err(MixtureError::NoSamples { index: 0, weight: 1.0 }));
        assert!(matches!(Mixture::new(&[(5, f64::NAN)], 0), Err(MixtureError::Weight { index: 0, .. })));
        assert!(matches!(Mixture::new(&[(5, 1.0), (5, 1e-9)], 0), Err(MixtureError::TooRare { index: 1, .. })));
    }
}
