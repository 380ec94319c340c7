//! A user's own questions in a study, by its TOML alone and in code: asked, scored, reported beside the corpus's, and every mistake
//! told before anything is trained.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm_experiments::{AnyError, ENCODER, StudyArgs, execute, execute_with};
use burn_vlm_train::error::Result;
use burn_vlm_train::eval::{Ask, Benchmark, Metric, NamedScore, Prediction, Question, Reply};
use clap::Parser;
use serde_json::Value;

/// A row's score in another batch: sums of a few hundred products in f32 in another order.
const OTHER_BATCH: f64 = 1e-4;

/// MMMB's made-up English questions, as a user's own and as MMMB. Two of them have an option twice, which a user has to allow.
fn tables(letters: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval/mmmb/data");
    let file = data.join("mmmb_en.tsv");
    format!(
        "[[benchmark]]\nname = 'mine'\nkind = 'choice'\nfile = {file:?}\nlanguage = 'en'\nprotocol = '{letters}'\nlimit = 12\nmax_skipped = 2\n\
         [[benchmark]]\nname = 'likely'\nkind = 'choice'\nfile = {file:?}\nlanguage = 'en'\nlimit = 12\nmax_skipped = 2\n\
         [[benchmark]]\nname = 'mmmb'\nkind = 'mmmb'\nfile = {file:?}\nmax_new_tokens = 4\nlimit = 12\n\
         [presets.smoke.benchmark]\nlikely = {{ limit = 8 }}\n"
    )
}

/// The encoder study with more benchmarks and another batch, as a file.
fn study(folder: &Path, batch: usize, tables: &str) -> PathBuf {
    let path = folder.join(format!("study{batch}.toml"));
    assert!(ENCODER.text.contains("batch = 128"), "the study's evaluation has changed");
    let text = ENCODER.text.replace("batch = 128", &format!("batch = {batch}"));
    std::fs::write(&path, format!("{text}\n{tables}")).unwrap();
    path
}

fn args(study: &Path, out: &Path, more: &[&str]) -> StudyArgs {
    let (study, out) = (study.to_string_lossy(), out.to_string_lossy());
    let fixed = ["own", "--preset", "smoke", "--quiet", "--only", "siglip1/en", "--config", &study, "--out", &out];
    StudyArgs::parse_from(fixed.iter().chain(more))
}

/// A benchmark in code: one question without a picture.
struct Arithmetic([Question; 1]);

impl Benchmark for Arithmetic {
    fn name(&self) -> &str {
        "arithmetic"
    }

    fn questions(&self) -> &[Question] {
        &self.0
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        let scores = replies[0].scores("arithmetic", 2)?;
        let scores = vec![NamedScore::right("arithmetic", scores[0] > scores[1])];
        Ok(vec![Prediction { language: Some("en".into()), scores, ..Prediction::new("sum", "arithmetic", "sum") }])
    }

    fn metrics(&self) -> Vec<Metric> {
        let explanation = "The likelier of two sums.".into();
        vec![Metric { name: "arithmetic".into(), label: "Arithmetic".into(), explanation, chance: Some(50.0) }]
    }

    fn languages(&self) -> Vec<String> {
        vec!["en".into()]
    }
}

fn arithmetic() -> Arc<dyn Benchmark> {
    let ask = Ask::Likelihood { answers: vec!["2".into(), "3".into()] };
    Arc::new(Arithmetic([Question::new("sum", "1 + 1", Vec::new(), ask)]))
}

