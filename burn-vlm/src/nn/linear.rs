//! Affine maps.

use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use super::fused::{FusedOps, packed};
use super::lora::Lora;
use super::precision::{cast_to, computes_in_f32};

/// `x weight + bias`, with a low-rank adapter where the layer has one.
///
/// Unusual here: the weight is kept as `[input, output]`, the transpose of the published layout; Burn's PyTorch
/// adapters transpose `weight` of every module called `Linear`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[input, output]`
    pub weight: Param<Tensor<2>>,
    /// `[output]`
    pub bias: Option<Param<Tensor<1>>>,
    /// What is added to the layer; most have nothing.
    pub lora: Option<Lora>,
}

impl Linear {
    /// # Shapes
    /// - `x`: `[.., input]`
    /// - returns `[.., output]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = (self.weight.val(), self.bias.as_ref().map(|bias| bias.val()));
        match &self.lora {
            None => linear(x, weight, bias),
            Some(lora) => lora.forward(x, weight, bias),
        }
    }
}

/// `x weight + bias`, in the element type of `x`.
///
/// A weight of 16-bit floats that is not trained is read as it is stored on the CPU's `flex` backend, and multiplied in f32: half of
/// what an f32 weight's reading costs, and no rounding but the weight's own and that to the type of `x`. With a weight of 8-bit or 4-bit
/// numbers (`packed` of [`LoadOptions`](crate::checkpoint::LoadOptions)) the rows of `x` are rounded to 8 bits too, in blocks of 32.
///
/// # Shapes
/// - `x`: `[.., input]`; `weight`: `[input, output]`; `bias`: `[output]`
/// - returns `[.., output]`
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let dtype = x.dtype();
    let in_f32 = computes_in_f32(weight.dtype(), &weight.device()) && !weight.is_require_grad();
    let (weight, bias) = match in_f32 {
        true => (weight, bias.map(|bias| cast_to(bias, DType::F32))),
        false => (cast_to(weight, dtype), bias.map(|bias| cast_to(bias, dtype))),
    };
    // As one product of all rows, whatever the leading dimensions.
    let mut dims = x.dims();
    let (input, output) = (dims[D - 1], weight.dims()[1]);
    let rows = dims[..D - 1].iter().product::<usize>();
    dims[D - 1] = output;
    let x = x.reshape([rows, input]);
    let x = if in_f32 { cast_to(x, DType::F32) } else { x };
    let y: Tensor<2> = match (in_f32, packed::is_packed(weight.dtype())) {
        (false, _) => product(x, weight),
        (true, true) => packed::product(x, weight),
        (true, false) => {
            Tensor::from_dispatch(<Dispatch as FusedOps>::half_linear_op(x.into_dispatch(), weight.into_dispatch()))
        }
    };
    let y = match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    };
    cast_to(y.reshape(dims), dtype)
}

/// `a b`, of matrices of one element type.
///
/// # Shapes
/// - `a`: `[m, k]`; `b`: `[k, n]`
/// - returns `[m, n]`
pub(super) fn product(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::product_op(a.into_dispatch(), b.into_dispatch()))
}
