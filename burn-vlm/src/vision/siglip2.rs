//! SigLIP 2's vision tower for pictures in their own aspect ratio (NaFlex; Tschannen et al. 2025, section 2.5). SigLIP 2 at fixed
//! resolution is [`SiglipVisionModel`](super::SiglipVisionModel).
//!
//! Unusual here:
//! - a picture has a grid of its own, and comes as patches that are padded to a common number: no patch, and not the head, sees
//!   padding;
//! - patches are embedded by a linear layer, whose input has the channels of a pixel together;
//! - the learned positions are a square, resized to each picture's grid (bilinear, antialiased); padding has its first place, as in
//!   transformers;
//! - layers and head are SigLIP's, and a VLM reads hidden states before `post_layernorm` too.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::embeddings::{check_any_pixels, check_pixels, check_sizes};
use super::positions::antialiased_weights;
use super::{PatchPixels, SiglipAttentionPool, TowerShape, VisionFeatures, VisionOutput};
use crate::encoder::{Encoder, EncoderInit, EncoderShape};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::nn::{Activation, AttentionMask, Embedding, LayerNorm, Linear};

/// Keys and defaults of `Siglip2VisionConfig`; the defaults are those of SigLIP 2 base, patch 16.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Siglip2VisionConfig {
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
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Learned positions: a square of so many places. Not the most patches of a picture, which its processor decides.
    pub num_patches: usize,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Whether the attention-pooling head exists.
    pub vision_use_head: bool,
}

impl Default for Siglip2VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            patch_size: 16,
            num_patches: 256,
            hidden_act: Activation::GeluPytorchTanh,
            layer_norm_eps: 1e-6,
            vision_use_head: true,
        }
    }
}

