//! SigLIP 1 and 2 (fixed resolution): two towers, a learned scale and a learned bias.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{l2_normalize, similarity};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::text::{SiglipTextConfig, SiglipTextModel};
use crate::vision::{SiglipVisionConfig, SiglipVisionModel};

/// Start of the scale: `t' = log 10` (paper, section 3.2).
const INITIAL_LOG_SCALE: f64 = std::f64::consts::LN_10;
/// Start of the bias: -10, so that the many negatives start near zero loss (paper, section 3.2).
const INITIAL_BIAS: f64 = -10.0;

/// Keys of `SiglipConfig`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SiglipConfig {
    /// The image tower.
    pub vision_config: SiglipVisionConfig,
    /// The text tower; its `projection_size` must equal the image tower's `hidden_size`.
    pub text_config: SiglipTextConfig,
}

impl SiglipConfig {
    /// A model with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<SiglipModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A model with random weights from the scope's seed; scale and bias as in the paper (log 10, -10).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, scope: &Scope) -> Result<SiglipModel, ModelError> {
        let (image, text) = (&self.vision_config, &self.text_config);
        let projection = text.projection_size.unwrap_or(text.hidden_size);
        if projection != image.hidden_size {
            let expected = format!("hidden_size of the vision tower, {}", image.hidden_size);
            return Err(ModelError::config("siglip", "text_config.projection_size", projection, expected));
        }
        if !image.vision_use_head {
            return Err(ModelError::config("siglip", "vision_config.vision_use_head", false, "true"));
        }
        Ok(SiglipModel {
            text_model: text.init_with(&scope.at("text_model"))?,
            vision_model: image.init_with(&scope.at("vision_model"))?,
            logit_scale: scope.param("logit_scale", [1], Fill::Constant(INITIAL_LOG_SCALE)),
            logit_bias: scope.param("logit_bias", [1], Fill::Constant(INITIAL_BIAS)),
            config: self.clone(),
        })
    }
}

/// The SigLIP dual encoder.
#[derive(Module, Debug)]
pub struct SiglipModel {
    /// The text tower.
    pub text_model: SiglipTextModel,
    /// The image tower.
    pub vision_model: SiglipVisionModel,
    /// Logarithm of the scale, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
    /// `[1]`
    pub logit_bias: Param<Tensor<1>>,
    /// What the model was built from.
    #[module(skip)]
    pub config: SiglipConfig,
}

impl SiglipModel {
    /// L2-normalised pooled output of the image tower.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    /// - returns `[n, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape; [`ModelError::Config`] if the tower has no head.
    pub fn image_embeds(&self, pixels: Tensor<4>) -> Result<Tensor<2>, ModelError> {
        let pooled = self.vision_model.forward(pixels)?.pooler_output;
        let no_head = || ModelError::config("siglip", "vision_use_head", false, "true");
        Ok(l2_normalize(pooled.ok_or_else(no_head)?))
    }

    /// L2-normalised pooled output of the text tower.
    ///
    /// # Shapes
    /// - `ids`: `[m, tokens]`, padded to one length
    /// - returns `[m, hidden]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions.
    pub fn text_embeds(&self, ids: Tensor<2, Int>) -> Result<Tensor<2>, ModelError> {
        Ok(l2_normalize(self.text_model.forward(ids)?.pooler_output))
    }

    /// See [`similarity`]; `[n, m]`.
    pub fn logits_per_image(&self, image_embeds: Tensor<2>, text_embeds: Tensor<2>) -> Tensor<2> {
        similarity(image_embeds, text_embeds, self.logit_scale.val(), Some(self.logit_bias.val()))
    }
}
