//! Chunks of records that were read together, kept while they are drawn from.

use super::super::skip::Skip;
use crate::sample::Sample;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The samples of a chunk, pictures as they are encoded.
pub(super) type Chunk = Vec<Result<Sample, Box<Skip>>>;

/// A chunk by its number, filled by the thread that asked first.
type Slot = ((u64, u64), Arc<OnceLock<Chunk>>);

/// The chunks of one group that were used last.
pub(super) struct Chunks {
    kept: Mutex<VecDeque<Slot>>,
    max: usize,
}

impl Chunks {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    /// A member of a chunk, which is read if it is not kept; other threads that want it wait, those that want another do not.
    pub(super) fn get(
        &self,
        chunk: (u64, u64),
        member: usize,
        read: impl FnOnce() -> Chunk,
    ) -> Option<Result<Sample, Box<Skip>>> {
        let cell = {
            // A poisoned lock guards a list that is whole: it is changed by single calls.
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let cell = match kept.iter().position(|(id, _)| *id == chunk) {
                Some(found) => kept.remove(found).map(|(_, cell)| cell).unwrap_or_default(),
                None => Arc::default(),
            };
            kept.push_back((chunk, cell.clone()));
            if kept.len() > self.max {
                kept.pop_front();
            }
            cell
        };
        cell.get_or_init(read).get(member).cloned()
    }
}
