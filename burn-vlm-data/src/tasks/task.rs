//! What samples of the corpus ask for.

use serde::{Deserialize, Serialize};

/// What a sample asks for. Serialised in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Picture -> name.
    Caption,
    /// Picture -> name as a small model has translated it, right or wrong.
    TranslatedCaption,
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
    /// Picture of a word -> the word.
    Words,
    /// Picture of several icons and a question about them -> name or number.
    Scenes,
    /// A clip of one or several icons and a question about what happens -> name, names in order, or number.
    Clips,
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 13] = [
        Self::Caption,
        Self::TranslatedCaption,
        Self::KeywordList,
        Self::FlagCountry,
        Self::Choice,
        Self::YesNo,
        Self::Name,
        Self::KeywordsToName,
        Self::Translation,
        Self::KeywordsTranslation,
        Self::Words,
        Self::Scenes,
        Self::Clips,
    ];

    /// The name used in sample ids, `"keyword_list"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caption => "caption",
            Self::TranslatedCaption => "translated_caption",
            Self::KeywordList => "keyword_list",
            Self::FlagCountry => "flag_country",
            Self::Choice => "choice",
            Self::YesNo => "yes_no",
            Self::Name => "name",
            Self::KeywordsToName => "keywords_to_name",
            Self::Translation => "translation",
            Self::KeywordsTranslation => "keywords_translation",
            Self::Words => "words",
            Self::Scenes => "scenes",
            Self::Clips => "clips",
        }
    }
}
