//! The configuration of an image processor, with the keys of Hugging Face's `preprocessor_config.json`.

use super::tiles::GridPinpoint;
use super::{ImageError, PatchBudget};
use burn_vlm_base::published;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::Path;

/// What `preprocessor_config.json` says; keys that are not listed are ignored (`do_convert_rgb` too: models see three
/// channels, so pictures are always converted).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageProcessorConfig {
    /// Resize to `size`.
    #[serde(default = "yes")]
    pub do_resize: bool,
    /// Target of resizing; SigLIP 2 NaFlex has none.
    #[serde(default, skip_serializing_if = "Size::is_unsaid")]
    pub size: Size,
    /// Filter of resizing.
    #[serde(default)]
    pub resample: Resample,
    /// Cut `crop_size` from the centre.
    #[serde(default)]
    pub do_center_crop: bool,
    /// Size of the cut; `size` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop_size: Option<CropSize>,
    /// Multiply by `rescale_factor`.
    #[serde(default = "yes")]
    pub do_rescale: bool,
    /// 1/255: from bytes to 0..1.
    #[serde(default = "one_over_255")]
    pub rescale_factor: f64,
    /// Subtract `image_mean`, divide by `image_std`.
    #[serde(default = "yes")]
    pub do_normalize: bool,
    /// Mean of each channel.
    pub image_mean: [f64; 3],
    /// Standard deviation of each channel.
    pub image_std: [f64; 3],
    /// Our own key: the colour that transparent pixels are laid over. White where the key is absent, as in transformers
    /// 5; `null` drops the alpha channel, as transformers 4 did.
    #[serde(default = "white")]
    pub background: Option<[u8; 3]>,
    /// Any-resolution tiling (LLaVA-NeXT): the canvases, in the file's order, which decides between equally good ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_grid_pinpoints: Option<Vec<GridPinpoint>>,
    /// Our own key: whether each of several pictures is tiled too, as in transformers. Where `false` they have one view each, padded
    /// to a square, and only a picture that stands alone is tiled, as LLaVA-NeXT and TowerVision are trained.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub tile_several: bool,
    /// LLaVA's and Parrot's key, which stands in the model's `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_aspect_ratio: Option<AspectRatio>,
    /// The processor class; of these, `LlavaImageProcessor` gives [`ImageProcessorConfig::do_pad`] another meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_processor_type: Option<String>,
    /// `LlavaImageProcessor`: pad to a square. All others: pad batches to the largest number of tiles, which here is done
    /// when a batch asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub do_pad: Option<bool>,
    /// SigLIP 2 NaFlex: side of a patch in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_size: Option<u32>,
    /// SigLIP 2 NaFlex: the most patches of a picture, which keeps its aspect ratio. Where absent, pictures have the size `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_num_patches: Option<u32>,
}

/// What is done about the aspect ratio before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AspectRatio {
    /// Nothing; the name is LLaVA's.
    Square,
    /// The picture is laid in the middle of a square of the mean colour (`expand2square`).
    Pad,
}

/// The processors whose steps are those of this configuration, but for the endings `Fast` and `Pil` of their variants.
const PROCESSORS: [&str; 9] = [
    "CLIPImageProcessor",
    "CLIPFeatureExtractor",
    "SiglipImageProcessor",
    NAFLEX,
    "ChineseCLIPImageProcessor",
    "ChineseCLIPFeatureExtractor",
    "LlavaImageProcessor",
    "LlavaNextImageProcessor",
    "LlavaOnevisionImageProcessor",
];
/// The processor of pictures that keep their aspect ratio.
const NAFLEX: &str = "Siglip2ImageProcessor";
/// What that processor means by keys which its file does not have.
const NAFLEX_DEFAULTS: [(&str, u32); 3] = [("patch_size", 16), ("max_num_patches", 256), ("resample", 2)];
/// The most patches of a picture and the largest patch, each beyond any model.
const MAX_PATCHES: u32 = 1 << 16;
/// See [`MAX_PATCHES`].
const MAX_PATCH: u32 = 1024;
/// The most pixels of all patches of a picture: as many as a picture has that is decoded. Each picture takes the memory of all, however
/// small it is.
const MAX_PATCH_PIXELS: u64 = 64 << 20;
/// The largest length that a configuration may ask for, in pixels: far beyond any model, small enough to allocate.
const MAX_EDGE: u32 = 16_384;

