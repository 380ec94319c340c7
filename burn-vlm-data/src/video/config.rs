//! The configuration of a video processor: `video_preprocessor_config.json`, and the places where older checkpoints keep it.
//!
//! Unusual here: a file without mean and deviation gets CLIP's, which are the class's default, also for a SigLIP tower. Published files
//! have their own.

use crate::image::{ImageError, ImageProcessorConfig, Size, class_of};
use burn_vlm_base::published;
use serde_json::{Value, json};
use std::path::Path;

/// What a file is, and how the configuration is found in it.
const PLACES: [&str; 4] = [
    "video_preprocessor_config.json",
    // transformers before 4.52.
    "video_processor/preprocessor_config.json",
    // transformers 5, nested.
    "processor_config.json",
    // The same file as for pictures.
    "preprocessor_config.json",
];
/// The key under which `processor_config.json` has it.
const NESTED: &str = "video_processor";
/// Key of the class of a video processor.
const TYPE: &str = "video_processor_type";
/// The classes that resize each frame and normalise it. Others choose patches, or join frames.
const CLASSES: [&str; 5] = [
    "LlavaOnevisionVideoProcessor",
    "LlavaOnevisionImageProcessor",
    "SiglipImageProcessor",
    "CLIPImageProcessor",
    "LlavaNextVideoVideoProcessor",
];
/// Keys that are about pictures alone, or are not about pixels.
const NOT_OF_FRAMES: [&str; 5] = [TYPE, "image_processor_type", "image_grid_pinpoints", "image_aspect_ratio", "do_pad"];

/// How frames become pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoProcessorConfig {
    frames: ImageProcessorConfig,
}

impl VideoProcessorConfig {
    /// Frames that are prepared like pictures of this configuration, which neither tiles nor pads.
    ///
    /// # Errors
    /// A configuration that makes no sense, tiles or pads, or gives pictures of different sizes.
    pub fn new(frames: ImageProcessorConfig) -> Result<Self, ImageError> {
        frames.check()?;
        let wrong = |key, expected, found: &str| Err(ImageError::Config { key, expected, found: found.to_owned() });
        if frames.image_grid_pinpoints.is_some() {
            return wrong("image_grid_pinpoints", "none: frames are not tiled", "some");
        }
        if frames.pads_to_square() {
            return wrong("image_aspect_ratio", "none: frames are not padded", "\"pad\"");
        }
        if frames.output_size().is_none() {
            return wrong("size", "height and width, or a centre crop, so that all frames have one size", "neither");
        }
        Ok(Self { frames })
    }

    /// Frames that are prepared like pictures of this configuration, but for tiles and padding. Where it tiles they are squeezed into one
    /// tile, as the whole of a tiled picture is: what a centre crop would cut off is seen in none of the other tiles then.
    ///
    /// # Errors
    /// Pictures that each have a grid of their own (NaFlex), or no size.
    pub fn of_pictures(pictures: &ImageProcessorConfig) -> Result<Self, ImageError> {
        let (height, width) = pictures.size.height_width();
        let tiled = pictures.image_grid_pinpoints.is_some();
        let plain = ImageProcessorConfig {
            size: if tiled { Size::Exact { height, width } } else { pictures.size },
            image_grid_pinpoints: None,
            image_aspect_ratio: None,
            do_pad: None,
            ..pictures.clone()
        };
        Self::new(plain)
    }

    /// What `LlavaOnevisionVideoProcessor` does with frames of this size: bicubic, the aspect ratio is not kept, mean and deviation 0.5, as
    /// published files have it.
    ///
    /// # Errors
    /// A size of 0, or one that is too large.
    pub fn onevision(size: u32) -> Result<Self, ImageError> {
        Self::new(ImageProcessorConfig::siglip(size))
    }

    /// The configuration of frames.
    pub fn frames(&self) -> &ImageProcessorConfig {
        &self.frames
    }

    /// The file that says so, `video_preprocessor_config.json`.
    pub fn to_json(&self) -> Value {
        let mut value = json!(self.frames);
        value[TYPE] = json!(CLASSES[0]);
        value["do_sample_frames"] = json!(false);
        value
    }

    /// Height and width of a processed frame.
    pub fn output_size(&self) -> (u32, u32) {
        // `new` has seen that there is one.
        self.frames.output_size().unwrap_or_default()
    }

    /// Height and width of a processed frame, where they are the same: the tokens of a frame are counted as a square of them.
    ///
    /// # Errors
    /// Frames that are no squares.
    pub fn square_side(&self) -> Result<u32, ImageError> {
        match self.output_size() {
            (height, width) if height == width => Ok(height),
            (height, width) => Err(ImageError::Config {
                key: "size",
                expected: "frames as high as wide, whose tokens are a square",
                found: format!("{height} x {width}"),
            }),
        }
    }

