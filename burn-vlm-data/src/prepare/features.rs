//! What a frozen vision tower made of pictures: plain numbers, by picture and view.
//!
//! Unusual here: a picture is known by the hash of its bytes, so one bank serves the embedded corpus and a user's own files, and the
//! same picture in two sources is there once.

use super::pixels;
use crate::image::ProcessedImage;
use crate::processor::Processor;
use crate::random::mix;
use crate::sample::{MediaKey, Picture};
use crate::source::SkipReason;
use std::collections::HashMap;

/// Seeds the augmentation of view `v` of a picture apart from every other use of a seed.
const VIEW_SEED: u64 = 0x6665_6174;

/// How many views of a picture are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Views {
    /// The picture as it is.
    Plain,
    /// So many augmented ones.
    Augmented(usize),
}

impl Views {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Augmented(count) => count.max(1),
        }
    }

    /// All views of a picture, processed.
    ///
    /// # Errors
    /// A picture that cannot be read, decoded or processed.
    pub fn process(
        self,
        processor: &Processor,
        key: MediaKey,
        picture: &Picture,
    ) -> Result<Vec<ProcessedImage>, SkipReason> {
        // A file is read once for all of its views.
        let picture = match picture {
            Picture::Drawn(_) => picture.clone(),
            other => Picture::Encoded { name: other.name(), bytes: other.read()? },
        };
        let pixels = |seed: Option<u64>| pixels(processor, &picture, 1, seed);
        match self {
            Self::Plain => Ok(vec![pixels(None)?]),
            Self::Augmented(_) => {
                let view = |view: usize| pixels(Some(mix(mix(VIEW_SEED, key.seed()), view as u64)));
                (0..self.count()).map(view).collect()
            }
        }
    }
}

/// Features of many pictures.
pub struct FeatureBank {
    keys: Vec<MediaKey>,
    index: HashMap<MediaKey, usize>,
    views: Views,
    shape: [usize; 2],
    values: Vec<f32>,
    /// Tokens of each view that are no padding, where pictures have grids of their own.
    counts: Option<Vec<u32>>,
}

impl FeatureBank {
    /// A bank of pictures with `[tokens, width]` features a view, all views of a picture one after the other. `None` if the numbers do
    /// not fit together, or a picture comes twice.
    pub fn new(keys: Vec<MediaKey>, views: Views, shape: [usize; 2], values: Vec<f32>) -> Option<Self> {
        let index: HashMap<MediaKey, usize> = keys.iter().enumerate().map(|(row, key)| (*key, row)).collect();
        let fits = index.len() == keys.len() && values.len() == keys.len() * views.count() * shape[0] * shape[1];
        fits.then_some(Self { keys, index, views, shape, values, counts: None })
    }

    /// The same bank, of whose tokens only the first so many of each view are no padding, `[pictures * views]`. `None` where there
    /// are not so many.
    pub fn with_counts(self, counts: Vec<u32>) -> Option<Self> {
        let most = self.shape[0];
        let fits = counts.len() == self.keys.len() * self.views.count()
            && counts.iter().all(|count| (1..=most).contains(&(*count as usize)));
        fits.then_some(Self { counts: Some(counts), ..self })
    }

    /// Tokens of each view that are no padding; `None` where all are.
    pub fn counts(&self) -> Option<&[u32]> {
        self.counts.as_deref()
    }

    /// Tokens at a place that [`Self::find`] gave that are no padding: the first so many of [`Self::row`].
    pub fn tokens(&self, row: usize) -> usize {
        self.counts.as_ref().map_or(self.shape[0], |counts| counts[row] as usize)
    }

    /// Its pictures, in their order.
    pub fn keys(&self) -> &[MediaKey] {
        &self.keys
    }

    /// Its views.
    pub fn views(&self) -> Views {
        self.views
    }

    /// `[visual tokens, width]` of one view, padding included.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// All features, `[pictures, views, tokens, width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Where the features of a picture stand; `draw` chooses among augmented views. `None` where the bank has no such picture, or
    /// where it is wanted as it is (no `draw`) and the bank has augmented ones only.
    pub fn find(&self, key: MediaKey, draw: Option<u64>) -> Option<usize> {
        let row = self.index.get(&key)?;
        match (self.views, draw) {
            (Views::Plain, _) => Some(*row),
            (Views::Augmented(_), None) => None,
            (views, Some(draw)) => Some(row * views.count() + (draw % views.count() as u64) as usize),
        }
    }

    /// Whether it has features for such a draw at all.
    pub fn serves(&self, draw: Option<u64>) -> bool {
        self.views == Views::Plain || draw.is_some()
    }

    /// The features at a place that [`Self::find`] gave, `[tokens, width]`.
    pub fn row(&self, row: usize) -> &[f32] {
        let values = self.shape[0] * self.shape[1];
        &self.values[row * values..(row + 1) * values]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_drawn_and_numbers_fit() {
        let (a, b) = (MediaKey::of(b"a"), MediaKey::of(b"b"));
        let values: Vec<f32> = (0..8).map(|value| value as f32).collect();
        let bank = FeatureBank::new(vec![a, b], Views::Augmented(2), [1, 2], values.clone()).unwrap();
        assert_eq!(bank.row(bank.find(b, Some(5)).unwrap()), [6.0, 7.0]);
        assert_eq!((bank.find(b, None), bank.find(MediaKey::of(b"c"), Some(0))), (None, None));
        assert!(bank.serves(Some(0)) && !bank.serves(None));
        let plain = FeatureBank::new(vec![a, b], Views::Plain, [2, 2], values.clone()).unwrap();
        assert_eq!(plain.find(a, None), plain.find(a, Some(9)));
        assert_eq!((plain.counts(), plain.tokens(1)), (None, 2));
        let padded = || FeatureBank::new(vec![a, b], Views::Plain, [2, 2], values.clone()).unwrap();
        assert_eq!(padded().with_counts(vec![2, 1]).unwrap().tokens(1), 1);
        for wrong in [vec![2], vec![2, 3], vec![0, 1]] {
            assert!(padded().with_counts(wrong).is_none());
        }
        assert!(FeatureBank::new(vec![a, a], Views::Plain, [2, 2], values.clone()).is_none());
        assert!(FeatureBank::new(vec![a], Views::Plain, [2, 2], values).is_none());
    }
}
