//! What is asked about pictures: a TOML file of prompts, of which one is drawn for each row.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Form;
use crate::conversation::{IMAGE_PLACEHOLDER, Role, VIDEO_PLACEHOLDER};
use crate::sample::Sample;
use crate::source::{SkipKind, SkipReason};

/// Characters of a prompt's hash that records have.
const SHORT_HASH: usize = 16;
/// What stands in a prompt for the language's name, for the row's own text, and for its own question.
const LANGUAGE: &str = "{LANGUAGE}";
const TEXT: &str = "{text}";
const QUESTION: &str = "{question}";

/// Prompts with how often each is drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// At least one.
    #[serde(rename = "prompt")]
    list: Vec<Prompt>,
}

/// A prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What records call it.
    pub name: String,
    /// What its answer looks like.
    pub form: Form,
    /// How often it is drawn, beside the others; 1 where it is not said.
    #[serde(default = "one")]
    weight: u32,
    /// What the system says; `{LANGUAGE}` stands for the language's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    /// What the user says below the pictures; `{text}` stands for the row's own answer or caption, `{question}` for its own question.
    user: String,
}

/// Prompts that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptsError {
    /// Not such a file.
    #[error("expected [[prompt]] tables with name, form, user, and perhaps weight and system: {0}")]
    Toml(String),
    /// None, or none that is ever drawn.
    #[error("no prompt has a weight above 0; write at least one [[prompt]]")]
    None,
    /// Two of a name.
    #[error("two prompts are called {0:?}; give each its own name")]
    Twice(String),
    /// A prompt that would not show what it asks about.
    #[error("the prompt {0:?} answers the row's own question but does not name it; write {{question}} where it goes")]
    NoQuestion(String),
}

fn one() -> u32 {
    1
}

impl Prompts {
    /// The file of the prompts where no others are named, of this library's own wording.
    pub const DEFAULT: &str = include_str!("prompts.toml");

    /// This library's own: captions, questions with answers in two forms.
    ///
    /// # Errors
    /// None; a test reads them.
    pub fn of_this_library() -> Result<Self, PromptsError> {
        Self::parse(Self::DEFAULT)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PromptsError> {
        let prompts: Self = toml::from_str(text).map_err(|error| PromptsError::Toml(error.to_string()))?;
        if prompts.total() == 0 {
            return Err(PromptsError::None);
        }
        let mut names = BTreeSet::new();
        for prompt in &prompts.list {
            if !names.insert(&prompt.name) {
                return Err(PromptsError::Twice(prompt.name.clone()));
            }
            let own = matches!(prompt.form, Form::Answer | Form::FinalAnswer);
            if own && !prompt.user.contains(QUESTION) {
                return Err(PromptsError::NoQuestion(prompt.name.clone()));
            }
        }
        Ok(prompts)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Prompt> {
        self.list.iter()
    }

    fn total(&self) -> u64 {
        self.list.iter().map(|prompt| u64::from(prompt.weight)).sum()
    }

    /// One of them, by a number that is drawn.
    pub(super) fn draw(&self, drawn: u64) -> &Prompt {
        let mut place = drawn % self.total().max(1);
        let found = self.list.iter().find(|prompt| {
            let weight = u64::from(prompt.weight);
            let here = place < weight;
            place = place.saturating_sub(weight);
            here
        });
        // The weights add up to the total, so that there is one.
        found.unwrap_or(&self.list[0])
    }
}

impl Prompt {
    /// A hash of its words and its form, for records.
    pub fn hash(&self) -> String {
        let parts = serde_json::json!([self.form, self.system, self.user]).to_string();
        blake3::hash(parts.as_bytes()).to_hex().chars().take(SHORT_HASH).collect()
    }

    pub(super) fn system(&self, language: &str) -> Option<String> {
        self.system.as_ref().map(|system| system.replace(LANGUAGE, language))
    }

    pub(super) fn user(&self, language: &str, sample: &Sample) -> Result<String, SkipReason> {
        let lacks = |what: &str| {
            let detail = format!("the prompt {:?} wants {what}, which the row does not have", self.name);
            Err(SkipReason::new(SkipKind::NoConversation, detail))
        };
        let words = |role: Role| {
            let said = sample.turns.iter().filter(move |turn| turn.role == role);
            let bare = said.map(|turn| turn.text.replace(IMAGE_PLACEHOLDER, "").replace(VIDEO_PLACEHOLDER, ""));
            bare.map(|text| text.trim().to_owned()).find(|text| !text.is_empty())
        };
        let (mut text, mut question) = (String::new(), String::new());
        if self.user.contains(TEXT) {
            match words(Role::Assistant) {
                Some(found) => text = found,
                None => return lacks("a text"),
            }
        }
        if self.user.contains(QUESTION) {
            match words(Role::User) {
                Some(found) => question = found,
                None => return lacks("a question"),
            }
        }
        // Piece by piece: what the row says is no part of the prompt.
        let mut filled = String::new();
        let mut rest = self.user.as_str();
        let holes = [(LANGUAGE, language), (TEXT, text.as_str()), (QUESTION, question.as_str())];
        while let Some((at, hole, value)) =
            holes.iter().filter_map(|(hole, value)| Some((rest.find(hole)?, *hole, *value))).min()
        {
            filled.push_str(&rest[..at]);
            filled.push_str(value);
            rest = &rest[at + hole.len()..];
        }
        Ok(filled + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_prompts_are_read_and_drawn_by_weight() {
        let prompts = Prompts::of_this_library().unwrap();
        let total = prompts.total();
        for prompt in prompts.iter() {
            let drawn = (0..total).filter(|place| prompts.draw(*place).name == prompt.name).count();
            assert_eq!(drawn as u64, u64::from(prompt.weight), "{}", prompt.name);
        }
    }

    #[test]
    fn files_that_are_none_say_what_is_wrong() {
        for (text, word) in [
            ("", "prompt"),
            ("[[prompt]]\nname = \"a\"\nform = \"poem\"\nuser = \"x\"", "poem"),
            ("[[prompt]]\nname = \"a\"\nform = \"caption\"\nuser = \"x\"\nweight = 0", "weight above 0"),
            (
                "[[prompt]]\nname = \"a\"\nform = \"caption\"\nuser = \"x\"\n[[prompt]]\nname = \"a\"\nform = \"caption\"\nuser = \"y\"",
                "two prompts",
            ),
            ("[[prompt]]\nname = \"a\"\nform = \"answer\"\nuser = \"x\"", "{question}"),
        ] {
            let error = Prompts::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
