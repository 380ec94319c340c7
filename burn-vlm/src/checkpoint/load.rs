//! Filling a module from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};

use super::chunks::{Element, count_not_finite};
#[cfg(feature = "flex")]
use super::gguf;
use super::keys::Path;
use super::{CheckpointError, Layout, StoreDtype, StoredTensor, TensorSource, parameters};
#[cfg(feature = "flex")]
use crate::nn::fused::packed::{self, BLOCK, Form, Nibbles, PANEL, Size, Unfit};
#[cfg(feature = "flex")]
use crate::nn::precision::takes_packed;

/// What weights that are no numbers mean.
const DAMAGED: &str = "the file is damaged, or the training that wrote it had failed; take another checkpoint";
/// Values that are read before they are packed.
#[cfg(feature = "flex")]
const PACKED_AT_ONCE: usize = 1 << 22;

/// Numbers of few bits that weights are held in: those of a decoder's layers, of its table of embeddings and its head, and of the layers of a
/// vision tower of this library. On the CPU's `flex` backend alone, and not to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// 8-bit numbers, 32 of an output's with one scale (`Q8_0` of GGUF): 1.06 bytes a weight.
    Q8,
    /// 4-bit numbers in a decoder's layers, 32 of an output's with a scale and a least value (`Q4_1` of GGUF): 0.63 bytes a weight; 8-bit
    /// numbers elsewhere. What a GGUF file has quantised keeps its numbers: its `Q4_0`, `Q4_1` and `Q4_K` are held as they are (0.56 and 0.63
    /// bytes a weight; of `Q4_K` the scales are rounded to a binary16), its finer types as 8-bit numbers.
    Q4,
}

/// What the caller wants of a load. The default is strict and f32.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Element type of the parameters in memory, whatever the file stores. Pixels, features and embeddings given to the model
    /// are cast to it.
    pub dtype: StoreDtype,
    /// Whether large weights are held in fewer bits. The other parameters have the element type `dtype`.
    pub packed: Option<Packed>,
    /// Parameters that may be missing in the file and then keep their initial values: names as the error lists them, `*` for
    /// any characters.
    pub allow_missing: Vec<String>,
    /// Keys of the file that may have no parameter, written likewise.
    pub allow_unexpected: Vec<String>,
    /// Whether values may be NaN or infinite. A model with one computes nothing else, so they are an error unless allowed.
    pub allow_not_finite: bool,
}

impl From<StoreDtype> for LoadOptions {
    /// Strict, in this element type.
    fn from(dtype: StoreDtype) -> Self {
        Self { dtype, ..Self::default() }
    }
}

/// Fills every parameter of `module` from `source`, as f32. Parameter ids, devices and gradient settings stay as they are.
///
/// # Errors
/// As [`load_parameters_with`].
pub fn load_parameters<M: Module>(module: M, source: &TensorSource, layout: &Layout) -> Result<M, CheckpointError> {
    load_parameters_with(module, source, layout, &LoadOptions::default())
}

