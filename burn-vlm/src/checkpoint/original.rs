//! LLaVA's original folder layout (`llava_llama`, `llava_qwen`, `llava_mistral`, and `llava` before it became transformers'
//! own), and what Parrot's, its descendant, shares with it: one flat `config.json`, in which keys beginning with `mm_` say how
//! the vision tower is read.
//!
//! Unusual here:
//! - the config names the vision tower (`mm_vision_tower`) instead of describing it: `vision_config.json` beside it wins, then
//!   a `vision_config` key, then the config of a tower's own folder, then the towers that are known by name;
//! - the weights may lack the tower, which was frozen: then it is read from the folder `vision_tower` beside them;
//! - the layout has no image token (its data use -200). Unless `image_token_index` is there, the first id behind the embedding
//!   table stands for a visual token;
//! - its pinpoints are (width, height), or a range of grids; ours, as transformers', a list of (height, width);
//! - of a SigLIP tower the last layer and the head are cut off, and all its patches are read, whatever the `mm_` keys say;
//! - it marks pictures and videos alike.
//!
//! It is only read: what was loaded is written in transformers' layout.

use std::path::Path;

use burn::tensor::Device;
use burn_vlm_base::onevision::{max_tiles, original_pinpoints, original_takes_videos};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{self, CONFIG};
use super::pretrained::unfilled;
use super::{CheckpointError, Layout, LoadOptions, Pretrained, TensorSource, load_parameters_with};
use crate::connector::Projector;
use crate::error::ModelError;
use crate::language::LanguageConfig;
use crate::vision::{ClipVisionConfig, SiglipVisionConfig, VisionConfig, VisionEncoder, VisionTower};
use crate::vlm::tiling::Size;
use crate::vlm::{FeatureLayer, NewlinePosition, PoolMode, SelectStrategy, Vlm, VlmConfig, VlmType};

/// The file that describes the vision tower.
pub(super) const VISION_FILE: &str = "vision_config.json";
/// The folder of a tower that the weights lack.
const TOWER_FOLDER: &str = "vision_tower";
/// How the keys of a tower inside the weights begin.
const TOWER_KEYS: &str = "model.vision_tower.";
/// The only projector that checkpoints of either layout still have.
pub(super) const PROJECTOR: &str = "mlp2x_gelu";
/// No tower has more layers.
const MAX_LAYERS: usize = 1024;
/// `model_type` of the layout, and of the decoder inside.
const FAMILIES: [(&str, &str); 5] = [
    ("llava", "llama"),
    ("llava_llama", "llama"),
    ("llava_qwen", "qwen2"),
    ("llava_qwen2", "qwen2"),
    ("llava_mistral", "mistral"),
];

/// The keys that say how the tower is read.
#[derive(Debug, Deserialize)]
pub(super) struct TowerKeys {
    mm_vision_tower: Option<String>,
    #[serde(default = "projector")]
    mm_projector_type: String,
    #[serde(default = "layer")]
    pub(super) mm_vision_select_layer: i64,
    pub(super) mm_vision_select_feature: Option<SelectStrategy>,
    pub(super) image_token_index: Option<i64>,
    vision_config: Option<Value>,
}

/// How pictures are cut into tiles.
#[derive(Debug, Deserialize)]
struct TileKeys {
    /// LLaVA 1.0's tokens around a picture.
    #[serde(default)]
    mm_use_im_start_end: bool,
    image_aspect_ratio: Option<String>,
    mm_patch_merge_type: Option<String>,
    image_grid_pinpoints: Option<Value>,
    /// These two say that there were videos in training; the trainer writes the newlines' place in any case.
    mm_spatial_pool_mode: Option<PoolMode>,
    mm_spatial_pool_stride: Option<usize>,
    mm_newline_position: Option<NewlinePosition>,
    /// Frames of two kinds, of which one keeps fewer tokens.
    #[serde(default)]
    add_faster_video: bool,
}

/// What the config says of tiles and videos.
struct Tiling {
    pinpoints: Vec<Size>,
    /// `vision_aspect_ratio` and the `mm_` keys of a model that takes videos too.
    videos: Option<(String, TileKeys)>,
}

fn projector() -> String {
    PROJECTOR.into()
}
fn layer() -> i64 {
    -2
}

/// The decoder's `model_type` in a config of this layout; `None` for any other config. transformers' own `llava` has no `mm_`
/// keys.
fn family(config: &Value) -> Option<&'static str> {
    let name = config.get("model_type").and_then(Value::as_str)?;
    let (_, family) = FAMILIES.iter().find(|(original, _)| *original == name)?;
    let named = ["mm_vision_tower", "mm_projector_type", "mm_hidden_size"].iter().any(|key| config.get(key).is_some());
    (name != "llava" || named).then_some(*family)
}

