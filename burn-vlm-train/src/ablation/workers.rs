//! The threads that run cells: each takes the next cell that nobody has, in the plan's order.
//!
//! Every cell runs inside a rayon pool of its own, so that `--jobs J` cells share the machine's threads evenly and no
//! cell's parallel loop runs another cell's work.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn_vlm_base::lock::Attempt;
use burn_vlm_base::progress::{Bar, Reporter, show_duration};
use burn_vlm_base::stop;

use super::folder::{CellState, Done, OutFolder};
use super::job::{CellJob, JobError, chain};
use super::order::{Begins, Queue};
use super::runner::{CellFailure, CellStatus};

/// Stack of a cell's threads in bytes: what a program's main thread has on Linux. The default of spawned threads (2 MiB)
/// is little for a deep autodiff graph in an unoptimised build.
const STACK: usize = 8 << 20;

/// What the workers need.
pub(super) struct Work<'a> {
    pub(super) job: &'a dyn CellJob,
    pub(super) out: &'a OutFolder,
    pub(super) reporter: &'a Reporter,
    pub(super) jobs: usize,
    pub(super) threads: usize,
}

/// What became of the cells, each list in the plan's order.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) ran: Vec<String>,
    pub(super) elsewhere: Vec<String>,
    pub(super) failures: Vec<CellFailure>,
}

/// What became of one cell.
enum Fate {
    Ran,
    FinishedElsewhere,
    Busy(String),
    Failed(String),
    /// The program was asked to stop before it began.
    Left,
}

/// Runs the cells of `open`, which begin as `begins` says, in the order of these indices; `all` are the study's, for the time left.
pub(super) fn run_cells(
    work: &Work<'_>,
    all: &[CellStatus],
    open: &[&CellStatus],
    (begins, order): (&[Begins], &[usize]),
) -> Ran {
    let jobs = work.jobs.min(open.len()).max(1);
    let progress = Progress::new(work, jobs, all, open.len());
    let mut fates: Vec<Fate> = open.iter().map(|_| Fate::Left).collect();
    run_queue(work, jobs, open, Queue::new(begins, order), &mut fates, &progress);
    // Who was busy may have finished, or died, while we did the others.
    let busy: Vec<usize> = order.iter().copied().filter(|&index| matches!(fates[index], Fate::Busy(_))).collect();
    run_queue(work, jobs, open, Queue::new(begins, &busy), &mut fates, &progress);
    let mut ran = Ran::default();
    for (status, fate) in open.iter().zip(fates) {
        let cell = status.cell.name.clone();
        match fate {
            Fate::Ran => ran.ran.push(cell),
            Fate::FinishedElsewhere | Fate::Left => {}
            Fate::Busy(_) => ran.elsewhere.push(cell),
            Fate::Failed(cause) => ran.failures.push(CellFailure { cell, cause }),
        }
    }
    ran
}

/// Runs the cells of a queue with `jobs` threads, and notes what became of each.
fn run_queue(
    work: &Work<'_>,
    jobs: usize,
    cells: &[&CellStatus],
    queue: Queue<'_>,
    fates: &mut [Fate],
    progress: &Progress<'_>,
) {
    // A poisoned lock guards what is whole: it is changed by single calls.
    fn hold<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
    let (queue, fates) = (Mutex::new(queue), Mutex::new(fates));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop::asked() {
                    let Some(index) = hold(&queue).next() else { return };
                    let fate = run_cell(work, jobs, cells[index], progress);
                    hold(&queue).end(index);
                    hold(&fates)[index] = fate;
                }
            });
        }
    });
}

fn run_cell(work: &Work<'_>, jobs: usize, status: &CellStatus, progress: &Progress<'_>) -> Fate {
    let name = &status.cell.name;
    let fate = match try_cell(work, jobs, status) {
        Ok(fate) => fate,
        Err(cause) => Fate::Failed(cause),
    };
    match &fate {
        Fate::Ran => progress.finished(name),
        Fate::FinishedElsewhere => progress.skipped(name, "was finished by another run"),
        Fate::Busy(holder) => work.reporter.line(&format!("{name} is being run by {holder}: left to it")),
        Fate::Failed(cause) => progress.failed(name, cause),
        Fate::Left => {}
    }
    fate
}

