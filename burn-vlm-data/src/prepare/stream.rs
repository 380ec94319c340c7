//! The samples of a stage: streamed, made ready by workers, laid out into micro-batches.
//!
//! Unusual here:
//! - workers prepare samples, not batches: the sample at a position of the stream is a pure function of it, and what a step's
//!   samples are does not depend on how they are laid out, so that a run resumes bit for bit from the step alone, and packed,
//!   grouped and plain batches have the same loss;
//! - a record that cannot be used is replaced by another of its group, listed, and counted; above a limit the run stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Batch, Layout, PreparedSample, SampleMaker};
use crate::random::mix;
use crate::source::{Drawn, Mixed, SkipLog, SkipLogError, StreamError};

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

    /// Sample number `index`, ready.
    ///
    /// # Errors
    /// None of many records of its group can be used.
    pub fn sample(&self, index: usize) -> Result<Drawn<PreparedSample>, StreamError> {
        let draw = mix(self.layout.seed ^ DRAW_SALT, index as u64);
        let drawn = self.mixed.get(index as u64, |sample| self.maker.make(sample, Some(draw)));
        if let Err(StreamError::NothingUsable { skipped, .. }) = &drawn {
            // The run ends with the error itself; the list is for whoever looks into the data.
            let _ = self.log.record(index as u64 + 1, skipped.iter().cloned());
        }
        drawn
    }

    /// Sample number `index`, ready; notes what was left out before it.
    ///
    /// # Errors
    /// As [`Self::sample`]; too many records left out, a list that cannot be written.
    pub fn noted(&self, index: usize) -> Result<PreparedSample, StreamError> {
        Ok(self.note(self.sample(index)?)?)
    }

    fn note(
        &self,
        Drawn { position, item, skipped, .. }: Drawn<PreparedSample>,
    ) -> Result<PreparedSample, SkipLogError> {
        self.log.record(position + 1, skipped)?;
        if item.encoded.truncated > 0 {
            self.cut.conversations.fetch_add(1, Ordering::Relaxed);
            self.cut.tokens.fetch_add(item.encoded.truncated as u64, Ordering::Relaxed);
        }
        Ok(item)
    }

    /// The micro-batches of the step that begins with sample `first`; notes what was left out.
    ///
    /// # Errors
    /// Too many records left out, a list that cannot be written.
    pub fn micro_batches(&self, first: usize, items: Vec<Drawn<PreparedSample>>) -> Result<Vec<Batch>, SkipLogError> {
        let samples = items.into_iter().map(|drawn| self.note(drawn)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.layout.micro_batches(first, &samples))
    }

    /// Name of sample number `index`.
    pub fn id(&self, index: usize) -> Option<String> {
        self.sample(index).ok().map(|drawn| drawn.item.id)
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
