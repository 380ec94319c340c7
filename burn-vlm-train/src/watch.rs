//! Validation while a stage trains: `validation.jsonl`, the best weights, and whether to stop.
//!
//! Unusual here: whether to stop is read off the log, and the best weights are written before the checkpoint that follows them, so a
//! killed run decides as an uninterrupted one.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm_base::jsonl::{JsonlWriter, read_jsonl};
use burn_vlm_base::progress::Reporter;
use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::objective::Validation;
use crate::recipe::{StageRecipe, ValidationRecipe};

/// File of a stage's validations.
const FILE: &str = "validation.jsonl";

/// One line of `validation.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationLog {
    /// Steps done, counted from 1.
    pub step: usize,
    /// Whether the loss was the lowest so far.
    pub best: bool,
    /// The losses.
    #[serde(flatten)]
    pub validation: Validation,
}

/// Reads a stage's validations; none where it was never validated.
///
/// # Errors
/// A file that cannot be read or is damaged.
pub fn read(stage_folder: &Path) -> Result<Vec<ValidationLog>> {
    let path = stage_folder.join(FILE);
    if path.is_file() { Ok(read_jsonl(&path)?) } else { Ok(Vec::new()) }
}

/// The validation of the weights that a stage gives: of the best, where it keeps these, else of the last.
pub fn of_result<'v>(validations: &'v [ValidationLog], stage: &StageRecipe) -> Option<&'v ValidationLog> {
    match stage.validation.as_ref().is_some_and(|validation| validation.keep_best) {
        true => validations.iter().rfind(|entry| entry.best),
        false => validations.last(),
    }
}

/// Watches one stage.
pub(crate) struct Watch<'a> {
    every: usize,
    recipe: ValidationRecipe,
    folder: &'a Path,
    fingerprint: &'a str,
    file: Option<JsonlWriter>,
    history: Vec<ValidationLog>,
    path: PathBuf,
    /// Validations up to this step were of other data: they are listed, and decide nothing.
    since: usize,
}

impl<'a> Watch<'a> {
    /// Goes on after `start` steps: later lines of the log are cut off.
    pub(crate) fn open(stage: &StageRecipe, folder: &'a Path, fingerprint: &'a str, start: usize) -> Result<Self> {
        let path = folder.join(FILE);
        let changed = checkpoint::earlier(folder)?.into_iter().rfind(|earlier| earlier.data_changed);
        let mut watch = Self {
            every: stage.eval_every,
            recipe: stage.validation.clone().unwrap_or_default(),
            folder,
            fingerprint,
            file: None,
            history: Vec::new(),
            path,
            since: changed.map_or(0, |changed| changed.step),
        };
        if watch.every > 0 {
            watch.file = Some(JsonlWriter::resume(&watch.path, |entry: &ValidationLog| entry.step <= start)?);
            watch.history = read_jsonl(&watch.path)?;
        }
        Ok(watch)
    }

    /// Whether a validation is due after so many steps of `total`.
    pub(crate) fn is_due(&self, done: usize, total: usize) -> bool {
        self.every > 0 && (done.is_multiple_of(self.every) || done == total)
    }

    /// Notes a validation, and keeps the weights if they are wanted and the best; what was noted.
    pub(crate) fn note<M: Module>(
        &mut self,
        name: &str,
        (step, total): (usize, usize),
        validation: Validation,
        model: &M,
        reporter: &Reporter,
    ) -> Result<&ValidationLog> {
        // It would be the best for ever, and JSON has no word for it.
        if !validation.loss.is_finite() {
            let message = format!(
                "{name}: the validation loss is {} after step {step}, lower the stage's learning rates",
                validation.loss
            );
            return Err(TrainError::Data(message));
        }
        let best = self.best().is_none_or(|entry| validation.loss < entry.validation.loss);
        if best && self.recipe.keep_best {
            checkpoint::save_best(self.folder, model, step, self.fingerprint)?;
        }
        let mark = if best { " (best)" } else { "" };
        reporter.line(&format!("{name} validation {step:>5}/{total}  {}{mark}", validation.line()));
        let entry = ValidationLog { step, best, validation };
        if let Some(file) = &mut self.file {
            file.append(&entry)?;
        }
        self.history.push(entry);
        Ok(&self.history[self.history.len() - 1])
    }

    /// The validation of the lowest loss.
    fn best(&self) -> Option<&ValidationLog> {
        self.history.iter().rev().find(|entry| entry.best && entry.step > self.since)
    }

    /// All validations.
    pub(crate) fn into_history(self) -> Vec<ValidationLog> {
        self.history
    }

    /// Why no further step is wanted.
    pub(crate) fn stopped(&self) -> Option<String> {
        let (patience, best) = (self.recipe.early_stop?, self.best()?);
        let since = self.history.iter().filter(|entry| entry.step > best.step).count();
        let (loss, step) = (best.validation.loss, best.step);
        (since >= patience)
            .then(|| format!("{since} validations without a loss below {loss:.4} of step {step}: stopped early"))
    }

    /// The weights to go on with: the best ones, if they are kept and not the last.
    pub(crate) fn chosen<M: Module>(&self, model: M, device: &Device) -> Result<(M, Option<String>)> {
        match self.best().filter(|_| self.recipe.keep_best) {
            None => Ok((model, None)),
            Some(best) => {
                let (step, loss) = (best.step, best.validation.loss);
                let model = checkpoint::read_best(self.folder, model, self.fingerprint, device)?;
                Ok((model, Some(format!("kept the weights of step {step}, validation loss {loss:.4}"))))
            }
        }
    }
}
