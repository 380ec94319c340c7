//! What people make of translations, as in MMMB (Parrot, section 2.3): experts refine the machine's text each for themselves, others vote
//! for the best version, and everything is kept.
//!
//! | module | what it holds |
//! |---|---|
//! | [`task`] | what is worked on: items with their source, their machine translation and their picture |
//! | [`record`] | what people did, a line each, never changed again |
//! | [`mod@decide`] | which version is taken, and why |
//!
//! Unusual here: a vote is for a text, not for a person, and the record of it holds the text. Who changes a version after a vote takes
//! nobody's vote along.

pub mod decide;
pub mod record;
pub mod task;

pub use decide::{Decision, RULE, decide};
pub use record::{Record, Records};
pub use task::{Task, TaskItem};
