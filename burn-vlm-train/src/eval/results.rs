//! `results.json` and samples in the shape that lmms-eval writes, so that what reads those reads ours.

use std::path::{Path, PathBuf};

use burn_vlm_base::files::write_json_atomic;
use burn_vlm_base::jsonl::write_jsonl_atomic;
use serde_json::{Map, Value, json};

use super::{Evaluated, NamedAverage, Prediction};
use crate::error::Result;
use crate::report::ModelScore;

/// The filter's name beside a metric's: replies are not filtered before they are scored.
const FILTER: &str = "none";
/// Half the width of a 95 % interval in standard errors.
const HALF_WIDTH: f64 = 1.959_963_984_540_054;

/// Where and when a run was made.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// The model's folder; of imported replies their file.
    pub model: String,
    /// The command line.
    pub command: String,
    /// The commit of this library.
    pub commit: String,
    /// Where it ran.
    pub device: String,
    /// When it ended, RFC 3339.
    pub finished: String,
    /// Seconds that the run took.
    pub seconds: f64,
    /// Rows of a forward pass.
    pub batch: usize,
    /// The most questions of a benchmark and language; none for all.
    pub limit: Option<usize>,
}

/// Writes `results.json` and a `samples_NAME.jsonl` for each benchmark; returns their paths.
///
/// # Errors
/// A file that cannot be written.
pub fn write_results(
    folder: &Path,
    run: &RunInfo,
    evaluated: &[Evaluated],
    scores: &[ModelScore],
    averages: &[NamedAverage],
) -> Result<Vec<PathBuf>> {
    let path = folder.join("results.json");
    write_json_atomic(&path, &results(run, evaluated, scores, averages))?;
    let mut written = vec![path];
    for one in evaluated {
        let path = folder.join(format!("samples_{}.jsonl", file_name(&one.benchmark)));
        let lines: Vec<Value> = one.predictions.iter().enumerate().map(|(at, p)| sample(one, at, p)).collect();
        write_jsonl_atomic(&path, &lines)?;
        written.push(path);
    }
    Ok(written)
}

/// The content of `results.json`.
pub fn results(run: &RunInfo, evaluated: &[Evaluated], scores: &[ModelScore], averages: &[NamedAverage]) -> Value {
    let by_task = |value: &dyn Fn(&Evaluated) -> Value| -> Value {
        evaluated.iter().map(|one| (one.benchmark.clone(), value(one))).collect::<Map<_, _>>().into()
    };
    json!({
        "results": by_task(&|one| task(one, scores)),
        "averages": averages,
        "configs": by_task(&config),
        "versions": by_task(&|_| 1.into()),
        "n-shot": by_task(&|_| 0.into()),
        "higher_is_better": by_task(&|one| {
            one.metrics.iter().map(|metric| (metric.name.clone(), Value::Bool(true))).collect::<Map<_, _>>().into()
        }),
        "n-samples": by_task(&|one| json!({ "original": one.questions, "effective": one.predictions.len() })),
        "config": {
            "model": "burn-vlm",
            "model_args": run.model,
            "batch_size": run.batch,
            "device": run.device,
            "limit": run.limit,
            "command": run.command,
        },
        "git_hash": run.commit,
        "date": run.finished,
        "total_evaluation_time_seconds": run.seconds.to_string(),
    })
}

/// The scores of a benchmark, as shares of 1 where lmms-eval has such; its own totals beside them.
fn task(one: &Evaluated, scores: &[ModelScore]) -> Value {
    let mut task = Map::from_iter([("alias".to_owned(), Value::from(one.benchmark.clone()))]);
    for metric in &one.metrics {
        for score in scores.iter().filter(|score| score.metric == metric.name && score.subset.is_empty()) {
            let languages =
                scores.iter().filter(|other| other.metric == metric.name && other.subset.is_empty()).count();
            let name = match &score.language {
                Some(language) if languages > 1 => format!("{}_{language}", metric.name),
                _ => metric.name.clone(),
            };
            task.insert(format!("{name},{FILTER}"), (score.score / 100.0).into());
            let error = (score.high - score.low) / 2.0 / HALF_WIDTH / 100.0;
            task.insert(format!("{name}_stderr,{FILTER}"), error.into());
        }
    }
    task.insert("totals".into(), one.totals.clone());
    for other in &one.others {
        task.insert(format!("totals under {}", other.rules), other.totals.clone());
    }
    task.insert("notes".into(), one.notes.clone().into());
    task.into()
}

fn config(one: &Evaluated) -> Value {
    json!({
        "task": one.benchmark,
        "kind": one.published.as_ref().map(|published| published.kind),
        "rules": one.published.as_ref().map(|published| published.rules),
        "prompt": one.published.as_ref().map(|published| published.prompt),
        "metric_list": one.metrics.iter().map(|metric| json!({
            "metric": metric.name,
            "higher_is_better": true,
            "description": metric.explanation,
            "chance": metric.chance,
        })).collect::<Vec<_>>(),
    })
}

/// One line of the samples.
fn sample(one: &Evaluated, at: usize, prediction: &Prediction) -> Value {
    let reply = match &prediction.text {
        Some(text) => Value::from(text.clone()),
        None => prediction.option_scores.iter().map(|scores| Value::from(scores.values.clone())).collect(),
    };
    let target = match prediction.answer.and_then(|answer| prediction.options.get(answer)) {
        Some(option) => Value::from(option.clone()),
        None => prediction.references.clone().into(),
    };
    let mut line = Map::from_iter([
        ("doc_id".to_owned(), one.rows.get(at).copied().unwrap_or(at as u64).into()),
        (
            "doc".to_owned(),
            json!({
                "id": prediction.id,
                "question": prediction.question,
                "options": prediction.options,
                "language": prediction.language,
                "picture": prediction.picture,
                "tags": prediction.tags,
            }),
        ),
        ("target".to_owned(), target),
        ("resps".to_owned(), json!([[reply]])),
        ("filtered_resps".to_owned(), json!([prediction.understood])),
    ]);
    if !prediction.flags.is_empty() {
        line.insert("flags".into(), prediction.flags.clone().into());
    }
    line.extend(prediction.scores.iter().map(|score| (score.protocol.clone(), score.score.into())));
    line.into()
}

/// A benchmark's name as a part of a file's.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}