impl Siglip2VisionConfig {
    /// A tower with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init(&self, device: &Device) -> Result<Siglip2VisionModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A tower with SigLIP's random initialisation from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn init_with(&self, init: &Scope) -> Result<Siglip2VisionModel, ModelError> {
        const NAME: &str = "siglip2_vision_model";
        let (hidden, patch, side) = (self.hidden_size, self.patch_size, self.side());
        if side == 0 || side * side != self.num_patches {
            let expected = "the places of a square: 256 for 16 x 16";
            return Err(ModelError::config(NAME, "num_patches", self.num_patches, expected));
        }
        check_sizes(NAME, hidden, self.num_attention_heads, side * patch, patch)?;
        let shape = self.encoder_shape();
        let embeddings = init.at("embeddings");
        let values = self.patch_values();
        Ok(Siglip2VisionModel {
            embeddings: Siglip2VisionEmbeddings {
                patch_embedding: embeddings.linear(
                    "patch_embedding",
                    values,
                    hidden,
                    Fill::lecun_normal(values),
                    Some(Fill::ZEROS),
                ),
                position_embedding: embeddings.embedding(
                    "position_embedding",
                    self.num_patches,
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

    /// Places along a side of the learned positions.
    fn side(&self) -> usize {
        self.num_patches.isqrt()
    }

    /// Values of a patch.
    fn patch_values(&self) -> usize {
        self.patch_size * self.patch_size * self.num_channels
    }

    /// What a VLM needs to know of the tower.
    pub(super) fn tower_shape(&self) -> TowerShape {
        TowerShape {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_channels: self.num_channels,
            image_size: self.side() * self.patch_size,
            patch_size: self.patch_size,
            class_token: false,
            pooled_output: self.vision_use_head,
            flexible: true,
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
pub struct Siglip2VisionEmbeddings {
    /// Pixels of a patch to its vector.
    pub patch_embedding: Linear,
    /// `[num_patches, hidden]`
    pub position_embedding: Embedding,
}

impl Siglip2VisionEmbeddings {
    /// The positions of each picture, `[n, most, hidden]`.
    fn positions(&self, grids: &[(usize, usize)], most: usize) -> Tensor<3> {
        let table = self.position_embedding.weight.val();
        let ([places, hidden], dtype) = (table.dims(), table.dtype());
        let side = places.isqrt();
        // Each grid once, one behind the other, and where in that each picture's patches find theirs.
        let mut first: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut weights: Vec<f32> = Vec::new();
        let mut index: Vec<i64> = Vec::with_capacity(grids.len() * most);
        for grid @ (rows, columns) in grids {
            let first = *first.entry(*grid).or_insert_with(|| {
                let rows_before = weights.len() / places;
                weights.extend(antialiased_weights(side, *rows, *columns));
                rows_before
            });
            index.extend((0..most).map(|at| (first + if at < rows * columns { at } else { 0 }) as i64));
        }
        let device = table.device();
        let rows = weights.len() / places;
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, places]), (&device, DType::F32));
        // In f32 whatever the table's type, as transformers does it.
        let resized = weights.matmul(table.cast(DType::F32)).cast(dtype);
        let count = index.len();
        let index = Tensor::<1, Int>::from_data(TensorData::new(index, [count]), &device);
        resized.select(0, index).reshape([grids.len(), most, hidden])
    }
}

/// SigLIP 2's vision tower for pictures in their own aspect ratio.
#[derive(Module, Debug)]
pub struct Siglip2VisionModel {
    /// Patches and positions.
    pub embeddings: Siglip2VisionEmbeddings,
    /// The layers.
    pub encoder: Encoder,
    /// After the last layer.
    pub post_layernorm: LayerNorm,
    /// Attention pooling, unless `vision_use_head` is false.
    pub head: Option<SiglipAttentionPool>,
    /// What the tower was built from.
    #[module(skip)]
    pub config: Siglip2VisionConfig,
}

impl Siglip2VisionModel {
    /// Patches plus positions, and what may be attended to.
    ///
    /// # Shapes
    /// - returns `[n, most, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for patches of another size.
    pub fn embed(&self, pixels: &PatchPixels) -> Result<(Tensor<3>, AttentionMask), ModelError> {
        let ([_, most, found], expected) = (pixels.patches().dims(), self.config.patch_values());
        if found != expected {
            let (side, channels) = (self.config.patch_size, self.config.num_channels);
            return Err(ModelError::Input(format!(
                "patches of {found} values, the vision tower takes {expected}: patch_size {side} x {side}, {channels} channels"
            )));
        }
        let weight = self.embeddings.patch_embedding.weight.val();
        let patches = pixels.patches().clone().cast(weight.dtype());
        let positions = self.embeddings.positions(pixels.grids(), most);
        let embedded = self.embeddings.patch_embedding.forward(patches) + positions;
        let real = pixels.real(&embedded.device());
        Ok((embedded, AttentionMask::full().with_key_padding(Some(real))))
    }

    /// All layers, `post_layernorm` and the head, of pictures that each have a grid of their own.
    ///
    /// # Shapes
    /// - `last_hidden_state`: `[n, most, hidden]`, behind a picture's patches what padding became
    ///
    /// # Errors
    /// [`ModelError::Input`] for patches of another size.
    pub fn forward_patches(&self, pixels: &PatchPixels) -> Result<VisionOutput, ModelError> {
        let (embedded, mask) = self.embed(pixels)?;
        let last_hidden_state = self.post_layernorm.forward(self.encoder.forward(embedded, &mask));
        let pooler_output = self.head.as_ref().map(|head| head.forward_masked(last_hidden_state.clone(), &mask));
        Ok(VisionOutput { last_hidden_state, pooler_output })
    }

    /// See [`VisionTower::features_of_patches`](super::VisionTower::features_of_patches).
    ///
    /// # Errors
    /// [`ModelError::Input`] for patches of another size, and [`ModelError::FeatureLayer`].
    pub fn features_of_patches(
        &self,
        pixels: &PatchPixels,
        layers: &[i64],
        pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        let mut wanted = layers.iter().map(|layer| self.encoder.resolve(*layer)).collect::<Result<Vec<_>, _>>()?;
        let head = self.head.as_ref().filter(|_| pooled);
        if head.is_some() {
            wanted.push(self.encoder.layers.len());
        }
        let (embedded, mask) = self.embed(pixels)?;
        let mut layers = self.encoder.hidden_states(embedded, &mask, &wanted);
        let pool = |head: &SiglipAttentionPool, last| head.forward_masked(self.post_layernorm.forward(last), &mask);
        let pooled = head.and_then(|head| layers.pop().map(|last| pool(head, last)));
        Ok(VisionFeatures { layers, pooled })
    }

    /// As [`Self::forward_patches`], of squares that have the grid of the learned positions.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, side, side]`, `side` the root of `num_patches` times `patch_size`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn forward(&self, pixels: Tensor<4>) -> Result<VisionOutput, ModelError> {
        self.forward_patches(&self.squares(pixels)?)
    }

    /// As [`Self::forward_patches`], of pictures of one size.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`, both at least a patch
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape.
    pub fn forward_interpolated(&self, pixels: Tensor<4>) -> Result<VisionOutput, ModelError> {
        self.forward_patches(&self.any(pixels)?)
    }

    /// As [`Self::features_of_patches`], of squares as [`Self::forward`] takes them.
    ///
    /// # Errors
    /// [`ModelError::Pixels`] and [`ModelError::FeatureLayer`].
    pub fn features(&self, pixels: Tensor<4>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError> {
        self.features_of_patches(&self.squares(pixels)?, layers, pooled)
    }

    /// As [`Self::features_of_patches`], of pictures of one size.
    ///
    /// # Errors
    /// [`ModelError::Input`] and [`ModelError::FeatureLayer`].
    pub fn features_interpolated(
        &self,
        pixels: Tensor<4>,
        layers: &[i64],
        pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        self.features_of_patches(&self.any(pixels)?, layers, pooled)
    }

    fn squares(&self, pixels: Tensor<4>) -> Result<PatchPixels, ModelError> {
        let Siglip2VisionConfig { num_channels, patch_size, .. } = self.config;
        check_pixels(&pixels, num_channels, self.config.side() * patch_size)?;
        PatchPixels::cut(pixels, patch_size)
    }

    fn any(&self, pixels: Tensor<4>) -> Result<PatchPixels, ModelError> {
        let Siglip2VisionConfig { num_channels, patch_size, .. } = self.config;
        check_any_pixels(&pixels, num_channels, patch_size)?;
        PatchPixels::cut(pixels, patch_size)
    }
}
