//! Where training tells how far it is: a terminal's progress bars, plain lines of a batch job, or nothing.

use std::time::Duration;

/// Receives what a person should see while a job runs.
pub trait Progress: Send + Sync {
    /// A line that stays.
    fn line(&self, text: &str);
    /// How far the current stage is; `message` is one short line (loss, rate, ETA).
    fn step(&self, stage: &str, done: usize, total: usize, message: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn line(&self, _text: &str) {}
    fn step(&self, _stage: &str, _done: usize, _total: usize, _message: &str) {}
}

/// `1h02m`, `3m07s`, `12s`.
pub fn human_time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(human_time(Duration::from_secs(12)), "12s");
        assert_eq!(human_time(Duration::from_secs(187)), "3m07s");
        assert_eq!(human_time(Duration::from_secs(3725)), "1h02m");
    }
}
