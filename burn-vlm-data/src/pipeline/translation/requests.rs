//! What a caption's user asks, in each language: a caption alone would be an answer to nothing.

use std::collections::BTreeMap;

use crate::language::Language;
use crate::random::{hash_bytes, mix};
use crate::tasks::prompts;

/// Requests by language, of which one is drawn for each caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionRequests {
    seed: u64,
    own: BTreeMap<Language, Vec<String>>,
    none: bool,
}

impl CaptionRequests {
    /// One's own for the languages that have some, the library's "What is this?" for others of the known languages: none is made up.
    pub fn new(seed: u64, own: BTreeMap<Language, Vec<String>>) -> Self {
        Self { seed, own, none: false }
    }

    /// None: the user shows the picture and says nothing.
    pub fn none() -> Self {
        Self { seed: 0, own: BTreeMap::new(), none: true }
    }

    /// What is asked for a sample.
    pub fn draw(&self, language: Language, id: &str) -> Option<&str> {
        if self.none {
            return None;
        }
        match self.own.get(&language).filter(|requests| !requests.is_empty()) {
            Some(requests) => {
                let place = mix(self.seed, hash_bytes(id.as_bytes())) % requests.len() as u64;
                requests.get(place as usize).map(String::as_str)
            }
            None => language.index().map(|_| prompts(language).what_is_this),
        }
    }
}
