//! Which scored rows are kept: by a threshold, one for each language, or a quantile within a language.
//!
//! Unusual here:
//! - nothing is left out without its reason: a row that is not kept is written with why;
//! - a score is not calibrated across languages, so a language may have a rule of its own, and the report shows what other thresholds would
//!   keep of it.

mod page;
mod report;
mod rule;

pub use page::{Shown, filter_page};
pub use report::{FilterReport, LanguageFilter, SHARES};
pub use rule::{Cut, Cuts, NO_LANGUAGE, OfLanguage};

use crate::source::Row;
use serde::Serialize;
use serde_json::Value;

/// What a row's field has as its score.
#[derive(Debug, Clone, PartialEq)]
pub enum Scored {
    /// A number.
    Score(f64),
    /// Nothing, with why, where the record of the scorer says it.
    Missing(Option<String>),
    /// Something that is no number.
    Undefined(String),
}

impl Scored {
    /// The score of a row. Numbers in texts (a table's cells) are numbers; infinities and the like are none.
    pub fn of(row: &Row, field: &str) -> Self {
        let record = || row.fields.get(&format!("{field}_record"))?.get("reason")?.as_str().map(str::to_owned);
        match row.fields.get(field) {
            None | Some(Value::Null) => Self::Missing(record()),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(score) => Self::Score(score),
                None => Self::Undefined(number.to_string()),
            },
            Some(Value::String(text)) if text.trim().is_empty() => Self::Missing(record()),
            Some(Value::String(text)) => match text.trim().parse::<f64>() {
                Ok(score) if score.is_finite() => Self::Score(score),
                _ => Self::Undefined(text.clone()),
            },
            Some(other) => Self::Undefined(other.to_string()),
        }
    }
}

/// Why a row is not kept. Serialised in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Its score is not enough.
    BelowThreshold,
    /// It has none.
    NoScore,
    /// What it has is no number.
    Undefined,
    /// It is on the list of rows to exclude.
    Excluded,
    /// It, or its pictures, cannot be read.
    Unreadable,
}

impl Rejection {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::BelowThreshold, Self::NoScore, Self::Undefined, Self::Excluded, Self::Unreadable];

    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BelowThreshold => "below_threshold",
            Self::NoScore => "no_score",
            Self::Undefined => "undefined",
            Self::Excluded => "excluded",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The language of a row as its field has it; [`NO_LANGUAGE`] where it has none.
pub fn language_of(row: &Row, field: &str) -> String {
    match row.fields.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => row.language.map_or_else(|| NO_LANGUAGE.to_owned(), |language| language.tag().to_owned()),
    }
}
