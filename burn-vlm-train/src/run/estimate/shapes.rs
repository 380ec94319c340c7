//! The shapes of a recipe's parts: from their folders, from the recipe itself, or from what ships.

use std::path::{Path, PathBuf};

use burn_vlm::checkpoint::Pretrained;
use burn_vlm::language::{LanguageConfig, LanguageModel};
use burn_vlm::vision::{VisionConfig, VisionEncoder};
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER};
use burn_vlm_data::encode::AnswerEnd;
use serde_json::Value;

use super::EstimateInput;
use crate::assemble::{
    extended, is_whole, part_folder, tokenizer_with_image, vlm_config, whole_image_id, words_of, words_with,
};
use crate::error::{Result, TrainError};
use crate::recipe::PartRecipe;

/// A published model's config.json.
#[derive(Debug, Clone, Copy)]
pub struct ShippedShape {
    /// The name by which recipes call the part.
    pub name: &'static str,
    /// Where it is published: a repository of the hub; empty if it is not.
    pub repository: &'static str,
    /// Its config.json.
    pub config: &'static str,
}

/// A part, and where its shape is known from.
#[derive(Debug, Clone)]
pub struct PartShape {
    /// The name in the recipe.
    pub name: String,
    /// What it is, in words.
    pub description: String,
    /// Where its shape is known from.
    pub source: String,
    /// Number of its parameters.
    pub parameters: u64,
}

/// Both parts, their folders if there, and the VLM.
pub(super) struct Shapes {
    pub(super) parts: [PartShape; 2],
    pub(super) config: VlmConfig,
    pub(super) encoder: Option<PathBuf>,
    pub(super) backbone: Option<PathBuf>,
    pub(super) answer_end: AnswerEnd,
    /// Whether the recipe starts from a whole model.
    pub(super) whole: bool,
}

impl Shapes {
    pub(super) fn of(input: &EstimateInput<'_>) -> Result<Self> {
        let model = &input.recipe.model;
        if let Some(name) = &model.from {
            return Self::of_whole(input, name);
        }
        let encoder = Found::of(input, &model.encoder)?;
        let backbone = Found::of(input, &model.backbone)?;
        let vision = match &encoder.shape {
            Shape::Json(json) => VisionEncoder::read_config(json.clone(), &encoder.folder_or_name())?,
            Shape::Recipe(PartRecipe::Encoder { model, .. }) => model.vision_config(),
            Shape::Recipe(PartRecipe::Backbone { .. }) => {
                return Err(wrong_kind(&model.encoder, "a backbone in [part.*]", "an encoder"));
            }
        };
        let language = match &backbone.shape {
            Shape::Json(json) => LanguageModel::read_config(json.clone(), &backbone.folder_or_name())?,
            Shape::Recipe(PartRecipe::Backbone { model, .. }) => model.as_ref().clone(),
            Shape::Recipe(PartRecipe::Encoder { .. }) => {
                return Err(wrong_kind(&model.backbone, "an encoder in [part.*]", "a backbone"));
            }
        };
        let rows = image_rows(backbone.folder.as_deref(), &language)?;
        let own = language.vocab_size();
        let grown = language.clone().with_vocab_size(rows.max(own));
        let mut config = vlm_config(model, vision.clone(), grown.clone(), rows as i64 - 1)?;
        if extends(input) {
            config = for_videos(config, backbone.folder.as_deref(), model.answer_end)?;
        }
        let grown = config.text_config.clone();
        let added = grown.vocab_size() - own;
        let more = if added > 0 { format!(", {added} more for {IMAGE_PLACEHOLDER}") } else { String::new() };
        let parts = [
            encoder.part(&model.encoder, describe_vision(&vision), vision.num_parameters()?),
            backbone.part(&model.backbone, format!("{}{more}", describe_language(&language)), grown.num_parameters()?),
        ];
        Ok(Self {
            parts,
            config,
            encoder: encoder.folder,
            backbone: backbone.folder,
            answer_end: model.answer_end,
            whole: false,
        })
    }

    /// A whole model, as its config.json describes it.
    fn of_whole(input: &EstimateInput<'_>, name: &str) -> Result<Self> {
        let found = Found::of(input, name)?;
        let extends = extends(input);
        let Shape::Json(json) = &found.shape else {
            return Err(wrong_kind(name, "a part that the recipe describes", "a whole model's folder"));
        };
        if found.folder.as_ref().is_some_and(|folder| !is_whole(folder)) {
            return Err(wrong_kind(name, "no vision-language model", "a whole one"));
        }
        let mut config = Vlm::read_config(json.clone(), &found.folder_or_name())?;
        let answer_end = input.recipe.model.answer_end;
        let own = config.text_config.vocab_size();
        if let Some(folder) = &found.folder {
            let words = words_of(folder, answer_end)?;
            let id = whole_image_id(folder, &words, own, config.image_token_index)?;
            words.tokenizer.check_rows(own, Some(id), &folder.join("tokenizer.json"))?;
            config.text_config = config.text_config.with_vocab_size(own.max(id as usize + 1));
            config.image_token_index = i64::from(id);
        }
        if extends || config.takes_videos() {
            config = for_videos(config, found.folder.as_deref(), answer_end)?;
        }
        config.validate()?;
        let added = config.text_config.vocab_size() - own;
        let more = if added > 0 { format!(", {added} more for {IMAGE_PLACEHOLDER}") } else { String::new() };
        let (vision, language) = (&config.vision_config, &config.text_config);
        let parts = [
            found.part(name, describe_vision(vision), vision.num_parameters()?),
            found.part(name, format!("{}{more}", describe_language(language)), language.num_parameters()?),
        ];
        let folder = found.folder;
        Ok(Self { parts, config, encoder: folder.clone(), backbone: folder, answer_end, whole: true })
    }
}

