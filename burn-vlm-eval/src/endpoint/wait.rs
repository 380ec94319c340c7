//! How long is waited before a prompt is asked again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn_vlm_base::stop;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The longest wait that nobody asked for.
const LONGEST: Duration = Duration::from_secs(60);
/// How often the wish to stop is looked for.
const STEP: Duration = Duration::from_millis(50);
/// Waits differ by up to this share, so that prompts that failed together do not come together again.
const SPREAD: f64 = 0.25;

/// The wait before try `number + 1`: doubled each time, and spread by what is asked.
pub(super) fn backoff(first: Duration, number: u32, key: &str) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST);
    let hash = blake3::hash(format!("{key}{number}").as_bytes());
    let share = hash.as_bytes().first().map_or(0.0, |byte| f64::from(*byte) / f64::from(u8::MAX));
    doubled.mul_f64(1.0 + SPREAD * share)
}

/// How long `Retry-After` asks to wait: seconds, or a date.
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let then = rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

/// Sleeps; false if the process is to stop meanwhile.
pub(super) fn sleep(wait: Duration) -> bool {
    let end = Instant::now() + wait;
    loop {
        if stop::asked() {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(STEP));
    }
}

/// What no thread passes until the endpoint wants to be asked again.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<Instant>>);

impl Gate {
    /// Closes it for some time; a longer time that was asked for before stays.
    pub(super) fn close(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut opens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *opens = Some(opens.map_or(until, |known| known.max(until)));
    }

    /// Waits until it is open; false if the process is to stop meanwhile.
    pub(super) fn wait(&self) -> bool {
        loop {
            let opens = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let left = opens.map_or(Duration::ZERO, |opens| opens.saturating_duration_since(Instant::now()));
            if !sleep(left) {
                return false;
            }
            // It may have been closed again meanwhile.
            if *self.0.lock().unwrap_or_else(PoisonError::into_inner) == opens {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_seconds_or_dates() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        for (header, seconds) in [
            ("7", Some(7.0)),
            (" 0.5 ", Some(0.5)),
            ("-3", Some(0.0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7.0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0.0)),
            ("soon", None),
            ("1e300", None),
            ("nan", Some(0.0)),
        ] {
            assert_eq!(retry_after(header, now).map(|wait| wait.as_secs_f64()), seconds, "{header}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let first = Duration::from_millis(100);
        let waits: Vec<Duration> = (1..40).map(|number| backoff(first, number, "a")).collect();
        assert!(waits[0] >= first && waits[0] <= first.mul_f64(1.25));
        assert!(waits[2] >= 4 * first && waits[2] <= (4 * first).mul_f64(1.25));
        assert!(waits.iter().all(|wait| *wait <= LONGEST.mul_f64(1.25)));
        assert_ne!(backoff(first, 1, "a"), backoff(first, 1, "b"));
    }
}
