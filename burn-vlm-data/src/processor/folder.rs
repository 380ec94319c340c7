//! A processor from the files of a folder: published ones (LLaVA and LLaVA-NeXT as transformers writes them, LLaVA's own layout,
//! Parrot), and those saved by this library.

use super::{Format, ImageParts, Images, Processor, ProcessorError, TileTokens, VideoParts, VisualTokens};
use crate::chat_template::ChatTemplate;
use crate::conversation::{IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER};
use crate::encode::Style;
use crate::image::{AspectRatio, DecodeLimits, GridPinpoint, ImageError, ImageProcessorConfig};
use crate::tokenizer::{Tokenizer, special_token};
use crate::video::VideoProcessorConfig;
use burn_vlm_base::onevision::{
    DEFAULT_ASPECT_RATIO, DEFAULT_STRIDE, FrameTokens, NewlinePosition, PoolMode, max_tiles, original_pinpoints,
    original_takes_videos, tiles_every_image,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// `model_type` of the authors' Parrot.
const PARROT: &str = "parrot_qwen2";
/// The key of `processor_config.json` in which this library writes that conversations have the format of the chat template and
/// pictures that of `preprocessor_config.json`, whatever the layout of the weights makes one think.
pub const CONVERSATION_FORMAT: &str = "conversation_format";
/// See [`CONVERSATION_FORMAT`].
pub const BY_TEMPLATE: &str = "chat_template";
/// `model_type` of models that take videos.
const ONEVISION: &str = "llava_onevision";
/// The key of LLaVA's own layout about the shape of pictures.
const IMAGE_ASPECT: &str = "image_aspect_ratio";
/// The key of `processor_config.json` in which this library writes the tokens of one view, which pooling and connectors change.
pub const TOKENS_PER_VIEW: &str = "visual_tokens_per_view";

impl Processor {
    /// The processor of a folder: `tokenizer.json` with its config, the chat template, the image processor, and
    /// `processor_config.json` and `config.json` for the number of visual tokens and the image token.
    ///
    /// # Errors
    /// A file that is missing or damaged, or an image token that the tokenizer does not know; file and key are named.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ProcessorError> {
        let folder = folder.as_ref();
        let files = Files::read(folder)?;
        let processor = Self::words(folder, &files)?;
        if processor.image_token_id().is_none() {
            let expected = format!("the image token {IMAGE_PLACEHOLDER:?}");
            return Err(files.wrong("tokenizer.json", "added_tokens", expected, "none".to_owned()));
        }
        let processor = Self { images: Some(files.images()?), ..processor };
        match files.videos(&processor.tokenizer)? {
            Some(videos) => processor.with_videos(videos),
            None => Ok(processor),
        }
    }

    /// As [`Self::from_folder`], without pictures: of a language model's folder too, which has no image processor and perhaps no
    /// image token.
    ///
    /// # Errors
    /// As [`Self::from_folder`], but for files about pictures.
    pub fn text_from_folder(folder: impl AsRef<Path>) -> Result<Self, ProcessorError> {
        let folder = folder.as_ref();
        Self::words(folder, &Files::read(folder)?)
    }

    /// As [`Self::text_from_folder`], with pictures and videos where the folder has what is about them: what counts the tokens of
    /// conversations, of a language model's folder too.
    ///
    /// # Errors
    /// As [`Self::text_from_folder`]; of a model that is shown pictures, as [`Self::from_folder`] of what is about them.
    pub fn counting_from_folder(folder: impl AsRef<Path>) -> Result<Self, ProcessorError> {
        let folder = folder.as_ref();
        let files = Files::read(folder)?;
        let mut processor = Self::words(folder, &files)?;
        if files.have_image_processor() && processor.image_token_id().is_some() {
            processor.images = Some(files.images()?);
        }
        match files.videos(&processor.tokenizer)? {
            Some(videos) => processor.with_videos(videos),
            None => Ok(processor),
        }
    }

    /// How the model of a folder is shown pictures, with what LLaVA's own layout says of it in `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_folder`], but for files about words.
    pub fn image_config(folder: impl AsRef<Path>) -> Result<ImageProcessorConfig, ProcessorError> {
        Files::read(folder.as_ref())?.image_processor()
    }

    fn words(folder: &Path, files: &Files<'_>) -> Result<Self, ProcessorError> {
        let tokenizer = Arc::new(Tokenizer::from_file(folder.join("tokenizer.json"))?);
        if files.is_parrot() {
            let config = files.config.as_ref();
            // A picture is no token of the vocabulary there; the id behind it marks its place.
            let id = ["image_token_index", "vocab_size"].iter().find_map(|key| config?.get(key)?.as_u64());
            let Some(image_id) = id.and_then(|id| u32::try_from(id).ok()) else {
                return Err(files.wrong("config.json", "vocab_size", "a number".to_owned(), "none".to_owned()));
            };
            return Ok(Self { tokenizer, format: Format::Parrot { image_id }, images: None, videos: None });
        }
        let template = Arc::new(ChatTemplate::from_folder(folder)?.with_special_tokens_of(&tokenizer));
        let image = files.image_token(&tokenizer)?;
        if let Some(rows) = files.rows()? {
            tokenizer.check_rows(rows, image.as_ref().map(|(_, id)| *id), &folder.join("tokenizer.json"))?;
        }
        let style = Style::of(&tokenizer, &template, image)
            .map_err(|cause| ProcessorError::Folder { path: folder.to_owned(), cause })?;
        Ok(Self { tokenizer, format: Format::Template { template, style }, images: None, videos: None })
    }
}

