//! Low-rank adapters on the linear layers of a model, frozen beneath them: which layers, in and out of the weights.
//!
//! Unusual here:
//! - a model gets adapters by being built again from its config, with a scope that knows their layers, and given the parameters it
//!   had: nothing is copied, and any tower or connector whose linear layers come from [`Scope::linear`] takes them;
//! - adapters are parameters like others, named after the layer: `language_model.model.layers.0.self_attn.q_proj.lora.lora_A.weight`.
//!
//! [`nn::lora`](crate::nn::lora) has the equations, [`checkpoint`](crate::checkpoint) peft's files.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};

use crate::checkpoint::{Parameter, Pretrained, StoreDtype, parameters, wildcard};
use crate::connector::Projector;
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::language::LanguageModel;
use crate::nn::fused::packed::{float, is_packed};
use crate::nn::lora::{column_norms, merged};
use crate::nn::{Lora, LoraMatrix};
use crate::vision::VisionTower;
use crate::vlm::Vlm;

/// The parts of a model that may be named as targets.
const PARTS: [&str; 3] = ["language_model", "vision_tower", "multi_modal_projector"];
/// Between a layer's name and its adapter's parameters.
const ADAPTER: &str = ".lora.";
/// The layer that takes no adapter: losses never run it as a layer.
const HEAD: &str = "lm_head";

/// What the adapters of a model have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// The rank.
    pub r: usize,
    /// Over `r`, or over its root, the factor on what an adapter gives.
    pub alpha: f64,
    /// Probability that an element of an adapter's input is dropped in training.
    pub dropout: f64,
    /// The factor is `alpha / sqrt(r)`, not `alpha / r`.
    pub rslora: bool,
    /// Lengths of the weight's columns are trained apart from their directions.
    pub dora: bool,
}

impl LoraConfig {
    /// The factor on what an adapter gives.
    pub fn scaling(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.rslora { r.sqrt() } else { r }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// What is wrong, with key and value.
    pub fn check(&self) -> Result<(), String> {
        if self.r == 0 {
            return Err("`r = 0`: the rank must be at least 1".into());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(format!("`alpha = {}` must be a number above 0", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("`dropout = {}` must be at least 0 and below 1", self.dropout));
        }
        Ok(())
    }
}

/// Which layers of a model have adapters, and what is trained as a whole beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPlan {
    /// What the adapters have in common.
    pub config: LoraConfig,
    /// Paths of the linear layers with an adapter.
    pub layers: BTreeSet<String>,
    /// Paths of modules that are trained, and stored with the adapters, as they are.
    pub saved: Vec<String>,
}

impl LoraPlan {
    /// The layers of a model that `targets` name, each of them a part (all its linear layers, but for the language model's head), the
    /// end of a layer's path as in peft (`q_proj`, `self_attn.q_proj`), or a path with `*` for any characters
    /// (`language_model.*.q_proj`). `modules` are ends of modules' paths.
    ///
    /// # Errors
    /// A name that means nothing in the model, with those that it knows; a head; a module that is both.
    pub fn resolve(
        config: LoraConfig,
        targets: &[String],
        modules: &[String],
        parameters: &[Parameter],
    ) -> Result<Self, String> {
        config.check()?;
        let linears = linears(parameters);
        let mut layers = BTreeSet::new();
        for target in targets {
            let found: Vec<&str> = linears.iter().copied().filter(|layer| is_target(target, layer)).collect();
            if found.is_empty() {
                let known: BTreeSet<&str> =
                    linears.iter().filter(|layer| !is_head(layer)).map(|layer| last(layer)).collect();
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                let parts = match parts_of(parameters) {
                    parts if parts.is_empty() => String::new(),
                    parts => format!("the parts {} and ", parts.join(", ")),
                };
                return Err(format!(
                    "`targets`: no linear layer is called `{target}`; there are {parts}the layers {known}"
                ));
            }
            if let Some(head) = found.iter().find(|layer| is_head(layer)) {
                return Err(format!(
                    "`targets`: `{target}` is {head}, the language model's head, which takes no adapter"
                ));
            }
            layers.extend(found.into_iter().map(str::to_owned));
        }
        if layers.is_empty() {
            return Err("`targets` is empty: name parts or layers, such as [\"language_model\"]".into());
        }
        let saved = saved_modules(modules, parameters, ends_with_name)?;
        if let Some((layer, module)) =
            layers.iter().find_map(|layer| Some((layer, saved.iter().find(|module| is_below(layer, module))?)))
        {
            return Err(format!(
                "`modules_to_save`: {module} is trained as a whole, and `targets` has an adapter for {layer} in it; keep one"
            ));
        }
        Ok(Self { config, layers, saved })
    }

