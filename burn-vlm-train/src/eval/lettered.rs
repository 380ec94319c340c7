//! Four-way choice with the options A to D in the prompt, in all four rotations.
//!
//! An item counts only if all four rotations are right (MMBench's circular evaluation), so that a preference for one
//! letter earns nothing. The answer is the letter with the largest logit at the answer's position.

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::tasks::LETTERS;

use super::benchmark::check_replies;
use super::embedded::{CorpusRecipe, Drawn, far_and_seen};
use super::prediction::argmax;
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, OptionScores, Prediction, Question, Reply};
use crate::error::Result;
use crate::stats::GroupKey;

/// Rotations of an item.
const ROTATIONS: usize = 4;

/// The lettered form of the four-way choice (`kind = "lettered"`).
pub struct Lettered {
    recipe: CorpusRecipe,
    /// One a rotation of each item.
    questions: Vec<Question>,
    /// Without scores, each with the right letter of every rotation.
    items: Vec<(Prediction, Vec<usize>)>,
}

impl Lettered {
    /// Draws the items.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, recipe: CorpusRecipe) -> Result<Self, BenchmarkError> {
        let drawn = Drawn::new(corpus, &recipe)?;
        let mut questions = Vec::new();
        let mut items = Vec::new();
        for item in drawn.choice()? {
            let mut right = Vec::with_capacity(ROTATIONS);
            for rotation in 0..ROTATIONS {
                let lettered = item.lettered(rotation);
                right.push(lettered.answer);
                questions.push(Question {
                    id: format!("{}/rotation {rotation}", item.id),
                    turns: lettered.turns,
                    media: vec![drawn.medium(item.picture)],
                    ask: Ask::FirstToken { answers: LETTERS.map(str::to_owned).to_vec() },
                });
            }
            items.push((drawn.about_choice(&item), right));
        }
        Ok(Self { questions, items, recipe })
    }
}

impl Benchmark for Lettered {
    fn name(&self) -> &str {
        &self.recipe.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let predict = |((item, letters), replies): (&(Prediction, Vec<usize>), &[Reply])| {
            let mut option_scores = Vec::with_capacity(ROTATIONS);
            let mut right = true;
            for (rotation, (reply, letter)) in replies.iter().zip(letters).enumerate() {
                let scores = reply.scores(self.name(), LETTERS.len())?;
                right &= argmax(scores) == *letter;
                option_scores.push(OptionScores::new(format!("rotation {rotation}"), scores.to_vec()));
            }
            Ok(Prediction { option_scores, scores: vec![NamedScore::right(self.name(), right)], ..item.clone() })
        };
        self.items.iter().zip(replies.chunks_exact(ROTATIONS)).map(predict).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let explanation = "The four names stand in the prompt with letters, in all four rotations; an item counts only if \
                           all four answers are right.";
        let chance = Some(100.0 / LETTERS.len().pow(ROTATIONS as u32) as f64);
        vec![Metric {
            name: self.recipe.name.clone(),
            label: "Lettered".into(),
            explanation: explanation.into(),
            chance,
        }]
    }

    fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().filter_map(|(item, _)| item.language.as_deref()))
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.items.get(question / ROTATIONS)?.0.language.clone()
    }

    fn headline(&self) -> GroupKey {
        far_and_seen(self.name())
    }
}
