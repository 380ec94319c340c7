//! The same replies under other rules: scores side by side, and the items on which they part.

use std::fmt::Write;

use burn_vlm_eval::Rules;

use super::EvaluationReport;
use super::overview::{entry, headings, totals_table};
use super::scores::EvaluationScore;
use super::text::{BRIEF, counted, cut, flag_words, reply_cut, share, thousands, verdict, verdict_class, written};
use crate::eval::{Evaluated, OtherRules, OtherVerdict, Prediction};
use crate::report::page::Page;
use crate::report::svg::escape;
use crate::report::table::{Entry, Line, Table};

/// The most items of a table; the rest is counted.
const ITEMS: usize = 50;

pub(super) fn section(page: &mut Page, input: &EvaluationReport<'_>) {
    let several: Vec<(&Evaluated, Rules)> = input
        .evaluated
        .iter()
        .filter(|one| !one.others.is_empty())
        .filter_map(|one| Some((one, one.published.as_ref()?.rules)))
        .collect();
    if several.is_empty() {
        return;
    }
    page.section("rules", "The same replies under other rules");
    page.paragraph(
        "The published scorers read the same replies differently. The first line of each benchmark follows the rules of this \
         evaluation; the others score the same replies, to the same prompts, by other rules. Items that differ are those whose score \
         under the first metric differs.",
    );
    page.table(&side_by_side(input, &several));
    for (one, rules) in several {
        for other in &one.others {
            items(page, one, rules, other);
        }
    }
}

fn side_by_side(input: &EvaluationReport<'_>, several: &[(&Evaluated, Rules)]) -> Table {
    let mut rows = Vec::new();
    for (one, rules) in several {
        rows.push(line(input, one, *rules, None));
        rows.extend(one.others.iter().map(|other| line(input, one, other.rules, Some(other))));
    }
    let columns = headings(&["N", "Score", "Items that differ", "Dropped"]);
    Table { corner: "Benchmark and rules".into(), columns, rows }
}

fn line(input: &EvaluationReport<'_>, one: &Evaluated, rules: Rules, other: Option<&OtherRules>) -> Line {
    let of_rules = |score: &&EvaluationScore| {
        score.benchmark == one.benchmark
            && score.rules == Some(rules)
            && score.own == other.is_none()
            && score.first
            && score.tag.is_none()
            && score.score.language.is_none()
    };
    let found = input.scores.iter().find(of_rules);
    let nothing = || Entry::plain("–".to_owned());
    let counted =
        |count: usize| Entry { detail: share(count, one.predictions.len()), ..Entry::plain(thousands(count)) };
    Line {
        label: format!("{}, {rules}", one.benchmark),
        series: None,
        entries: vec![
            found.map_or_else(nothing, |score| Entry::plain(thousands(score.score.n))),
            found.map_or_else(nothing, |score| entry(&score.score)),
            other.map_or_else(nothing, |other| counted(one.differing(other).count())),
            other.map_or_else(nothing, |other| {
                counted(other.verdicts.iter().filter(|verdict| verdict.is_none()).count())
            }),
        ],
    }
}

fn items(page: &mut Page, one: &Evaluated, rules: Rules, other: &OtherRules) {
    let theirs = other.rules;
    page.heading(&format!("{}: {rules} and {theirs}", one.benchmark));
    if let Some(table) = totals_table(&other.totals) {
        page.folded(&format!("What {theirs} prints"), |page| page.table(&table));
    }
    let otherwise = |(prediction, verdict): &(&Prediction, &Option<OtherVerdict>)| {
        verdict.as_ref().is_some_and(|verdict| verdict.understood != prediction.understood)
    };
    let understood = one.predictions.iter().zip(&other.verdicts).filter(otherwise).count();
    let differing: Vec<(&Prediction, &OtherVerdict)> =
        one.differing(other).filter_map(|(at, verdict)| Some((one.predictions.get(at)?, verdict))).collect();
    let words = format!(
        "{} of {} understood in another way, {} scored otherwise.",
        thousands(understood),
        counted(one.predictions.len(), "reply", "replies"),
        thousands(differing.len())
    );
    page.paragraph(&words);
    if differing.is_empty() {
        return;
    }
    page.folded("The items that are scored otherwise", |page| {
        let heads = ["Question", "Reply", rules.as_str(), theirs.as_str()];
        let head: String = heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
        let _ = write!(page.html, "<table class=\"items\"><thead><tr>{head}</tr></thead><tbody>");
        differing.iter().take(ITEMS).for_each(|item| row(&mut page.html, one, other, heads, *item));
        page.html.push_str("</tbody></table>\n");
        if let Some(rest) = differing.len().checked_sub(ITEMS).filter(|rest| *rest > 0) {
            page.paragraph(&format!(
                "{} not shown; predictions.jsonl has all.",
                counted(rest, "more item", "more items")
            ));
        }
    });
}

/// An item under both rules. On a phone its cells stand below each other, each under its heading.
fn row(html: &mut String, one: &Evaluated, other: &OtherRules, heads: [&str; 4], item: (&Prediction, &OtherVerdict)) {
    let (prediction, theirs) = item;
    let written = written(prediction);
    let [question, text, mine, their] = heads.map(escape);
    let _ = write!(
        html,
        "<tr><td data-label=\"{question}\"><div{written}>{}</div><p class=\"where\">{}</p></td>\
         <td data-label=\"{text}\"><div class=\"reply\"{written}>{}</div></td>",
        cut(&prediction.question, BRIEF),
        escape(&prediction.id),
        reply_cut(prediction, BRIEF)
    );
    let own_score = one.metrics.first().and_then(|metric| prediction.score(&metric.name));
    judged(html, &mine, prediction.understood.as_deref(), own_score, prediction.flags.iter().map(String::as_str));
    let their_score = other.first_score(&one.benchmark, theirs);
    judged(html, &their, theirs.understood.as_deref(), their_score, theirs.flags.iter().map(|flag| flag.as_str()));
    html.push_str("</tr>");
}

/// What one rule set makes of a reply. `label` is escaped.
fn judged<'a>(
    html: &mut String,
    label: &str,
    understood: Option<&str>,
    score: Option<f64>,
    flags: impl Iterator<Item = &'a str>,
) {
    let class = score.map_or("part", verdict_class);
    let words = score.map_or_else(|| "no score".to_owned(), verdict);
    let understood = match understood {
        Some(text) => format!("<bdi>{}</bdi>", cut(text, BRIEF)),
        None => "<span class=\"cut\">nothing</span>".to_owned(),
    };
    let flags: Vec<String> = flags.map(|flag| escape(&flag_words(flag))).collect();
    let flags = if flags.is_empty() { String::new() } else { format!("<p class=\"where\">{}</p>", flags.join(", ")) };
    let _ = write!(
        html,
        "<td data-label=\"{label}\"><p class=\"verdict {class}\">{words}</p><p class=\"where\">understood: {understood}</p>{flags}</td>"
    );
}
