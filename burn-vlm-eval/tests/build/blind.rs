//! What text-only models answer, against chance.

use std::path::Path;

use burn_vlm_eval::build::blind::{Rule, Run, Unit, expected_by_chance, units};
use burn_vlm_eval::build::{SourceBenchmark, source::Text};
use burn_vlm_eval::strict::Kind;

use super::{recipe, source};

/// Probabilities are sums of a few products of machine numbers.
const EXACT: f64 = 1e-14;

/// A run in which so many of the rows of each group are right.
fn run(folder: &Path, name: &str, source: &SourceBenchmark, right: impl Fn(usize, usize) -> bool) -> Run {
    let mut text = String::new();
    for (number, group) in source.groups().iter().enumerate() {
        for (row, at) in group.iter().enumerate() {
            let score = u8::from(right(number, row));
            let id = format!("b/{}", source.items[*at].id);
            let scores = format!(
                "[{{\"protocol\": \"b\", \"score\": 0.5}}, {{\"protocol\": \"b_accuracy\", \"score\": {score}}}]"
            );
            text.push_str(&format!(
                "{{\"id\": {id:?}, \"benchmark\": \"b\", \"group\": \"\", \"scores\": {scores}}}\n"
            ));
        }
    }
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    Run::read(&file).unwrap()
}

fn found(source: &SourceBenchmark, runs: &[Run], rule: Rule) -> Vec<Unit> {
    units("b", source.kind, &source.items, runs, rule).unwrap()
}

/// scipy 1.16: `binom.sf(k - 1, n, p)`.
#[test]
fn probabilities_are_those_of_the_binomial() {
    let folder = tempfile::tempdir().unwrap();
    let source = source("mmbench", "mmbench_vlmeval/data/MMBench_DEV_EN.tsv");
    let four: Vec<usize> = (0..source.groups().len()).filter(|at| source.groups()[*at].len() == 4).collect();
    let runs = [
        run(folder.path(), "a", &source, |group, row| group == four[0] || row < 2),
        run(folder.path(), "b", &source, |group, row| group == four[0] || row < 3),
    ];
    let all = found(&source, &runs, Rule::Probability(0.05));
    let of = |at: usize| &all[four[at]];
    // Eight of eight and five of eight at a chance of 1/4.
    for (at, right, probability) in [(0, 8, 0.25_f64.powi(8)), (1, 5, 0.027_297_973_632_812_5)] {
        let options = source.items[source.groups()[four[at]][0]].options.len();
        assert_eq!((options, of(at).replies, of(at).right), (4, 8, right));
        assert!((of(at).probability - probability).abs() < EXACT, "{:?}", of(at));
        assert!(of(at).blind && (of(at).by_chance - 2.0).abs() < EXACT);
    }
    // By runs that have every rotation right.
    let by_runs = found(&source, &runs, Rule::Runs(2));
    assert_eq!(by_runs.iter().filter(|unit| unit.blind && unit.replies == 8).count(), 1);
    let expected = expected_by_chance(&[of(0).clone()], &source.items, Rule::Runs(2));
    assert!((expected - 0.25_f64.powi(8)).abs() < EXACT, "{expected}");
    // At least five of eight is the least that is improbable enough.
    let expected = expected_by_chance(&[of(0).clone()], &source.items, Rule::Probability(0.05));
    assert!((expected - 0.027_297_973_632_812_5).abs() < EXACT, "{expected}");
}

#[test]
fn pairs_go_together_and_too_few_replies_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = source("mme", "mme/data/MME.tsv");
    assert_eq!(source.kind, Kind::Pairs);
    let one = [run(folder.path(), "a", &source, |_, _| true)];
    let all = found(&source, &one, Rule::Probability(0.05));
    assert!(all.iter().all(|unit| unit.rows.len() == 2 && !unit.blind && (unit.probability - 0.25).abs() < EXACT));
    assert_eq!(expected_by_chance(&all, &source.items, Rule::Probability(0.05)), 0.0);
}

#[test]
fn predictions_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = source("mme", "mme/data/MME.tsv");
    let runs = [run(folder.path(), "a", &source, |_, _| true)];
    let error = units("other", source.kind, &source.items, &runs, Rule::Runs(1)).unwrap_err().to_string();
    assert!(error.contains("other/MME_en/0") && error.contains("b/MME_en/"), "{error}");
    let file = folder.path().join("wrong");
    for (line, words) in [
        ("{}", "expected a line of predictions.jsonl"),
        (r#"{"id": "b/1", "benchmark": "b", "scores": []}"#, "no score"),
    ] {
        std::fs::write(&file, format!("\n{line}\n")).unwrap();
        let error = Run::read(&file).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains(words), "{error}");
    }
}

/// Numbers, signs and single letters stay as they are; a character of a script that writes words with one does not.
#[test]
fn what_has_to_be_translated() {
    let folder = tempfile::tempdir().unwrap();
    const PIXEL: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let head = "index\timage\tquestion\tA\tB\tC\tD\tE\tF\tanswer\n";
    let row = format!("1\t{PIXEL}\tHow much?\t12 m\tA\t3.5 %\tkm\t\u{7ea2}\tx + y\tA\n");
    std::fs::write(folder.path().join("own.tsv"), head.to_owned() + &row).unwrap();
    let source = SourceBenchmark::read("choice", &recipe("own", "own.tsv", ""), folder.path()).unwrap();
    let wanted: Vec<String> = source.to_translate().into_iter().map(|(_, Text { field, .. })| field).collect();
    assert_eq!(wanted, ["question", "D", "E"]);
}
