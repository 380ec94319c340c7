//! Scores of texts, and intervals of scores.
//!
//! - [`chrf`] and [`exact_match`] score one generated text against one reference;
//! - [`Outcome`] is one scored question, [`Scores`] many of them as dense arrays;
//! - [`Group::resample`] draws bootstrap replicates, [`Resampled::estimate`] reads scores, differences and their 95 %
//!   intervals off them, [`Resampled::distribution`] p-values and the smallest difference that could be found too,
//!   [`Resampled::spread`] how many seeds a standard error needs;
//! - [`Measurement`] is a quantity that is no share (bits, with the bytes that they are of), [`Group::of_measurements`] many of them,
//!   for the same intervals;
//! - [`holm`] corrects p-values for their number, [`kendall`] says whether two lists order things alike;
//! - [`mcnemar`] tests whether two models that answered the same questions are right equally often.
//!
//! Unusual here:
//! - the unit that is resampled is what questions are about: a *concept* of the corpus, a picture or a pair of another benchmark.
//!   All its questions, in every language, seed and rotation, enter a replicate together, since they succeed and fail
//!   together. Questions drawn one by one would give intervals that are too short;
//! - one set of replicates serves every cell, column and language of a group, so a difference between two cells is paired:
//!   both are measured on the same resampled units;
//! - where a setting was trained with several seeds, a replicate draws seeds too, one fewer than there are: an interval then says how
//!   far the score may move with other concepts or pictures *and* another training run. It is Student's t interval, since a few seeds
//!   tell little of how much seeds differ. With one seed it can only say the former, and tables say which of the two they say.

mod bootstrap;
mod distribution;
mod error;
mod holm;
mod mcnemar;
mod measurement;
mod outcome;
mod rank;
mod student;
mod subset;
mod text;

pub use bootstrap::{Bootstrap, Estimate, Resampled, Term, percentile};
pub use distribution::{Distribution, POWER, SeedsNeeded, Spread};
pub use error::StatsError;
pub use holm::holm;
pub use mcnemar::mcnemar;
pub use measurement::Measurement;
pub use outcome::{Axes, Group, GroupKey, Outcome, RunKey, Scores};
pub use rank::{RankCorrelation, kendall};
pub use student::{student_quantile, student_two_sided};
pub use subset::Subset;
pub use text::{chrf, exact_match, normalise};
