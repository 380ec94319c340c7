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

/// Answers of an item.
pub(super) const OPTIONS: usize = 4;

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

/// How items are scored that were asked with their picture and without.
pub(super) struct ScoredBy {
    /// The benchmark.
    pub(super) name: String,
    /// The headline rule.
    pub(super) rule: ClozeScore,
}

impl ScoredBy {
    /// The rule that is not the headline's.
    pub(super) fn other(&self) -> ClozeScore {
        match self.rule {
            ClozeScore::Likelihood => ClozeScore::Pmi,
            ClozeScore::Pmi => ClozeScore::Likelihood,
        }
    }

    /// The metric's name of a rule: the benchmark's for the headline, with `_likelihood` or `_pmi` for the other one.
    pub(super) fn metric(&self, rule: ClozeScore) -> String {
        let name = &self.name;
        match (rule == self.rule, rule) {
            (true, _) => name.clone(),
            (false, ClozeScore::Likelihood) => format!("{name}_likelihood"),
            (false, ClozeScore::Pmi) => format!("{name}_pmi"),
        }
    }

    /// An item with its scores: of two replies, the first to picture and question, the second to the question alone.
    ///
    /// # Errors
    /// Replies that are no scores of four answers.
    pub(super) fn score(&self, item: &Prediction, replies: &[Reply]) -> Result<Prediction> {
        let likelihood = replies[0].scores(&self.name, OPTIONS)?.to_vec();
        let prior = replies[1].scores(&self.name, OPTIONS)?;
        let pmi: Vec<f64> = likelihood.iter().zip(prior).map(|(given, prior)| given - prior).collect();
        let score = |rule, values: &[f64]| NamedScore::right(self.metric(rule), Some(argmax(values)) == item.answer);
        let scores = vec![score(ClozeScore::Likelihood, &likelihood), score(ClozeScore::Pmi, &pmi)];
        let option_scores = vec![OptionScores::new("likelihood", likelihood), OptionScores::new("pmi", pmi)];
        Ok(Prediction { option_scores, scores, ..item.clone() })
    }
}

/// What a score is, in words.
pub(super) fn score_words(rule: ClozeScore) -> &'static str {
    match rule {
        ClozeScore::Likelihood => "the mean log-likelihood of its tokens given picture and question",
        ClozeScore::Pmi => {
            "the mean log-likelihood of its tokens given picture and question, less the same given the question alone"
        }
    }
}

/// What the other rule than the headline's is called in tables.
pub(super) fn other_label(rule: ClozeScore) -> &'static str {
    match rule {
        ClozeScore::Likelihood => "text prior subtracted",
        ClozeScore::Pmi => "likelihood",
    }
}

/// The cloze form of the four-way choice.
pub struct Cloze {
    by: ScoredBy,
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
        Ok(Self { by: ScoredBy { name: recipe.corpus.name, rule: recipe.rule }, questions, items })
    }
}

impl Benchmark for Cloze {
    fn name(&self) -> &str {
        &self.by.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let score = |(item, replies): (&Prediction, &[Reply])| self.by.score(item, replies);
        self.items.iter().zip(replies.chunks_exact(QUESTIONS)).map(score).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let (rule, other) = (self.by.rule, self.by.other());
        let chance = Some(100.0 / OPTIONS as f64);
        vec![
            Metric {
                name: self.by.metric(rule),
                label: "Cloze".into(),
                explanation: format!(
                    "\"What is this?\": of four names the one with the highest score is the answer; a name's score is {}.",
                    score_words(rule)
                ),
                chance,
            },
            Metric {
                name: self.by.metric(other),
                label: format!("Cloze, {}", other_label(rule)),
                explanation: format!("The same questions; a name's score is {}.", score_words(other)),
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
