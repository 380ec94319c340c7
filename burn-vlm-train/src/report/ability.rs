//! What backbones can do without pictures, before and after training: how measurements of single texts become estimates with intervals.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::charts::{place, step};
use super::contrasts::contrasts;
use super::summary::{GroupView, Over, round};
use super::{Column, ReportError, StudySpec};
use crate::stats::{Axes, Group, GroupKey, Measurement, Subset, Term, holm};

/// The name of the moment before training.
pub const BEFORE: &str = "before";
/// The column of all languages that are looked at.
pub const ALL: &str = "all languages";

/// What is measured of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The negative log-likelihood of held-out texts in bits per byte: less is better.
    BitsPerByte,
    /// chrF of translations, in percent.
    TranslationChrf,
    /// The share of translations that are in the language that was asked for, in percent.
    AnswerLanguage,
}

impl Measure {
    /// In the order of the report.
    pub const ALL: [Self; 3] = [Self::BitsPerByte, Self::TranslationChrf, Self::AnswerLanguage];

    /// The name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::BitsPerByte => "Likelihood of held-out text",
            Self::TranslationChrf => "Translation",
            Self::AnswerLanguage => "Answers in the language asked for",
        }
    }

    /// What a value is counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::BitsPerByte => "bits per byte, less is better",
            Self::TranslationChrf => "chrF",
            Self::AnswerLanguage => "%",
        }
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::BitsPerByte => "bits_per_byte",
            Self::TranslationChrf => "translation_chrf",
            Self::AnswerLanguage => "answer_language",
        }
    }

    /// Decimals that are shown.
    pub fn decimals(self) -> usize {
        if self == Self::BitsPerByte { 3 } else { 1 }
    }

    /// Shares are shown as percent.
    fn scale(self) -> f64 {
        if self == Self::BitsPerByte { 1.0 } else { 100.0 }
    }
}

/// What was measured of one text at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMeasurement {
    /// What.
    pub measure: Measure,
    /// The stage after which, or [`BEFORE`].
    pub stage: String,
    /// Of which run and text, with its weight.
    pub measured: Measurement,
}

/// What backbones can do without pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextSummary {
    /// The moments: `before`, then the stages.
    pub stages: Vec<String>,
    /// Stages that leave the decoder as it is in every cell: their values are those of the moment before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
    /// Values at each moment: one entry for each measure, cell, moment and column.
    pub values: Vec<TextEstimate>,
    /// The same for each language alone: `column` is its tag.
    pub languages: Vec<TextEstimate>,
    /// What each stage has changed since before training, paired over the same texts.
    pub changes: Vec<TextEstimate>,
    /// The same for each language alone.
    pub changes_by_language: Vec<TextEstimate>,
    /// By how much the change after the last stage differs from cell to cell.
    pub differences: Vec<TextDifference>,
}

/// A value or a change with its 95 % interval, in the measure's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextEstimate {
    /// The cell.
    pub axes: Axes,
    /// What is measured.
    pub measure: Measure,
    /// The moment.
    pub stage: String,
    /// The column, or the language's tag.
    pub column: String,
    /// Number of texts, for each seed.
    pub n: usize,
    /// Number of seeds that it is the mean of.
    pub seeds: usize,
    /// The mean over the column's languages.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What the interval is over.
    pub over: Over,
}

impl TextEstimate {
    /// Whether 0 lies outside the interval.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// By how much a change differs between two cells that differ in one axis, in the measure's unit: `to` minus `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextDifference {
    /// The axis in which the cells differ.
    pub axis: String,
    /// Its value on the one side.
    pub from: String,
    /// Its value on the other side.
    pub to: String,
    /// The values of the other axes.
    pub within: Axes,
    /// The values of the other axes on the other side of an interaction; null for a plain difference.
    pub against: Option<Axes>,
    /// What is measured.
    pub measure: Measure,
    /// The column.
    pub column: String,
    /// The difference.
    pub difference: f64,
    /// Lower end of its paired 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What the interval is over.
    pub over: Over,
    /// Two-sided p-value of no difference.
    pub p: f64,
    /// The same, corrected by Holm's method for all differences of the measure.
    pub p_holm: f64,
    /// How many these are.
    pub family: usize,
    /// The smallest true difference that this run would have found four times of five.
    pub detectable: f64,
}

