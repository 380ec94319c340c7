//! `summary.json`: the scores of a study for programs, and how they follow from outcomes.
//!
//! Scores are percent, rounded to two decimals after everything has been computed, so that the same outcomes give the same
//! bytes on every machine.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contrasts::contrasts;
use super::{ReportError, StageSummary, StudySpec, TextSummary};
use crate::stats::{
    Axes, Distribution, Estimate, Group, GroupKey, Outcome, Resampled, Scores, SeedsNeeded, Spread, Subset, Term, holm,
    kendall,
};

/// The scores of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the study.
    pub study: String,
    /// Preset it ran with.
    pub preset: String,
    /// What a reader must know before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Mean over seeds: one entry for each group, cell and column.
    pub table: Vec<Score>,
    /// The same for each seed alone.
    pub cells: Vec<Score>,
    /// Mean over seeds for each language alone: `column` is its tag.
    pub languages: Vec<Score>,
    /// Paired differences between cells.
    pub differences: Vec<Difference>,
    /// How far the cells' order is the paper's, for each of its settings and columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paper_order: Vec<PaperOrder>,
    /// The headline's questions answered without their picture, mean over seeds: one entry for each cell and column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<Score>,
    /// What the stages of each cell and seed were trained on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageSummary>,
    /// What the backbones can do without pictures, before and after training; none where that was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSummary>,
    /// Where the numbers come from.
    pub provenance: Provenance,
}

/// One score, in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The cell.
    pub axes: Axes,
    /// The column, or the language's tag.
    pub column: String,
    /// How questions were asked and scored.
    pub protocol: String,
    /// Which part of the benchmark, one key a part; none where it has no parts.
    #[serde(flatten)]
    pub subset: Subset,
    /// Number of questions it rests on, for each seed.
    pub n: usize,
    /// Number of seeds it is the mean of.
    pub seeds: usize,
    /// The macro mean over the column's languages.
    pub score: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What the interval is over; none in summaries of before there were two kinds, whose intervals are over items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// The score of guessing; null where guessing means nothing.
    pub chance: Option<f64>,
    /// The seed, in the entries of `cells`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A paired difference between two cells that differ in one axis, in percentage points: `to` minus `from`, within the other
/// axes' values. With `against`, how much that difference changes: the one at `against` minus the one at `within`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
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
    /// The column.
    pub column: String,
    /// How questions were asked and scored.
    pub protocol: String,
    /// Which part of the benchmark, one key a part; none where it has no parts.
    #[serde(flatten)]
    pub subset: Subset,
    /// Number of questions each side answered, for each seed.
    pub n: usize,
    /// Number of seeds of the side that has fewest.
    pub seeds: usize,
    /// The difference in percentage points.
    pub difference: f64,
    /// Lower end of its paired 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether 0 lies outside the interval.
    pub excludes_zero: bool,
    /// What else its replicates tell; none in earlier summaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
}

/// What an interval is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// What is asked about alone: how far a score may move with other concepts or pictures.
    Items,
    /// That and seeds together: how far it may move with another training run, too.
    ItemsAndSeeds,
}

/// A difference as a test of the hypothesis that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// What the interval is over.
    pub over: Over,
    /// Standard error in percentage points.
    pub standard_error: f64,
    /// Two-sided p-value.
    pub p: f64,
    /// The same, corrected for the comparisons of its family by Holm's method.
    pub p_holm: f64,
    /// Number of comparisons that it was corrected for: those of all protocols of the headline, or of its own table.
    pub family: usize,
    /// The smallest true difference, in percentage points, that this run would have found four times of five.
    pub detectable: f64,
    /// How many seeds would give a standard error of one percentage point; null where that cannot be told, or where no number of seeds
    /// does.
    pub seeds_for_one_point: Option<u64>,
    /// The standard error that the choice of questions leaves however many seeds there are; with one seed null.
    pub standard_error_of_items: Option<f64>,
}

/// How far the cells' order is the paper's: Kendall's tau-b, of the headline's scores and the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperOrder {
    /// The paper's setting.
    pub scale: String,
    /// The column.
    pub column: String,
    /// Number of cells that both have.
    pub cells: usize,
    /// 1 for the same order, -1 for the reverse.
    pub tau: f64,
    /// Exact two-sided p-value; null for more than nine cells.
    pub p: Option<f64>,
    /// The smallest p-value that so many cells can have; null for more than nine.
    pub least_p: Option<f64>,
}

