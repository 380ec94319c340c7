//! burn-vlm's readers of weights, compiled without burn-vlm, which would bring Burn: their files need this error type only.

#![allow(dead_code)]

#[path = "../../../burn-vlm/src/checkpoint/chunks.rs"]
mod chunks;
#[path = "../../../burn-vlm/src/checkpoint/gguf/mod.rs"]
mod gguf;
#[path = "../../../burn-vlm/src/checkpoint/reader.rs"]
mod reader;
#[path = "../../../burn-vlm/src/checkpoint/torch/mod.rs"]
mod torch;

pub use gguf::{gguf_config, gguf_words};
pub use reader::{StoredTensor, TensorSource};

use std::path::{Path, PathBuf};

/// The kinds of burn-vlm's `CheckpointError` that the reader makes.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{}: {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error("{}: no weights", path.display())]
    NoWeights { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
    #[error(transparent)]
    File(#[from] burn_vlm_base::files::FileError),
}

impl CheckpointError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// The values of a tensor as f32, a matrix transposed: what loading a linear layer does.
pub fn read_transposed(source: &TensorSource, key: &str, tensor: &StoredTensor) -> Result<Vec<f32>, CheckpointError> {
    source.read(key, tensor, true)
}

/// Opens a file of so many bytes and reads all of its tensors: an error names the file, values are those of the shape and no more than
/// the file can hold, and the same number transposed.
///
/// # Panics
/// Where that is not so.
pub fn read_all(path: &Path, bytes: usize, values_of_a_byte: usize) {
    let source = match TensorSource::open(path) {
        Ok(source) => source,
        Err(error) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            assert!(error.to_string().contains(&*name), "no file is named: {error}");
            return;
        }
    };
    for (key, tensor) in source.tensors() {
        let found = source.read_f32(key, tensor);
        let transposed = read_transposed(&source, key, tensor);
        assert_eq!(found.is_ok(), transposed.is_ok(), "{key}");
        let (Ok(found), Ok(transposed)) = (found, transposed) else { continue };
        assert!(found.len() <= values_of_a_byte * bytes, "{key}: {} values of {bytes} bytes", found.len());
        assert_eq!(found.len(), tensor.shape.iter().product::<usize>(), "{key}");
        assert_eq!(found.len(), transposed.len(), "{key}");
    }
}
