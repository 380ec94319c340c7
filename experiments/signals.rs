//! Ctrl-C, and a cluster's SIGTERM: the first finishes the step and writes a checkpoint, the second ends at once.

use burn_vlm_base::stop;
#[cfg(unix)]
use burn_vlm_data::video::end_programs;

/// Exit status of a program that was interrupted, as shells give it.
pub(crate) const INTERRUPTED: u8 = 130;

/// From now on the first signal asks for an end at the next step.
pub(crate) fn stop_at_a_step() {
    stop_after("this step, with a checkpoint");
}

/// From now on the first signal asks for an end where nothing is lost.
#[cfg(unix)]
pub(crate) fn stop_after(what: &'static str) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    // Without it a signal ends the program as ever.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let watch = move || {
        for _ in signals.forever() {
            if stop::asked() {
                // A terminal's Ctrl-C does not reach them.
                end_programs();
                std::process::exit(i32::from(INTERRUPTED));
            }
            stop::ask();
            eprintln!("stopping after {what} (once more to end at once)");
        }
    };
    // As above.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
}

/// Elsewhere a signal ends the program; what is checkpointed is kept.
#[cfg(not(unix))]
pub(crate) fn stop_after(_what: &'static str) {}
