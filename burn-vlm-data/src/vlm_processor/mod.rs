//! The prompt side of a vision-language model: a conversation with pictures -> ids and pixels, from the files of a published
//! folder alone (LLaVA and LLaVA-NeXT layouts).
//!
//! Unusual here:
//! - an image token is repeated after tokenizing, not in the text; the ids are the same, since it is a token of its own;
//! - the start token is added as Hugging Face's `apply_chat_template` does: by the tokenizer, unless the template wrote it.

mod tiling;
mod visual_tokens;

pub use tiling::{TILES_224_14_22, TILES_224_16_20, TILES_384_14_6, TILES_512_16_4, TilingPreset, tile_grids};
pub use visual_tokens::{FeatureSelectStrategy, VisualTokens};

use crate::chat_template::{ChatTemplate, Message, RenderOptions, TemplateError};
use crate::image::{AspectRatio, ImageError, ImageProcessor, ImageProcessorConfig, ProcessedImage, RgbImage};
use crate::tokenizer::{Tokenizer, TokenizerError};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A processor that cannot be loaded, or a conversation that it cannot process.
#[derive(Debug, thiserror::Error)]
pub enum VlmProcessorError {
    /// The tokenizer cannot be loaded, or failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template cannot be loaded, or refused the conversation.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The image processor cannot be loaded, or a picture not processed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        reason: String,
    },
    /// A key is missing or has an impossible value.
    #[error("{}: {key}: expected {expected}, found {found}", path.display())]
    Key {
        /// The file, or the folder where several files may have the key.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Pictures and image tokens do not match.
    #[error(
        "the prompt has {found} image tokens for {pictures} pictures: every picture needs one {{\"type\": \"image\"}} in the \
         messages, and the chat template must write it as {token:?}"
    )]
    Images {
        /// Image tokens of the tokenized prompt.
        found: usize,
        /// Pictures given.
        pictures: usize,
        /// The image token.
        token: String,
    },
}

/// Tokenizer, chat template and image processor of a vision-language model.
#[derive(Debug)]
pub struct VlmProcessor {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: ChatTemplate,
    /// The image processor.
    pub image_processor: ImageProcessor,
    /// How many tokens a picture has.
    pub visual_tokens: VisualTokens,
    image_token: String,
    image_token_id: u32,
}

/// A conversation ready for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct VlmPrompt {
    /// The rendered conversation, with one image token a picture.
    pub text: String,
    /// Its ids.
    pub raw_ids: Vec<u32>,
    /// The ids with each image token repeated as often as its picture has visual tokens.
    pub ids: Vec<u32>,
    /// Number of visual tokens of each picture.
    pub num_image_tokens: Vec<usize>,
    /// Pixels, tiles and original size of each picture; [`crate::image::PixelBatch::stack`] makes a batch of them.
    pub images: Vec<ProcessedImage>,
}

