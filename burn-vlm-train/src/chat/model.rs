//! A model with all that is needed to talk to it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burn::tensor::Device;
use burn_vlm::checkpoint::{LoadOptions, Pretrained, StoreDtype, gguf_words, is_gguf, load_adapter};
use burn_vlm::connector::{Connector, ConnectorConfig, Projector};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::LanguageModel;
use burn_vlm::lora::Adapt;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::Vlm;
use burn_vlm_base::model_folder::describe;
use burn_vlm_data::constrain::TokenTable;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Turn, VIDEO_PLACEHOLDER};
use burn_vlm_data::encode::VisualCounts;
use burn_vlm_data::image::ProcessedImage;
use burn_vlm_data::processor::Processor;
use burn_vlm_data::video::{Clips, VideoSettings};
use tempfile::TempDir;

use super::ChatSession;
use crate::assemble::{LANGUAGE_KINDS, VLM_KINDS};
use crate::error::{Result, TrainError};
use crate::pictures::check_processor;
use crate::processor::model_visual_tokens;

/// What answers.
pub enum Talker<T: VisionTower = VisionEncoder, P: Projector = Connector> {
    /// A vision-language model.
    Vlm(Box<Vlm<T, P>>),
    /// A language model alone, which is shown neither pictures nor videos.
    Language(Box<LanguageModel>),
}

impl<T: VisionTower, P: Projector> Talker<T, P> {
    /// What writes the words.
    pub fn language_model(&self) -> &LanguageModel {
        match self {
            Self::Vlm(model) => &model.language_model,
            Self::Language(model) => model,
        }
    }

    /// The vision-language model; `None` where there is a language model alone.
    pub fn vlm(&self) -> Option<&Vlm<T, P>> {
        match self {
            Self::Vlm(model) => Some(model),
            Self::Language(_) => None,
        }
    }
}

/// A vision-language model with its tokenizer, chat template and image processor, or a language model with the first two.
pub struct ChatModel<T: VisionTower = VisionEncoder, P: Projector = Connector> {
    /// The model.
    pub model: Talker<T, P>,
    /// Everything before the tensor.
    pub processor: Processor,
    /// How answers are generated, as `generation_config.json` says; the stop tokens are those that end a turn.
    pub generation: GenerationConfig,
    /// What `generation_config.json` asks for and is not done, `num_beams = 4` for example.
    pub unread_settings: Vec<String>,
    /// Texts that end an answer.
    pub stop_strings: Vec<String>,
    /// Where the model came from, for errors.
    pub(super) folder: PathBuf,
    pub(super) device: Device,
    /// Of forms; made for the first one.
    pub(super) tokens: OnceLock<Arc<TokenTable>>,
}

impl ChatModel {
    /// Loads a folder: a published checkpoint, a run's `model` folder, or the folder of a cell that has one; a language model's
    /// too, and that of a GGUF file. Weights are held as f32.
    ///
    /// # Errors
    /// A folder without such a model, a file that is missing or damaged.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        Self::load_as(folder, device, StoreDtype::F32)
    }
}

impl<T: VisionTower, P: Projector> ChatModel<T, P> {
    /// As [`ChatModel::load`], of any tower and connector, with the weights in another element type (bf16 and f16 take half the memory) or
    /// with other options.
    ///
    /// # Errors
    /// As [`ChatModel::load`]; a device that does not compute in the element type.
    pub fn load_as(folder: &Path, device: &Device, options: impl Into<LoadOptions>) -> Result<Self> {
        Self::load_adapted(folder, None, device, options)
    }

