//! The training loop of one stage, the same for every objective.
//!
//! Unusual here:
//! - a step's micro-batches are a pure function of its number, so threads may build them ahead, and the step is the data
//!   cursor;
//! - losses are summed over a whole optimizer step and divided by its number of targets once, so accumulation over
//!   micro-batches of different lengths equals one large batch;
//! - nothing is updated from a loss or gradient that is not finite.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::parameters;
use burn_vlm_base::files::remove_stale_temps;
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_base::stop;
use burn_vlm_data::loader::Prefetcher;

use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::log::{self, StepLog};
use crate::meter::Meter;
use crate::objective::{BatchLoss, Validation};
use crate::optim::{AdamW, LearningRates, global_norm};
use crate::parallel::Replicas;
use crate::params::list_params;
use crate::recipe::StageRecipe;
use crate::watch::{ValidationLog, Watch};

/// Micro-batches that wait for the step at most; a few smooth out slow ones, more would only hold memory.
const BATCHES_AHEAD: usize = 4;

/// What a batch contains, for weighting and for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchSize {
    /// What the summed loss is divided by: targets of a language model, pairs of a contrastive loss.
    pub weight: f64,
    /// Tokens, visual ones counted, padding not.
    pub tokens: usize,
    /// Pictures.
    pub images: usize,
}

/// A loss and the samples it is taken on.
pub trait Objective: Send + Sync + 'static {
    /// What is trained.
    type Model: Module + Clone;
    /// A micro-batch.
    type Batch: Send + 'static;

    /// Optimizer steps of `accumulate` micro-batches (or as many as the samples of so many make), built ahead by `workers`
    /// threads. A step is the same whenever it is asked for. [`numbered_steps`] serves where a micro-batch has a number.
    ///
    /// # Errors
    /// No thread can be started; in the iterator, a sample that cannot be made, by name, or too many that are left out.
    fn steps(self: &Arc<Self>, steps: Range<usize>, accumulate: usize, workers: usize) -> Result<Steps<Self::Batch>>;

    /// Names of the samples of step `step` (from 0), for error messages.
    fn ids(&self, step: usize, accumulate: usize) -> Vec<String>;

    /// What is to be told at the end of the stage (samples left out, say), one line each.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the batch contains.
    fn size(batch: &Self::Batch) -> BatchSize;

    /// The loss on samples that are held out; `None` where there are none.
    ///
    /// # Errors
    /// Held-out samples that do not fit the model.
    fn validate(&self, _model: &Self::Model, _device: &Device) -> Result<Option<Validation>> {
        Ok(None)
    }

    /// The loss, summed over the batch's weight; `[1]`.
    ///
    /// # Errors
    /// A batch that does not fit the model.
    fn loss(&self, model: &Self::Model, batch: Self::Batch, device: &Device) -> Result<Tensor<1>>;

    /// [`Self::loss`], and whose it is where the objective can tell: the log then has the loss of each language and source.
    ///
    /// # Errors
    /// As [`Self::loss`].
    fn batch_loss(&self, model: &Self::Model, batch: Self::Batch, device: &Device) -> Result<BatchLoss> {
        Ok(BatchLoss { sum: self.loss(model, batch, device)?, targets: None })
    }
}

/// Optimizer steps, each as its micro-batches.
pub type Steps<B> = Box<dyn Iterator<Item = Result<Vec<B>>>>;

/// [`Objective::steps`] where micro-batch number `index` (from 0) is a function of this number: `batch(index)`.
///
/// # Errors
/// No thread can be started.
pub fn numbered_steps<B: Send + 'static>(
    steps: Range<usize>,
    accumulate: usize,
    workers: usize,
    batch: impl Fn(usize) -> Result<B> + Send + Sync + 'static,
) -> Result<Steps<B>> {
    let numbers = (steps.start * accumulate) as u64..(steps.end * accumulate) as u64;
    let mut batches = Prefetcher::new(numbers, workers, BATCHES_AHEAD, move |number| batch(number as usize))?;
    Ok(Box::new(steps.map(move |_| batches.by_ref().take(accumulate).map(|batch| Ok(batch?)).collect())))
}

/// Is told how a stage goes, and may stop it: a dashboard.
pub trait Observer: Send + Sync {
    /// A stage begins, or goes on, after `done` of its `steps`.
    fn begin(&self, stage: &str, done: usize, steps: usize);

    /// So many steps are done.
    fn step(&self, done: usize);

