//! Four-way choice in cloze form: which of four names is the likeliest answer to "What is this?"
//!
//! Scored as all [`ChoiceItems`]; the headline rule is the one that the validation split chose.

use burn_vlm_data::emoji::EmojiCorpus;
use serde::{Deserialize, Serialize};

use super::choice_items::{ChoiceItems, Explained, likelihood, score_words};
use super::embedded::{CorpusRecipe, Drawn, far_and_seen};
use super::{Benchmark, BenchmarkError, Metric, Prediction, Question, Reply};
use crate::error::Result;
use crate::recipe::ClozeScore;
use crate::stats::GroupKey;

/// `kind = "cloze"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClozeRecipe {
    /// Which concepts.
    #[serde(flatten)]
    pub corpus: CorpusRecipe,
    /// The headline rule; the other one is given too.
    #[serde(default = "likelihood")]
    pub rule: ClozeScore,
}

/// The cloze form of the four-way choice.
pub struct Cloze(ChoiceItems);

impl ClozeRecipe {
    pub(super) const KEYS: [&str; 1] = ["rule"];
}

impl Cloze {
    /// Draws the items.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, recipe: ClozeRecipe) -> Result<Self, BenchmarkError> {
        let drawn = Drawn::new(corpus, &recipe.corpus)?;
        let mut items = ChoiceItems::new(&recipe.corpus.name, recipe.rule);
        for item in drawn.choice()? {
            let shown = (item.cloze(), vec![drawn.medium(item.picture)]);
            items.push(drawn.about_choice(&item), shown, item.cloze_text_only());
        }
        Ok(Self(items))
    }
}

impl Benchmark for Cloze {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn questions(&self) -> &[Question] {
        self.0.questions()
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        self.0.predictions(self, replies)
    }

    fn metrics(&self) -> Vec<Metric> {
        self.0.metrics(Explained {
            label: "Cloze",
            first: "\"What is this?\": of four names the one with the highest score is the answer; a name's score is",
            other: "The same questions; a name's score is",
            score: score_words,
        })
    }

    fn languages(&self) -> Vec<String> {
        self.0.languages()
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.0.language_of(question)
    }

    fn headline(&self) -> GroupKey {
        far_and_seen(self.name())
    }
}
