//! What all charts share: sizes, the heading, the legend, and the division of an axis.

use super::font;
use super::palette::Ink;
use super::svg::{Anchor, Font, Svg};

/// Width of a drawing for a page or a laptop.
pub(super) const WIDE: f64 = 900.0;
/// Width of a drawing for a phone.
pub(super) const NARROW: f64 = 380.0;

/// Space around a drawing.
pub(super) const MARGIN: f64 = 16.0;
/// Space between panels.
pub(super) const GAP: f64 = 22.0;

pub(super) const TITLE: Font = Font { size: 16.0, bold: true, ink: Ink::Text };
pub(super) const SUBTITLE: Font = Font { size: 12.0, bold: false, ink: Ink::Muted };
pub(super) const PANEL_TITLE: Font = Font { size: 13.0, bold: true, ink: Ink::Text };
pub(super) const LABEL: Font = Font { size: 12.0, bold: false, ink: Ink::Text };
pub(super) const SMALL: Font = Font { size: 11.0, bold: false, ink: Ink::Muted };

/// Distance between the base lines of two lines of text.
const LINE_HEIGHT: f64 = 1.35;

/// Writes title and subtitle, broken into lines; returns where the space below them begins.
pub(super) fn heading(svg: &mut Svg, width: f64, title: &str, subtitle: &str) -> f64 {
    let mut y = MARGIN;
    for (text, font) in [(title, TITLE), (subtitle, SUBTITLE)] {
        y = paragraph(svg, (MARGIN, y), text, font, width - 2.0 * MARGIN);
        y += 4.0;
    }
    y + 4.0
}

/// Writes a text broken into lines from the upper left corner; returns the lower end.
pub(super) fn paragraph(svg: &mut Svg, (x, mut y): (f64, f64), text: &str, font: Font, max: f64) -> f64 {
    for line in font::wrap(text, font.size, font.bold, max) {
        y += font.size * LINE_HEIGHT;
        svg.text((x, y - 0.3 * font.size), &line, font, Anchor::Start);
    }
    y
}

/// One entry of a legend.
pub(super) struct Key {
    pub symbol: Symbol,
    pub label: String,
}

/// What stands before the text of a legend entry.
pub(super) enum Symbol {
    /// A line as series are drawn.
    Line(Ink),
    /// The dashed line of the chance level.
    Chance,
    /// A whisker.
    Interval,
    /// The dot of a single seed.
    Seed,
    /// A point estimate, filled or not.
    Point(bool),
}

const SYMBOL_WIDTH: f64 = 22.0;
const KEY_HEIGHT: f64 = 18.0;

/// Draws a legend from the upper left corner, in as many lines as it needs; returns the lower end.
pub(super) fn legend(svg: &mut Svg, (left, top): (f64, f64), keys: &[Key], max: f64) -> f64 {
    let (mut x, mut y) = (left, top + KEY_HEIGHT / 2.0);
    for key in keys {
        let label = font::fit(&key.label, SMALL.size, false, max - SYMBOL_WIDTH - 5.0);
        let width = SYMBOL_WIDTH + 5.0 + font::width(&label, SMALL.size, false);
        if x > left && x + width > left + max {
            (x, y) = (left, y + KEY_HEIGHT);
        }
        symbol(svg, (x, y), &key.symbol);
        svg.text((x + SYMBOL_WIDTH + 5.0, y + 4.0), &label, SMALL, Anchor::Start);
        x += width + 18.0;
    }
    if keys.is_empty() { top } else { y + KEY_HEIGHT / 2.0 }
}

fn symbol(svg: &mut Svg, (x, y): (f64, f64), symbol: &Symbol) {
    let middle = (x + SYMBOL_WIDTH / 2.0, y);
    match symbol {
        Symbol::Line(ink) => svg.path(&[(x, y), (x + SYMBOL_WIDTH, y)], *ink, 2.5, 1.0),
        Symbol::Chance => svg.line((middle.0, y - 9.0), (middle.0, y + 6.0), Ink::Line, CHANCE_WIDTH, CHANCE_DASHES),
        Symbol::Interval => whisker(svg, (x + 1.0, x + SYMBOL_WIDTH - 1.0), y, Ink::Line),
        Symbol::Seed => svg.circle(middle, SEED_RADIUS, Ink::Muted, true, 0.0),
        Symbol::Point(filled) => svg.circle(middle, POINT_RADIUS, Ink::Line, *filled, 1.8),
    }
}

