//! From finished cells to tables, plots and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_vlm_base::jsonl::read_jsonl;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Picture, pictures};
use serde_json::json;

use super::strata::Strata;
use super::{blind, experts, forgetting, languages, parts, training};
use crate::ablation::{FinishedCell, Plan, Provenance as Origin, StudyResult};
use crate::error::{Result, TrainError};
use crate::eval::{Benchmark, Benchmarks, Prediction, Question};
use crate::log;
use crate::objective::Validation;
use crate::recipe::Recipe;
use crate::report::{
    Axis, AxisValue, Column, Example, ExampleAnswer, ExamplePicture, LossSeries, Paper, PaperRow, Provenance,
    ReportInput, Section, StudySpec, Timing, blind_scores, duration, paper_entry, summarise, write_report,
};
use crate::run::{stage_folder, taken};
use crate::stats::{Axes, Bootstrap};
use crate::watch;

/// The preset that only checks that everything runs.
pub(super) const SMOKE: &str = "smoke";
/// What its report and summary begin with.
pub(super) const SMOKE_WARNING: &str =
    "The scores of this preset mean nothing: it trains for a few steps and only checks that everything runs.";
/// Examples shown in the report.
const EXAMPLES: usize = 6;
/// Bytes of the largest picture that the report holds.
const LARGEST_PICTURE: usize = 512 << 10;
/// Steps through a cell's questions from cell to cell and from language to language: primes, so that few concepts repeat.
const STRIDES: (usize, usize) = (41, 17);

/// Writes `summary.*`, `plots/` and `report.html` of a study into `out`.
///
/// # Errors
/// A cell's file that cannot be read, cells whose questions differ, a full disk.
pub fn write_summary(
    out: &Path,
    result: &StudyResult<'_>,
    benchmarks: &Benchmarks,
    corpus: &EmojiCorpus,
    origin: &Origin,
    device: &str,
) -> Result<()> {
    let plan = result.plan;
    let mut spec = spec(plan, benchmarks)?;
    if !result.missing.is_empty() {
        spec.caveats.insert(0, format!("Not finished, and so in none of the tables: {}.", result.missing.join(", ")));
    }
    let strata = Strata::of(&plan.columns);
    let mut outcomes = Vec::new();
    let mut losses = Vec::new();
    let mut examples = Vec::new();
    let mut times = Vec::new();
    let mut without_picture = Vec::new();
    let mut stages = Vec::new();
    spec.caveats.extend(benchmarks.iter().flat_map(Benchmark::notes));
    let shown = Shown::new(&spec, corpus, benchmarks);
    for cell in &result.cells {
        let axes = axes(cell);
        let mut predictions = read_predictions(cell)?;
        predictions.iter_mut().for_each(|prediction| benchmarks.amend(prediction));
        for prediction in &predictions {
            let of_cell = prediction.outcomes(&axes, cell.cell.seed);
            outcomes.extend(of_cell.map(|outcome| strata.place(outcome, prediction)));
            let blind = blind::outcome(prediction, &spec, &axes, cell.cell.seed);
            without_picture.extend(blind.map(|outcome| strata.place(outcome, prediction)));
        }
        stages.extend(training::stages(cell, &axes)?);
        examples.extend(shown.pick(&predictions, &axes, times.len()));
        losses.extend(loss_series(cell, &axes)?);
        times.push(Timing { name: cell.cell.name.clone(), seconds: cell.done.seconds });
    }
    let examples = spread(examples);
    let provenance = provenance(result, origin, device, times)?;
    let report_error = |e: crate::report::ReportError| TrainError::Data(e.to_string());
    let mut summary = summarise(&spec, outcomes, provenance).map_err(report_error)?;
    summary.blind = blind_scores(&spec, without_picture).map_err(report_error)?;
    summary.stages = stages;
    summary.text = forgetting::summary(&result.cells, &spec, axes)?;
    let sections: Vec<Section> = [
        experts::section(&result.cells, &spec, axes)?,
        parts::section(&result.cells, &spec)?,
        forgetting::section(summary.text.as_ref(), &spec),
        languages::section(&spec, &summary),
        training::section(&summary.stages, &spec),
        training::cost(&result.cells, &summary.stages, &spec, axes)?,
    ]
    .into_iter()
    .flatten()
    .collect();
    let input =
        ReportInput { spec: &spec, summary: &summary, losses: &losses, examples: &examples, sections: &sections };
    write_report(out, &input).map_err(report_error)?;
    Ok(())
}

