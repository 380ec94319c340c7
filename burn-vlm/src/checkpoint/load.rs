//! Filling a module from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use super::keys::Path;
use super::{CheckpointError, Layout, StoredTensor, TensorSource, parameters};

/// Edge of the blocks in which a matrix is transposed: two blocks of f32 fit the innermost cache.
const TRANSPOSE_BLOCK: usize = 32;

/// Fills every parameter of `module` from `source`. Parameter ids, devices and gradient settings stay as they are.
///
/// # Errors
/// [`CheckpointError::Keys`] with every missing, unexpected and misshapen key; what reading a tensor can fail with.
pub fn load_parameters<M: Module>(module: M, source: &TensorSource, layout: &Layout) -> Result<M, CheckpointError> {
    let found = match_keys(&module, source, layout)?;
    let mut loader = Loader { path: Path::default(), source, found, error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// The key in the file of each parameter, if all fit.
fn match_keys<M: Module>(
    module: &M,
    source: &TensorSource,
    layout: &Layout,
) -> Result<BTreeMap<String, String>, CheckpointError> {
    let wanted = parameters(module);
    let names: BTreeSet<&str> = wanted.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut found = BTreeMap::new();
    let mut problems = Vec::new();
    for key in source.tensors().keys() {
        match layout.module_name(key) {
            Some(name) if names.contains(name.as_str()) => {
                if let Some(other) = found.insert(name, key.clone()) {
                    problems.push(format!("duplicate: {key} and {other} are the same parameter"));
                }
            }
            // A tied head is the embedding table, whatever the file holds beside it.
            Some(name) if is_tied_head(&name, &names) => {}
            Some(name) => {
                let shape = source.tensors().get(key).map(|tensor| tensor.shape.clone()).unwrap_or_default();
                let place = if *key == name { String::new() } else { format!(" (as {name})") };
                problems.push(format!("unexpected: {key} {shape:?}{place}"));
            }
            None => {}
        }
    }
    for parameter in &wanted {
        let stored = found.get(&parameter.name).and_then(|key| Some((key, source.tensors().get(key)?)));
        match stored {
            None => problems.push(format!("missing: {} {:?}", layout.file_key(&parameter.name), parameter.shape)),
            Some((key, tensor)) if !fits(&tensor.shape, &parameter.shape) => problems.push(format!(
                "shape: {key} is {:?} in {}, the model needs {:?}",
                tensor.shape,
                source.file_of(tensor).display(),
                parameter.shape
            )),
            Some(_) => {}
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(CheckpointError::Keys { path: source.path().to_path_buf(), problems })
    }
}

/// Equal shapes; Burn has no rank 0, so a scalar fits `[1]`.
fn fits(stored: &[usize], wanted: &[usize]) -> bool {
    stored == wanted || (stored.is_empty() && wanted == [1])
}

/// Whether `name` is the head of a decoder that has none of its own.
fn is_tied_head(name: &str, names: &BTreeSet<&str>) -> bool {
    name.strip_suffix("lm_head.weight")
        .is_some_and(|prefix| names.contains(format!("{prefix}model.embed_tokens.weight").as_str()))
}

struct Loader<'a> {
    path: Path,
    source: &'a TensorSource,
    found: BTreeMap<String, String>,
    error: Option<CheckpointError>,
}

impl Loader<'_> {
    fn read(&self, name: &str, transposed: bool) -> Result<Option<Vec<f32>>, CheckpointError> {
        let stored: Option<(&String, &StoredTensor)> =
            self.found.get(name).and_then(|key| Some((key, self.source.tensors().get(key)?)));
        let Some((key, tensor)) = stored else { return Ok(None) };
        let values = self.source.read_f32(key, tensor)?;
        Ok(Some(match (transposed, tensor.shape.as_slice()) {
            (true, &[rows, columns]) => transpose(&values, rows, columns),
            _ => values,
        }))
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        match self.read(&self.path.name(), self.path.is_transposed::<D>()) {
            Ok(Some(values)) => {
                let data = TensorData::new(values, param.lazy_shape());
                let tensor = Tensor::from_data(data, &param.lazy_device());
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Ok(None) => param,
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`, in blocks that stay in the cache.
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for row_block in (0..rows).step_by(TRANSPOSE_BLOCK) {
        for column_block in (0..columns).step_by(TRANSPOSE_BLOCK) {
            for row in row_block..(row_block + TRANSPOSE_BLOCK).min(rows) {
                for column in column_block..(column_block + TRANSPOSE_BLOCK).min(columns) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}