/// Whether a config is of this layout.
pub(super) fn is_original(config: &Value) -> bool {
    family(config).is_some()
}

/// Reads a flat config; `folder` may hold the tower's own.
pub(super) fn read(json: &Value, path: &Path, folder: &Path) -> Result<VlmConfig, CheckpointError> {
    let keys = tower_keys("llava", json, path)?;
    let vision_config = tower(&keys, path, folder)?;
    let text_config = language(json, path)?;
    let image_token = keys.image_token_index.unwrap_or(text_config.vocab_size() as i64);
    let (layer, strategy) = match &vision_config {
        // A description with a head is the whole tower's, whose last layer is not cut off yet.
        VisionConfig::Siglip(siglip) => (if siglip.vision_use_head { -2 } else { -1 }, SelectStrategy::Full),
        _ => (keys.mm_vision_select_layer, keys.mm_vision_select_feature.unwrap_or(SelectStrategy::Default)),
    };
    let config = VlmConfig {
        vision_feature_layer: FeatureLayer::One(layer),
        vision_feature_select_strategy: strategy,
        ..VlmConfig::new(vision_config, text_config, image_token)
    };
    let Some(Tiling { pinpoints, videos }) = tiling(json, path, config.vision_config.image_size())? else {
        return Ok(config);
    };
    let config = VlmConfig { image_grid_pinpoints: Some(pinpoints), ..config };
    let Some((aspect_ratio, keys)) = videos else {
        return Ok(VlmConfig { model_type: VlmType::LlavaNext, ..config });
    };
    Ok(VlmConfig {
        model_type: VlmType::LlavaOnevision,
        vision_aspect_ratio: Some(aspect_ratio),
        mm_spatial_pool_mode: keys.mm_spatial_pool_mode.unwrap_or_default(),
        mm_spatial_pool_stride: keys.mm_spatial_pool_stride.unwrap_or(config.mm_spatial_pool_stride),
        mm_newline_position: keys.mm_newline_position.unwrap_or_default(),
        // Its data loader pads all pictures but a sample's only one to squares.
        tile_every_image: Some(false),
        ..config
    })
}

/// The decoder's part of a flat config.
pub(super) fn language(json: &Value, path: &Path) -> Result<LanguageConfig, CheckpointError> {
    let mut text = json.clone();
    text["model_type"] = json!(family(json).unwrap_or("qwen2"));
    config::from_value(text, path)
}

/// The keys about the tower, the projector checked.
pub(super) fn tower_keys(model: &'static str, json: &Value, path: &Path) -> Result<TowerKeys, CheckpointError> {
    let keys: TowerKeys = config::from_value(json.clone(), path)?;
    if keys.mm_projector_type != PROJECTOR {
        let source = ModelError::config(model, "mm_projector_type", keys.mm_projector_type, PROJECTOR);
        return Err(CheckpointError::Config { path: path.to_path_buf(), source });
    }
    Ok(keys)
}

/// How pictures are tiled, and whether there are videos; `None` where pictures are not tiled.
///
/// - `tile`: the tower's side in pixels
fn tiling(json: &Value, path: &Path, tile: usize) -> Result<Option<Tiling>, CheckpointError> {
    let keys: TileKeys = config::from_value(json.clone(), path)?;
    let refuse = |key, value: String, expected: &str| {
        let source = ModelError::config("llava", key, value, expected);
        Err(CheckpointError::Config { path: path.to_path_buf(), source })
    };
    if keys.mm_use_im_start_end {
        return refuse("mm_use_im_start_end", "true".into(), "false: tokens around a picture are not written");
    }
    if keys.add_faster_video {
        return refuse("add_faster_video", "true".into(), "false: frames of two kinds are not built");
    }
    let aspect_ratio = match keys.image_aspect_ratio.clone() {
        None => return Ok(None),
        Some(word) if word == "square" || word == "pad" => return Ok(None),
        Some(word) if max_tiles(&word).is_ok() => word,
        Some(other) => {
            let expected = "anyres, anyres_max_N, pad, square or absent: highres and crop_split are other cuts, which are not built";
            return refuse("image_aspect_ratio", other, expected);
        }
    };
    match (keys.mm_patch_merge_type.as_deref(), keys.image_grid_pinpoints.clone()) {
        (Some("spatial_unpad"), Some(sizes)) => {
            let pinpoints = match original_pinpoints(&sizes, &aspect_ratio, tile) {
                Ok(pinpoints) => pinpoints,
                Err(expected) => return refuse("image_grid_pinpoints", sizes.to_string(), &expected),
            };
            let pools = keys.mm_spatial_pool_mode.is_some() || keys.mm_spatial_pool_stride.is_some();
            Ok(Some(Tiling {
                pinpoints,
                videos: original_takes_videos(&aspect_ratio, pools).then_some((aspect_ratio, keys)),
            }))
        }
        (Some("spatial_unpad"), None) => refuse("image_grid_pinpoints", "absent".into(), "a list of sizes"),
        (merge, _) => refuse(
            "mm_patch_merge_type",
            merge.unwrap_or("absent").into(),
            &format!("spatial_unpad, where image_aspect_ratio is {:?}", keys.image_aspect_ratio.unwrap_or_default()),
        ),
    }
}