/// The target of resizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// Exactly this size; the aspect ratio is not kept (SigLIP).
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// The shorter edge gets this length; the aspect ratio is kept (CLIP).
    ShortestEdge {
        /// Length of the shorter edge.
        shortest_edge: u32,
    },
    /// As old files write `shortest_edge`.
    Bare(u32),
    /// Not in the file: of SigLIP 2 NaFlex, where each picture has a size of its own.
    #[default]
    Unsaid,
}

/// The size of the centre crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CropSize {
    /// Rows and columns.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// A square, as old files write it.
    Bare(u32),
}

/// The filter of resizing, written as PIL's number. All but `Nearest` smooth when they shrink (antialiasing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resample {
    /// 0
    Nearest,
    /// 1
    Lanczos,
    /// 2
    Bilinear,
    /// 3
    #[default]
    Bicubic,
    /// 4
    Box,
    /// 5
    Hamming,
}

impl ImageProcessorConfig {
    /// SigLIP's preprocessing to `size` x `size`: bicubic, aspect ratio not kept, mean and deviation 0.5; transparent
    /// pixels over white.
    pub fn siglip(size: u32) -> Self {
        Self {
            do_resize: true,
            size: Size::Exact { height: size, width: size },
            resample: Resample::Bicubic,
            do_center_crop: false,
            crop_size: None,
            do_rescale: true,
            rescale_factor: one_over_255(),
            do_normalize: true,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            background: white(),
            image_grid_pinpoints: None,
            tile_several: true,
            image_aspect_ratio: None,
            image_processor_type: None,
            do_pad: None,
            patch_size: None,
            max_num_patches: None,
        }
    }

    /// SigLIP 2 NaFlex's preprocessing: bilinear to the grid of at most `max_num_patches` patches that keeps the picture's aspect
    /// ratio best, mean and deviation 0.5; transparent pixels over white.
    pub fn siglip2_naflex(patch_size: u32, max_num_patches: u32) -> Self {
        Self {
            size: Size::Unsaid,
            resample: Resample::Bilinear,
            image_processor_type: Some(NAFLEX.to_owned()),
            patch_size: Some(patch_size),
            max_num_patches: Some(max_num_patches),
            ..Self::siglip(1)
        }
    }

    /// CLIP's preprocessing to `size` x `size`: bicubic to the shorter edge, centre crop, CLIP's mean and deviation;
    /// transparent pixels over white.
    pub fn clip(size: u32) -> Self {
        Self {
            size: Size::ShortestEdge { shortest_edge: size },
            do_center_crop: true,
            crop_size: Some(CropSize::Exact { height: size, width: size }),
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
            ..Self::siglip(size)
        }
    }

