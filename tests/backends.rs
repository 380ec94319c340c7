//! The same three steps on flex and on wgpu: a whole VLM training step (picture, tower, connector, decoder, AdamW) must
//! not depend on the backend beyond rounding.
//!
//! `cargo test --release --features wgpu --test backends`; without a GPU, a software Vulkan driver does (see
//! docs/backends.md).
#![cfg(all(feature = "wgpu", feature = "flex"))]

use std::path::Path;
use std::sync::Arc;

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_experiments::ENCODER;
use burn_vlm_train::ablation::{PatchRules, Reporter, Study};
use burn_vlm_train::assemble::assemble;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::objective::{ConversationPlan, Conversations, VisualSource, VlmObjective};
use burn_vlm_train::pictures::Pictures;
use burn_vlm_train::recipe::{Recipe, StageRecipe};
use burn_vlm_train::trainer::{StageRun, train_stage};

/// Losses of order 1 to 10 after up to three updates; sums of thousands of f32 products in another order, and AdamW's
/// first steps (which divide small numbers by small numbers) differ by parts in a hundred thousand (3e-5 was seen).
const TOLERANCE: f32 = 5e-4;

/// Small, because a software driver needs a second for what a GPU does in a millisecond.
const BATCH: usize = 4;

fn losses(choice: DeviceChoice) -> Vec<f32> {
    let device = choose(choice).unwrap().device.autodiff();
    let study = parse(&ENCODER).unwrap();
    let plan = study.plan("smoke", None, &PatchRules::new()).unwrap();
    let recipe = Recipe::from_table(plan.cells[0].recipe.clone()).unwrap();
    let stage =
        StageRecipe { steps: 3, batch: BATCH, log_every: 1, checkpoint_every: 0, ..recipe.stage["finetune"].clone() };
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts");
    let built = assemble(&recipe.model, &parts.join("siglip1"), &parts.join("backbone"), 0, &device).unwrap();
    let corpus = EmojiCorpus::embedded().unwrap();
    let size = built.model.config.vision_config.image_size();
    let pictures = Arc::new(Pictures::new(corpus.clone(), size).unwrap());
    let shape = [built.model.config.num_visual_tokens(), built.model.config.feature_width()];
    let plan = ConversationPlan {
        data: &stage.data,
        parallel: &recipe.tokenizer.languages,
        image_tokens: shape[0],
        user_turns: false,
        max_tokens: stage.max_tokens,
        batch: BATCH,
        seed: 0,
    };
    let conversations = Conversations::new(&corpus, &built.tokenizer, &built.template, &plan).unwrap();
    let source = VisualSource::Pixels { pictures, augment: true };
    let objective = Arc::new(VlmObjective::<Vlm>::new(conversations, source, shape, size, 0));
    let folder = tempfile::tempdir().unwrap();
    let run = StageRun {
        name: "three steps",
        recipe: &stage,
        folder: folder.path(),
        fingerprint: "backends",
        device: &device,
        workers: 1,
        reporter: &Reporter::capture(),
    };
    let (_, result) = train_stage(&run, objective, built.model).unwrap();
    result.log.iter().map(|entry| entry.loss).collect()
}

#[test]
fn flex_and_wgpu_give_the_same_first_losses() {
    let (flex, wgpu) = (losses(DeviceChoice::Flex), losses(DeviceChoice::Wgpu));
    println!("flex {flex:?}\nwgpu {wgpu:?}");
    assert_eq!(flex.len(), 3);
    for (step, (a, b)) in flex.iter().zip(&wgpu).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * a.abs(), "step {}: flex {a}, wgpu {b}", step + 1);
    }
}
