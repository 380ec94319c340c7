//! The first table: each benchmark under its rules, the averages, and what the rules themselves print.

use burn_vlm_eval::PromptStyle;
use serde_json::Value;

use super::EvaluationReport;
use super::scores::EvaluationScore;
use super::text::{language_name, thousands};
use crate::eval::{Evaluated, PublishedInfo};
use crate::report::ModelScore;
use crate::report::page::Page;
use crate::report::panels::plain;
use crate::report::table::{Entry, Heading, Line, Table};

/// Totals of more lines are folded.
const OPEN_TOTALS: usize = 8;

pub(super) fn section(page: &mut Page, input: &EvaluationReport<'_>) {
    page.section("scores", "Scores");
    averages(page, input);
    let (first, others): (Vec<&EvaluationScore>, Vec<&EvaluationScore>) =
        input.scores.iter().filter(|score| score.in_all()).partition(|score| score.first);
    page.table(&of_benchmarks(input.evaluated, &first));
    page.paragraph(
        "Percent, with the 95 % bootstrap interval below: groups of questions (a picture with all its questions) are resampled as a \
         whole. Over several languages the score is the mean of the languages, each weighing the same. At 0 and 100 % the interval \
         is Wilson's. The mark – stands where there is nothing to show, or guessing has no level.",
    );
    if !others.is_empty() {
        page.folded("Other metrics of the same benchmarks", |page| page.table(&of_metrics(&others)));
    }
    explanations(page, input.evaluated);
    totals(page, input.evaluated);
}

fn averages(page: &mut Page, input: &EvaluationReport<'_>) {
    if input.averages.is_empty() {
        return;
    }
    let rows = input.averages.iter().map(|average| Line {
        label: average.name.clone(),
        series: None,
        entries: vec![
            interval(average.score, average.low, average.high),
            Entry::plain(thousands(average.n)),
            Entry::plain(average.of.len().to_string()),
        ],
    });
    page.table(&Table { corner: "Average".into(), columns: headings(&["Mean", "N", "Scores"]), rows: rows.collect() });
    let of = |average: &super::NamedAverage| format!("{} Mean of: {}.", average.explanation, average.of.join(", "));
    page.folded("What the averages are taken over", |page| {
        page.facts(input.averages.iter().map(|average| (average.name.as_str(), of(average))));
    });
}

/// Column headings without notes.
pub(super) fn headings(titles: &[&str]) -> Vec<Heading> {
    titles.iter().map(|title| Heading { title: (*title).to_owned(), note: String::new() }).collect()
}

pub(super) fn interval(score: f64, low: f64, high: f64) -> Entry {
    Entry { figure: format!("{score:.1}"), detail: format!("{low:.1}–{high:.1}"), strong: false }
}

/// A score with its interval.
pub(super) fn entry(score: &ModelScore) -> Entry {
    interval(score.score, score.low, score.high)
}

/// The level of chance.
pub(super) fn chance(score: &ModelScore) -> Entry {
    Entry::plain(score.chance.map_or_else(|| "–".to_owned(), plain))
}

fn of_benchmarks(evaluated: &[Evaluated], first: &[&EvaluationScore]) -> Table {
    let mut rows = Vec::new();
    for one in evaluated {
        let rules = rules_entry(one.published.as_ref());
        let scores: Vec<&&EvaluationScore> = first.iter().filter(|score| score.benchmark == one.benchmark).collect();
        if scores.is_empty() {
            let nothing = || Entry::plain("–".into());
            let n = Entry { detail: questions(one, 0), ..Entry::plain("0".into()) };
            let entries = vec![nothing(), n, nothing(), rules.clone()];
            rows.push(Line { label: one.benchmark.clone(), series: None, entries });
        }
        for EvaluationScore { score, .. } in scores {
            // The part names what the number of questions is of.
            let whole = if score.subset.is_empty() { questions(one, score.n) } else { String::new() };
            let n = Entry { detail: whole, ..Entry::plain(thousands(score.n)) };
            let label =
                std::iter::once(one.benchmark.clone()).chain(score.subset.words()).collect::<Vec<_>>().join(", ");
            rows.push(Line { label, series: None, entries: vec![entry(score), n, chance(score), rules.clone()] });
        }
    }
    Table { corner: "Benchmark".into(), columns: headings(&["Score", "N", "Chance", "Rules"]), rows }
}

