//! Scores under other vector instructions: a cell of the smoke preset trained and asked in processes of their own, with the kernels held
//! to AVX2, and to what every processor has.

#![cfg(target_arch = "x86_64")]

use std::path::Path;
use std::process::{Command, Stdio};

use burn_vlm::nn::vectors::{VECTORS, Vectors};
use burn_vlm_experiments::{ENCODER, StudyArgs, execute};
use clap::Parser;
use serde_json::Value;

/// Set for the copy of this test binary that trains: the folder it trains in.
const CHILD: &str = "BURN_VLM_TEST_VECTORS_OUT";
const CELL: &str = "siglip1/en";
/// Without fused multiply-add every product is rounded before it is added, by 6e-8 of its size. Sums of hundreds of them, dozens of layers
/// and steps make of it what two orders of summation make of a float: after the smoke preset's few steps the mean log-likelihood of an
/// answer (between -12 and 0) moves by 5e-5, of which this is twenty times.
const LOG_LIKELIHOOD: f64 = 1e-3;
/// And with it the answer where two options are that close: in one question of a hundred, at most.
const SWITCHED: f64 = 0.01;

/// The child of the test below; does nothing when it is run by itself.
#[test]
fn child_runs_a_cell() {
    let Ok(out) = std::env::var(CHILD) else { return };
    let line = ["vectors", "--preset", "smoke", "--quiet", "--jobs", "1", "--device", "flex", "--only", CELL];
    execute(&ENCODER, &StudyArgs::parse_from([&line[..], &["--out", &out]].concat())).unwrap();
}

/// The predictions of the cell.
fn cell(out: &Path, vectors: Option<&str>) -> Vec<Value> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_runs_a_cell"]).env(CHILD, out).stdout(Stdio::null()).env_remove(VECTORS);
    if let Some(vectors) = vectors {
        command.env(VECTORS, vectors);
    }
    assert!(command.status().unwrap().success());
    let folder = out.join("cells").join(CELL).join("seed0");
    let lines = std::fs::read_to_string(folder.join("predictions.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Mean log-likelihoods of the options, by question.
fn likelihoods(predictions: &[Value]) -> Vec<Vec<f64>> {
    let values =
        |scores: &Value| scores["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    let of = |prediction: &Value| prediction["option_scores"].as_array().cloned().unwrap_or_default();
    predictions.iter().flat_map(of).map(|scores| values(&scores)).collect()
}

fn best(scores: &[f64]) -> usize {
    (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
}

#[test]
fn scores_hold_under_other_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let has = Vectors::of_processor();
    let own = cell(&folder.path().join("own"), None);
    if has >= Vectors::Avx2 {
        // The same sums in the same order: the same bits, be they 8 or 16 at once.
        let narrow = cell(&folder.path().join("avx2"), Some("avx2"));
        assert!(own == narrow, "AVX2 gives other scores than {has}");
    }
    let portable = cell(&folder.path().join("portable"), Some("portable"));
    let (own, portable) = (likelihoods(&own), likelihoods(&portable));
    assert!(own.len() == portable.len() && own.len() >= 50, "{}", own.len());
    let (mut worst, mut switched) = (0.0f64, 0);
    for (a, b) in own.iter().zip(&portable) {
        assert_eq!(a.len(), b.len());
        worst = a.iter().zip(b).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        switched += usize::from(best(a) != best(b));
    }
    println!("{} questions, {worst:.1e} apart at most, {switched} switched", own.len());
    // Where the processor has no more, the setting asks for what it does anyway.
    assert!(worst > 0.0 || has == Vectors::Portable, "the setting changes nothing");
    assert!(worst <= LOG_LIKELIHOOD, "{worst}");
    assert!(switched as f64 <= SWITCHED * own.len() as f64, "{switched} of {}", own.len());
}

/// A value that is none is told before anything is computed.
#[test]
fn wrong_settings_are_told() {
    let program = env!("CARGO_BIN_EXE_burn-vlm");
    let output = Command::new(program).args(["train", "--dry-run"]).env(VECTORS, "avx3").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("avx3") && said.contains("portable"), "{said}");
}
