//! Panels side by side that share their rows: grouped bars with whiskers, or a forest of differences.
//!
//! A panel is a column of the table (or a language), a row a cell of the study (or a difference), so that long names have
//! room, figures stand in line as in a table, and twelve cells in three columns stay readable. Where there is no room for
//! names at the left (on a phone), they stand above their bar and panels stand below each other.

use super::font;
use super::layout::{
    CHANCE_DASHES, CHANCE_WIDTH, GAP, Key, LABEL, MARGIN, PANEL_TITLE, POINT_RADIUS, SEED_RADIUS, SMALL, Symbol,
    heading, legend, spread, tick_label, ticks, whisker, whisker_on_bar,
};
use super::palette::Ink;
use super::svg::{Anchor, Font, Svg};

/// A chart of panels.
pub(super) struct PanelChart {
    pub title: String,
    pub subtitle: String,
    /// What the horizontal axis measures, with its unit.
    pub x_label: String,
    pub rows: Vec<Row>,
    pub panels: Vec<Panel>,
    pub scale: Scale,
}

/// A row of every panel.
pub(super) struct Row {
    /// The name of the block of rows it belongs to; empty for none. A new name starts a new block.
    pub block: String,
    pub label: String,
}

/// One panel.
pub(super) struct Panel {
    pub title: String,
    /// Small text beside the title.
    pub note: String,
    /// One mark a row; none where there is no score.
    pub marks: Vec<Option<Mark>>,
}

/// A score or difference with its interval.
pub(super) struct Mark {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub ink: Ink,
    /// The scores of the single seeds; drawn as dots if there are several.
    pub seeds: Vec<f64>,
}

/// How marks are drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Bars from 0 percent, with a line where guessing stands.
    Score { chance: Option<f64> },
    /// Bars from 0 percent without whiskers: shares that are counted and not estimated.
    Share,
    /// Points around a line at 0, filled if the interval excludes it.
    Difference,
    /// The same in a unit of its own.
    Change { decimals: usize },
}

/// Below this width, names stand above their bars.
const STACKED_BELOW: f64 = 560.0;
/// Height of a row with the name at the left, and with the name above.
const ROW: f64 = 25.0;
const STACKED_ROW: f64 = 38.0;
const BAR: f64 = 13.0;
/// Height of a block's name, and the gap between blocks.
const BLOCK_HEAD: f64 = 21.0;
const BLOCK_GAP: f64 = 8.0;
/// How far the rows of a named block are indented.
const INDENT: f64 = 10.0;
/// The narrowest panel, without the names.
const MIN_PANEL: f64 = 175.0;
/// Space for a panel's title above its rows, and for the axis below.
const PANEL_HEAD: f64 = 24.0;
const PANEL_FOOT: f64 = 22.0;
/// Least distance between two ticks.
const TICK_DISTANCE: f64 = 34.0;
const FIGURE: Font = Font { size: 12.0, bold: false, ink: Ink::Text };
const BLOCK: Font = Font { size: 12.0, bold: true, ink: Ink::Text };
/// Where the dots of single seeds stand below the middle of their bar.
const SEED_BELOW: f64 = 9.5;

/// The places that all panels share.
struct Places {
    stacked: bool,
    labels: f64,
    panel: f64,
    plot: f64,
    per_line: usize,
    /// Vertical middle of each row's mark, from the top of the rows.
    middles: Vec<f64>,
    blocks: Vec<Block>,
    /// Height of all rows.
    rows: f64,
    low: f64,
    high: f64,
}

/// A block of rows: name and vertical ends of its rows.
struct Block {
    name: String,
    top: f64,
    bottom: f64,
}

