//! Settings of tasks whose samples are drawn or chosen.

use super::{ClipSettings, SceneSettings, TranslatedSettings};
use crate::emoji::Concept;
use crate::language::Language;
use crate::words::{Level, SIDES};
use serde::{Deserialize, Serialize};

/// Groups of which no icon is in a drawn scene or clip where none is named: flags and people differ by details that a small or turned icon
/// loses; symbols are the words of questions and answers.
const LEFT_OUT: [&str; 4] = ["flags", "people-body", "smileys-emotion", "symbols"];

/// Whether a concept may be in a drawn scene or clip of these groups.
pub(super) fn is_shown(concept: &Concept, groups: &[String]) -> bool {
    match groups.is_empty() {
        true => !LEFT_OUT.contains(&concept.group.as_str()),
        false => groups.contains(&concept.group),
    }
}

/// What tasks are told beside languages and seed; most tasks of the corpus's own pictures need nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskSettings {
    /// Which words.
    pub words: WordSettings,
    /// Which scenes.
    pub scenes: SceneSettings,
    /// Which clips.
    pub clips: ClipSettings,
    /// Which translations.
    pub translated: TranslatedSettings,
}

/// Words in pictures: which are trained, and how they are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordSettings {
    /// Languages of the words, each with the same share of the task's samples; where absent, those of the data. Greek (`el`) and Hebrew
    /// (`he`), in which the corpus has no texts, are possible here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<Language>,
    /// How they are drawn, each as often.
    #[serde(default = "levels")]
    pub levels: Vec<Level>,
    /// At most so many words of a language, the same ones for every seed; 0 for all.
    #[serde(default)]
    pub words: usize,
    /// Pictures of each word.
    #[serde(default = "one")]
    pub variants: usize,
    /// Side of a picture in pixels.
    #[serde(default = "side")]
    pub size: u32,
    /// Share of a contrastive encoder's pictures that show a piece of a word, from one letter on, as large as the word's letters are.
    /// Letters are learnt long before words are, and nothing is learnt of words before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pieces: f64,
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

fn levels() -> Vec<Level> {
    Level::ALL.to_vec()
}

fn one() -> usize {
    1
}

fn side() -> u32 {
    64
}

impl Default for WordSettings {
    fn default() -> Self {
        Self { languages: Vec::new(), levels: levels(), words: 0, variants: one(), size: side(), pieces: 0.0 }
    }
}

impl WordSettings {
    /// What is wrong with them, if anything.
    pub fn problem(&self) -> Option<String> {
        if self.levels.is_empty() {
            return Some("`levels` is empty; leave it out for all levels".into());
        }
        if self.variants == 0 {
            return Some("`variants` is the number of pictures of each word; it must be at least 1".into());
        }
        if !(0.0..=1.0).contains(&self.pieces) {
            return Some(format!("`pieces = {}` is a share of the pictures: expected 0 to 1", self.pieces));
        }
        let (least, most) = (SIDES.start(), SIDES.end());
        (!SIDES.contains(&self.size)).then(|| format!("`size = {}`: expected {least} to {most} pixels", self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_checked() {
        let read = |text: &str| toml::from_str::<WordSettings>(text);
        assert_eq!(read("").unwrap(), WordSettings::default());
        let some = read("languages = ['el']\nlevels = ['plain', 'clutter']\nwords = 10\nsize = 96").unwrap();
        assert_eq!((some.levels.len(), some.variants, some.problem()), (2, 1, None));
        assert!(read("level = ['plain']").is_err());
        for (text, word) in
            [("levels = []", "levels"), ("variants = 0", "variants"), ("size = 5000", "5000"), ("pieces = 1.5", "1.5")]
        {
            assert!(read(text).unwrap().problem().unwrap().contains(word), "{text}");
        }
    }
}
