//! Ablations: an experiment is data, and this module runs it.
//!
//! A [`Study`] (a TOML file) has a base recipe, axes that vary it and a number of seeds. [`Study::plan`] makes a
//! [`Plan`], the list of [`Cell`]s under a preset; [`run`] runs each cell's [`CellJob`] and then the summary.
//!
//! - What is finished is known by a hash of its content and is skipped; another recipe's results in the same folder
//!   are an error, never overwritten.
//! - Killed at any moment, the same command continues: every file is there whole or not at all.
//! - Many runs (threads, processes, machines on one folder) share the cells; no cell is run twice at once. Shared parts
//!   come from a [`PartStore`].
//! - A cell that fails, even by a panic, does not stop the others.
//!
//! The module knows nothing of models: a recipe is a TOML table to it, a job is a trait.
//!
//! ```no_run
//! use std::path::Path;
//! use burn_vlm_train::ablation::{
//!     Cell, JobError, JsonlWriter, PartStore, PatchRules, Reporter, RunOptions, Study, hash_table, run, write_atomic,
//!     write_json_atomic,
//! };
//!
//! # fn main() -> Result<(), JobError> {
//! let study = Study::load(Path::new("experiments/encoder.toml"))?;
//! let rules = PatchRules::new().open("stage.*.learning_rate");
//! let plan = study.plan("tiny", None, &rules)?;
//!
//! let options = RunOptions { jobs: 2, ..RunOptions::new("runs/encoder/tiny") };
//! let parts = PartStore::new(options.out.join("parts"));
//! let job = |cell: &Cell, folder: &Path, reporter: &Reporter| -> Result<serde_json::Value, JobError> {
//!     let wanted = cell.recipe["encoder"].as_table().ok_or("the recipe has no table `encoder`")?;
//!     // Made by the first cell that needs it, with checkpoints in `making.work()`; the others wait for it.
//!     let encoder = parts.get_or_make(&hash_table(wanted), "encoder", reporter, |making| {
//!         write_atomic(&making.folder().join("model.safetensors"), b"pretrained")?;
//!         Ok(())
//!     })?;
//!     reporter.line(&format!("encoder from {}", encoder.display()));
//!     let mut log = JsonlWriter::append_to(&folder.join("train.jsonl"))?;
//!     let bar = reporter.bar("train", 100);
//!     for step in 1..=100 {
//!         log.append(&serde_json::json!({ "step": step, "loss": 1.0 }))?;
//!         bar.set(step, "loss 1.0");
//!     }
//!     Ok(serde_json::json!({ "score": 25.0 }))
//! };
//! let outcome = run(&plan, &job, &options, &Reporter::new(false), |result| {
//!     let scores: Vec<_> = result.cells.iter().map(|cell| &cell.done.result).collect();
//!     Ok(write_json_atomic(&options.out.join("summary.json"), &scores)?)
//! })?;
//! println!("{} cells run, {} were finished already", outcome.ran.len(), outcome.skipped.len());
//! # Ok(())
//! # }
//! ```

mod cell;
mod fingerprint;
mod folder;
mod job;
mod order;
mod parts;
mod patch;
mod plan;
mod provenance;
mod runner;
mod shard;
mod study;
mod study_check;
#[cfg(test)]
mod tests;
mod toml_text;
mod workers;

pub use burn_vlm_base::files::{
    FileError, create_dir_all, publish_dir, read_json, read_json_if_there, write_atomic, write_atomic_with,
    write_json_atomic,
};
pub use burn_vlm_base::jsonl::{JsonlWriter, read_jsonl};
pub use burn_vlm_base::lock::{Attempt, FileLock};
pub use burn_vlm_base::progress::{Bar, Reporter, show_duration};
pub use burn_vlm_base::suggest::{hint, nearest};
pub use cell::{AxisChoice, Cell, UnknownCell, select};
pub use fingerprint::{Fingerprint, Inputs, hash_table};
pub use folder::{CellState, Done, FolderError};
pub use job::{CellJob, JobError, chain};
pub use parts::{Claim, Maker, Making, PartError, PartStore};
pub use patch::{KeyPath, PatchError, PatchRules, merge};
pub use plan::{NO_PRESET, Plan};
pub use provenance::{Commit, Provenance, now};
pub use runner::{
    AblationError, CellFailure, CellStatus, FinishedCell, Outcome, RunOptions, StudyResult, finished_cells, run, status,
};
pub use shard::{Shard, ShardError};
pub use study::{Axis, AxisValue, Column, Paper, PaperRow, Preset, Study, StudyError};
pub use toml_text::{Place, TomlError, parse_table, parse_toml};
