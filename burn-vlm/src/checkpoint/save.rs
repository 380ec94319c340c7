//! Writing a module's parameters as safetensors.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path as FilePath;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::View;
use serde::{Deserialize, Serialize};

use super::keys::Path;
use super::load::transpose;
use super::{CheckpointError, Layout, write_atomically};

/// Element type of the values in a file.
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

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Self::BF16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
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
    let mut collector = Collector { path: Path::default(), dtype, failure: &failure, found: Vec::new() };
    module.visit(&mut collector);
    let tensors = collector.found.into_iter().map(|(name, mut tensor)| {
        if layout.is_scalar(&name) {
            tensor.shape.clear();
        }
        (layout.file_key(&name), tensor)
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    write_atomically(path, |temporary| {
        safetensors::serialize_to_file(tensors, Some(metadata), temporary).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => CheckpointError::io(path, "writing")(source),
            other => CheckpointError::format(path, other.to_string()),
        })?;
        match failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    })
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
            let data = param.val().try_into_data_dtype(DType::F32).map_err(|error| format!("{error:?}"))?;
            let values = data.try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
            Ok(if transposed { transpose(&values, stored[0], stored[1]) } else { values })
        };
        let tensor = Lazy { name: name.clone(), shape, dtype: self.dtype, read: Box::new(read), failure: self.failure };
        self.found.push((name, tensor));
    }
}
