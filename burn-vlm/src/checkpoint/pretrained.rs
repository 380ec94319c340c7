//! Whole models in Hugging Face folders: which keys they use, and what their `config.json` says.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm_base::files::write_json_atomic;
use burn_vlm_base::seal::Seal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::config::CONFIG;
use super::folder::{copy_companions, publish};
use super::save::save_shards;
use super::{CheckpointError, LoadOptions, SaveOptions, StoreDtype, TensorSource, load_parameters_with};
use super::{config, original, parrot, text};
use crate::connector::Projector;
use crate::dual::{DualConfig, DualEncoder};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::language::{LanguageConfig, LanguageModel};
use crate::vision::{SiglipVisionConfig, VisionConfig, VisionEncoder, VisionTower};
use crate::vlm::{Vlm, VlmConfig, VlmType};

/// How the keys of files and the names of a module's parameters correspond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The same names.
    Plain,
    /// A vision tower alone: `vision_model.*`, or no prefix as transformers 5.x writes; the rest of a dual encoder or of a VLM
    /// is skipped.
    Vision,
    /// A language model alone; the rest of a VLM is skipped.
    Language,
    /// A dual encoder; CLIP's `logit_scale` is a scalar there.
    Dual {
        /// Whether it is CLIP.
        clip: bool,
    },
    /// LLaVA in the three layouts that occur: 4.x (`vision_tower.vision_model.*`), 5.x (`vision_tower.*`), and module names
    /// (`model.language_model.*`, `lm_head.weight`); and, only read, LLaVA's original one (`model.layers.*`,
    /// `model.mm_projector.*`, `model.vision_tower.vision_tower.*`).
    Llava,
    /// The authors' Parrot checkpoints, LLaVA's original names with the vision tower inside.
    Parrot,
    /// A text encoder alone: `roberta.*` or no prefix; heads are skipped.
    Text,
    /// COMET's checkpoints: the encoder below `encoder.model.`, the estimator numbered with its activations and dropouts; what they hold
    /// for training is skipped.
    Comet,
}

/// Where a VLM's files keep the language model: 4.x and 5.x, then module names.
const LANGUAGE_PREFIXES: [(&str, &str); 2] = [("language_model.", ""), ("model.language_model.", "model.")];
/// Where a VLM's files keep the vision tower: LLaVA's original layout, module names, then 4.x and 5.x.
const VISION_PREFIXES: [&str; 3] = ["model.vision_tower.vision_tower.", "model.vision_tower.", "vision_tower."];
/// The other parts of a VLM.
const CONNECTOR_PREFIXES: [&str; 6] = [
    "multi_modal_projector.",
    "model.multi_modal_projector.",
    "image_newline",
    "model.image_newline",
    "model.mm_projector.",
    "model.moe_model.",
];
/// Where LLaVA's original layout keeps the language model.
const ORIGINAL_LANGUAGE: [&str; 3] = ["model.embed_tokens.", "model.layers.", "model.norm."];
/// The other parts of a dual encoder.
const DUAL_PREFIXES: [&str; 4] = ["text_model.", "logit_", "visual_projection.", "text_projection."];

/// Buffers that some versions stored though they hold no weights.
const BUFFERS: [&str; 2] = ["position_ids", "rotary_emb.inv_freq"];

