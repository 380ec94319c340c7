//! Samples that are in memory already.

use super::{Skip, SkipKind, SkipReason, Source};
use crate::language::Language;
use crate::random::hash_bytes;
use crate::sample::Sample;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A list of samples as a source: what a program made itself, or a task of the embedded corpus.
#[derive(Debug, Clone)]
pub struct ListSource {
    name: Arc<str>,
    samples: Vec<Sample>,
}

impl ListSource {
    /// The samples in their order; their `source` becomes `name`.
    pub fn new(name: &str, mut samples: Vec<Sample>) -> Self {
        let name: Arc<str> = Arc::from(name);
        samples.iter_mut().for_each(|sample| sample.source = name.clone());
        Self { name, samples }
    }

    /// The samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

impl Source for ListSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.samples.len() as u64
    }

    fn get(&self, record: u64) -> Result<Sample, Box<Skip>> {
        let found = usize::try_from(record).ok().and_then(|record| self.samples.get(record));
        found.cloned().ok_or_else(|| {
            let reason = SkipReason::new(SkipKind::DamagedFile, format!("the source has {} records", self.len()));
            Box::new(self.skip_of(record, &Sample::new("", Vec::new(), Vec::new(), None), reason))
        })
    }

    fn by_language(&self, _skip: &mut dyn FnMut(Skip)) -> BTreeMap<Option<Language>, Vec<u64>> {
        let mut groups: BTreeMap<Option<Language>, Vec<u64>> = BTreeMap::new();
        (0..).zip(&self.samples).for_each(|(record, sample)| groups.entry(sample.language).or_default().push(record));
        groups
    }

    /// The sample's group, else its number.
    fn split_key(&self, record: u64) -> u64 {
        let group = |record: usize| self.samples.get(record)?.group.as_deref();
        let group = usize::try_from(record).ok().and_then(group);
        group.map_or(record, |group| hash_bytes(group.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Turn;

    #[test]
    fn a_list_is_a_source() {
        let sample = |id: &str, group: Option<&str>| Sample {
            group: group.map(Arc::from),
            ..Sample::new(id, vec![Turn::user("a"), Turn::assistant("b")], Vec::new(), Some(Language::DE))
        };
        let source = ListSource::new("mine", vec![sample("x", Some("g")), sample("y", Some("g")), sample("z", None)]);
        assert_eq!((source.len(), source.get(1).unwrap().id.as_str()), (3, "y"));
        assert_eq!(&*source.get(0).unwrap().source, "mine");
        assert_eq!(source.split_key(0), source.split_key(1));
        assert_eq!(source.split_key(2), 2);
        let skip = source.get(3).unwrap_err();
        assert!(skip.to_string().contains("mine") && skip.detail.contains("3 records"), "{skip}");
        assert_eq!(source.by_language(&mut |_| unreachable!())[&Some(Language::DE)], [0, 1, 2]);
    }
}
