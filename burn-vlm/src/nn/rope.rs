//! Rotary position embedding in the rotate-half form of the Hugging Face models.
//!
//! Unusual here: `burn::nn::RotaryEncoding` rotates neighbouring pairs `(2i, 2i+1)`; published Llama, Qwen and
//! Gemma weights expect pairs `(i, i + head_dim/2)`.

use burn::backend::Dispatch;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::fused::FusedOps;

/// Cosines and sines of every position, computed once in f64.
///
/// A module without parameters: it follows its model to another device and appears in no checkpoint.
#[derive(Module, Debug)]
pub struct RopeTable {
    /// `[max_positions, head_dim / 2]`
    cos: Tensor<2>,
    /// `[max_positions, head_dim / 2]`
    sin: Tensor<2>,
}

/// The cosines and sines of the positions of one batch; all layers share them.
#[derive(Clone, Debug)]
pub struct RopeAngles {
    /// `[1 or batch, tokens, head_dim / 2]`
    pub cos: Tensor<3>,
    /// `[1 or batch, tokens, head_dim / 2]`
    pub sin: Tensor<3>,
}

impl RopeAngles {
    /// The same angles outside any graph.
    pub fn inner(self) -> Self {
        Self { cos: self.cos.inner(), sin: self.sin.inner() }
    }
}

impl RopeTable {
    /// Angles `position * theta^(-2 i / head_dim)` for `max_positions` positions.
    ///
    /// # Panics
    /// If `head_dim` is odd.
    pub fn new(head_dim: usize, theta: f64, max_positions: usize, device: &Device) -> Self {
        assert!(head_dim.is_multiple_of(2), "rope: head_dim {head_dim} must be even");
        let frequencies: Vec<f64> =
            (0..head_dim / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64)).collect();
        Self::with_frequencies(&frequencies, max_positions, device)
    }

    /// Angles `position * frequencies[i]` for `max_positions` positions; one frequency for each pair of a head.
    pub fn with_frequencies(frequencies: &[f64], max_positions: usize, device: &Device) -> Self {
        let half = frequencies.len();
        let table = |f: fn(f64) -> f64| {
            let angles =
                (0..max_positions).flat_map(|at| frequencies.iter().map(move |frequency| at as f64 * frequency));
            let values: Vec<f32> = angles.map(|angle| f(angle) as f32).collect();
            Tensor::from_data(TensorData::new(values, [max_positions, half]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// Number of positions in the table.
    pub fn max_positions(&self) -> usize {
        self.cos.dims()[0]
    }

    /// Angles of the positions `offset .. offset + tokens`, the same for every row of the batch.
    ///
    /// # Panics
    /// If the table ends before `offset + tokens`; compare with [`RopeTable::max_positions`] first.
    pub fn contiguous(&self, offset: usize, tokens: usize) -> RopeAngles {
        let rows = |table: &Tensor<2>| table.clone().narrow(0, offset, tokens).unsqueeze_dim(0);
        RopeAngles { cos: rows(&self.cos), sin: rows(&self.sin) }
    }

    /// Angles of positions given one by one, as left-padded batches need them.
    ///
    /// # Shapes
    /// - `positions`: `[batch, tokens]`, each below [`RopeTable::max_positions`]
    pub fn gather(&self, positions: Tensor<2, Int>) -> RopeAngles {
        let [batch, tokens] = positions.dims();
        let index = positions.reshape([batch * tokens]);
        let rows = |table: &Tensor<2>| {
            let half = table.dims()[1];
            table.clone().select(0, index.clone()).reshape([batch, tokens, half])
        };
        RopeAngles { cos: rows(&self.cos), sin: rows(&self.sin) }
    }
}

/// Rotates the pairs `(i, i + head_dim/2)` of every head by the angle of its position.
///
/// # Shapes
/// - `x` and the result: `[batch, tokens, heads, head_dim]`
/// - `angles`: `[1 or batch, tokens, head_dim / 2]`
///
/// # Panics
/// If `angles` does not fit `x`.
pub fn rope(x: Tensor<4>, angles: &RopeAngles) -> Tensor<4> {
    let ([b, t, _, d], [ab, at, half]) = (x.dims(), angles.cos.dims());
    assert!(
        (ab == 1 || ab == b) && at == t && 2 * half == d,
        "rope: angles {:?} do not fit x {:?}",
        angles.cos.dims(),
        x.dims()
    );
    let (cos, sin) = (angles.cos.clone().into_dispatch(), angles.sin.clone().into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::rotate_op(x.into_dispatch(), cos, sin))
}
