//! Heat maps side by side: a matrix each, its figures written into the fields.
//!
//! Figures stand in the fields, so that nothing rests on telling shades apart; the shade runs from the page's ground (0) to full
//! colour (the largest value of all maps), so that maps can be compared.

use super::font;
use super::layout::{GAP, LABEL, MARGIN, PANEL_TITLE, SMALL, heading, spread};
use super::palette::Ink;
use super::section::HeatMap;
use super::svg::{Anchor, Font, Svg};

/// A chart of heat maps.
pub(super) struct HeatMapChart {
    pub title: String,
    pub subtitle: String,
    pub maps: Vec<HeatMap>,
}

const FIELD_HEIGHT: f64 = 24.0;
const MIN_PANEL: f64 = 330.0;
const HEAD: f64 = 40.0;
const FOOT: f64 = 14.0;
/// Space between fields.
const EDGE: f64 = 1.5;
/// The strongest shade still lets text be read on it.
const FULL: f64 = 0.62;

impl HeatMapChart {
    /// The chart as an SVG document of the given width.
    pub fn draw(&self, width: f64) -> String {
        let mut svg = Svg::new(width, &self.title);
        let mut y = heading(&mut svg, width, &self.title, &self.subtitle);
        let (per_line, panel) = spread(self.maps.len(), width - 2.0 * MARGIN, MIN_PANEL);
        let most = self.maps.iter().flat_map(|map| map.values.iter().flatten()).fold(0.0, |a: f64, b| a.max(*b));
        for line in self.maps.chunks(per_line) {
            let mut bottom = y;
            for (index, map) in line.iter().enumerate() {
                let x = MARGIN + index as f64 * (panel + GAP);
                bottom = bottom.max(map.draw(&mut svg, (x, y), panel, most));
            }
            y = bottom + FOOT;
        }
        svg.finish(y + MARGIN)
    }
}

impl HeatMap {
    /// Draws the map from its upper left corner; returns its lower end.
    fn draw(&self, svg: &mut Svg, (left, top): (f64, f64), width: f64, most: f64) -> f64 {
        let title = font::fit(&self.title, PANEL_TITLE.size, true, width);
        svg.text((left, top + PANEL_TITLE.size), &title, PANEL_TITLE, Anchor::Start);
        let names = self.rows.iter().map(|row| font::width(row, LABEL.size, false)).fold(0.0, f64::max) + 8.0;
        let field = (width - names) / self.columns.len().max(1) as f64;
        for (column, name) in self.columns.iter().enumerate() {
            let x = left + names + (column as f64 + 0.5) * field;
            let name = font::fit(name, SMALL.size, false, field);
            svg.text((x, top + HEAD - 6.0), &name, SMALL, Anchor::Middle);
        }
        for (row, (name, values)) in self.rows.iter().zip(&self.values).enumerate() {
            let y = top + HEAD + row as f64 * FIELD_HEIGHT;
            svg.text((left, y + FIELD_HEIGHT / 2.0 + 4.0), name, LABEL, Anchor::Start);
            for (column, value) in values.iter().enumerate() {
                let x = left + names + column as f64 * field;
                let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
                let size = (field - EDGE, FIELD_HEIGHT - EDGE);
                svg.rect((x, y), size, Ink::Grid, 2.0);
                svg.shade((x, y), size, Ink::Series(0), FULL * share);
                let figure = Font { size: if field < 34.0 { 9.0 } else { 11.0 }, bold: false, ink: Ink::Text };
                let place = (x + field / 2.0, y + FIELD_HEIGHT / 2.0 + 3.5);
                svg.text(place, &format!("{value:.2}").replace("0.", "."), figure, Anchor::Middle);
            }
        }
        top + HEAD + self.rows.len() as f64 * FIELD_HEIGHT
    }
}
