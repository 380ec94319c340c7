//! What the stages of each cell were trained on, and what each cell took: the report's sections on training.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use burn_vlm_base::progress::show_duration;

use crate::ablation::FinishedCell;
use crate::error::Result;
use crate::log;
use crate::optim::thousands;
use crate::recipe::Recipe;
use crate::report::{Section, StageSummary, StudySpec, percent_share};
use crate::run::{DrawnSamples, stage_folder, taken};
use crate::stats::Axes;
use crate::watch;

/// What is not known.
const UNKNOWN: &str = "–";

/// What the stages of a cell were trained on, by its logs.
///
/// # Errors
/// A log that cannot be read.
pub(super) fn stages(cell: &FinishedCell, axes: &Axes) -> Result<Vec<StageSummary>> {
    let recipe = Recipe::from_table(cell.cell.recipe.clone())?;
    let mut stages = Vec::new();
    for (number, name) in recipe.stages.iter().enumerate() {
        let folder = stage_folder(&cell.folder, number, name);
        let log = log::read(&folder.join("log.jsonl"))?;
        let last = log.last();
        let validations = watch::read(&folder)?;
        let of_result = recipe.stage.get(name).and_then(|stage| watch::of_result(&validations, stage));
        let validation = of_result.map(|entry| &entry.validation);
        stages.push(StageSummary {
            axes: axes.clone(),
            seed: cell.cell.seed,
            stage: name.clone(),
            steps: last.map_or(0, |entry| entry.step as u64),
            samples: DrawnSamples::read(&folder)?,
            tokens: last.map_or(0, |entry| entry.tokens),
            trained_parameters: cell.done.result["trained_parameters"][name.as_str()].as_u64(),
            training_bytes: cell.done.result["training_bytes"][name.as_str()].as_u64(),
            loss: last.map(|entry| entry.loss_mean),
            loss_by_language: last.map(|entry| entry.by_language.clone()).unwrap_or_default(),
            loss_by_source: last.map(|entry| entry.by_source.clone()).unwrap_or_default(),
            held_out_loss: validation.map(|validation| validation.loss),
            held_out_loss_by_language: validation.map(|v| v.by_language.clone()).unwrap_or_default(),
            held_out_loss_by_source: validation.map(|v| v.by_source.clone()).unwrap_or_default(),
        });
    }
    Ok(stages)
}

/// The stages of one setting, the same but for the seed.
struct Setting<'a> {
    label: String,
    first: &'a StageSummary,
    all: Vec<&'a StageSummary>,
}

/// Settings x stages, in the order of the cells.
fn settings<'a>(stages: &'a [StageSummary], spec: &StudySpec) -> Vec<Setting<'a>> {
    let mut settings: Vec<Setting<'a>> = Vec::new();
    for stage in stages {
        match settings.iter_mut().find(|known| known.first.axes == stage.axes && known.first.stage == stage.stage) {
            Some(known) => known.all.push(stage),
            None => settings.push(Setting {
                label: label(&spec.cell_label(&stage.axes), &stage.stage),
                first: stage,
                all: vec![stage],
            }),
        }
    }
    settings
}

/// `SigLIP1 · En: finetune`; a study without axes has no setting to name.
fn label(setting: &str, stage: &str) -> String {
    if setting.is_empty() { stage.to_owned() } else { format!("{setting}: {stage}") }
}

/// The mean over seeds of a loss, with three decimals.
fn mean(setting: &Setting<'_>, of: impl Fn(&StageSummary) -> Option<f32>) -> String {
    let values: Option<Vec<f64>> = setting.all.iter().map(|stage| of(stage).map(f64::from)).collect();
    match values.filter(|values| !values.is_empty()) {
        Some(values) => format!("{:.3}", values.iter().sum::<f64>() / values.len() as f64),
        None => UNKNOWN.to_owned(),
    }
}

/// Losses of a stage by language or by source.
type Losses = fn(&StageSummary) -> &BTreeMap<String, f32>;

