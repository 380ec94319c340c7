//! The training log: one dense line for people, the same numbers as a JSON line for programs.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ablation::show_duration;
use crate::error::{Result, TrainError};
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

/// Appends to a JSONL file.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
}

impl LogWriter {
    /// Opens the log for going on after `step`: lines of later steps, and a torn last line, are removed first, so that
    /// an interrupted run's log ends up equal to that of an uninterrupted one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, step: usize) -> Result<(Self, Vec<StepLog>)> {
        let kept: Vec<StepLog> =
            if path.exists() { read(path)?.into_iter().filter(|log| log.step <= step).collect() } else { Vec::new() };
        let temporary = path.with_extension("jsonl.tmp");
        let mut text = String::new();
        for log in &kept {
            text.push_str(&to_json(log, path)?);
        }
        fs::write(&temporary, text).map_err(|e| TrainError::io("cannot write", &temporary, e))?;
        fs::rename(&temporary, path).map_err(|e| TrainError::io("cannot move into place", path, e))?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| TrainError::io("cannot open", path, e))?;
        Ok((Self { path: path.to_path_buf(), file }, kept))
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, log: &StepLog) -> Result<()> {
        let line = to_json(log, &self.path)?;
        self.file.write_all(line.as_bytes()).map_err(|e| TrainError::io("cannot write", &self.path, e))
    }
}

fn to_json(log: &StepLog, path: &Path) -> Result<String> {
    let mut line = serde_json::to_string(log).map_err(|e| TrainError::invalid(path, e.to_string()))?;
    line.push('\n');
    Ok(line)
}

/// Reads a log; a torn last line (the process was killed while writing it) is left out.
///
/// # Errors
/// The file cannot be read, or a line before the last is damaged.
pub fn read(path: &Path) -> Result<Vec<StepLog>> {
    let file = File::open(path).map_err(|e| TrainError::io("cannot read", path, e))?;
    let lines: Vec<String> = BufReader::new(file)
        .lines()
        .collect::<std::io::Result<_>>()
        .map_err(|e| TrainError::io("cannot read", path, e))?;
    let mut logs = Vec::with_capacity(lines.len());
    for (number, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(log) => logs.push(log),
            Err(_) if number + 1 == lines.len() => {}
            Err(error) => return Err(TrainError::invalid(path, format!("line {}: {error}", number + 1))),
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
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
        }
    }

    #[test]
    fn reopening_drops_later_steps_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let (mut writer, kept) = LogWriter::open(&path, 0).unwrap();
        assert!(kept.is_empty());
        for step in [10, 20, 30] {
            writer.write(&log(step)).unwrap();
        }
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\": 40, \"lo").unwrap();
        let (mut writer, kept) = LogWriter::open(&path, 20).unwrap();
        assert_eq!(kept.len(), 2);
        writer.write(&log(30)).unwrap();
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
