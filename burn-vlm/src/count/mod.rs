//! Parameters from a config alone: names and shapes of what `init` would make, without a byte of it.
//!
//! Unusual here: the names are the dotted paths of the modules' fields, so that patterns on parameter names (frozen parts, learning
//! rates) can be tried on a model of any size before there is memory for it.

mod connector;
mod language;
mod layers;
mod vision;

pub use layers::LayerShape;

use std::fmt::Display;

use crate::connector::MlpConnectorConfig;
use crate::language::LanguageConfig;
use crate::vision::VisionConfig;
use crate::vlm::VlmConfig;

/// One float parameter that a config asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Dotted path of the module's fields: `language_model.model.layers.0.self_attn.q_proj.weight`.
    pub path: String,
    /// Shape.
    pub shape: Vec<usize>,
}

impl ParameterShape {
    /// Number of values.
    pub fn count(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product()
    }
}

fn total(parameters: &[ParameterShape]) -> u64 {
    parameters.iter().map(ParameterShape::count).sum()
}

impl VisionConfig {
    /// The parameters of the tower, its pooling head included.
    pub fn parameters(&self) -> Vec<ParameterShape> {
        List::collect(|list| vision::tower(self, list))
    }

    /// Number of values of [`Self::parameters`].
    pub fn num_parameters(&self) -> u64 {
        total(&self.parameters())
    }
}

impl LanguageConfig {
    /// The parameters of the decoder; a head that is tied to the embeddings counts once.
    pub fn parameters(&self) -> Vec<ParameterShape> {
        List::collect(|list| language::decoder(self, list))
    }

    /// Number of values of [`Self::parameters`].
    pub fn num_parameters(&self) -> u64 {
        total(&self.parameters())
    }
}

impl VlmConfig {
    /// The parameters of tower, connector and decoder, and the newline of tiled pictures.
    pub fn parameters(&self) -> Vec<ParameterShape> {
        let hidden = self.text_config.hidden_size();
        let projector = MlpConnectorConfig {
            input: self.feature_width(),
            hidden,
            activation: self.projector_hidden_act,
            bias: self.multimodal_projector_bias,
        };
        List::collect(|list| {
            vision::tower(&self.vision_config, &mut list.at("vision_tower"));
            connector::connector(&self.connector, &projector, &mut list.at("multi_modal_projector"));
            language::decoder(&self.text_config, &mut list.at("language_model"));
            if self.is_tiled() {
                list.add("image_newline", [hidden]);
            }
        })
    }

    /// Number of values of [`Self::parameters`].
    pub fn num_parameters(&self) -> u64 {
        total(&self.parameters())
    }
}

/// Parameters below a path.
struct List<'a> {
    prefix: String,
    found: &'a mut Vec<ParameterShape>,
}

impl List<'_> {
    fn collect(fill: impl FnOnce(&mut List)) -> Vec<ParameterShape> {
        let mut found = Vec::new();
        fill(&mut List { prefix: String::new(), found: &mut found });
        found
    }

    /// What follows is below `name`.
    fn at(&mut self, name: impl Display) -> List<'_> {
        List { prefix: format!("{}{name}.", self.prefix), found: self.found }
    }

    fn add<const D: usize>(&mut self, name: &str, shape: [usize; D]) {
        self.found.push(ParameterShape { path: format!("{}{name}", self.prefix), shape: shape.to_vec() });
    }

    /// `weight` `[input, output]` and `bias`.
    fn linear(&mut self, name: &str, input: usize, output: usize, bias: bool) {
        let mut list = self.at(name);
        list.add("weight", [input, output]);
        if bias {
            list.add("bias", [output]);
        }
    }

    /// `weight` and `bias`.
    fn layer_norm(&mut self, name: &str, width: usize) {
        let mut list = self.at(name);
        list.add("weight", [width]);
        list.add("bias", [width]);
    }

    /// `weight` alone.
    fn rms_norm(&mut self, name: &str, width: usize) {
        self.at(name).add("weight", [width]);
    }
}
