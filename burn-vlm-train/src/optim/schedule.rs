//! The learning-rate schedule: linear warmup, then cosine, linear decay, or constant.
//!
//! A schedule is a factor between 0 and 1 that multiplies every group's own learning rate, a pure function of the
//! step, so that it needs no state in a checkpoint.

use serde::{Deserialize, Serialize};

/// What follows the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine from 1 to `final_factor`.
    #[default]
    Cosine,
    /// A straight line from 1 to `final_factor`.
    Linear,
    /// 1 to the end.
    Constant,
}

/// Warmup and decay of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// What follows the warmup.
    pub kind: ScheduleKind,
    /// Share of the stage's steps over which the rate rises linearly (LLaVA and TowerVision: 0.03 and 0.05).
    pub warmup: f64,
    /// Factor at the last step.
    pub final_factor: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { kind: ScheduleKind::Cosine, warmup: 0.03, final_factor: 0.0 }
    }
}

impl Schedule {
    /// The factor for `step` (from 0) of `total`; as in Hugging Face's `get_cosine_schedule_with_warmup`, except that
    /// the first step already has a rate above zero.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        let warmup = (self.warmup * total as f64).ceil();
        let position = step as f64;
        if position < warmup {
            return (position + 1.0) / warmup;
        }
        let span = (total as f64 - warmup).max(1.0);
        let progress = ((position - warmup) / span).clamp(0.0, 1.0);
        let decay = match self.kind {
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            ScheduleKind::Linear => 1.0 - progress,
            ScheduleKind::Constant => return 1.0,
        };
        self.final_factor + (1.0 - self.final_factor) * decay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_linearly_and_decays_by_half_a_cosine() {
        let schedule = Schedule { kind: ScheduleKind::Cosine, warmup: 0.1, final_factor: 0.0 };
        assert_eq!(schedule.factor(0, 100), 0.1);
        assert_eq!(schedule.factor(9, 100), 1.0);
        assert_eq!(schedule.factor(10, 100), 1.0);
        // half way through the 90 decaying steps
        assert!((schedule.factor(55, 100) - 0.5).abs() < 1e-12);
        assert!(schedule.factor(99, 100) < 1e-3);
    }

    #[test]
    fn final_factor_is_the_floor() {
        let schedule = Schedule { kind: ScheduleKind::Linear, warmup: 0.0, final_factor: 0.1 };
        assert_eq!(schedule.factor(0, 10), 1.0);
        assert!((schedule.factor(10, 10) - 0.1).abs() < 1e-12);
        let constant = Schedule { kind: ScheduleKind::Constant, ..schedule };
        assert_eq!(constant.factor(10, 10), 1.0);
    }
}