/// Where the numbers of a summary come from. What is not known stays empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The command that made them.
    pub command: String,
    /// Version of the code.
    pub commit: String,
    /// Backend and machine.
    pub device: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// When it was finished, such as `2026-05-01T12:00:00Z`.
    pub finished: String,
    /// Seconds of each part, in order.
    pub times: Vec<Timing>,
    /// The recipe as TOML.
    pub recipe: String,
    /// Anything else: file hashes, versions.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// How long a part took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The part.
    pub name: String,
    /// Seconds.
    pub seconds: f64,
}

impl Over {
    /// What it is over, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Items => "concepts",
            Self::ItemsAndSeeds => "concepts and seeds",
        }
    }

    pub(super) fn of(distribution: &Distribution) -> Self {
        if distribution.over_seeds() { Self::ItemsAndSeeds } else { Self::Items }
    }
}

/// One percentage point, as a share.
const ONE_POINT: f64 = 0.01;

impl Test {
    /// Of a difference by itself: corrected once all of its family are known.
    pub(super) fn of(distribution: &Distribution, spread: Option<Spread>) -> Self {
        let p = distribution.p();
        let seeds = spread.map_or(SeedsNeeded::Unknown, |spread| spread.seeds_for(ONE_POINT));
        let several = spread.filter(|spread| spread.between_seeds.is_some());
        Self {
            over: Over::of(distribution),
            standard_error: round(100.0 * distribution.standard_error()),
            p,
            p_holm: p,
            family: 1,
            detectable: round(100.0 * distribution.detectable()),
            seeds_for_one_point: if let SeedsNeeded::Seeds(seeds) = seeds { Some(seeds) } else { None },
            standard_error_of_items: several.map(|spread| round(100.0 * spread.units.sqrt())),
        }
    }
}

impl Score {
    /// The group it belongs to.
    pub fn group(&self) -> GroupKey {
        GroupKey { protocol: self.protocol.clone(), subset: self.subset.clone() }
    }
}

impl Difference {
    /// The group it belongs to.
    pub fn group(&self) -> GroupKey {
        GroupKey { protocol: self.protocol.clone(), subset: self.subset.clone() }
    }
}

