//! From turns to ids, in the words of the model's family.

use std::path::Path;

use burn_vlm_data::chat_template::{Message, RenderOptions, TemplateError};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use burn_vlm_data::encode::end_of_turn;
use burn_vlm_data::image::{AspectRatio, ImageProcessor, ImageProcessorConfig};
use burn_vlm_data::parrot;
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_data::vlm_processor::VlmProcessor;

use crate::error::{Result, TrainError};

/// A text that no template writes by itself.
const PROBE: &str = "burnvlmprobe";

/// Everything before the tensor.
pub enum Prompts {
    /// A chat template writes the conversation (LLaVA, LLaVA-NeXT, TowerVision, the models trained here).
    Template {
        /// Tokenizer, template and image processor.
        processor: Box<VlmProcessor>,
        /// Whether the template takes a message as a list of images and texts; else as a text with placeholders.
        takes_parts: bool,
    },
    /// Parrot's own ChatML, pictures padded to squares.
    Parrot {
        /// The tokenizer.
        tokenizer: Box<Tokenizer>,
        /// The image processor.
        image_processor: Box<ImageProcessor>,
    },
}

impl Prompts {
    /// What a folder with this `model_type` needs.
    ///
    /// # Errors
    /// A file that is missing or damaged, named.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| TrainError::io("cannot read", &path, error))?;
        let config: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| TrainError::invalid(&path, error.to_string()))?;
        if config["model_type"] == "parrot_qwen2" {
            let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
            let mut image = ImageProcessorConfig::from_folder(folder)?;
            image.image_aspect_ratio = Some(AspectRatio::Pad);
            let image_processor = Box::new(ImageProcessor::new(image)?);
            return Ok(Self::Parrot { tokenizer: Box::new(tokenizer), image_processor });
        }
        let processor = Box::new(VlmProcessor::from_folder(folder)?);
        let takes_parts = takes_parts(&processor);
        Ok(Self::Template { processor, takes_parts })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Template { processor, .. } => &processor.tokenizer,
            Self::Parrot { tokenizer, .. } => tokenizer,
        }
    }

    /// What stands for a picture in a rendered prompt.
    pub fn image_token(&self) -> &str {
        match self {
            Self::Template { processor, .. } => processor.image_token(),
            Self::Parrot { .. } => IMAGE_PLACEHOLDER,
        }
    }

    /// The image processor.
    pub fn image_processor(&self) -> &ImageProcessor {
        match self {
            Self::Template { processor, .. } => &processor.image_processor,
            Self::Parrot { image_processor, .. } => image_processor,
        }
    }

    /// The tokens that end an answer, besides those of the model's configs.
    pub(super) fn ends(&self) -> Vec<u32> {
        let end = match self {
            // A template that takes lists only cannot be asked with a text; its folder names the end in its configs.
            Self::Template { processor, .. } => end_of_turn(&processor.tokenizer, &processor.template).ok().flatten(),
            Self::Parrot { tokenizer, .. } => tokenizer.token_id("<|im_end|>"),
        };
        end.into_iter().chain(self.tokenizer().eos_id()).collect()
    }

    /// The ids of a conversation up to where the answer begins; the n-th picture takes `counts[n]` ids `image_token`.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse, placeholders that do not match `counts`.
    pub(super) fn ids(&self, turns: &[Turn], counts: &[usize], image_token: u32) -> Result<Vec<u32>> {
        match self {
            Self::Template { processor, takes_parts } => {
                let text = render(processor, turns, *takes_parts, true)?;
                let ids = processor.encode(&text)?;
                Ok(processor.expand(&ids, counts)?)
            }
            Self::Parrot { tokenizer, .. } => {
                let encoded = parrot::encode_prompt(tokenizer, turns)?;
                let found = encoded.input_ids.iter().filter(|id| **id == parrot::IMAGE_TOKEN_INDEX).count();
                if found != counts.len() {
                    return Err(TrainError::Data(format!("{found} places for {} pictures", counts.len())));
                }
                let mut counts = counts.iter();
                let expand = |id: &i64| match u32::try_from(*id) {
                    Ok(id) => std::iter::repeat_n(id, 1),
                    Err(_) => std::iter::repeat_n(image_token, counts.next().copied().unwrap_or(0)),
                };
                Ok(encoded.input_ids.iter().flat_map(expand).collect())
            }
        }
    }
}

fn render(
    processor: &VlmProcessor,
    turns: &[Turn],
    parts: bool,
    add_generation_prompt: bool,
) -> std::result::Result<String, TemplateError> {
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
