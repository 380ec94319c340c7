//! `examples/own_study.toml`: encoder x finetuning data on a LLaVA JSON set with a table of questions, both as a user would have them;
//! killed and continued to the same scores; with real part names a dry run.

mod common;

use std::path::{Path, PathBuf};

use burn_vlm_experiments::{DataArgs, ENCODER, StudyArgs, execute, run_data};
use burn_vlm_train::watch;
use clap::Parser;
use common::{kill_when, test_alone};
use serde_json::Value;

/// Where the child of the kill test finds the study's folder.
const FOLDER: &str = "BURN_VLM_OWN_STUDY";

fn data(line: &[&str]) {
    let args = DataArgs::parse_from(["data"].iter().chain(line));
    run_data(&args, &mut Vec::new()).unwrap();
}

/// A folder with data, questions and the study, small.
fn study(folder: &Path) -> PathBuf {
    let at = |name: &str| folder.join(name).display().to_string();
    data(&["export", "--out", &at("data"), "--format", "json", "--languages", "en,de", "--limit", "300"]);
    data(&["questions", "--out", &at("questions.tsv"), "--languages", "en,de", "--limit", "20"]);
    let mixture = std::fs::read_to_string(folder.join("data/mixture.toml")).unwrap();
    std::fs::write(folder.join("data/english.toml"), format!("languages = {{ list = [\"en\"] }}\n{mixture}")).unwrap();
    let text = include_str!("../examples/own_study.toml");
    assert!(text.lines().count() < 60, "a study on own data takes under 60 lines");
    let small = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let mut text = small(text, "steps = 40\nbatch = 32", "steps = 4\nbatch = 8\nlog_every = 2");
    let finetune = "steps = 8\nbatch = 8\nlog_every = 2\ncheckpoint_every = 2";
    text = small(&text, "steps = 80\nbatch = 32\ncheckpoint_every = 20", finetune);
    text = small(&text, "eval_every = 40", "eval_every = 4");
    text = small(&text, "seen = 40", "seen = 6");
    let path = folder.join("own_study.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn args(study: &Path, out: &Path, more: &[&str]) -> StudyArgs {
    let (study, out) = (study.to_string_lossy(), out.to_string_lossy());
    let fixed = ["own", "--quiet", "--jobs", "1", "--config", &study, "--out", &out];
    StudyArgs::parse_from(fixed.iter().chain(more))
}

/// Everything that a finished cell says, but for times.
fn predictions(out: &Path, cell: &str) -> String {
    let path = out.join("cells").join(cell).join("seed0/predictions.jsonl");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const CELLS: [&str; 4] = ["siglip1/en", "siglip1/en_de", "siglip2/en", "siglip2/en_de"];

/// The child of the test below: runs the study, if it is one.
#[test]
fn child_runs_the_study() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    execute(&ENCODER, &args(&folder.join("own_study.toml"), &folder.join("killed"), &[])).unwrap();
}

#[test]
fn own_data_and_questions_killed_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = study(folder.path());
    let whole = folder.path().join("whole");
    execute(&ENCODER, &args(&path, &whole, &[])).unwrap();

    // Killed in the second stage of the first cell, once it has a checkpoint that is not the last.
    let killed = folder.path().join("killed");
    let checkpoint = killed.join("cells/siglip1/en/seed0/stages/2-finetune/step-00000002");
    kill_when(&mut test_alone("child_runs_the_study", FOLDER, folder.path()), || checkpoint.is_dir());
    assert!(!killed.join("cells/siglip1/en/seed0/predictions.jsonl").exists(), "killed too late");
    execute(&ENCODER, &args(&path, &killed, &[])).unwrap();
    for cell in CELLS {
        assert!(predictions(&whole, cell) == predictions(&killed, cell), "{cell} differs");
        let of = |out: &Path| watch::read(&out.join("cells").join(cell).join("seed0/stages/2-finetune")).unwrap();
        assert_eq!(of(&whole), of(&killed));
    }

    // Both kinds of questions stand in the report, and so do the validations.
    let summary: Value = serde_json::from_slice(&std::fs::read(whole.join("summary.json")).unwrap()).unwrap();
    let protocols: Vec<&str> =
        summary["table"].as_array().unwrap().iter().filter_map(|row| row["protocol"].as_str()).collect();
    assert!(protocols.contains(&"cloze") && protocols.contains(&"mine"), "{protocols:?}");
    let report = std::fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(report.contains("finetune, validation"));

    // The cells differ in what they were trained on.
    let en = watch::read(&whole.join("cells/siglip1/en/seed0/stages/2-finetune")).unwrap();
    let both = watch::read(&whole.join("cells/siglip1/en_de/seed0/stages/2-finetune")).unwrap();
    assert_eq!(en[0].validation.by_language.keys().collect::<Vec<_>>(), ["en"]);
    assert_eq!(both[0].validation.by_language.keys().collect::<Vec<_>>(), ["de", "en"]);
    assert_eq!(en.iter().map(|entry| entry.step).collect::<Vec<_>>(), [4, 8]);
    assert_ne!(predictions(&whole, "siglip1/en"), predictions(&whole, "siglip1/en_de"));

    // Other proportions are another study: nothing finished is taken for it.
    let mixture = folder.path().join("data/mixture.toml");
    let text = std::fs::read_to_string(&mixture).unwrap();
    // What is only said beside it does not count.
    std::fs::write(&mixture, format!("{text}# changed\n")).unwrap();
    execute(&ENCODER, &args(&path, &whole, &[])).unwrap();
    assert!(text.contains("seed = 0"));
    std::fs::write(&mixture, text.replacen("seed = 0", "seed = 1", 1)).unwrap();
    let error = execute(&ENCODER, &args(&path, &whole, &[])).unwrap_err().to_string();
    assert!(error.contains("siglip1/en") && error.contains("data of align"), "{error}");
}

#[test]
fn real_part_names_pass_a_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = study(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("\"siglip1\"                 ", "\"siglip-so400m-patch14-384\"");
    let text =
        text.replace("model = { encoder = \"siglip2\" }", "model = { encoder = \"siglip2-so400m-patch14-384\" }");
    let text = text.replace("backbone = \"backbone\"", "backbone = \"Tower-Plus-2B\"");
    let text = text.replace("visual_tokens = { pool = 4, pooled_head = true, normalize = true, noise = 0.3 }\n", "");
    assert!(text.contains("siglip2-so400m") && text.contains("Tower-Plus-2B") && text.contains("siglip-so400m"));
    std::fs::write(&path, text).unwrap();
    let out = folder.path().join("out");
    execute(&ENCODER, &args(&path, &out, &["--dry-run"])).unwrap();
    assert!(!out.join("cells").exists());
}

/// A typo in the last stage is told before the first cell is trained.
#[test]
fn patterns_of_every_cell_are_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = study(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("language_model = 5e-4", "langauge_model = 5e-4");
    std::fs::write(&path, text).unwrap();
    let out = folder.path().join("out");
    let error = execute(&ENCODER, &args(&path, &out, &[])).unwrap_err().to_string();
    assert!(error.contains("[stage.finetune]") && error.contains("langauge_model"), "{error}");
    assert!(!out.join("cells").exists());
}

/// The study that docs/studies.md tells a user to save.
#[test]
fn the_documented_study_passes_a_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    study(folder.path());
    let docs = include_str!("../docs/studies.md");
    let (_, after) = docs.split_once("<!-- study -->\n```toml\n").unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, after.split_once("```").unwrap().0).unwrap();
    execute(&ENCODER, &args(&path, &folder.path().join("out"), &["--dry-run"])).unwrap();
}
