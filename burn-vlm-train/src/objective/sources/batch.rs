//! The samples of an optimizer step as micro-batches: one a row, or several a row, each blind to the others.

use burn_vlm::vlm::tiling::Size;
use burn_vlm_data::batching::{BatchConfig, SampleSize, Strategy, arrange, collate_packed};
use burn_vlm_data::collate::{PaddingSide, TextBatch, collate};
use burn_vlm_data::encode::Encoded;
use burn_vlm_data::random::mix;

use super::PreparedSample;
use crate::objective::{image_positions, next_token_targets};
use crate::recipe::Batching;

/// One micro-batch of samples from sources.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// Ids and labels, padded on the right.
    pub text: TextBatch,
    /// Of packed rows: segment and position of each token.
    pub packed: Option<Packed>,
    /// Positions (row x tokens + column) whose next token is a target.
    pub target_rows: Vec<i64>,
    /// Those next tokens.
    pub targets: Vec<i64>,
    /// Positions (row x tokens + column) of the visual tokens.
    pub image_positions: Vec<i64>,
    /// `[tiles, 3, size, size]` of all pictures, one after the other.
    pub pixels: Vec<f32>,
    /// Tiles of each picture.
    pub tiles: Vec<usize>,
    /// (height, width) of each picture before it was scaled.
    pub sizes: Vec<Size>,
    /// Seed of the noise on the features.
    pub noise_seed: u64,
}

/// Which sample of its row a token belongs to, and where in it the token stands; `[rows * tokens]` each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The sample, from 1; 0 at padding.
    pub segments: Vec<i64>,
    /// The position, from 0.
    pub positions: Vec<i64>,
}

/// How the samples of a step are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub batching: Batching,
    /// Samples of a micro-batch in their order.
    pub batch: usize,
    pub pad_id: u32,
    pub image_id: Option<i64>,
    pub seed: u64,
}

impl Layout {
    /// The micro-batches of a step whose first sample is number `first` of the stream.
    pub(super) fn micro_batches(&self, first: usize, samples: &[PreparedSample]) -> Vec<SourceBatch> {
        let Batching { strategy, max_tokens, max_images, multiple_of } = self.batching;
        let config = BatchConfig {
            strategy,
            max_tokens: max_tokens.unwrap_or(usize::MAX),
            max_samples: (strategy == Strategy::Sequential).then_some(self.batch),
            max_images,
            multiple_of,
            megabatch: samples.len(),
            by_modality: false,
            seed: self.seed,
        };
        let sizes: Vec<SampleSize> = samples.iter().map(PreparedSample::size).collect();
        let seed = mix(self.seed, first as u64);
        let arranged = arrange(&sizes, &config, seed);
        let batch = |(number, rows): (u64, Vec<Vec<usize>>)| self.collate(&rows, samples, mix(seed, number));
        (0..).zip(arranged).map(batch).collect()
    }

    fn collate(&self, rows: &[Vec<usize>], samples: &[PreparedSample], noise_seed: u64) -> SourceBatch {
        let encoded = |sample: &usize| &samples[*sample].encoded;
        let (text, packed) = match self.batching.strategy {
            Strategy::Packed => {
                let rows: Vec<Vec<&Encoded>> = rows.iter().map(|row| row.iter().map(encoded).collect()).collect();
                let batch = collate_packed(&rows, self.pad_id, self.batching.multiple_of);
                let lengths = batch.boundaries.iter().map(|row| row.last().copied().unwrap_or(0)).collect();
                let (rows, tokens, side) = (batch.rows, batch.tokens, PaddingSide::Right);
                let packed = Packed { segments: batch.segments, positions: batch.positions };
                let text = TextBatch {
                    ids: batch.ids,
                    labels: batch.labels,
                    lengths,
                    batch: rows,
                    tokens,
                    side,
                    user_turns: Vec::new(),
                };
                (text, Some(packed))
            }
            Strategy::Sequential | Strategy::Grouped => {
                let rows: Vec<Encoded> = rows.iter().flatten().map(|sample| encoded(sample).clone()).collect();
                (collate(&rows, self.pad_id, PaddingSide::Right, self.batching.multiple_of), None)
            }
        };
        let (target_rows, targets) = next_token_targets(&text);
        let image_positions = image_positions(&text, self.image_id);
        let (mut pixels, mut tiles, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for image in rows.iter().flatten().flat_map(|sample| &samples[*sample].images) {
            pixels.extend_from_slice(&image.data);
            tiles.push(image.tiles);
            sizes.push((image.original_size.0 as usize, image.original_size.1 as usize));
        }
        SourceBatch { text, packed, target_rows, targets, image_positions, pixels, tiles, sizes, noise_seed }
    }
}
