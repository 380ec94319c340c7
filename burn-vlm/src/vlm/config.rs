//! Configuration of a VLM: the keys of LLaVA's, LLaVA-NeXT's and LLaVA-OneVision's `config.json`, and a few of our own.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use burn_vlm_base::onevision::DEFAULT_STRIDE;
use serde::{Deserialize, Serialize};

use super::Vlm;
use super::onevision::{NewlinePosition, PoolMode, default_pinpoints, is_default, is_default_stride};
use super::tiling::{DEFAULT_PINPOINTS, Size};
use crate::connector::{ConnectorConfig, ConnectorShape, Projector};
use crate::encoder::resolve_layer;
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Fill, Scope};
use crate::language::LanguageConfig;
use crate::nn::Activation;
use crate::vision::{VisionConfig, VisionTower};

/// The first transformers version whose Gemma 2 no longer scales visual tokens.
const UNSCALED_SINCE: (u32, u32) = (5, 4);
/// The first transformers version whose VLMs call the head of Gemma 2 without its soft-cap.
const UNCAPPED_SINCE: (u32, u32) = (4, 52);

/// How a picture becomes visual tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VlmType {
    /// Each picture is one square view.
    #[default]
    Llava,
    /// Each picture is a base view and a grid of tiles, ended row by row with `image_newline`.
    LlavaNext,
    /// As [`Self::LlavaNext`] with grids that have a largest size; and videos, whose frames are pooled.
    LlavaOnevision,
}

/// Which hidden state of the vision tower is read; several are concatenated along the width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeatureLayer {
    /// One layer; -1 is the last layer's output (before any final norm), 0 the embedding output.
    One(i64),
    /// Several layers.
    Many(Vec<i64>),
}

impl FeatureLayer {
    /// As a list.
    pub fn layers(&self) -> &[i64] {
        match self {
            Self::One(layer) => std::slice::from_ref(layer),
            Self::Many(layers) => layers,
        }
    }
}

/// `vision_feature_select_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectStrategy {
    /// All tokens but the first, whatever that is: a class token, or, in a tower without one (SigLIP), a patch. That is what
    /// published checkpoints with this value were run with.
    #[serde(alias = "patch")]
    Default,
    /// Every token of the encoder.
    #[serde(alias = "cls_patch")]
    Full,
}

impl SelectStrategy {
    /// The strategy that keeps all patches of a tower and nothing else.
    pub fn patches_of(vision: &VisionConfig) -> Self {
        if vision.has_class_token() { Self::Default } else { Self::Full }
    }
}

/// How an encoder's output becomes visual tokens. The default is LLaVA's: every patch is one token, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VisualTokens {
    /// Side of the window, in patches, that is averaged into one token; must divide the grid. `None` keeps all patches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<usize>,
    /// Whether the encoder's pooled output is appended as one more token.
    pub pooled_head: bool,
    /// Whether each feature vector is divided by its root mean square before the connector.
    pub normalize: bool,
    /// Standard deviation of the Gaussian noise added to the features in training (see [`Vlm::connect`]).
    pub noise: f64,
}