/// The section on what was trained on; none without stages.
pub(super) fn section(stages: &[StageSummary], spec: &StudySpec) -> Option<Section> {
    let settings = settings(stages, spec);
    settings.first()?;
    let count = |number: u64| thousands(number as usize);
    let rows = settings.iter().map(|setting| {
        let first = setting.first;
        let of = |what: &dyn Fn(&DrawnSamples) -> String| first.samples.as_ref().map_or(UNKNOWN.to_owned(), what);
        let figures = vec![
            count(first.steps),
            of(&|drawn| count(drawn.samples)),
            of(&|drawn| format!("{:.2}", drawn.epochs())),
            of(&|drawn| count(drawn.distinct)),
            count(first.tokens),
            first.trained_parameters.map_or(UNKNOWN.to_owned(), count),
            first.training_bytes.map_or(UNKNOWN.to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6)),
            mean(setting, |stage| stage.loss),
            mean(setting, |stage| stage.held_out_loss),
        ];
        (setting.label.clone(), figures)
    });
    let columns = [
        "Steps",
        "Samples",
        "Epochs",
        "Distinct",
        "Tokens",
        "Trained parameters",
        "Weights and state",
        "Loss",
        "Held-out loss",
    ];
    let mut section = Section::new("stages", "What each stage was trained on")
        .text(
            "Epochs: samples over the records there are to draw from. Distinct: records that were drawn at all. Tokens: visual ones \
             counted, padding not. Weights and state: bytes of all weights and of the gradients and moments of those that are trained, \
             adapters among them; activations come on top. Losses: nats per token, means over seeds; of the last interval that was logged, and of the last \
             validation on what is held out (– where a stage was not validated). The rest is that of the first seed.",
        )
        .table("Setting: stage", &columns, rows.collect());
    let tags: BTreeSet<&String> =
        stages.iter().filter_map(|stage| stage.samples.as_ref()).flat_map(|drawn| drawn.by_language.keys()).collect();
    if !tags.is_empty() {
        let tags = in_order(tags, spec);
        let rows = settings.iter().map(|setting| {
            let figure = |tag: &String| {
                let drawn = setting.first.samples.as_ref();
                match drawn.map(|drawn| (drawn.by_language.get(tag).copied().unwrap_or(0), drawn.share(tag))) {
                    None => UNKNOWN.to_owned(),
                    Some((0, _)) => "0".to_owned(),
                    Some((samples, share)) => format!("{} ({})", count(samples), percent_share(share)),
                }
            };
            (setting.label.clone(), tags.iter().map(figure).collect())
        });
        section = section.text("Samples by language, and their share of the stage:").table(
            "Setting: stage",
            &names(&tags, spec),
            rows.collect(),
        );
    }
    for (losses, name) in [
        (
            (|stage: &StageSummary| &stage.loss_by_language) as Losses,
            "Loss by language, over the last interval that was logged",
        ),
        (|stage| &stage.held_out_loss_by_language, "Held-out loss by language"),
    ] {
        let tags: BTreeSet<&String> = stages.iter().flat_map(|stage| losses(stage).keys()).collect();
        if tags.is_empty() {
            continue;
        }
        let tags = in_order(tags, spec);
        let rows = settings.iter().filter(|setting| !losses(setting.first).is_empty()).map(|setting| {
            let figure = |tag: &String| mean(setting, |stage| losses(stage).get(tag).copied());
            (setting.label.clone(), tags.iter().map(figure).collect())
        });
        section = section.text(format!("{name}, nats per token, means over seeds:")).table(
            "Setting: stage",
            &names(&tags, spec),
            rows.collect(),
        );
    }
    for (losses, name) in [
        (
            (|stage: &StageSummary| &stage.loss_by_source) as Losses,
            "Loss by source, over the last interval that was logged",
        ),
        (|stage| &stage.held_out_loss_by_source, "Held-out loss by source"),
    ] {
        let sources: BTreeSet<&String> = stages.iter().flat_map(|stage| losses(stage).keys()).collect();
        if sources.len() < 2 {
            continue;
        }
        let shown: Vec<&Setting<'_>> = settings.iter().filter(|setting| !losses(setting.first).is_empty()).collect();
        let labels: Vec<&str> = shown.iter().map(|setting| setting.label.as_str()).collect();
        let rows = sources.into_iter().map(|source| {
            let figure = |setting: &&Setting<'_>| mean(setting, |stage| losses(stage).get(source).copied());
            (source.clone(), shown.iter().map(figure).collect())
        });
        section =
            section.text(format!("{name}, nats per token, means over seeds:")).table("Source", &labels, rows.collect());
    }
    Some(section)
}