    /// A line of `log.jsonl` was written.
    fn logged(&self, log: &StepLog);

    /// A line of `validation.jsonl` was written.
    fn validated(&self, log: &ValidationLog);

    /// The stage is done, or stopped.
    fn end(&self);

    /// Whether the stage is to stop after this step. It does at a checkpoint, from which the same call goes on.
    fn wants_stop(&self) -> bool;
}

/// Where and how a stage runs.
pub struct StageRun<'a> {
    /// Name of the stage, for people.
    pub name: &'a str,
    /// Its recipe.
    pub recipe: &'a StageRecipe,
    /// Folder of its checkpoints and `log.jsonl`.
    pub folder: &'a Path,
    /// What a checkpoint must have been made with to be resumed.
    pub fingerprint: &'a str,
    /// Device, with autodiff.
    pub device: &'a Device,
    /// More devices, with autodiff, that share the micro-batches of a step; none for training on one.
    pub replicas: &'a [Device],
    /// Threads that build batches.
    pub workers: usize,
    /// Where to tell how far it is.
    pub reporter: &'a Reporter,
    /// Who else is told, and may stop it.
    pub observer: Option<&'a dyn Observer>,
}

impl<'a> StageRun<'a> {
    /// A stage on one device with one worker, whose checkpoints are known by its name alone.
    pub fn new(
        name: &'a str,
        recipe: &'a StageRecipe,
        folder: &'a Path,
        device: &'a Device,
        reporter: &'a Reporter,
    ) -> Self {
        Self { name, recipe, folder, fingerprint: name, device, replicas: &[], workers: 1, reporter, observer: None }
    }
}

/// What a finished stage looks like.
#[derive(Debug, Clone)]
pub struct StageResult {
    /// The log, all of it.
    pub log: Vec<StepLog>,
    /// The validations, all of them.
    pub validations: Vec<ValidationLog>,
}

