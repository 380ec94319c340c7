//! CLIP's vision tower (Radford et al. 2021), Chinese-CLIP's too (Yang et al. 2022).
//!
//! Unusual here:
//! - a class token in front of the patches, and a norm *before* the layers, spelt `pre_layrnorm` in every checkpoint;
//! - quick-GELU, and a patch convolution without bias;
//! - `post_layernorm` is applied to the pooled class token only, never to `last_hidden_state`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::embeddings::{PatchEmbedding, check_any_pixels, check_pixels, check_sizes};
use super::positions::interpolate_positions;
use super::{TowerShape, VisionFeatures, VisionOutput};
use crate::encoder::{Encoder, EncoderInit, EncoderShape};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, Embedding, LayerNorm};

/// Keys and defaults of `CLIPVisionConfig` and `ChineseCLIPVisionConfig`; the defaults are those of CLIP ViT-B/32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Width of the features.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Width of the shared space of the dual encoder (unused by the tower itself).
    pub projection_dim: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Side of the picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Standard deviation of the patch and position embeddings at the start.
    pub initializer_range: f64,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
        }
    }
}

impl ClipVisionConfig {
    /// A tower with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<ClipVisionModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A tower with CLIP's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, init: &Scope) -> Result<ClipVisionModel, ModelError> {
        let (hidden, patch) = (self.hidden_size, self.patch_size);
        check_sizes("clip_vision_model", hidden, self.num_attention_heads, self.image_size, patch)?;
        let grid = self.image_size / patch;
        let embeddings = init.at("embeddings");
        let range = Fill::Normal { std: self.initializer_range };
        let norm = || LayerNorm::new(hidden, self.layer_norm_eps, init.device());
        Ok(ClipVisionModel {
            embeddings: ClipVisionEmbeddings {
                class_embedding: embeddings.param(
                    "class_embedding",
                    [hidden],
                    Fill::Normal { std: (hidden as f64).powf(-0.5) },
                ),
                patch_embedding: PatchEmbedding::new(
                    hidden,
                    self.num_channels,
                    patch,
                    range,
                    None,
                    &embeddings.at("patch_embedding"),
                ),
                position_embedding: embeddings.embedding("position_embedding", grid * grid + 1, hidden, range),
            },
            pre_layrnorm: norm(),
            encoder: Encoder::new(&self.encoder_shape(), &init.at("encoder")),
            post_layernorm: norm(),
            config: self.clone(),
        })
    }

    /// What a VLM needs to know of the tower.
    pub(super) fn tower_shape(&self) -> TowerShape {
        TowerShape {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_channels: self.num_channels,
            image_size: self.image_size,
            patch_size: self.patch_size,
            class_token: true,
            pooled_output: true,
            flexible: false,
        }
    }

    /// The tower's layers.
    pub(super) fn encoder_shape(&self) -> EncoderShape {
        EncoderShape {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
            hidden_act: self.hidden_act,
            init: EncoderInit::Clip,
        }
    }
}

/// Class token and patches, plus learned positions.
#[derive(Module, Debug)]
pub struct ClipVisionEmbeddings {
    /// `[hidden]`
    pub class_embedding: Param<Tensor<1>>,
    /// Pixels of a patch to its vector, without bias.
    pub patch_embedding: PatchEmbedding,
    /// `[1 + patches, hidden]`; row 0 belongs to the class token.
    pub position_embedding: Embedding,
}

/// The CLIP vision tower.
#[derive(Module, Debug)]
pub struct ClipVisionModel {
    /// Class token, patches and positions.
    pub embeddings: ClipVisionEmbeddings,
    /// Before the layers; the spelling is the checkpoint's.
    pub pre_layrnorm: LayerNorm,
    /// The layers.
    pub encoder: Encoder,
    /// On the pooled class token only.
    pub post_layernorm: LayerNorm,
    /// What the tower was built from.
    #[module(skip)]
    pub config: ClipVisionConfig,
}

