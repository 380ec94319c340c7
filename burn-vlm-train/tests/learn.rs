//! What users of Burn get is what our own loop has: the same batches, the same gradients, and the same losses under a dashboard.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::Dataset;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn_train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn_train::metric::MetricDefinition;
use burn_train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use burn_train::{InferenceStep, Interrupter, TrainStep};
use burn_vlm::connector::Connector;
use burn_vlm::vision::VisionEncoder;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::dataset::{Record, SourceDataset};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture, Sample};
use burn_vlm_data::tasks::{Task, TaskSettings, training_source};
use burn_vlm_train::assemble::{Assembled, assemble};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::error::{Result, TrainError};
use burn_vlm_train::learn::{Dashboard, RowBatcher, SampleBatcher, StreamDataset, VlmLearner};
use burn_vlm_train::objective::{Batch, PreparedSample, batch_size};
use burn_vlm_train::recipe::{ModelRecipe, StageRecipe};
use burn_vlm_train::run::{DataOrigin, stage_objective};
use burn_vlm_train::trainer::{Objective, Observer, StageResult, StageRun, train_stage};

fn parts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../parts")
}

fn device() -> Device {
    choose(DeviceChoice::Auto).unwrap().device.autodiff()
}

fn model() -> Assembled {
    let recipe: ModelRecipe = toml::from_str(
        "encoder = \"siglip1\"\nbackbone = \"backbone\"\nvisual_tokens = { pool = 4, normalize = true, noise = 0.3 }",
    )
    .unwrap();
    assemble::<VisionEncoder, Connector>(&recipe, &parts().join("siglip1"), &parts().join("backbone"), 0, &device())
        .unwrap()
}

fn captions() -> SourceDataset {
    let english = [Language::EN];
    let corpus = EmojiCorpus::embedded().unwrap();
    SourceDataset(Arc::new(
        training_source(&corpus, Task::Caption, Language::EN, &english, &english, 0, &TaskSettings::default()).unwrap(),
    ))
}

fn stage() -> StageRecipe {
    toml::from_str(
        r#"
        objective = "vlm"
        steps = 6
        batch = 4
        log_every = 1
        eval_every = 3
        train = { multi_modal_projector = 1e-3, language_model = 5e-4 }
        data = { languages = ["en", "de"], tasks = { caption = 1.0 } }
        validation = { samples = 6 }
        "#,
    )
    .unwrap()
}

/// All of a batch but the seed of its noise.
fn shown(batch: &Batch) -> String {
    format!("{:?}", Batch { noise_seed: None, ..batch.clone() })
}

#[test]
fn a_loader_of_burn_gives_the_batches_of_the_layout() {
    let (assembled, data) = (model(), captions());
    let batcher = SampleBatcher::for_model(&assembled).unwrap();
    let loader = DataLoaderBuilder::new(batcher.clone()).batch_size(4).build(data.clone()).slice(0, 8);
    let batches: Vec<Batch> = loader.iter().map(|batch| batch.unwrap()).collect();
    assert_eq!(batches.len(), 2);
    for (number, batch) in batches.iter().enumerate() {
        let made: Vec<PreparedSample> = (number as u64 * 4..number as u64 * 4 + 4)
            .map(|record| batcher.maker().make(&data.0.get(record).unwrap(), None).unwrap())
            .collect();
        assert!(batch_size(batch).images == 4 && batch_size(batch).weight > 4.0);
        assert_eq!(shown(batch), shown(&batcher.layout().rows(&made)));
    }
    assert_ne!(batches[0].noise_seed, batches[1].noise_seed);
    assert_eq!(batcher.left_out().total(), 0);
}

#[test]
fn what_cannot_be_used_is_left_out_of_a_batch_and_counted() {
    let (assembled, data) = (model(), captions());
    let batcher = SampleBatcher::for_model(&assembled).unwrap();
    let good = data.0.get(0).unwrap();
    let picture = Picture::Encoded { name: "broken.png".into(), bytes: b"no picture".as_slice().into() };
    let turns = vec![Turn::user("What is this?"), Turn::assistant("Nothing.")];
    let broken = Sample::new("broken", turns, vec![Media::Image(picture)], None);
    let beyond: Record = data.0.get(data.0.len());
    let batch: Batch = batcher.batch(vec![Ok(broken.clone()), Ok(good.clone()), beyond], &device());
    let alone: Batch = batcher.batch(vec![good], &device());
    assert_eq!(shown(&batch), shown(&alone));
    let left_out = batcher.left_out();
    assert_eq!(left_out.total(), 2);
    assert!(left_out.to_string().contains("broken"), "{left_out}");

    // A batch without anything in it has no gradients and is no number's loss.
    let learner = VlmLearner { vlm: assembled.model };
    let nothing: Batch = batcher.batch(vec![broken], &device());
    let output = TrainStep::step(&learner, nothing);
    assert_eq!(output.item.losses.dims(), [0]);
    assert_eq!(output.grads.len(), 0);
}

