//! Ctrl-C, a cluster's SIGTERM, and a terminal that is closed.
//!
//! Programs that read videos have process groups of their own, which a terminal's Ctrl-C does not reach: whatever signal ends this program
//! ends them first. SIGKILL cannot be answered: see docs/video.md for what is left then.
//!
//! - By default a signal ends the program, as ever.
//! - Where work would be lost ([`stop_at_a_step`], [`stop_after`]) the first SIGINT or SIGTERM asks for an end, the second ends at once.
//! - The server finishes its answers itself ([`left_to_the_server`]).

use burn_vlm_data::video::end_programs;

/// Exit status of a program that was interrupted, as shells give it.
pub(crate) const INTERRUPTED: u8 = 130;

/// From now on the first signal asks for an end at the next step.
pub(crate) fn stop_at_a_step() {
    stop_after("this step, with a checkpoint");
}

/// Before the program ends: nothing that it has started goes on.
pub(crate) fn leave_nothing_running() {
    end_programs();
}

#[cfg(unix)]
pub(crate) use unix::{left_to_the_server, stop_after, watch};

#[cfg(unix)]
mod unix {
    use std::collections::BTreeSet;
    use std::ffi::c_int;
    use std::sync::{Mutex, PoisonError};

    use burn_vlm_base::stop;
    use burn_vlm_data::video::end_programs;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    use super::INTERRUPTED;

    /// What SIGINT and SIGTERM do.
    #[derive(Debug, Clone, Copy)]
    enum Answer {
        /// End the program.
        End,
        /// Ask for an end behind this, then end the program.
        After(&'static str),
        /// What the server says.
        Server,
    }

    static ANSWER: Mutex<Answer> = Mutex::new(Answer::End);
    /// The signals that are watched.
    static WATCHED: Mutex<BTreeSet<c_int>> = Mutex::new(BTreeSet::new());

    /// From now on the signals that end the program end what it has started, too. Those that whoever started it has switched off stay so:
    /// behind `nohup`, or in the background of a script.
    pub(crate) fn watch() {
        let ignored = ignored();
        let watched = |signal: &c_int| match ignored {
            Some(ignored) => ignored & (1 << (signal - 1)) == 0,
            None => *signal != SIGHUP,
        };
        watch_for([SIGINT, SIGTERM, SIGHUP].into_iter().filter(watched));
    }

    /// From now on the first signal asks for an end where nothing is lost.
    pub(crate) fn stop_after(what: &'static str) {
        answer(Answer::After(what));
        watch_for([SIGINT, SIGTERM].into_iter());
    }

    /// From now on SIGINT and SIGTERM are the server's.
    pub(crate) fn left_to_the_server() {
        answer(Answer::Server);
    }

    fn answer(answer: Answer) {
        *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    fn watch_for(signals: impl Iterator<Item = c_int>) {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<c_int> = signals.filter(|signal| watched.insert(*signal)).collect();
        if new.is_empty() {
            return;
        }
        // Without it a signal ends the program as ever.
        let Ok(mut signals) = Signals::new(new) else { return };
        let watch = move || signals.forever().for_each(react);
        // As above.
        let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
    }

    fn react(signal: c_int) {
        let answer = *ANSWER.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Answer::Server if signal != SIGHUP => {}
            Answer::After(what) if signal != SIGHUP => {
                if stop::asked() {
                    end_programs();
                    std::process::exit(i32::from(INTERRUPTED));
                }
                stop::ask();
                eprintln!("stopping after {what} (once more to end at once)");
            }
            _ => {
                end_programs();
                // Whoever waits for this program sees which signal it was.
                let _ends = emulate_default_handler(signal);
            }
        }
    }

    /// The signals that were switched off when the program began, a bit each, where the system says.
    fn ignored() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }
}

/// Elsewhere a signal ends the program; what is checkpointed is kept.
#[cfg(not(unix))]
pub(crate) fn stop_after(_what: &'static str) {}

/// As above.
#[cfg(not(unix))]
pub(crate) fn watch() {}

/// As above.
#[cfg(not(unix))]
pub(crate) fn left_to_the_server() {}
