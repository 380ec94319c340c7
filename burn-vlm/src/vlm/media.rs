//! What a batch shows: pictures and videos, and where each of their tokens stands.
//!
//! Unusual here: pictures and videos are one list, in the order of their places in the ids. Videos of different lengths lie beside each
//! other without padding to a common number of frames.

use burn_vlm_base::onevision::{FrameTokens, NewlinePosition, capped_grid, num_image_tokens};

use super::VlmConfig;
use super::packing::{Packing, ScaledGrid};
use super::tiling::{Size, tile_grid, unpad};
use crate::error::ModelError;

/// A picture or a video. Each of its views takes the same way through tower and connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A picture.
    Picture {
        /// One (the base tile alone: a square view) or [`VlmConfig::num_tiles`].
        tiles: usize,
        /// (height, width) in pixels before it was scaled.
        size: Size,
    },
    /// A video.
    Video {
        /// Number of frames.
        frames: usize,
    },
}

impl Medium {
    /// Square views that the tower takes: tiles or frames.
    pub fn views(&self) -> usize {
        match self {
            Self::Picture { tiles, .. } => *tiles,
            Self::Video { frames } => *frames,
        }
    }

    fn is_video(&self) -> bool {
        matches!(self, Self::Video { .. })
    }
}

impl VlmConfig {
    /// Tiles of a picture of `size` (height, width) pixels: the base tile, and behind it the grid's, row by row.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a picture that no pinpoint takes.
    pub fn num_tiles(&self, size: Size) -> Result<usize, ModelError> {
        let grid = tile_grid(size, &self.pinpoints(), self.vision_config.image_size());
        let (down, across) = grid.ok_or_else(|| no_resolution(size))?;
        Ok(1 + down * across)
    }

    /// Visual tokens of a picture of `size` (height, width) pixels: as many image tokens belong in the ids.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a picture that no pinpoint takes, and for a model whose pictures have grids of their own.
    pub fn num_image_tokens(&self, size: Size) -> Result<usize, ModelError> {
        if self.is_flexible() {
            let text =
                "each picture has a grid of its own: its patches are its tokens, and the image processor says how many";
            return Err(ModelError::Input(text.into()));
        }
        if !self.is_tiled() {
            return Ok(self.num_visual_tokens());
        }
        let (tile, side) = (self.vision_config.image_size(), self.tile_side());
        num_image_tokens(size, &self.pinpoints(), tile, side, self.max_tiles()).ok_or_else(|| no_resolution(size))
    }

    /// The packing of pictures alone: `tiles` of each, one (the base tile alone) or [`Self::num_tiles`], and its size. See [`Self::pack`].
    ///
    /// # Errors
    /// As [`Self::pack`]; [`ModelError::Input`] for tiles and sizes of another number of pictures.
    pub fn packing(&self, tiles: &[usize], sizes: &[Size]) -> Result<Packing, ModelError> {
        if tiles.len() != sizes.len() {
            let text = format!("{} tile counts, but {} image sizes", tiles.len(), sizes.len());
            return Err(ModelError::Input(text));
        }
        let picture = |(&tiles, &size)| Medium::Picture { tiles, size };
        self.pack(&tiles.iter().zip(sizes).map(picture).collect::<Vec<_>>())
    }

    /// The packing of a batch: its pictures and videos in the order of their places in the ids.
    ///
    /// A picture is its base tile, row by row, then the grid without the padding, row by row across all tiles, each row ended
    /// by a newline; a grid with more than [`Self::max_tiles`] tiles' tokens is scaled down before that. A picture of one tile is that
    /// tile and one newline. A video is its frames, each pooled, row by row, with newlines where
    /// [`mm_newline_position`](Self::mm_newline_position) says.
    ///
    /// # Errors
    /// [`ModelError::Input`] for another number of tiles, a picture that no pinpoint takes, a video without frames, and a video in a
    /// model without.
    pub fn pack(&self, media: &[Medium]) -> Result<Packing, ModelError> {
        let mut rows = Rows { tile_tokens: self.tile_side() * self.tile_side(), ..Rows::default() };
        for medium in media {
            let before = rows.entries.len();
            match *medium {
                Medium::Picture { tiles, size } => self.pack_picture(&mut rows, tiles, size)?,
                Medium::Video { frames } => self.pack_video(&mut rows, frames)?,
            }
            rows.image_tokens.push(rows.entries.len() - before);
        }
        Ok(rows.finish(media, self.frame_tokens()))
    }

