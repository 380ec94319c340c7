//! `[compute]`: how a model is computed, not what: element type, memory against time.

use burn_vlm::connector::Projector;
use burn_vlm::language::LanguageModel;
use burn_vlm::nn::Precision;
use burn_vlm::vision::VisionTower;
use burn_vlm::vlm::Vlm;
use serde::{Deserialize, Serialize};

/// Precision and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeRecipe {
    /// `f32`, or `bf16` with master weights, reductions and optimizer in f32.
    pub precision: Precision,
    /// Keep only the input of each block and compute the rest again in the backward pass.
    pub gradient_checkpointing: bool,
    /// Pictures (or tiles) that the vision tower takes at once; absent, all of a micro-batch.
    pub images_per_chunk: Option<usize>,
}

impl ComputeRecipe {
    /// Whether nothing is asked for.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Sets up a VLM.
    pub fn apply<T: VisionTower, P: Projector>(&self, model: &mut Vlm<T, P>) {
        model.set_precision(self.precision);
        model.set_gradient_checkpointing(self.gradient_checkpointing);
        model.images_per_chunk = self.images_per_chunk;
    }

    /// Sets up a language model alone.
    pub fn apply_to_language_model(&self, model: &mut LanguageModel) {
        model.set_precision(self.precision);
        model.set_gradient_checkpointing(self.gradient_checkpointing);
    }
}
