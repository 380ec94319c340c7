//! Visual tokens of pictures and videos that do not all have the same number of them, in the order in which the decoder reads them: of
//! tiled pictures (LLaVA-NeXT), of videos (LLaVA-OneVision), and of pictures with grids of their own (NaFlex), whose padding is
//! left out.
//!
//! Unusual here: the tokens are picked out of one table: those of all tiles, of all pooled frames, of the grids that were scaled down,
//! and behind them `image_newline`. Cutting the padding, putting tiles side by side, ending rows and joining frames is then one gather
//! for the whole batch, however different pictures and videos are, and its backward is one scatter.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_vlm_base::onevision::FrameTokens;

use super::resize::{pool_frames, resize};
use super::tiling::Size;
use crate::connector::Tiles;
use crate::error::ModelError;
use crate::nn::precision::cast_to;

/// What a batch shows, as the tower saw it.
#[derive(Debug, Clone, Default)]
pub struct VisualFeatures {
    /// `[views, tokens, d_vision]` of the tower, a view being a picture, a tile or a frame; `None` if no row has a picture, or `tokens`
    /// are there.
    pub features: Option<Tensor<3>>,
    /// How tiles and frames become pictures and videos, or pictures lose their padding; `None` where each of `features` is a picture.
    pub packing: Option<Packing>,
    /// `[1, visual_tokens, hidden]`: the same behind connector and packing, where both have been done ([`Vlm::media_tokens`]).
    ///
    /// [`Vlm::media_tokens`]: super::Vlm::media_tokens
    pub tokens: Option<Tensor<3>>,
}

impl From<Tensor<3>> for VisualFeatures {
    fn from(features: Tensor<3>) -> Self {
        Some(features).into()
    }
}

impl From<Option<Tensor<3>>> for VisualFeatures {
    fn from(features: Option<Tensor<3>>) -> Self {
        Self { features, ..Self::default() }
    }
}

/// Which token of which view stands where: [`VlmConfig::pack`](super::VlmConfig::pack) and [`Packing::of_padded`] make it,
/// [`Packing::apply`] uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// Rows of the table: `view * tile_tokens + token` of the views that are no frames, then of the pooled frames, then of the grids that
    /// were scaled down, then the newline.
    pub(super) rows: Vec<i64>,
    /// Visual tokens of each picture and video.
    pub(super) image_tokens: Vec<usize>,
    /// Views of each, a picture's base tile first.
    pub(super) image_tiles: Vec<usize>,
    /// All views.
    pub(super) tiles: usize,
    /// Tokens of a view.
    pub(super) tile_tokens: usize,
    /// Which of the pictures and videos are videos.
    pub(super) videos: Vec<bool>,
    /// What becomes of frames.
    pub(super) frame: Option<FrameTokens>,
    /// Grids that are scaled down.
    pub(super) scaled: Vec<ScaledGrid>,
    /// Whether there are newlines.
    pub(super) newlines: bool,
}

/// A picture's unpadded grid that is larger than it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScaledGrid {
    /// Its tokens' rows in the table, row by row.
    pub(super) rows: Vec<i64>,
    pub(super) from: Size,
    pub(super) to: Size,
}

impl Packing {
    /// The packing of pictures with grids of their own: of each the first `counts` of `most` tokens, the others being padding.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a picture without tokens, or with more than `most`.
    pub fn of_padded(counts: &[usize], most: usize) -> Result<Self, ModelError> {
        if let Some(picture) = counts.iter().position(|count| !(1..=most).contains(count)) {
            let count = counts[picture];
            return Err(ModelError::Input(format!("picture {picture} has {count} tokens, expected from 1 to {most}")));
        }
        let of_picture = |(picture, count): (usize, &usize)| (0..*count).map(move |at| (picture * most + at) as i64);
        Ok(Self {
            rows: counts.iter().enumerate().flat_map(of_picture).collect(),
            image_tokens: counts.to_vec(),
            image_tiles: vec![1; counts.len()],
            tiles: counts.len(),
            tile_tokens: most,
            videos: vec![false; counts.len()],
            frame: None,
            scaled: Vec::new(),
            newlines: false,
        })
    }

