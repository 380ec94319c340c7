//! Parrot's conversations: ChatML with the picture at the front of its turn, and labels on answers only.
//!
//! Unusual here:
//! - a picture is no token of the vocabulary but the id -200, which the model replaces by its visual tokens;
//! - every turn is tokenized alone; the line break between turns belongs to the turn before it, and is trained with an answer
//!   that is not the last turn;
//! - the whole header of an answer is masked, also with tokenizers that cut it into more than Qwen's three tokens.

use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::encode::IGNORE;
use crate::tokenizer::{Tokenizer, TokenizerError};
use serde::{Deserialize, Serialize};

/// Stands for a picture among token ids.
pub const IMAGE_TOKEN_INDEX: i64 = -200;
/// The system's turn of conversations that do not begin with one.
pub const SYSTEM: &str = "You are a helpful assistant.";

/// A turn as Parrot's and LLaVA's data files write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who speaks.
    pub from: Speaker,
    /// What is said.
    pub value: String,
}

/// Who speaks, in the words of the data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The system.
    System,
    /// The user.
    Human,
    /// The assistant.
    Gpt,
}

impl From<Record> for Turn {
    fn from(record: Record) -> Self {
        let role = match record.from {
            Speaker::System => Role::System,
            Speaker::Human => Role::User,
            Speaker::Gpt => Role::Assistant,
        };
        Self { role, text: record.value }
    }
}

/// A conversation as ids and labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParrotEncoded {
    /// The text.
    pub prompt: String,
    /// Token ids; [`IMAGE_TOKEN_INDEX`] for a picture.
    pub input_ids: Vec<i64>,
    /// As long: the id itself where it is trained, else [`IGNORE`].
    pub labels: Vec<i64>,
}

impl ParrotEncoded {
    /// Ids and labels with every picture's id repeated `visual_tokens` times, none of them trained: what the merged sequence
    /// of the model looks like.
    pub fn expanded(&self, visual_tokens: usize) -> Self {
        let mut expanded = Self { prompt: self.prompt.clone(), ..Self::default() };
        for (id, label) in self.input_ids.iter().zip(&self.labels) {
            let count = if *id == IMAGE_TOKEN_INDEX { visual_tokens } else { 1 };
            expanded.input_ids.extend(std::iter::repeat_n(*id, count));
            expanded.labels.extend(std::iter::repeat_n(*label, count));
        }
        expanded
    }
}

/// Encodes a conversation with its labels.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn encode(tokenizer: &Tokenizer, turns: &[Turn]) -> Result<ParrotEncoded, TokenizerError> {
    format(tokenizer, turns, false)
}

/// Encodes a conversation up to where the assistant's answer begins; nothing is trained.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn encode_prompt(tokenizer: &Tokenizer, turns: &[Turn]) -> Result<ParrotEncoded, TokenizerError> {
    let mut encoded = format(tokenizer, turns, true)?;
    encoded.labels.fill(IGNORE);
    Ok(encoded)
}

fn format(tokenizer: &Tokenizer, turns: &[Turn], open: bool) -> Result<ParrotEncoded, TokenizerError> {
    let mut encoded = ParrotEncoded::default();
    if turns.first().is_none_or(|turn| turn.role != Role::System) {
        add(tokenizer, &mut encoded, Role::System, &format!("{SYSTEM}<|im_end|>\n"))?;
    }
    for (index, turn) in turns.iter().enumerate() {
        let last = index + 1 == turns.len() && !open;
        let body = format!("{}<|im_end|>{}", image_first(&turn.text), if last { "" } else { "\n" });
        add(tokenizer, &mut encoded, turn.role, &body)?;
    }
    if open {
        add(tokenizer, &mut encoded, Role::Assistant, "")?;
    }
    Ok(encoded)
}

/// A turn's text with its pictures at the front, each on a line of its own.
fn image_first(text: &str) -> String {
    let images = text.matches(IMAGE_PLACEHOLDER).count();
    if images == 0 {
        return text.to_owned();
    }
    format!("{IMAGE_PLACEHOLDER}\n").repeat(images) + text.replace(IMAGE_PLACEHOLDER, "").trim()
}

/// Adds a turn's header and body.
fn add(tokenizer: &Tokenizer, encoded: &mut ParrotEncoded, role: Role, body: &str) -> Result<(), TokenizerError> {
    let header = format!("<|im_start|>{}\n", role.as_str());
    let masked = if role == Role::Assistant { tokenizer.encode(&header)?.len() } else { usize::MAX };
    let text = header + body;
    let mut ids = Vec::new();
    for (index, piece) in text.split(IMAGE_PLACEHOLDER).enumerate() {
        ids.extend((index > 0).then_some(IMAGE_TOKEN_INDEX));
        ids.extend(tokenizer.encode(piece)?.into_iter().map(i64::from));
    }
    let label = |(position, id): (usize, &i64)| {
        if position < masked || *id == IMAGE_TOKEN_INDEX { IGNORE } else { *id }
    };
    encoded.labels.extend(ids.iter().enumerate().map(label));
    encoded.input_ids.extend(ids);
    encoded.prompt.push_str(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_go_to_the_front_of_their_turn() {
        assert_eq!(image_first("What is this?\n<image>"), "<image>\nWhat is this?");
        assert_eq!(image_first("  no picture "), "  no picture ");
        assert_eq!(image_first("a <image> b <image>"), "<image>\n<image>\na  b");
    }

    #[test]
    fn records() {
        let record: Record = serde_json::from_str(r#"{"from": "human", "value": "Hi"}"#).unwrap();
        assert_eq!(Turn::from(record), Turn::user("Hi"));
    }
}
