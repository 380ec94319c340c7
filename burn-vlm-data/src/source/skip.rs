//! Samples that cannot be used: what is wrong with them and where they stand.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a sample is left out. Serialised in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipKind {
    /// A picture that is named but not there.
    MissingImage,
    /// A video, or a frame of one, that is named but not there.
    MissingVideo,
    /// A picture that cannot be decoded: truncated, damaged, no known format.
    UnreadableImage,
    /// A picture of too many pixels.
    ImageTooLarge,
    /// A path that leads out of the image root.
    PathEscape,
    /// A video in a form that is not read: an empty folder of frames, a file among the frames of a list.
    UnsupportedVideo,
    /// A video that cannot be decoded: truncated, damaged, without frames, with fewer than a rule needs.
    UnreadableVideo,
    /// A record that is not what its format says: broken JSON, a role that nobody knows, a value of another type.
    Malformed,
    /// JSON that is nested too deeply.
    NestedTooDeep,
    /// A record, entry or file of too many bytes.
    EntryTooLarge,
    /// A record without any text.
    NoConversation,
    /// A conversation in which the assistant says nothing.
    NoAnswer,
    /// A language tag that is not known.
    UnknownLanguage,
    /// Placeholders and pictures do not match.
    Placeholders,
    /// A part of a file that cannot be read: a damaged page, an archive that ends early.
    DamagedFile,
    /// An archive entry that is no part of a sample, or the same part twice.
    UnexpectedEntry,
    /// A conversation that the template, the tokenizer or the length limit refuses.
    NotEncodable,
    /// A field that is known to hold a picture, a system text or choices, and cannot be read.
    UnreadField,
}

/// Why a sample is left out, with what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct SkipReason {
    /// The kind, by which skipped samples are counted.
    pub kind: SkipKind,
    /// What is there and what was expected.
    pub detail: String,
}

/// Where in a file a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line(u64),
    /// An element of a JSON array, from 0.
    Element(u64),
    /// A row of a parquet file, from 0.
    Row(u64),
    /// The entries of an archive that share a key.
    Key(String),
}

/// A sample that is left out: one line of `skipped.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Name of the source.
    pub source: String,
    /// Number of the record in its source, from 0.
    pub record: u64,
    /// The file.
    pub file: String,
    /// Where in the file, `"line 17"`.
    pub place: String,
    /// The record's id, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The kind of reason.
    pub reason: SkipKind,
    /// What is there and what was expected.
    pub detail: String,
}

impl SkipReason {
    /// A reason.
    pub fn new(kind: SkipKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A record that is not what its format says.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(SkipKind::Malformed, detail)
    }
}

impl SkipKind {
    /// The name in `skipped.jsonl`, `"missing_image"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingImage => "missing_image",
            Self::MissingVideo => "missing_video",
            Self::UnreadableImage => "unreadable_image",
            Self::ImageTooLarge => "image_too_large",
            Self::PathEscape => "path_escape",
            Self::UnsupportedVideo => "unsupported_video",
            Self::UnreadableVideo => "unreadable_video",
            Self::Malformed => "malformed",
            Self::NestedTooDeep => "nested_too_deep",
            Self::EntryTooLarge => "entry_too_large",
            Self::NoConversation => "no_conversation",
            Self::NoAnswer => "no_answer",
            Self::UnknownLanguage => "unknown_language",
            Self::Placeholders => "placeholders",
            Self::DamagedFile => "damaged_file",
            Self::UnexpectedEntry => "unexpected_entry",
            Self::NotEncodable => "not_encodable",
            Self::UnreadField => "unread_field",
        }
    }
}

impl fmt::Display for SkipKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Element(element) => write!(f, "element {element}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::Key(key) => write!(f, "entries {key:?}"),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.file, self.place)?;
        if let Some(id) = &self.id {
            write!(f, " (id {id:?})")?;
        }
        write!(f, ": {}: {}", self.reason, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_writes() {
        for kind in [
            SkipKind::MissingImage,
            SkipKind::MissingVideo,
            SkipKind::UnreadableImage,
            SkipKind::ImageTooLarge,
            SkipKind::PathEscape,
            SkipKind::UnsupportedVideo,
            SkipKind::UnreadableVideo,
            SkipKind::Malformed,
            SkipKind::NestedTooDeep,
            SkipKind::EntryTooLarge,
            SkipKind::NoConversation,
            SkipKind::NoAnswer,
            SkipKind::UnknownLanguage,
            SkipKind::Placeholders,
            SkipKind::DamagedFile,
            SkipKind::UnexpectedEntry,
            SkipKind::NotEncodable,
            SkipKind::UnreadField,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
