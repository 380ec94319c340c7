//! A training or evaluation sample: a conversation, perhaps about one picture, with its origin.

use crate::conversation::{Role, Turn};
use crate::emoji::{ConceptId, PictureId};
use crate::language::Language;
use serde::{Deserialize, Serialize};

/// What a sample asks for. Serialised in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Picture -> name.
    Caption,
    /// Picture -> keywords.
    KeywordList,
    /// Picture of a flag -> country or region.
    FlagCountry,
    /// Picture and four lettered names -> letter.
    Choice,
    /// Picture and a name -> yes or no.
    YesNo,
    /// Question alone -> name (text only: the language's names in the place where answers stand).
    Name,
    /// Keywords -> name (text only).
    KeywordsToName,
    /// Name -> name in another language (text only).
    Translation,
    /// Keywords -> name in another language (text only).
    KeywordsTranslation,
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 9] = [
        Self::Caption,
        Self::KeywordList,
        Self::FlagCountry,
        Self::Choice,
        Self::YesNo,
        Self::Name,
        Self::KeywordsToName,
        Self::Translation,
        Self::KeywordsTranslation,
    ];

    /// The name used in sample ids, `"keyword_list"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caption => "caption",
            Self::KeywordList => "keyword_list",
            Self::FlagCountry => "flag_country",
            Self::Choice => "choice",
            Self::YesNo => "yes_no",
            Self::Name => "name",
            Self::KeywordsToName => "keywords_to_name",
            Self::Translation => "translation",
            Self::KeywordsTranslation => "keywords_translation",
        }
    }
}

/// One conversation with its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Unique within a builder's output and stable across runs, `caption/noto/1f600/de`.
    pub id: String,
    /// What is asked for.
    pub task: Task,
    /// The language of the answer.
    pub language: Language,
    /// The concept in question.
    pub concept: ConceptId,
    /// The picture that stands for the `<image>` of the conversation; none in text-only samples.
    pub picture: Option<PictureId>,
    /// The conversation; the assistant's turns are the answers.
    pub turns: Vec<Turn>,
}

impl Sample {
    /// The text of the last assistant turn, or the empty string where there is none.
    pub fn answer(&self) -> &str {
        self.turns.iter().rev().find(|turn| turn.role == Role::Assistant).map_or("", |turn| &turn.text)
    }

    /// The turns before the last assistant turn: what the model is given at inference.
    pub fn prompt(&self) -> &[Turn] {
        let end = self.turns.iter().rposition(|turn| turn.role == Role::Assistant).unwrap_or(self.turns.len());
        &self.turns[..end]
    }
}
