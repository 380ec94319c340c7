//! What `--dry-run` says of a recipe before it runs: parameters, samples, tokens, steps, operations, memory.
//!
//! Unusual here: nothing is allocated and nothing need be downloaded. Parts are read from their config.json, or from shapes that ship;
//! samples from the data, or from what a mixture declares; what is assumed is said.

mod flops;
mod machine;
mod memory;
mod rate;
mod report;
mod samples;
mod shapes;

pub use flops::Flops;
pub use machine::{KNOWN_DEVICES, KnownDevice, Machine};
pub use memory::{Host, Memory};
pub use rate::{EFFICIENCY, matmul_rate, matmul_rate_of};
pub use report::{bytes, flop, time};
pub use samples::{Assumptions, SampleEstimate};
pub use shapes::{PartShape, ShippedShape};

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use burn_vlm::checkpoint::StoreDtype;
use burn_vlm::count::parameter_shapes;
use burn_vlm::init::Scope;
use burn_vlm::nn::Precision;
use burn_vlm::vlm::VlmConfig;
use burn_vlm_data::batching::Strategy;

use self::flops::Trained;
use self::shapes::Shapes;
use super::adapters::infos;
use crate::error::{Result, TrainError};
use crate::optim::{LearningRates, PartReport};
use crate::params::ParamInfo;
use crate::pretrain::Context;
use crate::recipe::{ObjectiveKind, Recipe, StageRecipe};

/// What an estimate is made from.
pub struct EstimateInput<'a> {
    /// The embedded corpus and the number of workers; nothing is computed on the device.
    pub context: &'a Context,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where its relative paths begin.
    pub base: &'a Path,
    /// Folder of parts.
    pub parts: &'a Path,
    /// Shapes of parts that are not there.
    pub shapes: &'a [ShippedShape],
    /// What is taken for granted where no data is there to look at.
    pub assumptions: Assumptions,
}

/// A recipe's estimate.
#[derive(Debug, Clone)]
pub struct RunEstimate {
    /// Vision tower and language model.
    pub parts: [PartShape; 2],
    /// The VLM made of them.
    pub config: VlmConfig,
    /// Its parameters, the connector's among them.
    pub parameters: u64,
    /// Whether the recipe starts from a whole model, whose connector is kept.
    pub whole: bool,
    /// Element type of its matrix products.
    pub precision: Precision,
    /// Its stages in their order.
    pub stages: Vec<StageEstimate>,
}

/// A stage's estimate. Figures are those of an optimizer step unless they say otherwise.
#[derive(Debug, Clone)]
pub struct StageEstimate {
    /// Its name.
    pub name: String,
    /// What is trained and what is frozen.
    pub parts: Vec<PartReport>,
    /// What is to be said of its adapters, if anything.
    pub remark: Option<String>,
    /// Samples of a step.
    pub samples_per_step: usize,
    /// Its samples on average, and where that is known from.
    pub sample: SampleEstimate,
    /// The largest micro-batch.
    pub micro: MicroBatch,
    /// Steps; `None` where the number of samples is not known.
    pub steps: Option<usize>,
    /// Floating-point operations.
    pub flops: Flops,
    /// Bytes on the device.
    pub memory: Memory,
    /// What the activations would take without gradient checkpointing, or with it where it is off.
    pub other_activations: u64,
    /// Bytes on the host, besides the model if that is computed there.
    pub host: Host,
}

/// What goes through the model at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MicroBatch {
    /// Samples.
    pub samples: f64,
    /// Tokens, visual ones counted.
    pub tokens: f64,
    /// Pictures and tiles.
    pub views: f64,
    /// How many make a step.
    pub count: f64,
}

impl StageEstimate {
    /// Samples of the whole stage in each language, by tag; none where its length or its languages are not known.
    pub fn samples_by_language(&self) -> Option<BTreeMap<String, u64>> {
        let samples = (self.steps? * self.samples_per_step) as f64;
        let languages = &self.sample.languages;
        let count = |(tag, share): (&String, &f64)| (tag.clone(), (share * samples).round() as u64);
        (!languages.is_empty()).then(|| languages.iter().map(count).collect())
    }

    /// Tokens of a step, visual ones counted.
    pub fn tokens_per_step(&self) -> f64 {
        self.sample.tokens() * self.samples_per_step as f64
    }
}

/// Estimates a run.
///
/// # Errors
/// A part that is neither there nor among the shapes, a mixture file that cannot be read, a pattern that matches no parameter.
pub fn estimate_run(input: &EstimateInput<'_>) -> Result<RunEstimate> {
    let shapes = Shapes::of(input)?;
    let stages = input.recipe.stages.iter().map(|name| {
        let stage = input.recipe.stage.get(name);
        let stage = stage.ok_or_else(|| TrainError::Recipe(format!("there is no [stage.{name}]")))?;
        stage_estimate(input, &shapes, name, stage)
    });
    let stages = stages.collect::<Result<Vec<_>>>()?;
    let parameters = shapes.config.num_parameters()?;
    let precision = input.recipe.compute.precision;
    Ok(RunEstimate { parts: shapes.parts, config: shapes.config, parameters, whole: shapes.whole, precision, stages })
}

