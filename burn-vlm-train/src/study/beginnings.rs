//! Which stages cells of a study have in common: those up to which their recipes are the same.

use std::collections::BTreeMap;

use crate::error::{Result, TrainError};
use crate::pretrain::part_fingerprint;
use crate::recipe::Recipe;

/// How many cells of a plan begin with the same stages.
#[derive(Debug, Default)]
pub(super) struct SharedBeginnings(BTreeMap<String, usize>);

impl SharedBeginnings {
    /// Of the [`beginnings`] of every cell.
    pub(super) fn of(cells: Vec<Vec<String>>) -> Self {
        let mut counts = BTreeMap::new();
        cells.into_iter().flatten().for_each(|beginning| *counts.entry(beginning).or_default() += 1);
        Self(counts)
    }

    /// With how many of its stages another cell begins too. One that shares a stage shares those before it.
    pub(super) fn count(&self, beginnings: &[String]) -> usize {
        beginnings.iter().take_while(|beginning| self.0.get(*beginning).is_some_and(|count| *count > 1)).count()
    }
}

/// For each stage of a recipe a hash of everything that decides on the model after it, of what stands in the recipe: parts, seed, and
/// the stages up to this one. (What the files of parts and data hold is the same for all cells of a run.)
pub(super) fn beginnings(recipe: &Recipe, from_scratch: bool) -> Result<Vec<String>> {
    let Recipe { model, seed, compute, tokenizer, .. } = recipe;
    let part = |name: &str| from_scratch.then(|| part_fingerprint(recipe, name)).transpose();
    let parts = (part(model.encoder_part())?, part(model.backbone_part())?);
    // One stage's validation holds records out of all stages.
    let mut beginning = format!("{:?}", (model, seed, compute, tokenizer, parts, recipe.held_out_share()));
    let mut all = Vec::with_capacity(recipe.stages.len());
    for name in &recipe.stages {
        let stage = recipe.stage.get(name);
        let stage = stage.ok_or_else(|| TrainError::Recipe(format!("there is no [stage.{name}]")))?;
        beginning = blake3::hash(format!("{beginning} {name} {stage:?}").as_bytes()).to_hex().to_string();
        all.push(beginning.clone());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "stages = ['align', 'finetune']\nseed = 1\n[model]\nencoder = 'siglip1'\nbackbone = 'backbone'\n\
        [stage.align]\nobjective = 'vlm'\nsteps = 4\nbatch = 8\ntrain = { a = 1e-3 }\nlog_every = 1\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n\
        [stage.finetune]\nobjective = 'vlm'\nsteps = 8\nbatch = 8\ntrain = { a = 1e-3 }\nlog_every = 1\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n";

    fn of(text: &str) -> Vec<String> {
        beginnings(&Recipe::from_table(toml::from_str(text).unwrap()).unwrap(), false).unwrap()
    }

    /// With how many stages two recipes begin alike.
    fn alike(a: &str, b: &str) -> usize {
        let (a, b) = (of(a), of(b));
        assert_eq!((a.len(), b.len()), (2, 2));
        let shared = SharedBeginnings::of(vec![a.clone(), b.clone()]);
        assert_eq!(shared.count(&a), shared.count(&b));
        shared.count(&a)
    }

    #[test]
    fn recipes_are_alike_up_to_what_differs() {
        assert_eq!(alike(RECIPE, RECIPE), 2);
        assert_eq!(alike(RECIPE, &RECIPE.replace("steps = 8", "steps = 9")), 1);
        for (from, to) in [
            ("steps = 4", "steps = 5"),
            ("seed = 1", "seed = 2"),
            ("'siglip1'", "'siglip2'"),
            ("[model]", "[tokenizer]\nlanguages = ['en']\nvocab_size = 300\n[model]"),
            // What the second stage holds out, the first does not train on.
            ("steps = 8", "steps = 8\neval_every = 4\nvalidation = { share = '5%' }"),
        ] {
            assert!(RECIPE.contains(from));
            assert_eq!(alike(RECIPE, &RECIPE.replace(from, to)), 0, "{to}");
        }
    }

    #[test]
    fn a_cell_alone_shares_nothing() {
        let own = of(RECIPE);
        assert_eq!(SharedBeginnings::of(vec![own.clone()]).count(&own), 0);
        assert_eq!(SharedBeginnings::default().count(&own), 0);
    }
}
