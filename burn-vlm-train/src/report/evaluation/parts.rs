//! The scores by language, and by what the data files the questions under.

use std::collections::BTreeSet;

use super::EvaluationReport;
use super::chart::{Bar, bars};
use super::overview::{chance, entry, headings};
use super::scores::EvaluationScore;
use super::text::{language_name, thousands};
use crate::eval::{Evaluated, Prediction};
use crate::report::page::Page;
use crate::report::palette::Ink;
use crate::report::panels::Scale;
use crate::report::table::{Entry, Heading, Line, Table};

/// With more values a tag has a table alone: nobody reads a taller chart.
const CHARTED: usize = 40;

pub(super) fn sections(page: &mut Page, input: &EvaluationReport<'_>) {
    languages(page, input);
    categories(page, input);
}

/// Tags of a benchmark's languages.
pub(super) fn languages_of(one: &Evaluated) -> Vec<&str> {
    one.predictions.iter().map(Prediction::language_tag).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The scores of one language each that a benchmark's own rules give.
fn by_language<'a>(input: &EvaluationReport<'a>, benchmark: &str) -> Vec<&'a EvaluationScore> {
    let of_benchmark = |score: &&EvaluationScore| score.benchmark == benchmark && score.own && score.tag.is_none();
    input.scores.iter().filter(of_benchmark).filter(|score| score.score.language.is_some()).collect()
}

fn languages(page: &mut Page, input: &EvaluationReport<'_>) {
    let told = |one: &&Evaluated| languages_of(one).iter().any(|tag| *tag != "und");
    let told: Vec<&Evaluated> = input.evaluated.iter().filter(told).collect();
    if told.is_empty() {
        return;
    }
    page.section("languages", "By language");
    if told.len() > 1 {
        page.table(&crossed(input, &told));
    }
    for one in told {
        let scores = by_language(input, &one.benchmark);
        let name = |score: &EvaluationScore| score.score.language.as_deref().map(language_name).unwrap_or_default();
        let lines: Vec<(String, &EvaluationScore)> = scores.into_iter().map(|score| (name(score), score)).collect();
        drawn(page, (&one.benchmark, metric_of(one)), "by language", &lines);
        page.folded(&format!("{} as a table", one.benchmark), |page| page.table(&table("Language", &lines)));
    }
}

/// The name of a benchmark's first metric.
fn metric_of(one: &Evaluated) -> &str {
    one.metrics.first().map_or("", |metric| &metric.label)
}

/// Benchmarks x languages, first metrics.
fn crossed(input: &EvaluationReport<'_>, benchmarks: &[&Evaluated]) -> Table {
    let tags: BTreeSet<&str> = benchmarks.iter().flat_map(|one| languages_of(one)).collect();
    let mut rows = Vec::new();
    for one in benchmarks {
        let scores = by_language(input, &one.benchmark);
        for of_part in scores.chunk_by(|a, b| a.score.subset == b.score.subset && a.score.metric == b.score.metric) {
            let Some(first) = of_part.first().filter(|score| score.first) else { continue };
            let words = first.score.subset.words();
            let label = std::iter::once(one.benchmark.clone()).chain(words).collect::<Vec<_>>().join(", ");
            let of_tag = |tag: &&str| {
                let found = of_part.iter().find(|score| score.score.language.as_deref() == Some(tag));
                found.map_or_else(|| Entry::plain("–".into()), |score| entry(&score.score))
            };
            rows.push(Line { label, series: None, entries: tags.iter().map(of_tag).collect() });
        }
    }
    let columns = tags.iter().map(|tag| Heading { title: language_name(tag), note: (*tag).to_owned() }).collect();
    Table { corner: "Benchmark".into(), columns, rows }
}

fn categories(page: &mut Page, input: &EvaluationReport<'_>) {
    let tagged: Vec<&EvaluationScore> =
        input.scores.iter().filter(|score| score.own && score.first && score.tag.is_some()).collect();
    if tagged.is_empty() {
        return;
    }
    page.section("categories", "By category");
    page.paragraph(
        "By what the data files the questions under, in the words of the file. Chance is that of the whole benchmark; a category whose \
         questions have more or fewer options has another.",
    );
    let name = |score: &EvaluationScore| score.tag.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
    for of_tag in tagged.chunk_by(|a, b| a.benchmark == b.benchmark && name(a) == name(b)) {
        let Some(first) = of_tag.first() else { continue };
        let value = |score: &EvaluationScore| score.tag.as_ref().map(|(_, value)| value.clone()).unwrap_or_default();
        let lines: Vec<(String, &EvaluationScore)> = of_tag.iter().map(|score| (value(score), *score)).collect();
        let by = format!("by {}", name(first));
        let metric = input.evaluated.iter().find(|one| one.benchmark == first.benchmark).map_or("", metric_of);
        drawn(page, (&first.benchmark, metric), &by, &lines);
        let title = format!("{} {by} as a table", first.benchmark);
        page.folded(&title, |page| page.table(&table(&name(first), &lines)));
    }
}

/// A chart of the first metric, in blocks by the benchmark's own parts; none where there is nothing to compare or too much to see.
fn drawn(page: &mut Page, (benchmark, metric): (&str, &str), by: &str, lines: &[(String, &EvaluationScore)]) {
    page.heading(&format!("{benchmark}, {by}"));
    let first: Vec<&(String, &EvaluationScore)> = lines.iter().filter(|(_, score)| score.first).collect();
    let Some((_, any)) = first.first() else { return };
    if first.len() < 2 {
        return;
    }
    if first.len() > CHARTED {
        page.paragraph(&format!("{} values: in the table.", first.len()));
        return;
    }
    let part = |score: &EvaluationScore| {
        let tag = score.tag.as_ref().map(|(name, _)| name.as_str());
        let own = score.score.subset.iter().filter(|(name, _)| Some(*name) != tag);
        own.map(|(name, value)| format!("{value} {name}")).collect::<Vec<_>>().join(", ")
    };
    let bar = |(label, score): &&(String, &EvaluationScore)| Bar {
        block: part(score),
        label: format!("{label} (N = {})", thousands(score.score.n)),
        value: score.score.score,
        low: score.score.low,
        high: score.score.high,
        ink: Ink::Series(0),
    };
    let scale = Scale::Score { chance: any.score.chance };
    let chart = bars(metric, by, "score, %", scale, first.iter().map(bar).collect());
    page.drawing(&chart, "The number of questions stands beside each name.");
}

fn table(corner: &str, lines: &[(String, &EvaluationScore)]) -> Table {
    let several = lines.windows(2).any(|pair| match pair {
        [(_, a), (_, b)] => a.score.metric != b.score.metric,
        _ => false,
    });
    let row = |(label, score): &(String, &EvaluationScore)| {
        let score = &score.score;
        // A tag is part of its own label already.
        let label = if several { format!("{label} · {}", score.label) } else { label.clone() };
        Line { label, series: None, entries: vec![Entry::plain(thousands(score.n)), entry(score), chance(score)] }
    };
    let columns = headings(&["N", "Score", "Chance"]);
    Table { corner: corner.to_owned(), columns, rows: lines.iter().map(row).collect() }
}
