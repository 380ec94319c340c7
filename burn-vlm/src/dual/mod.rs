//! Dual encoders: an image tower and a text tower in one space, trained contrastively.
//!
//! Unusual here: `logit_scale` is a logarithm in every checkpoint; similarities are multiplied by its exponential.

mod clip;
mod loss;
mod siglip;

pub use clip::{ClipConfig, ClipModel};
pub use loss::{clip_loss, l2_normalize, siglip_loss, siglip_loss_with_positives, similarity};
pub use siglip::{SiglipConfig, SiglipModel};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::vision::{VisionConfig, VisionEncoder};

/// Configuration of a dual encoder, told apart by `model_type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model_type")]
pub enum DualConfig {
    /// SigLIP: sigmoid loss.
    #[serde(rename = "siglip")]
    Siglip(SiglipConfig),
    /// CLIP: softmax loss.
    #[serde(rename = "clip")]
    Clip(ClipConfig),
}

impl DualConfig {
    /// A model with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<DualEncoder, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A model with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<DualEncoder, ModelError> {
        Ok(match self {
            Self::Siglip(config) => DualEncoder::Siglip(config.init_with(scope)?),
            Self::Clip(config) => DualEncoder::Clip(config.init_with(scope)?),
        })
    }

    /// The image tower's configuration.
    pub fn vision_config(&self) -> VisionConfig {
        match self {
            Self::Siglip(config) => VisionConfig::Siglip(config.vision_config.clone()),
            Self::Clip(config) => VisionConfig::Clip(config.vision_config.clone()),
        }
    }
}

/// A dual encoder.
#[derive(Module, Debug)]
// One value a model: the difference in size between the variants costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum DualEncoder {
    /// SigLIP: sigmoid loss.
    Siglip(SiglipModel),
    /// CLIP: softmax loss.
    Clip(ClipModel),
}

impl DualEncoder {
    /// The configuration that it was built from.
    pub fn config(&self) -> DualConfig {
        match self {
            Self::Siglip(model) => DualConfig::Siglip(model.config.clone()),
            Self::Clip(model) => DualConfig::Clip(model.config.clone()),
        }
    }

    /// L2-normalised image embeddings.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    /// - returns `[n, dim]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn image_embeds(&self, pixels: Tensor<4>) -> Result<Tensor<2>, ModelError> {
        match self {
            Self::Siglip(model) => model.image_embeds(pixels),
            Self::Clip(model) => model.image_embeds(pixels),
        }
    }

    /// L2-normalised text embeddings of right-padded texts.
    ///
    /// # Shapes
    /// - `ids`: `[m, tokens]`
    /// - returns `[m, dim]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn text_embeds(&self, ids: Tensor<2, Int>) -> Result<Tensor<2>, ModelError> {
        match self {
            Self::Siglip(model) => model.text_embeds(ids),
            Self::Clip(model) => model.text_embeds(ids, None),
        }
    }

    /// Logits of every image with every text, `[n, m]`.
    pub fn logits_per_image(&self, image_embeds: Tensor<2>, text_embeds: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Siglip(model) => model.logits_per_image(image_embeds, text_embeds),
            Self::Clip(model) => model.logits_per_image(image_embeds, text_embeds),
        }
    }

    /// The model's own contrastive loss of matching pairs (row `i` of both), `[1]`.
    pub fn loss(&self, image_embeds: Tensor<2>, text_embeds: Tensor<2>) -> Tensor<1> {
        let logits = self.logits_per_image(image_embeds, text_embeds);
        match self {
            Self::Siglip(_) => siglip_loss(logits),
            Self::Clip(_) => clip_loss(logits),
        }
    }

    /// The image tower alone, to build a VLM on.
    pub fn into_vision(self) -> VisionEncoder {
        match self {
            Self::Siglip(model) => VisionEncoder::Siglip(model.vision_model),
            Self::Clip(model) => VisionEncoder::Clip(model.vision_model),
        }
    }
}
