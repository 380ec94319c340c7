//! Worker threads that compute items ahead of their use and deliver them in order.
//!
//! Unusual here: the prefetcher knows nothing of batches or files. An item is a closure of its position, so a loader is
//! as deterministic as that closure however many workers there are, and starting at another position resumes a run.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// An item that could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError<E: Display> {
    /// The closure returned an error.
    #[error("item {position}: {source}")]
    Item {
        /// Position of the item.
        position: u64,
        /// The closure's error.
        source: E,
    },
    /// The closure panicked.
    #[error("item {position}: a worker panicked: {message}")]
    Panicked {
        /// Position of the item.
        position: u64,
        /// The panic's message.
        message: String,
    },
    /// No worker thread could be started.
    #[error("cannot start a worker thread: {0}")]
    Spawn(#[from] std::io::Error),
}

/// Computes the items `start..end` on worker threads, a bounded number ahead, and iterates over them in order.
///
/// After the first error the iteration ends. Dropping the prefetcher stops the workers and waits for the items they are
/// just computing.
#[derive(Debug)]
pub struct Prefetcher<T, E: Display> {
    shared: Arc<Shared<T, E>>,
    workers: Vec<JoinHandle<()>>,
    failed: bool,
}

#[derive(Debug)]
struct Shared<T, E: Display> {
    state: Mutex<State<T, E>>,
    /// Told when an item is done.
    done: Condvar,
    /// Told when an item was taken, or all is to stop.
    taken: Condvar,
    end: u64,
    ahead: u64,
}

#[derive(Debug)]
struct State<T, E: Display> {
    /// The next position that no worker has begun.
    next_to_begin: u64,
    /// The next position to deliver.
    next_to_take: u64,
    ready: BTreeMap<u64, Result<T, LoaderError<E>>>,
    stop: bool,
}

impl<T: Send + 'static, E: Display + Send + 'static> Prefetcher<T, E> {
    /// Starts `workers` threads (at least one) that compute `item(position)` for the positions of `range`, at most `ahead`
    /// (at least one) of them finished or under way before they are taken.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new<F>(range: Range<u64>, workers: usize, ahead: usize, item: F) -> Result<Self, LoaderError<E>>
    where
        F: Fn(u64) -> Result<T, E> + Send + Sync + 'static,
    {
        let state =
            State { next_to_begin: range.start, next_to_take: range.start, ready: BTreeMap::new(), stop: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            done: Condvar::new(),
            taken: Condvar::new(),
            end: range.end,
            ahead: ahead.max(1) as u64,
        });
        let item = Arc::new(item);
        let mut prefetcher = Self { shared: shared.clone(), workers: Vec::new(), failed: false };
        for number in 0..workers.max(1) {
            let (shared, item) = (shared.clone(), item.clone());
            let builder = std::thread::Builder::new().name(format!("loader-{number}"));
            match builder.spawn(move || shared.work(&*item)) {
                Ok(worker) => prefetcher.workers.push(worker),
                // Fewer workers than asked for are slower, not wrong.
                Err(error) if prefetcher.workers.is_empty() => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(prefetcher)
    }
}

impl<T, E: Display> Prefetcher<T, E> {
    /// The position of the item that comes next.
    pub fn position(&self) -> u64 {
        self.shared.lock().next_to_take
    }
}

impl<T, E: Display> Shared<T, E> {
    /// Closures run outside the lock, so a poisoned one still guards a consistent state.
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, item: &impl Fn(u64) -> Result<T, E>) {
        loop {
            let mut state = self.lock();
            while !state.stop
                && state.next_to_begin < self.end
                && state.next_to_begin >= state.next_to_take.saturating_add(self.ahead)
            {
                state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stop || state.next_to_begin >= self.end {
                return;
            }
            let position = state.next_to_begin;
            state.next_to_begin += 1;
            drop(state);
            let result = match catch_unwind(AssertUnwindSafe(|| item(position))) {
                Ok(result) => result.map_err(|source| LoaderError::Item { position, source }),
                Err(panic) => Err(LoaderError::Panicked { position, message: panic_message(&*panic) }),
            };
            self.lock().ready.insert(position, result);
            self.done.notify_one();
        }
    }
}

impl<T, E: Display> Iterator for Prefetcher<T, E> {
    type Item = Result<T, LoaderError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let mut state = self.shared.lock();
        let position = state.next_to_take;
        if position >= self.shared.end {
            return None;
        }
        let result = loop {
            if let Some(result) = state.ready.remove(&position) {
                break result;
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.next_to_take += 1;
        self.failed = result.is_err();
        state.stop = self.failed;
        drop(state);
        self.shared.taken.notify_all();
        Some(result)
    }
}

impl<T, E: Display> Drop for Prefetcher<T, E> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.taken.notify_all();
        for worker in self.workers.drain(..) {
            // A worker ends without a result; its panics were caught and delivered.
            let _ = worker.join();
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    type Plain = Prefetcher<u64, String>;

    #[test]
    fn delivers_in_order_whatever_finishes_first() {
        for workers in [1, 2, 7] {
            let slow_even = |position: u64| {
                std::thread::sleep(Duration::from_micros(if position.is_multiple_of(2) { 300 } else { 10 }));
                Ok(position * position)
            };
            let items: Vec<u64> = Plain::new(5..60, workers, 4, slow_even).unwrap().map(Result::unwrap).collect();
            assert_eq!(items, (5..60).map(|p| p * p).collect::<Vec<_>>());
        }
        assert_eq!(Plain::new(3..3, 2, 2, Ok).unwrap().count(), 0);
    }

    #[test]
    fn stays_a_bounded_number_ahead() {
        let begun = Arc::new(AtomicU64::new(0));
        let counter = begun.clone();
        let count = move |position| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(position)
        };
        let mut prefetcher = Plain::new(0..u64::MAX, 3, 5, count).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(begun.load(Ordering::SeqCst), 5);
        assert_eq!(prefetcher.by_ref().take(10).map(Result::unwrap).sum::<u64>(), 45);
        assert_eq!(prefetcher.position(), 10);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(begun.load(Ordering::SeqCst), 15);
    }

    #[test]
    fn dropping_early_joins_at_once() {
        for taken in [0, 1, 3] {
            let begin = std::time::Instant::now();
            let mut prefetcher = Plain::new(0..u64::MAX, 4, 2, Ok).unwrap();
            let items: Vec<u64> = prefetcher.by_ref().take(taken).map(Result::unwrap).collect();
            assert_eq!(items.len(), taken);
            let shared = prefetcher.shared.clone();
            drop(prefetcher);
            // Only this test holds the state now: every worker has ended.
            assert_eq!(Arc::strong_count(&shared), 1);
            assert!(begin.elapsed() < Duration::from_secs(5));
        }
    }

    #[test]
    fn errors_and_panics_come_out_at_their_place() {
        let odd = |position: u64| if position == 3 { Err("broken picture".to_owned()) } else { Ok(position) };
        let results: Vec<_> = Plain::new(0..100, 2, 8, odd).unwrap().collect();
        assert_eq!(results.len(), 4);
        assert_eq!(results[3].as_ref().unwrap_err().to_string(), "item 3: broken picture");

        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let panics = |position: u64| if position == 2 { panic!("at {position}") } else { Ok(position) };
        let results: Vec<_> = Plain::new(0..100, 2, 8, panics).unwrap().collect();
        std::panic::set_hook(hook);
        assert_eq!(results.len(), 3);
        assert_eq!(results[2].as_ref().unwrap_err().to_string(), "item 2: a worker panicked: at 2");
    }
}
