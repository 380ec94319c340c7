//! What can be wrong with a mixture: its file, or the samples that it asks for.

use super::take::TakesTooMany;
use crate::language::Language;
use std::fmt;
use std::path::PathBuf;

/// A mixture file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MixtureConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no mixture.
    #[error("{}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        reason: String,
    },
    /// Values contradict each other.
    #[error("{}: {place}: {problem}; {help}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The source, or the key.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: String,
    },
}

/// A mixture that cannot be drawn from the samples there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Counts were given for another number of sources.
    #[error("counts of {counts} sources were given for a mixture of {sources}")]
    Counts {
        /// Number of counts.
        counts: usize,
        /// Number of sources of the mixture.
        sources: usize,
    },
    /// A source has fewer samples than it is to give.
    #[error("source {source_name:?}: {reason}")]
    Take {
        /// The source.
        source_name: String,
        /// What is missing.
        reason: TakesTooMany,
    },
    /// There is nothing to draw.
    #[error(
        "the mixture has no samples{within}; check the paths, include_tags, exclude_tags and the language of each source"
    )]
    Empty {
        /// Of what kind.
        within: String,
    },
    /// Too few samples in some language or source.
    #[error("{}; {help}", Shortages(shortages))]
    Shortage {
        /// Every language or source that lacks samples.
        shortages: Vec<Shortage>,
        /// What to do.
        help: String,
    },
}

/// Too few samples in one language or source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The source, where it is one source that lacks samples.
    pub source_name: Option<String>,
    /// The language, where it is one language that lacks samples.
    pub language: Option<Language>,
    /// Samples to draw.
    pub wanted: u64,
    /// Samples there are.
    pub available: u64,
}

/// How many shortages an error spells out.
const SHOWN: usize = 8;

struct Shortages<'a>(&'a [Shortage]);

impl fmt::Display for Shortages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too few samples: ")?;
        for (index, shortage) in self.0.iter().take(SHOWN).enumerate() {
            let Shortage { source_name, language, wanted, available } = shortage;
            f.write_str(if index == 0 { "" } else { ", " })?;
            match (source_name, language) {
                (Some(name), Some(language)) => write!(f, "source {name:?} in {language}")?,
                (Some(name), None) => write!(f, "source {name:?}")?,
                (None, Some(language)) => language.fmt(f)?,
                (None, None) => f.write_str("samples without a language")?,
            }
            write!(f, " has {available} of {wanted}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}
