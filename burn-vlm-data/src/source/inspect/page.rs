//! One HTML page of samples, with everything in it: no script, no style sheet, no picture from elsewhere.

use super::super::Source;
use super::article::article;
use super::{Inspection, Reader};
use crate::image::ImageProcessor;
use crate::mixture::PlanSummary;
use crate::sampler::Shuffled;
use crate::video::VideoSettings;
use std::fmt::Write;
use std::sync::Arc;

/// The most skipped records that are spelled out of a source.
const SKIPPED: usize = 200;
/// Records that are tried for each sample to show, before data that is bad throughout is given up.
const TRIES: usize = 100;

const HEAD: &str = r#"<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; --line: #8884; --trained: #2a76; --visual: #26c3; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th, .short { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; } tr.sum { font-weight: bold; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
figure { display: inline-block; margin: 0 .5rem .5rem 0; } figcaption, .about { color: var(--soft); font-size: .85em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: .3rem 0; }
.trained { background: var(--trained); border-radius: .2rem; } .visual { background: var(--visual); border-radius: .2rem;
  padding: 0 .3rem; font-size: .85em; } .seen { max-width: 9rem; } .strip img { height: 4.5rem; } .role { color: var(--soft); font-size: .85em; margin-top: .5rem; }
</style>
"#;

/// What a page shows.
#[derive(Debug, Clone, Copy)]
pub struct PageOptions<'a> {
    /// Shows conversations as a model reads them, trained tokens coloured; without one, turn by turn.
    pub reader: Option<&'a Reader>,
    /// Shows each picture as the vision tower sees it too: resized, cropped, padded or tiled.
    pub tower: Option<&'a ImageProcessor>,
    /// Which frames of videos are shown, and how files are read.
    pub videos: &'a VideoSettings,
    /// Samples of each source.
    pub samples: usize,
    /// Chooses them.
    pub seed: u64,
}

/// The page: figures, some samples, and what cannot be used.
pub fn page(source: &dyn Source, inspection: &Inspection, options: PageOptions<'_>) -> String {
    let mut html = begin(&inspection.source);
    section(&mut html, "h2", (source, inspection), options);
    html.push_str("</html>\n");
    html
}

/// One page of several sources: what there is of each, what a mixture draws of them, and a section as on [`page`] for each.
pub fn mixture_page(
    title: &str,
    sources: &[(Arc<dyn Source>, Inspection)],
    plan: Option<&PlanSummary>,
    options: PageOptions<'_>,
) -> String {
    let mut html = begin(title);
    html.push_str("<table>\n<tr><th>source</th>");
    ["records", "looked at", "usable", "left out"].iter().for_each(|name| cell(&mut html, "th", "number", name));
    html.push_str("</tr>\n");
    for (number, (_, inspection)) in sources.iter().enumerate() {
        let _ = write!(html, "<tr><th><a href=\"#source-{number}\">{}</a></th>", escape(&inspection.source));
        let Inspection { records, looked_at, summary, .. } = inspection;
        for count in [*records, *looked_at, inspection.usable(), summary.total()] {
            cell(&mut html, "td", "number", &count.to_string());
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
    if let Some(plan) = plan {
        planned(&mut html, plan);
    }
    for (number, (source, inspection)) in sources.iter().enumerate() {
        let _ = writeln!(html, "<h2 id=\"source-{number}\">{}</h2>", escape(&inspection.source));
        section(&mut html, "h3", (source.as_ref(), inspection), options);
    }
    html.push_str("</html>\n");
    html
}

pub(crate) fn begin(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n{HEAD}<h1>{title}</h1>\n"
    )
}

fn cell(html: &mut String, tag: &str, class: &str, text: &str) {
    let _ = write!(html, "<{tag} class=\"{class}\">{}</{tag}>", escape(text));
}

/// What is drawn: a row for each language, a column for each source.
fn planned(html: &mut String, plan: &PlanSummary) {
    let _ = writeln!(html, "<h2>An epoch draws {} samples</h2>\n<table>\n<tr><th>language</th>", plan.total);
    let sources = plan.by_source();
    sources.iter().for_each(|(name, ..)| cell(html, "th", "number", name));
    html.push_str("<th class=\"number\">all</th><th class=\"number\">share</th></tr>\n");
    for (language, drawn, _) in plan.by_language() {
        html.push_str("<tr>");
        cell(html, "th", "", &language);
        for (source, ..) in &sources {
            let of = plan.draws.iter().find(|draws| draws.source == *source && draws.language == language);
            let text = of.map_or(String::new(), |draws| format!("{} of {}", draws.drawn, draws.available));
            cell(html, "td", "number", &text);
        }
        cell(html, "td", "number", &drawn.to_string());
        cell(html, "td", "number", &format!("{:.1} %", plan.percent(drawn)));
        html.push_str("</tr>\n");
    }
    html.push_str("<tr class=\"sum\"><th>all</th>");
    sources.iter().for_each(|(_, drawn, _)| cell(html, "td", "number", &drawn.to_string()));
    cell(html, "td", "number", &plan.total.to_string());
    html.push_str("<td></td></tr>\n</table>\n");
}

/// One source: figures, samples, what cannot be used; `heading` is the tag of the headings within.
fn section(
    html: &mut String,
    heading: &str,
    (source, inspection): (&dyn Source, &Inspection),
    PageOptions { reader, tower, videos, samples, seed }: PageOptions<'_>,
) {
    html.push_str("<table>\n");
    for (name, value) in inspection.rows() {
        let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(&name), escape(&value));
    }
    let _ = writeln!(html, "</table>\n<{heading}>Samples</{heading}>");
    if reader.is_some() {
        html.push_str("<p class=\"about\"><span class=\"trained\">trained</span>, not trained, ");
        html.push_str("<span class=\"visual\">visual tokens</span></p>\n");
    }
    let order = Shuffled::new(usize::try_from(inspection.looked_at).unwrap_or(usize::MAX), seed);
    let records =
        (0..inspection.looked_at).take(TRIES.saturating_mul(samples)).map(|position| order.index(position) as u64);
    let shown = records.filter_map(|record| Some((record, source.get(record).ok()?))).take(samples);
    for (record, sample) in shown {
        article(html, source, (reader, tower, videos), record, &sample);
    }
    let total = inspection.summary.total();
    if total > 0 {
        let _ = writeln!(html, "<{heading}>Left out: {total}</{heading}>\n<table>");
        let spelled = inspection.skipped.iter().take(SKIPPED);
        for skip in spelled.clone() {
            html.push_str("<tr>");
            cell(html, "td", "short", skip.reason.as_str());
            cell(html, "td", "", &skip.file);
            cell(html, "td", "", &skip.place);
            cell(html, "td", "", skip.id.as_deref().unwrap_or(""));
            cell(html, "td", "", &skip.detail);
            html.push_str("</tr>\n");
        }
        html.push_str("</table>\n");
        let more = total.saturating_sub(spelled.count() as u64);
        if more > 0 {
            let _ = writeln!(html, "<p>and {more} more</p>");
        }
    }
}

/// Text in which nothing is markup.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
