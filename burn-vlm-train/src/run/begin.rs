//! What a run begins with besides its parts: the weights of another run, stages that another run has trained already.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_base::files::{list_dir, read_json_if_there, write_json_atomic};
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::seal::hash_file;
use serde::{Deserialize, Serialize};

use super::{RUN_LOCK, SharedStages, stage_folder};
use crate::assemble::Assembled;
use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::recipe::{ObjectiveKind, Recipe};

/// How a run begins, or goes on; by default from its parts, and where it stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Goes on with a finished run: more steps or epochs for its last stage, and data that may have changed.
    pub extend: bool,
    /// Starts from the weights of another run, `RUN`, or of a stage of it, `RUN/STAGE`.
    pub init_from: Option<PathBuf>,
    /// A folder of runs: stages that one of them has trained from the same parts, recipe, data and seed are taken from there.
    pub reuse: Option<PathBuf>,
    /// Stages that other runs of a study begin with too.
    pub shared: Option<SharedStages>,
}

/// `init.json`: what a run began from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Init {
    run: PathBuf,
    stage: String,
    checkpoint: String,
    /// Hash of the weights.
    pub(super) blake3: String,
}

impl std::fmt::Display for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the weights of stage {} of {}, checkpoint {}", self.stage, self.run.display(), self.checkpoint)
    }
}

/// File of [`Init`].
const INIT: &str = "init.json";

/// Loads the weights that a run begins with, if it begins with another's; which these are.
///
/// # Errors
/// No such run or stage, one whose model is another, weights that are damaged or not those that the run in `out` began with.
pub(super) fn init<T: VisionTower, P: Projector>(
    out: &Path,
    recipe: &Recipe,
    start: &Start,
    mut assembled: Assembled<T, P>,
    device: &Device,
) -> Result<(Assembled<T, P>, Option<Init>)> {
    let file = out.join(INIT);
    let before: Option<Init> = read_json_if_there(&file)?;
    // Nothing has been trained: it may begin otherwise.
    let begun = recipe.stages.iter().enumerate().any(|(number, name)| {
        checkpoint::list_all(&stage_folder(out, number, name)).is_ok_and(|found| !found.is_empty())
    });
    let before = before.filter(|_| begun);
    let Some(from) = &start.init_from else {
        if let Some(Init { run, stage, .. }) = before {
            let from = run.join(stage);
            let message = format!("the run in this folder began from {0}: give --init-from {0} again", from.display());
            return Err(TrainError::invalid(&file, message));
        }
        if file.exists() {
            fs::remove_file(&file).map_err(|e| TrainError::io("cannot remove", &file, e))?;
        }
        return Ok((assembled, None));
    };
    let (init, folder) = find(from, recipe)?;
    if begun && before.is_none() {
        let message = "the run in this folder began from its parts; with --init-from give it another folder";
        return Err(TrainError::invalid(out, message));
    }
    // By their contents: a run may have been moved.
    if let Some(before) = before.filter(|before| before.blake3 != init.blake3) {
        let message = format!(
            "the run in this folder began from {} of {}, and {} has other weights",
            before.checkpoint,
            before.run.join(&before.stage).display(),
            folder.display()
        );
        return Err(TrainError::invalid(&file, message));
    }
    assembled.model = checkpoint::read_weights(&folder, assembled.model, device)?;
    if !begun {
        write_json_atomic(&file, &init)?;
    }
    Ok((assembled, Some(init)))
}

/// The checkpoint that `RUN` or `RUN/STAGE` means.
fn find(from: &Path, recipe: &Recipe) -> Result<(Init, PathBuf)> {
    let is_run = |folder: &Path| folder.join("recipe.toml").is_file() && folder.join("stages").is_dir();
    let refuse = |message: String| TrainError::invalid(from, message);
    let parent = from.parent().filter(|parent| is_run(parent));
    let (run, stage) = match (is_run(from), parent, from.file_name()) {
        (true, ..) => (from, None),
        (_, Some(parent), Some(stage)) => (parent, Some(stage.to_string_lossy().into_owned())),
        _ => {
            let what = "no run of `train` (recipe.toml, stages/), nor a stage of one, RUN/STAGE";
            return Err(refuse(format!("{what}; a model's folder is named by `from` under [model]")));
        }
    };
    let file = run.join("recipe.toml");
    let text = fs::read_to_string(&file).map_err(|e| TrainError::io("cannot read", &file, e))?;
    let theirs: Recipe = toml::from_str(&text).map_err(|e| TrainError::invalid(&file, e.to_string()))?;
    if theirs.model != recipe.model {
        let message =
            "its [model] is not that of this recipe: weights go from a run to another of the same parts and connector";
        return Err(TrainError::invalid(&file, message));
    }
    let name = match stage {
        Some(name) => name,
        None => theirs.stages.last().cloned().unwrap_or_default(),
    };
    let Some(number) = theirs.stages.iter().position(|known| *known == name) else {
        return Err(refuse(format!("the run has no stage `{name}`; it has: {}", theirs.stages.join(", "))));
    };
    let recipe = theirs.stage.get(&name);
    if recipe.is_some_and(|stage| stage.objective == ObjectiveKind::Text) {
        return Err(refuse(format!(
            "the stage `{name}` trained the language model alone, its checkpoint is no whole model; name another stage, or start from \
             `from = \"{}\"` under [model]",
            run.join("model").display()
        )));
    }
    let folder = stage_folder(run, number, &name);
    let keeps_best = recipe.and_then(|stage| stage.validation.as_ref()).is_some_and(|validation| validation.keep_best);
    let best = folder.join(checkpoint::BEST);
    let chosen = if keeps_best && best.is_dir() { Some(best) } else { checkpoint::list(&folder)?.pop() };
    let Some(chosen) = chosen else {
        return Err(refuse(format!("the stage `{name}` has no checkpoint in {}", folder.display())));
    };
    let blake3 = hash_file(&chosen.join("state.safetensors"))?;
    let checkpoint = chosen.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let run = fs::canonicalize(run).map_err(|e| TrainError::io("cannot find", run, e))?;
    Ok((Init { run, stage: name, checkpoint, blake3 }, chosen))
}

