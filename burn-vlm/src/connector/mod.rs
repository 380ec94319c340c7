//! From visual features to the decoder's embedding space.
//!
//! A new connector is one file here, which implements [`ConnectorKeys`] for its configuration and [`Projector`] for its module, and
//! one line of the table below. One that belongs to a user's own crate implements [`Projector`] there and needs neither: a
//! [`Vlm`](crate::vlm::Vlm) takes any.

mod custom;
mod mlp;
mod parrot;
mod pixel_shuffle;
mod projector;

pub use custom::CustomConnector;
pub use mlp::{MlpConnector, MlpKeys};
pub use parrot::{
    Expert, ExpertKind, ParrotConfig, ParrotConnector, ParrotOutput, Residual, Router, Routing, RoutingQuery,
    RoutingText, TextScope, Tiles, Turn,
};
pub use pixel_shuffle::{PixelShuffleConfig, PixelShuffleConnector};
pub use projector::{ConnectorKeys, ConnectorShape, Projector};

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::init::Scope;
use crate::vlm::VlmConfig;

/// Writes the enums of configurations and of connectors, and sends every question to the variant.
macro_rules! connectors {
    ($($(#[$doc:meta])* $variant:ident($config:ty => $model:ty),)+) => {
        /// Which connector a VLM has; widths, activation and biases come from the keys beside it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum ConnectorConfig {
            $($(#[$doc])* $variant($config),)+
            /// One of a user's own.
            Custom(CustomConnector),
        }

        impl ConnectorConfig {
            fn keys(&self) -> &dyn ConnectorKeys {
                match self {
                    $(Self::$variant(config) => config,)+
                    Self::Custom(config) => config,
                }
            }
        }

        /// A connector of this library.
        #[derive(Module, Debug)]
        // One value a model: the difference in size between the variants costs nothing.
        #[allow(clippy::large_enum_variant)]
        pub enum Connector {
            $($(#[$doc])* $variant($model),)+
        }

        impl Connector {
            fn build(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
                match config {
                    $(ConnectorConfig::$variant(_) => Ok(Self::$variant(Projector::from_config(config, shape, scope)?)),)+
                    ConnectorConfig::Custom(custom) => Err(custom.unknown()),
                }
            }
        }

        /// The same expression on the inside of every variant.
        macro_rules! each {
            ($value:expr, $inner:ident => $body:expr) => {
                match $value {
                    $(Self::$variant($inner) => $body,)+
                }
            };
        }
    };
}

connectors! {
    /// LLaVA's two layers.
    Mlp(MlpKeys => MlpConnector),
    /// The same two layers, then Parrot's language experts.
    Parrot(ParrotConfig => ParrotConnector),
    /// Squares of patches put side by side along the width, then one layer.
    PixelShuffle(PixelShuffleConfig => PixelShuffleConnector),
}

impl Default for ConnectorConfig {
    /// LLaVA's two layers.
    fn default() -> Self {
        Self::Mlp(MlpKeys {})
    }
}

impl ConnectorConfig {
    /// Whether nothing need be written to a config.
    pub fn is_mlp(&self) -> bool {
        matches!(self, Self::Mlp(_))
    }

    /// Visual tokens that it gives for `tokens` features.
    pub fn output_tokens(&self, tokens: usize) -> usize {
        self.keys().output_tokens(tokens)
    }

    /// How many features along each side of the grid become one visual token.
    pub fn grid_scale(&self) -> usize {
        self.keys().grid_scale().max(1)
    }

    /// Checks the connector's own keys, and that they fit the model around it.
    ///
    /// # Errors
    /// [`ModelError::Config`].
    pub fn validate(&self, model: &VlmConfig) -> Result<(), ModelError> {
        self.keys().validate(model)
    }
}

impl Projector for Connector {
    fn accepts(config: &ConnectorConfig) -> bool {
        !matches!(config, ConnectorConfig::Custom(_))
    }

    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        Self::build(config, shape, scope)
    }

    fn config(&self) -> ConnectorConfig {
        each!(self, connector => connector.config())
    }

    fn input_width(&self) -> usize {
        each!(self, connector => connector.input_width())
    }

    fn output_width(&self) -> usize {
        each!(self, connector => connector.output_width())
    }

    fn output_tokens(&self, tokens: usize) -> usize {
        each!(self, connector => connector.output_tokens(tokens))
    }

    fn dtype(&self) -> DType {
        each!(self, connector => connector.dtype())
    }

    fn connect(&self, features: Tensor<3>, text: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        each!(self, connector => connector.connect(features, text))
    }

    fn text_scope(&self) -> Option<TextScope> {
        each!(self, connector => connector.text_scope())
    }

    fn reads_text(&self) -> bool {
        each!(self, connector => connector.reads_text())
    }

    fn project(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        each!(self, connector => connector.project(features))
    }

    fn route(&self, features: Tensor<3>, text: &RoutingText) -> Result<Option<Routing>, ModelError> {
        each!(self, connector => Projector::route(connector, features, text))
    }

    fn experts(&self, features: Tensor<3>) -> Result<Vec<Tensor<3>>, ModelError> {
        each!(self, connector => Projector::experts(connector, features))
    }

    fn set_bypass(&mut self, bypass: bool) {
        each!(self, connector => connector.set_bypass(bypass))
    }
}