    /// Reads a `preprocessor_config.json`, or a `processor_config.json` as transformers 5 writes it (nested under
    /// `image_processor`), and checks it.
    ///
    /// # Errors
    /// A file that is missing or does not have these keys, named.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let fail = |reason: String| ImageError::ConfigFile { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))?;
        if let Some(nested) = value.get_mut("image_processor").filter(|nested| !nested.is_null()) {
            value = nested.take();
        }
        let config = Self::from_value(value).map_err(fail)?;
        config.check().map_err(|error| fail(error.to_string()))?;
        Ok(config)
    }

    /// The content of such a file. Keys that do not apply are `null` in the files of some versions of transformers: `null` is absent,
    /// but for [`ImageProcessorConfig::background`].
    pub(crate) fn from_value(mut value: serde_json::Value) -> Result<Self, String> {
        let drops_alpha = value.get("background").is_some_and(serde_json::Value::is_null);
        published::strip_nulls(&mut value);
        if let Some(keys) = value
            .as_object_mut()
            .filter(|keys| keys.get("image_processor_type").and_then(serde_json::Value::as_str).is_some_and(is_naflex))
        {
            for (key, default) in NAFLEX_DEFAULTS {
                keys.entry(key).or_insert_with(|| default.into());
            }
            for key in ["image_mean", "image_std"] {
                keys.entry(key).or_insert_with(|| serde_json::json!([0.5, 0.5, 0.5]));
            }
        }
        let mut config: Self = published::from_value(value)?;
        if drops_alpha {
            config.background = None;
        }
        Ok(config)
    }

    /// The configuration of a folder: `preprocessor_config.json`, else the nested one of `processor_config.json`.
    ///
    /// # Errors
    /// A folder with neither; else as [`ImageProcessorConfig::from_file`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ImageError> {
        let names = ["preprocessor_config.json", "processor_config.json"];
        let path = names.iter().map(|name| folder.as_ref().join(name)).find(|path| path.is_file());
        let path = path.ok_or_else(|| ImageError::ConfigFile {
            path: folder.as_ref().to_owned(),
            reason: "no image processor: expected preprocessor_config.json, or processor_config.json".to_owned(),
        })?;
        Self::from_file(path)
    }

    /// What chooses the grid of each picture's patches, if each has its own.
    pub fn patch_budget(&self) -> Option<PatchBudget> {
        let (patch_size, max_num_patches) = (self.patch_size?, self.max_num_patches?);
        Some(PatchBudget { patch_size, max_num_patches })
    }

    /// Checks the keys of pictures that keep their aspect ratio; `Ok(false)` where these do not.
    fn check_patches(&self) -> Result<bool, ImageError> {
        let wrong = |key, expected, found: String| Err(ImageError::Config { key, expected, found });
        let named = self.image_processor_type.as_deref().map(is_naflex);
        if self.max_num_patches.is_none() && named != Some(true) {
            return Ok(false);
        }
        if named == Some(false) {
            let expected = "Siglip2ImageProcessor beside max_num_patches";
            return wrong("image_processor_type", expected, format!("{:?}", self.image_processor_type));
        }
        if !self.patch_size.is_some_and(|side| (1..=MAX_PATCH).contains(&side)) {
            return wrong(
                "patch_size",
                "a number from 1 to 1024 beside max_num_patches",
                format!("{:?}", self.patch_size),
            );
        }
        if !self.max_num_patches.is_some_and(|most| (1..=MAX_PATCHES).contains(&most)) {
            return wrong("max_num_patches", "a number from 1 to 65536", format!("{:?}", self.max_num_patches));
        }
        if let Some(PatchBudget { patch_size: side, max_num_patches: most }) = self.patch_budget()
            && u64::from(most) * u64::from(side).pow(2) > MAX_PATCH_PIXELS
        {
            let expected = "together with patch_size at most 67108864 pixels";
            return wrong("max_num_patches", expected, format!("{most} patches of {side} x {side}"));
        }
        if self.image_grid_pinpoints.is_some() {
            return wrong(
                "image_grid_pinpoints",
                "none beside max_num_patches: such pictures are not tiled",
                "some".into(),
            );
        }
        if self.pads_to_square() {
            let expected = "none beside max_num_patches: such pictures keep their aspect ratio";
            return wrong("image_aspect_ratio", expected, "\"pad\"".into());
        }
        if !self.do_resize {
            return wrong("do_resize", "true beside max_num_patches", "false".into());
        }
        Ok(true)
    }

    /// True if pictures are first padded to a square in the mean colour.
    pub fn pads_to_square(&self) -> bool {
        let llava = self.image_processor_type.as_deref().is_some_and(|name| name.starts_with("LlavaImageProcessor"));
        self.image_aspect_ratio == Some(AspectRatio::Pad) || (llava && self.do_pad == Some(true))
    }

    /// Checks that sizes and deviations are positive and the sizes possible, and that canvases consist of whole tiles.
    ///
    /// # Errors
    /// The key that is wrong.
    pub fn check(&self) -> Result<(), ImageError> {
        let (height, width) = self.size.height_width();
        let wrong = |key, expected, found: String| Err(ImageError::Config { key, expected, found });
        if let Some(name) = &self.image_processor_type
            && !PROCESSORS.contains(&class_of(name))
        {
            let expected =
                "the image processor of CLIP, SigLIP, SigLIP 2, Chinese-CLIP, LLaVA, LLaVA-NeXT or LLaVA-OneVision";
            return wrong("image_processor_type", expected, format!("{name:?}"));
        }
        let own_sizes = self.check_patches()?;
        let possible =
            |(height, width): (u32, u32)| (1..=MAX_EDGE).contains(&height) && (1..=MAX_EDGE).contains(&width);
        if !own_sizes && !possible((height, width)) {
            return wrong("size", "lengths from 1 to 16384", format!("{:?}", self.size));
        }
        if !self.crop_size.is_none_or(|crop| possible(crop.height_width())) {
            return wrong("crop_size", "lengths from 1 to 16384", format!("{:?}", self.crop_size));
        }
        if let Some(pinpoints) = &self.image_grid_pinpoints {
            let tile = self.tile();
            let whole = |GridPinpoint(height, width): &GridPinpoint| {
                possible((*height, *width)) && height % tile == 0 && width % tile == 0
            };
            if pinpoints.is_empty() || !pinpoints.iter().all(whole) {
                let expected = "multiples of the tile (crop_size), up to 16384";
                return wrong("image_grid_pinpoints", expected, format!("{pinpoints:?} for tiles of {tile}"));
            }
        }
        if !self.image_std.iter().all(|std| *std > 0.0 && std.is_finite()) {
            return wrong("image_std", "three positive numbers", format!("{:?}", self.image_std));
        }
        if !self.image_mean.iter().all(|mean| mean.is_finite()) || !self.rescale_factor.is_finite() {
            return wrong("image_mean", "finite numbers here and in rescale_factor", format!("{:?}", self.image_mean));
        }
        Ok(())
    }

    /// The side of a tile of any-resolution tiling: the height of `crop_size`, else of `size`.
    pub fn tile(&self) -> u32 {
        self.crop_size.map_or(self.size.height_width().0, |crop| crop.height_width().0)
    }

    /// Height and width of the processed picture (of a tile, with tiling), where they do not depend on the picture.
    pub fn output_size(&self) -> Option<(u32, u32)> {
        if self.max_num_patches.is_some() {
            return None;
        }
        match (self.do_center_crop, self.crop_size, self.size) {
            (true, Some(crop), _) => Some(crop.height_width()),
            (true, None, Size::ShortestEdge { shortest_edge: edge } | Size::Bare(edge)) => Some((edge, edge)),
            (_, _, Size::Exact { height, width }) if self.do_resize => Some((height, width)),
            // The whole picture and the tiles are squares already.
            (_, _, size) if self.do_resize && self.image_grid_pinpoints.is_some() => Some(size.height_width()),
            _ => None,
        }
    }
}

