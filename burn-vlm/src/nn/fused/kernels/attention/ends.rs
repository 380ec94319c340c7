//! A tree in one row: every branch stands behind what it grows from, and a key is seen up to the end of what grows from it.

/// Where each key of a batch ends.
pub struct Ends {
    /// `[batch, tokens]`; as wide as scores, so that they are compared without conversion.
    until: Vec<i32>,
    tokens: usize,
}

impl Ends {
    /// From the position at which each key is hidden first, `[batch, tokens]`.
    pub fn new(until: Vec<i64>, tokens: usize) -> Self {
        // What is beyond the positions that there can be is seen by all.
        let narrow = |until: i64| until.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        Self { until: until.into_iter().map(narrow).collect(), tokens }
    }

    /// Those of a row.
    pub fn row(&self, batch: usize) -> &[i32] {
        &self.until[batch * self.tokens..][..self.tokens]
    }
}