/// The tags as the columns of the study have them, then the rest.
fn in_order(tags: BTreeSet<&String>, spec: &StudySpec) -> Vec<String> {
    let of_columns = spec.columns.iter().flat_map(|column| &column.languages).filter(|tag| tags.contains(tag));
    let mut ordered: Vec<String> = Vec::new();
    for tag in of_columns.chain(tags.iter().copied()) {
        if !ordered.contains(tag) {
            ordered.push(tag.clone());
        }
    }
    ordered
}

/// The names of tags.
fn names<'a>(tags: &'a [String], spec: &'a StudySpec) -> Vec<&'a str> {
    tags.iter().map(|tag| spec.language_names.get(tag).unwrap_or(tag).as_str()).collect()
}

/// What each cell took, which differs from run to run.
///
/// # Errors
/// A log that cannot be read.
pub(super) fn cost(
    cells: &[FinishedCell],
    stages: &[StageSummary],
    spec: &StudySpec,
    axes: impl Fn(&FinishedCell) -> Axes,
) -> Result<Option<Section>> {
    if cells.is_empty() {
        return Ok(None);
    }
    let count = |number: u64| thousands(number as usize);
    let time = |seconds: f64| show_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let mut rows = Vec::with_capacity(cells.len());
    for cell in cells {
        let axes = axes(cell);
        let own = |stage: &&StageSummary| stage.axes == axes && stage.seed == cell.cell.seed;
        let tokens: u64 = stages.iter().filter(own).map(|stage| stage.tokens).sum();
        let asked = |key: &str, scale: f64, digits: usize| {
            let value = cell.done.result["asked"][key].as_f64();
            value.map_or(UNKNOWN.to_owned(), |value| format!("{:.digits$}", value * scale))
        };
        let text = |key: &str| cell.done.result["origin"][key].as_str().unwrap_or(UNKNOWN).to_owned();
        let figures = vec![
            cell.done.result["parameters"].as_u64().map_or(UNKNOWN.to_owned(), count),
            count(tokens),
            time(cell.done.seconds),
            trained_seconds(cell)?.map_or(UNKNOWN.to_owned(), time),
            asked("visual_tokens", 1.0, 0),
            asked("seconds", 1e3, 1),
            text("device"),
        ];
        rows.push((format!("{} (seed {})", spec.cell_label(&axes), cell.cell.seed), figures));
    }
    let section = Section::new("cost", "What each cell took")
        .text(
            "Tokens: of all its stages, visual ones counted, padding not. Time: of the run that finished the cell, evaluation counted, \
             without what earlier runs that were killed had done, and without stages that it took from another cell. Last stage: the \
             time of its training alone, killed runs counted. Cells that ran at once shared the machine. A \
             question: of those that show a picture, the mean; the time is that of all questions, those without a picture counted, \
             divided by their number. Vector \
             instructions of another width change last digits of sums, and with them a score here and there.",
        )
        .table("Cell", &["Parameters", "Tokens", "Time", "Last stage", "Visual tokens a question", "Milliseconds a question", "Device and instruction set"], rows);
    Ok(Some(section))
}

/// Seconds of training of a cell's last stage; none where it took that from another cell.
fn trained_seconds(cell: &FinishedCell) -> Result<Option<f64>> {
    let recipe = Recipe::from_table(cell.cell.recipe.clone())?;
    let Some((number, name)) = recipe.stages.iter().enumerate().next_back() else { return Ok(None) };
    let folder = stage_folder(&cell.folder, number, name);
    if taken(&folder)?.is_some() {
        return Ok(None);
    }
    Ok(Some(log::seconds(&log::read(&folder.join("log.jsonl"))?)))
}
