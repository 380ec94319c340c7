//! Everything against Hugging Face's own outputs: walks the folders of `tests/fixtures` and `tests/parity/folders`, and those of every folder named in
//! `BURN_VLM_FIXTURES` (separated by colons: a parent of such folders, or one of them), and checks each by its kind. One line a
//! check. What a folder does not have is said and skipped; what it has and no check looked at is a failure, and so is a folder
//! of a kind that is not supported.
//!
//! `cargo test --release --test parity` for all, `cargo test --release --test parity -- gemma` for the folders whose name
//! contains a word. A word that no name contains is a failure, and so is a folder without expected outputs.
//!
//! The form of a folder (docs/checkpoints.md has more): what transformers reads (config.json with weights,
//! preprocessor_config.json, tokenizer.json with a chat template) or COMET (hparams.yaml, checkpoints, the encoder's folder), `expected.safetensors` and `expected.json` with inputs and
//! outputs by the names that the folders here have, README.txt with how it was made. Pictures are files of `images` beside the
//! folder, in the order in which README.txt lists them.

mod comet;
#[path = "../../burn-vlm/tests/common/mod.rs"]
mod common;
mod dual;
mod greedy;
mod language;
mod naflex;
mod onevision;
mod parrot;
mod pictures;
mod processor;
mod tokenizer;
mod versions;
mod vision;
mod vlm;
mod vlm_prompt;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::Fixture;

/// More fixture folders, or parents of them.
const VARIABLE: &str = "BURN_VLM_FIXTURES";

/// The project's own: the fixtures, and folders that differ from them in what must not be taken for granted
/// (tests/python/parity_folders.py).
const FOLDERS: [&str; 2] = ["tests/fixtures", "tests/parity/folders"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut parents = FOLDERS.map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).to_vec();
    parents.extend(
        std::env::var(VARIABLE).unwrap_or_default().split(':').filter(|path| !path.is_empty()).map(PathBuf::from),
    );
    let (mut checked, mut failed) = (0, Vec::new());
    for parent in &parents {
        let found = match folders(parent) {
            Ok(found) if found.is_empty() => Err(format!("{}: no folders with fixtures here", parent.display())),
            other => other,
        };
        let found = found.unwrap_or_else(|problem| {
            failed.push(problem);
            Vec::new()
        });
        for folder in found {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
                continue;
            }
            checked += 1;
            // A check stops at its first broken assumption; the other folders are still looked at.
            if catch_unwind(AssertUnwindSafe(|| check(&folder))).is_err() {
                failed.push(folder.display().to_string());
            }
        }
    }
    if checked == 0 {
        failed.push(format!("nothing was checked: no folder's name contains {}", words.join(" or ")));
    }
    println!("{checked} folders, {} failed", failed.len());
    failed.iter().for_each(|folder| println!("FAILED {folder}"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Files that say what a folder is.
const KINDS: [&str; 5] =
    ["config.json", "preprocessor_config.json", "tokenizer.json", "video_preprocessor_config.json", "hparams.yaml"];
/// Files with outputs.
const EXPECTED: [&str; 3] = ["expected.safetensors", "expected.json", versions::FILE];

fn has_any(folder: &Path, files: &[&str]) -> bool {
    files.iter().any(|file| folder.join(file).is_file())
}

/// A folder of the form itself, or the fixture folders below a parent: all but that of the pictures, hidden ones, and those that
/// have nothing of the form, which are said.
fn folders(parent: &Path) -> Result<Vec<PathBuf>, String> {
    if has_any(parent, &KINDS) && has_any(parent, &EXPECTED) {
        // Its name, where it was given as `.` or through a link.
        return parent.canonicalize().map(|folder| vec![folder]).map_err(|error| error.to_string());
    }
    let entries = std::fs::read_dir(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let is_fixture = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && name != pictures::FOLDER && !name.starts_with('.')
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_fixture).collect();
    folders.sort();
    folders.retain(|folder| {
        let of_the_form = has_any(folder, &KINDS) || has_any(folder, &EXPECTED);
        if !of_the_form {
            println!("{}: none of {} and {}, skipped", folder.display(), KINDS.join(", "), EXPECTED.join(", "));
        }
        of_the_form
    });
    Ok(folders)
}

/// Files with outputs that no check of the kind reads.
fn unread(folder: &Path, read: &[&str]) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let outputs = |name: &String| {
        let tensors = name.ends_with(".safetensors") && !name.starts_with("model");
        (tensors || name.starts_with("expected")) && !read.contains(&name.as_str())
    };
    names.filter(outputs).collect()
}

/// Checks a folder by its kind: the model type of its config.json, else what other files it has.
fn check(folder: &Path) {
    let has_expected = has_any(folder, &EXPECTED);
    assert!(has_expected, "{}: none of {}: nothing to compare with", folder.display(), EXPECTED.join(", "));
    let fixture = Fixture::open_dir(folder);
    let kind = if folder.join("hparams.yaml").is_file() {
        "comet".to_string()
    } else if folder.join("config.json").is_file() {
        fixture.json("config.json")["model_type"].as_str().unwrap_or("config.json without model_type").to_string()
    } else if folder.join("preprocessor_config.json").is_file() {
        "image processor".to_string()
    } else if folder.join("tokenizer.json").is_file() {
        "tokenizer".to_string()
    } else {
        "neither model, image processor nor tokenizer".to_string()
    };
    let of_versions = folder.join(versions::FILE).is_file() && matches!(kind.as_str(), "llava" | "llava_next");
    let read: &[&str] = match (of_versions, kind.as_str()) {
        (true, _) => &[versions::FILE, versions::AS_LOADED],
        (_, "llava_onevision") => &["expected.safetensors", "expected.json", onevision::VERSIONS],
        (
            _,
            "llava" | "llava_next" | "parrot_qwen2" | "tokenizer" | "gemma2" | "llama" | "mistral" | "qwen2" | "comet",
        ) => &["expected.safetensors", "expected.json"],
        _ => &["expected.safetensors"],
    };
    let unread = unread(folder, read);
    match kind.as_str() {
        "siglip_vision_model" | "clip_vision_model" | "chinese_clip_vision_model" => vision::check(fixture),
        "siglip2_vision_model" => naflex::check(fixture),
        "siglip2" => naflex::check_whole(fixture),
        "siglip" | "clip" => dual::check(fixture),
        "gemma2" | "llama" | "mistral" | "qwen2" => language::check(fixture),
        "llava" | "llava_next" if of_versions => versions::check(fixture),
        "llava" | "llava_next" => vlm::check(fixture),
        "llava_onevision" => onevision::check(fixture),
        "parrot_qwen2" => parrot::check(fixture),
        "comet" => comet::check(fixture),
        "image processor" => processor::check(fixture),
        "tokenizer" => tokenizer::check(fixture),
        other => panic!("{}: no check for this kind: {other}", folder.display()),
    }
    assert!(unread.is_empty(), "{}: no check of this kind reads {}", folder.display(), unread.join(", "));
}
