//! The tables of a study, before they become Markdown or HTML.

use super::charts::ordered_languages;
use super::panels::{plain, signed};
use super::{Difference, Score, StudySpec, Summary};
use crate::stats::{Axes, GroupKey};

/// A table of text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// Heading of the first column.
    pub corner: String,
    pub columns: Vec<Heading>,
    pub rows: Vec<Line>,
}

/// A column's heading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heading {
    pub title: String,
    /// Small text below it.
    pub note: String,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub label: String,
    /// The colour the cell has in charts.
    pub series: Option<usize>,
    pub entries: Vec<Entry>,
}

/// One entry: a figure and what stands small beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub figure: String,
    pub detail: String,
    pub strong: bool,
}

impl Entry {
    /// A figure alone.
    pub fn plain(figure: String) -> Self {
        Self { figure, ..Self::default() }
    }

    fn score(score: Option<&Score>) -> Self {
        score.map_or_else(Self::none, |s| Self {
            figure: format!("{:.1}", s.score),
            detail: format!("{:.1}–{:.1}", s.low, s.high),
            strong: false,
        })
    }

    fn difference(difference: Option<&Difference>) -> Self {
        difference.map_or_else(Self::none, |d| Self {
            figure: signed(d.difference),
            detail: format!("{} to {}", signed(d.low), signed(d.high)),
            strong: d.excludes_zero,
        })
    }

    /// With what it is as a test: p-value, corrected p-value, smallest difference that would have been found.
    fn tested(difference: Option<&Difference>) -> Self {
        let mut entry = Self::difference(difference);
        if let Some(test) = difference.and_then(|difference| difference.test) {
            let (p, holm) = (p_value(test.p), p_value(test.p_holm));
            entry.detail = format!("{}; p {p}, Holm {holm}, MDE {:.1}", entry.detail, test.detectable);
        }
        entry
    }

    fn none() -> Self {
        Self::plain("–".to_owned())
    }
}

/// Cells x columns of one group, with intervals. Columns without scores are left out.
pub(super) fn scores(spec: &StudySpec, summary: &Summary, group: &GroupKey) -> Table {
    let any = |column: &super::Column| {
        summary.table.iter().find(|score| score.column == column.name && score.group() == *group)
    };
    let scored: Vec<(&super::Column, usize)> =
        spec.columns.iter().filter_map(|column| any(column).map(|score| (column, score.n))).collect();
    let heading =
        |(column, n): &(&super::Column, usize)| Heading { title: column.name.clone(), note: format!("N = {n}") };
    by_cell(spec, summary, scored.iter().map(heading).collect(), |axes| {
        scored.iter().map(|(column, _)| Entry::score(summary.score(group, axes, &column.name))).collect()
    })
}

/// Cells x columns of the headline without pictures; none where that was not asked.
pub(super) fn blind(spec: &StudySpec, summary: &Summary) -> Option<Table> {
    summary.blind.first()?;
    let find = |axes: &Axes, column: &str| summary.blind.iter().find(|s| s.axes == *axes && s.column == column);
    Some(by_cell(spec, summary, plain_headings(spec), |axes| {
        spec.columns.iter().map(|column| Entry::score(find(axes, &column.name))).collect()
    }))
}

/// Cells x columns of the headline, each seed by itself; none with a single seed.
pub(super) fn seeds(spec: &StudySpec, summary: &Summary) -> Option<Table> {
    if summary.table.iter().all(|score| score.seeds < 2) {
        return None;
    }
    let entry = |axes: &Axes, column: &str| {
        let scores = summary.seed_scores(&spec.headline, axes, column);
        let text: Vec<String> = scores.iter().map(|score| format!("{score:.1}")).collect();
        Entry::plain(text.join(" / "))
    };
    Some(by_cell(spec, summary, plain_headings(spec), |axes| {
        spec.columns.iter().map(|column| entry(axes, &column.name)).collect()
    }))
}

/// Cells x languages of the headline.
pub(super) fn languages(spec: &StudySpec, summary: &Summary) -> Table {
    let languages = ordered_languages(spec, summary);
    let find = |axes: Option<&Axes>, tag: &str| {
        let of_language = summary.languages.iter().filter(|s| s.column == *tag && s.group() == spec.headline);
        of_language.into_iter().find(|s| axes.is_none_or(|axes| s.axes == *axes))
    };
    let heading = |tag: &String| Heading {
        title: spec.language_names.get(tag).unwrap_or(tag).clone(),
        note: format!("N = {}", find(None, tag).map_or(0, |score| score.n)),
    };
    by_cell(spec, summary, languages.iter().map(heading).collect(), |axes| {
        languages.iter().map(|tag| Entry::score(find(Some(axes), tag))).collect()
    })
}

/// Differences x columns of one group; none without differences.
pub(super) fn differences(spec: &StudySpec, summary: &Summary, group: &GroupKey) -> Option<Table> {
    let of_group: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == *group).collect();
    let mut rows: Vec<Line> = Vec::new();
    for (i, kind) in of_group.iter().enumerate() {
        if of_group[..i].iter().any(|known| known.same_cells(kind)) {
            continue;
        }
        let find = |column: &str| of_group.iter().find(|d| d.same_cells(kind) && d.column == column).copied();
        let entries = spec.columns.iter().map(|column| Entry::tested(find(&column.name)));
        rows.push(Line { label: kind.label(spec), series: None, entries: entries.collect() });
    }
    let table = Table { corner: "Difference".to_owned(), columns: plain_headings(spec), rows };
    (!table.rows.is_empty()).then_some(table)
}

