//! Which language each row is to be translated into: a part stays as it is, the rest is spread evenly.
//!
//! Unusual here: numbers are exact, not those of independent draws, as papers report them (VisionBlocks' videos: 697,618 stay English,
//! 697,617 are spread over the other languages). The rows are put into a random order that the seed and their ids decide, the first part of it
//! stays, the rest is dealt out. So the order of the rows in their file does not matter; which of them are there does.

use crate::language::Language;
use crate::mixture::Share;
use crate::random::{hash_bytes, mix};

/// A row's place in the order: by its id. Rows with the same id stand together, and by their numbers.
pub fn language_key(id: &str, seed: u64) -> u64 {
    mix(seed, hash_bytes(id.as_bytes()))
}

/// For each row (its [`language_key`]) the language that it is to be translated into, or `None` where it stays as it is.
///
/// Of `n` rows `stays` of them stay, rounded up; of the others the first languages get one more where they cannot be divided.
pub fn assign_languages(keys: &[u64], stays: Share, languages: &[Language]) -> Vec<Option<Language>> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|row| (keys[*row], *row));
    let staying = usize::try_from(stays.of(keys.len() as u64)).unwrap_or(usize::MAX);
    let mut assigned = vec![None; keys.len()];
    for (place, row) in order.into_iter().skip(staying).enumerate() {
        assigned[row] = languages.get(place % languages.len().max(1)).copied();
    }
    assigned
}