impl Summary {
    /// The groups in the table's order.
    pub fn groups(&self) -> Vec<GroupKey> {
        let mut groups = Vec::new();
        for score in &self.table {
            let group = score.group();
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    /// The cells in the table's order.
    pub fn cell_axes(&self) -> Vec<&Axes> {
        let mut cells: Vec<&Axes> = Vec::new();
        for score in &self.table {
            if !cells.contains(&&score.axes) {
                cells.push(&score.axes);
            }
        }
        cells
    }

    /// The mean over seeds.
    pub fn score(&self, group: &GroupKey, axes: &Axes, column: &str) -> Option<&Score> {
        self.table.iter().find(|s| s.axes == *axes && s.column == column && s.group() == *group)
    }

    /// The scores of the single seeds.
    pub fn seed_scores(&self, group: &GroupKey, axes: &Axes, column: &str) -> Vec<f64> {
        let of_cell = self.cells.iter().filter(|s| s.axes == *axes && s.column == column && s.group() == *group);
        of_cell.map(|s| s.score).collect()
    }
}

/// With fewer replicates, a 2.5th percentile rests on less than three of them.
const LEAST_REPLICATES: usize = 100;

/// Scores, intervals and paired differences of a study.
///
/// Rows are in the study's order of protocols, axes and columns, whatever the order of `outcomes`, which may be a stream.
///
/// # Errors
/// - fewer than 100 bootstrap replicates;
/// - outcomes of an axis, value or protocol the study does not list;
/// - a headline without outcomes, or with a column of which a language has none; a column of which another protocol lacks a
///   language is absent from its rows;
/// - scores outside `0..=1`, or runs that did not answer the same questions.
pub fn summarise<I>(spec: &StudySpec, outcomes: I, provenance: Provenance) -> Result<Summary, ReportError>
where
    I: IntoIterator,
    I::Item: Borrow<Outcome>,
{
    if spec.bootstrap.replicates < LEAST_REPLICATES {
        return Err(ReportError::TooFewReplicates { found: spec.bootstrap.replicates, least: LEAST_REPLICATES });
    }
    let scores = Scores::collect(outcomes)?;
    let mut groups: Vec<(&GroupKey, &Group)> = scores.groups().collect();
    check(spec, &groups)?;
    groups.sort_by_key(|(key, _)| group_order(spec, key));
    let mut summary = Summary {
        study: spec.study.clone(),
        preset: spec.preset.clone(),
        warning: spec.warning.clone(),
        table: Vec::new(),
        cells: Vec::new(),
        languages: Vec::new(),
        differences: Vec::new(),
        paper_order: Vec::new(),
        blind: Vec::new(),
        stages: Vec::new(),
        text: None,
        provenance,
    };
    for (key, group) in groups {
        let resampled = group.resample(&spec.bootstrap);
        let view = GroupView { spec, key, group, resampled: &resampled };
        let cells = view.cells();
        for &axes in &cells {
            let runs = group.runs_of(axes);
            for column in &spec.columns {
                let Some(languages) = view.column(column) else { continue };
                summary.table.extend(view.score(axes, &column.name, &languages, &runs, None));
                for &run in &runs {
                    let seed = Some(group.runs()[run].seed);
                    summary.cells.extend(view.score(axes, &column.name, &languages, &[run], seed));
                }
            }
            for (language, tag) in group.languages().iter().enumerate() {
                summary.languages.extend(view.score(axes, tag, &[language], &runs, None));
            }
        }
        summary.differences.extend(contrasts(&view, &cells));
    }
    correct(spec, &mut summary.differences);
    summary.paper_order = paper_order(spec, &summary);
    Ok(summary)
}

/// The headline's scores without pictures, by the outcomes of the text alone; none where it was not asked.
///
/// # Errors
/// As [`summarise`].
pub fn blind_scores(spec: &StudySpec, outcomes: Vec<Outcome>) -> Result<Vec<Score>, ReportError> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let scores = Scores::collect(outcomes)?;
    let Some(group) = scores.group(&spec.headline) else { return Ok(Vec::new()) };
    let resampled = group.resample(&spec.bootstrap);
    let view = GroupView { spec, key: &spec.headline, group, resampled: &resampled };
    let mut found = Vec::new();
    for axes in view.cells() {
        let runs = group.runs_of(axes);
        for column in &spec.columns {
            let Some(languages) = view.column(column) else { continue };
            found.extend(view.score(axes, &column.name, &languages, &runs, None));
        }
    }
    Ok(found)
}

/// Holm's p-values. One family is all differences of the headline, whatever the protocol; every other group is one by itself.
fn correct(spec: &StudySpec, differences: &mut [Difference]) {
    let mut families: Vec<(GroupKey, Vec<usize>)> = Vec::new();
    for (index, difference) in differences.iter().enumerate() {
        let group = difference.group();
        let family = if spec.in_headline(&group) { spec.headline.clone() } else { group };
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push(index),
            None => families.push((family, vec![index])),
        }
    }
    for (_, members) in families {
        let p: Vec<f64> = members.iter().filter_map(|&index| Some(differences[index].test?.p)).collect();
        let adjusted = holm(&p);
        let tests = members.iter().zip(&adjusted);
        for (&index, adjusted) in tests {
            if let Some(test) = &mut differences[index].test {
                (test.p, test.p_holm, test.family) = (round(test.p), round(*adjusted), members.len());
            }
        }
    }
}

/// Kendall's tau of the cells' headline scores and the paper's, for each of the paper's settings and columns.
fn paper_order(spec: &StudySpec, summary: &Summary) -> Vec<PaperOrder> {
    let mut orders = Vec::new();
    let cells = summary.cell_axes();
    for scale in spec.paper.iter().flat_map(|paper| &paper.scales) {
        for column in &spec.columns {
            let both = |axes: &&Axes| {
                let ours = summary.score(&spec.headline, axes, &column.name)?.score;
                Some((ours, spec.paper_score(axes, scale, &column.name)?))
            };
            let (ours, theirs): (Vec<f64>, Vec<f64>) = cells.iter().filter_map(both).unzip();
            orders.extend(kendall(&ours, &theirs).map(|found| PaperOrder {
                scale: scale.clone(),
                column: column.name.clone(),
                cells: found.n,
                tau: round(found.tau),
                p: found.p.map(round),
                least_p: found.least_p.map(round),
            }));
        }
    }
    orders
}

/// The headline first, then by protocol as listed, then those parts that differ least from the headline's: by the last part
/// (seen before unseen), then the one before it (far before near).
fn group_order(spec: &StudySpec, key: &GroupKey) -> (bool, usize, Vec<(bool, String)>) {
    let protocol = spec.protocols.iter().position(|p| p.name == key.protocol).unwrap_or(usize::MAX);
    let part = |(name, value): (&str, &str)| (spec.headline.subset.get(name) != Some(value), value.to_owned());
    (*key != spec.headline, protocol, key.subset.iter().rev().map(part).collect())
}

