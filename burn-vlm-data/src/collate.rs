//! Batches of token sequences, padded on the right or on the left.

use crate::encode::{Encoded, IGNORE};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::ops::Range;

/// The side on which short sequences are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    /// After the text: training and scoring.
    #[default]
    Right,
    /// Before the text: generation, where all sequences go on at the same position.
    Left,
}

/// Token sequences of equal length, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBatch {
    /// Token ids, `batch * tokens`.
    pub ids: Vec<i64>,
    /// Labels, `batch * tokens`; [`IGNORE`] at padding and wherever nothing is trained. Not shifted.
    pub labels: Vec<i64>,
    /// Number of real tokens of each sequence.
    pub lengths: Vec<usize>,
    /// Number of sequences.
    pub batch: usize,
    /// Length of the padded sequences.
    pub tokens: usize,
    /// Where the padding stands.
    pub side: PaddingSide,
    /// Columns of each user turn's own text of each sequence, where they were asked for ([`Encoded::user_turns`]).
    pub user_turns: Vec<Vec<Range<usize>>>,
}

/// Pads sequences to the longest of them, rounded up to a multiple of `multiple_of` (0 and 1 round nothing).
///
/// Sequences go in as they are: nothing is cut.
pub fn collate<E: Borrow<Encoded>>(sequences: &[E], pad_id: u32, side: PaddingSide, multiple_of: usize) -> TextBatch {
    let sequences: Vec<&Encoded> = sequences.iter().map(Borrow::borrow).collect();
    let longest = sequences.iter().map(|sequence| sequence.ids.len()).max().unwrap_or(0);
    let tokens = longest.next_multiple_of(multiple_of.max(1));
    let batch = sequences.len();
    let mut ids = vec![i64::from(pad_id); batch * tokens];
    let mut labels = vec![IGNORE; batch * tokens];
    let mut user_turns = Vec::with_capacity(batch);
    for (row, sequence) in sequences.iter().enumerate() {
        let length = sequence.ids.len();
        let start = row * tokens
            + match side {
                PaddingSide::Right => 0,
                PaddingSide::Left => tokens - length,
            };
        let column = start - row * tokens;
        let shifted = |turn: &Range<usize>| turn.start + column..turn.end + column;
        user_turns.push(sequence.user_turns.iter().map(shifted).collect());
        for (slot, id) in ids[start..start + length].iter_mut().zip(&sequence.ids) {
            *slot = i64::from(*id);
        }
        for (slot, label) in labels[start..start + length].iter_mut().zip(&sequence.labels) {
            *slot = *label;
        }
    }
    let lengths = sequences.iter().map(|sequence| sequence.ids.len()).collect();
    TextBatch { ids, labels, lengths, batch, tokens, side, user_turns }
}

impl TextBatch {
    /// The attention mask, `batch * tokens`: true where a real token stands.
    pub fn mask(&self) -> Vec<bool> {
        let row = |length: &usize| {
            let range = match self.side {
                PaddingSide::Right => 0..*length,
                PaddingSide::Left => self.tokens - length..self.tokens,
            };
            (0..self.tokens).map(move |token| range.contains(&token)).collect::<Vec<_>>()
        };
        self.lengths.iter().flat_map(row).collect()
    }

    /// Number of trained tokens in the batch.
    pub fn trained(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORE).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences() -> Vec<Encoded> {
        let one =
            |ids: &[u32], labels: &[i64]| Encoded { ids: ids.to_vec(), labels: labels.to_vec(), ..Encoded::default() };
        vec![one(&[5, 6, 7], &[-100, 6, 7]), one(&[8], &[8]), one(&[], &[])]
    }

    #[test]
    fn right_padding() {
        let batch = collate(&sequences(), 9, PaddingSide::Right, 1);
        assert_eq!((batch.batch, batch.tokens), (3, 3));
        assert_eq!(batch.ids, [5, 6, 7, 8, 9, 9, 9, 9, 9]);
        assert_eq!(batch.labels, [-100, 6, 7, 8, -100, -100, -100, -100, -100]);
        assert_eq!(batch.mask(), [true, true, true, true, false, false, false, false, false]);
        assert_eq!((batch.lengths.as_slice(), batch.trained()), ([3, 1, 0].as_slice(), 3));
    }

    #[test]
    fn left_padding_and_multiples() {
        let batch = collate(&sequences()[..2], 0, PaddingSide::Left, 4);
        assert_eq!(batch.tokens, 4);
        assert_eq!(batch.ids, [0, 5, 6, 7, 0, 0, 0, 8]);
        assert_eq!(batch.labels, [-100, -100, 6, 7, -100, -100, -100, 8]);
        assert_eq!(batch.mask(), [false, true, true, true, false, false, false, true]);
        let empty = collate::<Encoded>(&[], 0, PaddingSide::Right, 8);
        assert_eq!((empty.batch, empty.tokens, empty.ids.len()), (0, 0, 0));
    }
}