/// Parameters whose gradients are not the same in every bit, and how many there are.
struct Compare<'a> {
    ours: &'a GradientsParams,
    theirs: &'a GradientsParams,
    differ: usize,
    present: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let bits = |grads: &GradientsParams| {
            grads.get::<D>(param.id).map(|grad| grad.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<u32>>())
        };
        let (ours, theirs) = (bits(self.ours), bits(self.theirs));
        self.present += usize::from(ours.is_some());
        self.differ += usize::from(ours != theirs);
    }
}

#[test]
fn a_training_step_has_the_gradients_of_our_objective() {
    let assembled = model();
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let corpus = EmojiCorpus::embedded().unwrap();
    let origin = DataOrigin {
        corpus: &corpus,
        parallel: &[],
        base: Path::new(""),
        held_out: stage().held_out_share(),
        video: None,
    };
    let (_, objective) = stage_objective(("stage", &stage()), origin, &assembled, folder.path(), 0).unwrap();
    let samples = objective.samples();
    let data = StreamDataset(samples.clone());
    let items: Vec<PreparedSample> = (0..4).map(|index| Dataset::get(&data, index).unwrap()).collect();
    let batch: Batch = RowBatcher(samples.layout).batch(items, &device);

    let model = assembled.model;
    let loss = objective.loss(&model, batch.clone(), &device).unwrap() / batch_size(&batch).weight;
    let value = loss.clone().into_scalar::<f32>();
    let ours = GradientsParams::from_grads(loss.backward(), &model);

    let learner = VlmLearner { vlm: model.clone() };
    let output = TrainStep::step(&learner, batch.clone());
    let losses = output.item.losses;
    assert_eq!(losses.dims(), [batch.targets.len()]);
    let targets = batch.targets.len() as f64;
    assert_eq!((losses.sum() / targets).into_scalar::<f32>(), value);
    let mut compare = Compare { ours: &ours, theirs: &output.grads, differ: 0, present: 0 };
    model.visit(&mut compare);
    assert!(compare.present > 20, "{} gradients", compare.present);
    assert_eq!(compare.differ, 0);

    // Inference is without noise, and so does not depend on its seed.
    let valid = learner.valid();
    let infer = |noise_seed| {
        let losses = InferenceStep::step(&valid, Batch { noise_seed, ..batch.clone() }).losses;
        losses.into_data().iter::<f32>().collect::<Vec<f32>>()
    };
    assert_eq!(infer(Some(1)), infer(None));
}

/// What a renderer was told.
#[derive(Default)]
struct Told {
    metrics: Vec<String>,
    train: Vec<(String, f64)>,
    valid: Vec<(String, f64)>,
    progress: Vec<String>,
}

/// A renderer without a terminal; stops the run once so many steps are done.
struct Fake {
    told: Arc<Mutex<Told>>,
    split: String,
    stop: Option<(usize, Interrupter)>,
}

impl Fake {
    fn value(state: MetricState) -> (String, f64) {
        let MetricState::Numeric(entry, Some(value)) = state else { panic!("no number: {state:?}") };
        (format!("{:?}", entry.metric_id), value.current())
    }
}

impl MetricsRendererTraining for Fake {
    fn update_train(&mut self, state: MetricState) {
        self.told.lock().unwrap().train.push(Self::value(state));
    }

    fn update_valid(&mut self, state: MetricState) {
        self.told.lock().unwrap().valid.push(Self::value(state));
    }
}

