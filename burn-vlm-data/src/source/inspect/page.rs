//! One HTML page of samples, with everything in it: no script, no style sheet, no picture from elsewhere.

use super::super::{Source, SourceSample};
use super::{Inspection, Reader, Segment};
use crate::image::{DynamicImage, RgbImage};
use crate::sampler::Shuffled;
use ::image::codecs::jpeg::JpegEncoder;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// Pixels of the longer edge of a thumbnail.
const THUMBNAIL: u32 = 240;
/// JPEG quality of thumbnails.
const QUALITY: u8 = 80;
/// The most pictures shown of one sample, frames of a video among them.
const PICTURES: usize = 8;
/// The most skipped records that are spelled out.
const SKIPPED: usize = 200;
/// The most characters shown of a text.
const CHARACTERS: usize = 20_000;

const HEAD: &str = r#"<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; --line: #8884; --trained: #2a72; --visual: #26c3; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
figure { display: inline-block; margin: 0 .5rem .5rem 0; } figcaption, .about { color: var(--soft); font-size: .85em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: .3rem 0; }
.trained { background: var(--trained); border-radius: .2rem; } .visual { background: var(--visual); border-radius: .2rem;
  padding: 0 .3rem; font-size: .85em; } .role { color: var(--soft); font-size: .85em; margin-top: .5rem; }
</style>
"#;

/// The page: figures, `samples` samples chosen by `seed`, and what cannot be used. With a reader the conversation is shown as the
/// model reads it, trained tokens coloured; else turn by turn.
pub fn page(source: &Source, inspection: &Inspection, reader: Option<&Reader>, samples: usize, seed: u64) -> String {
    let mut html = String::new();
    let name = escape(&inspection.source);
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\n{HEAD}<h1>{name}</h1>\n"
    );
    html.push_str("<table>\n");
    for (name, value) in inspection.rows() {
        let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(&name), escape(&value));
    }
    html.push_str("</table>\n<h2>Samples</h2>\n");
    if reader.is_some() {
        html.push_str("<p class=\"about\"><span class=\"trained\">trained</span>, not trained, ");
        html.push_str("<span class=\"visual\">visual tokens</span></p>\n");
    }
    let order = Shuffled::new(usize::try_from(inspection.looked_at).unwrap_or(usize::MAX), seed);
    let records = (0..inspection.looked_at).map(|position| order.index(position) as u64);
    let shown = records.filter_map(|record| Some((record, source.get(record).ok()?))).take(samples);
    for (record, sample) in shown {
        article(&mut html, source, reader, record, &sample);
    }
    if !inspection.skipped.is_empty() {
        let _ = writeln!(html, "<h2>Left out: {}</h2>\n<table>", inspection.skipped.len());
        for skip in inspection.skipped.iter().take(SKIPPED) {
            let cells = [skip.reason.as_str(), &skip.file, &skip.place, skip.id.as_deref().unwrap_or(""), &skip.detail];
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            let _ = writeln!(html, "<tr>{cells}</tr>");
        }
        html.push_str("</table>\n");
        if inspection.skipped.len() > SKIPPED {
            let _ = writeln!(html, "<p>and {} more</p>", inspection.skipped.len() - SKIPPED);
        }
    }
    html.push_str("</html>\n");
    html
}

fn article(html: &mut String, source: &Source, reader: Option<&Reader>, record: u64, sample: &SourceSample) {
    let language = sample.language.map_or("no language", |language| language.tag());
    let about = format!("{} · record {record} · {language} · {}", sample.id, sample.tags.join(", "));
    let _ = writeln!(html, "<article>\n<div class=\"about\">{}</div>", escape(&about));
    let limits = source.config().limits.decode();
    for picture in sample.pictures().take(PICTURES) {
        let name = escape(&picture.name());
        let shown = picture.decode(&limits).map_err(|reason| reason.to_string()).and_then(|image| {
            let size = format!("{} x {}", image.width(), image.height());
            Ok((thumbnail(image)?, size))
        });
        let _ = match shown {
            Ok((data, size)) => {
                writeln!(
                    html,
                    "<figure><img alt=\"\" src=\"data:image/jpeg;base64,{data}\"><figcaption>{size}, {name}</figcaption></figure>"
                )
            }
            Err(reason) => writeln!(html, "<figure>{}<figcaption>{name}</figcaption></figure>", escape(&reason)),
        };
    }
    let more = sample.pictures().count().saturating_sub(PICTURES);
    if more > 0 {
        let _ = writeln!(html, "<p class=\"about\">and {more} more pictures</p>");
    }
    match reader.map(|reader| reader.segments(sample)) {
        Some(Ok(segments)) => {
            let spans: String = segments.iter().map(span).collect();
            let _ = writeln!(html, "<pre dir=\"auto\">{spans}</pre>");
        }
        Some(Err(reason)) => {
            let _ = writeln!(html, "<p>{}</p>", escape(&reason.to_string()));
            turns(html, sample);
        }
        None => turns(html, sample),
    }
    html.push_str("</article>\n");
}

fn turns(html: &mut String, sample: &SourceSample) {
    for turn in &sample.turns {
        let _ = writeln!(
            html,
            "<div class=\"role\">{}</div><pre dir=\"auto\">{}</pre>",
            turn.role.as_str(),
            escape(&shorten(&turn.text))
        );
    }
}

fn span(segment: &Segment) -> String {
    match segment {
        Segment { text, visual: true, .. } => format!("<span class=\"visual\">{text} visual tokens</span>"),
        Segment { text, trained: true, .. } => format!("<span class=\"trained\">{}</span>", escape(&shorten(text))),
        Segment { text, .. } => escape(&shorten(text)),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

/// The picture as a small JPEG in base64.
fn thumbnail(image: RgbImage) -> Result<String, String> {
    let image = DynamicImage::ImageRgb8(image);
    let small = match image.width().max(image.height()) > THUMBNAIL {
        true => image.thumbnail(THUMBNAIL, THUMBNAIL),
        false => image,
    };
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    small.write_with_encoder(encoder).map_err(|error| error.to_string())?;
    Ok(STANDARD.encode(bytes))
}

/// Text in which nothing is markup.
fn escape(text: &str) -> String {
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
