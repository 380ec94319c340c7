//! What can be wrong with the files of a corpus.

use std::path::PathBuf;

/// A corpus that cannot be read; every variant names the file.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CorpusError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}: {reason}; the corpus folder must hold {}", path.display(), super::read::FILES.join(", "))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file is no parquet file, or a damaged one.
    #[error("{}: not a readable parquet file ({reason}); fetch it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A parquet file lacks a column, or has it with another type.
    #[error("{}: column {column:?}: expected {expected}, found {found}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The expected type.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A value that does not fit.
    #[error("{}: row {row}, column {column:?}: expected {expected}, found {found}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Row number, from 0.
        row: usize,
        /// The column.
        column: &'static str,
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A JSON file that cannot be understood.
    #[error("{}: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        reason: String,
    },
}
