//! The training loop on a small regression: AdamW against PyTorch's rule, accumulation, exact resume, damaged
//! checkpoints, losses that are not finite.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm_base::progress::Reporter;
use burn_vlm_train::checkpoint;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::error::Result;
use burn_vlm_train::log::StepLog;
use burn_vlm_train::optim::Schedule;
use burn_vlm_train::recipe::StageRecipe;
use burn_vlm_train::trainer::{BatchSize, Objective, StageResult, StageRun, Steps, numbered_steps, train_stage};

/// f32 arithmetic in another order: a few units in the last place of numbers around one.
const ROUNDING: f32 = 1e-5;

#[derive(Module, Debug)]
struct Line {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

fn line(device: &Device) -> Line {
    let weight = Tensor::<2>::from_data(TensorData::new(vec![0.5f32, -1.0], [2, 1]), device);
    let bias = Tensor::<1>::from_data(TensorData::new(vec![0.1f32], [1]), device);
    Line { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) }
}

/// Squared error on points of a plane; `bad` is a micro-batch whose target is infinite.
struct Plane {
    batch: usize,
    bad: Option<usize>,
}

impl Plane {
    fn points(&self, index: usize) -> (Vec<f32>, Vec<f32>) {
        let points = index * self.batch..(index + 1) * self.batch;
        let x: Vec<f32> = points.flat_map(|p| [(p % 7) as f32 / 7.0, (p % 5) as f32 / 5.0]).collect();
        let mut y: Vec<f32> = x.chunks(2).map(|x| 2.0 * x[0] - 3.0 * x[1] + 1.0).collect();
        if self.bad == Some(index) {
            y[0] = f32::INFINITY;
        }
        (x, y)
    }
}

impl Objective for Plane {
    type Model = Line;
    type Batch = (Vec<f32>, Vec<f32>);

    fn steps(self: &Arc<Self>, steps: Range<usize>, accumulate: usize, workers: usize) -> Result<Steps<Self::Batch>> {
        let plane = self.clone();
        numbered_steps(steps, accumulate, workers, move |index| Ok(plane.points(index)))
    }

    fn ids(&self, step: usize, accumulate: usize) -> Vec<String> {
        let points = accumulate * self.batch;
        (step * points..(step + 1) * points).map(|p| format!("point-{p}")).collect()
    }

    fn size(batch: &Self::Batch) -> BatchSize {
        BatchSize { weight: batch.1.len() as f64, tokens: batch.1.len(), images: 0 }
    }

    fn loss(&self, model: &Line, (x, y): Self::Batch, device: &Device) -> Result<Tensor<1>> {
        let count = y.len();
        let x = Tensor::<2>::from_data(TensorData::new(x, [count, 2]), device);
        let y = Tensor::<2>::from_data(TensorData::new(y, [count, 1]), device);
        let predicted = x.matmul(model.weight.val()) + model.bias.val().unsqueeze();
        Ok((predicted - y).powi_scalar(2).sum())
    }
}

fn recipe(text: &str) -> StageRecipe {
    let base = r#"
        objective = "vlm"
        batch = 4
        log_every = 1
        train = { ".*" = 0.05 }
        schedule = { kind = "constant", warmup = 0.0 }
        data = { languages = ["en"], tasks = { caption = 1.0 } }
    "#;
    toml::from_str(&format!("{base}\n{text}")).unwrap()
}

fn device() -> Device {
    choose(DeviceChoice::Auto).unwrap().device.autodiff()
}

fn train(recipe: &StageRecipe, folder: &Path, objective: Plane, reporter: &Reporter) -> Result<(Line, StageResult)> {
    let device = device();
    let run = StageRun {
        name: "line",
        recipe,
        folder,
        fingerprint: "test",
        device: &device,
        replicas: &[],
        workers: 2,
        reporter,
        observer: None,
    };
    train_stage(&run, Arc::new(objective), line(&device))
}

fn values(model: &Line) -> Vec<f32> {
    let mut values: Vec<f32> = model.weight.val().into_data().iter::<f32>().collect();
    values.extend(model.bias.val().into_data().iter::<f32>());
    values
}

/// The log without its times, and rates, which are of times.
fn timeless(result: &StageResult) -> Vec<StepLog> {
    let of =
        |entry: &StepLog| StepLog { tokens_per_second: 0.0, images_per_second: 0.0, seconds: 0.0, ..entry.clone() };
    result.log.iter().map(of).collect()
}

