//! What training on pictures does to what the backbone can do without them: asked before training and after each stage.

use std::path::Path;

use burn_vlm::checkpoint::parameters;
use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm::vlm::Vlm;
use burn_vlm_base::files::{read_json, read_json_if_there, write_json_atomic};
use burn_vlm_base::progress::Reporter;
use serde::{Deserialize, Serialize};

use crate::ablation::{FinishedCell, PartStore};
use crate::error::{Result, TrainError};
use crate::eval::{Progress, Scorer, TextQuestions, TextScores};
use crate::optim::LearningRates;
use crate::params::list_params;
use crate::recipe::{ObjectiveKind, Recipe, StageRecipe};
use crate::report::{
    ALL_LANGUAGES, BEFORE, Changes, Measure, Section, StudySpec, TextEstimate, TextMeasurement, TextSummary, signed_by,
    text_summary,
};
use crate::stats::{Axes, Measurement};

/// The answers of a moment, in the folder of a cell and in that of what cells share.
const FILE: &str = "text.json";
/// The smallest p-value that is written as it is.
const LEAST_P: f64 = 0.0001;

/// What a decoder was asked at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Moment {
    /// `before`, or the stage after which.
    stage: String,
    /// Whether the stage left the decoder as it was, whose answers are then those of the moment before.
    frozen: bool,
    scores: TextScores,
}

/// Asks a cell's decoder as it is trained.
pub(super) struct TextWatch<'a> {
    questions: &'a TextQuestions,
    recipe: &'a Recipe,
    /// Where the answers before training are shared, and under which key: they are the same for all cells of a backbone.
    shared: (&'a PartStore, String),
    reporter: &'a Reporter,
    moments: Vec<Moment>,
}

impl<'a> TextWatch<'a> {
    pub(super) fn new(
        questions: &'a TextQuestions,
        recipe: &'a Recipe,
        shared: (&'a PartStore, String),
        reporter: &'a Reporter,
    ) -> Self {
        Self { questions, recipe, shared, reporter, moments: Vec::new() }
    }

    /// Takes note of a model as the next stage finds it, or as the last one has left it: of every moment once, in their order.
    ///
    /// # Errors
    /// A text that cannot be asked, files of shared answers that cannot be read or written.
    pub(super) fn next<T: VisionTower, P: Projector>(
        &mut self,
        model: &Vlm<T, P>,
        scorer: impl FnOnce() -> Result<Scorer<T, P>>,
    ) -> Result<()> {
        let Some(last) = self.moments.last() else {
            let (store, key) = &self.shared;
            let made = store.get_or_make(key, "text", self.reporter, |making| {
                let scores = self.ask(&scorer()?, BEFORE)?;
                Ok(write_json_atomic(&making.folder().join(FILE), &scores)?)
            })?;
            let scores = read_json(&made.join(FILE))?;
            self.moments.push(Moment { stage: BEFORE.to_owned(), frozen: false, scores });
            return Ok(());
        };
        let name = self.recipe.stages.get(self.moments.len() - 1);
        let stage = name.and_then(|name| Some((name, self.recipe.stage.get(name)?)));
        let Some((name, stage)) = stage else {
            return Err(TrainError::Recipe("there are more moments than stages".into()));
        };
        let frozen = !trains_decoder(stage, model)?;
        let scores = if frozen { last.scores.clone() } else { self.ask(&scorer()?, name)? };
        self.moments.push(Moment { stage: name.clone(), frozen, scores });
        Ok(())
    }

    fn ask<T: VisionTower, P: Projector>(&self, scorer: &Scorer<T, P>, moment: &str) -> Result<TextScores> {
        let when = if moment == BEFORE { "before training".to_owned() } else { format!("after {moment}") };
        self.reporter.line(&format!("text: {} questions without pictures, {when}", self.questions.len()));
        let bar = self.reporter.bar("text", 0);
        self.questions.ask(scorer, &mut |told: Progress| bar.set_of(told.done as u64, told.total as u64, "questions"))
    }

    /// Keeps what was answered with the cell.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_json_atomic(&folder.join(FILE), &self.moments)?)
    }
}

