//! SigLIP's vision tower (Zhai et al. 2023), also SigLIP 2's at fixed resolution (Tschannen et al. 2025), same code.
//!
//! Unusual here:
//! - no class token; an attention-pooling head (a learned probe attends to all patches) yields the pooled vector;
//! - the head's attention is `torch.nn.MultiheadAttention`, whose q, k, v weights are packed in one `in_proj_weight`;
//! - a VLM reads hidden states *before* `post_layernorm`, layer -1 included (transformers 4.51 and 5.x; 4.57 differed).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::embeddings::{PatchEmbedding, check_any_pixels, check_pixels, check_sizes};
use super::positions::interpolate_positions;
use super::{TowerShape, VisionFeatures, VisionOutput};
use crate::encoder::{Encoder, EncoderInit, EncoderMlp, EncoderShape};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, AttentionOptions, Embedding, LayerNorm, Linear, attention, linear};

/// Keys and defaults of `SiglipVisionConfig`; the defaults are those of SigLIP base, patch 16, 224 pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiglipVisionConfig {
    /// Width of the features.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
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
    /// Whether the attention-pooling head exists.
    pub vision_use_head: bool,
}

impl Default for SiglipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 16,
            hidden_act: Activation::GeluPytorchTanh,
            layer_norm_eps: 1e-6,
            vision_use_head: true,
        }
    }
}

impl SiglipVisionConfig {
    /// SigLIP SO400M, patch 14, 384 pixels, without its last layer and its head: what LLaVA-OneVision and TowerVision keep of it.
    pub fn so400m_without_last() -> Self {
        Self {
            hidden_size: 1152,
            intermediate_size: 4304,
            num_hidden_layers: 26,
            num_attention_heads: 16,
            image_size: 384,
            patch_size: 14,
            vision_use_head: false,
            ..Self::default()
        }
    }

    /// A tower with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<SiglipVisionModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A tower with SigLIP's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, init: &Scope) -> Result<SiglipVisionModel, ModelError> {
        let (hidden, patch) = (self.hidden_size, self.patch_size);
        check_sizes("siglip_vision_model", hidden, self.num_attention_heads, self.image_size, patch)?;
        let shape = self.encoder_shape();
        let grid = self.image_size / patch;
        let embeddings = init.at("embeddings");
        let fan_in = self.num_channels * patch * patch;
        Ok(SiglipVisionModel {
            embeddings: SiglipVisionEmbeddings {
                patch_embedding: PatchEmbedding::new(
                    hidden,
                    self.num_channels,
                    patch,
                    Fill::lecun_normal(fan_in),
                    Some(Fill::ZEROS),
                    &embeddings.at("patch_embedding"),
                ),
                position_embedding: embeddings.embedding(
                    "position_embedding",
                    grid * grid,
                    hidden,
                    Fill::Normal { std: (hidden as f64).powf(-0.5) },
                ),
            },
            encoder: Encoder::new(&shape, &init.at("encoder")),
            post_layernorm: LayerNorm::new(hidden, self.layer_norm_eps, init.device()),
            head: self.vision_use_head.then(|| SiglipAttentionPool::new(&shape, &init.at("head"))),
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
            class_token: false,
            pooled_output: self.vision_use_head,
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
            init: EncoderInit::Siglip,
        }
    }
}

/// Patches plus learned positions.
#[derive(Module, Debug)]
pub struct SiglipVisionEmbeddings {
    /// Pixels of a patch to its vector.
    pub patch_embedding: PatchEmbedding,
    /// `[patches, hidden]`
    pub position_embedding: Embedding,
}

/// A learned probe attends to all patches: one vector an image.
#[derive(Module, Debug)]
pub struct SiglipAttentionPool {
    /// `[1, 1, hidden]`
    pub probe: Param<Tensor<3>>,
    /// Packed attention.
    pub attention: PackedAttention,
    /// Before the MLP.
    pub layernorm: LayerNorm,
    /// Feed-forward.
    pub mlp: EncoderMlp,
}

