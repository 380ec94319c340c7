//! Next-token loss of a language model on text-only conversations: how a backbone is pretrained.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_vlm::language::LanguageModel;

use super::losses::BatchLoss;
use super::validation::{HeldOut, Validation};
use super::vlm::{attention, grid, int_tensor, on_samples};
use super::{Batch, SampleStream};
use crate::error::Result;
use crate::trainer::Objective;

/// Text-only conversations and the loss on their answers.
pub struct TextObjective {
    samples: Arc<SampleStream>,
    held_out: Option<HeldOut>,
}

impl TextObjective {
    /// The loss on a stream.
    pub fn new(samples: SampleStream) -> Self {
        Self { samples: Arc::new(samples), held_out: None }
    }

    /// Validates on samples that are held out.
    pub fn with_validation(self, held_out: Option<HeldOut>) -> Self {
        Self { held_out, ..self }
    }
}

/// The next-token loss of each target, `[targets]`.
fn losses(model: &LanguageModel, batch: Batch, device: &Device) -> Result<Tensor<1>> {
    let rows = int_tensor(&batch.target_rows, device);
    let targets = int_tensor(&batch.targets, device);
    let attention = attention(batch.packed, &batch.text, device);
    let embeds = model.embed(grid(batch.text.ids, (batch.text.batch, batch.text.tokens), device));
    let hidden = model.forward(embeds, &attention, None)?;
    Ok(model.target_losses(hidden, rows, targets))
}

impl Objective for TextObjective {
    type Model = LanguageModel;

    on_samples!();

    fn loss(&self, model: &LanguageModel, batch: Batch, device: &Device) -> Result<Tensor<1>> {
        Ok(losses(model, batch, device)?.sum())
    }

    fn batch_loss(&self, model: &LanguageModel, batch: Batch, device: &Device) -> Result<BatchLoss> {
        BatchLoss::of_targets(batch, |batch| losses(model, batch, device))
    }

    fn validate(&self, model: &LanguageModel, device: &Device) -> Result<Option<Validation>> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        let (model, device) = (model.valid(), device.clone().inner());
        held_out.validate(&self.samples, |batch| losses(&model, batch, &device)).map(Some)
    }
}
