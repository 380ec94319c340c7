//! For users of Burn: our samples, batches and models under the traits of `burn-dataset` and `burn-train`, and Burn's dashboard on
//! our loop (feature `burn-train`; the terminal dashboard needs `tui`).
//!
//! - data: a [`StreamDataset`] is a [`Dataset`](burn::data::dataset::Dataset) of prepared samples;
//! - batches: a [`RowBatcher`] is a [`Batcher`](burn::data::dataloader::batcher::Batcher) of them, a
//!   [`SampleBatcher`] one of samples as they are read;
//! - steps: a [`VlmLearner`] is a VLM with [`TrainStep`](burn_train::TrainStep) and [`InferenceStep`](burn_train::InferenceStep);
//! - dashboard: a [`Dashboard`] shows a stage of [`train_stage`](crate::trainer::train_stage) in a renderer of Burn and stops it.

mod dashboard;
mod loading;
mod step;

pub use dashboard::Dashboard;
pub use loading::{RowBatcher, SampleBatcher, StreamDataset};
pub use step::{TargetLosses, VlmLearner};
