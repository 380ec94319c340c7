//! The report of an evaluation, and the comparison of two: pages in one file each, tables for a terminal and a spreadsheet.
//!
//! - [`evaluation_scores`] computes every number with its interval once; [`evaluation_html`] shows them with what stands behind them,
//!   [`scores_csv`] lists them;
//! - [`compare_html`] and [`comparison_markdown`] show a [`Comparison`](crate::eval::Comparison).
//!
//! Replies are text from outside, and may be anything: markup, a megabyte of one letter, marks that turn the direction of writing. Each
//! is escaped, cut to a length that is told, and stands in a block of its own.

mod answers;
mod chart;
mod comparison;
mod csv;
mod examples;
mod fidelity;
mod overview;
mod parts;
mod rules;
mod scores;
mod text;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::ExamplePicture;
use super::page::{Page, document};
use super::svg::escape;
use crate::eval::{Evaluated, NamedAverage, Prediction};

pub use comparison::{CompareReport, compare_html, comparison_markdown};
pub use csv::scores_csv;
pub use scores::{EvaluationScore, evaluation_scores};

/// Rules of style that studies do not need.
const CSS: &str = include_str!("evaluation.css");

/// The picture of a prediction, small enough for a page; none where there is none.
pub type Pictures<'a> = dyn Fn(&Prediction) -> Option<ExamplePicture> + 'a;

/// Everything that the report of an evaluation shows.
#[derive(Clone, Copy)]
pub struct EvaluationReport<'a> {
    /// Title of the page.
    pub title: &'a str,
    /// What was evaluated.
    pub model: &'a str,
    /// The command, as typed; may be empty, as the three below.
    pub command: &'a str,
    /// Commit of the program.
    pub commit: &'a str,
    /// Where it ran.
    pub device: &'a str,
    /// When it ended.
    pub finished: &'a str,
    /// The benchmarks with their answers.
    pub evaluated: &'a [Evaluated],
    /// [`evaluation_scores`] of them.
    pub scores: &'a [EvaluationScore],
    /// Averages over benchmarks, such as a paper quotes; may be empty.
    pub averages: &'a [NamedAverage],
    /// What a reader must know beside what each benchmark notes.
    pub notes: &'a [String],
    /// Seed by which the examples are drawn.
    pub seed: u64,
    /// Loads small versions of the pictures of examples.
    pub pictures: &'a Pictures<'a>,
}

/// The report of an evaluation as one HTML document.
pub fn evaluation_html(input: &EvaluationReport<'_>) -> String {
    let mut page = Page::default();
    overview::section(&mut page, input);
    parts::sections(&mut page, input);
    rules::section(&mut page, input);
    answers::sections(&mut page, input.evaluated);
    fidelity::section(&mut page, input.evaluated);
    examples::section(&mut page, input);
    notes(&mut page, input);
    made(&mut page, [input.command, input.commit, input.device, input.finished]);
    let questions: usize = input.evaluated.iter().map(|one| one.questions).sum();
    let benchmarks = text::counted(input.evaluated.len(), "benchmark", "benchmarks");
    let lead = format!("{benchmarks}, {}.", text::counted(questions, "question", "questions"));
    let top = header(&format!("Evaluation of <code>{}</code>", escape(input.model)), input.title, &lead);
    document(input.title, &format!("{top}{}{}", page.contents(), page.html), CSS)
}

/// The head of a page; `eyebrow` is HTML.
fn header(eyebrow: &str, title: &str, lead: &str) -> String {
    let (title, lead) = (escape(title), escape(lead));
    format!("<header><p class=\"eyebrow\">{eyebrow}</p><h1>{title}</h1><p class=\"lead\">{lead}</p></header>\n")
}

/// What a reader must know, each thing once.
fn notes(page: &mut Page, input: &EvaluationReport<'_>) {
    let mut notes: Vec<String> = input.notes.to_vec();
    for one in input.evaluated {
        let others = one.others.iter().flat_map(|other| {
            other.notes.iter().map(move |note| format!("{}, by the rules {}: {note}", one.benchmark, other.rules))
        });
        for note in one.notes.iter().cloned().chain(others) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    if !notes.is_empty() {
        page.section("notes", "Notes");
        page.caveats(notes);
    }
}

/// How the page was made.
fn made(page: &mut Page, [command, commit, device, finished]: [&str; 4]) {
    page.section("provenance", "How it was made");
    page.typed(command);
    page.facts([("Commit", commit), ("Device", device), ("Finished", finished)]);
}

/// A list of short facts in line.
fn pills(html: &mut String, pills: impl IntoIterator<Item = impl AsRef<str>>) {
    let items: String =
        pills.into_iter().map(|pill| format!("<li class=\"flag\">{}</li>", escape(pill.as_ref()))).collect();
    if !items.is_empty() {
        let _ = write!(html, "<ul class=\"pills\">{items}</ul>");
    }
}