/// Whether a stage changes any parameter of the decoder.
fn trains_decoder<T: VisionTower, P: Projector>(stage: &StageRecipe, model: &Vlm<T, P>) -> Result<bool> {
    if let Some(lora) = &stage.lora {
        let plan = lora.plan(&parameters(model))?;
        return Ok(plan.layers.iter().chain(&plan.saved).any(|path| path.starts_with("language_model.")));
    }
    let rates = LearningRates::new(&stage.train)?;
    let prefix = if stage.objective == ObjectiveKind::Text { "" } else { "language_model." };
    let trained = |path: &str| rates.rate(&format!("{prefix}{path}")).is_some_and(|rate| rate > 0.0);
    Ok(list_params(&model.language_model).iter().any(|param| trained(&param.path)))
}

/// Adds the stages of a cell to those of others: one that they lack before the cell's next one that they have.
fn put_in_order(stages: &mut Vec<String>, of_cell: &[&String]) {
    for (number, stage) in of_cell.iter().enumerate().filter(|(_, stage)| !stages.contains(**stage)).collect::<Vec<_>>()
    {
        let next = of_cell[number + 1..].iter().find_map(|next| stages.iter().position(|known| known == *next));
        stages.insert(next.unwrap_or(stages.len()), (*stage).clone());
    }
}

/// What the finished cells were asked; none where none was.
///
/// # Errors
/// A file that cannot be read, cells that were not asked the same.
pub(super) fn summary(
    cells: &[FinishedCell],
    spec: &StudySpec,
    axes: impl Fn(&FinishedCell) -> Axes,
) -> Result<Option<TextSummary>> {
    let (mut stages, mut trained, mut measurements) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        let Some(moments) = read_json_if_there::<Vec<Moment>>(&cell.folder.join(FILE))? else { continue };
        let (axes, seed) = (axes(cell), cell.cell.seed);
        let order: Vec<&String> = moments.iter().map(|moment| &moment.stage).collect();
        put_in_order(&mut stages, &order);
        for Moment { stage, frozen, scores } in moments {
            if !frozen {
                trained.push(stage.clone());
            }
            let mut add = |measure, language: &str, group: &str, value: f64, weight: f64| {
                let (language, group) = (language.to_owned(), group.to_owned());
                let measured = Measurement { axes: axes.clone(), seed, language, group, value, weight };
                measurements.push(TextMeasurement { measure, stage: stage.clone(), measured });
            };
            for text in &scores.likelihood {
                add(Measure::BitsPerByte, &text.language, &text.group, text.bits, text.bytes as f64);
            }
            for text in &scores.translation {
                let (language, group) = (&text.language, &text.group);
                add(Measure::TranslationChrf, language, group, text.chrf, 1.0);
                add(Measure::AnswerLanguage, language, group, f64::from(u8::from(text.in_language)), 1.0);
            }
        }
    }
    if measurements.is_empty() {
        return Ok(None);
    }
    let summary = text_summary(spec, &stages, &measurements);
    let summary = summary.map_err(|error| TrainError::Data(error.to_string()))?;
    stages.retain(|stage| !trained.contains(stage));
    Ok(Some(TextSummary { frozen: stages, ..summary }))
}

