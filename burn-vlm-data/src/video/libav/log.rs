//! What FFmpeg's libraries say on this thread: they tell by messages alone that a file breaks off, and why one cannot be read.
//!
//! Unusual here: `unsafe` code, which the crate has in the feature `libav` alone. The libraries have one
//! callback for the whole process; each thread keeps what is said on it while it listens.

use super::av;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;

/// Bytes of messages that are kept, the last ones.
const KEPT: usize = 2048;
/// Bytes of a message.
const LINE: usize = 1024;
/// `AV_LOG_ERROR`: what the programs say with `-v error`.
const ERROR: c_int = 16;

/// What was said since this thread began to listen.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The last of it.
    pub(super) text: String,
    /// Bytes in all.
    pub(super) bytes: u64,
}

thread_local! {
    static HEARD: RefCell<Option<Heard>> = const { RefCell::new(None) };
}

/// Listens on this thread until it is dropped.
pub(super) struct Listening(());

impl Listening {
    /// Begins to listen.
    pub(super) fn new() -> Self {
        static SET: Once = Once::new();
        SET.call_once(set);
        HEARD.with_borrow_mut(|heard| *heard = Some(Heard::default()));
        Self(())
    }

    /// What was said so far.
    pub(super) fn text(&self) -> String {
        HEARD.with_borrow(|heard| heard.as_ref().map(|heard| heard.text.clone()).unwrap_or_default())
    }

    /// Bytes of it, those that are no longer kept among them.
    pub(super) fn bytes(&self) -> u64 {
        HEARD.with_borrow(|heard| heard.as_ref().map_or(0, |heard| heard.bytes))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HEARD.with_borrow_mut(|heard| *heard = None);
    }
}

fn keep(line: &str) {
    // Whatever is said while the list is borrowed is no loss.
    let _kept = HEARD.try_with(|heard| {
        if let Ok(mut heard) = heard.try_borrow_mut()
            && let Some(Heard { text, bytes }) = heard.as_mut()
        {
            *bytes += line.len() as u64;
            text.push_str(line);
            let mut over = text.len().saturating_sub(KEPT);
            while !text.is_char_boundary(over) {
                over += 1;
            }
            text.drain(..over);
        }
    });
}

#[allow(unsafe_code)]
fn set() {
    // SAFETY: the callback is a function of the signature that the libraries call, for as long as the process runs.
    unsafe { av::ffi::av_log_set_callback(Some(callback)) }
}

/// Is called by the libraries, on any thread. The type of the list of arguments is not the same on all machines; it is handed on as it is.
#[allow(unsafe_code)]
unsafe extern "C" fn callback<V>(object: *mut c_void, level: c_int, format: *const c_char, arguments: V) {
    if level > ERROR {
        return;
    }
    type Format<V> =
        unsafe extern "C" fn(*mut c_void, c_int, *const c_char, V, *mut c_char, c_int, *mut c_int) -> c_int;
    let mut line = [0u8; LINE];
    let mut prefix = 1;
    // SAFETY: `V` is what the signature of the callback that `av_log_set_callback` takes has in this place, which is what
    // `av_log_format_line2` takes; the line ends with a zero within its length.
    unsafe {
        let write: Format<V> = std::mem::transmute(av::ffi::av_log_format_line2 as *const ());
        write(object, level, format, arguments, line.as_mut_ptr().cast(), LINE as c_int, &raw mut prefix);
    }
    let end = line.iter().position(|byte| *byte == 0).unwrap_or(LINE);
    keep(&String::from_utf8_lossy(&line[..end]));
}