/// Keys of `LlavaConfig`, `LlavaNextConfig` and `LlavaOnevisionConfig`, those of the code that trained the latter (`mm_*`), and ours:
/// `connector`, `visual_tokens`, `scale_visual_embeds`, `softcap_logits`, `tile_every_image`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VlmConfig {
    /// Whether pictures are tiled, and whether there are videos.
    #[serde(default)]
    pub model_type: VlmType,
    /// The vision tower.
    pub vision_config: VisionConfig,
    /// The language model.
    pub text_config: LanguageConfig,
    /// The id that marks the place of a visual token (`image_token_id` in newer configs).
    #[serde(alias = "image_token_id", default = "default_image_token")]
    pub image_token_index: i64,
    /// Activation between the connector's two layers.
    #[serde(default = "default_projector_act")]
    pub projector_hidden_act: Activation,
    /// Which hidden state of the tower is read.
    #[serde(default = "default_feature_layer")]
    pub vision_feature_layer: FeatureLayer,
    /// Whether the tower's first token is kept.
    #[serde(default = "default_strategy")]
    pub vision_feature_select_strategy: SelectStrategy,
    /// Whether the connector's layers have biases.
    #[serde(default = "default_true")]
    pub multimodal_projector_bias: bool,
    /// From features to embeddings.
    #[serde(default, skip_serializing_if = "ConnectorConfig::is_mlp")]
    pub connector: ConnectorConfig,
    /// From encoder output to visual tokens.
    #[serde(default)]
    pub visual_tokens: VisualTokens,
    /// Whether visual tokens are multiplied by the decoder's embedding scale (Gemma's `sqrt(hidden)`), as transformers before
    /// 5.4 did and as checkpoints trained with it (TowerVision) need. Absent, `transformers_version` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_visual_embeds: Option<bool>,
    /// Whether the decoder's soft-cap on the logits (Gemma 2) is applied, as transformers before 4.52 did in a VLM. Absent,
    /// `transformers_version` decides. The order of the logits, and so greedy text, is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap_logits: Option<bool>,
    /// Sizes (height, width) in pixels that a tiled picture may be scaled to, multiples of the tower's `image_size`; absent,
    /// [`DEFAULT_PINPOINTS`], or those of [`default_pinpoints`] in LLaVA-OneVision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_grid_pinpoints: Option<Vec<Size>>,
    /// The id that marks the place of a visual token of a video (`video_token_id` in newer configs); absent, that of pictures does.
    #[serde(alias = "video_token_id", default, skip_serializing_if = "Option::is_none")]
    pub video_token_index: Option<i64>,
    /// `anyres_max_N`: how many tiles' tokens a picture's grid may have (LLaVA-OneVision); `anyres`: any number; absent, `anyres_max_9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision_aspect_ratio: Option<String>,
    /// Where newlines stand among the tokens of a video.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mm_newline_position: NewlinePosition,
    /// How the tokens of a frame become fewer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mm_spatial_pool_mode: PoolMode,
    /// By how much each side of a frame shrinks.
    #[serde(default = "default_stride", skip_serializing_if = "is_default_stride")]
    pub mm_spatial_pool_stride: usize,
    /// Whether a picture that is not the only one of its conversation is tiled too, as transformers before 4.53 did. Absent,
    /// `transformers_version` decides. See [`VlmConfig::tiles_images`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile_every_image: Option<bool>,
    /// The version that wrote the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformers_version: Option<String>,
}

fn default_image_token() -> i64 {
    32_000
}
fn default_projector_act() -> Activation {
    Activation::Gelu
}
fn default_feature_layer() -> FeatureLayer {
    FeatureLayer::One(-2)
}
fn default_strategy() -> SelectStrategy {
    SelectStrategy::Default
}
fn default_true() -> bool {
    true
}
fn default_stride() -> usize {
    DEFAULT_STRIDE
}

impl VlmConfig {
    /// LLaVA's defaults around two parts; all patches of the tower are kept ([`SelectStrategy::patches_of`]).
    pub fn new(vision_config: VisionConfig, text_config: LanguageConfig, image_token_index: i64) -> Self {
        Self {
            model_type: VlmType::Llava,
            vision_feature_select_strategy: SelectStrategy::patches_of(&vision_config),
            vision_config,
            text_config,
            image_token_index,
            projector_hidden_act: default_projector_act(),
            vision_feature_layer: default_feature_layer(),
            multimodal_projector_bias: true,
            connector: ConnectorConfig::default(),
            visual_tokens: VisualTokens::default(),
            scale_visual_embeds: None,
            softcap_logits: None,
            image_grid_pinpoints: None,
            video_token_index: None,
            vision_aspect_ratio: None,
            mm_newline_position: NewlinePosition::default(),
            mm_spatial_pool_mode: PoolMode::default(),
            mm_spatial_pool_stride: DEFAULT_STRIDE,
            tile_every_image: None,
            transformers_version: None,
        }
    }

    /// A model with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::FeatureLayer`].
    pub fn init(&self, device: &Device) -> Result<Vlm, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// A model with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::FeatureLayer`]; a part of your own is not one of this library's.
    pub fn init_with(&self, scope: &Scope) -> Result<Vlm, ModelError> {
        self.init_parts(scope)
    }

    /// As [`Self::init_with`] with any tower and connector that make something of this configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::FeatureLayer`].
    pub fn init_parts<T: VisionTower, P: Projector>(&self, scope: &Scope) -> Result<Vlm<T, P>, ModelError> {
        self.validate()?;
        let vision = T::from_config(&self.vision_config, &scope.at("vision_tower"))?;
        let language = self.text_config.init_with(&scope.at("language_model"))?;
        let mut model = Vlm::from_parts(vision, self.init_connector(scope)?, language, self)?;
        model.image_newline = self.init_image_newline(scope);
        Ok(model)
    }