    /// Visual tokens of each picture and video: as many image or video tokens belong in the ids.
    pub fn image_tokens(&self) -> &[usize] {
        &self.image_tokens
    }

    /// Views of each picture and video that lie together and are of one kind, and whether they are frames.
    pub(super) fn runs(&self) -> Vec<(Range<usize>, bool)> {
        let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
        let mut first = 0;
        for (&views, &frames) in self.image_tiles.iter().zip(&self.videos) {
            match runs.last_mut() {
                Some((run, kind)) if *kind == frames => run.end += views,
                _ => runs.push((first..first + views, frames)),
            }
            first += views;
        }
        runs
    }

    /// Frames with fewer tokens, `[frames, tile_tokens, hidden]` to `[frames, pooled_tokens, hidden]`.
    pub(super) fn pool(&self, frames: Tensor<3>) -> Tensor<3> {
        match &self.frame {
            Some(frame) => pool_frames(frames, frame),
            None => frames,
        }
    }

    /// Which tiles belong to which picture, for a connector that is routed picture by picture.
    pub(super) fn tiles(&self, device: &Device) -> Tiles {
        let (mut thumbnail, mut owner, mut first) = (Vec::new(), Vec::new(), 0i64);
        for (image, &count) in (0i64..).zip(&self.image_tiles) {
            thumbnail.push(first);
            owner.extend(std::iter::repeat_n(image, count));
            first += count as i64;
        }
        Tiles { thumbnail: int_tensor(thumbnail, device), owner: int_tensor(owner, device) }
    }

    /// The place of each picture's first visual token among all visual tokens, `[images]`.
    pub(super) fn first_tokens(&self, device: &Device) -> Tensor<1, Int> {
        let starts = self.image_tokens.iter().scan(0i64, |next, &count| {
            let start = *next;
            *next += count as i64;
            Some(start)
        });
        int_tensor(starts.collect(), device)
    }

    /// Checks the number of views and of each view's tokens.
    pub(super) fn check_views(&self, views: usize, tokens: usize) -> Result<(), ModelError> {
        if (views, tokens) == (self.tiles, self.tile_tokens) {
            return Ok(());
        }
        Err(ModelError::Input(format!(
            "{views} tiles of {tokens} tokens, but the packing is for {} tiles of {} tokens",
            self.tiles, self.tile_tokens
        )))
    }

    /// The visual tokens of all pictures and videos, one after the other.
    ///
    /// # Shapes
    /// - `tokens`: `[views, tile_tokens, hidden]`, after the connector; `newline`: `[hidden]`, needed for tiles and videos only
    /// - returns `[1, visual_tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for other views than the packing was made for, and for newlines without their embedding.
    pub fn apply(&self, tokens: Tensor<3>, newline: Option<Tensor<1>>) -> Result<Tensor<3>, ModelError> {
        let [views, view_tokens, _] = tokens.dims();
        self.check_views(views, view_tokens)?;
        let (mut tiles, mut frames) = (Vec::new(), Vec::new());
        if self.frame.is_none() {
            tiles.push(tokens);
        } else {
            for (run, are_frames) in self.runs() {
                let views = tokens.clone().narrow(0, run.start, run.len());
                if are_frames { frames.push(self.pool(views)) } else { tiles.push(views) }
            }
        }
        self.assemble(tiles, frames, newline)
    }