    /// What is to be said of the rank, if anything: above a layer's width an adapter is larger than the weight that it changes, and says
    /// no more than that. `parameters` are those of the model, by path and shape.
    pub fn remark<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Option<String> {
        let width = |(path, shape): (&str, &[usize])| {
            let layer = path.strip_suffix(".weight").filter(|layer| self.layers.contains(*layer));
            layer.and_then(|_| shape.iter().min().copied())
        };
        let widths: Vec<usize> = parameters.into_iter().filter_map(width).collect();
        let r = self.config.r;
        let narrower = widths.iter().filter(|width| **width < r).count();
        let most = widths.iter().max().filter(|_| narrower > 0)?;
        Some(format!(
            "`r = {r}` of `lora` is above the width of {narrower} of {} layers with adapters (the widest has {most}): there an adapter \
             is larger than the weight that it changes, and can say no more",
            widths.len()
        ))
    }

    /// Whether a parameter is trained: one of an adapter, or of a module that is trained as a whole.
    pub fn trains(&self, path: &str) -> bool {
        is_adapter(path) || self.saved.iter().any(|module| is_below(path, module))
    }

    /// The adapter of the layer in `scope`, if it has one.
    pub(crate) fn adapter(&self, scope: &Scope, d_input: usize, d_output: usize) -> Option<Lora> {
        if !self.layers.contains(scope.path()) {
            return None;
        }
        let scope = scope.at("lora");
        let matrix = |name: &str, shape, fill| LoraMatrix { weight: scope.at(name).param("weight", shape, fill) };
        Some(Lora {
            // As peft begins: what it calls Kaiming with a = sqrt(5) is the bound of `torch.nn.Linear`.
            lora_A: matrix("lora_A", [d_input, self.config.r], Fill::torch_linear(d_input)),
            lora_B: matrix("lora_B", [self.config.r, d_output], Fill::ZEROS),
            lora_magnitude_vector: self
                .config
                .dora
                .then(|| scope.param("lora_magnitude_vector", [d_output], Fill::ONES)),
            scaling: self.config.scaling(),
            dropout: self.config.dropout,
        })
    }
}

/// Whether a parameter is an adapter's.
pub fn is_adapter(path: &str) -> bool {
    path.contains(ADAPTER)
}

/// The paths of the linear layers among a model's parameters.
pub(crate) fn linears(parameters: &[Parameter]) -> Vec<&str> {
    let of = |parameter: &'_ Parameter| parameter.transposed && !is_adapter(&parameter.name);
    parameters.iter().filter(|p| of(p)).filter_map(|p| p.name.strip_suffix(".weight")).collect()
}

/// The parts that a model has: none, if it is a language model alone.
fn parts_of(parameters: &[Parameter]) -> Vec<&'static str> {
    let has = |part: &&str| parameters.iter().any(|parameter| is_below(&parameter.name, part));
    PARTS.into_iter().filter(has).collect()
}

/// The last word of a path.
pub(crate) fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

pub(crate) fn is_head(layer: &str) -> bool {
    last(layer) == HEAD
}