/// Files of a folder.
const CONFIG: &str = "config.json";
const PROCESSOR: &str = "processor_config.json";

/// The files of a folder that are about pictures, where they are there.
struct Files<'a> {
    folder: &'a Path,
    config: Option<Value>,
    processor: Option<Value>,
    /// `vision_config` of `config.json`, else the file that LLaVA's own layout and Parrot have for the tower.
    vision: Option<Value>,
    /// The file that it is from.
    vision_file: &'static str,
}

impl<'a> Files<'a> {
    fn read(folder: &'a Path) -> Result<Self, ProcessorError> {
        let config = read(&folder.join("config.json"))?;
        let own = config.as_ref().and_then(|config| config.get("vision_config")).filter(|vision| !vision.is_null());
        let (vision, vision_file) = match own {
            Some(vision) => (Some(vision.clone()), CONFIG),
            None => match read(&folder.join("vision_config.json"))? {
                Some(vision) => (Some(vision), "vision_config.json"),
                None => (None, CONFIG),
            },
        };
        Ok(Self { folder, config, processor: read(&folder.join(PROCESSOR))?, vision, vision_file })
    }

    /// Rows of the table of embeddings, where `config.json` says them.
    fn rows(&self) -> Result<Option<usize>, ProcessorError> {
        let config = self.config.as_ref();
        let text =
            ["text_config", "llm_config"].iter().find_map(|key| config?.get(key)).filter(|text| text.is_object());
        let rows = text.or(config).and_then(|config| config.get("vocab_size")).filter(|rows| !rows.is_null());
        let Some(rows) = rows else { return Ok(None) };
        let number = rows.as_u64().and_then(|rows| usize::try_from(rows).ok());
        let expected = "a number of token ids".to_owned();
        number.map(Some).ok_or_else(|| self.wrong("config.json", "vocab_size", expected, rows.to_string()))
    }

    /// Whether words and pictures are written as the authors of Parrot do; a model that was trained here in its layout has the
    /// format of its chat template, and says so.
    fn is_parrot(&self) -> bool {
        text(self.config.as_ref(), "model_type") == Some(PARROT) && !self.by_template()
    }

    fn by_template(&self) -> bool {
        text(self.processor.as_ref(), CONVERSATION_FORMAT) == Some(BY_TEMPLATE)
    }

    fn wrong(&self, file: &str, key: &'static str, expected: String, found: String) -> ProcessorError {
        ProcessorError::Key { path: self.folder.join(file), key, expected, found }
    }

    /// Whether something says how pictures are prepared.
    fn have_image_processor(&self) -> bool {
        let nested = self.processor.as_ref().and_then(|processor| processor.get("image_processor"));
        nested.is_some_and(Value::is_object) || self.folder.join("preprocessor_config.json").is_file()
    }

    fn images(&self) -> Result<Images, ProcessorError> {
        let config = self.image_processor()?;
        let tokens = self.visual_tokens(&config)?;
        Ok(Images::new(ImageParts { config, tokens, limits: DecodeLimits::default() })?)
    }

