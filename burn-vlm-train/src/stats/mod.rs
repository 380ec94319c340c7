//! Scores of texts, and intervals of scores.
//!
//! - [`chrf`] and [`exact_match`] score one generated text against one reference;
//! - [`Outcome`] is one scored question, [`Scores`] many of them as dense arrays;
//! - [`Group::resample`] draws bootstrap replicates, [`Resampled::estimate`] reads scores, differences and their 95 %
//!   intervals off them;
//! - [`mcnemar`] tests whether two models that answered the same questions are right equally often.
//!
//! Unusual here:
//! - the unit that is resampled is what questions are about: a *concept* of the corpus, a picture or a pair of another benchmark.
//!   All its questions, in every language, seed and rotation, enter a replicate together, since they succeed and fail
//!   together. Questions drawn one by one would give intervals that are too short;
//! - one set of replicates serves every cell, column and language of a group, so a difference between two cells is paired:
//!   both are measured on the same resampled units;
//! - an interval therefore says how far the score may move with *other concepts or pictures*. How far it moves with *another training
//!   run* is what several seeds show; that spread is reported beside the interval, never mixed into it.

mod bootstrap;
mod error;
mod mcnemar;
mod outcome;
mod subset;
mod text;

pub use bootstrap::{Bootstrap, Estimate, Resampled, Term, percentile};
pub use error::StatsError;
pub use mcnemar::mcnemar;
pub use outcome::{Axes, Group, GroupKey, Outcome, RunKey, Scores};
pub use subset::Subset;
pub use text::{chrf, exact_match, normalise};
