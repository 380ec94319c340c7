//! The steps between scored translations and training: `data filter`, `data pair-prompts`, `data overlap`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::source::{Limits, StreamOptions, open_mixture, open_sources};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{export, ok, path, run};

pub fn lines(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write_lines(path: &str, rows: &[Value]) {
    fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

/// 60 translated captions with scores from 0.5 on, in two languages: what `data score` would write. The folder goes with the first value.
pub fn scored() -> (TempDir, String, Vec<Value>) {
    let (folder, out) = export("jsonl", &["--tasks", "caption", "--limit", "90"]);
    let mut rows = Vec::new();
    for record in lines(&path(Path::new(&out), "caption.jsonl")) {
        if record["language"] == "en" {
            continue;
        }
        let number = rows.len();
        rows.push(json!({
            "id": record["id"], "image": record["image"], "language": record["language"],
            "source": "an English text", "translation": record["conversations"][1]["value"],
            // Few digits, so that they are the same numbers however often they are written and read.
            "quality": ((0.5 + number as f64 / 120.0) * 1e4).round() / 1e4, "quality_record": {"outcome": "scored"},
        }));
    }
    assert_eq!(rows.len(), 60);
    rows[3]["quality"] = Value::Null;
    rows[3]["quality_record"] = json!({"outcome": "rejected", "reason": "empty_translation"});
    rows[4]["quality"] = "not a number".into();
    rows[5].as_object_mut().unwrap().remove("quality");
    let file = path(Path::new(&out), "scored.jsonl");
    write_lines(&file, &rows);
    (folder, file, rows)
}

#[test]
fn a_threshold_keeps_what_is_good_enough_and_says_why_the_rest_is_not() {
    let (folder, file, rows) = scored();
    let out = path(folder.path(), "filtered");
    let text = ok(&["filter", &file, "--threshold", "0.75,de=0.9", "--out", &out, "--sheet", "5"]);
    let kept = lines(&path(Path::new(&out), "kept.jsonl"));
    let rejected = lines(&path(Path::new(&out), "rejected.jsonl"));
    let good = |row: &&Value| {
        let threshold = if row["language"] == "de" { 0.9 } else { 0.75 };
        row["quality"].as_f64().is_some_and(|score| score >= threshold)
    };
    assert_eq!(kept.iter().collect::<Vec<_>>(), rows.iter().filter(good).collect::<Vec<_>>());
    assert_eq!(kept.len() + rejected.len(), 60);
    let why = |id: &Value| rejected.iter().find(|row| row["id"] == *id).unwrap()["rejected"].clone();
    assert_eq!(why(&rows[3]["id"]), json!({"reason": "no_score", "detail": "empty_translation"}));
    assert_eq!(why(&rows[4]["id"]), json!({"reason": "undefined", "detail": "not a number"}));
    assert_eq!(why(&rows[5]["id"]), json!({"reason": "no_score"}));
    let of_first = if rows[0]["language"] == "de" { 0.9 } else { 0.75 };
    assert_eq!(why(&rows[0]["id"]), json!({"reason": "below_threshold", "threshold": of_first}));
    // A rejected row is the row as it was.
    let mut first = rejected[0].clone();
    first.as_object_mut().unwrap().remove("rejected");
    assert_eq!(first, rows[0]);
    let figures: Value =
        serde_json::from_str(&fs::read_to_string(path(Path::new(&out), "filter.json")).unwrap()).unwrap();
    let all = &figures["all"];
    assert_eq!((&all["rows"], &all["scored"], &all["kept"]), (&json!(60), &json!(57), &json!(kept.len())));
    assert_eq!(all["rejected"]["no_score"], 2);
    assert_eq!(figures["languages"]["de"]["threshold"], 0.9);
    // Scores are 0.5 + n / 120: of at least 0.75 are those from 30 on.
    assert!((all["shares"][0].as_f64().unwrap() - 30.0 / 57.0).abs() < 1e-9);
    let bars: u64 = figures["histograms"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|bars| bars.as_array().unwrap())
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(bars, 57);
    let page = fs::read_to_string(path(Path::new(&out), "filter.html")).unwrap();
    assert_eq!((page.matches("<article>").count(), page.matches("<svg").count()), (10, 2));
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 10);
    for part in ["language", "at 0.85", "no score", "undefined", "pair-prompts"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The sheet is drawn by its seed.
    let again = path(folder.path(), "again");
    let other = path(folder.path(), "other");
    ok(&["filter", &file, "--threshold", "0.75,de=0.9", "--out", &again, "--sheet", "5"]);
    ok(&["filter", &file, "--threshold", "0.75,de=0.9", "--out", &other, "--sheet", "5", "--seed", "1"]);
    let articles = |out: &str| fs::read_to_string(path(Path::new(out), "filter.html")).unwrap();
    assert!(articles(&again) == page && articles(&other) != page);
}

#[test]
fn quantiles_exclusion_and_what_cannot_be_filtered() {
    let (folder, file, rows) = scored();
    let out = |name: &str| path(folder.path(), name);
    ok(&["filter", &file, "--quantile", "0.5", "--out", &out("half")]);
    let figures: Value = serde_json::from_str(&fs::read_to_string(out("half/filter.json")).unwrap()).unwrap();
    for (language, of) in figures["languages"].as_object().unwrap() {
        let (scored, kept) = (of["scored"].as_u64().unwrap(), of["kept"].as_u64().unwrap());
        assert_eq!(kept, scored.div_ceil(2), "{language}: {of}");
    }
    let excluded = out("excluded.jsonl");
    write_lines(&excluded, &[json!({"id": rows[50]["id"], "reasons": ["bytes"]}), json!({"id": "of no row"})]);
    let text = ok(&["filter", &file, "--threshold", "0", "--exclude", &excluded, "--out", &out("without")]);
    assert!(text.contains("1 of 2 ids to exclude are of no row here"), "{text}");
    let rejected = lines(&out("without/rejected.jsonl"));
    assert!(rejected.iter().any(|row| row["id"] == rows[50]["id"] && row["rejected"]["reason"] == "excluded"));
    // Equal to the threshold is enough, unless it is said not to be.
    let count = |name: &str, more: &[&str]| {
        ok(&[&["filter", &file, "--threshold", "0.75", "--out", &out(name)], more].concat());
        lines(&out(&format!("{name}/kept.jsonl"))).len()
    };
    assert_eq!((count("equal", &[]), count("above", &["--strict"])), (30, 29));
    // A line that is no record has no language; it is named.
    let broken = path(Path::new(&file).parent().unwrap(), "broken.jsonl");
    fs::write(&broken, fs::read_to_string(&file).unwrap() + "{\"id\": \n").unwrap();
    let text = ok(&["filter", &broken, "--threshold", "0.75", "--out", &out("broken")]);
    assert!(text.contains("unreadable.jsonl, the first:") && text.contains("line 61"), "{text}");
    assert_eq!(lines(&out("broken/unreadable.jsonl")).len(), 1);
    let nothing = ok(&["filter", &file, "--threshold", "2", "--out", &out("none")]);
    assert!(nothing.contains("nothing to train on"), "{nothing}");
    for (line, word) in [
        (vec!["filter", &file, "--threshold", "0.8", "--score", "qualty", "--out", "x"], "did you mean `quality`"),
        (vec!["filter", &file, "--threshold", "ja=0.8,0.5", "--out", "x"], "which no row has as its language"),
        (vec!["filter", &file, "--threshold", "de=0.8", "--out", "x"], "no rule for"),
        (vec!["filter", &file, "--quantile", "3", "--out", "x"], "quantile of 3"),
        (vec!["filter", "no/such.jsonl", "--threshold", "1", "--out", "x"], "no/such.jsonl"),
        (vec!["filter", &file, "--threshold", "0.8", "--out", folder.path().to_str().unwrap()], "not empty"),
    ] {
        let error = run(&line).1.unwrap_err();
        assert!(error.contains(word), "{line:?}: {error}");
        assert!(!Path::new("x").exists());
    }
}

/// What is kept becomes conversations, and these are trained on as they are.
#[test]
fn kept_rows_are_paired_with_requests_and_train() {
    let (folder, file, _) = scored();
    let out = |name: &str| path(folder.path(), name);
    ok(&[
        "filter",
        &file,
        "--threshold",
        "0.75",
        "--out",
        &out("filtered"),
        "--image-root",
        &path(folder.path(), "emoji"),
    ]);
    let requests = out("requests.toml");
    fs::write(&requests, "[requests]\nde = [\"Was siehst du?\", \"Was ist das?\", \"Beschreibe das.\"]\n").unwrap();
    let root = path(folder.path(), "emoji");
    let pair = |name: &str, more: &[&str]| {
        let kept = out("filtered/kept.jsonl");
        let text = ok(&[&["pair-prompts", &kept, "--image-root", &root, "--out", &out(name)], more].concat());
        (text, lines(&out(&format!("{name}/paired.jsonl"))))
    };
    // The library's own wordings: all 30 rows.
    let (_, own) = pair("own", &[]);
    assert_eq!(own.len(), 30);
    let user = |row: &Value| row["conversations"][0]["value"].as_str().unwrap().to_owned();
    for row in &own {
        let expected = if row["language"] == "de" { "<image>\nWas ist das?" } else { "<image>\n这是什么？" };
        assert_eq!(user(row), expected);
        assert_eq!(row["conversations"][1]["value"], row["translation"]);
        assert!(row["quality"].is_number() && row["source"].is_string());
    }
    // A file's: Chinese has none there.
    let (text, mine) = pair("mine", &["--requests", &requests]);
    assert!(text.contains("no request (zh-Hans"), "{text}");
    assert!(mine.iter().all(|row| row["language"] == "de"));
    let left_out = lines(&out("mine/left_out.jsonl"));
    assert_eq!(left_out.len() + mine.len(), 30);
    assert!(left_out.iter().all(|row| row["reason"] == "no_request"));
    let drawn: BTreeMap<String, usize> = mine.iter().fold(BTreeMap::new(), |mut drawn, row| {
        *drawn.entry(user(row)).or_default() += 1;
        drawn
    });
    assert!(drawn.len() > 1, "{drawn:?}");
    // Neither order nor company changes a row's request.
    let mut some = lines(&out("filtered/kept.jsonl"));
    some.reverse();
    some.truncate(10);
    let file = out("filtered/some.jsonl");
    write_lines(&file, &some);
    ok(&["pair-prompts", &file, "--image-root", &root, "--requests", &requests, "--out", &out("some")]);
    for row in lines(&out("some/paired.jsonl")) {
        assert_eq!(row, *mine.iter().find(|other| other["id"] == row["id"]).unwrap());
    }
    let config = MixtureConfig::from_file(out("own/mixture.toml")).unwrap();
    let opened = open_mixture(&config, Limits::default(), StreamOptions::seeded(0)).unwrap();
    assert!(opened.skipped.is_empty() && opened.plan.len() == 30);
    let sources = open_sources(&config, Limits::default()).unwrap();
    let source = sources[0].as_ref().unwrap();
    assert!((0..source.len()).all(|record| source.get(record).unwrap().pictures().count() == 1));
    // What `data translate` writes has a conversation already, whose answer stays.
    let again = out("again");
    let before = out("mine/paired.jsonl");
    ok(&["pair-prompts", &before, "--image-root", &root, "--out", &again, "--answer", "conversations"]);
    for (row, before) in lines(&path(Path::new(&again), "paired.jsonl")).iter().zip(&mine) {
        assert_eq!(row["conversations"][0]["value"], "<image>\nWas ist das?");
        assert_eq!(row["conversations"][1], before["conversations"][1]);
    }
    let error =
        run(&["pair-prompts", &file, "--answer", "translaton", "--image-root", &root, "--out", "x"]).1.unwrap_err();
    assert!(error.contains("did you mean `translation`"), "{error}");
}

#[test]
fn languages_are_dealt_out_exactly() {
    let (folder, file, rows) = scored();
    let out = path(folder.path(), "assigned");
    let text = ok(&["assign-languages", &file, "--languages", "en,de,fr,ja", "--stays", "50%", "--out", &out]);
    let [assigned, stays] = ["assigned.jsonl", "stays.jsonl"].map(|name| lines(&path(Path::new(&out), name)));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &assigned {
        *counts.entry(row["target_language"].as_str().unwrap()).or_default() += 1;
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("de", 10), ("fr", 10), ("ja", 10)]);
    assert!(stays.len() == 30 && stays.iter().all(|row| row["target_language"] == "en"));
    let mut ids: Vec<&Value> = assigned.iter().chain(&stays).map(|row| &row["id"]).collect();
    let mut all: Vec<&Value> = rows.iter().map(|row| &row["id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    all.sort_by_key(|id| id.to_string());
    assert_eq!(ids, all);
    assert!(
        text.contains("assigned.jsonl: 30 rows") && text.contains("stays.jsonl: 30 rows, in en as they are"),
        "{text}"
    );
    let error = run(&["assign-languages", &file, "--languages", "en", "--out", "x"]).1.unwrap_err();
    assert!(error.contains("no language but en"), "{error}");
}

/// Pictures that a parquet file holds become files beside the rows.
#[test]
fn rows_of_parquet_keep_their_pictures() {
    let (folder, out) = export("parquet", &["--tasks", "caption", "--limit", "30"]);
    let file = path(Path::new(&out), "caption.parquet");
    let paired = path(folder.path(), "paired");
    // No column with a translation in this one: the language serves as such.
    ok(&["pair-prompts", &file, "--answer", "language", "--out", &paired]);
    let config = MixtureConfig::from_file(Path::new(&paired).join("mixture.toml")).unwrap();
    let sources = open_sources(&config, Limits::default()).unwrap();
    let source = sources[0].as_ref().unwrap();
    let before =
        open_sources(&MixtureConfig::from_file(Path::new(&out).join("mixture.toml")).unwrap(), Limits::default());
    let before = before.unwrap().remove(0).unwrap();
    assert_eq!((source.len(), before.len()), (30, 30));
    for record in 0..30 {
        let (old, new) = (before.get(record).unwrap(), source.get(record).unwrap());
        assert_eq!((&old.id, old.language), (&new.id, new.language));
        assert_eq!(new.answer(), old.language.unwrap().tag());
        let bytes = |sample: &burn_vlm_data::sample::Sample| sample.pictures().next().unwrap().read().unwrap();
        assert_eq!(bytes(&old), bytes(&new));
    }
}

#[test]
fn overlap_of_a_mixture_and_benchmarks() {
    let (folder, out) = export("json", &["--tasks", "caption", "--limit", "60"]);
    let mixture = path(Path::new(&out), "mixture.toml");
    let mut text = fs::read_to_string(&mixture).unwrap();
    text.push_str("\n[[source]]\nname = \"embedded\"\npath = \"caption\"\nformat = \"emoji\"\nlanguage = \"de\"\ntake = \"first:3\"\n");
    fs::write(&mixture, text).unwrap();
    // A benchmark in files that has three of the pictures under other names, one of them in four rows, and one row without any.
    let records: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(path(Path::new(&out), "caption.json")).unwrap()).unwrap();
    let test = folder.path().join("test");
    fs::create_dir(&test).unwrap();
    let mut rows = vec![json!({"id": "text", "question": "no picture"})];
    for (number, record) in records.iter().step_by(9).take(3).enumerate() {
        let name = format!("{number}.png");
        fs::copy(Path::new(&out).join(record["image"].as_str().unwrap()), test.join(&name)).unwrap();
        rows.push(json!({"id": format!("q{number}"), "image": name, "question": "What?"}));
    }
    rows.push(json!({"id": "gone", "image": "gone.png", "question": "What?"}));
    let file = path(&test, "test.jsonl");
    write_lines(&file, &rows);
    // And questions as they are asked: about concepts that no training sample shows.
    let questions = path(folder.path(), "questions.toml");
    let table = path(folder.path(), "questions.tsv");
    ok(&["questions", "--out", &table, "--languages", "en", "--limit", "20"]);
    fs::write(
        &questions,
        "[[benchmark]]\nname = \"ours\"\nkind = \"choice\"\nfile = \"questions.tsv\"\nlanguage_column = \"language\"\n",
    )
    .unwrap();
    let (result, excluded) = (path(folder.path(), "overlap"), path(folder.path(), "excluded.jsonl"));
    let options = ["--out", &result, "--write-excluded", &excluded, "--exclude-by", "bytes", "--near", "0"];
    let text = ok(&[&["overlap", &mixture, "--benchmark", &file, "--benchmark", &questions], &options[..]].concat());
    let figures: Value =
        serde_json::from_str(&fs::read_to_string(path(Path::new(&result), "overlap.json")).unwrap()).unwrap();
    let names = |side: &str| -> Vec<String> {
        figures[side].as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names("training"), names("benchmarks")),
        (vec!["caption".into(), "embedded".into()], vec!["test.jsonl".into(), "ours".into()])
    );
    let test = &figures["benchmarks"][0];
    assert_eq!(
        (&test["rows"], &test["without_pictures"], &test["unreadable"], &test["found"]),
        (&json!(5), &json!(1), &json!(1), &json!(3))
    );
    assert_eq!(
        (&figures["benchmarks"][1]["rows"], &figures["benchmarks"][1]["by_reason"]["bytes"]),
        (&json!(20), &Value::Null)
    );
    let pairs = lines(&path(Path::new(&result), "pairs.jsonl"));
    let by_bytes: Vec<&Value> =
        pairs.iter().filter(|pair| pair["reasons"].as_array().unwrap().contains(&json!("bytes"))).collect();
    // Each of the pictures in three languages.
    assert_eq!(by_bytes.len(), 9);
    let table = fs::read_to_string(path(Path::new(&result), "pairs.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + pairs.len());
    assert_eq!(lines(&path(Path::new(&result), "unreadable.jsonl"))[0]["id"], "gone");
    let ids = lines(&excluded);
    assert_eq!(ids.len(), 9);
    assert!(ids.iter().all(|row| row["source"] == "caption" && row["benchmarks"] == json!(["test.jsonl"])));
    assert!(fs::read_to_string(path(Path::new(&result), "overlap.html")).unwrap().contains("The same file"));
    assert!(text.contains("3 rows (60.0 %) stand in training") && text.contains("nothing is excluded yet"), "{text}");
    for (line, word) in [
        (vec!["overlap", &mixture, "--benchmark", &file, "--out", &result], "not empty"),
        (
            vec!["overlap", &mixture, "--benchmark", &file, "--benchmark", &file, "--out", "x"],
            "two benchmarks are called",
        ),
        (vec!["overlap", &mixture, "--benchmark", "gone.jsonl", "--out", "x"], "gone.jsonl"),
        (
            vec!["overlap", &mixture, "--benchmark", &file, "--image-root", ".", "--out", "x"],
            "an image root is for single files",
        ),
    ] {
        let error = run(&line).1.unwrap_err();
        assert!(error.contains(word), "{line:?}: {error}");
    }
}

/// What a command would write over, and did not make, is left as it is: files, folders, fields of rows.
#[test]
fn nothing_of_others_is_written_over() {
    let (folder, file, rows) = scored();
    let refused = |arguments: &[&str], why: &str| {
        let said = run(arguments).1.expect_err("refused");
        assert!(said.contains(why), "{arguments:?}: {said}");
    };
    let out = path(folder.path(), "out");
    refused(&["overlap", &file, "--benchmark", &file, "--out", &out, "--write-excluded", &file], "it is there already");
    let own = path(folder.path(), "own");
    fs::create_dir(&own).unwrap();
    let mine = path(Path::new(&own), "translated.jsonl");
    fs::copy(&file, &mine).unwrap();
    let nobody = ["--endpoint", "http://127.0.0.1:9/v1", "--endpoint-model", "none", "--tries", "1"];
    refused(&[&["translate", &mine, "--languages", "de", "--out", &own], &nobody[..]].concat(), "is not empty");
    refused(&[&["regenerate", &mine, "--languages", "en", "--out", &own], &nobody[..]].concat(), "is not empty");
    for field in ["translation", "id"] {
        let assign = ["assign-languages", &file, "--languages", "de,fr", "--field", field, "--out", &out];
        refused(&assign, &format!("have a `{field}` already"));
    }
    let scored = path(folder.path(), "scored-again.jsonl");
    refused(
        &["score", &file, "--metric", "chrf", "--reference", "source", "--out", &scored],
        "have a `quality` already, which --column would replace",
    );
    for option in ["--caption-field", "--language-field"] {
        let why = format!("none of the first 60 rows has `nosuch` ({option})");
        let line = ["translate", &file, option, "nosuch", "--languages", "de", "--out", &out];
        refused(&[&line, &nobody[..]].concat(), &why);
    }
    refused(
        &["filter", &file, "--threshold", "0.5", "--language-field", "nosuch", "--out", &out],
        "none of the first 60 rows has `nosuch` (--language-field)",
    );
    assert_eq!((lines(&file), lines(&mine)), (rows.clone(), rows));
    assert!(!Path::new(&out).exists());
}
