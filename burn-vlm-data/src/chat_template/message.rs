//! Messages as chat templates see them: a role, and a text or a list of images and texts.

use super::OrderedJson;
use crate::conversation::{IMAGE_PLACEHOLDER, Turn, VIDEO_PLACEHOLDER};
use minijinja::Value;
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
    /// `{"type": "video"}`: a video, likewise.
    Video,
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
            Self::Image | Self::Video => None,
            Self::Text { text } => Some(text),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Image => Value::from_pairs([("type", "image")]),
            Self::Video => Value::from_pairs([("type", "video")]),
            Self::Text { text } => Value::from_pairs([("type", "text"), ("text", text.as_str())]),
        }
    }
}

/// A turn's text is split at its placeholders; a line break after one belongs to it, since templates write their own.
impl From<&Turn> for Message {
    fn from(turn: &Turn) -> Self {
        let mut parts = Vec::new();
        push_parts(&mut parts, &turn.text);
        Self { role: turn.role.as_str().to_owned(), content: Content::Parts(parts), extra: OrderedJson::default() }
    }
}

impl Message {
    /// The message of a turn whose text is split at the placeholders of videos too; of a model without videos these are words.
    pub fn with_videos(turn: &Turn) -> Self {
        let mut parts = Vec::new();
        for (index, piece) in turn.text.split(VIDEO_PLACEHOLDER).enumerate() {
            let mut text = piece;
            if index > 0 {
                parts.push(Part::Video);
                text = piece.strip_prefix('\n').unwrap_or(piece);
            }
            push_parts(&mut parts, text);
        }
        Self { role: turn.role.as_str().to_owned(), content: Content::Parts(parts), extra: OrderedJson::default() }
    }
}

/// Pictures and words of a text.
fn push_parts(parts: &mut Vec<Part>, text: &str) {
    for (index, piece) in text.split(IMAGE_PLACEHOLDER).enumerate() {
        let mut text = piece;
        if index > 0 {
            parts.push(Part::Image);
            text = piece.strip_prefix('\n').unwrap_or(piece);
        }
        if !text.is_empty() {
            parts.push(Part::Text { text: text.to_owned() });
        }
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
        let turn = Turn::user("<video>\n<image>\nIs it there?<video>");
        let text = Part::Text { text: "Is it there?".to_owned() };
        let shown = Message::with_videos(&turn);
        assert_eq!(shown.content, Content::Parts(vec![Part::Video, Part::Image, text, Part::Video]));
        assert_eq!(Message::from(&turn).images(), 1);
    }
}
