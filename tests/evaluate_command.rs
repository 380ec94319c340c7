//! `burn-vlm evaluate` on replies of other systems: every form in which they are written, what is wrong with them, and the files that
//! come out. A model's own answers are in `command.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Scores are written with six digits of a percent.
const PRINTED: f64 = 1e-7;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval")
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
        .arg("evaluate")
        .args(args)
        .env_remove("BURN_VLM_JUDGE_KEY")
        .output()
        .unwrap()
}

fn said(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(args: &[&str], expected: &[&str]) {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
    for part in expected {
        assert!(error.contains(part), "{args:?}: expected {part:?} in {error}");
    }
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file of questions on MMMB's English file, under the rules of VLMEvalKit.
fn questions(folder: &Path) -> String {
    let data = fixtures().join("mmmb/data/mmmb_en.tsv");
    let path = folder.join("questions.toml");
    let text = format!("[[benchmark]]\nname = 'mmmb'\nkind = 'mmmb'\nfile = {data:?}\nrules = 'vlmevalkit'\n");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// The fixture's replies to that file: index and text.
fn replies() -> Vec<(String, String)> {
    let all = lines(&fixtures().join("mmmb/predictions.jsonl"));
    let of_file = |line: &Value| {
        let index = line["id"].as_str()?.strip_prefix("mmmb_en/")?.to_owned();
        Some((index, line["prediction"].as_str()?.to_owned()))
    };
    all.iter().filter_map(of_file).collect()
}

/// The replies without the row that has no picture, which the kit drops.
fn of_questions() -> Vec<(String, String)> {
    let data = fs::read_to_string(fixtures().join("mmmb/expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&data).unwrap();
    let items = expected["scorers"]["vlmeval"]["items"].as_object().unwrap().clone();
    replies().into_iter().filter(|(index, _)| items.contains_key(&format!("mmmb_en/{index}"))).collect()
}

fn write_jsonl(path: &Path, lines: impl Iterator<Item = Value>) {
    fs::write(path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// The table's row of the metric.
fn row<'t>(table: &'t str, name: &str) -> &'t str {
    table.lines().find(|line| line.starts_with(&format!("| {name}"))).unwrap_or_else(|| panic!("no {name} in {table}"))
}

/// JSONL by several names, lmms-eval's samples, tables and objects give the same scores: those of the reference.
#[test]
fn replies_are_read_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (questions, replies) = (questions(folder.path()), of_questions());
    write_jsonl(&at("ids.jsonl"), replies.iter().map(|(id, reply)| json!({ "id": id, "prediction": reply })));
    write_jsonl(
        &at("whole.jsonl"),
        replies.iter().map(
            |(id, reply)| json!({ "benchmark": "mmmb", "question_id": format!("mmmb/mmmb_en/{id}"), "reply": reply }),
        ),
    );
    let object: serde_json::Map<String, Value> =
        replies.iter().map(|(id, reply)| (format!("mmmb_en/{id}"), reply.clone().into())).collect();
    fs::write(at("object.json"), Value::from(object).to_string()).unwrap();
    let cell = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let table: String = replies.iter().map(|(id, reply)| format!("{id}\t{}\n", cell(reply))).collect();
    fs::write(at("model_MMMB_en.tsv"), format!("index\tprediction\n{table}")).unwrap();
    let mut printed = Vec::new();
    for name in ["ids.jsonl", "whole.jsonl", "object.json", "model_MMMB_en.tsv"] {
        let path = at(name).to_string_lossy().into_owned();
        printed.push(row(&said(&[&questions, "--predictions", &path, "--quiet"]), "mmmb, accuracy").to_owned());
    }
    assert!(printed.iter().all(|row| *row == printed[0]), "{printed:?}");
    // expected.json: MMMB_en Overall 0.4117647059 of 34 rows.
    assert!(printed[0].contains("| 34 |") && printed[0].contains(" 41.2 |"), "{}", printed[0]);
}

/// All files come out, and lmms-eval's samples among them can be read again.
#[test]
fn the_files_of_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (questions, replies) = (questions(folder.path()), of_questions());
    write_jsonl(Path::new(&at("r.jsonl")), replies.iter().map(|(id, reply)| json!({ "id": id, "prediction": reply })));
    let table = said(&[&questions, "--predictions", &at("r.jsonl"), "--out", &at("out"), "--quiet"]);
    let out = folder.path().join("out");
    let results: Value = serde_json::from_str(&fs::read_to_string(out.join("results.json")).unwrap()).unwrap();
    let accuracy = results["results"]["mmmb"]["mmmb,none"].as_f64().unwrap();
    assert!((accuracy - 14.0 / 34.0).abs() < PRINTED, "{accuracy}");
    assert_eq!(results["n-samples"]["mmmb"], json!({ "original": 34, "effective": 34 }));
    assert_eq!(results["configs"]["mmmb"]["rules"], "vlmevalkit");
    assert_eq!(results["results"]["mmmb"]["totals"]["mmmb_en"]["rows"], 34);
    // The other rules of the same replies stand beside.
    assert!(results["results"]["mmmb"]["totals under parrot-vlmevalkit"].is_object(), "{results}");
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("parrot-vlmevalkit") && report.contains("data:image/jpeg"), "rules side by side, pictures");
    assert!(fs::read_to_string(out.join("scores.csv")).unwrap().lines().count() > 2);
    let samples = out.join("samples_mmmb.jsonl");
    assert_eq!(lines(&samples).len(), 34);
    let again = said(&[&questions, "--predictions", &samples.to_string_lossy(), "--quiet"]);
    assert_eq!(row(&again, "mmmb, accuracy"), row(&table, "mmmb, accuracy"));
    let compared = said(&["--compare", &at("out"), &at("out")]);
    assert!(compared.contains("| 34 |"), "{compared}");
    // Other rules on the other side are told.
    said(&[
        &questions,
        "--predictions",
        &at("r.jsonl"),
        "--rules",
        "parrot-vlmevalkit",
        "--out",
        &at("parrot"),
        "--quiet",
    ]);
    let mixed = run(&["--compare", &at("out"), &at("parrot")]);
    let told = String::from_utf8_lossy(&mixed.stderr);
    assert!(mixed.status.success() && told.contains("warning: mmmb: A is scored by the rules of vlmevalkit"), "{told}");
}

#[test]
fn what_is_wrong_with_replies_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (questions, replies) = (questions(folder.path()), of_questions());
    let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
    let with = |name: &str, expected: &[&str]| refused(&[&questions, "--predictions", &at(name)], expected);
    write("other.jsonl", "{\"id\": \"9999\", \"prediction\": \"A\"}\n");
    with("other.jsonl", &["other.jsonl", "line 1", "none of the questions", "9999", "mmmb/mmmb_en/"]);
    let (first, reply) = &replies[0];
    let line = json!({ "id": first, "prediction": reply });
    write("twice.jsonl", &format!("{line}\n{line}\n"));
    with("twice.jsonl", &["twice.jsonl", "line 2", "second reply"]);
    write("no_id.jsonl", "{\"prediction\": \"A\"}\n");
    with("no_id.jsonl", &["line 1", "expected one of id, question_id, index, or doc_id"]);
    write("no_reply.jsonl", &format!("{}\n", json!({ "id": first, "said": "A" })));
    with("no_reply.jsonl", &["line 1", "no reply", "said"]);
    write("broken.jsonl", "{\n");
    with("broken.jsonl", &["broken.jsonl", "line 1"]);
    write("columns.tsv", "number\tprediction\n1\tA\n");
    with("columns.tsv", &["columns.tsv", "no column index"]);
    write("file.pkl", "");
    with("file.pkl", &["expected .jsonl"]);
    // Another benchmark's replies, whose name begins alike.
    let other = json!({ "id": first, "benchmark": "mmmb_paired", "prediction": "A" });
    write_jsonl(Path::new(&at("paired.jsonl")), std::iter::once(other));
    with("paired.jsonl", &["none of the questions"]);
    write("x_samples_mmmbx.jsonl", "{\"doc_id\": 1, \"resps\": [[\"A\"]]}\n");
    with("x_samples_mmmbx.jsonl", &["none of the questions", "doc_id 1"]);
    // Another file's, with the same indices.
    write("model_MMMB_ru.tsv", &format!("index\tquestion\tprediction\n{first}\tКакого цвета?\tA\n"));
    with("model_MMMB_ru.tsv", &["line 2", "another question", "Какого цвета?", "mmmb_en/"]);
    // All of the file's, of which the rules drop one; and some.
    write_jsonl(
        Path::new(&at("all.jsonl")),
        self::replies().iter().map(|(id, reply)| json!({ "id": id, "prediction": reply })),
    );
    let dropped = self::replies().len() - replies.len();
    let table = said(&[&questions, "--predictions", &at("all.jsonl"), "--limit", "12", "--quiet"]);
    assert!(row(&table, "mmmb, accuracy").contains("| 12 |"), "{table}");
    assert!(
        table.contains(&format!("{} replies are to rows that are not asked", replies.len() + dropped - 12)),
        "{table}"
    );
    write_jsonl(
        Path::new(&at("some.jsonl")),
        replies[1..].iter().map(|(id, reply)| json!({ "id": id, "prediction": reply })),
    );
    let table = said(&[&questions, "--predictions", &at("some.jsonl"), "--quiet"]);
    assert!(table.contains("no reply to 1 of 34 questions"), "{table}");
    refused(&["--compare", &at("a"), &at("b")], &["scores.json", "evaluate --out"]);
}

/// Rules, benchmarks and judges that are not there; an evaluation of other rules than the file says.
#[test]
fn settings_are_checked_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (questions, replies) = (questions(folder.path()), of_questions());
    write_jsonl(Path::new(&at("r.jsonl")), replies.iter().map(|(id, reply)| json!({ "id": id, "prediction": reply })));
    refused(
        &[&questions, "--predictions", &at("r.jsonl"), "--only", "mmm"],
        &["no [[benchmark]] has this name", "mmmb"],
    );
    let other = said(&[&questions, "--predictions", &at("r.jsonl"), "--rules", "parrot-vlmevalkit", "--quiet"]);
    assert!(row(&other, "mmmb, accuracy").contains("| 34 |"), "{other}");
    let text = said(&[&questions, "--predictions", &at("r.jsonl"), "--rules", "deep-spin", "--quiet"]);
    assert!(text.contains("mmmb has no rules of deep-spin"), "{text}");
    let data = fixtures().join("alm_bench/data/{English,German}-00000-of-00001.parquet");
    fs::write(
        at("judged.toml"),
        format!("[[benchmark]]\nname = 'alm'\nkind = 'alm_bench'\nfile = {data:?}\nrules = 'official'\n"),
    )
    .unwrap();
    refused(&[&at("judged.toml"), "--predictions", &at("r.jsonl")], &["alm needs a judge", "--judge URL"]);
    // A suite lists every file that is not there.
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("evaluations/parrot.toml").to_string_lossy().into_owned();
    refused(
        &[&suite, "--data", &at("nowhere"), "--predictions", &at("r.jsonl")],
        &["12 files are not there", "mmmb_ru.tsv", "mmbench_dev_tr.tsv", "AIDC-AI/Parrot-dataset"],
    );
}
