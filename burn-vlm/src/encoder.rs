//! The pre-norm transformer encoder that SigLIP's and CLIP's towers share (checkpoint keys `encoder.layers.N.*`).
//!
//! ```text
//! x = x + self_attn(layer_norm1(x))
//! x = x + mlp(layer_norm2(x))
//! ```
//!
//! Unusual here: a layer whose output nobody asked for is not run, so a feature layer of -2 costs one layer less.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::count::LayerShape;
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::precision::{activations, cast_to};
use crate::nn::{Activation, AttentionMask, AttentionOptions, LayerNorm, Linear, Precision, attention, checkpoint};

/// Shape of an encoder.
#[derive(Debug, Clone, Copy)]
pub struct EncoderShape {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the two layers of the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// Activation of the MLP.
    pub hidden_act: Activation,
    /// Which published initialisation to start from.
    pub init: EncoderInit,
}

impl EncoderShape {
    /// Its layers, for what is reckoned from their sizes.
    pub fn layer_shape(&self) -> LayerShape {
        LayerShape::vit(self.num_hidden_layers, self.hidden_size, self.num_attention_heads, self.intermediate_size)
    }
}

/// The initialisation of an encoder's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderInit {
    /// SigLIP's (JAX): Glorot weights, biases of the MLP normal with 1e-6.
    Siglip,
    /// CLIP's: normal with deviations that shrink with width and depth.
    Clip,
}

/// Fills of (attention in, attention out, fc1, fc2, MLP bias).
fn fills(shape: &EncoderShape) -> (Fill, Fill, Fill, Fill, Fill) {
    let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
    match shape.init {
        EncoderInit::Siglip => {
            let attention = Fill::xavier_uniform(hidden, hidden);
            let mlp = Fill::xavier_uniform(hidden, inner);
            (attention, attention, mlp, mlp, Fill::Normal { std: 1e-6 })
        }
        EncoderInit::Clip => {
            let width = (hidden as f64).powf(-0.5);
            let depth = (2.0 * shape.num_hidden_layers as f64).powf(-0.5);
            let std = |std| Fill::Normal { std };
            (std(width * depth), std(width), std((2.0 * hidden as f64).powf(-0.5)), std(width * depth), Fill::ZEROS)
        }
    }
}

