//! The wish to stop, from outside: what runs long looks for it where it can stop without loss.

use std::sync::atomic::{AtomicBool, Ordering};

/// A signal is the process's, and so is what it asks for.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Asks whatever runs in this process to stop at its next safe point.
pub fn ask() {
    ASKED.store(true, Ordering::SeqCst);
}

/// Whether it was asked to.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
