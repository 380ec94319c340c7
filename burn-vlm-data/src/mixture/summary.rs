//! A plan to be shown: what an epoch draws, by language and by source.

use super::config::MixtureConfig;
use super::plan::Plan;
use serde::Serialize;
use std::fmt;

/// How samples without a known language are called.
const NO_LANGUAGE: &str = "-";

/// What a plan draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanSummary {
    /// Samples of an epoch.
    pub total: u64,
    /// The draws of each source in each language, in the order of the sources and of the languages.
    pub draws: Vec<PlannedDraws>,
}

/// What is drawn of one source in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedDraws {
    /// Name of the source.
    pub source: String,
    /// The language's tag; `"-"` where it is not known.
    pub language: String,
    /// Samples drawn in an epoch.
    pub drawn: u64,
    /// Samples there are.
    pub available: u64,
}

/// Draws of several cells: the name, samples drawn, samples there are.
type Sums = Vec<(String, u64, u64)>;

impl Plan {
    /// The plan with names; `config` is what it was made of.
    pub fn summary(&self, config: &MixtureConfig) -> PlanSummary {
        let mut cells: Vec<_> = self.cells().iter().collect();
        // Those without a language last.
        cells.sort_by_key(|cell| (cell.source, cell.language.is_none(), cell.language));
        let draws = cells.into_iter().map(|cell| PlannedDraws {
            source: config.sources.get(cell.source).map_or_else(String::new, |source| source.name.clone()),
            language: cell.language.map_or(NO_LANGUAGE, |language| language.tag()).to_owned(),
            drawn: cell.draw,
            available: cell.available,
        });
        PlanSummary { total: self.len(), draws: draws.collect() }
    }
}

impl PlanSummary {
    /// Sums by language: tag, samples drawn, samples there are in the sources that it is drawn of.
    pub fn by_language(&self) -> Sums {
        self.sums(|draws| &draws.language)
    }

    /// Sums by source: name, samples drawn, samples there are in the languages that are drawn.
    pub fn by_source(&self) -> Sums {
        self.sums(|draws| &draws.source)
    }

    /// Sums by a name, in the order in which names first occur.
    fn sums(&self, name: impl Fn(&PlannedDraws) -> &String) -> Sums {
        let mut sums = Sums::new();
        for draws in &self.draws {
            match sums.iter_mut().find(|(known, ..)| known == name(draws)) {
                Some((_, drawn, available)) => {
                    *drawn += draws.drawn;
                    *available += draws.available;
                }
                None => sums.push((name(draws).clone(), draws.drawn, draws.available)),
            }
        }
        sums
    }

    /// A part of the epoch in percent.
    pub(crate) fn percent(&self, drawn: u64) -> f64 {
        100.0 * drawn as f64 / self.total.max(1) as f64
    }
}

/// Least and most characters of the column of names; longer ones stand out of it. (Widths of the formatter end at 65,535.)
const NAME_WIDTHS: [usize; 2] = [18, 60];

impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "an epoch draws {} samples", self.total)?;
        for (heading, sums) in [("language", self.by_language()), ("source", self.by_source())] {
            let widths = sums.iter().map(|(name, ..)| name.chars().count()).chain([NAME_WIDTHS[0]]);
            let width = widths.max().unwrap_or(0).min(NAME_WIDTHS[1]);
            writeln!(f, "  {heading:width$} {:>10} {:>10} {:>8}", "drawn", "of", "share")?;
            for (name, drawn, available) in sums {
                writeln!(f, "  {name:width$} {drawn:>10} {available:>10} {:>6.1} %", self.percent(drawn))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LanguageCounts;
    use super::*;
    use crate::language::Language;
    use std::path::Path;

    fn text_of(name: &str) -> String {
        format!("[[source]]\nname = \"{name}\"\npath = \"a.json\"\nformat = \"llava_json\"\n")
    }

    #[test]
    fn sums_are_those_of_the_plan() {
        let text = "total = 40\nlanguages = { list = [\"en\", \"de\"], english = \"25%\" }\n\
                    [[source]]\nname = \"a\"\npath = \"a.json\"\nformat = \"llava_json\"\n\
                    [[source]]\nname = \"b\"\npath = \"b.tar\"\nformat = \"webdataset\"\n";
        let config = MixtureConfig::from_toml(text, Path::new("mixture.toml")).unwrap();
        let a = LanguageCounts::from([(Some(Language::EN), 100), (Some(Language::DE), 60)]);
        let b = LanguageCounts::from([(Some(Language::DE), 60), (None, 7)]);
        let summary = Plan::new(&config, &[a, b]).unwrap().summary(&config);
        assert_eq!(summary.by_language(), [("en".to_owned(), 10, 100), ("de".to_owned(), 30, 120)]);
        assert_eq!(summary.by_source(), [("a".to_owned(), 25, 160), ("b".to_owned(), 15, 60)]);
        let text = summary.to_string();
        for part in ["an epoch draws 40 samples", "75.0 %", "37.5 %", "160"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(serde_json::to_value(&summary).unwrap()["draws"][2]["source"], "b");
        // Longer than a formatter's width may be.
        let long = "ä".repeat(100_000);
        let config = MixtureConfig::from_toml(&text_of(&long), Path::new("mixture.toml")).unwrap();
        let counts = LanguageCounts::from([(Some(Language::EN), 7)]);
        assert!(Plan::new(&config, &[counts]).unwrap().summary(&config).to_string().contains(&long));
    }
}