impl PanelChart {
    /// The chart as an SVG document of the given width.
    pub fn draw(&self, width: f64) -> String {
        let mut svg = Svg::new(width, &self.title);
        let mut y = heading(&mut svg, width, &self.title, &self.subtitle);
        y = legend(&mut svg, (MARGIN, y), &self.keys(), width - 2.0 * MARGIN) + 6.0;
        let places = self.places(width);
        for line in self.panels.chunks(places.per_line) {
            let rows_top = y + PANEL_HEAD;
            for (i, panel) in line.iter().enumerate() {
                let x = MARGIN + places.labels + i as f64 * (places.panel + GAP);
                self.draw_panel(&mut svg, (x, rows_top), panel, &places, i == 0);
            }
            y = rows_top + places.rows + PANEL_FOOT + 6.0;
        }
        // Below the middle of the first panel, where it cannot be taken for a panel's own.
        let x_label = font::fit(&self.x_label, SMALL.size, false, width - 2.0 * MARGIN - places.labels);
        svg.text((MARGIN + places.labels, y + 6.0), &x_label, SMALL, Anchor::Start);
        svg.finish(y + 6.0 + MARGIN)
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut add = |symbol: Symbol, label: &str| keys.push(Key { symbol, label: label.to_owned() });
        match self.scale {
            Scale::Score { chance } => {
                add(Symbol::Interval, "95 % interval");
                if let Some(chance) = chance {
                    add(Symbol::Chance, &format!("chance ({} %)", plain(chance)));
                }
            }
            Scale::Share => {}
            Scale::Difference | Scale::Change { .. } => {
                add(Symbol::Point(true), "interval excludes 0");
                add(Symbol::Point(false), "interval includes 0");
                add(Symbol::Interval, "95 % paired interval");
            }
        }
        if self.marks().any(|mark| mark.seeds.len() > 1) {
            add(Symbol::Seed, "single seeds");
        }
        keys
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.panels.iter().flat_map(|panel| panel.marks.iter().flatten())
    }

    fn places(&self, width: f64) -> Places {
        let stacked = width < STACKED_BELOW;
        let name = |row: &Row| font::width(&row.label, LABEL.size, false) + row.indent();
        let widest = self.rows.iter().map(name).fold(0.0, f64::max);
        let labels = if stacked { 0.0 } else { (widest + 16.0).clamp(90.0, 0.36 * width) };
        let figures = self.marks().map(|mark| font::width(&self.figure(mark.value), FIGURE.size, false));
        let gutter = figures.fold(0.0, f64::max) + 12.0;
        let (per_line, panel) = spread(self.panels.len(), width - 2.0 * MARGIN - labels, MIN_PANEL);
        let (mut y, mut middles, mut blocks) = (0.0, Vec::new(), Vec::<Block>::new());
        for row in &self.rows {
            if blocks.last().is_none_or(|block| block.name != row.block) {
                y += if blocks.is_empty() { 0.0 } else { BLOCK_GAP };
                y += if row.block.is_empty() { 0.0 } else { BLOCK_HEAD };
                blocks.push(Block { name: row.block.clone(), top: y, bottom: y });
            }
            middles.push(y + if stacked { STACKED_ROW - BAR / 2.0 - 4.0 } else { ROW / 2.0 });
            y += if stacked { STACKED_ROW } else { ROW };
            if let Some(block) = blocks.last_mut() {
                block.bottom = y;
            }
        }
        let (low, high) = self.range();
        Places { stacked, labels, panel, plot: panel - gutter, per_line, middles, blocks, rows: y, low, high }
    }

    /// What the axis spans.
    fn range(&self) -> (f64, f64) {
        let ends = || self.marks().flat_map(|mark| [mark.low, mark.high].into_iter().chain(mark.seeds.iter().copied()));
        match self.scale {
            Scale::Score { .. } | Scale::Share => {
                let chance = if let Scale::Score { chance } = self.scale { chance } else { None };
                let most = ends().chain(chance).fold(0.0, f64::max);
                // Half of the axis or more in use: the whole scale is shown. Otherwise a round end above the marks.
                let high = if most > 50.0 { 100.0 } else { round_up(most) };
                (0.0, high)
            }
            Scale::Difference | Scale::Change { .. } => {
                let (low, high) = (ends().fold(0.0, f64::min), ends().fold(0.0, f64::max));
                let least = match self.scale {
                    Scale::Change { decimals } => 0.1_f64.powi(i32::try_from(decimals).unwrap_or(0)),
                    _ => 1.0,
                };
                let pad = 0.04 * (high - low).max(least);
                (low - pad, high + pad)
            }
        }
    }

    fn figure(&self, value: f64) -> String {
        match self.scale {
            Scale::Score { .. } | Scale::Share => format!("{value:.1}"),
            Scale::Difference => signed(value),
            Scale::Change { decimals } => signed_by(value, decimals),
        }
    }

