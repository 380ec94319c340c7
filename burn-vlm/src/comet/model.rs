//! Encoder, mixture and head.

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};

use super::mix::{LayerwiseAttention, first_row};
use super::{CometConfig, SentenceLayer};
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::{Activation, Linear};
use crate::text::TextEncoder;

/// What a model computed of a batch.
#[derive(Debug, Clone)]
pub struct CometOutput {
    /// The estimator's output, not clamped: `[batch]`. Of XCOMET it is one part of the score.
    pub scores: Tensor<1>,
    /// Before the softmax, of a model with error spans: `[batch, tokens, labels]`, label 0 being none.
    pub labels: Option<Tensor<3>>,
}

/// The encoder under the name that checkpoints have for it.
#[derive(Module, Debug)]
pub struct CometEncoder {
    /// The encoder.
    pub model: TextEncoder,
}

/// From the sentence's vector to a number.
#[derive(Module, Debug)]
pub struct Estimator {
    /// In order of application; activations stand between them.
    pub ff: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    last: Option<Activation>,
}

impl Estimator {
    fn new(config: &CometConfig, scope: &Scope) -> Self {
        let mut width = config.encoder.hidden_size();
        let sizes = config.hidden_sizes.iter().copied().chain([1]);
        let layer = |(index, output): (usize, usize)| {
            let input = std::mem::replace(&mut width, output);
            let fill = Fill::torch_linear(input);
            scope.at("ff").linear(&index.to_string(), input, output, fill, Some(fill))
        };
        let ff = sizes.enumerate().map(layer).collect();
        Self { ff, activation: config.activation, last: config.final_activation }
    }

    /// # Shapes
    /// - `x`: `[batch, hidden]`
    /// - returns `[batch]`
    pub fn forward(&self, mut x: Tensor<2>) -> Tensor<1> {
        let [batch, _] = x.dims();
        for (index, layer) in self.ff.iter().enumerate() {
            x = layer.forward(x);
            x = match index + 1 < self.ff.len() {
                true => self.activation.forward(x),
                false => self.last.map_or(x.clone(), |last| last.forward(x)),
            };
        }
        x.reshape([batch])
    }
}

/// COMETKiwi or XCOMET.
#[derive(Module, Debug)]
pub struct CometModel {
    /// The encoder.
    pub encoder: CometEncoder,
    /// The mixture of its hidden states, where there is one.
    pub layerwise_attention: Option<LayerwiseAttention>,
    /// The head.
    pub estimator: Estimator,
    /// From a hidden state to labels, of a model with error spans.
    pub hidden2tag: Option<Linear>,
    /// What the model was built from.
    #[module(skip)]
    pub config: CometConfig,
}

impl CometModel {
    /// A model with random weights from the scope's seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] where the sizes do not fit each other.
    pub fn new(config: CometConfig, scope: &Scope) -> Result<Self, ModelError> {
        let hidden = config.encoder.hidden_size();
        let states = config.encoder.num_layers() + 1;
        let tag = |_| {
            let fill = Fill::torch_linear(hidden);
            scope.linear("hidden2tag", hidden, config.error_labels.len() + 1, fill, Some(fill))
        };
        Ok(Self {
            encoder: CometEncoder { model: config.encoder.init_with(&scope.at("encoder").at("model"))? },
            layerwise_attention: matches!(config.sentence_layer, SentenceLayer::Mix(_))
                .then(|| LayerwiseAttention::new(states, &scope.at("layerwise_attention"))),
            estimator: Estimator::new(&config, &scope.at("estimator")),
            hidden2tag: config.word_layer.map(tag),
            config,
        })
    }

    /// Scores of joined texts.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`, padded on the right by the padding id
    /// - `mask`: `[batch, tokens]`, true where the token is real
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the learned positions; [`ModelError::Read`].
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>) -> Result<CometOutput, ModelError> {
        let config = &self.config;
        let mixed = self.layerwise_attention.as_ref();
        let factors = mixed.map(|mix| mix.factors(config.layer_transformation)).transpose()?;
        let mut sentence: Option<Tensor<2>> = None;
        let mut words: Option<Tensor<3>> = None;
        let standardise = config.layer_norm.then_some(&mask);
        self.encoder.model.states(ids, Some(mask.clone()), |index, state| {
            if config.word_layer == Some(index) {
                words = Some(state.clone());
            }
            match (&factors, config.sentence_layer) {
                (Some(factors), _) => {
                    let piece = first_row(state, standardise) * factors.get(index).copied().unwrap_or(0.0);
                    sentence = Some(match sentence.take() {
                        Some(sum) => sum + piece,
                        None => piece,
                    });
                }
                (None, SentenceLayer::Layer(layer)) if layer == index => sentence = Some(first_row(state, None)),
                _ => {}
            }
        })?;
        let sentence = sentence.ok_or_else(|| ModelError::Input("no hidden state was chosen".into()))?;
        let labels = words.zip(self.hidden2tag.as_ref()).map(|(state, tag)| tag.forward(state));
        Ok(CometOutput { scores: self.estimator.forward(sentence), labels })
    }
}
