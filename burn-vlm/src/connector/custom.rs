//! The configuration of a connector that this library does not know.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ConnectorConfig, ConnectorKeys};
use crate::error::ModelError;
use crate::vlm::VlmConfig;

/// A connector of your own in a config: `{"kind": "custom", "name": "gated", ...}`, its own keys beside the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomConnector {
    /// What tells it from others.
    pub name: String,
    /// Visual tokens of one square view; absent, as many as features. A model notes it from
    /// [`Projector::output_tokens`](super::Projector::output_tokens).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<usize>,
    /// Its own keys.
    #[serde(flatten)]
    pub keys: Map<String, Value>,
}

impl CustomConnector {
    /// One without keys, with a visual token a feature.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), output_tokens: None, keys: Map::new() }
    }

    /// That nothing here builds it.
    pub(super) fn unknown(&self) -> ModelError {
        let expected = "a connector of this library, or a model of the type `Vlm<_, P>` whose `P` accepts it (for yours beside \
                        the library's, `Either<Yours>`)";
        ModelError::config("vlm", "connector.name", &self.name, expected)
    }
}

impl ConnectorKeys for CustomConnector {
    fn output_tokens(&self, tokens: usize) -> usize {
        self.output_tokens.unwrap_or(tokens)
    }

    fn validate(&self, model: &VlmConfig) -> Result<(), ModelError> {
        let features = model.num_feature_tokens();
        let tokens = self.output_tokens(features);
        let expected = match () {
            () if tokens == 0 => "at least 1".to_owned(),
            () if model.is_tiled() && tokens != features => format!("{features}, one a feature: pictures are tiled"),
            () => return Ok(()),
        };
        Err(ModelError::config("vlm", "connector.output_tokens", tokens, expected))
    }
}

impl ConnectorConfig {
    /// A connector of your own without keys.
    pub fn named(name: &str) -> Self {
        Self::Custom(CustomConnector::named(name))
    }

    /// The configuration of your own connector: its name and its keys.
    ///
    /// # Errors
    /// [`ModelError::Config`] for keys that are no JSON object, or named `kind`, `name` or `output_tokens`.
    pub fn custom(name: &str, keys: &impl Serialize) -> Result<Self, ModelError> {
        let wrong = |found: String, expected: &str| ModelError::config("vlm", "connector", found, expected);
        let value = serde_json::to_value(keys).map_err(|error| wrong(error.to_string(), "keys and values of JSON"))?;
        let keys = match value {
            Value::Object(keys) => keys,
            Value::Null => Map::new(),
            other => return Err(wrong(other.to_string(), "a JSON object, or `()` for a connector without keys")),
        };
        if let Some(taken) = ["kind", "name", "output_tokens"].into_iter().find(|name| keys.contains_key(*name)) {
            return Err(wrong(taken.to_owned(), "keys of other names than `kind`, `name` and `output_tokens`"));
        }
        Ok(Self::Custom(CustomConnector { name: name.to_owned(), output_tokens: None, keys }))
    }

    /// Whether this is your own connector `name`.
    pub fn is_custom(&self, name: &str) -> bool {
        matches!(self, Self::Custom(custom) if custom.name == name)
    }

    /// The keys of your own connector, as what [`Self::custom`] was given.
    ///
    /// # Errors
    /// [`ModelError::Config`] for another connector, and for keys that are missing, unknown to a type that denies them, or of
    /// another type.
    pub fn custom_keys<K: DeserializeOwned>(&self, name: &str) -> Result<K, ModelError> {
        let Self::Custom(custom) = self else {
            return Err(ModelError::config("vlm", "connector.kind", self, format!("`custom`, with the name `{name}`")));
        };
        if custom.name != name {
            return Err(ModelError::config("vlm", "connector.name", &custom.name, format!("`{name}`")));
        }
        let keys = custom.keys.clone();
        serde_json::from_value(Value::Object(keys)).map_err(|error| {
            let found = Value::Object(custom.keys.clone()).to_string();
            ModelError::config("vlm", "connector", found, format!("the keys of `{name}`: {error}"))
        })
    }
}
