//! Pixel shuffle (Idefics 3, SmolVLM, nanoVLM): `scale x scale` neighbouring patches put side by side along the width, then one
//! layer without bias. As much as the encoder saw in `scale^2` times fewer tokens.
//!
//! Unusual here:
//! - no activation and no second layer;
//! - within a square the patches follow each other row by row, which is the order that published weights have learned;
//! - patches alone make a grid: no class token, no pooled output.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ConnectorConfig, ConnectorKeys, ConnectorShape, Projector, RoutingText};
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::Linear;
use crate::vlm::VlmConfig;

/// Deviation of the layer's weights at the start, nanoVLM's.
const START: f64 = 0.02;

/// Keys of a [`PixelShuffleConnector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelShuffleConfig {
    /// Patches along a side of a square that becomes one token (`scale_factor` of the published configs).
    pub scale: usize,
}

impl ConnectorKeys for PixelShuffleConfig {
    fn grid_scale(&self) -> usize {
        self.scale
    }

    fn validate(&self, model: &VlmConfig) -> Result<(), ModelError> {
        let side = model.feature_side();
        if self.scale == 0 || !side.is_multiple_of(self.scale) {
            let expected = format!("a divisor of the {side} x {side} grid's side");
            return Err(ModelError::config("pixel_shuffle", "scale", self.scale, expected));
        }
        if model.num_feature_tokens() != side * side {
            let expected = "patches alone: no class token, no dropped patch, no visual_tokens.pooled_head";
            let found = format!("{} tokens", model.num_feature_tokens());
            return Err(ModelError::config("pixel_shuffle", "vision_feature_select_strategy", found, expected));
        }
        Ok(())
    }
}

/// Space to depth, then one layer.
#[derive(Module, Debug)]
pub struct PixelShuffleConnector {
    /// `scale^2` features to the decoder's width.
    pub proj: Linear,
    /// The keys.
    #[module(skip)]
    pub config: PixelShuffleConfig,
}

impl PixelShuffleConnector {
    /// Squares of patches along the width.
    ///
    /// # Shapes
    /// - `features`: `[n, side * side, d]`, row by row
    /// - returns `[n, (side / scale)^2, scale^2 * d]`, row by row; within a square too
    ///
    /// # Errors
    /// [`ModelError::Input`] for tokens that make no square grid, or one that the scale does not divide.
    pub fn shuffle(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        let [n, tokens, width] = features.dims();
        let (side, scale) = (tokens.isqrt(), self.config.scale);
        if side * side != tokens || scale == 0 || !side.is_multiple_of(scale) {
            return Err(ModelError::Input(format!(
                "pixel shuffle by {scale} takes a square grid whose side {scale} divides, found {tokens} features"
            )));
        }
        let out = side / scale;
        let squares = features.reshape([n, out, scale, out, scale * width]).swap_dims(2, 3);
        Ok(squares.reshape([n, out * out, scale * scale * width]))
    }
}

impl Projector for PixelShuffleConnector {
    fn accepts(config: &ConnectorConfig) -> bool {
        matches!(config, ConnectorConfig::PixelShuffle(_))
    }

    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        let ConnectorConfig::PixelShuffle(config) = config else {
            return Err(ModelError::config("vlm", "connector", config, "`pixel_shuffle`"));
        };
        let input = config.scale * config.scale * shape.input;
        Ok(Self { proj: scope.linear("proj", input, shape.hidden, Fill::Normal { std: START }, None), config: *config })
    }

    fn config(&self) -> ConnectorConfig {
        ConnectorConfig::PixelShuffle(self.config)
    }

    fn input_width(&self) -> usize {
        self.proj.weight.lazy_shape()[0] / (self.config.scale * self.config.scale).max(1)
    }

    fn output_width(&self) -> usize {
        self.proj.weight.lazy_shape()[1]
    }

    fn connect(&self, features: Tensor<3>, _: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        Ok(self.proj.forward(self.shuffle(features)?))
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::Activation;

    #[test]
    fn squares_of_patches_stand_side_by_side() {
        let device = Device::flex();
        let shape = ConnectorShape { input: 1, hidden: 2, tokens: 16, activation: Activation::Gelu, bias: true };
        let config = ConnectorConfig::PixelShuffle(PixelShuffleConfig { scale: 2 });
        let connector = PixelShuffleConnector::from_config(&config, &shape, &Scope::new(1, &device)).unwrap();
        assert_eq!((connector.input_width(), connector.output_width(), connector.output_tokens(16)), (1, 2, 4));
        // A grid of 4 x 4 patches of width one:
        //   0  1 |  2  3
        //   4  5 |  6  7
        //   -----+------
        //   8  9 | 10 11
        //  12 13 | 14 15
        let grid = Tensor::<1, burn::tensor::Int>::arange(0..16, &device).float().reshape([1, 16, 1]);
        let shuffled = connector.shuffle(grid).unwrap();
        assert_eq!(shuffled.dims(), [1, 4, 4]);
        let expected = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15].map(|value| value as f32);
        assert_eq!(shuffled.into_data().try_into_vec::<f32>().unwrap(), expected);
        // Width two: a patch's own values stay together.
        let grid = Tensor::<1, burn::tensor::Int>::arange(0..8, &device).float().reshape([1, 4, 2]);
        let shuffled = connector.shuffle(grid).unwrap();
        assert_eq!(shuffled.into_data().try_into_vec::<f32>().unwrap(), [0., 1., 2., 3., 4., 5., 6., 7.]);
        let error = connector.shuffle(Tensor::zeros([1, 9, 1], &device)).unwrap_err().to_string();
        assert!(error.contains("by 2") && error.contains("9 features"), "{error}");
    }
}
