//! What a model is asked for, and what comes back.

use serde::{Deserialize, Serialize};

use crate::error::BenchmarkError;

/// What is wanted of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The mean log-likelihood of each answer's tokens (the end of the turn is one of them), natural logarithm.
    Likelihood {
        /// The answers.
        answers: Vec<String>,
    },
    /// The mean log-likelihood of all text tokens of a conversation (pictures' tokens aside, those of the template
    /// and the end of the turn included), one score for each turn of the user, natural logarithm: what TowerVision's
    /// fork of lmms-eval computes in effect wherever a picture has more tokens than the prompt.
    Conversation {
        /// What the user says, in place of the question's text.
        turns: Vec<String>,
        /// What the assistant says each time.
        answer: String,
    },
    /// The logit of each answer's first token where the answer begins: for letters.
    FirstToken {
        /// The answers; no two may begin with the same token.
        answers: Vec<String>,
    },
    /// A text, written greedily until the end of the turn.
    Generate {
        /// The most tokens.
        max_new_tokens: usize,
    },
}

/// What came back for a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// What the model wrote.
    Text(String),
    /// One score an answer.
    Scores(Vec<f64>),
}

impl Reply {
    /// The scores of `answers` answers.
    ///
    /// # Errors
    /// A text, or another number of scores.
    pub fn scores(&self, benchmark: &str, answers: usize) -> Result<&[f64], BenchmarkError> {
        match self {
            Self::Scores(scores) if scores.len() == answers => Ok(scores),
            Self::Scores(scores) => Err(unexpected(benchmark, answers, &format!("{} scores", scores.len()))),
            Self::Text(_) => Err(unexpected(benchmark, answers, "a text")),
        }
    }

    /// The text.
    ///
    /// # Errors
    /// Scores.
    pub fn text(&self, benchmark: &str) -> Result<&str, BenchmarkError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Scores(_) => {
                let message = "expected a text as reply, found scores".to_owned();
                Err(BenchmarkError::Replies { name: benchmark.to_owned(), message })
            }
        }
    }
}

fn unexpected(benchmark: &str, answers: usize, found: &str) -> BenchmarkError {
    let message = format!("expected {answers} scores as reply, found {found}");
    BenchmarkError::Replies { name: benchmark.to_owned(), message }
}
