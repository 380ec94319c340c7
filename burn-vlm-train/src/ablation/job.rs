//! What a study runs in each cell: the seam between this module and training and evaluation.

use std::error::Error;
use std::path::Path;

use burn_vlm_base::progress::Reporter;

use super::cell::Cell;
use super::fingerprint::Inputs;

/// Any error of a job. The runner prints it with all its causes.
pub type JobError = Box<dyn Error + Send + Sync + 'static>;

/// The work of one cell: train by its recipe, evaluate, leave the results in its folder.
///
/// A closure `Fn(&Cell, &Path, &Reporter) -> Result<serde_json::Value, JobError>` is a job without further inputs.
pub trait CellJob: Send + Sync {
    /// The version of the job's own code. Increase it when the same recipe gives other results than before, so that
    /// old cells are not taken for new ones.
    fn version(&self) -> u32 {
        0
    }

    /// What the cell depends on beyond its recipe (corpus, shipped weights), each with a hash of its content. It is
    /// called for every cell before anything runs, so it should be quick.
    ///
    /// # Errors
    /// An input that cannot be read.
    fn inputs(&self, cell: &Cell) -> Result<Inputs, JobError> {
        let _ = cell;
        Ok(Inputs::new())
    }

    /// What the cell's work begins with and other cells may begin with too, as a hash: cells with the same one are begun as far apart
    /// as can be, so that one has made it when the others need it. `None` where nothing is shared.
    fn beginning(&self, cell: &Cell) -> Option<String> {
        let _ = cell;
        None
    }

    /// Runs the cell in `folder`, which belongs to it alone. If an earlier run was killed, its files are still there:
    /// continue from the last checkpoint. The value goes into the cell's `done.json` and to the summary; keep it small
    /// and free of times, so that a resumed study equals an uninterrupted one.
    ///
    /// It runs inside a rayon pool of the cell's own (`rayon::current_num_threads()` threads). The result must not
    /// depend on their number.
    ///
    /// # Errors
    /// Whatever goes wrong; the other cells go on.
    fn run(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value, JobError>;
}

impl<F> CellJob for F
where
    F: Fn(&Cell, &Path, &Reporter) -> Result<serde_json::Value, JobError> + Send + Sync,
{
    fn run(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value, JobError> {
        self(cell, folder, reporter)
    }
}

/// An error and its causes in one line; a cause that its effect already quotes is not repeated.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = inner.source();
    }
    text
}
