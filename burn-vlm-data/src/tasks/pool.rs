//! Which concepts may be asked about: seen or unseen ones, for validation or for the final score.

use crate::emoji::{Concept, Split};
use crate::random::{hash_bytes, mix};
use serde::{Deserialize, Serialize};

/// Whether the model has trained on the concept (in other styles).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concepts {
    /// Concepts of split train.
    Seen,
    /// Concepts that no training sample shows.
    Unseen,
}

/// What questions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Fixing a scoring rule or choosing a checkpoint.
    Validation,
    /// The score that is reported.
    Test,
}

/// Where the wrong answers come from; always the target's own split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distractors {
    /// The target's subgroup.
    Near,
    /// Anything.
    Far,
}

/// A set of concepts to ask about. The four pools are disjoint.
///
/// - seen, test: split train without the reserved third
/// - seen, validation: the reserved third of split train (its concepts are trained on like the others; the twemoji
///   questions about them are what is reserved)
/// - unseen, test: split test
/// - unseen, validation: split validation
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// Seen or unseen concepts.
    pub concepts: Concepts,
    /// Validation or test.
    pub purpose: Purpose,
}

impl Concepts {
    /// `"seen"` or `"unseen"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Unseen => "unseen",
        }
    }
}

impl Purpose {
    /// `"validation"` or `"test"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl Distractors {
    /// `"near"` or `"far"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

impl Pool {
    /// Seen concepts, scored.
    pub const TEST_SEEN: Pool = Pool { concepts: Concepts::Seen, purpose: Purpose::Test };
    /// Unseen concepts, scored.
    pub const TEST_UNSEEN: Pool = Pool { concepts: Concepts::Unseen, purpose: Purpose::Test };
    /// Seen concepts, for validation.
    pub const VALIDATION_SEEN: Pool = Pool { concepts: Concepts::Seen, purpose: Purpose::Validation };
    /// Unseen concepts, for validation.
    pub const VALIDATION_UNSEEN: Pool = Pool { concepts: Concepts::Unseen, purpose: Purpose::Validation };

    /// The split that the pool's concepts and their distractors come from.
    pub fn split(self) -> Split {
        match (self.concepts, self.purpose) {
            (Concepts::Seen, _) => Split::Train,
            (Concepts::Unseen, Purpose::Validation) => Split::Validation,
            (Concepts::Unseen, Purpose::Test) => Split::Test,
        }
    }

    /// True if the pool asks about `concept`.
    pub fn contains(self, concept: &Concept) -> bool {
        let reserved = is_reserved(concept) == (self.purpose == Purpose::Validation);
        concept.split == self.split() && (self.concepts == Concepts::Unseen || reserved)
    }
}

/// True for the third of all concepts whose questions, where they are seen concepts, are for validation. It depends on
/// nothing but the concept, so that no seed moves a question from one side to the other.
fn is_reserved(concept: &Concept) -> bool {
    const SALT: u64 = 0x7661_6c69_6461_7465;
    mix(hash_bytes(concept.code.as_bytes()), SALT).is_multiple_of(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::EmojiCorpus;

    #[test]
    fn pools_are_disjoint_and_complete() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let pools = [Pool::TEST_SEEN, Pool::TEST_UNSEEN, Pool::VALIDATION_SEEN, Pool::VALIDATION_UNSEEN];
        let mut sizes = [0usize; 4];
        for concept in corpus.concepts() {
            let holding: Vec<usize> = (0..4).filter(|i| pools[*i].contains(concept)).collect();
            assert_eq!(holding.len(), 1, "{}", concept.code);
            sizes[holding[0]] += 1;
        }
        assert_eq!(sizes.iter().sum::<usize>(), 1914);
        assert_eq!((sizes[1], sizes[3]), (223, 213));
        let third = sizes[2] as f64 / (sizes[0] + sizes[2]) as f64;
        assert!((0.30..0.37).contains(&third), "{third}");
    }
}
