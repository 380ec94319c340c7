//! `data score`: the scores of the fixtures' reference in every format, what is refused and cut, and a run that was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use burn_vlm_experiments::{DataArgs, run_data};
use clap::Parser;
use serde_json::{Value, json};

/// Scores: f32 sums in another order than the reference's.
const SCORE_TOLERANCE: f64 = 1e-4;
/// The same pair in another batch.
const BATCH_TOLERANCE: f64 = 2e-6;
/// Times that a run is killed.
const KILLS: usize = 4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json_file(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn lines(path: impl AsRef<Path>) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The samples of a fixture as rows.
fn rows(name: &str) -> Vec<Value> {
    let samples = json_file(fixture(name).join("samples.json"));
    let row = |sample: &Value| json!({ "id": sample["tag"], "source": sample["src"], "translation": sample["mt"], "human": sample["ref"], "n": 3 });
    samples.as_array().unwrap().iter().map(row).collect()
}

fn write_lines(path: &Path, rows: &[Value]) {
    fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

/// A folder with pairs.jsonl.
fn folder(rows: &[Value]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_lines(&folder.path().join("pairs.jsonl"), rows);
    folder
}

/// Runs `data score` on a file of a folder; what it prints, or its error.
fn score(folder: &Path, pairs: &str, model: &str, out: &str, more: &[&str]) -> Result<String, String> {
    let text = |path: PathBuf| path.display().to_string();
    let (pairs, model, out) = (text(folder.join(pairs)), text(fixture(model)), text(folder.join(out)));
    let line = ["data", "score", &pairs, "--model", &model, "--out", &out, "--device", "flex"];
    let args = DataArgs::try_parse_from(line.iter().copied().chain(more.iter().copied())).unwrap();
    let mut printed = Vec::new();
    run_data(&args, &mut printed).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(printed).unwrap())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Compares scored rows with a fixture's list; those without score must have a blank text.
fn compare(found: &[Value], expected: &Value) {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (row, expected) in found.iter().zip(expected) {
        let blank = ["source", "translation"].iter().any(|key| row[*key].as_str().unwrap_or("").trim().is_empty());
        if blank {
            assert_eq!(row["quality"], Value::Null, "{row}");
            assert_eq!(row["quality_record"]["outcome"], "rejected");
        } else {
            let difference = (number(&row["quality"]) - number(expected)).abs();
            assert!(difference <= SCORE_TOLERANCE, "{}: {difference:e}", row["id"]);
        }
    }
}

#[test]
fn scores_are_the_references_in_every_format() {
    let rows = rows("comet_kiwi");
    let expected = json_file(fixture("comet_kiwi").join("expected.json"));
    let folder = folder(&rows);
    let path = folder.path();
    let printed = score(path, "pairs.jsonl", "comet_kiwi", "lines.jsonl", &[]).unwrap();
    let found = lines(path.join("lines.jsonl"));
    compare(&found, &expected["scores"]);
    // What the rows had stays, in their order.
    for (row, found) in rows.iter().zip(&found) {
        for (key, value) in row.as_object().unwrap() {
            assert_eq!(&found[key], value);
        }
    }
    let scored = found.iter().filter(|row| !row["quality"].is_null()).count();
    let words = [format!("{} rows", rows.len()), format!("scored        {scored}, mean"), "empty_translation 1".into()];
    assert!(words.iter().all(|word| printed.contains(word)), "{printed}");
    assert!(printed.contains("cut           2: "), "{printed}");
    let summary = json_file(path.join("lines.jsonl.summary.json"));
    assert_eq!(summary["counts"]["rejected"], json!({ "empty_translation": 1 }));
    assert_eq!(summary["scorer"]["pretrained_model"], "encoder");
    let hash = summary["scorer"]["fingerprint"].as_str().unwrap();
    assert!(hash.starts_with(found[0]["quality_record"]["model"].as_str().unwrap()));

    fs::write(path.join("pairs.json"), Value::Array(rows.clone()).to_string()).unwrap();
    score(path, "pairs.json", "comet_kiwi", "array.jsonl", &[]).unwrap();
    compare(&lines(path.join("array.jsonl")), &expected["scores"]);

    let cell = |row: &Value, key: &str| row[key].as_str().unwrap().replace(['\t', '\n'], " ");
    let table: String = rows
        .iter()
        .map(|row| format!("{}\t{}\t{}\n", cell(row, "id"), cell(row, "source"), cell(row, "translation")))
        .collect();
    fs::write(path.join("pairs.tsv"), format!("id\ten\tde\n{table}")).unwrap();
    score(path, "pairs.tsv", "comet_kiwi", "table.jsonl", &["--source", "en", "--translation", "de"]).unwrap();
    for (line, row) in found.iter().zip(lines(path.join("table.jsonl"))) {
        assert_eq!(line["id"], row["id"]);
        assert_eq!(line["quality"].is_null(), row["quality"].is_null());
        if let Some(score) = line["quality"].as_f64() {
            assert!((score - number(&row["quality"])).abs() <= BATCH_TOLERANCE);
        }
    }
}

#[test]
fn xcomet_marks_errors_with_and_without_references() {
    let rows = rows("comet_x");
    let expected = json_file(fixture("comet_x").join("expected.json"));
    let folder = folder(&rows);
    score(folder.path(), "pairs.jsonl", "comet_x", "alone.jsonl", &["--column", "x"]).unwrap();
    let renamed: Vec<Value> = lines(folder.path().join("alone.jsonl"))
        .into_iter()
        .map(|mut row| {
            (row["quality"], row["quality_record"]) = (row["x"].take(), row["x_record"].take());
            row
        })
        .collect();
    compare(&renamed, &expected["scores"]);
    for (row, spans) in renamed.iter().zip(expected["error_spans"].as_array().unwrap()) {
        if row["quality"].is_null() {
            continue;
        }
        let found = row["quality_record"]["error_spans"].as_array().unwrap();
        let strip =
            |span: &Value| (span["text"].clone(), span["severity"].clone(), span["start"].clone(), span["end"].clone());
        let found: Vec<_> = found.iter().map(strip).collect();
        let spans: Vec<_> = spans.as_array().unwrap().iter().map(strip).collect();
        assert_eq!(found, spans);
    }
    score(folder.path(), "pairs.jsonl", "comet_x", "with.jsonl", &["--reference", "human"]).unwrap();
    let found = lines(folder.path().join("with.jsonl"));
    compare(&found, &expected["with_ref"]["scores"]);
    let unified = number(&found[0]["quality_record"]["unified_score"]);
    assert!((unified - number(&expected["with_ref"]["unified_scores"][0])).abs() <= SCORE_TOLERANCE);
}

#[test]
fn long_texts_are_cut_scored_by_sentences_or_refused() {
    let long = ("A dog runs. A cat sleeps on it. ".repeat(4), "Ein Hund rennt. Eine Katze schläft auf ihm. ".repeat(4));
    let uneven = ("A dog runs. ".repeat(12), "Ein Hund rennt ".repeat(12));
    let endless = ("dog ".repeat(60), "Hund ".repeat(60));
    let pairs = [("short", "A dog.".to_owned(), "Ein Hund.".to_owned())].into_iter().chain([
        ("long", long.0, long.1),
        ("uneven", uneven.0, uneven.1),
        ("endless", endless.0, endless.1),
    ]);
    let rows: Vec<Value> =
        pairs.map(|(id, source, text)| json!({ "id": id, "source": source, "translation": text })).collect();
    let folder = folder(&rows);
    let run = |long: &str| {
        let out = format!("{long}.jsonl");
        let printed = score(folder.path(), "pairs.jsonl", "comet_kiwi", &out, &["--long", long]).unwrap();
        (printed, lines(folder.path().join(out)))
    };
    let (printed, cut) = run("truncate");
    assert!(printed.contains("cut           3: ") && printed.contains("scored        4"), "{printed}");
    assert!(number(&cut[1]["quality_record"]["lost"]["source"]) > 0.0);
    assert!(cut[0]["quality_record"].get("lost").is_none());

    let (printed, sentences) = run("sentences");
    assert!(printed.contains("by sentences  1") && printed.contains("long_sentence 1, not_aligned 1"), "{printed}");
    let record = &sentences[1]["quality_record"];
    assert_eq!(record["sentences"], 8);
    let (mean, least) = (number(&sentences[1]["quality"]), number(&record["minimum"]));
    assert!(least < mean, "{record}");
    assert!(sentences[2]["quality_record"]["detail"].as_str().unwrap().contains("12 sentences in the source, 1"));
    // Mean and least of the sentences as pairs of their own.
    let own: Vec<Value> = [("A dog runs.", "Ein Hund rennt."), ("A cat sleeps on it.", "Eine Katze schläft auf ihm.")]
        .map(|(source, text)| json!({ "source": source, "translation": text }))
        .to_vec();
    write_lines(&folder.path().join("own.jsonl"), &own);
    score(folder.path(), "own.jsonl", "comet_kiwi", "own-scored.jsonl", &[]).unwrap();
    let own: Vec<f64> =
        lines(folder.path().join("own-scored.jsonl")).iter().map(|row| number(&row["quality"])).collect();
    assert!((mean - (own[0] + own[1]) / 2.0).abs() <= BATCH_TOLERANCE);
    assert!((least - own[0].min(own[1])).abs() <= BATCH_TOLERANCE);

    let (printed, refused) = run("reject");
    assert!(printed.contains("scored        1") && printed.contains("too_long 3"), "{printed}");
    for rows in [&cut, &sentences, &refused] {
        assert!((number(&rows[0]["quality"]) - number(&cut[0]["quality"])).abs() <= BATCH_TOLERANCE);
    }
}

#[test]
fn what_stands_in_the_log_is_not_scored_again() {
    let rows = rows("comet_kiwi");
    // The same pair twice.
    let mut rows = [rows.as_slice(), &[rows[0].clone()]].concat();
    rows.last_mut().unwrap()["id"] = json!("again");
    let folder = folder(&rows);
    let path = folder.path();
    score(path, "pairs.jsonl", "comet_kiwi", "out.jsonl", &["--limit", "4"]).unwrap();
    assert_eq!(lines(path.join("out.jsonl")).len(), 4);
    let log = path.join("out.jsonl.log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 4);
    // A mark that a second scoring would wipe out, and a line that a kill has torn.
    let mut logged: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let marked = logged.iter().position(|line| line["id"] == rows[0]["id"]).unwrap();
    logged[marked]["score"] = json!(7.5);
    let torn: String = logged.iter().map(|line| format!("{line}\n")).collect::<String>() + "{\"key\": \"12";
    fs::write(&log, torn).unwrap();
    score(path, "pairs.jsonl", "comet_kiwi", "out.jsonl", &[]).unwrap();
    let found = lines(path.join("out.jsonl"));
    assert_eq!(found.len(), rows.len());
    assert_eq!((number(&found[0]["quality"]), number(&found[rows.len() - 1]["quality"])), (7.5, 7.5));
    let keys: Vec<String> = lines(&log).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), rows.len() - 1, "equal pairs share a line");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    // Another setting is another score.
    score(path, "pairs.jsonl", "comet_kiwi", "out.jsonl", &["--long", "reject"]).unwrap();
    assert!(number(&lines(path.join("out.jsonl"))[0]["quality"]) < 7.0);
    // A damaged line in the middle is for a person to judge.
    fs::write(&log, text.replacen("{", "[", 1)).unwrap();
    let error = score(path, "pairs.jsonl", "comet_kiwi", "out.jsonl", &[]).unwrap_err();
    assert!(error.contains("out.jsonl.log.jsonl, line 1"), "{error}");
}

#[test]
fn a_killed_run_goes_on() {
    let words = ["dog", "cat", "house", "bridge", "river", "apple", "bus"];
    let text = |seed: usize| {
        let words: Vec<&str> =
            (0..4 + seed % 17).map(|at| words[(seed * 31 + at * 7 + at * at) % words.len()]).collect();
        format!("{} {seed}.", words.join(" "))
    };
    let rows: Vec<Value> =
        (0..1500).map(|row| json!({ "id": row, "source": text(row), "translation": text(row * 3 + 1) })).collect();
    let folder = folder(&rows);
    let path = folder.path();
    score(path, "pairs.jsonl", "comet_kiwi", "whole.jsonl", &[]).unwrap();
    let log = path.join("killed.jsonl.log.jsonl");
    let logged = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    let mut killed = 0;
    for _ in 0..KILLS {
        let before = logged();
        let mut child = Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
            .args([
                "data",
                "score",
                "pairs.jsonl",
                "--out",
                "killed.jsonl",
                "--batch-tokens",
                "64",
                "--device",
                "flex",
                "--model",
            ])
            .arg(fixture("comet_kiwi"))
            .current_dir(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // As soon as it has done something, in the middle of whatever it does then.
        while logged() < before + 100 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(logged() >= before, "nothing that was done is lost");
    }
    assert!(killed > 0, "no run was still at work when it was killed");
    score(path, "pairs.jsonl", "comet_kiwi", "killed.jsonl", &[]).unwrap();
    let keys: Vec<String> = lines(&log).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (1500, 1500));
    for (whole, killed) in lines(path.join("whole.jsonl")).iter().zip(lines(path.join("killed.jsonl"))) {
        assert_eq!(whole["id"], killed["id"]);
        assert!((number(&whole["quality"]) - number(&killed["quality"])).abs() <= BATCH_TOLERANCE);
    }
}

#[test]
fn what_cannot_be_scored_is_told_before_anything_is_written() {
    let folder = folder(&rows("comet_kiwi"));
    let path = folder.path();
    let refused = |model: &str, out: &str, more: &[&str]| score(path, "pairs.jsonl", model, out, more).unwrap_err();
    for (more, words) in [
        (&["--translation", "translaton"][..], ["`translaton` (--translation)", "there are human, id, n, source"]),
        (&["--reference", "human"], ["--reference", "translation and source alone"]),
        (&["--batch-tokens", "0"], ["--batch-tokens", "at least 1"]),
        (&["--encoder", "nowhere"], ["nowhere", "no config.json here"]),
    ] {
        let error = refused("comet_kiwi", "out.jsonl", more);
        assert!(words.iter().all(|word| error.contains(word)), "{more:?}: {error}");
    }
    assert!(refused("comet_kiwi", "out.tsv", &[]).contains("ends in .jsonl"));
    assert!(refused("gemma2", "out.jsonl", &[]).contains("no hparams.yaml here"));
    fs::write(path.join("mine.jsonl"), "my own\n").unwrap();
    assert!(refused("comet_kiwi", "mine.jsonl", &[]).contains("is there already"));
    assert_eq!(fs::read_to_string(path.join("mine.jsonl")).unwrap(), "my own\n");
    let left: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // A record that cannot be read is counted, the others are scored.
    fs::write(path.join("bad.jsonl"), "{\"source\": \"a b\", \"translation\": \"c d\"}\n{\"source\": \n").unwrap();
    let printed = score(path, "bad.jsonl", "comet_kiwi", "bad-scored.jsonl", &[]).unwrap();
    assert!(printed.contains("1 rows") && printed.contains("unreadable    1, the first:"), "{printed}");
}