impl Layout {
    /// The parameter that a key of a file stands for; `None` where the key is to be skipped.
    pub fn module_name(&self, key: &str) -> Option<String> {
        if BUFFERS.iter().any(|buffer| key.ends_with(buffer)) {
            return None;
        }
        match self {
            Self::Plain | Self::Dual { .. } => Some(key.to_string()),
            Self::Vision => {
                let language = LANGUAGE_PREFIXES.map(|(prefix, _)| prefix);
                let others = DUAL_PREFIXES
                    .iter()
                    .chain(&CONNECTOR_PREFIXES)
                    .chain(&language)
                    .chain(&ORIGINAL_LANGUAGE)
                    .chain(&["lm_head."]);
                let skipped = others.into_iter().any(|prefix| key.starts_with(prefix));
                let key = VISION_PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)).unwrap_or(key);
                (!skipped).then(|| key.strip_prefix("vision_model.").unwrap_or(key).to_string())
            }
            Self::Language => {
                let mut others = VISION_PREFIXES.iter().chain(&CONNECTOR_PREFIXES);
                if others.any(|prefix| key.starts_with(prefix)) {
                    return None;
                }
                let renamed = LANGUAGE_PREFIXES
                    .iter()
                    .find_map(|(from, to)| key.strip_prefix(from).map(|rest| format!("{to}{rest}")));
                Some(renamed.unwrap_or_else(|| key.to_string()))
            }
            Self::Llava => {
                let replaced = [
                    ("model.language_model.", "language_model.model."),
                    ("lm_head.", "language_model.lm_head."),
                    ("vision_tower.vision_model.", "vision_tower."),
                    ("model.vision_tower.vision_tower.vision_model.", "vision_tower."),
                    ("model.vision_tower.vision_model.", "vision_tower."),
                    ("model.vision_tower.", "vision_tower."),
                    ("model.multi_modal_projector.", "multi_modal_projector."),
                    ("model.image_newline", "image_newline"),
                    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
                    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
                    ("model.", "language_model.model."),
                ];
                let renamed =
                    replaced.iter().find_map(|(from, to)| key.strip_prefix(from).map(|rest| format!("{to}{rest}")));
                Some(renamed.unwrap_or_else(|| key.to_string()))
            }
            Self::Parrot => Some(parrot::module_name(key)),
            Self::Text => text::module_name(key),
            Self::Comet => text::comet_name(key),
        }
    }

    /// The key under which a parameter is written.
    pub fn file_key(&self, name: &str) -> String {
        match self {
            Self::Plain | Self::Language | Self::Dual { .. } => name.to_string(),
            Self::Vision => format!("vision_model.{name}"),
            Self::Llava => match name.strip_prefix("vision_tower.") {
                Some(rest) => format!("vision_tower.vision_model.{rest}"),
                None => name.to_string(),
            },
            Self::Parrot => parrot::file_key(name),
            Self::Text => text::file_key(name),
            Self::Comet => text::comet_key(name),
        }
    }

    /// Whether a parameter of shape `[1]` is written as a scalar.
    pub(super) fn is_scalar(&self, name: &str) -> bool {
        *self == Self::Dual { clip: true } && name == "logit_scale"
    }
}

/// A model that lives in a Hugging Face folder.
pub trait Pretrained: Module {
    /// Its configuration.
    type Config: Serialize + DeserializeOwned;

    /// The configuration that the model was built from.
    fn pretrained_config(&self) -> Self::Config;

    /// `architectures` and `model_type` of `config.json`.
    fn architecture(&self) -> (&'static str, &'static str);

    /// The keys that its files use.
    fn layout(&self) -> Layout;

    /// The part of a folder's `config.json` that describes this model.
    fn select_config(config: Value) -> Value {
        config
    }

    /// The configuration in a folder's `config.json`, of which `json` is the content.
    ///
    /// # Errors
    /// [`CheckpointError`]; it names the file.
    fn read_config(json: Value, dir: &Path) -> Result<Self::Config, CheckpointError> {
        config::from_value(Self::select_config(json), &dir.join(CONFIG))
    }

    /// What [`Self::save_pretrained`] writes beside the weights: file names and contents, `config.json` among them, without
    /// the keys that every `config.json` has.
    ///
    /// # Errors
    /// A configuration that JSON cannot hold.
    fn config_files(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        Ok(vec![(CONFIG, serde_json::to_value(self.pretrained_config())?)])
    }

    /// A model with random weights, filled afterwards.
    ///
    /// # Errors
    /// What the configuration cannot be run with.
    fn from_config(config: &Self::Config, device: &Device) -> Result<Self, ModelError>
    where
        Self: Sized;

    /// The keys of a folder or file that [`Self::load_pretrained`] takes for this model. The others belong to other parts of
    /// the whole that the folder holds.
    fn taken_keys(&self, source: &TensorSource) -> Vec<String>
    where
        Self: Sized,
    {
        let layout = self.layout();
        source.tensors().keys().filter(|key| layout.module_name(key).is_some()).cloned().collect()
    }

