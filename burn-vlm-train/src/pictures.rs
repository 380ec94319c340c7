//! Pictures of the corpus as pixel tensors: decoded once, augmented and normalised on demand.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burn_vlm::vision::VisionConfig;
use burn_vlm::vlm::VlmConfig;
use burn_vlm_data::emoji::{EmojiCorpus, PictureId};
use burn_vlm_data::image::{Augmentation, GridPinpoint, ImageProcessor, ImageProcessorConfig, RgbImage};
use burn_vlm_data::processor::Processor;

use crate::assemble::is_whole;
use crate::error::{Result, TrainError};

/// How the encoder in `folder` wants its pictures: by its `preprocessor_config.json` (or the image processor inside of
/// `processor_config.json`), or, where it has none, as SigLIP's. `size` is the tower's, whose pictures are squares ([`processor_for`]
/// takes any tower).
///
/// # Errors
/// A processor that cannot be read or makes pictures of another size.
pub fn processor_of(folder: &Path, size: usize) -> Result<ImageProcessorConfig> {
    let Some((file, config)) = own_processor(folder)? else { return siglip_processor(size) };
    fits_square(&config, size).map_err(|message| TrainError::invalid(&file, message))?;
    Ok(config)
}

/// As [`processor_of`], for a tower of this configuration: one whose pictures have grids of their own (NaFlex) takes no other
/// processor, and has SigLIP 2's with as many patches as it has positions where its folder has none.
///
/// # Errors
/// A processor that cannot be read or does not fit the tower.
pub fn processor_for(folder: &Path, tower: &VisionConfig) -> Result<ImageProcessorConfig> {
    let Some((file, config)) = own_processor(folder)? else { return default_processor(tower) };
    check_processor(&config, tower).map_err(|message| TrainError::invalid(&file, message))?;
    Ok(config)
}

/// How pictures are prepared for a tower whose folder does not say.
pub(crate) fn default_processor(tower: &VisionConfig) -> Result<ImageProcessorConfig> {
    if !tower.is_flexible() {
        return siglip_processor(tower.image_size());
    }
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let config = ImageProcessorConfig::siglip2_naflex(number(tower.shape().patch_size), number(tower.grid().pow(2)));
    config.check()?;
    Ok(config)
}

/// Whether an image processor makes what a tower takes; else what is wrong with it.
pub(crate) fn check_processor(config: &ImageProcessorConfig, tower: &VisionConfig) -> std::result::Result<(), String> {
    if !tower.is_flexible() {
        return fits_square(config, tower.image_size());
    }
    let (name, patch) = (tower.name(), tower.shape().patch_size);
    match config.patch_budget() {
        Some(budget) if budget.patch_size as usize == patch => Ok(()),
        Some(budget) => Err(format!(
            "`patch_size`: makes patches of {0} x {0} pixels, {name} takes {patch} x {patch}",
            budget.patch_size
        )),
        None => Err(format!(
            "makes pictures of one size; {name} takes each picture in its own aspect ratio: expected the image processor \
             `Siglip2ImageProcessor` with `max_num_patches`"
        )),
    }
}

fn fits_square(config: &ImageProcessorConfig, size: usize) -> std::result::Result<(), String> {
    if config.patch_budget().is_some() {
        return Err(format!(
            "makes patches of pictures in their own aspect ratio (`max_num_patches`), the vision tower takes pictures of {size} x \
             {size} pixels"
        ));
    }
    match config.output_size() {
        Some((height, width)) if (height as usize, width as usize) != (size, size) => {
            Err(format!("makes pictures of {height} x {width} pixels, the vision tower takes {size} x {size}"))
        }
        _ => Ok(()),
    }
}

/// The image processor that a folder names, with its file.
fn own_processor(folder: &Path) -> Result<Option<(PathBuf, ImageProcessorConfig)>> {
    let Some(file) = processor_file(folder)? else { return Ok(None) };
    // What LLaVA's own layout says of pictures stands in the model's config.
    let config = match is_whole(folder) {
        true => Processor::image_config(folder)?,
        false => ImageProcessorConfig::from_file(&file)?,
    };
    Ok(Some((file, config)))
}

