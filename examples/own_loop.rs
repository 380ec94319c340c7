//! A loop of your own, with Burn's data loader and optimizer: `cargo run --release --features burn-train --example own_loop`
//!
//! The loader reads a source and makes batches; Burn's step traits give losses and gradients. Nothing here knows our trainer.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoaderBuilder;
use burn::module::Module;
use burn::optim::AdamWConfig;
use burn_train::{InferenceStep, TrainStep};
use burn_vlm::{connector::Connector, vision::VisionEncoder};
use burn_vlm_data::{dataset::SourceDataset, emoji::EmojiCorpus, language::Language, tasks};
use burn_vlm_experiments::{AnyError, arguments};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::learn::{SampleBatcher, VlmLearner};
use burn_vlm_train::{assemble::assemble, recipe::read_recipe};

const STEPS: usize = 60;
const HELD_OUT: usize = 64;

const HELP: &str = "Trains with Burn's data loader and optimizer in a loop of one's own, for a minute: no options";

fn main() -> Result<(), AnyError> {
    if arguments(HELP, 0)?.is_none() {
        return Ok(());
    }
    let device = choose(DeviceChoice::Auto)?.device.autodiff();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipe = read_recipe(&root.join("recipes/tiny.toml"), &[])?;
    let (encoder, backbone) = (root.join("parts/siglip2"), root.join("parts/backbone"));
    let assembled = assemble::<VisionEncoder, Connector>(&recipe.model, &encoder, &backbone, 0, &device)?;

    // Any `Source` will do: files in LLaVA's JSON, parquet, WebDataset or TSV (`FileSource`), a list, or one of your own.
    let english = [Language::EN];
    let corpus = EmojiCorpus::embedded()?;
    let settings = tasks::TaskSettings::default();
    let source = tasks::training_source(&corpus, tasks::Task::Caption, Language::EN, &english, &english, 0, &settings)?;
    let batcher = SampleBatcher::for_model(&assembled)?;
    let loader = DataLoaderBuilder::new(batcher.clone()).batch_size(32).shuffle(1).num_workers(1);
    let loader = loader.build(SourceDataset(Arc::new(source)));
    let split = loader.num_items() - HELD_OUT;
    let (train, valid) = (loader.slice(0, split), loader.slice(split, split + HELD_OUT));

    let mut model = VlmLearner { vlm: assembled.model };
    model.vlm.vision_tower = model.vlm.vision_tower.no_grad();
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).init();
    for (step, batch) in train.iter().take(STEPS).enumerate() {
        let output = TrainStep::step(&model, batch?);
        if step % 10 == 0 {
            println!("step {step:>3}  loss {:.3}", output.item.losses.mean().into_scalar::<f32>());
        }
        model = optimizer.step(5e-4, model, output.grads);
    }
    let (model, mut losses) = (model.valid(), Vec::new());
    for batch in valid.iter() {
        losses.extend(InferenceStep::step(&model, batch?).losses.into_data().iter::<f32>());
    }
    let mean = losses.iter().sum::<f32>() / losses.len() as f32;
    println!("validation {mean:.3} on {HELD_OUT} samples; {} left out", batcher.left_out().total());
    Ok(())
}