    /// The image processor, with what LLaVA's own layout and Parrot say about it in the model's configuration.
    fn image_processor(&self) -> Result<ImageProcessorConfig, ProcessorError> {
        let mut image = ImageProcessorConfig::from_folder(self.folder)?;
        let config = self.config.as_ref();
        if self.by_template() {
            return Ok(image);
        }
        if self.takes_videos() {
            image.tile_several = self.tiles_every_image()?;
            return Ok(image);
        }
        match self.text(config, CONFIG, IMAGE_ASPECT)? {
            Some("pad") => image.image_aspect_ratio = Some(AspectRatio::Pad),
            Some(tiled) if max_tiles(tiled).is_ok() => {
                if image.image_grid_pinpoints.is_none() {
                    image.image_grid_pinpoints = Some(self.original_pinpoints(tiled, image.tile())?);
                    image.check()?;
                }
                let pools = ["mm_spatial_pool_mode", "mm_spatial_pool_stride"];
                let pools =
                    pools.iter().any(|key| config.and_then(|config| config.get(key)).is_some_and(|v| !v.is_null()));
                // The code that trained models for videos pads all pictures but a sample's only one to squares.
                image.tile_several = !original_takes_videos(tiled, pools);
            }
            _ if self.is_parrot() => image.image_aspect_ratio = Some(AspectRatio::Pad),
            Some("square") | None => {}
            Some(other) => {
                // LLaVA-NeXT's `highres` and `crop_split` are other cuts.
                let expected = "square, pad, anyres or anyres_max_N".to_owned();
                return Err(self.wrong(CONFIG, IMAGE_ASPECT, expected, format!("{other:?}")));
            }
        }
        Ok(image)
    }

    /// The canvases of LLaVA's own layout.
    fn original_pinpoints(&self, aspect_ratio: &str, tile: u32) -> Result<Vec<GridPinpoint>, ProcessorError> {
        let key = "image_grid_pinpoints";
        let value = self.config.as_ref().and_then(|config| config.get(key)).cloned().unwrap_or_default();
        let wrong = |expected| self.wrong(CONFIG, key, expected, value.to_string());
        let canvas = |(height, width)| Some(GridPinpoint(u32::try_from(height).ok()?, u32::try_from(width).ok()?));
        let canvases = original_pinpoints(&value, aspect_ratio, tile as usize).map_err(wrong)?.into_iter().map(canvas);
        canvases.collect::<Option<_>>().ok_or_else(|| wrong("sides of at most 4294967295 pixels".to_owned()))
    }

    /// The image token, by its text in `processor_config.json`, else by its id in `config.json`, else `<image>`; where both are
    /// there they must agree. `None` where nothing names one and the tokenizer has no `<image>`.
    fn image_token(&self, tokenizer: &Tokenizer) -> Result<Option<(String, u32)>, ProcessorError> {
        let config = self.config.as_ref();
        let id = ["image_token_index", "image_token_id"].iter().find_map(|key| config?.get(key)?.as_u64());
        let by_id = id.and_then(|id| tokenizer.token(u32::try_from(id).ok()?));
        let named = special_token(self.processor.as_ref(), "image_token");
        let wrong = |found| self.wrong("processor_config.json", "image_token", "a token".to_owned(), found);
        let named = named.map_err(wrong)?.or(by_id);
        let is_named = named.is_some() || id.is_some();
        let token = named.unwrap_or_else(|| IMAGE_PLACEHOLDER.to_owned());
        match (tokenizer.token_id(&token), id) {
            (None, _) if !is_named => Ok(None),
            (None, _) => {
                let expected = format!("the image token {token:?}");
                Err(self.wrong("tokenizer.json", "added_tokens", expected, "none".to_owned()))
            }
            (Some(known), Some(id)) if u64::from(known) != id => {
                let expected = format!("the id of {token:?} in tokenizer.json, {known}");
                Err(self.wrong("config.json", "image_token_index", expected, id.to_string()))
            }
            (Some(known), _) => Ok(Some((token, known))),
        }
    }

