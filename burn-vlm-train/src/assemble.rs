//! A VLM out of its parts: encoder and backbone from folders, the connector new.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::checkpoint::{Pretrained, load_tower};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::init::Scope;
use burn_vlm::language::{LanguageConfig, LanguageModel};
use burn_vlm::vision::{VisionConfig, VisionEncoder, VisionTower};
use burn_vlm::vlm::{Vlm, VlmConfig, VlmType, tiling};
use burn_vlm_base::model_folder::describe;
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER};
use burn_vlm_data::encode::AnswerEnd;
use burn_vlm_data::image::GridPinpoint;
use burn_vlm_data::processor::{Processor, ProcessorParts, TilingPreset, VideoParts};
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_data::video::VideoProcessorConfig;

use crate::error::{Result, TrainError};
use crate::pictures::processor_for;
use crate::processor::{frames_config, video_parts};
use crate::recipe::{ModelRecipe, Recipe, StageRecipe};

/// A VLM with what is needed to talk to it.
pub struct Assembled<T: VisionTower = VisionEncoder, P: Projector = Connector> {
    /// The model, on the device it was asked for.
    pub model: Vlm<T, P>,
    /// The backbone's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The backbone's chat template.
    pub template: Arc<ChatTemplate>,
    /// Whether `<image>` was added to the backbone's tokenizer, and so a row to its embeddings.
    pub image_token_added: bool,
    /// Rows that were added to the embeddings for it; each is the mean of the others.
    pub rows_added: usize,
    /// What is to be said of the template.
    pub note: Option<String>,
    /// Whether all of it comes from one folder (`model.from`), which then says how pictures are shown.
    pub whole: bool,
    /// How frames are shown to a model that takes videos; `None` for one that takes none.
    pub videos: Option<VideoProcessorConfig>,
    /// Whether `<video>` was added to the tokenizer.
    pub video_token_added: bool,
    /// The encoder's folder.
    pub encoder: PathBuf,
}

/// The whole model in `encoder` where the recipe starts from one (`model.from`). Else joins the parts in `encoder` and `backbone`
/// (folders with config.json and weights) by a connector that is initialised from `seed`. A tokenizer without `<image>` (a language model's own) is given one, with a row of the embeddings.
///
/// # Errors
/// A folder that does not hold a usable part, or parts that do not fit.
pub fn assemble<T: VisionTower, P: Projector>(
    recipe: &ModelRecipe,
    encoder: &Path,
    backbone: &Path,
    seed: u64,
    device: &Device,
) -> Result<Assembled<T, P>> {
    if recipe.from.is_some() {
        return whole(recipe, encoder, device);
    }
    let Words { tokenizer, template, image_token_added, note, .. } = words_of(backbone, recipe.answer_end)?;
    let vision_tower: T = load_tower(encoder, device)?;
    let mut language_model = LanguageModel::load_pretrained(backbone, device)?;
    let image_id = tokenizer.image_id().ok_or_else(|| {
        TrainError::invalid(backbone.join("tokenizer.json"), "has no `<image>` token; add it as a special token")
    })?;
    tokenizer.check_rows(language_model.config().vocab_size(), Some(image_id), &backbone.join("tokenizer.json"))?;
    let rows_added = (image_id as usize + 1).saturating_sub(language_model.config().vocab_size());
    language_model.resize_token_embeddings(image_id as usize + 1);
    let config = vlm_config(recipe, vision_tower.config(), language_model.config(), i64::from(image_id))?;
    let connector: P = config.init_connector(&Scope::new(seed, device))?;
    let model = Vlm::from_parts(vision_tower, connector, language_model, &config)?;
    Ok(Assembled {
        model,
        tokenizer,
        template,
        image_token_added,
        rows_added,
        note,
        whole: false,
        videos: None,
        video_token_added: false,
        encoder: encoder.to_path_buf(),
    })
}

/// As [`assemble`] for a whole recipe, whose `[video]` may make the model one that takes videos.
///
/// # Errors
/// As [`assemble`]; a model that cannot take videos.
pub fn assemble_recipe<T: VisionTower, P: Projector>(
    recipe: &Recipe,
    encoder: &Path,
    backbone: &Path,
    device: &Device,
) -> Result<Assembled<T, P>> {
    let assembled = assemble(&recipe.model, encoder, backbone, recipe.seed, device)?;
    let extends = recipe.video.as_ref().is_some_and(|video| video.extend_model);
    match extends || assembled.model.config.takes_videos() {
        true => assembled.for_videos(&recipe.model, backbone),
        false => Ok(assembled),
    }
}

