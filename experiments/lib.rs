//! The studies of burn-vlm: one command line for all of them, their TOML files, and their recorded results.
#![deny(missing_docs)]

// pub mod args;
mod pretrain;

pub use pretrain::pretrain;