impl VlmProcessor {
    /// The processor of a Hugging Face folder: `tokenizer.json` with its config, the chat template, the image processor, and
    /// `processor_config.json` and `config.json` for the number of visual tokens and the image token.
    ///
    /// # Errors
    /// A file that is missing or damaged, or an image token that the tokenizer does not know; file and key are named.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, VlmProcessorError> {
        let folder = folder.as_ref();
        let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
        let template = ChatTemplate::from_folder(folder)?;
        let config = read(&folder.join("config.json"))?;
        let processor = read(&folder.join("processor_config.json"))?;
        let mut image = ImageProcessorConfig::from_folder(folder)?;
        // LLaVA's own layout says it in the model's configuration.
        if text(config.as_ref(), "image_aspect_ratio") == Some("pad") {
            image.image_aspect_ratio = Some(AspectRatio::Pad);
        }
        let visual_tokens = VisualTokens::read(folder, config.as_ref(), processor.as_ref(), &image)?;
        let (image_token, image_token_id) = image_token(folder, &tokenizer, config.as_ref(), processor.as_ref())?;
        Ok(Self {
            tokenizer,
            template,
            image_processor: ImageProcessor::new(image)?,
            visual_tokens,
            image_token,
            image_token_id,
        })
    }

    /// The image token's text.
    pub fn image_token(&self) -> &str {
        &self.image_token
    }

    /// The image token's id.
    pub fn image_token_id(&self) -> u32 {
        self.image_token_id
    }

    /// Number of visual tokens of a processed picture.
    pub fn num_image_tokens(&self, image: &ProcessedImage) -> usize {
        self.visual_tokens.count(image)
    }

    /// Renders, tokenizes and expands a conversation, and processes its pictures, which come in the order of the messages.
    ///
    /// # Errors
    /// A conversation that the template refuses, pictures that do not match the image tokens, a picture that cannot be
    /// processed.
    pub fn process(
        &self,
        messages: &[Message],
        pictures: &[RgbImage],
        options: &RenderOptions,
    ) -> Result<VlmPrompt, VlmProcessorError> {
        let images = pictures.iter().map(|picture| self.image_processor.process_tiles(picture));
        self.with_images(messages, images.collect::<Result<_, _>>()?, options)
    }

    /// As [`VlmProcessor::process`], with pictures that were processed before: earlier turns of a conversation need not be
    /// processed again.
    ///
    /// # Errors
    /// As [`VlmProcessor::process`].
    pub fn with_images(
        &self,
        messages: &[Message],
        images: Vec<ProcessedImage>,
        options: &RenderOptions,
    ) -> Result<VlmPrompt, VlmProcessorError> {
        let text = self.template.render_messages(messages, options)?;
        let raw_ids = self.encode(&text)?;
        let num_image_tokens: Vec<usize> = images.iter().map(|image| self.num_image_tokens(image)).collect();
        let ids = self.expand(&raw_ids, &num_image_tokens)?;
        Ok(VlmPrompt { text, raw_ids, ids, num_image_tokens, images })
    }

    /// The ids of a rendered conversation, with a start token if the tokenizer adds one and the text does not begin with it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let bos = self.tokenizer.bos_token();
        if !bos.is_empty() && text.starts_with(bos) {
            self.tokenizer.encode(text)
        } else {
            self.tokenizer.encode_with_special_tokens(text)
        }
    }

    /// Repeats the image tokens: the n-th one as often as `counts[n]` says.
    ///
    /// # Errors
    /// More or fewer image tokens than counts.
    pub fn expand(&self, raw_ids: &[u32], counts: &[usize]) -> Result<Vec<u32>, VlmProcessorError> {
        let found = raw_ids.iter().filter(|id| **id == self.image_token_id).count();
        if found != counts.len() {
            let token = self.image_token.clone();
            return Err(VlmProcessorError::Images { found, pictures: counts.len(), token });
        }
        let mut counts = counts.iter();
        let mut ids = Vec::with_capacity(raw_ids.len() + counts.as_slice().iter().sum::<usize>());
        for id in raw_ids {
            let repeated = if *id == self.image_token_id { counts.next().copied().unwrap_or(0) } else { 1 };
            ids.extend(std::iter::repeat_n(*id, repeated));
        }
        Ok(ids)
    }
}

/// A JSON file, where there is one.
fn read(path: &Path) -> Result<Option<Value>, VlmProcessorError> {
    let fail = |reason: String| VlmProcessorError::File { path: path.to_owned(), reason };
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| fail(error.to_string()))
}

fn text<'a>(file: Option<&'a Value>, key: &str) -> Option<&'a str> {
    file?.get(key)?.as_str()
}

/// The image token, by its text in `processor_config.json`, else by its id in `config.json`, else `<image>`; where both are
/// there they must agree.
fn image_token(
    folder: &Path,
    tokenizer: &Tokenizer,
    config: Option<&Value>,
    processor: Option<&Value>,
) -> Result<(String, u32), VlmProcessorError> {
    let id = ["image_token_index", "image_token_id"].iter().find_map(|key| config?.get(key)?.as_u64());
    let by_id = id.and_then(|id| tokenizer.token(u32::try_from(id).ok()?));
    let token = text(processor, "image_token").map(str::to_owned).or(by_id);
    let token = token.unwrap_or_else(|| crate::conversation::IMAGE_PLACEHOLDER.to_owned());
    let wrong = |file: &str, key, expected: String, found: String| {
        Err(VlmProcessorError::Key { path: folder.join(file), key, expected, found })
    };
    match (tokenizer.token_id(&token), id) {
        (None, _) => wrong("tokenizer.json", "added_tokens", format!("the image token {token:?}"), "none".to_owned()),
        (Some(known), Some(id)) if u64::from(known) != id => {
            let expected = format!("the id of {token:?} in tokenizer.json, {known}");
            wrong("config.json", "image_token_index", expected, id.to_string())
        }
        (Some(known), _) => Ok((token, known)),
    }
}
