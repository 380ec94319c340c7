//! The encoder study from end to end on the smoke preset: its files, its exactness after kills, its errors.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn_vlm_experiments::{ENCODER, StudyArgs, execute, parse};
use burn_vlm_train::ablation::PatchRules;
use burn_vlm_train::recipe::{EvaluationRecipe, Recipe};
use clap::Parser;
use common::{backbone_without_image, kill_when, read, summary, test_alone};
use serde_json::Value;

/// Set for the copy of this test binary that is killed: the folder it runs the study in.
const CHILD: &str = "BURN_VLM_TEST_STUDY_OUT";

fn args(more: &[&str]) -> StudyArgs {
    StudyArgs::parse_from(["ablate_encoder", "--preset", "smoke", "--quiet"].iter().chain(more))
}

fn error_of(more: &[&str]) -> String {
    execute(&ENCODER, &args(more)).unwrap_err().to_string()
}

/// What each cell says of its losses.
fn losses(out: &Path) -> Vec<Value> {
    let mut cells: Vec<PathBuf> = Vec::new();
    for encoder in ["siglip1", "siglip2"] {
        for data in ["en", "en_multi"] {
            cells.push(out.join("cells").join(encoder).join(data).join("seed0"));
        }
    }
    cells.iter().map(|cell| read(cell.join("done.json"))["result"]["losses"].clone()).collect()
}

#[test]
fn every_preset_plans_and_its_recipes_are_valid() {
    let study = parse(&ENCODER).unwrap();
    for preset in ["smoke", "tiny", "small"] {
        for cell in study.plan(preset, None, &PatchRules::new()).unwrap().cells {
            Recipe::from_table(cell.recipe.clone()).unwrap_or_else(|e| panic!("{preset} {}: {e}", cell.name));
            EvaluationRecipe::from_table(cell.evaluation.clone()).unwrap();
        }
    }
}

/// The checkpoints of the cells' second stage.
fn checkpoints(out: &Path) -> BTreeSet<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let cells = entries(&out.join("cells")).flat_map(|encoder| entries(&encoder).collect::<Vec<_>>());
    let steps = cells.flat_map(|cell| entries(&cell.join("seed0/stages/2-finetune")).collect::<Vec<_>>());
    steps.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"))).collect()
}

/// The child of the test below; does nothing when it is run by itself. One cell after the other: each is killed in.
#[test]
fn child_runs_the_study() {
    if let Ok(out) = std::env::var(CHILD) {
        execute(&ENCODER, &args(&["--jobs", "1", "--out", &out])).unwrap();
    }
}

#[test]
fn killed_three_times_equals_uninterrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    execute(&ENCODER, &args(&["--out", &whole.to_string_lossy()])).unwrap();
    for name in ["summary.json", "summary.csv", "summary.md", "report.html", "plots/scores.svg", "plots/scores.png"] {
        assert!(std::fs::metadata(whole.join(name)).is_ok_and(|file| file.len() > 0), "{name} is missing");
    }
    let found = read(whole.join("summary.json"));
    for key in ["axes", "column", "protocol", "distractors", "concepts", "n", "seeds", "score", "low", "high", "chance"]
    {
        assert!(found["table"][0].get(key).is_some(), "table rows lack `{key}`");
    }
    assert_eq!(found["study"], "encoder");
    assert!(found["cells"].as_array().is_some_and(|cells| !cells.is_empty()));

    for _ in 0..3 {
        let before = checkpoints(&killed);
        // until it has written a checkpoint of its own, which is in the middle of a stage
        kill_when(&mut test_alone("child_runs_the_study", CHILD, &killed), || !checkpoints(&killed).is_subset(&before));
        assert!(!killed.join("summary.json").exists(), "the study was finished before it could be killed");
    }
    execute(&ENCODER, &args(&["--out", &killed.to_string_lossy()])).unwrap();
    assert_eq!(summary(&whole), summary(&killed));
    assert_eq!(losses(&whole), losses(&killed));
    damaged_predictions_do_not_shrink_the_table(&whole);
}

