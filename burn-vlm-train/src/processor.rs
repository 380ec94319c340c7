//! The processor of a model that is trained here: its parts' tokenizer, template and image processor with the numbers of its config.

use std::path::Path;
use std::sync::Arc;

use burn_vlm::vlm::VlmConfig;
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::conversation::VIDEO_PLACEHOLDER;
use burn_vlm_data::encode::AnswerEnd;
use burn_vlm_data::image::{AspectRatio, DecodeLimits, ImageProcessorConfig};
use burn_vlm_data::processor::{ImageParts, Processor, ProcessorParts, TileTokens, VideoParts, VisualTokens};
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_data::video::VideoProcessorConfig;

use crate::assemble::{Words, words_with};
use crate::error::{Result, TrainError};
use crate::pictures::{check_processor, grid_pinpoints};
use crate::recipe::PictureView;

/// The processor of a stage: `image` is how the encoder wants its pictures, `view` how the stage lays them into its square, and
/// `whole` whether `image` is that of a whole model ([`Assembled::whole`](crate::assemble::Assembled::whole)).
///
/// # Errors
/// An image processor whose pictures are not of the size that the tower takes, a template that drops the words of a turn.
pub fn stage_processor(
    config: &VlmConfig,
    tokenizer: Arc<Tokenizer>,
    template: Arc<ChatTemplate>,
    image: &ImageProcessorConfig,
    (view, whole): (PictureView, bool),
    limits: DecodeLimits,
) -> Result<Processor> {
    check_processor(image, &config.vision_config)
        .map_err(|message| TrainError::Recipe(format!("the image processor {message}")))?;
    let tokens = visual_tokens(config, view).shown_by(image);
    let images = ImageParts { config: picture_config(config, image, view, whole), tokens, limits };
    Ok(Processor::new(ProcessorParts { tokenizer, template, images: Some(images) })?)
}

/// The processor of a model that is made of parts: `backbone` is the folder of its tokenizer and template, `answer_end` the recipe's
/// rule for answers without an end, `image` how it is shown pictures.
///
/// # Errors
/// A file that is missing or damaged, an image processor that does not fit the tower.
pub fn model_processor(
    config: &VlmConfig,
    backbone: &Path,
    answer_end: AnswerEnd,
    image: &ImageProcessorConfig,
    limits: DecodeLimits,
) -> Result<Processor> {
    let Words { tokenizer, template, .. } = words_with(backbone, answer_end, config.takes_videos())?;
    let images = ImageParts { config: image.clone(), tokens: model_visual_tokens(config).shown_by(image), limits };
    let processor = Processor::new(ProcessorParts { tokenizer, template, images: Some(images) })?;
    let frames = config.takes_videos().then(|| frames_config(backbone, image)).transpose()?;
    match video_parts(config, frames) {
        Some(videos) => Ok(processor.with_videos(videos)?),
        None => Ok(processor),
    }
}

/// How frames become pixels: as the folder of a model for videos says, else as pictures do that are neither tiled nor padded.
///
/// # Errors
/// A file that is damaged, pictures of no fixed size.
pub(crate) fn frames_config(folder: &Path, image: &ImageProcessorConfig) -> Result<VideoProcessorConfig> {
    let own = ["video_preprocessor_config.json", "video_processor/preprocessor_config.json"];
    Ok(match own.iter().any(|name| folder.join(name).is_file()) {
        true => VideoProcessorConfig::from_folder(folder)?,
        false => VideoProcessorConfig::of_pictures(image)?,
    })
}

/// How videos are shown to a model of this config; `None` for one that takes none.
pub(crate) fn video_parts(config: &VlmConfig, frames: Option<VideoProcessorConfig>) -> Option<VideoParts> {
    let config_of_frames = frames.filter(|_| config.takes_videos())?;
    Some(VideoParts { config: config_of_frames, tokens: config.frame_tokens(), token: VIDEO_PLACEHOLDER.to_owned() })
}

/// The encoder's image processor with a stage's view of pictures, which is what the trained model has to be shown later.
/// Of a whole model (`whole`), what it does with several pictures is kept.
pub fn picture_config(
    config: &VlmConfig,
    image: &ImageProcessorConfig,
    view: PictureView,
    whole: bool,
) -> ImageProcessorConfig {
    let plain = ImageProcessorConfig { image_grid_pinpoints: None, tile_several: true, ..image.clone() };
    match view {
        PictureView::Square => plain,
        // The class is transformers' with that step; the key is LLaVA's.
        PictureView::Pad => ImageProcessorConfig {
            image_aspect_ratio: Some(AspectRatio::Pad),
            image_processor_type: Some("LlavaImageProcessor".into()),
            do_pad: Some(true),
            ..plain
        },
        PictureView::Tiles => ImageProcessorConfig {
            image_grid_pinpoints: Some(grid_pinpoints(config)),
            image_processor_type: Some("LlavaNextImageProcessor".into()),
            tile_several: whole && image.tile_several,
            ..plain
        },
    }
}