/// The section of the report; none where nothing was asked.
pub(super) fn section(summary: Option<&TextSummary>, spec: &StudySpec) -> Option<Section> {
    let summary = summary?;
    let last = summary.stages.last()?;
    let cells = cells(summary);
    let labels: Vec<String> = cells.iter().map(|axes| named(spec, axes)).collect();
    let over = summary.values.first().map_or("", |value| value.over.words());
    let mut section = Section::new("text", "What training on pictures did to the backbone's own languages").text(format!(
        "The decoder alone, asked without pictures about held-out concepts before training and after each stage, in the backbone's own \
         chat template. Likelihood: of a concept's name after keywords of it, in bits per byte of the name (sums over sums; its end is \
         predicted too). Translation: of its name from English, into English from the other languages in turn, by chrF. Answers in the \
         language asked for: the share of these translations, by script and the corpus's word lists. Means over languages; 95 % \
         bootstrap intervals over {over}; changes are paired over the same texts."
    ));
    if let Some(sentence) = finding(summary, spec, last) {
        section = section.finding("The backbone's own languages", sentence);
    }
    let mut columns: Vec<&String> = Vec::new();
    for value in &summary.values {
        if !columns.contains(&&value.column) {
            columns.push(&value.column);
        }
    }
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    if !summary.frozen.is_empty() {
        let frozen = summary.frozen.join(", ");
        section = section.text(format!("{frozen}: the decoder is frozen, and what it can do stays as it was before."));
    }
    for measure in Measure::ALL {
        section = section.text(format!("{} ({}), moment by moment:", measure.label(), measure.unit()));
        let rows = moments(summary, (&cells, &labels), measure).into_iter().map(|(label, axes, stage)| {
            let figure = |column: &&String| {
                let found = find(&summary.values, (axes, measure, stage), column);
                found.map_or_else(|| "–".to_owned(), |value| interval(value, plain))
            };
            (label, columns.iter().map(figure).collect())
        });
        section = section.table("Setting: moment", &names, rows.collect());
        let panels: Vec<Changes> = columns
            .iter()
            .map(|column| {
                let found = |axes: &&Axes| find(&summary.changes, (axes, measure, last), column);
                let n = cells.iter().find_map(found).map_or(0, |change| change.n);
                let mark = |axes: &&Axes| found(axes).map(|change| [change.value, change.low, change.high]);
                Changes { title: (*column).clone(), note: format!("N = {n}"), marks: cells.iter().map(mark).collect() }
            })
            .collect();
        if panels.iter().any(|panel| panel.marks.iter().any(Option::is_some)) {
            section = section.changes(
                &format!("text_{}", measure.name()),
                (
                    &format!("{}: change by training", measure.label()),
                    &format!("{}: after {last} less before training, paired over the same texts", measure.label()),
                    &format!("change, {}", measure.unit()),
                ),
                measure.decimals(),
                &labels,
                &panels,
            );
        }
        section = section.text(format!(
            "{} ({}) by language, before training → after {last}, with the interval of the change:",
            measure.label(),
            measure.unit()
        ));
        let headings: Vec<&str> = labels.iter().map(String::as_str).collect();
        let rows = tags(summary, spec).into_iter().map(|tag| {
            let figure = |axes: &&Axes| change_figure(summary, (axes, measure, last), &tag);
            (spec.language_names.get(&tag).unwrap_or(&tag).clone(), cells.iter().map(figure).collect())
        });
        section = section.table("Language", &headings, rows.collect());
    }
    if !summary.differences.is_empty() {
        section = section.text(
            "By how much these changes differ between cells (in the measure's unit; for bits per byte a minus is less forgotten, for the \
             others a plus), with the smallest difference that this run would have found four times of five:",
        );
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        for difference in summary.differences.iter().filter(|difference| difference.column == ALL_LANGUAGES) {
            let decimals = difference.measure.decimals();
            let figures = vec![
                difference.measure.label().to_owned(),
                format!(
                    "{} ({} to {})",
                    signed_by(difference.difference, decimals),
                    signed_by(difference.low, decimals),
                    signed_by(difference.high, decimals)
                ),
                shown_p(difference.p),
                shown_p(difference.p_holm),
                format!("{:.1$}", difference.detectable, decimals),
            ];
            rows.push((difference.label(spec), figures));
        }
        section = section.table(
            "Difference, all languages",
            &["Measure", "Difference", "p", "p, Holm", "Could have found"],
            rows,
        );
        let families: Vec<String> = Measure::ALL
            .iter()
            .filter_map(|measure| summary.differences.iter().find(|difference| difference.measure == *measure))
            .map(|difference| difference.family.to_string())
            .collect();
        section = section.text(format!(
            "Holm's correction is for all differences of a measure, those of the columns counted ({}); every one of them stands in \
             summary.json.",
            families.join(", ")
        ));
    }
    Some(section)
}

/// What the report says at its top: the smallest and the largest change of translation and of likelihood.
fn finding(summary: &TextSummary, spec: &StudySpec, last: &str) -> Option<String> {
    let of = |measure: Measure| -> Option<String> {
        let mut changes: Vec<&TextEstimate> = summary
            .changes
            .iter()
            .filter(|change| change.measure == measure && change.column == ALL_LANGUAGES && change.stage == last)
            .collect();
        changes.sort_by(|a, b| a.value.total_cmp(&b.value));
        let (least, most) = (changes.first()?, changes.last()?);
        let one = |change: &TextEstimate| {
            let decimals = measure.decimals();
            let figure = |value: f64| signed_by(value, decimals);
            let (value, low, high) = (figure(change.value), figure(change.low), figure(change.high));
            format!("{value} [{low} to {high}] with {}", named(spec, &change.axes))
        };
        let range = match changes.len() {
            1 => one(least),
            _ => format!("{} to {}", one(least), one(most)),
        };
        Some(match measure {
            Measure::BitsPerByte => format!("the likelihood of held-out text by {range} ({})", measure.unit()),
            _ => format!("translations by {range} ({})", measure.unit()),
        })
    };
    let parts: Vec<String> = [Measure::BitsPerByte, Measure::TranslationChrf].into_iter().filter_map(of).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "asked without pictures, over all languages that were asked, training changes {}.",
            parts.join(", and ")
        )
    })
}

