//! Training checkpoints: everything an interrupted stage needs to go on bit for bit.
//!
//! One folder a checkpoint, `step-00000500/`: `state.safetensors` (every parameter in f32 under `model.<path>`, the
//! optimizer's moments under `exp_avg.<path>` and `exp_avg_sq.<path>`), `state.json` (step, optimizer steps, a
//! fingerprint of the recipe, what the log has yet to say) and `seal.json` (the hashes of both: a flipped bit would train on as another model).
//! Data order, augmentation and noise are pure functions of the seed and the step, so the step is the data cursor and
//! the state of every random generator at once.
//!
//! A checkpoint is written under a temporary name, synced, and renamed into place: it is there whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_vlm::lora::is_adapter;
use burn_vlm_base::files;
use burn_vlm_base::seal::Seal;
use safetensors::tensor::{Dtype, TensorView, View};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};
use crate::meter::Unlogged;
use crate::optim::{AdamW, Moments};
use crate::params::PathStack;

/// Number of this file layout; a checkpoint of another one is not read.
const FORMAT: u32 = 2;

/// What `state.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Layout of the file.
    pub format: u32,
    /// Steps of the stage that are done.
    pub step: usize,
    /// Steps of the optimizer that are done.
    pub optimizer_steps: usize,
    /// Fingerprint of recipe, seed and data; a run with another one must not resume from here.
    pub fingerprint: String,
    /// What the log had not written yet at this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlogged: Option<Unlogged>,
}

/// What a stage was made with before it was extended: its checkpoint at that step is one of the extended stage too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// Steps that were done.
    pub(crate) step: usize,
    /// The fingerprint of their checkpoint.
    pub(crate) fingerprint: String,
    /// Whether the data is another one since.
    pub(crate) data_changed: bool,
}

/// File of a stage's [`Earlier`], beside its checkpoints.
pub(crate) const EXTENDED: &str = "extended.json";

/// What the stage in a folder was before it was extended, oldest first; nothing where it never was.
pub(crate) fn earlier(folder: &Path) -> Result<Vec<Earlier>> {
    Ok(files::read_json_if_there(&folder.join(EXTENDED))?.unwrap_or_default())
}

/// The state of a checkpoint, whoever made it.
pub(crate) fn read_state(path: &Path) -> Result<CheckpointState> {
    let file = path.join("state.json");
    let json = fs::read(&file).map_err(|e| TrainError::io("cannot read", &file, e))?;
    let state: CheckpointState =
        serde_json::from_slice(&json).map_err(|e| TrainError::invalid(&file, e.to_string()))?;
    if state.format != FORMAT {
        return Err(TrainError::invalid(&file, format!("format {}, expected {FORMAT}", state.format)));
    }
    Ok(state)
}

/// Compares a checkpoint's files with their hashes. (A folder without a seal is of an older layout, and told as that.)
fn check_seal(path: &Path) -> Result<()> {
    match Seal::read(path)? {
        None => Ok(()),
        Some(seal) => seal.check(path).map_err(|damage| TrainError::invalid(path.join(&damage.path), damage.why)),
    }
}

/// Whether a checkpoint is as it was written.
pub(crate) fn is_whole(path: &Path) -> bool {
    Seal::read(path).is_ok_and(|seal| seal.is_some()) && check_seal(path).is_ok()
}

/// A tensor that is read from its device when its turn to be written comes: a checkpoint of a large model never stands in memory
/// as a whole.
struct Unread {
    shape: Vec<usize>,
    read: Box<dyn Fn() -> TensorData>,
}

impl Unread {
    fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        Self { shape: tensor.dims().to_vec(), read: Box::new(move || tensor.clone().into_data()) }
    }
}

impl View for &Unread {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned((self.read)().convert_dtype(DType::F32).as_bytes().to_vec())
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

struct Collect<'a> {
    stack: PathStack,
    tensors: &'a mut BTreeMap<String, Unread>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.stack.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.stack.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.insert(format!("model.{}", self.stack.path()), Unread::new(param.val()));
    }
}

/// Writes the checkpoint of a step, with what the log had not written until then, below `folder` and removes the oldest beyond `keep`.
///
/// # Errors
/// Any failure to write (a full disk, say) names the file; earlier checkpoints stay as they are.
pub fn save<M: Module>(
    folder: &Path,
    module: &M,
    optimizer: &AdamW,
    (step, unlogged): (usize, Unlogged),
    fingerprint: &str,
    keep: usize,
) -> Result<PathBuf> {
    let target = folder.join(format!("step-{step:08}"));
    let temporary = files::temp_dir_for(&target)?;
    write_files(temporary.path(), module, optimizer, (step, Some(unlogged)), fingerprint)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|e| TrainError::io("cannot replace", &target, e))?;
    }
    files::publish_dir(temporary.path(), &target)?;
    let mut present = list(folder)?;
    while present.len() > keep.max(1) {
        let oldest = present.remove(0);
        fs::remove_dir_all(&oldest).map_err(|e| TrainError::io("cannot remove", &oldest, e))?;
    }
    Ok(target)
}

