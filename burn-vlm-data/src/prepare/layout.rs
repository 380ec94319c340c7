//! Prepared samples as micro-batches: one sample a row, or several a row, each blind to the others.

use super::{Features, PreparedImage, PreparedSample};
use crate::batching::{BatchConfig, Batching, SampleSize, Strategy, arrange, collate_packed};
use crate::collate::{PaddingSide, TextBatch, collate};
use crate::encode::Encoded;
use crate::image::ProcessedImage;
use crate::random::mix;
use burn_vlm_base::tiling::Size;

/// One micro-batch, still on the host.
#[derive(Debug, Clone)]
pub struct Batch {
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
    /// The pictures, one after the other, in the order of their rows.
    pub visual: Visual,
    /// Seed of the noise on the features, which is made on the host and so is the same on every backend; `None` adds none.
    pub noise_seed: Option<u64>,
}

/// The pictures of a batch.
#[derive(Debug, Clone)]
pub enum Visual {
    /// There are none.
    None,
    /// Pixels, which the vision tower has to see.
    Pixels {
        /// `[tiles, 3, size, size]` of all pictures.
        values: Vec<f32>,
        /// Height and width of every view; `None` where they differ, which no tower takes.
        view: Option<(usize, usize)>,
        /// Tiles of each picture.
        tiles: Vec<usize>,
        /// (height, width) of each picture before it was scaled.
        sizes: Vec<Size>,
        /// Whether tiles are put together, each picture with its newlines.
        tiled: bool,
    },
    /// Patches of pictures that each have a grid of their own (NaFlex), which the vision tower has to see.
    Patches {
        /// `[pictures, most, patch_size * patch_size * 3]`, zeros behind a picture's patches.
        values: Vec<f32>,
        /// The most patches of a picture, and values of one: the same for every batch, so that a picture's features do not depend on
        /// those beside it.
        shape: [usize; 2],
        /// Rows and columns of each picture.
        grids: Vec<Size>,
    },
    /// What the vision tower made of each before, as the model returns it.
    Features {
        /// `[pictures, tokens, width]`
        values: Vec<f32>,
        /// Tokens and width of a picture.
        shape: [usize; 2],
        /// Tokens of each picture that are no padding; `None` where there is none.
        counts: Option<Vec<usize>>,
    },
}

/// Which sample of its row a token belongs to, and where in it the token stands; `[rows * tokens]` each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The sample, from 1; 0 at padding.
    pub segments: Vec<i64>,
    /// The position, from 0.
    pub positions: Vec<i64>,
}

/// How the samples of an optimizer step are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Strategy and budget.
    pub batching: Batching,
    /// Samples of a micro-batch in their order, under [`Strategy::Sequential`].
    pub batch: usize,
    /// The id that fills short rows.
    pub pad_id: u32,
    /// The id at visual tokens.
    pub image_id: Option<i64>,
    /// Whether pictures are cut into tiles.
    pub tiled: bool,
    /// Seed of the layout and of the noise.
    pub seed: u64,
}

impl Layout {
    /// The micro-batches of a step whose first sample is number `first` of the stream.
    pub fn micro_batches(&self, first: usize, samples: &[PreparedSample]) -> Vec<Batch> {
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
        let batch = |(number, rows): (u64, Vec<Vec<usize>>)| self.collate(&rows, samples, Some(mix(seed, number)));
        (0..).zip(arranged).map(batch).collect()
    }

    /// Samples as one batch, a row each, without noise: for scoring.
    pub fn rows(&self, samples: &[PreparedSample]) -> Batch {
        let rows = (0..samples.len()).map(|sample| vec![sample]).collect::<Vec<_>>();
        let sequential = Batching { strategy: Strategy::Sequential, ..self.batching };
        Layout { batching: sequential, ..*self }.collate(&rows, samples, None)
    }

