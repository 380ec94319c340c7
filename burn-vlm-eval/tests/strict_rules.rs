//! The tables of `docs/strict-rules.md`, row by row against the reader: doc and code cannot part.

use std::collections::BTreeSet;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_eval::strict::{self, Reading};

/// As many as the docs promise.
const LEAST_ROWS: usize = 60;
const LEAST_LANGUAGES: usize = 12;

/// The cells of the rows below a heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/strict-rules.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let section = text.split("\n### ").find(|section| section.starts_with(heading)).unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.map(cells).collect()
}

/// What a cell says: code without its marks, `(empty)`, `⏎`.
fn said(cell: &str) -> String {
    let ticks = cell.chars().take_while(|c| *c == '`').count();
    let fence = "`".repeat(ticks);
    let text = cell.strip_prefix(&fence).and_then(|text| text.strip_suffix(&fence)).unwrap();
    let text = if ticks > 1 { text.trim() } else { text };
    if text == "(empty)" { String::new() } else { text.replace('⏎', "\n") }
}

fn list(cell: &str) -> Vec<String> {
    cell.split(" / ").map(str::to_owned).collect()
}

fn language(cell: &str) -> Option<Language> {
    Some(Language::parse(cell).unwrap())
}

fn name<T: ToString>(reading: Reading<T>) -> String {
    match reading {
        Reading::Answer(answer) => answer.to_string(),
        other => other.as_str().to_owned(),
    }
}

#[test]
fn letters() {
    let mut wrong = Vec::new();
    for row in rows("Letters") {
        let [reply, options, tag, expected, _why] = row.as_slice() else { panic!("{row:?}") };
        let options: Vec<(char, String)> = ('A'..).zip(list(options)).collect();
        let found = name(strict::letter(&said(reply), &options, language(tag)));
        if found != *expected {
            wrong.push(format!("{reply} ({tag}): {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn yes_and_no() {
    let mut wrong = Vec::new();
    for row in rows("Yes and no") {
        let [reply, tag, expected, _why] = row.as_slice() else { panic!("{row:?}") };
        let reading = strict::yes_no(&said(reply), language(tag));
        let found = name(reading.map(|yes| if yes { "yes" } else { "no" }));
        if found != *expected {
            wrong.push(format!("{reply} ({tag}): {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn short_answers() {
    let mut wrong = Vec::new();
    for row in rows("Short answers") {
        let [reply, accepted, tag, read_as, right] = row.as_slice() else { panic!("{row:?}") };
        let (reply, accepted) = (said(reply), list(accepted));
        let found = strict::short(&reply, language(tag));
        let is_right = if strict::accepts(&reply, &accepted, language(tag)) { "yes" } else { "no" };
        if found != said(read_as) || is_right != right {
            wrong.push(format!("{reply} ({tag}): {found:?} {is_right}, expected {read_as} {right}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_are_as_long_as_promised() {
    let tables = [("Letters", 2), ("Yes and no", 1), ("Short answers", 2)];
    let column_of = |(heading, column): (&str, usize)| {
        rows(heading).into_iter().map(move |row| row[column].clone()).collect::<Vec<_>>()
    };
    let tags: Vec<String> = tables.into_iter().flat_map(column_of).collect();
    assert!(tags.len() >= LEAST_ROWS, "{}", tags.len());
    let languages: BTreeSet<&String> = tags.iter().collect();
    assert!(languages.len() >= LEAST_LANGUAGES, "{languages:?}");
    // Letters, and yes and no, in every language of the project but the near double of another.
    for (heading, column) in [("Letters", 2), ("Yes and no", 1)] {
        let known: BTreeSet<String> = column_of((heading, column)).into_iter().collect();
        let lacks = |language: &&Language| {
            let double = language.near_duplicate().is_some_and(|double| known.contains(double.tag()));
            !known.contains(language.tag()) && !double
        };
        let missing: Vec<&Language> = Language::ALL.iter().filter(lacks).collect();
        assert!(missing.is_empty(), "{heading}: {missing:?}");
    }
}

/// Replies that are cut off anywhere, or begin anywhere, in any language: a letter that is read is an option's, and
/// nothing panics.
#[test]
fn cut_replies_are_read_without_panic() {
    let mut replies = BTreeSet::new();
    for heading in ["Letters", "Yes and no", "Short answers"] {
        for row in rows(heading) {
            let reply = said(&row[0]);
            for (at, _) in reply.char_indices() {
                replies.insert(reply[..at].to_owned());
                replies.insert(reply[at..].to_owned());
            }
        }
    }
    let options: Vec<(char, String)> = ('A'..).zip(["red", "", "+", "深红色", "a"].map(str::to_owned)).collect();
    let languages = [None, Some(Language::TR), Some(Language::JA), Some(Language::AR), Some(Language::FR)];
    for (at, reply) in replies.iter().enumerate() {
        let language = languages[at % languages.len()];
        if let Reading::Answer(letter) = strict::letter(reply, &options, language) {
            assert!(options.iter().any(|(known, _)| *known == letter), "{reply}");
        }
        strict::letter(reply, &[], language);
        strict::yes_no(reply, language);
        // What was made plain stays so.
        let short = strict::short(reply, language);
        assert!(strict::accepts(reply, &[&short], language) || short.is_empty(), "{reply:?}: {short:?}");
    }
    assert!(replies.len() > 1000);
}
