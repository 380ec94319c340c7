//! The order of a group's records: shuffled anew each epoch, a pure function of the number of the draw.
//!
//! Where records are best read together (parquet), the shuffle is one of chunks, and of the records within a pool of chunks
//! that lie far from each other: what a shuffle buffer does, without a buffer whose contents would have to be saved.

use crate::random::mix;
use crate::sampler::permute;

/// Chunks that are drawn from at once.
const CHUNKS_OF_POOL: u64 = 8;
/// The most records of a chunk.
const MAX_CHUNK: u64 = 1024;

/// The order of `len` records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    len: u64,
    chunk: u64,
    pool: u64,
    /// Every chunk may be held at once: the shuffle is a full one, and chunks are the same in every epoch.
    whole: bool,
    seed: u64,
}

/// Where a draw finds its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) epoch: u64,
    pub(super) chunk: u64,
    /// Which of the chunk's members.
    pub(super) member: usize,
}

impl Order {
    /// A full shuffle: every record is its own chunk.
    pub(super) fn full(len: u64, seed: u64) -> Self {
        Self { len, chunk: 1, pool: len.max(1), whole: false, seed }
    }

    /// A shuffle of chunks, with pools of about `pool` records; a full shuffle, and the same as [`Self::full`], where the records
    /// are no more than that.
    pub(super) fn pooled(len: u64, pool: u64, seed: u64) -> Self {
        let chunk = (pool / CHUNKS_OF_POOL).clamp(1, MAX_CHUNK);
        Self { len, chunk, pool: chunk * CHUNKS_OF_POOL, whole: len <= pool, seed }
    }

    /// Chunks that are in use at once: those of one pool while the next has begun.
    pub(super) fn chunks_in_use(&self) -> usize {
        if self.whole {
            return self.len.div_ceil(self.chunk) as usize;
        }
        (2 * self.pool / self.chunk) as usize
    }

    /// Records of a chunk.
    pub(super) fn chunk(&self) -> u64 {
        self.chunk
    }

    /// Where draw number `draw` finds its record. There must be one.
    pub(super) fn spot(&self, draw: u64) -> Spot {
        if self.whole {
            let full = Self::full(self.len, self.seed);
            let spot = full.spot(draw);
            let rank = full.members(spot.epoch, spot.chunk).first().copied().unwrap_or(0);
            return Spot { epoch: 0, chunk: rank / self.chunk, member: (rank % self.chunk) as usize };
        }
        let (epoch, within) = (draw / self.len, draw % self.len);
        let key = mix(self.seed, epoch);
        let pool = within / self.pool;
        // Only the last pool may be smaller, and only its last chunk, so a place in a pool is a chunk and a member.
        let size = (self.len - pool * self.pool).min(self.pool);
        let place = permute(within % self.pool, size, mix(key, pool));
        let slot = pool * (self.pool / self.chunk) + place / self.chunk;
        let whole = self.len / self.chunk;
        let chunk = if slot < whole { permute(slot, whole, mix(key, u64::MAX)) } else { slot };
        Spot { epoch, chunk, member: (place % self.chunk) as usize }
    }

    /// The members of a chunk, rising. Chunks begin elsewhere in each epoch, so that other records share one.
    pub(super) fn members(&self, epoch: u64, chunk: u64) -> Vec<u64> {
        if self.whole {
            return (chunk * self.chunk..((chunk + 1) * self.chunk).min(self.len)).collect();
        }
        let shift = mix(mix(self.seed, epoch), 1) % self.len;
        let places = chunk * self.chunk..((chunk + 1) * self.chunk).min(self.len);
        let mut members: Vec<u64> = places.map(|place| (place + shift) % self.len).collect();
        members.sort_unstable();
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn record(order: &Order, draw: u64) -> u64 {
        let Spot { epoch, chunk, member } = order.spot(draw);
        order.members(epoch, chunk)[member]
    }

    #[test]
    fn every_epoch_has_every_record_once() {
        for len in [1u64, 2, 7, 8, 9, 100, 1000, 1025] {
            for order in
                [Order::full(len, 3), Order::pooled(len, 1, 3), Order::pooled(len, 64, 3), Order::pooled(len, 5000, 3)]
            {
                let epoch = |epoch: u64| (0..len).map(|i| record(&order, epoch * len + i)).collect::<Vec<_>>();
                for e in 0..3 {
                    assert_eq!(epoch(e).into_iter().collect::<HashSet<_>>(), (0..len).collect(), "{order:?}");
                }
                if len >= 7 {
                    assert_ne!(epoch(0), epoch(1), "{order:?}");
                    assert_ne!(epoch(0), (0..len).collect::<Vec<_>>(), "{order:?}");
                }
            }
        }
    }

    /// Formats that are read in order are shuffled as the others, where the data is no larger than the buffer.
    #[test]
    fn a_buffer_for_all_is_a_full_shuffle() {
        for (len, pool) in [(1, 1), (100, 100), (1000, 4000), (5000, 5000)] {
            let (full, pooled) = (Order::full(len, 9), Order::pooled(len, pool, 9));
            (0..2 * len).for_each(|draw| assert_eq!(record(&full, draw), record(&pooled, draw), "{len} {draw}"));
            let chunks: HashSet<u64> = (0..2 * len).map(|draw| pooled.spot(draw).chunk).collect();
            assert!(chunks.len() <= pooled.chunks_in_use(), "{len}");
        }
    }

    #[test]
    fn a_pool_needs_few_chunks_from_all_over() {
        let order = Order::pooled(10_000, 64, 5);
        assert_eq!(order.chunks_in_use(), 16);
        for pool in [0u64, 7, 150] {
            let spots: Vec<Spot> = (pool * 64..(pool + 1) * 64).map(|draw| order.spot(draw)).collect();
            let chunks: HashSet<u64> = spots.iter().map(|spot| spot.chunk).collect();
            assert_eq!(chunks.len(), 8);
            let records: Vec<u64> = (pool * 64..(pool + 1) * 64).map(|draw| record(&order, draw)).collect();
            let (least, most) = (records.iter().min().unwrap(), records.iter().max().unwrap());
            assert!(most - least > 3000, "{records:?}");
        }
    }
}
