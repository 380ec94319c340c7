//! Reading safetensors: one file, or the shards that `model.safetensors.index.json` lists; and a file of `torch.save` or GGUF where one is
//! named.
//!
//! Unusual here: files are read by position, in chunks that several threads fetch and convert at once, and are not mapped
//! into memory. A mapped file that somebody truncates kills the process (SIGBUS) where a read returns an error; and since
//! values are converted or transposed on their way, mapping would save no copy. The peak is the model, one tensor, and a
//! chunk for each thread.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn_vlm_base::model_folder;
use burn_vlm_base::seal::{SEAL, Seal};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::chunks::{Element, read_transposed, read_values};
use super::{CheckpointError, gguf, torch};
#[cfg(feature = "flex")]
use crate::nn::fused::packed::Nibbles;

/// What is wrong with a file that git-lfs has not fetched.
pub(super) const LFS_POINTER: &str =
    "a git-lfs pointer, not the file itself: run `git lfs pull` in its folder, or download the file";
/// How such a file begins.
pub(super) const LFS_START: &str = "version https://git-lfs";
/// Longest header that is read: the format's own limit.
const MAX_HEADER: u64 = 100_000_000;
/// Values of two tensors that are compared at once.
const COMPARED: usize = 1 << 20;
/// The header's length field.
const LENGTH_BYTES: u64 = 8;

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// Element type in the file; F32 for what GGUF stores, in whatever blocks.
    pub dtype: Dtype,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Which file.
    file: usize,
    /// First byte, from the start of the file.
    pub(super) start: u64,
    /// Whether its values do not stand in the file in row-major order, which torch allows.
    scattered: bool,
    /// How GGUF stores it; none in other files.
    pub(super) gguf: Option<gguf::Form>,
}

/// The tensors of a checkpoint; the values stay on disk until they are read.
#[derive(Debug)]
pub struct TensorSource {
    path: PathBuf,
    /// Where a folder was opened.
    folder: Option<PathBuf>,
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, StoredTensor>,
}

