//! What is written: predictions, results in lmms-eval's shape, scores as JSON, CSV and Markdown.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn_vlm_base::files::{create_dir_all, write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_data::image::{DecodeLimits, decode, small_jpeg, to_rgb};
use burn_vlm_data::sample::{Picture, pictures};
use burn_vlm_train::ablation::{Provenance, now};
use burn_vlm_train::eval::{Benchmarks, Evaluated, Metric, NamedAverage, PublishedInfo, RunInfo, Suite, write_results};
use burn_vlm_train::report::{
    EvaluationReport, ExamplePicture, ModelScore, evaluation_html, evaluation_scores, model_scores_markdown, scores_csv,
};
use burn_vlm_train::stats::Bootstrap;
use serde::Serialize;
use serde_json::Value;

use super::answers::{Answers, IDENTITY};
use crate::AnyError;

/// Pixels of the longer edge of a report's pictures, and their JPEG quality.
const EDGE: u32 = 240;
const QUALITY: u8 = 80;

/// All that is known at the end.
pub(super) struct Written<'a> {
    pub(super) questions: &'a str,
    pub(super) suite: Option<&'a Suite>,
    pub(super) answers: &'a Answers,
    pub(super) benchmarks: &'a Benchmarks,
    pub(super) evaluated: &'a [Evaluated],
    pub(super) scores: &'a [ModelScore],
    pub(super) averages: &'a [NamedAverage],
    pub(super) notes: &'a [String],
    pub(super) origin: &'a Provenance,
    pub(super) seconds: f64,
    pub(super) limit: Option<usize>,
}

/// `scores.json`
#[derive(Serialize)]
struct ScoresFile<'a> {
    model: &'a str,
    questions: &'a str,
    suite: Option<&'a str>,
    command: String,
    commit: String,
    device: String,
    finished: &'a str,
    notes: &'a [String],
    /// By benchmark, whose rules and prompts.
    rules: BTreeMap<&'a str, &'a PublishedInfo>,
    metrics: Vec<Metric>,
    scores: &'a [ModelScore],
    averages: &'a [NamedAverage],
    /// By benchmark, what its pictures are worth in nats a token, where that was asked.
    picture_use: &'a BTreeMap<String, Value>,
}

/// The scores and the averages, for a terminal.
pub(super) fn table(scores: &[ModelScore], averages: &[NamedAverage]) -> String {
    let mut text = model_scores_markdown(scores);
    for average in averages {
        text.push_str(&format!("\n{}\n", self::average(average)));
    }
    text
}

/// An average with its interval, and what it is of.
pub(super) fn average(NamedAverage { name, score, low, high, of, .. }: &NamedAverage) -> String {
    format!("{name}: {score:.1} ({low:.1}–{high:.1}), the mean of {}", of.join(", "))
}

/// Only an evaluation's folder is written to.
///
/// # Errors
/// A folder with something else in it.
pub(super) fn refuse_foreign(out: &Path) -> Result<(), AnyError> {
    let used = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    let ours = out.join(IDENTITY).is_file() || out.join("results.json").is_file();
    match used && !ours {
        true => Err(format!("{} has something in it already: name another folder with --out", out.display()).into()),
        false => Ok(()),
    }
}

impl Written<'_> {
    /// Writes everything; returns the files' names.
    pub(super) fn write(&self, out: &Path, table: &str) -> Result<Vec<String>, AnyError> {
        create_dir_all(out)?;
        let finished = now();
        let device = self.origin.device_text(&self.answers.device);
        let run = RunInfo {
            model: self.answers.from.clone(),
            command: self.origin.command_text(),
            commit: self.origin.commit.to_string(),
            device: device.clone(),
            finished: finished.clone(),
            seconds: self.seconds,
            batch: self.answers.batch,
            limit: self.limit,
        };
        let scores = ScoresFile {
            model: &self.answers.from,
            questions: self.questions,
            suite: self.suite.map(|suite| suite.name.as_str()),
            command: run.command.clone(),
            commit: run.commit.clone(),
            device,
            finished: &finished,
            notes: self.notes,
            rules: self
                .evaluated
                .iter()
                .filter_map(|one| Some((one.benchmark.as_str(), one.published.as_ref()?)))
                .collect(),
            metrics: self.benchmarks.metrics(),
            scores: self.scores,
            averages: self.averages,
            picture_use: &self.answers.picture_use,
        };
        let predictions = self.evaluated.iter().flat_map(|one| &one.predictions);
        write_jsonl_atomic(&out.join("predictions.jsonl"), predictions)?;
        let results = write_results(out, &run, self.evaluated, self.scores, self.averages)?;
        write_json_atomic(&out.join("scores.json"), &scores)?;
        write_atomic(&out.join("scores.md"), self.page(&run, table).as_bytes())?;
        let all = evaluation_scores(self.evaluated, &Bootstrap::default())?;
        write_atomic(&out.join("scores.csv"), &scores_csv(&all)?)?;
        let pictures = self.pictures();
        let report = evaluation_html(&EvaluationReport {
            title: self.suite.map_or(self.questions, |suite| &suite.name),
            model: &run.model,
            command: &run.command,
            commit: &run.commit,
            device: &run.device,
            finished: &run.finished,
            evaluated: self.evaluated,
            scores: &all,
            averages: self.averages,
            notes: self.notes,
            seed: 0,
            pictures: &|prediction| example(pictures.get(prediction.id.as_str())?),
        });
        write_atomic(&out.join("report.html"), report.as_bytes())?;
        let names = ["report.html", "predictions.jsonl", "scores.json", "scores.csv", "scores.md"];
        let mut files: Vec<String> = names.map(str::to_owned).to_vec();
        files.extend(results.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
        Ok(files)
    }

    /// The first picture of each question, by the question's id.
    fn pictures(&self) -> HashMap<&str, &Picture> {
        let questions = self.benchmarks.iter().flat_map(|benchmark| benchmark.questions());
        questions.filter_map(|question| Some((question.id.as_str(), pictures(&question.media).next()?))).collect()
    }

    /// `scores.md`: the table, what its rows mean, and where it comes from.
    fn page(&self, run: &RunInfo, table: &str) -> String {
        let mut text = format!("# Scores of {}\n\n{table}\n", run.model);
        text.push_str(
            "Scores are percent; the intervals say how they may move with other questions of the same kind.\n\n",
        );
        for metric in self.benchmarks.metrics() {
            text.push_str(&format!("- {}: {}\n", metric.label, metric.explanation));
        }
        self.notes.iter().for_each(|note| text.push_str(&format!("\n{note}\n")));
        text.push_str(&format!(
            "\n```sh\n{}\n```\n\nCommit {}; {}; {}.\n",
            run.command, run.commit, run.device, run.finished
        ));
        text
    }
}

/// A picture, small enough for a page; none where it cannot be shown.
fn example(picture: &Picture) -> Option<ExamplePicture> {
    let bytes = picture.read().ok()?;
    let image = to_rgb(decode(&picture.name(), &bytes, &DecodeLimits::default()).ok()?, None);
    let bytes = small_jpeg(image, EDGE, QUALITY).ok()?;
    Some(ExamplePicture { media_type: "image/jpeg".into(), bytes, description: picture.name() })
}
