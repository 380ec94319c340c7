//! `data score --metric`: the numbers of `data mt-score`, as a column that `data filter` reads.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::steps::lines;
use crate::{ok, path, run};

/// A score is stored with six digits.
const STORED: f64 = 1e-6;

fn rows() -> Vec<Value> {
    let row = |id: &str, language: &str, translation: &str, reference: Value| json!({ "id": id, "language": language, "translation": translation, "reference": reference });
    vec![
        row("1", "de", "ein roter Apfel liegt dort", json!("ein roter Apfel")),
        row("2", "de", "Haus", json!("Haus")),
        row("3", "de", "Boot", json!("Kirche")),
        row("4", "zh-Hans", "红苹果", json!("一个红苹果")),
        row("5", "fr", "une pomme rouge sur la table", json!("une pomme rouge")),
    ]
}

fn write(path: &str, rows: &[Value]) {
    fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

#[test]
fn scores_are_those_of_mt_score() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| path(folder.path(), name);
    write(&at("rows.jsonl"), &rows());
    let whole = [
        "mt-score",
        &at("rows.jsonl"),
        "--hypothesis",
        "translation",
        "--language-field",
        "language",
        "--out",
        &at("mt"),
    ];
    ok(&[&whole[..], &["--resamples", "0"]].concat());
    let segments = lines(&at("mt/segments.jsonl"));
    for metric in ["chrf", "chrf++", "bleu", "ter"] {
        let out = at(&format!("{metric}.jsonl"));
        let text = ok(&["score", &at("rows.jsonl"), "--metric", metric, "--reference", "reference", "--out", &out]);
        assert!(text.contains("scored        5, mean"), "{text}");
        for (row, segment) in lines(&out).iter().zip(&segments) {
            let score = segment[metric].as_f64().unwrap() / 100.0;
            let expected = if metric == "ter" { 1.0 - score } else { score };
            assert!((row["quality"].as_f64().unwrap() - expected).abs() <= STORED, "{metric}: {row} {segment}");
            let signature = row["quality_record"]["signature"].as_str().unwrap();
            assert!(signature.contains("nrefs:1|") && signature.contains("version:"), "{signature}");
            let is_chinese = row["language"] == "zh-Hans";
            assert!(metric != "bleu" || signature.contains("tok:zh") == is_chinese, "{signature}");
        }
        // The same again is its own file.
        ok(&["score", &at("rows.jsonl"), "--metric", metric, "--reference", "reference", "--out", &out]);
    }
    // The quality is what a filter reads.
    let text = ok(&["filter", &at("chrf.jsonl"), "--threshold", "0.85", "--out", &at("kept")]);
    assert!(text.contains("language"), "{text}");
    let good = lines(&at("chrf.jsonl")).iter().filter(|row| row["quality"].as_f64().unwrap() >= 0.85).count();
    assert!(good > 0 && good < 5 && lines(&at("kept/kept.jsonl")).len() == good, "{good}");
}

#[test]
fn references_by_language_and_rows_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| path(folder.path(), name);
    let mut rows = rows();
    for row in &mut rows {
        let own = row["reference"].take();
        row["reference"] = json!({ "de": ["Boot", "Haus"], "fr": own });
    }
    rows[0]["translation"] = json!(" ");
    rows[4]["language"] = json!("nowhere");
    rows[2]["translation"] = json!([{ "from": "human", "value": "?" }, { "from": "gpt", "value": "Boot" }]);
    write(&at("rows.jsonl"), &rows);
    let line = ["score", &at("rows.jsonl"), "--metric", "chrf", "--reference", "reference", "--out"];
    let text = ok(&[&line[..], &[&at("scored.jsonl")]].concat());
    assert!(text.contains("without score 3: empty_translation 1, no_reference 1, unknown_language 1"), "{text}");
    let scored = lines(&at("scored.jsonl"));
    assert_eq!([&scored[1]["quality"], &scored[2]["quality"]], [&json!(1.0), &json!(1.0)]);
    assert!(scored[1]["quality_record"]["signature"].as_str().unwrap().contains("nrefs:2"));
    assert_eq!(scored[3]["quality_record"]["reason"], "no_reference");
    let summary: Value = serde_json::from_str(&fs::read_to_string(at("scored.jsonl.summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["counts"]["scored"], &summary["scorer"]["metric"]), (&json!(2), &json!("chrf")));
    // A filter tells why there is no score.
    ok(&["filter", &at("scored.jsonl"), "--threshold", "0.5", "--out", &at("kept")]);
    let rejected = lines(&at("kept/rejected.jsonl"));
    assert!(rejected.iter().any(|row| row["rejected"] == json!({ "reason": "no_score", "detail": "no_reference" })));
    let file = at("rows.jsonl");
    let plain = ["score", &file, "--reference", "reference", "--out"];
    fs::write(at("mine.jsonl"), "mine").unwrap();
    for (out, more, word) in [
        (at("mine.jsonl"), &[][..], "is there already"),
        (at("mine.tsv"), &[], "ends in .jsonl"),
        (at("x.jsonl"), &["--translation", "translaton"], "did you mean `translation`"),
        (at("x.jsonl"), &["--metric", "bleu", "--tokenizer", "de=12a"], "no tokenizer \"12a\""),
    ] {
        let options = if more.contains(&"--metric") { &plain[..] } else { &line[..] };
        let error = run(&[options, &[out.as_str()], more].concat()).1.unwrap_err();
        assert!(error.contains(word), "{more:?}: {error}");
        assert!(!Path::new(&at("x.jsonl")).exists());
    }
}
