//! Recipes: what is trained, on what, how long, with which learning rates. A recipe is TOML; a study patches it.
//!
//! ```toml
//! stages = ["align", "finetune"]
//!
//! [model]
//! encoder = "siglip2"                   # a part: a folder of --parts, or any folder with config.json and weights
//! backbone = "backbone"
//! # or from a whole model, whose connector and processor are kept:
//! # from = "llava-1.5-7b-hf"
//!
//! [stage.finetune]
//! objective = "vlm"
//! steps = 1000
//! batch = 64
//! train = { multi_modal_projector = 1e-3, language_model = 5e-4 }   # what no pattern names is frozen
//! data = { languages = ["en", "de"], english = 0.5, tasks = { caption = 1.0 } }
//! # or, on your own data:
//! # mixture = { file = "mixture.toml", mask = "answers_only", batching = { strategy = "grouped", max_tokens = 8192 } }
//! ```

mod compute;
mod data;
mod evaluation;
mod lora;
mod mixture;
mod part;
mod settings;
mod stage;
mod validation;
mod video;

pub use burn_vlm_data::batching::Batching;
pub use compute::ComputeRecipe;
pub use data::{DataRecipe, TextShare, has_picture};
pub use evaluation::{ClozeScore, EvaluationRecipe, SuiteUse, TextPrompt, TextRecipe};
pub use lora::LoraRecipe;
pub use mixture::{MixtureRecipe, PictureView};
pub use part::{PartRecipe, TokenizerRecipe};
pub use settings::{apply_setting, read_recipe};
pub use stage::{ObjectiveKind, StageRecipe};
pub use validation::ValidationRecipe;
pub use video::VideoRecipe;

use std::collections::BTreeMap;

use burn_vlm::connector::ConnectorConfig;
use burn_vlm::nn::Activation;
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, VisualTokens};
use burn_vlm_base::suggest;
use burn_vlm_data::encode::AnswerEnd;
use burn_vlm_data::mixture::Share;
use burn_vlm_data::processor::TilingPreset;
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// A whole recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Base seed of initialisation, data order, augmentation and noise; a study sets it per cell.
    #[serde(default)]
    pub seed: u64,
    /// The VLM and the parts it is assembled from.
    pub model: ModelRecipe,
    /// Names of the VLM's stages in the order they run.
    pub stages: Vec<String>,
    /// The stages by name.
    pub stage: BTreeMap<String, StageRecipe>,
    /// Precision and memory.
    #[serde(default, skip_serializing_if = "ComputeRecipe::is_plain")]
    pub compute: ComputeRecipe,
    /// How videos are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoRecipe>,
    /// The tokenizer that parts pretrained here share; parts from elsewhere bring their own.
    #[serde(default)]
    pub tokenizer: TokenizerRecipe,
    /// How each part is pretrained, by name.
    #[serde(default)]
    pub part: BTreeMap<String, PartRecipe>,
}

/// The VLM: its parts and how they are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// A whole vision-language model to start from, a part name or folder, instead of `encoder` and `backbone`: its tower, connector,
    /// newline, decoder, tokenizer, template and image processor are kept, and so is how they are joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The vision encoder's part name or folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub encoder: String,
    /// The language model's part name or folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backbone: String,
    /// Layer whose output is taken from the tower, as in LLaVA's `vision_feature_layer`.
    #[serde(default = "last_layer")]
    pub vision_feature_layer: FeatureLayer,
    /// Which of the tower's tokens are kept: `default` (without its first) or `full`; absent, all patches and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision_feature_select_strategy: Option<SelectStrategy>,
    /// Activation between the projector's two layers.
    #[serde(default = "gelu")]
    pub projector_hidden_act: Activation,
    /// From features to embeddings: `{ kind = "mlp" }` or `{ kind = "parrot", ... }` with the switches of
    /// [`ParrotConfig`](burn_vlm::connector::ParrotConfig).
    #[serde(default, skip_serializing_if = "ConnectorConfig::is_mlp")]
    pub connector: ConnectorConfig,
    /// Pooling, pooled head, normalisation and noise of the visual tokens.
    #[serde(default)]
    pub visual_tokens: VisualTokens,
    /// Gemma's sqrt(hidden) on visual tokens too, as transformers 4.x does.
    #[serde(default)]
    pub scale_visual_embeds: bool,
    /// Gemma 2's soft-cap on the logits, as transformers before 4.52 does in a vision-language model; `false` is what later ones do.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub softcap_logits: bool,
    /// Any-resolution pictures by tile, patch and most tiles, `384-14-6`; Table 10 also has `224-14-22`, `224-16-20`, `512-16-4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<String>,
    /// What is done where the chat template ends an answer with no special token: `template` (said, nothing else), `add` (the
    /// tokenizer's end token behind answers, in training and in use) or `refuse`.
    #[serde(default, skip_serializing_if = "AnswerEnd::is_template")]
    pub answer_end: AnswerEnd,
}