/// The class that a processor is a variant of.
pub(crate) fn class_of(name: &str) -> &str {
    name.trim_end_matches("Fast").trim_end_matches("Pil")
}

/// Whether a processor class is that of pictures which keep their aspect ratio.
fn is_naflex(name: &str) -> bool {
    class_of(name) == NAFLEX
}

impl Size {
    // By reference, as serde asks it.
    fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }

    /// Rows and columns; a square where only the shorter edge is given, zeros where nothing is.
    pub fn height_width(self) -> (u32, u32) {
        match self {
            Self::Unsaid => (0, 0),
            Self::Exact { height, width } => (height, width),
            Self::ShortestEdge { shortest_edge: edge } | Self::Bare(edge) => (edge, edge),
        }
    }
}

impl CropSize {
    /// Rows and columns.
    pub fn height_width(self) -> (u32, u32) {
        match self {
            Self::Exact { height, width } => (height, width),
            Self::Bare(edge) => (edge, edge),
        }
    }
}

impl Serialize for Resample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for Resample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Nearest),
            1 => Ok(Self::Lanczos),
            2 => Ok(Self::Bilinear),
            3 => Ok(Self::Bicubic),
            4 => Ok(Self::Box),
            5 => Ok(Self::Hamming),
            other => Err(serde::de::Error::custom(format!(
                "resample: expected 0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming), found {other}"
            ))),
        }
    }
}

