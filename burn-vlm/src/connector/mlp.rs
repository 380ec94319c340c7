//! LLaVA-1.5's connector, `mlp2x_gelu`: `linear_2(act(linear_1(x)))` on each visual token.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::init::{Fill, Scope};
use crate::nn::{Activation, Linear};

/// Shape of an [`MlpConnector`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpConnectorConfig {
    /// Width of the visual features.
    pub input: usize,
    /// Width of the decoder's embeddings, of the middle too.
    pub hidden: usize,
    /// `projector_hidden_act`
    pub activation: Activation,
    /// `multimodal_projector_bias`
    pub bias: bool,
}

impl MlpConnectorConfig {
    /// A connector that starts as PyTorch's `nn.Linear` does, which is what LLaVA trains from.
    pub fn init_with(&self, scope: &Scope) -> MlpConnector {
        let linear = |name: &str, input: usize| {
            let fill = Fill::torch_linear(input);
            scope.linear(name, input, self.hidden, fill, self.bias.then_some(fill))
        };
        MlpConnector {
            linear_1: linear("linear_1", self.input),
            linear_2: linear("linear_2", self.hidden),
            activation: self.activation,
        }
    }
}

/// Two linear layers with an activation between.
#[derive(Module, Debug)]
pub struct MlpConnector {
    /// Features to the decoder's width.
    pub linear_1: Linear,
    /// Within the decoder's width.
    pub linear_2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl MlpConnector {
    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    /// - returns `[n, tokens, hidden]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<3> {
        self.linear_2.forward(self.activation.forward(self.linear_1.forward(features)))
    }
}
