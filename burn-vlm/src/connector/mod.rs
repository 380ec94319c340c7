//! From visual features to the decoder's embedding space.
//!
//! A new connector is one file here and one line of [`Connector`] and [`ConnectorConfig`].

mod mlp;
mod parrot;

pub use mlp::{MlpConnector, MlpConnectorConfig};
pub use parrot::{
    Expert, ExpertKind, ParrotConfig, ParrotConnector, ParrotOutput, Residual, Router, Routing, RoutingQuery,
    RoutingText, TextScope, Tiles, Turn,
};

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Which connector a VLM has; widths, activation and biases come from the keys beside it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ConnectorConfig {
    /// LLaVA's two layers.
    #[default]
    Mlp,
    /// The same two layers, then Parrot's language experts.
    Parrot(ParrotConfig),
}

impl ConnectorConfig {
    /// Whether nothing need be written to a config.
    pub fn is_mlp(&self) -> bool {
        matches!(self, Self::Mlp)
    }

    /// Visual tokens that it gives for `tokens` features.
    pub fn output_tokens(&self, tokens: usize) -> usize {
        match self {
            Self::Mlp => tokens,
            Self::Parrot(parrot) => tokens - usize::from(parrot.drops_query()).min(tokens),
        }
    }
}

/// A connector.
#[derive(Module, Debug)]
// One value a model: the difference in size between the variants costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum Connector {
    /// LLaVA's two layers.
    Mlp(MlpConnector),
    /// Text-guided language experts.
    Parrot(ParrotConnector),
}

impl Connector {
    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    /// - `text`: the words that route, for a connector that [reads text](Self::reads_text)
    /// - returns `[n, visual tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] where the connector needs text and there is none.
    pub fn forward(&self, features: Tensor<3>, text: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        match self {
            Self::Mlp(mlp) => Ok(mlp.forward(features)),
            Self::Parrot(parrot) => Ok(parrot.forward(features, text)?.tokens),
        }
    }

    /// LLaVA's two layers alone: what [`Self::forward`] gives where nothing follows them.
    ///
    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    /// - returns `[n, tokens, hidden]`
    pub fn project(&self, features: Tensor<3>) -> Tensor<3> {
        self.projector().forward(features)
    }

    /// Its configuration.
    pub fn config(&self) -> ConnectorConfig {
        match self {
            Self::Mlp(_) => ConnectorConfig::Mlp,
            Self::Parrot(parrot) => ConnectorConfig::Parrot(parrot.config.clone()),
        }
    }

    /// Whether [`Self::forward`] needs the text around the image.
    pub fn reads_text(&self) -> bool {
        match self {
            Self::Mlp(_) => false,
            Self::Parrot(parrot) => !parrot.config.bypass,
        }
    }

    /// Width of the features that it takes.
    pub fn input_width(&self) -> usize {
        self.projector().linear_1.weight.lazy_shape()[0]
    }

    /// Width of the tokens that it gives.
    pub fn output_width(&self) -> usize {
        self.projector().linear_2.weight.lazy_shape()[1]
    }

    /// Element type of its weights.
    pub fn dtype(&self) -> DType {
        self.projector().linear_1.weight.val().dtype()
    }

    fn projector(&self) -> &MlpConnector {
        match self {
            Self::Mlp(mlp) => mlp,
            Self::Parrot(parrot) => &parrot.projector,
        }
    }
}
