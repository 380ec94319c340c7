//! Steps between raw data and training: what stands in training and in a benchmark, which translations are kept, what they answer; and
//! long work over the rows of a source that must not be done twice.
//!
//! A [`Run`] asks [`Question`]s of an [`Answerer`] (an endpoint, or a model on this machine), and a [`RecordLog`] keeps what has
//! become of each, and survives being killed at any moment. [`translation`] makes questions of samples, and samples of replies; [`regeneration`] does of
//! pictures.

pub mod filter;
mod languages;
mod log;
pub mod overlap;
pub mod pair_prompts;
mod question;
pub mod regeneration;
mod rows;
mod run;
mod said;
pub mod translation;
mod written;

pub use languages::{assign_languages, language_key};
pub use log::{Key, LogError, Outcome, Record, RecordLog, Spent};
pub use question::{
    Answer, Answerer, Finish, Message, Part, Question, Questions, Reply, Schema, Settings, Task, Trouble,
};
pub use rows::{RowError, RowWriter, picture_root};
pub use run::{Budget, Check, End, Fault, GIVE_UP_AFTER, Progress, Run, RunError, RunOptions, Watch};
pub use said::said;
pub use written::{MadeError, MadeSample, MadeWriter};
