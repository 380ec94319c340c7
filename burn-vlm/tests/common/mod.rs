//! Fixtures: reference inputs and outputs of Hugging Face's models, and the checks against them.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod tiny;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{Layout, Parameter, parameters};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Features and logits, relative to the largest value of the tensor: f32 sums in another order.
pub const FORWARD_TOLERANCE: f64 = 1e-4;
/// Losses and gradients, relative to the largest value of the tensor: two passes of f32 sums in another order.
pub const BACKWARD_TOLERANCE: f64 = 1e-3;

/// The folder of this repository's fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// The device under test, with gradients.
pub fn autodiff_device() -> Device {
    Device::flex().autodiff()
}

/// A folder of the fixtures; remembers which of its tensors were looked at.
pub struct Fixture {
    pub name: String,
    pub dir: PathBuf,
    bytes: Vec<u8>,
    seen: RefCell<BTreeSet<String>>,
    failures: RefCell<Vec<String>>,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        Self::open_dir(&fixtures().join(name))
    }

    /// A folder anywhere; one without `expected.safetensors` has no tensors.
    pub fn open_dir(dir: &Path) -> Self {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = dir.join("expected.safetensors");
        let bytes = if path.is_file() {
            std::fs::read(path).unwrap()
        } else {
            safetensors::serialize(std::iter::empty::<(&str, TensorView<'_>)>(), None).unwrap()
        };
        Self { name, dir: dir.to_path_buf(), bytes, seen: RefCell::default(), failures: RefCell::default() }
    }

    /// The same folder with the tensors of another file, `expected_v4.safetensors` for example.
    pub fn with_file(&self, file: &str) -> Self {
        let bytes = std::fs::read(self.dir.join(file)).unwrap();
        let name = self.name.clone();
        Self { name, dir: self.dir.clone(), bytes, seen: RefCell::default(), failures: RefCell::default() }
    }

    /// The tensors whose names begin with `prefix`, by the rest of their names; here they count as looked at.
    pub fn part(&self, prefix: &str) -> Self {
        let tensors = self.tensors();
        let mut own = Vec::new();
        for (name, view) in tensors.tensors() {
            if let Some(rest) = name.strip_prefix(prefix) {
                self.seen.borrow_mut().insert(name.clone());
                own.push((rest.to_string(), view));
            }
        }
        let bytes = safetensors::serialize(own, None).unwrap();
        let name = format!("{} {}", self.name, prefix.trim_end_matches('.'));
        Self { name, dir: self.dir.clone(), bytes, seen: RefCell::default(), failures: RefCell::default() }
    }

    /// A JSON file of the folder; one that it has not is said.
    pub fn json_if(&self, file: &str) -> Option<serde_json::Value> {
        let there = self.dir.join(file).is_file();
        if !there {
            self.skipped(file);
        }
        there.then(|| self.json(file))
    }

    /// A JSON file of the folder.
    pub fn json(&self, file: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.dir.join(file)).unwrap()).unwrap()
    }

    /// Prints a line for something that must be equal, and remembers a failure.
    pub fn check_exact<T: PartialEq + std::fmt::Debug>(&self, name: &str, found: &T, expected: &T) {
        println!("{:24} {name:64} exact: {}", self.name, found == expected);
        if found != expected {
            self.fail(format!("{name}: {found:?}, expected {expected:?}"));
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    pub fn names(&self) -> Vec<String> {
        self.tensors().names().into_iter().map(String::from).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    /// Whether the folder has a tensor; one that it has not is said, since what needs it is skipped.
    pub fn asks(&self, name: &str) -> bool {
        let has = self.has(name);
        if !has {
            self.skipped(name);
        }
        has
    }

    /// Says that the folder does not have something.
    pub fn skipped(&self, what: &str) {
        println!("{:24} {what:64} not in the folder, skipped", self.name);
    }

    /// Values and shape of a float tensor, of whatever precision.
    pub fn floats(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let floats = [DType::F16, DType::BF16, DType::F32, DType::F64];
        let (data, shape) = self.data(name, &floats);
        (data.iter::<f32>().collect(), shape)
    }

    /// Values and shape of an integer tensor, of whatever width; true is 1.
    pub fn ints(&self, name: &str) -> (Vec<i64>, Vec<usize>) {
        let (data, shape) = self.data(name, &[DType::U8, DType::I8, DType::I16, DType::I32, DType::I64]);
        (data.iter::<i64>().collect(), shape)
    }

    /// A tensor that was looked at from now on.
    fn data(&self, name: &str, kinds: &[DType]) -> (TensorData, Vec<usize>) {
        self.seen.borrow_mut().insert(name.into());
        let tensors = self.tensors();
        let view = tensors.tensor(name).unwrap_or_else(|_| panic!("{}: no {name}", self.name));
        let kind = match view.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::BOOL | Dtype::U8 => DType::U8,
            Dtype::I8 => DType::I8,
            Dtype::I16 => DType::I16,
            Dtype::I32 => DType::I32,
            Dtype::I64 => DType::I64,
            other => panic!("{}: {name} is {other:?}, which no check reads", self.name),
        };
        assert!(kinds.contains(&kind), "{}: {name} is {kind:?}, expected one of {kinds:?}", self.name);
        let shape = view.shape().to_vec();
        (TensorData::from_bytes_vec(view.data().to_vec(), shape.clone(), kind), shape)
    }

    pub fn float_tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (values, shape) = self.floats(name);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    pub fn int_tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D, Int> {
        let (values, shape) = self.ints(name);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// `attention_mask` as booleans.
    pub fn mask(&self, name: &str, device: &Device) -> Tensor<2, Bool> {
        self.int_tensor::<2>(name, device).equal_elem(1)
    }

    /// As [`Self::mask`] of the ids `of`; without one all of them are real.
    pub fn mask_of(&self, name: &str, of: &str, device: &Device) -> Tensor<2, Bool> {
        if self.asks(name) {
            return self.mask(name, device);
        }
        let (ids, shape) = self.ints(of);
        Tensor::from_data(TensorData::new(vec![true; ids.len()], shape), device)
    }

    /// As [`Self::check`] of what is only computed where the folder has the expected tensor.
    pub fn check_if<const D: usize>(&self, name: &str, tolerance: f64, found: impl FnOnce() -> Tensor<D>) {
        if self.asks(name) {
            self.check(name, found(), tolerance);
        }
    }

    /// As [`Self::check_exact`], of an integer tensor that the folder may not have.
    pub fn check_ints_if(&self, name: &str, found: &[i64]) {
        if self.asks(name) {
            self.check_exact(name, &found.to_vec(), &self.ints(name).0);
        }
    }

    /// Fails for keys of a JSON object that no check looks at.
    pub fn check_keys(&self, what: &str, value: &serde_json::Value, known: &[&str]) {
        let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let unknown: Vec<&str> = keys.filter(|key| !known.contains(key)).collect();
        if !unknown.is_empty() {
            self.fail(format!("{what} has what no check looks at: {}", unknown.join(", ")));
        }
    }

    /// Compares with the expected tensor `name`, prints a line, and remembers a failure.
    pub fn check<const D: usize>(&self, name: &str, found: Tensor<D>, tolerance: f64) {
        let shape = found.dims().to_vec();
        self.check_values(name, &values(found), &shape, tolerance);
    }

    pub fn check_values(&self, name: &str, found: &[f32], shape: &[usize], tolerance: f64) {
        self.check_scaled(name, found, shape, tolerance, 0.0);
    }

    /// As [`Self::check_values`], relative to `scale` where that is more than the tensor's largest value.
    fn check_scaled(&self, name: &str, found: &[f32], shape: &[usize], tolerance: f64, scale: f64) {
        let (expected, expected_shape) = self.floats(name);
        if shape != expected_shape && !(expected_shape.is_empty() && shape == [1]) {
            self.fail(format!("{name}: shape {shape:?}, expected {expected_shape:?}"));
            return;
        }
        let largest = largest(&expected).max(scale);
        let worst = found
            .iter()
            .zip(&expected)
            .map(|(found, expected)| f64::from(found - expected).abs())
            // NaN must count as the worst
            .fold(0f64, |max, difference| if difference <= max { max } else { difference });
        let relative = worst / largest.max(f64::MIN_POSITIVE);
        println!("{:24} {name:64} abs {worst:9.2e}  rel {relative:9.2e}  tolerance {tolerance:.0e}", self.name);
        if !(relative <= tolerance || (largest == 0.0 && worst == 0.0)) {
            self.fail(format!("{name}: relative difference {relative:e} > {tolerance:e}"));
        }
    }

    /// Without rotary positions a bias on the keys moves all scores of a query alike: its gradient is zero, and what both sides
    /// compute is rounding of the size of the weight's gradient.
    fn zero_scale(&self, name: &str) -> f64 {
        if name.contains("encoder.layers.") && name.ends_with("k_proj.bias") {
            largest(&self.floats(&name.replace("bias", "weight")).0)
        } else {
            0.0
        }
    }

    pub fn fail(&self, message: String) {
        println!("{:24} FAILED {message}", self.name);
        self.failures.borrow_mut().push(message);
    }

    /// Compares all `grad.*` tensors; `rename` turns the fixture's name into the module's.
    pub fn check_gradients<M: Module>(&self, model: &M, gradients: Gradients, rename: impl Fn(&str) -> String) {
        let parameters = parameters(model);
        let gradients = GradientsParams::from_grads(gradients, model);
        for name in self.names() {
            let Some(key) = name.strip_prefix("grad.") else { continue };
            let Some(parameter) = parameters.iter().find(|parameter| parameter.name == rename(key)) else {
                self.fail(format!("{name}: no such parameter"));
                continue;
            };
            match gradient(&gradients, parameter) {
                Some(values) => {
                    let scale = self.zero_scale(&name);
                    self.check_scaled(&name, &values, &parameter.shape, BACKWARD_TOLERANCE, scale);
                }
                None => self.fail(format!("{name}: no gradient")),
            }
        }
    }

    /// Fails if anything differed, or if a tensor was not looked at and is not in `uncovered`.
    pub fn finish(self, uncovered: &[&str]) {
        let seen = self.seen.borrow();
        let missed: Vec<String> = self
            .names()
            .into_iter()
            .filter(|name| !seen.contains(name) && !uncovered.iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        assert!(missed.is_empty(), "{}: not checked: {missed:?}", self.name);
        let failures = self.failures.borrow();
        assert!(failures.is_empty(), "{}:\n{}", self.name, failures.join("\n"));
    }
}

/// Largest absolute value.
fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0f64, |max, value| max.max(f64::from(value.abs())))
}

/// The gradient of a parameter in the file's layout.
fn gradient(gradients: &GradientsParams, parameter: &Parameter) -> Option<Vec<f32>> {
    let id = parameter.id;
    match parameter.shape.len() {
        1 => gradients.get::<1>(id).map(values),
        2 if parameter.transposed => gradients.get::<2>(id).map(|gradient| values(gradient.transpose())),
        2 => gradients.get::<2>(id).map(values),
        3 => gradients.get::<3>(id).map(values),
        _ => gradients.get::<4>(id).map(values),
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Rows of a padded batch without their padding.
pub fn rows(ids: &[i64], mask: &[i64], width: usize) -> Vec<Vec<u32>> {
    ids.chunks(width)
        .zip(mask.chunks(width))
        .map(|(ids, mask)| ids.iter().zip(mask).filter(|(_, real)| **real == 1).map(|(id, _)| *id as u32).collect())
        .collect()
}

/// (target rows, targets) of shifted labels: position `p` predicts label `p + 1`.
pub fn shifted(labels: &[i64], width: usize, device: &Device) -> (Tensor<1, Int>, Tensor<1, Int>) {
    let pairs: Vec<(i64, i64)> = (0..labels.len())
        .filter(|at| at % width != 0 && labels[*at] != -100)
        .map(|at| (at as i64 - 1, labels[at]))
        .collect();
    let (rows, targets): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
    let count = rows.len();
    let tensor = |values| Tensor::<1, Int>::from_data(TensorData::new(values, [count]), device);
    (tensor(rows), tensor(targets))
}

/// Module names as they are.
pub fn same(name: &str) -> String {
    name.to_string()
}

/// Module names of a VLM from the names of the module in memory.
pub fn llava(name: &str) -> String {
    Layout::Llava.module_name(name).unwrap_or_default()
}

/// Rows of ids, shorter ones padded on the right by 0.
pub fn ids(rows: &[Vec<u32>], device: &Device) -> Tensor<2, Int> {
    let width = rows.iter().map(Vec::len).max().unwrap();
    let padded: Vec<i64> = rows
        .iter()
        .flat_map(|row| row.iter().map(|id| i64::from(*id)).chain(std::iter::repeat_n(0, width - row.len())))
        .collect();
    Tensor::from_data(TensorData::new(padded, [rows.len(), width]), device)
}

/// The largest absolute value.
pub fn max_abs<const D: usize>(tensor: Tensor<D>) -> f32 {
    values(tensor.abs().max())[0]
}