/// Whether `path` is `module` or in it.
fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether `path` is `name`, or ends with it.
pub(crate) fn ends_with_name(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_target(target: &str, layer: &str) -> bool {
    match PARTS.contains(&target) {
        true => is_below(layer, target) && !is_head(layer),
        false if target.contains('*') => wildcard(target, layer),
        false => ends_with_name(layer, target),
    }
}

/// The modules that `names` mean, each of which may mean several.
pub(crate) fn saved_modules(
    names: &[String],
    parameters: &[Parameter],
    means: impl Fn(&str, &str) -> bool,
) -> Result<Vec<String>, String> {
    let mut modules = BTreeSet::new();
    for parameter in parameters.iter().filter(|parameter| !is_adapter(&parameter.name)) {
        let dots = parameter.name.match_indices('.').map(|(at, _)| at);
        modules.extend(dots.map(|at| &parameter.name[..at]));
    }
    let tied = !parameters.iter().any(|parameter| parameter.name.contains(HEAD));
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        found.extend(modules.iter().filter(|module| means(module, name)).map(|module| (*module).to_owned()));
        if found.len() == before && tied && last(name) == HEAD {
            return Err(format!(
                "`modules_to_save`: `{name}` is the table of embeddings itself in this model (tie_word_embeddings), which an adapter \
                 cannot hold"
            ));
        }
        if found.len() == before {
            let alone = parts_of(parameters).is_empty();
            let tops = modules.iter().copied().filter(|module| !module.contains('.')).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "`modules_to_save`: no module is called `{name}`; {}there are, among others, {tops} and embed_tokens",
                if alone { "this is a language model alone: " } else { "" }
            ));
        }
    }
    if found.iter().any(|module| module == PARTS[0]) {
        return Err(format!("`modules_to_save`: {} as a whole is no adapter; train it without", PARTS[0]));
    }
    if let Some(table) = found.iter().find(|module| tied && last(module) == "embed_tokens") {
        return Err(format!(
            "`modules_to_save`: {table} is the language model's head too (tie_word_embeddings), which an adapter cannot hold"
        ));
    }
    Ok(found)
}

/// A model that takes adapters.
pub trait Adapt: Pretrained {
    /// A model of the same structure in another scope, none of whose parameters is drawn. How it is computed (precision, gradient
    /// checkpointing) is to be set anew.
    ///
    /// # Errors
    /// As building it did.
    fn rebuild(&self, scope: &Scope) -> Result<Self, ModelError>;
}

impl<T: VisionTower, P: Projector> Adapt for Vlm<T, P> {
    fn rebuild(&self, scope: &Scope) -> Result<Self, ModelError> {
        let model: Self = self.pretrained_config().init_parts(scope)?;
        Ok(Self { config: self.config.clone(), images_per_chunk: self.images_per_chunk, ..model })
    }
}

impl Adapt for LanguageModel {
    fn rebuild(&self, scope: &Scope) -> Result<Self, ModelError> {
        self.config().init_with(scope)
    }
}

/// The model with new adapters, which change nothing yet: `lora_B` is zero, DoRA's magnitudes are the weights' own. `lora_A` is drawn
/// from `seed`. What is not trained is held in `base`. How the model is computed is to be set anew.
///
/// # Errors
/// A layer of the plan that the model does not build from its scope; a plan on top of adapters.
pub fn attach<M: Adapt>(
    model: M,
    plan: &LoraPlan,
    (seed, base): (u64, StoreDtype),
    device: &Device,
) -> Result<M, ModelError> {
    attach_with(model, plan, (seed, base), device, HashMap::new())
}

/// As [`attach`], with the values of some parameters.
pub(crate) fn attach_with<M: Adapt>(
    model: M,
    plan: &LoraPlan,
    (seed, base): (u64, StoreDtype),
    device: &Device,
    mut values: HashMap<String, Box<dyn Any>>,
) -> Result<M, ModelError> {
    let skeleton = model.rebuild(&Scope::new(seed, device).with_adapters(plan))?;
    let kept = take(model);
    if let Some(name) = kept.keys().find(|name| is_adapter(name)) {
        return Err(ModelError::Input(format!("the model has adapters already ({name}): merge them first")));
    }
    if plan.config.dora {
        for layer in &plan.layers {
            let name = format!("{layer}{ADAPTER}lora_magnitude_vector");
            if let Some(weight) = param::<2>(&kept, &format!("{layer}.weight")).filter(|_| !values.contains_key(&name))
            {
                // Of the weights as they will be held.
                let weight = float(weight.val()).detach();
                values.insert(name, Box::new(column_norms(leaf(weight, base.in_memory()))));
            }
        }
    }
    let layers: BTreeSet<String> = parameters(&skeleton)
        .into_iter()
        .filter_map(|parameter| parameter.name.split_once(ADAPTER).map(|(layer, _)| layer.to_owned()))
        .collect();
    if let Some(layer) = plan.layers.iter().find(|layer| !layers.contains(*layer)) {
        return Err(ModelError::Input(format!("{layer} takes no adapter: it is not made by `Scope::linear`")));
    }
    let dtype = |name: &str| if plan.trains(name) { DType::F32 } else { base.in_memory() };
    place(skeleton, kept, values, &dtype)
}

