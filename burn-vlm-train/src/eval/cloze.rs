//! Four-way choice in cloze form: which of four names is the likeliest answer to "What is this?"
//!
//! A name's score is the mean log-likelihood of its tokens; `pmi` subtracts the same mean given the question without
//! the picture, which takes away how common a name is by itself. Both are computed from the same rows; the headline
//! is the one that the validation split chose.

use burn_vlm_data::emoji::EmojiCorpus;
use serde::{Deserialize, Serialize};

use super::benchmark::check_replies;
use super::embedded::{CorpusRecipe, Drawn, far_and_seen};
use super::prediction::argmax;
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, OptionScores, Prediction, Question, Reply};
use crate::error::Result;
use crate::recipe::ClozeScore;
use crate::stats::GroupKey;

/// Names of an item.
const OPTIONS: usize = 4;

/// Questions about an item: with the picture, then the text alone.
const QUESTIONS: usize = 2;

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

fn likelihood() -> ClozeScore {
    ClozeScore::Likelihood
}

/// The cloze form of the four-way choice.
pub struct Cloze {
    recipe: ClozeRecipe,
    /// [`QUESTIONS`] an item.
    questions: Vec<Question>,
    /// Without scores.
    items: Vec<Prediction>,
}

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
        let mut questions = Vec::new();
        let mut items = Vec::new();
        for item in drawn.choice()? {
            let ask = Ask::Likelihood { answers: item.options.to_vec() };
            let (turns, media) = (item.cloze(), vec![drawn.medium(item.picture)]);
            questions.push(Question { id: item.id.clone(), turns, media, ask: ask.clone() });
            let id = format!("{}/text", item.id);
            questions.push(Question { id, turns: item.cloze_text_only(), media: Vec::new(), ask });
            items.push(drawn.about_choice(&item));
        }
        Ok(Self { recipe, questions, items })
    }

    /// The metric's name of a rule: the benchmark's for the headline, with `_likelihood` or `_pmi` for the other one.
    fn metric(&self, rule: ClozeScore) -> String {
        let name = &self.recipe.corpus.name;
        match (rule == self.recipe.rule, rule) {
            (true, _) => name.clone(),
            (false, ClozeScore::Likelihood) => format!("{name}_likelihood"),
            (false, ClozeScore::Pmi) => format!("{name}_pmi"),
        }
    }
}

impl Benchmark for Cloze {
    fn name(&self) -> &str {
        &self.recipe.corpus.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let predict = |(item, replies): (&Prediction, &[Reply])| {
            let likelihood = replies[0].scores(self.name(), OPTIONS)?.to_vec();
            let prior = replies[1].scores(self.name(), OPTIONS)?;
            let pmi: Vec<f64> = likelihood.iter().zip(prior).map(|(given, prior)| given - prior).collect();
            let score =
                |rule, values: &[f64]| NamedScore::right(self.metric(rule), Some(argmax(values)) == item.answer);
            let scores = vec![score(ClozeScore::Likelihood, &likelihood), score(ClozeScore::Pmi, &pmi)];
            let option_scores = vec![OptionScores::new("likelihood", likelihood), OptionScores::new("pmi", pmi)];
            Ok(Prediction { option_scores, scores, ..item.clone() })
        };
        self.items.iter().zip(replies.chunks_exact(QUESTIONS)).map(predict).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let words = |rule| match rule {
            ClozeScore::Likelihood => "the mean log-likelihood of its tokens given picture and question",
            ClozeScore::Pmi => {
                "the mean log-likelihood of its tokens given picture and question, less the same given the question alone"
            }
        };
        let (rule, chance) = (self.recipe.rule, Some(100.0 / OPTIONS as f64));
        let (other, label) = match rule {
            ClozeScore::Likelihood => (ClozeScore::Pmi, "text prior subtracted"),
            ClozeScore::Pmi => (ClozeScore::Likelihood, "likelihood"),
        };
        vec![
            Metric {
                name: self.metric(rule),
                label: "Cloze".into(),
                explanation: format!(
                    "\"What is this?\": of four names the one with the highest score is the answer; a name's score is {}.",
                    words(rule)
                ),
                chance,
            },
            Metric {
                name: self.metric(other),
                label: format!("Cloze, {label}"),
                explanation: format!("The same questions; a name's score is {}.", words(other)),
                chance,
            },
        ]
    }

    fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().filter_map(|item| item.language.as_deref()))
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.items.get(question / QUESTIONS)?.language.clone()
    }

    fn headline(&self) -> GroupKey {
        far_and_seen(self.name())
    }
}
