//! Random initial weights that are a function of (seed, parameter name, element) and of nothing else.
//!
//! Unusual here:
//! - Burn's initialisers draw from one random stream a device, so that the numbers depend on the backend, on the order of
//!   construction and on other threads. Here element `i` of a parameter is computed from `hash(seed, name)` and `i` on the
//!   host: the same on every backend, and a layer keeps its weights when another one is added;
//! - parameters are created lazily: a model that is filled from a checkpoint never computes them.

use std::fmt::Display;
use std::sync::Arc;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use burn_vlm_base::random::{ElementStream, hash_bytes, mix};
use rayon::prelude::*;

use crate::lora::LoraPlan;
use crate::nn::{Embedding, Linear};

/// The seed of `init(&device)`, where the caller names none.
pub const DEFAULT_SEED: u64 = 0;

/// How a parameter is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// One value everywhere.
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal with mean 0, redrawn outside two standard deviations, and scaled so that the result has deviation `std`.
    TruncatedNormal {
        /// Standard deviation of the result.
        std: f64,
    },
    /// Uniform on `[-bound, bound]`.
    Uniform {
        /// Largest absolute value.
        bound: f64,
    },
}

/// Standard deviation of a unit normal cut at two standard deviations.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

impl Fill {
    /// All zeros.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// All ones.
    pub const ONES: Self = Self::Constant(1.0);

    /// Glorot: uniform with bound `sqrt(6 / (fan_in + fan_out))`, `torch.nn.init.xavier_uniform_`.
    pub fn xavier_uniform(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform { bound: (6.0 / (fan_in + fan_out) as f64).sqrt() }
    }

    /// LeCun: truncated normal with deviation `sqrt(1 / fan_in)`, JAX's `lecun_normal`.
    pub fn lecun_normal(fan_in: usize) -> Self {
        Self::TruncatedNormal { std: (fan_in as f64).recip().sqrt() }
    }

    /// What `torch.nn.Linear` starts from, weight and bias: uniform with bound `1 / sqrt(fan_in)`.
    pub fn torch_linear(fan_in: usize) -> Self {
        Self::Uniform { bound: (fan_in as f64).sqrt().recip() }
    }

    /// The value of element `index` of the parameter with key `key`.
    fn value(self, key: u64, index: u64) -> f32 {
        let mut stream = ElementStream::new(key, index);
        let value = match self {
            Self::Constant(value) => value,
            Self::Normal { std } => std * stream.normal(),
            Self::TruncatedNormal { std } => loop {
                let value = stream.normal();
                if value.abs() <= 2.0 {
                    break std / TRUNCATED_STD * value;
                }
            },
            Self::Uniform { bound } => bound * (2.0 * stream.unit() - 1.0),
        };
        value as f32
    }
}

/// The scope in which a module creates its parameters: device, seed, and the name so far.
#[derive(Debug, Clone)]
pub struct Scope {
    device: Device,
    seed: u64,
    path: String,
    shapes_only: bool,
    lora: Option<Arc<LoraPlan>>,
}

impl Scope {
    /// The root scope of a model.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { device: device.clone(), seed, path: String::new(), shapes_only: false, lora: None }
    }

    /// The root scope of a model that is only asked for the names and shapes of its parameters: tables that are no parameters, as
    /// the rotations of every position, are left out.
    pub fn shapes(device: &Device) -> Self {
        Self { shapes_only: true, ..Self::new(DEFAULT_SEED, device) }
    }

    /// The same scope for a model with adapters, at the layers that the plan names by the paths from here.
    pub fn with_adapters(self, plan: &LoraPlan) -> Self {
        Self { lora: Some(Arc::new(plan.clone())), ..self }
    }

    pub(crate) fn is_shapes_only(&self) -> bool {
        self.shapes_only
    }

    /// The name so far.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The device that parameters are created on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The scope of the field `name`.
    pub fn at(&self, name: impl Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..self.clone() }
    }

    /// A trainable parameter called `name`, created when it is first used.
    pub fn param<const D: usize>(&self, name: &str, shape: [usize; D], fill: Fill) -> Param<Tensor<D>> {
        let key = key(self.seed, &self.at(name).path);
        Param::uninitialized(
            ParamId::new(),
            move |device: &Device, require_grad| {
                let count = shape.iter().product::<usize>() as u64;
                let values: Vec<f32> = (0..count).into_par_iter().map(|index| fill.value(key, index)).collect();
                Tensor::from_data(TensorData::new(values, shape), device).set_require_grad(require_grad)
            },
            self.device.clone(),
            true,
            Shape::from(shape),
        )
    }

    /// A linear layer called `name`; without `bias` it has none. With an adapter, where the scope's plan has one for it.
    pub fn linear(&self, name: &str, d_input: usize, d_output: usize, weight: Fill, bias: Option<Fill>) -> Linear {
        let scope = self.at(name);
        Linear {
            weight: scope.param("weight", [d_input, d_output], weight),
            bias: bias.map(|fill| scope.param("bias", [d_output], fill)),
            lora: self.lora.as_ref().and_then(|plan| plan.adapter(&scope, d_input, d_output)),
        }
    }

    /// An embedding table called `name`, `[count, width]`.
    pub fn embedding(&self, name: &str, count: usize, width: usize, fill: Fill) -> Embedding {
        Embedding { weight: self.at(name).param("weight", [count, width], fill) }
    }
}

/// Hash of seed and parameter name.
fn key(seed: u64, name: &str) -> u64 {
    mix(hash_bytes(name.as_bytes()) ^ mix(seed, 0), 0)
}

/// Standard normal numbers as a tensor, a function of the seed alone: the same on every backend.
pub fn seeded_normal<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let key = key(seed, "noise");
    let count = shape.iter().product::<usize>() as u64;
    let values: Vec<f32> =
        (0..count).into_par_iter().map(|index| ElementStream::new(key, index).normal() as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments of 100k numbers: three standard errors are about 0.01.
    const MOMENT_TOLERANCE: f64 = 0.015;

    fn moments(fill: Fill) -> (f64, f64, f64) {
        let values: Vec<f64> = (0..100_000).map(|index| f64::from(fill.value(7, index))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt(), values.iter().fold(0.0, |max: f64, v| max.max(v.abs())))
    }

    #[test]
    fn fills_have_their_moments() {
        let (mean, std, _) = moments(Fill::Normal { std: 1.0 });
        assert!(mean.abs() < MOMENT_TOLERANCE && (std - 1.0).abs() < MOMENT_TOLERANCE, "{mean} {std}");
        let (mean, std, max) = moments(Fill::TruncatedNormal { std: 1.0 });
        assert!(mean.abs() < MOMENT_TOLERANCE && (std - 1.0).abs() < MOMENT_TOLERANCE, "{mean} {std}");
        assert!(max <= 2.0 / TRUNCATED_STD + 1e-6);
        let (mean, std, max) = moments(Fill::Uniform { bound: 1.0 });
        assert!(mean.abs() < MOMENT_TOLERANCE && (std - 3f64.sqrt().recip()).abs() < MOMENT_TOLERANCE);
        assert!(max <= 1.0);
    }

    #[test]
    fn weights_depend_on_seed_and_name_only() {
        let at = |seed, name: &str| Fill::Normal { std: 1.0 }.value(key(seed, name), 3);
        assert_eq!(at(1, "layers.0.weight"), at(1, "layers.0.weight"));
        assert_ne!(at(1, "layers.0.weight"), at(2, "layers.0.weight"));
        assert_ne!(at(1, "layers.0.weight"), at(1, "layers.1.weight"));
    }
}
