//! Several samples one after the other in a row, each blind to the others.
//!
//! A model that is given [`PackedBatch::positions`] as the tokens' positions and lets tokens attend only within their
//! segment ([`PackedBatch::segments`], or [`PackedBatch::boundaries`] for kernels that take lengths) computes for each
//! sample what it computes for it alone. No token is a target across a border: a segment's first label is always
//! [`IGNORE`], as it has no target in an unpacked batch either, so the number of targets is the same, too.

use crate::encode::{Encoded, IGNORE};

/// Rows of packed samples, padded on the right. Arrays are `[rows * tokens]`, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    /// Token ids.
    pub ids: Vec<i64>,
    /// Labels, not shifted: `labels[i]` is the target of position `i - 1`. [`IGNORE`] at padding, at each segment's first
    /// token, and wherever nothing is trained.
    pub labels: Vec<i64>,
    /// Position of each token in its sample, from 0; 0 at padding.
    pub positions: Vec<i64>,
    /// Which sample of its row a token belongs to, from 1; 0 at padding.
    pub segments: Vec<i64>,
    /// Where each segment of a row begins, and where the last one ends (`cu_seqlens` of a row).
    pub boundaries: Vec<Vec<usize>>,
    /// Number of rows.
    pub rows: usize,
    /// Length of the rows.
    pub tokens: usize,
}

/// Packs the samples of each row, in their order, and pads the rows to the longest of them, rounded up to a multiple of
/// `multiple_of` (0 and 1 round nothing). Pictures come in the order of rows and samples. Nothing is cut.
pub fn collate_packed(rows: &[Vec<&Encoded>], pad_id: u32, multiple_of: usize) -> PackedBatch {
    let length = |row: &Vec<&Encoded>| row.iter().map(|sample| sample.ids.len()).sum::<usize>();
    let tokens = rows.iter().map(length).max().unwrap_or(0).next_multiple_of(multiple_of.max(1));
    let size = rows.len() * tokens;
    let mut batch = PackedBatch {
        ids: Vec::with_capacity(size),
        labels: Vec::with_capacity(size),
        positions: Vec::with_capacity(size),
        segments: Vec::with_capacity(size),
        boundaries: Vec::with_capacity(rows.len()),
        rows: rows.len(),
        tokens,
    };
    for (row, samples) in rows.iter().enumerate() {
        let mut boundaries = vec![0];
        for (segment, sample) in samples.iter().enumerate() {
            let length = sample.ids.len();
            batch.ids.extend(sample.ids.iter().map(|id| i64::from(*id)));
            let first = batch.labels.len();
            batch.labels.extend(&sample.labels);
            if let Some(label) = batch.labels.get_mut(first) {
                *label = IGNORE;
            }
            batch.positions.extend(0..length as i64);
            batch.segments.extend(std::iter::repeat_n(segment as i64 + 1, length));
            boundaries.push(batch.ids.len() - row * tokens);
        }
        let end = (row + 1) * tokens;
        batch.ids.resize(end, i64::from(pad_id));
        batch.labels.resize(end, IGNORE);
        batch.positions.resize(end, 0);
        batch.segments.resize(end, 0);
        batch.boundaries.push(boundaries);
    }
    batch
}

impl PackedBatch {
    /// True if the token in column `query` of a row may attend to the one in column `key`: the same segment, not later.
    /// Padding attends to padding, so that no row of scores is all masked.
    pub fn allowed(&self, row: usize, query: usize, key: usize) -> bool {
        let segment = |column: usize| self.segments.get(row * self.tokens + column);
        key <= query && query < self.tokens && segment(query).is_some() && segment(query) == segment(key)
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.boundaries.iter().map(|row| row.len() - 1).sum()
    }

    /// The share of tokens that are no padding, from 0 to 1.
    pub fn fill_rate(&self) -> f64 {
        let real: usize = self.boundaries.iter().filter_map(|row| row.last()).sum();
        if self.ids.is_empty() { 0.0 } else { real as f64 / self.ids.len() as f64 }
    }

    /// Number of targets.
    pub fn trained(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORE).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: &[u32], labels: &[i64]) -> Encoded {
        Encoded { ids: ids.to_vec(), labels: labels.to_vec(), ..Encoded::default() }
    }

    /// By hand. The second sample's first token has a label (as LLaVA-NeXT's style gives it), which is no target.
    #[test]
    fn two_rows() {
        let (a, b, c) = (sample(&[5, 6, 7], &[IGNORE, 6, 7]), sample(&[8, 9], &[8, 9]), sample(&[4], &[4]));
        let batch = collate_packed(&[vec![&a, &b], vec![&c]], 1, 4);
        assert_eq!((batch.rows, batch.tokens, batch.samples()), (2, 8, 3));
        let none = IGNORE;
        assert_eq!(batch.ids, [5, 6, 7, 8, 9, 1, 1, 1, 4, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(batch.labels[..8], [none, 6, 7, none, 9, none, none, none]);
        assert!(batch.labels[8..].iter().all(|label| *label == none));
        assert_eq!(batch.positions[..8], [0, 1, 2, 0, 1, 0, 0, 0]);
        assert_eq!(batch.segments, [1, 1, 1, 2, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(batch.boundaries, [vec![0, 3, 5], vec![0, 1]]);
        assert_eq!((batch.fill_rate(), batch.trained()), (6.0 / 16.0, 3));
        assert!(batch.allowed(0, 4, 3) && !batch.allowed(0, 3, 2) && !batch.allowed(0, 3, 4) && batch.allowed(0, 7, 5));
        assert!(!batch.allowed(0, 5, 4) && !batch.allowed(0, 8, 8) && !batch.allowed(2, 0, 0));
        let empty = collate_packed(&[], 1, 4);
        assert_eq!((empty.ids.len(), empty.samples(), empty.fill_rate()), (0, 0, 0.0));
    }
}
