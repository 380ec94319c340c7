//! Image encoders: pixels in, one feature vector a patch out.
//!
//! A new encoder is one file here and one line of [`VisionEncoder`] and [`VisionConfig`].

mod clip;
mod embeddings;
mod positions;
mod siglip;

pub use clip::{ClipVisionConfig, ClipVisionModel};
pub use embeddings::PatchEmbedding;
pub use siglip::{SiglipAttentionPool, SiglipVisionConfig, SiglipVisionModel};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::nn::Precision;

/// What an encoder computed.
#[derive(Debug, Clone)]
pub struct VisionOutput {
    /// As Hugging Face defines it: SigLIP applies `post_layernorm`, CLIP does not. `[n, tokens, hidden]`
    pub last_hidden_state: Tensor<3>,
    /// One vector an image, where the encoder has a head for it: `[n, hidden]`.
    pub pooler_output: Option<Tensor<2>>,
}

/// Hidden states of chosen layers, before any final norm: what a VLM reads.
#[derive(Debug, Clone)]
pub struct VisionFeatures {
    /// In the order asked for, each `[n, tokens, hidden]`.
    pub layers: Vec<Tensor<3>>,
    /// The pooled vector `[n, hidden]`, if it was asked for and the encoder has one.
    pub pooled: Option<Tensor<2>>,
}

/// Configuration of an image encoder, told apart by `model_type` as in the published `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model_type")]
pub enum VisionConfig {
    /// SigLIP 1, and SigLIP 2 at fixed resolution.
    #[serde(rename = "siglip_vision_model", alias = "siglip")]
    Siglip(SiglipVisionConfig),
    /// CLIP.
    #[serde(rename = "clip_vision_model", alias = "clip")]
    Clip(ClipVisionConfig),
    /// Chinese-CLIP: CLIP's tower under its own name, with which it is written back.
    #[serde(rename = "chinese_clip_vision_model", alias = "chinese_clip")]
    ChineseClip(ClipVisionConfig),
}

/// Calls the same expression on the inside of every variant.
macro_rules! each {
    ($value:expr, $inner:ident => $body:expr) => {
        match $value {
            Self::Siglip($inner) => $body,
            Self::Clip($inner) => $body,
            Self::ChineseClip($inner) => $body,
        }
    };
}

impl VisionConfig {
    /// An encoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<VisionEncoder, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// An encoder with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, init: &Scope) -> Result<VisionEncoder, ModelError> {
        Ok(match self {
            Self::Siglip(config) => VisionEncoder::Siglip(config.init_with(init)?),
            Self::Clip(config) => VisionEncoder::Clip(config.init_with(init)?),
            Self::ChineseClip(config) => VisionEncoder::ChineseClip(config.init_with(init)?),
        })
    }

    /// Width of the features.
    pub fn hidden_size(&self) -> usize {
        each!(self, config => config.hidden_size)
    }

    /// Number of layers.
    pub fn num_hidden_layers(&self) -> usize {
        each!(self, config => config.num_hidden_layers)
    }

    /// Side of the square picture, in pixels.
    pub fn image_size(&self) -> usize {
        each!(self, config => config.image_size)
    }

    /// Colour channels of the picture.
    pub fn num_channels(&self) -> usize {
        each!(self, config => config.num_channels)
    }

    /// Patches along one side of the picture; what does not fill a patch at the right and bottom is dropped.
    pub fn grid(&self) -> usize {
        each!(self, config => config.image_size / config.patch_size)
    }

    /// Whether token 0 is a class token rather than a patch.
    pub fn has_class_token(&self) -> bool {
        matches!(self, Self::Clip(_) | Self::ChineseClip(_))
    }

    /// Whether the encoder yields one pooled vector an image.
    pub fn has_pooled_output(&self) -> bool {
        match self {
            Self::Siglip(config) => config.vision_use_head,
            Self::Clip(_) | Self::ChineseClip(_) => true,
        }
    }
}

/// An image encoder.
#[derive(Module, Debug)]
// One value a model: the difference in size between the variants costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum VisionEncoder {
    /// SigLIP 1, and SigLIP 2 at fixed resolution.
    Siglip(SiglipVisionModel),
    /// CLIP.
    Clip(ClipVisionModel),
    /// Chinese-CLIP.
    ChineseClip(ClipVisionModel),
}

impl VisionEncoder {
    /// The configuration that it was built from.
    pub fn config(&self) -> VisionConfig {
        match self {
            Self::Siglip(model) => VisionConfig::Siglip(model.config.clone()),
            Self::Clip(model) => VisionConfig::Clip(model.config.clone()),
            Self::ChineseClip(model) => VisionConfig::ChineseClip(model.config.clone()),
        }
    }

    /// Whether a training pass keeps the input of each layer only, see
    /// [`LanguageModel::set_gradient_checkpointing`](crate::language::LanguageModel::set_gradient_checkpointing).
    pub fn set_gradient_checkpointing(&mut self, on: bool) {
        each!(self, model => model.encoder.gradient_checkpointing = on);
    }

    /// What the layers compute in; the parameters and the features keep their element type.
    pub fn set_precision(&mut self, precision: Precision) {
        each!(self, model => model.encoder.precision = precision);
    }

    /// All layers and the head.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn forward(&self, pixels: Tensor<4>) -> Result<VisionOutput, ModelError> {
        each!(self, model => model.forward(pixels))
    }

    /// As [`Self::forward`] for pictures of any size, the learned positions interpolated to their grid of patches (bicubic):
    /// `interpolate_pos_encoding` of the published code.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`, both at least a patch
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape.
    pub fn forward_interpolated(&self, pixels: Tensor<4>) -> Result<VisionOutput, ModelError> {
        each!(self, model => model.forward_interpolated(pixels))
    }

    /// The hidden states of `layers` (0 is the embedding output, -1 the last layer's output), and the pooled vector if
    /// `pooled`. Layers that nothing depends on are not run.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] and [`ModelError::FeatureLayer`].
    pub fn features(&self, pixels: Tensor<4>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError> {
        each!(self, model => model.features(pixels, layers, pooled))
    }

    /// As [`Self::features`] for pictures of any size, see [`Self::forward_interpolated`].
    ///
    /// # Errors
    /// [`ModelError::Input`] and [`ModelError::FeatureLayer`].
    pub fn features_interpolated(
        &self,
        pixels: Tensor<4>,
        layers: &[i64],
        pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        each!(self, model => model.features_interpolated(pixels, layers, pooled))
    }
}
