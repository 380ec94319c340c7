//! One line a request on standard error: when it is over, whatever became of it. No header and no word of a conversation is in it.

use std::sync::Arc;
use std::time::Instant;

use super::error::ApiError;
use super::metrics::{CLIENT_LEFT, Metrics};

/// A request, as its line tells of it. Dropped before an answer was written whole, its client has left.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Arc<Metrics>,
    quiet: bool,
    what: String,
    came: Instant,
    status: Option<u16>,
    prompt_tokens: usize,
    completion_tokens: usize,
    outcome: Option<&'static str>,
    /// Why it was refused.
    why: String,
}

impl Record {
    /// A request that has come.
    pub(super) fn new(metrics: Arc<Metrics>, quiet: bool, what: String) -> Self {
        let came = Instant::now();
        Self {
            metrics,
            quiet,
            what,
            came,
            status: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            outcome: None,
            why: String::new(),
        }
    }

    /// When it came.
    pub(super) fn came(&self) -> Instant {
        self.came
    }

    /// Its status, which is counted once.
    pub(super) fn status(&mut self, status: u16) {
        if self.status.is_none() {
            self.metrics.answered(status);
            self.status = Some(status);
        }
    }

    pub(super) fn read(&mut self, tokens: usize) {
        self.prompt_tokens = tokens;
    }

    pub(super) fn wrote(&mut self, tokens: usize) {
        self.completion_tokens += tokens;
    }

    /// The answer was written whole.
    pub(super) fn ended(&mut self) {
        self.outcome = Some("");
    }

    /// It is refused: by which code, and for which field, as far as the client has not made the field up.
    pub(super) fn refused(&mut self, error: &ApiError) {
        let is_plain = |param: &&String| {
            param.len() <= 80 && param.chars().all(|c| c.is_ascii_alphanumeric() || "._[]".contains(c))
        };
        let parts = [error.code.map(str::to_owned), error.param.as_ref().filter(is_plain).cloned()];
        self.why = parts.into_iter().flatten().map(|part| format!(", {part}")).collect();
    }

    /// An error ended it.
    pub(super) fn failed(&mut self) {
        self.outcome = Some(", ended by an error");
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let cut = self.outcome.is_none() && self.metrics.is_cut();
        let left = self.outcome.is_none() && !cut;
        if left {
            self.status(CLIENT_LEFT);
        }
        if self.quiet {
            return;
        }
        let status = self.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let (what, seconds) = (&self.what, self.came.elapsed().as_secs_f64());
        let tokens = match self.prompt_tokens {
            0 => String::new(),
            read => format!(", read {read} tokens, wrote {}", self.completion_tokens),
        };
        let outcome = match self.outcome {
            Some(outcome) => outcome,
            None if cut => ", cut off by a second signal",
            None => ", the client left",
        };
        eprintln!("{what} {status} in {seconds:.3} s{tokens}{outcome}{}", self.why);
    }
}
