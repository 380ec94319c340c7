//! What a stage draws, `samples.json`: how many samples, in which languages and from which sources, and how many of them differ.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_base::files::{read_json_if_there, write_json_atomic};
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::{LanguageCounts, largest_remainder};
use burn_vlm_data::source::Mixed;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The file, in the folder of a stage.
const FILE: &str = "samples.json";
/// The tag of what is in no language that is told (BCP 47: undetermined).
const NO_LANGUAGE: &str = "und";

/// The samples that a stage draws over all its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnSamples {
    /// How many: steps x samples of a step. A stage that stops early has drawn fewer.
    pub samples: u64,
    /// How many records there are to draw from.
    pub records: u64,
    /// How many of these are drawn at all.
    pub distinct: u64,
    /// Samples by tag of their language, `und` where none is told.
    pub by_language: BTreeMap<String, u64>,
    /// Samples by source.
    pub by_source: BTreeMap<String, u64>,
}

impl DrawnSamples {
    /// Of a stream that draws so many samples; `languages` is what an epoch of it draws in each.
    pub(super) fn of(mixed: &Mixed, languages: &LanguageCounts, samples: u64) -> Self {
        let groups = mixed.state(0).groups;
        let draws: Vec<u64> = groups.iter().map(|group| group.draws).collect();
        let mut drawn = Self { samples, ..Self::default() };
        for (group, draws) in groups.iter().zip(largest_remainder(samples, &draws)) {
            drawn.records += group.records;
            // Each record once before one comes again.
            drawn.distinct += draws.min(group.records);
            *drawn.by_source.entry(group.source.clone()).or_default() += draws;
        }
        drawn.by_language = by_language(languages, samples);
        drawn
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_json_atomic(&folder.join(FILE), self)?)
    }

    /// Reads what the stage of a folder draws; none of a stage that was trained before this was noted.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        Ok(read_json_if_there(&folder.join(FILE))?)
    }

    /// How often the records there are were gone through, on average.
    pub fn epochs(&self) -> f64 {
        self.samples as f64 / self.records.max(1) as f64
    }

    /// The share of samples in a language, 0 to 1.
    pub fn share(&self, tag: &str) -> f64 {
        self.by_language.get(tag).copied().unwrap_or(0) as f64 / self.samples.max(1) as f64
    }
}

/// The share of each language, by tag, in an epoch.
pub(super) fn language_shares(languages: &LanguageCounts) -> BTreeMap<String, f64> {
    let all: u64 = languages.values().sum();
    let share = |(language, count): (&Option<Language>, &u64)| (tag(*language), *count as f64 / all.max(1) as f64);
    languages.iter().map(share).collect()
}

fn tag(language: Option<Language>) -> String {
    language.map_or(NO_LANGUAGE, Language::tag).to_owned()
}

/// So many samples by language tag, as an epoch has them.
fn by_language(languages: &LanguageCounts, samples: u64) -> BTreeMap<String, u64> {
    let weights: Vec<u64> = languages.values().copied().collect();
    let tags = languages.keys().map(|language| tag(*language));
    tags.zip(largest_remainder(samples, &weights)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn_vlm_data::sample::Sample;
    use burn_vlm_data::source::{Group, ListSource, Records, StreamOptions};

    use super::*;

    #[test]
    fn worked_by_hand() {
        let source = |name: &str, count: usize| {
            let samples = (0..count).map(|id| Sample::new(id.to_string(), Vec::new(), Vec::new(), None)).collect();
            Arc::new(ListSource::new(name, samples)) as Arc<dyn burn_vlm_data::source::Source>
        };
        let group =
            |source: usize, records: u64, draws: u64| Group { source, records: Records::Range(0..records), draws };
        let sources = vec![source("few", 3), source("many", 100)];
        let mixed = Mixed::new(sources, vec![group(0, 3, 5), group(1, 100, 15)], StreamOptions::seeded(1)).unwrap();
        let languages = LanguageCounts::from([(Some(Language::DE), 5), (None, 15)]);
        // 40 samples are two epochs: 10 of the three records, 30 of the hundred.
        let drawn = DrawnSamples::of(&mixed, &languages, 40);
        assert_eq!((drawn.samples, drawn.records, drawn.distinct), (40, 103, 33));
        assert_eq!(drawn.by_source, BTreeMap::from([("few".to_owned(), 10), ("many".to_owned(), 30)]));
        assert_eq!(drawn.by_language, BTreeMap::from([("de".to_owned(), 10), ("und".to_owned(), 30)]));
        assert_eq!((drawn.share("de"), drawn.share("fr")), (0.25, 0.0));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DrawnSamples::read(folder.path()).unwrap(), None);
        drawn.write(folder.path()).unwrap();
        assert_eq!(DrawnSamples::read(folder.path()).unwrap(), Some(drawn));
    }
}
