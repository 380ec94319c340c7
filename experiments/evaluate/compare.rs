//! `--compare A B`: two evaluations of the same questions, item by item.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use burn_vlm::BURN_VERSION;
use burn_vlm_base::files::{create_dir_all, write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::read_jsonl;
use burn_vlm_train::ablation::{Provenance, now};
use burn_vlm_train::eval::{Metric, Prediction, compare as pair};
use burn_vlm_train::report::{CompareReport, compare_html, comparison_markdown};
use burn_vlm_train::stats::Bootstrap;
use serde::Deserialize;
use serde_json::Value;

use crate::AnyError;
use crate::study::repository;

/// What is read of `scores.json`.
#[derive(Deserialize)]
struct Scores {
    model: String,
    #[serde(default)]
    device: String,
    /// By benchmark, whose rules and prompts.
    rules: BTreeMap<String, Value>,
    metrics: Vec<Metric>,
}

/// Compares, prints the table, and writes `comparison.json`, `.md` and `.html` if they are wanted.
///
/// # Errors
/// Folders that are no evaluations, or have no item in common.
pub(super) fn compare(a: &Path, b: &Path, out: Option<&Path>) -> Result<(), AnyError> {
    let (of_a, scores_a) = read(a)?;
    let (of_b, scores_b) = read(b)?;
    let mut metrics = scores_a.metrics.clone();
    let others = scores_a.rules.iter().filter_map(|(name, a)| Some((name, a, scores_b.rules.get(name)?)));
    for (name, a, b) in others.filter(|(_, a, b)| a != b) {
        let of = |side: &Value| format!("{} with prompts of {}", said(&side["rules"]), said(&side["prompt"]));
        eprintln!(
            "warning: {name}: A is scored by the rules of {}, B by those of {}: the difference is not the models' alone",
            of(a),
            of(b)
        );
    }
    for other in &scores_b.metrics {
        if metrics.iter().all(|metric| metric.name != other.name) {
            metrics.push(other.clone());
        }
    }
    let comparison = pair(&of_a, &of_b, &metrics, &Bootstrap::default())?;
    let name = |folder: &Path, scores: &Scores| {
        let place = if scores.device.is_empty() { String::new() } else { format!("; {}", scores.device) };
        format!("{} ({}{place})", folder.display(), scores.model)
    };
    let names = [name(a, &scores_a), name(b, &scores_b)];
    let table = comparison_markdown(&comparison);
    write!(std::io::stdout(), "A: {}\nB: {}\n\n{table}", names[0], names[1])?;
    let Some(out) = out else { return Ok(()) };
    let origin = Provenance::collect(&repository(), &[("burn", BURN_VERSION)]);
    create_dir_all(out)?;
    let page = compare_html(&CompareReport {
        title: "Two evaluations, item by item",
        names: [&names[0], &names[1]],
        command: &origin.command_text(),
        commit: &origin.commit.to_string(),
        device: "",
        finished: &now(),
        comparison: &comparison,
        metrics: &metrics,
        pictures: &|_| None,
    });
    write_json_atomic(&out.join("comparison.json"), &comparison)?;
    write_atomic(&out.join("comparison.md"), format!("A: {}\n\nB: {}\n\n{table}", names[0], names[1]).as_bytes())?;
    write_atomic(&out.join("comparison.html"), page.as_bytes())?;
    writeln!(std::io::stdout(), "wrote {}: comparison.json, comparison.md, comparison.html", out.display())?;
    Ok(())
}

fn said(name: &Value) -> &str {
    name.as_str().unwrap_or("nobody")
}

/// The predictions of an evaluation's folder, and what its metrics mean.
fn read(folder: &Path) -> Result<(Vec<Prediction>, Scores), AnyError> {
    let file = folder.join("scores.json");
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!("cannot read {}: {error}; --compare takes two folders that `evaluate --out` wrote", file.display())
    })?;
    let scores = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok((read_jsonl(&folder.join("predictions.jsonl"))?, scores))
}