    /// As [`Self::load_as`], with the low-rank adapter of a folder in peft's layout beside the weights: as peft runs it, so that weights
    /// in bf16 do not swallow what it changes.
    ///
    /// # Errors
    /// As [`Self::load_as`]; an adapter that does not fit the model, or asks for what is not computed.
    pub fn load_adapted(
        folder: &Path,
        adapter: Option<&Path>,
        device: &Device,
        options: impl Into<LoadOptions>,
    ) -> Result<Self> {
        let folder = model_folder(folder)?;
        let with_pictures = sees(&folder)?;
        let unpacked = is_gguf(&folder).then(|| unpacked_words(&folder)).transpose()?;
        let words = unpacked.as_ref().map_or(folder.as_path(), TempDir::path);
        let processor =
            if with_pictures { Processor::from_folder(words)? } else { Processor::text_from_folder(words)? };
        let mut generation = GenerationConfig::from_folder(words)?;
        let unread_settings = GenerationConfig::unread_settings(words)?;
        let options = options.into();
        let dtype = options.dtype;
        let model = if with_pictures {
            let model = Vlm::<T, P>::load_pretrained_with(&folder, device, &options)?;
            Talker::Vlm(Box::new(adapted(model, adapter, dtype, device)?))
        } else {
            let model = LanguageModel::load_pretrained_with(&folder, device, &options)?;
            Talker::Language(Box::new(adapted(model, adapter, dtype, device)?))
        };
        let rows = model.language_model().config().vocab_size();
        processor.tokenizer().check_rows(rows, processor.image_token_id(), &folder.join("tokenizer.json"))?;
        // The model knows its own connector; a published count may be another's.
        let processor = match model.vlm() {
            Some(model) => {
                let mut tokens = model_visual_tokens(&model.config);
                if let Some(image) = processor.image_processor() {
                    check_processor(image.config(), &model.config.vision_config)
                        .map_err(|message| TrainError::invalid(&folder, format!("the image processor {message}")))?;
                    tokens = tokens.shown_by(image.config());
                }
                processor.with_visual_tokens(tokens).with_frame_tokens(model.config.frame_tokens())
            }
            None => processor,
        };
        for id in processor.end_of_turn().into_iter().chain(model.language_model().config().eos_token_ids()) {
            if !generation.stop_tokens.contains(&id) {
                generation.stop_tokens.push(id);
            }
        }
        let (stop_strings, device, tokens) = (Vec::new(), device.clone(), OnceLock::new());
        Ok(Self { model, processor, generation, unread_settings, stop_strings, folder, device, tokens })
    }

    /// What shows video files to this model, by a rule.
    ///
    /// # Errors
    /// A language model alone, a rule that cannot choose, a model whose pictures have no size of their own.
    pub fn clips(&self, settings: &VideoSettings) -> Result<Arc<Clips>> {
        self.vlm()?;
        let frames = self.processor.frame_processor().map_err(TrainError::within(self.folder.display().to_string()))?;
        Ok(Clips::new(settings, frames, Path::new(""))?)
    }

    /// Visual tokens of a video of so many frames, or of its frames as pictures where the model takes no videos; `None` where only the
    /// pixels tell.
    pub fn num_video_tokens(&self, frames: usize) -> Option<usize> {
        match self.processor.video_processor() {
            Some(_) => Some(self.processor.num_video_tokens(frames)),
            None => Some(frames.saturating_mul(self.processor.num_frame_tokens()?)),
        }
    }

    /// A new conversation.
    pub fn session(&self) -> ChatSession<'_, T, P> {
        ChatSession::new(self)
    }

    /// The vision-language model.
    ///
    /// # Errors
    /// A language model alone, which takes no pictures.
    pub fn vlm(&self) -> Result<&Vlm<T, P>> {
        self.model.vlm().ok_or_else(|| words_alone(&self.folder, self.model.language_model()))
    }

    /// The vision-language model with its processor.
    ///
    /// # Errors
    /// As [`Self::vlm`].
    pub fn into_vlm(self) -> Result<(Box<Vlm<T, P>>, Processor)> {
        match self.model {
            Talker::Vlm(model) => Ok((model, self.processor)),
            Talker::Language(model) => Err(words_alone(&self.folder, &model)),
        }
    }

    /// How many experts the words around a picture choose among (Parrot); 0 where none are.
    pub fn experts(&self) -> usize {
        let connector = self.model.vlm().map(|model| &model.multi_modal_projector);
        match connector.filter(|connector| connector.reads_text()).map(Projector::config) {
            Some(ConnectorConfig::Parrot(config)) => config.num_experts,
            _ => 0,
        }
    }

    /// What stands for a picture or a video among the words, if it is in a text that somebody wrote: the mark, and what it stands for.
    pub(super) fn mark_in(&self, text: &str) -> Option<(&str, &'static str)> {
        let video = self.processor.video_token_id().map_or("", |_| VIDEO_PLACEHOLDER);
        let marks = [(IMAGE_PLACEHOLDER, "picture"), (self.processor.image_token(), "picture"), (video, "video")];
        marks.into_iter().find(|(mark, _)| !mark.is_empty() && text.contains(mark))
    }

    /// The ids of a conversation up to where the answer begins, with as many tokens of pictures and videos as `counts` says.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse.
    pub(super) fn prompt(&self, turns: &[Turn], counts: VisualCounts<'_>) -> Result<Vec<u32>> {
        let ids = self.processor.encode_media_prompt(turns, counts);
        ids.map_err(|source| TrainError::Conversation { folder: self.folder.clone(), source: Box::new(source) })
    }
}

