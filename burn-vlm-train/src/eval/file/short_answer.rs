//! `kind = "short_answer"`: short answers from a file.

use std::path::Path;
use std::sync::Arc;

use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::source::Row;
use burn_vlm_eval::file::FileRecipe;
use serde::{Deserialize, Serialize};

use super::super::benchmark::{check_replies, readable};
use super::super::{
    Ask, Benchmark, BenchmarkError, Metric, NamedScore, Prediction, Question, Reply, Unreadable, distinct,
};
use super::{Common, Rows, answers, check_tokens, read};
use crate::error::Result;
use crate::stats::{chrf, exact_match};

/// Tokens of a short answer.
const ANSWER_TOKENS: usize = 32;

/// `kind = "short_answer"`: questions that are answered in a word or phrase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShortAnswerRecipe {
    /// Where the questions are.
    #[serde(flatten)]
    pub file: FileRecipe,
    /// What stands below the question.
    #[serde(default)]
    pub instruction: Option<String>,
    /// The most tokens of a reply.
    #[serde(default = "answer_tokens")]
    pub max_new_tokens: usize,
}

fn answer_tokens() -> usize {
    ANSWER_TOKENS
}

impl ShortAnswerRecipe {
    pub(in crate::eval) const KEYS: [&str; 2] = ["instruction", "max_new_tokens"];
}

/// Short answers from a file.
pub struct ShortAnswer {
    recipe: ShortAnswerRecipe,
    questions: Vec<Question>,
    rows: Rows<AnswerItem>,
}

#[derive(Clone)]
struct AnswerItem {
    common: Common,
    references: Vec<String>,
}

impl ShortAnswer {
    /// Reads the file.
    ///
    /// # Errors
    /// As [`Choice::open`](super::Choice::open).
    pub fn open(recipe: ShortAnswerRecipe, base: &Path) -> Result<Self, BenchmarkError> {
        check_tokens(&recipe.file.name, recipe.max_new_tokens)?;
        let make = |common: Common, row: &Row| {
            let (references, _) = answers(&recipe.file, row)?;
            Ok(AnswerItem { common, references })
        };
        let rows = read(&recipe.file, base, &[], make, |item| &item.common)?;
        let question = |item: &AnswerItem| {
            let Common { id, language, question, media, .. } = &item.common;
            let request = recipe.instruction.as_ref().map(|text| format!("\n{text}")).unwrap_or_default();
            let ask = Ask::Generate { max_new_tokens: recipe.max_new_tokens };
            let id = format!("{}/{id}/{language}", recipe.file.name);
            Question::new(id, format!("{question}{request}"), media.clone(), ask)
        };
        let questions = rows.items.iter().map(question).collect();
        Ok(Self { recipe, questions, rows })
    }

    fn chrf(&self) -> String {
        format!("{}_chrf", self.recipe.file.name)
    }
}

impl Benchmark for ShortAnswer {
    fn name(&self) -> &str {
        &self.recipe.file.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let name = self.name();
        let predict = |((item, question), reply): ((&AnswerItem, &Question), &Reply)| {
            let text = reply.text(name)?;
            let right = item.references.iter().any(|reference| exact_match(text, reference));
            let close = item.references.iter().map(|reference| chrf(text, reference)).fold(0.0, f64::max);
            Ok(Prediction {
                references: item.references.clone(),
                text: Some(text.to_owned()),
                scores: vec![NamedScore::right(name, right), NamedScore::new(self.chrf(), close / 100.0)],
                ..item.common.prediction(name, question)
            })
        };
        self.rows.items.iter().zip(&self.questions).zip(replies).map(predict).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let name = &self.recipe.file.name;
        vec![
            Metric {
                name: name.clone(),
                label: format!("{name}, exact"),
                explanation: "The reply equals one of the answers (case, spaces and forms of Unicode aside).".into(),
                chance: None,
            },
            Metric {
                name: self.chrf(),
                label: format!("{name}, chrF"),
                explanation: "chrF2 of the reply against the answer that it comes nearest to.".into(),
                chance: None,
            },
        ]
    }

    fn language_of(&self, question: usize) -> Option<String> {
        Some(self.rows.items.get(question)?.common.language.tag().to_owned())
    }

    fn languages(&self) -> Vec<String> {
        distinct(self.rows.items.iter().map(|item| item.common.language.tag()))
    }

    fn without(&self, unreadable: &Unreadable) -> Result<Arc<dyn Benchmark>> {
        let rows = self.rows.without(&self.recipe.file, unreadable, |item| &item.common)?;
        let (recipe, questions) = (self.recipe.clone(), readable(&self.questions, unreadable));
        Ok(Arc::new(Self { recipe, questions, rows }))
    }

    fn key(&self) -> String {
        self.rows.key.clone()
    }

    fn limits(&self) -> DecodeLimits {
        self.recipe.file.limits.decode()
    }

    fn notes(&self) -> Vec<String> {
        self.rows.notes.clone()
    }
}
