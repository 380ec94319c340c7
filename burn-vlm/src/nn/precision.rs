//! The element type that a model computes in.
//!
//! Unusual here: there is no list of operations to cast. A model casts what enters it, every linear layer brings its weight
//! to the element type of its input, norms, softmax and losses work in f32 inside whatever they are given. The parameters
//! stay f32, and since the gradient of a cast has the type of what was cast, so do their gradients and the optimizer's
//! state.

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::fused::packed::is_packed;

/// `precision` of a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The element type of the parameters, which is f32 in training.
    #[default]
    F32,
    /// bf16 activations and matrix products.
    Bf16,
}

impl Precision {
    /// Activations in this precision; with [`Precision::F32`] as they are.
    pub fn cast<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => x,
            Self::Bf16 => cast_to(x, DType::BF16),
        }
    }
}

/// Whether what has weights of this element type computes in f32 on this device: half precision, 8-bit and 4-bit numbers on the CPU, where they
/// save memory and the reading of weights, while arithmetic has f32 alone. On other devices activations have the type of the weights.
pub(crate) fn computes_in_f32(weights: DType, device: &Device) -> bool {
    is_packed(weights) || matches!(weights, DType::BF16 | DType::F16) && on_flex(device)
}

/// Whether this device holds weights of 8-bit or 4-bit numbers: the CPU's `flex` backend, and not to train.
#[cfg(feature = "flex")]
pub(crate) fn takes_packed(device: &Device) -> bool {
    on_flex(device) && !device.is_autodiff()
}

#[cfg(feature = "flex")]
fn on_flex(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

#[cfg(not(feature = "flex"))]
fn on_flex(_device: &Device) -> bool {
    false
}

/// The element type of activations beside weights of `weights`.
pub(crate) fn activations(weights: DType, device: &Device) -> DType {
    if computes_in_f32(weights, device) { DType::F32 } else { weights }
}

/// The tensor in another element type; itself if it has that already.
pub(crate) fn cast_to<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}