    /// Reads `config.json` and the weights of a folder. A vision tower or a language model alone may be taken out of the
    /// folder of a whole: its own part of config and weights is read ([`Self::taken_keys`] names it), and is complete or an
    /// error. Strict, as f32.
    ///
    /// # Errors
    /// See [`CheckpointError`]; every error names the file.
    fn load_pretrained(dir: &Path, device: &Device) -> Result<Self, CheckpointError>
    where
        Self: Sized,
    {
        Self::load_pretrained_with(dir, device, &LoadOptions::default())
    }

    /// Reads `config.json` and the weights of a folder, into the element type and with the exceptions of `options`.
    ///
    /// # Errors
    /// See [`CheckpointError`]; every error names the file.
    fn load_pretrained_with(dir: &Path, device: &Device, options: &LoadOptions) -> Result<Self, CheckpointError>
    where
        Self: Sized,
    {
        let (model, source, _) = unfilled::<Self>(dir, device)?;
        let layout = model.layout();
        load_parameters_with(model, &source, &layout, options)
    }

    /// Writes weights and `config.json` with the defaults of [`SaveOptions`].
    ///
    /// # Errors
    /// See [`CheckpointError`].
    fn save_pretrained(&self, dir: &Path, dtype: StoreDtype) -> Result<(), CheckpointError>
    where
        Self: Sized,
    {
        self.save_pretrained_with(dir, &SaveOptions { dtype, ..SaveOptions::default() })
    }

    /// Writes a folder that transformers reads: weights (in shards where they are large), `config.json`, and the tokenizer and
    /// processor files of [`SaveOptions::companions`]. A new folder appears whole or not at all; in an old one the model is
    /// replaced and `config.json` comes last, so that a folder with a config is complete. Other files in it stay, but
    /// for the old model's tokenizer and processor files where companions are given.
    ///
    /// # Errors
    /// See [`CheckpointError`]; nothing is replaced before all is written.
    fn save_pretrained_with(&self, dir: &Path, options: &SaveOptions) -> Result<(), CheckpointError>
    where
        Self: Sized,
    {
        let path = dir.join(CONFIG);
        if super::parameters(self).iter().any(|parameter| crate::lora::is_adapter(&parameter.name)) {
            let reason = "the model has adapters, which a model's folder does not hold: merge them, or save them in a folder of their own";
            return Err(CheckpointError::format(dir, reason));
        }
        let files = self.config_files().map_err(|error| CheckpointError::format(&path, error.to_string()))?;
        let (architecture, model_type) = self.architecture();
        publish(dir, options.companions.is_some(), |staging| {
            if let Some(companions) = &options.companions {
                copy_companions(companions, staging)?;
            }
            save_shards(self, staging, &self.layout(), options.dtype, options.max_shard_size)?;
            // Of the weights alone: configs and templates are edited by hand, and no format notices a flipped bit in a weight.
            Seal::write(staging, |name| name.ends_with(".safetensors"))?;
            for (name, mut value) in files {
                if name == CONFIG {
                    config::finish(&mut value, architecture, model_type, options.dtype.name());
                }
                write_json_atomic(&staging.join(name), &value)?;
            }
            Ok(())
        })
    }
}

/// The model that `config.json` describes, its weights' source, and the content of the file.
pub(super) fn unfilled<M: Pretrained>(
    dir: &Path,
    device: &Device,
) -> Result<(M, TensorSource, Value), CheckpointError> {
    let (path, json) = config::read_of(dir)?;
    config::check_quantization(&json, &path)?;
    let source = TensorSource::open(dir)?;
    config::check_sizes(&json, &path, source.tensors().len())?;
    let of = |json: &Value| M::from_config(&M::read_config(json.clone(), dir)?, device).map_err(config::invalid(&path));
    let model = of(&json)?;
    if !has_own_head(&model, &source)? {
        return Ok((model, source, json));
    }
    let mut untied = json;
    untie(&mut untied);
    Ok((of(&untied)?, source, untied))
}

