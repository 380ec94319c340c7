//! The translator of a study's cells: their backbone as it is before training on pictures.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_base::files::{read_json, write_json_atomic};

use super::job::Asking;
use crate::assemble::assemble;
use crate::error::{Result, TrainError};
use crate::eval::{Dictionary, PivotRecipe, Scorer, Translator, Untranslated, translate_by};
use crate::run::part_state;

/// In the store: pairs of what was asked and its translation.
const FILE: &str = "translations.json";

/// Translates by the backbone of a cell; what one cell has translated, others with the same backbone take.
pub(super) struct BackboneTranslator<'a, T: VisionTower, P: Projector> {
    asking: &'a Asking<'a, T, P>,
    recipe: &'a PivotRecipe,
    /// Hash of the translator and its prompt.
    identity: String,
    /// Made when something is to be translated for the first time.
    scorer: Option<Scorer<T, P>>,
    took: Duration,
}

impl<'a, T: VisionTower, P: Projector> BackboneTranslator<'a, T, P> {
    pub(super) fn new(asking: &'a Asking<'a, T, P>, recipe: &'a PivotRecipe) -> Result<Self> {
        let backbone = part_state(&asking.parts.backbone)?;
        let settings = serde_json::to_string(recipe).map_err(|error| TrainError::Recipe(error.to_string()))?;
        let (end, compute) = (asking.recipe.model.answer_end, &asking.recipe.compute);
        let identity = format!("{backbone} {settings} {end:?} {compute:?} {}", asking.job.made_by());
        Ok(Self { asking, recipe, identity, scorer: None, took: Duration::ZERO })
    }

    /// How long translating has taken so far, reading what others have translated included.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    fn scorer(&mut self) -> Result<&Scorer<T, P>> {
        let scorer = match self.scorer.take() {
            Some(scorer) => scorer,
            None => {
                let Asking { job, parts, recipe, .. } = self.asking;
                let device = &job.context.device;
                let mut whole = assemble::<T, P>(&recipe.model, &parts.encoder, &parts.backbone, recipe.seed, device)?;
                // In the precision in which the cell's model is asked.
                recipe.compute.apply(&mut whole.model);
                self.asking.text_scorer(&whole.model)?
            }
        };
        Ok(self.scorer.insert(scorer))
    }
}

impl<T: VisionTower, P: Projector> Translator for BackboneTranslator<'_, T, P> {
    fn translate(&mut self, wanted: &BTreeSet<Untranslated>) -> Result<Dictionary> {
        if wanted.is_empty() {
            return Ok(Dictionary::new());
        }
        let began = Instant::now();
        let lines = serde_json::to_string(wanted).map_err(|error| TrainError::Recipe(error.to_string()))?;
        let key = blake3::hash(format!("{} {lines}", self.identity).as_bytes()).to_hex();
        let (store, reporter, recipe) = (self.asking.job.store.clone(), self.asking.reporter, self.recipe);
        let made = store.get_or_make(&key, "translations", reporter, |making| {
            let bar = reporter.bar("translation", wanted.len() as u64);
            let told = &mut |done: usize| bar.set_of(done as u64, wanted.len() as u64, "lines");
            let known = translate_by(self.scorer()?, recipe, wanted, told)?;
            let pairs: Vec<(&Untranslated, &String)> = known.iter().collect();
            Ok(write_json_atomic(&making.folder().join(FILE), &pairs)?)
        })?;
        let pairs: Vec<(Untranslated, String)> = read_json(&made.join(FILE))?;
        self.took += began.elapsed();
        Ok(pairs.into_iter().collect())
    }
}
