//! Losses told apart by language and by source.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use burn_vlm_data::language::Language;
use burn_vlm_data::prepare::{Batch, Origin};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// The loss of a batch, and whose it is.
pub struct BatchLoss {
    /// Summed over the batch's weight; `[1]`.
    pub sum: Tensor<1>,
    /// What the sum is of; `None` where the objective does not tell its samples apart.
    pub targets: Option<TargetLosses>,
}

/// The loss of each target of a batch.
pub struct TargetLosses {
    /// `[targets]`.
    losses: Tensor<1>,
    samples: Vec<usize>,
    origins: Vec<Origin>,
}

impl BatchLoss {
    /// The sum of the losses of a batch's targets, which `losses` computes, `[targets]`.
    ///
    /// # Errors
    /// What `losses` returns.
    pub(super) fn of_targets(mut batch: Batch, losses: impl FnOnce(Batch) -> Result<Tensor<1>>) -> Result<Self> {
        let (samples, origins) = (std::mem::take(&mut batch.target_samples), std::mem::take(&mut batch.origins));
        let losses = losses(batch)?;
        let sum = losses.clone().sum();
        Ok(Self { sum, targets: Some(TargetLosses { losses: losses.detach(), samples, origins }) })
    }
}

/// A sum of losses and the number of targets. It is stored as its bits: of an f64 in JSON the last digit may be lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sum {
    #[serde(with = "bits")]
    pub loss: f64,
    pub targets: u64,
}

impl Sum {
    pub fn mean(self) -> f32 {
        (self.loss / self.targets.max(1) as f64) as f32
    }

    pub fn add(&mut self, other: Sum) {
        self.loss += other.loss;
        self.targets += other.targets;
    }
}

mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// Sums of the losses of targets, by language and by source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSums {
    by_language: BTreeMap<String, Sum>,
    by_source: BTreeMap<String, Sum>,
}

impl LossSums {
    /// Adds a sum for a language (`-` where none is known) and a source.
    pub(super) fn add(&mut self, language: Option<Language>, source: &str, sum: Sum) {
        let tag = language.map_or("-", Language::tag);
        for (sums, name) in [(&mut self.by_language, tag), (&mut self.by_source, source)] {
            match sums.get_mut(name) {
                Some(known) => known.add(sum),
                None => _ = sums.insert(name.to_owned(), sum),
            }
        }
    }

    /// Adds the losses of a batch's targets.
    ///
    /// # Errors
    /// Another number of losses than targets.
    pub fn add_batch(&mut self, batch: TargetLosses) -> Result<()> {
        let TargetLosses { losses, samples, origins } = batch;
        let losses = losses.into_data();
        if losses.num_elements() != samples.len() {
            let message = format!("{} losses of {} targets", losses.num_elements(), samples.len());
            return Err(TrainError::Data(message));
        }
        let mut sums = vec![Sum::default(); origins.len()];
        for (loss, sample) in losses.iter::<f32>().zip(samples) {
            sums[sample].add(Sum { loss: f64::from(loss), targets: 1 });
        }
        for (origin, sum) in origins.iter().zip(sums).filter(|(_, sum)| sum.targets > 0) {
            self.add(origin.language, &origin.source, sum);
        }
        Ok(())
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        for (sums, others) in [(&mut self.by_language, &other.by_language), (&mut self.by_source, &other.by_source)] {
            for (name, sum) in others {
                sums.entry(name.clone()).or_default().add(*sum);
            }
        }
    }

    /// Mean loss of a target by language tag, in nats.
    pub fn by_language(&self) -> BTreeMap<String, f32> {
        means(&self.by_language)
    }

    /// The same by source.
    pub fn by_source(&self) -> BTreeMap<String, f32> {
        means(&self.by_source)
    }
}

fn means(sums: &BTreeMap<String, Sum>) -> BTreeMap<String, f32> {
    sums.iter().filter(|(_, sum)| sum.targets > 0).map(|(name, sum)| (name.clone(), sum.mean())).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use std::sync::Arc;

    use super::*;

    fn batch(losses: &[f32], samples: &[usize]) -> TargetLosses {
        let origin = |language, source: &str| Origin { language, source: Arc::from(source) };
        let origins = vec![
            origin(Some(Language::EN), "a"),
            origin(None, "b"),
            origin(Some(Language::EN), "b"),
            origin(None, "c"),
        ];
        let losses = Tensor::<1>::from_floats(losses, &Device::default());
        TargetLosses { losses, samples: samples.to_vec(), origins }
    }

    #[test]
    fn losses_are_told_apart_by_language_and_by_source() {
        let mut sums = LossSums::default();
        sums.add_batch(batch(&[1.0, 2.0, 3.0, 8.0], &[0, 0, 1, 2])).unwrap();
        let mut more = LossSums::default();
        more.add_batch(batch(&[5.0], &[1])).unwrap();
        sums.merge(&more);
        let of = |pairs: &[(&str, f32)]| pairs.iter().map(|(name, loss)| ((*name).to_owned(), *loss)).collect();
        // (1 + 2 + 8) / 3 and (3 + 5) / 2; nothing of the sample without targets.
        assert_eq!(sums.by_language(), of(&[("-", 4.0), ("en", 11.0 / 3.0)]));
        assert_eq!(sums.by_source(), of(&[("a", 1.5), ("b", 16.0 / 3.0)]));
        assert!(sums.add_batch(batch(&[1.0], &[0, 1])).unwrap_err().to_string().contains("1 losses of 2 targets"));
    }
}
