//! The training log: one dense line for people, the same numbers as a JSON line for programs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use burn_vlm_base::jsonl::{JsonlWriter, read_jsonl};
use burn_vlm_base::progress::show_duration;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::optim::thousands;

/// One line of `log.jsonl`. Losses are f32, whose digits a JSON reader gives back exactly; of an f64 the last bit may
/// differ, and a resumed log would not equal an uninterrupted one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepLog {
    /// Steps done, counted from 1.
    pub step: usize,
    /// Mean loss of this step.
    pub loss: f32,
    /// Mean loss since the line before.
    pub loss_mean: f32,
    /// Factor of the schedule that multiplied all learning rates.
    pub lr_factor: f64,
    /// Largest learning rate in use.
    pub lr: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f32,
    /// Tokens so far in this stage, visual tokens counted, padding not.
    pub tokens: u64,
    /// Pictures so far in this stage.
    pub images: u64,
    /// Tokens a second since the line before.
    pub tokens_per_second: f64,
    /// Pictures a second since the line before.
    pub images_per_second: f64,
    /// Seconds this process has spent in the stage.
    pub seconds: f64,
    /// Mean loss since the line before by language tag (`-` where none is known), nats a token; empty where there is one language.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_language: BTreeMap<String, f32>,
    /// The same by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_source: BTreeMap<String, f32>,
}

impl StepLog {
    /// The line for people; `total` and `eta` are not stored.
    pub fn line(&self, total: usize, eta: Duration) -> String {
        let images = if self.images > 0 {
            format!("  {:>6} img/s", thousands(self.images_per_second as usize))
        } else {
            String::new()
        };
        format!(
            "step {:>5}/{total} {:>3}%  loss {:.4}  lr {:.2e}  |g| {:.2}  {:>7} tok/s{images}  ETA {}",
            self.step,
            100 * self.step / total.max(1),
            self.loss_mean,
            self.lr,
            self.grad_norm,
            thousands(self.tokens_per_second as usize),
            show_duration(eta)
        )
    }
}

/// Opens a stage's log for going on after `step`: lines of later steps, and a torn last line, are removed first, so that an
/// interrupted run's log ends up equal to that of an uninterrupted one. Also the lines that are kept.
///
/// # Errors
/// The file cannot be read or written, or holds something else.
pub fn open(path: &Path, step: usize) -> Result<(JsonlWriter, Vec<StepLog>)> {
    let mut kept = Vec::new();
    let writer = JsonlWriter::resume(path, |log: &StepLog| {
        let keep = log.step <= step;
        if keep {
            kept.push(log.clone());
        }
        keep
    })?;
    Ok((writer, kept))
}

/// Reads a log; a torn last line (the process was killed while writing it) is left out.
///
/// # Errors
/// The file cannot be read, or a line before the last is damaged.
pub fn read(path: &Path) -> Result<Vec<StepLog>> {
    Ok(read_jsonl(path)?)
}

/// Seconds that a stage took, those of earlier runs among them: each run counts its own from 0.
pub fn seconds(log: &[StepLog]) -> f64 {
    let ends = |pair: &[StepLog]| if pair[1].seconds < pair[0].seconds { pair[0].seconds } else { 0.0 };
    log.windows(2).map(ends).sum::<f64>() + log.last().map_or(0.0, |last| last.seconds)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    fn log(step: usize) -> StepLog {
        StepLog {
            step,
            loss: 1.5,
            loss_mean: 1.5,
            lr_factor: 1.0,
            lr: 1e-3,
            grad_norm: 0.5,
            tokens: 10,
            images: 2,
            tokens_per_second: 1234.0,
            images_per_second: 12.0,
            seconds: 1.0,
            by_language: BTreeMap::new(),
            by_source: BTreeMap::new(),
        }
    }

    #[test]
    fn seconds_of_several_runs_add_up() {
        let at = |seconds: f64| StepLog { seconds, ..log(1) };
        // Killed after 7 seconds and after 2, then to the end in 5.
        let runs = [3.0, 7.0, 2.0, 1.0, 4.0, 5.0].map(at);
        assert_eq!(seconds(&runs), 7.0 + 2.0 + 5.0);
        assert_eq!(seconds(&[]), 0.0);
    }

    #[test]
    fn reopening_drops_later_steps_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let (mut writer, kept) = open(&path, 0).unwrap();
        assert!(kept.is_empty());
        for step in [10, 20, 30] {
            writer.append(&log(step)).unwrap();
        }
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\": 40, \"lo").unwrap();
        let (mut writer, kept) = open(&path, 20).unwrap();
        assert_eq!(kept.len(), 2);
        writer.append(&log(30)).unwrap();
        let steps: Vec<usize> = read(&path).unwrap().iter().map(|log| log.step).collect();
        assert_eq!(steps, [10, 20, 30]);
    }

    #[test]
    fn the_line_has_every_figure_a_person_looks_for() {
        let line = log(50).line(200, Duration::from_secs(75));
        for part in ["50/200", "25%", "loss 1.5000", "1,234 tok/s", "12 img/s", "ETA 1m 15s"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