/// Fills the parameters of `module` from `source`. Parameter ids, devices and gradient settings stay as they are.
///
/// # Errors
/// [`CheckpointError::Keys`] with every missing, unexpected and misshapen key; [`CheckpointError::Dtype`] and
/// [`CheckpointError::Packed`] where the device does not compute in the element type; what reading a tensor can fail with.
pub fn load_parameters_with<M: Module>(
    module: M,
    source: &TensorSource,
    layout: &Layout,
    options: &LoadOptions,
) -> Result<M, CheckpointError> {
    source.check_seal()?;
    let found = match_keys(&module, source, layout, options)?;
    let (dtype, packed, allow_not_finite) = (options.dtype, options.packed, options.allow_not_finite);
    let (path, containers) = (Path::default(), Vec::new());
    let mut loader = Loader { path, containers, source, found, dtype, packed, allow_not_finite, error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// The key in the file of each parameter, if all fit.
fn match_keys<M: Module>(
    module: &M,
    source: &TensorSource,
    layout: &Layout,
    options: &LoadOptions,
) -> Result<BTreeMap<String, String>, CheckpointError> {
    let wanted = parameters(module);
    let names: BTreeSet<&str> = wanted.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut found = BTreeMap::new();
    let mut problems = Vec::new();
    for key in source.tensors().keys() {
        match layout.module_name(key) {
            Some(name) if names.contains(name.as_str()) => {
                if let Some(other) = found.insert(name, key.clone()) {
                    problems.push(format!("duplicate: {key} and {other} are the same parameter"));
                }
            }
            // A tied head is the embedding table, whatever the file holds beside it.
            Some(name) if is_tied_head(&name, &names) => {}
            Some(_) if allowed(&options.allow_unexpected, key) => {}
            Some(name) => {
                let shape = source.tensors().get(key).map(|tensor| tensor.shape.clone()).unwrap_or_default();
                let place = if *key == name { String::new() } else { format!(" (as {name})") };
                problems.push(format!("unexpected: {key} {shape:?}{place}"));
            }
            None => {}
        }
    }
    for parameter in &wanted {
        let stored = found.get(&parameter.name).and_then(|key| Some((key, source.tensors().get(key)?)));
        match stored {
            None if allowed(&options.allow_missing, &layout.file_key(&parameter.name)) => {}
            None => problems.push(format!("missing: {} {:?}", layout.file_key(&parameter.name), parameter.shape)),
            Some((key, tensor)) if !fits(&tensor.shape, &parameter.shape) => problems.push(format!(
                "shape: {key} is {:?} in {}, the model needs {:?}",
                tensor.shape,
                source.file_of(tensor).display(),
                parameter.shape
            )),
            Some(_) => {}
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(CheckpointError::Keys { path: source.path().to_path_buf(), problems })
    }
}

/// Equal shapes; Burn has no rank 0, so a scalar fits `[1]`.
fn fits(stored: &[usize], wanted: &[usize]) -> bool {
    stored == wanted || (stored.is_empty() && wanted == [1])
}

/// Whether `name` is the head of a decoder that has none of its own.
fn is_tied_head(name: &str, names: &BTreeSet<&str>) -> bool {
    name.strip_suffix("lm_head.weight")
        .is_some_and(|prefix| names.contains(format!("{prefix}model.embed_tokens.weight").as_str()))
}

fn allowed(patterns: &[String], key: &str) -> bool {
    patterns.iter().any(|pattern| wildcard(pattern, key))
}

/// Whether `key` is `pattern`, in which `*` stands for any characters.
pub(crate) fn wildcard(pattern: &str, key: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == key };
    let Some(key) = key.strip_prefix(start) else { return false };
    (0..=key.len()).any(|at| key.is_char_boundary(at) && wildcard(rest, &key[at..]))
}

struct Loader<'a> {
    path: Path,
    /// The kinds of the modules that the traversal is in.
    containers: Vec<String>,
    source: &'a TensorSource,
    found: BTreeMap<String, String>,
    dtype: StoreDtype,
    packed: Option<Packed>,
    allow_not_finite: bool,
    error: Option<CheckpointError>,
}

impl Loader<'_> {
    /// The values of parameter `name`, of shape `shape` in memory; `None` where it keeps its own.
    fn read(&self, name: &str, transposed: bool, shape: Vec<usize>) -> Result<Option<TensorData>, CheckpointError> {
        let stored: Option<(&String, &StoredTensor)> =
            self.found.get(name).and_then(|key| Some((key, self.source.tensors().get(key)?)));
        let Some((key, tensor)) = stored else { return Ok(None) };
        Ok(Some(match self.dtype {
            StoreDtype::F32 => TensorData::new(self.values::<f32>(key, tensor, transposed)?, shape),
            StoreDtype::F16 => TensorData::new(self.values::<f16>(key, tensor, transposed)?, shape),
            StoreDtype::BF16 => TensorData::new(self.values::<bf16>(key, tensor, transposed)?, shape),
        }))
    }

    /// The values of a tensor, checked.
    fn values<E: Element>(
        &self,
        key: &str,
        tensor: &StoredTensor,
        transposed: bool,
    ) -> Result<Vec<E>, CheckpointError> {
        let values = self.source.read::<E>(key, tensor, transposed)?;
        match count_not_finite(&values) {
            0 => Ok(values),
            _ if self.allow_not_finite => Ok(values),
            count => {
                let help = match self.dtype {
                    StoreDtype::F16 => {
                        let of_packed = match self.packed {
                            Some(_) => " and is the type of what q8 and q4 do not pack",
                            None => "",
                        };
                        format!(
                            " in float16, which has no values above 65504{of_packed}: float32 and bfloat16 hold what is finite"
                        )
                    }
                    _ => format!(": {DAMAGED}"),
                };
                let reason = format!("`{key}`: {count} of {} values are NaN or infinite{help}", values.len());
                Err(CheckpointError::format(self.source.file_of(tensor), reason))
            }
        }
    }

    /// The element type in memory, if the device computes in it.
    fn dtype(&self, device: &Device) -> Result<DType, CheckpointError> {
        let dtype = self.dtype.in_memory();
        if device.supports_dtype(dtype) {
            return Ok(dtype);
        }
        let (path, device) = (self.source.path().to_path_buf(), format!("{device:?}"));
        Err(CheckpointError::Dtype { path, dtype: self.dtype, device })
    }

    fn load<const D: usize>(&self, param: &Param<Tensor<D>>) -> Result<Option<Tensor<D>>, CheckpointError> {
        let device = param.lazy_device();
        let dtype = self.dtype(&device)?;
        if let Some(packed) = self.packed
            && D == 2
            && let Some(place) = self.place()
        {
            let dims = param.lazy_shape().to_vec();
            return Ok(self.pack(&self.path.name(), packed, place, [dims[0], dims[1]], &device)?.map(same_rank));
        }
        let data = self.read(&self.path.name(), self.path.is_transposed::<D>(), param.lazy_shape().to_vec())?;
        Ok(match data {
            Some(data) => Some(Tensor::from_data(data, (&device, dtype))),
            // Missing by permission: one element type for the whole model all the same.
            None if dtype != DType::F32 => Some(param.val().detach().cast(dtype)),
            None => None,
        })
    }
}

