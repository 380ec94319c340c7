//! Items of four given answers, each asked with its picture and without: what the cloze form, scenes and words have in common.
//!
//! An answer's score is the mean log-likelihood of its tokens; `pmi` subtracts the same mean given the text alone, which takes away how
//! common an answer is by itself. Both are computed from the same rows.

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::sample::Media;

use super::benchmark::check_replies;
use super::prediction::argmax;
use super::{Ask, Benchmark, Metric, NamedScore, OptionScores, Prediction, Question, Reply};
use crate::error::Result;
use crate::recipe::ClozeScore;

/// Answers of an item.
pub(super) const OPTIONS: usize = 4;

/// Questions about an item: with the picture, then the text alone.
const QUESTIONS: usize = 2;

/// The rule where a recipe names none.
pub(super) fn likelihood() -> ClozeScore {
    ClozeScore::Likelihood
}

/// The items of a benchmark, with their questions.
pub(super) struct ChoiceItems {
    name: String,
    /// The headline rule; the other one is given too.
    rule: ClozeScore,
    /// [`QUESTIONS`] an item.
    questions: Vec<Question>,
    /// Without scores.
    items: Vec<Prediction>,
}

/// What the explanations of the two metrics say.
pub(super) struct Explained<'a> {
    /// The headline's name in tables.
    pub(super) label: &'a str,
    /// What is asked, up to where an answer's score is told.
    pub(super) first: &'a str,
    /// The same of the other rule.
    pub(super) other: &'a str,
    /// What a score is.
    pub(super) score: fn(ClozeScore) -> &'static str,
}

impl ChoiceItems {
    /// None yet. `name` is the benchmark's and begins the names of its metrics.
    pub(super) fn new(name: &str, rule: ClozeScore) -> Self {
        Self { name: name.to_owned(), rule, questions: Vec::new(), items: Vec::new() }
    }

    /// Adds an item with its four options: how it is asked with its pictures, and by the text alone.
    pub(super) fn push(&mut self, item: Prediction, (turns, media): (Vec<Turn>, Vec<Media>), text: Vec<Turn>) {
        let ask = Ask::Likelihood { answers: item.options.clone() };
        self.questions.push(Question { id: item.id.clone(), turns, media, ask: ask.clone() });
        self.questions.push(Question { id: format!("{}/text", item.id), turns: text, media: Vec::new(), ask });
        self.items.push(item);
    }

    /// The benchmark's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is asked.
    pub(super) fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The items, without scores.
    pub(super) fn items(&self) -> &[Prediction] {
        &self.items
    }

    /// Tags of the items' languages.
    pub(super) fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().filter_map(|item| item.language.as_deref()))
    }

    /// The language of a question.
    pub(super) fn language_of(&self, question: usize) -> Option<String> {
        self.items.get(question / QUESTIONS)?.language.clone()
    }

    /// The items with their scores.
    ///
    /// # Errors
    /// Replies of another number, replies that are no scores of four answers.
    pub(super) fn predictions(&self, benchmark: &dyn Benchmark, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(benchmark, replies)?;
        let score = |(item, replies): (&Prediction, &[Reply])| self.score(item, replies);
        self.items.iter().zip(replies.chunks_exact(QUESTIONS)).map(score).collect()
    }

    fn score(&self, item: &Prediction, replies: &[Reply]) -> Result<Prediction> {
        let likelihood = replies[0].scores(&self.name, OPTIONS)?.to_vec();
        let prior = replies[1].scores(&self.name, OPTIONS)?;
        let pmi: Vec<f64> = likelihood.iter().zip(prior).map(|(given, prior)| given - prior).collect();
        let score = |rule, values: &[f64]| NamedScore::right(self.metric(rule), Some(argmax(values)) == item.answer);
        let scores = vec![score(ClozeScore::Likelihood, &likelihood), score(ClozeScore::Pmi, &pmi)];
        let option_scores = vec![OptionScores::new("likelihood", likelihood), OptionScores::new("pmi", pmi)];
        Ok(Prediction { option_scores, scores, ..item.clone() })
    }

    /// The metric's name of a rule: the benchmark's for the headline, with `_likelihood` or `_pmi` for the other one.
    fn metric(&self, rule: ClozeScore) -> String {
        let name = &self.name;
        match (rule == self.rule, rule) {
            (true, _) => name.clone(),
            (false, ClozeScore::Likelihood) => format!("{name}_likelihood"),
            (false, ClozeScore::Pmi) => format!("{name}_pmi"),
        }
    }

    /// The metrics, the headline first.
    pub(super) fn metrics(&self, Explained { label, first, other, score }: Explained<'_>) -> Vec<Metric> {
        let (rule, label_of_other) = match self.rule {
            ClozeScore::Likelihood => (ClozeScore::Pmi, "text prior subtracted"),
            ClozeScore::Pmi => (ClozeScore::Likelihood, "likelihood"),
        };
        let metric = |rule, label: String, begin: &str| Metric {
            name: self.metric(rule),
            label,
            explanation: format!("{begin} {}.", score(rule)),
            chance: Some(100.0 / OPTIONS as f64),
        };
        vec![metric(self.rule, label.to_owned(), first), metric(rule, format!("{label}, {label_of_other}"), other)]
    }
}

/// What an answer's score is, of a question with words.
pub(super) fn score_words(rule: ClozeScore) -> &'static str {
    match rule {
        ClozeScore::Likelihood => "the mean log-likelihood of its tokens given picture and question",
        ClozeScore::Pmi => {
            "the mean log-likelihood of its tokens given picture and question, less the same given the question alone"
        }
    }
}