/// The file of a folder that says how pictures are prepared, if it has one: transformers 5 writes it into the processor's.
///
/// # Errors
/// A `processor_config.json` that cannot be read.
pub fn processor_file(folder: &Path) -> Result<Option<PathBuf>> {
    let own = folder.join("preprocessor_config.json");
    if own.is_file() {
        return Ok(Some(own));
    }
    let file = folder.join("processor_config.json");
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file).map_err(|e| TrainError::io("cannot read", &file, e))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| TrainError::invalid(&file, e.to_string()))?;
    Ok(json.get("image_processor").is_some_and(serde_json::Value::is_object).then_some(file))
}

/// The canvases of a tiled model as its image processor names them.
pub fn grid_pinpoints(config: &VlmConfig) -> Vec<GridPinpoint> {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    config.pinpoints().into_iter().map(|(height, width)| GridPinpoint(side(height), side(width))).collect()
}

pub(crate) fn siglip_processor(size: usize) -> Result<ImageProcessorConfig> {
    let side = u32::try_from(size).map_err(|_| TrainError::Recipe(format!("image_size {size} is too large")))?;
    Ok(ImageProcessorConfig::siglip(side))
}

/// The corpus's pictures at one size.
///
/// A decoded 64x64 picture is 12 kB, so all 5,680 of them stay in memory (70 MB) once they have been asked for.
pub struct Pictures {
    corpus: Arc<EmojiCorpus>,
    processor: ImageProcessor,
    augmentation: Augmentation,
    size: usize,
    decoded: Vec<OnceLock<RgbImage>>,
}

impl Pictures {
    /// Pictures as SigLIP's processor makes them, `size` pixels wide and high.
    ///
    /// # Errors
    /// A size that no processor takes.
    pub fn new(corpus: Arc<EmojiCorpus>, size: usize) -> Result<Self> {
        Self::with_config(corpus, siglip_processor(size)?, size)
    }

    fn with_config(corpus: Arc<EmojiCorpus>, config: ImageProcessorConfig, size: usize) -> Result<Self> {
        let processor = ImageProcessor::new(config)?;
        let decoded = (0..corpus.pictures().len()).map(|_| OnceLock::new()).collect();
        Ok(Self { corpus, processor, augmentation: Augmentation::default(), size, decoded })
    }

    /// Side of a picture in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of values of one picture, `3 x size x size`.
    pub fn values(&self) -> usize {
        3 * self.size * self.size
    }

    /// How they are prepared.
    pub fn config(&self) -> &ImageProcessorConfig {
        self.processor.config()
    }

    /// The corpus.
    pub fn corpus(&self) -> &Arc<EmojiCorpus> {
        &self.corpus
    }

    /// The picture as `[3, size, size]`; augmented by the seed `view`, or as it is.
    ///
    /// # Errors
    /// A picture that cannot be decoded, by name.
    pub fn pixels(&self, picture: PictureId, view: Option<u64>) -> Result<Vec<f32>> {
        let name = || self.corpus.picture_name(picture);
        let slot = &self.decoded[picture.index()];
        let image = match slot.get() {
            Some(image) => image,
            None => {
                let image = self.processor.decode(&name(), &self.corpus.picture(picture).webp)?;
                slot.get_or_init(|| image)
            }
        };
        self.pixels_of(image, view).map_err(TrainError::within(name()))
    }

    /// Any picture as `[3, size, size]`; augmented by the seed `view`, or as it is.
    ///
    /// # Errors
    /// A picture that the processor refuses.
    pub fn pixels_of(&self, image: &RgbImage, view: Option<u64>) -> Result<Vec<f32>> {
        let tensor = match view {
            Some(seed) => self.processor.process(&self.augmentation.apply(image, seed)),
            None => self.processor.process(image),
        };
        Ok(tensor?.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts are shown pictures by what ships with them, which is what they were pretrained by.
    #[test]
    fn shipped_encoders_say_how_they_want_their_pictures() {
        let trained_by = Pictures::new(EmojiCorpus::embedded().unwrap(), 64).unwrap();
        for part in ["siglip1", "siglip2"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parts").join(part);
            assert_eq!(ImageProcessorConfig::from_folder(&folder).unwrap(), *trained_by.config(), "{part}");
        }
    }
}