    /// The embedding that ends a row of a tiled picture, `[hidden]`; `None` where pictures are not tiled.
    pub fn init_image_newline(&self, scope: &Scope) -> Option<Param<Tensor<1>>> {
        let hidden = self.text_config.hidden_size();
        let fill = Fill::Normal { std: (hidden as f64).powf(-0.5) };
        self.is_tiled().then(|| scope.param("image_newline", [hidden], fill))
    }

    /// A connector alone, as [`Self::init_with`] makes it.
    ///
    /// # Errors
    /// [`ModelError::Config`] for keys that `P` makes nothing of.
    pub fn init_connector<P: Projector>(&self, scope: &Scope) -> Result<P, ModelError> {
        P::from_config(&self.connector, &self.connector_shape(), &scope.at("multi_modal_projector"))
    }

    /// The place that a connector fills.
    pub fn connector_shape(&self) -> ConnectorShape {
        ConnectorShape {
            input: self.feature_width(),
            hidden: self.text_config.hidden_size(),
            tokens: self.num_feature_tokens(),
            activation: self.projector_hidden_act,
            bias: self.multimodal_projector_bias,
        }
    }

    /// Checks what the parts cannot check for themselves.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::FeatureLayer`].
    pub fn validate(&self) -> Result<(), ModelError> {
        let layers = self.vision_feature_layer.layers();
        for layer in layers {
            resolve_layer(*layer, self.vision_config.num_hidden_layers())?;
        }
        let error = |key, value: String, expected: &str| Err(ModelError::config("vlm", key, value, expected));
        if layers.is_empty() {
            return error("vision_feature_layer", "[]".into(), "at least one layer");
        }
        if self.image_token_index < 0 {
            return error("image_token_index", self.image_token_index.to_string(), "a token id");
        }
        let tokens = &self.visual_tokens;
        let grid = self.vision_config.grid();
        let patches_only = self.vision_feature_select_strategy == SelectStrategy::patches_of(&self.vision_config);
        if (self.is_tiled() && !patches_only) || (tokens.pool.is_some() && self.drops_patch()) {
            let found = format!("{:?}", self.vision_feature_select_strategy).to_lowercase();
            let expected = if self.vision_config.has_class_token() {
                "`default`: with the class token the tokens are no grid"
            } else {
                "`full`: `default` drops token 0, which in this tower is a patch, and the rest is no grid"
            };
            return error("vision_feature_select_strategy", found, expected);
        }
        if self.is_flexible() {
            self.validate_flexible()?;
        }
        if self.is_tiled() {
            let size = self.vision_config.image_size();
            let is_grid = |side: usize| side > 0 && side.is_multiple_of(size);
            let pinpoints = self.pinpoints();
            if pinpoints.is_empty() || !pinpoints.iter().all(|(height, width)| is_grid(*height) && is_grid(*width)) {
                let expected = format!("sizes of whole tiles: multiples of the tower's image_size {size}");
                return error("image_grid_pinpoints", format!("{pinpoints:?}"), &expected);
            }
            if tokens.pooled_head {
                return error("visual_tokens.pooled_head", "true".into(), "false: tiles are put side by side");
            }
        }
        if self.takes_videos() {
            self.validate_onevision()?;
        }
        if let Some(pool) = tokens.pool
            && (pool == 0 || !grid.is_multiple_of(pool))
        {
            return error(
                "visual_tokens.pool",
                pool.to_string(),
                &format!("a divisor of the {grid} x {grid} grid's side"),
            );
        }
        if tokens.pooled_head && !self.vision_config.has_pooled_output() {
            return error("visual_tokens.pooled_head", "true".into(), "false: the vision tower has no pooling head");
        }
        if tokens.pooled_head && layers.len() != 1 {
            return error(
                "visual_tokens.pooled_head",
                "true".into(),
                "false with several feature layers: the widths differ",
            );
        }
        if !(tokens.noise >= 0.0 && tokens.noise.is_finite()) {
            return error("visual_tokens.noise", tokens.noise.to_string(), "a finite number >= 0");
        }
        self.connector.validate(self)
    }

