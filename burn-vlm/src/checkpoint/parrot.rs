//! The folder layout of the authors' Parrot checkpoints, `model_type` = `parrot_qwen2`: LLaVA's [original](super::original)
//! with the experts' keys, the vision tower inside.
//!
//! Unusual here:
//! - `moe_weight` that is absent is 1, not the 0.1 of the training scripts; `moe_top_k` was never used and is ignored.
//!   Switches that the layout has no keys for stand under `parrot_options`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::original::{KNOWN_TOWERS, PROJECTOR, VISION_FILE, known_tower};
use super::{CheckpointError, config, original};
use crate::connector::{ConnectorConfig, ExpertKind, ParrotConfig, Residual, RoutingQuery, TextScope};
use crate::language::LanguageConfig;
use crate::nn::Activation;
use crate::vision::VisionConfig;
use crate::vlm::{FeatureLayer, SelectStrategy, VisualTokens, VlmConfig};

/// `model_type` of the layout.
pub(super) const MODEL_TYPE: &str = "parrot_qwen2";
/// `architectures` of the layout.
pub(super) const ARCHITECTURE: &str = "ParrotQwen2ForCausalLM";
/// Tokens of a training sample, unless the model has fewer positions.
const MAX_LENGTH: usize = 2048;

/// Prefixes in a file, and those of the parameters.
const PREFIXES: [(&str, &str); 7] = [
    ("model.vision_tower.vision_tower.vision_model.", "vision_tower."),
    ("model.mm_projector.0.", "multi_modal_projector.projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.projector.linear_2."),
    ("model.moe_model.gate.", "multi_modal_projector.router.gate."),
    ("model.moe_model.experts.", "multi_modal_projector.experts."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", "language_model.model."),
];

/// The parameter of a file's key.
pub(super) fn module_name(key: &str) -> String {
    let found = PREFIXES.iter().find_map(|(file, module)| key.strip_prefix(file).map(|rest| format!("{module}{rest}")));
    found.unwrap_or_else(|| key.to_string())
}

/// The file's key of a parameter.
pub(super) fn file_key(name: &str) -> String {
    let found =
        PREFIXES.iter().find_map(|(file, module)| name.strip_prefix(module).map(|rest| format!("{file}{rest}")));
    found.unwrap_or_else(|| name.to_string())
}

/// The switches that the published layout has no keys for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    expert: ExpertKind,
    residual: Residual,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    text_scope: TextScope,
}

/// The keys of the published config that are not Qwen's own.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default = "experts")]
    num_experts: usize,
    #[serde(default = "width")]
    moe_intermediate_size: usize,
    #[serde(default = "one")]
    moe_weight: f64,
    #[serde(default)]
    use_moe: bool,
    #[serde(default)]
    use_moe_residual: bool,
    #[serde(default)]
    parrot_options: Options,
}

fn experts() -> usize {
    ParrotConfig::default().num_experts
}
fn width() -> usize {
    ParrotConfig::default().intermediate_size
}
fn one() -> f64 {
    1.0
}

/// Reads a flat config; `folder` may hold the tower's own.
pub(super) fn read(json: &Value, path: &Path, folder: &Path) -> Result<VlmConfig, CheckpointError> {
    let keys: Keys = config::from_value(json.clone(), path)?;
    let tower = original::tower_keys(MODEL_TYPE, json, path)?;
    let vision_config = original::tower(&tower, path, folder)?;
    let text_config = original::language(json, path)?;
    let parrot = ParrotConfig {
        num_experts: keys.num_experts,
        intermediate_size: keys.moe_intermediate_size,
        expert: keys.parrot_options.expert,
        residual: if keys.use_moe_residual { keys.parrot_options.residual } else { Residual::None },
        residual_weight: keys.moe_weight,
        top_k: keys.parrot_options.top_k,
        query: RoutingQuery::Cls,
        text_scope: keys.parrot_options.text_scope,
        keep_cls: true,
        bypass: !keys.use_moe,
    };
    let image_token = tower.image_token_index.unwrap_or(text_config.vocab_size() as i64);
    Ok(VlmConfig {
        connector: ConnectorConfig::Parrot(parrot),
        vision_feature_layer: FeatureLayer::One(tower.mm_vision_select_layer),
        vision_feature_select_strategy: tower.mm_vision_select_feature.unwrap_or(SelectStrategy::Full),
        ..VlmConfig::new(vision_config, text_config, image_token)
    })
}

/// Whether the layout can hold a model: Parrot's connector between CLIP and Qwen 2, with everything as the authors have it.
pub(super) fn can_hold(config: &VlmConfig) -> bool {
    let ConnectorConfig::Parrot(parrot) = &config.connector else { return false };
    matches!(config.vision_config, VisionConfig::Clip(_))
        && matches!(config.text_config, LanguageConfig::Qwen2(_))
        && matches!(config.vision_feature_layer, FeatureLayer::One(_))
        && config.projector_hidden_act == Activation::Gelu
        && config.multimodal_projector_bias
        && config.visual_tokens == VisualTokens::default()
        && parrot.query == RoutingQuery::Cls
        && parrot.keep_cls
}

/// The flat config and the tower's, without `architectures`, `model_type` and element type.
pub(super) fn write(config: &VlmConfig) -> Result<(Value, Value), serde_json::Error> {
    let vision = serde_json::to_value(&config.vision_config)?;
    let mut flat = serde_json::to_value(&config.text_config)?;
    let (ConnectorConfig::Parrot(parrot), Some(flat_keys)) = (&config.connector, flat.as_object_mut()) else {
        return Ok((flat, vision));
    };
    let hidden = config.text_config.hidden_size();
    let tower = KNOWN_TOWERS.into_iter().find(|name| known_tower(name).as_ref() == Some(&config.vision_config));
    let strategy = match config.vision_feature_select_strategy {
        SelectStrategy::Default => "patch",
        SelectStrategy::Full => "cls_patch",
    };
    let options = Options {
        expert: parrot.expert,
        residual: if parrot.residual == Residual::None { Residual::Code } else { parrot.residual },
        top_k: parrot.top_k,
        text_scope: parrot.text_scope,
    };
    let keys = json!({
        "mm_vision_tower": tower.unwrap_or(VISION_FILE),
        "mm_projector_type": PROJECTOR,
        "mm_hidden_size": config.vision_config.hidden_size(),
        "mm_vision_select_layer": config.vision_feature_layer.layers().first(),
        "mm_vision_select_feature": strategy,
        "mm_patch_merge_type": "flat",
        "num_experts": parrot.num_experts,
        "moe_hidden_size": hidden,
        "moe_intermediate_size": parrot.intermediate_size,
        "moe_top_k": parrot.top_k.unwrap_or(1),
        "moe_weight": parrot.residual_weight,
        "use_moe": !parrot.bypass,
        "use_moe_residual": parrot.residual != Residual::None,
        "image_aspect_ratio": "pad",
        "tokenizer_padding_side": "right",
        "tokenizer_model_max_length": config.text_config.max_position_embeddings().min(MAX_LENGTH),
        "image_token_index": config.image_token_index,
    });
    let Value::Object(keys) = keys else { return Ok((flat, vision)) };
    flat_keys.extend(keys);
    // Defaults need no words.
    let options = serde_json::to_value(options)?;
    if options != serde_json::to_value(Options::default())? {
        flat_keys.insert("parrot_options".into(), options);
    }
    Ok((flat, vision))
}

/// Whether a config is of this layout.
pub(super) fn is_parrot(config: &Value) -> bool {
    config.get("model_type").and_then(Value::as_str) == Some(MODEL_TYPE)
}
