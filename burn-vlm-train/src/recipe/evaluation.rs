//! `[evaluation]` of a study: which items are scored and how. With `languages` it is short for the benchmarks on the embedded
//! corpus; others stand in `[[benchmark]]`.

use std::path::PathBuf;

use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};

use super::from_table;
use crate::error::{Result, TrainError};
use crate::eval::PivotRecipe;

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
    /// Languages of the questions on the embedded corpus; none to ask no such question.
    #[serde(default)]
    pub languages: Vec<Language>,
    /// The headline rule of the cloze form, fixed once on the validation split.
    #[serde(default = "likelihood")]
    pub cloze: ClozeScore,
    /// Seen concepts asked (drawn once, the same in every cell); 0 for all.
    #[serde(default)]
    pub seen: usize,
    /// Unseen concepts asked; 0 for all.
    #[serde(default)]
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
    /// What the backbone can do without pictures, asked before training and after each stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextRecipe>,
    /// The tables of `[[benchmark]]`, after those on the embedded corpus; see [`Benchmarks::open`](crate::eval::Benchmarks::open).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmark: Vec<toml::Table>,
    /// A suite whose benchmarks are asked after those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<SuiteUse>,
    /// Asks questions in other languages through one: translated by the cell's backbone as it is before training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pivot: Option<PivotRecipe>,
}

/// `text` of `[evaluation]`: texts about held-out concepts of the embedded corpus, without pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRecipe {
    /// The backbone's languages that are looked at.
    pub languages: Vec<Language>,
    /// Concepts of each language; 0 for all that are held out.
    #[serde(default)]
    pub items: usize,
    /// How a translation is asked for.
    #[serde(default, skip_serializing_if = "TextPrompt::is_question")]
    pub prompt: TextPrompt,
}

/// How a translation is asked for, in a user turn of the backbone's chat template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextPrompt {
    /// As the parts that are trained here know it: the text, and below it "What is this?" in the language that is wanted.
    #[default]
    Question,
    /// An instruction in English that names both languages, for models that were taught to follow such.
    Instruction,
}

impl TextPrompt {
    fn is_question(&self) -> bool {
        *self == Self::Question
    }
}

/// `[suite]` of a study or a file of questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteUse {
    /// The suite's file, from the folder of the file that names it.
    pub file: PathBuf,
    /// Where the benchmarks' files are; where absent, as the suite says.
    #[serde(default)]
    pub data: Option<PathBuf>,
    /// Only these benchmarks of the suite; all where absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

fn likelihood() -> ClozeScore {
    ClozeScore::Likelihood
}

fn rows() -> usize {
    128
}

impl EvaluationRecipe {
    /// Reads the `[evaluation]` table of a study.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a key that is missing, nothing that is asked.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        /// What questions on the embedded corpus need.
        const NEEDED: [&str; 4] = ["languages", "cloze", "seen", "unseen"];
        /// What belongs to them.
        const THEIRS: [&str; 6] = ["captions", "lettered", "yes_no", "fidelity", "analysis", "validation"];
        let given = |key: &&str| table.contains_key(*key);
        let asks = NEEDED.iter().chain(&THEIRS).find(|key| given(key)).copied();
        let missing = NEEDED.iter().find(|key| !given(key)).copied();
        let evaluation: Self = from_table(table, "evaluation")?;
        let refuse = |message: String| Err(TrainError::Recipe(format!("[evaluation]: {message}")));
        if let (Some(asks), Some(missing)) = (asks, missing) {
            return refuse(format!(
                "missing field `{missing}`, which questions on the embedded corpus (`{asks}`) need"
            ));
        }
        if evaluation.batch == 0 {
            return refuse("`batch` must not be 0".into());
        }
        if let Some(Err(message)) = evaluation.pivot.as_ref().map(PivotRecipe::check) {
            return refuse(message);
        }
        if asks.is_some() && evaluation.languages.is_empty() {
            return refuse("`languages` must not be empty".into());
        }
        if evaluation.text.as_ref().is_some_and(|text| text.languages.is_empty()) {
            return refuse("`text.languages` must not be empty".into());
        }
        if evaluation.languages.is_empty() && evaluation.benchmark.is_empty() && evaluation.suite.is_none() {
            return refuse("nothing is asked: give `languages`, a [[benchmark]] or a [suite]".into());
        }
        Ok(evaluation)
    }

    /// Whether the same questions are asked, through whichever language.
    pub fn asks_as(&self, other: &Self) -> bool {
        Self { pivot: None, ..self.clone() } == Self { pivot: None, ..other.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EvaluationRecipe> {
        EvaluationRecipe::from_table(toml::from_str(text).unwrap())
    }

    #[test]
    fn what_is_not_asked_is_not_written() {
        let plain = read("languages = ['en']\ncloze = 'pmi'\nseen = 1\nunseen = 0").unwrap();
        assert!(!toml::to_string(&plain).unwrap().contains("text"));
        let text = read("text = { languages = ['en', 'de'], items = 5 }\nbenchmark = [{ name = 'a' }]").unwrap().text;
        let text = text.unwrap();
        assert_eq!((text.items, text.prompt), (5, TextPrompt::Question));
        assert!(!toml::to_string(&text).unwrap().contains("prompt"));
    }

    #[test]
    fn the_shorthand_is_whole_or_absent() {
        assert!(read("languages = ['en']\ncloze = 'pmi'\nseen = 1\nunseen = 0").is_ok());
        assert!(read("batch = 4\nbenchmark = [{ name = 'a' }]").is_ok());
        for (text, word) in [
            ("", "nothing is asked"),
            ("languages = ['en']", "missing field `cloze`"),
            ("captions = 3\nbenchmark = [{ name = 'a' }]", "missing field `languages`"),
            ("languages = []\ncloze = 'pmi'\nseen = 1\nunseen = 0", "must not be empty"),
            ("batch = 4\nbenchmark = [{ name = 'a' }]\npivot = { prompt = 'x' }", "no `{text}`"),
            ("languags = ['en']", "did you mean `languages`"),
            ("text = { languages = ['en'] }", "nothing is asked"),
            ("text = { languages = [] }\nbenchmark = [{ name = 'a' }]", "`text.languages` must not be empty"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
