//! Presets of any-resolution tiling for training: tile, patch, most tiles. Those of TowerVision's Table 10.
//!
//! Unusual here:
//! - a preset's number of tiles leaves the thumbnail out, as the paper counts: "six tiles" are up to seven views;
//! - the paper publishes its grids for six tiles only; the other presets follow the same rule.

use super::visual_tokens::{TileTokens, VisualTokens};
use crate::image::{GridPinpoint, ImageProcessorConfig};

/// A resolution of the image tower and how far pictures are tiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilingPreset {
    /// The name that recipes use.
    pub name: &'static str,
    /// Pixels of a tile's side.
    pub resolution: u32,
    /// Pixels of a patch's side.
    pub patch_size: u32,
    /// The most tiles of a picture, besides the thumbnail.
    pub max_tiles: u32,
}

/// 224 pixels, patches of 14, up to 22 tiles.
pub const TILES_224_14_22: TilingPreset =
    TilingPreset { name: "224-14-22", resolution: 224, patch_size: 14, max_tiles: 22 };
/// 224 pixels, patches of 16, up to 20 tiles.
pub const TILES_224_16_20: TilingPreset =
    TilingPreset { name: "224-16-20", resolution: 224, patch_size: 16, max_tiles: 20 };
/// 384 pixels, patches of 14, up to 6 tiles: TowerVision's own.
pub const TILES_384_14_6: TilingPreset =
    TilingPreset { name: "384-14-6", resolution: 384, patch_size: 14, max_tiles: 6 };
/// 512 pixels, patches of 16, up to 4 tiles.
pub const TILES_512_16_4: TilingPreset =
    TilingPreset { name: "512-16-4", resolution: 512, patch_size: 16, max_tiles: 4 };

/// All grids (first side, second side) of at most `max_tiles` tiles, by their number of tiles, then by the first side: for
/// six the 14 of TowerVision in its order.
pub fn tile_grids(max_tiles: u32) -> Vec<(u32, u32)> {
    let grids =
        |tiles: u32| (1..=tiles).filter(move |side| tiles.is_multiple_of(*side)).map(move |side| (side, tiles / side));
    (1..=max_tiles).flat_map(grids).collect()
}

impl TilingPreset {
    /// The presets of Table 10, in its order.
    pub const ALL: [TilingPreset; 4] = [TILES_224_14_22, TILES_224_16_20, TILES_384_14_6, TILES_512_16_4];

    /// The preset with a name, `"384-14-6"`, or one of its own for another tile, patch and most tiles: `"336-14-4"`.
    pub fn by_name(name: &str) -> Option<Self> {
        if let Some(preset) = Self::ALL.into_iter().find(|preset| preset.name == name) {
            return Some(preset);
        }
        let numbers: Vec<u32> = name.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [resolution, patch_size, max_tiles] = numbers[..] else { return None };
        let sensible = (1..=resolution).contains(&patch_size) && resolution <= 4096 && (1..=64).contains(&max_tiles);
        sensible.then_some(Self { name: "custom", resolution, patch_size, max_tiles })
    }

    /// The canvases, in the order of [`tile_grids`], sides as (height, width).
    pub fn image_grid_pinpoints(&self) -> Vec<GridPinpoint> {
        let canvas = |(rows, columns)| GridPinpoint(rows * self.resolution, columns * self.resolution);
        tile_grids(self.max_tiles).into_iter().map(canvas).collect()
    }

    /// Visual tokens of one view (the thumbnail, or a tile); patches that do not fit whole are left out (384 / 14 is 27).
    pub fn tokens_per_tile(&self) -> usize {
        let side = (self.resolution / self.patch_size) as usize;
        side * side
    }

    /// Visual tokens of a picture that fills the most tiles, without newline tokens.
    pub fn max_tokens(&self) -> usize {
        self.tokens_per_tile() * (self.max_tiles as usize + 1)
    }

    /// SigLIP's image processor with these tiles.
    pub fn image_processor(&self) -> ImageProcessorConfig {
        ImageProcessorConfig {
            image_grid_pinpoints: Some(self.image_grid_pinpoints()),
            ..ImageProcessorConfig::siglip(self.resolution)
        }
    }

    /// How many visual tokens a tiled picture has.
    pub fn visual_tokens(&self) -> VisualTokens {
        let side = (self.resolution / self.patch_size) as usize;
        let pinpoints = self.image_grid_pinpoints();
        let tiling = TileTokens { tile: self.resolution, side, pinpoints, max_tiles: None };
        VisualTokens::of_tiles(self.tokens_per_tile(), tiling)
    }

