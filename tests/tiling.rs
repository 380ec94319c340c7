//! The image processor and the model cut a picture by the same rule (`burn_vlm_base::tiling`), each through its own types. Where
//! they differed, every conversation would fail for want of an image token.

use burn_vlm::vlm::tiling::{DEFAULT_PINPOINTS, Size, num_image_tokens, select_best_resolution, unpad};
use burn_vlm_data::image::{GridPinpoint, best_resolution, unpadded_grid};

/// Lengths around the sizes of tiles, and the extremes.
const LENGTHS: [usize; 16] = [7, 50, 99, 171, 223, 300, 336, 337, 384, 451, 640, 671, 673, 1008, 1920, 4000];

/// TowerVision's grids of at most six tiles.
fn six_tiles() -> Vec<Size> {
    (1..=6).flat_map(|rows| (1..=6 / rows).map(move |columns| (rows * 384, columns * 384))).collect()
}

#[test]
fn processor_and_model_agree_on_every_picture() {
    let mut compared = 0;
    for (pinpoints, tile, side) in [(DEFAULT_PINPOINTS.to_vec(), 336, 24), (six_tiles(), 384, 27)] {
        let grid: Vec<GridPinpoint> = pinpoints.iter().map(|(h, w)| GridPinpoint(*h as u32, *w as u32)).collect();
        for size in LENGTHS.iter().flat_map(|height| LENGTHS.map(|width| (*height, width))) {
            let picture = (size.0 as u32, size.1 as u32);
            let best = select_best_resolution(size, &pinpoints).unwrap();
            let found = best_resolution(picture, &grid);
            assert_eq!((found.0 as usize, found.1 as usize), best, "{size:?}");
            let patches = (best.0 / tile * side, best.1 / tile * side);
            let (rows, columns) = unpad(size, patches);
            assert_eq!(unpadded_grid(picture, patches), (rows.len(), columns.len()), "{size:?}");
            let tokens = side * side + rows.len() * (columns.len() + 1);
            assert_eq!(num_image_tokens(size, &pinpoints, tile, side), Some(tokens), "{size:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * LENGTHS.len() * LENGTHS.len());
}
