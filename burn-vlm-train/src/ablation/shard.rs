//! `--shard I/N`: the part of a study that one machine of N runs.

use std::str::FromStr;

/// The `index`-th of `count` parts, counted from 1: every `count`-th cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// A `--shard` that is not `I/N`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--shard {given}: {why}; write I/N, the I-th of N parts with 1 <= I <= N, such as 2/4")]
pub struct ShardError {
    /// What was given.
    pub given: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Shard {
    /// The whole study.
    pub const ALL: Self = Self { index: 1, count: 1 };

    /// Part `index` of `count`, from 1.
    ///
    /// # Errors
    /// If not `1 <= index <= count`.
    pub fn new(index: usize, count: usize) -> Result<Self, ShardError> {
        let why = if count == 0 {
            "N must be at least 1"
        } else if index == 0 {
            "I counts from 1"
        } else if index > count {
            "I is larger than N"
        } else {
            return Ok(Self { index, count });
        };
        Err(ShardError { given: format!("{index}/{count}"), why })
    }

    /// Whether the cell at this place of the study's list (from 0) belongs to this part.
    pub fn contains(&self, position: usize) -> bool {
        position % self.count == self.index - 1
    }

    /// Of a list of so many, where this part's share begins if each of the parts takes one in turn.
    pub(super) fn share_of(&self, length: usize) -> usize {
        (self.index - 1) * length / self.count
    }

    /// Whether this is the whole study.
    pub fn is_all(&self) -> bool {
        self.count == 1
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let error = |why| ShardError { given: text.to_owned(), why };
        let (index, count) = text.split_once('/').ok_or_else(|| error("there is no `/`"))?;
        let number = |part: &str| part.trim().parse().map_err(|_| error("I and N must be whole numbers"));
        Self::new(number(index)?, number(count)?).map_err(|inner| error(inner.why))
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}