fn yes() -> bool {
    true
}

// By reference, as serde asks it.
fn is_true(value: &bool) -> bool {
    *value
}

fn white() -> Option<[u8; 3]> {
    Some([255; 3])
}

fn one_over_255() -> f64 {
    1.0 / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_published_files() {
        let siglip = r#"{"do_convert_rgb": null, "do_normalize": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5],
            "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 384, "width": 384}}"#;
        let config: ImageProcessorConfig = serde_json::from_str(siglip).unwrap();
        let named = Some("SiglipImageProcessor".to_owned());
        let expected = ImageProcessorConfig {
            resample: Resample::Bilinear,
            image_processor_type: named,
            ..ImageProcessorConfig::siglip(384)
        };
        assert_eq!(config, expected);
        let clip = r#"{"crop_size": 224, "do_center_crop": true, "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224}"#;
        let config: ImageProcessorConfig = serde_json::from_str(clip).unwrap();
        assert_eq!((config.size, config.output_size()), (Size::Bare(224), Some((224, 224))));
        assert_eq!(config.image_mean, ImageProcessorConfig::clip(224).image_mean);
        let again: ImageProcessorConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    /// As the fast processors of transformers 4.5x write it: what does not apply is null, and so is what is the class's default.
    #[test]
    fn null_is_absent() {
        let file = r#"{"crop_size": null, "data_format": "channels_first", "default_to_square": true, "device": null,
            "do_center_crop": null, "do_convert_rgb": null, "do_normalize": true, "do_pad": null, "do_rescale": null,
            "do_resize": null, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessorFast",
            "image_std": [0.5, 0.5, 0.5], "image_grid_pinpoints": null, "input_data_format": null, "resample": null,
            "rescale_factor": null, "return_tensors": null,
            "size": {"height": 384, "width": 384, "longest_edge": null, "shortest_edge": null}}"#;
        let config = ImageProcessorConfig::from_value(serde_json::from_str(file).unwrap()).unwrap();
        let named = Some("SiglipImageProcessorFast".to_owned());
        assert_eq!(config, ImageProcessorConfig { image_processor_type: named, ..ImageProcessorConfig::siglip(384) });
        // Ours, where null is a value.
        let plain = ImageProcessorConfig { background: None, ..ImageProcessorConfig::siglip(64) };
        assert_eq!(ImageProcessorConfig::from_value(serde_json::to_value(&plain).unwrap()).unwrap(), plain);
        for (key, value) in [("do_resize", "3"), ("size", "\"large\""), ("image_mean", "[0.5]"), ("resample", "9")] {
            let mut file: serde_json::Value = serde_json::from_str(file).unwrap();
            file[key] = serde_json::from_str(value).unwrap();
            let error = ImageProcessorConfig::from_value(file).unwrap_err();
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn wrong_values_are_named() {
        let error = serde_json::from_str::<Resample>("9").unwrap_err().to_string();
        assert!(error.contains("bicubic"), "{error}");
        let mut config = ImageProcessorConfig::siglip(64);
        config.image_std[1] = 0.0;
        assert!(config.check().unwrap_err().to_string().contains("image_std"));
        config = ImageProcessorConfig::siglip(0);
        assert!(config.check().unwrap_err().to_string().contains("size"));
        assert!(ImageProcessorConfig::from_file("/nowhere.json").unwrap_err().to_string().contains("/nowhere.json"));
    }

    #[test]
    fn foreign_processors_are_refused() {
        let named = |name: &str| {
            let named = Some(name.to_owned());
            ImageProcessorConfig { image_processor_type: named, ..ImageProcessorConfig::siglip(384) }.check()
        };
        for name in ["SiglipImageProcessor", "SiglipImageProcessorFast", "CLIPImageProcessorPil"] {
            assert!(named(name).is_ok(), "{name}");
        }
        // With its own keys only, and nothing else with those.
        let error = named("Siglip2ImageProcessor").unwrap_err().to_string();
        assert!(error.contains("patch_size"), "{error}");
        let error = named("Qwen2VLImageProcessor").unwrap_err().to_string();
        assert!(error.contains("image_processor_type") && error.contains("Qwen2VL"), "{error}");
    }

    #[test]
    fn naflex_files_and_what_goes_with_them() {
        let file = r#"{"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Siglip2ImageProcessor", "image_std": [0.5, 0.5, 0.5], "max_num_patches": 576, "patch_size": 14,
            "resample": 2, "rescale_factor": 0.00392156862745098}"#;
        let read = |text: &str| ImageProcessorConfig::from_value(serde_json::from_str(text).unwrap()).unwrap();
        let config = read(file);
        assert_eq!(config, ImageProcessorConfig::siglip2_naflex(14, 576));
        config.check().unwrap();
        assert_eq!((config.output_size(), config.patch_budget().unwrap().max_num_patches), (None, 576));
        // What is written is read again, without a size.
        let written = serde_json::to_value(&config).unwrap();
        assert!(written.get("size").is_none());
        assert_eq!(ImageProcessorConfig::from_value(written).unwrap(), config);
        // The class's defaults, and null is absent.
        let bare = r#"{"image_processor_type": "Siglip2ImageProcessorFast", "size": null, "max_num_patches": null}"#;
        let named = Some("Siglip2ImageProcessorFast".to_owned());
        let usual = ImageProcessorConfig::siglip2_naflex(16, 256);
        assert_eq!(read(bare), ImageProcessorConfig { image_processor_type: named, ..usual.clone() });
        let refused = |config: ImageProcessorConfig, key: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("expected"), "{key}: {error}");
        };
        refused(ImageProcessorConfig { patch_size: None, ..usual.clone() }, "patch_size");
        refused(ImageProcessorConfig { patch_size: Some(0), ..usual.clone() }, "patch_size");
        refused(ImageProcessorConfig { max_num_patches: Some(0), ..usual.clone() }, "max_num_patches");
        refused(ImageProcessorConfig { max_num_patches: Some(1 << 20), ..usual.clone() }, "max_num_patches");
        // Each is possible, both together are not.
        for key in ["max_num_patches", "patch_size", "65536 patches of 1024 x 1024"] {
            refused(ImageProcessorConfig::siglip2_naflex(1024, 1 << 16), key);
        }
        ImageProcessorConfig::siglip2_naflex(1024, 64).check().unwrap();
        refused(ImageProcessorConfig::siglip2_naflex(1024, 65), "max_num_patches");
        ImageProcessorConfig::siglip2_naflex(32, 1 << 16).check().unwrap();
        refused(ImageProcessorConfig { do_resize: false, ..usual.clone() }, "do_resize");
        let tiles = Some(vec![GridPinpoint(256, 256)]);
        refused(ImageProcessorConfig { image_grid_pinpoints: tiles, ..usual.clone() }, "image_grid_pinpoints");
        refused(
            ImageProcessorConfig { image_aspect_ratio: Some(AspectRatio::Pad), ..usual.clone() },
            "image_aspect_ratio",
        );
        let other = Some("SiglipImageProcessor".to_owned());
        refused(ImageProcessorConfig { image_processor_type: other, ..usual }, "image_processor_type");
        // Without either a size is needed, as before.
        refused(ImageProcessorConfig { size: Size::Unsaid, ..ImageProcessorConfig::siglip(8) }, "size");
    }
}
