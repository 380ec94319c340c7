//! Threads that wait for the next operation without falling asleep.
//!
//! A model is some hundred operations a step, one after the other, and between two of them the pool's other threads have nothing to do for
//! some microseconds. rayon lets them sleep soon, and waking one costs as much as a small operation. So the first operation that is cut
//! among threads gives each of the others a job that goes on looking for work until there has been none for [`PATIENCE`].

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;

/// How long a thread looks for work in vain before it may sleep: longer than what a step does on one thread between two operations, and
/// short enough that what waits for a user or a disk burns nothing.
const PATIENCE: Duration = Duration::from_micros(200);
/// How long such a job lasts at most: it may have begun inside of another that waits for parts of its own, and is then given again.
const TERM: Duration = Duration::from_millis(5);
/// Hints to the processor between two looks.
const PAUSES: usize = 8;

/// The jobs that one thread has given the others of its pool.
#[derive(Default)]
struct Watch {
    /// Not begun yet.
    asked: AtomicUsize,
    /// Looking for work.
    awake: AtomicUsize,
    /// Operations so far.
    operations: AtomicUsize,
}

thread_local! {
    static WATCH: Arc<Watch> = Arc::default();
    /// Whether this thread looks for work (what it finds may be a whole job from outside of the pool), or waits for parts of an operation: a job
    /// that begins then would hold it up.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Runs an operation that is cut among threads, while the other threads of the pool are kept awake. Outside of a pool, or on a thread that
/// works for another, it just runs.
pub fn with_others<R>(operation: impl FnOnce() -> R) -> R {
    let Some(own) = rayon::current_thread_index().filter(|_| !BUSY.get()) else { return operation() };
    let others = rayon::current_num_threads() - 1;
    WATCH.with(|watch| {
        watch.operations.fetch_add(1, Ordering::Relaxed);
        if watch.asked.load(Ordering::Acquire) == 0 && watch.awake.load(Ordering::Acquire) < others {
            watch.asked.store(others, Ordering::Release);
            let watch = watch.clone();
            rayon::spawn_broadcast(move |context| {
                if context.index() != own {
                    watch.begin();
                }
            });
        }
    });
    BUSY.set(true);
    let _rest = Rest;
    operation()
}

/// Ends what makes a thread busy, also where an operation panics.
struct Rest;

impl Drop for Rest {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

impl Watch {
    /// Looks for work until none of it and no operation has come for long enough.
    fn begin(&self) {
        self.awake.fetch_add(1, Ordering::AcqRel);
        self.asked.fetch_sub(1, Ordering::AcqRel);
        if !BUSY.replace(true) {
            let _rest = Rest;
            let begun = Instant::now();
            let (mut since, mut seen) = (begun, 0);
            while since.elapsed() < PATIENCE && begun.elapsed() < TERM {
                let operations = self.operations.load(Ordering::Relaxed);
                if rayon::yield_now() == Some(Yield::Executed) || operations != seen {
                    (since, seen) = (Instant::now(), operations);
                }
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
            }
        }
        self.awake.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn sum(n: u64) -> u64 {
        with_others(|| (0..n).into_par_iter().map(|i| i * i).sum())
    }

    #[test]
    fn results_are_those_of_the_operation_whoever_calls() {
        let expected = (0..1000u64).map(|i| i * i).sum::<u64>();
        assert_eq!(sum(1000), expected);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for _ in 0..50 {
                assert_eq!(pool.install(|| sum(1000)), expected);
                // From several threads of the pool, each with parts of its own.
                let sums: Vec<u64> = pool.install(|| (0..20).into_par_iter().map(|_| sum(1000)).collect());
                assert_eq!(sums, [expected; 20]);
            }
        }
    }

    /// An operation that panics leaves the thread as it was, and the pool ends: no job waits for ever.
    #[test]
    fn panics_and_ends_are_survived() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        // In one job: another one may begin on a thread that is looking for work, which is busy.
        let watch = pool.install(|| {
            for _ in 0..3 {
                let panicked = std::panic::catch_unwind(|| with_others(|| panic!("an operation's own")));
                assert!(panicked.is_err() && !BUSY.get());
                assert_eq!(sum(10), 285);
            }
            WATCH.with(Arc::clone)
        });
        assert_eq!(watch.operations.load(Ordering::Relaxed), 6, "operations that were cut among the threads");
        drop(pool);
        // Dropping waits for nobody; the jobs end by themselves.
        let start = Instant::now();
        while watch.awake.load(Ordering::Acquire) + watch.asked.load(Ordering::Acquire) > 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "jobs that do not end");
            std::thread::yield_now();
        }
    }
}