impl ModelRecipe {
    /// The part that has the vision encoder: the whole model, where the recipe starts from one.
    pub fn encoder_part(&self) -> &str {
        self.from.as_deref().unwrap_or(&self.encoder)
    }

    /// The part that has the language model: the whole model, where the recipe starts from one.
    pub fn backbone_part(&self) -> &str {
        self.from.as_deref().unwrap_or(&self.backbone)
    }

    /// What is wrong with the keys that say where the model comes from, if anything.
    fn problem(&self) -> Option<String> {
        if self.from.is_none() {
            let missing = [("encoder", &self.encoder), ("backbone", &self.backbone)]
                .into_iter()
                .find(|(_, part)| part.is_empty());
            return missing.map(|(key, _)| {
                format!("`{key}` is missing: name `encoder` and `backbone`, or, to start from a whole model, `from`")
            });
        }
        let own = Self {
            from: self.from.clone(),
            answer_end: self.answer_end,
            encoder: String::new(),
            backbone: String::new(),
            vision_feature_layer: last_layer(),
            vision_feature_select_strategy: None,
            projector_hidden_act: gelu(),
            connector: ConnectorConfig::default(),
            visual_tokens: VisualTokens::default(),
            scale_visual_embeds: false,
            softcap_logits: true,
            tiling: None,
        };
        let given = [
            ("encoder", self.encoder != own.encoder),
            ("backbone", self.backbone != own.backbone),
            ("vision_feature_layer", self.vision_feature_layer != own.vision_feature_layer),
            (
                "vision_feature_select_strategy",
                self.vision_feature_select_strategy != own.vision_feature_select_strategy,
            ),
            ("projector_hidden_act", self.projector_hidden_act != own.projector_hidden_act),
            ("connector", self.connector != own.connector),
            ("visual_tokens", self.visual_tokens != own.visual_tokens),
            ("scale_visual_embeds", self.scale_visual_embeds),
            ("softcap_logits", !self.softcap_logits),
            ("tiling", self.tiling.is_some()),
        ];
        let given: Vec<String> =
            given.into_iter().filter(|(_, given)| *given).map(|(key, _)| format!("`{key}`")).collect();
        (!given.is_empty()).then(|| {
            format!("{} cannot stand beside `from`, whose model has its own; take one of them out", given.join(", "))
        })
    }
}

fn last_layer() -> FeatureLayer {
    FeatureLayer::One(-1)
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn gelu() -> Activation {
    Activation::Gelu
}

/// A table as `T`; an unknown key or a wrong type is an error that names the table.
pub(crate) fn from_table<T: serde::de::DeserializeOwned>(table: toml::Table, what: &str) -> Result<T> {
    toml::Value::Table(table).try_into().map_err(|e: toml::de::Error| {
        let message = e.to_string();
        let message = message.trim_end();
        TrainError::Recipe(format!("[{what}]: {message}{}", did_you_mean(message)))
    })
}

/// What to say of `[stage.*]` tables that `stages` does not list: one of them may be a listed one, mistyped.
fn unlisted_stages(recipe: &toml::Table) -> Option<String> {
    let listed = recipe.get("stages")?.as_array()?;
    let unlisted = |name: &&String| !listed.iter().any(|listed| listed.as_str() == Some(name));
    let names: Vec<String> =
        recipe.get("stage")?.as_table()?.keys().filter(unlisted).map(|name| format!("[stage.{name}]")).collect();
    (!names.is_empty()).then(|| format!("`stages` does not list {}", names.join(", ")))
}

/// Of a message such as "unknown field `a`, expected one of `b`, `c`": the one that was probably meant.
fn did_you_mean(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((wrong, known)) if message.starts_with("unknown ") => suggest::did_you_mean(wrong, known.iter().copied()),
        _ => String::new(),
    }
}