/// How the names of a decoder's head and of its table of embeddings end.
const HEAD: &str = "lm_head.weight";
/// See [`HEAD`].
const TABLE: &str = "embed_tokens.weight";

/// Whether a file has a head with values of its own for a decoder whose config says that it has none (`tie_word_embeddings`). As in
/// transformers 5 the file is right: it was untied by hand, or converted from a format that has both. A head that equals the table is
/// no head of its own.
fn has_own_head<M: Pretrained>(model: &M, source: &TensorSource) -> Result<bool, CheckpointError> {
    let names: Vec<String> = super::parameters(model).into_iter().map(|parameter| parameter.name).collect();
    let ends = |ending: &str| names.iter().find(|name| name.ends_with(ending));
    let (Some(table), None) = (ends(TABLE), ends(HEAD)) else { return Ok(false) };
    let layout = model.layout();
    let key = |holds: &dyn Fn(&str) -> bool| {
        source.tensors().keys().find(|key| layout.module_name(key).is_some_and(|name| holds(&name)))
    };
    let head = key(&|name| name.ends_with(HEAD));
    let table = key(&|name| name == table.as_str());
    let (Some(head), Some(table)) = (head, table) else { return Ok(false) };
    Ok(!source.same_values(head, table)?)
}

/// Writes into a config that its decoder has a head of its own.
fn untie(config: &mut Value) {
    if let Some(text) = config.get_mut("text_config").and_then(Value::as_object_mut) {
        text.insert("tie_word_embeddings".into(), json!(false));
    }
    if let Some(config) = config.as_object_mut() {
        config.insert("tie_word_embeddings".into(), json!(false));
    }
}

/// Whether a config.json is flat: the decoder's own with keys about the vision tower.
fn is_flat(config: &Value) -> bool {
    parrot::is_parrot(config) || original::is_original(config)
}

/// Whether a config.json describes a VLM in the layout of [`Vlm`].
fn is_vlm(config: &Value) -> bool {
    serde_json::from_value::<VlmType>(config["model_type"].clone()).is_ok()
}

impl Pretrained for VisionEncoder {
    type Config = VisionConfig;

    fn pretrained_config(&self) -> VisionConfig {
        self.config()
    }

    fn architecture(&self) -> (&'static str, &'static str) {
        self.config().architecture()
    }

    fn layout(&self) -> Layout {
        Layout::Vision
    }

    /// The folder of a dual encoder or of a VLM serves too: its `vision_config`, whose `model_type` old configs leave out.
    fn select_config(config: Value) -> Value {
        let config = if is_vlm(&config) { Vlm::select_config(config) } else { config };
        match config.get("vision_config") {
            Some(vision) => {
                let mut vision = vision.clone();
                if vision.get("model_type").is_none() {
                    vision["model_type"] = config["model_type"].clone();
                }
                vision
            }
            None => config,
        }
    }

    fn read_config(json: Value, dir: &Path) -> Result<VisionConfig, CheckpointError> {
        if is_flat(&json) {
            return Vlm::read_config(json, dir).map(|config| config.vision_config);
        }
        config::from_value(Self::select_config(json), &dir.join(CONFIG))
    }

    fn from_config(config: &VisionConfig, device: &Device) -> Result<Self, ModelError> {
        config.init(device)
    }
}

impl Pretrained for DualEncoder {
    type Config = DualConfig;

    fn pretrained_config(&self) -> DualConfig {
        self.config()
    }

    fn architecture(&self) -> (&'static str, &'static str) {
        match self {
            Self::Siglip(_) => ("SiglipModel", "siglip"),
            Self::Clip(_) => ("CLIPModel", "clip"),
        }
    }

    fn layout(&self) -> Layout {
        Layout::Dual { clip: matches!(self, Self::Clip(_)) }
    }

    fn from_config(config: &DualConfig, device: &Device) -> Result<Self, ModelError> {
        config.init(device)
    }
}

impl Pretrained for LanguageModel {
    type Config = LanguageConfig;

    fn pretrained_config(&self) -> LanguageConfig {
        self.config()
    }

    fn architecture(&self) -> (&'static str, &'static str) {
        self.config().architecture()
    }

