//! Which tokens of a conversation route the experts.
//!
//! Unusual here: what the authors' code does (`masked_tokens`) lets questions that come after an answer route the picture that
//! the answer is trained on. In generation there are no later questions, and earlier answers count, because nothing is masked.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The label of a token that is not trained.
const IGNORED: i64 = -100;

/// Which words route in training. In generation every scope is chosen by the mask that the caller gives; without one all
/// tokens of the prompt route, as in the authors' code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextScope {
    /// Every token whose label is -100: system text, all headers, all user turns, also those after the first answer.
    #[default]
    MaskedTokens,
    /// The first user turn alone.
    FirstUserTurn,
    /// Every user turn, without system text and headers.
    AllUserTurns,
}

/// The tokens of one user turn, as a range of positions in its row.
pub type Turn = Range<usize>;

impl TextScope {
    /// Whether [`Self::select`] must be told where the user's turns are.
    pub fn needs_user_turns(self) -> bool {
        self != Self::MaskedTokens
    }

    /// The tokens of one row that route, true where they do. Image tokens need no care: they never route.
    ///
    /// - `labels`: of each real token of the row, -100 where nothing is trained
    /// - `user_turns`: where the user's turns are; unused by [`Self::MaskedTokens`]
    pub fn select(self, labels: &[i64], user_turns: &[Turn]) -> Vec<bool> {
        let turns = match self {
            Self::MaskedTokens => return labels.iter().map(|label| *label == IGNORED).collect(),
            Self::FirstUserTurn => &user_turns[..user_turns.len().min(1)],
            Self::AllUserTurns => user_turns,
        };
        (0..labels.len()).map(|position| turns.iter().any(|turn| turn.contains(&position))).collect()
    }
}