impl ClipVisionModel {
    /// Class token and patches plus positions, normed.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    /// - returns `[n, 1 + patches, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn embed(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        check_pixels(&pixels, self.config.num_channels, self.config.image_size)?;
        Ok(self.embed_any(pixels))
    }

    /// As [`Self::embed`] for pictures of any size, with the patches' positions interpolated to their grid.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`
    /// - returns `[n, 1 + (height / patch) * (width / patch), hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape.
    pub fn embed_interpolated(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        check_any_pixels(&pixels, self.config.num_channels, self.config.patch_size)?;
        Ok(self.embed_any(pixels))
    }

    fn embed_any(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [_, _, height, width] = pixels.dims();
        let ClipVisionConfig { image_size, patch_size, .. } = self.config;
        let patches = self.embeddings.patch_embedding.forward(pixels);
        let [n, _, hidden] = patches.dims();
        let class = self.embeddings.class_embedding.val().reshape([1, 1, hidden]).repeat_dim(0, n);
        let (grid, rows, columns) = (image_size / patch_size, height / patch_size, width / patch_size);
        let table = self.embeddings.position_embedding.weight.val();
        let positions = if (rows, columns) == (grid, grid) {
            table
        } else {
            // The class token has no place on the grid: its row stays as it is.
            let patches = interpolate_positions(table.clone().narrow(0, 1, grid * grid), grid, rows, columns);
            Tensor::cat(vec![table.narrow(0, 0, 1), patches], 0)
        };
        self.pre_layrnorm.forward(Tensor::cat(vec![class, patches], 1) + positions.unsqueeze())
    }

    /// All layers and the pooled class token.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn forward(&self, pixels: Tensor<4>) -> Result<VisionOutput, ModelError> {
        Ok(self.finish(self.embed(pixels)?))
    }

    /// As [`Self::forward`] for pictures of any size: `interpolate_pos_encoding` of the published code.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape.
    pub fn forward_interpolated(&self, pixels: Tensor<4>) -> Result<VisionOutput, ModelError> {
        Ok(self.finish(self.embed_interpolated(pixels)?))
    }

    fn finish(&self, embedded: Tensor<3>) -> VisionOutput {
        let last_hidden_state = self.encoder.forward(embedded, &AttentionMask::default());
        let pooler_output = Some(self.pool(last_hidden_state.clone()));
        VisionOutput { last_hidden_state, pooler_output }
    }

    /// See [`VisionEncoder::features`](super::VisionEncoder::features).
    ///
    /// # Errors
    /// [`ModelError::Pixels`] and [`ModelError::FeatureLayer`].
    pub fn features(&self, pixels: Tensor<4>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError> {
        self.select(self.embed(pixels)?, layers, pooled)
    }

    /// See [`VisionEncoder::features_interpolated`](super::VisionEncoder::features_interpolated).
    ///
    /// # Errors
    /// [`ModelError::Input`] and [`ModelError::FeatureLayer`].
    pub fn features_interpolated(
        &self,
        pixels: Tensor<4>,
        layers: &[i64],
        pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        self.select(self.embed_interpolated(pixels)?, layers, pooled)
    }

    fn select(&self, embedded: Tensor<3>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError> {
        let mut wanted = layers.iter().map(|layer| self.encoder.resolve(*layer)).collect::<Result<Vec<_>, _>>()?;
        if pooled {
            wanted.push(self.encoder.layers.len());
        }
        let mut layers = self.encoder.hidden_states(embedded, &AttentionMask::default(), &wanted);
        let pooled = if pooled { layers.pop().map(|last| self.pool(last)) } else { None };
        Ok(VisionFeatures { layers, pooled })
    }

    /// `post_layernorm` of the class token, `[n, tokens, hidden]` to `[n, hidden]`.
    fn pool(&self, x: Tensor<3>) -> Tensor<2> {
        let [n, _, hidden] = x.dims();
        self.post_layernorm.forward(x.narrow(1, 0, 1)).reshape([n, hidden])
    }
}
