//! Recipes: what is trained, on what, how long, with which learning rates. A recipe is TOML; a study patches it.
//!
//! ```toml
//! stages = ["align", "finetune"]
//!
//! [model]
//! encoder = "siglip2"                   # a part: a folder of --parts, or any folder with config.json and weights
//! backbone = "backbone"
//!
//! [stage.finetune]
//! objective = "vlm"
//! steps = 1000
//! batch = 64
//! train = { multi_modal_projector = 1e-3, language_model = 5e-4 }   # what no pattern names is frozen
//! data = { languages = ["en", "de"], english = 0.5, tasks = { caption = 1.0 } }
//! # or, on data of one's own:
//! # mixture = { file = "mixture.toml", mask = "answers_only", batching = { strategy = "grouped", max_tokens = 8192 } }
//! ```

mod compute;
mod mixture;
mod settings;

pub use compute::ComputeRecipe;
pub use mixture::{Batching, MixtureRecipe, PictureView};
pub use settings::{apply_setting, read_recipe};

use std::collections::BTreeMap;

use burn_vlm::connector::ConnectorConfig;
use burn_vlm::dual::DualConfig;
use burn_vlm::language::LanguageConfig;
use burn_vlm::nn::Activation;
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, VisualTokens};
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::Task;
use burn_vlm_data::vlm_processor::TilingPreset;
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};
use crate::optim::{AdamWConfig, Schedule};

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
    /// The vision encoder's part name or folder.
    pub encoder: String,
    /// The language model's part name or folder.
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
    /// Any-resolution pictures by tile, patch and most tiles, `384-14-6`; Table 10 also has `224-14-22`, `224-16-20`, `512-16-4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<String>,
}

fn last_layer() -> FeatureLayer {
    FeatureLayer::One(-1)
}

fn gelu() -> Activation {
    Activation::Gelu
}

/// What a stage minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// Next-token loss on the answers, given picture and question.
    Vlm,
    /// Next-token loss on the answers of text-only conversations.
    Text,
    /// Sigmoid loss of picture-text pairs (Zhai et al. 2023).
    Siglip,
    /// Softmax loss of picture-text pairs (Radford et al. 2021).
    Clip,
}

/// One stage of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe {
    /// What is minimised.
    pub objective: ObjectiveKind,
    /// Optimizer steps; 0 where `epochs` says how long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps: usize,
    /// In the place of `steps`, for a `mixture`: times through it. Samples that do not fill a last step are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Samples of a micro-batch.
    pub batch: usize,
    /// Micro-batches of one optimizer step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// `pattern -> learning rate`; what no pattern names is frozen.
    pub train: BTreeMap<String, f64>,
    /// Parrot's stage 1: the connector's projector alone, past its router and experts. No other connector has any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypass_experts: bool,
    /// The most tokens of a sample, visual ones counted; a longer one is an error that names it. Absent, no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Warmup and decay.
    #[serde(default)]
    pub schedule: Schedule,
    /// AdamW.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// Samples of the embedded corpus.
    #[serde(default, skip_serializing_if = "DataRecipe::is_empty")]
    pub data: DataRecipe,
    /// Samples of one's own, in the place of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixture: Option<MixtureRecipe>,
    /// A log line every so many steps.
    #[serde(default = "log_every")]
    pub log_every: usize,
    /// A checkpoint every so many steps; 0 for none but the last.
    #[serde(default)]
    pub checkpoint_every: usize,
    /// How many checkpoints are kept.
    #[serde(default = "two")]
    pub keep_checkpoints: usize,
}

fn one() -> usize {
    1
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn two() -> usize {
    2
}

fn log_every() -> usize {
    20
}

/// Which samples of the embedded corpus a stage sees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Languages of the answers.
    pub languages: Vec<Language>,
    /// Share of English among the samples; absent: every language the same share.
    #[serde(default)]
    pub english: Option<f64>,
    /// Weight of each language among the samples, in the place of `english`; every language of `languages` must have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<Language, f64>,
    /// Weights of the tasks; for the contrastive objectives this is left empty.
    #[serde(default)]
    pub tasks: BTreeMap<Task, f64>,
    /// Share of contrastive texts that carry keywords behind the name.
    #[serde(default)]
    pub keyword_share: f64,
    /// Light augmentation of pictures.
    #[serde(default = "yes")]
    pub augment: bool,
    /// With a frozen tower: number of augmented views of each picture whose features are computed once; 0: never cached.
    #[serde(default)]
    pub views: usize,
}

fn yes() -> bool {
    true
}

impl DataRecipe {
    /// Whether the table is absent.
    fn is_empty(&self) -> bool {
        self.languages.is_empty()
    }

    /// Share of each language, in the order of [`DataRecipe::languages`].
    pub fn shares(&self) -> Vec<f64> {
        let count = self.languages.len() as f64;
        if !self.shares.is_empty() {
            let weight = |language: &Language| self.shares.get(language).copied().unwrap_or(0.0);
            let sum: f64 = self.languages.iter().map(weight).sum();
            return self.languages.iter().map(|language| weight(language) / sum).collect();
        }
        match self.english {
            Some(share) if self.languages.len() > 1 => self
                .languages
                .iter()
                .map(|&language| if language == Language::EN { share } else { (1.0 - share) / (count - 1.0) })
                .collect(),
            _ => vec![1.0 / count; self.languages.len()],
        }
    }
}

