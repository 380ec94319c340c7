//! Backbones that begin with another: continued pretraining and instruction tuning, as a study's parts are made.

use std::path::Path;

use burn::tensor::Device;
use burn_vlm::language::LanguageConfig;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_train::log::StepLog;
use burn_vlm_train::pretrain::{Context, PartPlaces, is_made_from, pretrain_part};
use burn_vlm_train::recipe::{PartRecipe, Recipe, StageRecipe, read_recipe};

/// A rate at which f16 weights do not change in one step.
const STANDING_STILL: f64 = 1e-12;
/// Steps in which a new model learns which words there are at all: the loss falls from ln 600 = 6.4 to below 5.
const STEPS: usize = 30;

/// The shipped recipe with two languages and a vocabulary of 600.
fn recipe() -> Recipe {
    let mut recipe =
        read_recipe(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/towervision-tiny.toml"), &[]).unwrap();
    recipe.tokenizer.vocab_size = 600;
    recipe.tokenizer.languages = vec![Language::EN, Language::DE];
    for part in recipe.part.values_mut() {
        let PartRecipe::Backbone { model, stage, .. } = part else { continue };
        set_vocab_size(model, 600);
        stage.data.languages = vec![Language::EN, Language::DE];
        (stage.steps, stage.batch, stage.log_every, stage.checkpoint_every) = (STEPS, 16, 1, 0);
    }
    recipe
}

fn set_vocab_size(model: &mut LanguageConfig, rows: usize) {
    match model {
        LanguageConfig::Gemma2(config) => config.vocab_size = rows,
        other => panic!("{other:?} is no Gemma 2"),
    }
}

fn stage<'a>(recipe: &'a mut Recipe, name: &str) -> &'a mut StageRecipe {
    match recipe.part.get_mut(name) {
        Some(PartRecipe::Backbone { stage, .. }) => stage,
        _ => panic!("{name} is no backbone"),
    }
}

fn make(recipe: &Recipe, name: &str, folder: &Path, from: Option<&str>) {
    let context = Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 };
    let (from, work, out) =
        (from.map(|from| folder.join(from)), folder.join(format!("work-{name}")), folder.join(name));
    let places = PartPlaces { begin_from: from.as_deref(), work: &work, out: &out };
    pretrain_part(&context, recipe, name, places, &Reporter::new(true)).unwrap();
}

fn losses(folder: &Path) -> Vec<f32> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<StepLog>(line).unwrap().loss).collect()
}

#[test]
fn a_part_goes_on_from_the_weights_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    let rates = &mut stage(&mut recipe, "tower-pt").train;
    rates.values_mut().for_each(|rate| *rate = STANDING_STILL);
    stage(&mut recipe, "tower-pt").steps = 1;
    make(&recipe, "base-pt", folder.path(), None);
    make(&recipe, "tower-pt", folder.path(), Some("base-pt"));
    let weights = |name: &str| std::fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    assert!(weights("base-pt") == weights("tower-pt"), "the continued part did not begin with the other's weights");
    // Texts without roles and translations differ, but a model that has read for a while is better at them than a new one.
    let (first, continued) = (losses(&folder.path().join("base-pt")), losses(&folder.path().join("tower-pt")));
    assert_eq!(first.len(), STEPS);
    assert!(first[0] > 6.0 && first[STEPS - 1] < 5.0 && continued[0] < first[0] - 0.5, "{first:?} {continued:?}");
}

#[test]
fn a_part_knows_what_it_was_made_from() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    stage(&mut recipe, "base-pt").steps = 1;
    make(&recipe, "base-pt", folder.path(), None);
    let made = folder.path().join("base-pt");
    assert!(is_made_from(&made, &recipe, "base-pt").unwrap());
    stage(&mut recipe, "base-pt").steps = 2;
    assert!(!is_made_from(&made, &recipe, "base-pt").unwrap());
    // The shipped parts are those of the shipped recipe.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = read_recipe(&root.join("recipes/towervision-tiny.toml"), &[]).unwrap();
    for name in shipped.part.keys() {
        assert!(is_made_from(&root.join("parts").join(name), &shipped, name).unwrap(), "{name}");
    }
}

#[test]
fn another_shape_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    stage(&mut recipe, "base-pt").steps = 1;
    make(&recipe, "base-pt", folder.path(), None);
    match recipe.part.get_mut("tower-pt") {
        Some(PartRecipe::Backbone { model, .. }) => set_vocab_size(model, 700),
        _ => panic!("tower-pt is no backbone"),
    }
    let context = Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 };
    let (from, work, out) = (folder.path().join("base-pt"), folder.path().join("work"), folder.path().join("tower-pt"));
    let places = PartPlaces { begin_from: Some(&from), work: &work, out: &out };
    let error = pretrain_part(&context, &recipe, "tower-pt", places, &Reporter::new(true)).unwrap_err().to_string();
    assert!(error.contains("[part.tower-pt]") && error.contains("base-pt"), "{error}");
}