impl TensorSource {
    /// Opens a safetensors file, a file of `torch.save` (`.ckpt`, `.pt`, `.bin`: told by its content, and nothing in it is run), a GGUF
    /// file of a decoder, or a folder with `model.safetensors` or its index. Headers are read and checked.
    ///
    /// # Errors
    /// [`CheckpointError::NoWeights`], [`CheckpointError::Io`], [`CheckpointError::Format`] for a truncated or corrupt file.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (single, index) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        let mut source = Self {
            path: path.to_path_buf(),
            folder: path.is_dir().then(|| path.to_path_buf()),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        if !path.is_dir() {
            source.add_file(path)?;
        } else if single.is_file() {
            source.add_file(&single)?;
            source.path = single;
        } else if index.is_file() {
            source.add_shards(path, &index)?;
            source.path = index;
        } else {
            return Err(no_weights(path));
        }
        Ok(source)
    }

    /// The file that was opened: the only one, or the index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the weights of a folder with the hashes that were written with them, if it has some. Reads every file once.
    ///
    /// # Errors
    /// [`CheckpointError::Format`] for a file that was changed since, [`CheckpointError::File`] for hashes that cannot be read.
    pub fn check_seal(&self) -> Result<(), CheckpointError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let Some(seal) = Seal::read(folder)? else { return Ok(()) };
        seal.check(folder).map_err(|damage| {
            let reason = format!("{}; if that was meant, remove {SEAL} beside it", damage.why);
            CheckpointError::format(&folder.join(&damage.path), reason)
        })
    }

    /// All tensors by key.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// The file that holds a tensor.
    pub fn file_of(&self, tensor: &StoredTensor) -> &Path {
        &self.files[tensor.file].0
    }

    fn add_shards(&mut self, folder: &Path, index: &Path) -> Result<(), CheckpointError> {
        let text = std::fs::read_to_string(index).map_err(CheckpointError::io(index, "reading"))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| CheckpointError::format(index, error.to_string()))?;
        let map: BTreeMap<String, String> = serde_json::from_value(json["weight_map"].clone())
            .map_err(|error| CheckpointError::format(index, format!("`weight_map`: {error}")))?;
        let mut shards: Vec<&String> = map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            // Only plain names: the index must not lead out of the folder.
            if Path::new(shard).file_name() != Some(std::ffi::OsStr::new(shard)) {
                return Err(CheckpointError::format(
                    index,
                    format!("`weight_map` names `{shard}`, expected a file name"),
                ));
            }
            let file = folder.join(shard);
            if !file.is_file() {
                return Err(CheckpointError::format(index, format!("`weight_map` names `{shard}`, which is not here")));
            }
            self.add_file(&file)?;
        }
        for (key, shard) in &map {
            let file = self.tensors.get(key).map(|tensor| self.files[tensor.file].0.as_path());
            if file != Some(&folder.join(shard)) {
                return Err(CheckpointError::format(index, format!("`{key}` is not in {shard} as `weight_map` says")));
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), CheckpointError> {
        match torch_start(path)? {
            Some(torch::OLD_START) => return Err(CheckpointError::format(path, torch::OLD)),
            Some(torch::START) => return self.add_torch(path),
            Some(gguf::START) => return self.add_gguf(path),
            _ => {}
        }
        let (opened, data, header) = read_header(path)?;
        let file = self.files.len();
        self.files.push((path.to_path_buf(), opened));
        for (key, info) in header.tensors() {
            let start = data + info.data_offsets.0 as u64;
            let tensor = StoredTensor {
                dtype: info.dtype,
                shape: info.shape.clone(),
                file,
                start,
                scattered: false,
                gguf: None,
            };
            if self.tensors.insert(key.clone(), tensor).is_some() {
                return Err(CheckpointError::format(path, format!("`{key}` is in two shards")));
            }
        }
        Ok(())
    }

    /// The tensors of a GGUF file.
    fn add_gguf(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let opened = File::open(path).map_err(CheckpointError::io(path, "opening"))?;
        let (tensors, file) = (gguf::tensors(path, &opened)?, self.files.len());
        self.files.push((path.to_path_buf(), opened));
        for gguf::GgufTensor { key, shape, start, form } in tensors {
            let tensor = StoredTensor { dtype: Dtype::F32, shape, file, start, scattered: false, gguf: Some(form) };
            self.tensors.insert(key, tensor);
        }
        Ok(())
    }

    /// The tensors of a file of `torch.save`.
    fn add_torch(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let opened = File::open(path).map_err(CheckpointError::io(path, "opening"))?;
        let tensors = torch::read(path, &opened)?;
        let file = self.files.len();
        self.files.push((path.to_path_buf(), opened));
        for torch::TorchTensor { key, dtype, shape, start, scattered } in tensors {
            if self
                .tensors
                .insert(key.clone(), StoredTensor { dtype, shape, file, start, scattered, gguf: None })
                .is_some()
            {
                return Err(CheckpointError::format(path, format!("`{key}` is there twice")));
            }
        }
        Ok(())
    }

    /// The values of a tensor as f32, in row-major order.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; [`CheckpointError::Format`] for an element type that is no float.
    pub fn read_f32(&self, key: &str, tensor: &StoredTensor) -> Result<Vec<f32>, CheckpointError> {
        self.read(key, tensor, false)
    }

    /// Whether two tensors have one shape and the same values, compared a piece at a time.
    pub(super) fn same_values(&self, a: &str, b: &str) -> Result<bool, CheckpointError> {
        let (Some(first), Some(second)) = (self.tensors.get(a), self.tensors.get(b)) else { return Ok(false) };
        if first.shape != second.shape || ![first, second].into_iter().all(|tensor| is_float(tensor.dtype)) {
            return Ok(false);
        }
        let count: usize = first.shape.iter().product();
        let (mut left, mut right) = (vec![0.0_f32; COMPARED.min(count)], vec![0.0_f32; COMPARED.min(count)]);
        for from in (0..count).step_by(COMPARED) {
            let length = COMPARED.min(count - from);
            for (tensor, out) in [(first, &mut left), (second, &mut right)] {
                let (path, file) = &self.files[tensor.file];
                read_values(file, tensor, from, &mut out[..length]).map_err(CheckpointError::io(path, "reading"))?;
            }
            if left[..length] != right[..length] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The values of a tensor as `E`, a matrix transposed if `transposed`.
    pub(super) fn read<E: Element>(
        &self,
        key: &str,
        tensor: &StoredTensor,
        transposed: bool,
    ) -> Result<Vec<E>, CheckpointError> {
        self.check_readable(key, tensor)?;
        let (path, file) = (self.file_of(tensor), &self.files[tensor.file].1);
        let read = |from: usize, out: &mut [E]| read_values(file, tensor, from, out);
        let result = match (transposed, tensor.shape.as_slice()) {
            (true, &[rows, columns]) => read_transposed(rows, columns, read),
            _ => {
                let mut out = vec![E::default(); tensor.shape.iter().product()];
                read(0, &mut out).map(|()| out)
            }
        };
        result.map_err(CheckpointError::io(path, "reading"))
    }

    /// Fills `out` with values of a tensor from index `from` on, in the order of the file.
    pub(super) fn read_part(
        &self,
        key: &str,
        tensor: &StoredTensor,
        from: usize,
        out: &mut [f32],
    ) -> Result<(), CheckpointError> {
        self.check_readable(key, tensor)?;
        let (path, file) = &self.files[tensor.file];
        read_values(file, tensor, from, out).map_err(CheckpointError::io(path, "reading"))
    }

    /// Fills `out` with the blocks of rows of a tensor from row `first` on, of one that [`gguf::kept`] has in 4 bits.
    #[cfg(feature = "flex")]
    pub(super) fn read_nibbles(
        &self,
        key: &str,
        tensor: &StoredTensor,
        first: usize,
        out: &mut [Nibbles],
    ) -> Result<(), CheckpointError> {
        self.check_readable(key, tensor)?;
        let (path, file) = &self.files[tensor.file];
        let Some(form) = tensor.gguf else {
            return Err(CheckpointError::format(path, format!("`{key}` is not stored in blocks")));
        };
        gguf::read_nibbles(file, tensor.start, form, first, out).map_err(CheckpointError::io(path, "reading"))
    }

    /// Whether the values of a tensor can be read.
    fn check_readable(&self, key: &str, tensor: &StoredTensor) -> Result<(), CheckpointError> {
        let path = self.file_of(tensor);
        if !is_float(tensor.dtype) {
            let reason = format!("`{key}` is stored as {:?}; F64, F32, F16 and BF16 can be loaded", tensor.dtype);
            return Err(CheckpointError::format(path, reason));
        }
        if tensor.scattered {
            let reason = format!(
                "`{key}` is a transposed or sliced view, whose values are not read; save it with `.contiguous()`"
            );
            return Err(CheckpointError::format(path, reason));
        }
        Ok(())
    }
}

/// The first bytes of a file; none of a shorter one.
fn torch_start(path: &Path) -> Result<Option<[u8; 4]>, CheckpointError> {
    let mut start = [0; 4];
    let mut file = File::open(path).map_err(CheckpointError::io(path, "opening"))?;
    match file.read_exact(&mut start) {
        Ok(()) => Ok(Some(start)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(CheckpointError::io(path, "reading")(error)),
    }
}

/// The element types that can be loaded.
fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// What is wrong with a folder without safetensors.
fn no_weights(path: &Path) -> CheckpointError {
    let pickled =
        ["pytorch_model.bin", "pytorch_model.bin.index.json"].into_iter().find(|name| path.join(name).is_file());
    if let Some(what) = model_folder::describe(path) {
        return CheckpointError::format(path, what);
    }
    let Some(pickled) = pickled else { return CheckpointError::NoWeights { path: path.to_path_buf() } };
    let reason = "pickled weights, which can run code and are not read, and no model.safetensors beside them: convert them \
                  once where transformers is installed, by `from_pretrained(FOLDER).save_pretrained(FOLDER)` of the model's \
                  class, or download a revision with safetensors";
    CheckpointError::format(&path.join(pickled), reason)
}

/// Reads and checks a header; returns the file, where its data begins, and the header.
fn read_header(path: &Path) -> Result<(File, u64, Metadata), CheckpointError> {
    let mut file = File::open(path).map_err(CheckpointError::io(path, "opening"))?;
    let size = file.metadata().map_err(CheckpointError::io(path, "reading the size"))?.len();
    let too_short =
        |needed: u64| CheckpointError::format(path, format!("truncated: {size} bytes, the header promises {needed}"));
    let mut length = [0; LENGTH_BYTES as usize];
    if size < LENGTH_BYTES {
        return Err(too_short(LENGTH_BYTES));
    }
    file.read_exact(&mut length).map_err(CheckpointError::io(path, "reading the header's length"))?;
    if LFS_START.as_bytes().starts_with(&length) {
        return Err(CheckpointError::format(path, LFS_POINTER));
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(CheckpointError::format(path, format!("header of {length} bytes: not a safetensors file")));
    }
    let data = LENGTH_BYTES + length;
    if size < data {
        return Err(too_short(data));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(CheckpointError::io(path, "reading the header"))?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| CheckpointError::format(path, format!("corrupt safetensors header: {error}")))?;
    let end = data.saturating_add(header.data_len() as u64);
    match size.cmp(&end) {
        std::cmp::Ordering::Less => Err(too_short(end)),
        std::cmp::Ordering::Greater => {
            Err(CheckpointError::format(path, format!("{} bytes after the last tensor", size - end)))
        }
        std::cmp::Ordering::Equal => Ok((file, data, header)),
    }
}
