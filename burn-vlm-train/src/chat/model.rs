//! A model with all that is needed to talk to it.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::generate::GenerationConfig;
use burn_vlm::vlm::Vlm;
use burn_vlm_data::chat_template::{Message, RenderOptions};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use burn_vlm_data::encode::end_of_turn;
use burn_vlm_data::image::ProcessedImage;
use burn_vlm_data::vlm_processor::VlmProcessor;

use super::ChatSession;
use crate::error::{Result, TrainError};

/// A text that no template writes by itself.
const PROBE: &str = "burnvlmprobe";

/// A vision-language model with its tokenizer, chat template and image processor.
pub struct ChatModel {
    /// The model.
    pub model: Vlm,
    /// Everything before the tensor.
    pub processor: VlmProcessor,
    /// How answers are generated, as `generation_config.json` says; the stop tokens are those that end a turn.
    pub generation: GenerationConfig,
    /// Texts that end an answer.
    pub stop_strings: Vec<String>,
    pub(super) device: Device,
    /// Whether the template takes a message as a list of images and texts; else as a text with placeholders.
    takes_parts: bool,
}

impl ChatModel {
    /// Loads a folder: a published checkpoint, a run's `model` folder, or the folder of a cell that has one.
    ///
    /// # Errors
    /// A folder without a model, a file that is missing or damaged, a template that does not show pictures.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let folder = model_folder(folder)?;
        let data = |error: &dyn std::fmt::Display| TrainError::Data(error.to_string());
        let processor = VlmProcessor::from_folder(&folder).map_err(|error| data(&error))?;
        let mut generation = GenerationConfig::from_folder(&folder)?;
        let end = end_of_turn(&processor.tokenizer, &processor.template).ok().flatten();
        let model = Vlm::load_pretrained(&folder, device)?;
        let ends =
            end.into_iter().chain(processor.tokenizer.eos_id()).chain(model.language_model.config().eos_token_ids());
        for id in ends {
            if !generation.stop_tokens.contains(&id) {
                generation.stop_tokens.push(id);
            }
        }
        let takes_parts = takes_parts(&processor);
        let device = device.clone();
        Ok(Self { model, processor, generation, stop_strings: Vec::new(), device, takes_parts })
    }

    /// A new conversation.
    pub fn session(&self) -> ChatSession<'_> {
        ChatSession::new(self)
    }

    /// Visual tokens of a processed picture, as the model makes them.
    ///
    /// # Errors
    /// A picture that does not fit the model's tiling.
    pub(super) fn num_image_tokens(&self, image: &ProcessedImage) -> Result<usize> {
        let config = &self.model.config;
        if !config.is_tiled() {
            return Ok(config.num_visual_tokens());
        }
        let packing = config.packing(&[image.tiles], &[size(image)])?;
        Ok(packing.image_tokens().iter().sum())
    }

    /// The ids of a conversation up to where the answer begins, with as many image tokens as `counts` says.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse.
    pub(super) fn prompt(&self, turns: &[Turn], counts: &[usize]) -> Result<Vec<u32>> {
        let data = |error: &dyn std::fmt::Display| TrainError::Data(error.to_string());
        let text = render(&self.processor, turns, self.takes_parts, true).map_err(|error| data(&error))?;
        let ids = self.processor.encode(&text).map_err(|error| data(&error))?;
        self.processor.expand(&ids, counts).map_err(|error| data(&error))
    }
}

/// (height, width) of a picture before it was processed.
pub(super) fn size(image: &ProcessedImage) -> (usize, usize) {
    (image.original_size.0 as usize, image.original_size.1 as usize)
}

fn render(
    processor: &VlmProcessor,
    turns: &[Turn],
    parts: bool,
    add_generation_prompt: bool,
) -> std::result::Result<String, burn_vlm_data::chat_template::TemplateError> {
    if !parts {
        return processor.template.render(turns, add_generation_prompt);
    }
    let messages: Vec<Message> = turns.iter().map(Message::from).collect();
    processor.template.render_messages(&messages, &RenderOptions { add_generation_prompt, ..Default::default() })
}

/// Templates of vision-language models take lists, those of language models texts. Given a list, the latter fail or print it.
fn takes_parts(processor: &VlmProcessor) -> bool {
    let turn = Turn { role: Role::User, text: format!("{IMAGE_PLACEHOLDER}\n{PROBE}") };
    render(processor, &[turn], true, false)
        .is_ok_and(|text| text.contains(PROBE) && text.contains(processor.image_token()) && !text.contains("type"))
}

/// The folder with `config.json`: the one given, or `model` in it.
fn model_folder(folder: &Path) -> Result<PathBuf> {
    let candidates = [folder.to_path_buf(), folder.join("model")];
    if let Some(found) = candidates.into_iter().find(|folder| folder.join("config.json").is_file()) {
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
