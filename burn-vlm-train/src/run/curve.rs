//! `loss.svg` of a run: one panel a stage.

use crate::log::StepLog;
use crate::report::loss_curves;

/// The mean loss of each log line by step.
pub(super) fn draw(stages: &[(String, Vec<StepLog>)]) -> String {
    let points = |log: &[StepLog]| log.iter().map(|entry| (entry.step as f64, f64::from(entry.loss_mean))).collect();
    loss_curves("Training loss", stages.iter().map(|(name, log)| (name.clone(), points(log))).collect())
}
