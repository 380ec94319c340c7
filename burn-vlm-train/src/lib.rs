//! Training, evaluation and ablations of vision-language models on Burn.
//!
//! | module | what it holds |
//! |---|---|
//! | [`recipe`] | what is trained, as TOML |
//! | [`run`] | a whole recipe, from parts to a Hugging Face folder; its estimate for dry runs |
//! | [`study`] | a cell of an ablation: trained by `run`, asked by `eval`, summarised |
//! | [`eval`] | benchmarks: what is asked and what the replies are worth |
//! | [`chat`] | talking to a model |
//! | [`quality`] | scores of translations by COMETKiwi and XCOMET |
//! | [`trainer`] | the loop of one stage, with [`optim`], [`checkpoint`], [`log`], [`watch`] (validation) and [`device`] |
//! | [`objective`] | from a source's samples to a batch and its loss |
//! | [`processor`], [`pictures`], [`features`] | what stands before the tensor, and the features of a frozen tower, computed once |
//! | [`assemble`], [`pretrain`] | a VLM made of parts, and small parts pretrained here |
//! | [`params`] | parameters by name |
//! | [`ablation`] | axes x seeds as cells, run once each; knows nothing of models |
//! | [`stats`], [`report`], [`analysis`] | intervals; tables, plots and pages; what a connector's experts do |
//! | `learn` (feature `burn-train`) | the same under the traits of burn-train, and its dashboard on our loop |
//! | [`error`] | what can go wrong |
//!
//! The book has pages on [a first study](https://github.com/burn-vlm/burn-vlm/blob/main/docs/first-study.md), on
//! [training](https://github.com/burn-vlm/burn-vlm/blob/main/docs/training.md), on
//! [studies](https://github.com/burn-vlm/burn-vlm/blob/main/docs/studies.md) and on [reading a report](https://github.com/burn-vlm/burn-vlm/blob/main/docs/reading-a-report.md).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod ablation;
pub mod analysis;
pub mod assemble;
pub mod chat;
pub mod checkpoint;
pub mod device;
pub mod error;
pub mod eval;
pub mod features;
#[cfg(feature = "burn-train")]
pub mod learn;
pub mod log;
mod meter;
pub mod objective;
pub mod optim;
mod parallel;
pub mod params;
pub mod pictures;
pub mod pretrain;
pub mod processor;
pub mod quality;
pub mod recipe;
pub mod report;
pub mod run;
pub mod stats;
pub mod study;
pub mod trainer;
pub mod watch;
