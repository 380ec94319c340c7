//! The same steps on flex and on wgpu: a whole VLM training step (picture, tower, connector, decoder, AdamW) must not depend on the
//! backend beyond rounding, nor on block checkpointing, which is exact on either.
//!
//! `cargo test --release --features wgpu --test backends`; without a GPU, a software Vulkan driver does (see
//! docs/backends.md).
#![cfg(all(feature = "wgpu", feature = "flex"))]

use std::path::Path;

use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_experiments::{ENCODER, parse};
use burn_vlm_train::ablation::PatchRules;
use burn_vlm_train::assemble::assemble;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::{ComputeRecipe, Recipe, StageRecipe};
use burn_vlm_train::run::{DataOrigin, stage_objective};
use burn_vlm_train::trainer::{StageRun, train_stage};

/// Losses of order 1 to 10 after up to three updates; sums of thousands of f32 products in another order, and AdamW's
/// first steps (which divide small numbers by small numbers) differ by parts in a hundred thousand (3e-5 was seen).
const TOLERANCE: f32 = 5e-4;

/// Small, because a software driver needs a second for what a GPU does in a millisecond.
const BATCH: usize = 4;

fn losses(choice: DeviceChoice, steps: usize, compute: ComputeRecipe) -> Vec<f32> {
    let context =
        Context { corpus: EmojiCorpus::embedded().unwrap(), device: choose(choice).unwrap().device, workers: 1 };
    let device = context.device.clone().autodiff();
    let plan = parse(&ENCODER).unwrap().plan("smoke", None, &PatchRules::new()).unwrap();
    let recipe = Recipe::from_table(plan.cells[0].recipe.clone()).unwrap();
    let stage =
        StageRecipe { steps, batch: BATCH, log_every: 1, checkpoint_every: 0, ..recipe.stage["finetune"].clone() };
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts");
    let mut built = assemble(&recipe.model, &parts.join("siglip1"), &parts.join("backbone"), 0, &device).unwrap();
    compute.apply(&mut built.model);
    let folder = tempfile::tempdir().unwrap();
    let origin = DataOrigin::new(&context, &recipe, Path::new(""));
    let (stage, objective) = stage_objective(("finetune", &stage), origin, &built, folder.path(), 0).unwrap();
    let run = StageRun {
        name: "steps",
        recipe: &stage,
        folder: folder.path(),
        fingerprint: "backends",
        device: &device,
        replicas: &[],
        workers: 1,
        reporter: &Reporter::capture(),
        observer: None,
    };
    let (_, result) = train_stage(&run, objective, built.model).unwrap();
    result.log.iter().map(|entry| entry.loss).collect()
}

fn near(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (step, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * a.abs(), "step {}: {a} and {b}", step + 1);
    }
}

#[test]
fn flex_and_wgpu_give_the_same_first_losses() {
    let plain = ComputeRecipe::default();
    let (flex, wgpu) = (losses(DeviceChoice::Flex, 3, plain), losses(DeviceChoice::Wgpu, 3, plain));
    println!("flex {flex:?}\nwgpu {wgpu:?}");
    assert_eq!(flex.len(), 3);
    near(&flex, &wgpu);
    // the second step's loss has the first one's gradients in it
    let saving = ComputeRecipe { gradient_checkpointing: true, images_per_chunk: Some(2), ..plain };
    let saved = losses(DeviceChoice::Wgpu, 2, saving);
    println!("wgpu, checkpointing and chunks {saved:?}");
    near(&saved, &wgpu[..2]);
}