    /// What goes with pictures that have grids of their own: a token for each patch, and nothing that takes a square.
    fn validate_flexible(&self) -> Result<(), ModelError> {
        let tower = self.vision_config.name();
        let error = |key, value: String, expected: &str| {
            let expected = format!("{expected}: in {tower} each picture has a grid of its own");
            Err(ModelError::config("vlm", key, value, expected))
        };
        let tokens = &self.visual_tokens;
        if self.is_tiled() {
            let found = serde_json::to_value(self.model_type).ok();
            let found = found.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
            return error("model_type", found.into(), "`llava`, without tiles");
        }
        if self.drops_patch() {
            return error("vision_feature_select_strategy", "default".into(), "`full`");
        }
        if let Some(pool) = tokens.pool {
            return error("visual_tokens.pool", pool.to_string(), "none");
        }
        if tokens.pooled_head {
            return error("visual_tokens.pooled_head", "true".into(), "false");
        }
        let features = self.num_feature_tokens();
        if matches!(self.connector, ConnectorConfig::Parrot(_)) || self.connector.output_tokens(features) != features {
            let kind = serde_json::to_value(&self.connector).ok().and_then(|value| value.get("kind").cloned());
            let kind = kind.map_or_else(String::new, |kind| kind.to_string());
            return error("connector", kind, "`mlp`, or one of your own that makes a token of each feature by itself");
        }
        Ok(())
    }

    /// Visual tokens of one square view: of an image or, where images are tiled, of a tile
    /// ([`Self::num_image_tokens`] counts those of a tiled image). Of a tower whose pictures have grids of their own, a picture has as
    /// many as patches, and this is their number where the grid is that of the tower's positions.
    pub fn num_visual_tokens(&self) -> usize {
        self.connector.output_tokens(self.num_feature_tokens())
    }

    /// Feature vectors of one square view, from [`Vlm::encode_images`]; a connector may give fewer visual tokens.
    pub fn num_feature_tokens(&self) -> usize {
        let patches = (self.feature_side() * self.feature_side()).saturating_sub(usize::from(self.drops_patch()));
        patches + usize::from(self.keeps_class_token()) + usize::from(self.visual_tokens.pooled_head)
    }

    /// Feature vectors along one side of a square view.
    pub fn feature_side(&self) -> usize {
        self.vision_config.grid() / self.visual_tokens.pool.unwrap_or(1).max(1)
    }

    /// Visual tokens along one side of a square view.
    pub fn tile_side(&self) -> usize {
        self.feature_side() / self.connector.grid_scale()
    }

    /// Whether a picture is cut into tiles.
    pub fn is_tiled(&self) -> bool {
        matches!(self.model_type, VlmType::LlavaNext | VlmType::LlavaOnevision)
    }

    /// Whether there are videos.
    pub fn takes_videos(&self) -> bool {
        self.model_type == VlmType::LlavaOnevision
    }

    /// Whether each picture has a grid of its own (NaFlex).
    pub fn is_flexible(&self) -> bool {
        self.vision_config.is_flexible()
    }

    /// `image_grid_pinpoints`, or what an absent value means.
    pub fn pinpoints(&self) -> Vec<Size> {
        let default = || if self.takes_videos() { default_pinpoints() } else { DEFAULT_PINPOINTS.to_vec() };
        self.image_grid_pinpoints.clone().unwrap_or_else(default)
    }

    /// Width of the features that the connector takes.
    pub fn feature_width(&self) -> usize {
        self.vision_config.hidden_size() * self.vision_feature_layer.layers().len()
    }

    /// Whether token 0 of the features is the encoder's class token.
    pub fn keeps_class_token(&self) -> bool {
        self.vision_config.has_class_token() && self.vision_feature_select_strategy == SelectStrategy::Full
    }

    /// Whether `default` costs the tower a patch, for want of a class token.
    fn drops_patch(&self) -> bool {
        !self.vision_config.has_class_token() && self.vision_feature_select_strategy == SelectStrategy::Default
    }

    /// Whether visual tokens take the decoder's embedding scale: `scale_visual_embeds`, or, where that is absent, whether
    /// `transformers_version` is absent or below 5.4.
    pub fn scales_visual_embeds(&self) -> bool {
        self.scale_visual_embeds.unwrap_or_else(|| !self.is_since(UNSCALED_SINCE))
    }

    /// Whether the decoder's soft-cap on the logits is applied: `softcap_logits`, or, where that is absent, whether
    /// `transformers_version` is absent or below 4.52.
    pub fn softcaps_logits(&self) -> bool {
        self.softcap_logits.unwrap_or_else(|| !self.is_since(UNCAPPED_SINCE))
    }

    /// Whether `transformers_version` is known and at least this.
    pub(super) fn is_since(&self, since: (u32, u32)) -> bool {
        let mut parts = self.transformers_version.as_deref().unwrap_or("").split('.').map(|part| part.parse().ok());
        let version = (parts.next().flatten(), parts.next().flatten());
        matches!(version, (Some(major), Some(minor)) if (major, minor) >= since)
    }
}
