//! Low-rank adapters on a linear layer: LoRA (Hu et al. 2021), its rank-stabilised scale (Kalajdzievski 2023) and DoRA (Liu et al.
//! 2024), computed as peft computes them.
//!
//! ```text
//! LoRA   y = x W + b + s (drop(x) A) B                            s = alpha / r, or alpha / sqrt(r) with `rslora`
//! DoRA   y = m / |W + s A B| * (x W + s (x A) B) + b              |.| is the norm of each output's column
//! ```
//!
//! Unusual here:
//! - the adapter is an optional field of every [`Linear`](super::Linear), so that a model without adapters has the same parameters
//!   and runs the same operations as before;
//! - matrices are kept as `[input, r]` and `[r, output]`, the transposes of peft's;
//! - no gradient goes through the norm (DoRA, section 4.3);
//! - adapters compute in the element type of `x`; of the norm, in f32.

#![allow(non_snake_case, reason = "fields are named as in the checkpoints")]

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use super::dropout::dropout;
use super::linear::linear;
use super::precision::cast_to;

/// One of an adapter's two matrices.
#[derive(Module, Debug)]
pub struct LoraMatrix {
    /// `[input, output]`
    pub weight: Param<Tensor<2>>,
}

/// The adapter of a linear layer (`lora_A`, `lora_B` and `lora_magnitude_vector` of a peft checkpoint).
#[derive(Module, Debug)]
pub struct Lora {
    /// Into the low rank, `[input, r]`.
    pub lora_A: LoraMatrix,
    /// And out of it, `[r, output]`.
    pub lora_B: LoraMatrix,
    /// DoRA's length of each output's column, `[output]`; `None` is plain LoRA.
    pub lora_magnitude_vector: Option<Param<Tensor<1>>>,
    /// The factor on what the matrices give.
    #[module(skip)]
    pub scaling: f64,
    /// Probability that an element of the input is dropped in training, before `lora_A`.
    #[module(skip)]
    pub dropout: f64,
}

impl Lora {
    /// The layer with its adapter.
    ///
    /// # Shapes
    /// - `x`: `[.., input]`; `weight`: `[input, output]`; `bias`: `[output]`
    /// - returns `[.., output]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
        let mut dims = x.dims();
        let (input, output) = (dims[D - 1], weight.dims()[1]);
        let rows = dims[..D - 1].iter().product::<usize>();
        dims[D - 1] = output;
        let x = x.reshape([rows, input]);
        let seen = dropout(&x, self.dropout);
        let y = match &self.lora_magnitude_vector {
            None => {
                let change = self.change(seen.unwrap_or_else(|| x.clone()));
                linear(x, weight, bias) + change
            }
            Some(magnitude) => {
                let (a, b) = (self.lora_A.weight.val().detach(), self.lora_B.weight.val().detach());
                let norm = column_norms(adapted(weight.clone().detach(), a, b, self.scaling));
                let scale = cast_to(magnitude.val() / norm, x.dtype()).unsqueeze::<2>();
                match seen {
                    // Of the dropped input, the base's own part too; as peft has it, on top of the whole one.
                    Some(seen) => {
                        let extra = linear(seen.clone(), weight.clone(), None);
                        linear(x, weight, bias) + extra * (scale.clone() - 1.0) + self.change(seen) * scale
                    }
                    None => {
                        let y = (linear(x.clone(), weight, None) + self.change(x)) * scale;
                        match bias {
                            Some(bias) => {
                                let bias = cast_to(bias, y.dtype());
                                y + bias.unsqueeze::<2>()
                            }
                            None => y,
                        }
                    }
                }
            }
        };
        y.reshape(dims)
    }

    /// `s (x A) B`; the factor on the narrow side.
    fn change(&self, x: Tensor<2>) -> Tensor<2> {
        linear(linear(x, self.lora_A.weight.val(), None) * self.scaling, self.lora_B.weight.val(), None)
    }
}

/// `W + s A B` in f32.
///
/// # Shapes
/// - `weight` and the result: `[input, output]`; `a`: `[input, r]`; `b`: `[r, output]`
pub(crate) fn adapted(weight: Tensor<2>, a: Tensor<2>, b: Tensor<2>, scaling: f64) -> Tensor<2> {
    let [weight, a, b] = [weight, a, b].map(|tensor| cast_to(tensor, DType::F32));
    weight + a.matmul(b) * scaling
}

/// The norm of each column, `[input, output]` to `[output]`: the magnitude that DoRA begins with.
pub(crate) fn column_norms(weight: Tensor<2>) -> Tensor<1> {
    let [_, output] = weight.dims();
    cast_to(weight, DType::F32).square().sum_dim(0).sqrt().reshape([output])
}

/// The weight that does what layer and adapter do, in f32.
///
/// # Shapes
/// - `weight` and the result: `[input, output]`; `a`: `[input, r]`; `b`: `[r, output]`; `magnitude`: `[output]`
pub(crate) fn merged(
    weight: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    magnitude: Option<Tensor<1>>,
    scaling: f64,
) -> Tensor<2> {
    let weight = adapted(weight, a, b, scaling);
    match magnitude {
        None => weight,
        Some(magnitude) => {
            let factor = cast_to(magnitude, DType::F32) / column_norms(weight.clone());
            weight * factor.unsqueeze::<2>()
        }
    }
}
