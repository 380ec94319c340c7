//! What a study asks its backbones without pictures: once before training for all cells, after each stage that trains them, the same
//! again after a kill; and the samples without pictures that a stage may have.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{kill_when, read, summary};
use serde_json::Value;

/// A quarter of the second cell's samples are texts.
const STUDY: &str = "name = 'text'\ntitle = 'Text'\nopen_tables = ['stage.*.data']\n\
    [recipe]\nstages = ['align', 'finetune']\n[recipe.model]\nencoder = 'siglip1'\nbackbone = 'backbone'\n\
    [recipe.stage.align]\nobjective = 'vlm'\nsteps = 4\nbatch = 8\nlog_every = 2\ncheckpoint_every = 2\n\
    train = { multi_modal_projector = 3e-3 }\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n\
    [recipe.stage.finetune]\nobjective = 'vlm'\nsteps = 12\nbatch = 8\nlog_every = 3\ncheckpoint_every = 2\n\
    train = { multi_modal_projector = 1e-3, language_model = 3e-3 }\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n\
    [[axis]]\nname = 'text'\nvalues = [{ name = 'none' }, { name = 'quarter', patch = { stage = { finetune = { data = { \
    text = { share = 0.25, languages = ['en', 'de'], tasks = { keywords_to_name = 1.0, translation = 2.0 } } } } } } }]\n\
    [[column]]\nname = 'En'\nlanguages = ['en']\n\
    [evaluation]\nlanguages = ['en']\ncloze = 'likelihood'\nseen = 8\nunseen = 0\ntext = { languages = ['en', 'de'], items = 8 }\n";