/// How many visual tokens a model of this config makes of a picture that is laid into its square like this. Where pictures have grids
/// of their own, the image processor decides: [`VisualTokens::shown_by`].
pub fn visual_tokens(config: &VlmConfig, view: PictureView) -> VisualTokens {
    if view != PictureView::Tiles {
        // A model for videos ends a picture of one view by a newline too.
        return VisualTokens::of_view(config.num_visual_tokens() + usize::from(config.takes_videos()));
    }
    let side = config.tile_side();
    let tile = u32::try_from(config.vision_config.image_size()).unwrap_or(u32::MAX);
    let (pinpoints, max_tiles) = (grid_pinpoints(config), config.max_tiles());
    VisualTokens::of_tiles(side * side, TileTokens { tile, side, pinpoints, max_tiles })
}

/// As [`visual_tokens`], of a model in use, whose pictures are tiled if it was made for tiles.
pub fn model_visual_tokens(config: &VlmConfig) -> VisualTokens {
    visual_tokens(config, if config.is_tiled() { PictureView::Tiles } else { PictureView::Square })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm::language::{LanguageConfig, Qwen2Config};
    use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
    use burn_vlm::vlm::VlmType;
    use burn_vlm_data::image::RgbImage;
    use burn_vlm_data::processor::PictureInput;
    use burn_vlm_data::tokenizer::TINY_SPECIAL_TOKENS;

    fn config(pinpoints: Vec<(usize, usize)>) -> VlmConfig {
        let vision = VisionConfig::Siglip(SiglipVisionConfig { image_size: 32, patch_size: 8, ..Default::default() });
        let base = VlmConfig::new(vision, LanguageConfig::Qwen2(Qwen2Config::default()), 3);
        VlmConfig { model_type: VlmType::LlavaNext, image_grid_pinpoints: Some(pinpoints), ..base }
    }

    /// The processor counts what the model packs, whatever the picture's shape, alone and among several.
    #[test]
    fn the_model_packs_what_the_processor_counts() {
        let next = config(vec![(32, 64), (64, 32), (64, 64), (96, 32)]);
        // Grids of more than one tile are scaled down.
        let capped = VlmConfig {
            model_type: VlmType::LlavaOnevision,
            vision_aspect_ratio: Some("anyres_max_1".into()),
            ..next.clone()
        };
        let square =
            |config: &VlmConfig| config.packing(&[5], &[(64, 64)]).unwrap().image_tokens().iter().sum::<usize>();
        assert!(square(&capped) < square(&next));
        [next, capped].iter().for_each(packs_what_is_counted);
    }

    fn packs_what_is_counted(config: &VlmConfig) {
        let tokenizer = Arc::new(Tokenizer::train_bpe(["a"], 300, &TINY_SPECIAL_TOKENS).unwrap());
        let template = Arc::new(ChatTemplate::tiny().unwrap());
        let of = |view| {
            let image = ImageProcessorConfig::siglip(32);
            let (tokenizer, template) = (tokenizer.clone(), template.clone());
            stage_processor(config, tokenizer, template, &image, (view, false), DecodeLimits::default()).unwrap()
        };
        let lengths = [3, 17, 31, 32, 33, 64, 100, 201];
        let tiles = of(PictureView::Tiles);
        for (height, width) in lengths.iter().flat_map(|height| lengths.map(|width| (*height, width))) {
            let image = RgbImage::new(width, height);
            for among in [1, 2] {
                let processed = tiles.process_image(PictureInput::Rgb(&image), among);
                // Both refuse what is too thin to leave a pixel on any canvas.
                if among == 1 && config.num_tiles((height as usize, width as usize)).is_err() {
                    assert!(processed.is_err(), "{height} x {width}");
                    continue;
                }
                let image = processed.unwrap();
                let packing = config.packing(&[image.tiles], &[(height as usize, width as usize)]).unwrap();
                assert_eq!(tiles.num_image_tokens(&image), packing.image_tokens().iter().sum::<usize>());
            }
        }
        for view in [PictureView::Square, PictureView::Pad] {
            let processor = of(view);
            let image = processor.process_image(PictureInput::Rgb(&RgbImage::new(9, 50)), 1).unwrap();
            // A model for videos packs every picture, others those with tiles.
            let packed = match config.takes_videos() {
                true => config.packing(&[1], &[(50, 9)]).unwrap().image_tokens()[0],
                false => config.num_visual_tokens(),
            };
            assert_eq!((image.tiles, processor.num_image_tokens(&image)), (1, packed));
        }
    }

    /// What is saved of a stage's view is read again as it was.
    #[test]
    fn views_are_kept_in_their_file() {
        let config = config(vec![(32, 64), (64, 32)]);
        for view in [PictureView::Square, PictureView::Pad, PictureView::Tiles] {
            let saved = picture_config(&config, &ImageProcessorConfig::siglip(32), view, false);
            saved.check().unwrap();
            let read: ImageProcessorConfig = serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap();
            assert_eq!(read, saved);
            assert_eq!(read.pads_to_square(), view == PictureView::Pad);
            assert_eq!(read.image_grid_pinpoints.is_some() && !read.tile_several, view == PictureView::Tiles);
        }
    }
}
