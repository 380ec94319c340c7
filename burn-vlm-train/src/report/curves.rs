//! Loss curves: one panel a stage, a smoothed line for each series over its faint raw line.

use super::font;
use super::layout::{
    GAP, Key, MARGIN, PANEL_TITLE, SMALL, Symbol, heading, legend, paragraph, spread, tick_label, ticks,
};
use super::palette::Ink;
use super::svg::{Anchor, Svg};

/// A chart of curves.
pub(super) struct CurveChart {
    pub title: String,
    pub subtitle: String,
    pub panels: Vec<CurvePanel>,
}

/// One panel.
pub(super) struct CurvePanel {
    pub title: String,
    /// What the vertical axis measures, with its unit.
    pub unit: String,
    pub curves: Vec<Curve>,
}

/// One line.
pub(super) struct Curve {
    pub label: String,
    /// Colour. Curves of one label have one colour.
    pub series: usize,
    /// Step and value, by step.
    pub points: Vec<(f64, f64)>,
}

/// Width of the curves of a single run, in pixels.
const RUN_WIDTH: f64 = 900.0;
const PLOT_HEIGHT: f64 = 220.0;
const MIN_PANEL: f64 = 330.0;
/// A legend with more entries needs the whole width.
const LONG_LEGEND: usize = 6;
/// Room for the labels of the vertical axis.
const LEFT: f64 = 40.0;
/// A smoothed line averages over about this share of the steps.
const SMOOTHING: f64 = 0.02;
/// Values of the first steps may lie above the frame: the frame is chosen by what follows them.
const SETTLING: f64 = 0.03;
/// More points than this a line cannot show.
const MAX_POINTS: usize = 400;

/// A panel of loss curves.
#[derive(Debug, Clone, PartialEq)]
pub struct LossPanel {
    /// What it shows.
    pub title: String,
    /// Name of each curve, and its loss (nats a token) by step.
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

/// Loss curves of one run as an SVG document.
pub fn loss_curves(title: &str, panels: Vec<LossPanel>) -> String {
    let curve = |(series, (label, points)): (usize, (String, Vec<(f64, f64)>))| Curve { label, series, points };
    let panel = |panel: LossPanel| CurvePanel {
        title: panel.title,
        unit: "nats a token".into(),
        curves: panel.curves.into_iter().enumerate().map(curve).collect(),
    };
    let panels = panels.into_iter().map(panel).collect();
    CurveChart { title: title.into(), subtitle: "by optimizer step".into(), panels }.draw(RUN_WIDTH)
}

impl CurveChart {
    /// The chart as an SVG document of the given width.
    pub fn draw(&self, width: f64) -> String {
        let mut svg = Svg::new(width, &self.title);
        let mut y = heading(&mut svg, width, &self.title, &self.subtitle);
        let long_legend = self.panels.iter().any(|panel| panel.keys().len() > LONG_LEGEND);
        let min = if long_legend { width - 2.0 * MARGIN } else { MIN_PANEL };
        let (per_line, panel_width) = spread(self.panels.len(), width - 2.0 * MARGIN, min);
        for line in self.panels.chunks(per_line) {
            // Legends may need different heights: plots stand in line below the tallest.
            let tops = line.iter().enumerate().map(|(i, panel)| {
                let x = MARGIN + i as f64 * (panel_width + GAP);
                panel.head(&mut svg, (x, y), panel_width)
            });
            let top = tops.fold(y, f64::max) + 8.0;
            for (i, panel) in line.iter().enumerate() {
                panel.draw(&mut svg, (MARGIN + i as f64 * (panel_width + GAP), top), panel_width);
            }
            y = top + PLOT_HEIGHT + 48.0;
        }
        svg.finish(y - 16.0 + MARGIN)
    }
}

impl CurvePanel {
    /// Title, unit and legend; returns the lower end.
    fn head(&self, svg: &mut Svg, (x, y): (f64, f64), width: f64) -> f64 {
        let title = font::fit(&self.title, PANEL_TITLE.size, true, width);
        svg.text((x, y + PANEL_TITLE.size), &title, PANEL_TITLE, Anchor::Start);
        let y = paragraph(svg, (x, y + PANEL_TITLE.size + 2.0), &self.unit, SMALL, width);
        legend(svg, (x, y + 3.0), &self.keys(), width)
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for curve in &self.curves {
            if !keys.iter().any(|key| key.label == curve.label) {
                keys.push(Key { symbol: Symbol::Line(Ink::Series(curve.series)), label: curve.label.clone() });
            }
        }
        keys
    }