fn try_cell(work: &Work<'_>, jobs: usize, status: &CellStatus) -> Result<Fate, String> {
    let cell = &status.cell;
    let _lock = match work.out.try_lock(&cell.slug()).map_err(|error| chain(&error))? {
        Attempt::Taken(lock) => lock,
        Attempt::Busy(holder) => return Ok(Fate::Busy(holder)),
    };
    // Another run may have finished it between our look and the lock.
    match work.out.state(cell, &status.fingerprint).map_err(|error| chain(&error))? {
        CellState::Done(_) => return Ok(Fate::FinishedElsewhere),
        CellState::Other(differences) => return Err(format!("another recipe was put into its folder: {differences}")),
        CellState::Damaged(damage) => return Err(format!("its files were changed: {damage}")),
        CellState::New | CellState::Started => {}
    }
    let folder = work.out.start(cell, &status.fingerprint).map_err(|error| chain(&error))?;
    let (started, clock) = (jiff::Timestamp::now(), Instant::now());
    let result = in_own_pool(work, jobs, status, &folder)?;
    let done = Done {
        cell: cell.name.clone(),
        hash: status.fingerprint.hash.clone(),
        started: started.to_string(),
        finished: jiff::Timestamp::now().to_string(),
        seconds: clock.elapsed().as_secs_f64(),
        result,
    };
    work.out.finish(cell, &done).map_err(|error| chain(&error))?;
    Ok(Fate::Ran)
}

fn in_own_pool(work: &Work<'_>, jobs: usize, status: &CellStatus, folder: &Path) -> Result<serde_json::Value, String> {
    let threads = match work.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads((threads / jobs).max(1))
        .stack_size(STACK)
        .build()
        .map_err(|error| format!("cannot start its threads: {error}"))?;
    let reporter = work.reporter.scoped(&status.cell.name);
    without_panic(|| pool.install(|| work.job.run(&status.cell, folder, &reporter)))
}

/// Runs `work`; an error or a panic comes out as a text.
pub(super) fn without_panic<T>(work: impl FnOnce() -> Result<T, JobError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| chain(&*error)),
        Err(payload) => Err(format!("panicked: {}", panic_text(&*payload))),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("with a value that is no text")
}

/// The bar over all cells of this run.
struct Progress<'a> {
    reporter: &'a Reporter,
    bar: Bar,
    clock: Instant,
    total: usize,
    jobs: usize,
    /// Seconds of cells that earlier runs finished: the estimate until this run has finished one.
    before: Vec<f64>,
    /// Number of cells that this run finished.
    ran: Mutex<usize>,
}

impl<'a> Progress<'a> {
    fn new(work: &Work<'a>, jobs: usize, all: &[CellStatus], total: usize) -> Self {
        let before = all.iter().filter_map(|status| match &status.state {
            CellState::Done(done) => Some(done.seconds),
            _ => None,
        });
        let progress = Self {
            reporter: work.reporter,
            bar: work.reporter.bar("cells", total as u64),
            clock: Instant::now(),
            total,
            jobs,
            before: before.collect(),
            ran: Mutex::new(0),
        };
        progress.bar.set(0, progress.left(0));
        progress
    }

    fn finished(&self, name: &str) {
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        *ran += 1;
        self.bar.advance(1);
        let left = self.left(*ran);
        self.bar.message(&left);
        let position = self.bar.position();
        self.reporter.line(&format!("cell {position}/{} finished: {name}; {left}", self.total));
    }

    fn skipped(&self, name: &str, why: &str) {
        self.bar.advance(1);
        self.reporter.line(&format!("{name} {why}"));
    }

    fn failed(&self, name: &str, cause: &str) {
        self.bar.advance(1);
        self.reporter.warn(&format!("{name} failed, the others go on: {cause}"));
    }

    /// The time left, from the pace of this run, or of earlier ones while it has none.
    fn left(&self, ran: usize) -> String {
        let open = self.total.saturating_sub(self.bar.position() as usize);
        let seconds = match ran {
            _ if open == 0 => return "none to go".to_owned(),
            0 if self.before.is_empty() => return format!("{open} to go"),
            0 => self.before.iter().sum::<f64>() / self.before.len() as f64 * open as f64 / self.jobs as f64,
            _ => self.clock.elapsed().as_secs_f64() / ran as f64 * open as f64,
        };
        let left = show_duration(Duration::from_secs_f64(seconds.max(0.0)));
        format!("{open} to go, about {left} left")
    }
}