/// Folder of the best weights of a stage, beside its checkpoints.
pub(crate) const BEST: &str = "best";

/// Writes the weights of `step` as the stage's best, instead of earlier ones.
///
/// # Errors
/// Any failure to write names the file.
pub fn save_best<M: Module>(folder: &Path, module: &M, step: usize, fingerprint: &str) -> Result<()> {
    let target = folder.join(BEST);
    let temporary = files::temp_dir_for(&target)?;
    write_files(temporary.path(), module, &AdamW::new(Default::default()), (step, None), fingerprint)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|e| TrainError::io("cannot replace", &target, e))?;
    }
    Ok(files::publish_dir(temporary.path(), &target)?)
}

/// Reads the stage's best weights into a module of the same shape.
///
/// # Errors
/// No such weights, damaged ones, or those of another recipe.
pub fn read_best<M: Module>(folder: &Path, module: M, fingerprint: &str, device: &Device) -> Result<M> {
    let optimizer = AdamW::new(Default::default());
    Ok(read(&folder.join(BEST), module, &optimizer, fingerprint, device)?.0)
}

fn write_files<M: Module>(
    folder: &Path,
    module: &M,
    optimizer: &AdamW,
    (step, unlogged): (usize, Option<Unlogged>),
    fingerprint: &str,
) -> Result<()> {
    let mut tensors = BTreeMap::new();
    module.visit(&mut Collect { stack: PathStack::default(), tensors: &mut tensors });
    for (path, moments) in &optimizer.moments {
        tensors.insert(format!("exp_avg.{path}"), Unread::new(moments.exp_avg.clone()));
        tensors.insert(format!("exp_avg_sq.{path}"), Unread::new(moments.exp_avg_sq.clone()));
    }
    let file = folder.join("state.safetensors");
    let written = safetensors::serialize_to_file(tensors.iter(), None, &file);
    written.map_err(|error| match error {
        SafeTensorError::IoError(error) => TrainError::io("cannot write", &file, error),
        error => TrainError::invalid(&file, error.to_string()),
    })?;
    let state = CheckpointState {
        format: FORMAT,
        step,
        optimizer_steps: optimizer.steps,
        fingerprint: fingerprint.to_string(),
        unlogged,
    };
    files::write_json_atomic(&folder.join("state.json"), &state)?;
    Ok(Seal::write(folder, |_| true)?)
}

/// The checkpoints below `folder`, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    folders(folder, &["step-"])
}

/// The same with the best weights and what a killed run has left half-written; for clearing up.
///
/// # Errors
/// The folder cannot be read.
pub fn list_all(folder: &Path) -> Result<Vec<PathBuf>> {
    folders(folder, &["step-", BEST, ".tmp-step-", ".tmp-best-"])
}