/// Whether the recipe makes the model one that takes videos.
fn extends(input: &EstimateInput<'_>) -> bool {
    input.recipe.video.as_ref().is_some_and(|video| video.extend_model)
}

/// The config of the model for videos too, with a row for `<video>` where it has none.
fn for_videos(config: VlmConfig, folder: Option<&Path>, answer_end: AnswerEnd) -> Result<VlmConfig> {
    let rows = config.text_config.vocab_size();
    let known = config.video_token_index.filter(|_| config.takes_videos());
    let id = match (folder, known) {
        (Some(folder), _) => {
            let tokenizer = words_with(folder, answer_end, true)?.tokenizer;
            tokenizer.token_id(VIDEO_PLACEHOLDER).map_or(rows as i64, i64::from)
        }
        (None, Some(known)) => known,
        (None, None) => rows as i64,
    };
    let rows = rows.max(usize::try_from(id).unwrap_or_default() + 1);
    let mut config = match config.takes_videos() {
        true => VlmConfig { video_token_index: Some(id), ..config },
        false => extended(&config, id, folder.unwrap_or(Path::new("these parts")))?,
    };
    config.text_config = config.text_config.with_vocab_size(rows);
    Ok(config)
}

/// Token ids once `<image>` is among them: the tokenizer's, or one more than the model has where there is no tokenizer to ask.
fn image_rows(backbone: Option<&Path>, language: &LanguageConfig) -> Result<usize> {
    let Some(file) = backbone.map(|folder| folder.join("tokenizer.json")).filter(|file| file.is_file()) else {
        return Ok(language.vocab_size() + 1);
    };
    let (tokenizer, _) = tokenizer_with_image(&file)?;
    tokenizer.check_rows(language.vocab_size(), tokenizer.image_id(), &file)?;
    Ok(tokenizer.image_id().map_or(language.vocab_size(), |id| id as usize + 1))
}

enum Shape<'a> {
    Json(Value),
    Recipe(&'a PartRecipe),
}

struct Found<'a> {
    shape: Shape<'a>,
    folder: Option<PathBuf>,
    source: String,
    name: &'a str,
}

impl<'a> Found<'a> {
    fn of(input: &EstimateInput<'a>, name: &'a str) -> Result<Self> {
        let missing = match part_folder(name, input.parts) {
            Ok(folder) => {
                let file = folder.join("config.json");
                let text = std::fs::read_to_string(&file).map_err(|e| TrainError::io("cannot read", &file, e))?;
                let json = serde_json::from_str(&text).map_err(|e| TrainError::invalid(&file, e.to_string()))?;
                let source = folder.display().to_string();
                return Ok(Self { shape: Shape::Json(json), folder: Some(folder), source, name });
            }
            Err(missing) => missing,
        };
        if let Some(part) = input.recipe.part.get(name) {
            return Ok(Self { shape: Shape::Recipe(part), folder: None, source: format!("[part.{name}]"), name });
        }
        let last = Path::new(name).file_name().and_then(|last| last.to_str()).unwrap_or(name);
        let Some(shipped) = input.shapes.iter().find(|shape| shape.name == last) else {
            let known: Vec<&str> = input.shapes.iter().map(|shape| shape.name).collect();
            return Err(TrainError::Recipe(format!(
                "{missing}; shapes that ship without weights, for dry runs: {}",
                known.join(", ")
            )));
        };
        let json = serde_json::from_str(shipped.config)
            .map_err(|e| TrainError::invalid(Path::new(name), format!("the shipped shape: {e}")))?;
        let source = format!("the published shape; there is no {name} in {} yet", input.parts.display());
        Ok(Self { shape: Shape::Json(json), folder: None, source, name })
    }

    fn folder_or_name(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| PathBuf::from(self.name))
    }

    fn part(&self, name: &str, description: String, parameters: u64) -> PartShape {
        PartShape { name: name.to_owned(), description, source: self.source.clone(), parameters }
    }
}

fn wrong_kind(name: &str, found: &str, expected: &str) -> TrainError {
    TrainError::Recipe(format!("[model]: `{name}` is {found}, expected {expected}"))
}

fn describe_vision(config: &VisionConfig) -> String {
    let kind = config.name();
    let (layers, hidden, size, grid) =
        (config.num_hidden_layers(), config.hidden_size(), config.image_size(), config.grid());
    let pictures = match config.is_flexible() {
        true => format!("patches of {} pixels, {grid} x {grid} positions", config.shape().patch_size),
        false => format!("{size} pixels, {grid} x {grid} patches"),
    };
    format!("{kind}, {layers} layers of width {hidden}, {pictures}")
}

fn describe_language(config: &LanguageConfig) -> String {
    let kind = config.name();
    let shape = config.layer_shape();
    format!("{kind}, {} layers of width {}, {} token ids", shape.layers, shape.hidden_size, config.vocab_size())
}