/// Running a finished study again writes its summary anew; a cell whose predictions are cut off must not drop out of it.
fn damaged_predictions_do_not_shrink_the_table(out: &Path) {
    let before = summary(out);
    let file = out.join("cells/siglip1/en/seed0/predictions.jsonl");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..100]).unwrap();
    let message = error_of(&["--out", &out.to_string_lossy()]);
    assert!(message.contains("predictions.jsonl") && message.contains("delete the folders"), "{message}");
    assert_eq!(summary(out), before);
    std::fs::write(&file, &whole).unwrap();
    execute(&ENCODER, &args(&["--out", &out.to_string_lossy()])).unwrap();
    assert_eq!(summary(out), before);
}

/// One cell of a study with a language model whose own tokenizer has no `<image>`.
#[test]
fn a_backbone_without_an_image_token_is_studied() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts");
    for (name, tied) in [("tied", true), ("untied", false)] {
        let parts = folder.path().join(name);
        backbone_without_image(&parts.join("backbone"), tied);
        for encoder in ["siglip1", "siglip2"] {
            std::fs::create_dir(parts.join(encoder)).unwrap();
            for file in std::fs::read_dir(shipped.join(encoder)).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), parts.join(encoder).join(file.file_name())).unwrap();
            }
        }
        let out = folder.path().join(format!("{name}-study"));
        let (parts, text) = (parts.to_string_lossy(), out.to_string_lossy());
        execute(&ENCODER, &args(&["--parts", &parts, "--out", &text, "--only", "siglip1/en"])).unwrap();
        let done = read(out.join("cells/siglip1/en/seed0/done.json"));
        assert!(done["result"]["losses"].is_object() || done["result"]["losses"].is_array(), "{done}");
    }
}

#[test]
fn wrong_input_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let out = path("out");

    let unknown_preset = execute(&ENCODER, &StudyArgs::parse_from(["a", "--preset", "tinny", "--quiet"]));
    let message = unknown_preset.unwrap_err().to_string();
    assert!(message.contains("tinny") && message.contains("`tiny`"), "{message}");

    let message = error_of(&["--out", &out, "--only", "siglip1/enn"]);
    assert!(message.contains("siglip1/enn") && message.contains("siglip1/en"), "{message}");

    let message = error_of(&["--out", &out, "--corpus", &path("nowhere")]);
    assert!(message.contains("nowhere"), "{message}");

    let message = error_of(&["--out", &out, "--parts", &path("noparts")]);
    assert!(message.contains("siglip1") && message.contains("--from-scratch"), "{message}");

    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(folder.path().join("out/experiment.json"), r#"{"study": "backbone", "preset": "tiny"}"#).unwrap();
    let message = error_of(&["--out", &out]);
    assert!(message.contains("out"), "{message}");
}

#[test]
fn wrong_study_files_name_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = |from: &str, to: &str| {
        let file = folder.path().join("study.toml");
        assert!(ENCODER.text.contains(from), "the study file has no `{from}` any more");
        std::fs::write(&file, ENCODER.text.replacen(from, to, 1)).unwrap();
        let out = folder.path().join("out");
        error_of(&["--config", &file.to_string_lossy(), "--out", &out.to_string_lossy()])
    };
    let message = wrong("languages = [\"en\"], tasks", "languages = [\"enn\"], tasks");
    assert!(message.contains("enn") && message.contains("en"), "{message}");
    let message = wrong("name = \"encoder\"\nlabel", "nam = \"encoder\"\nlabel");
    assert!(message.contains("nam"), "{message}");
    let message = wrong("projector_hidden_act", "projector_hiden_act");
    assert!(
        message.contains("projector_hiden_act") && message.contains("did you mean `projector_hidden_act`"),
        "{message}"
    );
    assert!(message.contains("study.toml"), "{message}");
}
