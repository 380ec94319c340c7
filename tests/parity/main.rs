//! Everything against Hugging Face's own outputs: walks the folders of `tests/fixtures`, and those of every parent named in
//! `BURN_VLM_FIXTURES` (separated by colons), and checks each by its kind. One line a check; a tensor that no check looked at
//! is a failure, and so is a folder of a kind that is not supported. Each folder's README.txt says how it was made.
//!
//! `cargo test --release --test parity` for all, `cargo test --release --test parity -- gemma` for the folders whose name
//! contains a word. A word that no name contains is a failure, and so is a folder without expected outputs.

#[path = "../../burn-vlm/tests/common/mod.rs"]
mod common;
mod dual;
mod greedy;
mod language;
mod naflex;
mod parrot;
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

/// Parents of more fixture folders.
const VARIABLE: &str = "BURN_VLM_FIXTURES";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut parents = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")];
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

/// The folder of the pictures that others use.
const PICTURES: &str = "images";

/// The fixture folders below a parent: all but that of the pictures and hidden ones.
fn folders(parent: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let is_fixture = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && name != PICTURES && !name.starts_with('.')
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_fixture).collect();
    folders.sort();
    Ok(folders)
}

/// Checks a folder by its kind: the model type of its config.json, else what other files it has.
fn check(folder: &Path) {
    let expected = ["expected.safetensors", "expected.json", versions::FILE];
    let has_expected = expected.iter().any(|file| folder.join(file).is_file());
    assert!(has_expected, "{}: none of {}: nothing to compare with", folder.display(), expected.join(", "));
    let fixture = Fixture::open_dir(folder);
    let kind = if folder.join("config.json").is_file() {
        fixture.json("config.json")["model_type"].as_str().unwrap_or("config.json without model_type").to_string()
    } else if folder.join("preprocessor_config.json").is_file() {
        "image processor".to_string()
    } else if folder.join("tokenizer.json").is_file() {
        "tokenizer".to_string()
    } else {
        "neither model, image processor nor tokenizer".to_string()
    };
    match kind.as_str() {
        "siglip_vision_model" | "clip_vision_model" | "chinese_clip_vision_model" => vision::check(fixture),
        "siglip2_vision_model" => naflex::check(fixture),
        "siglip2" => naflex::check_whole(fixture),
        "siglip" | "clip" => dual::check(fixture),
        "gemma2" | "llama" | "mistral" | "qwen2" => language::check(fixture),
        "llava" | "llava_next" if folder.join(versions::FILE).is_file() => versions::check(fixture),
        "llava" | "llava_next" => vlm::check(fixture),
        "parrot_qwen2" => parrot::check(fixture),
        "image processor" => processor::check(fixture),
        "tokenizer" => tokenizer::check(fixture),
        other => panic!("{}: no check for this kind: {other}", folder.display()),
    }
}
