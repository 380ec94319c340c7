//! Affine maps.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::lora::Lora;
use super::precision::cast_to;

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
/// # Shapes
/// - `x`: `[.., input]`; `weight`: `[input, output]`; `bias`: `[output]`
/// - returns `[.., output]`
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let dtype = x.dtype();
    let (weight, bias) = (cast_to(weight, dtype), bias.map(|bias| cast_to(bias, dtype)));
    // As one product of all rows, whatever the leading dimensions.
    let mut dims = x.dims();
    let (input, output) = (dims[D - 1], weight.dims()[1]);
    let rows = dims[..D - 1].iter().product::<usize>();
    dims[D - 1] = output;
    burn::tensor::module::linear(x.reshape([rows, input]), weight, bias).reshape(dims)
}