    fn draw(&self, svg: &mut Svg, (left, top): (f64, f64), width: f64) {
        let (x0, bottom, plot) = (left + LEFT, top + PLOT_HEIGHT, width - LEFT);
        let smooth: Vec<Vec<(f64, f64)>> = self.curves.iter().map(|curve| smoothed(&curve.points)).collect();
        let steps = self.curves.iter().filter_map(|curve| curve.points.last()).map(|(step, _)| *step);
        let last = steps.fold(0.0, f64::max).max(1.0);
        let (low, high) = frame(&smooth, last);
        let x_at = |step: f64| x0 + step / last * plot;
        let y_at = |value: f64| bottom - (value - low) / (high - low) * PLOT_HEIGHT;

        let (values, step) = ticks(low, high, 5);
        for value in values {
            svg.line((x0, y_at(value)), (x0 + plot, y_at(value)), Ink::Grid, 1.0, None);
            svg.text((x0 - 6.0, y_at(value) + 4.0), &tick_label(value, step), SMALL, Anchor::End);
        }
        let (values, step) = ticks(0.0, last, ((plot / 75.0) as usize).min(6));
        for value in values {
            svg.line((x_at(value), bottom), (x_at(value), bottom + 4.0), Ink::Line, 1.0, None);
            let label = tick_label(value, step);
            // The last label may not leave the drawing.
            let half = font::width(&label, SMALL.size, false) / 2.0;
            svg.text((x_at(value).min(x0 + plot - half), bottom + 16.0), &label, SMALL, Anchor::Middle);
        }
        svg.line((x0, bottom), (x0 + plot, bottom), Ink::Line, 1.0, None);
        svg.text((x0 + plot / 2.0, bottom + 32.0), "optimizer step", SMALL, Anchor::Middle);

        svg.clipped((x0, top), (plot, PLOT_HEIGHT), |svg| {
            let place = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                thinned(points).into_iter().map(|(step, value)| (x_at(step), y_at(value))).collect()
            };
            for curve in &self.curves {
                svg.path(&place(&curve.points), Ink::Series(curve.series), 1.0, 0.22);
            }
            for (curve, points) in self.curves.iter().zip(&smooth) {
                svg.path(&place(points), Ink::Series(curve.series), 2.0, 1.0);
            }
        });
        let first = smooth.iter().flatten().map(|(_, value)| *value).fold(f64::MIN, f64::max);
        if first > high {
            let note = format!("starts at {first:.1}, above the frame");
            svg.text((x0 + plot, top + 11.0), &note, SMALL, Anchor::End);
        }
    }
}

/// The values that the frame shows: everything after the first steps.
fn frame(curves: &[Vec<(f64, f64)>], last: f64) -> (f64, f64) {
    let all = || curves.iter().flatten();
    let low = all().map(|(_, value)| *value).fold(f64::MAX, f64::min);
    let settled = all().filter(|(step, _)| *step >= SETTLING * last).map(|(_, value)| *value).fold(f64::MIN, f64::max);
    if low > settled {
        return (0.0, 1.0);
    }
    let pad = 0.06 * (settled - low).max(1e-6 * settled.abs()).max(1e-9);
    (low - pad, settled + pad)
}

/// A centred moving average, without lag.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = (points.len() as f64 * SMOOTHING / 2.0).round() as usize;
    let mut sums = vec![0.0];
    for (_, value) in points {
        sums.push(sums[sums.len() - 1] + value);
    }
    let average = |(i, (step, _)): (usize, &(f64, f64))| {
        // At the steep start, as far to the right as to the left: a lopsided window would bend the line.
        let first = i - reach.min(i);
        let end = (i + reach.min(i) + 1).min(points.len());
        (*step, (sums[end] - sums[first]) / (end - first) as f64)
    };
    points.iter().enumerate().map(average).collect()
}

/// At most [`MAX_POINTS`] points: means of neighbours. The first and the last point stay.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let inner = &points[1..points.len() - 1];
    let mean = |bucket: &[(f64, f64)]| {
        let (x, y) = bucket.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        (x / bucket.len() as f64, y / bucket.len() as f64)
    };
    let mut kept = vec![*first];
    kept.extend(inner.chunks(inner.len().div_ceil(MAX_POINTS - 2)).map(mean));
    kept.push(*last);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_follows_a_step() {
        let constant: Vec<(f64, f64)> = (0..500).map(|step| (f64::from(step), 3.0)).collect();
        assert!(smoothed(&constant).iter().all(|(_, value)| (value - 3.0).abs() < 1e-12));
        let jump: Vec<(f64, f64)> = (0..500).map(|step| (f64::from(step), f64::from(u8::from(step >= 100)))).collect();
        // 500 points: a window of 11.
        assert_eq!([smoothed(&jump)[94].1, smoothed(&jump)[105].1], [0.0, 1.0]);
        assert!((smoothed(&jump)[100].1 - 6.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let points: Vec<(f64, f64)> = (0..5003).map(|step| (f64::from(step), f64::from(step) * 2.0)).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= MAX_POINTS);
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[5002]));
        assert!(kept.iter().all(|(x, y)| (y - 2.0 * x).abs() < 1e-9));
        assert_eq!(thinned(&[]), []);
    }

    #[test]
    fn odd_series_draw() {
        let curve = |points: Vec<(f64, f64)>| Curve { label: "a".into(), series: 0, points };
        for points in [vec![], vec![(0.0, 1.0)], vec![(5.0, 2.0), (6.0, 2.0)]] {
            let panel = CurvePanel { title: "t".into(), unit: "u".into(), curves: vec![curve(points)] };
            let chart = CurveChart { title: "t".into(), subtitle: String::new(), panels: vec![panel] };
            let svg = chart.draw(400.0);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
