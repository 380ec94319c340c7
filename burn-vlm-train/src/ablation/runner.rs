//! Runs the cells of a study: what is finished is skipped, what fails does not stop the rest, what others work on is
//! left to them, and whoever finishes the last cell writes the summary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_vlm_base::files::FileError;
use burn_vlm_base::lock::Attempt;
use burn_vlm_base::progress::Reporter;
use burn_vlm_base::stop;

use super::cell::{Cell, UnknownCell};
use super::fingerprint::Fingerprint;
use super::folder::{CellState, Done, FolderError, OutFolder};
use super::job::{CellJob, JobError, chain};
use super::order::{Begins, order};
use super::plan::Plan;
use super::shard::Shard;
use super::study::StudyError;
use super::workers::{self, Work};

/// How often a run looks whether another one has finished writing the summary.
const SUMMARY_PAUSE: Duration = Duration::from_millis(100);

/// How to run a study.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The output folder.
    pub out: PathBuf,
    /// The part of the study that this run does.
    pub shard: Shard,
    /// Only these cells (`--only`), all if empty.
    pub only: Vec<String>,
    /// How many cells run at once.
    pub jobs: usize,
    /// Threads of all of them together; 0 means as many as the machine has.
    pub threads: usize,
    /// Run nothing, write the summary of what is finished.
    pub merge: bool,
}

impl RunOptions {
    /// The whole study into `out`, one cell at a time with all threads.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self { out: out.into(), shard: Shard::ALL, only: Vec::new(), jobs: 1, threads: 0, merge: false }
    }
}

/// A study that could not be run or finished.
#[derive(Debug, thiserror::Error)]
pub enum AblationError {
    /// The study file is wrong.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// The output folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// `--only` selects nothing.
    #[error(transparent)]
    UnknownCell(#[from] UnknownCell),
    /// Cells in the folder are not those of this study.
    #[error(
        "the output folder has results of another recipe:\n{cells}\nDelete the folders of these cells to run them anew, \
         or choose another folder with --out"
    )]
    OtherRecipe {
        /// The cells, their folders, and what differs.
        cells: String,
    },
    /// Files of finished cells are not what they were.
    #[error(
        "files of finished cells were changed or removed since:\n{cells}\nPut them back, or delete the folders of these cells to \
         make them anew; what was removed on purpose (a model, for its size) is no longer missed once the cell's seal.json \
         is removed too"
    )]
    Damaged {
        /// The cells, their folders, and what is wrong.
        cells: String,
    },
    /// A cell's inputs could not be read, before anything ran.
    #[error("cell {cell}: {cause}")]
    Inputs {
        /// The cell.
        cell: String,
        /// Why, with all causes.
        cause: String,
    },
    /// `jobs` is 0.
    #[error("--jobs must be at least 1")]
    NoJobs,
    /// Some cells failed.
    #[error("{} of the study's cells failed (what is finished is kept; run the same command again to retry):\n{}",
        .0.len(), .0.iter().map(|failure| format!("  {failure}")).collect::<Vec<_>>().join("\n"))]
    CellsFailed(Vec<CellFailure>),
    /// The program was asked to stop.
    #[error("stopped, as was asked: finished cells are kept, and the same command goes on with the others{}",
        .0.iter().map(|failure| format!("\n  {failure}")).collect::<String>())]
    Stopped(Vec<CellFailure>),
    /// `--merge` in a folder without a finished cell.
    #[error("{folder} has no finished cell to summarise: run the study without --merge first", folder = .0.display())]
    NothingToMerge(PathBuf),
    /// Writing the summary failed.
    #[error("writing the summary failed (all cells are kept; run the same command again to retry): {0}")]
    Summary(String),
}

/// A cell that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cell}: {cause}")]
pub struct CellFailure {
    /// The cell.
    pub cell: String,
    /// Why, with all causes.
    pub cause: String,
}

/// A finished cell, for the summary.
#[derive(Debug, Clone)]
pub struct FinishedCell {
    /// The cell.
    pub cell: Cell,
    /// Its folder.
    pub folder: PathBuf,
    /// When it was made, and what the job returned.
    pub done: Done,
}

/// What the summary is made from.
#[derive(Debug)]
pub struct StudyResult<'a> {
    /// The study under its preset.
    pub plan: &'a Plan,
    /// Finished cells, in the plan's order whoever ran them.
    pub cells: Vec<FinishedCell>,
    /// Names of cells that are not finished; only `--merge` summarises without them.
    pub missing: Vec<String>,
}