fn named(spec: &StudySpec, axes: &Axes) -> String {
    let label = spec.cell_label(axes);
    if label.is_empty() { spec.title.clone() } else { label }
}

/// The cells, in the study's order.
fn cells(summary: &TextSummary) -> Vec<&Axes> {
    let mut cells: Vec<&Axes> = Vec::new();
    for value in &summary.values {
        if !cells.contains(&&value.axes) {
            cells.push(&value.axes);
        }
    }
    cells
}

/// The languages: those of the study's columns in their order, then the rest.
fn tags(summary: &TextSummary, spec: &StudySpec) -> Vec<String> {
    let there: Vec<&String> = summary.languages.iter().map(|value| &value.column).collect();
    let of_columns = spec.columns.iter().flat_map(|column| &column.languages).filter(|tag| there.contains(tag));
    let mut tags: Vec<String> = Vec::new();
    for tag in of_columns.chain(there.iter().copied()) {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

/// The rows of a measure: its moments cell by cell, without those of frozen stages; before training one for all cells that begin alike.
fn moments<'s>(
    summary: &'s TextSummary,
    (cells, labels): (&[&'s Axes], &[String]),
    measure: Measure,
) -> Vec<(String, &'s Axes, &'s str)> {
    let before = |axes: &Axes| -> Vec<f64> {
        let of = |value: &&TextEstimate| value.axes == *axes && value.measure == measure && value.stage == BEFORE;
        summary.values.iter().filter(of).map(|value| value.value).collect()
    };
    let alike = cells.windows(2).all(|pair| before(pair[0]) == before(pair[1]));
    let mut rows = Vec::new();
    for (number, (&axes, label)) in cells.iter().zip(labels).enumerate() {
        for stage in summary.stages.iter().filter(|stage| !summary.frozen.contains(stage)) {
            match (stage == BEFORE, alike) {
                (true, true) if number > 0 => {}
                (true, true) => rows.push(("before, all settings".to_owned(), axes, stage.as_str())),
                (true, false) => rows.push((format!("{label}: before"), axes, stage.as_str())),
                (false, _) => rows.push((format!("{label}: after {stage}"), axes, stage.as_str())),
            }
        }
    }
    rows
}

/// An axes, a measure and a moment.
type Of<'a> = (&'a Axes, Measure, &'a str);

fn find<'s>(values: &'s [TextEstimate], (axes, measure, stage): Of<'_>, column: &str) -> Option<&'s TextEstimate> {
    values.iter().find(|v| v.axes == *axes && v.measure == measure && v.stage == stage && v.column == column)
}

/// A p-value is never 0.
fn shown_p(p: f64) -> String {
    if p < LEAST_P { format!("< {LEAST_P}") } else { format!("{p:.4}") }
}

fn plain(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}")
}

fn interval(value: &TextEstimate, written: impl Fn(f64, usize) -> String) -> String {
    let decimals = value.measure.decimals();
    let [value, low, high] = [value.value, value.low, value.high].map(|value| written(value, decimals));
    format!("{value} ({low}–{high})")
}

/// `2.31 → 2.54 (+0.20 to +0.26)`.
fn change_figure(summary: &TextSummary, (axes, measure, last): Of<'_>, tag: &str) -> String {
    let value = |stage: &str| find(&summary.languages, (axes, measure, stage), tag);
    let (Some(before), Some(after)) = (value(BEFORE), value(last)) else { return "–".to_owned() };
    let decimals = measure.decimals();
    let change = find(&summary.changes_by_language, (axes, measure, last), tag);
    let change = change.map_or_else(String::new, |change| {
        format!(" ({} to {})", signed_by(change.low, decimals), signed_by(change.high, decimals))
    });
    format!("{} → {}{change}", plain(before.value, decimals), plain(after.value, decimals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stand_in_their_order_whichever_cell_comes_first() {
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let (short, long) = (owned(&["before", "finetune"]), owned(&["before", "align", "finetune"]));
        for cells in [[&short, &long], [&long, &short]] {
            let mut stages = Vec::new();
            cells.iter().for_each(|cell| put_in_order(&mut stages, &cell.iter().collect::<Vec<_>>()));
            assert_eq!(stages, long);
        }
    }
}
