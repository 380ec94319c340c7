//! The loss on samples that are not trained on, by source and language.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Tensor;
use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Records, Source};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::losses::{LossSums, Sum};
use super::{Batch, PreparedSample, SampleStream};
use crate::error::{Result, TrainError};

/// Samples that are held out, by source and language.
#[derive(Clone)]
pub struct HeldOut {
    /// The sources, trained on or of a file of their own.
    pub sources: Vec<Arc<dyn Source>>,
    /// Which records of which source, in which language.
    pub groups: Vec<Group>,
}

/// Held-out records of one source in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Number of the source.
    pub source: usize,
    /// The language; `None` where the source does not say.
    pub language: Option<Language>,
    /// The records.
    pub records: Records,
}

/// The loss on held-out samples, nats a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Over all of them.
    pub loss: f32,
    /// By language tag; `-` where none is known.
    pub by_language: BTreeMap<String, f32>,
    /// By source.
    pub by_source: BTreeMap<String, f32>,
    /// Samples.
    pub samples: u64,
    /// Samples that could not be used.
    pub left_out: u64,
}

impl HeldOut {
    /// Records that are held out, those that cannot be used counted.
    pub fn len(&self) -> u64 {
        self.groups.iter().map(|group| group.records.len()).sum()
    }

    /// Which records of which source, for a fingerprint.
    pub(crate) fn describe(&self) -> Vec<String> {
        let one = |group: &Group| {
            let (source, language) = (&self.sources[group.source], group.language.map(Language::tag));
            format!("{} of {} {language:?} {:016x}", source.name(), source.len(), group.records.hash())
        };
        self.groups.iter().map(one).collect()
    }

    /// Whether nothing is held out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The loss on everything that is held out, read as `samples` reads what is trained on, without augmentation or noise. It does
    /// not depend on how the samples are batched but for the order of sums, which is fixed.
    ///
    /// # Errors
    /// A batch that does not fit the model, or nothing that can be used.
    pub(super) fn validate(
        &self,
        samples: &SampleStream,
        losses: impl Fn(Batch) -> Result<Tensor<1>>,
    ) -> Result<Validation> {
        let mut sums = LossSums::default();
        let (mut total, mut used, mut left_out) = (Sum::default(), 0, 0);
        for group in &self.groups {
            let source = &self.sources[group.source];
            let records: Vec<u64> = (0..group.records.len()).map(|rank| group.records.get(rank)).collect();
            let mut sum = Sum::default();
            for chunk in records.chunks(samples.layout.batch.max(1)) {
                let read = source.get_many(chunk);
                let made: Vec<Option<PreparedSample>> =
                    read.par_iter().map(|sample| samples.maker.make(sample.as_ref().ok()?, None).ok()).collect();
                left_out += made.iter().filter(|made| made.is_none()).count() as u64;
                let made: Vec<PreparedSample> = made.into_iter().flatten().collect();
                if made.is_empty() {
                    continue;
                }
                used += made.len() as u64;
                let losses = losses(samples.layout.rows(&made))?.into_data();
                losses.iter::<f32>().for_each(|loss| sum.add(Sum { loss: f64::from(loss), targets: 1 }));
            }
            sums.add(group.language, source.name(), sum);
            total.add(sum);
        }
        if total.targets == 0 {
            return Err(TrainError::Recipe("none of the held-out samples can be used (validation)".into()));
        }
        Ok(Validation {
            loss: total.mean(),
            by_language: sums.by_language(),
            by_source: sums.by_source(),
            samples: used,
            left_out,
        })
    }
}

impl Validation {
    /// The line for people.
    pub fn line(&self) -> String {
        let languages = self.by_language.iter().map(|(tag, loss)| format!("{tag} {loss:.4}"));
        let mut line = format!("loss {:.4} on {} held-out samples", self.loss, self.samples);
        if self.by_language.len() > 1 {
            line.push_str(&format!("; {}", languages.collect::<Vec<_>>().join("  ")));
        }
        if self.by_source.len() > 1 {
            let sources = self.by_source.iter().map(|(name, loss)| format!("{name} {loss:.4}"));
            line.push_str(&format!("; {}", sources.collect::<Vec<_>>().join("  ")));
        }
        line
    }
}
