//! Batches by real length: which samples go together, so that little of a batch is padding.
//!
//! An epoch is a shuffled order of the samples, cut into megabatches. Within a megabatch samples are arranged: sorted by
//! their length and cut into batches within a budget of tokens ([`Strategy::Grouped`]), or packed several to a row
//! ([`Strategy::Packed`], [`packed`]). The batches of a megabatch come in random order.
//!
//! Unusual here:
//! - lengths count visual tokens, and the budget counts padding: a batch never needs more memory than it allows;
//! - the number of samples delivered so far is the whole state, so a run resumes from that number alone;
//! - no sample is dropped or comes twice in an epoch; one that does not fit the budget is an error that names it.

mod arrange;
pub mod packed;
mod sampler;

pub use arrange::{arrange, first_fit_decreasing};
pub use packed::{PackedBatch, collate_packed};
pub use sampler::{Batch, BatchSampler, Batches};

use serde::{Deserialize, Serialize};

/// The size of an encoded sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SampleSize {
    /// Its tokens, visual ones included.
    pub tokens: u32,
    /// Its pictures.
    pub images: u32,
}

/// How samples are arranged in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// In their shuffled order.
    Sequential,
    /// Samples of similar length together.
    #[default]
    Grouped,
    /// Several samples one after the other in a row, one row a batch.
    Packed,
}

/// How the `batch` x `accumulate` samples of an optimizer step become micro-batches. The samples of a step are the same however
/// they are laid out, and losses are summed over the step before they are divided by its targets, so that the layout changes speed
/// and memory but not the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// `sequential` (`batch` samples each, in their order), `grouped` (of similar length) or `packed` (several samples a row).
    pub strategy: Strategy,
    /// The most tokens of a micro-batch, visual ones and padding counted; needed by `grouped` and `packed`.
    pub max_tokens: Option<usize>,
    /// The most pictures of a micro-batch, for the memory of the tower.
    pub max_images: Option<usize>,
    /// Rows are padded to a multiple of this.
    pub multiple_of: usize,
}

impl Default for Batching {
    fn default() -> Self {
        Self { strategy: Strategy::Sequential, max_tokens: None, max_images: None, multiple_of: 1 }
    }
}

/// How batches are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// How samples are arranged.
    pub strategy: Strategy,
    /// The most tokens of a batch, padding included.
    pub max_tokens: usize,
    /// The most samples of a batch; no limit where absent.
    pub max_samples: Option<usize>,
    /// The most pictures of a batch; no limit where absent.
    pub max_images: Option<usize>,
    /// Rows are padded to a multiple of this.
    pub multiple_of: usize,
    /// Samples that are arranged together: more make less padding, and less random batches.
    pub megabatch: usize,
    /// Samples with pictures and samples without are in batches of their own (LLaVA's `group_by_modality_length`).
    pub by_modality: bool,
    /// Seed of the order.
    pub seed: u64,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            max_tokens: 8192,
            max_samples: None,
            max_images: None,
            multiple_of: 1,
            megabatch: 4096,
            by_modality: false,
            seed: 0,
        }
    }
}

/// Batches that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A limit that nothing meets.
    #[error("{key}: expected at least 1, found 0")]
    Zero {
        /// The key of [`BatchConfig`].
        key: &'static str,
    },
    /// A sample is larger than a batch may be.
    #[error("sample {index} has {found} {what}, a batch may have {max}; raise {key}, or leave the sample out")]
    TooLarge {
        /// Number of the sample.
        index: usize,
        /// `"tokens"` (padded to a multiple) or `"pictures"`.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// The limit.
        max: usize,
        /// The key of [`BatchConfig`].
        key: &'static str,
    },
    /// A position between the samples of a batch.
    #[error(
        "position {position} is within a batch, which begins at {start} and ends at {end}; resume from one of these"
    )]
    WithinBatch {
        /// The position.
        position: u64,
        /// Where the batch begins.
        start: u64,
        /// Where the next one begins.
        end: u64,
    },
    /// There is no sample.
    #[error("there are no samples to make batches of")]
    Empty,
}

/// What batches consist of, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchStats {
    /// Number of batches.
    pub batches: u64,
    /// Number of samples.
    pub samples: u64,
    /// Real tokens.
    pub tokens: u64,
    /// Tokens with padding.
    pub padded: u64,
    /// Tokens that the budget would have allowed.
    pub budget: u64,
}

impl BatchStats {
    /// The share of tokens that are padding, from 0 to 1.
    pub fn padding_share(&self) -> f64 {
        if self.padded == 0 { 0.0 } else { 1.0 - self.tokens as f64 / self.padded as f64 }
    }

    /// The share of the budget that real tokens fill, from 0 to 1.
    pub fn fill_rate(&self) -> f64 {
        if self.budget == 0 { 0.0 } else { self.tokens as f64 / self.budget as f64 }
    }
}

impl BatchConfig {
    /// Checks that limits can be met, by all of `sizes` too.
    ///
    /// # Errors
    /// A limit of 0; a sample that is larger than a batch may be.
    pub fn check(&self, sizes: &[SampleSize]) -> Result<(), BatchError> {
        let numbers = [
            ("max_tokens", Some(self.max_tokens)),
            ("max_samples", self.max_samples),
            ("max_images", self.max_images),
            ("multiple_of", Some(self.multiple_of)),
            ("megabatch", Some(self.megabatch)),
        ];
        if let Some((key, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            return Err(BatchError::Zero { key });
        }
        for (index, size) in sizes.iter().enumerate() {
            let (tokens, images) = (self.padded(size.tokens), size.images as usize);
            if tokens > self.max_tokens {
                let (max, key) = (self.max_tokens, "max_tokens");
                return Err(BatchError::TooLarge { index, what: "tokens", found: tokens, max, key });
            }
            if let Some(max) = self.max_images.filter(|max| images > *max) {
                return Err(BatchError::TooLarge { index, what: "pictures", found: images, max, key: "max_images" });
            }
        }
        Ok(())
    }

    /// A length with its padding.
    pub(crate) fn padded(&self, tokens: u32) -> usize {
        (tokens as usize).next_multiple_of(self.multiple_of.max(1))
    }
}
