//! A cell's scores in the card of its model.

use std::path::Path;

use super::summary::{SMOKE, SMOKE_WARNING};
use crate::ablation::Cell;
use crate::error::{Result, TrainError};
use crate::eval::{Benchmarks, Prediction};
use crate::recipe::EvaluationRecipe;
use crate::report::model_scores;
use crate::run::{CardScores, write_scores};
use crate::stats::{Axes, Bootstrap, Outcome};

/// Writes what a cell's model made of the study's questions into the card in `model`; nothing where no answer is scored.
///
/// # Errors
/// A score that is none, a card that cannot be read or written.
pub(super) fn write(
    (study, preset): &(String, String),
    cell: &Cell,
    evaluation: &EvaluationRecipe,
    (benchmarks, mut predictions): (&Benchmarks, Vec<Prediction>),
    model: &Path,
) -> Result<()> {
    predictions.iter_mut().for_each(|prediction| benchmarks.amend(prediction));
    let axes = Axes::new();
    let outcomes: Vec<Outcome> =
        predictions.iter().flat_map(|prediction| prediction.outcomes(&axes, cell.seed)).collect();
    if outcomes.is_empty() {
        return Ok(());
    }
    let metrics = benchmarks.metrics();
    let scores = model_scores(&metrics, &outcomes, &Bootstrap::default());
    let scores = scores.map_err(|error| TrainError::Data(error.to_string()))?;
    let mut said = vec![format!("As the cell `{}` of the study `{study}`, preset `{preset}`.", cell.name)];
    if preset == SMOKE {
        said.push(SMOKE_WARNING.to_owned());
    }
    if evaluation.validation {
        said.push("Questions on the embedded corpus are those for validation, by which choices were made.".to_owned());
    }
    if let Some(pivot) = &evaluation.pivot {
        said.push(format!(
            "Questions in other languages were translated to `{}` by the language model as it was before training, and answers back.",
            pivot.through.tag()
        ));
    }
    let name = format!("{study} ({preset})");
    write_scores(model, &CardScores { name: &name, said: &said, metrics: &metrics, scores: &scores }).map(|_| ())
}
