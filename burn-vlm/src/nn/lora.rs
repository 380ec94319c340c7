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
//! - where inputs are dropped, neither the mask nor the dropped input is kept for the backward pass: both are made again from the layer's
//!   input, which its neighbours share, and the pass's seed;
//! - adapters compute in the element type of `x`; of the norm, in f32.

#![allow(non_snake_case, reason = "fields are named as in the checkpoints")]

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use super::checkpointing::checkpoint;
use super::dropout::{dropout, masks};
use super::fused::packed;
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
        let y = match (masks().is_some() && self.dropout > 0.0, &self.lora_magnitude_vector) {
            (true, _) => linear(x.clone(), weight.clone(), bias) + self.dropped(x, weight),
            (false, None) => linear(x.clone(), weight, bias) + self.change(x),
            (false, Some(magnitude)) => {
                let scale = self.scale(magnitude, &weight, x.dtype());
                let y = (linear(x.clone(), weight, None) + self.change(x)) * scale;
                match bias {
                    Some(bias) => {
                        let bias = cast_to(bias, y.dtype());
                        y + bias.unsqueeze::<2>()
                    }
                    None => y,
                }
            }
        };
        y.reshape(dims)
    }

    /// What is added to `x W + b` in a pass that drops a part of `x`.
    fn dropped(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        // A block's gradient reaches its own parameters and its input alone.
        if weight.is_tracked() || !self.lora_A.weight.val().is_tracked() {
            return self.addition(x, &weight);
        }
        let weight = weight.inner();
        checkpoint(self, x, move |lora: &Self, x| {
            // Inside of the block on a device with autodiff too, where it runs again.
            let weight = if x.device().is_autodiff() { Tensor::from_inner(weight.clone()) } else { weight.clone() };
            lora.addition(x, &weight)
        })
    }

    /// [`Self::dropped`], whose every step is kept.
    fn addition(&self, x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        let seen = dropout(&x, self.dropout).unwrap_or(x);
        match &self.lora_magnitude_vector {
            None => self.change(seen),
            // Of the dropped input, the base's own part too; as peft has it, on top of the whole one.
            Some(magnitude) => {
                let scale = self.scale(magnitude, weight, seen.dtype());
                let extra = linear(seen.clone(), weight.clone(), None);
                extra * (scale.clone() - 1.0) + self.change(seen) * scale
            }
        }
    }

    /// DoRA's `m / |W + s A B|`, `[1, output]`.
    fn scale(&self, magnitude: &Param<Tensor<1>>, weight: &Tensor<2>, dtype: DType) -> Tensor<2> {
        let (a, b) = (self.lora_A.weight.val().detach(), self.lora_B.weight.val().detach());
        let norm = column_norms(adapted(packed::float(weight.clone()).detach(), a, b, self.scaling));
        cast_to(magnitude.val() / norm, dtype).unsqueeze::<2>()
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Gradients};

    use super::*;
    use crate::nn::with_dropout;

    /// f32 sums of some dozen products in another order, relative to the largest.
    const ROUNDING: f32 = 1e-5;

    fn near(a: &Tensor<2>, b: &Tensor<2>) {
        let largest = b.clone().abs().max().into_scalar::<f32>();
        let apart = (a.clone() - b.clone()).abs().max().into_scalar::<f32>();
        assert!(largest > 0.0 && apart < ROUNDING * largest, "{apart} of {largest}");
    }

    fn parts(dora: bool, device: &Device) -> (Lora, Tensor<2>, Tensor<2>) {
        let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
        let matrix = |shape| LoraMatrix { weight: Param::from_tensor(random(shape)) };
        let magnitude = dora.then(|| Param::from_tensor(random([1, 7]).abs().reshape([7])));
        let (lora_A, lora_B) = (matrix([9, 3]), matrix([3, 7]));
        let lora = Lora { lora_A, lora_B, lora_magnitude_vector: magnitude, scaling: 0.5, dropout: 0.25 };
        (lora, random([9, 7]), random([5, 9]).require_grad())
    }

    /// What is computed again has the gradients of the formulas: with M the mask, A: (x M)' g B', B: (x M A)' g, x: g W' + (g B' A') M.
    #[test]
    fn dropped_inputs_have_the_gradients_of_the_formulas() {
        let device = Device::flex().autodiff();
        let (lora, weight, x) = parts(false, &device);
        let pass = || {
            let y = with_dropout(Some(5), || lora.forward(x.clone(), weight.clone(), None));
            let grads = (y.clone() * y.clone().detach()).sum().backward();
            (y.inner(), grads)
        };
        let (y, grads) = pass();
        let g = y.clone();
        let (a, b) = (lora.lora_A.weight.val(), lora.lora_B.weight.val());
        let of = |tensor: &Tensor<2>, grads: &Gradients| tensor.grad(grads).unwrap();
        let (inner_a, inner_b, inner_w, inner_x) =
            (a.clone().inner(), b.clone().inner(), weight.clone().inner(), x.clone().inner());
        let ones = Tensor::<2>::ones([5, 9], &inner_x.device());
        let mask = with_dropout(Some(5), || dropout(&ones, lora.dropout)).unwrap();
        let seen = inner_x.clone() * mask.clone();
        near(
            &y,
            &(inner_x.matmul(inner_w.clone()) + seen.clone().matmul(inner_a.clone()).matmul(inner_b.clone()) * 0.5),
        );
        let narrow = g.clone().matmul(inner_b.transpose());
        near(&of(&a, &grads), &(seen.clone().transpose().matmul(narrow.clone()) * 0.5));
        near(&of(&b, &grads), &(seen.matmul(inner_a.clone()).transpose().matmul(g.clone()) * 0.5));
        near(&of(&x, &grads), &(g.matmul(inner_w.transpose()) + narrow.matmul(inner_a.transpose()) * mask * 0.5));
        assert!(weight.grad(&grads).is_none());
    }

    /// DoRA's too are those of the same steps kept.
    #[test]
    fn what_is_computed_again_is_what_would_have_been_kept() {
        let device = Device::flex().autodiff();
        let (lora, weight, x) = parts(true, &device);
        let magnitude = lora.lora_magnitude_vector.as_ref().unwrap().val();
        let pass = |again: bool| {
            let y = with_dropout(Some(5), || match again {
                true => lora.forward(x.clone(), weight.clone(), None),
                false => linear(x.clone(), weight.clone(), None) + lora.addition(x.clone(), &weight),
            });
            let grads = (y.clone() * y.clone().detach()).sum().backward();
            let of = |tensor: &Tensor<2>| tensor.grad(&grads).unwrap();
            let m = magnitude.grad(&grads).unwrap().unsqueeze::<2>();
            [y.inner(), of(&lora.lora_A.weight.val()), of(&lora.lora_B.weight.val()), of(&x), m]
        };
        pass(true).iter().zip(&pass(false)).for_each(|(a, b)| near(a, b));
    }
}
