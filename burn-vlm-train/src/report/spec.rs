//! What a summary needs to know about a study besides its outcomes: names, columns, protocols, the paper's own numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::eval::Metric;
use crate::stats::{Axes, Bootstrap, GroupKey};

/// A study as its summary and report present it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySpec {
    /// Name of the study, such as `encoder`.
    pub study: String,
    /// Preset it ran with, such as `tiny`.
    pub preset: String,
    /// Headline of the report.
    pub title: String,
    /// What the study asks, in one or two sentences.
    pub question: String,
    /// The axes, in the order in which they name a cell. Their values are in the order of the tables' rows.
    pub axes: Vec<Axis>,
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The protocols, in order. Outcomes of a protocol that is not listed are an error.
    pub protocols: Vec<Metric>,
    /// The group that headline, charts and first table show.
    pub headline: GroupKey,
    /// Language tags with the name to print (`de` -> `German`); tags that are missing are printed as they are.
    #[serde(default)]
    pub language_names: BTreeMap<String, String>,
    /// The paper's own numbers.
    #[serde(default)]
    pub paper: Option<Paper>,
    /// What a reader must know before anything else, at the top of everything: that the scores mean nothing.
    #[serde(default)]
    pub warning: Option<String>,
    /// BibTeX entries of the papers that the study repeats.
    #[serde(default)]
    pub citations: Vec<String>,
    /// What a reader must know before believing the numbers. Statistical caveats are added to these.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// How intervals are computed.
    #[serde(default)]
    pub bootstrap: Bootstrap,
}

/// One axis of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Key of the axis in outcomes, such as `encoder`.
    pub name: String,
    /// The name in tables and charts.
    pub label: String,
    /// Its values, the baseline first.
    pub values: Vec<AxisValue>,
}

/// One value of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisValue {
    /// The value in outcomes, such as `siglip2`.
    pub value: String,
    /// The name in tables and charts; if empty, the value.
    #[serde(default)]
    pub label: String,
}

/// A column of the tables: the macro mean over a set of languages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, such as `Multi`.
    pub name: String,
    /// What it holds, in a few words.
    pub explanation: String,
    /// Tags of its languages.
    pub languages: Vec<String>,
}

/// The numbers of the paper that a study repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Where they stand, such as `TowerVision, Table 5`.
    pub source: String,
    /// How they differ from ours in model and benchmark.
    pub note: String,
    /// The paper's settings in order, such as `2B`, `9B`.
    pub scales: Vec<String>,
    /// One row a cell.
    pub rows: Vec<PaperRow>,
}

/// The paper's numbers for one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperRow {
    /// The cell.
    pub axes: Axes,
    /// Scale -> column -> score in percent.
    pub scores: BTreeMap<String, BTreeMap<String, f64>>,
}

impl StudySpec {
    /// A cell in words: `SigLIP 2 · En + Multi`. Axes that the study does not list are left out.
    pub fn cell_label(&self, axes: &Axes) -> String {
        let labels = self.axes.iter().filter_map(|axis| axes.get(&axis.name).map(|value| axis.label_of(value)));
        labels.collect::<Vec<_>>().join(" · ")
    }

    /// The position of a cell in tables: for each axis the index of its value.
    pub fn cell_order(&self, axes: &Axes) -> Vec<usize> {
        let index = |axis: &Axis| {
            let value = axes.get(&axis.name)?;
            axis.values.iter().position(|v| v.value == *value)
        };
        self.axes.iter().map(|axis| index(axis).unwrap_or(usize::MAX)).collect()
    }

    /// The protocol of that name.
    pub fn protocol(&self, name: &str) -> Option<&Metric> {
        self.protocols.iter().find(|protocol| protocol.name == name)
    }

    /// Whether a group belongs to the headline: another protocol on the same part of its benchmark, or the same part of another. A part
    /// that only one of the two has (a caption has no distractors) does not tell them apart.
    pub fn in_headline(&self, group: &GroupKey) -> bool {
        self.headline.subset.iter().all(|(name, value)| group.subset.get(name).is_none_or(|other| other == value))
    }

    /// A group in words: `cloze · far distractors · seen concepts`.
    pub fn group_label(&self, group: &GroupKey) -> String {
        let mut parts = vec![self.protocol(&group.protocol).map_or(group.protocol.as_str(), |p| &p.label).to_owned()];
        parts.extend(group.subset.words());
        parts.join(" · ")
    }

    /// A language in words: `German (de)`, or the tag alone.
    pub fn language_label(&self, tag: &str) -> String {
        self.language_names.get(tag).map_or_else(|| tag.to_owned(), |name| format!("{name} ({tag})"))
    }

    /// The paper's number for a cell.
    pub fn paper_score(&self, axes: &Axes, scale: &str, column: &str) -> Option<f64> {
        let row = self.paper.as_ref()?.rows.iter().find(|row| row.axes == *axes)?;
        row.scores.get(scale)?.get(column).copied()
    }
}

impl Axis {
    /// The name of a value in tables; the value itself where it has none.
    pub fn label_of<'a>(&'a self, value: &'a str) -> &'a str {
        let label = self.values.iter().find(|v| v.value == value).map(|v| v.label.as_str());
        label.filter(|label| !label.is_empty()).unwrap_or(value)
    }
}