impl<T: VisionTower, P: Projector> Assembled<T, P> {
    /// The same for videos: a model that takes them as its folder shows them, another one with a token of videos, see
    /// [`VlmConfig::for_videos`].
    fn for_videos(mut self, recipe: &ModelRecipe, backbone: &Path) -> Result<Self> {
        let words = words_with(backbone, recipe.answer_end, true)?;
        let file = backbone.join("tokenizer.json");
        let id = words.tokenizer.token_id(VIDEO_PLACEHOLDER).unwrap_or_default();
        let takes = self.model.config.takes_videos();
        let named = self.model.config.video_token_index.filter(|_| takes);
        let rows = self.model.language_model.config().vocab_size();
        if let Some(named) = named
            && named != i64::from(id)
            && !words.video_token_added
        {
            let message = format!(
                "video_token_index is {named}, and {VIDEO_PLACEHOLDER} has the id {id} in tokenizer.json: a model whose videos have \
                 another token cannot be trained further"
            );
            return Err(TrainError::invalid(self.encoder.join("config.json"), message));
        }
        words.tokenizer.check_rows(rows, Some(id), &file)?;
        self.model.language_model.resize_token_embeddings(id as usize + 1);
        self.rows_added += self.model.language_model.config().vocab_size().saturating_sub(rows);
        if takes {
            self.model.config.text_config = self.model.language_model.config();
            self.model.config.video_token_index = Some(i64::from(id));
        } else {
            let extended = extended(&self.model.config, i64::from(id), &self.encoder)?;
            self.model = self.model.for_videos(extended.video_token_index)?;
        }
        let image = processor_for(&self.encoder, &self.model.config.vision_config)?;
        self.videos = Some(frames_config(&self.encoder, &image)?);
        (self.tokenizer, self.template) = (words.tokenizer, words.template);
        if let Some(parts) = self.video_parts() {
            let words = Processor::new(ProcessorParts::text(self.tokenizer.clone(), self.template.clone()))?;
            // The template may become one that writes videos, too.
            if let Some(template) = words.with_videos(parts)?.template() {
                self.template = template.clone();
            }
        }
        self.video_token_added = words.video_token_added;
        Ok(self)
    }

    /// How videos are shown, with what stands for one; `None` for a model that takes none.
    pub(crate) fn video_parts(&self) -> Option<VideoParts> {
        video_parts(&self.model.config, self.videos.clone())
    }
}

/// The configuration of a model that `[video] extend_model` makes one that takes videos.
///
/// # Errors
/// A model whose tokens are no grid that frames could be pooled in; `folder` is where it is from.
pub(crate) fn extended(config: &VlmConfig, video_id: i64, folder: &Path) -> Result<VlmConfig> {
    let refused = |why: String| {
        TrainError::Recipe(format!(
            "[video]: extend_model = true makes a model whose frames are pooled as grids of tokens, and that of {} cannot be: {why}; \
             without extend_model it is shown a video as so many pictures",
            folder.display()
        ))
    };
    if config.visual_tokens.pooled_head {
        let why = "beside its patches it has a token of the tower's pooling head (visual_tokens.pooled_head = true)";
        return Err(refused(why.to_owned()));
    }
    let extended = config.clone().for_videos(Some(video_id));
    extended.validate().map_err(|error| refused(error.to_string()))?;
    Ok(extended)
}

/// A whole vision-language model, as its folder has it.
fn whole<T: VisionTower, P: Projector>(
    recipe: &ModelRecipe,
    folder: &Path,
    device: &Device,
) -> Result<Assembled<T, P>> {
    let file = folder.join("config.json");
    if !is_whole(folder) {
        let message =
            "is no vision-language model's; `model.from` starts from a whole one, `encoder` and `backbone` from parts";
        return Err(TrainError::invalid(&file, message));
    }
    let words = words_of(folder, recipe.answer_end)?;
    let mut model: Vlm<T, P> = Pretrained::load_pretrained(folder, device)?;
    let (rows, index) = (model.language_model.config().vocab_size(), model.config.image_token_index);
    let image_id = whole_image_id(folder, &words, rows, index)?;
    words.tokenizer.check_rows(rows, Some(image_id), &folder.join("tokenizer.json"))?;
    model.language_model.resize_token_embeddings(image_id as usize + 1);
    model.config.text_config = model.language_model.config();
    model.config.image_token_index = i64::from(image_id);
    // The switches that an absent `transformers_version` decides, before it is written anew.
    model.config = model.pretrained_config();
    Ok(Assembled {
        rows_added: model.config.text_config.vocab_size() - rows,
        model,
        tokenizer: words.tokenizer,
        template: words.template,
        image_token_added: words.image_token_added,
        note: words.note,
        whole: true,
        videos: None,
        video_token_added: false,
        encoder: folder.to_path_buf(),
    })
}