    fn collate(&self, rows: &[Vec<usize>], samples: &[PreparedSample], noise_seed: Option<u64>) -> Batch {
        let encoded = |sample: &usize| -> &Encoded { &samples[*sample].encoded };
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
                let rows: Vec<&Encoded> = rows.iter().flatten().map(encoded).collect();
                (collate(&rows, self.pad_id, PaddingSide::Right, self.batching.multiple_of), None)
            }
        };
        let (target_rows, targets) = next_token_targets(&text);
        let image_positions = self.image_positions(&text);
        let visual = Visual::of(rows.iter().flatten().flat_map(|sample| &samples[*sample].images), self.tiled);
        Batch { text, packed, target_rows, targets, image_positions, visual, noise_seed }
    }

    /// Positions (row x tokens + column) that hold the image token.
    fn image_positions(&self, text: &TextBatch) -> Vec<i64> {
        (0i64..).zip(&text.ids).filter(|(_, id)| Some(**id) == self.image_id).map(|(position, _)| position).collect()
    }
}

impl Visual {
    /// Pictures one after the other. A batch's are all pixels or all features: [`SampleMaker`](super::SampleMaker) mixes no draw's.
    fn of<'a>(images: impl Iterator<Item = &'a PreparedImage>, tiled: bool) -> Self {
        let mut visual = Self::None;
        for image in images {
            match image {
                PreparedImage::Pixels(image) => visual.push_pixels(image, tiled),
                PreparedImage::Features(features) => visual.push_features(features),
            }
        }
        visual
    }

    /// Processed pictures one after the other, all of one processor; `tiled` where tiles are put together.
    pub fn of_processed<'a>(images: impl IntoIterator<Item = &'a ProcessedImage>, tiled: bool) -> Self {
        let mut visual = Self::None;
        for image in images {
            visual.push_pixels(image, tiled);
        }
        visual
    }

    fn push_pixels(&mut self, image: &ProcessedImage, is_tiled: bool) {
        if let (Some(budget), Some(grid), Some(patches)) = (image.budget, image.patch_grid(), image.padded_patches()) {
            if let Self::Patches { values, grids, .. } = self {
                values.extend(patches);
                grids.push(grid);
            } else {
                let shape = [budget.max_num_patches as usize, budget.patch_values()];
                *self = Self::Patches { values: patches, shape, grids: vec![grid] };
            }
        } else if let Self::Pixels { values, view, tiles, sizes, .. } = self {
            values.extend_from_slice(&image.data);
            if *view != Some((image.height, image.width)) {
                *view = None;
            }
            tiles.push(image.tiles);
            sizes.push(size_of(image.original_size));
        } else {
            *self = Self::Pixels {
                values: image.data.clone(),
                view: Some((image.height, image.width)),
                tiles: vec![image.tiles],
                sizes: vec![size_of(image.original_size)],
                tiled: is_tiled,
            };
        }
    }

    fn push_features(&mut self, features: &Features) {
        if let Self::Features { values, counts, .. } = self {
            values.extend_from_slice(features.values());
            if let Some(counts) = counts {
                counts.push(features.tokens());
            }
        } else {
            let (values, shape) = (features.values().to_vec(), features.shape());
            *self = Self::Features { values, shape, counts: features.is_padded().then(|| vec![features.tokens()]) };
        }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Pixels { tiles, .. } => tiles.len(),
            Self::Patches { grids, .. } => grids.len(),
            Self::Features { values, shape, .. } => values.len() / (shape[0] * shape[1]).max(1),
        }
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn size_of((height, width): (u32, u32)) -> Size {
    (height as usize, width as usize)
}

/// Positions whose next token is a label, and those labels: the only rows that the head has to see.
pub fn next_token_targets(text: &TextBatch) -> (Vec<i64>, Vec<i64>) {
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for row in 0..text.batch {
        for column in 1..text.tokens {
            let label = text.labels[row * text.tokens + column];
            if label >= 0 {
                rows.push((row * text.tokens + column - 1) as i64);
                targets.push(label);
            }
        }
    }
    (rows, targets)
}