/// A cell of the plan, its hash, and how far it is.
#[derive(Debug, Clone)]
pub struct CellStatus {
    /// The cell.
    pub cell: Cell,
    /// What it depends on.
    pub fingerprint: Fingerprint,
    /// Its folder, whether it exists or not.
    pub folder: PathBuf,
    /// How far it is.
    pub state: CellState,
    /// Whether this run would run it, if it is not finished (`--only`, `--shard`).
    pub selected: bool,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Cells that this run finished.
    pub ran: Vec<String>,
    /// Selected cells that were finished before.
    pub skipped: Vec<String>,
    /// Selected cells that another run is working on.
    pub elsewhere: Vec<String>,
    /// Cells of the study that are not finished.
    pub missing: Vec<String>,
    /// Whether the summary was written.
    pub summarised: bool,
}

/// How far every cell is, for `--dry-run`. Nothing is written.
///
/// # Errors
/// As [`run`], except for what goes wrong while running.
pub fn status(plan: &Plan, job: &dyn CellJob, options: &RunOptions) -> Result<Vec<CellStatus>, AblationError> {
    let out = OutFolder::new(&options.out, &plan.study.name, &plan.preset);
    out.check()?;
    let chosen = plan.select(&options.only)?;
    let languages = plan.languages();
    let mut all = Vec::with_capacity(plan.cells.len());
    for (position, cell) in plan.cells.iter().enumerate() {
        let inputs = job
            .inputs(cell)
            .map_err(|error| AblationError::Inputs { cell: cell.name.clone(), cause: chain(&*error) })?;
        let fingerprint = Fingerprint::new(cell, &languages, job.version(), inputs);
        all.push(CellStatus {
            state: out.state(cell, &fingerprint)?,
            folder: out.cell_folder(cell),
            selected: chosen.contains(&position) && options.shard.contains(position),
            cell: cell.clone(),
            fingerprint,
        });
    }
    Ok(all)
}

/// How many cells of a plan are finished in `folder`, as it says itself: quickly, and nothing is verified or written.
pub fn finished_cells(plan: &Plan, folder: &Path) -> usize {
    let out = OutFolder::new(folder, &plan.study.name, &plan.preset);
    plan.cells.iter().filter(|cell| out.says_finished(cell)).count()
}

/// Runs the selected cells of a study that are not finished, then, if all of the study's are, `summarise`.
///
/// # Errors
/// A folder that belongs to another study, preset or recipe; unknown cells in `--only`; cells that failed (all others
/// are run first and kept); a summary that could not be written.
pub fn run<S>(
    plan: &Plan,
    job: &dyn CellJob,
    options: &RunOptions,
    reporter: &Reporter,
    summarise: S,
) -> Result<Outcome, AblationError>
where
    S: FnOnce(&StudyResult<'_>) -> Result<(), JobError>,
{
    if options.jobs == 0 {
        return Err(AblationError::NoJobs);
    }
    let before = status(plan, job, options)?;
    refuse_other_recipes(&before)?;
    refuse_damaged(before.iter().filter(|status| status.selected || options.merge).map(damage))?;
    for status in before.iter().filter(|status| matches!(status.state, CellState::Other(_))) {
        let (cell, folder) = (&status.cell.name, status.folder.display());
        reporter.warn(&format!("{folder} holds another recipe than {cell}'s: the cell counts as not finished"));
    }
    for damage in before.iter().filter_map(damage) {
        reporter.warn(&format!("{damage}: the cell counts as not finished"));
    }
    let out = OutFolder::new(&options.out, &plan.study.name, &plan.preset);
    out.claim()?;

    let selected = before.iter().filter(|status| status.selected);
    let (finished, open): (Vec<_>, Vec<_>) = selected.partition(|status| status.state.is_done());
    let mut outcome =
        Outcome { skipped: finished.iter().map(|status| status.cell.name.clone()).collect(), ..Outcome::default() };
    let mut failures = Vec::new();
    if !options.merge {
        if !finished.is_empty() {
            reporter.line(&format!("{} of {} cells are finished already", finished.len(), finished.len() + open.len()));
        }
        let work = Work { job, out: &out, reporter, jobs: options.jobs, threads: options.threads };
        let begun_as = |status: &&CellStatus| (status.cell.seed, job.beginning(&status.cell));
        let begins: Vec<Begins> = open.iter().map(begun_as).collect();
        let order = order(&begins, options.shard);
        let done = workers::run_cells(&work, &before, &open, (&begins, &order));
        (outcome.ran, outcome.elsewhere, failures) = (done.ran, done.elsewhere, done.failures);
    }

    let result = collect(plan, &before, &out)?;
    outcome.missing.clone_from(&result.missing);
    if options.merge && result.cells.is_empty() {
        return Err(AblationError::NothingToMerge(options.out.clone()));
    }
    if result.missing.is_empty() || options.merge {
        write_summary(&out, &result, summarise)?;
        outcome.summarised = true;
    }
    tell(&outcome, &failures, reporter);
    match failures.is_empty() {
        _ if stop::asked() && !outcome.summarised => Err(AblationError::Stopped(failures)),
        true => Ok(outcome),
        false => Err(AblationError::CellsFailed(failures)),
    }
}

/// An error if a cell that should run has a folder of another recipe.
fn refuse_other_recipes(cells: &[CellStatus]) -> Result<(), AblationError> {
    let others: Vec<String> = cells
        .iter()
        .filter(|status| status.selected)
        .filter_map(|status| match &status.state {
            CellState::Other(differences) => {
                Some(format!("{} in {}:\n  {differences}", status.cell.name, status.folder.display()))
            }
            _ => None,
        })
        .collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(AblationError::OtherRecipe { cells: others.join("\n") }),
    }
}

