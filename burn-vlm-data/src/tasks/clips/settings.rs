//! Which clips a recipe trains on, or a benchmark asks about.

use super::question::ClipQuestion;
use super::time::FRAMES;
use crate::emoji::Concept;
use crate::tasks::settings::is_shown;
use serde::{Deserialize, Serialize};

/// Which clips: `{ questions = ["direction"], frames = 8, groups = ["food-drink"] }`. What is left out is everything, once, in 8 frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClipSettings {
    /// The questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<ClipQuestion>,
    /// Frames that are shown of each clip: 1, 2, 4, 8, 16 or 32.
    #[serde(skip_serializing_if = "is_eight")]
    pub frames: usize,
    /// Unicode groups of the concepts that are shown; all but flags, people and symbols where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Training clips of each picture and question.
    #[serde(skip_serializing_if = "is_one")]
    pub variants: usize,
}

/// Frames where nothing is said.
const EIGHT: usize = 8;

impl Default for ClipSettings {
    fn default() -> Self {
        Self { questions: Vec::new(), frames: EIGHT, groups: Vec::new(), variants: 1 }
    }
}

fn is_eight(number: &usize) -> bool {
    *number == EIGHT
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

impl ClipSettings {
    /// Whether everything is as where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it, if anything; groups are not looked up, for they are the corpus's.
    pub fn problem(&self) -> Option<String> {
        if self.variants == 0 {
            return Some(
                "`variants` is the number of clips of each picture and question; it must be at least 1".into(),
            );
        }
        let frames = FRAMES.map(|frames| frames.to_string()).join(", ");
        (!FRAMES.contains(&self.frames)).then(|| format!("`frames = {}`: expected one of {frames}", self.frames))
    }

    /// The questions.
    pub(super) fn asked(&self) -> impl Iterator<Item = ClipQuestion> {
        ClipQuestion::ALL.into_iter().filter(|question| self.questions.is_empty() || self.questions.contains(question))
    }

    /// Whether a concept may be shown.
    pub(super) fn shows(&self, concept: &Concept) -> bool {
        is_shown(concept, &self.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_everything() {
        let all = ClipSettings::default();
        assert_eq!((all.asked().count(), all.frames, toml::to_string(&all).unwrap().as_str()), (8, 8, ""));
        let some: ClipSettings = toml::from_str("questions = ['turns', 'direction']\nframes = 32").unwrap();
        assert_eq!(some.asked().collect::<Vec<_>>(), [ClipQuestion::Direction, ClipQuestion::Turns]);
        assert!(!some.is_default() && all.is_default());
        assert_eq!((all.problem(), some.problem()), (None, None));
        for (text, says) in
            [("variants = 0", "variants"), ("frames = 3", "1, 2, 4, 8, 16, 32"), ("frames = 0", "frames")]
        {
            assert!(toml::from_str::<ClipSettings>(text).unwrap().problem().unwrap().contains(says), "{text}");
        }
        for wrong in ["questions = ['where']", "fps = 1"] {
            assert!(toml::from_str::<ClipSettings>(wrong).is_err(), "{wrong}");
        }
    }
}
