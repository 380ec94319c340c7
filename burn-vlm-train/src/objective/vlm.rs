//! Next-token loss of a VLM on the answers to questions about pictures.
//!
//! Unusual here: where the vision tower is frozen, its features of every picture and view may have been computed once
//! ([`FeatureBank`]); a batch then carries features in the place of pixels and the tower does not run at all.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::connector::{Projector, TextScope};
use burn_vlm::error::ModelError;
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

/// A model that [`VlmObjective`] trains: a [`Vlm`], or one's own around it.
///
/// A connector of one's own is a module that holds a [`Vlm`] (for its tower and its language model) and the connector, and says in
/// [`Self::connect`] how features become visual tokens; `examples/own_connector.rs` is a whole one.
pub trait VisionLanguage: Module + Clone + 'static {
    /// The VLM within.
    fn vlm(&self) -> &Vlm;

    /// Features to visual tokens. `input` has the rest of the batch: ids, and which words stand around the pictures.
    ///
    /// # Shapes
    /// - `features`: `[images, num_feature_tokens, d_vision]`, with the noise of training on them
    /// - returns `[images, num_visual_tokens, hidden]`
    ///
    /// # Errors
    /// Whatever the connector cannot take.
    fn connect(&self, features: Tensor<3>, input: &VlmInput) -> std::result::Result<Tensor<3>, ModelError>;

    /// Next-token loss of each target, see [`Vlm::target_losses`].
    ///
    /// # Shapes
    /// - `target_rows`, `targets` and the result: `[n]`
    ///
    /// # Errors
    /// A batch that does not fit the model.
    fn target_losses(
        &self,
        input: &VlmInput,
        target_rows: Tensor<1, Int>,
        targets: Tensor<1, Int>,
    ) -> std::result::Result<Tensor<1>, ModelError> {
        let vlm = self.vlm();
        let features = input.features.clone().map(|features| vlm.with_noise(features, input.noise_seed));
        let connect = |features| vlm.packed(self.connect(features, input)?, input);
        let visual = features.map(connect).transpose()?;
        let embeds = vlm.merge_at(input.ids.clone(), input.image_positions.clone(), visual)?;
        let hidden = vlm.language_model.forward(embeds, &input.attention, None)?;
        Ok(vlm.language_model.target_losses(hidden, target_rows, targets))
    }
}

impl VisionLanguage for Vlm {
    fn vlm(&self) -> &Vlm {
        self
    }

    fn connect(&self, features: Tensor<3>, input: &VlmInput) -> std::result::Result<Tensor<3>, ModelError> {
        let quiet = VlmInput { features: Some(features), noise_seed: None, ..input.clone() };
        let visual = self.visual_tokens(&quiet)?;
        visual.ok_or_else(|| ModelError::Input("features gave no visual tokens".into()))
    }

    fn target_losses(
        &self,
        input: &VlmInput,
        target_rows: Tensor<1, Int>,
        targets: Tensor<1, Int>,
    ) -> std::result::Result<Tensor<1>, ModelError> {
        Vlm::target_losses(self, input, target_rows, targets)
    }
}

/// Questions about pictures and the loss on their answers.
pub struct VlmObjective<M = Vlm> {
    conversations: Conversations,
    source: VisualSource,
    /// Tokens and width of one picture's features.
    feature_shape: [usize; 2],
    image_size: usize,
    seed: u64,
    model: PhantomData<fn() -> M>,
}

/// Keeps feature noise apart from the other uses of the seed.
const NOISE_SALT: u64 = 0x6e6f_6973;

impl<M: VisionLanguage> VlmObjective<M> {
    /// Joins samples and pictures; `feature_shape` is `[feature tokens, vision width]`.
    pub fn new(
        conversations: Conversations,
        source: VisualSource,
        feature_shape: [usize; 2],
        image_size: usize,
        seed: u64,
    ) -> Self {
        Self { conversations, source, feature_shape, image_size, seed, model: PhantomData }
    }
}

impl<M: VisionLanguage> Objective for VlmObjective<M> {
    type Model = M;
    type Item = VlmBatch;
    type Batch = VlmBatch;

    fn item(&self, index: usize) -> Result<VlmBatch> {
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

    fn micro_batches(&self, _first: usize, items: Vec<VlmBatch>) -> Result<Vec<VlmBatch>> {
        Ok(items)
    }

    fn ids(&self, index: usize) -> Vec<String> {
        self.conversations.ids(index)
    }

    fn size(batch: &VlmBatch) -> BatchSize {
        let tokens = batch.text.text.lengths.iter().sum();
        BatchSize { weight: batch.text.targets.len() as f64, tokens, images: batch.images }
    }

    fn loss(&self, model: &M, batch: VlmBatch, device: &Device) -> Result<Tensor<1>> {
        let [tokens, width] = self.feature_shape;
        let features = match (batch.images, batch.visual) {
            (0, _) => None,
            (images, Visual::Pixels(pixels)) => {
                let size = self.image_size;
                let pixels = TensorData::new(pixels, [images, 3, size, size]);
                Some(model.vlm().encode_images(Tensor::from_data(pixels, device))?)
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
            routing_text: routing_text(&model.vlm().multi_modal_projector, &batch.text.text, device)?,
            noise_seed: Some(batch.noise_seed),
            // padding is on the right, so that the causal mask alone keeps it from every real position
            attention: AttentionInput::contiguous(),
        };
        let rows = int_tensor(&batch.text.target_rows, device);
        let targets = int_tensor(&batch.text.targets, device);
        Ok(model.target_losses(&input, rows, targets)?.sum())
    }
}

/// The words that route the connector's experts, if it has any, by its [`TextScope`], as a mask over the ids.
///
/// # Errors
/// A scope that needs to know where the user's turns are, in a batch that was made without.
pub fn routing_text(connector: &impl Projector, text: &TextBatch, device: &Device) -> Result<Option<Tensor<2, Bool>>> {
    let Some(scope) = connector.text_scope().filter(|_| connector.reads_text()) else { return Ok(None) };
    let mut mask = Vec::with_capacity(text.batch * text.tokens);
    for (row, (labels, length)) in text.labels.chunks(text.tokens.max(1)).zip(&text.lengths).enumerate() {
        let turns = text.user_turns.get(row).map_or(&[][..], Vec::as_slice);
        if needs_user_turns(connector) && turns.is_empty() {
            let message =
                format!("connector.text_scope = {scope:?}: the batch does not know where the user's turns are");
            return Err(TrainError::Data(message));
        }
        mask.extend(scope.select(&labels[..*length], turns));
        mask.resize(mask.len() + labels.len() - length, false);
    }
    Ok(Some(Tensor::from_data(TensorData::new(mask, [text.batch, text.tokens]), device)))
}

/// Whether the connector is routed by the user's own words alone, so that batches must know where these stand.
pub fn needs_user_turns(connector: &impl Projector) -> bool {
    connector.text_scope().is_some_and(|scope| scope != TextScope::MaskedTokens)
}