    /// As [`Self::apply`] of tiles and frames apart, in pieces of any number: tiles as they are, frames pooled.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) fn assemble(
        &self,
        tiles: Vec<Tensor<3>>,
        frames: Vec<Tensor<3>>,
        newline: Option<Tensor<1>>,
    ) -> Result<Tensor<3>, ModelError> {
        let (found, expected) = (row_count(&tiles) + row_count(&frames), self.table_rows());
        if found != expected {
            return Err(ModelError::Input(format!(
                "{found} tokens of tiles and pooled frames, but the packing is for {expected}"
            )));
        }
        let newline = newline.filter(|_| self.newlines);
        if self.newlines && newline.is_none() {
            return Err(ModelError::Input("tiled pictures or videos, but no image_newline".into()));
        }
        let mut tiles: Vec<Tensor<2>> = tiles.into_iter().map(flat).collect();
        let scaled = if self.scaled.is_empty() {
            Vec::new()
        } else {
            let table = joined(tiles)?;
            let scaled = self.scaled.iter().map(|grid| grid.scale(&table)).collect();
            tiles = vec![table];
            scaled
        };
        let mut parts = tiles;
        parts.extend(frames.into_iter().map(flat));
        parts.extend(scaled);
        parts.extend(newline.map(|newline| newline.unsqueeze()));
        let table = joined(parts)?;
        // A video alone lies in the table as it is read.
        if (0i64..).zip(&self.rows).all(|(at, row)| at == *row) && self.rows.len() == table.dims()[0] {
            return Ok(table.unsqueeze());
        }
        let rows = TensorData::new(self.rows.clone(), [self.rows.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &table.device());
        Ok(table.select(0, rows).unsqueeze())
    }

    /// Tokens of all tiles and all pooled frames.
    fn table_rows(&self) -> usize {
        let frames: usize = self.runs().into_iter().filter(|(_, frames)| *frames).map(|(run, _)| run.len()).sum();
        let pooled = self.frame.map_or(0, |frame| frame.pooled_side().pow(2));
        (self.tiles - frames) * self.tile_tokens + frames * pooled
    }

    /// Checks the number of image and video tokens in the ids.
    pub(super) fn check_places(&self, found: usize) -> Result<(), ModelError> {
        let expected = self.rows.len();
        if found == expected {
            return Ok(());
        }
        let what = if self.videos.contains(&true) { "pictures and videos" } else { "pictures" };
        Err(ModelError::Input(format!(
            "{found} image tokens in the ids, but the {what} have {expected} visual tokens: expand them to {:?} image tokens",
            self.image_tokens
        )))
    }

    /// Checks that the tokens in the ids that stand for videos do: `are_videos` has an entry for each place of a visual token.
    pub(super) fn check_kinds(&self, are_videos: &[bool]) -> Result<(), ModelError> {
        self.check_places(are_videos.len())?;
        let mut rest = are_videos;
        for (medium, (&count, &video)) in self.image_tokens.iter().zip(&self.videos).enumerate() {
            let (own, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            if own.iter().any(|found| *found != video) {
                let (is, has) = if video { ("a video", "image") } else { ("a picture", "video") };
                return Err(ModelError::Input(format!(
                    "number {medium} of the batch's pictures and videos is {is}, but {has} tokens stand in its place in the ids: \
                     pictures and videos are given in the order of their places"
                )));
            }
        }
        Ok(())
    }
}

impl ScaledGrid {
    fn scale(&self, table: &Tensor<2>) -> Tensor<2> {
        let (dtype, [_, hidden]) = (table.dtype(), table.dims());
        let rows = int_tensor(self.rows.clone(), &table.device());
        let grid = cast_to(table.clone().select(0, rows), DType::F32);
        let scaled = resize(grid.reshape([1, self.from.0, self.from.1, hidden]), self.to);
        cast_to(scaled.reshape([self.to.0 * self.to.1, hidden]), dtype)
    }
}

/// `[n, tokens, hidden]` as `[n * tokens, hidden]`.
fn flat(tokens: Tensor<3>) -> Tensor<2> {
    let [n, count, hidden] = tokens.dims();
    tokens.reshape([n * count, hidden])
}

fn row_count(pieces: &[Tensor<3>]) -> usize {
    pieces.iter().map(|piece| piece.dims()[0] * piece.dims()[1]).sum()
}

/// Pieces of a table one behind the other.
fn joined(mut pieces: Vec<Tensor<2>>) -> Result<Tensor<2>, ModelError> {
    match pieces.len() {
        0 => Err(ModelError::Input("neither pictures nor videos to pack".into())),
        1 => Ok(pieces.remove(0)),
        _ => Ok(Tensor::cat(pieces, 0)),
    }
}

fn int_tensor(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
