//! Everything before the tensor, one way for training, scoring, chat and inspection: conversations and pictures -> ids, labels,
//! pixels, and how many visual tokens a picture has.
//!
//! Unusual here:
//! - an image or video token is repeated after tokenizing, not in the text; the ids are the same, since it is a token of its own;
//! - the start token is added as Hugging Face's `apply_chat_template` does: by the tokenizer, unless the template wrote it;
//! - the ids of a conversation begin with those of its prompt, whatever the answer is ([`encode`](crate::encode)).

mod folder;
mod parrot;
mod tiling;
mod user_turns;
mod visual_tokens;

pub use folder::{BY_TEMPLATE, CONVERSATION_FORMAT, TOKENS_PER_VIEW};
pub use tiling::{TILES_224_14_22, TILES_224_16_20, TILES_384_14_6, TILES_512_16_4, TilingPreset, tile_grids};
pub use visual_tokens::{TileTokens, VisualTokens};

use crate::chat_template::{ChatTemplate, TemplateError};
use crate::conversation::{IMAGE_PLACEHOLDER, Turn, VIDEO_PLACEHOLDER};
use crate::encode::{EncodeError, EncodeOptions, Encoded, MaskStyle, Scribe, Style, VisualCounts, VisualIds, truncate};
use crate::image::{
    AspectRatio, DecodeLimits, ImageError, ImageProcessor, ImageProcessorConfig, ProcessedImage, RgbImage,
};
use crate::plain::{PromptTemplate, encode_document, encode_plain};
use crate::sample::Picture;
use crate::source::SkipReason;
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::video::{VideoProcessor, VideoProcessorConfig};
use burn_vlm_base::onevision::FrameTokens;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

/// A processor that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// The tokenizer cannot be loaded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template cannot be loaded.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The image processor cannot be loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Tokenizer and template cannot write conversations.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Those of a folder cannot.
    #[error("{}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with them.
        cause: EncodeError,
    },
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
}

/// What a processor is assembled from.
#[derive(Debug)]
pub struct ProcessorParts {
    /// The tokenizer; `<image>` stands for pictures, if it has that token.
    pub tokenizer: Arc<Tokenizer>,
    /// The chat template.
    pub template: Arc<ChatTemplate>,
    /// How pictures are prepared; conversations without pictures need none.
    pub images: Option<ImageParts>,
}

/// How pictures are prepared and counted.
#[derive(Debug, Clone)]
pub struct ImageParts {
    /// The image processor, tiling and padding included.
    pub config: ImageProcessorConfig,
    /// How many visual tokens a picture has.
    pub tokens: VisualTokens,
    /// What the decoder may use.
    pub limits: DecodeLimits,
}

impl ProcessorParts {
    /// A processor of conversations alone.
    pub fn text(tokenizer: impl Into<Arc<Tokenizer>>, template: impl Into<Arc<ChatTemplate>>) -> Self {
        Self { tokenizer: tokenizer.into(), template: template.into(), images: None }
    }
}

/// How videos are prepared and counted.
#[derive(Debug, Clone)]
pub struct VideoParts {
    /// How a frame becomes pixels.
    pub config: VideoProcessorConfig,
    /// How a frame becomes tokens, and a video a row of them.
    pub tokens: FrameTokens,
    /// What stands for a video in the words that a model reads, a token of the tokenizer.
    pub token: String,
}

