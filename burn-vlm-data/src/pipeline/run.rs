//! Asking many questions, each once, whoever answers and however often the run is killed.
//!
//! Unusual here:
//! - questions are made when somebody is free to answer: memory does not grow with their number, and a slow one keeps nobody waiting;
//! - what is in the log is not asked; what comes back is in the log before the next question is;
//! - a bound on requests counts tries too, and those of earlier runs with the same log;
//! - an endpoint that is gone, or refuses everything, ends the run: what was not asked stays unasked.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_vlm_base::stop;

use super::log::{Key, LogError, Outcome, Record, RecordLog, Spent};
use super::question::{Answer, Answerer, Questions, Reply, Task, Trouble};

/// Questions that fail one after another for a reason that may be the endpoint's, each after all its tries, before no more are asked.
pub const GIVE_UP_AFTER: usize = 8;

/// What may be spent, earlier runs with the same log included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Requests, those that failed included.
    pub requests: Option<u64>,
    /// Tokens read and written. No request begins beyond it; those under way end.
    pub tokens: Option<u64>,
}

/// Why a reply is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A word that reports count.
    pub reason: &'static str,
    /// The same in words; may be empty.
    pub detail: String,
}

/// How a run goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// What may be spent.
    pub budget: Budget,
    /// Ask again what failed for good.
    pub retry_failed: bool,
    /// Ask no more than so many new questions.
    pub most: Option<u64>,
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Questions that were settled before, or are the same as another.
    pub known: u64,
    /// Those whose reply was kept.
    pub kept: u64,
    /// Those whose reply was rejected.
    pub rejected: u64,
    /// Those that failed for good.
    pub failed: u64,
    /// Those that the next run asks again.
    pub deferred: u64,
    /// What this run has cost.
    pub spent: Spent,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All questions have an outcome, or as many as were wanted.
    Done,
    /// The process was asked to stop.
    Stopped,
    /// The budget is spent.
    Budget,
    /// No question would have a reply: why, and what to do.
    Refused(Trouble, String),
    /// Many failed in a row: why the last one did.
    GaveUp(Trouble, String),
}

/// What is made of a reply: nothing, or why it is rejected. Told by several threads.
pub type Check<'a> = &'a (dyn Fn(&Task, &Reply) -> Result<(), Fault> + Sync);

/// Told after each question, by one thread at a time.
pub type Watch<'a> = &'a (dyn Fn(&Progress) + Sync);

/// One run over some questions.
pub struct Run<'a> {
    log: Mutex<&'a mut RecordLog>,
    tasks: Mutex<Box<dyn Iterator<Item = Task> + Send + 'a>>,
    check: Check<'a>,
    watch: Watch<'a>,
    options: RunOptions,
    /// Requests, earlier runs included.
    requests: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    /// Questions that somebody answers.
    open: HashSet<Key>,
    given: u64,
    in_a_row: usize,
    end: Option<End>,
    failed: Option<LogError>,
}

impl Progress {
    /// Questions that have come to an end.
    pub fn done(&self) -> u64 {
        self.known + self.asked()
    }

    /// Those of this run.
    pub fn asked(&self) -> u64 {
        self.kept + self.rejected + self.failed + self.deferred
    }
}

impl<'a> Run<'a> {
    /// Nothing is asked yet.
    pub fn new(
        log: &'a mut RecordLog,
        tasks: impl Iterator<Item = Task> + Send + 'a,
        check: Check<'a>,
        watch: Watch<'a>,
        options: RunOptions,
    ) -> Self {
        let requests = AtomicU64::new(log.spent().requests);
        let tasks: Box<dyn Iterator<Item = Task> + Send + 'a> = Box::new(tasks);
        let (log, tasks) = (Mutex::new(log), Mutex::new(tasks));
        Self { log, tasks, check, watch, options, requests, state: Mutex::default() }
    }