/// The paper's scores beside ours; none without a paper.
pub(super) fn paper(spec: &StudySpec, summary: &Summary) -> Option<Table> {
    let places = paper_places(spec)?;
    let theirs =
        places.iter().map(|(scale, column)| Heading { title: format!("{scale} {column}"), note: "paper".to_owned() });
    let ours = ours_headings(spec);
    Some(by_cell(spec, summary, theirs.chain(ours).collect(), |axes| {
        let theirs = places.iter().map(|(scale, column)| {
            let score = spec.paper_score(axes, scale, column);
            score.map_or_else(Entry::none, |score| Entry::plain(plain(score)))
        });
        let ours = spec.columns.iter().map(|c| Entry::score(summary.score(&spec.headline, axes, &c.name)));
        theirs.chain(ours).collect()
    }))
}

/// The paper's differences beside ours: the mechanism, which can be compared where absolute scores cannot.
pub(super) fn paper_differences(spec: &StudySpec, summary: &Summary) -> Option<Table> {
    let places = paper_places(spec)?;
    let of_headline: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == spec.headline).collect();
    let mut rows: Vec<Line> = Vec::new();
    for (i, kind) in of_headline.iter().enumerate() {
        if of_headline[..i].iter().any(|known| known.same_cells(kind)) {
            continue;
        }
        let theirs: Vec<Option<f64>> =
            places.iter().map(|(scale, column)| paper_difference(spec, kind, scale, column)).collect();
        if theirs.iter().all(Option::is_none) {
            continue;
        }
        let find = |column: &str| of_headline.iter().find(|d| d.same_cells(kind) && d.column == column).copied();
        let ours = spec.columns.iter().map(|column| Entry::difference(find(&column.name)));
        let theirs = theirs.into_iter().map(|value| value.map_or_else(Entry::none, |v| Entry::plain(signed(v))));
        rows.push(Line { label: kind.label(spec), series: None, entries: theirs.chain(ours).collect() });
    }
    let theirs =
        places.iter().map(|(scale, column)| Heading { title: format!("{scale} {column}"), note: "paper".to_owned() });
    let columns = theirs.chain(ours_headings(spec)).collect();
    let table = Table { corner: "Difference".to_owned(), columns, rows };
    (!table.rows.is_empty()).then_some(table)
}

/// How far the cells' order is the paper's; none without a paper.
pub(super) fn paper_order(summary: &Summary) -> Option<Table> {
    let heading = |title: &str| Heading { title: title.to_owned(), note: String::new() };
    let probability = |p: Option<f64>| p.map_or_else(Entry::none, |p| Entry::plain(p_value(p)));
    let row = |order: &super::PaperOrder| Line {
        label: format!("{} {}", order.scale, order.column).trim().to_owned(),
        series: None,
        entries: vec![
            Entry::plain(format!("{:.2}", order.tau + 0.0).replace('-', "−")),
            Entry::plain(order.cells.to_string()),
            probability(order.p),
            probability(order.least_p),
        ],
    };
    let columns = ["Kendall's tau", "Cells", "p, exact", "smallest possible p"].map(heading).to_vec();
    let rows: Vec<Line> = summary.paper_order.iter().map(row).collect();
    (!rows.is_empty()).then(|| Table { corner: "Order of the cells, as the paper has it".to_owned(), columns, rows })
}

/// A p-value with three decimals; `< 0.001` below.
pub(super) fn p_value(p: f64) -> String {
    match p {
        ..0.0005 => "< 0.001".to_owned(),
        _ => format!("{p:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

fn paper_difference(spec: &StudySpec, kind: &Difference, scale: &str, column: &str) -> Option<f64> {
    let score = |value: &str, rest: &Axes| {
        let mut axes = rest.clone();
        axes.insert(kind.axis.clone(), value.to_owned());
        spec.paper_score(&axes, scale, column)
    };
    let step = |rest: &Axes| Some(score(&kind.to, rest)? - score(&kind.from, rest)?);
    match &kind.against {
        Some(against) => Some(step(against)? - step(&kind.within)?),
        None => step(&kind.within),
    }
}

/// The (scale, column) pairs the paper has numbers for.
fn paper_places(spec: &StudySpec) -> Option<Vec<(String, String)>> {
    let paper = spec.paper.as_ref()?;
    let mut places = Vec::new();
    for scale in &paper.scales {
        for column in &spec.columns {
            let has =
                |row: &super::PaperRow| row.scores.get(scale).is_some_and(|scores| scores.contains_key(&column.name));
            if paper.rows.iter().any(has) {
                places.push((scale.clone(), column.name.clone()));
            }
        }
    }
    (!places.is_empty()).then_some(places)
}

fn ours_headings(spec: &StudySpec) -> Vec<Heading> {
    let heading =
        |column: &super::Column| Heading { title: column.name.clone(), note: format!("ours, {}", spec.preset) };
    spec.columns.iter().map(heading).collect()
}

fn plain_headings(spec: &StudySpec) -> Vec<Heading> {
    spec.columns.iter().map(|column| Heading { title: column.name.clone(), note: String::new() }).collect()
}

fn by_cell(spec: &StudySpec, summary: &Summary, columns: Vec<Heading>, entries: impl Fn(&Axes) -> Vec<Entry>) -> Table {
    let line = |(series, axes): (usize, &Axes)| Line {
        label: spec.cell_label(axes),
        series: Some(series),
        entries: entries(axes),
    };
    let corner = spec.axes.iter().map(|axis| axis.label.as_str()).collect::<Vec<_>>().join(" · ");
    Table { corner, columns, rows: summary.cell_axes().into_iter().enumerate().map(line).collect() }
}