    /// The tokens of a view and of tiles, from `processor_config.json`, and from `config.json` for what is not there.
    fn visual_tokens(&self, image: &ImageProcessorConfig) -> Result<VisualTokens, ProcessorError> {
        if let Some(budget) = image.patch_budget() {
            return Ok(VisualTokens::of_patches(budget));
        }
        let (config, processor, vision) = (self.config.as_ref(), self.processor.as_ref(), self.vision.as_ref());
        let missing = |key: &'static str, expected: &str| {
            self.wrong(self.vision_file, key, expected.to_owned(), "none".to_owned())
        };
        let patch_size = self.patch_size()?;
        let pixels = match image.output_size() {
            Some((height, width)) => (height as usize, width as usize),
            None => {
                let size = self.number(self.vision_file, vision, "image_size")?;
                let size = size.ok_or_else(|| missing("size", "a size that all pictures get (crop_size)"))?;
                (size, size)
            }
        };
        let ours = config.and_then(|config| config.get("visual_tokens"));
        let pool = self.number(CONFIG, ours, "pool")?.unwrap_or(1).max(1);
        let (rows, columns) = (pixels.0 / patch_size / pool, pixels.1 / patch_size / pool);
        let tiling = image.image_grid_pinpoints.clone();
        let max_tiles = self.max_tiles()?;
        let tiling = tiling.map(|pinpoints| TileTokens { tile: image.tile(), side: rows, pinpoints, max_tiles });
        if let Some(view) = self.number(PROCESSOR, processor, TOKENS_PER_VIEW)? {
            return Ok(VisualTokens { view, tiling, patches: None });
        }
        let additional = match self.number(PROCESSOR, processor, "num_additional_image_tokens")? {
            Some(number) => number,
            None => match text(vision, "model_type") {
                Some(kind) if kind.contains("siglip") => 0,
                Some(kind) if kind.contains("clip") => 1,
                _ => {
                    let help = "a number in processor_config.json, or a CLIP or SigLIP vision_config in config.json";
                    return Err(missing("num_additional_image_tokens", help));
                }
            },
        };
        let pooled = ours.and_then(|ours| ours.get("pooled_head")).and_then(Value::as_bool).unwrap_or(false);
        let kept = (rows * columns + additional).saturating_sub(self.dropped()?) + usize::from(pooled);
        Ok(VisualTokens { view: kept, tiling, patches: None })
    }

    /// Whether the model takes videos too.
    fn takes_videos(&self) -> bool {
        text(self.config.as_ref(), "model_type") == Some(ONEVISION)
    }

    /// Whether each of several pictures is tiled: our own key, else by the version that wrote the file.
    fn tiles_every_image(&self) -> Result<bool, ProcessorError> {
        let said =
            self.config.as_ref().and_then(|config| config.get("tile_every_image")).filter(|said| !said.is_null());
        if let Some(said) = said {
            let expected = || "true or false".to_owned();
            return said.as_bool().ok_or_else(|| self.wrong(CONFIG, "tile_every_image", expected(), said.to_string()));
        }
        Ok(tiles_every_image(text(self.config.as_ref(), "transformers_version")))
    }

    /// How many tiles' tokens a picture may have.
    fn max_tiles(&self) -> Result<Option<usize>, ProcessorError> {
        if !self.takes_videos() {
            // In LLaVA's own layout; what is no `anyres` has no tiles.
            let named = self.text(self.config.as_ref(), CONFIG, IMAGE_ASPECT)?;
            return Ok(named.and_then(|named| max_tiles(named).ok()).flatten());
        }
        let key = "vision_aspect_ratio";
        let (named, file) = match self.text(self.config.as_ref(), CONFIG, key)? {
            Some(named) => (Some(named), CONFIG),
            None => (self.text(self.processor.as_ref(), PROCESSOR, key)?, PROCESSOR),
        };
        let named = named.unwrap_or(DEFAULT_ASPECT_RATIO);
        max_tiles(named).map_err(|expected| self.wrong(file, key, expected.to_owned(), format!("{named:?}")))
    }

    /// How videos are shown to the model of the folder; `None` if it takes none.
    fn videos(&self, tokenizer: &Tokenizer) -> Result<Option<VideoParts>, ProcessorError> {
        if !self.takes_videos() {
            return Ok(None);
        }
        let frames = VideoProcessorConfig::from_folder(self.folder)?;
        let side = frames.square_side().map_err(|error| ImageError::ConfigFile {
            path: self.folder.to_owned(),
            reason: format!("video processor: {error}"),
        })?;
        let config = self.config.as_ref();
        let id = ["video_token_index", "video_token_id"].iter().find_map(|key| config?.get(key)?.as_u64());
        let by_id = id.and_then(|id| tokenizer.token(u32::try_from(id).ok()?));
        let wrong = |found| self.wrong(PROCESSOR, "video_token", "a token".to_owned(), found);
        let named = special_token(self.processor.as_ref(), "video_token").map_err(wrong)?;
        let token = named.or(by_id).unwrap_or_else(|| VIDEO_PLACEHOLDER.to_owned());
        match (tokenizer.token_id(&token), id) {
            (None, _) => {
                let expected = format!("the video token {token:?}");
                return Err(self.wrong("tokenizer.json", "added_tokens", expected, "none".to_owned()));
            }
            (Some(known), Some(id)) if u64::from(known) != id => {
                let expected = format!("the id of {token:?} in tokenizer.json, {known}");
                return Err(self.wrong(CONFIG, "video_token_index", expected, id.to_string()));
            }
            _ => {}
        }
        let patch_size = self.patch_size()?;
        let tokens = FrameTokens {
            side: side as usize / patch_size,
            mode: self.named::<PoolMode>("mm_spatial_pool_mode", "bilinear, average or max")?,
            stride: self.number(CONFIG, config, "mm_spatial_pool_stride")?.unwrap_or(DEFAULT_STRIDE),
            newline: self.named::<NewlinePosition>("mm_newline_position", "grid, frame, one_token or no_token")?,
        };
        if !(1..=tokens.side).contains(&tokens.stride) {
            let expected = format!("a number from 1 to {}, the side of a frame in tokens", tokens.side);
            return Err(self.wrong(CONFIG, "mm_spatial_pool_stride", expected, tokens.stride.to_string()));
        }
        Ok(Some(VideoParts { config: frames, tokens, token }))
    }

    /// One of a few words of `config.json`, or the first.
    fn named<T: DeserializeOwned + Default>(&self, key: &'static str, expected: &str) -> Result<T, ProcessorError> {
        let value = self.config.as_ref().and_then(|config| config.get(key)).filter(|value| !value.is_null());
        let Some(value) = value else { return Ok(T::default()) };
        serde_json::from_value(value.clone())
            .map_err(|_| self.wrong(CONFIG, key, expected.to_owned(), value.to_string()))
    }

    /// Side of a patch in pixels.
    fn patch_size(&self) -> Result<usize, ProcessorError> {
        let (processor, vision) = (self.processor.as_ref(), self.vision.as_ref());
        let size =
            self.number(PROCESSOR, processor, "patch_size")?.or(self.number(self.vision_file, vision, "patch_size")?);
        size.filter(|size| (1..=1024).contains(size)).ok_or_else(|| {
            let help = "a number from 1 to 1024 in processor_config.json, or in config.json under vision_config";
            self.wrong(self.vision_file, "patch_size", help.to_owned(), "none".to_owned())
        })
    }

    /// Features that do not become visual tokens: the first (CLIP's class token), or none.
    fn dropped(&self) -> Result<usize, ProcessorError> {
        let (config, processor) = (self.config.as_ref(), self.processor.as_ref());
        let name = "vision_feature_select_strategy";
        let (value, file) = match self.text(processor, PROCESSOR, name)? {
            Some(value) => (Some(value), PROCESSOR),
            None => (self.text(config, CONFIG, name)?, CONFIG),
        };
        // The class's default, which files may leave out; Parrot's own is another.
        let default = if self.is_parrot() { "cls_patch" } else { "default" };
        match value.or_else(|| text(config, "mm_vision_select_feature")).unwrap_or(default) {
            "default" | "patch" => Ok(1),
            "full" | "cls_patch" => Ok(0),
            other => Err(self.wrong(file, name, "\"default\" or \"full\"".to_owned(), format!("{other:?}"))),
        }
    }

    /// A text; another type is an error.
    fn text<'v>(
        &self,
        value: Option<&'v Value>,
        file: &str,
        key: &'static str,
    ) -> Result<Option<&'v str>, ProcessorError> {
        match value.and_then(|value| value.get(key)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(file, key, "a text".to_owned(), other.to_string())),
        }
    }

    fn number(&self, file: &str, values: Option<&Value>, key: &'static str) -> Result<Option<usize>, ProcessorError> {
        let value = match values.and_then(|values| values.get(key)) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        // A picture has far fewer tokens than this; more would be a damaged file.
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number <= 1 << 20);
        let expected = "a whole number up to 1048576".to_owned();
        number.map(Some).ok_or_else(|| self.wrong(file, key, expected, value.to_string()))
    }
}

/// A JSON file, where there is one.
fn read(path: &Path) -> Result<Option<Value>, ProcessorError> {
    let fail = |reason: String| ProcessorError::File { path: path.to_owned(), reason };
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| fail(error.to_string()))
}

fn text<'a>(file: Option<&'a Value>, key: &str) -> Option<&'a str> {
    file?.get(key)?.as_str()
}
