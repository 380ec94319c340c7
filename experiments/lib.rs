//! The studies of burn-vlm: one command line for all of them, their TOML files, and their recorded results.
#![deny(missing_docs)]

mod args;
mod chat;
mod pretrain;
mod study;

pub use args::StudyArgs;
pub use chat::chat;
pub use pretrain::pretrain;
pub use study::{AnyError, execute, run_study};

/// The encoder study (`experiments/encoder.toml`).
pub const ENCODER: &str = include_str!("encoder.toml");
