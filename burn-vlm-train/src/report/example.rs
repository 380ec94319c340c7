//! Single predictions, for a reader who wants to see what a score is made of.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::StudySpec;
use super::svg::escape;
use crate::stats::{Axes, GroupKey};

/// One question with its picture and what a cell answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The cell that answered.
    pub axes: Axes,
    /// How it was asked.
    pub group: GroupKey,
    /// Tag of its language.
    pub language: String,
    /// The picture; none for questions without one.
    pub picture: Option<ExamplePicture>,
    /// The question as the model saw it, without template tokens.
    pub prompt: String,
    /// The answer.
    pub answer: ExampleAnswer,
}

/// A picture as an encoded file.
#[derive(Clone, Debug, PartialEq)]
pub struct ExamplePicture {
    /// Media type, such as `image/webp` or `image/png`.
    pub media_type: String,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// What it shows, in English, for readers who cannot see it.
    pub description: String,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum ExampleAnswer {
    /// A choice between options, by score.
    Choice {
        /// The options in the order asked: text and score (length-normalised log-likelihood). The highest is the answer.
        options: Vec<(String, f64)>,
        /// Index of the right one.
        right: usize,
    },
    /// A generated text.
    Text {
        /// What the model wrote.
        generated: String,
        /// What is right.
        reference: String,
        /// Its score, 0 to 1.
        score: f64,
    },
}

/// A card of the report.
pub(super) fn card(spec: &StudySpec, example: &Example) -> String {
    let mut html = String::from("<article class=\"example\">");
    if let Some(picture) = &example.picture {
        let _ = write!(
            html,
            "<img src=\"data:{};base64,{}\" alt=\"{}\" width=\"96\" height=\"96\">",
            escape(&picture.media_type),
            STANDARD.encode(&picture.bytes),
            escape(&picture.description)
        );
    }
    let language = escape(&example.language);
    let _ = write!(
        html,
        "<div><p class=\"where\">{} · {}<br>{}</p><p class=\"prompt\" lang=\"{language}\" dir=\"auto\">{}</p>",
        escape(&spec.language_label(&example.language)),
        escape(&spec.cell_label(&example.axes)),
        escape(&spec.group_label(&example.group)),
        escape(&example.prompt)
    );
    match &example.answer {
        ExampleAnswer::Choice { options, right } => choice(&mut html, options, *right, &language),
        ExampleAnswer::Text { generated, reference, score } => {
            let _ = write!(
                html,
                "<p lang=\"{language}\" dir=\"auto\">{}</p><p class=\"where\">expected: <span lang=\"{language}\">{}</span> · score {:.0} %</p>",
                escape(generated),
                escape(reference),
                100.0 * score
            );
        }
    }
    html.push_str("</div></article>");
    html
}

fn choice(html: &mut String, options: &[(String, f64)], right: usize, language: &str) {
    let best = options.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let (chosen, top) = best.map_or((0, 0.0), |(index, (_, score))| (index, *score));
    html.push_str("<ol class=\"options\">");
    for (index, (text, score)) in options.iter().enumerate() {
        let (class, mark) = match (index == right, index == chosen) {
            (true, true) => ("right", "✓ right"),
            (true, false) => ("missed", "right answer"),
            (false, true) => ("wrong", "✗ wrong"),
            (false, false) => ("", ""),
        };
        // How likely the option is beside the chosen one.
        let share = (100.0 * (score - top).exp()).clamp(0.0, 100.0);
        let share = if share.is_finite() { share } else { 0.0 };
        let score = format!("{score:.2}").replace('-', "−");
        let _ = write!(
            html,
            "<li class=\"{class}\"><span class=\"bar\" style=\"width:{share:.0}%\"></span><span lang=\"{language}\" dir=\"auto\">{}</span><span class=\"score\">{mark} {score}</span></li>",
            escape(text)
        );
    }
    html.push_str("</ol>");
}
