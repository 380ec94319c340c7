//! AdamW (Loshchilov & Hutter 2019) with PyTorch's defaults, its state keyed by parameter path.
//!
//! Unusual here: Burn's optimizers key their moments by `ParamId`, which only Burn's own record format keeps. Keyed by
//! path, a checkpoint can be read by anything that reads safetensors, and a resumed run finds its moments again.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_vlm::nn::{AdamWHyper, adamw_step};
use serde::{Deserialize, Serialize};

use super::LearningRates;
use crate::params::PathStack;

/// Hyperparameters; the defaults are those of `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global gradient norm; larger gradients are scaled down to it. 0 turns clipping off.
    pub clip: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 1e-2, clip: 1.0 }
    }
}

/// First and second moment of one parameter, flattened.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Running mean of the gradient, `[count]`.
    pub exp_avg: Tensor<1>,
    /// Running mean of the squared gradient, `[count]`.
    pub exp_avg_sq: Tensor<1>,
}

/// The optimizer: hyperparameters, number of steps done, moments by path.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Hyperparameters.
    pub config: AdamWConfig,
    /// Steps done so far.
    pub steps: usize,
    /// Moments by parameter path.
    pub moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimizer that has seen nothing yet.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, steps: 0, moments: BTreeMap::new() }
    }

    /// One update of every parameter that has a learning rate and a gradient.
    ///
    /// `factor` multiplies all learning rates (the schedule), `grad_scale` all gradients (clipping).
    pub fn step<M: Module>(
        &mut self,
        module: M,
        grads: GradientsParams,
        rates: &LearningRates,
        factor: f64,
        grad_scale: f64,
    ) -> M {
        self.steps += 1;
        module.map(&mut Update { stack: PathStack::default(), optimizer: self, grads, rates, factor, grad_scale })
    }
}

struct Update<'a> {
    stack: PathStack,
    optimizer: &'a mut AdamW,
    grads: GradientsParams,
    rates: &'a LearningRates,
    factor: f64,
    grad_scale: f64,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.stack.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return param };
        let path = self.stack.path();
        let Some(rate) = self.rates.rate(&path) else { return param };
        let config = self.optimizer.config;
        let hyper = AdamWHyper {
            lr: rate * self.factor,
            beta1: config.betas.0,
            beta2: config.betas.1,
            eps: config.eps,
            weight_decay: config.weight_decay,
            step: self.optimizer.steps,
        };
        let grad = if self.grad_scale == 1.0 { grad } else { grad * self.grad_scale };
        let (id, value, mapper) = param.consume();
        // the tensor leaves the graph here; dropping every other handle lets the step update it in place
        let value = value.inner();
        let dims = value.dims();
        let count = dims.iter().product::<usize>();
        let moments = self.optimizer.moments.remove(&path).unwrap_or_else(|| Moments {
            exp_avg: Tensor::zeros([count], &value.device()),
            exp_avg_sq: Tensor::zeros([count], &value.device()),
        });
        let (flat, exp_avg, exp_avg_sq) =
            adamw_step(value.reshape([count]), grad.reshape([count]), moments.exp_avg, moments.exp_avg_sq, &hyper);
        self.optimizer.moments.insert(path, Moments { exp_avg, exp_avg_sq });
        let updated = Tensor::<D>::from_inner(flat.reshape(dims)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}
