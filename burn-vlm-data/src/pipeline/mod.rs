//! Steps between raw data and training: what stands in training and in a benchmark, which translations are kept, what they answer; and
//! long work over the rows of a source that must not be done twice.
//!
//! A [`RecordLog`] keeps what has become of each row, and survives being killed at any moment.

pub mod filter;
mod languages;
mod log;
pub mod overlap;
pub mod pair_prompts;
mod rows;
mod said;

pub use languages::{assign_languages, language_key};
pub use log::{Key, LogError, Outcome, Record, RecordLog, Spent};
pub use rows::{RowError, RowWriter, picture_root};
pub use said::said;