    /// Visual tokens of each picture of a training sample, from the pictures' sizes (height, width) alone: a single picture
    /// is tiled, several are one view each with one newline, as TowerVision trains them.
    pub fn num_image_tokens(&self, sizes: &[(u32, u32)]) -> Vec<usize> {
        match sizes {
            [size] => vec![self.visual_tokens().count_size(*size)],
            several => vec![self.tokens_per_tile() + 1; several.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{AspectRatio, ImageProcessor, RgbImage};
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn names() {
        assert_eq!(TilingPreset::by_name("384-14-6"), Some(TILES_384_14_6));
        let own = TilingPreset::by_name("64-8-2").unwrap();
        assert_eq!((own.resolution, own.patch_size, own.max_tiles, own.tokens_per_tile()), (64, 8, 2, 64));
        for wrong in ["", "384-14", "384-14-6-1", "384-14-0", "384-0-6", "8-14-6", "384-14-x", "9999-14-6"] {
            assert_eq!(TilingPreset::by_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_fourteen_grids_of_six_tiles() {
        let published = "1x1, 1x2, 2x1, 1x3, 3x1, 1x4, 2x2, 4x1, 1x5, 5x1, 1x6, 2x3, 3x2, 6x1";
        let grids: Vec<String> = tile_grids(6).iter().map(|(a, b)| format!("{a}x{b}")).collect();
        assert_eq!(grids.join(", "), published);
        // The number of pairs with a product of at most n: the sum of n / k.
        for (preset, grids) in TilingPreset::ALL.iter().zip([74, 66, 14, 8]) {
            assert_eq!(preset.image_grid_pinpoints().len(), grids, "{}", preset.name);
            assert!(ImageProcessor::new(preset.image_processor()).is_ok());
            assert_eq!(TilingPreset::by_name(preset.name), Some(*preset));
        }
        // The same canvases as the reference processor's file.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/proc_llava_next_384_6tiles");
        let reference = ImageProcessorConfig::from_folder(folder).unwrap();
        let set = |pinpoints: Vec<GridPinpoint>| pinpoints.iter().map(|p| (p.0, p.1)).collect::<BTreeSet<_>>();
        let canvases = set(reference.image_grid_pinpoints.clone().unwrap());
        assert_eq!(set(TILES_384_14_6.image_grid_pinpoints()), canvases);
        assert_eq!((reference.tile(), reference.image_aspect_ratio), (384, None::<AspectRatio>));
    }

    /// By hand, from the formula: thumbnail + rows x columns without padding + a newline a row.
    #[test]
    fn visual_tokens_of_table_10() {
        let tokens = TilingPreset::ALL.map(|preset| (preset.tokens_per_tile(), preset.max_tokens()));
        assert_eq!(tokens, [(256, 23 * 256), (196, 21 * 196), (729, 7 * 729), (1024, 5 * 1024)]);
        assert_eq!(TILES_384_14_6.max_tokens(), 5103);
        for (preset, size, expected) in [
            // One tile and the thumbnail.
            (TILES_384_14_6, (384, 384), 729 + 27 * 27 + 27),
            (TILES_384_14_6, (100, 100), 729 + 27 * 27 + 27),
            // 2 x 3, 6 x 1 and 1 x 6 tiles, filled.
            (TILES_384_14_6, (768, 1152), 729 + 54 * 81 + 54),
            (TILES_384_14_6, (2304, 384), 729 + 162 * 27 + 162),
            (TILES_384_14_6, (384, 2304), 729 + 27 * 162 + 27),
            // On 2 x 3 tiles, of whose 54 rows of patches the picture fills 40.5: 40, with 7 of padding above and below.
            (TILES_384_14_6, (500, 1000), 729 + 40 * 81 + 40),
            (TILES_224_14_22, (448, 448), 256 + 32 * 32 + 32),
            // The paper's picture of 1024 x 1024: the largest square of at most 22 tiles is 4 x 4.
            (TILES_224_14_22, (1024, 1024), 256 + 64 * 64 + 64),
            (TILES_224_16_20, (448, 448), 196 + 28 * 28 + 28),
            (TILES_512_16_4, (1024, 1024), 1024 + 64 * 64 + 64),
        ] {
            assert_eq!(preset.num_image_tokens(&[size]), [expected], "{} {size:?}", preset.name);
        }
        assert_eq!(TILES_384_14_6.num_image_tokens(&[(9, 9), (2000, 9)]), [730, 730]);
        assert_eq!(TILES_384_14_6.num_image_tokens(&[]), [0; 0]);
    }

    /// The count from the size is the count of the processed picture.
    #[test]
    fn sizes_alone_are_enough() {
        let preset = TILES_224_16_20;
        let processor = ImageProcessor::new(preset.image_processor()).unwrap();
        for (width, height) in [(300, 200), (90, 700), (224, 224)] {
            let image = processor.process_tiles(&RgbImage::new(width, height)).unwrap();
            assert_eq!(preset.num_image_tokens(&[(height, width)]), [preset.visual_tokens().count(&image)]);
        }
    }
}