    /// Asks all that is not settled.
    ///
    /// # Errors
    /// A log that cannot be written; what `answerer` fails with.
    pub fn ask(self, answerer: &dyn Answerer) -> Result<(Progress, End), RunError> {
        let answered = answerer.answer(&self);
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error.into());
        }
        answered.map_err(RunError::Answerer)?;
        let log = self.log.into_inner().unwrap_or_else(PoisonError::into_inner);
        log.flush()?;
        Ok((state.progress, state.end.unwrap_or(End::Done)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, &'a mut RecordLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more is to be asked; notes why.
    fn is_over(&self) -> bool {
        let mut state = self.state();
        if stop::asked() && state.end.is_none() {
            state.end = Some(End::Stopped);
        }
        let enough = self.options.most.is_some_and(|most| state.given >= most);
        enough || state.end.is_some() || state.failed.is_some()
    }

    /// Whether the log has an outcome that stays.
    fn is_settled(&self, key: Key) -> bool {
        let log = self.log();
        log.is_settled(key) && !(self.options.retry_failed && log.outcome(key) == Some(Outcome::Failed))
    }

    fn budget_is_spent(&self) {
        self.state().end.get_or_insert(End::Budget);
    }
}

impl Questions for Run<'_> {
    fn next(&self) -> Option<Task> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_over() {
            let task = tasks.next()?;
            let settled = self.is_settled(task.key);
            let mut state = self.state();
            if settled || !state.open.insert(task.key) {
                state.progress.known += 1;
                continue;
            }
            state.given += 1;
            return Some(task);
        }
        None
    }

    fn may_ask(&self) -> bool {
        let Budget { requests, tokens } = self.options.budget;
        if tokens.is_some_and(|most| self.log().spent().tokens() >= most) {
            self.budget_is_spent();
            return false;
        }
        let most = requests.unwrap_or(u64::MAX);
        let made =
            self.requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |made| (made < most).then_some(made + 1));
        if made.is_err() {
            self.budget_is_spent();
        }
        made.is_ok()
    }

    fn answered(&self, task: Task, answer: Answer, spent: Spent) {
        let (outcome, why, reply) = match answer {
            Answer::Reply(reply) => match (self.check)(&task, &reply) {
                Ok(()) => (Outcome::Kept, None, Some(reply)),
                Err(Fault { reason, detail }) => (Outcome::Rejected, Some((reason, detail)), Some(reply)),
            },
            Answer::Failed(trouble, detail) => {
                let outcome = if trouble.is_outside() { Outcome::Deferred } else { Outcome::Failed };
                let mut state = self.state();
                if trouble.is_of_the_endpoint() {
                    state.in_a_row += 1;
                    if state.in_a_row >= GIVE_UP_AFTER {
                        state.end.get_or_insert_with(|| End::GaveUp(trouble, detail.clone()));
                    }
                }
                (outcome, Some((trouble.as_str(), detail)), None)
            }
            Answer::Refused(trouble, detail) => {
                self.state().end.get_or_insert_with(|| End::Refused(trouble, detail.clone()));
                (Outcome::Deferred, Some((trouble.as_str(), detail)), None)
            }
        };
        let Task { key, row, .. } = task;
        // What was not asked at all leaves no record.
        let unasked = outcome == Outcome::Deferred && spent == Spent::default();
        let written = match unasked {
            true => Ok(()),
            false => {
                let replied = reply.is_some();
                let mut record = Record { spent, ..Record::new(key, row, outcome, reply) };
                if let Some((reason, detail)) = why {
                    record = record.because(reason, detail);
                }
                let written = self.log().append(&record);
                if replied {
                    self.state().in_a_row = 0;
                }
                written
            }
        };
        let mut state = self.state();
        state.open.remove(&key);
        state.failed = state.failed.take().or(written.err());
        let progress = &mut state.progress;
        progress.spent += spent;
        match outcome {
            Outcome::Kept => progress.kept += 1,
            Outcome::Rejected => progress.rejected += 1,
            Outcome::Failed => progress.failed += 1,
            Outcome::Deferred => progress.deferred += 1,
        }
        (self.watch)(&state.progress);
    }
}

/// A run that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Who answers.
    #[error("{0}")]
    Answerer(String),
}