/// `torch.nn.MultiheadAttention`: q, k and v weights in one matrix.
#[derive(Module, Debug)]
pub struct PackedAttention {
    /// `[3 * hidden, hidden]`, rows of q, then k, then v.
    pub in_proj_weight: Param<Tensor<2>>,
    /// `[3 * hidden]`
    pub in_proj_bias: Param<Tensor<1>>,
    /// Output projection.
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl PackedAttention {
    /// Attention of `queries` to what `mask` lets them see of `x`.
    ///
    /// # Shapes
    /// - `queries`: `[n, q, hidden]`; `x`: `[n, tokens, hidden]`
    /// - returns `[n, q, hidden]`
    pub fn forward(&self, queries: Tensor<3>, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let [_, _, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let (weight, bias) = (self.in_proj_weight.val(), self.in_proj_bias.val());
        let project = |x: Tensor<3>, part: usize| {
            let weight = weight.clone().narrow(0, part * hidden, hidden).transpose();
            let bias = bias.clone().narrow(0, part * hidden, hidden);
            let [n, tokens, _] = x.dims();
            linear(x, weight, Some(bias)).reshape([n, tokens, self.heads, head_dim])
        };
        let [n, count, _] = queries.dims();
        let (q, k, v) = (project(queries, 0), project(x.clone(), 1), project(x, 2));
        let options = AttentionOptions::new(head_dim);
        let y = attention(q, k, v, mask, &options);
        self.out_proj.forward(y.reshape([n, count, hidden]))
    }
}

impl SiglipAttentionPool {
    pub(super) fn new(shape: &EncoderShape, init: &Scope) -> Self {
        let hidden = shape.hidden_size;
        let attention = init.at("attention");
        Self {
            probe: init.param("probe", [1, 1, hidden], Fill::xavier_uniform(hidden, hidden)),
            attention: PackedAttention {
                in_proj_weight: attention.param(
                    "in_proj_weight",
                    [3 * hidden, hidden],
                    Fill::xavier_uniform(hidden, 3 * hidden),
                ),
                in_proj_bias: attention.param("in_proj_bias", [3 * hidden], Fill::ZEROS),
                out_proj: attention.linear("out_proj", hidden, hidden, Fill::lecun_normal(hidden), Some(Fill::ZEROS)),
                heads: shape.num_attention_heads,
            },
            layernorm: LayerNorm::new(hidden, shape.layer_norm_eps, init.device()),
            mlp: EncoderMlp::new(shape, &init.at("mlp")),
        }
    }

    /// `x = attention(probe, tokens)`, then `x + mlp(layernorm(x))`.
    ///
    /// # Shapes
    /// - `tokens`: `[n, tokens, hidden]`
    /// - returns `[n, hidden]`
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<2> {
        self.forward_masked(tokens, &AttentionMask::default())
    }

    /// As [`Self::forward`], of the tokens that `mask` shows: SigLIP 2 NaFlex pads.
    ///
    /// # Shapes
    /// - `tokens`: `[n, tokens, hidden]`
    /// - returns `[n, hidden]`
    pub fn forward_masked(&self, tokens: Tensor<3>, mask: &AttentionMask) -> Tensor<2> {
        let [n, _, hidden] = tokens.dims();
        let probe = self.probe.val().repeat_dim(0, n);
        let x = self.attention.forward(probe, tokens, mask);
        let x = x.clone() + self.mlp.forward(self.layernorm.forward(x));
        x.reshape([n, hidden])
    }
}

/// The SigLIP vision tower.
#[derive(Module, Debug)]
pub struct SiglipVisionModel {
    /// Patches and positions.
    pub embeddings: SiglipVisionEmbeddings,
    /// The layers.
    pub encoder: Encoder,
    /// After the last layer.
    pub post_layernorm: LayerNorm,
    /// Attention pooling, unless `vision_use_head` is false.
    pub head: Option<SiglipAttentionPool>,
    /// What the tower was built from.
    #[module(skip)]
    pub config: SiglipVisionConfig,
}

impl SiglipVisionModel {
    /// Patches plus positions.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, image_size, image_size]`
    /// - returns `[n, patches, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn embed(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        check_pixels(&pixels, self.config.num_channels, self.config.image_size)?;
        Ok(self.embed_any(pixels))
    }

    /// As [`Self::embed`] for pictures of any size, with the positions interpolated to their grid.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`
    /// - returns `[n, (height / patch) * (width / patch), hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape.
    pub fn embed_interpolated(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        check_any_pixels(&pixels, self.config.num_channels, self.config.patch_size)?;
        Ok(self.embed_any(pixels))
    }

    fn embed_any(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [_, _, height, width] = pixels.dims();
        let SiglipVisionConfig { image_size, patch_size, .. } = self.config;
        let table = self.embeddings.position_embedding.weight.val();
        let positions = interpolate_positions(table, image_size / patch_size, height / patch_size, width / patch_size);
        self.embeddings.patch_embedding.forward(pixels) + positions.unsqueeze()
    }

    /// All layers, `post_layernorm` and the head.
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
        let x = self.encoder.forward(embedded, &AttentionMask::default());
        let last_hidden_state = self.post_layernorm.forward(x);
        let pooler_output = self.head.as_ref().map(|head| head.forward(last_hidden_state.clone()));
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
        let head = self.head.as_ref().filter(|_| pooled);
        if head.is_some() {
            wanted.push(self.encoder.layers.len());
        }
        let mut layers = self.encoder.hidden_states(embedded, &AttentionMask::default(), &wanted);
        let pooled = head.and_then(|head| layers.pop().map(|last| head.forward(self.post_layernorm.forward(last))));
        Ok(VisionFeatures { layers, pooled })
    }
}
