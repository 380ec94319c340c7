//! Low-rank adapters in peft's layout: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! ```text
//! base_model.model.<path>.lora_A.weight              [r, input]
//! base_model.model.<path>.lora_B.weight              [output, r]
//! base_model.model.<path>.lora_magnitude_vector      [output], with DoRA
//! base_model.model.<path>.weight                     a parameter of a module in `modules_to_save`
//! ```
//!
//! `<path>` is the module's name in transformers: `model.language_model.layers.0.self_attn.q_proj` since 4.52, which is what is
//! written (peft gives version 5 its own names of the vision tower's modules), and the names that went before and came after, which
//! are read too.
//!
//! Unusual here: a config that asks for what is not computed is an error with its key, also where the key is one that peft has
//! added since: a value that asks for nothing (`null`, `false`, nothing in it) passes.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm_base::files::{create_dir_all, write_json_atomic};
use serde_json::{Map, Value, json};

use super::adapter_base::config_of;
use super::chunks::count_not_finite;
use super::save::write_weights;
use super::{CheckpointError, Layout, Parameter, StoreDtype, StoredTensor, TensorSource, config, parameters};
use crate::lora::{Adapt, LoraConfig, LoraPlan, attach_with, ends_with_name, is_head, last, linears, saved_modules};

/// File of an adapter's configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// File of an adapter's weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Before every key.
const PREFIX: &str = "base_model.model.";
/// Ends of the keys of an adapter; the last one is how old versions of peft wrote the one before it.
const ENDINGS: [(&str, &str); 4] = [
    (".lora_A.weight", "lora_A.weight"),
    (".lora_B.weight", "lora_B.weight"),
    (".lora_magnitude_vector", "lora_magnitude_vector"),
    (".lora_magnitude_vector.weight", "lora_magnitude_vector"),
];

/// Keys of the configuration that are read.
const READ: [&str; 10] = [
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "use_dora",
    "target_modules",
    "exclude_modules",
    "modules_to_save",
    "init_lora_weights",
];
/// Keys that change nothing of what a finished adapter computes.
const IDLE: [&str; 15] = [
    "alpha",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
];
/// Ways to begin that change the base weights too, so that the base is not the published one.
const OTHER_BASES: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// What `adapter_config.json` says.
struct AdapterConfig {
    lora: LoraConfig,
    /// Ends of layers' names; `None` where they are a regular expression, which the weights then stand for alone.
    targets: Option<Vec<String>>,
    excluded: Vec<String>,
    saved: Vec<String>,
}

impl AdapterConfig {
    fn read(path: &Path) -> Result<Self, CheckpointError> {
        let json: Value = config::read_json(path)?;
        let fail = |reason: String| CheckpointError::format(path, reason);
        let Some(keys) = json.as_object() else { return Err(fail("expected an object of keys".into())) };
        Self::of(keys).map_err(fail)
    }

    fn of(keys: &Map<String, Value>) -> Result<Self, String> {
        let get = |key: &str| keys.get(key).unwrap_or(&Value::Null);
        if get("peft_type") != "LORA" {
            return Err(format!(
                "`peft_type` is {}, expected \"LORA\": no other kind of adapter is read",
                get("peft_type")
            ));
        }
        for (key, value) in
            keys.iter().filter(|(key, _)| !READ.contains(&key.as_str()) && !IDLE.contains(&key.as_str()))
        {
            if !(asks_for_nothing(value) || (key == "bias" && value == "none")) {
                return Err(format!("`{key}` is {value}, which is not supported; an adapter without it is read"));
            }
        }
        if let Some(other) = get("init_lora_weights").as_str()
            && OTHER_BASES.iter().any(|base| other.starts_with(base))
        {
            return Err(format!(
                "`init_lora_weights` is \"{other}\", which changed the base weights too: convert the adapter \
                 (peft: save_pretrained with `path_initial_model_for_weight_conversion`)"
            ));
        }
        let number = |key: &str, default: Option<f64>| match get(key) {
            Value::Null => default.ok_or_else(|| format!("`{key}` is missing, expected a number")),
            value => value.as_f64().ok_or_else(|| format!("`{key}` is {value}, expected a number")),
        };
        let flag = |key: &str| match get(key) {
            Value::Null => Ok(false),
            value => value.as_bool().ok_or_else(|| format!("`{key}` is {value}, expected true or false")),
        };
        let names = |key: &str| match get(key) {
            Value::Null => Ok(Some(Vec::new())),
            Value::String(_) => Ok(None),
            value => serde_json::from_value::<Vec<String>>(value.clone())
                .map(Some)
                .map_err(|_| format!("`{key}` is {value}, expected a list of names")),
        };
        let r = number("r", None)?;
        if r < 1.0 || r.fract() != 0.0 {
            return Err(format!("`r` is {}, expected a rank of at least 1", get("r")));
        }
        let lora = LoraConfig {
            r: r as usize,
            alpha: number("lora_alpha", None)?,
            dropout: number("lora_dropout", Some(0.0))?,
            rslora: flag("use_rslora")?,
            dora: flag("use_dora")?,
        };
        lora.check()
            .map_err(|problem| problem.replace("`alpha", "`lora_alpha").replace("`dropout", "`lora_dropout"))?;
        let Some(excluded) = names("exclude_modules")? else {
            return Err(format!("`exclude_modules` is {}, expected a list of names", get("exclude_modules")));
        };
        let Some(saved) = names("modules_to_save")? else {
            return Err(format!("`modules_to_save` is {}, expected a list of names", get("modules_to_save")));
        };
        Ok(Self { lora, targets: names("target_modules")?, excluded, saved })
    }
}