/// Names of the towers that are known by name.
pub(super) const KNOWN_TOWERS: [&str; 2] = ["openai/clip-vit-large-patch14-336", "openai/clip-vit-large-patch14"];

/// Further names, of towers whose last layer is cut off.
const KNOWN_SIGLIP: [&str; 2] = ["google/siglip-so400m-patch14-384", "google/siglip2-so400m-patch14-384"];

/// A tower that published checkpoints name.
pub(super) fn known_tower(name: &str) -> Option<VisionConfig> {
    let image_size = match KNOWN_TOWERS.iter().position(|known| *known == name)? {
        0 => 336,
        _ => 224,
    };
    Some(VisionConfig::Clip(ClipVisionConfig {
        hidden_size: 1024,
        intermediate_size: 4096,
        projection_dim: 768,
        num_hidden_layers: 24,
        num_attention_heads: 16,
        image_size,
        patch_size: 14,
        ..ClipVisionConfig::default()
    }))
}

/// The tower's config, from the first place that has one.
pub(super) fn tower(keys: &TowerKeys, path: &Path, folder: &Path) -> Result<VisionConfig, CheckpointError> {
    let file = folder.join(VISION_FILE);
    if file.is_file() {
        return read_tower(&file);
    }
    if let Some(vision) = &keys.vision_config {
        return VisionEncoder::read_config(vision.clone(), folder);
    }
    let own = folder.join(TOWER_FOLDER).join(CONFIG);
    if own.is_file() {
        return read_tower(&own);
    }
    let name = keys.mm_vision_tower.as_deref().unwrap_or("");
    let kept = SiglipVisionConfig::so400m_without_last;
    let siglip = || KNOWN_SIGLIP.contains(&name).then(|| VisionConfig::Siglip(kept()));
    known_tower(name).or_else(siglip).ok_or_else(|| {
        let reason = format!(
            "the vision tower `{name}` (mm_vision_tower) is not one that is known by name ({}): put its config.json beside \
             this file as {VISION_FILE}",
            [KNOWN_TOWERS, KNOWN_SIGLIP].concat().join(", ")
        );
        CheckpointError::format(path, reason)
    })
}

fn read_tower(file: &Path) -> Result<VisionConfig, CheckpointError> {
    let vision: Value = config::read_json(file)?;
    config::check_sizes(&vision, file, MAX_LAYERS)?;
    config::from_value(VisionEncoder::select_config(vision), file)
}

/// Whether the weights lack the tower.
pub(super) fn lacks_tower(source: &TensorSource) -> bool {
    !source.tensors().keys().any(|key| key.starts_with(TOWER_KEYS))
}

/// Fills a model from weights without a tower, and the tower from its own folder.
pub(super) fn load_with_tower<T: VisionTower, P: Projector>(
    model: Vlm<T, P>,
    source: &TensorSource,
    folder: &Path,
    device: &Device,
    options: &LoadOptions,
) -> Result<Vlm<T, P>, CheckpointError> {
    let own = folder.join(TOWER_FOLDER);
    if !own.is_dir() {
        let reason = format!(
            "no vision tower in these weights (keys `{TOWER_KEYS}*`): put the folder of the model that config.json names as \
             mm_vision_tower here as {}",
            own.display()
        );
        return Err(CheckpointError::format(source.path(), reason));
    }
    let (described, weights, _) = unfilled::<VisionEncoder>(&own, device)?;
    if described.config() != model.config.vision_config {
        let expected = &model.config.vision_config;
        let reason = format!("another tower than {VISION_FILE} or config.json describe; expected {expected:?}");
        return Err(CheckpointError::format(&own, reason));
    }
    let tower = load_parameters_with(model.vision_tower.clone(), &weights, &Layout::Vision, options)?;
    let mut options = options.clone();
    options.allow_missing.push(format!("{TOWER_FOLDER}.*"));
    let layout = model.layout();
    let mut model = load_parameters_with(model, source, &layout, &options)?;
    model.vision_tower = tower;
    Ok(model)
}
