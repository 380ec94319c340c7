//! Batches of an epoch of samples whose lengths are known, from any position on.

use super::arrange::arrange;
use super::{BatchConfig, BatchError, BatchStats, SampleSize, Strategy};
use crate::random::mix;
use crate::sampler::Shuffled;
use std::collections::VecDeque;
use std::ops::Range;

/// Samples of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The samples of each row; only packed rows have several.
    pub rows: Vec<Vec<usize>>,
    /// Real tokens.
    pub tokens: usize,
    /// Length of the rows, padding included.
    pub width: usize,
    /// The position after the batch: what a checkpoint saves.
    pub end: u64,
}

/// Endless batches over shuffled epochs of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSampler {
    sizes: Vec<SampleSize>,
    config: BatchConfig,
    order: Shuffled,
}

/// Iterator over batches; never ends.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    sampler: &'a BatchSampler,
    /// The rest of the megabatch.
    ready: VecDeque<Batch>,
    position: u64,
}

impl BatchSampler {
    /// Batches of samples of these sizes.
    ///
    /// # Errors
    /// No samples, a limit of 0, a sample that is larger than a batch may be.
    pub fn new(sizes: Vec<SampleSize>, config: BatchConfig) -> Result<Self, BatchError> {
        config.check(&sizes)?;
        if sizes.is_empty() {
            return Err(BatchError::Empty);
        }
        let order = Shuffled::new(sizes.len(), config.seed);
        Ok(Self { sizes, config, order })
    }

    /// Number of samples of an epoch.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// False: a sampler has samples.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The batches from a position on: the number of samples that were delivered, over all epochs.
    ///
    /// # Errors
    /// A position within a batch.
    pub fn batches(&self, position: u64) -> Result<Batches<'_>, BatchError> {
        let samples = self.megabatch(position);
        let mut ready: VecDeque<Batch> =
            if samples.start == position { VecDeque::new() } else { self.arrange(samples.clone()).into() };
        let mut start = samples.start;
        while start < position {
            let Some(batch) = ready.pop_front() else { break };
            if batch.end > position {
                return Err(BatchError::WithinBatch { position, start, end: batch.end });
            }
            start = batch.end;
        }
        Ok(Batches { sampler: self, ready, position })
    }

    /// What the batches of an epoch add up to.
    pub fn stats(&self, epoch: u64) -> BatchStats {
        let (mut position, end) = (epoch * self.sizes.len() as u64, (epoch + 1) * self.sizes.len() as u64);
        let mut stats = BatchStats::default();
        while position < end {
            let samples = self.megabatch(position);
            position = samples.end;
            self.arrange(samples).iter().for_each(|batch| stats.add(batch, &self.config));
        }
        stats
    }

    /// The positions of the megabatch that a position lies in; megabatches end with their epoch.
    fn megabatch(&self, position: u64) -> Range<u64> {
        let (len, size) = (self.sizes.len() as u64, self.config.megabatch as u64);
        let epoch = position / len * len;
        let start = epoch + (position - epoch) / size * size;
        start..(start + size).min(epoch + len)
    }

    fn arrange(&self, samples: Range<u64>) -> Vec<Batch> {
        let indices: Vec<usize> = samples.clone().map(|position| self.order.index(position)).collect();
        let sizes: Vec<SampleSize> = indices.iter().map(|index| self.sizes[*index]).collect();
        let seed = mix(mix(self.config.seed, 0x6261_7463), samples.start);
        let mut end = samples.start;
        let batch = |rows: Vec<Vec<usize>>| {
            end += rows.iter().map(Vec::len).sum::<usize>() as u64;
            let length = |row: &Vec<usize>| row.iter().map(|sample| sizes[*sample].tokens).sum::<u32>();
            let tokens = rows.iter().map(|row| length(row) as usize).sum();
            let width = self.config.padded(rows.iter().map(length).max().unwrap_or(0));
            let rows = rows.into_iter().map(|row| row.into_iter().map(|sample| indices[sample]).collect()).collect();
            Batch { rows, tokens, width, end }
        };
        arrange(&sizes, &self.config, seed).into_iter().map(batch).collect()
    }
}

impl Batches<'_> {
    /// The position of the next batch's first sample: what a checkpoint saves.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.ready.is_empty() {
            self.ready = self.sampler.arrange(self.sampler.megabatch(self.position)).into();
        }
        let batch = self.ready.pop_front()?;
        self.position = batch.end;
        Some(batch)
    }
}

impl Batch {
    /// The samples in the order of the rows.
    pub fn samples(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().flatten().copied()
    }

    /// Tokens with padding.
    pub fn padded(&self) -> usize {
        self.rows.len() * self.width
    }
}

impl BatchStats {
    /// Adds a batch.
    pub fn add(&mut self, batch: &Batch, config: &BatchConfig) {
        self.batches += 1;
        self.samples += batch.samples().count() as u64;
        self.tokens += batch.tokens as u64;
        self.padded += batch.padded() as u64;
        self.budget += match config.strategy {
            Strategy::Packed => config.max_tokens - config.max_tokens % config.multiple_of.max(1),
            Strategy::Sequential | Strategy::Grouped => config.max_tokens,
        } as u64;
    }
}