/// What is wrong with a cell's files.
fn damage(status: &CellStatus) -> Option<String> {
    let CellState::Damaged(damage) = &status.state else { return None };
    Some(format!("{}: {}/{damage}", status.cell.name, status.folder.display()))
}

fn refuse_damaged(damages: impl Iterator<Item = Option<String>>) -> Result<(), AblationError> {
    let cells: Vec<String> = damages.flatten().collect();
    match cells.is_empty() {
        true => Ok(()),
        false => Err(AblationError::Damaged { cells: cells.join("\n") }),
    }
}

/// What is finished now, by whomever, in the plan's order.
fn collect<'a>(plan: &'a Plan, cells: &[CellStatus], out: &OutFolder) -> Result<StudyResult<'a>, AblationError> {
    let mut result = StudyResult { plan, cells: Vec::new(), missing: Vec::new() };
    for status in cells {
        match out.state(&status.cell, &status.fingerprint)? {
            CellState::Done(done) => result.cells.push(FinishedCell {
                cell: status.cell.clone(),
                folder: status.folder.clone(),
                done: *done,
            }),
            _ => result.missing.push(status.cell.name.clone()),
        }
    }
    Ok(result)
}

/// Writes the summary; two runs that end at once do it one after the other.
fn write_summary<S>(out: &OutFolder, result: &StudyResult<'_>, summarise: S) -> Result<(), AblationError>
where
    S: FnOnce(&StudyResult<'_>) -> Result<(), JobError>,
{
    let _lock = loop {
        match out.try_lock("summary")? {
            Attempt::Taken(lock) => break lock,
            Attempt::Busy(_) => std::thread::sleep(SUMMARY_PAUSE),
        }
    };
    out.sweep()?;
    result.cells.iter().try_for_each(|finished| out.sweep_finished(&finished.cell))?;
    workers::without_panic(|| summarise(result)).map_err(AblationError::Summary)
}

/// The last lines of a run: what is left, and who has to do it.
fn tell(outcome: &Outcome, failures: &[CellFailure], reporter: &Reporter) {
    if !outcome.elsewhere.is_empty() {
        reporter.line(&format!("running elsewhere: {}", outcome.elsewhere.join(", ")));
    }
    if outcome.summarised {
        if !outcome.missing.is_empty() {
            reporter.warn(&format!("the summary is without {}", outcome.missing.join(", ")));
        }
        return;
    }
    let open: Vec<&str> = outcome
        .missing
        .iter()
        .map(String::as_str)
        .filter(|name| failures.iter().all(|failure| failure.cell != *name))
        .collect();
    if !open.is_empty() {
        reporter.line(&format!(
            "the summary is not written yet, {} of the study's cells are not finished: {}. The run that finishes the last \
             of them writes it, or --merge does",
            open.len(),
            shorten(&open)
        ));
    }
}

fn shorten(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    match more {
        0 => shown,
        _ => format!("{shown} and {more} more"),
    }
}
