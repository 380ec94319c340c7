//! Models in and out of Hugging Face folders: `config.json` and safetensors.
//!
//! Unusual here:
//! - strict: every missing, unexpected or misshapen key stands in one error, with both shapes and the file; nothing loads
//!   partially, unless the keys that may be missing or left over are named ([`LoadOptions`]);
//! - streamed: one tensor at a time is read or written, so the peak is the model plus one tensor;
//! - atomic: a file, or a folder, appears whole under its name or not at all;
//! - loaded parameters are f32 whatever the file stores, unless [`LoadOptions`] says otherwise.
//!
//! Low-rank adapters have a folder of their own, in peft's layout ([`load_adapter`], [`save_adapter`]).
//!
//! GGUF files of decoders are read as the folders that they were made from ([`gguf_config`], [`gguf_words`]), and not written.
//!
//! Files of `torch.save` are read where one is named ([`TensorSource::open`]), never run, and not written.
//!
//! Weights only. The checkpoints of a training run, optimizer state included, are `burn-vlm-train`'s: safetensors too, keyed by the
//! parameters' paths.

mod adapter_base;
mod chunks;
mod config;
mod folder;
mod gguf;
mod keys;
mod load;
mod original;
mod parrot;
mod peft;
mod pretrained;
mod reader;
mod save;
mod text;
mod torch;

pub use adapter_base::{OtherBase, other_base, record_base};
pub use folder::{SaveOptions, copy_words};
pub use gguf::{gguf_config, gguf_words, is_gguf};
pub use keys::{Parameter, parameters};
pub(crate) use load::wildcard;
pub use load::{LoadOptions, Packed, load_parameters, load_parameters_with};
pub use peft::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, load_adapter, save_adapter};
pub use pretrained::{Layout, Pretrained, load_tower};
pub use reader::{StoredTensor, TensorSource};
pub use save::{StoreDtype, save_parameters};

pub(crate) use config::read_config;
pub(crate) use keys::Path as ParameterPath;

use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("{path}: {action} failed: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error(transparent)]
    File(#[from] burn_vlm_base::files::FileError),
    /// The folder holds no weights.
    #[error("{path}: no model.safetensors and no model.safetensors.index.json here", path = path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what its name says: truncated, corrupt or of another kind.
    #[error("{path}: {reason}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// `config.json` describes another model or holds an impossible value.
    #[error("{path}: {source}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ModelError,
    },
    /// The keys of file and model differ.
    #[error("{path}: the weights do not fit the model: {summary}\n  {list}", path = path.display(), summary = summary(problems), list = listed(problems).join("\n  "))]
    Keys {
        /// The file or folder.
        path: PathBuf,
        /// One line a key, of which the message has the first of each kind.
        problems: Vec<String>,
    },
    /// The device does not compute in the element type that parameters were asked to have.
    #[error(
        "{path}: the device {device} does not compute in {name}; load as float32, which every device has",
        path = path.display(),
        name = dtype.name()
    )]
    Dtype {
        /// The file or folder.
        path: PathBuf,
        /// What was asked for.
        dtype: StoreDtype,
        /// The device.
        device: String,
    },
    /// The device does not hold weights as numbers of few bits.
    #[error(
        "{path}: the device {device} does not compute with weights of 8 or 4 bits (q8, q4): the CPU's flex does, and not in training; \
         load as float16, bfloat16 or float32",
        path = path.display()
    )]
    Packed {
        /// The file or folder.
        path: PathBuf,
        /// The device.
        device: String,
    },
    /// A tensor could not be read back from its device.
    #[error("{key}: reading the tensor from its device failed: {reason}")]
    Device {
        /// The parameter.
        key: String,
        /// The backend's own words.
        reason: String,
    },
}

/// Keys of a kind that a message names; the rest are counted.
const NAMED: usize = 5;
/// What lines about keys begin with, and what is said of their number.
const KINDS: [(&str, &str); 4] = [
    ("missing: ", "missing"),
    ("unexpected: ", "unexpected"),
    ("shape: ", "of another shape"),
    ("duplicate: ", "twice"),
];

/// The first lines of each kind, and how many more there are.
fn listed(problems: &[String]) -> Vec<String> {
    let mut named = [0; KINDS.len() + 1];
    let is_named = |problem: &&String| {
        let kind = KINDS.iter().position(|(start, _)| problem.starts_with(start)).unwrap_or(KINDS.len());
        named[kind] += 1;
        named[kind] <= NAMED
    };
    let mut lines: Vec<String> = problems.iter().filter(is_named).cloned().collect();
    if lines.len() < problems.len() {
        lines.push(format!("and {} more", problems.len() - lines.len()));
    }
    lines
}

/// `12 keys missing, 1 with another shape`, of lines that begin with their kind.
fn summary(problems: &[String]) -> String {
    let counts = KINDS.iter().filter_map(|(start, name)| {
        let count = problems.iter().filter(|problem| problem.starts_with(start)).count();
        (count > 0).then(|| format!("{count} {name}"))
    });
    let keys = if problems.len() == 1 { "key" } else { "keys" };
    format!("{} {keys} ({})", problems.len(), counts.collect::<Vec<_>>().join(", "))
}

impl CheckpointError {
    /// An [`CheckpointError::Io`] for `map_err`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    /// A [`CheckpointError::Format`].
    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_path_buf(), reason: reason.into() }
    }
}
