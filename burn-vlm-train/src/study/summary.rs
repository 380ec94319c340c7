//! From finished cells to tables, plots and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_vlm_base::jsonl::read_jsonl;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::{Language, LanguageIdentifier};
use serde_json::json;

use super::experts;
use crate::ablation::{FinishedCell, Plan, Provenance as Origin, StudyResult};
use crate::error::{Result, TrainError};
use crate::eval::{FIDELITY, IN_ENGLISH, IN_NONE, NamedScore, PAIRED, Prediction, VANILLA, language_scores};
use crate::log;
use crate::recipe::{EvaluationRecipe, Recipe};
use crate::report::{
    Axis, AxisValue, Column, Example, ExampleAnswer, ExamplePicture, LossSeries, Paper, PaperRow, Protocol, Provenance,
    ReportInput, Section, StudySpec, Timing, summarise, write_report,
};
use crate::stats::{Axes, Bootstrap, GroupKey, Outcome};

/// Examples shown in the report.
const EXAMPLES: usize = 6;
/// Steps through a cell's questions from cell to cell and from language to language: primes, so that few concepts repeat.
const STRIDES: (usize, usize) = (41, 17);

/// Writes `summary.*`, `plots/` and `report.html` of a study into `out`.
///
/// # Errors
/// A cell's file that cannot be read, cells whose questions differ, a full disk.
pub fn write_summary(
    out: &Path,
    result: &StudyResult<'_>,
    corpus: &EmojiCorpus,
    origin: &Origin,
    device: &str,
) -> Result<()> {
    let plan = result.plan;
    let mut spec = spec(plan)?;
    if !result.missing.is_empty() {
        spec.caveats.insert(0, format!("Not finished, and so in none of the tables: {}.", result.missing.join(", ")));
    }
    let mut outcomes = Vec::new();
    let mut losses = Vec::new();
    let mut examples = Vec::new();
    let mut times = Vec::new();
    let first =
        result.cells.first().map(|cell| EvaluationRecipe::from_table(cell.cell.evaluation.clone())).transpose()?;
    let identifier = first
        .filter(|evaluation| evaluation.fidelity)
        .map(|evaluation| LanguageIdentifier::new(corpus, &evaluation.languages));
    for cell in &result.cells {
        let axes = axes(cell);
        let mut predictions = read_predictions(cell)?;
        if let Some(identifier) = &identifier {
            predictions.iter_mut().for_each(|prediction| add_languages(prediction, identifier));
        }
        outcomes.extend(predictions.iter().flat_map(|prediction| to_outcomes(prediction, &axes, cell.cell.seed)));
        examples.extend(pick_examples(&predictions, &spec, &axes, corpus, times.len()));
        losses.extend(loss_series(cell, &axes)?);
        times.push(Timing { name: cell.cell.name.clone(), seconds: cell.done.seconds });
    }
    let examples = spread(examples);
    let provenance = provenance(result, origin, device, times);
    let report_error = |e: crate::report::ReportError| TrainError::Data(e.to_string());
    let summary = summarise(&spec, outcomes, provenance).map_err(report_error)?;
    let sections: Vec<Section> = experts::section(&result.cells, &spec, axes)?.into_iter().collect();
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

/// Adds to a caption in which language it is.
fn add_languages(prediction: &mut Prediction, identifier: &LanguageIdentifier) {
    let told = language_scores(prediction, identifier);
    let earlier = |score: &NamedScore| told.iter().any(|new| new.protocol == score.protocol);
    prediction.scores.retain(|score| !earlier(score));
    prediction.scores.extend(told);
}

fn axes(cell: &FinishedCell) -> Axes {
    cell.cell.axes.iter().map(|choice| (choice.axis.clone(), choice.value.clone())).collect()
}

fn to_outcomes<'a>(prediction: &'a Prediction, axes: &'a Axes, seed: u64) -> impl Iterator<Item = Outcome> + 'a {
    prediction.scores.iter().map(move |score| Outcome {
        axes: axes.clone(),
        seed,
        protocol: score.protocol.clone(),
        distractors: prediction.distractors.clone(),
        concepts: prediction.concepts.clone(),
        language: prediction.language.clone(),
        concept: prediction.concept.clone(),
        score: score.score,
    })
}

/// The study as the report presents it.
fn spec(plan: &Plan) -> Result<StudySpec> {
    let study = &plan.study;
    let first = plan.cells.first().ok_or_else(|| TrainError::Recipe("the study has no cells".into()))?;
    let evaluation = EvaluationRecipe::from_table(first.evaluation.clone())?;
    let axes = study.axes.iter().map(|axis| Axis {
        name: axis.name.clone(),
        label: axis.label.clone(),
        values: axis
            .values
            .iter()
            .map(|value| AxisValue { value: value.name.clone(), label: value.label.clone() })
            .collect(),
    });
    let columns = plan.columns.iter().map(|column| Column {
        name: column.name.clone(),
        explanation: column.description.clone(),
        languages: column.languages.clone(),
    });
    let names = Language::ALL.iter().map(|language| (language.tag().to_string(), language.english_name().to_string()));
    Ok(StudySpec {
        study: study.name.clone(),
        preset: plan.preset.clone(),
        title: study.title.clone(),
        question: study.description.clone(),
        axes: axes.collect(),
        columns: columns.collect(),
        protocols: protocols(&evaluation),
        headline: GroupKey { protocol: "cloze".into(), distractors: Some("far".into()), concepts: "seen".into() },
        language_names: names.collect(),
        paper: paper(plan),
        caveats: study.caveats.clone(),
        bootstrap: Bootstrap::default(),
    })
}

fn protocols(evaluation: &EvaluationRecipe) -> Vec<Protocol> {
    use crate::recipe::ClozeScore::{Likelihood, Pmi};
    let rule = |rule| match rule {
        Likelihood => "the mean log-likelihood of its tokens given picture and question",
        Pmi => {
            "the mean log-likelihood of its tokens given picture and question, less the same given the question alone"
        }
    };
    let other = if evaluation.cloze == Likelihood { Pmi } else { Likelihood };
    let mut protocols = vec![
        Protocol {
            name: "cloze".into(),
            label: "Cloze".into(),
            explanation: format!(
                "\"What is this?\": of four names the one with the highest score is the answer; a name's score is {}.",
                rule(evaluation.cloze)
            ),
            chance: Some(25.0),
        },
        Protocol {
            name: crate::eval::cloze_protocol(other, evaluation.cloze).into(),
            label: format!("Cloze, {}", if other == Pmi { "text prior subtracted" } else { "likelihood" }),
            explanation: format!("The same questions; a name's score is {}.", rule(other)),
            chance: Some(25.0),
        },
    ];
    if evaluation.lettered {
        protocols.push(Protocol {
            name: "lettered".into(),
            label: "Lettered".into(),
            explanation:
                "The four names stand in the prompt with letters, in all four rotations; an item counts only if \
                          all four answers are right."
                    .into(),
            chance: Some(100.0 / 256.0),
        });
    }
    if evaluation.yes_no > 0 {
        protocols.push(Protocol {
            name: PAIRED.into(),
            label: "Yes/no, pairs".into(),
            explanation: "\"Is this ...?\" twice a picture, once with the right name and once with a wrong one; a picture counts only if \
                          both answers are right (MMMB's circular protocol). The likelier of the language's words for yes and no is \
                          the answer. Tossing a coin gets 25 %, always the same answer 0 %, so that below English much of a score is \
                          how one-sided the answers are. N counts questions, two a pair."
                .into(),
            chance: Some(25.0),
        });
        protocols.push(Protocol {
            name: VANILLA.into(),
            label: "Yes/no, each".into(),
            explanation: "The same questions, each counted by itself (what MMMB's published code does).".into(),
            chance: Some(50.0),
        });
    }
    if evaluation.captions > 0 && evaluation.fidelity {
        for (name, label, explanation) in [
            (
                FIDELITY,
                "Answers in the prompt's language",
                "Share of generated captions that are in the prompt's language: by script, then by the \
              corpus's own word lists, then, for sentences, by a detector. A word that languages share counts for each of them.",
            ),
            (
                IN_ENGLISH,
                "Answers in English",
                "Share of generated captions that are in English though the prompt is not.",
            ),
            (
                IN_NONE,
                "Answers in no language",
                "Share of generated captions without words of any of the languages: broken characters, mixed \
              scripts, what only looks like a word.",
            ),
        ] {
            protocols.push(Protocol {
                name: name.into(),
                label: label.into(),
                explanation: explanation.into(),
                chance: None,
            });
        }
    }
    if evaluation.captions > 0 {
        for (name, label, explanation) in [
            ("caption_exact", "Caption, exact", "The generated caption equals the name (case and spaces aside)."),
            ("caption_chrf", "Caption, chrF", "chrF2 of the generated caption against the name."),
        ] {
            protocols.push(Protocol {
                name: name.into(),
                label: label.into(),
                explanation: explanation.into(),
                chance: None,
            });
        }
    }
    protocols
}

fn paper(plan: &Plan) -> Option<Paper> {
    let paper = plan.study.papers.first()?;
    let mut scales: Vec<String> = Vec::new();
    let mut rows: Vec<PaperRow> = Vec::new();
    for row in &paper.rows {
        if !scales.contains(&row.scale) {
            scales.push(row.scale.clone());
        }
        let cell = plan.cells.iter().find(|cell| Some(&cell.setting) == row.cell.as_ref())?;
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

/// Loss curves of a cell's stages.
fn loss_series(cell: &FinishedCell, axes: &Axes) -> Result<Vec<LossSeries>> {
    let recipe = Recipe::from_table(cell.cell.recipe.clone())?;
    let mut series = Vec::new();
    for (number, name) in recipe.stages.iter().enumerate() {
        let path = cell.folder.join("stages").join(format!("{}-{name}", number + 1)).join("log.jsonl");
        series.push(LossSeries {
            stage: name.clone(),
            unit: "cross-entropy, nats per token".into(),
            axes: axes.clone(),
            name: String::new(),
            seed: Some(cell.cell.seed),
            points: log::read(&path)?.iter().map(|entry| (entry.step as u64, f64::from(entry.loss_mean))).collect(),
        });
    }
    Ok(series)
}

/// One prediction a language of a cell for the report's examples, each about another concept.
fn pick_examples(
    predictions: &[Prediction],
    spec: &StudySpec,
    axes: &Axes,
    corpus: &EmojiCorpus,
    cell: usize,
) -> Vec<Example> {
    let mut by_language: BTreeMap<&str, Vec<&Prediction>> = BTreeMap::new();
    let far = predictions.iter().filter(|p| p.protocol == "cloze" && p.distractors == spec.headline.distractors);
    for prediction in far.filter(|p| p.concepts == spec.headline.concepts) {
        by_language.entry(&prediction.language).or_default().push(prediction);
    }
    let chosen = by_language.values().enumerate().filter_map(|(language, all)| {
        let at = (cell * STRIDES.0 + language * STRIDES.1) % all.len().max(1);
        all.get(at)
    });
    chosen.filter_map(|prediction| example(prediction, spec, axes, corpus)).collect()
}

fn example(prediction: &Prediction, spec: &StudySpec, axes: &Axes, corpus: &EmojiCorpus) -> Option<Example> {
    let scores = prediction.option_scores.first()?;
    let concept = corpus.by_code(&prediction.concept)?;
    let picture = corpus.pictures_of(concept.id).find(|p| corpus.picture_name(p.id) == prediction.picture)?;
    let description = corpus.text(concept.id, Language::EN).map(|text| text.name.clone()).unwrap_or_default();
    let options = prediction.options.iter().cloned().zip(scores.values.iter().copied()).collect();
    Some(Example {
        axes: axes.clone(),
        group: spec.headline.clone(),
        language: prediction.language.clone(),
        picture: Some(ExamplePicture { media_type: "image/webp".into(), bytes: picture.webp.to_vec(), description }),
        prompt: prediction.question.clone(),
        answer: ExampleAnswer::Choice { options, right: prediction.answer },
    })
}

/// A few examples from all over the list, so that cells and languages differ.
fn spread(examples: Vec<Example>) -> Vec<Example> {
    let step = (examples.len() / EXAMPLES).max(1) + 1;
    examples.into_iter().step_by(step).take(EXAMPLES).collect()
}

fn provenance(result: &StudyResult<'_>, origin: &Origin, device: &str, times: Vec<Timing>) -> Provenance {
    let plan = result.plan;
    let seeds: BTreeSet<u64> = result.cells.iter().map(|cell| cell.cell.seed).collect();
    let recipe = plan.cells.first().and_then(|cell| toml::to_string(&cell.recipe).ok()).unwrap_or_default();
    let mut more = BTreeMap::new();
    more.insert("crates".to_string(), json!(origin.crates));
    more.insert("system".to_string(), json!(origin.system));
    if !result.missing.is_empty() {
        more.insert("missing_cells".to_string(), json!(result.missing));
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
    Provenance {
        command: made("command", origin.command_text()),
        commit: made("commit", origin.commit.to_string()),
        device: made("device", origin.device_text(device)),
        seeds: seeds.into_iter().collect(),
        finished: result.cells.iter().map(|cell| cell.done.finished.clone()).max().unwrap_or_else(crate::ablation::now),
        times,
        recipe,
        more,
    }
}