/// Trains one stage, going on from its newest usable checkpoint.
///
/// # Errors
/// A recipe that does not fit the model, a batch that cannot be made, a loss that is not finite, a full disk;
/// [`TrainError::Interrupted`] where the observer stopped it.
pub fn train_stage<O: Objective>(
    run: &StageRun<'_>,
    objective: Arc<O>,
    model: O::Model,
) -> Result<(O::Model, StageResult)> {
    let recipe = run.recipe;
    let rates = LearningRates::of_stage(recipe, &parameters(&model))?;
    rates.check(&list_params(&model))?;
    let mut model = rates.apply(model);
    let mut optimizer = AdamW::new(recipe.optimizer);
    std::fs::create_dir_all(run.folder).map_err(|e| TrainError::io("cannot create", run.folder, e))?;
    remove_stale_temps(run.folder)?;

    let (mut start, mut broken, mut unlogged) = (0, None, None);
    if let Some(resumed) = checkpoint::resume(run.folder, &model, &optimizer, run.fingerprint, run.device)? {
        for message in &resumed.passed_over {
            run.reporter.line(&format!("{}: damaged checkpoint passed over: {message}", run.name));
        }
        model = rates.apply(resumed.module);
        optimizer = resumed.optimizer;
        (start, broken, unlogged) = (resumed.step, resumed.broken, resumed.unlogged);
        run.reporter.line(&format!("{}: going on from step {start} of {}", run.name, recipe.steps));
    }
    let (mut log_file, mut log) = log::open(&run.folder.join("log.jsonl"), start)?;
    if start == 0 {
        run.reporter.line(&format!(
            "{}: {} steps of {} samples",
            run.name,
            recipe.steps,
            recipe.batch * recipe.accumulate
        ));
        for part in rates.report(&model) {
            run.reporter.line(&format!("  {part}"));
        }
    }

    let mut steps = objective.steps(start..recipe.steps, recipe.accumulate, run.workers)?;
    let mut watch = Watch::open(recipe, run.folder, run.fingerprint, start)?;
    let mut meter = Meter::new(log.last(), unlogged);
    let mut replicas = Replicas::new(&model, run.replicas);
    let top_rate = recipe.train.values().copied().fold(0.0, f64::max);

    let save = |model: &O::Model, optimizer: &AdamW, (step, meter): (usize, &Meter)| {
        let at = (step, meter.unlogged());
        checkpoint::save(run.folder, model, optimizer, at, run.fingerprint, recipe.keep_checkpoints)
    };
    let bar = run.reporter.bar(run.name, recipe.steps as u64);
    let mut done = start;
    run.observer.iter().for_each(|observer| observer.begin(run.name, start, recipe.steps));
    while done < recipe.steps && watch.stopped().is_none() {
        if stop::asked() || run.observer.is_some_and(Observer::wants_stop) {
            if start < done {
                save(&model, &optimizer, (done, &meter))?;
            }
            run.observer.iter().for_each(|observer| observer.end());
            return Err(TrainError::Interrupted { stage: run.name.into(), step: done, steps: recipe.steps });
        }
        let step = done;
        let micro = steps.next().ok_or_else(|| TrainError::Data("the batch workers stopped early".into()))??;
        let sizes: Vec<BatchSize> = micro.iter().map(O::size).collect();
        let weight: f64 = sizes.iter().map(|size| size.weight).sum();

        let (grads, loss_sum, parts) = replicas.gradients(&objective, &model, micro, weight, run.device)?;
        if !loss_sum.is_finite() {
            return Err(not_finite(run, &*objective, (step, broken), loss_sum));
        }
        let norm = global_norm(&model, &grads);
        if !norm.is_finite() {
            return Err(not_finite(run, &*objective, (step, broken), norm));
        }
        let clip = recipe.optimizer.clip;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let factor = recipe.schedule.factor(step, recipe.steps);
        model = optimizer.step(model, grads, &rates, factor, scale);
        replicas.update(&model);

        meter.add(loss_sum, &parts, &sizes);
        done = step + 1;
        if done % recipe.log_every == 0 || done == recipe.steps {
            let entry = meter.entry(done, loss_sum, factor, top_rate * factor, norm);
            let eta = meter.eta(done - start, recipe.steps - done);
            let line = entry.line(recipe.steps, eta);
            bar.set(done as u64, format!("loss {:.3}  ETA {}", entry.loss_mean, show_duration(eta)));
            run.reporter.line(&format!("{} {line}", run.name));
            log_file.append(&entry)?;
            run.observer.iter().for_each(|observer| observer.logged(&entry));
            log.push(entry);
        }
        run.observer.iter().for_each(|observer| observer.step(done));
        if watch.is_due(done, recipe.steps)
            && let Some(validation) = objective.validate(&model, run.device)?
        {
            let noted = watch.note(run.name, (done, recipe.steps), validation, &model, run.reporter)?;
            run.observer.iter().for_each(|observer| observer.validated(noted));
        }
        let due = recipe.checkpoint_every > 0 && done % recipe.checkpoint_every == 0;
        if due && done < recipe.steps {
            save(&model, &optimizer, (done, &meter))?;
        }
    }
    run.observer.iter().for_each(|observer| observer.end());
    if start < done {
        save(&model, &optimizer, (done, &meter))?;
        watch.stopped().iter().for_each(|why| run.reporter.line(&format!("{}: {why}", run.name)));
        run.reporter.line(&format!("{}: done in {}", run.name, show_duration(meter.elapsed())));
        objective.remarks().iter().for_each(|remark| run.reporter.line(&format!("{}: {remark}", run.name)));
    }
    let (model, kept) = watch.chosen(model, run.device)?;
    kept.iter().for_each(|kept| run.reporter.line(&format!("{}: {kept}", run.name)));
    // Weights that were read back take the stage's rates again, so that what was frozen is frozen.
    let model = if kept.is_some() { rates.apply(model) } else { model };
    Ok((model, StageResult { log, validations: watch.into_history() }))
}

/// `broken` is the checkpoint that the stage went on from, where that had such values already.
fn not_finite<O: Objective>(
    run: &StageRun<'_>,
    objective: &O,
    (step, broken): (usize, Option<PathBuf>),
    loss: f64,
) -> TrainError {
    let mut found = checkpoint::list(run.folder).unwrap_or_default();
    if let Some(checkpoint) = broken {
        found.retain(|path| *path < checkpoint);
        let before = found.pop().map_or("the beginning of the stage".into(), |path| path.display().to_string());
        return TrainError::BrokenCheckpoint { stage: run.name.into(), step: step + 1, loss, checkpoint, before };
    }
    let ids = objective.ids(step, run.recipe.accumulate);
    let good = match found.pop() {
        Some(path) => format!("The last good checkpoint is {}.", path.display()),
        None => "There is no checkpoint yet.".into(),
    };
    TrainError::NotFinite { stage: run.name.into(), step: step + 1, loss, samples: ids.join(", "), good }
}
