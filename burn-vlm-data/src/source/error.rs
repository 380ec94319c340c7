//! Why a source cannot be opened, or a stream must stop.

use std::path::PathBuf;

/// A source that cannot be used at all. What is wrong with single samples is a [`Skip`](super::Skip) instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A file is missing or cannot be read.
    #[error("source {source_name:?}: cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Name of the source.
        source_name: String,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A path that names no file, or one that cannot be understood.
    #[error("source {source_name:?}: path {pattern:?}: {reason}")]
    Pattern {
        /// Name of the source.
        source_name: String,
        /// The path as given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The format is neither given nor told by the file's ending.
    #[error(
        "source {source_name:?}: {} has an ending that tells no format; set format to json, parquet, webdataset or tsv",
        path.display()
    )]
    Format {
        /// Name of the source.
        source_name: String,
        /// The file.
        path: PathBuf,
    },
    /// A file is not of its format, or damaged so that no record can be told from the next.
    #[error("source {source_name:?}: {}, {place}: {reason}", path.display())]
    Damaged {
        /// Name of the source.
        source_name: String,
        /// The file.
        path: PathBuf,
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A column is missing or has another type.
    #[error("source {source_name:?}: {}: column {column:?}: expected {expected}, found {found}", path.display())]
    Column {
        /// Name of the source.
        source_name: String,
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The type that was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A setting that makes no sense.
    #[error("source {source_name:?}: {key}: expected {expected}, found {found}")]
    Config {
        /// Name of the source.
        source_name: String,
        /// The key.
        key: &'static str,
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// No language can be told for the groups of a mixture.
    #[error("source {source_name:?}: {bad} of {records} records have no usable language, for example {example}")]
    Languages {
        /// Name of the source.
        source_name: String,
        /// Records without a usable language.
        bad: u64,
        /// All records.
        records: u64,
        /// The first of them.
        example: String,
    },
}
