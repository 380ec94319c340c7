//! What is asked for below a question, and the words for yes and no, by language.
//!
//! Unusual here: no word is made up. A language that this library has no words for ([`crate::strict::yes_no_words`]) has those that the
//! user gives, or none, and then its questions for yes or no cannot be asked in its words.

use std::collections::BTreeMap;

use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};

use crate::strict::{Instruction, Reading, instruction, yes_no_with, yes_no_words};

/// Stands between words in a cell.
const BETWEEN: &str = "|";

/// What a user gives, by tag:
///
/// ```toml
/// [sw]
/// letter = "Jibu kwa herufi tu."
/// yes_no = "Jibu ndiyo au hapana tu."
/// yes = ["ndiyo", "ndio"]
/// no = ["hapana"]
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GivenWords(pub BTreeMap<String, OfLanguage>);

/// What a user gives for a language; what is absent is this library's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfLanguage {
    /// Asks for an option's letter.
    #[serde(default)]
    pub letter: Option<String>,
    /// Asks for yes or no.
    #[serde(default)]
    pub yes_no: Option<String>,
    /// Words that are read as yes; the first is the one that the request names.
    #[serde(default)]
    pub yes: Vec<String>,
    /// Words that are read as no.
    #[serde(default)]
    pub no: Vec<String>,
}

/// What is asked for in a language, and what is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerWords {
    /// The language.
    pub language: Language,
    /// Asks for an option's letter; none of a language that nobody gave one for.
    pub letter: Option<String>,
    /// Asks for yes or no; none of a language without words for them.
    pub yes_no: Option<String>,
    /// Words that are read as yes.
    pub yes: Vec<String>,
    /// Words that are read as no.
    pub no: Vec<String>,
    /// What the user gave.
    pub given: bool,
}

impl AnswerWords {
    /// The words of a language: those that the user gives, else this library's.
    ///
    /// # Errors
    /// A list without its other one, a word in both, a word that is read as something else, a mark that is no part of a word.
    pub fn of(language: Language, given: &GivenWords) -> Result<Self, String> {
        let own = yes_no_words(language);
        let words = |list: &str| list.split(BETWEEN).map(str::to_owned).collect::<Vec<_>>();
        let [mut yes, mut no] = own.map_or_else(Default::default, |lists| lists.map(words));
        let known = |wanted| own.map(|_| instruction(wanted, Some(language)).to_owned());
        let (mut letter, mut yes_no) = (known(Instruction::Letter), known(Instruction::YesNo));
        let users = given.0.get(language.tag());
        if let Some(users) = users {
            let wrong = |message: String| format!("[{language}] of the words: {message}");
            if users.yes.is_empty() != users.no.is_empty() {
                return Err(wrong("it has words for one of yes and no; give both lists, or none".to_owned()));
            }
            if !users.yes.is_empty() {
                (yes, no) = (users.yes.clone(), users.no.clone());
                if users.yes_no.is_none() && own.is_none() {
                    return Err(wrong("it has words for yes and no, and no `yes_no` that asks for them".to_owned()));
                }
            }
            check(&yes, &no, language).map_err(wrong)?;
            letter = users.letter.clone().or(letter);
            yes_no = users.yes_no.clone().or(yes_no);
        }
        Ok(Self { language, letter, yes_no, yes, no, given: users.is_some() })
    }

    /// English words and requests, for questions in a language that are answered in English.
    pub fn english_for(language: Language) -> Self {
        let english = Self::of(Language::EN, &GivenWords::default()).unwrap_or_else(|_| Self::none(language));
        Self { language, ..english }
    }

    fn none(language: Language) -> Self {
        Self { language, letter: None, yes_no: None, yes: Vec::new(), no: Vec::new(), given: false }
    }

    /// The word that is asked for.
    pub fn word(&self, yes: bool) -> Option<&str> {
        let words = if yes { &self.yes } else { &self.no };
        words.first().map(|word| bare(word))
    }

    /// The words as a cell has them.
    pub fn cell(&self, yes: bool) -> String {
        if yes { self.yes.join(BETWEEN) } else { self.no.join(BETWEEN) }
    }
}

/// A word without the mark of one that must stand alone.
fn bare(word: &str) -> &str {
    word.trim_end_matches('.')
}

/// Each word must be read as what it is given for.
fn check(yes: &[String], no: &[String], language: Language) -> Result<(), String> {
    let lists = [yes, no].map(|words| words.join(BETWEEN));
    for (words, is_yes) in [(yes, true), (no, false)] {
        for word in words {
            if word.contains(BETWEEN) || bare(word).trim().is_empty() || word.contains('*') {
                return Err(format!("{word:?} is no word: expected letters, without `|` and `*`"));
            }
            if yes_no_with(bare(word), Some(language), &lists[0], &lists[1]) != Reading::Answer(is_yes) {
                let meant = if is_yes { "yes" } else { "no" };
                return Err(format!(
                    "{word:?} is not read as {meant}; it stands in the other list, or there is no letter in it"
                ));
            }
        }
    }
    Ok(())
}
