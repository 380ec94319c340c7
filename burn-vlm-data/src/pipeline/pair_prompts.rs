//! What a translated caption answers: a request in its language, drawn for each row by its id.
//!
//! Unusual here: the draw is a pure function of a seed and the row's id, so neither the order of rows nor which of them are there
//! changes it, and adding a language does not either. Requests are never made up: those that come with the library are its own wording of
//! "What is this?" in its languages, all others a file has to give.

use crate::language::Language;
use crate::random::{hash_bytes, mix};
use crate::tasks::prompts;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Requests by language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests(BTreeMap<Language, Vec<String>>);

/// A file of requests that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct RequestsError {
    /// The file.
    path: PathBuf,
    /// What is wrong, and what was expected.
    reason: String,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    requests: BTreeMap<String, Vec<String>>,
}

impl Requests {
    /// The library's own: "What is this?" in each of its languages.
    pub fn own() -> Self {
        let one = |language: &Language| (*language, vec![prompts(*language).what_is_this.to_owned()]);
        Self(Language::ALL.iter().map(one).collect())
    }

    /// Those of a TOML file, `[requests]` with a list for each language, and nothing else.
    ///
    /// # Errors
    /// A file that cannot be read or has another form, an unknown language, a language without a request, an empty request, the same one
    /// twice, one with a placeholder.
    pub fn from_file(path: &Path) -> Result<Self, RequestsError> {
        let fail = |reason: String| RequestsError { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        Self::from_toml(&text).map_err(fail)
    }

    /// The same of the file's text.
    ///
    /// # Errors
    /// As [`Self::from_file`], without its name.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let expected =
            "expected a table [requests] with a list of texts for each language: de = [\"Beschreibe das Bild.\"]";
        let file: File = toml::from_str(text).map_err(|error| format!("{error}\n{expected}"))?;
        let mut found = BTreeMap::new();
        for (tag, texts) in file.requests {
            let language = Language::parse(&tag).map_err(|error| format!("requests.{tag}: {error}"))?;
            if texts.is_empty() {
                return Err(format!("requests.{tag}: no request; {expected}"));
            }
            for (at, text) in texts.iter().enumerate() {
                let wrong = |what: &str| Err(format!("requests.{tag}: request {}: {what}", at + 1));
                if text.trim().is_empty() {
                    return wrong("it is empty");
                }
                if text.contains("<image>") || text.contains("<video>") {
                    return wrong("leave the placeholder out, it is put before the request");
                }
                if texts[..at].contains(text) {
                    return wrong("it is there twice, and would be drawn twice as often");
                }
            }
            found.insert(language, texts);
        }
        if found.is_empty() {
            return Err(format!("no language; {expected}"));
        }
        Ok(Self(found))
    }

    /// The requests of each language.
    pub fn languages(&self) -> &BTreeMap<Language, Vec<String>> {
        &self.0
    }

    /// The request of a row, and its number among those of the language: SplitMix64's finaliser on the seed and the FNV-1a hash of the id,
    /// modulo their number. `None` where there is none in its language.
    pub fn draw(&self, language: Language, id: &str, seed: u64) -> Option<(usize, &str)> {
        let texts = self.0.get(&language)?;
        let number = (mix(seed, hash_bytes(id.as_bytes())) % texts.len().max(1) as u64) as usize;
        Some((number, texts.get(number)?))
    }
}
