//! A study of VLMs: what one cell does, and how the finished cells become a summary.
//!
//! A cell assembles a VLM from pretrained parts, trains its stages, asks the evaluation's questions and leaves
//! `predictions.jsonl`, logs and the trained model in its folder. The runner of [`crate::ablation`] decides which cell
//! runs where; this module is the [`CellJob`](crate::ablation::CellJob) it runs.

mod banks;
mod estimate;
mod experts;
mod job;
mod questions;
mod stage;
mod summary;

pub(crate) use estimate::EFFICIENCY;
pub use estimate::{Estimate, estimate, matmul_rate, matmul_rate_of};
pub use job::{StudyInputs, VlmJob};
pub use questions::analysis_samples;
pub use stage::{stage_conversations, stage_objective};
pub use summary::write_summary;
