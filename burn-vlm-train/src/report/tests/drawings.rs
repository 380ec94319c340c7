//! Charts: what stands in them, and that nothing overlaps.

use super::fake;
use crate::report::font;
use crate::report::{Chart, StudySpec, charts, summarise};

const SEEDS: [u64; 3] = [0, 1, 2];

/// Twelve cells with long names: the largest study whose charts must stay readable.
fn twelve() -> StudySpec {
    fake::spec(
        &[
            ("siglip1", "SigLIP 1 (English)"),
            ("siglip2", "SigLIP 2 (multilingual)"),
            ("clip", "CLIP ViT-L/14-336 (English, frozen)"),
            ("none", "no encoder"),
        ],
        &[("en", "En"), ("en+multi", "En + Multi, with a rather long name"), ("multi", "Multi only")],
    )
}

fn drawn(spec: &StudySpec) -> Vec<Chart> {
    let outcomes = fake::outcomes(spec, &SEEDS, 30);
    let summary = summarise(spec, &outcomes, fake::provenance(&SEEDS)).unwrap();
    charts(spec, &summary, &fake::losses(spec, &SEEDS, 1000))
}

/// A text of a drawing with its rectangle.
struct Label {
    text: String,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

fn labels(svg: &str) -> Vec<Label> {
    let document = svg.lines().filter(|line| line.starts_with("<text"));
    let label = |line: &str| {
        let attribute = |name: &str| {
            let rest = line.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value)
        };
        let number = |name: &str| attribute(name).unwrap().parse::<f64>().unwrap();
        let text = line.split_once('>').unwrap().1.trim_end_matches("</text>").replace("&amp;", "&");
        let (x, y, size) = (number("x"), number("y"), number("font-size"));
        let width = font::width(&text, size, attribute("font-weight").is_some());
        let left = match attribute("text-anchor") {
            Some("end") => x - width,
            Some("middle") => x - width / 2.0,
            _ => x,
        };
        // Height of capital letters and depth of descenders of the font.
        Label { text, left, right: left + width, top: y - 0.73 * size, bottom: y + 0.2 * size }
    };
    document.map(label).collect()
}

#[test]
fn no_text_overlaps_or_leaves_the_drawing() {
    for spec in [fake::two_by_two(), twelve()] {
        for chart in drawn(&spec) {
            for (svg, width) in [(&chart.wide, 900.0), (&chart.narrow, 380.0)] {
                let labels = labels(svg);
                assert!(labels.len() > 10, "{}", chart.name);
                for (i, a) in labels.iter().enumerate() {
                    assert!(a.left >= 0.0 && a.right <= width, "{} at {width}: `{}` leaves it", chart.name, a.text);
                    for b in &labels[..i] {
                        let apart = a.left >= b.right || b.left >= a.right || a.top >= b.bottom || b.top >= a.bottom;
                        assert!(apart, "{} at {width}: `{}` over `{}`", chart.name, a.text, b.text);
                    }
                }
            }
        }
    }
}

#[test]
fn charts_say_what_they_show() {
    let charts = drawn(&fake::two_by_two());
    let names: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
    assert_eq!(names, ["scores", "languages", "differences", "losses"]);
    let expected: [(&str, &[&str]); 4] = [
        ("scores", &["Score of each cell", "chance (25 %)", "95 % interval", "% of questions right", "N = 30"]),
        ("languages", &["Score by language", "Russian", "Dutch"]),
        ("differences", &["percentage points", "interval includes 0", "change from En to En + Multi"]),
        ("losses", &["optimizer step", "nats per token", "Finetuning", "above the frame"]),
    ];
    for (chart, (name, texts)) in charts.iter().zip(expected) {
        for text in texts {
            assert!(chart.wide.contains(text), "{name} does not say `{text}`");
            assert!(chart.narrow.contains(text) || text.contains('%'), "narrow {name} does not say `{text}`");
        }
        for svg in [&chart.wide, &chart.narrow] {
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name} has a place that is no number");
        }
    }
}

#[test]
fn pngs_are_twice_as_wide() {
    for chart in drawn(&fake::two_by_two()) {
        let png = chart.png().unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        let width = u32::from_be_bytes([png[16], png[17], png[18], png[19]]);
        assert_eq!(width, 1800, "{}", chart.name);
    }
}

#[test]
fn studies_of_one_cell_and_without_losses_have_fewer_charts() {
    let spec = fake::spec(&[("a", "A")], &[("en", "En")]);
    let summary = summarise(&spec, fake::outcomes(&spec, &[0], 5), fake::provenance(&[0])).unwrap();
    let charts = charts(&spec, &summary, &[]);
    let names: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
    assert_eq!(names, ["scores", "languages"]);
    assert!(!charts[0].wide.contains("single seeds"));
}
