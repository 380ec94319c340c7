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