/// Two steps worked out with PyTorch's rule on the host: decay, moments, bias correction, update.
#[test]
fn adamw_follows_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let stage = recipe("steps = 2\noptimizer = { clip = 0.0, weight_decay = 0.1 }");
    let (model, _) = train(&stage, folder.path(), Plane { batch: 4, bad: None }, &Reporter::capture()).unwrap();

    let (lr, b1, b2, eps, decay) = (0.05f64, 0.9f64, 0.999f64, 1e-8f64, 0.1f64);
    let mut parameters = [0.5f64, -1.0, 0.1];
    let (mut first, mut second) = ([0.0f64; 3], [0.0f64; 3]);
    for step in 1..=2 {
        let (x, y) = Plane { batch: 4, bad: None }.points(step - 1);
        let mut gradient = [0.0f64; 3];
        for (x, y) in x.chunks(2).zip(&y) {
            let (a, b) = (f64::from(x[0]), f64::from(x[1]));
            let error = parameters[0] * a + parameters[1] * b + parameters[2] - f64::from(*y);
            for (slot, factor) in gradient.iter_mut().zip([a, b, 1.0]) {
                *slot += 2.0 * error * factor / 4.0;
            }
        }
        for i in 0..3 {
            parameters[i] *= 1.0 - lr * decay;
            first[i] = b1 * first[i] + (1.0 - b1) * gradient[i];
            second[i] = b2 * second[i] + (1.0 - b2) * gradient[i] * gradient[i];
            let corrected = (second[i] / (1.0 - b2.powi(step as i32))).sqrt() + eps;
            parameters[i] -= lr * first[i] / (1.0 - b1.powi(step as i32)) / corrected;
        }
    }
    for (ours, theirs) in values(&model).iter().zip(parameters) {
        assert!((ours - theirs as f32).abs() < ROUNDING, "{ours} against {theirs}");
    }
}

#[test]
fn accumulation_equals_one_large_batch() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let large = recipe("steps = 5");
    let small = StageRecipe { batch: 2, accumulate: 2, ..large.clone() };
    let reporter = Reporter::capture();
    let (large, _) = train(&large, a.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    let (small, _) = train(&small, b.path(), Plane { batch: 2, bad: None }, &reporter).unwrap();
    for (a, b) in values(&large).iter().zip(values(&small)) {
        assert!((a - b).abs() < ROUNDING, "{a} against {b}");
    }
}

