//! Next-token loss of a language model on text-only conversations: how a backbone is pretrained.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::language::{AttentionInput, LanguageModel};

use super::{ConversationBatch, Conversations};
use crate::error::Result;
use crate::trainer::{BatchSize, Objective};

/// Text-only conversations and the loss on their answers.
pub struct TextObjective {
    conversations: Conversations,
}

impl TextObjective {
    /// Wraps the samples.
    pub fn new(conversations: Conversations) -> Self {
        Self { conversations }
    }
}

/// `[batch, tokens]` ids as a tensor.
pub(super) fn ids_tensor(batch: &ConversationBatch, device: &Device) -> Tensor<2, Int> {
    let shape = [batch.text.batch, batch.text.tokens];
    Tensor::from_data(TensorData::new(batch.text.ids.clone(), shape), device)
}

/// A list of integers as a tensor.
pub(super) fn int_tensor(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

impl Objective for TextObjective {
    type Model = LanguageModel;
    type Item = ConversationBatch;
    type Batch = ConversationBatch;

    fn item(&self, index: usize) -> Result<ConversationBatch> {
        Ok(self.conversations.batch(index))
    }

    fn micro_batches(&self, _first: usize, items: Vec<ConversationBatch>) -> Result<Vec<ConversationBatch>> {
        Ok(items)
    }

    fn ids(&self, index: usize) -> Vec<String> {
        self.conversations.ids(index)
    }

    fn size(batch: &ConversationBatch) -> BatchSize {
        let tokens = batch.text.lengths.iter().sum();
        BatchSize { weight: batch.targets.len() as f64, tokens, images: 0 }
    }

    fn loss(&self, model: &LanguageModel, batch: ConversationBatch, device: &Device) -> Result<Tensor<1>> {
        let embeds = model.embed(ids_tensor(&batch, device));
        let rows = int_tensor(&batch.target_rows, device);
        let targets = int_tensor(&batch.targets, device);
        // padding is on the right, so that the causal mask alone keeps it from every real position
        let hidden = model.forward(embeds, &AttentionInput::contiguous(), None)?;
        Ok(model.target_losses(hidden, rows, targets).sum())
    }
}
