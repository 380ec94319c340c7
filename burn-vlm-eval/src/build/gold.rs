//! The right answers as replies: what every scorer must give all points to, in every language. What a translation has broken shows here.

use std::path::Path;

use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::mean;
use crate::published::{Answer, Item, Published};
use crate::rules::Rules;
use crate::strict::{NO_WORDS, YES_WORDS, yes_no};

/// How the right answer is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A letter; the English word for yes or no.
    Plain,
    /// The word for yes or no that the row brings along; a letter.
    OwnWord,
    /// The text of the right option; the row's word for yes or no.
    Text,
}

/// The right answer to an item.
pub fn answer(item: &Item, form: Form) -> Answer {
    let right = item.answer();
    if let Some((_, text)) = item.options.iter().find(|(letter, _)| right.chars().eq([*letter])) {
        return Answer::text(if form == Form::Text { text } else { right });
    }
    let is_yes = yes_no(right, item.language).answer() == Some(true);
    let own = item.cell(if is_yes { YES_WORDS } else { NO_WORDS }).filter(|_| form != Form::Plain);
    let first = own.as_deref().and_then(|words| words.split('|').next()).map(|word| word.trim_end_matches('.'));
    Answer::text(first.unwrap_or(right))
}

/// A metric that the right answers do not have all points of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{file}: the right answers score {score:.1} % in {metric} by the rules {rules}, expected 100 (the first that is not right: {id})"
)]
pub struct NotGold {
    /// The file.
    pub file: String,
    /// The metric.
    pub metric: String,
    /// Whose rules.
    pub rules: Rules,
    /// What they score.
    pub score: f64,
    /// An item with less than all points.
    pub id: String,
}

/// Reads a file as its benchmark does and scores the right answers: how many items each metric counts.
///
/// # Errors
/// A file that the benchmark does not read; the first metric that is below 100 %.
pub fn check(
    published: &dyn Published,
    (file, base): (&FileRecipe, &Path),
    rules: Rules,
    form: Form,
) -> Result<Result<Vec<(String, usize)>, NotGold>, BenchmarkError> {
    let items = published.read(file, base, rules)?.items;
    let answers: Vec<Answer> = items.iter().map(|item| answer(item, form)).collect();
    let style = published.prompts(rules).first().copied().unwrap_or(crate::rules::PromptStyle::of(rules));
    let scored = published.score(&items, &answers, rules, style);
    let mut counts = Vec::new();
    for metric in published.metrics(&items, rules) {
        let rows = items.iter().zip(&scored.verdicts);
        let scores: Vec<(&Item, f64)> =
            rows.filter_map(|(item, verdict)| Some((item, verdict.as_ref()?.score(metric.key)?))).collect();
        if let Some((item, _)) = scores.iter().find(|(_, score)| *score < 1.0) {
            let score = 100.0 * mean(scores.iter().map(|(_, score)| *score));
            let (file, metric, id) = (file.file.clone(), metric.label, item.id.clone());
            return Ok(Err(NotGold { file, metric, rules, score, id }));
        }
        counts.push((metric.label, scores.len()));
    }
    Ok(Ok(counts))
}
