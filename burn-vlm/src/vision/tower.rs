//! What a VLM asks of its vision tower, whoever wrote it.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{PatchPixels, VisionConfig, VisionFeatures};
use crate::error::ModelError;
use crate::init::Scope;
use crate::nn::Precision;

/// The sizes of a tower that the rest of a VLM depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TowerShape {
    /// Width of the features.
    pub hidden_size: usize,
    /// Number of layers: there are hidden states 0 (the embedding output) to this.
    pub num_hidden_layers: usize,
    /// Colour channels of the picture.
    pub num_channels: usize,
    /// Side of the square picture, in pixels.
    pub image_size: usize,
    /// Side of the square of pixels that one feature stands for.
    pub patch_size: usize,
    /// Whether token 0 is a class token rather than a patch.
    pub class_token: bool,
    /// Whether there is one pooled vector an image.
    pub pooled_output: bool,
    /// Whether each picture has a grid of its own (NaFlex): pictures come as [`PatchPixels`], and `image_size` is the side of the
    /// square that the tower's positions are of.
    #[serde(default)]
    pub flexible: bool,
}

impl TowerShape {
    /// Patches along one side of the picture; what does not fill a patch at the right and bottom is dropped.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }
}

/// A vision tower: pixels in, hidden states out, one vector a patch, row by row.
///
/// [`VisionEncoder`](super::VisionEncoder), the enum of this library's own, is one, and so is any module of yours with this
/// trait: [`Vlm<T, P>`](crate::vlm::Vlm) trains, generates, saves and loads with it. Its configuration is a [`VisionConfig`],
/// the key `vision_config` of `config.json`: for your own [`VisionConfig::custom`]. Its parameters are written under
/// `vision_tower.vision_model.` and the dotted path of its fields. For yours beside this library's there is
/// [`Either`](crate::parts::Either).
pub trait VisionTower: Module + ModuleDisplay + Sync + 'static {
    /// Whether [`Self::from_config`] takes this configuration for its own.
    fn accepts(config: &VisionConfig) -> bool;

    /// A tower with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] for keys that it cannot be built from.
    fn from_config(config: &VisionConfig, scope: &Scope) -> Result<Self, ModelError>;

    /// What `config.json` says of it: [`Self::from_config`] makes an equal tower of it, and [`VisionConfig::shape`] tells the rest of
    /// the model what to expect.
    fn config(&self) -> VisionConfig;

    /// The hidden states of `layers` (0 is the embedding output, -1 the last layer's output), and the pooled vector if `pooled`.
    ///
    /// # Shapes
    /// - `pixels`: `[n, num_channels, image_size, image_size]`
    /// - each layer: `[n, tokens, hidden_size]`, the class token first, if there is one, then `grid * grid` patches
    ///
    /// # Errors
    /// [`ModelError::Pixels`] and [`ModelError::FeatureLayer`].
    fn features(&self, pixels: Tensor<4>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError>;

    /// As [`Self::features`], of pictures that each have a grid of their own: what a tower does whose shape is `flexible`.
    ///
    /// # Shapes
    /// - each layer: `[n, most, hidden_size]`, of each picture its patches row by row, then what padding became, which depends on
    ///   nothing that a patch depends on
    ///
    /// # Errors
    /// [`ModelError::Input`] for other patches than the tower's, and from a tower whose pictures are squares of one size;
    /// [`ModelError::FeatureLayer`].
    fn features_of_patches(
        &self,
        _pixels: &PatchPixels,
        _layers: &[i64],
        _pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        Err(squares_only())
    }

    /// Whether a training pass keeps the input of each layer only; a tower that cannot does nothing.
    fn set_gradient_checkpointing(&mut self, _on: bool) {}

    /// What the layers compute in; a tower that cannot choose does nothing.
    fn set_precision(&mut self, _precision: Precision) {}
}

/// What a tower says to pictures with grids of their own that it does not take.
pub(super) fn squares_only() -> ModelError {
    ModelError::Input(
        "patches with a grid for each picture (NaFlex), but this vision tower takes squares of one size: `features`, `encode_images`"
            .into(),
    )
}
