//! The prompts on which a cell's connector is looked into: drawn once, the same in every cell and seed of a study.

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::sample::Sample;

use crate::error::Result;
use crate::eval::{CorpusRecipe, Drawn};
use crate::recipe::EvaluationRecipe;

/// Captioning prompts about `analysis` of the evaluation's seen concepts, every language of a picture after the other.
///
/// # Errors
/// A language that the corpus does not have.
pub fn analysis_samples(corpus: &EmojiCorpus, recipe: &EvaluationRecipe) -> Result<Vec<Sample>> {
    if recipe.analysis == 0 {
        return Ok(Vec::new());
    }
    let asked = CorpusRecipe {
        name: "analysis".into(),
        languages: recipe.languages.clone(),
        seen: recipe.seen,
        unseen: recipe.unseen,
        seed: recipe.seed,
        validation: recipe.validation,
    };
    let asked = asked.at_most(recipe.analysis);
    let drawn = Drawn::new(corpus, &asked)?;
    let (pool, shown) = drawn.seen();
    let concept =
        |sample: &Sample| corpus.by_code(sample.group.as_deref().unwrap_or_default()).map(|concept| concept.id);
    let asked = |sample: &Sample| concept(sample).is_some_and(|concept| shown.contains(&concept));
    let mut samples: Vec<Sample> = drawn.builder.caption_items(pool).into_iter().filter(asked).collect();
    samples.sort_by_key(concept);
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Benchmark, Benchmarks};
    use std::collections::BTreeSet;
    use std::path::Path;

    fn recipe(more: &str) -> EvaluationRecipe {
        let text = format!("languages = ['en', 'de']\ncloze = 'likelihood'\nseed = 1\nbatch = 8\n{more}");
        EvaluationRecipe::from_table(toml::from_str(&text).unwrap()).unwrap()
    }

    fn open(recipe: &EvaluationRecipe) -> Benchmarks {
        Benchmarks::open(recipe, &EmojiCorpus::embedded().unwrap(), Path::new("")).unwrap()
    }

    #[test]
    fn items_are_parallel_and_limited() {
        let recipe = recipe("seen = 20\nunseen = 10\ncaptions = 5\nyes_no = 3\nanalysis = 4");
        let benchmarks = open(&recipe);
        let asked: Vec<(&str, usize)> = benchmarks.iter().map(|b| (b.name(), b.questions().len())).collect();
        // near ones may be fewer; far: 20 and 10 concepts, with and without the picture, in two languages
        assert_eq!(asked[1..], [("yes_no", 3 * 2 * 2), ("caption", 5 * 2 * 2)]);
        let cloze: &dyn Benchmark = benchmarks.iter().next().unwrap();
        let names = |language: &str| -> BTreeSet<String> {
            let ids = cloze.questions().iter().filter_map(|question| question.id.strip_suffix(language));
            ids.map(str::to_owned).collect()
        };
        assert_eq!(names("/en"), names("/de"));
        assert_eq!(names("/en").iter().filter(|id| id.contains("/far/") && !id.contains("unseen")).count(), 20);
        let samples = analysis_samples(&EmojiCorpus::embedded().unwrap(), &recipe).unwrap();
        assert_eq!(samples.len(), 4 * 2);
        assert_eq!(samples[0].group, samples[1].group);
    }

    #[test]
    fn test_and_validation_items_share_no_concept() {
        let pictures = |more: &str| -> BTreeSet<String> {
            let benchmarks = open(&recipe(&format!("seen = 0\nunseen = 0\n{more}")));
            let media = benchmarks.iter().flat_map(|benchmark| benchmark.questions()).flat_map(|q| &q.media);
            media.map(|medium| format!("{medium:?}")).collect()
        };
        assert!(pictures("").is_disjoint(&pictures("validation = true")));
    }
}