    fn layout(&self) -> Layout {
        Layout::Language
    }

    /// The folder of a VLM serves too: its `text_config`.
    fn select_config(config: Value) -> Value {
        if is_vlm(&config) { Vlm::select_config(config)["text_config"].take() } else { config }
    }

    fn read_config(json: Value, dir: &Path) -> Result<LanguageConfig, CheckpointError> {
        let path = dir.join(CONFIG);
        if is_flat(&json) {
            return original::language(&json, &path);
        }
        config::from_value(Self::select_config(json), &path)
    }

    fn from_config(config: &LanguageConfig, device: &Device) -> Result<Self, ModelError> {
        config.init(device)
    }
}

/// The plain model's own, so that `Vlm::load_pretrained` needs no types; any other `Vlm<T, P>` has them from [`Pretrained`].
impl Vlm {
    /// See [`Pretrained::load_pretrained`].
    ///
    /// # Errors
    /// See [`CheckpointError`]; every error names the file.
    pub fn load_pretrained(dir: &Path, device: &Device) -> Result<Self, CheckpointError> {
        Pretrained::load_pretrained(dir, device)
    }

    /// See [`Pretrained::load_pretrained_with`].
    ///
    /// # Errors
    /// See [`CheckpointError`]; every error names the file.
    pub fn load_pretrained_with(dir: &Path, device: &Device, options: &LoadOptions) -> Result<Self, CheckpointError> {
        Pretrained::load_pretrained_with(dir, device, options)
    }

    /// The configuration in a folder's `config.json`, of which `json` is the content.
    ///
    /// # Errors
    /// [`CheckpointError`]; it names the file.
    pub fn read_config(json: Value, dir: &Path) -> Result<VlmConfig, CheckpointError> {
        <Self as Pretrained>::read_config(json, dir)
    }

    /// Parts and their `model_type` that a published config leaves out, filled in.
    pub fn select_config(config: Value) -> Value {
        <Self as Pretrained>::select_config(config)
    }
}

impl<T: VisionTower, P: Projector> Pretrained for Vlm<T, P> {
    type Config = VlmConfig;

    fn pretrained_config(&self) -> VlmConfig {
        // The resolved switches: the file's `transformers_version` may be absent.
        let (scale, softcap) = (self.config.scales_visual_embeds(), self.config.softcaps_logits());
        let connector = self.connector_config();
        VlmConfig {
            scale_visual_embeds: Some(scale),
            softcap_logits: Some(softcap),
            tile_every_image: self.config.takes_videos().then(|| self.config.tiles_every_image()),
            // An absent key is read as the published models' id; where videos have no token of their own it is that of pictures.
            video_token_index: self
                .config
                .takes_videos()
                .then(|| self.config.video_token_index.unwrap_or(self.config.image_token_index)),
            connector,
            ..self.config.clone()
        }
    }

    fn architecture(&self) -> (&'static str, &'static str) {
        match (self.layout(), self.config.model_type) {
            (Layout::Parrot, _) => (parrot::ARCHITECTURE, parrot::MODEL_TYPE),
            (_, VlmType::Llava) => ("LlavaForConditionalGeneration", "llava"),
            (_, VlmType::LlavaNext) => ("LlavaNextForConditionalGeneration", "llava_next"),
            (_, VlmType::LlavaOnevision) => ("LlavaOnevisionForConditionalGeneration", "llava_onevision"),
        }
    }

    /// Parts and their `model_type` that a published config leaves out: CLIP ViT-L/14 at 336 pixels and Llama; in LLaVA-OneVision
    /// SigLIP SO400M at 384 pixels without its last layer and Qwen 2, and other defaults of some keys.
    fn select_config(mut config: Value) -> Value {
        let onevision = config["model_type"] == "llava_onevision";
        let Some(parts) = config.as_object_mut() else { return config };
        let (vision, text) = if onevision { (siglip_of_onevision(), "qwen2") } else { (clip_large(), "llama") };
        for (part, default) in [("vision_config", vision), ("text_config", json!({ "model_type": text }))] {
            match parts.get_mut(part) {
                Some(Value::Object(keys)) => {
                    keys.entry("model_type").or_insert_with(|| default["model_type"].clone());
                }
                Some(Value::Null) | None => {
                    parts.insert(part.into(), default);
                }
                Some(_) => {}
            }
        }
        if onevision {
            onevision_keys(parts);
        }
        config
    }