/// The id of a whole model's image token, which training writes as `<image>`.
pub(crate) fn whole_image_id(folder: &Path, words: &Words, rows: usize, index: i64) -> Result<u32> {
    if by_own_format(folder)? {
        let message = "Parrot's published checkpoints have a conversation format of their own, with a picture that is no token; they \
                       cannot be trained further from their folder. Name their CLIP and Qwen folders as `encoder` and `backbone`";
        return Err(TrainError::invalid(folder, message));
    }
    let id = words.tokenizer.image_id().unwrap_or_default();
    // Where the tokenizer had none, as in LLaVA's original layout, the id in the config stands for no token either.
    let names_another = i64::from(id) != index && !words.image_token_added && (0..rows as i64).contains(&index);
    if names_another {
        let message = format!(
            "image_token_index is {index}, and {IMAGE_PLACEHOLDER} has the id {id} in tokenizer.json: a model whose pictures have \
             another token cannot be trained further"
        );
        return Err(TrainError::invalid(folder.join("config.json"), message));
    }
    Ok(id)
}

/// Whether the folder of a Parrot is read by the authors' own conversation format.
fn by_own_format(folder: &Path) -> Result<bool> {
    Ok(Processor::text_from_folder(folder)?.template().is_none())
}

/// Whether a folder holds a whole vision-language model.
pub(crate) fn is_whole(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    config["model_type"].as_str().is_some_and(|kind| VLM_KINDS.contains(&kind))
}

/// Kinds of vision-language models: transformers', LLaVA's original ones, Parrot.
pub(crate) const VLM_KINDS: [&str; 8] = [
    "llava",
    "llava_next",
    "llava_onevision",
    "llava_llama",
    "llava_qwen",
    "llava_qwen2",
    "llava_mistral",
    "parrot_qwen2",
];

/// Kinds of language models alone.
pub const LANGUAGE_KINDS: [&str; 4] = ["gemma2", "llama", "mistral", "qwen2"];

/// How a backbone's conversations are written.
pub(crate) struct Words {
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Arc<ChatTemplate>,
    /// Whether `<image>` was added.
    pub(crate) image_token_added: bool,
    /// Whether `<video>` was added.
    pub(crate) video_token_added: bool,
    /// What is to be said of the template.
    pub(crate) note: Option<String>,
}

/// A backbone's tokenizer with `<image>`, and its chat template, which may write the tokenizer's special tokens.
///
/// # Errors
/// A file that is missing or damaged, a template that ends no answer where `answer_end` wants an end; the folder is named.
pub(crate) fn words_of(backbone: &Path, answer_end: AnswerEnd) -> Result<Words> {
    words_with(backbone, answer_end, false)
}

/// As [`words_of`], with `<video>` too where that is asked for.
///
/// # Errors
/// As [`words_of`].
pub(crate) fn words_with(backbone: &Path, answer_end: AnswerEnd, videos: bool) -> Result<Words> {
    let (mut tokenizer, image_token_added) = tokenizer_with_image(&backbone.join("tokenizer.json"))?;
    let video_token_added = videos && tokenizer.token_id(VIDEO_PLACEHOLDER).is_none();
    if video_token_added {
        tokenizer = tokenizer.with_special_token(VIDEO_PLACEHOLDER)?;
    }
    let template = ChatTemplate::from_folder(backbone)?.with_special_tokens_of(&tokenizer);
    let ended = answer_end.apply(&tokenizer, template);
    let (template, note) = ended.map_err(TrainError::within(backbone.display().to_string()))?;
    let note = note.map(|note| format!("warning: {}: {note}", backbone.display()));
    let (tokenizer, template) = (Arc::new(tokenizer), Arc::new(template));
    Ok(Words { tokenizer, template, image_token_added, video_token_added, note })
}

/// A backbone's tokenizer with `<image>`, and whether that had to be added.
pub(crate) fn tokenizer_with_image(file: &Path) -> Result<(Tokenizer, bool)> {
    let tokenizer = Tokenizer::from_file(file)?;
    let added = tokenizer.image_id().is_none();
    Ok((tokenizer.with_special_token(IMAGE_PLACEHOLDER)?, added))
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
        // Absent it is applied.
        softcap_logits: (!recipe.softcap_logits).then_some(false),
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

/// Whether neither of the folders that a part name may mean is there; one that holds something else is a mistake of another kind.
pub fn part_is_missing(name: &str, parts: &Path) -> bool {
    let is_there = |folder: &Path| folder.join("config.json").is_file() || describe(folder).is_some();
    !is_there(&parts.join(name)) && !is_there(Path::new(name))
}

/// Where a recipe's part name points to: a folder of that name below `parts`, or a folder given by its path.
///
/// # Errors
/// Neither exists.
pub fn part_folder(name: &str, parts: &Path) -> Result<PathBuf> {
    let below = parts.join(name);
    let direct = PathBuf::from(name);
    for folder in [&below, &direct] {
        // Adapters and projectors may have a config.json beside them.
        if let Some(what) = describe(folder) {
            return Err(TrainError::invalid(folder, what));
        }
        if folder.join("config.json").is_file() {
            return Ok(folder.clone());
        }
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