impl Recipe {
    /// Reads a recipe from a merged TOML table.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a stage that is listed but not described.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let unlisted = unlisted_stages(&table);
        let recipe: Self = from_table(table, "recipe").map_err(|error| match (error, unlisted) {
            (TrainError::Recipe(message), Some(unlisted)) => TrainError::Recipe(format!("{message}; {unlisted}")),
            (error, _) => error,
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The share of the data that is held out of every stage: the largest that one of them validates on.
    pub fn held_out_share(&self) -> Share {
        let stages = self.stages.iter().filter_map(|name| self.stage.get(name));
        stages.map(StageRecipe::held_out_share).max().unwrap_or(Share::ZERO)
    }

    fn check(&self) -> Result<()> {
        if let Some(problem) = self.model.problem() {
            return Err(TrainError::Recipe(format!("[model]: {problem}")));
        }
        if let Some(video) = &self.video {
            video.check()?;
        }
        self.part.keys().try_for_each(|name| self.lineage(name).map(|_| ()))?;
        self.model.connector.check().map_err(|e| TrainError::Recipe(format!("[model.connector]: {e}")))?;
        if let Some(tiling) = &self.model.tiling
            && TilingPreset::by_name(tiling).is_none()
        {
            let known: Vec<&str> = TilingPreset::ALL.iter().map(|preset| preset.name).collect();
            let known = known.join(", ");
            return Err(TrainError::Recipe(format!(
                "[model]: `tiling = {tiling:?}`: expected TILE-PATCH-MAXTILES, such as {known}"
            )));
        }
        if self.compute.images_per_chunk == Some(0) {
            return Err(TrainError::Recipe("[compute]: `images_per_chunk` must be at least 1".into()));
        }
        if self.stages.is_empty() {
            return Err(TrainError::Recipe("`stages` is empty: nothing would be trained".into()));
        }
        for (number, name) in self.stages.iter().enumerate() {
            if self.stages[..number].contains(name) {
                let message =
                    format!("`stages` lists `{name}` twice; a second one needs a name and a table of its own");
                return Err(TrainError::Recipe(message));
            }
            if !self.stage.contains_key(name) {
                let known: Vec<&str> = self.stage.keys().map(String::as_str).collect();
                return Err(TrainError::Recipe(format!(
                    "`stages` lists `{name}`, but there is no [stage.{name}]; there are: {}",
                    known.join(", ")
                )));
            }
        }
        for (name, stage) in &self.stage {
            stage.check(name)?;
            let view = stage.mixture.as_ref().map_or(stage.data.pictures, |mixture| mixture.pictures);
            let tiled = view == PictureView::Tiles;
            if tiled && self.model.tiling.is_none() && self.model.from.is_none() {
                let message = format!(
                    "[stage.{name}]: `pictures = \"tiles\"` needs `tiling` under [model], such as \"384-14-6\""
                );
                return Err(TrainError::Recipe(message));
            }
        }
        for (name, part) in &self.part {
            part.stage().check(&format!("part.{name}.stage"))?;
            if part.stage().lora.is_some() {
                let message = format!(
                    "[part.{name}.stage]: `lora` adapts a model that is there; a part is trained from the beginning"
                );
                return Err(TrainError::Recipe(message));
            }
        }
        Ok(())
    }
}