/// All predictions of a cell; fewer than it made are an error, not a smaller table.
fn read_predictions(cell: &FinishedCell) -> Result<Vec<Prediction>> {
    let path = cell.folder.join("predictions.jsonl");
    let help =
        format!("delete the folder {} and run the same command again to make this cell anew", cell.folder.display());
    let damaged = |what: String| TrainError::invalid(&path, format!("{what}; {help}"));
    let predictions: Vec<Prediction> = read_jsonl(&path).map_err(|e| damaged(e.to_string()))?;
    let made = cell.done.result["predictions"].as_u64();
    if made.is_some_and(|made| made != predictions.len() as u64) {
        return Err(damaged(format!("{} predictions, the cell made {}", predictions.len(), made.unwrap_or_default())));
    }
    Ok(predictions)
}

fn axes(cell: &FinishedCell) -> Axes {
    cell.cell.axes.iter().map(|choice| (choice.axis.clone(), choice.value.clone())).collect()
}

/// The study as the report presents it.
fn spec(plan: &Plan, benchmarks: &Benchmarks) -> Result<StudySpec> {
    let study = &plan.study;
    let headline = benchmarks.headline().ok_or_else(|| TrainError::Recipe("the study asks nothing".into()))?;
    let axes = study.axes.iter().map(|axis| Axis {
        name: axis.name.clone(),
        label: axis.label.clone(),
        values: axis
            .values
            .iter()
            .map(|value| AxisValue { value: value.name.clone(), label: value.label.clone() })
            .collect(),
    });
    let strata = Strata::of(&plan.columns);
    let columns = plan.columns.iter().map(|column| Column {
        name: column.name.clone(),
        explanation: column.description.clone(),
        languages: strata.of_column(column),
    });
    let names = Language::ALL.iter().map(|language| (language.tag().to_string(), language.english_name().to_string()));
    let mut names = names.collect();
    strata.label(&plan.columns, &mut names);
    Ok(StudySpec {
        study: study.name.clone(),
        preset: plan.preset.clone(),
        title: study.title.clone(),
        question: study.description.clone(),
        axes: axes.collect(),
        columns: columns.collect(),
        protocols: benchmarks.metrics(),
        headline,
        language_names: names,
        paper: paper(plan),
        warning: (plan.preset == SMOKE).then(|| SMOKE_WARNING.to_owned()),
        citations: citations(plan),
        caveats: study.caveats.clone(),
        bootstrap: Bootstrap::default(),
    })
}

/// BibTeX entries of the papers whose numbers stand beside ours, each once.
fn citations(plan: &Plan) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for entry in plan.study.papers.iter().filter_map(|paper| paper_entry(&paper.source)) {
        if !entries.iter().any(|known| known == entry) {
            entries.push(entry.to_owned());
        }
    }
    entries
}

fn paper(plan: &Plan) -> Option<Paper> {
    let paper = plan.study.papers.first()?;
    let mut scales: Vec<String> = Vec::new();
    let mut rows: Vec<PaperRow> = Vec::new();
    for row in &paper.rows {
        if !scales.contains(&row.scale) {
            scales.push(row.scale.clone());
        }
        // Rows of the paper that no setting of ours corresponds to have no place in our table.
        let Some(cell) = plan.cells.iter().find(|cell| Some(&cell.setting) == row.cell.as_ref()) else { continue };
        let axes: Axes = cell.axes.iter().map(|choice| (choice.axis.clone(), choice.value.clone())).collect();
        let scores = row.scores.clone();
        match rows.iter_mut().find(|known| known.axes == axes) {
            Some(known) => {
                known.scores.insert(row.scale.clone(), scores);
            }
            None => rows.push(PaperRow { axes, scores: BTreeMap::from([(row.scale.clone(), scores)]) }),
        }
    }
    Some(Paper { source: format!("{} ({})", paper.source, paper.metric), note: paper.note.clone(), scales, rows })
}

