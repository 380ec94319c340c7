//! Files of `torch.save` (`.ckpt`, `.pt`, `.bin`): a zip archive of a pickle and the tensors' bytes, read without running anything.
//!
//! Unusual here:
//! - the pickle is read by a machine that knows containers, numbers, texts and tensors; a class or function that it names stays a name
//!   and is never called, whatever the file says;
//! - torch does not compress: a tensor is a range of the file, read in pieces as those of safetensors are, so that the peak is the
//!   model and one tensor;
//! - of a training program's checkpoint the entry `state_dict` is taken, and the optimizer's state is not looked at.

mod pickle;
mod zip;

use std::fs::File;
use std::path::Path;

use safetensors::Dtype;

use super::CheckpointError;
use super::chunks::read_at;
use zip::Entry;

/// How a file of `torch.save` begins.
pub(super) const START: [u8; 4] = *b"PK\x03\x04";
/// How one of torch before 1.6 begins, a pickle without an archive.
pub(super) const OLD_START: [u8; 4] = *b"\x80\x02\x8a\x0a";
/// What is wrong with such a file.
pub(super) const OLD: &str = "written by torch before 1.6, or with `_use_new_zipfile_serialization=False`, which is not read: load and \
                              save it again with a newer torch, or take a safetensors file";
/// The pickle's longest: those of the largest published checkpoints have some hundred kilobytes.
const MAX_PICKLE: u64 = 64 << 20;
/// The archive's entry with the pickle, below the folder that torch names after the file.
const PICKLE: &str = "/data.pkl";

/// A tensor of such a file.
pub(super) struct TorchTensor {
    pub(super) key: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte, from the start of the file.
    pub(super) start: u64,
    /// Whether its values do not stand in the file in row-major order.
    pub(super) scattered: bool,
}

/// The tensors of a file, whose values stay in it.
pub(super) fn read(path: &Path, file: &File) -> Result<Vec<TorchTensor>, CheckpointError> {
    let wrong = |reason: String| CheckpointError::format(path, reason);
    let entries = zip::entries(path, file)?;
    let is_pickle = |name: &&String| name.ends_with(PICKLE) && name.matches('/').count() == 1;
    let Some(name) = entries.keys().find(is_pickle) else {
        return Err(wrong(
            "a zip archive without data.pkl: no file of torch.save (a model of TorchScript has code beside \
                          its weights and is not read)"
                .into(),
        ));
    };
    let folder = name.strip_suffix(PICKLE).unwrap_or_default().to_owned();
    let stored = |entry: &Entry, name: &str| match entry.stored() {
        true => Ok(entry.start),
        false => Err(wrong(format!("`{name}` is compressed or encrypted, which torch.save never does"))),
    };
    let bytes = |name: &str, most: u64| -> Result<Vec<u8>, CheckpointError> {
        let Some(entry) = entries.get(name) else { return Err(wrong(format!("the archive lacks `{name}`"))) };
        if entry.size > most {
            return Err(wrong(format!("`{name}` has {} bytes, expected at most {most}", entry.size)));
        }
        let mut bytes = vec![0; usize::try_from(entry.size).unwrap_or(0)];
        read_at(file, &mut bytes, stored(entry, name)?).map_err(CheckpointError::io(path, "reading"))?;
        Ok(bytes)
    };
    let order = format!("{folder}/byteorder");
    if entries.contains_key(&order) && bytes(&order, 16)? != b"little" {
        return Err(wrong("the values are big-endian, expected little-endian".into()));
    }
    let found = pickle::tensors(&bytes(name, MAX_PICKLE)?).map_err(|reason| wrong(format!("data.pkl: {reason}")))?;
    found
        .into_iter()
        .map(|tensor| {
            let storage = format!("{folder}/data/{}", tensor.storage);
            let key = &tensor.key;
            let Some(entry) = entries.get(&storage) else {
                return Err(wrong(format!("`{key}` is in `{storage}`, which the archive lacks")));
            };
            let size = (tensor.dtype.bitsize() / 8) as u64;
            let values = tensor.shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side as u64));
            let scattered = !tensor.is_row_major();
            // Where values are scattered they are not read.
            let values = if scattered { Some(0) } else { values };
            let end = values.and_then(|values| values.checked_add(tensor.offset));
            match end.and_then(|end| end.checked_mul(size)) {
                Some(end) if end <= entry.size => {}
                _ => {
                    let shape = &tensor.shape;
                    let reason = format!("`{key}` {shape:?} ends beyond `{storage}`, which has {} bytes", entry.size);
                    return Err(wrong(reason));
                }
            }
            let start = stored(entry, &storage)? + tensor.offset * size;
            Ok(TorchTensor { key: tensor.key, dtype: tensor.dtype, shape: tensor.shape, start, scattered })
        })
        .collect()
}
