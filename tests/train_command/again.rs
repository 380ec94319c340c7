//! What a finished run is good for afterwards: it goes on, another begins from it, its stages are not trained again.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;

use super::{log, run, short};

/// Alignment and finetuning, or one of them, of a few steps.
const ALIGN: &str = "stages=[\"align\"]";
const FINETUNE: &str = "stages=[\"finetune\"]";

fn entries(out: &Path, stage: &str) -> Vec<Value> {
    let text = fs::read_to_string(out.join("stages").join(stage).join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// With other options than settings.
fn with(out: &Path, settings: &[&str], options: &[&str]) -> Result<String, String> {
    let out = out.to_string_lossy();
    let settings = super::SHORT.iter().chain(settings).flat_map(|setting| ["--set", setting]);
    run(&["--out", &out].into_iter().chain(settings).chain(options.iter().copied()).collect::<Vec<_>>())
}

/// All values of a model's folder.
fn values(out: &Path) -> Vec<(String, Vec<f32>)> {
    let bytes = fs::read(out.join("model/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut all: Vec<_> = tensors.tensors().into_iter().map(|(name, view)| (name, numbers(view.data()))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn a_finished_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (out, whole) = (folder.path().join("run"), folder.path().join("whole"));
    let longer = ["stage.finetune.steps=8"];
    let error = with(&out, &longer, &["--extend"]).unwrap_err();
    assert!(error.contains("no run in") && error.contains("--extend"), "{error}");
    short(&out, &[]).unwrap();
    let before = log(&out, "2-finetune");
    let error = short(&out, &longer).unwrap_err();
    assert!(error.contains("another recipe") && error.contains("steps = 8"), "{error}");
    for (settings, words) in [
        (&["stage.finetune.steps=8", "seed=1"][..], ["nothing else", "seed = 1"]),
        (&["stage.align.steps=8"], ["nothing else", "steps = 8"]),
        (&["stage.finetune.steps=3"], ["has done 4 steps", "steps=8"]),
    ] {
        let error = with(&out, settings, &["--extend"]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!(log(&out, "2-finetune"), before);
    }

    with(&out, &longer, &["--extend"]).unwrap();
    let extended = entries(&out, "2-finetune");
    assert_eq!(log(&out, "2-finetune")[..2], before);
    // An uninterrupted run of eight steps reads the same samples in the same order, and its rates are those from here on.
    with(&whole, &longer, &["--fresh"]).unwrap();
    let uninterrupted = entries(&whole, "2-finetune");
    assert_eq!(extended.len(), 4);
    for (number, (a, b)) in extended.iter().zip(&uninterrupted).enumerate() {
        assert_eq!((&a["step"], &a["tokens"], &a["images"]), (&b["step"], &b["tokens"], &b["images"]));
        // The first step behind the warmup is at the peak in both; the fourth was nearly at the end of four, not of eight.
        assert_eq!(a["lr_factor"] == b["lr_factor"], number != 1, "{a} {b}");
    }
    assert_ne!(extended[2]["loss"], uninterrupted[2]["loss"], "the first steps followed a shorter schedule");

    // Killed in the extension, the same command goes on, with or without the word.
    let model = values(&out);
    for options in [&["--extend"][..], &[]] {
        fs::remove_dir_all(out.join("model")).unwrap();
        fs::remove_dir_all(out.join("stages/2-finetune/step-00000008")).unwrap();
        with(&out, &longer, options).unwrap();
        let ended =
            |entries: &[Value]| entries.iter().map(|e| (e["loss"].clone(), e["lr"].clone())).collect::<Vec<_>>();
        assert_eq!(ended(&entries(&out, "2-finetune")), ended(&extended));
        assert_eq!(values(&out), model);
    }
    let error = short(&out, &[]).unwrap_err();
    assert!(error.contains("another recipe"), "{error}");

    // Once more; and where the checkpoint that was extended is damaged, nothing older takes its place.
    with(&out, &["stage.finetune.steps=10"], &["--extend"]).unwrap();
    assert_eq!(log(&out, "2-finetune").len(), 5);
    let state = out.join("stages/2-finetune/step-00000008/state.json");
    assert!(state.is_file());
    fs::remove_dir_all(out.join("stages/2-finetune/step-00000010")).unwrap();
    let older = out.join("stages/2-finetune/step-00000006");
    copy(&state.parent().unwrap().to_owned(), &older);
    let text = fs::read_to_string(&state).unwrap().replace("\"step\": 8", "\"step\": 6");
    fs::write(older.join("state.json"), text).unwrap();
    fs::remove_file(older.join("seal.json")).unwrap();
    fs::write(&state, "{").unwrap();
    let error = with(&out, &["stage.finetune.steps=10"], &[]).unwrap_err();
    assert!(error.contains("older than step 8"), "{error}");
}

fn copy(from: &PathBuf, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Another finetuning rate does not train the alignment again; another seed, a changed alignment or `--fresh` do.
#[test]
fn stages_of_a_run_beside_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    short(&at("first"), &[]).unwrap();
    let aligned = entries(&at("first"), "1-align");
    let rate = ["stage.finetune.train={ language_model = 1e-5 }"];
    short(&at("second"), &rate).unwrap();
    // Seconds and tokens a second too: these are the first run's lines.
    assert_eq!(entries(&at("second"), "1-align"), aligned);
    assert_ne!(log(&at("second"), "2-finetune"), log(&at("first"), "2-finetune"));
    with(&at("third"), &rate, &["--fresh"]).unwrap();
    assert_ne!(entries(&at("third"), "1-align"), aligned, "trained here");
    assert_eq!(log(&at("third"), "1-align"), log(&at("first"), "1-align"));
    assert_eq!(values(&at("third")), values(&at("second")), "a stage that was taken is the one that would be trained");
    for (name, settings) in [("seed", ["seed=3"]), ("rate", ["stage.align.train={ multi_modal_projector = 1e-4 }"])] {
        short(&at(name), &settings).unwrap();
        assert_ne!(log(&at(name), "1-align"), log(&at("first"), "1-align"), "{name}");
    }
    // A damaged checkpoint is nobody's.
    for run in ["first", "second", "third"] {
        let file = at(run).join("stages/1-align/step-00000004/state.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    short(&at("fourth"), &["stage.finetune.train={ language_model = 2e-5 }"]).unwrap();
    assert_ne!(entries(&at("fourth"), "1-align"), aligned);
    assert_eq!(log(&at("fourth"), "1-align"), log(&at("first"), "1-align"));
}

#[test]
fn a_run_begins_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let path = |name: &str| at(name).to_string_lossy().into_owned();
    short(&at("first"), &[ALIGN]).unwrap();
    // A learning rate that moves nothing: what comes out is what went in.
    let still = [FINETUNE, "stage.finetune.train={ multi_modal_projector = 1e-30 }"];
    for (name, from) in [("run", path("first")), ("stage", path("first/align"))] {
        with(&at(name), &still, &["--init-from", &from]).unwrap();
        for ((name, a), (other, b)) in values(&at("first")).iter().zip(&values(&at(name))) {
            assert_eq!(name, other);
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-20), "{name}");
        }
    }
    short(&at("parts"), &still).unwrap();
    assert_ne!(values(&at("parts")), values(&at("first")), "the connector of the parts is another");

    let error = short(&at("run"), &still).unwrap_err();
    assert!(error.contains("init.json") && error.contains("--init-from"), "{error}");
    with(&at("run"), &still, &["--init-from", &path("first")]).unwrap();
    for (out, from, words) in [
        ("parts", path("first"), "another folder"),
        ("run", path("parts"), "other weights"),
        ("new", path("first/finetune"), "it has: align"),
        ("new", path("first/model"), "no stage `model`"),
        ("new", path("nowhere"), "no run of `train`"),
    ] {
        let error = with(&at(out), &still, &["--init-from", &from]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let tower = [&still[..], &["model.encoder=\"siglip1\""]].concat();
    let error = with(&at("new"), &tower, &["--init-from", &path("first")]).unwrap_err();
    assert!(error.contains("[model] is not that of this recipe"), "{error}");
}
