//! Activation functions under the names of the published configs, and the gated unit of today's decoders.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::fused::FusedOps;

/// An element-wise activation; serialises as `hidden_act` is spelled in the published `config.json` files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Exact GELU, `x Phi(x)` with the error function.
    Gelu,
    /// GELU's tanh form (SigLIP, Gemma): `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    #[default]
    GeluPytorchTanh,
    /// The same function as [`Activation::GeluPytorchTanh`] under the name of older configs.
    GeluNew,
    /// `x sigmoid(1.702 x)` (CLIP).
    QuickGelu,
    /// `x sigmoid(x)` (Llama, Qwen), also read from `swish`.
    #[serde(alias = "swish")]
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic function.
    Sigmoid,
    /// The identity.
    #[serde(alias = "identity")]
    Linear,
}

impl Activation {
    /// Applies the function to every element; any shape.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        Tensor::from_dispatch(<Dispatch as FusedOps>::activation_op(x.into_dispatch(), self))
    }
}

/// `activation(gate) * up`, the inner product of a gated feed-forward unit (SwiGLU, GeGLU).
///
/// # Shapes
/// - `gate`, `up` and the result: the same shape
///
/// # Panics
/// If the two shapes differ.
pub fn gated<const D: usize>(activation: Activation, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    assert_eq!(gate.dims(), up.dims(), "gated: gate and up must have one shape");
    let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::gated_op(gate, up, activation))
}
