//! From a source's sample to ids, labels and pixels.

use std::sync::Arc;

use burn_vlm::vlm::VlmConfig;
use burn_vlm_data::batching::SampleSize;
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::encode::{EncodeOptions, Encoded, IGNORE};
use burn_vlm_data::image::{AspectRatio, ImageProcessor, ImageProcessorConfig, ProcessedImage};
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::source::{Picture, SkipKind, SkipReason, SourceSample};
use burn_vlm_data::tokenizer::Tokenizer;

use crate::error::{Result, TrainError};
use crate::pictures::grid_pinpoints;
use crate::recipe::{Batching, MixtureRecipe, PictureView};

/// One sample, ready to be laid into a batch.
#[derive(Debug, Clone)]
pub struct PreparedSample {
    /// Its name.
    pub id: String,
    /// Ids and labels.
    pub encoded: Encoded,
    /// Its pictures in the order in which they are shown.
    pub images: Vec<ProcessedImage>,
}

impl PreparedSample {
    /// What a batch has to make room for.
    pub(super) fn size(&self) -> SampleSize {
        SampleSize { tokens: self.encoded.ids.len() as u32, images: self.images.len() as u32 }
    }
}

/// Makes samples ready, in worker threads.
pub struct SampleMaker {
    pub(super) tokenizer: Arc<Tokenizer>,
    template: Arc<ChatTemplate>,
    prompt: PromptTemplate,
    options: EncodeOptions,
    view: PictureView,
    /// One view of a picture as the stage wants it, and as a picture among several has it.
    single: ImageProcessor,
    among_several: ImageProcessor,
    config: VlmConfig,
    batching: Batching,
}

impl SampleMaker {
    /// For a stage's mixture and a model of that config, with pictures prepared as `processor` says.
    ///
    /// # Errors
    /// A processor whose pictures are not of the size that the tower takes.
    pub fn new(
        recipe: &MixtureRecipe,
        options: EncodeOptions,
        config: &VlmConfig,
        processor: &ImageProcessorConfig,
        tokenizer: Arc<Tokenizer>,
        template: Arc<ChatTemplate>,
    ) -> Result<Self> {
        let plain = ImageProcessorConfig { image_grid_pinpoints: None, ..processor.clone() };
        let padded = ImageProcessorConfig { image_aspect_ratio: Some(AspectRatio::Pad), ..plain.clone() };
        let (single, among_several) = match recipe.pictures {
            PictureView::Square => (plain.clone(), plain),
            PictureView::Pad => (padded.clone(), padded),
            PictureView::Tiles => {
                (ImageProcessorConfig { image_grid_pinpoints: Some(grid_pinpoints(config)), ..plain }, padded)
            }
        };
        let side = config.vision_config.image_size();
        if let Some((height, width)) = processor.output_size()
            && (height as usize, width as usize) != (side, side)
        {
            return Err(TrainError::Recipe(format!(
                "the image processor makes pictures of {height} x {width} pixels, the vision tower takes {side} x {side}"
            )));
        }
        let limits = recipe.limits.decode();
        let processor = |config: ImageProcessorConfig| {
            let processor = ImageProcessor::new(config).map_err(|e| TrainError::Data(e.to_string()))?;
            Ok::<_, TrainError>(processor.with_limits(limits))
        };
        Ok(Self {
            tokenizer,
            template,
            prompt: recipe.template,
            options,
            view: recipe.pictures,
            single: processor(single)?,
            among_several: processor(among_several)?,
            config: config.clone(),
            batching: recipe.batching,
        })
    }

    /// The sample with its pictures decoded.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn make(&self, sample: &SourceSample) -> Result<PreparedSample, SkipReason> {
        let pictures: Vec<&Picture> = sample.pictures().collect();
        let processor = if pictures.len() == 1 { &self.single } else { &self.among_several };
        let process = |picture: &&Picture| {
            let image = processor.decode(&picture.name(), &picture.read()?)?;
            Ok(processor.process_tiles(&image)?)
        };
        let images = pictures.iter().map(process).collect::<Result<Vec<ProcessedImage>, SkipReason>>()?;
        let tokens = images.iter().map(|image| self.visual_tokens(image)).collect::<Result<Vec<_>, _>>()?;
        let refused = |detail: String| SkipReason::new(SkipKind::NotEncodable, detail);
        let encoded =
            self.prompt.encode(&self.tokenizer, &self.template, &sample.image_turns(), &tokens, &self.options);
        let encoded = encoded.map_err(|error| refused(error.to_string()))?;
        // The first position predicts nothing, so its label is no target.
        if encoded.labels.iter().skip(1).all(|label| *label == IGNORE) {
            let cut = match encoded.truncated {
                0 => String::new(),
                cut => format!(": {cut} were cut from its end to reach max_tokens, and with them the answers"),
            };
            return Err(SkipReason::new(SkipKind::NoAnswer, format!("none of its tokens is trained{cut}")));
        }
        let (tokens, max) = (encoded.ids.len(), self.config.text_config.max_position_embeddings());
        if tokens > max {
            return Err(refused(format!("it has {tokens} tokens, the language model's positions end at {max}")));
        }
        let padded = encoded.ids.len().next_multiple_of(self.batching.multiple_of.max(1));
        if let Some(max) = self.batching.max_tokens.filter(|max| padded > *max) {
            let detail = format!("it has {padded} tokens, a micro-batch may have {max} (batching.max_tokens)");
            return Err(refused(detail));
        }
        if let Some(max) = self.batching.max_images.filter(|max| images.len() > *max) {
            let detail =
                format!("it has {} pictures, a micro-batch may have {max} (batching.max_images)", images.len());
            return Err(refused(detail));
        }
        Ok(PreparedSample { id: sample.id.clone(), encoded, images })
    }

    fn visual_tokens(&self, image: &ProcessedImage) -> Result<usize, SkipReason> {
        if self.view != PictureView::Tiles {
            return Ok(self.config.num_visual_tokens());
        }
        let (height, width) = image.original_size;
        let packing = self.config.packing(&[image.tiles], &[(height as usize, width as usize)]);
        let packing = packing.map_err(|error| SkipReason::new(SkipKind::UnreadableImage, error.to_string()))?;
        Ok(packing.image_tokens().iter().sum())
    }
}
