//! One's own part beside this library's, chosen by the configuration.

use burn::module::Module;
use burn::tensor::{DType, Tensor};

use crate::connector::{Connector, ConnectorConfig, ConnectorShape, Projector, Routing, RoutingText, TextScope};
use crate::error::ModelError;
use crate::init::Scope;
use crate::nn::Precision;
use crate::vision::{PatchPixels, VisionConfig, VisionFeatures, VisionTower};

/// Two parts, of which a model has one: `A` where it accepts the configuration, else `B`.
///
/// `Either<Gated>` is the connector `Gated` or any of this library's, so that one study compares them;
/// `Either<Gated, Either<Resampler>>` knows two of your own, `Either<MyTower, VisionEncoder>` is a vision tower.
#[derive(Module, Debug)]
pub enum Either<A: Module, B: Module = Connector> {
    /// The first.
    Own(A),
    /// The other.
    Other(B),
}

/// The same expression on the inside of both variants.
macro_rules! either {
    ($value:expr, $inner:ident => $body:expr) => {
        match $value {
            Self::Own($inner) => $body,
            Self::Other($inner) => $body,
        }
    };
}

impl<A: Projector, B: Projector> Projector for Either<A, B> {
    fn accepts(config: &ConnectorConfig) -> bool {
        A::accepts(config) || B::accepts(config)
    }

    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        if A::accepts(config) {
            return A::from_config(config, shape, scope).map(Self::Own);
        }
        B::from_config(config, shape, scope).map(Self::Other)
    }

    fn config(&self) -> ConnectorConfig {
        either!(self, part => part.config())
    }

    fn input_width(&self) -> usize {
        either!(self, part => part.input_width())
    }

    fn output_width(&self) -> usize {
        either!(self, part => part.output_width())
    }

    fn output_tokens(&self, tokens: usize) -> usize {
        either!(self, part => part.output_tokens(tokens))
    }

    fn connect(&self, features: Tensor<3>, text: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        either!(self, part => part.connect(features, text))
    }

    fn dtype(&self) -> DType {
        either!(self, part => part.dtype())
    }

    fn text_scope(&self) -> Option<TextScope> {
        either!(self, part => part.text_scope())
    }

    fn reads_text(&self) -> bool {
        either!(self, part => part.reads_text())
    }

    fn project(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        either!(self, part => part.project(features))
    }

    fn route(&self, features: Tensor<3>, text: &RoutingText) -> Result<Option<Routing>, ModelError> {
        either!(self, part => part.route(features, text))
    }

    fn experts(&self, features: Tensor<3>) -> Result<Vec<Tensor<3>>, ModelError> {
        either!(self, part => part.experts(features))
    }

    fn set_bypass(&mut self, bypass: bool) {
        either!(self, part => part.set_bypass(bypass))
    }
}

impl<A: VisionTower, B: VisionTower> VisionTower for Either<A, B> {
    fn accepts(config: &VisionConfig) -> bool {
        A::accepts(config) || B::accepts(config)
    }

    fn from_config(config: &VisionConfig, scope: &Scope) -> Result<Self, ModelError> {
        if A::accepts(config) {
            return A::from_config(config, scope).map(Self::Own);
        }
        B::from_config(config, scope).map(Self::Other)
    }

    fn config(&self) -> VisionConfig {
        either!(self, part => part.config())
    }

    fn features(&self, pixels: Tensor<4>, layers: &[i64], pooled: bool) -> Result<VisionFeatures, ModelError> {
        either!(self, part => part.features(pixels, layers, pooled))
    }

    fn features_of_patches(
        &self,
        pixels: &PatchPixels,
        layers: &[i64],
        pooled: bool,
    ) -> Result<VisionFeatures, ModelError> {
        either!(self, part => part.features_of_patches(pixels, layers, pooled))
    }

    fn set_gradient_checkpointing(&mut self, on: bool) {
        either!(self, part => part.set_gradient_checkpointing(on))
    }

    fn set_precision(&mut self, precision: Precision) {
        either!(self, part => part.set_precision(precision))
    }
}
