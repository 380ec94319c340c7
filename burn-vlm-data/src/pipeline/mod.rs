//! Long work over the rows of a source that must not be done twice: translating, generating, filtering.
//!
//! A [`Run`] asks [`Question`]s of an [`Answerer`] (an endpoint, or a model on this machine), and a [`RecordLog`] keeps what has
//! become of each, and survives being killed at any moment. [`translation`] makes questions of samples, and samples of replies; [`regeneration`] does of
//! pictures.

mod log;
mod question;
pub mod regeneration;
mod run;
pub mod translation;
mod written;

pub use log::{Key, LogError, Outcome, Record, RecordLog, Spent};
pub use question::{
    Answer, Answerer, Finish, Message, Part, Question, Questions, Reply, Schema, Settings, Task, Trouble,
};
pub use run::{Budget, Check, End, Fault, GIVE_UP_AFTER, Progress, Run, RunError, RunOptions, Watch};
pub use written::{MadeError, MadeSample, MadeWriter};
