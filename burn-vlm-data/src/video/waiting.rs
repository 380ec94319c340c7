//! Whether anybody still waits for the videos that a thread reads: who asked for them may have left.

use super::VideoError;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// Who waits for what this thread does; nobody in particular where absent, for whom it is done to the end.
    static FOR: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// Somebody who waits for videos to be read and may give up. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    given_up: Arc<AtomicBool>,
}

/// Gives up when it is dropped.
#[derive(Debug)]
pub struct GivesUp(Waiting);

impl Waiting {
    /// They wait no longer.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether they wait no longer.
    pub fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Gives up when it is dropped.
    pub fn until_dropped(&self) -> GivesUp {
        GivesUp(self.clone())
    }

    /// Works for them. Once they have given up, a video that this thread reads ends with [`VideoError::GivenUp`] at the next frame that is
    /// decoded, and within a fraction of a second where programs are waited for, which are ended.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let _before = Before(FOR.replace(Some(self.clone())));
        work()
    }
}

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Whom the thread worked for before; again when it is dropped, also by a panic.
struct Before(Option<Waiting>);

impl Drop for Before {
    fn drop(&mut self) {
        FOR.replace(self.0.take());
    }
}

/// Whether nobody waits any more for what this thread does.
pub(super) fn nobody_waits() -> bool {
    FOR.with_borrow(|waiting| waiting.as_ref().is_some_and(Waiting::has_given_up))
}

/// An error where nobody waits any more for what this thread reads.
pub(super) fn check(name: &str) -> Result<(), VideoError> {
    if nobody_waits() { Err(VideoError::GivenUp { name: name.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_for_whoever_waits() {
        let (outer, inner) = (Waiting::default(), Waiting::default());
        outer.work(|| {
            inner.work(|| {
                drop(inner.until_dropped());
                assert!(nobody_waits() && !outer.has_given_up());
                assert!(check("a.gif").unwrap_err().to_string().contains("a.gif"));
            });
            assert!(!nobody_waits());
            outer.give_up();
            assert!(nobody_waits());
        });
        assert!(!nobody_waits() && check("a.gif").is_ok());
    }
}