/// Width and dashes of the line of the chance level.
pub(super) const CHANCE_WIDTH: f64 = 1.5;
pub(super) const CHANCE_DASHES: Option<&str> = Some("4 3");
/// Radius of the dot of a single seed.
pub(super) const SEED_RADIUS: f64 = 2.0;
/// Radius of a point estimate.
pub(super) const POINT_RADIUS: f64 = 3.8;

/// A horizontal line with ends.
pub(super) fn whisker(svg: &mut Svg, (low, high): (f64, f64), y: f64, ink: Ink) {
    svg.line((low, y), (high, y), ink, 1.5, None);
    for x in [low, high] {
        svg.line((x, y - 4.0), (x, y + 4.0), ink, 1.5, None);
    }
}

/// A whisker on a bar: a thin edge in the colour of the ground keeps it readable on any colour.
pub(super) fn whisker_on_bar(svg: &mut Svg, (low, high): (f64, f64), y: f64) {
    svg.line((low, y), (high, y), Ink::Ground, 2.8, None);
    for x in [low, high] {
        svg.line((x, y - 4.6), (x, y + 4.6), Ink::Ground, 2.8, None);
    }
    whisker(svg, (low, high), y, Ink::Line);
}

/// How `count` panels of at least `min` pixels are spread over lines of `available` pixels: panels a line, and the width of
/// each.
pub(super) fn spread(count: usize, available: f64, min: f64) -> (usize, f64) {
    let fitting = (((available + GAP) / (min + GAP)).floor() as usize).clamp(1, count.max(1));
    // As even as it goes: seven panels are 4 + 3 and not 6 + 1.
    let per_line = count.max(1).div_ceil(count.max(1).div_ceil(fitting));
    (per_line, (available - GAP * (per_line - 1) as f64) / per_line as f64)
}

/// Round numbers that divide `low..=high` into at most `most` parts, and the distance between them.
pub(super) fn ticks(low: f64, high: f64, most: usize) -> (Vec<f64>, f64) {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return (vec![low], 1.0);
    }
    let rough = span / most.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    ((first..=last).map(|i| i as f64 * step).collect(), step)
}

/// A tick's text: as many decimals as the distance of ticks needs, a true minus sign, thousands as `k`.
pub(super) fn tick_label(value: f64, step: f64) -> String {
    if value.abs() >= 10_000.0 && step >= 100.0 {
        return format!("{}k", tick_label(value / 1000.0, step / 1000.0));
    }
    let decimals = (0..6).find(|&d| ((step * 10_f64.powi(d)).round() / 10_f64.powi(d) - step).abs() < step * 1e-6);
    let text = format!("{value:.*}", decimals.unwrap_or(6) as usize);
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 100.0, 5).0, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(-3.1, 4.2, 4).0, [-2.0, 0.0, 2.0, 4.0]);
        assert_eq!(ticks(1.0, 1.0, 4).0, [1.0]);
        for most in 1..12 {
            for high in [0.03, 1.7, 9.9, 250.0, 123_456.0] {
                assert!(ticks(0.0, high, most).0.len() <= most + 1, "{high} {most}");
            }
        }
    }

    #[test]
    fn tick_labels() {
        assert_eq!(tick_label(-2.0, 2.0), "−2");
        assert_eq!(tick_label(0.25, 0.25), "0.25");
        assert_eq!(tick_label(12_500.0, 2500.0), "12.5k");
        assert_eq!(tick_label(20.0, 20.0), "20");
    }

    #[test]
    fn panels_spread_evenly() {
        assert_eq!(spread(7, 1000.0, 180.0), (4, (1000.0 - 3.0 * GAP) / 4.0));
        assert_eq!(spread(3, 300.0, 200.0).0, 1);
        assert_eq!(spread(0, 300.0, 200.0).0, 1);
    }
}