    fn draw_panel(&self, svg: &mut Svg, (x, top): (f64, f64), panel: &Panel, places: &Places, first: bool) {
        let at = |value: f64| x + (value - places.low) / (places.high - places.low) * places.plot;
        let bottom = top + places.rows;
        let title = font::fit(&panel.title, PANEL_TITLE.size, true, places.panel);
        svg.text((x, top - 9.0), &title, PANEL_TITLE, Anchor::Start);
        let after = font::width(&title, PANEL_TITLE.size, true) + 8.0;
        if after + font::width(&panel.note, SMALL.size, false) <= places.panel {
            svg.text((x + after, top - 9.0), &panel.note, SMALL, Anchor::Start);
        }

        let (values, step) = ticks(places.low, places.high, (places.plot / TICK_DISTANCE) as usize);
        for block in &places.blocks {
            for &value in &values {
                svg.line((at(value), top + block.top), (at(value), top + block.bottom), Ink::Grid, 1.0, None);
            }
            if (first || places.stacked) && !block.name.is_empty() {
                let left = if places.stacked { x } else { MARGIN };
                let name = font::fit(&block.name, BLOCK.size, true, x + places.panel - left);
                svg.text((left, top + block.top - 6.0), &name, BLOCK, Anchor::Start);
            }
        }
        for &value in &values {
            svg.text((at(value), bottom + 16.0), &tick_label(value, step), SMALL, Anchor::Middle);
        }
        for ((row, mark), middle) in self.rows.iter().zip(&panel.marks).zip(&places.middles) {
            let y = top + middle;
            if places.stacked {
                let label = font::fit(&row.label, LABEL.size, false, places.panel);
                svg.text((x, y - BAR / 2.0 - 6.0), &label, LABEL, Anchor::Start);
            } else if first {
                let label = font::fit(&row.label, LABEL.size, false, places.labels - 12.0 - row.indent());
                svg.text((MARGIN + row.indent(), y + 4.0), &label, LABEL, Anchor::Start);
            }
            match mark {
                Some(mark) => {
                    self.draw_mark(svg, y, mark, &at);
                    svg.text((x + places.panel, y + 4.0), &self.figure(mark.value), FIGURE, Anchor::End);
                }
                None => svg.text((x + places.panel, y + 4.0), "–", SMALL, Anchor::End),
            }
        }
        for block in &places.blocks {
            let mut vertical = |value: f64, width: f64, dashes: Option<&str>| {
                svg.line((at(value), top + block.top), (at(value), top + block.bottom), Ink::Line, width, dashes);
            };
            vertical(0.0, 1.1, None);
            if let Scale::Score { chance: Some(chance) } = self.scale {
                vertical(chance, CHANCE_WIDTH, CHANCE_DASHES);
            }
        }
    }

    fn draw_mark(&self, svg: &mut Svg, y: f64, mark: &Mark, at: &impl Fn(f64) -> f64) {
        let ends = (at(mark.low), at(mark.high));
        match self.scale {
            Scale::Score { .. } | Scale::Share => {
                svg.rect((at(0.0), y - BAR / 2.0), (at(mark.value) - at(0.0), BAR), mark.ink, 1.5);
                if self.scale != Scale::Share {
                    whisker_on_bar(svg, ends, y);
                }
            }
            Scale::Difference | Scale::Change { .. } => {
                whisker(svg, ends, y, mark.ink);
                let excludes_zero = mark.low > 0.0 || mark.high < 0.0;
                svg.circle((at(mark.value), y), POINT_RADIUS, mark.ink, excludes_zero, 1.8);
            }
        }
        for &seed in mark.seeds.iter().filter(|_| mark.seeds.len() > 1) {
            svg.circle((at(seed), y + SEED_BELOW), SEED_RADIUS, Ink::Muted, true, 0.0);
        }
    }
}

impl Row {
    fn indent(&self) -> f64 {
        if self.block.is_empty() { 0.0 } else { INDENT }
    }
}

/// The next round number.
fn round_up(value: f64) -> f64 {
    let ends = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0];
    ends.into_iter().find(|end| *end >= value * 1.02).unwrap_or(100.0)
}

/// With its sign, a true minus and one decimal: `+4.1`, `−0.3`, `0.0`; with more where one would print 0 for what is none, so that an
/// interval that excludes 0 is seen to: `+0.02`.
pub(crate) fn signed(value: f64) -> String {
    let decimals = (1..4).find(|decimals| value.abs() * 10_f64.powi(*decimals) >= 0.5).unwrap_or(1);
    let text = format!("{:.1$}", value.abs(), decimals as usize);
    match text.as_str() {
        "0.0" => text,
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// A share of 0 to 1 in percent: `33.3 %`.
pub(crate) fn percent_share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// With its sign and so many decimals; zero has none.
pub(crate) fn signed_by(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    match value {
        _ if text.chars().all(|c| matches!(c, '0' | '.')) => text,
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// As short as it is exact: `25`, `0.39`.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
