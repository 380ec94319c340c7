//! What is asked of a clip.

use serde::{Deserialize, Serialize};

/// What is asked of a clip. Each has two answers, right equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipQuestion {
    /// An icon moves: to the left or to the right, or up or down?
    Direction,
    /// An icon grows or shrinks: which?
    Grows,
    /// An icon goes round the middle of the frame: clockwise or not?
    Turns,
    /// Two icons, one after the other: in which order?
    Order,
    /// Three icons, one after the other: which was the first, or the last?
    FirstLast,
    /// One icon becomes another: which becomes which?
    Becomes,
    /// An icon appears and disappears: how many times is it there?
    Times,
    /// Icons come one by one, and all are there from the middle on: how many are there at the end? One frame is enough, in any order: this
    /// is what shows that questions about single or shuffled frames can be answered at all.
    Control,
}

impl ClipQuestion {
    /// All questions.
    pub const ALL: [ClipQuestion; 8] = [
        Self::Direction,
        Self::Grows,
        Self::Turns,
        Self::Order,
        Self::FirstLast,
        Self::Becomes,
        Self::Times,
        Self::Control,
    ];

    /// The name in ids, `"first_last"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direction => "direction",
            Self::Grows => "grows",
            Self::Turns => "turns",
            Self::Order => "order",
            Self::FirstLast => "first_last",
            Self::Becomes => "becomes",
            Self::Times => "times",
            Self::Control => "control",
        }
    }

    /// Whether nothing but several frames in their order says the answer.
    pub fn needs_order(self) -> bool {
        !matches!(self, Self::Times | Self::Control)
    }

    /// Other concepts than the one that the question is about.
    pub(super) fn others(self) -> usize {
        match self {
            Self::Order | Self::Becomes => 1,
            Self::FirstLast => 2,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_they_are_serialised() {
        for question in ClipQuestion::ALL {
            assert_eq!(serde_json::to_value(question).unwrap(), question.as_str());
        }
        assert_eq!(ClipQuestion::ALL.iter().filter(|question| question.needs_order()).count(), 6);
    }
}
