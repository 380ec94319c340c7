//! The items that a cell is asked: drawn once, the same in every cell, language and seed of a study.

use burn_vlm_data::emoji::{ConceptId, EmojiCorpus};
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::tasks::{ChoiceItem, Concepts, Distractors, Pool, TaskBuilder, YesNoItem};

use crate::error::{Result, TrainError};
use crate::recipe::EvaluationRecipe;

/// Everything that is asked.
#[derive(Debug, Clone)]
pub struct Questions {
    /// Four-way choice, near and far, seen and unseen concepts, every language.
    pub choice: Vec<ChoiceItem>,
    /// Pictures to caption, with `seen` or `unseen`.
    pub captions: Vec<(&'static str, Vec<Sample>)>,
    /// Yes/no pairs about seen concepts.
    pub yes_no: Vec<YesNoItem>,
    /// Captioning prompts on which the connector is looked into, seen concepts: every language of a picture after the other.
    pub analysis: Vec<Sample>,
}

/// Draws the items of an evaluation.
///
/// # Errors
/// A language that the corpus does not have.
pub fn questions(corpus: &EmojiCorpus, recipe: &EvaluationRecipe) -> Result<Questions> {
    let builder =
        TaskBuilder::new(corpus, &recipe.languages, recipe.seed).map_err(|e| TrainError::Data(e.to_string()))?;
    let pools = if recipe.validation {
        [(Pool::VALIDATION_SEEN, recipe.seen), (Pool::VALIDATION_UNSEEN, recipe.unseen)]
    } else {
        [(Pool::TEST_SEEN, recipe.seen), (Pool::TEST_UNSEEN, recipe.unseen)]
    };
    let mut choice = Vec::new();
    let mut captions = Vec::new();
    let (mut yes_no, mut analysis) = (Vec::new(), Vec::new());
    for (pool, limit) in pools {
        let concepts: Vec<ConceptId> = builder.scored_concepts(pool).into_iter().map(|(concept, _)| concept).collect();
        let asked = draw(corpus, &concepts, limit, recipe.seed);
        for distractors in [Distractors::Near, Distractors::Far] {
            let items = builder.choice_items(pool, distractors, 1);
            choice.extend(items.into_iter().filter(|item| asked.contains(&item.concept)));
        }
        if recipe.yes_no > 0 && pool.concepts == Concepts::Seen {
            let named = draw(corpus, &asked, recipe.yes_no, recipe.seed);
            let items = builder.yes_no_items(pool, Distractors::Far);
            yes_no.extend(items.into_iter().filter(|item| named.contains(&item.concept)));
        }
        if recipe.analysis > 0 && pool.concepts == Concepts::Seen {
            let shown = draw(corpus, &asked, recipe.analysis, recipe.seed);
            analysis.extend(builder.caption_items(pool).into_iter().filter(|sample| shown.contains(&sample.concept)));
            analysis.sort_by_key(|sample: &Sample| sample.concept);
        }
        if recipe.captions > 0 {
            let shown = draw(corpus, &asked, recipe.captions, recipe.seed);
            let items = builder.caption_items(pool);
            let items = items.into_iter().filter(|sample| shown.contains(&sample.concept)).collect();
            captions.push((pool.concepts.as_str(), items));
        }
    }
    if choice.is_empty() {
        return Err(TrainError::Recipe("[evaluation] draws no question".into()));
    }
    Ok(Questions { choice, captions, yes_no, analysis })
}

/// The first `limit` concepts (0: all) in an order that only the seed and the concepts' names decide.
fn draw(corpus: &EmojiCorpus, concepts: &[ConceptId], limit: usize, seed: u64) -> Vec<ConceptId> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm_data::language::Language;

    fn recipe() -> EvaluationRecipe {
        EvaluationRecipe {
            languages: vec![Language::EN, Language::DE],
            cloze: crate::recipe::ClozeScore::Likelihood,
            seen: 20,
            unseen: 10,
            captions: 5,
            lettered: false,
            yes_no: 3,
            fidelity: false,
            analysis: 4,
            seed: 1,
            batch: 8,
            validation: false,
        }
    }

    #[test]
    fn items_are_parallel_and_limited() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let drawn = questions(&corpus, &recipe()).unwrap();
        let of = |language| drawn.choice.iter().filter(move |item| item.language == language);
        let names = |language| of(language).map(|item| item.parallel.clone()).collect::<Vec<_>>();
        assert_eq!(names(Language::EN), names(Language::DE));
        let far_seen =
            of(Language::EN).filter(|item| item.distractors == Distractors::Far && item.pool == Pool::TEST_SEEN);
        assert_eq!(far_seen.count(), 20);
        assert_eq!(drawn.captions.len(), 2);
        assert_eq!(drawn.captions[0].1.len(), 5 * 2);
        assert_eq!(drawn.yes_no.len(), 3 * 2 * 2);
        assert_eq!(drawn.analysis.len(), 4 * 2);
        assert_eq!(drawn.analysis[0].concept, drawn.analysis[1].concept);
    }

    #[test]
    fn test_and_validation_items_share_no_concept() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let all = EvaluationRecipe { seen: 0, unseen: 0, captions: 0, ..recipe() };
        let test = questions(&corpus, &all).unwrap();
        let validation = questions(&corpus, &EvaluationRecipe { validation: true, ..all }).unwrap();
        let concepts =
            |q: &Questions| q.choice.iter().map(|item| item.concept).collect::<std::collections::HashSet<_>>();
        assert!(concepts(&test).is_disjoint(&concepts(&validation)));
    }
}