/// A picture to be processed.
#[derive(Debug, Clone, Copy)]
pub enum PictureInput<'a> {
    /// A decoded one.
    Rgb(&'a RgbImage),
    /// The bytes of a file.
    File {
        /// What errors call it.
        name: &'a str,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// Tokenizer, template and image processor: all that turns conversations and pictures into what a model reads.
#[derive(Debug)]
pub struct Processor {
    tokenizer: Arc<Tokenizer>,
    format: Format,
    images: Option<Images>,
    videos: Option<Videos>,
}

/// What prepares and counts videos.
#[derive(Debug)]
struct Videos {
    processor: VideoProcessor,
    tokens: FrameTokens,
}

/// How conversations are written.
#[derive(Debug)]
enum Format {
    /// By a chat template (LLaVA, LLaVA-NeXT, TowerVision, the models trained here).
    Template { template: Arc<ChatTemplate>, style: Style },
    /// Parrot's own ChatML.
    Parrot { image_id: u32 },
}

/// Image processors of a picture that stands alone, of one among several, and of a video's frame; the last is absent where pictures have
/// grids of their own.
#[derive(Debug)]
struct Images {
    single: ImageProcessor,
    several: Option<ImageProcessor>,
    frames: Option<VideoProcessor>,
    tokens: VisualTokens,
}

impl Images {
    fn new(parts: ImageParts) -> Result<Self, ImageError> {
        let ImageParts { config, tokens, limits } = parts;
        let several = (config.image_grid_pinpoints.is_some() && !config.tile_several).then(|| {
            let aspect = Some(AspectRatio::Pad);
            ImageProcessorConfig { image_grid_pinpoints: None, image_aspect_ratio: aspect, ..config.clone() }
        });
        let frames = VideoProcessorConfig::of_pictures(&config).and_then(VideoProcessor::new).ok();
        let frames = frames.map(|frames| frames.with_limits(limits));
        let processor = |config| Ok::<_, ImageError>(ImageProcessor::new(config)?.with_limits(limits));
        Ok(Self { single: processor(config)?, several: several.map(processor).transpose()?, frames, tokens })
    }
}

impl Processor {
    /// A processor of its parts: a backbone's tokenizer and template, an encoder's image processor.
    ///
    /// # Errors
    /// An image processor that makes no sense, a template that drops the words of a turn.
    pub fn new(parts: ProcessorParts) -> Result<Self, ProcessorError> {
        let ProcessorParts { tokenizer, template, images } = parts;
        let style = Style::of_language_model(&tokenizer, &template)?;
        let images = images.map(Images::new).transpose()?;
        Ok(Self { tokenizer, format: Format::Template { template, style }, images, videos: None })
    }

    /// The same processor for videos too. A template that writes pictures alone becomes one that writes a video as it writes a picture
    /// ([`ChatTemplate::made_source`]).
    ///
    /// # Errors
    /// A token that the tokenizer does not know; a format of conversations that has no place for videos (Parrot's own, a template that
    /// writes neither videos nor pictures); a configuration that makes no sense.
    pub fn with_videos(self, parts: VideoParts) -> Result<Self, ProcessorError> {
        let VideoParts { config, tokens, token } = parts;
        let known = |token: &str| self.tokenizer.token_id(token);
        let (Some(id), Format::Template { template, style }) = (known(&token), &self.format) else {
            let help = "a video token is needed in the tokenizer, and a chat template";
            return Err(EncodeError::NoToken { token, help }.into());
        };
        config.square_side()?;
        let (style, template) = style.clone().for_videos(template, (token, id))?;
        let videos = Some(Videos { processor: VideoProcessor::new(config)?, tokens });
        Ok(Self { format: Format::Template { template, style }, videos, ..self })
    }

    /// The same processor with other limits on pictures.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        if let Some(Images { single, several, frames, tokens }) = self.images {
            let several = several.map(|processor| processor.with_limits(limits));
            let frames = frames.map(|frames| frames.with_limits(limits));
            self.images = Some(Images { single: single.with_limits(limits), several, frames, tokens });
        }
        let limited = |videos: Videos| Videos { processor: videos.processor.with_limits(limits), ..videos };
        self.videos = self.videos.map(limited);
        self
    }

    /// The same processor with another count of visual tokens: that of a loaded model, which knows its own connector.
    pub fn with_visual_tokens(mut self, tokens: VisualTokens) -> Self {
        if let Some(images) = &mut self.images {
            images.tokens = tokens;
        }
        self
    }

    /// The same processor with another count of a video's tokens: that of a loaded model.
    pub fn with_frame_tokens(mut self, tokens: FrameTokens) -> Self {
        if let Some(videos) = &mut self.videos {
            videos.tokens = tokens;
        }
        self
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The chat template; Parrot has none.
    pub fn template(&self) -> Option<&Arc<ChatTemplate>> {
        match &self.format {
            Format::Template { template, .. } => Some(template),
            Format::Parrot { .. } => None,
        }
    }

    /// Whether messages are given to the template as lists of pictures, videos and texts, not as texts with placeholders.
    pub fn takes_lists(&self) -> bool {
        matches!(&self.format, Format::Template { style, .. } if style.takes_parts)
    }

    /// The image processor of a picture that stands alone; `None` if the processor is of conversations alone.
    pub fn image_processor(&self) -> Option<&ImageProcessor> {
        self.images.as_ref().map(|images| &images.single)
    }

    /// What stands for a picture in the words that a model reads; empty where nothing does.
    pub fn image_token(&self) -> &str {
        match &self.format {
            Format::Template { style, .. } => style.image.as_ref().map_or("", |(token, _)| token),
            Format::Parrot { .. } => IMAGE_PLACEHOLDER,
        }
    }

    /// The id at each visual token.
    pub fn image_token_id(&self) -> Option<u32> {
        match &self.format {
            Format::Template { style, .. } => style.image_id(),
            Format::Parrot { image_id } => Some(*image_id),
        }
    }

    /// What turns the frames of a video into pixels; `None` if there are no videos here.
    pub fn video_processor(&self) -> Option<&VideoProcessor> {
        self.videos.as_ref().map(|videos| &videos.processor)
    }

    /// The id at each visual token of a video; `None` if there are no videos here.
    pub fn video_token_id(&self) -> Option<u32> {
        match &self.format {
            Format::Template { style, .. } => style.video_id(),
            Format::Parrot { .. } => None,
        }
    }

    /// How a frame becomes tokens; `None` if there are no videos here.
    pub fn frame_tokens(&self) -> Option<FrameTokens> {
        self.videos.as_ref().map(|videos| videos.tokens)
    }

    /// Number of visual tokens of a video of `frames` frames, which a rule may tell before the video is opened
    /// ([`Sampling::frames`](crate::video::Sampling::frames)): as often its id stands among the ids. 0 if there are no videos here.
    pub fn num_video_tokens(&self, frames: usize) -> usize {
        self.videos.as_ref().map_or(0, |videos| videos.tokens.of_video(frames))
    }

    /// How many visual tokens a picture has; `None` if the processor is of conversations alone.
    pub fn visual_tokens(&self) -> Option<&VisualTokens> {
        self.images.as_ref().map(|images| &images.tokens)
    }

    /// Number of visual tokens of a video's frame that is shown as a picture ([`Self::process_frame`]): those of a view, which a model of
    /// tiles ends with a newline. `None` if the processor is of conversations alone, or pictures have grids of their own.
    pub fn num_frame_tokens(&self) -> Option<usize> {
        let images = self.images.as_ref().filter(|images| images.frames.is_some())?;
        Some(images.tokens.view + usize::from(images.tokens.tiling.is_some()))
    }

    /// Number of visual tokens of a processed picture: as often its id stands among the ids.
    pub fn num_image_tokens(&self, image: &ProcessedImage) -> usize {
        self.images.as_ref().map_or(0, |images| images.tokens.count(image))
    }

    /// Processes the pictures of one conversation, which come in the order of its placeholders.
    ///
    /// # Errors
    /// A picture that cannot be decoded or processed, named; any picture if the processor is of conversations alone.
    pub fn process_images(&self, pictures: &[PictureInput<'_>]) -> Result<Vec<ProcessedImage>, ImageError> {
        pictures.iter().map(|picture| self.process_image(*picture, pictures.len())).collect()
    }

    /// Processes one of the `among` pictures of a conversation, see [`Self::process_images`].
    ///
    /// # Errors
    /// As [`Self::process_images`].
    pub fn process_image(&self, picture: PictureInput<'_>, among: usize) -> Result<ProcessedImage, ImageError> {
        let images = self.images.as_ref().ok_or(ImageError::NoProcessor)?;
        let processor = if among > 1 { images.several.as_ref().unwrap_or(&images.single) } else { &images.single };
        let image = match picture {
            PictureInput::Rgb(image) => Cow::Borrowed(image),
            PictureInput::File { name, bytes } => Cow::Owned(processor.decode(name, bytes)?),
        };
        let named = |error: ImageError| match picture {
            PictureInput::Rgb(_) => error,
            PictureInput::File { name, .. } => error.of(name),
        };
        let (width, height) = image.dimensions();
        if processor.config().image_grid_pinpoints.is_some() && !images.tokens.fits((height, width)) {
            let reason = "it fits none of image_grid_pinpoints: it is empty or too thin".to_owned();
            return Err(named(ImageError::Resize { width, height, reason }));
        }
        processor.process_tiles(&image).map_err(named)
    }

    /// Reads and processes a picture of a sample, one of `among` of a conversation; one that is drawn is never encoded. A frame of a video
    /// file is processed as [`Self::process_frame`] says.
    ///
    /// # Errors
    /// As [`Self::process_images`], and a picture that cannot be read or drawn.
    pub fn process_picture(&self, picture: &Picture, among: usize) -> Result<ProcessedImage, SkipReason> {
        let name = picture.name();
        if picture.is_frame() {
            return self.process_frame(picture);
        }
        if let Picture::Drawn(drawn) = picture {
            let image = self.process_image(PictureInput::Rgb(&drawn.draw()?), among);
            return image.map_err(|error| error.of(&name).into());
        }
        Ok(self.process_image(PictureInput::File { name: &name, bytes: &picture.read()? }, among)?)
    }

    /// Reads and processes a frame of a video: one view, as the video processor makes it; where there are no videos here, as a picture
    /// that is neither tiled nor padded.
    ///
    /// # Errors
    /// A frame that cannot be read, drawn or resized.
    pub fn process_frame(&self, frame: &Picture) -> Result<ProcessedImage, SkipReason> {
        let name = frame.name();
        let image = match frame {
            Picture::Drawn(drawn) => drawn.draw()?,
            other => self.decode(&name, &other.read()?)?,
        };
        Ok(self.process_rgb_frame(image).map_err(|error| error.of(&name))?)
    }

    /// As [`Self::process_frame`], of a frame that is decoded.
    ///
    /// # Errors
    /// A frame that cannot be resized.
    pub fn process_rgb_frame(&self, image: RgbImage) -> Result<ProcessedImage, ImageError> {
        let own = self.images.as_ref().and_then(|images| images.frames.as_ref());
        let Some(frames) = self.video_processor().or(own) else {
            return self.process_image(PictureInput::Rgb(&image), 1);
        };
        let original_size = (image.height(), image.width());
        let processed = frames.process_frames(&[image])?;
        let (data, height, width) = (processed.data, processed.height, processed.width);
        Ok(ProcessedImage { data, tiles: 1, height, width, original_size, budget: None })
    }

    /// What resizes the frames of video files: the video processor, or, where there are no videos here, the image processor without
    /// tiles and padding.
    ///
    /// # Errors
    /// A processor of conversations alone, and one of pictures that each have a grid of their own (NaFlex).
    pub fn frame_processor(&self) -> Result<VideoProcessor, ImageError> {
        if let Some(videos) = &self.videos {
            return Ok(videos.processor.clone());
        }
        let images = self.images.as_ref().ok_or(ImageError::NoProcessor)?;
        VideoProcessor::new(VideoProcessorConfig::of_pictures(images.single.config())?)
    }

    /// Decodes a file to RGB, on the ground that the image processor lays it on.
    ///
    /// # Errors
    /// A picture that cannot be decoded, named; any picture if the processor is of conversations alone.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<RgbImage, ImageError> {
        self.images.as_ref().ok_or(ImageError::NoProcessor)?.single.decode(name, bytes)
    }

    /// Whether a picture among several is processed otherwise than one that stands alone.
    pub fn several_differ(&self) -> bool {
        self.images.as_ref().is_some_and(|images| images.several.is_some())
    }

    /// Encodes a whole conversation with its labels, as its template writes it.
    ///
    /// `counts` has the number of visual tokens of each picture, in the order of the placeholders.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse, placeholders that do not match `counts`, one that is too long.
    pub fn encode(&self, turns: &[Turn], counts: &[usize], options: &EncodeOptions) -> Result<Encoded, EncodeError> {
        self.encode_media(turns, VisualCounts::of_images(counts), options)
    }

    /// As [`Self::encode`], of a conversation with videos too: `<video>` in a turn is a video.
    ///
    /// # Errors
    /// As [`Self::encode`]; videos where there are none.
    pub fn encode_media(
        &self,
        turns: &[Turn],
        counts: VisualCounts<'_>,
        options: &EncodeOptions,
    ) -> Result<Encoded, EncodeError> {
        match &self.format {
            Format::Template { template, style } => {
                Scribe { tokenizer: &self.tokenizer, template, style }.encode(turns, counts, options)
            }
            Format::Parrot { image_id } => {
                let counts = images_of(counts)?;
                if options.mask != MaskStyle::AnswersOnly {
                    return Err(EncodeError::Mask { mask: options.mask });
                }
                let encoded = parrot::encode(&self.tokenizer, turns)?;
                let encoded = encoded.expanded(*image_id, turns, counts, options.user_turns)?;
                truncate(&[*image_id], encoded, options)
            }
        }
    }

    /// As [`Self::encode`], or without roles ([`PromptTemplate::Plain`], [`PromptTemplate::Document`]; the mask style is not used).
    ///
    /// # Errors
    /// As [`Self::encode`]; with `Plain`, other turns than one question with pictures and one answer. Videos, which have no counts here, are
    /// refused where `<video>` stands for them.
    pub fn encode_as(
        &self,
        template: PromptTemplate,
        turns: &[Turn],
        counts: &[usize],
        options: &EncodeOptions,
    ) -> Result<Encoded, EncodeError> {
        let visual = VisualCounts::of_images(counts);
        match (template, &self.format) {
            (PromptTemplate::Plain, Format::Template { style, .. }) => {
                encode_plain(&self.tokenizer, style, turns, visual, options)
            }
            (PromptTemplate::Plain, Format::Parrot { image_id }) => {
                let style = Style::of_captions(&self.tokenizer, *image_id)?;
                encode_plain(&self.tokenizer, &style, turns, visual, options)
            }
            (PromptTemplate::Document, Format::Template { style, .. }) => {
                encode_document(&self.tokenizer, style, turns, visual, options)
            }
            (PromptTemplate::Document, Format::Parrot { image_id }) => {
                let style = Style::of_captions(&self.tokenizer, *image_id)?;
                encode_document(&self.tokenizer, &style, turns, visual, options)
            }
            (PromptTemplate::Chat, _) => self.encode(turns, counts, options),
        }
    }

    /// Encodes the prompt of a conversation: everything up to where the assistant's answer begins. The ids of [`Self::encode`] for
    /// the same turns with an answer begin with these.
    ///
    /// # Errors
    /// As [`Self::encode`], without the limit on tokens.
    pub fn encode_prompt(&self, turns: &[Turn], counts: &[usize]) -> Result<Vec<u32>, EncodeError> {
        self.encode_media_prompt(turns, VisualCounts::of_images(counts))
    }

    /// As [`Self::encode_prompt`], of a conversation with videos too.
    ///
    /// # Errors
    /// As [`Self::encode_media`], without the limit on tokens.
    pub fn encode_media_prompt(&self, turns: &[Turn], counts: VisualCounts<'_>) -> Result<Vec<u32>, EncodeError> {
        match &self.format {
            Format::Template { template, style } => {
                Scribe { tokenizer: &self.tokenizer, template, style }.encode_prompt(turns, counts)
            }
            Format::Parrot { image_id } => {
                let counts = images_of(counts)?;
                Ok(parrot::encode_prompt(&self.tokenizer, turns)?.expanded(*image_id, turns, counts, false)?.ids)
            }
        }
    }

    /// Whether answers end with a special token, which a model can learn; also true of a template that cannot be asked.
    pub fn ends_answers(&self) -> bool {
        match &self.format {
            Format::Template { template, style } => {
                !matches!(Scribe { tokenizer: &self.tokenizer, template, style }.end_of_turn(), Ok(None))
            }
            Format::Parrot { .. } => true,
        }
    }

    /// The tokens that end an answer: the one that the template writes behind it, where that is a special token, and the
    /// tokenizer's end token.
    pub fn end_of_turn(&self) -> Vec<u32> {
        let end = match &self.format {
            // A template that refuses a question and an answer tells nothing; a folder's configs name the end too.
            Format::Template { template, style } => {
                Scribe { tokenizer: &self.tokenizer, template, style }.end_of_turn().ok().flatten()
            }
            Format::Parrot { .. } => self.tokenizer.token_id(parrot::END),
        };
        let mut ends: Vec<u32> = end.into_iter().chain(self.tokenizer.eos_id()).collect();
        ends.dedup();
        ends
    }
}

/// The counts of pictures, where there is no place for videos.
fn images_of(counts: VisualCounts<'_>) -> Result<&[usize], EncodeError> {
    match counts.videos {
        [] => Ok(counts.images),
        _ => Err(EncodeError::NoToken {
            token: VIDEO_PLACEHOLDER.to_owned(),
            help: "this format has no place for videos",
        }),
    }
}

#[cfg(test)]
mod tests;
