//! Calls into libraries that panic on input they did not expect: the input's fault, and no reason to end the program or to print a
//! backtrace.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Guarded calls that this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`; of a panic its words, without anything being printed. What `work` may leave half changed must not be used after it.
///
/// The first call wraps the process's panic hook: panics of guarded calls are passed over, all others go to the hook that was there.
///
/// # Errors
/// `work` has panicked.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static WRAP: Once = Once::new();
    WRAP.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                hook(info);
            }
        }));
    });
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get().saturating_sub(1));
    result.map_err(|panic| {
        let words = panic.downcast_ref::<&str>().copied();
        let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        words.unwrap_or("no reason given").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_words() {
        assert_eq!(guarded(|| 7), Ok(7));
        let number = 3;
        assert_eq!(guarded(|| -> u8 { panic!("told to fail {number}") }), Err("told to fail 3".to_owned()));
        let inner = guarded(|| guarded(|| -> u8 { panic!("inside") }).unwrap_err());
        assert_eq!(inner, Ok("inside".to_owned()));
        assert_eq!(DEPTH.get(), 0);
    }
}
