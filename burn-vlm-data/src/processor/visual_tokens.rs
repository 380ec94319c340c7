//! How many visual tokens a picture has: numbers alone, the same count that the model makes of its features.

use crate::image::{GridPinpoint, ImageProcessorConfig, PatchBudget, ProcessedImage, best_resolution, canvases, widen};
use burn_vlm_base::onevision::capped_grid;
use burn_vlm_base::tiling::{grid_tokens, select_best_resolution, unpad};

/// The number of visual tokens as a function of a picture's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisualTokens {
    /// Tokens of one view: of a whole picture, or of a tile; the most of a picture where each has a grid of its own.
    pub view: usize,
    /// How tiles are put together, where pictures are tiled.
    pub tiling: Option<TileTokens>,
    /// What chooses a picture's grid, where each has its own (NaFlex): a patch is a token.
    pub patches: Option<PatchBudget>,
}

/// Visual tokens under any-resolution tiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileTokens {
    /// Pixels of a tile's side.
    pub tile: u32,
    /// Tokens along a tile's side.
    pub side: usize,
    /// The canvases.
    pub pinpoints: Vec<GridPinpoint>,
    /// How many tiles' tokens the canvas may have (N of LLaVA-OneVision's `anyres_max_N`); a larger one is scaled down. No limit where
    /// absent.
    pub max_tiles: Option<usize>,
}

impl VisualTokens {
    /// Pictures of one view each.
    pub fn of_view(view: usize) -> Self {
        Self { view, tiling: None, patches: None }
    }

    /// Pictures that are put together of tiles.
    pub fn of_tiles(view: usize, tiling: TileTokens) -> Self {
        Self { tiling: Some(tiling), ..Self::of_view(view) }
    }

    /// Pictures that each have a grid of their own.
    pub fn of_patches(budget: PatchBudget) -> Self {
        Self { patches: Some(budget), ..Self::of_view(budget.max_num_patches as usize) }
    }

    /// The same where all pictures have one size; where `image` gives each a grid of its own, that decides.
    pub fn shown_by(self, image: &ImageProcessorConfig) -> Self {
        image.patch_budget().map_or(self, Self::of_patches)
    }

    /// Whether pictures have different numbers of tokens.
    pub fn vary(&self) -> bool {
        self.tiling.is_some() || self.patches.is_some()
    }

    /// Number of visual tokens of a processed picture: those of the whole, and with tiling those of the canvas without its
    /// padding, with one newline token after each of its rows. Of a tiled model's picture that is not tiled, the whole and one
    /// newline. Where each picture has a grid of its own, its patches.
    pub fn count(&self, image: &ProcessedImage) -> usize {
        if let Some((rows, columns)) = image.patch_grid().filter(|_| self.patches.is_some()) {
            return rows * columns;
        }
        match &self.tiling {
            Some(_) if image.tiles == 1 => self.view + 1,
            _ => self.count_size(image.original_size),
        }
    }

    /// As [`VisualTokens::count`], from a picture's size (height, width) alone, so that lengths are known before a picture is
    /// decoded.
    pub fn count_size(&self, original_size: (u32, u32)) -> usize {
        if let Some(budget) = &self.patches {
            let (rows, columns) = budget.grid(original_size);
            return (rows * columns) as usize;
        }
        let Some(TileTokens { tile, side, pinpoints, max_tiles }) = &self.tiling else { return self.view };
        let canvas = best_resolution(original_size, pinpoints);
        let tiles = |length: u32| (length / (*tile).max(1)) as usize;
        let grid = (side * tiles(canvas.0), side * tiles(canvas.1));
        let Some(most) = max_tiles else { return self.view + grid_tokens(widen(original_size), grid) };
        let (rows, columns) = unpad(widen(original_size), grid);
        let kept = (rows.len(), columns.len());
        let (rows, columns) = capped_grid(kept, *side, *most).unwrap_or(kept);
        self.view + rows * (columns + 1)
    }

    /// Whether a picture of this size (height, width) keeps a pixel on any canvas; empty and hair-thin ones do not.
    pub fn fits(&self, size: (u32, u32)) -> bool {
        let Some(TileTokens { pinpoints, .. }) = &self.tiling else { return true };
        select_best_resolution(widen(size), &canvases(pinpoints)).is_some()
    }
}
