//! Whether the words that a benchmark asks as seen ones are those that training shows.

use crate::ablation::Plan;
use crate::error::{Result, TrainError};
use crate::recipe::{EvaluationRecipe, Recipe};

/// Words that are asked as seen must be among those that a stage draws, where it draws some.
///
/// # Errors
/// A stage that draws fewer words than a benchmark asks as seen ones; a recipe that cannot be read.
pub(super) fn check_seen_words(plan: &Plan, evaluation: &EvaluationRecipe) -> Result<()> {
    for benchmark in &evaluation.benchmark {
        if benchmark.get("kind").and_then(|kind| kind.as_str()) != Some("words") {
            continue;
        }
        let seen = benchmark.get("seen").and_then(|seen| seen.as_integer()).unwrap_or_default();
        let seen = usize::try_from(seen).unwrap_or_default();
        let validation = benchmark.get("validation").and_then(|validation| validation.as_bool()).unwrap_or_default();
        let needed = if validation { 2 * seen } else { seen };
        for cell in &plan.cells {
            let stages = Recipe::from_table(cell.recipe.clone())?.stage;
            let drawn = stages.iter().filter_map(|(name, stage)| Some((name, stage.data.words.as_ref()?.words)));
            if let Some((name, words)) = drawn.into_iter().find(|(_, words)| (1..needed).contains(words)) {
                let message = format!(
                    "{}: the benchmark `{}` asks {needed} words of a language as seen ones, and the stage `{name}` draws the first {words}: \
                     draw as many (`data.words.words`), or ask fewer (`seen`)",
                    cell.setting,
                    benchmark.get("name").and_then(|name| name.as_str()).unwrap_or_default()
                );
                return Err(TrainError::Recipe(message));
            }
        }
    }
    Ok(())
}
