//! The tables of `docs/evaluation.md` in which the rules part, cell by cell against the code: doc and code cannot part.
//!
//! The head of a column names the benchmark and the rules. What stands in a cell: what was understood of the reply (`–`: nothing), or
//! what it is worth, by the table.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_eval::{Answer, Flag, Item, PromptStyle, Rules, Verdict, benchmarks};
use serde_json::Value;

/// As many rows as the docs have at least, all tables together.
const LEAST_ROWS: usize = 45;
/// What stands for nothing.
const NOTHING: &str = "–";

/// The rows below a heading, the first the table's head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/evaluation.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("\n### ").find(|section| section.starts_with(heading)).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What a cell says: code without its marks, `(empty)`, `⏎`.
fn said(cell: &str) -> String {
    let ticks = cell.chars().take_while(|c| *c == '`').count();
    let fence = "`".repeat(ticks);
    let text = cell.strip_prefix(&fence).and_then(|text| text.strip_suffix(&fence)).unwrap();
    let text = if ticks > 1 { text.trim() } else { text };
    if text == "(empty)" { String::new() } else { text.replace('⏎', "\n") }
}

/// A question that every benchmark takes for its own.
fn item(options: &[&str], answers: Vec<String>) -> Item {
    let cells =
        [("category", "existence"), ("l2-category", "x"), ("subject_category", "math"), ("language", "english")];
    Item {
        id: "english/1".into(),
        part: "english".into(),
        index: "1".into(),
        row: 0,
        language: None,
        media: Vec::new(),
        group: "1".into(),
        question: "q".into(),
        options: ('A'..).zip(options.iter().map(|text| (*text).to_owned())).collect(),
        answers,
        cells: cells.map(|(name, text)| (name.to_owned(), Value::from(text))).into(),
    }
}

/// The verdict of the benchmark and the rules that the head of a column names.
fn verdict(head: &str, item: &Item, answer: Answer) -> Verdict {
    let words = head.replace('`', "");
    let (kind, rules) = words.split_once(' ').unwrap();
    let (benchmark, rules) = (benchmarks::find(kind).unwrap(), rules.parse::<Rules>().unwrap());
    assert!(benchmark.rules().contains(&rules), "{head}");
    // Parrot's clean-up of replies is that of its own prompts.
    let style = if rules.uses_pandas() { PromptStyle::Vlmevalkit } else { PromptStyle::of(rules) };
    // A second reply in words: the kits' file of results reads replies that are all numbers as such.
    let other = Item { id: "english/2".into(), index: "2".into(), group: "2".into(), ..item.clone() };
    let answers = [answer, Answer::text("in words")];
    let mut scored = benchmark.score(&[item.clone(), other], &answers, rules, style);
    scored.verdicts.remove(0).unwrap()
}

fn understood(verdict: Verdict) -> String {
    if verdict.flags.contains(&Flag::RandomInReference) {
        return "drawn".into();
    }
    verdict.understood.unwrap_or_else(|| NOTHING.into())
}

/// The first score, with as many digits as it needs, at most two.
fn worth(verdict: Verdict) -> String {
    let (_, score) = verdict.scores[0];
    let text = format!("{score:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Compares every cell of a table; returns the number of rows. The first `given` columns say what is scored.
fn check(heading: &str, given: usize, cell: impl Fn(&str, &[String]) -> String) -> usize {
    let rows = rows(heading);
    let (head, rows) = rows.split_first().unwrap();
    let mut wrong = Vec::new();
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        let given_cells: Vec<String> = row[..given].iter().map(|cell| said(cell)).collect();
        let found: Vec<String> = head[given..].iter().map(|head| cell(head, &given_cells)).collect();
        if found != row[given..] {
            wrong.push(format!("| {} | {} |", row[..given].join(" | "), found.join(" | ")));
        }
    }
    assert!(wrong.is_empty(), "{heading}:\n{}", wrong.join("\n"));
    rows.len()
}

#[test]
fn cells_are_what_the_code_says() {
    let mut counts = BTreeMap::new();
    let choice = item(&["red", "dark red", "blue", "green"], vec!["C".into()]);
    counts.insert(
        "letters",
        check("Letters", 1, |head, given| understood(verdict(head, &choice, Answer::text(given[0].as_str())))),
    );
    let binary = item(&[], vec!["Yes".into()]);
    counts.insert(
        "yes and no",
        check("Yes and no", 1, |head, given| {
            understood(verdict(head, &binary, Answer::text(given[0].as_str()))).to_lowercase()
        }),
    );
    counts.insert(
        "short",
        check("Short answers", 2, |head, given| {
            let asked = item(&[], vec![given[1].clone(); 10]);
            worth(verdict(head, &asked, Answer::text(given[0].as_str())))
        }),
    );
    counts.insert(
        "judge",
        check("A judge's two scores", 1, |head, given| {
            let answer = Answer { judge: Some(given[0].clone()), ..Answer::text("x") };
            let verdict = verdict(head, &choice, answer);
            let scores: Vec<String> =
                verdict.details["scores"].as_array().unwrap().iter().map(Value::to_string).collect();
            scores.join(" ").replace(".0", "")
        }),
    );
    assert!(counts.values().sum::<usize>() >= LEAST_ROWS, "{counts:?}");
}
