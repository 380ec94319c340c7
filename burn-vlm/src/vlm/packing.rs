//! Visual tokens of pictures that do not all have the same number of them, in the order in which the decoder reads them: of tiled
//! pictures (LLaVA-NeXT), and of pictures with grids of their own (NaFlex), whose padding is left out.
//!
//! Unusual here: a picture's tokens are picked out of one table, all tiles' tokens and behind them `image_newline`. Cutting
//! the padding, putting tiles side by side and ending rows is then one gather for the whole batch, however different the
//! pictures' grids are, and its backward is one scatter.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::VlmConfig;
use super::tiling::{Size, num_image_tokens, tile_grid, unpad};
use crate::connector::Tiles;
use crate::error::ModelError;

/// The pictures of a batch as the tower saw them.
#[derive(Debug, Clone, Default)]
pub struct VisualFeatures {
    /// `[images or tiles, tokens, d_vision]`; `None` if no row has a picture.
    pub features: Option<Tensor<3>>,
    /// How tiles, or pictures with padding, become pictures; `None` where each of `features` is a picture.
    pub packing: Option<Packing>,
}

impl From<Tensor<3>> for VisualFeatures {
    fn from(features: Tensor<3>) -> Self {
        Some(features).into()
    }
}

impl From<Option<Tensor<3>>> for VisualFeatures {
    fn from(features: Option<Tensor<3>>) -> Self {
        Self { features, packing: None }
    }
}

/// Which token of which tile stands where: [`VlmConfig::packing`] and [`Packing::of_padded`] make it, [`Packing::apply`] uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// Rows of the table: `tile * tile_tokens + token`, or `tiles * tile_tokens` for the newline.
    rows: Vec<i64>,
    /// Visual tokens of each picture.
    image_tokens: Vec<usize>,
    /// Tiles of each picture, the base tile first.
    image_tiles: Vec<usize>,
    tiles: usize,
    tile_tokens: usize,
    /// Whether rows end with a newline.
    newlines: bool,
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
            newlines: false,
        })
    }

    /// Visual tokens of each picture: as many image tokens belong in the ids.
    pub fn image_tokens(&self) -> &[usize] {
        &self.image_tokens
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

    /// The visual tokens of all pictures, one after the other.
    ///
    /// # Shapes
    /// - `tokens`: `[tiles, tile_tokens, hidden]`, after the connector; `newline`: `[hidden]`, needed for tiles only
    /// - returns `[1, visual_tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for other tiles than the packing was made for, and for tiles without a newline.
    pub fn apply(&self, tokens: Tensor<3>, newline: Option<Tensor<1>>) -> Result<Tensor<3>, ModelError> {
        let [tiles, tile_tokens, hidden] = tokens.dims();
        if (tiles, tile_tokens) != (self.tiles, self.tile_tokens) {
            return Err(ModelError::Input(format!(
                "{tiles} tiles of {tile_tokens} tokens, but the packing is for {} tiles of {} tokens",
                self.tiles, self.tile_tokens
            )));
        }
        let table = tokens.reshape([tiles * tile_tokens, hidden]);
        let table = match newline.filter(|_| self.newlines) {
            Some(newline) => Tensor::cat(vec![table, newline.unsqueeze()], 0),
            None if self.newlines => return Err(ModelError::Input("tiled pictures, but no image_newline".into())),
            None => table,
        };
        let rows = TensorData::new(self.rows.clone(), [self.rows.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &table.device());
        Ok(table.select(0, rows).unsqueeze())
    }

    /// Checks the number of image tokens in the ids.
    pub(super) fn check_places(&self, found: usize) -> Result<(), ModelError> {
        let expected = self.rows.len();
        if found == expected {
            return Ok(());
        }
        Err(ModelError::Input(format!(
            "{found} image tokens in the ids, but the pictures have {expected} visual tokens: expand them to {:?} image tokens",
            self.image_tokens
        )))
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
        num_image_tokens(size, &self.pinpoints(), tile, side).ok_or_else(|| no_resolution(size))
    }

    /// The packing of a batch: `tiles` of each picture, one (the base tile alone) or [`Self::num_tiles`], and its size.
    ///
    /// A picture is its base tile, row by row, then the grid without the padding, row by row across all tiles, each row ended
    /// by a newline. A picture of one tile is that tile and one newline.
    ///
    /// # Errors
    /// [`ModelError::Input`] for another number of tiles, or a picture that no pinpoint takes.
    pub fn packing(&self, tiles: &[usize], sizes: &[Size]) -> Result<Packing, ModelError> {
        if tiles.len() != sizes.len() {
            let text = format!("{} tile counts, but {} image sizes", tiles.len(), sizes.len());
            return Err(ModelError::Input(text));
        }
        let side = self.tile_side();
        let tile_tokens = side * side;
        let total: usize = tiles.iter().sum();
        let newline = (total * tile_tokens) as i64;
        let (mut rows, mut image_tokens) = (Vec::new(), Vec::with_capacity(tiles.len()));
        let mut first = 0;
        for (&count, &size) in tiles.iter().zip(sizes) {
            let before = rows.len();
            let base = first * tile_tokens;
            rows.extend((base..base + tile_tokens).map(|row| row as i64));
            if count == 1 {
                rows.push(newline);
            } else {
                let grid = tile_grid(size, &self.pinpoints(), self.vision_config.image_size());
                let (down, across) = grid.ok_or_else(|| no_resolution(size))?;
                if count != 1 + down * across {
                    return Err(ModelError::Input(format!(
                        "{count} tiles for a picture of {} x {} pixels (height x width), expected {}: a base tile and \
                         {down} x {across}, or the base tile alone",
                        size.0,
                        size.1,
                        1 + down * across
                    )));
                }
                let (kept_rows, kept_columns) = unpad(size, (down * side, across * side));
                for row in kept_rows {
                    rows.extend(kept_columns.clone().map(|column| {
                        let tile = first + 1 + row / side * across + column / side;
                        (tile * tile_tokens + row % side * side + column % side) as i64
                    }));
                    rows.push(newline);
                }
            }
            image_tokens.push(rows.len() - before);
            first += count;
        }
        Ok(Packing { rows, image_tokens, image_tiles: tiles.to_vec(), tiles: total, tile_tokens, newlines: true })
    }
}

fn int_tensor(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

fn no_resolution(size: Size) -> ModelError {
    let (height, width) = size;
    ModelError::Input(format!(
        "a picture of {height} x {width} pixels (height x width) fits none of image_grid_pinpoints: it is empty or too thin"
    ))
}
