//! What a VLM asks of its connector, whoever wrote it.

use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

use super::{ConnectorConfig, Routing, RoutingText, TextScope};
use crate::error::ModelError;
use crate::init::Scope;
use crate::nn::Activation;
use crate::vlm::VlmConfig;

/// What a connector is built from besides its own keys: its place in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConnectorShape {
    /// Width of the visual features.
    pub input: usize,
    /// Width of the decoder's embeddings.
    pub hidden: usize,
    /// Features of one square view.
    pub tokens: usize,
    /// `projector_hidden_act`
    pub activation: Activation,
    /// `multimodal_projector_bias`
    pub bias: bool,
}

/// A connector's own keys in `config.json`.
pub trait ConnectorKeys {
    /// Visual tokens for `tokens` features.
    fn output_tokens(&self, tokens: usize) -> usize {
        let scale = self.grid_scale().max(1);
        tokens / (scale * scale)
    }

    /// How many features along each side of the grid become one visual token.
    fn grid_scale(&self) -> usize {
        1
    }

    /// Checks the keys by themselves, before there is a model around.
    ///
    /// # Errors
    /// [`ModelError::Config`].
    fn check(&self) -> Result<(), ModelError> {
        Ok(())
    }

    /// Checks that the keys fit the model around; [`Self::check`] came before.
    ///
    /// # Errors
    /// [`ModelError::Config`].
    fn validate(&self, _model: &VlmConfig) -> Result<(), ModelError> {
        Ok(())
    }
}

/// A connector: visual features in, visual tokens of the decoder's width out.
///
/// [`Connector`](super::Connector), the enum of this library's own, is one, and so is any module of yours with this trait:
/// [`Vlm<T, P>`](crate::vlm::Vlm) trains, generates, saves and loads with it.
///
/// Its configuration is a [`ConnectorConfig`], the key `connector` of `config.json`: for your own
/// [`ConnectorConfig::custom`] with a name and whatever keys it likes. Its parameters are written under
/// `multi_modal_projector.` and the dotted path of its fields.
///
/// There is no registry at run time. Which connectors a program knows is a type: your own alone, or
/// [`Either<Yours>`](crate::parts::Either) for yours beside this library's, so that one study compares them by their names in TOML.
pub trait Projector: Module + ModuleDisplay + Sync + 'static {
    /// Whether [`Self::from_config`] takes this configuration for its own.
    fn accepts(config: &ConnectorConfig) -> bool;

    /// A connector with random weights from the scope's seed; make parameters with [`Scope`]'s functions, and they are drawn
    /// only if no file fills them.
    ///
    /// # Errors
    /// [`ModelError::Config`] for keys that it cannot be built from.
    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError>;

    /// What `config.json` says of it: [`Self::from_config`] makes an equal connector of it.
    fn config(&self) -> ConnectorConfig;

    /// Width of the features that it takes.
    fn input_width(&self) -> usize;

    /// Width of the tokens that it gives.
    fn output_width(&self) -> usize;

    /// Visual tokens that it gives for `tokens` features. The model notes the number in its configuration.
    fn output_tokens(&self, tokens: usize) -> usize {
        self.config().output_tokens(tokens)
    }

    /// Features to visual tokens.
    ///
    /// # Shapes
    /// - `features`: `[n, tokens, input_width]`
    /// - `text`: the words around each image, for a connector with a [`Self::text_scope`]
    /// - returns `[n, output_tokens, output_width]`
    ///
    /// # Errors
    /// [`ModelError::Input`] where it needs text and there is none, and whatever else it cannot take.
    fn connect(&self, features: Tensor<3>, text: Option<&RoutingText>) -> Result<Tensor<3>, ModelError>;

    /// Element type of its weights, to which the features are cast: that of its first parameter.
    fn dtype(&self) -> DType {
        let mut first = FirstDtype(None);
        self.visit(&mut first);
        first.0.unwrap_or(DType::F32)
    }

    /// Which words of a training sample [`Self::connect`] is shown; `None` where it reads no text.
    fn text_scope(&self) -> Option<TextScope> {
        None
    }

    /// Whether [`Self::connect`] needs the text around the image as the connector now is: one with bypassed experts does not.
    fn reads_text(&self) -> bool {
        self.text_scope().is_some()
    }

    /// The features in the decoder's space before any text is read; the visual tokens themselves where none is.
    ///
    /// # Shapes
    /// - as [`Self::connect`]
    ///
    /// # Errors
    /// As [`Self::connect`]: one that reads text has to say what this is.
    fn project(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        self.connect(features, None)
    }

    /// How its experts would be mixed; `None` without experts, or where they are bypassed. No expert runs.
    ///
    /// # Shapes
    /// - `features`: `[n, tokens, input_width]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for text of another number of images.
    fn route(&self, _features: Tensor<3>, _text: &RoutingText) -> Result<Option<Routing>, ModelError> {
        Ok(None)
    }

    /// What each of its experts makes of the features by itself; empty without experts.
    ///
    /// # Shapes
    /// - `features`: `[n, tokens, input_width]`
    /// - each returned: `[n, tokens, output_width]`
    ///
    /// # Errors
    /// Features that it cannot take.
    fn experts(&self, _features: Tensor<3>) -> Result<Vec<Tensor<3>>, ModelError> {
        Ok(Vec::new())
    }

    /// Leaves its experts out (Parrot's stage 1) or not; nothing without experts.
    fn set_bypass(&mut self, _bypass: bool) {}
}

/// The element type of the first parameter.
struct FirstDtype(Option<DType>);

impl ModuleVisitor for FirstDtype {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.0.is_none() {
            self.0 = Some(param.val().dtype());
        }
    }
}
