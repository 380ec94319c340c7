//! From labels of tokens to spans of errors, and what they cost.
//!
//! Unusual here, as in XCOMET's own code: `<s>` and `</s>` take part; a span has the severity of its *first* token; one that is open at
//! the last token is dropped.

use serde::{Deserialize, Serialize};

use super::{Joined, PairTokenizer, Piece};
use crate::tokenizer::TokenizerError;

/// How bad an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 1 point.
    Minor,
    /// 5 points.
    Major,
    /// 10 points.
    Critical,
}

impl Severity {
    /// By the name that hyper-parameters have.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "minor" => Some(Self::Minor),
            "major" => Some(Self::Major),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }

    /// What an error costs.
    fn points(self) -> u64 {
        match self {
            Self::Minor => 1,
            Self::Major => 5,
            Self::Critical => 10,
        }
    }
}

/// The points at which a translation is worth nothing.
const MOST_POINTS: u64 = 25;

/// A part of a translation that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorSpan {
    /// The tokens' text, special ones included.
    pub text: String,
    /// Mean probability of the tokens' labels.
    pub confidence: f32,
    /// How bad it is.
    pub severity: Severity,
    /// First character in the translation.
    pub start: usize,
    /// The character after the last.
    pub end: usize,
}

/// The spans of a translation.
///
/// - `translation`: the translation, the first text of `joined`
/// - `probabilities`: of each label of each token of the row from its start on, at least as many as `translation` has; label 0 is none,
///   the others are `severities`
///
/// # Errors
/// Only if the tokenizer cannot decode.
pub fn error_spans(
    tokenizer: &PairTokenizer,
    translation: &Piece,
    joined: &Joined,
    probabilities: &[Vec<f32>],
    severities: &[Severity],
) -> Result<Vec<ErrorSpan>, TokenizerError> {
    struct Open {
        tokens: Vec<u32>,
        probabilities: Vec<f32>,
        severity: Severity,
        place: (usize, usize),
    }
    let mut spans = Vec::new();
    let mut open: Option<Open> = None;
    for ((token, labels), place) in joined.ids.iter().zip(probabilities).zip(&translation.offsets) {
        let best = labels.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (label, probability)| {
            if *probability > best.1 { (label, *probability) } else { best }
        });
        let severity = best.0.checked_sub(1).and_then(|label| severities.get(label));
        match (severity, open.take()) {
            (None, None) => {}
            (None, Some(span)) => {
                let count = span.probabilities.len() as f32;
                spans.push(ErrorSpan {
                    text: tokenizer.tokenizer().decode(&span.tokens, false)?,
                    confidence: span.probabilities.iter().sum::<f32>() / count,
                    severity: span.severity,
                    start: span.place.0,
                    end: span.place.1,
                });
            }
            (Some(severity), None) => {
                open = Some(Open {
                    tokens: vec![*token],
                    probabilities: vec![best.1],
                    severity: *severity,
                    place: *place,
                });
            }
            (Some(_), Some(mut span)) => {
                span.tokens.push(*token);
                span.probabilities.push(best.1);
                span.place.1 = place.1;
                open = Some(span);
            }
        }
    }
    Ok(spans)
}

/// What spans leave of a score of 1: `(25 - min(25, points)) / 25`.
pub fn mqm_score(spans: &[ErrorSpan]) -> f32 {
    let points: u64 = spans.iter().map(|span| span.severity.points()).sum();
    (MOST_POINTS - points.min(MOST_POINTS)) as f32 / MOST_POINTS as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_capped() {
        let span = |severity| ErrorSpan { text: String::new(), confidence: 1.0, severity, start: 0, end: 1 };
        assert_eq!(mqm_score(&[]), 1.0);
        assert_eq!(mqm_score(&[span(Severity::Minor), span(Severity::Major)]), 0.76);
        assert_eq!(mqm_score(&[span(Severity::Critical), span(Severity::Critical), span(Severity::Critical)]), 0.0);
    }
}
