//! Which scenes a recipe trains on, or a benchmark asks about.

use super::level::{IconSize, SceneQuestion};
use crate::emoji::Concept;
use crate::tasks::settings::is_shown;
use serde::{Deserialize, Serialize};

/// Which scenes: `{ questions = ["place"], sizes = ["1/2", "1/4"], groups = ["food-drink"] }`. What is left out is everything, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneSettings {
    /// The questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<SceneQuestion>,
    /// The sizes of the icons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<IconSize>,
    /// Unicode groups of the concepts that are shown; all but flags, people and symbols where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Training scenes of each picture, question and size: others beside it, other places.
    #[serde(skip_serializing_if = "is_one")]
    pub variants: usize,
}

impl Default for SceneSettings {
    fn default() -> Self {
        Self { questions: Vec::new(), sizes: Vec::new(), groups: Vec::new(), variants: 1 }
    }
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

impl SceneSettings {
    /// Whether everything is as where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it, if anything; groups are not looked up, for they are the corpus's.
    pub fn problem(&self) -> Option<String> {
        if self.variants == 0 {
            return Some("`variants` is the number of scenes of each picture; it must be at least 1".into());
        }
        self.levels().is_empty().then(|| {
            let list = |names: Vec<&str>| names.join(", ");
            let questions = list(self.questions.iter().map(|question| question.as_str()).collect());
            let sizes = list(self.sizes.iter().map(|size| size.as_str()).collect());
            format!("no question of `questions` ({questions}) has room for icons of `sizes` ({sizes})")
        })
    }

    /// Questions and sizes, each question with the sizes that there is room for.
    pub(super) fn levels(&self) -> Vec<(SceneQuestion, IconSize)> {
        let asked = |question: &SceneQuestion| self.questions.is_empty() || self.questions.contains(question);
        let sized = |size: &IconSize| self.sizes.is_empty() || self.sizes.contains(size);
        let of = |question: SceneQuestion| question.sizes().iter().filter(|s| sized(s)).map(move |s| (question, *s));
        SceneQuestion::ALL.into_iter().filter(asked).flat_map(of).collect()
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
        let all = SceneSettings::default();
        assert_eq!(all.levels().len(), 4 * 5 + 3 * 4);
        assert_eq!(toml::to_string(&all).unwrap(), "");
        let some: SceneSettings = toml::from_str("questions = ['place', 'count']\nsizes = ['1/2', '1/8']").unwrap();
        let (half, eighth) = (IconSize::Half, IconSize::Eighth);
        // Nothing is counted at a half.
        let expected = [(SceneQuestion::Place, half), (SceneQuestion::Place, eighth), (SceneQuestion::Count, eighth)];
        assert_eq!(some.levels(), expected);
        assert!(!some.is_default() && all.is_default());
        assert_eq!((all.problem(), some.problem()), (None, None));
        for (text, word) in
            [("variants = 0", "variants"), ("questions = ['count']\nsizes = ['1/2']", "count) has room")]
        {
            assert!(toml::from_str::<SceneSettings>(text).unwrap().problem().unwrap().contains(word), "{text}");
        }
        for wrong in ["sizes = ['1/5']", "questions = ['where']", "colour = 1"] {
            assert!(toml::from_str::<SceneSettings>(wrong).is_err(), "{wrong}");
        }
    }
}
