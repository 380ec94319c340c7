//! Long work over the rows of a source that must not be done twice: translating, generating, filtering.
//!
//! A [`RecordLog`] keeps what has become of each row, and survives being killed at any moment.

mod log;

pub use log::{Key, LogError, Outcome, Record, RecordLog, Spent};