/// Multi-head self-attention with biases everywhere.
#[derive(Module, Debug)]
pub struct EncoderAttention {
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Queries.
    pub q_proj: Linear,
    /// Output projection.
    pub out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl EncoderAttention {
    fn new(shape: &EncoderShape, init: &Scope) -> Self {
        let hidden = shape.hidden_size;
        let (inward, outward, ..) = fills(shape);
        let linear = |name, fill| init.linear(name, hidden, hidden, fill, Some(Fill::ZEROS));
        Self {
            k_proj: linear("k_proj", inward),
            v_proj: linear("v_proj", inward),
            q_proj: linear("q_proj", inward),
            out_proj: linear("out_proj", outward),
            heads: shape.num_attention_heads,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let [batch, tokens, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let split = |x: Tensor<3>| x.reshape([batch, tokens, self.heads, head_dim]);
        let q = split(self.q_proj.forward(x.clone()));
        let k = split(self.k_proj.forward(x.clone()));
        let v = split(self.v_proj.forward(x));
        let options = AttentionOptions::new(head_dim);
        let y = attention(q, k, v, mask, &options);
        self.out_proj.forward(y.reshape([batch, tokens, hidden]))
    }
}

/// `fc2(act(fc1(x)))`.
#[derive(Module, Debug)]
pub struct EncoderMlp {
    /// Into the wide space.
    pub fc1: Linear,
    /// And back.
    pub fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl EncoderMlp {
    /// The MLP of a layer of this shape (also of SigLIP's pooling head).
    pub fn new(shape: &EncoderShape, init: &Scope) -> Self {
        let (_, _, fc1, fc2, bias) = fills(shape);
        Self {
            fc1: init.linear("fc1", shape.hidden_size, shape.intermediate_size, fc1, Some(bias)),
            fc2: init.linear("fc2", shape.intermediate_size, shape.hidden_size, fc2, Some(bias)),
            activation: shape.hidden_act,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.activation.forward(self.fc1.forward(x)))
    }
}

/// One pre-norm layer.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Self-attention.
    pub self_attn: EncoderAttention,
    /// Before the attention.
    pub layer_norm1: LayerNorm,
    /// Feed-forward.
    pub mlp: EncoderMlp,
    /// Before the feed-forward.
    pub layer_norm2: LayerNorm,
}

impl EncoderLayer {
    fn new(shape: &EncoderShape, init: &Scope) -> Self {
        let norm = || LayerNorm::new(shape.hidden_size, shape.layer_norm_eps, init.device());
        Self {
            self_attn: EncoderAttention::new(shape, &init.at("self_attn")),
            layer_norm1: norm(),
            mlp: EncoderMlp::new(shape, &init.at("mlp")),
            layer_norm2: norm(),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let x = x.clone() + self.self_attn.forward(self.layer_norm1.forward(x), mask);
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }
}

/// The stack of layers.
#[derive(Module, Debug)]
pub struct Encoder {
    /// In order of application.
    pub layers: Vec<EncoderLayer>,
    /// Whether a training pass keeps the layers' inputs only, see [`checkpoint`].
    #[module(skip)]
    pub gradient_checkpointing: bool,
    /// Of the layers; what comes out has the element type of what went in.
    #[module(skip)]
    pub precision: Precision,
}

impl Encoder {
    /// A stack of `num_hidden_layers` layers.
    pub fn new(shape: &EncoderShape, init: &Scope) -> Self {
        let layers =
            (0..shape.num_hidden_layers).map(|layer| EncoderLayer::new(shape, &init.at("layers").at(layer))).collect();
        Self { layers, gradient_checkpointing: false, precision: Precision::default() }
    }

    /// All layers.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let dtype = x.dtype();
        cast_to(self.layers.iter().fold(self.entering(x), |x, layer| self.layer(layer, x, mask)), dtype)
    }

    /// What the layers are given.
    fn entering(&self, x: Tensor<3>) -> Tensor<3> {
        let dtype = activations(x.dtype(), &x.device());
        self.precision.cast(cast_to(x, dtype))
    }

    fn layer(&self, layer: &EncoderLayer, x: Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        if !self.gradient_checkpointing {
            return layer.forward(x, mask);
        }
        let mask = mask.clone().inner();
        checkpoint(layer, x, move |layer, x| layer.forward(x, &mask))
    }

    /// The hidden states with the given indices (0 is the input, `n` the output of layer `n - 1`), in that order.
    ///
    /// Runs as many layers as the largest index needs.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is every result
    pub fn hidden_states(&self, x: Tensor<3>, mask: &AttentionMask, indices: &[usize]) -> Vec<Tensor<3>> {
        let deepest = indices.iter().copied().max().unwrap_or(0).min(self.layers.len());
        let mut found: Vec<Option<Tensor<3>>> = vec![None; indices.len()];
        let dtype = x.dtype();
        let mut x = self.entering(x);
        for index in 0..=deepest {
            if index > 0 {
                x = self.layer(&self.layers[index - 1], x, mask);
            }
            for (slot, _) in found.iter_mut().zip(indices).filter(|(_, wanted)| **wanted == index) {
                *slot = Some(cast_to(x.clone(), dtype));
            }
        }
        found.into_iter().flatten().collect()
    }

    /// Turns a layer number as configs write it (-1 is the last) into an index of [`Self::hidden_states`].
    ///
    /// # Errors
    /// [`ModelError::FeatureLayer`] where there is no such layer.
    pub fn resolve(&self, layer: i64) -> Result<usize, ModelError> {
        resolve_layer(layer, self.layers.len())
    }
}

/// See [`Encoder::resolve`].
pub(crate) fn resolve_layer(layer: i64, layers: usize) -> Result<usize, ModelError> {
    let states = layers as i64 + 1;
    let index = if layer < 0 { states + layer } else { layer };
    if (0..states).contains(&index) { Ok(index as usize) } else { Err(ModelError::FeatureLayer { layer, layers }) }
}

/// Checks that the heads divide the width.
pub(crate) fn check_heads(model: &'static str, hidden: usize, heads: usize) -> Result<(), ModelError> {
    if heads == 0 || hidden == 0 || !hidden.is_multiple_of(heads) {
        let expected = format!("a positive divisor of hidden_size {hidden}");
        return Err(ModelError::config(model, "num_attention_heads", heads, expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_from_both_ends() {
        assert_eq!(resolve_layer(-1, 3), Ok(3));
        assert_eq!(resolve_layer(-2, 3), Ok(2));
        assert_eq!(resolve_layer(-4, 3), Ok(0));
        assert_eq!(resolve_layer(1, 3), Ok(1));
        let error = resolve_layer(-5, 3).unwrap_err().to_string();
        assert!(error.contains("-5") && error.contains("-4..=-1"), "{error}");
        assert!(resolve_layer(4, 3).is_err());
    }
}