impl TextDifference {
    /// What is compared, in words: `25 % − none, with En`.
    pub fn label(&self, spec: &StudySpec) -> String {
        let (step, place) =
            (step(spec, &self.axis, &self.from, &self.to), place(spec, &self.within, self.against.as_ref()));
        if place.is_empty() { step } else { format!("{step}, {place}") }
    }
}

/// The estimates of a study's measurements; `stages` are its moments in order.
///
/// # Errors
/// Runs that did not measure the same texts.
pub fn text_summary(
    spec: &StudySpec,
    stages: &[String],
    measurements: &[TextMeasurement],
) -> Result<TextSummary, ReportError> {
    let languages: BTreeSet<&String> = measurements.iter().map(|text| &text.measured.language).collect();
    let mut spec = spec.clone();
    spec.columns.retain(|column| column.languages.iter().all(|tag| languages.contains(tag)));
    spec.columns.push(Column {
        name: ALL.to_owned(),
        explanation: "all languages in which texts were asked about".to_owned(),
        languages: languages.into_iter().cloned().collect(),
    });
    let mut summary = TextSummary {
        stages: stages.to_vec(),
        frozen: Vec::new(),
        values: Vec::new(),
        languages: Vec::new(),
        changes: Vec::new(),
        changes_by_language: Vec::new(),
        differences: Vec::new(),
    };
    for measure in Measure::ALL {
        let at = |stage: &str| -> Vec<Measurement> {
            let here = measurements.iter().filter(|text| text.measure == measure && text.stage == stage);
            here.map(|text| text.measured.clone()).collect()
        };
        let before = at(BEFORE);
        for (number, stage) in stages.iter().enumerate() {
            let values = if stage == BEFORE { before.clone() } else { at(stage) };
            if values.is_empty() {
                continue;
            }
            let group = Group::of_measurements(measure.label(), &values)?;
            let group = if measure == Measure::BitsPerByte { group } else { group.as_shares() };
            let view = View { spec: &spec, measure, stage, group: &group };
            let (of_columns, of_languages) = view.estimates();
            summary.values.extend(of_columns);
            summary.languages.extend(of_languages);
            if stage == BEFORE {
                continue;
            }
            let changes = changes(&before, &values);
            if changes.is_empty() {
                continue;
            }
            let group = Group::of_measurements(measure.label(), &changes)?;
            let view = View { group: &group, ..view };
            let (of_columns, of_languages) = view.estimates();
            summary.changes.extend(of_columns);
            summary.changes_by_language.extend(of_languages);
            if number + 1 == stages.len() {
                summary.differences.extend(view.differences());
            }
        }
    }
    Ok(summary)
}

/// What has changed of each text of each run; texts that were not measured before are left out.
fn changes(before: &[Measurement], after: &[Measurement]) -> Vec<Measurement> {
    let key = |m: &Measurement| (m.axes.clone(), m.seed, m.language.clone(), m.group.clone());
    let before: std::collections::BTreeMap<_, f64> = before.iter().map(|m| (key(m), m.value)).collect();
    let change = |m: &Measurement| Some(Measurement { value: m.value - before.get(&key(m))?, ..m.clone() });
    after.iter().filter_map(change).collect()
}

/// One measure at one moment.
#[derive(Clone, Copy)]
struct View<'a> {
    spec: &'a StudySpec,
    measure: Measure,
    stage: &'a str,
    group: &'a Group,
}

