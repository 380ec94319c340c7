//! Training, evaluation and ablations of vision-language models on Burn.
//!
//! - [`recipe`]: what is trained, as TOML; [`trainer`]: the loop; [`optim`], [`checkpoint`], [`log`]: its parts;
//! - [`run`]: a whole recipe, from parts to a Hugging Face folder;
//! - [`processor`]: what stands before the tensor, for a model that is trained here;
//! - [`objective`]: next-token and contrastive losses on the samples of `burn-vlm-data`;
//! - [`pretrain`] and [`assemble`]: encoders and backbones of one's own, and the VLM made of them;
//! - [`eval`]: four-way choice, captions, retrieval; [`chat`]: talking to a model;
//! - `learn` (feature `burn-train`): the same under the traits of burn-train, and its dashboard on our loop;
//! - [`analysis`]: what a connector's experts do;
//! - [`ablation`], [`stats`], [`report`]: axes x seeds, intervals, tables and plots.
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
pub mod objective;
pub mod optim;
mod parallel;
pub mod params;
pub mod pictures;
pub mod pretrain;
pub mod processor;
pub mod recipe;
pub mod report;
pub mod run;
pub mod stats;
pub mod study;
pub mod trainer;
pub mod watch;