/// The modules of a decoder's layers whose linear layers are packed.
#[cfg(feature = "flex")]
const DECODER_PARTS: [&str; 2] = ["Struct:DecoderAttention", "Struct:GatedMlp"];
/// Of a tower's.
#[cfg(feature = "flex")]
const ENCODER_PARTS: [&str; 2] = ["Struct:EncoderAttention", "Struct:EncoderMlp"];
/// The towers of this library; another's layers may do with their weights what packed ones cannot.
#[cfg(feature = "flex")]
const OWN_TOWER: &str = "Enum:VisionEncoder";

/// What is known to have this rank.
fn same_rank<const D: usize>(tensor: Tensor<2>) -> Tensor<D> {
    Tensor::from_dispatch(tensor.into_dispatch())
}

/// A matrix that is packed.
#[cfg_attr(not(feature = "flex"), allow(dead_code))]
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Of a decoder's layer.
    Layer,
    /// Another linear layer: a head, or of a tower.
    Linear,
    /// Of embeddings.
    Table,
}

#[cfg(not(feature = "flex"))]
impl Loader<'_> {
    fn place(&self) -> Option<Place> {
        Some(Place::Linear)
    }

    fn pack(
        &self,
        _: &str,
        _: Packed,
        _: Place,
        _: [usize; 2],
        device: &Device,
    ) -> Result<Option<Tensor<2>>, CheckpointError> {
        Err(self.no_packed(device))
    }
}