impl View<'_> {
    /// The cells in the study's order.
    fn cells(&self) -> Vec<&Axes> {
        let mut cells: Vec<&Axes> = self.group.runs().iter().map(|run| &run.axes).collect();
        cells.sort_by_key(|axes| self.spec.cell_order(axes));
        cells.dedup();
        cells
    }

    /// In every column, and in every language alone.
    fn estimates(&self) -> (Vec<TextEstimate>, Vec<TextEstimate>) {
        let resampled = self.group.resample(&self.spec.bootstrap);
        let index = |tag: &String| self.group.languages().iter().position(|language| language == tag);
        let (mut of_columns, mut of_languages) = (Vec::new(), Vec::new());
        for axes in self.cells() {
            let runs = self.group.runs_of(axes);
            let estimate = |column: &str, languages: &[usize]| {
                let terms = [Term { weight: 1.0, runs: runs.clone() }];
                let distribution = resampled.distribution(&terms, languages)?;
                let estimate = distribution.estimate();
                let shown = |value: f64| round(value * self.measure.scale());
                Some(TextEstimate {
                    axes: axes.clone(),
                    measure: self.measure,
                    stage: self.stage.to_owned(),
                    column: column.to_owned(),
                    n: languages.iter().map(|&language| self.group.units_in(language)).sum(),
                    seeds: runs.len(),
                    value: shown(estimate.value),
                    low: shown(estimate.low),
                    high: shown(estimate.high),
                    over: Over::of(&distribution),
                })
            };
            for column in &self.spec.columns {
                let languages: Option<Vec<usize>> = column.languages.iter().map(index).collect();
                of_columns.extend(languages.and_then(|languages| estimate(&column.name, &languages)));
            }
            for (language, tag) in self.group.languages().iter().enumerate() {
                of_languages.extend(estimate(tag, &[language]));
            }
        }
        (of_columns, of_languages)
    }

    /// The differences between cells, corrected for their number.
    fn differences(&self) -> Vec<TextDifference> {
        let resampled = self.group.resample(&self.spec.bootstrap);
        let key = GroupKey { protocol: self.measure.name().to_owned(), subset: Subset::default() };
        let view = GroupView { spec: self.spec, key: &key, group: self.group, resampled: &resampled };
        let found = contrasts(&view, &self.cells());
        let p: Vec<f64> = found.iter().filter_map(|difference| Some(difference.test?.p)).collect();
        let adjusted = holm(&p);
        // Theirs are in percent.
        let shown = |value: f64| round(value / 100.0 * self.measure.scale());
        let (family, measure) = (adjusted.len(), self.measure);
        let tested = found.into_iter().filter_map(|difference| Some((difference.test?, difference)));
        let difference = |((test, found), p_holm): ((super::Test, super::Difference), f64)| TextDifference {
            difference: shown(found.difference),
            low: shown(found.low),
            high: shown(found.high),
            axis: found.axis,
            from: found.from,
            to: found.to,
            within: found.within,
            against: found.against,
            measure,
            column: found.column,
            over: test.over,
            p: round(test.p),
            p_holm: round(p_holm),
            family,
            detectable: shown(test.detectable),
        };
        tested.zip(adjusted).map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::fake;

    /// Summaries are rounded to six decimals.
    const WRITTEN: f64 = 2e-6;

    fn axes(encoder: &str, data: &str) -> Axes {
        Axes::from([("encoder".into(), encoder.into()), ("data".into(), data.into())])
    }

    /// Twenty texts of 10 bytes in two languages; before training 30 bits each, and each stage adds what `more` says.
    fn measured(axes: &Axes, seed: u64, more: impl Fn(&str) -> f64) -> Vec<TextMeasurement> {
        let mut all = Vec::new();
        for language in ["en", "de"] {
            for text in 0..20 {
                for (stage, times) in [(BEFORE, 0.0), ("align", 0.0), ("finetune", 1.0)] {
                    let spread = f64::from(text % 5);
                    let measurement = |measure, value, weight| TextMeasurement {
                        measure,
                        stage: stage.to_owned(),
                        measured: Measurement {
                            axes: axes.clone(),
                            seed,
                            language: language.to_owned(),
                            group: format!("concept {text}"),
                            value,
                            weight,
                        },
                    };
                    let bits = 28.0 + spread + times * more(language);
                    all.push(measurement(Measure::BitsPerByte, bits, 10.0));
                    all.push(measurement(Measure::TranslationChrf, 0.5 - times * 0.1 * spread, 1.0));
                }
            }
        }
        all
    }

    #[test]
    fn changes_are_paired_and_compared_between_cells() {
        let spec = fake::two_by_two();
        let mut all = Vec::new();
        for seed in [0, 1] {
            // English loses 2 bits a text everywhere; German 4, but 6 with the second encoder.
            all.extend(measured(&axes("siglip1", "en"), seed, |language| if language == "en" { 2.0 } else { 4.0 }));
            all.extend(measured(&axes("siglip2", "en"), seed, |language| if language == "en" { 2.0 } else { 6.0 }));
        }
        let stages = [BEFORE, "align", "finetune"].map(str::to_owned);
        let summary = text_summary(&spec, &stages, &all).unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < WRITTEN, "{found}, not {expected}");
        let find = |list: &[TextEstimate], measure, encoder: &str, stage: &str, column: &str| {
            let found = list.iter().find(|value| {
                value.axes == axes(encoder, "en")
                    && value.measure == measure
                    && value.stage == stage
                    && value.column == column
            });
            found.cloned().unwrap_or_else(|| panic!("{encoder} {stage} {column}"))
        };
        let bits = Measure::BitsPerByte;
        // 28 and 0 to 4 more, 30 on average, over 10 bytes.
        close(find(&summary.values, bits, "siglip1", BEFORE, "En").value, 3.0);
        close(find(&summary.languages, bits, "siglip1", "finetune", "de").value, 3.4);
        let all_languages = find(&summary.changes, bits, "siglip2", "finetune", ALL);
        // (0.2 + 0.6) / 2: every text changes by as much, so the interval has no width, whatever the texts.
        [all_languages.value, all_languages.low, all_languages.high].iter().for_each(|value| close(*value, 0.4));
        assert_eq!((all_languages.n, all_languages.seeds, all_languages.over), (40, 2, Over::ItemsAndSeeds));
        assert!(all_languages.excludes_zero());
        let frozen = find(&summary.changes, bits, "siglip1", "align", "En");
        assert_eq!([frozen.value, frozen.low, frozen.high], [0.0; 3]);
        // Columns of languages that were not asked are left out.
        assert!(summary.values.iter().all(|value| ["En", ALL].contains(&value.column.as_str())));
        let of_chrf = find(&summary.changes, Measure::TranslationChrf, "siglip1", "finetune", "En");
        close(of_chrf.value, -20.0);
        assert!(of_chrf.low < -20.0 && of_chrf.high > -20.0, "{of_chrf:?}");
        let of_all = |difference: &&TextDifference| difference.measure == bits && difference.column == ALL;
        let differences: Vec<&TextDifference> = summary.differences.iter().filter(of_all).collect();
        assert_eq!(differences.len(), 1);
        let [difference] = differences[..] else { return };
        // German alone: 0.2 of two languages.
        close(difference.difference, 0.1);
        assert_eq!((difference.from.as_str(), difference.to.as_str(), difference.family), ("siglip1", "siglip2", 2));
        assert_eq!(difference.label(&spec), "SigLIP 2 (multilingual) − SigLIP 1 (English), with En");
    }

    #[test]
    fn cells_that_were_asked_otherwise_are_refused() {
        let spec = fake::two_by_two();
        let mut all = measured(&axes("siglip1", "en"), 0, |_| 1.0);
        let mut other = measured(&axes("siglip2", "en"), 0, |_| 1.0);
        other.retain(|text| text.measured.group != "concept 3");
        all.extend(other);
        let error = text_summary(&spec, &[BEFORE.to_owned()], &all).unwrap_err().to_string();
        assert!(error.contains("`concept 3`"), "{error}");
    }
}
