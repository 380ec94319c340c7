//! What can go wrong in training, evaluation and ablations, said so that the reader knows what to do next.

use std::path::{Path, PathBuf};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Reading or writing a file failed.
    #[error("{action} {path}: {source}{}", advice(source), path = path.display())]
    Io {
        /// What was being done, e.g. `cannot write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file that could not be written whole, or that holds something else.
    #[error(transparent)]
    File(#[from] burn_vlm_base::files::FileError),
    /// A file does not hold what it should.
    #[error("{path}: {message}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A recipe names something that does not exist or does not fit together.
    #[error("recipe: {0}")]
    Recipe(String),
    /// The loss stopped being a finite number.
    #[error(
        "{stage}: the loss is {loss} at step {step}; samples of that step: {samples}. {good} \
         Usual causes: a learning rate that is too high, too short a warmup, or a corrupt sample; \
         lower the stage's learning rates or set `optimizer.clip`"
    )]
    NotFinite {
        /// Name of the stage.
        stage: String,
        /// Step at which it happened, counted from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// Ids of the step's samples.
        samples: String,
        /// Where the last good checkpoint is, in words.
        good: String,
    },
    /// The device cannot be used.
    #[error("device: {0}")]
    Device(String),
    /// From the models' crate.
    #[error(transparent)]
    Model(#[from] burn_vlm::ModelError),
    /// A model's folder that cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] burn_vlm::checkpoint::CheckpointError),
    /// Tokenizer, template and image processor that do not make a processor; file and key are named.
    #[error(transparent)]
    Processor(#[from] burn_vlm_data::processor::ProcessorError),
    /// A picture that cannot be shown.
    #[error(transparent)]
    Image(#[from] burn_vlm_data::image::ImageError),
    /// A conversation that a model's template or tokenizer refuse.
    #[error("{}: {source}", folder.display())]
    Conversation {
        /// Folder of the model.
        folder: PathBuf,
        /// Why.
        source: burn_vlm_data::encode::EncodeError,
    },
    /// A benchmark that cannot be used.
    #[error(transparent)]
    Benchmark(#[from] crate::eval::BenchmarkError),
    /// A sample or picture, by name.
    #[error("{0}")]
    Data(String),
}

/// Result of this crate.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// What to do about a failure of the file system, where that is not plain.
fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            " (free some space and run the same command again, finished work is kept)"
        }
        _ => "",
    }
}

impl TrainError {
    /// An operating-system error on `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// A file whose content is wrong.
    pub fn invalid(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Invalid { path: path.as_ref().to_path_buf(), message: message.into() }
    }
}
