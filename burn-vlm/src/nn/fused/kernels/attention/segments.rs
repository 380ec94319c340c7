//! Packed rows: several samples one after the other, of which none may see another.
//!
//! Unusual here: equal numbers that lie together, as packing makes them, cost nothing: they narrow the range of keys a query
//! sees, and blocks of other samples are skipped. Only a row in which segments interleave is compared key by key.

use std::collections::HashMap;
use std::ops::Range;

/// The segments of a batch.
pub struct Segments {
    /// `[batch, tokens]`
    ids: Vec<i64>,
    /// First and behind the last position of each token's segment, within its row.
    spans: Vec<Range<usize>>,
    tokens: usize,
    interleaved: bool,
}

impl Segments {
    /// From the number of each token's segment, `[batch, tokens]`.
    pub fn new(ids: Vec<i64>, tokens: usize) -> Self {
        let mut spans = Vec::with_capacity(ids.len());
        let mut interleaved = false;
        for row in ids.chunks(tokens.max(1)) {
            let mut found: HashMap<i64, (Range<usize>, usize)> = HashMap::new();
            for (at, &id) in row.iter().enumerate() {
                let (span, count) = found.entry(id).or_insert((at..at, 0));
                span.end = at + 1;
                *count += 1;
            }
            interleaved |= found.values().any(|(span, count)| span.len() != *count);
            spans.extend(row.iter().map(|id| found[id].0.clone()));
        }
        Self { ids, spans, tokens, interleaved }
    }

    /// The keys between the first and the last of the segment of position `at` in row `batch`.
    pub fn span(&self, batch: usize, at: usize) -> Range<usize> {
        self.spans[batch * self.tokens + at].clone()
    }

    /// The numbers of a row's tokens, if a span may hold foreign ones.
    pub fn compare(&self, batch: usize) -> Option<&[i64]> {
        self.interleaved.then(|| &self.ids[batch * self.tokens..][..self.tokens])
    }
}
