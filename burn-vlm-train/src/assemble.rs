//! A VLM out of its parts: encoder and backbone from folders, the connector new.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::init::Scope;
use burn_vlm::language::{LanguageConfig, LanguageModel};
use burn_vlm::vision::{VisionConfig, VisionEncoder};
use burn_vlm::vlm::{Vlm, VlmConfig, VlmType, tiling};
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::image::GridPinpoint;
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_data::vlm_processor::TilingPreset;

use crate::error::{Result, TrainError};
use crate::recipe::{ModelRecipe, StageRecipe};

/// A VLM with what is needed to talk to it.
pub struct Assembled {
    /// The model, on the device it was asked for.
    pub model: Vlm,
    /// The backbone's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The backbone's chat template.
    pub template: Arc<ChatTemplate>,
    /// Whether `<image>` was added to the backbone's tokenizer, and so a row to its embeddings.
    pub image_token_added: bool,
    /// The encoder's folder.
    pub encoder: PathBuf,
}

/// Joins the parts in `encoder` and `backbone` (folders with config.json and weights) by a connector that is
/// initialised from `seed`. A tokenizer without `<image>` (a language model's own) is given one, with a row of the embeddings.
///
/// # Errors
/// A folder that does not hold a usable part, or parts that do not fit.
pub fn assemble(
    recipe: &ModelRecipe,
    encoder: &Path,
    backbone: &Path,
    seed: u64,
    device: &Device,
) -> Result<Assembled> {
    let (tokenizer, image_token_added) = tokenizer_with_image(&backbone.join("tokenizer.json"))?;
    let template = template_of(backbone, &tokenizer)?;
    let vision_tower = VisionEncoder::load_pretrained(encoder, device)?;
    let mut language_model = LanguageModel::load_pretrained(backbone, device)?;
    let image_id = tokenizer.image_id().ok_or_else(|| {
        TrainError::invalid(backbone.join("tokenizer.json"), "has no `<image>` token; add it as a special token")
    })?;
    language_model.resize_token_embeddings(image_id as usize + 1);
    let config = vlm_config(recipe, vision_tower.config(), language_model.config(), i64::from(image_id))?;
    let connector = config.init_connector(&Scope::new(seed, device));
    let model = Vlm::from_parts(vision_tower, connector, language_model, &config)?;
    Ok(Assembled {
        model,
        tokenizer: Arc::new(tokenizer),
        template: Arc::new(template),
        image_token_added,
        encoder: encoder.to_path_buf(),
    })
}

/// A backbone's tokenizer with `<image>`, and whether that had to be added.
pub(crate) fn tokenizer_with_image(file: &Path) -> Result<(Tokenizer, bool)> {
    let tokenizer = Tokenizer::from_file(file)?;
    let added = tokenizer.image_id().is_none();
    Ok((tokenizer.with_special_token(IMAGE_PLACEHOLDER)?, added))
}

/// A backbone's chat template, which may write the tokenizer's special tokens.
pub(crate) fn template_of(backbone: &Path, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
    let template = ChatTemplate::from_folder(backbone)?;
    Ok(template.with_special_tokens(tokenizer.bos_token(), tokenizer.eos_token()))
}

/// How a recipe joins a tower and a decoder, in which `image_id` stands for visual tokens.
///
/// # Errors
/// Parts that do not fit, a tiling that is not the tower's.
pub fn vlm_config(
    recipe: &ModelRecipe,
    vision: VisionConfig,
    language: LanguageConfig,
    image_id: i64,
) -> Result<VlmConfig> {
    let base = VlmConfig::new(vision, language, image_id);
    let tiling = recipe.tiling.as_deref().and_then(TilingPreset::by_name);
    let config = VlmConfig {
        model_type: if tiling.is_some() { VlmType::LlavaNext } else { VlmType::Llava },
        image_grid_pinpoints: tiling.map(|tiling| pinpoints(&tiling)),
        projector_hidden_act: recipe.projector_hidden_act,
        vision_feature_layer: recipe.vision_feature_layer.clone(),
        vision_feature_select_strategy: recipe
            .vision_feature_select_strategy
            .unwrap_or(base.vision_feature_select_strategy),
        visual_tokens: recipe.visual_tokens,
        scale_visual_embeds: Some(recipe.scale_visual_embeds),
        connector: recipe.connector.clone(),
        ..base
    };
    config.validate()?;
    if let Some(tiling) = tiling {
        check_tiling(&tiling, &config)?;
    }
    Ok(config)
}

/// The canvases of a preset as (height, width).
fn pinpoints(tiling: &TilingPreset) -> Vec<tiling::Size> {
    let canvas = |GridPinpoint(height, width)| (height as usize, width as usize);
    tiling.image_grid_pinpoints().into_iter().map(canvas).collect()
}

/// A preset belongs to towers of one resolution and patch.
fn check_tiling(tiling: &TilingPreset, config: &VlmConfig) -> Result<()> {
    let of = |preset: &TilingPreset| (preset.resolution as usize, preset.tokens_per_tile());
    let tower = (config.vision_config.image_size(), config.num_visual_tokens());
    if tower == of(tiling) {
        return Ok(());
    }
    let fitting: Vec<&str> = TilingPreset::ALL.iter().filter(|preset| of(preset) == tower).map(|p| p.name).collect();
    let help = match fitting.is_empty() {
        true => String::new(),
        false => format!("; for it there is {}", fitting.join(", ")),
    };
    let (name, ours) = (tiling.name, of(tiling));
    Err(TrainError::Recipe(format!(
        "[model]: tiling = {name:?} has tiles of {} pixels and {} tokens, the encoder's pictures have {} pixels and {} tokens{help}",
        ours.0, ours.1, tower.0, tower.1,
    )))
}

/// Whether every stage leaves the vision tower frozen, so that its features may be computed once.
pub fn tower_is_frozen<'a>(stages: impl IntoIterator<Item = &'a StageRecipe>) -> bool {
    stages.into_iter().all(|stage| {
        // a pattern may be any regular expression; only one that cannot match the tower leaves it frozen
        stage.train.keys().all(|pattern| {
            regex::Regex::new(&format!("^(?:{pattern})")).is_ok_and(|regex| !regex.is_match("vision_tower."))
        })
    })
}

/// Where a recipe's part name points to: a folder of that name below `parts`, or a folder given by its path.
///
/// # Errors
/// Neither exists.
pub fn part_folder(name: &str, parts: &Path) -> Result<PathBuf> {
    let below = parts.join(name);
    if below.join("config.json").is_file() {
        return Ok(below);
    }
    let direct = PathBuf::from(name);
    if direct.join("config.json").is_file() {
        return Ok(direct);
    }
    Err(TrainError::invalid(
        &below,
        format!(
            "there is no pretrained part `{name}` here (no config.json), nor in a folder of that name; \
             name the folder of parts with --parts, download it (hf download NAME --local-dir FOLDER), or, in a study, pretrain it with \
             --from-scratch"
        ),
    ))
}
