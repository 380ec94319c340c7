//! The charts of a study: which numbers they show, and what their titles say.

use super::contrasts::without;
use super::curves::{Curve, CurveChart, CurvePanel};
use super::layout::{NARROW, WIDE};
use super::palette::Ink;
use super::panels::{Mark, Panel, PanelChart, Row, Scale};
use super::svg::png;
use super::{Difference, ReportError, Score, StudySpec, Summary};
use crate::stats::Axes;

/// The losses of one training stage.
#[derive(Clone, Debug, PartialEq)]
pub struct LossSeries {
    /// The stage, such as `finetuning`. Each has its own panel, in the order of first appearance.
    pub stage: String,
    /// What the loss is, with its unit, such as `cross-entropy, nats per token`.
    pub unit: String,
    /// The cell; empty for a part that several cells share.
    pub axes: Axes,
    /// The name of a shared part; cells are named by their axes.
    pub name: String,
    /// The seed; the seeds of one cell have one colour.
    pub seed: Option<u64>,
    /// Step and loss, by step. Losses that are not finite are not drawn.
    pub points: Vec<(u64, f64)>,
}

/// A chart in two layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// File name without extension: `scores`, `languages`, `differences`, `losses`, and what sections add.
    pub name: String,
    /// The drawing for a page or a laptop, as an SVG document.
    pub wide: String,
    /// The drawing for a phone.
    pub narrow: String,
}

impl Chart {
    /// The wide drawing as PNG, 1,800 pixels wide.
    ///
    /// # Errors
    /// A drawing that does not parse, which would be a defect.
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        png(&self.wide)
    }
}

/// The charts of a study: scores of the headline group, the same by language, its differences, and loss curves. A chart
/// without data is left out.
pub fn charts(spec: &StudySpec, summary: &Summary, losses: &[LossSeries]) -> Vec<Chart> {
    let cells = Cells { spec, axes: summary.cell_axes() };
    let mut charts = Vec::new();
    let mut add = |name: &str, draw: &dyn Fn(f64) -> String| {
        charts.push(Chart { name: name.to_owned(), wide: draw(WIDE), narrow: draw(NARROW) });
    };
    let scores = score_chart(&cells, summary);
    add("scores", &|width| scores.draw(width));
    let languages = language_chart(&cells, summary);
    add("languages", &|width| languages.draw(width));
    if let Some(differences) = difference_chart(&cells, summary) {
        add("differences", &|width| differences.draw(width));
    }
    if let Some(losses) = loss_chart(&cells, losses) {
        add("losses", &|width| losses.draw(width));
    }
    charts
}

/// The cells in the table's order, and so their colours.
struct Cells<'a> {
    spec: &'a StudySpec,
    axes: Vec<&'a Axes>,
}

impl Cells<'_> {
    /// Rows in blocks by the first axis, if there are more.
    fn rows(&self) -> Vec<Row> {
        let row = |axes: &&Axes| match &self.spec.axes[..] {
            [first, _, ..] => Row {
                block: axes.get(&first.name).map_or("", |value| first.label_of(value)).to_owned(),
                label: self.spec.cell_label(&without(axes, &first.name)),
            },
            _ => Row { block: String::new(), label: self.spec.cell_label(axes) },
        };
        self.axes.iter().map(row).collect()
    }

    fn series(&self, axes: &Axes) -> Option<usize> {
        self.axes.iter().position(|cell| *cell == axes)
    }

    fn marks<'s>(
        &self,
        score: impl Fn(&Axes) -> Option<&'s Score>,
        seeds: impl Fn(&Axes) -> Vec<f64>,
    ) -> Vec<Option<Mark>> {
        let mark = |(series, axes): (usize, &&Axes)| {
            let Score { score, low, high, .. } = *score(axes)?;
            Some(Mark { value: score, low, high, ink: Ink::Series(series), seeds: seeds(axes) })
        };
        self.axes.iter().enumerate().map(mark).collect()
    }

    fn headline_scale(&self) -> Scale {
        Scale::Score { chance: self.spec.protocol(&self.spec.headline.protocol).and_then(|protocol| protocol.chance) }
    }
}

