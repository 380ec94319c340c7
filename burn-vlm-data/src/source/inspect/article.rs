//! One sample on the page: its pictures as thumbnails and its conversation.

use super::super::{SkipReason, Source};
use super::clips::{count_of_list, strip, strip_of_list};
use super::page::escape;
use super::{Reader, Segment};
use crate::image::{DecodeLimits, DynamicImage, ImageProcessor, RgbImage, decode, small_jpeg, to_rgb};
use crate::sample::{Media, Picture, Sample, Video, WHITE};
use crate::video::VideoSettings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// Pixels of the longer edge of a thumbnail.
const THUMBNAIL: u32 = 240;
/// JPEG quality of thumbnails.
const QUALITY: u8 = 80;
/// The most pictures shown of one sample; videos have strips of their own.
const PICTURES: usize = 8;
/// The most views shown of a picture.
const VIEWS: usize = 16;
/// The most characters shown of a text.
const CHARACTERS: usize = 20_000;

/// Writes a sample.
pub(super) fn article(
    html: &mut String,
    source: &dyn Source,
    (reader, tower, videos): (Option<&Reader>, Option<&ImageProcessor>, &VideoSettings),
    record: u64,
    sample: &Sample,
) {
    let language = sample.language.map_or("no language", |language| language.tag());
    let mut about = format!("{} · record {record} · {language}", sample.id);
    if !sample.tags.is_empty() {
        let _ = write!(about, " · {}", sample.tags.join(", "));
    }
    let _ = writeln!(html, "<article>\n<div class=\"about\">{}</div>", escape(&about));
    let limits = source.limits().decode();
    let pictures = || {
        sample.media.iter().filter_map(|medium| match medium {
            Media::Image(picture) => Some(picture),
            Media::Video(_) => None,
        })
    };
    for picture in pictures().take(PICTURES) {
        let name = escape(&picture.name());
        // Decoded once, for the page and for the tower, which may have another ground.
        let image = decoded(picture, &limits).map_err(|reason| reason.to_string());
        let shown = image.clone().and_then(|image| {
            let image = to_rgb(image, Some(WHITE));
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
        let seen = image.ok().zip(tower).map(|(image, tower)| seen(tower, &picture.name(), image));
        let _ = match seen {
            None => Ok(()),
            Some(Ok((views, size))) => {
                let count = views.len();
                let shown: String = views
                    .iter()
                    .take(VIEWS)
                    .map(|data| format!("<img alt=\"\" class=\"seen\" src=\"data:image/jpeg;base64,{data}\"> "))
                    .collect();
                let views = if count == 1 { "one view".to_owned() } else { format!("{count} views") };
                writeln!(
                    html,
                    "<figure>{shown}<figcaption>as the tower sees it: {views} of {size}</figcaption></figure>"
                )
            }
            Some(Err(reason)) => writeln!(html, "<figure>{}</figure>", escape(&reason)),
        };
    }
    // Frames of each video.
    let mut frames = Vec::new();
    for medium in &sample.media {
        match medium {
            Media::Video(Video::Clip(clip)) => frames.push(strip(html, clip, videos)),
            Media::Video(Video::Frames(list)) => {
                strip_of_list(html, list, &videos.sampling, &limits);
                frames.push(count_of_list(list.len(), &videos.sampling));
            }
            Media::Image(_) => {}
        }
    }
    let more = pictures().count().saturating_sub(PICTURES);
    if more > 0 {
        let _ = writeln!(html, "<p class=\"about\">and {more} more pictures</p>");
    }
    match reader.map(|reader| reader.segments(sample, &frames)) {
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

fn turns(html: &mut String, sample: &Sample) {
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

fn decoded(picture: &Picture, limits: &DecodeLimits) -> Result<DynamicImage, SkipReason> {
    Ok(decode(&picture.name(), &picture.read()?, limits)?)
}

/// The views of a picture behind its preprocessing, as small JPEGs in base64, and their size.
fn seen(tower: &ImageProcessor, name: &str, image: DynamicImage) -> Result<(Vec<String>, String), String> {
    let image = to_rgb(image, tower.config().background);
    let seen = tower.process_tiles(&image).map_err(|error| error.of(name).to_string())?;
    let views = tower.views(&seen).into_iter().map(thumbnail);
    Ok((views.collect::<Result<_, _>>()?, format!("{} x {}", seen.width, seen.height)))
}

/// The picture as a small JPEG in base64.
fn thumbnail(image: RgbImage) -> Result<String, String> {
    Ok(STANDARD.encode(small_jpeg(image, THUMBNAIL, QUALITY).map_err(|error| error.to_string())?))
}
