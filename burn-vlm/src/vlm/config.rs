//! Configuration of a VLM: the keys of LLaVA's `config.json`, and a few of our own.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Vlm;
use crate::connector::{Connector, ConnectorConfig, MlpConnectorConfig, RoutingQuery};
use crate::encoder::resolve_layer;
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::language::LanguageConfig;
use crate::nn::Activation;
use crate::vision::VisionConfig;

/// The first transformers version whose Gemma 2 no longer scales visual tokens.
const UNSCALED_SINCE: (u32, u32) = (5, 4);

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
    /// Patches only: the class token, where the encoder has one, is dropped.
    #[serde(alias = "patch")]
    Default,
    /// Every token of the encoder.
    #[serde(alias = "cls_patch")]
    Full,
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

/// Keys of `LlavaConfig`, and ours: `connector`, `visual_tokens`, `scale_visual_embeds`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VlmConfig {
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
    /// Whether the class token is kept.
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

impl VlmConfig {
    /// LLaVA's defaults around two parts.
    pub fn new(vision_config: VisionConfig, text_config: LanguageConfig, image_token_index: i64) -> Self {
        Self {
            vision_config,
            text_config,
            image_token_index,
            projector_hidden_act: default_projector_act(),
            vision_feature_layer: default_feature_layer(),
            vision_feature_select_strategy: default_strategy(),
            multimodal_projector_bias: true,
            connector: ConnectorConfig::Mlp,
            visual_tokens: VisualTokens::default(),
            scale_visual_embeds: None,
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
    /// [`ModelError::Config`] and [`ModelError::FeatureLayer`].
    pub fn init_with(&self, scope: &Scope) -> Result<Vlm, ModelError> {
        self.validate()?;
        let vision = self.vision_config.init_with(&scope.at("vision_tower"))?;
        let language = self.text_config.init_with(&scope.at("language_model"))?;
        Vlm::from_parts(vision, self.init_connector(scope), language, self)
    }

    /// A connector alone, as [`Self::init_with`] makes it.
    pub fn init_connector(&self, scope: &Scope) -> Connector {
        let config = MlpConnectorConfig {
            input: self.feature_width(),
            hidden: self.text_config.hidden_size(),
            activation: self.projector_hidden_act,
            bias: self.multimodal_projector_bias,
        };
        let scope = scope.at("multi_modal_projector");
        match &self.connector {
            ConnectorConfig::Mlp => Connector::Mlp(config.init_with(&scope)),
            ConnectorConfig::Parrot(parrot) => Connector::Parrot(parrot.init_with(&config, &scope)),
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
        let ConnectorConfig::Parrot(parrot) = &self.connector else { return Ok(()) };
        parrot.validate()?;
        match parrot.query {
            RoutingQuery::Cls if !self.keeps_class_token() => error(
                "connector.query",
                "cls".into(),
                "`pooled` or `mean`, or an encoder with a class token and vision_feature_select_strategy `full`",
            ),
            RoutingQuery::Pooled if !tokens.pooled_head => {
                error("connector.query", "pooled".into(), "`cls` or `mean`, or visual_tokens.pooled_head = true")
            }
            _ => Ok(()),
        }
    }

    /// Visual tokens of one image: the places that it takes among the ids.
    pub fn num_visual_tokens(&self) -> usize {
        self.connector.output_tokens(self.num_feature_tokens())
    }

    /// Feature vectors of one image, from [`Vlm::encode_images`]; a connector may give fewer visual tokens.
    pub fn num_feature_tokens(&self) -> usize {
        let side = self.vision_config.grid() / self.visual_tokens.pool.unwrap_or(1).max(1);
        side * side + usize::from(self.keeps_class_token()) + usize::from(self.visual_tokens.pooled_head)
    }

    /// Width of the features that the connector takes.
    pub fn feature_width(&self) -> usize {
        self.vision_config.hidden_size() * self.vision_feature_layer.layers().len()
    }

    /// Whether token 0 of the features is the encoder's class token.
    pub fn keeps_class_token(&self) -> bool {
        self.vision_config.has_class_token() && self.vision_feature_select_strategy == SelectStrategy::Full
    }

    /// Whether visual tokens take the decoder's embedding scale: `scale_visual_embeds`, or, where that is absent, whether
    /// `transformers_version` is absent or below 5.4.
    pub fn scales_visual_embeds(&self) -> bool {
        self.scale_visual_embeds.unwrap_or_else(|| {
            let mut parts = self.transformers_version.as_deref().unwrap_or("").split('.').map(|part| part.parse().ok());
            let version = (parts.next().flatten(), parts.next().flatten());
            !matches!(version, (Some(major), Some(minor)) if (major, minor) >= UNSCALED_SINCE)
        })
    }
}
