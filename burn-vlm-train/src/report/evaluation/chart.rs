//! Drawings of an evaluation: bars with intervals, one panel each.

use crate::report::charts::Chart;
use crate::report::layout::{NARROW, WIDE};
use crate::report::palette::Ink;
use crate::report::panels::{Mark, Panel, PanelChart, Row, Scale};

/// A bar or a point.
pub(super) struct Bar {
    /// The name of the block that it stands in; empty for none.
    pub block: String,
    pub label: String,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub ink: Ink,
}

/// A chart of one panel.
pub(super) fn bars(title: &str, subtitle: &str, x_label: &str, scale: Scale, bars: Vec<Bar>) -> Chart {
    let mut rows = Vec::with_capacity(bars.len());
    let mut marks = Vec::with_capacity(bars.len());
    for Bar { block, label, value, low, high, ink } in bars {
        rows.push(Row { block, label });
        marks.push(Some(Mark { value, low, high, ink, seeds: Vec::new() }));
    }
    let chart = PanelChart {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        x_label: x_label.to_owned(),
        rows,
        panels: vec![Panel { title: String::new(), note: String::new(), marks }],
        scale,
    };
    Chart { name: String::new(), wide: chart.draw(WIDE), narrow: chart.draw(NARROW) }
}
