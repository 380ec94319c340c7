//! Maps of points side by side, such as t-SNE: axes without meaning are not drawn.

use super::font;
use super::layout::{GAP, Key, MARGIN, PANEL_TITLE, SMALL, Symbol, heading, legend, spread};
use super::palette::Ink;
use super::section::Scatter;
use super::svg::{Anchor, Font, Svg};

/// A chart of maps.
pub(super) struct ScatterChart {
    pub title: String,
    pub subtitle: String,
    /// Names of the colours.
    pub series: Vec<String>,
    /// What filled and hollow points are.
    pub filled: String,
    pub hollow: String,
    pub panels: Vec<Scatter>,
}

const MIN_PANEL: f64 = 195.0;
const MOST_HEIGHT: f64 = 300.0;
const HEAD: f64 = 40.0;
const INSET: f64 = 10.0;
const RADIUS: f64 = 2.6;
/// Smaller than other panels' titles: four stand side by side.
const TITLE: Font = Font { size: 11.0, ..PANEL_TITLE };

impl ScatterChart {
    /// The chart as an SVG document of the given width.
    pub fn draw(&self, width: f64) -> String {
        let mut svg = Svg::new(width, &self.title);
        let mut y = heading(&mut svg, width, &self.title, &self.subtitle);
        y = legend(&mut svg, (MARGIN, y), &self.keys(), width - 2.0 * MARGIN) + 8.0;
        let (per_line, panel) = spread(self.panels.len(), width - 2.0 * MARGIN, MIN_PANEL);
        let height = panel.min(MOST_HEIGHT);
        for line in self.panels.chunks(per_line) {
            for (index, map) in line.iter().enumerate() {
                map.draw(&mut svg, (MARGIN + index as f64 * (panel + GAP), y), (panel, height));
            }
            y += HEAD + height + 12.0;
        }
        svg.finish(y + MARGIN)
    }

    fn keys(&self) -> Vec<Key> {
        let kinds = [(true, &self.filled), (false, &self.hollow)];
        let kinds = kinds.map(|(filled, label)| Key { symbol: Symbol::Point(filled), label: label.clone() });
        let colour =
            |(series, label): (usize, &String)| Key { symbol: Symbol::Line(Ink::Series(series)), label: label.clone() };
        kinds.into_iter().chain(self.series.iter().enumerate().map(colour)).collect()
    }
}

impl Scatter {
    fn draw(&self, svg: &mut Svg, (left, top): (f64, f64), (width, height): (f64, f64)) {
        let title = font::fit(&self.title, TITLE.size, true, width);
        svg.text((left, top + PANEL_TITLE.size), &title, TITLE, Anchor::Start);
        let note = font::fit(&self.note, SMALL.size, false, width);
        svg.text((left, top + PANEL_TITLE.size + 15.0), &note, SMALL, Anchor::Start);
        let top = top + HEAD;
        for (from, to) in [
            ((left, top), (left + width, top)),
            ((left, top + height), (left + width, top + height)),
            ((left, top), (left, top + height)),
            ((left + width, top), (left + width, top + height)),
        ] {
            svg.line(from, to, Ink::Grid, 1.0, None);
        }
        let range = |axis: usize| {
            let values = || self.points.iter().map(|point| f64::from(point.at[axis])).filter(|value| value.is_finite());
            let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            if low < high { (low, high) } else { (low - 1.0, low + 1.0) }
        };
        let ((x_low, x_high), (y_low, y_high)) = (range(0), range(1));
        // One scale for both axes: distances mean something, directions do not.
        let scale = ((width - 2.0 * INSET) / (x_high - x_low)).min((height - 2.0 * INSET) / (y_high - y_low));
        let middle = ((x_low + x_high) / 2.0, (y_low + y_high) / 2.0);
        for point in self.points.iter().filter(|point| point.at.iter().all(|value| value.is_finite())) {
            let x = left + width / 2.0 + (f64::from(point.at[0]) - middle.0) * scale;
            let y = top + height / 2.0 + (f64::from(point.at[1]) - middle.1) * scale;
            svg.circle((x, y), RADIUS, point.ink(), point.filled, 1.1);
        }
    }
}