/// The model with its adapter, if it has one.
fn adapted<M: Adapt>(model: M, adapter: Option<&Path>, dtype: StoreDtype, device: &Device) -> Result<M> {
    match adapter {
        None => Ok(model),
        Some(adapter) => Ok(load_adapter(model, adapter, dtype, device)?.0),
    }
}

/// A folder with what a GGUF file says of words; it goes when it is let go.
fn unpacked_words(file: &Path) -> Result<TempDir> {
    let folder =
        TempDir::new().map_err(|error| TrainError::io("cannot make a folder in", std::env::temp_dir(), error))?;
    for (name, text) in gguf_words(file)? {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map_err(|error| TrainError::io("cannot write", &path, error))?;
    }
    Ok(folder)
}

/// Whether a folder holds a language model alone, not a vision-language model.
///
/// # Errors
/// Another kind of model, or none.
pub fn is_language_model(folder: &Path) -> Result<bool> {
    sees(folder).map(|sees| !sees)
}

/// The error where somebody shows pictures to a language model.
fn words_alone(folder: &Path, model: &LanguageModel) -> TrainError {
    let message = format!(
        "this is a language model alone ({}), which is shown neither pictures nor videos; name the folder of a vision-language model ({})",
        model.config().name(),
        VLM_KINDS.join(", ")
    );
    TrainError::invalid(folder.join("config.json"), message)
}

/// Whether a folder's model is shown pictures. Says first what matters most: that it holds another kind of model.
fn sees(folder: &Path) -> Result<bool> {
    if is_gguf(folder) {
        return Ok(false);
    }
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|error| TrainError::io("cannot read", &path, error))?;
    let config: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| TrainError::invalid(&path, error.to_string()))?;
    let kind = config["model_type"].as_str().unwrap_or("none");
    if VLM_KINDS.contains(&kind) {
        return Ok(true);
    }
    if LANGUAGE_KINDS.contains(&kind) {
        return Ok(false);
    }
    let message = format!(
        "model_type `{kind}` is no model to talk to; expected a vision-language model ({}) or a language model ({})",
        VLM_KINDS.join(", "),
        LANGUAGE_KINDS.join(", ")
    );
    Err(TrainError::invalid(&path, message))
}

/// (height, width) of a picture before it was processed.
pub(super) fn size(image: &ProcessedImage) -> (usize, usize) {
    (image.original_size.0 as usize, image.original_size.1 as usize)
}

/// The folder with `config.json`: the one given, or `model` in it; a GGUF file is its own.
///
/// # Errors
/// Neither is there; a folder that holds something else, such as an adapter.
pub fn model_folder(folder: &Path) -> Result<PathBuf> {
    if is_gguf(folder) {
        return Ok(folder.to_path_buf());
    }
    let candidates = [folder.to_path_buf(), folder.join("model")];
    let found = candidates.into_iter().find(|folder| folder.join("config.json").is_file());
    // Adapters and projectors may have a config.json beside them.
    if let Some(what) = describe(found.as_deref().unwrap_or(folder)) {
        return Err(TrainError::invalid(found.as_deref().unwrap_or(folder), what));
    }
    if let Some(found) = found {
        return Ok(found);
    }
    let mut help = String::from("no config.json here or in `model` below");
    if folder.join("cells").is_dir() {
        help.push_str("; this is a study's folder: name a cell in it, such as cells/siglip2/en/seed0");
    } else if !folder.exists() {
        help = "there is no such folder; download the checkpoint, or name the cell of a finished study".into();
    }
    Err(TrainError::invalid(folder, help))
}