/// What the axis of scores measures.
fn score_axis(scale: Scale) -> String {
    match scale {
        // Where guessing has a chance, a question is right or wrong.
        Scale::Score { chance: Some(_) } => "score, % of questions right".to_owned(),
        _ => "score, %".to_owned(),
    }
}

fn score_chart(cells: &Cells<'_>, summary: &Summary) -> PanelChart {
    let spec = cells.spec;
    let panel = |column: &super::Column| {
        let score = |axes: &Axes| summary.score(&spec.headline, axes, &column.name);
        let n = cells.axes.iter().find_map(|axes| score(axes)).map_or(0, |score| score.n);
        Panel {
            title: column.name.clone(),
            note: format!("N = {n}"),
            marks: cells.marks(score, |axes| summary.seed_scores(&spec.headline, axes, &column.name)),
        }
    };
    PanelChart {
        title: format!("Score of each cell: {}", spec.group_label(&spec.headline)),
        subtitle: format!("{} · study {}, preset {}", spec.title, spec.study, spec.preset),
        x_label: score_axis(cells.headline_scale()),
        rows: cells.rows(),
        panels: spec.columns.iter().map(panel).collect(),
        scale: cells.headline_scale(),
    }
}

fn language_chart(cells: &Cells<'_>, summary: &Summary) -> PanelChart {
    let spec = cells.spec;
    let panel = |tag: &String| {
        let of_tag = |s: &&Score| s.column == *tag && s.group() == spec.headline;
        let score = |axes: &Axes| summary.languages.iter().filter(of_tag).find(|s| s.axes == *axes);
        let n = cells.axes.iter().find_map(|axes| score(axes)).map_or(0, |score| score.n);
        let title = spec.language_names.get(tag).unwrap_or(tag).clone();
        Panel { title, note: format!("N = {n}"), marks: cells.marks(score, |_| Vec::new()) }
    };
    PanelChart {
        title: format!("Score by language: {}", spec.group_label(&spec.headline)),
        subtitle: format!("The same questions in every language. Study {}, preset {}", spec.study, spec.preset),
        x_label: score_axis(cells.headline_scale()),
        rows: cells.rows(),
        panels: ordered_languages(spec, summary).iter().map(panel).collect(),
        scale: cells.headline_scale(),
    }
}

/// The languages of the headline group: those of the columns in their order, then the rest.
pub(super) fn ordered_languages(spec: &StudySpec, summary: &Summary) -> Vec<String> {
    let of_columns = spec.columns.iter().flat_map(|column| &column.languages);
    let scored = summary.languages.iter().filter(|score| score.group() == spec.headline).map(|score| &score.column);
    let mut languages: Vec<String> = Vec::new();
    for tag in of_columns.chain(scored) {
        if !languages.contains(tag) {
            languages.push(tag.clone());
        }
    }
    languages
}

fn difference_chart(cells: &Cells<'_>, summary: &Summary) -> Option<PanelChart> {
    let spec = cells.spec;
    let of_headline: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == spec.headline).collect();
    let mut kinds: Vec<&Difference> = Vec::new();
    for difference in &of_headline {
        if !kinds.iter().any(|known| known.same_cells(difference)) {
            kinds.push(difference);
        }
    }
    if kinds.is_empty() {
        return None;
    }
    let panel = |column: &super::Column| {
        let mark = |kind: &&Difference| {
            let found = of_headline.iter().find(|d| d.same_cells(kind) && d.column == column.name)?;
            let (value, low, high) = (found.difference, found.low, found.high);
            let ink = if found.excludes_zero { Ink::Text } else { Ink::Muted };
            Some(Mark { value, low, high, ink, seeds: Vec::new() })
        };
        Panel { title: column.name.clone(), note: String::new(), marks: kinds.iter().map(mark).collect() }
    };
    let row = |kind: &&Difference| match kind.place(spec) {
        place if place.is_empty() => Row { block: String::new(), label: kind.step(spec) },
        place => Row { block: kind.step(spec), label: place },
    };
    Some(PanelChart {
        title: format!("Differences between cells: {}", spec.group_label(&spec.headline)),
        subtitle: format!("Paired over the same questions. Study {}, preset {}", spec.study, spec.preset),
        x_label: "difference, percentage points".to_owned(),
        rows: kinds.iter().map(row).collect(),
        panels: spec.columns.iter().map(panel).collect(),
        scale: Scale::Difference,
    })
}

