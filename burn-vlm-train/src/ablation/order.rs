//! In which order a run takes its cells: of those that begin alike, the first makes what the others take. Begun one after the other they
//! would wait for each other; so first come those that begin like none before them.

use std::collections::BTreeMap;

use super::shard::Shard;

/// A cell's seed, and what it begins with if others begin so too.
pub(super) type Begins = (u64, Option<String>);

/// The cells of a run, by seed and what each begins with, in the order in which they are best begun; of equals as they stand. Seeds stay
/// apart, so that a study that is stopped early has every setting at its first seeds.
///
/// Shards that begin at the same time begin at different places: with the same cells first, all but one would wait.
pub(super) fn order(cells: &[Begins], shard: Shard) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    if cells.iter().all(|(_, beginning)| beginning.is_none()) {
        return order;
    }
    let mut before: BTreeMap<&Begins, usize> = BTreeMap::new();
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

/// Cells that are to be begun one after the other by several threads.
pub(super) struct Queue<'a> {
    cells: &'a [Begins],
    left: Vec<usize>,
    running: Vec<usize>,
}

impl<'a> Queue<'a> {
    /// The cells of these indices, in this order.
    pub(super) fn new(cells: &'a [Begins], order: &[usize]) -> Self {
        Self { cells, left: order.to_vec(), running: Vec::new() }
    }

    /// The next cell: the first that does not begin like one that is running, for which it might have to wait; else the first.
    pub(super) fn next(&mut self) -> Option<usize> {
        let alike = |a: usize, b: usize| self.cells[a].1.is_some() && self.cells[a] == self.cells[b];
        let is_free = |cell: &usize| !self.running.iter().any(|running| alike(*cell, *running));
        let at = self.left.iter().position(is_free).or((!self.left.is_empty()).then_some(0))?;
        let cell = self.left.remove(at);
        self.running.push(cell);
        Some(cell)
    }

    /// A cell has ended.
    pub(super) fn end(&mut self, cell: usize) {
        self.running.retain(|running| *running != cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each cell as its seed, then what it begins with.
    fn cells(cells: &[&str]) -> Vec<Begins> {
        let cell = |text: &&str| {
            let (seed, beginning) = text.split_at(1);
            (seed.parse().unwrap(), (!beginning.is_empty()).then(|| beginning.to_owned()))
        };
        cells.iter().map(cell).collect()
    }

    fn of(texts: &[&str], shard: Shard) -> Vec<usize> {
        order(&cells(texts), shard)
    }

    #[test]
    fn nobody_waits_while_there_is_something_else() {
        let cells = cells(&["0a", "0a", "0a", "1b", "1b", "2", "2"]);
        let mut queue = Queue::new(&cells, &[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some(0), Some(3), Some(5)));
        queue.end(3);
        // What nobody shares is no reason to wait.
        assert_eq!((queue.next(), queue.next()), (Some(4), Some(6)));
        // There are only such that begin like a running one.
        assert_eq!(queue.next(), Some(1));
        queue.end(0);
        queue.end(1);
        assert_eq!((queue.next(), queue.next()), (Some(2), None));
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
