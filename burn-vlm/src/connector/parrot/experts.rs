//! The experts of Parrot's connector, and their mixture.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ParrotConfig;
use crate::init::{Fill, Scope};
use crate::nn::{Activation, Linear, gated};

/// Shape of an expert. Neither has biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertKind {
    /// `down(silu(gate(x)) * up(x))`: three layers, the authors' code.
    #[default]
    Swiglu,
    /// `down(silu(up(x)))`: two layers, the paper's words.
    Mlp2,
}

/// One expert (checkpoint keys `gate_proj`, `up_proj`, `down_proj`).
#[derive(Module, Debug)]
pub struct Expert {
    /// `[hidden, intermediate]`; absent in [`ExpertKind::Mlp2`].
    pub gate_proj: Option<Linear>,
    /// `[hidden, intermediate]`
    pub up_proj: Linear,
    /// `[intermediate, hidden]`
    pub down_proj: Linear,
}

impl Expert {
    fn new(kind: ExpertKind, hidden: usize, inner: usize, scope: &Scope) -> Self {
        let up = |name| scope.linear(name, hidden, inner, Fill::torch_linear(hidden), None);
        Self {
            gate_proj: (kind == ExpertKind::Swiglu).then(|| up("gate_proj")),
            up_proj: up("up_proj"),
            down_proj: scope.linear("down_proj", inner, hidden, Fill::torch_linear(inner), None),
        }
    }

    /// # Shapes
    /// - `x` and the result: `[n, tokens, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = match &self.gate_proj {
            Some(gate) => gated(Activation::Silu, gate.forward(x.clone()), self.up_proj.forward(x)),
            None => Activation::Silu.forward(self.up_proj.forward(x)),
        };
        self.down_proj.forward(inner)
    }
}

/// `num_experts` experts with random weights.
pub(super) fn experts(config: &ParrotConfig, hidden: usize, scope: &Scope) -> Vec<Expert> {
    let scope = scope.at("experts");
    let expert = |index: usize| Expert::new(config.expert, hidden, config.intermediate_size, &scope.at(index));
    (0..config.num_experts).map(expert).collect()
}

/// `sum_e weights_e expert_e(x)`, added up one expert after the other; without experts nothing, zeros.
///
/// # Shapes
/// - `x` and the result: `[n, tokens, hidden]`
/// - `weights`: `[n, experts]`
pub(super) fn mix(experts: &[Expert], x: Tensor<3>, weights: Tensor<2>) -> Tensor<3> {
    let shape = x.dims();
    let part = |index: usize, expert: &Expert| {
        expert.forward(x.clone()) * weights.clone().narrow(1, index, 1).reshape([shape[0], 1, 1])
    };
    let parts = experts.iter().enumerate().map(|(index, expert)| part(index, expert));
    parts.reduce(|sum, part| sum + part).unwrap_or_else(|| Tensor::zeros(shape, &x.device()))
}
