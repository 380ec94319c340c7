//! A study of VLMs: what one cell does, and how the finished cells become a summary.
//!
//! A cell assembles a VLM from pretrained parts, trains its stages, asks the evaluation's questions and leaves
//! `predictions.jsonl`, logs and the trained model in its folder. The runner of [`crate::ablation`] decides which cell
//! runs where; this module is the [`CellJob`](crate::ablation::CellJob) it runs.

mod beginnings;
mod blind;
mod experts;
mod forgetting;
mod job;
mod languages;
mod missing;
mod parts;
mod pivot;
mod questions;
mod scores_card;
mod seen_words;
mod strata;
mod summary;
mod training;

pub use job::{StudyInputs, VlmJob};
pub use missing::{MissingInput, MissingInputs, NeededFor};
pub use questions::analysis_samples;
pub use summary::write_summary;
