//! Two models on the same questions, as a page and as a table for a terminal.

use std::fmt::Write;

use super::chart::{Bar, bars};
use super::examples::{picture, question};
use super::overview::headings;
use super::text::{counted, language_name, reply, thousands, verdict, verdict_class, written};
use super::{CSS, Pictures, header, made};
use crate::eval::{Changed, Comparison, Metric, PairedScore, Pairs, Unpaired};
use crate::report::page::{Page, document};
use crate::report::palette::Ink;
use crate::report::panels::{Scale, signed};
use crate::report::scores::padded;
use crate::report::svg::escape;
use crate::report::table::{Entry, Line, Table};

/// The most items that changed side, of a metric and direction; the rest is counted.
const ITEMS: usize = 24;
/// The most names of a list; the rest is counted.
const NAMES: usize = 50;
/// With more rows, languages have a table alone.
const CHARTED: usize = 60;
/// Below this a p-value is said to be below it.
const LEAST_P: f64 = 1e-4;

/// Everything that a comparison's page shows.
#[derive(Clone, Copy)]
pub struct CompareReport<'a> {
    /// Title of the page.
    pub title: &'a str,
    /// What A and B are.
    pub names: [&'a str; 2],
    /// The command, as typed; may be empty, as the three below.
    pub command: &'a str,
    /// Commit of the program.
    pub commit: &'a str,
    /// Where it ran.
    pub device: &'a str,
    /// When it was made.
    pub finished: &'a str,
    /// The comparison.
    pub comparison: &'a Comparison<'a>,
    /// What the metrics mean.
    pub metrics: &'a [Metric],
    /// Loads small versions of the pictures of items.
    pub pictures: &'a Pictures<'a>,
}

/// The comparison as one HTML document.
pub fn compare_html(input: &CompareReport<'_>) -> String {
    let comparison = input.comparison;
    let mut page = Page::default();
    differences(&mut page, comparison);
    languages(&mut page, comparison);
    changed(&mut page, input);
    unpaired(&mut page, comparison);
    metrics(&mut page, input);
    made(&mut page, [input.command, input.commit, input.device, input.finished]);
    let [a, b] = input.names.map(escape);
    let eyebrow = format!("A: <code>{a}</code><br>B: <code>{b}</code>");
    let top = header(&eyebrow, input.title, &lead(comparison));
    document(input.title, &format!("{top}{}{}", page.contents(), page.html), CSS)
}

/// What differs, in a sentence.
fn lead(comparison: &Comparison<'_>) -> String {
    let all: Vec<&PairedScore> = in_all(comparison).collect();
    let clear = all.iter().filter(|score| score.excludes_zero()).count();
    let scores = counted(all.len(), "score", "scores");
    match clear {
        0 => format!("{scores}: no 95 % interval of a difference excludes 0; these answers do not tell the two apart."),
        clear => format!("{scores}: the 95 % interval of {} excludes 0.", counted(clear, "difference", "differences")),
    }
}

fn in_all<'a>(comparison: &'a Comparison<'_>) -> impl Iterator<Item = &'a PairedScore> {
    comparison.scores.iter().filter(|score| score.language.is_none())
}

fn differences(page: &mut Page, comparison: &Comparison<'_>) {
    page.section("differences", "Differences");
    let all: Vec<&PairedScore> = in_all(comparison).collect();
    let bars_of = all.iter().map(|score| bar(score, String::new(), &score.label)).collect();
    let chart =
        bars("B − A", "Over the items that both have", "difference, percentage points", Scale::Difference, bars_of);
    page.drawing(
        &chart,
        "A filled dot: the paired 95 % interval excludes 0. A hollow dot: these answers cannot tell the two apart.",
    );
    page.table(&table("Metric", all.iter().map(|score| (score.label.clone(), *score))));
    page.paragraph(
        "B − A in percentage points, with the paired 95 % bootstrap interval below: both are measured on the same resampled groups of \
         questions (a picture with all its questions). Over several languages the difference is the mean of the languages', each weighing \
         the same; the counts are of all items together. p is that of McNemar's exact test, two-sided: how often a fair coin would part the \
         items that only one of the two has right at least as unevenly. It takes items for independent; where several questions are about \
         one picture, trust the interval. Scores between 0 and 1 have no p. Neither interval nor p is corrected for the number of \
         comparisons.",
    );
}

