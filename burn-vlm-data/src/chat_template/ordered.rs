//! JSON whose objects keep the order of their keys.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A JSON value whose objects keep their keys in the order in which they were read, as templates are shown them in Python. An object
/// without keys by default.
#[derive(Debug, Clone, PartialEq)]
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

/// With the keys in the order of the value, which serde_json sorts unless it was built otherwise.
impl From<serde_json::Value> for OrderedJson {
    fn from(value: serde_json::Value) -> Self {
        Self(json_value(&value))
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

/// JSON as templates see it.
fn json_value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::from(number),
            (_, Some(number)) => Value::from(number),
            _ => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => items.iter().map(json_value).collect(),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), json_value(value))))
        }
    }
}

impl<'de> Deserialize<'de> for OrderedJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson).map(Self)
    }
}

/// Reads any value.
struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(OrderedJson(item)) = items.next_element()? {
            found.push(item);
        }
        Ok(Value::from(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut found: Vec<(String, Value)> = Vec::new();
        while let Some((key, OrderedJson(value))) = entries.next_entry()? {
            found.push((key, value));
        }
        Ok(Value::from_pairs(found))
    }
}

impl Serialize for OrderedJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = &self.0;
        match value.kind() {
            ValueKind::Bool => serializer.serialize_bool(value.is_true()),
            ValueKind::Number => match (i64::try_from(value.clone()), u64::try_from(value.clone())) {
                _ if !value.is_integer() => {
                    serializer.serialize_f64(f64::try_from(value.clone()).map_err(S::Error::custom)?)
                }
                (Ok(number), _) => serializer.serialize_i64(number),
                (_, Ok(number)) => serializer.serialize_u64(number),
                (Err(error), _) => Err(S::Error::custom(error)),
            },
            ValueKind::String => serializer.serialize_str(value.as_str().unwrap_or_default()),
            ValueKind::Seq => {
                let mut list = serializer.serialize_seq(value.len())?;
                for item in value.try_iter().map_err(S::Error::custom)? {
                    list.serialize_element(&Self(item))?;
                }
                list.end()
            }
            ValueKind::Map => {
                let mut map = serializer.serialize_map(value.len())?;
                for key in value.try_iter().map_err(S::Error::custom)? {
                    let inner = value.get_item(&key).map_err(S::Error::custom)?;
                    map.serialize_entry(key.as_str().unwrap_or_default(), &Self(inner))?;
                }
                map.end()
            }
            _ => serializer.serialize_unit(),
        }
    }
}