/// Checks that every pattern of the stages' `train` tables names a parameter, without weights: what takes a moment for all cells of a
/// study, before the first is trained. Parts whose parameters cannot be listed (one's own) are checked when their cell begins.
///
/// # Errors
/// A pattern that matches no parameter, with its stage.
pub fn check_patterns(input: &EstimateInput<'_>) -> Result<()> {
    let Ok(shapes) = Shapes::of(input) else { return Ok(()) };
    for (name, stage) in input.recipe.stages.iter().filter_map(|name| Some((name, input.recipe.stage.get(name)?))) {
        if shapes.config.parameters().is_err() {
            return Ok(());
        }
        rates_of(name, stage, &shapes.config)?;
    }
    Ok(())
}

/// What a stage may train, its adapters among it, and its learning rates.
fn parameters(config: &VlmConfig, stage: &StageRecipe) -> Result<(LearningRates, Vec<ParamInfo>)> {
    let scope = || Scope::shapes(&Device::default());
    let Some(lora) = &stage.lora else {
        let listed = match stage.objective {
            ObjectiveKind::Text => config.text_config.parameters()?,
            _ => config.parameters()?,
        };
        return Ok((LearningRates::of_stage(stage, &[])?, infos(listed)));
    };
    let plain = burn_vlm::checkpoint::parameters(&config.init_with(&scope())?);
    let adapted = config.init_with(&scope().with_adapters(&lora.plan(&plain)?))?;
    Ok((LearningRates::of_stage(stage, &plain)?, infos(parameter_shapes(&adapted))))
}

/// A stage's learning rates, checked, and its parameters.
fn rates_of(name: &str, stage: &StageRecipe, config: &VlmConfig) -> Result<(LearningRates, Vec<ParamInfo>)> {
    let (rates, params) = parameters(config, stage).map_err(TrainError::in_stage(name))?;
    rates.check(&params).map_err(TrainError::in_stage(name))?;
    Ok((rates, params))
}

fn stage_estimate(
    input: &EstimateInput<'_>,
    shapes: &Shapes,
    name: &str,
    stage: &StageRecipe,
) -> Result<StageEstimate> {
    let config = &shapes.config;
    let (rates, params) = rates_of(name, stage, config)?;
    let halved = stage.lora.as_ref().is_some_and(|lora| lora.base != StoreDtype::F32);
    let frozen_bytes = if halved { 2 } else { 4 };
    let trained = Trained { frozen_bytes, ..Trained::of(config, &params, &rates, stage.objective) };
    let sample = samples::estimate(input, shapes, stage)?;
    let samples_per_step = stage.samples_per_step();
    let micro = micro_batch(stage, &sample);
    let steps = match sample.epoch {
        Some(epoch) => Some(stage.steps_over(name, epoch)?),
        None => stage.epochs.is_none().then_some(stage.steps),
    };
    let compute = &input.recipe.compute;
    let memory = |checkpointing| memory::estimate(config, &trained, &micro, &sample, compute, checkpointing);
    Ok(StageEstimate {
        name: name.to_owned(),
        parts: rates.report_params(&params),
        remark: rates.remark(&params),
        samples_per_step,
        micro,
        steps,
        flops: flops::estimate(config, &trained, &sample, compute.gradient_checkpointing)
            .times(samples_per_step as f64),
        memory: memory(compute.gradient_checkpointing),
        other_activations: memory(!compute.gradient_checkpointing).activations,
        host: memory::host(config, stage, &sample, input.context.workers),
        sample,
    })
}

/// The largest micro-batch: `batch` samples, or as many as fill the budget.
fn micro_batch(stage: &StageRecipe, sample: &SampleEstimate) -> MicroBatch {
    let per_step = stage.samples_per_step() as f64;
    let batching = stage.mixture.as_ref().map(|mixture| mixture.batching);
    let samples = match batching {
        None => stage.batch as f64,
        Some(batching) => {
            let most = if batching.strategy == Strategy::Sequential { stage.batch as f64 } else { per_step };
            let tokens = batching.max_tokens.map_or(f64::INFINITY, |max| max as f64 / sample.tokens().max(1.0));
            let images = batching.max_images.map_or(f64::INFINITY, |max| max as f64 / sample.pictures.max(1e-9));
            tokens.min(images).max(1.0).min(most)
        }
    };
    let tokens = samples * sample.tokens();
    MicroBatch { samples, tokens, views: samples * sample.views(), count: (per_step / samples).ceil() }
}

#[cfg(test)]
mod tests;
