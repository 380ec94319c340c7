//! JSON whose objects keep the order of their keys.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde::{Deserialize, Serialize};

/// A JSON value whose objects keep their keys in the order in which they were read, as templates are shown them in Python. An object
/// without keys by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderedJson(pub(super) Value);

impl Default for OrderedJson {
    fn default() -> Self {
        Self(Value::from_pairs(std::iter::empty::<(&str, Value)>()))
    }
}

impl OrderedJson {
    /// The value of a key, of an object that has it.
    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.0.get_attr(key).ok()?;
        (!value.is_undefined()).then_some(Self(value))
    }

    /// The text, of a text.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    pub(super) fn bytes(&self) -> usize {
        bytes(&self.0)
    }
}

impl std::str::FromStr for OrderedJson {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// The bytes of all texts in a value.
pub(super) fn bytes(value: &Value) -> usize {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Seq => value.try_iter().map_or(0, |items| items.map(|item| bytes(&item)).sum()),
        ValueKind::Map => {
            let of = |key: Value| bytes(&key) + value.get_item(&key).map_or(0, |inner| bytes(&inner));
            value.try_iter().map_or(0, |keys| keys.map(of).sum())
        }
        _ => 0,
    }
}
