//! Captions: the model answers "What is this?" freely; exact match and chrF against the concept's name, and, on request, in which
//! language it answers.

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::LanguageIdentifier;
use burn_vlm_data::tasks::prompts;
use serde::{Deserialize, Serialize};

use super::benchmark::check_replies;
use super::embedded::{CorpusRecipe, Drawn};
use super::fidelity::{Shares, shares};
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, Prediction, Question, Reply};
use crate::error::Result;
use crate::stats::{GroupKey, Subset, chrf, exact_match};

/// Longest caption in tokens; the longest name of the corpus has about half of it.
const MAX_NEW_TOKENS: usize = 32;

/// `kind = "caption"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionRecipe {
    /// Which concepts.
    #[serde(flatten)]
    pub corpus: CorpusRecipe,
    /// Whether the language of each caption is told: the share in the prompt's language.
    #[serde(default)]
    pub fidelity: bool,
}

/// Captions of the corpus's pictures.
pub struct Caption {
    recipe: CaptionRecipe,
    questions: Vec<Question>,
    /// Without scores; the name is the one reference.
    items: Vec<Prediction>,
    identifier: Option<LanguageIdentifier>,
}

impl CaptionRecipe {
    pub(super) const KEYS: [&str; 1] = ["fidelity"];
}

impl Caption {
    /// Draws the items.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, recipe: CaptionRecipe) -> Result<Self, BenchmarkError> {
        let drawn = Drawn::new(corpus, &recipe.corpus)?;
        let mut questions = Vec::new();
        let mut items = Vec::new();
        for (pool, shown) in drawn.pools() {
            let scored = drawn.builder.scored_concepts(pool);
            for (concept, picture) in scored.into_iter().filter(|(concept, _)| shown.contains(concept)) {
                for &language in &recipe.corpus.languages {
                    let Some(text) = corpus.text(concept, language) else { continue };
                    let question = prompts(language).what_is_this;
                    let id = format!("caption/{}/{language}", corpus.picture_name(picture.id));
                    let ask = Ask::Generate { max_new_tokens: MAX_NEW_TOKENS };
                    questions.push(Question::new(&id, question, vec![drawn.medium(picture.id)], ask));
                    let about = drawn.about(&id, language, (concept, picture.id), (None, pool.concepts), question);
                    items.push(Prediction { references: vec![text.name.clone()], ..about });
                }
            }
        }
        if items.is_empty() {
            return Err(drawn.empty());
        }
        let identifier = recipe.fidelity.then(|| LanguageIdentifier::new(corpus, &recipe.corpus.languages));
        Ok(Self { questions, items, identifier, recipe })
    }

    fn named(&self, metric: &str) -> String {
        format!("{}_{metric}", self.recipe.corpus.name)
    }

    /// The names of the three shares; without the benchmark's name where that is the usual one.
    fn shares(&self) -> [String; 3] {
        let names = Shares::NAMES;
        match self.recipe.corpus.name.as_str() {
            "caption" => names.map(str::to_owned),
            _ => names.map(|name| self.named(name)),
        }
    }
}

impl Benchmark for Caption {
    fn name(&self) -> &str {
        &self.recipe.corpus.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let predict = |(item, reply): (&Prediction, &Reply)| {
            let text = reply.text(self.name())?;
            let reference = item.references.first().map_or("", String::as_str);
            let mut prediction = Prediction {
                scores: vec![
                    NamedScore::right(self.named("exact"), exact_match(text, reference)),
                    NamedScore::new(self.named("chrf"), chrf(text, reference) / 100.0),
                ],
                text: Some(text.to_owned()),
                ..item.clone()
            };
            self.amend(&mut prediction);
            Ok(prediction)
        };
        self.items.iter().zip(replies).map(predict).collect()
    }

    /// Tells the language of the caption anew.
    fn amend(&self, prediction: &mut Prediction) {
        let Some(identifier) = &self.identifier else { return };
        let Some(found) = shares(prediction, identifier) else { return };
        let names = self.shares();
        prediction.scores.retain(|score| !names.contains(&score.protocol));
        let told = names.into_iter().zip(found.values());
        prediction.scores.extend(told.map(|(name, share)| NamedScore::new(name, share)));
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        if self.identifier.is_some() {
            for (name, (label, explanation)) in self.shares().into_iter().zip(Shares::WORDS) {
                metrics.push((name, label, explanation));
            }
        }
        metrics.push((
            self.named("exact"),
            "Caption, exact",
            "The generated caption equals the name (case and spaces aside).",
        ));
        metrics.push((self.named("chrf"), "Caption, chrF", "chrF2 of the generated caption against the name."));
        let metric = |(name, label, explanation): (String, &str, &str)| Metric {
            name,
            label: label.into(),
            explanation: explanation.into(),
            chance: None,
        };
        metrics.into_iter().map(metric).collect()
    }

    fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().filter_map(|item| item.language.as_deref()))
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.items.get(question)?.language.clone()
    }

    fn headline(&self) -> GroupKey {
        GroupKey { protocol: self.named("chrf"), subset: Subset::from([("concepts", "seen")]) }
    }
}