/// A byte-level BPE tokenizer trained on the training texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// Number of entries, special tokens included.
    pub vocab_size: usize,
    /// Languages whose training texts it sees.
    pub languages: Vec<Language>,
}

/// How a part is pretrained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum PartRecipe {
    /// A vision encoder, pretrained with a text tower by a contrastive loss.
    Encoder {
        /// The vision tower and the text tower it is pretrained against.
        model: Box<DualConfig>,
        /// Seed of this part.
        #[serde(default)]
        seed: u64,
        /// Its training.
        stage: Box<StageRecipe>,
    },
    /// A language model, pretrained on texts.
    Backbone {
        /// The decoder.
        model: Box<LanguageConfig>,
        /// Seed of this part.
        #[serde(default)]
        seed: u64,
        /// Its training.
        stage: Box<StageRecipe>,
    },
}

impl PartRecipe {
    /// The part's training stage.
    pub fn stage(&self) -> &StageRecipe {
        match self {
            Self::Encoder { stage, .. } | Self::Backbone { stage, .. } => stage,
        }
    }
}

/// How an answer's likelihood becomes a score in cloze evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum ClozeScore {
    /// Mean log-likelihood of the answer's tokens given picture and question.
    Likelihood,
    /// The same minus the mean log-likelihood given the question alone.
    Pmi,
}

/// Which items are scored and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Languages of the questions.
    pub languages: Vec<Language>,
    /// The headline rule of the cloze form, fixed once on the validation split.
    pub cloze: ClozeScore,
    /// Seen concepts asked (drawn once, the same in every cell); 0 for all.
    pub seen: usize,
    /// Unseen concepts asked; 0 for all.
    pub unseen: usize,
    /// Concepts of each kind that are captioned; 0 for none.
    #[serde(default)]
    pub captions: usize,
    /// Whether the lettered form in four rotations is asked too.
    #[serde(default)]
    pub lettered: bool,
    /// Seen concepts that are asked about by "Is this ...?", once with the right and once with a wrong name; 0 for none.
    #[serde(default)]
    pub yes_no: usize,
    /// Whether the language of each generated caption is told: the share in the prompt's language.
    #[serde(default)]
    pub fidelity: bool,
    /// Pictures on which the connector is looked into (routing, experts, visual tokens beside text); 0 for none.
    #[serde(default)]
    pub analysis: usize,
    /// Seed of the items.
    #[serde(default)]
    pub seed: u64,
    /// Rows of a scoring batch.
    #[serde(default = "rows")]
    pub batch: usize,
    /// Asks the validation items instead of the test items; for fixing choices, never for reported numbers.
    #[serde(default)]
    pub validation: bool,
}

fn rows() -> usize {
    128
}

/// Whether the task's samples have a picture.
pub fn has_picture(task: Task) -> bool {
    !matches!(task, Task::Name | Task::KeywordsToName | Task::Translation | Task::KeywordsTranslation)
}

/// A table as `T`; an unknown key or a wrong type is an error that names the table.
fn from_table<T: serde::de::DeserializeOwned>(table: toml::Table, what: &str) -> Result<T> {
    toml::Value::Table(table).try_into().map_err(|e: toml::de::Error| {
        let message = e.to_string();
        let message = message.trim_end();
        TrainError::Recipe(format!("[{what}]: {message}{}", did_you_mean(message)))
    })
}

/// Of a message such as "unknown field `a`, expected one of `b`, `c`": the one that was probably meant.
fn did_you_mean(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((wrong, known)) if message.starts_with("unknown ") => {
            crate::ablation::nearest(wrong, known.iter().copied())
                .map(|nearest| format!("; did you mean `{nearest}`?"))
                .unwrap_or_default()
        }
        _ => String::new(),
    }
}

impl EvaluationRecipe {
    /// Reads the `[evaluation]` table of a study.
    ///
    /// # Errors
    /// An unknown key, a wrong type, no language.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let evaluation: Self = from_table(table, "evaluation")?;
        if evaluation.languages.is_empty() || evaluation.batch == 0 {
            return Err(TrainError::Recipe("[evaluation]: `languages` and `batch` must not be empty".into()));
        }
        Ok(evaluation)
    }
}