fn folders(folder: &Path, prefixes: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder).map_err(|e| TrainError::io("cannot read", folder, e))? {
        let entry = entry.map_err(|e| TrainError::io("cannot read", folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// A checkpoint that was read back.
pub struct Resumed<M> {
    /// The module with its parameters.
    pub module: M,
    /// The optimizer with its moments.
    pub optimizer: AdamW,
    /// Steps that are done.
    pub step: usize,
    /// What the log had not written yet; `None` where the checkpoint does not say.
    pub unlogged: Option<Unlogged>,
    /// The checkpoint, where it has values that are no finite numbers: nothing good can come of it.
    pub broken: Option<PathBuf>,
    /// What was wrong with newer checkpoints that were passed over, one message each.
    pub passed_over: Vec<String>,
}

/// Reads the newest usable checkpoint of `folder`; `None` if there is none.
///
/// A checkpoint that is damaged (a truncated file, a missing tensor) is passed over for the one before, and the
/// reason is reported in [`Resumed::passed_over`].
///
/// # Errors
/// A checkpoint of another recipe, or an unreadable folder.
pub fn resume<M: Module>(
    folder: &Path,
    module: &M,
    optimizer: &AdamW,
    fingerprint: &str,
    device: &Device,
) -> Result<Option<Resumed<M>>> {
    let mut passed_over = Vec::new();
    for path in list(folder)?.into_iter().rev() {
        match read(&path, module.clone(), optimizer, fingerprint, device) {
            Ok((module, optimizer, CheckpointState { step, unlogged, .. }, is_finite)) => {
                let broken = (!is_finite).then_some(path);
                return Ok(Some(Resumed { module, optimizer, step, unlogged, broken, passed_over }));
            }
            Err(error @ TrainError::Recipe(_)) => return Err(error),
            Err(error) => passed_over.push(error.to_string()),
        }
    }
    if passed_over.is_empty() {
        Ok(None)
    } else {
        let (module, optimizer) = (module.clone(), optimizer.clone());
        Ok(Some(Resumed { module, optimizer, step: 0, unlogged: None, broken: None, passed_over }))
    }
}

/// Module, optimizer, the rest of the state, and whether all values are finite.
fn read<M: Module>(
    path: &Path,
    module: M,
    optimizer: &AdamW,
    fingerprint: &str,
    device: &Device,
) -> Result<(M, AdamW, CheckpointState, bool)> {
    // Before anything is believed, the fingerprint too.
    check_seal(path)?;
    let state = read_state(path)?;
    check_origin(path, &state, fingerprint)?;
    let (module, bytes) = fill(path, module, device)?;
    let file = path.join("state.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| not_whole(&file, &e))?;
    let names: HashMap<String, TensorView<'_>> = tensors.tensors().into_iter().collect();
    let mut moments = BTreeMap::new();
    let is_finite = names.values().all(|view| f32_values(view.data()).all(f32::is_finite));
    let inner = device.clone().inner();
    for (name, view) in &names {
        let Some(param) = name.strip_prefix("exp_avg.") else { continue };
        let second = names
            .get(&format!("exp_avg_sq.{param}"))
            .ok_or_else(|| TrainError::invalid(&file, format!("missing: exp_avg_sq.{param}")))?;
        let tensor = |view: &TensorView<'_>| {
            let values: Vec<f32> = f32_values(view.data()).collect();
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), &inner)
        };
        moments.insert(param.to_string(), Moments { exp_avg: tensor(view), exp_avg_sq: tensor(second) });
    }
    let optimizer = AdamW { config: optimizer.config, steps: state.optimizer_steps, moments };
    Ok((module, optimizer, state, is_finite))
}

/// Whether a checkpoint is of the stage in its folder, as it is or as it was when it was extended.
fn check_origin(path: &Path, state: &CheckpointState, fingerprint: &str) -> Result<()> {
    if state.fingerprint == fingerprint {
        return Ok(());
    }
    let earlier = earlier(path.parent().unwrap_or(Path::new("")))?;
    // The best weights may be of any step, a checkpoint only of the last: further ones followed another schedule from there.
    let is_best = path.file_name().is_some_and(|name| name == BEST);
    match earlier.iter().find(|earlier| earlier.fingerprint == state.fingerprint) {
        Some(earlier) if state.step == earlier.step || (is_best && state.step < earlier.step) => Ok(()),
        Some(Earlier { step, .. }) => Err(TrainError::Recipe(format!(
            "the newest whole checkpoint, {}, is older than step {step}, from which the stage was extended: bring that one back, or train \
             in another --out folder",
            path.display()
        ))),
        None => Err(TrainError::Recipe(format!(
            "the checkpoint {} was made by another recipe or seed; use another --out folder, or delete that one to start over",
            path.display()
        ))),
    }
}

/// The weights of a checkpoint of any run, in a module of the same shape.
///
/// # Errors
/// A damaged checkpoint, or one of another shape.
pub(crate) fn read_weights<M: Module>(path: &Path, module: M, device: &Device) -> Result<M> {
    check_seal(path)?;
    read_state(path)?;
    let (module, bytes) = fill(path, module, device)?;
    let file = path.join("state.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| not_whole(&file, &e))?;
    if tensors.names().into_iter().any(is_adapter) {
        let message = "the stage trained adapters (`lora`), whose weights alone are no model: start from the run's finished `model` folder \
                       with `from` under [model]";
        return Err(TrainError::invalid(&file, message));
    }
    Ok(module)
}

/// A module with the parameters of a checkpoint, and the file that they are from.
fn fill<M: Module>(path: &Path, module: M, device: &Device) -> Result<(M, Vec<u8>)> {
    let file = path.join("state.safetensors");
    let bytes = fs::read(&file).map_err(|e| TrainError::io("cannot read", &file, e))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| not_whole(&file, &e))?;
    let names: HashMap<String, TensorView<'_>> = tensors.tensors().into_iter().collect();
    let mut fill = Fill { stack: PathStack::default(), names: &names, missing: Vec::new(), device };
    let module = module.map(&mut fill);
    if !fill.missing.is_empty() {
        return Err(TrainError::invalid(&file, format!("missing or misshapen: {}", fill.missing.join(", "))));
    }
    Ok((module, bytes))
}

fn not_whole(file: &Path, error: &SafeTensorError) -> TrainError {
    TrainError::invalid(file, format!("no whole safetensors file ({error})"))
}

fn f32_values(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

struct Fill<'a> {
    stack: PathStack,
    names: &'a HashMap<String, TensorView<'a>>,
    missing: Vec<String>,
    device: &'a Device,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.stack.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.stack.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.stack.path();
        let shape = param.val().dims();
        match self.names.get(&format!("model.{path}")) {
            Some(view) if view.shape() == shape.as_slice() && view.dtype() == Dtype::F32 => {
                let data = TensorData::new(f32_values(view.data()).collect::<Vec<f32>>(), shape);
                let trains = param.val().is_require_grad();
                // What is frozen below adapters may be held in less than f32, from which it came.
                let (device, dtype) = (self.device, param.val().dtype());
                param.map(|_| {
                    let tensor = Tensor::<D>::from_data(data, (device, dtype));
                    if device.is_autodiff() { tensor.set_require_grad(trains) } else { tensor }
                })
            }
            _ => {
                self.missing.push(format!("{path} {shape:?}"));
                param
            }
        }
    }
}
