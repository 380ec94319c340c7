//! Prompts that papers publish, as data: what stands before a caption, and what a generator of answers was told.
//!
//! Choices are pure functions of a seed and a sample's id: a sample keeps its prompt however the data is mixed.

use crate::language::Language;
use crate::random::{hash_bytes, mix};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// TowerVision's caption prompts (appendix A.5.1), in nine languages.
const TOWERVISION_CAPTIONS: &str = include_str!("../data/prompts/towervision_captions.toml");
/// TowerVision's system prompts (appendix A.5.2).
const TOWERVISION_SYSTEM: &str = include_str!("../data/prompts/towervision_system.toml");

/// A file of prompts that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has not the form of prompts.
    #[error("{}: expected [[prompts]] with languages or group, and texts: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
}

/// Prompts in groups: by language, or by kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// The groups, in the file's order.
    #[serde(rename = "prompts")]
    pub groups: Vec<PromptGroup>,
}

/// Prompts that may stand for each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptGroup {
    /// The languages that they are for; none where the language does not matter.
    #[serde(default)]
    pub languages: Vec<Language>,
    /// The kind that they are of.
    #[serde(default)]
    pub group: Option<String>,
    /// The prompts.
    pub texts: Vec<String>,
}

impl Prompts {
    /// TowerVision's caption prompts: seven for each of ten languages (nine in the paper; its Spanish serves `es-419` too).
    ///
    /// # Errors
    /// None in practice: the file is a constant.
    pub fn towervision_captions() -> Result<Self, PromptsError> {
        Self::from_toml(TOWERVISION_CAPTIONS, Path::new("towervision_captions.toml"))
    }

    /// TowerVision's 35 system prompts in six groups.
    ///
    /// # Errors
    /// None in practice: the file is a constant.
    pub fn towervision_system() -> Result<Self, PromptsError> {
        Self::from_toml(TOWERVISION_SYSTEM, Path::new("towervision_system.toml"))
    }

    /// Reads a file of the same form: `[[prompts]]` with `languages` or `group`, and `texts`.
    ///
    /// # Errors
    /// A file that cannot be read, or is no list of prompts.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PromptsError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| PromptsError::Io { path: path.to_owned(), source })?;
        Self::from_toml(&text, path)
    }

    fn from_toml(text: &str, path: &Path) -> Result<Self, PromptsError> {
        let invalid = |reason: String| PromptsError::Invalid { path: path.to_owned(), reason };
        let prompts: Self = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        match prompts.groups.iter().position(|group| group.texts.is_empty()) {
            Some(empty) => Err(invalid(format!("entry {} has no texts", empty + 1))),
            None => Ok(prompts),
        }
    }

    /// The prompts of a language; `None` where there are none: the caller decides what stands in for them.
    pub fn of(&self, language: Language) -> Option<&[String]> {
        self.groups.iter().find(|group| group.languages.contains(&language)).map(|group| group.texts.as_slice())
    }

    /// The prompt of a sample in a language, chosen by seed and id.
    pub fn choose(&self, language: Language, seed: u64, id: &str) -> Option<&str> {
        pick(self.of(language)?.iter(), seed, id)
    }

    /// The prompt of a sample out of all groups, chosen by seed and id.
    pub fn choose_any(&self, seed: u64, id: &str) -> Option<&str> {
        pick(self.groups.iter().flat_map(|group| &group.texts), seed, id)
    }
}

fn pick<'a>(mut texts: impl Iterator<Item = &'a String> + Clone, seed: u64, id: &str) -> Option<&'a str> {
    let random = u128::from(mix(seed, hash_bytes(id.as_bytes())));
    let index = (random * texts.clone().count() as u128) >> 64;
    texts.nth(index as usize).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nine_languages_of_seven_captions_each() {
        let prompts = Prompts::towervision_captions().unwrap();
        let texts: BTreeSet<&String> = prompts.groups.iter().flat_map(|group| &group.texts).collect();
        assert_eq!((prompts.groups.len(), texts.len()), (9, 63));
        assert!(prompts.groups.iter().all(|group| group.texts.len() == 7));
        assert_eq!(prompts.of(Language::EN).unwrap()[4], "Caption this image.");
        assert_eq!(prompts.of(Language::ES_419), prompts.of(Language::ES));
        assert_eq!(prompts.of(Language::PT_PT).unwrap()[1], "O que consegue ver nesta fotografia?");
        // Not in the paper: nothing stands in for them.
        assert!(
            [Language::PT_BR, Language::ZH_HANT, Language::CS].iter().all(|language| prompts.of(*language).is_none())
        );
        let chosen: Vec<_> = (0..70).map(|id| prompts.choose(Language::DE, 1, &id.to_string()).unwrap()).collect();
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 7);
        assert_eq!(prompts.choose(Language::DE, 1, "3"), Some(chosen[3]));
    }

    #[test]
    fn system_prompts_in_six_groups() {
        let prompts = Prompts::towervision_system().unwrap();
        let sizes: Vec<usize> = prompts.groups.iter().map(|group| group.texts.len()).collect();
        assert_eq!(sizes, [7, 6, 7, 6, 5, 4]);
        assert_eq!(prompts.groups[2].group.as_deref(), Some("final_answer"));
        assert_eq!(prompts.groups[4].texts[3], "# Image: <description>\n# Answer: <response>");
        assert!(prompts.choose_any(4, "a").is_some());
    }

    #[test]
    fn other_files() {
        let path = Path::new("mine.toml");
        for text in [
            "[[prompts]]\ntexts = []",
            "[[prompts]]\ntext = [\"a\"]",
            "[[prompts]]\nlanguages = [\"xx\"]\ntexts = [\"a\"]",
        ] {
            assert!(Prompts::from_toml(text, path).unwrap_err().to_string().contains("mine.toml"), "{text}");
        }
        assert!(Prompts::from_file("/nowhere.toml").unwrap_err().to_string().contains("/nowhere.toml"));
    }
}
