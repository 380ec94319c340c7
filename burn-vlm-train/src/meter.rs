//! What a stage's log will say next: losses, tokens and time since its last line.
//!
//! A checkpoint may be written between two lines (a run that is asked to stop finishes its step). What the meter has counted until then goes
//! into the checkpoint, so that the resumed run's next line is that of a run that was not stopped, but for times and rates.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::log::StepLog;
use crate::objective::LossSums;
use crate::trainer::BatchSize;

/// What the log has not written yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Unlogged {
    /// The loss of each step since the last line, as the bits of an f64, of which JSON may lose the last.
    losses: Vec<u64>,
    /// The same by language and by source.
    parts: LossSums,
    /// Tokens so far in the stage.
    tokens: u64,
    /// Pictures so far in the stage.
    images: u64,
}

/// Counts between log lines.
pub(crate) struct Meter {
    began: Instant,
    last: Instant,
    losses: Vec<f64>,
    parts: LossSums,
    /// Whether losses were of more than one language, and of more than one source.
    several: [bool; 2],
    tokens: u64,
    images: u64,
    tokens_before: u64,
    images_before: u64,
}

impl Meter {
    /// A meter that goes on after the log's last line, with what a checkpoint behind it says was not written.
    pub(crate) fn new(previous: Option<&StepLog>, unlogged: Option<Unlogged>) -> Self {
        let now = Instant::now();
        // A checkpoint of a version before this one does not say.
        let Unlogged { losses, parts, tokens, images } = unlogged.unwrap_or_else(|| {
            let (tokens, images) = previous.map_or((0, 0), |log| (log.tokens, log.images));
            Unlogged { tokens, images, ..Unlogged::default() }
        });
        let several = previous.map_or([false; 2], |log| [!log.by_language.is_empty(), !log.by_source.is_empty()]);
        Self {
            began: now,
            last: now,
            losses: losses.into_iter().map(f64::from_bits).collect(),
            parts,
            several,
            tokens,
            images,
            // Rates are those of this process.
            tokens_before: tokens,
            images_before: images,
        }
    }

    /// What no line has yet.
    pub(crate) fn unlogged(&self) -> Unlogged {
        Unlogged {
            losses: self.losses.iter().map(|loss| loss.to_bits()).collect(),
            parts: self.parts.clone(),
            tokens: self.tokens,
            images: self.images,
        }
    }

    /// Counts a step.
    pub(crate) fn add(&mut self, loss: f64, parts: &LossSums, sizes: &[BatchSize]) {
        self.losses.push(loss);
        self.parts.merge(parts);
        self.tokens += sizes.iter().map(|size| size.tokens as u64).sum::<u64>();
        self.images += sizes.iter().map(|size| size.images as u64).sum::<u64>();
    }

    /// The next line.
    pub(crate) fn entry(&mut self, step: usize, loss: f64, lr_factor: f64, lr: f64, grad_norm: f64) -> StepLog {
        let seconds = self.last.elapsed().as_secs_f64().max(1e-9);
        let loss_mean = self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64;
        let (mut by_language, mut by_source) = (self.parts.by_language(), self.parts.by_source());
        for (losses, several) in [&mut by_language, &mut by_source].into_iter().zip(&mut self.several) {
            *several |= losses.len() > 1;
            if !*several {
                // Of one alone the mean says it all.
                losses.clear();
            }
        }
        let entry = StepLog {
            step,
            loss: loss as f32,
            loss_mean: loss_mean as f32,
            lr_factor,
            lr,
            grad_norm: grad_norm as f32,
            tokens: self.tokens,
            images: self.images,
            tokens_per_second: (self.tokens - self.tokens_before) as f64 / seconds,
            images_per_second: (self.images - self.images_before) as f64 / seconds,
            seconds: self.began.elapsed().as_secs_f64(),
            by_language,
            by_source,
        };
        self.last = Instant::now();
        self.losses.clear();
        self.parts = LossSums::default();
        self.tokens_before = self.tokens;
        self.images_before = self.images;
        entry
    }

    /// The time that so many steps take at the pace of this process.
    pub(crate) fn eta(&self, done: usize, left: usize) -> Duration {
        self.began.elapsed().mul_f64(left as f64 / done.max(1) as f64)
    }

    /// Since this process began with the stage.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
