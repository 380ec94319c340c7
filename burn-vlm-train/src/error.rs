//! What can go wrong in training, evaluation and ablations, said so that the reader knows what to do next.

use std::path::{Path, PathBuf};

use burn_vlm_data::chat_template::TemplateError;
use burn_vlm_data::encode::EncodeError;
use burn_vlm_data::image::ImageError;
use burn_vlm_data::loader::LoaderError;
use burn_vlm_data::mixture::MixtureConfigError;
use burn_vlm_data::processor::ProcessorError;
use burn_vlm_data::source::{OpenMixtureError, SkipLogError, StreamError};
use burn_vlm_data::tasks::TaskError;
use burn_vlm_data::tokenizer::TokenizerError;

use crate::ablation::PartError;
use crate::report::ReportError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A video, or how videos are shown.
    #[error(transparent)]
    Video(#[from] burn_vlm_data::video::VideoError),
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
    File(Box<burn_vlm_base::files::FileError>),
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
    /// The loss is no finite number in the first step after a checkpoint was read.
    #[error(
        "{stage}: the loss is {loss} at step {step}, the first after going on from {checkpoint}: the values of that checkpoint are \
         broken, not the samples. Delete it, and the same command goes on from {before}",
        checkpoint = .checkpoint.display()
    )]
    BrokenCheckpoint {
        /// Name of the stage.
        stage: String,
        /// Step at which it happened, counted from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What there is before it, in words.
        before: String,
    },
    /// The run was asked to stop.
    #[error(
        "{stage}: stopped after step {step} of {steps}, as was asked; what is done is kept, and the same command goes on from there"
    )]
    Interrupted {
        /// Name of the stage.
        stage: String,
        /// Steps done.
        step: usize,
        /// Steps of the stage.
        steps: usize,
    },
    /// An evaluation was asked to stop.
    #[error(
        "stopped before the end, as was asked; with --out the replies so far are kept, and the same command goes on from there"
    )]
    Stopped,
    /// The device cannot be used.
    #[error("device: {0}")]
    Device(String),
    /// From the models' crate.
    #[error(transparent)]
    Model(#[from] burn_vlm::ModelError),
    /// A model's folder that cannot be read or written.
    #[error(transparent)]
    Checkpoint(Box<burn_vlm::checkpoint::CheckpointError>),
    /// A tokenizer that cannot be read, written or used.
    #[error(transparent)]
    Tokenizer(Box<TokenizerError>),
    /// A chat template that cannot be read, or refuses a conversation.
    #[error(transparent)]
    Template(Box<TemplateError>),
    /// A conversation that cannot be made into ids and labels.
    #[error(transparent)]
    Encode(Box<EncodeError>),
    /// A picture that cannot be read, or settings of an image processor that cannot be used.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// Tokenizer, template and image processor that do not make a processor; file and key are named.
    #[error(transparent)]
    Processor(Box<ProcessorError>),
    /// A conversation that a model's template or tokenizer refuse.
    #[error("{}: {source}", folder.display())]
    Conversation {
        /// Folder of the model.
        folder: PathBuf,
        /// Why.
        source: Box<EncodeError>,
    },
    /// A benchmark that cannot be used.
    #[error(transparent)]
    Benchmark(Box<crate::eval::BenchmarkError>),
    /// Answers of two models that cannot be compared.
    #[error(transparent)]
    Compare(Box<crate::eval::CompareError>),
    /// Tasks that cannot be drawn from the corpus.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// A mixture's file.
    #[error(transparent)]
    Mixture(Box<MixtureConfigError>),
    /// A mixture whose sources cannot be opened or mixed.
    #[error(transparent)]
    Sources(Box<OpenMixtureError>),
    /// A sample that cannot be drawn from a mixture.
    #[error(transparent)]
    Stream(Box<StreamError>),
    /// More samples cannot be used than allowed, or their list cannot be written.
    #[error(transparent)]
    Skipped(Box<SkipLogError>),
    /// A worker that makes samples.
    #[error(transparent)]
    Loader(Box<LoaderError<TrainError>>),
    /// A shared part of a study.
    #[error(transparent)]
    Part(Box<PartError>),
    /// A summary or a report.
    #[error(transparent)]
    Report(Box<ReportError>),
    /// Another error, and where it happened.
    #[error("{what}: {source}")]
    Within {
        /// Where: a stage, a picture, a folder.
        what: String,
        /// What happened there.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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

/// Typed errors stand boxed in [`TrainError`], so that a result that is fine stays small.
macro_rules! boxed {
    ($($variant:ident($error:ty),)+) => {
        $(impl From<$error> for TrainError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        })+
    };
}

boxed! {
    Stream(StreamError),
    Sources(OpenMixtureError),
    Mixture(MixtureConfigError),
    Skipped(SkipLogError),
    Benchmark(crate::eval::BenchmarkError),
    Compare(crate::eval::CompareError),
    Processor(ProcessorError),
    Encode(EncodeError),
    Report(ReportError),
    Part(PartError),
    Checkpoint(burn_vlm::checkpoint::CheckpointError),
    Image(ImageError),
    Task(TaskError),
    File(burn_vlm_base::files::FileError),
    Template(TemplateError),
    Tokenizer(TokenizerError),
    Loader(LoaderError<TrainError>),
}

impl TrainError {
    /// An operating-system error on `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// For `map_err`: an error that happened at `what` (a stage, a picture, a folder).
    pub fn within<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |error| Self::Within { what, source: error.into() }
    }

    /// For `map_err`: a recipe's mistake that is in this stage; other errors as they are.
    pub fn in_stage(name: &str) -> impl Fn(Self) -> Self {
        move |error| match error {
            Self::Recipe(message) => Self::Recipe(format!("[stage.{name}]: {message}")),
            other => other,
        }
    }

    /// For `map_err`: a recipe's mistake, of the recipe in this file; other errors as they are.
    pub fn in_recipe(file: &Path) -> impl Fn(Self) -> Self {
        move |error| match error {
            Self::Recipe(_) => Self::within(file.display().to_string())(error),
            other => other,
        }
    }

    /// A file whose content is wrong.
    pub fn invalid(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Invalid { path: path.as_ref().to_path_buf(), message: message.into() }
    }
}
