//! What the benchmarks on the embedded corpus have in common: which concepts they ask about.

use burn_vlm_data::emoji::{ConceptId, EmojiCorpus, PictureId};
use burn_vlm_data::language::Language;
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::sample::Media;
use burn_vlm_data::tasks::{ChoiceItem, Concepts, Distractors, Pool, TaskBuilder};
use serde::{Deserialize, Serialize};

use super::{BenchmarkError, Prediction};
use crate::stats::Subset;

/// A benchmark on the embedded corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorpusRecipe {
    /// Name of the benchmark, and of its scores.
    pub name: String,
    /// Languages of the questions.
    pub languages: Vec<Language>,
    /// Seen concepts asked about; 0 for all.
    #[serde(default)]
    pub seen: usize,
    /// Unseen concepts asked about; 0 for all.
    #[serde(default)]
    pub unseen: usize,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
    /// Asks about the concepts for validation instead of those for the test.
    #[serde(default)]
    pub validation: bool,
}

impl CorpusRecipe {
    pub(super) const KEYS: [&str; 6] = ["name", "languages", "seen", "unseen", "seed", "validation"];

    /// The same with at most `most` concepts of each kind.
    pub fn at_most(&self, most: usize) -> Self {
        let fewer = |limit: usize| if limit == 0 { most } else { limit.min(most) };
        Self { seen: fewer(self.seen), unseen: fewer(self.unseen), ..self.clone() }
    }
}

/// The concepts of a recipe.
pub(crate) struct Drawn<'a> {
    pub(crate) corpus: &'a EmojiCorpus,
    pub(crate) builder: TaskBuilder<'a>,
    recipe: &'a CorpusRecipe,
}

impl<'a> Drawn<'a> {
    pub(crate) fn new(corpus: &'a EmojiCorpus, recipe: &'a CorpusRecipe) -> Result<Self, BenchmarkError> {
        let builder = TaskBuilder::new(corpus, &recipe.languages, recipe.seed)
            .map_err(|error| BenchmarkError::Setting { name: recipe.name.clone(), message: error.to_string() })?;
        Ok(Self { corpus, builder, recipe })
    }

    /// The pools with the most concepts of each that are asked about (0: all), seen ones first.
    pub(crate) fn limits(&self) -> [(Pool, usize); 2] {
        let recipe = self.recipe;
        match recipe.validation {
            true => [(Pool::VALIDATION_SEEN, recipe.seen), (Pool::VALIDATION_UNSEEN, recipe.unseen)],
            false => [(Pool::TEST_SEEN, recipe.seen), (Pool::TEST_UNSEEN, recipe.unseen)],
        }
    }

    /// The concepts of each pool, seen ones first.
    pub(crate) fn pools(&self) -> [(Pool, Vec<ConceptId>); 2] {
        self.limits().map(|(pool, limit)| {
            let all: Vec<ConceptId> =
                self.builder.scored_concepts(pool).into_iter().map(|(concept, _)| concept).collect();
            (pool, self.first(&all, limit))
        })
    }

    /// The first `limit` of some concepts (0: all), in the order of the recipe's seed.
    pub(super) fn first(&self, concepts: &[ConceptId], limit: usize) -> Vec<ConceptId> {
        draw(self.corpus, concepts, limit, self.recipe.seed)
    }

    /// The seen concepts and their pool.
    pub(crate) fn seen(&self) -> (Pool, Vec<ConceptId>) {
        let [seen, _] = self.pools();
        seen
    }

    /// Four-way choice: near and far, seen and unseen, every language.
    pub(super) fn choice(&self) -> Result<Vec<ChoiceItem>, BenchmarkError> {
        let mut choice = Vec::new();
        for (pool, asked) in self.pools() {
            for distractors in [Distractors::Near, Distractors::Far] {
                let items = self.builder.choice_items(pool, distractors, 1);
                choice.extend(items.into_iter().filter(|item| asked.contains(&item.concept)));
            }
        }
        match choice.is_empty() {
            true => Err(self.empty()),
            false => Ok(choice),
        }
    }

    pub(super) fn empty(&self) -> BenchmarkError {
        BenchmarkError::Empty { name: self.recipe.name.clone(), why: Some("it draws no concept".into()) }
    }

    /// A picture of the corpus as any other.
    pub(super) fn medium(&self, picture: PictureId) -> Media {
        Media::Image(self.corpus.media(picture))
    }

    /// What every prediction about the corpus has.
    pub(super) fn about(
        &self,
        id: &str,
        language: Language,
        shown: (ConceptId, PictureId),
        subset: (Option<Distractors>, Concepts),
        question: &str,
    ) -> Prediction {
        let concepts = subset.1.as_str();
        Prediction {
            subset: match subset.0 {
                Some(distractors) => Subset::from([("distractors", distractors.as_str()), ("concepts", concepts)]),
                None => Subset::from([("concepts", concepts)]),
            },
            language: Some(language.tag().to_owned()),
            picture: self.corpus.picture_name(shown.1),
            question: question.to_owned(),
            ..Prediction::new(id, &self.recipe.name, &self.corpus.concept(shown.0).code)
        }
    }

    /// What every choice has.
    pub(super) fn about_choice(&self, item: &ChoiceItem) -> Prediction {
        let subset = (Some(item.distractors), item.pool.concepts);
        Prediction {
            options: item.options.to_vec(),
            answer: Some(item.answer),
            ..self.about(&item.id, item.language, (item.concept, item.picture), subset, &item.prompt)
        }
    }
}

/// The scores that head a report: far distractors, seen concepts.
pub(super) fn far_and_seen(protocol: &str) -> crate::stats::GroupKey {
    let subset = Subset::from([("distractors", "far"), ("concepts", "seen")]);
    crate::stats::GroupKey { protocol: protocol.to_owned(), subset }
}

/// The first `limit` concepts (0: all) in an order that only the seed and the concepts' names decide.
pub(super) fn draw(corpus: &EmojiCorpus, concepts: &[ConceptId], limit: usize, seed: u64) -> Vec<ConceptId> {
    let mut ranked: Vec<(u64, ConceptId)> = concepts
        .iter()
        .map(|&concept| (mix(seed, hash_bytes(corpus.concept(concept).code.as_bytes())), concept))
        .collect();
    ranked.sort_unstable();
    if limit > 0 {
        ranked.truncate(limit);
    }
    ranked.into_iter().map(|(_, concept)| concept).collect()
}
