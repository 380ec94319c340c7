//! Text encoders of the BERT family in files: their keys have names that Rust has for itself (`self`) or writes otherwise (`LayerNorm`).

use burn::tensor::Device;

use super::{Layout, Pretrained};
use crate::error::ModelError;
use crate::text::{TextEncoder, TextEncoderConfig};

/// Segments of keys in files, and of the modules' names.
const SEGMENTS: [(&str, &str); 2] = [("self", "self_attention"), ("LayerNorm", "layer_norm")];
/// Where a model with a head keeps the encoder.
const PREFIX: &str = "roberta.";
/// Heads, and the pooled output that was trained with another one: no part of the encoder.
const OTHERS: [&str; 3] = ["lm_head.", "classifier.", "pooler."];

/// How the keys of COMET's estimator are numbered: a linear layer, its activation, its dropout.
const STRIDE: usize = 3;
const ESTIMATOR: &str = "estimator.ff.";
/// What COMET's checkpoints hold for training alone: which layers were dropped, weights of the labels in the loss; and a pooled
/// output that it does not read.
const UNUSED: [&str; 4] = [
    "layerwise_attention.dropout_mask",
    "layerwise_attention.dropout_fill",
    "wordloss.weight",
    "encoder.model.pooler.",
];

/// The parameter that a key stands for.
pub(super) fn module_name(key: &str) -> Option<String> {
    let key = key.strip_prefix(PREFIX).unwrap_or(key);
    (!OTHERS.iter().any(|other| key.starts_with(other))).then(|| renamed(key, |(from, to)| (from, to)))
}

/// The key of a parameter.
pub(super) fn file_key(name: &str) -> String {
    renamed(name, |(to, from)| (from, to))
}

fn renamed<'a>(
    key: &'a str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> String {
    let segment = |segment: &'a str| {
        let found = SEGMENTS.map(&direction).into_iter().find(|(from, _)| *from == segment);
        found.map_or(segment, |(_, to)| to)
    };
    key.split('.').map(segment).collect::<Vec<_>>().join(".")
}

/// The parameter of a COMET model that a key stands for.
pub(super) fn comet_name(key: &str) -> Option<String> {
    if UNUSED.iter().any(|unused| key.starts_with(unused)) {
        return None;
    }
    Some(match numbered(key) {
        // Another number is no linear layer's: the key stays as it is, and is a second one of a parameter, or unexpected.
        Some((number, rest)) if number % STRIDE == 0 => format!("{ESTIMATOR}{}.{rest}", number / STRIDE),
        _ => renamed(key, |(from, to)| (from, to)),
    })
}

/// The key of a parameter of a COMET model.
pub(super) fn comet_key(name: &str) -> String {
    match numbered(name) {
        Some((number, rest)) => format!("{ESTIMATOR}{}.{rest}", number * STRIDE),
        None => file_key(name),
    }
}

/// Number and rest of a key of the estimator.
fn numbered(key: &str) -> Option<(usize, &str)> {
    let (number, rest) = key.strip_prefix(ESTIMATOR)?.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

impl Pretrained for TextEncoder {
    type Config = TextEncoderConfig;

    fn pretrained_config(&self) -> TextEncoderConfig {
        self.config()
    }

    fn architecture(&self) -> (&'static str, &'static str) {
        match self {
            Self::XlmRoberta(_) => ("XLMRobertaModel", "xlm-roberta"),
            Self::XlmRobertaXl(_) => ("XLMRobertaXLModel", "xlm-roberta-xl"),
        }
    }

    fn layout(&self) -> Layout {
        Layout::Text
    }

    fn from_config(config: &TextEncoderConfig, device: &Device) -> Result<Self, ModelError> {
        config.init(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_there_and_back() {
        for (key, name) in [
            ("embeddings.LayerNorm.weight", "embeddings.layer_norm.weight"),
            ("encoder.layer.3.attention.self.query.bias", "encoder.layer.3.attention.self_attention.query.bias"),
            (
                "encoder.layer.3.attention.self_attn_layer_norm.bias",
                "encoder.layer.3.attention.self_attn_layer_norm.bias",
            ),
            ("encoder.LayerNorm.bias", "encoder.layer_norm.bias"),
        ] {
            assert_eq!(module_name(key).as_deref(), Some(name));
            assert_eq!(module_name(&format!("roberta.{key}")).as_deref(), Some(name));
            assert_eq!(file_key(name), key);
            let (key, name) = (format!("encoder.model.{key}"), format!("encoder.model.{name}"));
            assert_eq!(comet_name(&key).as_deref(), Some(name.as_str()));
            assert_eq!(comet_key(&name), key);
        }
        assert_eq!(comet_name("estimator.ff.6.weight").as_deref(), Some("estimator.ff.2.weight"));
        assert_eq!(comet_key("estimator.ff.2.weight"), "estimator.ff.6.weight");
        assert_eq!(comet_name("estimator.ff.1.weight").as_deref(), Some("estimator.ff.1.weight"));
        assert_eq!(comet_name("layerwise_attention.dropout_fill"), None);
        assert_eq!(module_name("lm_head.dense.weight"), None);
    }
}
