//! What can be known of a model from its config alone: names and shapes of the parameters that `init` would make, without a byte of
//! them, and the sizes of its layers.
//!
//! Unusual here: the names are the dotted paths of the modules' fields, so that patterns on parameter names (frozen parts, learning
//! rates) can be tried on a model of any size before there is memory for it. They are read off the modules themselves, whose
//! parameters are drawn only when they are used.

use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::parameters;
use crate::connector::{Connector, Projector};
use crate::error::ModelError;
use crate::init::Scope;
use crate::language::LanguageConfig;
use crate::vision::{VisionConfig, VisionEncoder, VisionTower};
use crate::vlm::VlmConfig;

/// Sizes of a stack of transformer layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Whether the MLP has a gate: three matrices instead of two.
    pub gated: bool,
    /// Norms of a layer.
    pub norms: usize,
}

impl LayerShape {
    /// The layers of a ViT: as many key heads as query heads, no gate, two norms.
    pub fn vit(layers: usize, hidden_size: usize, heads: usize, intermediate_size: usize) -> Self {
        Self {
            layers,
            hidden_size,
            heads,
            kv_heads: heads,
            head_dim: hidden_size / heads.max(1),
            intermediate_size,
            gated: false,
            norms: 2,
        }
    }

    /// Values of one layer's weight matrices: biases and norms left out, which cost next to no operations.
    pub fn matrix_values(&self) -> u64 {
        let attention = 2 * (self.heads + self.kv_heads) * self.head_dim * self.hidden_size;
        let mlp = if self.gated { 3 } else { 2 } * self.hidden_size * self.intermediate_size;
        (attention + mlp) as u64
    }
}

/// One float parameter that a config asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Dotted path of the module's fields: `language_model.model.layers.0.self_attn.q_proj.weight`.
    pub path: String,
    /// Shape in memory.
    pub shape: Vec<usize>,
}

impl ParameterShape {
    /// Number of values.
    pub fn count(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product()
    }
}

/// The parameters of a module, none of which is drawn.
pub fn parameter_shapes<M: Module>(module: &M) -> Vec<ParameterShape> {
    let shape = |parameter: crate::checkpoint::Parameter| {
        let mut shape = parameter.shape;
        if parameter.transposed {
            shape.reverse();
        }
        ParameterShape { path: parameter.name, shape }
    };
    parameters(module).into_iter().map(shape).collect()
}

fn total(parameters: &[ParameterShape]) -> u64 {
    parameters.iter().map(ParameterShape::count).sum()
}

impl VisionConfig {
    /// The parameters of the tower, its pooling head included.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn parameters(&self) -> Result<Vec<ParameterShape>, ModelError> {
        Ok(parameter_shapes(&self.init_with(&Scope::shapes(&Device::default()))?))
    }

    /// Number of values of [`Self::parameters`].
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn num_parameters(&self) -> Result<u64, ModelError> {
        self.parameters().map(|parameters| total(&parameters))
    }
}

impl LanguageConfig {
    /// The parameters of the decoder; a head that is tied to the embeddings counts once.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn parameters(&self) -> Result<Vec<ParameterShape>, ModelError> {
        Ok(parameter_shapes(&self.init_with(&Scope::shapes(&Device::default()))?))
    }

    /// Number of values of [`Self::parameters`].
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn num_parameters(&self) -> Result<u64, ModelError> {
        self.parameters().map(|parameters| total(&parameters))
    }
}

impl VlmConfig {
    /// The parameters of tower, connector and decoder, and the newline of tiled pictures.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn parameters(&self) -> Result<Vec<ParameterShape>, ModelError> {
        self.parameters_of::<VisionEncoder, Connector>()
    }

    /// As [`Self::parameters`], with parts of your own.
    ///
    /// # Errors
    /// As [`Self::init_parts`].
    pub fn parameters_of<T: VisionTower, P: Projector>(&self) -> Result<Vec<ParameterShape>, ModelError> {
        Ok(parameter_shapes(&self.init_parts::<T, P>(&Scope::shapes(&Device::default()))?))
    }

    /// Number of values of [`Self::parameters`].
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn num_parameters(&self) -> Result<u64, ModelError> {
        self.parameters().map(|parameters| total(&parameters))
    }
}
