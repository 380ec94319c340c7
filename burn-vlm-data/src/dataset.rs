//! Sources and mixtures as data sets of Burn, for its data loaders (feature `burn-dataset`).
//!
//! Unusual here: a record that cannot be used is an item of a source, with its place and reason, and no error. A loader of Burn gives
//! up its batch at an error, and its user sees neither the other samples nor how many such records there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn_dataset::{Dataset, DatasetError};

use crate::sample::Sample;
use crate::source::{Drawn, Mixed, Skip, Source};

/// What a record is: a sample, or why it cannot be used.
pub type Record = Result<Sample, Box<Skip>>;

/// The records of a source in their order, those that cannot be used as the [`Skip`] that says why.
///
/// ```
/// use std::sync::Arc;
/// use burn_dataset::Dataset;
/// use burn_vlm_data::conversation::Turn;
/// use burn_vlm_data::{dataset::SourceDataset, sample::Sample, source::ListSource};
///
/// let turns = vec![Turn::user("Hello"), Turn::assistant("Good day")];
/// let source = ListSource::new("mine", vec![Sample::new("first", turns, Vec::new(), None)]);
/// let data = SourceDataset(Arc::new(source));
/// assert_eq!(data.get(0)??.id, "first");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SourceDataset(pub Arc<dyn Source>);

impl Dataset<Record> for SourceDataset {
    /// Never an error; beyond the end, as the source says, a [`Skip`].
    fn get(&self, index: usize) -> Result<Record, DatasetError> {
        Ok(self.0.get(index as u64))
    }

    /// The records read together, which is cheaper in parquet files.
    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<Record>, DatasetError> {
        let numbers: BTreeSet<u64> = indexes.iter().map(|index| *index as u64).collect();
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let read: BTreeMap<u64, Record> = numbers.iter().copied().zip(self.0.get_many(&numbers)).collect();
        let record = |index: usize| read.get(&(index as u64)).cloned().unwrap_or_else(|| self.0.get(index as u64));
        Ok(indexes.into_iter().map(record).collect())
    }

    fn len(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }
}

/// One epoch of a mixture: its samples in their shuffled order, in the mixture's proportions. A record that cannot be used has another
/// one in its place and is listed in [`Drawn::skipped`].
#[derive(Clone)]
pub struct MixedDataset {
    mixed: Arc<Mixed>,
    epoch: u64,
}

impl MixedDataset {
    /// Epoch number `epoch` (from 0) of a mixture; each draws in another order.
    pub fn new(mixed: Arc<Mixed>, epoch: u64) -> Self {
        Self { mixed, epoch }
    }
}

impl Dataset<Drawn<Sample>> for MixedDataset {
    /// # Errors
    /// None of many records of a group can be used.
    fn get(&self, index: usize) -> Result<Drawn<Sample>, DatasetError> {
        let position = self.epoch.saturating_mul(self.mixed.epoch_len()).saturating_add(index as u64);
        self.mixed.get(position, |sample| Ok(sample.clone())).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        usize::try_from(self.mixed.epoch_len()).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Turn;
    use crate::language::Language;
    use crate::source::{Group, Records, SkipKind, SkipReason, StreamOptions};

    /// Ten records; number 3 cannot be used.
    struct Ten;

    impl Source for Ten {
        fn name(&self) -> &str {
            "ten"
        }

        fn len(&self) -> u64 {
            10
        }

        fn get(&self, record: u64) -> Record {
            let turns = vec![Turn::user("a"), Turn::assistant("b")];
            let sample = Sample::new(&record.to_string(), turns, Vec::new(), Some(Language::EN));
            if record != 3 && record < 10 {
                return Ok(sample);
            }
            Err(Box::new(self.skip_of(record, &sample, SkipReason::new(SkipKind::NoAnswer, "empty".to_owned()))))
        }
    }

    #[test]
    fn a_data_set_has_the_records_of_its_source() {
        let data = SourceDataset(Arc::new(Ten));
        assert_eq!(data.len(), 10);
        let items: Vec<Record> = data.iter().map(Result::unwrap).collect();
        let records: Vec<Record> = (0..10).map(|record| Ten.get(record)).collect();
        assert_eq!(items, records);
        assert!(items[3].as_ref().unwrap_err().to_string().contains("empty"));
        let many = data.get_many(vec![7, 3, 7, 0]).unwrap();
        assert_eq!(many, [7, 3, 7, 0].map(|record| Ten.get(record)));
        assert!(data.get(10).unwrap().is_err());
    }

    #[test]
    fn a_data_set_has_the_samples_of_its_mixture() {
        let group = Group { source: 0, records: Records::Range(0..10), draws: 10 };
        let mixed = Arc::new(Mixed::new(vec![Arc::new(Ten)], vec![group], StreamOptions::seeded(1)).unwrap());
        for epoch in 0..2 {
            let data = MixedDataset::new(mixed.clone(), epoch);
            assert_eq!(data.len(), 10);
            let items: Vec<Drawn<Sample>> = data.iter().map(Result::unwrap).collect();
            for (position, item) in (epoch * 10..).zip(&items) {
                assert_eq!(*item, mixed.get(position, |sample| Ok(sample.clone())).unwrap());
            }
            assert!(items.iter().all(|item| item.item.id != "3"));
            assert_eq!(items.iter().flat_map(|item| &item.skipped).filter(|skip| skip.record == 3).count(), 1);
        }
    }
}
