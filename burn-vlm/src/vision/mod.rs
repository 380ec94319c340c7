//! Image encoders: pixels in, one feature vector a patch out.
//!
//! A new encoder is one file here, with a configuration and a module like [`SiglipVisionConfig`] and [`SiglipVisionModel`], and one
//! line of the table below. One that belongs to a user's own crate implements [`VisionTower`] there and needs neither.

mod clip;
mod custom;
mod embeddings;
mod patches;
mod positions;
mod siglip;
mod siglip2;
mod tower;

pub use clip::{ClipVisionConfig, ClipVisionModel};
pub use custom::CustomTower;
pub use embeddings::PatchEmbedding;
pub use patches::PatchPixels;
pub use siglip::{SiglipAttentionPool, SiglipVisionConfig, SiglipVisionModel};
pub use siglip2::{Siglip2VisionConfig, Siglip2VisionModel};
pub use tower::{TowerShape, VisionTower};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::count::LayerShape;
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

/// Writes the enums of configurations and of encoders, and sends every question to the variant. Of a configuration it asks
/// `init_with`, `tower_shape` and `encoder_shape`; of a module `config`, `encoder`, `forward`, `forward_interpolated`, `features`
/// and `features_interpolated`.
macro_rules! encoders {
    ($($(#[$doc:meta])* $variant:ident($config:ty => $model:ty): $model_type:literal, $short:literal, $class:literal, $name:literal;)+) => {
        /// Configuration of an image encoder, told apart by `model_type` as in the published `config.json`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "model_type")]
        pub enum VisionConfig {
            $($(#[$doc])* #[serde(rename = $model_type, alias = $short)] $variant($config),)+
            /// One of a user's own.
            #[serde(rename = "custom")]
            Custom(CustomTower),
        }

        impl VisionConfig {
            /// An encoder with random weights from the scope's seed.
            ///
            /// # Errors
            /// [`ModelError::Config`] where the sizes do not fit each other, and for a tower of your own, which only a model
            /// of that type has.
            pub fn init_with(&self, init: &Scope) -> Result<VisionEncoder, ModelError> {
                match self {
                    $(Self::$variant(config) => Ok(VisionEncoder::$variant(config.init_with(init)?)),)+
                    Self::Custom(custom) => Err(custom.unknown()),
                }
            }

            /// What a VLM needs to know of the tower.
            pub fn shape(&self) -> TowerShape {
                match self {
                    $(Self::$variant(config) => config.tower_shape(),)+
                    Self::Custom(custom) => custom.shape,
                }
            }

            /// The tower's layers, for what is reckoned from their sizes.
            pub fn layer_shape(&self) -> LayerShape {
                match self {
                    $(Self::$variant(config) => config.encoder_shape().layer_shape(),)+
                    Self::Custom(custom) => custom.layer_shape(),
                }
            }

            /// What people call the encoder.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $name,)+
                    Self::Custom(custom) => &custom.name,
                }
            }

            /// `architectures` and `model_type` of a folder that holds the tower alone.
            pub fn architecture(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant(_) => ($class, $model_type),)+
                    Self::Custom(_) => ("CustomVisionModel", "custom"),
                }
            }
        }

        /// An image encoder of this library.
        #[derive(Module, Debug)]
        // One value a model: the difference in size between the variants costs nothing.
        #[allow(clippy::large_enum_variant)]
        pub enum VisionEncoder {
            $($(#[$doc])* $variant($model),)+
        }

        impl VisionEncoder {
            /// The configuration that it was built from.
            pub fn config(&self) -> VisionConfig {
                match self {
                    $(Self::$variant(model) => VisionConfig::$variant(model.config.clone()),)+
                }
            }
        }

        /// The same expression on the inside of every variant.
        macro_rules! each {
            ($value:expr, $inner:ident => $body:expr) => {
                match $value {
                    $(Self::$variant($inner) => $body,)+
                }
            };
        }
    };
}

// `model_type`, what old configs of whole dual encoders have in its place, the class of transformers, what people say.
encoders! {
    /// SigLIP 1, and SigLIP 2 at fixed resolution.
    Siglip(SiglipVisionConfig => SiglipVisionModel): "siglip_vision_model", "siglip", "SiglipVisionModel", "SigLIP";
    /// SigLIP 2 in the picture's own aspect ratio (NaFlex).
    Siglip2(Siglip2VisionConfig => Siglip2VisionModel): "siglip2_vision_model", "siglip2", "Siglip2VisionModel", "SigLIP 2 NaFlex";
    /// CLIP.
    Clip(ClipVisionConfig => ClipVisionModel): "clip_vision_model", "clip", "CLIPVisionModel", "CLIP";
    /// Chinese-CLIP: CLIP's tower under its own name, with which it is written back.
    ChineseClip(ClipVisionConfig => ClipVisionModel): "chinese_clip_vision_model", "chinese_clip", "ChineseCLIPVisionModel", "Chinese-CLIP";
}

impl VisionConfig {
    /// An encoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// See [`Self::init_with`].
    pub fn init(&self, device: &Device) -> Result<VisionEncoder, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// Width of the features.
    pub fn hidden_size(&self) -> usize {
        self.shape().hidden_size
    }

    /// Number of layers.
    pub fn num_hidden_layers(&self) -> usize {
        self.shape().num_hidden_layers
    }

    /// Side of the square picture, in pixels.
    pub fn image_size(&self) -> usize {
        self.shape().image_size
    }

    /// Colour channels of the picture.
    pub fn num_channels(&self) -> usize {
        self.shape().num_channels
    }

    /// Patches along one side of the picture; what does not fill a patch at the right and bottom is dropped.
    pub fn grid(&self) -> usize {
        self.shape().grid()
    }

    /// Whether token 0 is a class token rather than a patch.
    pub fn has_class_token(&self) -> bool {
        self.shape().class_token
    }

    /// Whether each picture has a grid of its own (NaFlex).
    pub fn is_flexible(&self) -> bool {
        self.shape().flexible
    }

    /// Whether the encoder yields one pooled vector an image.
    pub fn has_pooled_output(&self) -> bool {
        self.shape().pooled_output
    }
}

impl VisionEncoder {
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

    /// As [`Self::forward`], of pictures that each have a grid of their own (NaFlex).
    ///
    /// # Shapes
    /// - `last_hidden_state`: `[n, most, hidden]`, behind a picture's patches what padding became
    ///
    /// # Errors
    /// [`ModelError::Input`] for patches of another size, and of another tower than SigLIP 2's.
    pub fn forward_patches(&self, pixels: &PatchPixels) -> Result<VisionOutput, ModelError> {
        match self {
            Self::Siglip2(model) => model.forward_patches(pixels),
            _ => Err(tower::squares_only()),
        }
    }
}

impl VisionTower for VisionEncoder {
    fn accepts(config: &VisionConfig) -> bool {
        !matches!(config, VisionConfig::Custom(_))
    }

    fn from_config(config: &VisionConfig, scope: &Scope) -> Result<Self, ModelError> {
        config.init_with(scope)
    }

    fn config(&self) -> VisionConfig {
        self.config()
    }

    fn features(&self, pixels: Tensor<4>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError> {
        self.features(pixels, layers, pooled)
    }

    fn features_of_patches(
        &self,
        pixels: &PatchPixels,
        layers: &[i64],
        pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        match self {
            Self::Siglip2(model) => model.features_of_patches(pixels, layers, pooled),
            _ => Err(tower::squares_only()),
        }
    }

    fn set_gradient_checkpointing(&mut self, on: bool) {
        self.set_gradient_checkpointing(on);
    }

    fn set_precision(&mut self, precision: Precision) {
        self.set_precision(precision);
    }
}
