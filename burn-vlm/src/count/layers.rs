//! The layers of towers and decoders in one form, for what is reckoned from their sizes: operations and memory.

use super::language;
use crate::language::LanguageConfig;
use crate::vision::VisionConfig;

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
    /// Values of one layer's weight matrices: biases and norms left out, which cost next to no operations.
    pub fn matrix_values(&self) -> u64 {
        let attention = 2 * (self.heads + self.kv_heads) * self.head_dim * self.hidden_size;
        let mlp = if self.gated { 3 } else { 2 } * self.hidden_size * self.intermediate_size;
        (attention + mlp) as u64
    }
}

impl VisionConfig {
    /// The tower's layers.
    pub fn layer_shape(&self) -> LayerShape {
        let (layers, hidden_size, heads, intermediate_size) = match self {
            Self::Siglip(c) => (c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.intermediate_size),
            Self::Clip(c) | Self::ChineseClip(c) => {
                (c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.intermediate_size)
            }
        };
        LayerShape {
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
}

impl LanguageConfig {
    /// The decoder's layers.
    pub fn layer_shape(&self) -> LayerShape {
        language::Layer::of(self).shape
    }

    /// How many positions layer `layer` sees; `None` is all.
    pub fn layer_window(&self, layer: usize) -> Option<usize> {
        match self {
            Self::Gemma2(config) => config.layer_window(layer),
            Self::Llama(_) => None,
            Self::Mistral(config) => config.sliding_window,
            Self::Qwen2(config) => config.layer_window(layer),
        }
    }
}
