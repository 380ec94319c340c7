//! Single items: picture, question, options, reply and verdict.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::text::{flag_words, language_name, letter, reply, shown, verdict, verdict_class, written};
use super::{EvaluationReport, Pictures, pills};
use crate::eval::{Evaluated, Prediction};
use crate::report::page::Page;
use crate::report::svg::escape;

/// Examples of each kind a benchmark.
const EACH: usize = 6;
/// From this score on an answer is shown among the right ones.
const RIGHT: f64 = 0.5;

pub(super) fn section(page: &mut Page, input: &EvaluationReport<'_>) {
    let drawn: Vec<(&Evaluated, [Vec<&Prediction>; 2])> = input
        .evaluated
        .iter()
        .map(|one| (one, draw(one, input.seed)))
        .filter(|(_, drawn)| drawn.iter().any(|list| !list.is_empty()))
        .collect();
    if drawn.is_empty() {
        return;
    }
    page.section("examples", "Examples");
    page.paragraph(&format!(
        "Up to {EACH} right and {EACH} wrong answers of each benchmark, drawn by the seed {}; among the wrong ones those first of which \
         nothing could be understood. An answer that is partly right stands with those that it is nearer to. A verdict under a metric \
         over groups (circular, pairs) is the group's.",
        input.seed
    ));
    for (one, [right, wrong]) in drawn {
        let metric = one.metrics.first().map_or("", |metric| metric.name.as_str());
        page.fold(&one.benchmark, input.evaluated.len() == 1, |page| {
            for (title, list) in [("Right", right), ("Wrong", wrong)] {
                if list.is_empty() {
                    continue;
                }
                page.heading(title);
                page.html.push_str("<div class=\"examples\">");
                for prediction in list {
                    card(&mut page.html, prediction, metric, input.pictures);
                }
                page.html.push_str("</div>\n");
            }
        });
    }
}

/// Right and wrong examples of a benchmark.
fn draw(one: &Evaluated, seed: u64) -> [Vec<&Prediction>; 2] {
    let Some(metric) = one.metrics.first() else { return [Vec::new(), Vec::new()] };
    // By a hash of the name: the same item is drawn on every machine, and whichever other items are there.
    let rank = |prediction: &Prediction| {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&seed.to_le_bytes())
            .update(one.benchmark.as_bytes())
            .update(&[0])
            .update(prediction.id.as_bytes());
        *hasher.finalize().as_bytes()
    };
    let [mut right, mut wrong] = [Vec::new(), Vec::new()];
    for prediction in &one.predictions {
        match prediction.score(&metric.name) {
            Some(score) if score >= RIGHT => right.push((false, rank(prediction), prediction)),
            Some(_) => wrong.push((prediction.flags.is_empty(), rank(prediction), prediction)),
            None => {}
        }
    }
    [right, wrong].map(|mut list| {
        list.sort_unstable_by_key(|one| (one.0, one.1));
        list.into_iter().take(EACH).map(|(_, _, prediction)| prediction).collect()
    })
}

fn card(html: &mut String, prediction: &Prediction, metric: &str, pictures: &Pictures<'_>) {
    html.push_str("<article class=\"example\">");
    picture(html, prediction, pictures);
    let score = prediction.score(metric);
    let (class, words) = score.map_or(("part", "no score".to_owned()), |score| (verdict_class(score), verdict(score)));
    let _ = write!(
        html,
        "<div><p class=\"where\">{} · {}</p>",
        escape(&language_name(prediction.language_tag())),
        escape(&prediction.id)
    );
    question(html, prediction);
    let _ = write!(html, "<div class=\"reply\"{}>{}</div>", written(prediction), reply(prediction));
    let _ = write!(html, "<p class=\"verdict {class}\">{words}</p>");
    understood(html, prediction);
    pills(html, prediction.flags.iter().map(|flag| flag_words(flag)));
    html.push_str("</div></article>");
}

/// The picture, if it can be loaded.
pub(super) fn picture(html: &mut String, prediction: &Prediction, pictures: &Pictures<'_>) {
    if let Some(picture) = pictures(prediction) {
        let _ = write!(
            html,
            "<img src=\"data:{};base64,{}\" alt=\"{}\" width=\"96\" height=\"96\">",
            escape(&picture.media_type),
            STANDARD.encode(&picture.bytes),
            escape(&picture.description)
        );
    }
}

/// The question with its options, the right one marked, or with what is right.
pub(super) fn question(html: &mut String, prediction: &Prediction) {
    let written = written(prediction);
    let _ = write!(html, "<p class=\"prompt\"{written}>{}</p>", shown(&prediction.question));
    if !prediction.options.is_empty() {
        html.push_str("<ol class=\"options\">");
        for (position, option) in prediction.options.iter().enumerate() {
            let (class, mark) = if prediction.answer == Some(position) { ("missed", "right answer") } else { ("", "") };
            let letter = letter(position).map(|letter| format!("{letter}. ")).unwrap_or_default();
            let _ = write!(
                html,
                "<li class=\"{class}\"><span>{letter}<bdi{written}>{}</bdi></span><span class=\"score\">{mark}</span></li>",
                shown(option)
            );
        }
        html.push_str("</ol>");
    }
    if !prediction.references.is_empty() {
        let references: Vec<String> =
            prediction.references.iter().map(|text| format!("<bdi{written}>{}</bdi>", shown(text))).collect();
        let _ = write!(html, "<p class=\"where\">right: {}</p>", references.join(" · "));
    }
}

/// What was understood of the reply, where that is not the reply itself.
fn understood(html: &mut String, prediction: &Prediction) {
    if prediction.text.is_none() || prediction.text == prediction.understood {
        return;
    }
    let text = match &prediction.understood {
        Some(text) => format!("<bdi dir=\"auto\">{}</bdi>", shown(text)),
        None => "nothing".to_owned(),
    };
    let _ = write!(html, "<p class=\"where\">understood: {text}</p>");
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::eval::{Metric, NamedScore};

    #[test]
    fn examples_are_drawn_by_the_seed_and_what_is_not_understood_comes_first() {
        let item = |number: usize| Prediction {
            scores: vec![NamedScore::right("m", number < 40)],
            flags: if number % 20 == 7 { vec!["invalid".into()] } else { Vec::new() },
            ..Prediction::new(format!("m/{number}"), "m", "g")
        };
        let metric = Metric { name: "m".into(), label: "m".into(), explanation: String::new(), chance: None };
        let one = Evaluated {
            rows: Vec::new(),
            benchmark: "m".into(),
            published: None,
            questions: 80,
            metrics: vec![metric],
            predictions: (0..80).map(item).collect(),
            totals: Value::Null,
            others: Vec::new(),
            notes: Vec::new(),
        };
        let ids =
            |seed: u64, one: &Evaluated| draw(one, seed).map(|l| l.iter().map(|p| p.id.clone()).collect::<Vec<_>>());
        let [right, wrong] = ids(1, &one);
        assert_eq!((right.len(), wrong.len()), (EACH, EACH));
        let mut first = wrong[..2].to_vec();
        first.sort_unstable();
        assert_eq!(first, ["m/47", "m/67"]);
        assert_eq!(ids(1, &one), [right.clone(), wrong]);
        assert_ne!(ids(2, &one)[0], right);
    }
}
