//! Burn's dashboard on our own loop.
//!
//! Unusual here: a renderer of Burn is fed directly. Its event processor computes metrics from tensors and counts epochs; ours are
//! numbers that the loop has in hand already, and it counts steps.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn_train::Interrupter;
use burn_train::metric::{MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry};
use burn_train::renderer::{MetricState, MetricsRenderer};

use crate::log::StepLog;
use crate::trainer::Observer;
use crate::watch::ValidationLog;

/// The stage is Burn's one epoch, and its steps the items of it.
const EPOCH: usize = 1;
const LOSS: &str = "Loss";

/// Shows stages in a renderer of Burn, as the [`Observer`] of a [`StageRun`](crate::trainer::StageRun) or a
/// [`TrainRun`](crate::run::TrainRun), and stops them at its interrupter.
pub struct Dashboard {
    shown: Mutex<Shown>,
    interrupter: Interrupter,
}

struct Shown {
    renderer: Box<dyn MetricsRenderer>,
    /// Metrics that the renderer knows: it is told of each before its first value.
    known: BTreeSet<String>,
    done: usize,
    steps: usize,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("stops", &self.interrupter.should_stop()).finish_non_exhaustive()
    }
}

impl Dashboard {
    /// Any renderer; a run stops after a step at which `interrupter` is stopped.
    pub fn new(renderer: Box<dyn MetricsRenderer>, interrupter: Interrupter) -> Self {
        let shown = Shown { renderer, known: BTreeSet::new(), done: 0, steps: 0 };
        Self { shown: Mutex::new(shown), interrupter }
    }

    /// Burn's terminal dashboard; `q`, then `s`, stops the run. `None` where standard output is no terminal.
    ///
    /// It has the whole terminal until it is dropped: give the run a reporter that prints nothing meanwhile
    /// ([`Reporter::capture`](burn_vlm_base::progress::Reporter::capture)).
    #[cfg(feature = "tui")]
    pub fn terminal() -> Option<Self> {
        use std::io::IsTerminal;
        let interrupter = Interrupter::new();
        std::io::stdout()
            .is_terminal()
            .then(|| Self::new(burn_train::renderer::default_renderer(interrupter.clone(), None), interrupter))
    }

    /// What stops the run from elsewhere.
    pub fn interrupter(&self) -> &Interrupter {
        &self.interrupter
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a value belongs to.
#[derive(Clone, Copy)]
enum Split {
    Train,
    Valid,
}

impl Shown {
    fn value(&mut self, split: Split, name: &str, unit: &str, higher_is_better: bool, value: f64) {
        let id = Arc::new(name.to_owned());
        let metric_id = MetricId::new(id.clone());
        if self.known.insert(name.to_owned()) {
            let unit = (!unit.is_empty()).then(|| unit.to_owned());
            self.renderer.register_metric(MetricDefinition {
                metric_id: metric_id.clone(),
                name: id,
                description: None,
                attributes: NumericAttributes { unit, higher_is_better }.into(),
            });
        }
        let numeric = NumericEntry::Value(value);
        let formatted = format!("{}{unit}", burn_train::metric::format_float(value, 4));
        let entry = MetricEntry::new(metric_id, SerializedEntry::new(formatted, numeric.serialize()));
        let state = MetricState::Numeric(entry, Some(numeric));
        match split {
            Split::Train => self.renderer.update_train(state),
            Split::Valid => self.renderer.update_valid(state),
        }
    }
}

impl Observer for Dashboard {
    fn begin(&self, stage: &str, done: usize, steps: usize) {
        let mut shown = self.shown();
        (shown.done, shown.steps) = (done, steps);
        shown.renderer.start(EPOCH, EPOCH, Some(steps), Some(stage));
        shown.renderer.start_split("train", steps);
    }

    fn step(&self, done: usize) {
        let mut shown = self.shown();
        shown.done = done;
        shown.renderer.update_split(done);
    }

    fn logged(&self, log: &StepLog) {
        let mut shown = self.shown();
        shown.value(Split::Train, LOSS, "", false, f64::from(log.loss_mean));
        shown.value(Split::Train, "Learning Rate", "", false, log.lr);
        shown.value(Split::Train, "Gradient Norm", "", false, f64::from(log.grad_norm));
        shown.value(Split::Train, "Tokens", " /s", true, log.tokens_per_second);
        if log.images > 0 {
            shown.value(Split::Train, "Pictures", " /s", true, log.images_per_second);
        }
    }

    fn validated(&self, log: &ValidationLog) {
        let mut shown = self.shown();
        let validation = &log.validation;
        let samples = usize::try_from(validation.samples).unwrap_or(usize::MAX);
        shown.renderer.start_split("valid", samples);
        shown.value(Split::Valid, LOSS, "", false, f64::from(validation.loss));
        let by = |losses: &std::collections::BTreeMap<String, f32>| -> Vec<(String, f32)> {
            let several = losses.iter().filter(|_| losses.len() > 1);
            several.map(|(name, loss)| (format!("{LOSS} {name}"), *loss)).collect()
        };
        for (name, loss) in by(&validation.by_language).into_iter().chain(by(&validation.by_source)) {
            shown.value(Split::Valid, &name, "", false, f64::from(loss));
        }
        shown.renderer.update_split(samples);
        shown.renderer.end_split();
        let (done, steps) = (shown.done, shown.steps);
        shown.renderer.start_split("train", steps);
        shown.renderer.update_split(done);
    }

    fn end(&self) {
        let mut shown = self.shown();
        shown.renderer.end_split();
        shown.renderer.end();
    }

    fn wants_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}