    /// Parrot's own where it can hold the model, else LLaVA's.
    fn layout(&self) -> Layout {
        if parrot::can_hold(&self.config) { Layout::Parrot } else { Layout::Llava }
    }

    fn read_config(json: Value, dir: &Path) -> Result<VlmConfig, CheckpointError> {
        let path = dir.join(CONFIG);
        if parrot::is_parrot(&json) {
            return parrot::read(&json, &path, dir);
        }
        if original::is_original(&json) {
            return original::read(&json, &path, dir);
        }
        config::from_value(Self::select_config(json), &path)
    }

    /// In LLaVA's original layout the weights may lack the vision tower: it is then read from the folder `vision_tower` in
    /// `dir`.
    fn load_pretrained_with(dir: &Path, device: &Device, options: &LoadOptions) -> Result<Self, CheckpointError> {
        let (model, source, json) = unfilled::<Self>(dir, device)?;
        if original::is_original(&json) && original::lacks_tower(&source) {
            return original::load_with_tower(model, &source, dir, device, options);
        }
        let layout = model.layout();
        load_parameters_with(model, &source, &layout, options)
    }

    fn config_files(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        let config = self.pretrained_config();
        if self.layout() == Layout::Parrot {
            let (flat, vision) = parrot::write(&config)?;
            return Ok(vec![(CONFIG, flat), (original::VISION_FILE, vision)]);
        }
        let mut value = serde_json::to_value(&config)?;
        if !config.takes_videos() {
            value["image_seq_length"] = json!(config.num_visual_tokens());
        }
        Ok(vec![(CONFIG, value)])
    }

    fn from_config(config: &VlmConfig, device: &Device) -> Result<Self, ModelError> {
        config.init_parts(&Scope::new(DEFAULT_SEED, device))
    }
}

/// The tower of a LLaVA or LLaVA-NeXT config that names none.
fn clip_large() -> Value {
    json!({
        "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "image_size": 336, "patch_size": 14, "projection_dim": 768
    })
}

/// The tower of a LLaVA-OneVision config that names none.
fn siglip_of_onevision() -> Value {
    let mut vision = json!(SiglipVisionConfig::so400m_without_last());
    vision["model_type"] = json!("siglip_vision_model");
    vision
}

/// Keys of LLaVA-OneVision whose defaults are not LLaVA's.
fn onevision_keys(config: &mut Map<String, Value>) {
    for (keys, default) in [
        (&["image_token_index", "image_token_id"][..], json!(151_646)),
        (&["video_token_index", "video_token_id"], json!(151_647)),
        (&["vision_feature_layer"], json!(-1)),
        (&["vision_feature_select_strategy"], json!("full")),
    ] {
        if keys.iter().all(|key| config.get(*key).is_none_or(Value::is_null)) {
            config.insert(keys[0].into(), default);
        }
    }
}

/// The vision tower of a folder as any [`VisionTower`], with its weights, strict and as f32: what
/// [`VisionEncoder::load_pretrained`](Pretrained::load_pretrained) does for this library's own.
///
/// # Errors
/// See [`CheckpointError`]; every error names the file. A configuration that the tower does not accept.
pub fn load_tower<T: VisionTower>(dir: &Path, device: &Device) -> Result<T, CheckpointError> {
    let path = dir.join(CONFIG);
    let json: Value = config::read_json(&path)?;
    config::check_quantization(&json, &path)?;
    let source = TensorSource::open(dir)?;
    config::check_sizes(&json, &path, source.tensors().len())?;
    let config = <VisionEncoder as Pretrained>::read_config(json, dir)?;
    let tower = T::from_config(&config, &Scope::new(DEFAULT_SEED, device)).map_err(config::invalid(&path))?;
    load_parameters_with(tower, &source, &Layout::Vision, &LoadOptions::default())
}