fn check(spec: &StudySpec, groups: &[(&GroupKey, &Group)]) -> Result<(), ReportError> {
    let unknown = |what: String, name: &str, known: Vec<&str>| ReportError::Unknown {
        what,
        name: name.to_owned(),
        study: spec.study.clone(),
        known: known.join(", "),
    };
    for (key, group) in groups {
        if spec.protocol(&key.protocol).is_none() {
            let known = spec.protocols.iter().map(|p| p.name.as_str()).collect();
            return Err(unknown("protocol".to_owned(), &key.protocol, known));
        }
        for run in group.runs() {
            for (name, value) in &run.axes {
                let Some(axis) = spec.axes.iter().find(|axis| axis.name == *name) else {
                    return Err(unknown("axis".to_owned(), name, spec.axes.iter().map(|a| a.name.as_str()).collect()));
                };
                if !axis.values.iter().any(|v| v.value == *value) {
                    let known = axis.values.iter().map(|v| v.value.as_str()).collect();
                    return Err(unknown(format!("value of the axis `{name}`"), value, known));
                }
            }
            if let Some(axis) = spec.axes.iter().find(|axis| !run.axes.contains_key(&axis.name)) {
                return Err(ReportError::AxisMissing { study: spec.study.clone(), axis: axis.name.clone() });
            }
        }
        for column in &spec.columns {
            // Other groups leave a column out if they lack one of its languages.
            let missing = column.languages.iter().find(|tag| !group.languages().contains(tag));
            if let Some(language) = missing.filter(|_| **key == spec.headline) {
                return Err(ReportError::LanguageMissing {
                    group: key.to_string(),
                    column: column.name.clone(),
                    language: (*language).clone(),
                });
            }
        }
    }
    if !groups.iter().any(|(key, _)| **key == spec.headline) {
        return Err(ReportError::HeadlineMissing {
            headline: spec.headline.to_string(),
            known: groups.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join("; "),
        });
    }
    Ok(())
}

/// One group while its scores are read off.
pub(super) struct GroupView<'a> {
    pub spec: &'a StudySpec,
    pub key: &'a GroupKey,
    pub group: &'a Group,
    pub resampled: &'a Resampled<'a>,
}

impl<'a> GroupView<'a> {
    /// The cells in the study's order.
    fn cells(&self) -> Vec<&'a Axes> {
        let mut cells: Vec<&Axes> = self.group.runs().iter().map(|run| &run.axes).collect();
        cells.sort_by_key(|axes| self.spec.cell_order(axes));
        cells.dedup();
        cells
    }

    /// The indices of a column's languages; none if one has no question: the mean would be of other languages.
    pub fn column(&self, column: &super::Column) -> Option<Vec<usize>> {
        let index = |tag: &String| self.group.languages().iter().position(|language| language == tag);
        column.languages.iter().map(index).collect()
    }

    /// The number of questions in these languages.
    pub fn questions(&self, languages: &[usize]) -> usize {
        languages.iter().map(|&language| self.group.questions(language)).sum()
    }

    fn score(
        &self,
        axes: &Axes,
        column: &str,
        languages: &[usize],
        runs: &[usize],
        seed: Option<u64>,
    ) -> Option<Score> {
        let distribution = self.resampled.distribution(&[Term { weight: 1.0, runs: runs.to_vec() }], languages)?;
        let Estimate { value, low, high } = percent(distribution.estimate());
        Some(Score {
            axes: axes.clone(),
            column: column.to_owned(),
            protocol: self.key.protocol.clone(),
            subset: self.key.subset.clone(),
            n: self.questions(languages),
            seeds: runs.len(),
            score: value,
            low,
            high,
            over: Some(Over::of(&distribution)),
            chance: self.spec.protocol(&self.key.protocol).and_then(|protocol| protocol.chance).map(round),
            seed,
        })
    }
}

/// A share as percent.
pub(super) fn percent(estimate: Estimate) -> Estimate {
    Estimate {
        value: round(100.0 * estimate.value),
        low: round(100.0 * estimate.low),
        high: round(100.0 * estimate.high),
    }
}

/// Without the noise of sums in another order, with digits enough that what is printed from it is not rounded twice, and never `-0`.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6 + 0.0
}
