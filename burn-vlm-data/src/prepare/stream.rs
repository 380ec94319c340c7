//! The samples of a stage: streamed, made ready by workers, laid out into micro-batches.
//!
//! Unusual here:
//! - workers prepare samples, not batches: the sample at a position of the stream is a pure function of it, and what a step's
//!   samples are does not depend on how they are laid out, so that a run resumes bit for bit from the step alone, and packed,
//!   grouped and plain batches have the same loss;
//! - a record that cannot be used is replaced by another of its group, listed, and counted; above a limit the run stops.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Batch, Layout, PreparedSample, SampleMaker};
use crate::random::mix;
use crate::sample::Sample;
use crate::source::{Drawn, Draws, Mixed, SkipLog, SkipReason, StreamError};

/// Keeps what is random about a sample apart from the other uses of the seed.
const DRAW_SALT: u64 = 0x6472_6177;

/// What a stage trains on.
pub struct SampleStream {
    mixed: Arc<Mixed>,
    log: Arc<SkipLog>,
    /// Makes samples ready.
    pub maker: SampleMaker,
    /// Lays them out.
    pub layout: Layout,
    samples_per_step: usize,
    cut: CutCount,
}

/// Conversations that were cut, and the tokens that they lost.
#[derive(Debug, Default)]
struct CutCount {
    conversations: AtomicU64,
    tokens: AtomicU64,
}

impl CutCount {
    fn count(&self, sample: PreparedSample) -> PreparedSample {
        if sample.encoded.truncated > 0 {
            self.conversations.fetch_add(1, Ordering::Relaxed);
            self.tokens.fetch_add(sample.encoded.truncated as u64, Ordering::Relaxed);
        }
        sample
    }
}

/// Optimizer steps, each as its micro-batches.
pub struct Steps {
    samples: Arc<SampleStream>,
    drawn: Draws<PreparedSample>,
    left: Range<usize>,
}

impl Iterator for Steps {
    type Item = Result<Vec<Batch>, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        let SampleStream { layout, samples_per_step, cut, .. } = &*self.samples;
        let first = self.left.next()? * samples_per_step;
        let drawn = self.drawn.by_ref().take(*samples_per_step);
        let samples = drawn.map(|drawn| Ok(cut.count(drawn?.item))).collect::<Result<Vec<_>, StreamError>>();
        if samples.is_err() {
            self.left.start = self.left.end;
        }
        Some(samples.map(|samples| layout.micro_batches(first, &samples)))
    }
}

impl SampleStream {
    /// A stream whose steps have so many samples; what cannot be used goes to `log`.
    pub fn new(
        mixed: Arc<Mixed>,
        log: Arc<SkipLog>,
        maker: SampleMaker,
        layout: Layout,
        samples_per_step: usize,
    ) -> Self {
        Self { mixed, log, maker, layout, samples_per_step, cut: CutCount::default() }
    }

    /// The stream of samples.
    pub fn mixed(&self) -> &Arc<Mixed> {
        &self.mixed
    }

    /// Samples of an optimizer step.
    pub fn samples_per_step(&self) -> usize {
        self.samples_per_step
    }

    /// Optimizer steps, each as its micro-batches. `workers` threads make samples ready ahead of them, two micro-batches at most;
    /// what is left out is noted as its step is taken.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn steps(self: &Arc<Self>, steps: Range<usize>, workers: usize) -> Result<Steps, StreamError> {
        let position = |step: usize| (step * self.samples_per_step) as u64;
        let positions = position(steps.start)..position(steps.end);
        let samples = self.clone();
        let make = move |position, sample: &Sample| samples.make(position, sample);
        let drawn = self.mixed.stream(positions, (workers, 2 * self.layout.batch), self.log.clone(), make)?;
        Ok(Steps { samples: self.clone(), drawn, left: steps })
    }

    fn make(&self, position: u64, sample: &Sample) -> Result<PreparedSample, SkipReason> {
        self.maker.make(sample, Some(mix(self.layout.seed ^ DRAW_SALT, position)))
    }

    /// Sample number `index`, ready; notes what was left out before it.
    ///
    /// # Errors
    /// None of many records of its group can be used; too many are left out, or their list cannot be written.
    pub fn sample(&self, index: usize) -> Result<PreparedSample, StreamError> {
        let position = index as u64;
        let Drawn { item, skipped, .. } = self.mixed.get(position, |sample| self.make(position, sample))?;
        self.log.record(position + 1, skipped)?;
        Ok(self.cut.count(item))
    }

    /// Names of the samples of a step.
    pub fn ids(&self, step: usize) -> Vec<String> {
        let positions = step * self.samples_per_step..(step + 1) * self.samples_per_step;
        let name = |index: usize| {
            let position = index as u64;
            self.mixed.get(position, |sample| self.make(position, sample)).ok().map(|drawn| drawn.item.id)
        };
        positions.filter_map(name).collect()
    }

    /// What is to be told at the end of the stage.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let summary = self.log.summary();
        if summary.total() > 0 {
            remarks.push(format!("{} records left out (skipped.jsonl): {summary}", summary.total()));
        }
        let [conversations, tokens] =
            [&self.cut.conversations, &self.cut.tokens].map(|count| count.load(Ordering::Relaxed));
        if conversations > 0 {
            remarks.push(format!(
                "{conversations} conversations were cut to max_tokens and lost {tokens} tokens (since this run was last started)"
            ));
        }
        remarks
    }
}
