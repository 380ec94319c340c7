//! Where the programs compute.

use rayon::ThreadPoolBuilder;

use crate::memory::keep_freed_pages;

/// Bytes of a thread's stack, as a program's first thread has.
const STACK: usize = 8 << 20;

/// Runs `work` on a thread of a pool of its own, with as many threads as there are cores (or `RAYON_NUM_THREADS`). Operations that are
/// cut among threads begin at once there; from a thread outside they are handed over and waited for, thousands of times a second.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    keep_freed_pages();
    match ThreadPoolBuilder::new().stack_size(STACK).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}
