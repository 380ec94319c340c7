//! Pairs side by side on one HTML page, with everything in it.

use super::counts::{BenchmarkCounts, OverlapReport, SideCounts, by_reason};
use super::pair::{Pair, Reason, Side};
use super::records::OverlapRecord;
use crate::image::small_jpeg;
use crate::source::Limits;
use crate::source::inspect::{begin, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// Pixels of the longer edge of a thumbnail.
const THUMBNAIL: u32 = 200;
/// JPEG quality of thumbnails.
const QUALITY: u8 = 80;
/// The most texts of a record that are shown, and the most characters of one.
const TEXTS: usize = 12;
const CHARACTERS: usize = 600;
/// Common texts that are spelled out.
const COMMON: usize = 50;

/// The page. `shown` are pairs with their two records, the training row's first, in the order in which they are shown.
pub fn overlap_page(title: &str, report: &OverlapReport, shown: &[(Pair, OverlapRecord, OverlapRecord)]) -> String {
    let mut html = begin(title);
    html.push_str(
        "<style>.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } .pair > div { min-width: 0; }</style>\n",
    );
    let all: u64 = report.training.iter().map(|counts| counts.rows).sum();
    let _ = writeln!(
        html,
        "<p>{} pairs, of {} of {all} training rows. Each is a question for people: near pictures need not be the same, and a common \
         picture under another question is no leaked answer.</p>",
        report.pairs, report.training_found
    );
    html.push_str("<table>\n<tr><th>benchmark</th>");
    ["rows", "pictures", "unreadable", "in training", "share"].iter().for_each(|name| number(&mut html, "th", name));
    html.push_str("<th>by</th></tr>\n");
    for BenchmarkCounts { side, found, by_reason: reasons } in &report.benchmarks {
        let _ = write!(html, "<tr><th>{}</th>", escape(&side.name));
        let share = format!("{:.1} %", 100.0 * *found as f64 / side.rows.max(1) as f64);
        let counts = [side.rows, side.pictures, side.unreadable, *found].map(|count| count.to_string());
        counts.iter().chain([&share]).for_each(|text| number(&mut html, "td", text));
        let _ = writeln!(html, "<td>{}</td></tr>", by_reason(reasons));
    }
    html.push_str("</table>\n<table>\n<tr><th>training</th>");
    ["rows", "pictures", "without", "one colour", "unreadable"].iter().for_each(|name| number(&mut html, "th", name));
    html.push_str("</tr>\n");
    for SideCounts { name, rows, without_pictures, pictures, flat, unreadable } in &report.training {
        let _ = write!(html, "<tr><th>{}</th>", escape(name));
        for count in [rows, pictures, without_pictures, flat, unreadable] {
            number(&mut html, "td", &count.to_string());
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
    for reason in Reason::ALL {
        let of: Vec<_> = shown.iter().filter(|(pair, ..)| pair.reasons.first() == Some(&reason)).collect();
        if of.is_empty() {
            continue;
        }
        let heading = match reason {
            Reason::Bytes => "The same file",
            Reason::Id => "The same row",
            Reason::Text => "The same text",
            Reason::Perceptual => "Pictures that look alike",
        };
        let _ = writeln!(html, "<h2>{heading}</h2>\n<p class=\"about\">{} of them; pairs.jsonl has all</p>", of.len());
        of.into_iter().for_each(|shown| pair(&mut html, shown));
    }
    if !report.common_texts.is_empty() {
        let count = report.common_texts.len();
        let _ = writeln!(
            html,
            "<h2>Texts that are not compared: {count}</h2>\n<p class=\"about\">Many rows of a benchmark share them.</p>"
        );
        html.push_str("<table>\n<tr><th class=\"number\">rows</th><th>letters</th></tr>\n");
        for text in report.common_texts.iter().take(COMMON) {
            let _ = writeln!(
                html,
                "<tr><td class=\"number\">{}</td><td dir=\"auto\">{}</td></tr>",
                text.rows,
                escape(&short(&text.letters))
            );
        }
        html.push_str("</table>\n");
        if count > COMMON {
            let _ = writeln!(html, "<p>and {} more</p>", count - COMMON);
        }
    }
    html.push_str("</html>\n");
    html
}

fn number(html: &mut String, tag: &str, text: &str) {
    let _ = write!(html, "<{tag} class=\"number\">{}</{tag}>", escape(text));
}

fn pair(html: &mut String, (pair, training, benchmark): &(Pair, OverlapRecord, OverlapRecord)) {
    let mut why = vec![pair.reason_names().join(", ")];
    why.extend(pair.distance.map(|bits| format!("{bits} of 64 bits differ")));
    why.extend(pair.difference.map(|difference| format!("colours differ by {difference:.1} of 255")));
    why.extend(pair.shared_id.as_ref().map(|id| format!("id {id:?}")));
    let _ = writeln!(html, "<article>\n<div class=\"about\">{}</div>\n<div class=\"pair\">", escape(&why.join(" · ")));
    side(html, &pair.training, training);
    side(html, &pair.benchmark, benchmark);
    html.push_str("</div>\n");
    if let Some(text) = &pair.shared_text {
        let _ = writeln!(
            html,
            "<div class=\"about\">letters in common</div><pre dir=\"auto\">{}</pre>",
            escape(&short(text))
        );
    }
    html.push_str("</article>\n");
}

fn side(html: &mut String, side: &Side, record: &OverlapRecord) {
    let language = side.language.map(|language| format!(" · {language}")).unwrap_or_default();
    let about = format!("{} · record {} · {}{language}", side.source, side.record, side.id);
    let _ = writeln!(html, "<div><div class=\"about\">{}</div>", escape(&about));
    // The picture that is shared; of rows that share something else their first.
    if let Some(picture) = record.pictures().nth(side.number.unwrap_or(0)) {
        let small = picture
            .decode(&Limits::default().decode())
            .map_err(|reason| reason.to_string())
            .and_then(|image| small_jpeg(image, THUMBNAIL, QUALITY).map_err(|error| error.to_string()));
        let _ = match small {
            Ok(jpeg) => writeln!(
                html,
                "<figure><img alt=\"\" src=\"data:image/jpeg;base64,{}\"><figcaption>{}</figcaption></figure>",
                STANDARD.encode(jpeg),
                escape(&picture.name())
            ),
            Err(reason) => writeln!(html, "<figure>{}</figure>", escape(&reason)),
        };
    }
    for text in record.texts.iter().filter(|text| !text.trim().is_empty()).take(TEXTS) {
        let _ = writeln!(html, "<pre dir=\"auto\">{}</pre>", escape(&short(text)));
    }
    let more = record.texts.len().saturating_sub(TEXTS);
    if more > 0 {
        let _ = writeln!(html, "<p class=\"about\">and {more} more texts</p>");
    }
    html.push_str("</div>\n");
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
