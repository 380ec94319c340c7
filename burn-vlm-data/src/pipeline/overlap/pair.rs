//! A training row and a row of a benchmark that have something in common.

use crate::language::Language;
use serde::Serialize;
use std::collections::BTreeMap;

/// What two rows have in common. Serialised in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes of a picture or video.
    Bytes,
    /// An id.
    Id,
    /// A text of the benchmark stands in one of the training row.
    Text,
    /// What a picture shows.
    Perceptual,
}

impl Reason {
    /// All of them, the surest first.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::Id, Self::Text, Self::Perceptual];

    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Id => "id",
            Self::Text => "text",
            Self::Perceptual => "perceptual",
        }
    }
}

/// One row of a pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Its source or benchmark.
    pub source: String,
    /// Its number there, from 0.
    pub record: u64,
    /// Its id.
    pub id: String,
    /// The language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The picture that the pair shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// Its number among the record's pictures.
    #[serde(skip)]
    pub number: Option<usize>,
}

/// A training row and a row of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// The training row.
    pub training: Side,
    /// The benchmark's.
    pub benchmark: Side,
    /// What they have in common, the surest first.
    pub reasons: Vec<Reason>,
    /// Different bits of the pictures' hashes, of the nearest two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<u32>,
    /// Mean difference of these pictures in 8 x 8 pixels, 0 to 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f32>,
    /// An id that both have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_id: Option<String>,
    /// The longest text of the benchmark's row that stands in the training row, its letters alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_text: Option<String>,
}

impl Pair {
    /// Less is surer.
    pub(super) fn doubt(&self) -> (Option<Reason>, u32, f32) {
        let first = self.reasons.iter().min().copied();
        (first, self.distance.unwrap_or(0), self.difference.unwrap_or(0.0))
    }

    /// The names of its reasons.
    pub fn reason_names(&self) -> Vec<&'static str> {
        self.reasons.iter().map(|reason| reason.as_str()).collect()
    }
}

/// What was found of a training row.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The pairs that are listed, the surest first.
    pub pairs: Vec<Pair>,
    /// Pairs beyond the most that are listed.
    pub unlisted: u64,
    /// Pairs by reason, all of them.
    pub reasons: BTreeMap<Reason, u64>,
    /// The rows of the benchmarks, by their numbers among [`Benchmarks::rows`](super::Benchmarks::rows), with what they share.
    pub rows: Vec<(usize, Vec<Reason>)>,
}

/// What a row of a benchmark shares with the training row that is looked at.
#[derive(Debug, Default)]
pub(super) struct Match {
    pub(super) bytes: bool,
    /// Different bits and difference in colour.
    pub(super) near: Option<(u32, f32)>,
    pub(super) id: Option<String>,
    /// Number of the text.
    pub(super) text: Option<usize>,
    /// The pictures of both; none where a record has a hash alone.
    pub(super) pictures: Option<(Option<usize>, Option<usize>)>,
}

impl Match {
    pub(super) fn reasons(&self) -> Vec<Reason> {
        let is = [self.bytes, self.id.is_some(), self.text.is_some(), self.near.is_some()];
        Reason::ALL.into_iter().zip(is).filter(|(_, is)| *is).map(|(reason, _)| reason).collect()
    }
}
