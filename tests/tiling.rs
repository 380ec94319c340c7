//! The image processor and the model cut a picture by the same rule (`burn_vlm_base::tiling`), each through its own types. Where
//! they differed, every conversation would fail for want of an image token.

use burn_vlm::vlm::tiling::{DEFAULT_PINPOINTS, Size, select_best_resolution, tile_grid, unpad};
use burn_vlm_base::onevision::num_image_tokens;
use burn_vlm_data::image::{GridPinpoint, ImageProcessor, ImageProcessorConfig, RgbImage, best_resolution};
use burn_vlm_data::processor::{TileTokens, TilingPreset, VisualTokens};
use proptest::collection::vec;
use proptest::prelude::*;

/// Lengths around the sizes of tiles, and the extremes.
const LENGTHS: [usize; 16] = [7, 50, 99, 171, 223, 300, 336, 337, 384, 451, 640, 671, 673, 1008, 1920, 4000];

/// TowerVision's grids of at most six tiles.
fn six_tiles() -> Vec<Size> {
    (1..=6).flat_map(|rows| (1..=6 / rows).map(move |columns| (rows * 384, columns * 384))).collect()
}

fn pinpoints(sizes: &[Size]) -> Vec<GridPinpoint> {
    sizes.iter().map(|(height, width)| GridPinpoint(*height as u32, *width as u32)).collect()
}

/// One picture by both rules.
fn compare(size: Size, sizes: &[Size], tile: usize, side: usize) {
    let picture = (size.0 as u32, size.1 as u32);
    let best = select_best_resolution(size, sizes).unwrap();
    let found = best_resolution(picture, &pinpoints(sizes));
    assert_eq!((found.0 as usize, found.1 as usize), best, "{size:?}");
    let patches = (best.0 / tile * side, best.1 / tile * side);
    let (rows, columns) = unpad(size, patches);
    let tokens = side * side + rows.len() * (columns.len() + 1);
    assert_eq!(num_image_tokens(size, sizes, tile, side, None), Some(tokens), "{size:?}");
}

#[test]
fn processor_and_model_agree_on_every_picture() {
    for (sizes, tile, side) in [(DEFAULT_PINPOINTS.to_vec(), 336, 24), (six_tiles(), 384, 27)] {
        for size in LENGTHS.iter().flat_map(|height| LENGTHS.map(|width| (*height, width))) {
            compare(size, &sizes, tile, side);
        }
    }
}

/// Canvases of whole tiles, in any order, some twice.
fn grids() -> impl Strategy<Value = Vec<Size>> {
    vec((1usize..7, 1usize..7), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any picture on any canvases. One too thin for all of them has no tokens in the model, and the processor refuses it.
    #[test]
    fn any_picture_on_any_canvases(size in (1usize..5000, 1usize..5000), grids in grids(), patch in 1usize..33, side in 1usize..33) {
        let tile = patch * side;
        let sizes: Vec<Size> = grids.iter().map(|(rows, columns)| (rows * tile, columns * tile)).collect();
        let tiling = TileTokens { tile: tile as u32, side, pinpoints: pinpoints(&sizes), max_tiles: None };
        let tokens = VisualTokens::of_tiles(side * side, tiling);
        let (picture, expected) = ((size.0 as u32, size.1 as u32), num_image_tokens(size, &sizes, tile, side, None));
        prop_assert_eq!(tokens.fits(picture).then(|| tokens.count_size(picture)), expected);
        if expected.is_some() {
            compare(size, &sizes, tile, side);
        }
    }
}

proptest! {
    // Pictures are made and cut: few of them.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// As many tiles come out of the image processor as the model expects, and as many tokens as its count says.
    #[test]
    fn processed_pictures_have_the_tiles_that_the_model_expects(size in (1usize..300, 1usize..300), tiles in 1u32..7) {
        let preset = TilingPreset { name: "tiny", resolution: 32, patch_size: 8, max_tiles: tiles };
        let sizes: Vec<Size> = preset.image_grid_pinpoints().iter().map(|at| (at.0 as usize, at.1 as usize)).collect();
        let grid = tile_grid(size, &sizes, 32);
        prop_assume!(grid.is_some());
        let config = ImageProcessorConfig { image_grid_pinpoints: Some(preset.image_grid_pinpoints()), ..ImageProcessorConfig::siglip(32) };
        let image = ImageProcessor::new(config).unwrap().process_tiles(&RgbImage::new(size.1 as u32, size.0 as u32)).unwrap();
        prop_assert_eq!(Some(image.tiles), grid.map(|(down, across)| 1 + down * across));
        prop_assert_eq!(Some(preset.visual_tokens().count(&image)), num_image_tokens(size, &sizes, 32, 4, None));
    }
}