/// Whether a value of a configuration is one that switches nothing on.
fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        _ => false,
    }
}

/// The layout by which an adapter's keys name a model's parameters.
fn layout_of(model: &impl Adapt) -> Layout {
    match model.layout() {
        Layout::Parrot => Layout::Llava,
        layout => layout,
    }
}

/// The name that transformers gives to a parameter or module since 4.52.
fn transformers_name(layout: &Layout, name: &str) -> String {
    if *layout != Layout::Llava {
        return name.to_owned();
    }
    let renamed = [
        ("language_model.model.", "model.language_model."),
        ("language_model.lm_head", "lm_head"),
        ("vision_tower.", "model.vision_tower.vision_model."),
        ("multi_modal_projector", "model.multi_modal_projector"),
        ("image_newline", "model.image_newline"),
    ];
    let renamed = renamed.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")));
    renamed.unwrap_or_else(|| name.to_owned())
}

/// All names that a layer has had in transformers, ours among them.
fn names_of(layout: &Layout, layer: &str) -> Vec<String> {
    let new = transformers_name(layout, layer);
    let flat = new.replace("vision_tower.vision_model.", "vision_tower.");
    let old = layer.replacen("vision_tower.", "vision_tower.vision_model.", 1);
    vec![new, flat, old, layer.to_owned()]
}

/// What the keys of a file are in the model.
#[derive(Default)]
struct Found {
    /// Layer, then end of the parameter's name, then key.
    adapters: BTreeMap<String, BTreeMap<&'static str, String>>,
    /// Name of the parameter, then key.
    saved: BTreeMap<String, String>,
    problems: Vec<String>,
}

/// Puts the adapter in `dir` on a model, whose own weights stay in `base`, and says what it is. The adapter itself is held in f32. How
/// the model is computed is to be set anew.
///
/// Layers that `target_modules` lists and the file lacks are an error; where it is a regular expression, the file's keys stand for
/// themselves.
///
/// # Errors
/// [`CheckpointError`], which names the file: a kind of adapter or an option that is not computed, keys that the model has no layer
/// for, halves of adapters, shapes that do not fit.
pub fn load_adapter<M: Adapt>(
    model: M,
    dir: &Path,
    base: StoreDtype,
    device: &Device,
) -> Result<(M, LoraPlan), CheckpointError> {
    let (config_path, weights) = (config_of(dir)?, dir.join(ADAPTER_WEIGHTS));
    let config = AdapterConfig::read(&config_path)?;
    if !weights.is_file() {
        let help = match dir.join("adapter_model.bin").is_file() {
            true => {
                "is not here, and adapter_model.bin is pickled: save the adapter again with `safe_serialization=True`"
            }
            false => "is not here",
        };
        return Err(CheckpointError::format(&weights, help));
    }
    let source = TensorSource::open(&weights)?;
    let layout = layout_of(&model);
    refuse_tables(&source, &layout)?;
    let all = parameters(&model);
    let means = |module: &str, name: &str| names_of(&layout, module).iter().any(|mine| ends_with_name(mine, name));
    let saved =
        saved_modules(&config.saved, &all, means).map_err(|problem| CheckpointError::format(&config_path, problem))?;
    let found = match_keys(&source, &layout, &config, &saved, &all);
    if !found.problems.is_empty() {
        return Err(CheckpointError::Keys { path: weights, problems: found.problems });
    }
    let plan = LoraPlan { config: config.lora, layers: found.adapters.keys().cloned().collect(), saved };
    let mut values: HashMap<String, Box<dyn Any>> = HashMap::new();
    for (layer, parts) in &found.adapters {
        for (part, key) in parts {
            let name = format!("{layer}.lora.{part}");
            let transposed = part.ends_with(".weight");
            values.insert(name, read(&source, key, transposed, device)?);
        }
    }
    for (name, key) in &found.saved {
        let transposed = all.iter().any(|parameter| parameter.name == *name && parameter.transposed);
        values.insert(name.clone(), read(&source, key, transposed, device)?);
    }
    let model = attach_with(model, &plan, (0, base), device, values)
        .map_err(|error| CheckpointError::format(source.path(), error.to_string()))?;
    Ok((model, plan))
}

