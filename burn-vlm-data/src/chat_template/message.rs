//! Messages as chat templates see them: a role, and a text or a list of images and texts.

use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use minijinja::Value;
use minijinja::value::ValueKind;
use serde::{Deserialize, Serialize};

/// One message of a conversation, with the keys of Hugging Face's `apply_chat_template`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `"system"`, `"user"`, `"assistant"`, or whatever the template knows (`"tool"`).
    pub role: String,
    /// What is said.
    pub content: Content,
    /// Further keys that a template may read (`tool_calls`, `reasoning_content`), in their order.
    #[serde(flatten)]
    pub extra: OrderedJson,
}

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

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A text, as templates of language models want it.
    Text(String),
    /// A list of parts, as templates of vision-language models want it.
    Parts(Vec<Part>),
}

/// A part of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Part {
    /// `{"type": "image"}`: a picture; where its token stands is for the template to say.
    Image,
    /// `{"type": "text", "text": ...}`
    Text {
        /// The text.
        text: String,
    },
}

impl Message {
    /// A message with a text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self { role: role.into(), content: Content::Text(text.into()), extra: OrderedJson::default() }
    }

    /// A message with a number of images followed by a text.
    pub fn with_images(role: impl Into<String>, images: usize, text: impl Into<String>) -> Self {
        let mut parts = vec![Part::Image; images];
        parts.push(Part::Text { text: text.into() });
        Self { role: role.into(), content: Content::Parts(parts), extra: OrderedJson::default() }
    }

    /// Number of images of the message.
    pub fn images(&self) -> usize {
        match &self.content {
            Content::Text(text) => text.matches(IMAGE_PLACEHOLDER).count(),
            Content::Parts(parts) => parts.iter().filter(|part| **part == Part::Image).count(),
        }
    }
}

impl Message {
    /// The message with a token behind its words.
    pub(super) fn ended_by(mut self, end: &str) -> Self {
        match &mut self.content {
            Content::Text(text) => text.push_str(end),
            Content::Parts(parts) => match parts.iter_mut().rev().find_map(Part::text_mut) {
                Some(text) => text.push_str(end),
                None => parts.push(Part::Text { text: end.to_owned() }),
            },
        }
        self
    }

    /// The message as templates see it.
    pub(super) fn value(&self) -> Value {
        let content = match &self.content {
            Content::Text(text) => Value::from(text),
            Content::Parts(parts) => parts.iter().map(Part::value).collect(),
        };
        let own = [(Value::from("role"), Value::from(&self.role)), (Value::from("content"), content)];
        let extra = &self.extra.0;
        let extra =
            extra.try_iter().into_iter().flatten().filter_map(|key| Some((key.clone(), extra.get_item(&key).ok()?)));
        Value::from_pairs(own.into_iter().chain(extra))
    }
}

impl Part {
    fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Image => None,
            Self::Text { text } => Some(text),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Image => Value::from_pairs([("type", "image")]),
            Self::Text { text } => Value::from_pairs([("type", "text"), ("text", text.as_str())]),
        }
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

/// A turn's text is split at its placeholders; a line break after one belongs to it, since templates write their own.
impl From<&Turn> for Message {
    fn from(turn: &Turn) -> Self {
        let mut parts = Vec::new();
        for (index, piece) in turn.text.split(IMAGE_PLACEHOLDER).enumerate() {
            let mut text = piece;
            if index > 0 {
                parts.push(Part::Image);
                text = piece.strip_prefix('\n').unwrap_or(piece);
            }
            if !text.is_empty() {
                parts.push(Part::Text { text: text.to_owned() });
            }
        }
        Self { role: turn.role.as_str().to_owned(), content: Content::Parts(parts), extra: OrderedJson::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_turns_and_json() {
        let message = Message::from(&Turn::user("<image>\n<image>What changed?"));
        let text = Part::Text { text: "What changed?".to_owned() };
        assert_eq!(message.content, Content::Parts(vec![Part::Image, Part::Image, text]));
        assert_eq!(message, Message::with_images("user", 2, "What changed?"));
        let json = r#"{"role":"user","content":[{"type":"image"},{"type":"text","text":"Hi"}],"name":"Ada"}"#;
        let read: Message = serde_json::from_str(json).unwrap();
        assert_eq!((read.images(), read.extra.get("name").unwrap().as_str()), (1, Some("Ada")));
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        assert_eq!(Message::text("user", "<image>\nHi").images(), 1);
    }
}
