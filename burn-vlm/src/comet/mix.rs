//! The mixture of hidden states (`LayerwiseAttention`).
//!
//! Unusual here: to be asked for the first row alone, a hidden state at a time, as the encoder computes them. Dropout of layers is
//! training's and is not here.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Tensor};

use super::LayerTransformation;
use crate::error::ModelError;
use crate::init::{Fill, Scope};

/// Added to the variance of a sentence, as COMET does.
const EPSILON: f64 = 1e-12;

/// One weight a hidden state, and a factor.
#[derive(Module, Debug)]
pub struct LayerwiseAttention {
    /// `[1]` each, the embeddings' first.
    pub scalar_parameters: Vec<Param<Tensor<1>>>,
    /// `[1]`
    pub gamma: Param<Tensor<1>>,
}

impl LayerwiseAttention {
    pub(super) fn new(states: usize, scope: &Scope) -> Self {
        let scalars = scope.at("scalar_parameters");
        let scalar = |index: usize| scalars.param(&index.to_string(), [1], Fill::ZEROS);
        Self { scalar_parameters: (0..states).map(scalar).collect(), gamma: scope.param("gamma", [1], Fill::ONES) }
    }

    /// The weights of the hidden states, which sum to 1; without the factor.
    ///
    /// # Errors
    /// [`ModelError::Read`] where the parameters cannot be read back.
    pub fn weights(&self, transformation: LayerTransformation) -> Result<Vec<f64>, ModelError> {
        let scalars = self.scalar_parameters.iter().map(|scalar| number(scalar.val()));
        let scalars = scalars.collect::<Result<Vec<f64>, _>>()?;
        Ok(match transformation {
            LayerTransformation::Softmax => softmax(&scalars),
            LayerTransformation::Sparsemax => sparsemax(&scalars),
        })
    }

    /// The weights times the factor.
    pub(super) fn factors(&self, transformation: LayerTransformation) -> Result<Vec<f64>, ModelError> {
        let gamma = number(self.gamma.val())?;
        Ok(self.weights(transformation)?.into_iter().map(|weight| weight * gamma).collect())
    }

    /// The whole mixture, `gamma * sum_i weight_i * state_i`.
    ///
    /// # Shapes
    /// - `states`: one for each weight, `[batch, tokens, hidden]`; `mask`: `[batch, tokens]`, true where the token is real
    /// - returns `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for another number of states than weights; [`ModelError::Read`].
    pub fn mix(
        &self,
        states: &[Tensor<3>],
        mask: &Tensor<2, Bool>,
        transformation: LayerTransformation,
        layer_norm: bool,
    ) -> Result<Tensor<3>, ModelError> {
        let factors = self.factors(transformation)?;
        if states.len() != factors.len() {
            return Err(ModelError::Input(format!("{} hidden states, but {} weights", states.len(), factors.len())));
        }
        let state = |state: &Tensor<3>| match layer_norm {
            true => {
                let (mean, deviation) = moments(state, mask);
                (state.clone() - mean) / deviation
            }
            false => state.clone(),
        };
        let pieces = states.iter().zip(&factors).map(|(tensor, factor)| state(tensor) * *factor);
        pieces.reduce(|sum, piece| sum + piece).ok_or_else(|| ModelError::Input("no hidden states".into()))
    }
}

/// The first row of a hidden state, standardised by all of it where that is asked for.
///
/// # Shapes
/// - `state`: `[batch, tokens, hidden]`; `mask`: `[batch, tokens]`
/// - returns `[batch, hidden]`
pub(super) fn first_row(state: &Tensor<3>, mask: Option<&Tensor<2, Bool>>) -> Tensor<2> {
    let [batch, _, hidden] = state.dims();
    let row = state.clone().narrow(1, 0, 1);
    let row = match mask {
        Some(mask) => {
            let (mean, deviation) = moments(state, mask);
            (row - mean) / deviation
        }
        None => row,
    };
    row.reshape([batch, hidden])
}

/// Mean and deviation of each sentence over its real tokens and all features, `[batch, 1, 1]` each.
fn moments(state: &Tensor<3>, mask: &Tensor<2, Bool>) -> (Tensor<3>, Tensor<3>) {
    let [batch, tokens, hidden] = state.dims();
    let mask: Tensor<3> = mask.clone().float().reshape([batch, tokens, 1]);
    let count = mask.clone().sum_dim(1) * hidden as f64;
    let mean = (state.clone() * mask.clone()).sum_dim(1).sum_dim(2) / count.clone();
    let centred = (state.clone() - mean.clone()) * mask;
    let variance = (centred.clone() * centred).sum_dim(1).sum_dim(2) / count;
    (mean, (variance + EPSILON).sqrt())
}

/// The only value of a tensor.
fn number(tensor: Tensor<1>) -> Result<f64, ModelError> {
    let failed = |reason: String| ModelError::Read { what: "a weight of the layers", reason };
    let data = tensor.try_into_data().map_err(|error| failed(error.to_string()))?;
    let value = data.iter::<f64>().next();
    value.ok_or_else(|| failed("it has no values".into()))
}

fn softmax(scalars: &[f64]) -> Vec<f64> {
    let largest = scalars.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scalars.iter().map(|scalar| (scalar - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The nearest point of the simplex (Martins and Astudillo 2016, algorithm 1).
fn sparsemax(scalars: &[f64]) -> Vec<f64> {
    let mut sorted = scalars.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut threshold) = (0.0, 0.0);
    for (index, scalar) in sorted.iter().enumerate() {
        let count = index as f64 + 1.0;
        if 1.0 + count * scalar <= sum + scalar {
            break;
        }
        sum += scalar;
        threshold = (sum - 1.0) / count;
    }
    scalars.iter().map(|scalar| (scalar - threshold).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_on_the_simplex() {
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, expected {expected:?}");
        };
        close(softmax(&[0.0, 0.0]), &[0.5, 0.5]);
        close(softmax(&[1000.0, 1000.0 + 3f64.ln()]), &[0.25, 0.75]);
        close(sparsemax(&[0.0, 0.0, 0.0, 0.0]), &[0.25; 4]);
        // Two values 1 or more apart: one takes all.
        close(sparsemax(&[3.0, 1.0]), &[1.0, 0.0]);
        close(sparsemax(&[0.1, 1.1, 0.2, -5.0]), &[0.0, 0.95, 0.05, 0.0]);
    }
}
