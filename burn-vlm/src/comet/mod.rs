//! COMET's translation metrics: COMETKiwi (quality estimation from source and translation) and XCOMET (with error spans).
//!
//! Both are one body, a multilingual encoder over the joined texts with a small head, in files as published ([`CometFolder`]).
//!
//! Unusual here:
//! - the translation stands before the source;
//! - the sentence's vector is the *first row* of a mixture of all hidden states, embeddings included, whatever `pool` says; the states
//!   are mixed as they come, so that none is kept;
//! - the mixture's weights are a softmax where hparams.yaml says `sparsemax_patch`, a sparsemax where it says `sparsemax`;
//! - a score is not clamped: below 0 and above 1 occur.
//!
//! What stands before the tensor (tokens, joining, long texts) and behind it (spans) is `burn-vlm-data`'s.

mod config;
mod folder;
mod mix;
mod model;

pub use config::{CometClass, CometConfig, LayerTransformation, Segment, SentenceLayer};
pub use folder::CometFolder;
pub use mix::LayerwiseAttention;
pub use model::{CometEncoder, CometModel, CometOutput, Estimator};