    /// Reads one of the files.
    ///
    /// # Errors
    /// A file that is missing, damaged, or does not describe frames that are resized one by one; it is named.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let fail = |reason: String| ImageError::ConfigFile { path: path.to_owned(), reason };
        let mut value = read(path)?;
        if let Some(nested) = value.get_mut(NESTED).filter(|nested| nested.is_object()) {
            value = nested.take();
        }
        Self::from_value(value).map_err(|error| fail(error.to_string()))
    }

    /// The configuration of a folder: the first of `video_preprocessor_config.json`, `video_processor/preprocessor_config.json`, what
    /// `processor_config.json` has under `video_processor`, and `preprocessor_config.json`.
    ///
    /// # Errors
    /// A folder with none; else as [`Self::from_file`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ImageError> {
        let folder = folder.as_ref();
        for place in PLACES {
            let path = folder.join(place);
            let nests = place == "processor_config.json";
            if path.is_file() && (!nests || read(&path)?.get(NESTED).is_some_and(Value::is_object)) {
                return Self::from_file(path);
            }
        }
        let reason = format!("no video processor: expected one of {}", PLACES.join(", "));
        Err(ImageError::ConfigFile { path: folder.to_owned(), reason })
    }

    fn from_value(mut value: Value) -> Result<Self, ImageError> {
        published::strip_nulls(&mut value);
        let wrong = |expected, found: String| ImageError::Config { key: TYPE, expected, found };
        let class = [TYPE, "image_processor_type"].iter().find_map(|key| value.get(*key)).cloned();
        let known = class.as_ref().and_then(Value::as_str).map(|name| CLASSES.contains(&class_of(name)));
        if let (Some(class), Some(false) | None) = (&class, known) {
            return Err(wrong(
                "LlavaOnevisionVideoProcessor, or an image processor whose steps are the same",
                class.to_string(),
            ));
        }
        let Some(keys) = value.as_object_mut() else {
            return Err(wrong("an object", "something else".to_owned()));
        };
        keys.retain(|key, _| !NOT_OF_FRAMES.contains(&key.as_str()));
        let clip = ImageProcessorConfig::clip(1);
        for (key, default) in [
            ("size", json!({"height": DEFAULT_SIZE, "width": DEFAULT_SIZE})),
            ("image_mean", json!(clip.image_mean)),
            ("image_std", json!(clip.image_std)),
        ] {
            keys.entry(key).or_insert(default);
        }
        let frames = ImageProcessorConfig::from_value(value);
        Self::new(frames.map_err(|found| wrong("keys of an image processor", found))?)
    }
}

/// The class's default size.
const DEFAULT_SIZE: u32 = 384;

fn read(path: &Path) -> Result<Value, ImageError> {
    let fail = |reason: String| ImageError::ConfigFile { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = r#"{"do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
        "do_sample_frames": false, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3,
        "rescale_factor": 0.00392156862745098, "return_metadata": false, "size": {"height": 48, "width": 48},
        "video_processor_type": "LlavaOnevisionVideoProcessor"}"#;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_places_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let size = || VideoProcessorConfig::from_folder(folder).unwrap().output_size().0;
        let error = VideoProcessorConfig::from_folder(folder).unwrap_err().to_string();
        assert!(error.contains("no video processor") && error.contains("video_preprocessor_config.json"), "{error}");
        let of_pictures = r#"{"image_processor_type": "LlavaOnevisionImageProcessor", "image_grid_pinpoints": [[8, 8]], "do_pad": true,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 8, "width": 8}}"#;
        write(folder, "preprocessor_config.json", of_pictures);
        assert_eq!(size(), 8);
        write(folder, "processor_config.json", r#"{"image_token": "<image>"}"#);
        assert_eq!(size(), 8);
        write(folder, "processor_config.json", &format!(r#"{{"video_processor": {}}}"#, PUBLISHED.replace("48", "16")));
        assert_eq!(size(), 16);
        write(folder, "video_processor/preprocessor_config.json", &of_pictures.replace(": 8", ": 24"));
        assert_eq!(size(), 24);
        write(folder, "video_preprocessor_config.json", PUBLISHED);
        assert_eq!(VideoProcessorConfig::from_folder(folder).unwrap(), VideoProcessorConfig::onevision(48).unwrap());
    }

    /// A file that leaves out mean and deviation gets the class's, which are CLIP's.
    #[test]
    fn defaults_of_the_class() {
        let read = |text: &str| VideoProcessorConfig::from_value(serde_json::from_str(text).unwrap());
        let bare = read(r#"{"video_processor_type": "LlavaOnevisionVideoProcessor", "image_mean": null}"#).unwrap();
        let clip = ImageProcessorConfig::clip(384);
        assert_eq!((bare.frames().image_mean, bare.frames().image_std), (clip.image_mean, clip.image_std));
        assert_eq!(bare.output_size(), (384, 384));
        for (text, key) in [
            (r#"{"video_processor_type": "Qwen2VLVideoProcessor"}"#, "Qwen2VL"),
            (r#"{"video_processor_type": 3}"#, "3"),
            (r#"{"image_std": [0.5, 0.0, 0.5]}"#, "image_std"),
            (r#"{"size": {"shortest_edge": 8}}"#, "size"),
            ("[]", "object"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
        assert!(VideoProcessorConfig::from_file("/nowhere.json").unwrap_err().to_string().contains("nowhere.json"));
    }
}