/// The model with its adapters in its weights and without them, in f32. How it is computed is to be set anew.
///
/// # Errors
/// As building the model did.
pub fn merge<M: Adapt>(model: M, config: &LoraConfig, device: &Device) -> Result<M, ModelError> {
    let skeleton = model.rebuild(&Scope::new(0, device))?;
    let mut kept = take(model);
    let layers: BTreeSet<String> =
        kept.keys().filter_map(|name| name.split_once(ADAPTER).map(|(layer, _)| layer.to_owned())).collect();
    let mut values: HashMap<String, Box<dyn Any>> = HashMap::new();
    for layer in layers {
        let name = format!("{layer}.weight");
        let part = |part: &str| param::<2>(&kept, &format!("{layer}{ADAPTER}{part}")).map(|param| param.val().detach());
        let magnitude = param::<1>(&kept, &format!("{layer}{ADAPTER}lora_magnitude_vector"));
        let (weight, a, b) = (param::<2>(&kept, &name), part("lora_A.weight"), part("lora_B.weight"));
        if let (Some(weight), Some(a), Some(b)) = (weight, a, b) {
            let magnitude = magnitude.map(|magnitude| magnitude.val().detach());
            let weight = merged(float(weight.val()).detach(), a, b, magnitude, config.scaling());
            values.insert(name, Box::new(weight));
        }
    }
    kept.retain(|name, _| !is_adapter(name));
    place(skeleton, kept, values, &|_| DType::F32)
}

/// Parameters by name.
type Params = HashMap<String, Box<dyn Any>>;

/// A parameter of the wanted rank.
fn param<'a, const D: usize>(params: &'a Params, name: &str) -> Option<&'a Param<Tensor<D>>> {
    params.get(name)?.downcast_ref()
}

/// The parameters of a model, which is gone then.
fn take<M: Module>(model: M) -> Params {
    struct Take {
        path: crate::checkpoint::ParameterPath,
        found: Params,
    }
    impl ModuleVisitor for Take {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.insert(self.path.name(), Box::new(param.clone()));
        }
    }
    let mut take = Take { path: Default::default(), found: Params::new() };
    model.visit(&mut take);
    take.found
}

/// The model with these parameters; adapters that are not among them stay as they were made. `values` go before what parameters hold.
fn place<M: Module>(
    model: M,
    kept: Params,
    values: HashMap<String, Box<dyn Any>>,
    dtype: &dyn Fn(&str) -> DType,
) -> Result<M, ModelError> {
    struct Place<'a> {
        path: crate::checkpoint::ParameterPath,
        kept: Params,
        values: HashMap<String, Box<dyn Any>>,
        dtype: &'a dyn Fn(&str) -> DType,
        missing: BTreeMap<String, Vec<usize>>,
    }
    impl ModuleMapper for Place<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.path.name();
            let shape = param.lazy_shape().to_vec();
            let kept = self.kept.remove(&name).and_then(|kept| kept.downcast::<Param<Tensor<D>>>().ok());
            let value = self.values.remove(&name).and_then(|value| value.downcast::<Tensor<D>>().ok());
            let param = match kept {
                Some(kept) if kept.lazy_shape().to_vec() == shape => *kept,
                None if is_adapter(&name) => param,
                _ => {
                    self.missing.insert(name, shape);
                    return param;
                }
            };
            let dtype = (self.dtype)(&name);
            let id = param.id;
            match value {
                Some(value) => param.transform_for_load(leaf(*value, dtype), id),
                None if param.is_initialized() && is_packed(param.val().dtype()) => param,
                // A parameter that nobody has drawn yet is f32.
                None if param.is_initialized() && param.val().dtype() != dtype
                    || !param.is_initialized() && dtype != DType::F32 =>
                {
                    let value = leaf(param.val().detach(), dtype);
                    param.transform_for_load(value, id)
                }
                None => param,
            }
        }
    }
    let mut place = Place { path: Default::default(), kept, values, dtype, missing: BTreeMap::new() };
    let model = model.map(&mut place);
    match place.missing.pop_first() {
        None => Ok(model),
        Some((name, shape)) => Err(ModelError::Input(format!(
            "the model's config describes another model than its parameters: {name} {shape:?} is not among them"
        ))),
    }
}

/// A tensor with no history.
fn leaf<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    let tensor = if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) };
    if tensor.device().is_autodiff() { Tensor::from_inner(tensor.inner()) } else { tensor }
}
