//! CLIP: two towers, a projection after each, a learned scale.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{l2_normalize, similarity};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::Linear;
use crate::text::{ClipTextConfig, ClipTextModel};
use crate::vision::{ClipVisionConfig, ClipVisionModel};

/// Keys and defaults of `CLIPConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// The image tower.
    pub vision_config: ClipVisionConfig,
    /// The text tower.
    pub text_config: ClipTextConfig,
    /// Width of the shared space.
    pub projection_dim: usize,
    /// Start of `logit_scale`: log(1 / 0.07).
    pub logit_scale_init_value: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            vision_config: ClipVisionConfig::default(),
            text_config: ClipTextConfig::default(),
            projection_dim: 512,
            logit_scale_init_value: 2.6592,
        }
    }
}

impl ClipConfig {
    /// A model with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<ClipModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A model with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<ClipModel, ModelError> {
        let projection = |name: &str, hidden: usize| {
            scope.linear(name, hidden, self.projection_dim, Fill::Normal { std: (hidden as f64).powf(-0.5) }, None)
        };
        Ok(ClipModel {
            text_model: self.text_config.init_with(&scope.at("text_model"))?,
            vision_model: self.vision_config.init_with(&scope.at("vision_model"))?,
            visual_projection: projection("visual_projection", self.vision_config.hidden_size),
            text_projection: projection("text_projection", self.text_config.hidden_size),
            logit_scale: scope.param("logit_scale", [1], Fill::Constant(self.logit_scale_init_value)),
            config: self.clone(),
        })
    }
}

/// The CLIP dual encoder.
#[derive(Module, Debug)]
pub struct ClipModel {
    /// The text tower.
    pub text_model: ClipTextModel,
    /// The image tower.
    pub vision_model: ClipVisionModel,
    /// Image tower to the shared space, without bias.
    pub visual_projection: Linear,
    /// Text tower to the shared space, without bias.
    pub text_projection: Linear,
    /// Logarithm of the scale, `[1]` (a scalar in the checkpoint).
    pub logit_scale: Param<Tensor<1>>,
    /// What the model was built from.
    #[module(skip)]
    pub config: ClipConfig,
}

impl ClipModel {
    /// L2-normalised projected class token.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    /// - returns `[n, projection_dim]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn image_embeds(&self, pixels: Tensor<4>) -> Result<Tensor<2>, ModelError> {
        let pooled = self.vision_model.features(pixels, &[], true)?.pooled;
        let no_pool = || ModelError::Input("the CLIP tower returned no pooled output".into());
        Ok(l2_normalize(self.visual_projection.forward(pooled.ok_or_else(no_pool)?)))
    }

    /// L2-normalised projected end-of-text state.
    ///
    /// # Shapes
    /// - `ids`: `[m, tokens]`; `mask`: `[m, tokens]`, true where the token is real (see [`ClipTextModel::forward`])
    /// - returns `[m, projection_dim]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn text_embeds(&self, ids: Tensor<2, Int>, mask: Option<Tensor<2, Bool>>) -> Result<Tensor<2>, ModelError> {
        let pooled = self.text_model.forward(ids, mask)?.pooler_output;
        Ok(l2_normalize(self.text_projection.forward(pooled)))
    }

    /// See [`similarity`]; `[n, m]`.
    pub fn logits_per_image(&self, image_embeds: Tensor<2>, text_embeds: Tensor<2>) -> Tensor<2> {
        similarity(image_embeds, text_embeds, self.logit_scale.val(), None)
    }
}
