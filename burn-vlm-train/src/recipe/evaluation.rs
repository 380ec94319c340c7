//! `[evaluation]` of a study: which items are scored and how.

use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};

use super::from_table;
use crate::error::{Result, TrainError};

/// How an answer's likelihood becomes a score in cloze evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum ClozeScore {
    /// Mean log-likelihood of the answer's tokens given picture and question.
    Likelihood,
    /// The same minus the mean log-likelihood given the question alone.
    Pmi,
}

/// Which items are scored and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Languages of the questions.
    pub languages: Vec<Language>,
    /// The headline rule of the cloze form, fixed once on the validation split.
    pub cloze: ClozeScore,
    /// Seen concepts asked (drawn once, the same in every cell); 0 for all.
    pub seen: usize,
    /// Unseen concepts asked; 0 for all.
    pub unseen: usize,
    /// Concepts of each kind that are captioned; 0 for none.
    #[serde(default)]
    pub captions: usize,
    /// Whether the lettered form in four rotations is asked too.
    #[serde(default)]
    pub lettered: bool,
    /// Seen concepts that are asked about by "Is this ...?", once with the right and once with a wrong name; 0 for none.
    #[serde(default)]
    pub yes_no: usize,
    /// Whether the language of each generated caption is told: the share in the prompt's language.
    #[serde(default)]
    pub fidelity: bool,
    /// Pictures on which the connector is looked into (routing, experts, visual tokens beside text); 0 for none.
    #[serde(default)]
    pub analysis: usize,
    /// Seed of the items.
    #[serde(default)]
    pub seed: u64,
    /// Rows of a scoring batch.
    #[serde(default = "rows")]
    pub batch: usize,
    /// Asks the validation items instead of the test items; for fixing choices, never for reported numbers.
    #[serde(default)]
    pub validation: bool,
}

fn rows() -> usize {
    128
}

impl EvaluationRecipe {
    /// Reads the `[evaluation]` table of a study.
    ///
    /// # Errors
    /// An unknown key, a wrong type, no language.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let evaluation: Self = from_table(table, "evaluation")?;
        if evaluation.languages.is_empty() || evaluation.batch == 0 {
            return Err(TrainError::Recipe("[evaluation]: `languages` and `batch` must not be empty".into()));
        }
        Ok(evaluation)
    }
}