/// Files beside a stage's checkpoints that belong to it.
const LOGS: [&str; 3] = ["log.jsonl", "validation.jsonl", "skipped.jsonl"];

/// Takes a stage that has no checkpoint from the run beside this one that came farthest with it; where it was.
///
/// # Errors
/// Files that cannot be copied.
pub(super) fn take_over(
    runs: &Path,
    out: &Path,
    (number, name): (usize, &str),
    fingerprint: &str,
) -> Result<Option<(PathBuf, usize)>> {
    let folder = stage_folder(out, number, name);
    if !checkpoint::list_all(&folder)?.is_empty() || !runs.is_dir() {
        return Ok(None);
    }
    let own = fs::canonicalize(out).ok();
    let mut found: Option<Taken> = None;
    for run in list_dir(runs)?.iter().map(|run| runs.join(run)) {
        let stage = stage_folder(&run, number, name);
        if fs::canonicalize(&run).ok() == own || !stage.is_dir() {
            continue;
        }
        // One that is running writes its log and removes checkpoints while we read.
        let Ok(Attempt::Taken(lock)) = FileLock::try_take(&run.join(RUN_LOCK)) else { continue };
        // What cannot be read is no stage to take.
        let newest = checkpoint::list(&stage).ok().and_then(|mut found| found.pop());
        let Some((newest, state)) = newest.and_then(|path| Some((path.clone(), checkpoint::read_state(&path).ok()?)))
        else {
            continue;
        };
        let farther = found.as_ref().is_none_or(|found| state.step > found.step);
        if state.fingerprint == fingerprint && farther && checkpoint::is_whole(&newest) {
            found = Some(Taken { run, stage, newest, step: state.step, _lock: lock });
        }
    }
    let Some(Taken { run, stage, newest, step, _lock }) = found else { return Ok(None) };
    copy_stage(&stage, &newest, &folder)?;
    Ok(Some((run, step)))
}

/// Copies a stage as it is at a checkpoint, `newest`: its logs, its best weights and that checkpoint. What is there of another length
/// is replaced.
///
/// # Errors
/// Files that cannot be copied.
pub(super) fn copy_stage(stage: &Path, newest: &Path, folder: &Path) -> Result<()> {
    for name in LOGS.iter().filter(|name| stage.join(name).is_file()) {
        copy(&stage.join(name), &folder.join(name))?;
    }
    // The checkpoint last: with it the stage is there.
    for from in [stage.join(checkpoint::BEST).as_path(), newest].into_iter().filter(|from| from.is_dir()) {
        let to = folder.join(from.file_name().unwrap_or_default());
        let temporary = burn_vlm_base::files::temp_dir_for(&to)?;
        for name in list_dir(from)? {
            // A checkpoint is never written into: one file may stand in both runs.
            let (from, to) = (from.join(&name), temporary.path().join(&name));
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(|_| ()))
                .map_err(|e| TrainError::io("cannot copy", &from, e))?;
        }
        if to.exists() {
            fs::remove_dir_all(&to).map_err(|e| TrainError::io("cannot replace", &to, e))?;
        }
        burn_vlm_base::files::publish_dir(temporary.path(), &to)?;
    }
    Ok(())
}

/// A stage of another run, which cannot go on while it is read.
struct Taken {
    run: PathBuf,
    stage: PathBuf,
    newest: PathBuf,
    step: usize,
    _lock: FileLock,
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).map_err(|e| TrainError::io("cannot copy", from, e))
}
