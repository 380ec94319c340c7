//! Conversations: turns of a system, a user and an assistant, with a placeholder where a picture stands.

use serde::{Deserialize, Serialize};

/// Stands in a turn's text where a picture is shown; one placeholder is one picture.
pub const IMAGE_PLACEHOLDER: &str = "<image>";
/// Stands in a turn's text where a video is shown.
pub const VIDEO_PLACEHOLDER: &str = "<video>";

/// Who speaks. Serialised in lower case, as chat templates expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The one who asks.
    User,
    /// The model; its turns are what is trained.
    Assistant,
}

impl Role {
    /// The name in chat templates: `"system"`, `"user"` or `"assistant"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said; may hold [`IMAGE_PLACEHOLDER`]s.
    pub text: String,
}

impl Turn {
    /// A turn of the system.
    pub fn system(text: impl Into<String>) -> Self {
        Self { role: Role::System, text: text.into() }
    }

    /// A turn of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, text: text.into() }
    }

    /// A turn of the assistant.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, text: text.into() }
    }
}

/// Counts the videos that the turns refer to.
pub fn count_videos(turns: &[Turn]) -> usize {
    turns.iter().map(|turn| turn.text.matches(VIDEO_PLACEHOLDER).count()).sum()
}

/// Counts the pictures that the turns refer to.
pub fn count_images(turns: &[Turn]) -> usize {
    turns.iter().map(|turn| turn.text.matches(IMAGE_PLACEHOLDER).count()).sum()
}
