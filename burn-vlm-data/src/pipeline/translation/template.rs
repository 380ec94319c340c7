//! How a translation is asked for: one turn of the user, by a template.

use std::fmt;

use crate::language::Language;
use crate::tasks::prompts;

/// Templates by name.
const NAMED: [(&str, &str); 3] = [
    // Tower+'s card. The chat template trims a turn, so that the last space reaches no model through it.
    ("tower-plus", "Translate the following {SRC} source text to {TGT}:\n{SRC}: {text}\n{TGT}: "),
    // The wording of the same group's evaluation code.
    ("tower-eval", "Translate the following source text from {SRC} to {TGT}:\n{text}"),
    // What this library's own small backbones have learnt: the text, and "What is this?" in the language of the answer.
    (TINY, "{text}\n{TGT}"),
];
/// The template in which a language is named by its question.
const TINY: &str = "tiny";
/// What stands in a template for the name of the source's language, of the translation's, and for the text.
const HOLES: [&str; 3] = ["{SRC}", "{TGT}", "{text}"];
/// Characters of a template's hash that records have.
const SHORT_HASH: usize = 16;
/// Characters that a piece of a prompt must have to be looked for in replies.
const PIECE: usize = 3;

/// What a translation is asked with: `{SRC}` and `{TGT}` stand for names of languages, `{text}` for the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    name: String,
    text: String,
}

/// The names of languages, as the translator knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanguageNames(Vec<(Language, String)>);

/// A template that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the template {name:?} has no {missing}; expected {{text}} where the text goes and {{TGT}} where the language is named"
)]
pub struct TemplateError {
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub missing: &'static str,
}

impl Template {
    /// A template by its name (`tower-plus`, `tower-eval`, and `tiny` for this library's own small backbones).
    pub fn named(name: &str) -> Option<Self> {
        let found = NAMED.iter().find(|(known, _)| *known == name);
        found.map(|(name, text)| Self { name: (*name).to_owned(), text: (*text).to_owned() })
    }

    /// The names of the templates that have one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// One of one's own.
    ///
    /// # Errors
    /// One that names neither the text nor the language.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Result<Self, TemplateError> {
        let (name, text) = (name.into(), text.into());
        match ["{text}", "{TGT}"].into_iter().find(|hole| !text.contains(hole)) {
            Some(missing) => Err(TemplateError { name, missing }),
            None => Ok(Self { name, text }),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What languages are called in it, but for some others: Tower+'s English names; in `tiny` the question "What is this?" in each.
    pub fn language_names(&self, others: impl IntoIterator<Item = (Language, String)>) -> LanguageNames {
        let question = |language: &Language| (*language, prompts(*language).what_is_this.to_owned());
        let own = Language::ALL.iter().filter(|_| self.name == TINY).map(question);
        LanguageNames(own.chain(others).collect())
    }

    /// A hash of its text, for records.
    pub fn hash(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().chars().take(SHORT_HASH).collect()
    }

    /// The prompt of a text. What stands in the text is left as it is, even where it looks like a part of a template.
    pub fn fill(&self, source: &str, target: &str, text: &str) -> String {
        let mut filled = String::with_capacity(self.text.len() + text.len());
        let mut rest = self.text.as_str();
        while let Some((at, hole)) = HOLES.iter().filter_map(|hole| Some((rest.find(hole)?, *hole))).min() {
            filled.push_str(&rest[..at]);
            filled.push_str(match hole {
                "{SRC}" => source,
                "{TGT}" => target,
                _ => text,
            });
            rest = &rest[at + hole.len()..];
        }
        filled + rest
    }

    /// What a line of a reply begins with that is a piece of the prompt, and not of the text.
    pub fn remains(&self, source: &str, target: &str, text: &str, reply: &str) -> Option<String> {
        let pieces = self.fill(source, target, "\n");
        let begins = |piece: &str, text: &str| text.lines().any(|line| line.trim_start().starts_with(piece));
        let mut pieces = pieces.lines().map(str::trim).filter(|piece| piece.chars().count() >= PIECE);
        pieces.find(|piece| begins(piece, reply) && !begins(piece, text)).map(str::to_owned)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl LanguageNames {
    /// Tower+'s names, but for some others: English ones with the variant in brackets.
    pub fn new(others: impl IntoIterator<Item = (Language, String)>) -> Self {
        Self(others.into_iter().collect())
    }

    /// What a language is called.
    pub fn of(&self, language: Language) -> &str {
        let own = self.0.iter().rev().find(|(known, _)| *known == language);
        match own {
            Some((_, name)) => name,
            None if language == Language::PT_BR => "Portuguese (Brazilian)",
            None => language.english_name(),
        }
    }
}
