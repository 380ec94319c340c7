//! What the server has done, counted, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the times until the first token, in seconds.
const BOUNDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Weight of the newest request in the mean time of a request.
const NEWEST: f64 = 0.2;
/// Status of a request whose client left before it was answered; no client sees it.
pub(super) const CLIENT_LEFT: u16 = 499;

/// Counters of a server.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Requests that were answered, by status.
    requests: Mutex<BTreeMap<u16, u64>>,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    /// Answers that ended because their client left.
    left: AtomicU64,
    /// Answers that ended with an error after they had begun.
    failed: AtomicU64,
    waiting: AtomicUsize,
    running: AtomicUsize,
    feature_bytes: AtomicUsize,
    first_token: Mutex<Histogram>,
    /// Mean seconds that a request runs, the newest weighing most.
    seconds: Mutex<Option<f64>>,
    /// The server ends without waiting for anybody.
    cut: AtomicBool,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// What a request does at the moment.
#[derive(Debug, Clone, Copy)]
enum Gauge {
    Waiting,
    Running,
}

/// A request that is counted as waiting or running until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    metrics: Arc<Metrics>,
    gauge: Gauge,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.gauge(self.gauge).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A counter is right whoever has panicked before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    fn gauge(&self, gauge: Gauge) -> &AtomicUsize {
        match gauge {
            Gauge::Waiting => &self.waiting,
            Gauge::Running => &self.running,
        }
    }

    fn counted(self: &Arc<Self>, gauge: Gauge) -> Counted {
        self.gauge(gauge).fetch_add(1, Ordering::Relaxed);
        Counted { metrics: self.clone(), gauge }
    }

    /// A request waits.
    pub(super) fn waits(self: &Arc<Self>) -> Counted {
        self.counted(Gauge::Waiting)
    }

    /// A request runs.
    pub(super) fn runs(self: &Arc<Self>) -> Counted {
        self.counted(Gauge::Running)
    }

    /// A request was answered.
    pub(super) fn answered(&self, status: u16) {
        *lock(&self.requests).entry(status).or_default() += 1;
    }

    /// A prompt is begun.
    pub(super) fn reads(&self, tokens: usize) {
        self.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// Tokens were written.
    pub(super) fn writes(&self, tokens: usize) {
        self.completion_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// A client has left.
    pub(super) fn leaves(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer ended with an error.
    pub(super) fn fails(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A model keeps so many bytes of features of pictures, where it kept `before`.
    pub(super) fn keeps(&self, before: usize, now: usize) {
        // Additions wrap around: so does the sum of all models.
        self.feature_bytes.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }

    /// The server ends at once: whoever is cut off has not left.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// The first token of a request came so long after the request.
    pub(super) fn first_token(&self, taken: Duration) {
        let seconds = taken.as_secs_f64();
        let mut histogram = lock(&self.first_token);
        histogram.count += 1;
        histogram.sum += seconds;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            histogram.counts[bucket] += 1;
        }
    }

    /// A request ran so long.
    pub(super) fn ran(&self, taken: Duration) {
        let mut mean = lock(&self.seconds);
        let seconds = taken.as_secs_f64();
        *mean = Some(mean.map_or(seconds, |mean| mean + NEWEST * (seconds - mean)));
    }

    /// Seconds until a place is free, guessed from what requests took, for a server that runs `rows` at a time: 1 to 60.
    pub(super) fn retry_after(&self, rows: usize) -> u64 {
        let seconds = lock(&self.seconds).unwrap_or(1.0);
        (seconds / rows.max(1) as f64).ceil().clamp(1.0, 60.0) as u64
    }

    /// Prometheus' text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut section = |name: &str, kind: &str, help: &str, lines: &[(String, String)]| {
            // Writing to a text does not fail.
            let _ = writeln!(text, "# HELP burn_vlm_{name} {help}\n# TYPE burn_vlm_{name} {kind}");
            for (rest, value) in lines {
                let _ = writeln!(text, "burn_vlm_{name}{rest} {value}");
            }
        };
        let requests = lock(&self.requests);
        let lines: Vec<(String, String)> =
            requests.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), count.to_string())).collect();
        section("requests_total", "counter", "Requests by status; 499: the client left before the answer.", &lines);
        let plain = |value: String| [(String::new(), value)];
        let counters = [
            ("prompt_tokens_total", "Tokens of prompts that were begun.", &self.prompt_tokens),
            ("completion_tokens_total", "Tokens written.", &self.completion_tokens),
            ("clients_left_total", "Answers taken out because their client left.", &self.left),
            ("answers_failed_total", "Answers that ended with an error after they had begun.", &self.failed),
        ];
        for (name, help, counter) in counters {
            section(name, "counter", help, &plain(counter.load(Ordering::Relaxed).to_string()));
        }
        let gauges = [
            ("requests_waiting", "Requests that are prepared or wait for a place in the batch.", &self.waiting),
            ("requests_running", "Requests whose answers are being written.", &self.running),
            ("picture_cache_bytes", "Features of pictures that are kept.", &self.feature_bytes),
        ];
        for (name, help, gauge) in gauges {
            section(name, "gauge", help, &plain(gauge.load(Ordering::Relaxed).to_string()));
        }
        let histogram = lock(&self.first_token);
        let mut sum = 0;
        let mut lines: Vec<(String, String)> = Vec::new();
        for (bound, count) in BOUNDS.iter().zip(histogram.counts) {
            sum += count;
            lines.push((format!("_bucket{{le=\"{bound}\"}}"), sum.to_string()));
        }
        lines.push(("_bucket{le=\"+Inf\"}".into(), histogram.count.to_string()));
        lines.push(("_sum".into(), histogram.sum.to_string()));
        lines.push(("_count".into(), histogram.count.to_string()));
        let help = "Seconds from a request to the first token of its answers.";
        section("time_to_first_token_seconds", "histogram", help, &lines);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Arc::new(Metrics::default());
        metrics.answered(200);
        metrics.answered(200);
        metrics.answered(429);
        metrics.reads(5);
        metrics.writes(3);
        let waits = metrics.waits();
        let _runs = metrics.runs();
        drop(waits);
        // Two models.
        metrics.keeps(0, 500);
        metrics.keeps(0, 70);
        metrics.keeps(500, 30);
        metrics.first_token(Duration::from_millis(30));
        metrics.first_token(Duration::from_secs(500));
        let text = metrics.text();
        for line in [
            "burn_vlm_requests_total{status=\"200\"} 2",
            "burn_vlm_requests_total{status=\"429\"} 1",
            "burn_vlm_prompt_tokens_total 5",
            "burn_vlm_completion_tokens_total 3",
            "burn_vlm_requests_waiting 0",
            "burn_vlm_requests_running 1",
            "burn_vlm_picture_cache_bytes 100",
            "burn_vlm_time_to_first_token_seconds_bucket{le=\"0.025\"} 0",
            "burn_vlm_time_to_first_token_seconds_bucket{le=\"0.05\"} 1",
            "burn_vlm_time_to_first_token_seconds_bucket{le=\"120\"} 1",
            "burn_vlm_time_to_first_token_seconds_bucket{le=\"+Inf\"} 2",
            "burn_vlm_time_to_first_token_seconds_sum 500.03",
            "burn_vlm_time_to_first_token_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_time_to_try_again_follows_what_requests_take() {
        let metrics = Metrics::default();
        assert_eq!(metrics.retry_after(4), 1);
        metrics.ran(Duration::from_secs(20));
        assert_eq!((metrics.retry_after(4), metrics.retry_after(1)), (5, 20));
        metrics.ran(Duration::from_secs(10_000));
        assert_eq!(metrics.retry_after(1), 60);
    }
}
