//! Groups mixed evenly: position -> group and how often it was drawn before; a pure function without state.
//!
//! Unusual here: exact at every scale. An epoch is halved again and again; each half gets of each group what is its due,
//! rounded by largest remainder, so that over the epoch every group has exactly its count and any stretch has its share
//! within a few samples. Within a block of 256 the order is a keyed permutation.

use crate::random::mix;
use crate::sampler::permute;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Positions of a block.
const BLOCK: u64 = 256;
/// Blocks kept; workers are seldom further apart.
const KEPT: usize = 8;

/// The order of groups.
pub(super) struct Interleave {
    counts: Vec<u64>,
    total: u64,
    seed: u64,
    kept: Mutex<VecDeque<(u64, Arc<Block>)>>,
}

/// What a block of positions has of each group.
struct Block {
    size: u64,
    /// Of each group: draws before the block (in its epoch), and where its places in the block end.
    groups: Vec<(u64, u64)>,
    key: u64,
}

impl Interleave {
    /// An epoch that has each group `counts` times.
    pub(super) fn new(counts: Vec<u64>, seed: u64) -> Self {
        let total = counts.iter().sum();
        Self { counts, total, seed, kept: Mutex::default() }
    }

    /// Positions of an epoch.
    pub(super) fn len(&self) -> u64 {
        self.total
    }

    /// The group at a position and the number of its draws before, all epochs counted. `None` where there is no group.
    pub(super) fn at(&self, position: u64) -> Option<(usize, u64)> {
        let (epoch, within) = (position.checked_div(self.total)?, position % self.total);
        let block = self.block(epoch, within / BLOCK);
        let place = permute(within % BLOCK, block.size, block.key);
        let group = block.groups.partition_point(|(_, end)| *end <= place);
        let begin = group.checked_sub(1).map_or(0, |before| block.groups[before].1);
        let (before, _) = block.groups.get(group)?;
        Some((group, epoch * self.counts[group] + before + (place - begin)))
    }

    fn block(&self, epoch: u64, number: u64) -> Arc<Block> {
        let id = epoch * self.total.div_ceil(BLOCK) + number;
        // A poisoned lock guards a list that is whole: it is changed by single calls.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = kept.iter().find(|(kept, _)| *kept == id) {
            return block.clone();
        }
        let block = Arc::new(self.split(mix(self.seed, epoch), number));
        kept.push_back((id, block.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        block
    }

    /// Halves the epoch until one block is left.
    fn split(&self, seed: u64, number: u64) -> Block {
        let (mut from, mut to) = (0, self.total.div_ceil(BLOCK));
        let mut before = vec![0; self.counts.len()];
        let mut counts = self.counts.clone();
        let position = |block: u64| (block * BLOCK).min(self.total);
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            let (left, all) = (position(middle) - position(from), position(to) - position(from));
            let first = share(&counts, left, all, mix(seed, mix(from, to)));
            if number < middle {
                counts = first;
                to = middle;
            } else {
                for ((before, count), first) in before.iter_mut().zip(&mut counts).zip(first) {
                    *before += first;
                    *count -= first;
                }
                from = middle;
            }
        }
        let mut end = 0;
        let ends = counts.iter().map(|count| {
            end += count;
            end
        });
        let groups = before.into_iter().zip(ends.collect::<Vec<_>>()).collect();
        Block { size: position(to) - position(from), groups, key: mix(seed, number) }
    }
}

/// What the first `left` of `all` positions get of each group: together exactly `left`.
fn share(counts: &[u64], left: u64, all: u64, key: u64) -> Vec<u64> {
    let product = |count: u64| u128::from(count) * u128::from(left);
    let mut first: Vec<u64> = counts.iter().map(|count| (product(*count) / u128::from(all)) as u64).collect();
    let missing = left.saturating_sub(first.iter().sum()) as usize;
    // Equal remainders, the rule among rare groups, are told apart at random, so that none is always first.
    let remainder =
        |group: usize| (std::cmp::Reverse(product(counts[group]) % u128::from(all)), mix(key, group as u64));
    let mut groups: Vec<usize> =
        (0..counts.len()).filter(|group| !product(counts[*group]).is_multiple_of(u128::from(all))).collect();
    groups.sort_by_cached_key(|group| remainder(*group));
    groups.iter().take(missing).for_each(|group| first[*group] += 1);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_every_draw_once() {
        for counts in [vec![1], vec![3, 0, 5], vec![1000, 1, 1, 1, 57, 256, 255, 2], vec![256, 256], vec![1; 700]] {
            let interleave = Interleave::new(counts.clone(), 9);
            let total: u64 = counts.iter().sum();
            assert_eq!(interleave.len(), total);
            for epoch in [0, 3] {
                let mut seen: Vec<Vec<bool>> = counts.iter().map(|count| vec![false; *count as usize]).collect();
                for position in epoch * total..(epoch + 1) * total {
                    let (group, draw) = interleave.at(position).unwrap();
                    let draw = (draw - epoch * counts[group]) as usize;
                    assert!(!std::mem::replace(&mut seen[group][draw], true), "{group} {draw} twice");
                }
                assert!(seen.iter().flatten().all(|seen| *seen));
            }
        }
        assert_eq!(Interleave::new(vec![0, 0], 1).at(5), None);
    }

    /// Each stretch has nearly its share of each group: the halving rounds by at most one at each of its levels.
    #[test]
    fn every_stretch_has_its_share() {
        let counts = vec![60_000u64, 30_000, 9_000, 990, 10];
        let interleave = Interleave::new(counts.clone(), 4);
        let mut drawn = [0u64; 5];
        for position in 0..100_000u64 {
            drawn[interleave.at(position).unwrap().0] += 1;
            if (position + 1).is_multiple_of(BLOCK) {
                for (drawn, count) in drawn.iter().zip(&counts) {
                    let due = (position + 1) as f64 * *count as f64 / 100_000.0;
                    assert!((*drawn as f64 - due).abs() <= 9.0, "{position}: {drawn} of {due}");
                }
            }
        }
        let order = |seed| (0..300).map(|p| Interleave::new(counts.clone(), seed).at(p).unwrap().0).collect::<Vec<_>>();
        assert_ne!(order(1), order(2));
        assert_eq!(order(1), order(1));
    }
}
