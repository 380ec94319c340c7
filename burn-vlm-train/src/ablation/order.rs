//! In which order a run takes its cells: of those that begin alike, the first makes what the others take. Begun one after the other they
//! would wait for each other; so first come those that begin like none before them.

use std::collections::BTreeMap;

use super::shard::Shard;

/// The cells of a run, by seed and what each begins with, in the order in which they are best begun; of equals as they stand. Seeds stay
/// apart, so that a study that is stopped early has every setting at its first seeds.
///
/// Shards that begin at the same time begin at different places: with the same cells first, all but one would wait.
pub(super) fn order(cells: &[(u64, Option<String>)], shard: Shard) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    if cells.iter().all(|(_, beginning)| beginning.is_none()) {
        return order;
    }
    let mut before: BTreeMap<&(u64, Option<String>), usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(cells.len());
    for cell in cells {
        let count = before.entry(cell).or_default();
        places.push((cell.0, if cell.1.is_some() { *count } else { 0 }));
        *count += 1;
    }
    order.sort_by_key(|&cell| places[cell]);
    for alike in order.chunk_by_mut(|&a, &b| places[a] == places[b]) {
        alike.rotate_left(shard.share_of(alike.len()));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each cell as its seed, then what it begins with.
    fn of(cells: &[&str], shard: Shard) -> Vec<usize> {
        let cell = |text: &&str| {
            let (seed, beginning) = text.split_at(1);
            (seed.parse().unwrap(), (!beginning.is_empty()).then(|| beginning.to_owned()))
        };
        order(&cells.iter().map(cell).collect::<Vec<_>>(), shard)
    }

    #[test]
    fn those_that_begin_alike_are_begun_apart() {
        assert_eq!(of(&["0a", "0a", "0b", "0b", "0", "0a"], Shard::ALL), [0, 2, 4, 1, 3, 5]);
        assert_eq!(of(&["0a", "0a", "0b", "0b", "1a", "1a"], Shard::ALL), [0, 2, 1, 3, 4, 5]);
        assert_eq!(of(&["0", "0", "1"], Shard::ALL), [0, 1, 2]);
        assert!(of(&[], Shard::ALL).is_empty());
    }

    #[test]
    fn shards_begin_at_different_places() {
        let shard = |index| Shard::new(index, 2).unwrap();
        assert_eq!(of(&["0a", "0b", "0c", "0d"], shard(1)), [0, 1, 2, 3]);
        assert_eq!(of(&["0a", "0b", "0c", "0d"], shard(2)), [2, 3, 0, 1]);
        assert_eq!(of(&["0a", "0a", "0b", "0b"], shard(2)), [2, 0, 3, 1]);
        // Where nothing is shared, the plan's order stays.
        assert_eq!(of(&["0", "0", "0"], shard(2)), [0, 1, 2]);
    }
}
