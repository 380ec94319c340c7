//! Stages that several runs begin with alike: trained once, by whichever run comes to them first, and taken by the others.
//!
//! A finished stage is a part of a [`PartStore`]: its logs, its last checkpoint, its best weights, and which run trained it in what
//! time. That run trains in its own folder, as every run, and holds the stage's lock meanwhile. If it is killed, the next run that needs
//! the stage makes it; the killed one goes on from its own checkpoint, or takes the stage if that is there by then. A run that takes a
//! stage has the same files in its folder as one that trained it, and `taken.json` besides.

use std::path::{Path, PathBuf};

use burn_vlm_base::files::{read_json, read_json_if_there, remove_if_there, write_json_atomic};
use burn_vlm_base::progress::{Reporter, show_duration};
use serde::{Deserialize, Serialize};

use super::begin::copy_stage;
use crate::ablation::{Claim, Maker, PartStore};
use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::log::{self, StepLog};

/// In the folder of a stage that was taken: where from. In the store: who trained the stage.
const TAKEN: &str = "taken.json";

/// The first stages of a run, which other runs have too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStages {
    /// Folder of the finished stages. Runs of one study share it.
    pub store: PathBuf,
    /// How many of the first stages some other run has too.
    pub stages: usize,
    /// What this run is called by those that take a stage of its.
    pub run: String,
    /// What else decides on the last bits: version of the code, kind of device, vector instructions. A stage of others is not taken.
    pub made_by: String,
}

/// Where a stage was taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakenStage {
    /// The run that trained it.
    pub run: String,
    /// Seconds that it took there.
    pub seconds: f64,
}

/// Where the stage in this folder was taken from; `None` where it was trained here.
///
/// # Errors
/// A file that is damaged.
pub(crate) fn taken(folder: &Path) -> Result<Option<TakenStage>> {
    Ok(read_json_if_there(&folder.join(TAKEN))?)
}

/// What identifies a stage with all that comes before it: a hash that grows from stage to stage.
pub(super) struct Beginning(String);

impl Beginning {
    /// Of a run that begins from `made_of`.
    pub(super) fn new(made_of: &str) -> Self {
        Self(blake3::hash(made_of.as_bytes()).to_hex().to_string())
    }

    /// With a stage more, by the fingerprint of its recipe and data.
    pub(super) fn then(&self, fingerprint: &str) -> Self {
        Self::new(&format!("{} {fingerprint}", self.0))
    }
}

impl SharedStages {
    /// Takes a stage into `folder` if another run has trained it, waiting for one that is at it; else the right to make it.
    ///
    /// # Errors
    /// Files that cannot be read or written, a damaged stage in the store.
    pub(super) fn take(
        &self,
        (number, name): (usize, &str),
        beginning: &Beginning,
        folder: &Path,
        reporter: &Reporter,
    ) -> Result<Option<Maker>> {
        let key = blake3::hash(format!("{} {}", self.made_by, beginning.0).as_bytes()).to_hex();
        let part = format!("stage{}", number + 1);
        let there = match PartStore::new(&self.store).claim(&key, &part, reporter)? {
            Claim::InPlace(there) => there,
            Claim::Ours(maker) => {
                if checkpoint::list(folder)?.is_empty() {
                    remove_if_there(&folder.join(TAKEN))?;
                }
                return Ok(Some(maker));
            }
        };
        let made: TakenStage = read_json(&there.join(TAKEN))?;
        let newest = checkpoint::list(&there)?.pop();
        let newest = newest.ok_or_else(|| TrainError::invalid(&there, "the stage has no checkpoint"))?;
        let own = newest.file_name().map(|name| folder.join(name));
        // Where this run has trained the stage too (it was killed before it could say so), nothing is saved.
        if !own.is_some_and(|own| checkpoint::is_whole(&own)) {
            write_json_atomic(&folder.join(TAKEN), &made)?;
            copy_stage(&there, &newest, folder)?;
            let time = show_duration(std::time::Duration::try_from_secs_f64(made.seconds).unwrap_or_default());
            reporter.line(&format!("{name}: taken from {}, which begins alike; {time} of training saved", made.run));
        }
        Ok(None)
    }

    /// Puts a finished stage into the store, for the other runs.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(super) fn publish(&self, maker: Maker, folder: &Path, log: &[StepLog]) -> Result<()> {
        let newest = checkpoint::list(folder)?.pop();
        let newest = newest.ok_or_else(|| TrainError::invalid(folder, "the finished stage has no checkpoint"))?;
        let part = maker.making().folder();
        copy_stage(folder, &newest, &part)?;
        // It may have been taken itself, from a store that has been removed since.
        let trained = || TakenStage { run: self.run.clone(), seconds: log::seconds(log) };
        write_json_atomic(&part.join(TAKEN), &taken(folder)?.unwrap_or_else(trained))?;
        maker.publish()?;
        Ok(())
    }
}
