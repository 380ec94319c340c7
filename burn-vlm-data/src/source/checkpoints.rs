//! Where the records of a file begin, in memory that does not grow with the file.
//!
//! Every `stride`-th beginning is kept; when there are too many, every second one is dropped and the stride doubles. A
//! record in between is found by reading on from the mark before it.

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes before it.
    pub(super) offset: u64,
    /// What its place is counted by: the line of a text file, the element of an array.
    pub(super) line: u64,
}

/// The marks of one file.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    stride: u64,
    records: u64,
    marks: Vec<Mark>,
    max_marks: usize,
}

impl Checkpoints {
    /// Marks of which at most `max_marks` (at least 2) are kept.
    pub(super) fn new(max_marks: usize) -> Self {
        Self { stride: 1, records: 0, marks: Vec::new(), max_marks: max_marks.max(2) }
    }

    /// Adds the next record.
    pub(super) fn push(&mut self, mark: Mark) {
        if self.records.is_multiple_of(self.stride) {
            if self.marks.len() == self.max_marks {
                self.stride *= 2;
                let mut number = 0;
                self.marks.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
            }
            if self.records.is_multiple_of(self.stride) {
                self.marks.push(mark);
            }
        }
        self.records += 1;
    }

    /// Number of records.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The mark at or before a record, and the number of the record that begins there. `None` beyond the end.
    pub(super) fn before(&self, record: u64) -> Option<(Mark, u64)> {
        let number = record / self.stride;
        let mark = self.marks.get(usize::try_from(number).ok()?)?;
        (record < self.records).then_some((*mark, number * self.stride))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_always_near_and_memory_is_bounded() {
        for records in [0u64, 1, 7, 8, 9, 100, 1000] {
            let mut checkpoints = Checkpoints::new(8);
            (0..records).for_each(|record| checkpoints.push(Mark { offset: record * 10, line: record + 1 }));
            assert_eq!(checkpoints.records(), records);
            assert!(checkpoints.marks.len() <= 8);
            for record in 0..records {
                let (mark, number) = checkpoints.before(record).unwrap();
                assert_eq!((mark.offset, mark.line), (number * 10, number + 1));
                assert!(
                    number <= record && record - number < records.div_ceil(4).max(1),
                    "{records} {record} {number}"
                );
            }
            assert_eq!(checkpoints.before(records), None);
        }
    }
}