fn languages(page: &mut Page, comparison: &Comparison<'_>) {
    let by_language: Vec<&PairedScore> = comparison.scores.iter().filter(|score| score.language.is_some()).collect();
    if by_language.is_empty() {
        return;
    }
    page.section("languages", "By language");
    let name = |score: &PairedScore| score.language.as_deref().map(language_name).unwrap_or_default();
    if by_language.len() <= CHARTED {
        let bars_of = by_language.iter().map(|score| bar(score, score.label.clone(), &name(score))).collect();
        let chart = bars(
            "B − A by language",
            "Over the items that both have",
            "difference, percentage points",
            Scale::Difference,
            bars_of,
        );
        page.drawing(&chart, "A filled dot: the paired 95 % interval excludes 0.");
    }
    page.folded("As a table", |page| {
        let label = |score: &PairedScore| format!("{} · {}", score.label, name(score));
        page.table(&table("Metric and language", by_language.iter().map(|score| (label(score), *score))));
    });
}

fn bar(score: &PairedScore, block: String, label: &str) -> Bar {
    let ink = if score.excludes_zero() { Ink::Text } else { Ink::Muted };
    let label = format!("{label} (N = {})", thousands(score.n));
    Bar { block, label, value: score.difference, low: score.low, high: score.high, ink }
}

fn table<'a>(corner: &str, rows: impl Iterator<Item = (String, &'a PairedScore)>) -> Table {
    let row = |(label, score): (String, &PairedScore)| {
        let n = Entry {
            detail: format!("in {}", counted(score.groups, "group", "groups")),
            ..Entry::plain(thousands(score.n))
        };
        let difference = Entry {
            figure: signed(score.difference),
            detail: format!("{} to {}", signed(score.low), signed(score.high)),
            strong: score.excludes_zero(),
        };
        let figure = |figure: String| Entry { figure, ..Entry::default() };
        let [p, both_right, only_a, only_b, both_wrong] = columns_of(&score.pairs).map(figure);
        let [a, b] = [score.a, score.b].map(|score| figure(format!("{score:.1}")));
        let entries = vec![difference, p, a, b, n, both_right, only_a, only_b, both_wrong];
        Line { label, series: None, entries }
    };
    let columns = headings(&["B − A", "p", "A", "B", "N", "Both right", "Only A", "Only B", "Both wrong"]);
    Table { corner: corner.to_owned(), columns, rows: rows.map(row).collect() }
}

/// p, both right, only A, only B, both wrong.
fn columns_of(pairs: &Pairs) -> [String; 5] {
    let nothing = || "–".to_owned();
    match pairs {
        Pairs::RightOrWrong { both_right, only_a, only_b, both_wrong, mcnemar } => {
            [p_value(*mcnemar), thousands(*both_right), thousands(*only_a), thousands(*only_b), thousands(*both_wrong)]
        }
        Pairs::Graded { a_higher, b_higher, equal } => [
            nothing(),
            format!("{} equal", thousands(*equal)),
            format!("{} higher", thousands(*a_higher)),
            format!("{} higher", thousands(*b_higher)),
            nothing(),
        ],
    }
}

fn p_value(p: f64) -> String {
    match p {
        p if p < LEAST_P => "< 0.0001".to_owned(),
        p if p < 0.01 => format!("{p:.4}"),
        p => format!("{p:.3}"),
    }
}

fn changed(page: &mut Page, input: &CompareReport<'_>) {
    let all = &input.comparison.changed;
    page.section("changed", "Items that changed side");
    if all.is_empty() {
        page.paragraph("None: every item has the same score on both sides.");
        return;
    }
    // A benchmark's other metrics change on the same items: its first one that changed stands for them.
    let mut shown: Vec<(&str, &str)> = Vec::new();
    for item in all {
        if !shown.iter().any(|(benchmark, _)| *benchmark == item.a.benchmark) {
            shown.push((&item.a.benchmark, item.metric));
        }
    }
    for (benchmark, metric) in shown {
        let label = input.metrics.iter().find(|known| known.name == metric).map_or(metric, |metric| &metric.label);
        let of_metric = || all.iter().filter(|item| item.metric == metric && item.a.benchmark == benchmark);
        for (direction, gained) in [("better in B", true), ("better in A", false)] {
            let items: Vec<&Changed<'_>> = of_metric().filter(|item| (item.score_b > item.score_a) == gained).collect();
            if items.is_empty() {
                continue;
            }
            page.folded(&format!("{label}: {}, {direction}", counted(items.len(), "item", "items")), |page| {
                page.html.push_str("<div class=\"examples\">");
                items.iter().take(ITEMS).for_each(|item| card(&mut page.html, item, input.pictures));
                page.html.push_str("</div>\n");
                rest(page, items.len(), ITEMS, ("more item", "more items"));
            });
        }
    }
}