fn predictions(out: &Path) -> Vec<Value> {
    let path = out.join("cells/siglip1/en/seed0/predictions.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(predictions: &'a [Value], benchmark: &str) -> Vec<&'a Value> {
    predictions.iter().filter(|prediction| prediction["benchmark"] == benchmark).collect()
}

#[test]
fn own_questions_stand_beside_the_corpuss() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let tables = tables("letters");
    let (large, small) = (folder.path().join("large"), folder.path().join("small"));
    execute_with(&ENCODER, &args(&study(folder.path(), 64, &tables), &large, &[]), &[arithmetic()])?;
    // One cell of the study is enough here.
    execute_with(&ENCODER, &args(&study(folder.path(), 64, &tables), &large, &["--merge"]), &[arithmetic()])?;
    execute(&ENCODER, &args(&study(folder.path(), 3, &tables), &small, &[]))?;

    let found = predictions(&large);
    for (benchmark, count) in [("mine", 12), ("likely", 8), ("mmmb", 12), ("arithmetic", 1)] {
        assert_eq!(of(&found, benchmark).len(), count, "{benchmark}");
    }
    assert!(of(&found, "mmmb").iter().all(|prediction| prediction["text"].is_string()));
    assert!(!of(&found, "cloze").is_empty());

    // What a reply is does not depend on what stands in its batch.
    let other = predictions(&small);
    for benchmark in ["mine", "likely", "cloze", "mmmb"] {
        let (found, other) = (of(&found, benchmark), of(&other, benchmark));
        assert_eq!(found.len(), other.len());
        for (one, two) in found.iter().zip(other) {
            assert_eq!((&one["id"], &one["text"]), (&two["id"], &two["text"]));
            let values = |prediction: &Value| -> Vec<f64> {
                let rules = prediction["option_scores"].as_array().cloned().unwrap_or_default();
                rules.iter().flat_map(|rule| rule["values"].as_array().unwrap()).map(|v| v.as_f64().unwrap()).collect()
            };
            for (a, b) in values(one).iter().zip(values(two)) {
                assert!((a - b).abs() < OTHER_BATCH, "{benchmark} {}: {a} and {b}", one["id"]);
            }
        }
    }

    // The report shows each with N, chance and interval, in the columns that it can fill.
    let summary: Value = serde_json::from_slice(&std::fs::read(large.join("summary.json"))?)?;
    assert_eq!(summary["table"][0]["protocol"], "cloze", "the first benchmark heads the report");
    for (benchmark, n) in [("mine", 12), ("likely", 8), ("mmmb", 12), ("arithmetic", 1)] {
        let rows = summary["table"].as_array().unwrap().iter().filter(|row| row["protocol"] == benchmark);
        let rows: Vec<&Value> = rows.collect();
        assert_eq!(rows.len(), 1, "{benchmark}: one cell, one column");
        assert_eq!((&rows[0]["column"], rows[0]["n"].as_u64()), (&Value::from("En"), Some(n)));
        assert!(rows[0]["chance"].as_f64().is_some_and(|chance| chance > 10.0));
        assert!(rows[0]["low"].as_f64() <= rows[0]["high"].as_f64());
    }
    for file in ["summary.md", "report.html"] {
        let text = std::fs::read_to_string(large.join(file))?;
        for word in ["mine", "likely", "mmmb, accuracy", "Arithmetic"] {
            assert!(text.contains(word), "{file} lacks {word}");
        }
    }
    Ok(())
}

#[test]
fn mistakes_are_told_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("q.tsv"), "index\tquestion\tA\tB\n1\tWhat?\tx\ty\n").unwrap();
    let own = |settings: &str| format!("[[benchmark]]\nname = 'mine'\nfile = 'q.tsv'\n{settings}\n");
    for (tables, words) in [
        (own("kind = 'choise'\nlanguage = 'en'"), ["unknown kind \"choise\"", "did you mean `choice`?"]),
        (own("kind = 'choice'\nlanguage = 'en'"), ["q.tsv", "no column \"answer\""]),
        (tables("letters").replace("'en'", "'tr'"), ["questions in tr", "no [[column]] can show it"]),
        (format!("{}{}", tables("letters"), tables("letters")), ["study8.toml", "duplicate"]),
        (own("kind = 'choice'") + &own("kind = 'choice'"), ["study8.toml", "two benchmarks are named `mine`"]),
        ("[[benchmark]]\nkind = 'choice'\n".to_owned(), ["study8.toml", "has no `name`"]),
        (tables("letters").replace("likely = {", "likly = {"), ["unknown benchmark `likly`", "did you mean `likely`?"]),
        (tables("letters").replace("{ limit = 8 }", "{ limt = 8 }"), ["limt", "`limit`"]),
    ] {
        let out = path.join("out");
        let error = execute(&ENCODER, &args(&study(path, 8, &tables), &out, &["--dry-run"])).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{tables}\n-> {error}\nlacks {word}");
        }
        assert!(!out.join("cells").exists());
    }
    let twice = [arithmetic(), arithmetic()];
    let line = args(&study(path, 8, ""), &path.join("out"), &["--dry-run"]);
    let error = execute_with(&ENCODER, &line, &twice).unwrap_err().to_string();
    assert!(error.contains("arithmetic") && error.contains("another benchmark of this name"), "{error}");
}
