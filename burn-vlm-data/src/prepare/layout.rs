//! Prepared samples as micro-batches: one sample a row, or several a row, each blind to the others.

use super::{Features, Origin, PreparedImage, PreparedSample};
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
    /// For each of them its sample, by its place in [`Self::origins`].
    pub target_samples: Vec<usize>,
    /// Where each sample comes from, in the order of rows and of samples in a row.
    pub origins: Vec<Origin>,
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
    /// Pictures and videos of a model that takes both.
    Media(ShownMedia),
}

/// Pictures and videos, each as views that the tower takes: tiles or frames.
#[derive(Debug, Clone, Default)]
pub struct ShownMedia {
    /// `[views, 3, size, size]` of the views that the tower has to see.
    pub pixels: Vec<f32>,
    /// Height and width of every view; `None` where they differ, which no tower takes, and without pixels.
    pub view: Option<(usize, usize)>,
    /// `[views, tokens, width]` of the views that a frozen tower saw before.
    pub features: Vec<f32>,
    /// Tokens and width of a view in `features`.
    pub shape: [usize; 2],
    /// Of each view, in the order in which they are shown, whether it is among `features`.
    pub known: Vec<bool>,
    /// The pictures and videos.
    pub media: Vec<ShownMedium>,
}

/// A picture or a video of a model that takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownMedium {
    /// A picture.
    Picture {
        /// Views: one, or the whole and its tiles.
        tiles: usize,
        /// (height, width) before it was scaled.
        size: Size,
    },
    /// A video.
    Video {
        /// Views.
        frames: usize,
    },
}

impl ShownMedium {
    /// A processed picture.
    pub fn picture(image: &ProcessedImage) -> Self {
        Self::Picture { tiles: image.tiles, size: size_of(image.original_size) }
    }
}

impl ShownMedia {
    /// Puts a view, or a picture's views, behind the others.
    fn push(&mut self, image: &PreparedImage) {
        match image {
            PreparedImage::Pixels(image) => {
                let view = Some((image.height, image.width));
                if self.pixels.is_empty() {
                    self.view = view;
                } else if self.view != view {
                    self.view = None;
                }
                self.pixels.extend_from_slice(&image.data);
                self.known.extend(std::iter::repeat_n(false, image.tiles));
            }
            PreparedImage::Features(features) => {
                self.features.extend_from_slice(features.values());
                self.shape = features.shape();
                self.known.push(true);
            }
        }
    }

    /// Prepared views and what they are views of.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a PreparedImage>, media: Vec<ShownMedium>) -> Self {
        let mut shown = Self { media, ..Self::default() };
        images.into_iter().for_each(|image| shown.push(image));
        shown
    }
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
    /// The id at visual tokens of videos; `None` where the model takes none.
    pub video_id: Option<i64>,
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
        let target_samples = samples_of(&target_rows, rows, text.tokens, packed.as_ref());
        let image_positions = self.image_positions(&text);
        let shown = || rows.iter().flatten().map(|sample| &samples[*sample]);
        let images = shown().flat_map(|sample| &sample.images);
        let visual = if self.video_id.is_some() {
            Visual::of_media(ShownMedia::of(images, shown().flat_map(|sample| sample.media.iter().copied()).collect()))
        } else {
            Visual::of(images, self.tiled)
        };
        let origins = shown().map(|sample| sample.origin.clone()).collect();
        Batch { text, packed, target_rows, targets, target_samples, origins, image_positions, visual, noise_seed }
    }

    /// Positions (row x tokens + column) that hold the image token or the video token.
    fn image_positions(&self, text: &TextBatch) -> Vec<i64> {
        let is_visual = |id: &i64| Some(*id) == self.image_id || Some(*id) == self.video_id;
        (0i64..).zip(&text.ids).filter(|(_, id)| is_visual(id)).map(|(position, _)| position).collect()
    }
}

/// The sample that each position (row x tokens + column) belongs to, counted over all rows.
fn samples_of(positions: &[i64], rows: &[Vec<usize>], tokens: usize, packed: Option<&Packed>) -> Vec<usize> {
    let Some(packed) = packed else {
        // One sample a row.
        return positions.iter().map(|position| *position as usize / tokens.max(1)).collect();
    };
    let mut first = Vec::with_capacity(rows.len());
    let mut samples = 0;
    for row in rows {
        first.push(samples);
        samples += row.len();
    }
    let of = |position: &i64| {
        let position = *position as usize;
        first[position / tokens] + packed.segments[position].max(1) as usize - 1
    };
    positions.iter().map(of).collect()
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

    /// Pictures and videos of a model that takes both.
    pub fn of_media(shown: ShownMedia) -> Self {
        if shown.media.is_empty() { Self::None } else { Self::Media(shown) }
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

    /// Number of pictures, each frame of a video and each tile being one where a model takes videos.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Pixels { tiles, .. } => tiles.len(),
            Self::Patches { grids, .. } => grids.len(),
            Self::Features { values, shape, .. } => values.len() / (shape[0] * shape[1]).max(1),
            Self::Media(shown) => shown.known.len(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of four tokens: samples 0 and 1, then 2.
    #[test]
    fn positions_have_the_sample_of_their_row_and_segment() {
        let rows = [vec![5, 7], vec![6]];
        let packed = Packed { segments: vec![1, 1, 2, 2, 1, 1, 1, 0], positions: vec![0, 1, 0, 1, 0, 1, 2, 0] };
        assert_eq!(samples_of(&[0, 2, 3, 4, 6], &rows, 4, Some(&packed)), [0, 1, 1, 2, 2]);
        assert_eq!(samples_of(&[0, 3, 4, 7], &[vec![5], vec![6]], 4, None), [0, 0, 1, 1]);
    }
}