impl MetricsRendererEvaluation for Fake {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl TrainingProgressLogger for Fake {
    fn start(&mut self, epochs: usize, epoch: usize, items: Option<usize>, label: Option<&str>) {
        self.told.lock().unwrap().progress.push(format!("start {epoch}/{epochs} {items:?} {label:?}"));
    }
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, split: &str, total: usize) {
        self.split = split.to_owned();
        self.told.lock().unwrap().progress.push(format!("{split} of {total}"));
    }
    fn update_split(&mut self, done: usize) {
        self.told.lock().unwrap().progress.push(format!("{} {done}", self.split));
        if let Some((at, interrupter)) = &self.stop
            && (self.split.as_str(), *at) == ("train", done)
        {
            interrupter.stop(Some("enough"));
        }
    }
    fn end_split(&mut self) {}
    fn end(&mut self) {
        self.told.lock().unwrap().progress.push("end".into());
    }
    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for Fake {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for Fake {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, definition: MetricDefinition) {
        self.told.lock().unwrap().metrics.push(definition.name.to_string());
    }
}

fn train(folder: &Path, observer: Option<&dyn Observer>) -> Result<StageResult> {
    let (assembled, device) = (model(), device());
    let corpus = EmojiCorpus::embedded().unwrap();
    let origin = DataOrigin {
        corpus: &corpus,
        parallel: &[Language::EN, Language::DE],
        base: Path::new(""),
        held_out: stage().held_out_share(),
        video: None,
    };
    let (stage, objective) = stage_objective(("stage", &stage()), origin, &assembled, folder, 0)?;
    let run = StageRun {
        name: "stage",
        recipe: &stage,
        folder,
        fingerprint: "learn",
        device: &device,
        replicas: &[],
        workers: 1,
        reporter: &Reporter::capture(),
        observer,
    };
    Ok(train_stage(&run, objective, assembled.model)?.1)
}

fn dashboard(stop: Option<usize>) -> (Dashboard, Arc<Mutex<Told>>) {
    let (interrupter, told) = (Interrupter::new(), Arc::<Mutex<Told>>::default());
    let stop = stop.map(|at| (at, interrupter.clone()));
    let fake = Fake { told: told.clone(), split: String::new(), stop };
    (Dashboard::new(Box::new(fake), interrupter), told)
}

fn losses(result: &StageResult) -> (Vec<f32>, Vec<f32>) {
    let validations = result.validations.iter().map(|entry| entry.validation.loss).collect();
    (result.log.iter().map(|entry| entry.loss).collect(), validations)
}

#[test]
fn a_dashboard_shows_the_run_and_changes_nothing() {
    let (plain, watched, stopped) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = losses(&train(plain.path(), None).unwrap());
    assert_eq!((whole.0.len(), whole.1.len()), (6, 2));

    let (dashboard, told) = self::dashboard(None);
    assert_eq!(losses(&train(watched.path(), Some(&dashboard)).unwrap()), whole);
    let told = told.lock().unwrap();
    let of = |values: &[(String, f64)], name: &str| -> Vec<f32> {
        values.iter().filter(|(id, _)| id.contains(&format!("\"{name}\""))).map(|(_, value)| *value as f32).collect()
    };
    assert_eq!((of(&told.train, "Loss"), of(&told.valid, "Loss")), whole);
    assert_eq!(of(&told.valid, "Loss de").len(), 2);
    for name in ["Learning Rate", "Gradient Norm", "Tokens", "Pictures"] {
        let values = of(&told.train, name);
        assert!(values.len() == 6 && values.iter().all(|value| *value >= 0.0), "{name}: {values:?}");
        assert_eq!(told.metrics.iter().filter(|known| *known == name).count(), 1, "{:?}", told.metrics);
    }
    let lines = told.progress.join("; ");
    assert!(
        lines.starts_with("start 1/1 Some(6) Some(\"stage\"); train of 6; train 1; train 2; train 3; valid of 6"),
        "{lines}"
    );
    assert!(lines.ends_with("train 6; end"), "{lines}");

    // Stopped from the dashboard, then gone on with: as if nothing had been.
    let (dashboard, told) = self::dashboard(Some(2));
    let error = train(stopped.path(), Some(&dashboard)).unwrap_err();
    assert!(matches!(error, TrainError::Interrupted { step: 2, steps: 6, .. }), "{error}");
    assert_eq!(told.lock().unwrap().progress.last().map(String::as_str), Some("end"));
    assert_eq!(losses(&train(stopped.path(), None).unwrap()), whole);
}