/// Of how many questions, where not each has a score.
fn questions(one: &Evaluated, n: usize) -> String {
    if n == one.questions { String::new() } else { format!("of {} questions", thousands(one.questions)) }
}

fn rules_entry(published: Option<&PublishedInfo>) -> Entry {
    let Some(published) = published else { return Entry::plain("–".into()) };
    let usual = published.prompt == PromptStyle::of(published.rules);
    let detail = if usual { String::new() } else { format!("{} prompts", prompt_name(published.prompt)) };
    Entry { detail, ..Entry::plain(published.rules.to_string()) }
}

/// The name of a prompt style in recipes.
fn prompt_name(style: PromptStyle) -> String {
    serde_json::to_value(style).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn of_metrics(scores: &[&EvaluationScore]) -> Table {
    let row = |EvaluationScore { score, .. }: &&EvaluationScore| Line {
        label: score.label.clone(),
        series: None,
        entries: vec![Entry::plain(thousands(score.n)), entry(score), chance(score)],
    };
    let rows = scores.iter().map(row).collect();
    Table { corner: "Metric".into(), columns: headings(&["N", "Score", "Chance"]), rows }
}

fn explanations(page: &mut Page, evaluated: &[Evaluated]) {
    page.folded("What is asked, and how it is scored", |page| {
        for one in evaluated {
            page.heading(&one.benchmark);
            if let Some(published) = &one.published {
                let about = published.about.trim_end_matches('.');
                page.paragraph(&format!("{about}. The rules are {}.", published.rules.whose()));
            }
            page.facts(one.metrics.iter().map(|metric| (metric.label.as_str(), metric.explanation.as_str())));
            let languages: Vec<String> = super::parts::languages_of(one).iter().map(|tag| language_name(tag)).collect();
            page.paragraph(&format!("Languages: {}.", languages.join(", ")));
        }
    });
}

/// What the rules print, under their own names.
fn totals(page: &mut Page, evaluated: &[Evaluated]) {
    let printed: Vec<(&Evaluated, Table)> =
        evaluated.iter().filter_map(|one| Some((one, totals_table(&one.totals)?))).collect();
    if printed.is_empty() {
        return;
    }
    page.heading("The references' own totals");
    page.paragraph("What the followed code prints for these replies, under its own names and in its own units.");
    for (one, table) in &printed {
        let rules = one.published.as_ref().map(|published| format!(", {}", published.rules)).unwrap_or_default();
        let title = format!("{}{rules}", one.benchmark);
        if table.rows.len() <= OPEN_TOTALS {
            page.table(&Table { corner: title, ..table.clone() });
        } else {
            page.folded(&title, |page| page.table(table));
        }
    }
}

/// Totals as a table: a line a number, nested names joined.
pub(super) fn totals_table(totals: &Value) -> Option<Table> {
    let mut rows = Vec::new();
    flatten(totals, String::new(), &mut rows);
    (!rows.is_empty()).then(|| Table { corner: "Name".into(), columns: headings(&["Value"]), rows })
}

fn flatten(value: &Value, name: String, rows: &mut Vec<Line>) {
    let within = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name} / {part}") };
    let figure = match value {
        Value::Object(parts) => return parts.iter().for_each(|(part, value)| flatten(value, within(part), rows)),
        Value::Array(parts) => {
            let numbered = parts.iter().enumerate();
            return numbered.for_each(|(number, value)| flatten(value, within(&(number + 1).to_string()), rows));
        }
        Value::Null if name.is_empty() => return,
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.push(Line { label: name, series: None, entries: vec![Entry::plain(figure)] });
}
