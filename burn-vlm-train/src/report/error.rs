//! What can go wrong while a summary or a report is made.

use burn_vlm_base::files::FileError;
use burn_vlm_base::suggest::did_you_mean;
use thiserror::Error;

use crate::stats::StatsError;

/// A summary or report that could not be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The outcomes do not make honest scores.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// An outcome names an axis, a value or a protocol that the study does not list.
    #[error("the outcomes have the {what} `{name}`, which the study `{study}` does not list (it has: {known}){}", did_you_mean(.name, .known.split(", ")))]
    Unknown {
        /// `axis`, `protocol` or `value of the axis x`.
        what: String,
        /// The name that is not listed.
        name: String,
        /// The study.
        study: String,
        /// The listed names, separated by commas.
        known: String,
    },
    /// A cell does not give a value to every axis.
    #[error(
        "a cell of the study `{study}` has no value for the axis `{axis}`: its predictions come from another version of the study, delete them and run it again"
    )]
    AxisMissing {
        /// The study.
        study: String,
        /// The axis without a value.
        axis: String,
    },
    /// A column of the study has a language without outcomes.
    #[error(
        "{group}: the column `{column}` needs the language `{language}`, which has no outcomes: evaluate it, or take it out of the column"
    )]
    LanguageMissing {
        /// Protocol and part of the benchmark.
        group: String,
        /// The column.
        column: String,
        /// The language.
        language: String,
    },
    /// The study names a headline that was not evaluated.
    #[error("the headline `{headline}` has no outcomes (there are: {known})")]
    HeadlineMissing {
        /// The group the study names.
        headline: String,
        /// The groups that have outcomes.
        known: String,
    },
    /// Too few replicates for the ends of an interval.
    #[error(
        "bootstrap.replicates is {found}: the ends of a 95 % interval need at least {least} replicates, better 4000"
    )]
    TooFewReplicates {
        /// What the study asks for.
        found: usize,
        /// The least that is accepted.
        least: usize,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A drawing could not be turned into pixels or a table into text: a defect of this program.
    #[error("cannot make {what}: {reason}; this is a defect of the program, please report it")]
    Internal {
        /// What was made.
        what: String,
        /// What went wrong.
        reason: String,
    },
}
