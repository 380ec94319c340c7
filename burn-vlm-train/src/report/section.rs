//! Sections that a study adds to its report: text, tables and drawings beyond the scores.

use super::charts::Chart;
use super::heatmap::HeatMapChart;
use super::layout::{NARROW, WIDE};
use super::palette::Ink;
use super::panels::{Mark, Panel, PanelChart, Row, Scale};
use super::scatter::ScatterChart;
use super::table::{Entry, Heading, Line, Table};

/// A section, in the order in which its parts were added.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub(super) id: String,
    pub(super) title: String,
    /// What it finds, for the top of the report.
    pub(super) finding: Option<(String, String)>,
    pub(super) blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    Text(String),
    Table(Table),
    Figure { chart: Chart, caption: String },
}

/// One matrix of a heat map.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// What it shows.
    pub title: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// `[row][column]`.
    pub values: Vec<Vec<f64>>,
}

/// A panel of changes: one mark a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// What it shows.
    pub title: String,
    /// Small text beside the title.
    pub note: String,
    /// Of each row the change with the ends of its interval; none where there is none.
    pub marks: Vec<Option<[f64; 3]>>,
}

/// One map of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// What it shows.
    pub title: String,
    /// Small text below the title.
    pub note: String,
    /// The points.
    pub points: Vec<ScatterPoint>,
}

/// One point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScatterPoint {
    /// Coordinates, without unit.
    pub at: [f32; 2],
    /// Its series, which gives its colour; none is grey.
    pub series: Option<usize>,
    /// Whether it is drawn filled.
    pub filled: bool,
}

impl Section {
    /// An empty section. `id` is its anchor in the page.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), finding: None, blocks: Vec::new() }
    }

    /// What the section finds, told at the top of the report too: about what, and a sentence.
    pub fn finding(mut self, about: impl Into<String>, sentence: impl Into<String>) -> Self {
        self.finding = Some((about.into(), sentence.into()));
        self
    }

    /// Adds a paragraph.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    /// Adds a table: heading of the first column, headings of the others, and rows of a name and figures.
    pub fn table(mut self, corner: &str, columns: &[&str], rows: Vec<(String, Vec<String>)>) -> Self {
        let columns = columns.iter().map(|title| Heading { title: (*title).to_owned(), note: String::new() }).collect();
        let entry = |figure: String| Entry { figure, ..Entry::default() };
        let line = |(label, figures): (String, Vec<String>)| Line {
            label,
            series: None,
            entries: figures.into_iter().map(entry).collect(),
        };
        let rows = rows.into_iter().map(line).collect();
        self.blocks.push(Block::Table(Table { corner: corner.to_owned(), columns, rows }));
        self
    }

    /// Adds heat maps side by side, each coloured from 0 to the largest value of all. `name` is the file's, `rows` and `columns`
    /// say what stands there.
    pub fn heat_maps(mut self, name: &str, title: &str, caption: &str, maps: Vec<HeatMap>) -> Self {
        let drawing = HeatMapChart { title: title.to_owned(), subtitle: caption.to_owned(), maps };
        self.figure(name, caption, &|width| drawing.draw(width));
        self
    }

    /// Adds maps of points side by side. `series` are the colours' names; `filled` and `hollow` say what the two kinds are.
    pub fn scatters(
        mut self,
        name: &str,
        title: &str,
        caption: &str,
        (series, filled, hollow): (&[String], &str, &str),
        panels: Vec<Scatter>,
    ) -> Self {
        let drawing = ScatterChart {
            title: title.to_owned(),
            subtitle: caption.to_owned(),
            series: series.to_vec(),
            filled: filled.to_owned(),
            hollow: hollow.to_owned(),
            panels,
        };
        self.figure(name, caption, &|width| drawing.draw(width));
        self
    }

    /// Adds panels of changes with their intervals side by side, which share their rows. `name` is the file's, `axis` says what is
    /// measured and in what, to so many `decimals`.
    pub fn changes(
        mut self,
        name: &str,
        (title, caption, axis): (&str, &str, &str),
        decimals: usize,
        rows: &[String],
        panels: &[Changes],
    ) -> Self {
        let mark = |mark: &Option<[f64; 3]>| {
            mark.map(|[value, low, high]| {
                let ink = if low > 0.0 || high < 0.0 { Ink::Text } else { Ink::Muted };
                Mark { value, low, high, ink, seeds: Vec::new() }
            })
        };
        let panel = |changes: &Changes| Panel {
            title: changes.title.clone(),
            note: changes.note.clone(),
            marks: changes.marks.iter().map(mark).collect(),
        };
        let drawing = PanelChart {
            title: title.to_owned(),
            subtitle: caption.to_owned(),
            x_label: axis.to_owned(),
            rows: rows.iter().map(|label| Row { block: String::new(), label: label.clone() }).collect(),
            panels: panels.iter().map(panel).collect(),
            scale: Scale::Change { decimals },
        };
        self.figure(name, caption, &|width| drawing.draw(width));
        self
    }

    fn figure(&mut self, name: &str, caption: &str, draw: &dyn Fn(f64) -> String) {
        let chart = Chart { name: name.to_owned(), wide: draw(WIDE), narrow: draw(NARROW) };
        self.blocks.push(Block::Figure { chart, caption: caption.to_owned() });
    }

    /// Its drawings.
    pub(super) fn charts(&self) -> impl Iterator<Item = &Chart> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Figure { chart, .. } => Some(chart),
            _ => None,
        })
    }
}

impl ScatterPoint {
    pub(super) fn ink(&self) -> Ink {
        self.series.map_or(Ink::Muted, Ink::Series)
    }
}