/// A run that is stopped by a bad batch and goes on from its checkpoint, which stands between two lines of the log, ends with the same bits
/// as one that is not.
#[test]
fn resumed_equals_uninterrupted_bit_for_bit() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cosine = Schedule { warmup: 0.25, ..Schedule::default() };
    let stage = StageRecipe { schedule: cosine, log_every: 5, ..recipe("steps = 12\ncheckpoint_every = 4") };
    let reporter = Reporter::capture();
    let (whole, whole_log) = train(&stage, a.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    let stopped = train(&stage, b.path(), Plane { batch: 4, bad: Some(9) }, &reporter).unwrap_err().to_string();
    for part in ["step 10", "point-36", "step-00000008"] {
        assert!(stopped.contains(part), "{stopped}");
    }
    let (resumed, resumed_log) = train(&stage, b.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    assert_eq!(values(&whole), values(&resumed));
    let (whole, resumed) = (timeless(&whole_log), timeless(&resumed_log));
    assert_eq!(whole, resumed);
    assert_eq!(whole.iter().map(|entry| (entry.step, entry.tokens)).collect::<Vec<_>>(), [(5, 20), (10, 40), (12, 48)]);
}

#[test]
fn a_truncated_checkpoint_falls_back_to_the_one_before() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stage = recipe("steps = 12\ncheckpoint_every = 4");
    let reporter = Reporter::capture();
    let (whole, _) = train(&stage, a.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    train(&stage, b.path(), Plane { batch: 4, bad: Some(9) }, &reporter).unwrap_err();
    let newest = checkpoint::list(b.path()).unwrap().pop().unwrap();
    let file = newest.join("state.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (resumed, _) = train(&stage, b.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    assert_eq!(values(&whole), values(&resumed));
    let told = reporter.captured().join("\n");
    assert!(told.contains("damaged checkpoint passed over") && told.contains("state.safetensors"), "{told}");
    assert!(told.contains("going on from step 4"), "{told}");
}

/// Damage that no format sees: the file parses, and holds another number.
#[test]
fn a_flipped_bit_falls_back_to_the_checkpoint_before() {
    let (a, reporter) = (tempfile::tempdir().unwrap(), Reporter::capture());
    let stage = recipe("steps = 12\ncheckpoint_every = 4");
    let (whole, _) = train(&stage, a.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    // Where a bit is flipped: in a weight or moment, in the step (8 becomes 0), in a hash.
    let after =
        |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).position(|part| part == text).unwrap() + text.len();
    for (name, bit) in [("state.safetensors", 1), ("state.json", 8), ("seal.json", 1)] {
        let (b, reporter) = (tempfile::tempdir().unwrap(), Reporter::capture());
        train(&stage, b.path(), Plane { batch: 4, bad: Some(9) }, &reporter).unwrap_err();
        let file = checkpoint::list(b.path()).unwrap().pop().unwrap().join(name);
        let mut bytes = std::fs::read(&file).unwrap();
        let at = match name {
            "state.json" => after(&bytes, b"\"step\": "),
            "seal.json" => after(&bytes, b"\"blake3\": \""),
            _ => bytes.len() - 1,
        };
        bytes[at] ^= bit;
        std::fs::write(&file, bytes).unwrap();
        let (resumed, _) = train(&stage, b.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
        assert_eq!(values(&whole), values(&resumed), "{name}");
        let told = reporter.captured().join("\n");
        assert!(told.contains("passed over") && told.contains("going on from step 4"), "{name}: {told}");
    }
}

/// A checkpoint whose values are no numbers is what is wrong with the first step after it, not that step's samples.
#[test]
fn a_broken_checkpoint_is_named_and_not_the_samples() {
    let (folder, reporter) = (tempfile::tempdir().unwrap(), Reporter::capture());
    let stage = recipe("steps = 12\ncheckpoint_every = 4");
    train(&stage, folder.path(), Plane { batch: 4, bad: Some(9) }, &reporter).unwrap_err();
    let again = train(&stage, folder.path(), Plane { batch: 4, bad: Some(9) }, &reporter).unwrap_err().to_string();
    // Here the samples are at fault, however often it goes on from a checkpoint whose values are good.
    assert!(again.contains("last good checkpoint is") && again.contains("step-00000008"), "{again}");
    let newest = checkpoint::list(folder.path()).unwrap().pop().unwrap();
    let file = newest.join("state.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let nan = f32::NAN.to_le_bytes();
    let changed: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let mut data = view.data().to_vec();
            if name.starts_with("model.") {
                data[..4].copy_from_slice(&nan);
            }
            (name, view.shape().to_vec(), data)
        })
        .collect();
    let views = changed.iter().map(|(name, shape, data)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize_to_file(views, None, &file).unwrap();
    // Written so by whoever wrote it: its hash is right.
    std::fs::remove_file(newest.join("seal.json")).unwrap();
    let error = train(&stage, folder.path(), Plane { batch: 4, bad: None }, &reporter).unwrap_err().to_string();
    for part in ["step 9", "step-00000008", "not the samples", "step-00000004"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("point-"), "{error}");
    std::fs::remove_dir_all(newest).unwrap();
    train(&stage, folder.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stage = recipe("steps = 2");
    let reporter = Reporter::capture();
    train(&stage, folder.path(), Plane { batch: 4, bad: None }, &reporter).unwrap();
    let device = device();
    let run = StageRun {
        name: "line",
        recipe: &stage,
        folder: folder.path(),
        fingerprint: "another",
        device: &device,
        replicas: &[],
        workers: 1,
        reporter: &reporter,
        observer: None,
    };
    let error = train_stage(&run, Arc::new(Plane { batch: 4, bad: None }), line(&device)).unwrap_err().to_string();
    assert!(error.contains("another recipe") && error.contains("--out"), "{error}");
}

#[test]
fn what_no_pattern_names_stays_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let stage = StageRecipe { train: [("weight".to_string(), 0.05)].into(), ..recipe("steps = 3") };
    let (model, _) = train(&stage, folder.path(), Plane { batch: 4, bad: None }, &Reporter::capture()).unwrap();
    let after = values(&model);
    assert_eq!(after[2], 0.1, "the bias is frozen");
    assert_ne!(after[0], 0.5, "the weight trains");
}

/// A folder that cannot be written (here: a file stands in its place) is an error that names it, not a panic.
#[test]
fn an_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("stage");
    std::fs::write(&blocked, b"").unwrap();
    let stage = recipe("steps = 2");
    let error = train(&stage, &blocked, Plane { batch: 4, bad: None }, &Reporter::capture()).unwrap_err().to_string();
    assert!(error.contains("stage"), "{error}");
}