fn command(file: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.arg("study").arg(file).arg("--out").arg(out).args(["--device", "flex"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(file: &Path, out: &Path) -> String {
    let output = command(file, out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn study(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("text.toml");
    fs::write(&file, text).unwrap();
    file
}

fn cell(out: &Path, name: &str) -> PathBuf {
    out.join("cells").join(name).join("seed0")
}

/// The lines of a log without its times, and rates, which are of times.
fn timeless(file: &Path) -> Vec<Value> {
    let mut lines: Vec<Value> =
        fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        assert!(line["tokens"].as_u64() > Some(0) && line["loss_mean"].is_number(), "{line}");
        for time in ["tokens_per_second", "images_per_second", "seconds"] {
            line[time] = Value::Null;
        }
    }
    assert_eq!(lines.len(), 4);
    lines
}

#[test]
fn asked_before_and_after_and_the_same_after_three_kills() {
    let folder = tempfile::tempdir().unwrap();
    let file = study(folder.path(), STUDY);
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let told = run(&file, &whole);
    // Asked once before training, and after finetuning of each cell; alignment leaves the decoder as it is.
    assert_eq!(told.matches("questions without pictures, before training").count(), 1, "{told}");
    assert_eq!(told.matches("questions without pictures, after finetune").count(), 2, "{told}");
    assert!(!told.contains("after align"), "{told}");
    let moments = |name: &str| read(cell(&whole, name).join("text.json"));
    let (none, quarter) = (moments("none"), moments("quarter"));
    for moments in [&none, &quarter] {
        let stages: Vec<&str> = moments.as_array().unwrap().iter().map(|m| m["stage"].as_str().unwrap()).collect();
        assert_eq!(stages, ["before", "align", "finetune"]);
        assert_eq!((&moments[1]["frozen"], &moments[2]["frozen"]), (&Value::Bool(true), &Value::Bool(false)));
        assert_eq!(moments[0]["scores"], moments[1]["scores"]);
        assert_ne!(moments[0]["scores"]["likelihood"], moments[2]["scores"]["likelihood"]);
    }
    assert_eq!(none[0], quarter[0]);
    assert_ne!(none[2], quarter[2]);

    let summary_of_whole = summary(&whole);
    let text = &summary_of_whole["text"];
    assert_eq!(text["stages"], serde_json::json!(["before", "align", "finetune"]));
    // By hand: bits over bytes of the German texts before training.
    let (mut bits, mut bytes) = (0.0, 0.0);
    for text in none[0]["scores"]["likelihood"].as_array().unwrap().iter().filter(|text| text["language"] == "de") {
        bits += text["bits"].as_f64().unwrap();
        bytes += text["bytes"].as_f64().unwrap();
    }
    let of = |list: &str, stage: &str, column: &str| {
        let all = text[list].as_array().unwrap();
        let found = all
            .iter()
            .find(|value| value["measure"] == "bits_per_byte" && value["stage"] == stage && value["column"] == column);
        found.unwrap_or_else(|| panic!("{list} {stage} {column}")).clone()
    };
    let before = of("languages", "before", "de");
    // Summaries are rounded to six decimals.
    assert!((before["value"].as_f64().unwrap() - bits / bytes).abs() < 1e-6, "{before} {}", bits / bytes);
    let zero = of("changes", "align", "En");
    assert_eq!([&zero["value"], &zero["low"], &zero["high"]].map(|v| v.as_f64().unwrap()), [0.0; 3]);
    assert!(
        of("values", "before", "all languages")["n"].as_u64().unwrap()
            > of("values", "before", "En")["n"].as_u64().unwrap()
    );
    assert!(!text["differences"].as_array().unwrap().is_empty());
    let md = fs::read_to_string(whole.join("summary.md")).unwrap();
    assert!(md.contains("## What training on pictures did to the backbone's own languages"), "{md}");
    assert!(fs::read_to_string(whole.join("report.html")).unwrap().contains("id=\"text\""));
    assert!(whole.join("plots/text_bits_per_byte.svg").exists());

    // A quarter of the samples, in the tasks' and languages' proportions, exactly.
    let drawn = |name: &str| read(cell(&whole, name).join("stages/2-finetune/samples.json"));
    assert_eq!((&drawn("none")["samples"], &drawn("quarter")["samples"]), (&96.into(), &96.into()));
    let sources: BTreeMap<String, u64> = serde_json::from_value(drawn("quarter")["by_source"].clone()).unwrap();
    let texts: u64 = sources.iter().filter(|(name, _)| !name.starts_with("caption")).map(|(_, count)| count).sum();
    assert_eq!((sources["caption/en"], texts), (72, 24), "{sources:?}");
    assert_eq!(sources["translation/de"], 8, "{sources:?}");

    // Killed in the last stage of both cells, each time after a checkpoint of its own, which stands between two lines of the log.
    for (name, step) in [("none", 4), ("none", 8), ("quarter", 4)] {
        let checkpoint = cell(&killed, name).join(format!("stages/2-finetune/step-{step:08}"));
        kill_when(command(&file, &killed).args(["--jobs", "1"]), || checkpoint.exists());
        assert!(!killed.join("summary.json").exists());
    }
    run(&file, &killed);
    assert_eq!(summary(&killed), summary_of_whole);
    for name in ["none", "quarter"] {
        let text = |out: &Path| fs::read(cell(out, name).join("text.json")).unwrap();
        assert!(text(&killed) == text(&whole), "{name}");
        let logged = |out: &Path| timeless(&cell(out, name).join("stages/2-finetune/log.jsonl"));
        assert_eq!(logged(&killed), logged(&whole), "{name}");
    }
}

/// Without the key nothing is asked, and nothing is written of it.
#[test]
fn what_is_not_asked_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let plain = STUDY.replace("text = { languages = ['en', 'de'], items = 8 }\n", "");
    let out = folder.path().join("out");
    run(&study(folder.path(), &plain), &out);
    let summary = summary(&out);
    assert_eq!(summary.get("text"), None);
    assert!(!fs::read_to_string(out.join("summary.md")).unwrap().contains("own languages"));
    assert!(cell(&out, "none").join("predictions.jsonl").exists() && !cell(&out, "none").join("text.json").exists());
}