impl Recipe {
    /// Reads a recipe from a merged TOML table.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a stage that is listed but not described.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let recipe: Self = from_table(table, "recipe")?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        if let ConnectorConfig::Parrot(parrot) = &self.model.connector {
            parrot.validate().map_err(|e| TrainError::Recipe(format!("[model.connector]: {e}")))?;
        }
        if let Some(tiling) = &self.model.tiling
            && TilingPreset::by_name(tiling).is_none()
        {
            let known: Vec<&str> = TilingPreset::ALL.iter().map(|preset| preset.name).collect();
            let known = known.join(", ");
            return Err(TrainError::Recipe(format!(
                "[model]: `tiling = {tiling:?}` is no tile-patch-tiles in pixels, pixels and a number; such as {known}"
            )));
        }
        if self.compute.images_per_chunk == Some(0) {
            return Err(TrainError::Recipe("[compute]: `images_per_chunk` must be at least 1".into()));
        }
        for name in &self.stages {
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
            let tiled = stage.mixture.as_ref().is_some_and(|mixture| mixture.pictures == PictureView::Tiles);
            if tiled && self.model.tiling.is_none() {
                let message = format!(
                    "[stage.{name}]: `pictures = \"tiles\"` needs `tiling` under [model], such as \"384-14-6\""
                );
                return Err(TrainError::Recipe(message));
            }
        }
        for (name, part) in &self.part {
            part.stage().check(&format!("part.{name}.stage"))?;
        }
        Ok(())
    }
}

impl StageRecipe {
    /// Samples of an optimizer step.
    pub fn samples_per_step(&self) -> usize {
        self.batch * self.accumulate
    }

    /// Optimizer steps over data of `epoch` samples, where that is what `epochs` counts.
    ///
    /// # Errors
    /// Fewer samples than one step needs.
    pub fn steps_over(&self, name: &str, epoch: u64) -> Result<usize> {
        let Some(epochs) = self.epochs else { return Ok(self.steps) };
        let per_step = self.samples_per_step();
        match (epochs * epoch as f64 / per_step as f64) as usize {
            0 => Err(TrainError::Recipe(format!(
                "[stage.{name}]: epochs = {epochs} of {epoch} samples are less than one step of {per_step} (batch x accumulate)"
            ))),
            steps => Ok(steps),
        }
    }

    fn check(&self, name: &str) -> Result<()> {
        let fail = |message: String| Err(TrainError::Recipe(format!("[stage.{name}]: {message}")));
        if self.batch == 0 || self.accumulate == 0 || self.log_every == 0 {
            return fail("`batch`, `accumulate` and `log_every` must be at least 1".into());
        }
        match (self.steps, self.epochs) {
            (0, None) => return fail("`steps` must be at least 1, or, with a `mixture`, `epochs` given".into()),
            (1.., Some(_)) => return fail("`steps` and `epochs` both say how long; keep one".into()),
            (_, Some(epochs)) if !(epochs > 0.0 && epochs.is_finite()) => {
                return fail(format!("`epochs = {epochs}` must be above 0"));
            }
            (_, Some(_)) if self.mixture.is_none() => {
                return fail("`epochs` counts a `mixture`; the corpus is drawn by weight, give `steps`".into());
            }
            _ => {}
        }
        if !self.checkpoint_every.is_multiple_of(self.log_every) {
            return fail("`checkpoint_every` must be a multiple of `log_every`, so that a resumed log equals an uninterrupted one".into());
        }
        match &self.mixture {
            None => self.check_data(name),
            Some(_) if !self.data.is_empty() => fail("`data` and `mixture` both name the samples; keep one".into()),
            Some(_) if self.objective != ObjectiveKind::Vlm => fail("a `mixture` needs `objective = \"vlm\"`".into()),
            Some(mixture) => mixture.problem().map_or(Ok(()), fail),
        }
    }

    /// The samples of the embedded corpus.
    fn check_data(&self, name: &str) -> Result<()> {
        let fail = |message: String| Err(TrainError::Recipe(format!("[stage.{name}]: {message}")));
        if self.data.languages.is_empty() {
            return fail("`data.languages` is empty, and there is no `mixture`".into());
        }
        if let Some(share) = self.data.english
            && (!(0.0..=1.0).contains(&share) || !self.data.languages.contains(&Language::EN))
        {
            return fail(format!("`data.english = {share}` must lie in 0..1, with `en` among the languages"));
        }
        if !self.data.shares.is_empty() {
            let weighted =
                |language: &&Language| self.data.shares.get(*language).is_some_and(|w| w.is_finite() && *w > 0.0);
            let missing = self.data.languages.iter().find(|language| !weighted(language));
            let foreign = self.data.shares.keys().find(|language| !self.data.languages.contains(language));
            if let Some(language) = missing.or(foreign) {
                return fail(format!(
                    "`data.shares` must give every language of `data.languages`, and no other, a weight above 0; see `{language}`"
                ));
            }
            if self.data.english.is_some() {
                return fail("`data.english` and `data.shares` both set the share of English; keep one".into());
            }
        }
        let contrastive = matches!(self.objective, ObjectiveKind::Siglip | ObjectiveKind::Clip);
        if !contrastive {
            if self.data.tasks.values().sum::<f64>() <= 0.0 || self.data.tasks.values().any(|weight| *weight < 0.0) {
                return fail("`data.tasks` needs at least one task with a positive weight".into());
            }
            let pictured = self.data.tasks.keys().find(|task| has_picture(**task));
            if let (ObjectiveKind::Text, Some(task)) = (self.objective, pictured) {
                return fail(format!("the task `{}` has a picture, the objective `text` has none", task.as_str()));
            }
        }
        Ok(())
    }
}