    fn pack_picture(&self, rows: &mut Rows, tiles: usize, size: Size) -> Result<(), ModelError> {
        let (side, first) = (self.tile_side(), rows.tiles);
        let base = first * rows.tile_tokens;
        rows.tiles += tiles;
        rows.entries.extend((base..base + rows.tile_tokens).map(Entry::Tile));
        if tiles == 1 {
            rows.entries.push(Entry::Newline);
            return Ok(());
        }
        let grid = tile_grid(size, &self.pinpoints(), self.vision_config.image_size());
        let (down, across) = grid.ok_or_else(|| no_resolution(size))?;
        if tiles != 1 + down * across {
            return Err(ModelError::Input(format!(
                "{tiles} tiles for a picture of {} x {} pixels (height x width), expected {}: a base tile and \
                 {down} x {across}, or the base tile alone",
                size.0,
                size.1,
                1 + down * across
            )));
        }
        let (kept_rows, kept_columns) = unpad(size, (down * side, across * side));
        let from = (kept_rows.len(), kept_columns.len());
        let token = |row: usize, column: usize| {
            let tile = first + 1 + row / side * across + column / side;
            tile * side * side + row % side * side + column % side
        };
        let line = |row: usize| kept_columns.clone().map(move |column| token(row, column));
        match self.max_tiles().and_then(|most| capped_grid(from, side, most)) {
            None => {
                for row in kept_rows {
                    rows.entries.extend(line(row).map(Entry::Tile));
                    rows.entries.push(Entry::Newline);
                }
            }
            Some(to) => {
                let grid = kept_rows.flat_map(line).map(|row| row as i64).collect();
                for row in 0..to.0 {
                    let first = rows.scaled_tokens + row * to.1;
                    rows.entries.extend((first..first + to.1).map(Entry::Scaled));
                    rows.entries.push(Entry::Newline);
                }
                rows.scaled_tokens += to.0 * to.1;
                rows.scaled.push(ScaledGrid { rows: grid, from, to });
            }
        }
        Ok(())
    }

    fn pack_video(&self, rows: &mut Rows, frames: usize) -> Result<(), ModelError> {
        self.check_video(frames)?;
        let side = self.frame_tokens().pooled_side();
        for frame in rows.frames..rows.frames + frames {
            for row in 0..side {
                let first = (frame * side + row) * side;
                rows.entries.extend((first..first + side).map(Entry::Frame));
                if self.mm_newline_position == NewlinePosition::Grid {
                    rows.entries.push(Entry::Newline);
                }
            }
            if self.mm_newline_position == NewlinePosition::Frame {
                rows.entries.push(Entry::Newline);
            }
        }
        rows.frames += frames;
        if self.mm_newline_position == NewlinePosition::OneToken {
            rows.entries.push(Entry::Newline);
        }
        Ok(())
    }
}

/// A visual token by the part of the table in which it lies.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Tile(usize),
    Frame(usize),
    Scaled(usize),
    Newline,
}

/// A packing while it grows: how large the parts of the table are is known at the end.
#[derive(Default)]
struct Rows {
    entries: Vec<Entry>,
    image_tokens: Vec<usize>,
    tile_tokens: usize,
    tiles: usize,
    frames: usize,
    scaled_tokens: usize,
    scaled: Vec<ScaledGrid>,
}

impl Rows {
    fn finish(self, media: &[Medium], frame: FrameTokens) -> Packing {
        let frames = self.tiles * self.tile_tokens;
        let scaled = frames + self.frames * frame.pooled_side() * frame.pooled_side();
        let newline = scaled + self.scaled_tokens;
        let row = |entry: &Entry| match entry {
            Entry::Tile(at) => *at as i64,
            Entry::Frame(at) => (frames + at) as i64,
            Entry::Scaled(at) => (scaled + at) as i64,
            Entry::Newline => newline as i64,
        };
        Packing {
            rows: self.entries.iter().map(row).collect(),
            image_tokens: self.image_tokens,
            image_tiles: media.iter().map(Medium::views).collect(),
            tiles: self.tiles + self.frames,
            tile_tokens: self.tile_tokens,
            videos: media.iter().map(Medium::is_video).collect(),
            frame: (self.frames > 0).then_some(frame),
            scaled: self.scaled,
            newlines: self.entries.contains(&Entry::Newline),
        }
    }
}

fn no_resolution(size: Size) -> ModelError {
    let (height, width) = size;
    ModelError::Input(format!(
        "a picture of {height} x {width} pixels (height x width) fits none of image_grid_pinpoints: it is empty or too thin"
    ))
}