/// Loss curves of a cell's stages, and of their validations by language.
fn loss_series(cell: &FinishedCell, axes: &Axes) -> Result<Vec<LossSeries>> {
    let recipe = Recipe::from_table(cell.cell.recipe.clone())?;
    let mut series = Vec::new();
    for (number, name) in recipe.stages.iter().enumerate() {
        let folder = stage_folder(&cell.folder, number, name);
        let mut add = |stage: String, points: Vec<(u64, f64)>| {
            series.push(LossSeries {
                stage,
                unit: "cross-entropy, nats per token".into(),
                axes: axes.clone(),
                name: String::new(),
                seed: Some(cell.cell.seed),
                points,
            });
        };
        let log = log::read(&folder.join("log.jsonl"))?;
        add(name.clone(), log.iter().map(|entry| (entry.step as u64, f64::from(entry.loss_mean))).collect());
        let validations = watch::read(&folder)?;
        let mut over = |what: &str, loss: &dyn Fn(&Validation) -> Option<f32>| {
            let points =
                validations.iter().filter_map(|entry| Some((entry.step as u64, f64::from(loss(&entry.validation)?))));
            add(format!("{name}, validation{what}"), points.collect());
        };
        if let Some(first) = validations.first() {
            over("", &|validation| Some(validation.loss));
            let languages = first.validation.by_language.keys();
            for tag in languages.filter(|_| first.validation.by_language.len() > 1) {
                over(&format!(" in {tag}"), &|validation| validation.by_language.get(tag).copied());
            }
        }
    }
    Ok(series)
}

/// What the examples of a report are taken from.
struct Shown<'a> {
    spec: &'a StudySpec,
    corpus: &'a EmojiCorpus,
    /// The first picture of each question, by the question's id.
    pictures: BTreeMap<&'a str, &'a Picture>,
}

impl<'a> Shown<'a> {
    fn new(spec: &'a StudySpec, corpus: &'a EmojiCorpus, benchmarks: &'a Benchmarks) -> Self {
        let questions = benchmarks.iter().flat_map(|benchmark| benchmark.questions());
        let first = |question: &'a Question| Some((question.id.as_str(), pictures(&question.media).next()?));
        Self { spec, corpus, pictures: questions.filter_map(first).collect() }
    }

    /// One prediction a language of a cell for the report's examples, each about something else.
    fn pick(&self, predictions: &[Prediction], axes: &Axes, cell: usize) -> Vec<Example> {
        let headline = &self.spec.headline;
        let heads = |p: &&Prediction| {
            p.subset == headline.subset && p.scores.iter().any(|score| score.protocol == headline.protocol)
        };
        let mut by_language: BTreeMap<Option<&str>, Vec<&Prediction>> = BTreeMap::new();
        for prediction in predictions.iter().filter(heads) {
            by_language.entry(prediction.language.as_deref()).or_default().push(prediction);
        }
        let chosen = by_language.values().enumerate().filter_map(|(language, all)| {
            let at = (cell * STRIDES.0 + language * STRIDES.1) % all.len().max(1);
            all.get(at)
        });
        chosen.filter_map(|prediction| self.example(prediction, axes)).collect()
    }

    fn example(&self, prediction: &Prediction, axes: &Axes) -> Option<Example> {
        let answer = match (prediction.option_scores.first(), prediction.answer) {
            (Some(scores), Some(right)) => {
                let options = prediction.options.iter().cloned().zip(scores.values.iter().copied()).collect();
                ExampleAnswer::Choice { options, right }
            }
            _ => {
                let right = prediction.answer.and_then(|at| prediction.options.get(at));
                let headline = &self.spec.headline.protocol;
                ExampleAnswer::Text {
                    generated: prediction.text.clone()?,
                    reference: right.or(prediction.references.first())?.clone(),
                    score: prediction.scores.iter().find(|score| score.protocol == *headline)?.score,
                }
            }
        };
        Some(Example {
            axes: axes.clone(),
            group: self.spec.headline.clone(),
            language: prediction.language_tag().to_owned(),
            picture: self.picture(prediction),
            prompt: prediction.question.clone(),
            answer,
        })
    }