#[cfg(feature = "flex")]
impl Loader<'_> {
    /// What the matrix that the traversal is at is, if it is packed.
    fn place(&self) -> Option<Place> {
        let within = |kinds: &[&str]| self.containers.iter().any(|container| kinds.contains(&container.as_str()));
        let (name, innermost) = (self.path.name(), self.containers.last().map(String::as_str));
        match innermost {
            Some("Struct:Embedding") => {
                (within(&["Struct:Decoder"]) && name.ends_with("embed_tokens.weight")).then_some(Place::Table)
            }
            Some("Struct:Linear") if within(&DECODER_PARTS) => Some(Place::Layer),
            Some("Struct:Linear") => {
                let of_tower = within(&[OWN_TOWER]) && within(&ENCODER_PARTS);
                (of_tower || name == "lm_head.weight" || name.ends_with(".lm_head.weight")).then_some(Place::Linear)
            }
            _ => None,
        }
    }

    /// Parameter `name`, `dims` in memory, as numbers of few bits; none where it keeps its own values.
    fn pack(
        &self,
        name: &str,
        packed: Packed,
        place: Place,
        dims: [usize; 2],
        device: &Device,
    ) -> Result<Option<Tensor<2>>, CheckpointError> {
        if !takes_packed(device) {
            return Err(self.no_packed(device));
        }
        let stored: Option<(&String, &StoredTensor)> =
            self.found.get(name).and_then(|key| Some((key, self.source.tensors().get(key)?)));
        let Some((key, tensor)) = stored else { return Ok(None) };
        let table = place == Place::Table;
        let [output, input] = if table { dims } else { [dims[1], dims[0]] };
        let of_file = tensor.gguf.and_then(gguf::kept);
        let form = match (packed, of_file) {
            (Packed::Q8, _) => Form::Eight,
            (Packed::Q4, Some(form)) => form,
            (Packed::Q4, None) if place == Place::Layer => Form::FourLeast,
            (Packed::Q4, None) => Form::Eight,
        };
        let unfit = |Unfit(value): Unfit| {
            let (bits, most) = if form == Form::Eight { (8, "8.3e6") } else { (4, "65504") };
            let reason = match value.is_finite() {
                true => format!(
                    "`{key}` holds {value} as a weight or a scale, and {bits}-bit numbers hold what is below {most}: load as float32 to \
                     see what the model computes"
                ),
                false => format!("`{key}` holds {value}: {DAMAGED}"),
            };
            CheckpointError::format(self.source.file_of(tensor), reason)
        };
        let rows = (PACKED_AT_ONCE / input.max(1) / PANEL).max(1) * PANEL;
        let parts = (0..output).step_by(rows).map(|first| (first, rows.min(output - first)));
        packed::pack(Size { input, output }, form, table, |packer| {
            if form != Form::Eight && of_file.is_some() {
                let blocks = input / BLOCK;
                let mut nibbles = vec![Nibbles::default(); rows.min(output) * blocks];
                for (first, count) in parts {
                    let nibbles = &mut nibbles[..count * blocks];
                    self.source.read_nibbles(key, tensor, first, nibbles)?;
                    packer.push_nibbles(nibbles).map_err(unfit)?;
                }
                return Ok(());
            }
            let mut values = vec![0f32; rows.min(output) * input];
            for (first, count) in parts {
                let values = &mut values[..count * input];
                self.source.read_part(key, tensor, first * input, values)?;
                packer.push(values).map_err(unfit)?;
            }
            Ok(())
        })
        .map(Some)
    }
}

impl Loader<'_> {
    fn no_packed(&self, device: &Device) -> CheckpointError {
        CheckpointError::Packed { path: self.source.path().to_path_buf(), device: format!("{device:?}") }
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        match self.load(&param) {
            Ok(Some(tensor)) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Ok(None) => param,
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn stars_stand_for_any_characters() {
        assert!(wildcard("a.b", "a.b") && !wildcard("a.b", "a.b.c"));
        assert!(wildcard("head.*", "head.probe") && !wildcard("head.*", "ahead.probe"));
        assert!(wildcard("*.bias", "x.bias") && wildcard("a*b*c", "aXbYc") && !wildcard("a*b*c", "aXcYb"));
        assert!(wildcard("*", "") && wildcard("*é*", "né"));
    }
}
