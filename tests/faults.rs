//! What faults of files and settings come to, on whole runs: leftovers of killed processes, logs after a resume, mixtures without samples,
//! sizes that overflow, pictures that are no files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn_vlm_experiments::{TrainArgs, run_training};
use clap::Parser;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A run that starts from a tiny model, on four records of a picture; `mixture` is added to its source.
fn recipe(folder: &Path, mixture: &str) -> PathBuf {
    fs::copy(root().join("tests/fixtures/images/cat_451x300.png"), folder.join("cat.png")).unwrap();
    let turns = r#"[{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "a cat"}]"#;
    let line = |id: usize| {
        format!("{{\"id\": {id}, \"image\": \"cat.png\", \"lang\": \"xx-none-{id}\", \"conversations\": {turns}}}\n")
    };
    fs::write(folder.join("train.jsonl"), (0..4).map(line).collect::<String>()).unwrap();
    let source = format!("[[source]]\nname = \"own\"\npath = \"train.jsonl\"\nformat = \"llava_jsonl\"\n{mixture}\n");
    fs::write(folder.join("mixture.toml"), source).unwrap();
    let text = format!(
        "stages = [\"tune\"]\n[model]\nfrom = \"{}\"\n[stage.tune]\nobjective = \"vlm\"\nsteps = 6\nbatch = 2\nlog_every = 1\n\
         checkpoint_every = 2\nkeep_checkpoints = 9\ntrain = {{ multi_modal_projector = 1.3e-3 }}\nschedule = {{ warmup = 0.3 }}\n\
         mixture = {{ file = \"mixture.toml\" }}\n",
        root().join("tests/fixtures/llava_clip_qwen2").display()
    );
    let file = folder.join("recipe.toml");
    fs::write(&file, text).unwrap();
    file
}

fn train(recipe: &Path, out: &Path, settings: &[&str]) -> Result<String, String> {
    let (recipe, out) = (recipe.to_string_lossy(), out.to_string_lossy());
    // Nothing is taken from the runs beside it.
    let mut line = vec!["train", "--fresh", "--quiet", "--device", "flex", "--recipe", &recipe, "--out", &out];
    settings.iter().for_each(|setting| line.extend(["--set", setting]));
    run_training(&TrainArgs::parse_from(line)).map_err(|error| error.to_string())
}

/// The log's lines without what is measured by the clock, as they are written.
fn log(out: &Path) -> Vec<Vec<(String, String)>> {
    let text = fs::read_to_string(out.join("stages/1-tune/log.jsonl")).unwrap();
    let measured = |key: &str| key == "seconds" || key.ends_with("_per_second");
    let fields = |line: &str| -> Vec<(String, String)> {
        let line = line.trim_matches(['{', '}']);
        let pairs = line.split(',').map(|pair| pair.split_once(':').unwrap());
        let pairs = pairs.map(|(key, value)| (key.trim_matches('"').to_owned(), value.to_owned()));
        pairs.filter(|(key, _)| !measured(key)).collect()
    };
    text.lines().map(fields).collect()
}

/// Rates and losses of a log are the same to the last digit, and nothing that a killed process left stays.
#[test]
fn a_resumed_run_has_the_same_log_and_no_leftovers() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "language = \"en\"");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    train(&recipe, &whole, &[]).unwrap();
    train(&recipe, &killed, &[]).unwrap();
    // As a kill in step 3 leaves it: a checkpoint of step 2, what was being written, a log that is ahead.
    fs::remove_dir_all(killed.join("model")).unwrap();
    let stage = killed.join("stages/1-tune");
    for entry in fs::read_dir(&stage).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("step-") && name != "step-00000002" {
            fs::remove_dir_all(entry).unwrap();
        }
    }
    assert!(stage.join("step-00000002").is_dir());
    fs::create_dir_all(killed.join("model")).unwrap();
    let left = [
        stage.join(".tmp-step-00000004-x7"),
        killed.join(".tmp-recipe.toml-x7"),
        killed.join("model/.tmp-model.safetensors-x7"),
    ];
    fs::create_dir(&left[0]).unwrap();
    fs::write(left[0].join("state.safetensors"), [0; 99]).unwrap();
    left[1..].iter().for_each(|path| fs::write(path, [0; 99]).unwrap());
    train(&recipe, &killed, &[]).unwrap();
    assert_eq!(log(&whole), log(&killed));
    assert_eq!(log(&whole).len(), 6);
    for path in left {
        assert!(!path.exists(), "{}", path.display());
    }
    let weights = |out: &Path| fs::read(out.join("model/model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&killed));
}

/// A mixture from which nothing can be drawn names its file, each source, and why.
#[test]
fn a_mixture_without_samples_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (more, words) in [
        ("language = \"en\"\ntake = \"first:0\"", ["train.jsonl", "4 records, 0 of them"]),
        ("language_column = \"nothing\"", ["train.jsonl", "4 left out, first:"]),
    ] {
        let recipe = recipe(folder.path(), more);
        let error = train(&recipe, &folder.path().join("out"), &[]).unwrap_err();
        for word in words.iter().chain(&["mixture.toml", "[stage.tune]", "no samples"]) {
            assert!(error.contains(word), "{more}: {word}: {error}");
        }
    }
}

/// Sizes that wrap to 0 in a product, or that no memory holds, are told before anything is made.
#[test]
fn sizes_that_overflow_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "language = \"en\"");
    let out = folder.path().join("out");
    for settings in [
        ["stage.tune.batch=4294967296", "stage.tune.accumulate=4294967296"],
        ["stage.tune.batch=9223372036854775807", "stage.tune.accumulate=2"],
        ["stage.tune.batch=2097152", "stage.tune.accumulate=1"],
    ] {
        let error = train(&recipe, &out, &settings).unwrap_err();
        assert!(error.contains("[stage.tune]") && error.contains("accumulate"), "{error}");
        assert!(!out.join("model").exists());
    }
    let error = train(&recipe, &out, &["stage.tune.steps=9223372036854775807"]).unwrap_err();
    assert!(error.contains("[stage.tune]") && error.contains("steps"), "{error}");
}

/// A device has no end and a pipe no beginning: `chat` opens neither.
#[cfg(unix)]
#[test]
fn chat_reads_regular_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.png");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let large = folder.path().join("large.png");
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let model = root().join("tests/fixtures/llava_clip_qwen2");
    for (path, word) in [
        (Path::new("/dev/zero"), "device"),
        (pipe.as_path(), "pipe"),
        (folder.path(), "folder"),
        (large.as_path(), "at most"),
        (Path::new("/dev/null"), "device"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
            .args(["chat", "--device", "flex", "--prompt", "What?", "--model"])
            .arg(&model)
            .arg("--image")
            .arg(path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(word) && said.contains(&path.display().to_string()), "{said}");
    }
    // The same of a training's pictures: a record that names a pipe is left out, with the reason.
    let recipe = recipe(folder.path(), "language = \"en\"");
    let text = fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
    fs::write(folder.path().join("train.jsonl"), text.replacen("cat.png", "pipe.png", 1)).unwrap();
    let out = folder.path().join("out");
    train(&recipe, &out, &[]).unwrap();
    let skipped = fs::read_to_string(out.join("stages/1-tune/skipped.jsonl")).unwrap();
    let skip: Value = serde_json::from_str(skipped.lines().next().unwrap()).unwrap();
    assert!(skip["detail"].as_str().unwrap().contains("pipe"), "{skip}");
}
