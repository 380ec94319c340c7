//! Yes/no questions in pairs: "Is this ...?" once with the right name and once with a wrong one (MMMB, section 2 of Parrot).
//!
//! Unusual here: two protocols from the same answers, since MMMB's paper and its published code differ. `paired` (the paper) counts
//! a picture only if both of its questions are answered right, so that always saying yes earns nothing; `vanilla` (the code) counts
//! each question by itself.

use std::collections::HashMap;

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::tasks::Distractors;

use super::benchmark::check_replies;
use super::embedded::{CorpusRecipe, Drawn, far_and_seen};
use super::prediction::argmax;
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, OptionScores, Prediction, Question, Reply};
use crate::error::Result;
use crate::stats::GroupKey;

/// Circular evaluation: what each question contributes when only whole pairs count. `answers` are pair id and whether right;
/// every member of a pair gets the pair's verdict. For a pair of two, the mean over questions equals the mean over pairs.
pub fn paired<'a>(answers: impl IntoIterator<Item = (&'a str, bool)> + Clone) -> Vec<bool> {
    let mut verdicts: HashMap<&str, bool> = HashMap::new();
    for (pair, right) in answers.clone() {
        *verdicts.entry(pair).or_insert(true) &= right;
    }
    answers.into_iter().map(|(pair, _)| verdicts[pair]).collect()
}

/// Yes/no pairs about seen concepts (`kind = "yes_no"`); the answer is the likelier of the language's words for yes and no (mean
/// log-likelihood of its tokens).
pub struct YesNo {
    recipe: CorpusRecipe,
    questions: Vec<Question>,
    /// Without scores, each with its pair.
    items: Vec<(Prediction, String)>,
}

impl YesNo {
    /// Draws the items.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, recipe: CorpusRecipe) -> Result<Self, BenchmarkError> {
        let drawn = Drawn::new(corpus, &recipe)?;
        let (pool, named) = drawn.seen();
        let mut questions = Vec::new();
        let mut items = Vec::new();
        let asked = drawn.builder.yes_no_items(pool, Distractors::Far);
        for item in asked.into_iter().filter(|item| named.contains(&item.concept)) {
            let (yes, no) = item.words();
            let answers = vec![yes.to_owned(), no.to_owned()];
            questions.push(Question {
                id: item.id.clone(),
                turns: item.turns(),
                media: vec![drawn.medium(item.picture)],
                ask: Ask::Likelihood { answers: answers.clone() },
            });
            let subset = (Some(item.distractors), item.pool.concepts);
            let about = drawn.about(&item.id, item.language, (item.concept, item.picture), subset, &item.prompt);
            items.push((Prediction { options: answers, answer: Some(usize::from(!item.answer)), ..about }, item.pair));
        }
        if items.is_empty() {
            return Err(drawn.empty());
        }
        Ok(Self { questions, items, recipe })
    }

    fn paired(&self) -> String {
        format!("{}_paired", self.recipe.name)
    }

    fn vanilla(&self) -> String {
        format!("{}_vanilla", self.recipe.name)
    }
}

impl Benchmark for YesNo {
    fn name(&self) -> &str {
        &self.recipe.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let mut answers = Vec::with_capacity(replies.len());
        for ((item, pair), reply) in self.items.iter().zip(replies) {
            answers.push((pair.as_str(), Some(argmax(reply.scores(self.name(), 2)?)) == item.answer));
        }
        let verdicts = paired(answers.iter().copied());
        let predict = |(((item, _), reply), ((_, right), verdict)): (_, (&(&str, bool), &bool))| {
            let (item, reply): (&Prediction, &Reply) = (item, reply);
            Ok(Prediction {
                option_scores: vec![OptionScores::new("likelihood", reply.scores(self.name(), 2)?.to_vec())],
                scores: vec![NamedScore::right(self.paired(), *verdict), NamedScore::right(self.vanilla(), *right)],
                ..item.clone()
            })
        };
        self.items
            .iter()
            .map(|(item, pair)| (item, pair))
            .zip(replies)
            .zip(answers.iter().zip(&verdicts))
            .map(predict)
            .collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![
            Metric {
                name: self.paired(),
                label: "Yes/no, pairs".into(),
                explanation: "\"Is this ...?\" twice a picture, once with the right name and once with a wrong one; a picture counts only if \
                              both answers are right (MMMB's circular protocol). The likelier of the language's words for yes and no is \
                              the answer. Tossing a coin gets 25 %, always the same answer 0 %, so that below English much of a score is \
                              how one-sided the answers are. N counts questions, two a pair."
                    .into(),
                chance: Some(25.0),
            },
            Metric {
                name: self.vanilla(),
                label: "Yes/no, each".into(),
                explanation: "The same questions, each counted by itself (what MMMB's published code does).".into(),
                chance: Some(50.0),
            },
        ]
    }

    fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().filter_map(|(item, _)| item.language.as_deref()))
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.items.get(question)?.0.language.clone()
    }

    fn headline(&self) -> GroupKey {
        far_and_seen(&self.paired())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_counts_only_whole() {
        let answers = [("a", true), ("b", true), ("a", true), ("b", false), ("c", false), ("c", false)];
        assert_eq!(paired(answers), [true, false, true, false, false, false]);
        // always yes: half of the questions, no pair
        let always_yes = [("a", true), ("a", false), ("b", true), ("b", false)];
        assert!(paired(always_yes).iter().all(|right| !right));
        assert_eq!(paired(Vec::<(&str, bool)>::new()), Vec::<bool>::new());
    }
}
