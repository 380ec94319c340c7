//! How many visual tokens a picture has: the same count that the model makes of its features.

use super::{VlmProcessorError, text};
use crate::image::{GridPinpoint, ImageProcessorConfig, ProcessedImage, best_resolution, unpadded_grid};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Which of the encoder's features become visual tokens (`vision_feature_select_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSelectStrategy {
    /// All but the first, which is CLIP's class token.
    Default,
    /// All.
    Full,
}

/// The number of visual tokens as a function of a picture's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisualTokens {
    /// Pixels of a patch's side.
    pub patch_size: usize,
    /// Features of the encoder besides the patches: 1 for CLIP's class token, 0 for SigLIP.
    pub num_additional_image_tokens: usize,
    /// Which features are kept.
    pub strategy: FeatureSelectStrategy,
    /// The canvases of any-resolution tiling; one tile where there are none.
    pub image_grid_pinpoints: Option<Vec<GridPinpoint>>,
}

impl VisualTokens {
    /// Reads `processor_config.json`, and `config.json` for what is not there (older folders).
    pub(super) fn read(
        folder: &Path,
        config: Option<&Value>,
        processor: Option<&Value>,
        image: &ImageProcessorConfig,
    ) -> Result<Self, VlmProcessorError> {
        let vision = config.and_then(|config| config.get("vision_config"));
        let patch_size = number(folder, processor, "patch_size")?.or(number(folder, vision, "patch_size")?);
        let missing = |key: &'static str, expected: &str| VlmProcessorError::Key {
            path: folder.to_owned(),
            key,
            expected: expected.to_owned(),
            found: "none".to_owned(),
        };
        let help = "a number from 1 to 1024 in processor_config.json, or in config.json under vision_config";
        let patch_size =
            patch_size.filter(|size| (1..=1024).contains(size)).ok_or_else(|| missing("patch_size", help))?;
        // The class default, which files may leave out.
        let name = "vision_feature_select_strategy";
        let strategy = match text(processor, name).or_else(|| text(config, name)).unwrap_or("default") {
            "default" => FeatureSelectStrategy::Default,
            "full" => FeatureSelectStrategy::Full,
            other => {
                return Err(VlmProcessorError::Key {
                    path: folder.to_owned(),
                    key: name,
                    expected: "\"default\" or \"full\"".to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        let additional = match number(folder, processor, "num_additional_image_tokens")? {
            Some(number) => number,
            None => match text(vision, "model_type") {
                // a tower of the user's own, which says it itself
                Some("custom") => {
                    usize::from(vision.and_then(|vision| vision.get("class_token")) == Some(&Value::Bool(true)))
                }
                Some(kind) if kind.contains("siglip") => 0,
                Some(kind) if kind.contains("clip") => 1,
                _ => {
                    let help = "a number in processor_config.json, or a CLIP or SigLIP vision_config in config.json";
                    return Err(missing("num_additional_image_tokens", help));
                }
            },
        };
        Ok(Self {
            patch_size,
            num_additional_image_tokens: additional,
            strategy,
            image_grid_pinpoints: image.image_grid_pinpoints.clone(),
        })
    }

    /// Number of visual tokens of a processed picture: the features of the whole, and with tiling those of the canvas without
    /// its padding, with one newline token after each of its rows.
    pub fn count(&self, image: &ProcessedImage) -> usize {
        self.count_size(image.original_size, (image.height, image.width))
    }

    /// As [`VisualTokens::count`], from sizes (height, width) alone: the picture's, and that of a tile, in pixels. Needs no
    /// pixels, so that lengths are known before a picture is decoded.
    pub fn count_size(&self, original_size: (u32, u32), (height, width): (usize, usize)) -> usize {
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let dropped = usize::from(self.strategy == FeatureSelectStrategy::Default);
        let whole = (rows * columns + self.num_additional_image_tokens).saturating_sub(dropped);
        let Some(pinpoints) = &self.image_grid_pinpoints else { return whole };
        let canvas = best_resolution(original_size, pinpoints);
        let tiles = (canvas.0 as usize / height.max(1), canvas.1 as usize / width.max(1));
        let (rows, columns) = unpadded_grid(original_size, (rows * tiles.0, columns * tiles.1));
        whole + rows * columns + rows
    }
}

fn number(folder: &Path, file: Option<&Value>, key: &'static str) -> Result<Option<usize>, VlmProcessorError> {
    let value = match file.and_then(|file| file.get(key)) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    // A picture has far fewer tokens than this; more would be a damaged file.
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number <= 1 << 20);
    number.map(Some).ok_or_else(|| VlmProcessorError::Key {
        path: folder.to_owned(),
        key,
        expected: "a whole number up to 1048576".to_owned(),
        found: value.to_string(),
    })
}