impl Difference {
    /// Whether it compares the same cells, whatever the column and the protocol.
    pub fn same_cells(&self, other: &Self) -> bool {
        self.axis == other.axis
            && self.from == other.from
            && self.to == other.to
            && self.within == other.within
            && self.against == other.against
    }

    /// What is compared, in words: `SigLIP 2 − SigLIP 1, with En`.
    pub fn label(&self, spec: &StudySpec) -> String {
        let (step, place) = (self.step(spec), self.place(spec));
        if place.is_empty() { step } else { format!("{step}, {place}") }
    }

    /// The two values that are compared: `SigLIP 2 − SigLIP 1`.
    pub(super) fn step(&self, spec: &StudySpec) -> String {
        step(spec, &self.axis, &self.from, &self.to)
    }

    /// The values of the other axes: `with En`, for an interaction `change from En to En + Multi`. Empty without other axes.
    pub(super) fn place(&self, spec: &StudySpec) -> String {
        place(spec, &self.within, self.against.as_ref())
    }
}

/// Two values of an axis that are compared, in words.
pub(super) fn step(spec: &StudySpec, axis: &str, from: &str, to: &str) -> String {
    let value = |value: &str| {
        let axis = spec.axes.iter().find(|known| known.name == axis);
        axis.map_or(value, |axis| axis.label_of(value)).to_owned()
    };
    format!("{} − {}", value(to), value(from))
}

/// The values of the other axes, in words.
pub(super) fn place(spec: &StudySpec, within: &Axes, against: Option<&Axes>) -> String {
    let within = spec.cell_label(within);
    match against {
        Some(against) => format!("change from {within} to {}", spec.cell_label(against)),
        None if within.is_empty() => within,
        None => format!("with {within}"),
    }
}

fn loss_chart(cells: &Cells<'_>, losses: &[LossSeries]) -> Option<CurveChart> {
    let mut panels: Vec<CurvePanel> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for series in losses.iter().filter(|series| !series.points.is_empty()) {
        let at = panels.iter().position(|panel| panel.title == series.stage).unwrap_or(panels.len());
        if at == panels.len() {
            let (title, unit) = (series.stage.clone(), series.unit.clone());
            panels.push(CurvePanel { title, unit, curves: Vec::new() });
        }
        let (label, colour) = match cells.series(&series.axes) {
            Some(colour) => (cells.spec.cell_label(&series.axes), colour),
            None => {
                // Parts that cells share take the colours after theirs.
                let index = others.iter().position(|name| *name == series.name).unwrap_or(others.len());
                if index == others.len() {
                    others.push(&series.name);
                }
                (series.name.clone(), cells.axes.len() + index)
            }
        };
        let finite = series.points.iter().filter(|(_, loss)| loss.is_finite());
        let points = finite.map(|(step, loss)| (*step as f64, *loss)).collect();
        panels[at].curves.push(Curve { label, series: colour, points });
    }
    (!panels.is_empty()).then(|| CurveChart {
        title: "Training loss".to_owned(),
        subtitle: format!(
            "Smoothed over about 2 % of the steps; faint lines are the losses as logged. Study {}, preset {}",
            cells.spec.study, cells.spec.preset
        ),
        panels,
    })
}
