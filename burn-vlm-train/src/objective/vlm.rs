//! Next-token loss of a VLM on the answers to questions about pictures.
//!
//! Unusual here: where the vision tower is frozen, its features of every picture and view may have been computed once
//! ([`FeatureBank`]); a batch then carries features in the place of pixels and the tower does not run at all.

use std::sync::Arc;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use burn_vlm::connector::{Connector, TextScope};
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_data::collate::TextBatch;
use burn_vlm_data::random::mix;

use super::text::{ids_tensor, int_tensor};
use super::{ConversationBatch, Conversations};
use crate::error::{Result, TrainError};
use crate::features::FeatureBank;
use crate::pictures::Pictures;
use crate::trainer::{BatchSize, Objective};

/// What a batch knows of its pictures.
#[derive(Debug, Clone)]
pub enum Visual {
    /// `[images, 3, size, size]`.
    Pixels(Vec<f32>),
    /// `[images, tokens, width]`, as `Vlm::encode_images` returns them.
    Features(Vec<f32>),
}

/// One micro-batch with its pictures.
#[derive(Debug, Clone)]
pub struct VlmBatch {
    /// Ids, lengths, targets.
    pub text: ConversationBatch,
    /// Number of pictures.
    pub images: usize,
    /// Pixels or features of the pictures.
    pub visual: Visual,
    /// Seed of the noise on the features, which is made on the host and so is the same on every backend.
    pub noise_seed: u64,
}

/// Where pictures come from.
pub enum VisualSource {
    /// Decoded, augmented and sent through the tower in every step.
    Pixels {
        /// The pictures.
        pictures: Arc<Pictures>,
        /// Whether to augment.
        augment: bool,
    },
    /// Features that were computed once.
    Features(Arc<FeatureBank>),
}

/// Questions about pictures and the loss on their answers.
pub struct VlmObjective {
    conversations: Conversations,
    source: VisualSource,
    /// Tokens and width of one picture's features.
    feature_shape: [usize; 2],
    image_size: usize,
    seed: u64,
}

/// Keeps feature noise apart from the other uses of the seed.
const NOISE_SALT: u64 = 0x6e6f_6973;

impl VlmObjective {
    /// Joins samples and pictures; `feature_shape` is `[feature tokens, vision width]`.
    pub fn new(
        conversations: Conversations,
        source: VisualSource,
        feature_shape: [usize; 2],
        image_size: usize,
        seed: u64,
    ) -> Self {
        Self { conversations, source, feature_shape, image_size, seed }
    }
}

impl Objective for VlmObjective {
    type Model = Vlm;
    type Batch = VlmBatch;

    fn batch(&self, index: usize) -> Result<VlmBatch> {
        let text = self.conversations.batch(index);
        let images = text.pictures.len();
        let visual = match &self.source {
            VisualSource::Pixels { pictures, augment } => {
                let mut pixels = Vec::with_capacity(images * pictures.values());
                for &(picture, view) in &text.pictures {
                    pixels.extend(pictures.pixels(picture, augment.then_some(view))?);
                }
                Visual::Pixels(pixels)
            }
            VisualSource::Features(bank) => {
                let mut features = Vec::with_capacity(images * bank.values());
                for &(picture, view) in &text.pictures {
                    features.extend_from_slice(bank.view(picture, view)?);
                }
                Visual::Features(features)
            }
        };
        let noise_seed = mix(self.seed ^ NOISE_SALT, index as u64);
        Ok(VlmBatch { text, images, visual, noise_seed })
    }

    fn ids(&self, index: usize) -> Vec<String> {
        self.conversations.ids(index)
    }

    fn size(batch: &VlmBatch) -> BatchSize {
        let tokens = batch.text.text.lengths.iter().sum();
        BatchSize { weight: batch.text.targets.len() as f64, tokens, images: batch.images }
    }

    fn loss(&self, model: &Vlm, batch: VlmBatch, device: &Device) -> Result<Tensor<1>> {
        let [tokens, width] = self.feature_shape;
        let features = match (batch.images, batch.visual) {
            (0, _) => None,
            (images, Visual::Pixels(pixels)) => {
                let size = self.image_size;
                let pixels = TensorData::new(pixels, [images, 3, size, size]);
                Some(model.encode_images(Tensor::from_data(pixels, device))?)
            }
            (images, Visual::Features(features)) => {
                Some(Tensor::from_data(TensorData::new(features, [images, tokens, width]), device))
            }
        };
        let input = VlmInput {
            ids: ids_tensor(&batch.text, device),
            features,
            packing: None,
            image_positions: (batch.images > 0).then(|| int_tensor(&batch.text.image_positions, device)),
            routing_text: routing_text(&model.multi_modal_projector, &batch.text.text, device)?,
            noise_seed: Some(batch.noise_seed),
            // padding is on the right, so that the causal mask alone keeps it from every real position
            attention: AttentionInput::contiguous(),
        };
        let rows = int_tensor(&batch.text.target_rows, device);
        let targets = int_tensor(&batch.text.targets, device);
        Ok(model.target_losses(&input, rows, targets)?.sum())
    }
}

/// The words that route the connector's experts, if it has any: those that are not trained, as a mask over the ids.
///
/// # Errors
/// A scope that needs to know where the user's turns are.
pub fn routing_text(connector: &Connector, text: &TextBatch, device: &Device) -> Result<Option<Tensor<2, Bool>>> {
    let Connector::Parrot(parrot) = connector else { return Ok(None) };
    if parrot.config.bypass {
        return Ok(None);
    }
    if parrot.config.text_scope != TextScope::MaskedTokens {
        return Err(TrainError::Recipe(format!(
            "connector.text_scope = {:?} needs the places of the user's turns, which training batches do not carry; use \
             `masked_tokens`",
            parrot.config.text_scope
        )));
    }
    let mut mask = Vec::with_capacity(text.batch * text.tokens);
    for (labels, length) in text.labels.chunks(text.tokens.max(1)).zip(&text.lengths) {
        mask.extend(parrot.config.text_scope.select(&labels[..*length], &[]));
        mask.resize(mask.len() + labels.len() - length, false);
    }
    Ok(Some(Tensor::from_data(TensorData::new(mask, [text.batch, text.tokens]), device)))
}
