//! What the programs ask of their allocator.
#![allow(unsafe_code)]

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay`, which the crate does not name.
const PURGE_DELAY: mi_option_t = 15;
/// For ever.
const NEVER: c_long = -1;

/// Keeps freed pages with the program, unless `MIMALLOC_PURGE_DELAY` says otherwise: the kernel would clear gigabytes a second of pages
/// that the next operation asks for again. What is held is the most that was ever needed at a time.
pub(crate) fn keep_freed_pages() {
    // SAFETY: it sets a number of the allocator, whether or not the program allocates with it, and any number will do.
    unsafe { mi_option_set_default(PURGE_DELAY, NEVER) };
}
