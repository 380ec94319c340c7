//! `hparams.yaml`: what a COMET model is made of. Keys that only training has are not read.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::nn::Activation;
use crate::text::TextEncoderConfig;

/// What errors call the file.
pub(super) const FILE: &str = "hparams.yaml";

/// Which of COMET's classes made the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CometClass {
    /// `UnifiedMetric`: COMETKiwi, and its relatives with references.
    #[serde(rename = "unified_metric")]
    Unified,
    /// `XCOMETMetric`: the same body, with error spans that are part of the score.
    #[serde(rename = "xcomet_metric")]
    Xcomet,
}

/// A text of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Segment {
    /// The translation, which always stands first.
    #[serde(rename = "mt")]
    Translation,
    /// The source.
    #[serde(rename = "src")]
    Source,
    /// The reference.
    #[serde(rename = "ref")]
    Reference,
}

/// How the weights of the layers come of their parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerTransformation {
    /// Softmax. `sparsemax_patch` is the mark of checkpoints whose training asked for a sparsemax and, by an error, had a softmax.
    #[serde(alias = "sparsemax_patch")]
    Softmax,
    /// Sparsemax: some weights are exactly 0.
    Sparsemax,
}

/// From which hidden states the sentence's vector comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SentenceLayer {
    /// A weighted mixture of all.
    Mix(Mix),
    /// One of them, 0 being the embeddings.
    Layer(usize),
}

/// The word that stands for a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mix {
    /// All hidden states.
    #[serde(rename = "mix")]
    Mix,
}

/// The keys of `hparams.yaml`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hparams {
    pub(super) class_identifier: CometClass,
    #[serde(default)]
    pub(super) pretrained_model: String,
    #[serde(default = "mix")]
    sent_layer: SentenceLayer,
    #[serde(default = "sparsemax")]
    layer_transformation: LayerTransformation,
    layer_norm: Option<bool>,
    hidden_sizes: Option<Vec<usize>>,
    #[serde(default = "tanh")]
    activations: String,
    #[serde(default)]
    final_activation: Option<String>,
    input_segments: Option<Vec<Segment>>,
    word_level_training: Option<bool>,
    word_layer: Option<usize>,
    error_labels: Option<Vec<String>>,
}

fn mix() -> SentenceLayer {
    SentenceLayer::Mix(Mix::Mix)
}
fn sparsemax() -> LayerTransformation {
    LayerTransformation::Sparsemax
}
fn tanh() -> String {
    "Tanh".into()
}

/// What a COMET model is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct CometConfig {
    /// Which class.
    pub class: CometClass,
    /// The encoder.
    pub encoder: TextEncoderConfig,
    /// `sent_layer`
    pub sentence_layer: SentenceLayer,
    /// How the layers' weights come of their parameters.
    pub layer_transformation: LayerTransformation,
    /// Whether each hidden state is standardised before it is mixed, with one mean and one variance a sentence.
    pub layer_norm: bool,
    /// Widths of the estimator between the encoder's and 1.
    pub hidden_sizes: Vec<usize>,
    /// Between them.
    pub activation: Activation,
    /// After the last, where there is one.
    pub final_activation: Option<Activation>,
    /// The texts that the model was trained on, the translation first.
    pub input_segments: Vec<Segment>,
    /// The hidden state that tokens are labelled from, of a model with error spans.
    pub word_layer: Option<usize>,
    /// Severities of errors, the lightest first; a token has one of them, or none.
    pub error_labels: Vec<String>,
}

impl CometConfig {
    /// What the keys of `hparams.yaml` and the encoder's config say, checked.
    pub(super) fn new(hparams: &Hparams, encoder: TextEncoderConfig) -> Result<Self, ModelError> {
        let xcomet = hparams.class_identifier == CometClass::Xcomet;
        let states = encoder.num_layers();
        let state = |key, layer: usize| match layer <= states {
            true => Ok(layer),
            false => Err(ModelError::config(FILE, key, layer, format!("at most {states}, the encoder's layers"))),
        };
        if let SentenceLayer::Layer(layer) = hparams.sent_layer {
            state("sent_layer", layer)?;
        }
        let word_level = hparams.word_level_training.unwrap_or(xcomet);
        if xcomet && !word_level {
            return Err(ModelError::config(FILE, "word_level_training", false, "true: the score needs the spans"));
        }
        let default_layer = if xcomet { 36 } else { 24 };
        let word_layer =
            word_level.then(|| state("word_layer", hparams.word_layer.unwrap_or(default_layer))).transpose()?;
        let hidden_sizes = match &hparams.hidden_sizes {
            Some(sizes) if sizes.is_empty() || sizes.contains(&0) => {
                return Err(ModelError::config(FILE, "hidden_sizes", sizes, "at least one width, each at least 1"));
            }
            Some(sizes) => sizes.clone(),
            None if xcomet => vec![2560, 1280],
            None => vec![3072, 1024],
        };
        let all = vec![Segment::Translation, Segment::Source, Segment::Reference];
        // XCOMET's class sets them itself.
        let input_segments = hparams.input_segments.clone().filter(|_| !xcomet).unwrap_or(all);
        let expected = "mt first, then src, ref or both in this order";
        let in_order = input_segments.windows(2).all(|pair| pair[0] != pair[1] && (pair[0] as u8) < (pair[1] as u8));
        if input_segments.first() != Some(&Segment::Translation) || input_segments.len() < 2 || !in_order {
            return Err(ModelError::config(FILE, "input_segments", &input_segments, expected));
        }
        let labels: &[&str] = if xcomet { &["minor", "major", "critical"] } else { &["minor", "major"] };
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let error_labels = hparams.error_labels.clone().unwrap_or_else(|| labels.clone());
        if xcomet && error_labels != labels {
            return Err(ModelError::config(FILE, "error_labels", error_labels, format!("{labels:?}")));
        }
        Ok(Self {
            class: hparams.class_identifier,
            encoder,
            sentence_layer: hparams.sent_layer,
            layer_transformation: hparams.layer_transformation,
            layer_norm: hparams.layer_norm.unwrap_or(!xcomet),
            hidden_sizes,
            activation: activation("activations", &hparams.activations)?,
            final_activation: hparams
                .final_activation
                .as_deref()
                .map(|name| activation("final_activation", name))
                .transpose()?,
            input_segments,
            word_layer,
            error_labels,
        })
    }

    /// Whether the model takes references.
    pub fn takes_references(&self) -> bool {
        self.input_segments.contains(&Segment::Reference)
    }

    /// Whether the model takes sources; one that does not cannot do without references.
    pub fn takes_sources(&self) -> bool {
        self.input_segments.contains(&Segment::Source)
    }
}

/// Names of torch's classes, as COMET looks them up.
fn activation(key: &'static str, name: &str) -> Result<Activation, ModelError> {
    match name.to_lowercase().as_str() {
        "tanh" => Ok(Activation::Tanh),
        "sigmoid" => Ok(Activation::Sigmoid),
        _ => Err(ModelError::config(FILE, key, name, "Tanh or Sigmoid, the ones that COMET's estimator can have")),
    }
}
