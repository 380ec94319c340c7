//! LLaVA-1.5's connector, `mlp2x_gelu`: `linear_2(act(linear_1(x)))` on each visual token.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ConnectorConfig, ConnectorKeys, ConnectorShape, Projector, RoutingText};
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::{Activation, Linear};

/// It has no keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpKeys {}

impl ConnectorKeys for MlpKeys {}

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
    /// A connector that starts as PyTorch's `nn.Linear` does, which is what LLaVA trains from.
    pub fn new(shape: &ConnectorShape, scope: &Scope) -> Self {
        let linear = |name: &str, input: usize| {
            let fill = Fill::torch_linear(input);
            scope.linear(name, input, shape.hidden, fill, shape.bias.then_some(fill))
        };
        Self {
            linear_1: linear("linear_1", shape.input),
            linear_2: linear("linear_2", shape.hidden),
            activation: shape.activation,
        }
    }

    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    /// - returns `[n, tokens, hidden]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<3> {
        self.linear_2.forward(self.activation.forward(self.linear_1.forward(features)))
    }
}

impl Projector for MlpConnector {
    fn accepts(config: &ConnectorConfig) -> bool {
        config.is_mlp()
    }

    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        match config {
            ConnectorConfig::Mlp(_) => Ok(Self::new(shape, scope)),
            other => Err(ModelError::config("vlm", "connector", other, "`mlp`")),
        }
    }

    fn config(&self) -> ConnectorConfig {
        ConnectorConfig::Mlp(MlpKeys {})
    }

    fn input_width(&self) -> usize {
        self.linear_1.weight.lazy_shape()[0]
    }

    fn output_width(&self) -> usize {
        self.linear_2.weight.lazy_shape()[1]
    }

    fn connect(&self, features: Tensor<3>, _: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        Ok(self.forward(features))
    }
}
