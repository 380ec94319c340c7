//! How far annotators agree: percent agreement, Cohen, Fleiss, Krippendorff, Gwet, and intervals by resampling items.
//!
//! | module | statistic | source |
//! |---|---|---|
//! | [`percent`](mod@percent) | three percent agreements, which part ways where ratings are missing | |
//! | [`cohen`](mod@cohen) | Cohen's kappa of two annotators, weighted or not; Light's mean over pairs | Cohen (1960, 1968), Fleiss, Cohen and Everitt (1969), Light (1971) |
//! | [`fleiss`](mod@fleiss) | Fleiss' and Randolph's kappa over the items that everybody rated | Fleiss (1971), Randolph (2005) |
//! | [`alpha`](mod@alpha) | Krippendorff's alpha: nominal, ordinal, interval, ratio | Krippendorff (2011) |
//! | [`chance`] | Gwet's AC1 and AC2, Brennan-Prediger, and Fleiss, Conger and alpha as Gwet generalises them, with standard errors | Gwet (2014) |
//! | [`interval`] | percentile intervals over resampled items | Efron (1979) |
//! | [`report`](mod@report) | all of it for one column of ratings | |
//!
//! Unusual here: where a coefficient is undefined (nobody rated an item twice, everything that was rated is the same) it is an
//! [`Undefined`] with the reason. Packages return NaN, 1, or an error for the same data, each another one.

pub mod alpha;
pub mod chance;
pub mod cohen;
pub mod fleiss;
pub mod interval;
pub mod percent;
pub mod ratings;
pub mod report;
mod student;

pub use alpha::alpha;
pub use chance::{Coefficient, coefficient};
pub use cohen::{cohen, light};
pub use fleiss::{fleiss, randolph};
pub use interval::{Interval, resample, resamples};
pub use percent::{Percent, percent};
pub use ratings::{RatingError, Ratings, RatingsBuilder, Scale};
pub use report::{Report, report};

use serde::{Deserialize, Serialize};

/// What the labels of a scale mean to each other (Stevens, 1946).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// They are the same or not.
    #[default]
    Nominal,
    /// They have an order.
    Ordinal,
    /// They are numbers whose differences can be compared.
    Interval,
    /// They are numbers above a true zero, whose ratios can be compared.
    Ratio,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nominal, Self::Ordinal, Self::Interval, Self::Ratio];

    /// The name, as in options and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Ordinal => "ordinal",
            Self::Interval => "interval",
            Self::Ratio => "ratio",
        }
    }

    /// Labels must be numbers.
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Interval | Self::Ratio)
    }
}

/// How much two different categories agree. Their distance is that of their places on the scale, so that a category that nobody used
/// still parts its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Not at all.
    Identity,
    /// Less with the distance.
    Linear,
    /// Less with the square of the distance.
    Quadratic,
    /// Less with the number of pairs of categories between them, both counted: Gwet's ordinal weights, which are not Krippendorff's
    /// ordinal metric.
    Ordinal,
}

impl Weights {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Identity, Self::Linear, Self::Quadratic, Self::Ordinal];

    /// How much categories at two places of a scale of some length agree: from 0 for its ends to 1 for the same place.
    pub fn agree(self, one: usize, other: usize, length: usize) -> f64 {
        let apart = one.abs_diff(other) as f64;
        let farthest = length.saturating_sub(1) as f64;
        match self {
            _ if one == other => 1.0,
            Self::Identity => 0.0,
            Self::Linear => 1.0 - apart / farthest,
            Self::Quadratic => 1.0 - (apart / farthest).powi(2),
            Self::Ordinal => 1.0 - apart * (apart + 1.0) / (farthest * (farthest + 1.0)),
        }
    }
}

/// Why a coefficient has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// Nothing can be compared.
    #[error("undefined: no item has two ratings")]
    NoPairs,
    /// Two annotators have no item in common.
    #[error("undefined: the two annotators rated no item in common")]
    NoCommonItem,
    /// A coefficient that takes complete items only.
    #[error("undefined: no item was rated by every annotator; alpha takes items with missing ratings")]
    NoCompleteItem,
    /// Agreement by chance is certain, and what is beyond it a share of nothing.
    #[error(
        "undefined, agreement 1.0: all ratings that can be compared are the same, so that chance alone explains the agreement"
    )]
    NoVariation,
    /// No pair of annotators has a kappa.
    #[error("undefined: of no pair of annotators is kappa defined")]
    NoDefinedPair,
    /// Chance is told from each annotator's own use of the categories.
    #[error("undefined: an annotator rated nothing, so that what the annotators agree on by chance is unknown")]
    SilentAnnotator,
    /// A scale on which nothing can differ.
    #[error("undefined: the scale has fewer than two categories; declare all that could be chosen")]
    ShortScale,
    /// Differences and ratios are those of numbers.
    #[error("undefined: interval and ratio distances need a scale of numbers")]
    NoNumbers,
    /// Ratio distances compare numbers above 0.
    #[error("undefined: a ratio scale has no numbers below 0")]
    BelowZero,
}

impl Serialize for Undefined {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