/// Refuses adapters of the language model's head and of the table of embeddings, by what they are: their keys fit the model.
fn refuse_tables(source: &TensorSource, layout: &Layout) -> Result<(), CheckpointError> {
    for key in source.tensors().keys() {
        let name = key.strip_prefix(PREFIX).and_then(|rest| layout.module_name(rest)).unwrap_or_default();
        let layer = ENDINGS.iter().find_map(|(ending, _)| name.strip_suffix(ending)).unwrap_or_default();
        let (what, module) = if is_head(layer) {
            ("the language model's head", "lm_head")
        } else if last(layer) == "embed_tokens" || key.contains(".lora_embedding_") {
            ("the table of embeddings", "embed_tokens")
        } else {
            continue;
        };
        let reason = format!(
            "`{key}` is of an adapter of {what}, which this library does not compute: train one without `{module}` in `target_modules`, \
             or merge it into the weights with peft (`merge_and_unload`) and name that folder"
        );
        return Err(CheckpointError::format(source.path(), reason));
    }
    Ok(())
}

/// What each key is, and all that is wrong with them.
fn match_keys(
    source: &TensorSource,
    layout: &Layout,
    config: &AdapterConfig,
    saved: &[String],
    all: &[Parameter],
) -> Found {
    let by_name: HashMap<&str, &Parameter> = all.iter().map(|parameter| (parameter.name.as_str(), parameter)).collect();
    let linears: BTreeSet<&str> = linears(all).into_iter().filter(|layer| !is_head(layer)).collect();
    let in_saved = |name: &str| {
        saved.iter().any(|module| name.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let mut found = Found::default();
    for (key, tensor) in source.tensors() {
        let Some(name) = key.strip_prefix(PREFIX).and_then(|rest| layout.module_name(rest)) else {
            found.problems.push(format!("unexpected: {key} {:?}", tensor.shape));
            continue;
        };
        let ending = ENDINGS.iter().find_map(|(ending, part)| Some((name.strip_suffix(ending)?, *part)));
        match ending {
            Some((layer, part)) if linears.contains(layer) => {
                found.adapters.entry(layer.to_owned()).or_default().insert(part, key.clone());
            }
            None if in_saved(&name) && by_name.contains_key(name.as_str()) => {
                found.saved.insert(name, key.clone());
            }
            _ => found.problems.push(format!("unexpected: {key} {:?} (as {name})", tensor.shape)),
        }
    }
    let key = |name: &str| format!("{PREFIX}{}", transformers_name(layout, name));
    let r = config.lora.r;
    let check = |wanted: Vec<usize>, key: &str, problems: &mut Vec<String>| {
        let shape = source.tensors().get(key).map(|tensor: &StoredTensor| tensor.shape.clone()).unwrap_or_default();
        if shape != wanted {
            let file = source.path().display();
            problems.push(format!("shape: {key} is {shape:?} in {file}, the model with `r = {r}` needs {wanted:?}"));
        }
    };
    for (layer, parts) in &found.adapters {
        let Some([output, input]) = by_name.get(format!("{layer}.weight").as_str()).map(|p| [p.shape[0], p.shape[1]])
        else {
            continue;
        };
        let mut wanted = vec![("lora_A.weight", vec![r, input]), ("lora_B.weight", vec![output, r])];
        if config.lora.dora {
            wanted.push(("lora_magnitude_vector", vec![output]));
        } else if let Some(key) = parts.get("lora_magnitude_vector") {
            found.problems.push(format!("unexpected: {key}, of an adapter whose config has no `use_dora`"));
        }
        for (part, shape) in wanted {
            match parts.get(part) {
                Some(key) => check(shape, key, &mut found.problems),
                None => found.problems.push(format!("missing: {} {shape:?}", key(&format!("{layer}.{part}")))),
            }
        }
    }
    let named = |layer: &str, names: &[String]| {
        let mine = names_of(layout, layer);
        names.iter().any(|name| mine.iter().any(|mine| ends_with_name(mine, name)))
    };
    // peft leaves such keys out, so that with them the model would be another than there.
    for (layer, parts) in &found.adapters {
        let listed = config.targets.as_ref().is_none_or(|targets| named(layer, targets));
        if let Some(key) = parts.values().next().filter(|_| !listed || named(layer, &config.excluded)) {
            found.problems.push(format!("unexpected: {key}, whose layer `target_modules` does not list"));
        }
    }
    for layer in linears.iter().filter(|layer| !found.adapters.contains_key(**layer)) {
        let wanted = config.targets.as_ref().is_some_and(|targets| named(layer, targets));
        if wanted && !named(layer, &config.excluded) && !in_saved(&format!("{layer}.")) {
            let name = key(&format!("{layer}.lora_A.weight"));
            found.problems.push(format!("missing: {name}, whose layer `target_modules` lists"));
        }
    }
    for parameter in all.iter().filter(|parameter| in_saved(&parameter.name)) {
        match found.saved.get(&parameter.name) {
            Some(key) => check(parameter.shape.clone(), key, &mut found.problems),
            None => {
                let key = key(&parameter.name);
                found.problems.push(format!("missing: {key} {:?}, of a module in `modules_to_save`", parameter.shape));
            }
        }
    }
    if found.adapters.is_empty() && found.problems.is_empty() {
        found.problems.push(format!("missing: {PREFIX}*.lora_A.weight: there is no adapter in the file"));
    }
    found
}

/// A tensor of the file as a parameter's value, in f32.
fn read(source: &TensorSource, key: &str, transposed: bool, device: &Device) -> Result<Box<dyn Any>, CheckpointError> {
    let Some(tensor) = source.tensors().get(key) else {
        return Err(CheckpointError::format(source.path(), format!("`{key}` is not in the file")));
    };
    let values = source.read::<f32>(key, tensor, transposed)?;
    let broken = count_not_finite(&values);
    if broken > 0 {
        let reason = format!("`{key}`: {broken} of {} values are NaN or infinite: the file is damaged", values.len());
        return Err(CheckpointError::format(source.path(), reason));
    }
    let mut shape = tensor.shape.clone();
    if transposed {
        shape.reverse();
    }
    let data = TensorData::new(values, shape.clone());
    Ok(match shape.len() {
        1 => Box::new(Tensor::<1>::from_data(data, device)),
        2 => Box::new(Tensor::<2>::from_data(data, device)),
        3 => Box::new(Tensor::<3>::from_data(data, device)),
        4 => Box::new(Tensor::<4>::from_data(data, device)),
        rank => {
            let reason = format!("`{key}` has {rank} dimensions, expected 1 to 4");
            return Err(CheckpointError::format(source.path(), reason));
        }
    })
}

/// Writes the adapters of a model, and the modules that were trained as a whole beside them, as peft does, in f32. `base` is what
/// `base_model_name_or_path` is to say.
///
/// # Errors
/// [`CheckpointError`]; a full disk, for example. The configuration comes last, so that a folder with one is complete.
pub fn save_adapter<M: Adapt>(
    model: &M,
    plan: &LoraPlan,
    dir: &Path,
    base: Option<&str>,
) -> Result<(), CheckpointError> {
    let layout = layout_of(model);
    create_dir_all(dir)?;
    let key = |name: &str| match plan.trains(name) {
        true => Some(format!("{PREFIX}{}", transformers_name(&layout, &name.replacen(".lora.", ".", 1)))),
        false => None,
    };
    write_weights(model, &dir.join(ADAPTER_WEIGHTS), &key)?;
    let all = parameters(model);
    let config = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": base,
        "inference_mode": true,
        "r": plan.config.r,
        "lora_alpha": whole(plan.config.alpha),
        "lora_dropout": plan.config.dropout,
        "use_rslora": plan.config.rslora,
        "use_dora": plan.config.dora,
        "target_modules": target_modules(&layout, plan, &all),
        "modules_to_save": (!plan.saved.is_empty())
            .then(|| plan.saved.iter().map(|module| target_name(&layout, module)).collect::<Vec<_>>()),
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "layers_to_transform": null,
        "rank_pattern": {},
        "alpha_pattern": {},
    });
    Ok(write_json_atomic(&dir.join(ADAPTER_CONFIG), &config)?)
}

/// A number as an integer, where it is one: peft's `lora_alpha` is.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}

/// The last words of the layers' names, where these mean the same layers; else the names.
fn target_modules(layout: &Layout, plan: &LoraPlan, all: &[Parameter]) -> Vec<String> {
    let words: BTreeSet<&str> = plan.layers.iter().map(|layer| last(layer)).collect();
    let meant = linears(all).into_iter().filter(|layer| words.contains(last(layer)));
    match meant.eq(linears(all).into_iter().filter(|layer| plan.layers.contains(*layer))) {
        true => words.into_iter().map(str::to_owned).collect(),
        false => plan.layers.iter().map(|layer| target_name(layout, layer)).collect(),
    }
}

/// The end of a module's name that means the module alone, in every version of transformers since 4.52: the wrapper around the vision
/// tower's modules is gone in 5.
fn target_name(layout: &Layout, module: &str) -> String {
    let name = transformers_name(layout, module);
    let name = name.strip_prefix("model.vision_tower.vision_model.").unwrap_or(&name);
    if *layout == Layout::Llava { name.strip_prefix("model.").unwrap_or(name) } else { name }.to_owned()
}
