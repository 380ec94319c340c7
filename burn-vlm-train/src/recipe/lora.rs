//! `lora` of a stage: adapters in place of weights.

use burn_vlm::checkpoint::{Parameter, StoreDtype};
use burn_vlm::lora::{LoraConfig, LoraPlan};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// Low-rank adapters on frozen weights (LoRA, DoRA), which `train` gives their learning rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraRecipe {
    /// The rank.
    pub r: usize,
    /// The factor on what an adapter gives is `alpha / r`.
    pub alpha: f64,
    /// Probability that an element of an adapter's input is dropped in training.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Parts (`language_model`, `vision_tower`, `multi_modal_projector`: all their linear layers but the head), ends of layers' paths
    /// (`q_proj`), or paths with `*`.
    pub targets: Vec<String>,
    /// The factor is `alpha / sqrt(r)`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rslora: bool,
    /// The lengths of the weights' columns are trained apart from their directions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dora: bool,
    /// Modules that are trained as a whole, and stored with the adapters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,
    /// What the frozen weights are held in: `bf16` takes half the memory.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub base: StoreDtype,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn is_f32(dtype: &StoreDtype) -> bool {
    *dtype == StoreDtype::F32
}

impl LoraRecipe {
    fn config(&self) -> LoraConfig {
        let Self { r, alpha, dropout, rslora, dora, .. } = *self;
        LoraConfig { r, alpha, dropout, rslora, dora }
    }

    /// What is wrong with the numbers, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        self.config().check().err()
    }

    /// The layers that have adapters in a model of these parameters.
    ///
    /// # Errors
    /// A name that means nothing in the model, with those that do.
    pub fn plan(&self, parameters: &[Parameter]) -> Result<LoraPlan> {
        LoraPlan::resolve(self.config(), &self.targets, &self.modules_to_save, parameters)
            .map_err(|problem| TrainError::Recipe(format!("`lora`: {problem}")))
    }
}