    /// The picture; none where there is none, or where it would swell the page.
    fn picture(&self, prediction: &Prediction) -> Option<ExamplePicture> {
        let bytes = self.pictures.get(prediction.id.as_str())?.read().ok()?;
        if bytes.len() > LARGEST_PICTURE {
            return None;
        }
        let media_type = match bytes.get(..4)? {
            [0x89, b'P', b'N', b'G'] => "image/png",
            [0xff, 0xd8, ..] => "image/jpeg",
            b"RIFF" => "image/webp",
            _ => return None,
        };
        let concept = self.corpus.by_code(&prediction.group);
        let name = concept.and_then(|concept| self.corpus.text(concept.id, Language::EN)).map(|text| text.name.clone());
        let description = name.unwrap_or_else(|| prediction.picture.clone());
        Some(ExamplePicture { media_type: media_type.into(), bytes: bytes.to_vec(), description })
    }
}

/// A few examples from all over the list, so that cells and languages differ.
fn spread(examples: Vec<Example>) -> Vec<Example> {
    let step = (examples.len() / EXAMPLES).max(1) + 1;
    examples.into_iter().step_by(step).take(EXAMPLES).collect()
}

/// Stages that cells took from others, in words; nothing where each was trained.
fn taken_stages(cells: &[FinishedCell]) -> Result<String> {
    let (mut lines, mut seconds) = (Vec::new(), 0.0);
    for cell in cells {
        let recipe = Recipe::from_table(cell.cell.recipe.clone())?;
        for (number, name) in recipe.stages.iter().enumerate() {
            if let Some(from) = taken(&stage_folder(&cell.folder, number, name))? {
                lines.push(format!("{} took `{name}` of {} ({})", cell.cell.name, from.run, duration(from.seconds)));
                seconds += from.seconds;
            }
        }
    }
    if lines.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("{} of training saved, which no cell's time counts: {}", duration(seconds), lines.join("; ")))
}

fn provenance(result: &StudyResult<'_>, origin: &Origin, device: &str, times: Vec<Timing>) -> Result<Provenance> {
    let plan = result.plan;
    let seeds: BTreeSet<u64> = result.cells.iter().map(|cell| cell.cell.seed).collect();
    let recipe = plan.cells.first().and_then(|cell| toml::to_string(&cell.recipe).ok()).unwrap_or_default();
    let mut more = BTreeMap::new();
    more.insert("crates".to_string(), json!(origin.crates));
    more.insert("system".to_string(), json!(origin.system));
    if !result.missing.is_empty() {
        more.insert("missing_cells".to_string(), json!(result.missing));
    }
    let taken = taken_stages(&result.cells)?;
    if !taken.is_empty() {
        more.insert("shared_stages".to_string(), json!(taken));
    }
    // What made the cells, which may be other runs, on other machines and at other commits, than the one that writes this.
    let made = |key: &str, own: String| -> String {
        let named = result.cells.iter().filter_map(|cell| cell.done.result["origin"][key].as_str());
        let mut distinct: Vec<&str> = Vec::new();
        named.for_each(|text| {
            if !distinct.contains(&text) {
                distinct.push(text)
            }
        });
        if distinct.is_empty() { own } else { distinct.join("\n") }
    };
    Ok(Provenance {
        command: made("command", origin.command_text()),
        commit: made("commit", origin.commit.to_string()),
        device: made("device", origin.device_text(device)),
        seeds: seeds.into_iter().collect(),
        finished: result.cells.iter().map(|cell| cell.done.finished.clone()).max().unwrap_or_else(crate::ablation::now),
        times,
        recipe,
        more,
    })
}
