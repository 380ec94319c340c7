//! Writing a module's parameters as safetensors, in one file or in shards.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path as FilePath;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use burn_vlm_base::files::{write_atomic_at, write_json_atomic};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::View;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::chunks::transpose;
use super::keys::Path;
use super::{CheckpointError, Layout};
use crate::nn::fused::packed::float;

/// Values that a thread converts at once.
const ENCODE_CHUNK: usize = 1 << 16;

/// Element type of values in a file, and of parameters in memory ([`LoadOptions`](super::LoadOptions)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StoreDtype {
    /// 32 bits, exact.
    #[default]
    #[serde(rename = "float32", alias = "f32")]
    F32,
    /// IEEE half: 11 bits of precision, up to 65504.
    #[serde(rename = "float16", alias = "f16")]
    F16,
    /// Half of an f32: 8 bits of precision, full range.
    #[serde(rename = "bfloat16", alias = "bf16")]
    BF16,
}

impl StoreDtype {
    /// As `config.json` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::BF16 => Dtype::BF16,
        }
    }

    /// As Burn names it.
    pub(crate) fn in_memory(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        fn each<const N: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; N] + Sync) -> Vec<u8> {
            let mut out = vec![0; values.len() * N];
            out.par_chunks_mut(ENCODE_CHUNK * N).zip(values.par_chunks(ENCODE_CHUNK)).for_each(|(out, values)| {
                out.as_chunks_mut::<N>().0.iter_mut().zip(values).for_each(|(out, value)| *out = bytes(*value));
            });
            out
        }
        match self {
            Self::F32 => each(values, f32::to_le_bytes),
            Self::F16 => each(values, |value| f16::from_f32(value).to_le_bytes()),
            Self::BF16 => each(values, |value| bf16::from_f32(value).to_le_bytes()),
        }
    }
}

/// Writes all float parameters of `module` to one safetensors file, under the layout's keys. The file appears whole or not at
/// all.
///
/// # Errors
/// [`CheckpointError::Io`] (a full disk, for example), [`CheckpointError::Device`].
pub fn save_parameters<M: Module>(
    module: &M,
    path: &FilePath,
    layout: &Layout,
    dtype: StoreDtype,
) -> Result<(), CheckpointError> {
    let failure = RefCell::new(None);
    let tensors = collect(module, layout, dtype, &failure);
    write_atomic_at(path, |temporary| write_file(tensors, temporary, path, &failure))
}

/// Writes the float parameters for which `key` has a key to one safetensors file, in f32. The file appears whole or not at all.
pub(super) fn write_weights<M: Module>(
    module: &M,
    path: &FilePath,
    key: &dyn Fn(&str) -> Option<String>,
) -> Result<(), CheckpointError> {
    let failure = RefCell::new(None);
    let mut collector =
        Collector { path: Path::default(), dtype: StoreDtype::F32, failure: &failure, found: Vec::new() };
    module.visit(&mut collector);
    let tensors: Vec<(String, Lazy<'_>)> =
        collector.found.into_iter().filter_map(|(name, tensor)| Some((key(&name)?, tensor))).collect();
    write_atomic_at(path, |temporary| write_file(tensors, temporary, path, &failure))
}

/// Writes all float parameters into `folder`, in the order of the module's fields: `model.safetensors`, or, where that would
/// be larger than `max_shard_size` bytes, `model-0000i-of-0000n.safetensors` and `model.safetensors.index.json`. A tensor
/// larger than that has a shard of its own.
pub(super) fn save_shards<M: Module>(
    module: &M,
    folder: &FilePath,
    layout: &Layout,
    dtype: StoreDtype,
    max_shard_size: u64,
) -> Result<(), CheckpointError> {
    let failure = RefCell::new(None);
    let mut shards: Vec<Vec<(String, Lazy<'_>)>> = vec![Vec::new()];
    let (mut size, mut total) = (0, 0);
    for (key, tensor) in collect(module, layout, dtype, &failure) {
        let bytes = tensor.data_len() as u64;
        total += bytes;
        match shards.last_mut() {
            Some(shard) if shard.is_empty() || size + bytes <= max_shard_size => {
                shard.push((key, tensor));
                size += bytes;
            }
            _ => {
                shards.push(vec![(key, tensor)]);
                size = bytes;
            }
        }
    }
    let count = shards.len();
    let mut weight_map = BTreeMap::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let name = match count {
            1 => "model.safetensors".to_string(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        weight_map.extend(shard.iter().map(|(key, _)| (key.clone(), name.clone())));
        let path = folder.join(&name);
        write_file(shard, &path, &path, &failure)?;
    }
    if count > 1 {
        let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
        write_json_atomic(&folder.join("model.safetensors.index.json"), &index)?;
    }
    Ok(())
}

/// The parameters under the layout's keys.
fn collect<'a, M: Module>(
    module: &M,
    layout: &Layout,
    dtype: StoreDtype,
    failure: &'a RefCell<Option<CheckpointError>>,
) -> Vec<(String, Lazy<'a>)> {
    let mut collector = Collector { path: Path::default(), dtype, failure, found: Vec::new() };
    module.visit(&mut collector);
    let keyed = collector.found.into_iter().map(|(name, mut tensor)| {
        if layout.is_scalar(&name) {
            tensor.shape.clear();
        }
        (layout.file_key(&name), tensor)
    });
    keyed.collect()
}

/// Writes one file; errors name `path`.
fn write_file(
    tensors: Vec<(String, Lazy<'_>)>,
    file: &FilePath,
    path: &FilePath,
    failure: &RefCell<Option<CheckpointError>>,
) -> Result<(), CheckpointError> {
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(tensors, Some(metadata), file).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => CheckpointError::io(path, "writing")(source),
        other => CheckpointError::format(path, other.to_string()),
    })?;
    match failure.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A parameter whose values leave the device when the writer asks for them.
struct Lazy<'a> {
    name: String,
    shape: Vec<usize>,
    dtype: StoreDtype,
    read: Box<dyn Fn() -> Result<Vec<f32>, String> + 'a>,
    failure: &'a RefCell<Option<CheckpointError>>,
}

impl View for Lazy<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype.dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = (self.read)().unwrap_or_else(|reason| {
            // The trait cannot fail: the writer goes on with zeros, and the caller then discards the file.
            *self.failure.borrow_mut() = Some(CheckpointError::Device { key: self.name.clone(), reason });
            vec![0.0; self.shape.iter().product()]
        });
        self.dtype.encode(&values).into()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.dtype().bitsize() / 8
    }
}

struct Collector<'a> {
    path: Path,
    dtype: StoreDtype,
    failure: &'a RefCell<Option<CheckpointError>>,
    found: Vec<(String, Lazy<'a>)>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (name, transposed) = (self.path.name(), self.path.is_transposed::<D>());
        let stored = param.lazy_shape().to_vec();
        let mut shape = stored.clone();
        if transposed {
            shape.reverse();
        }
        let param = param.clone();
        let read = move || {
            let data = float(param.val()).try_into_data_dtype(DType::F32).map_err(|error| format!("{error:?}"))?;
            let values = data.try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
            Ok(if transposed { transpose(&values, stored[0], stored[1]) } else { values })
        };
        let tensor = Lazy { name: name.clone(), shape, dtype: self.dtype, read: Box::new(read), failure: self.failure };
        self.found.push((name, tensor));
    }
}
