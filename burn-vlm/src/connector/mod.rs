//! From visual features to the decoder's embedding space.
//!
//! A new connector is one file here and one line of [`Connector`].

mod mlp;

pub use mlp::{MlpConnector, MlpConnectorConfig};

use burn::module::Module;
use burn::tensor::Tensor;

/// A connector.
#[derive(Module, Debug)]
pub enum Connector {
    /// LLaVA's two layers.
    Mlp(MlpConnector),
}

impl Connector {
    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    /// - returns `[n, tokens, hidden]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Mlp(mlp) => mlp.forward(features),
        }
    }

    /// Width of the features that it takes.
    pub fn input_width(&self) -> usize {
        match self {
            Self::Mlp(mlp) => mlp.linear_1.weight.lazy_shape()[0],
        }
    }

    /// Width of the tokens that it gives.
    pub fn output_width(&self) -> usize {
        match self {
            Self::Mlp(mlp) => mlp.linear_2.weight.lazy_shape()[1],
        }
    }
}
