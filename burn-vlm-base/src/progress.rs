//! What a running study shows: bars on a terminal, plain lines into a pipe, nothing but warnings under `--quiet`.
//!
//! Lines go to standard output, bars and warnings to standard error. On a terminal lines scroll above the bars. A bar
//! that is piped becomes a line now and then, but only while its job prints no lines of its own.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// In a pipe a bar prints a line if its job has been silent for this long.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How often a terminal's bars are drawn again so that their clocks run.
const TICK: Duration = Duration::from_millis(500);

/// Shows progress. Clones show on the same terminal; a [`scoped`](Self::scoped) one marks its lines.
#[derive(Debug, Clone)]
pub struct Reporter {
    sink: Arc<Sink>,
    prefix: Arc<str>,
    last_line: Arc<Mutex<Instant>>,
}

#[derive(Debug)]
enum Sink {
    Terminal(MultiProgress),
    Plain,
    Quiet,
    Memory(Mutex<Vec<String>>),
}

impl Reporter {
    /// Bars if standard output and error are a terminal, else plain lines; only warnings if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let sink = if quiet {
            Sink::Quiet
        } else if io::stdout().is_terminal() && io::stderr().is_terminal() {
            Sink::Terminal(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Sink::Plain
        };
        Self::with(sink)
    }

    /// Plain lines, whether there is a terminal or not.
    pub fn plain() -> Self {
        Self::with(Sink::Plain)
    }

    /// Shows nothing and keeps the lines, to be read with [`captured`](Self::captured).
    pub fn capture() -> Self {
        Self::with(Sink::Memory(Mutex::new(Vec::new())))
    }

    fn with(sink: Sink) -> Self {
        Self { sink: Arc::new(sink), prefix: Arc::from(""), last_line: Arc::new(Mutex::new(Instant::now())) }
    }

    /// One whose lines and bars start with `name`, for a job among several.
    pub fn scoped(&self, name: &str) -> Self {
        Self {
            sink: Arc::clone(&self.sink),
            prefix: Arc::from(format!("{}[{name}] ", self.prefix)),
            last_line: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Prints a line.
    pub fn line(&self, text: &str) {
        *locked(&self.last_line) = Instant::now();
        let text = format!("{}{text}", self.prefix);
        match &*self.sink {
            Sink::Terminal(bars) => bars.suspend(|| print(io::stdout(), &text)),
            Sink::Plain => print(io::stdout(), &text),
            Sink::Quiet => {}
            Sink::Memory(lines) => locked(lines).push(text),
        }
    }

    /// Prints a warning, also under `--quiet`.
    pub fn warn(&self, text: &str) {
        let text = format!("warning: {}{text}", self.prefix);
        match &*self.sink {
            Sink::Terminal(bars) => bars.suspend(|| print(io::stderr(), &text)),
            Sink::Plain | Sink::Quiet => print(io::stderr(), &text),
            Sink::Memory(lines) => locked(lines).push(text),
        }
    }

    /// A bar from 0 to `total` (steps, samples, ...), which disappears when it is dropped.
    pub fn bar(&self, label: &str, total: u64) -> Bar {
        let label = format!("{}{label}", self.prefix);
        let bar = match &*self.sink {
            Sink::Terminal(bars) => {
                let bar = bars.add(ProgressBar::new(total));
                // The template is fixed and valid; if it were not, indicatif's own style would do.
                if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {percent:>3}% {pos}/{len} {msg}") {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(label.clone());
                bar.enable_steady_tick(TICK);
                bar
            }
            _ => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
        };
        Bar { bar, label, reporter: self.clone(), began: Instant::now() }
    }

    /// The lines so far, of one made by [`capture`](Self::capture); else empty.
    pub fn captured(&self) -> Vec<String> {
        match &*self.sink {
            Sink::Memory(lines) => locked(lines).clone(),
            _ => Vec::new(),
        }
    }
}

/// The progress of one thing. Clone-free: it disappears when it is dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    label: String,
    reporter: Reporter,
    began: Instant,
}

impl Bar {
    /// Sets the position and what it is counted of, for work whose size is known only once it began; says how many `things` a second
    /// and when it will be done.
    pub fn set_of(&self, position: u64, total: u64, things: &str) {
        self.set(position, self.rate_of(position, total, things, None));
    }

    /// The same of questions, with the tokens that were written so far.
    pub fn set_tokens_of(&self, position: u64, total: u64, tokens: u64) {
        self.set(position, self.rate_of(position, total, "questions", Some(tokens).filter(|tokens| *tokens > 0)));
    }

    fn rate_of(&self, position: u64, total: u64, things: &str, tokens: Option<u64>) -> String {
        self.bar.set_length(total);
        let seconds = self.began.elapsed();
        let rate = |count: u64| count as f64 / seconds.as_secs_f64().max(f64::EPSILON);
        let tokens = tokens.map_or(String::new(), |tokens| format!("  {:.0} tok/s", rate(tokens)));
        let left = total.saturating_sub(position) as f64 / position.max(1) as f64;
        format!("{:.1} {things}/s{tokens}  ETA {}", rate(position), show_duration(seconds.mul_f64(left)))
    }

    /// Sets the position and the text after it (loss, rate, time left).
    pub fn set(&self, position: u64, message: impl Display) {
        self.bar.set_message(message.to_string());
        self.bar.set_position(position);
        self.heartbeat();
    }

    /// Moves on by `count`.
    pub fn advance(&self, count: u64) {
        self.bar.inc(count);
        self.heartbeat();
    }

    /// Sets the text after the position.
    pub fn message(&self, message: impl Display) {
        self.bar.set_message(message.to_string());
    }

    /// Where it stands.
    pub fn position(&self) -> u64 {
        self.bar.position()
    }

    fn heartbeat(&self) {
        if !matches!(*self.reporter.sink, Sink::Plain) {
            return;
        }
        {
            let mut last = locked(&self.reporter.last_line);
            if last.elapsed() < HEARTBEAT {
                return;
            }
            *last = Instant::now();
        }
        print(io::stdout(), &self.text());
    }

    /// The line that a pipe is shown.
    pub fn text(&self) -> String {
        let (position, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        format!("{} {position}/{total} {}", self.label, self.bar.message())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if let Sink::Terminal(bars) = &*self.reporter.sink {
            bars.remove(&self.bar);
        }
    }
}

/// A reader that has gone away (`| head`) is no reason to stop a study.
fn print(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
    let _ = to.flush();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A duration for people: `8s`, `2m 03s`, `1h 05m`.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