/// How many are not shown.
fn rest(page: &mut Page, all: usize, shown: usize, (one, many): (&str, &str)) {
    if all > shown {
        page.paragraph(&format!("{} not shown.", counted(all - shown, one, many)));
    }
}

fn card(html: &mut String, item: &Changed<'_>, pictures: &Pictures<'_>) {
    html.push_str("<article class=\"example\">");
    picture(html, item.a, pictures);
    let language = escape(&language_name(item.a.language_tag()));
    let _ = write!(html, "<div><p class=\"where\">{language} · {}</p>", escape(&item.a.id));
    question(html, item.a);
    for (side, prediction, score) in [("A", item.a, item.score_a), ("B", item.b, item.score_b)] {
        let (class, words) = (verdict_class(score), verdict(score));
        let _ = write!(
            html,
            "<p class=\"verdict {class}\">{side}: {words}</p><div class=\"reply\"{}>{}</div>",
            written(prediction),
            reply(prediction)
        );
    }
    html.push_str("</div></article>");
}

/// What could not be compared, by name.
fn unpaired(page: &mut Page, comparison: &Comparison<'_>) {
    page.section("unpaired", "Items without a counterpart");
    let lists = [
        ("only in A", &comparison.only_a),
        ("only in B", &comparison.only_b),
        ("with another question on the other side", &comparison.other_question),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        page.paragraph("None: both sides have the same items and metrics.");
        return;
    }
    page.paragraph("These are in no score of this page.");
    for (words, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        page.folded(&format!("{} {words}", counted(list.len(), "item", "items")), |page| {
            let name = |item: &Unpaired<'_>| format!("{}, {} ({})", item.benchmark, item.id, item.metrics.join(", "));
            page.caveats(list.iter().take(NAMES).map(name));
            rest(page, list.len(), NAMES, ("more name", "more names"));
        });
    }
}

fn metrics(page: &mut Page, input: &CompareReport<'_>) {
    let compared = |metric: &&Metric| input.comparison.scores.iter().any(|score| score.metric == metric.name);
    let known: Vec<&Metric> = input.metrics.iter().filter(compared).collect();
    if !known.is_empty() {
        page.section("metrics", "What the metrics mean");
        page.facts(known.iter().map(|metric| (metric.label.as_str(), metric.explanation.as_str())));
    }
}

/// The comparison as a Markdown table, columns padded so that it reads in a terminal too, with what could not be compared below.
pub fn comparison_markdown(comparison: &Comparison<'_>) -> String {
    let heading = ["Metric", "Language", "N", "A", "B", "B − A", "95 % interval", "p", "Only A", "Only B"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for score in &comparison.scores {
        let [p, _, only_a, only_b, _] = columns_of(&score.pairs);
        let mark = if score.excludes_zero() { " *" } else { "" };
        lines.push(vec![
            score.label.clone(),
            score.language.clone().unwrap_or_else(|| "all".to_owned()),
            score.n.to_string(),
            format!("{:.1}", score.a),
            format!("{:.1}", score.b),
            format!("{}{mark}", signed(score.difference)),
            format!("{} to {}", signed(score.low), signed(score.high)),
            p,
            only_a,
            only_b,
        ]);
    }
    let mut text = padded(&lines, 2);
    text.push_str("\n\\* the paired 95 % interval excludes 0. p: McNemar's exact test, two-sided.\n");
    let lists = [
        ("only A has", &comparison.only_a),
        ("only B has", &comparison.only_b),
        ("stand for another question on the other side", &comparison.other_question),
    ];
    for (words, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let names: Vec<&str> = list.iter().take(3).map(|item| item.id).collect();
        let more = if list.len() > names.len() { ", ..." } else { "" };
        let _ = writeln!(
            text,
            "{} that {words}, not compared: {}{more}",
            counted(list.len(), "item", "items"),
            names.join(", ")
        );
    }
    text
}
