//! A sheet of kept and rejected rows for people to read, with everything in it.

use super::report::{BARS, FilterReport};
use crate::image::small_jpeg;
use crate::sample::{Media, Picture};
use crate::source::Limits;
use crate::source::inspect::{begin, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// Pixels of the longer edge of a thumbnail.
const THUMBNAIL: u32 = 160;
/// JPEG quality of thumbnails.
const QUALITY: u8 = 80;
/// The most characters of a text.
const CHARACTERS: usize = 4000;
/// Size of a histogram, and of the space below its bars.
const WIDTH: usize = 480;
const HEIGHT: usize = 90;
const FOOT: usize = 18;

/// A row on the sheet.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Its language.
    pub language: String,
    /// Its score.
    pub score: Option<f64>,
    /// Why it is not kept; none of one that is.
    pub rejected: Option<String>,
    /// Its texts with their names.
    pub texts: Vec<(String, String)>,
    /// Its pictures.
    pub media: Vec<Media>,
}

/// The sheet.
pub fn filter_page(title: &str, report: &FilterReport, kept: &[Shown], rejected: &[Shown]) -> String {
    let mut html = begin(title);
    html.push_str("<table>\n<tr>");
    report.columns().iter().for_each(|name| cell(&mut html, "th", name));
    html.push_str("</tr>\n");
    let rows = report.table();
    for (number, row) in rows.iter().enumerate() {
        html.push_str(if number + 1 == rows.len() { "<tr class=\"sum\">" } else { "<tr>" });
        row.iter().for_each(|text| cell(&mut html, "td", text));
        html.push_str("</tr>\n");
    }
    let than = if report.strict { "above" } else { "at least" };
    let _ = writeln!(
        html,
        "</table>\n<p class=\"about\">Rows are kept whose {} is {than} their language's threshold. \"At 0.85\" is the part of the scored rows \
         that this threshold would keep. A score is not calibrated across languages: the same number is another quality.</p>",
        escape(&report.score)
    );
    html.push_str("<h2>Scores</h2>\n");
    for (language, bars) in &report.histograms {
        let threshold = report.languages.get(language).and_then(|of| of.threshold);
        let _ = writeln!(
            html,
            "<figure>{}<figcaption>{}</figcaption></figure>",
            histogram(report, bars, threshold),
            escape(language)
        );
    }
    section(&mut html, "Kept", kept);
    section(&mut html, "Not kept", rejected);
    html.push_str("</html>\n");
    html
}

fn cell(html: &mut String, tag: &str, text: &str) {
    let _ = write!(html, "<{tag} class=\"number\">{}</{tag}>", escape(text));
}

/// Bars of scores, with a line at the threshold.
fn histogram(report: &FilterReport, bars: &[u64], threshold: Option<f64>) -> String {
    let (low, high) = report.range;
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    let width = WIDTH / BARS;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"scores\">",
        HEIGHT + FOOT,
        HEIGHT + FOOT
    );
    for (number, count) in bars.iter().enumerate() {
        let height = (*count as f64 / most as f64 * HEIGHT as f64).ceil() as usize;
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{height}\" fill=\"#26c\"><title>{count}</title></rect>",
            number * width,
            HEIGHT - height,
            width - 1,
        );
    }
    let place = |score: f64| (score - low) / (high - low) * WIDTH as f64;
    if let Some(threshold) = threshold.filter(|threshold| (low..=high).contains(threshold)) {
        let x = place(threshold);
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\" stroke=\"#c33\" stroke-width=\"2\"/><text x=\"{x:.1}\" y=\"{}\" \
             font-size=\"12\" fill=\"#c33\" text-anchor=\"middle\">{threshold:.3}</text>",
            HEIGHT + 13
        );
    }
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{0}\" font-size=\"12\" fill=\"#888\">{low:.2}</text><text x=\"{WIDTH}\" y=\"{0}\" font-size=\"12\" fill=\"#888\" \
         text-anchor=\"end\">{high:.2}, most {most}</text></svg>",
        HEIGHT + 13
    );
    svg
}

fn section(html: &mut String, heading: &str, rows: &[Shown]) {
    let _ = writeln!(html, "<h2>{heading}</h2>\n<p class=\"about\">{} rows, drawn at random</p>", rows.len());
    for row in rows {
        let score = row.score.map_or_else(|| "no score".to_owned(), |score| format!("{score:.4}"));
        let why = row.rejected.as_ref().map(|why| format!(" · {why}")).unwrap_or_default();
        let about = format!("{} · {} · {score}{why}", row.id, row.language);
        let _ = writeln!(html, "<article>\n<div class=\"about\">{}</div>", escape(&about));
        let pictures = row.media.iter().filter_map(|medium| match medium {
            Media::Image(picture) => Some(picture),
            Media::Video(_) => None,
        });
        pictures.take(4).for_each(|picture| figure(html, picture));
        for (name, text) in &row.texts {
            let text = match text.char_indices().nth(CHARACTERS) {
                Some((end, _)) => format!("{} …", &text[..end]),
                None => text.clone(),
            };
            let _ =
                writeln!(html, "<div class=\"role\">{}</div><pre dir=\"auto\">{}</pre>", escape(name), escape(&text));
        }
        html.push_str("</article>\n");
    }
}

fn figure(html: &mut String, picture: &Picture) {
    let image = picture.decode(&Limits::default().decode()).map_err(|reason| reason.to_string());
    let small = image.and_then(|image| small_jpeg(image, THUMBNAIL, QUALITY).map_err(|error| error.to_string()));
    let _ = match small {
        Ok(jpeg) => {
            writeln!(html, "<figure><img alt=\"\" src=\"data:image/jpeg;base64,{}\"></figure>", STANDARD.encode(jpeg))
        }
        Err(reason) => writeln!(html, "<figure>{}</figure>", escape(&reason)),
    };
}
