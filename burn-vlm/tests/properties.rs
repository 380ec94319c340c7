//! What holds for every input of the model's index arithmetic, against loops that go place by place.

#![cfg(feature = "flex")]

mod common;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::vlm::tiling::{Size, tile_grid, unpad};
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_base::onevision::num_image_tokens;
use common::tiny::{self, IMAGE_TOKEN, VOCABULARY};
use common::values;
use proptest::collection::vec;
use proptest::prelude::*;

/// Tokens along the side of a tile of the tiny tiled model, and the tile's side in pixels.
const SIDE: usize = 4;
const TILE: usize = 16;
/// What the newline is in the table of the packing below, where every other token is its number.
const NEWLINE: f32 = -1.0;

fn tiled() -> VlmConfig {
    tiny::tiled_config(tiny::siglip(), tiny::qwen2())
}

fn size() -> impl Strategy<Value = Size> {
    // Squares and strips, and sizes around the tiles'.
    prop_oneof![
        (1usize..200, 1usize..200),
        (1usize..9, 20usize..300),
        (20usize..300, 1usize..9),
        (14usize..35, 14usize..35)
    ]
}

/// Rows or columns that a picture's `side` keeps of `full`, if `other` fills its own `other_full`: in whole numbers.
fn kept(side: usize, full: usize, other: usize, other_full: usize) -> std::ops::Range<usize> {
    let padding = (full - (side * other_full / other).min(full)) / 2;
    padding..full - padding
}

/// The part of a grid that shows the picture, in whole numbers.
fn naive_unpad((height, width): Size, (rows, columns): Size) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    if width * rows > columns * height {
        (kept(height, rows, width, columns), 0..columns)
    } else {
        (0..rows, kept(width, columns, height, rows))
    }
}

/// Tokens of a picture whose first tile is number `first`: each place of the grid looks up its tile.
fn naive_picture(size: Size, first: usize, tiles: usize) -> Vec<f32> {
    let token = |tile: usize, row: usize, column: usize| ((first + tile) * SIDE * SIDE + row * SIDE + column) as f32;
    let places = |rows: std::ops::Range<usize>| rows.flat_map(|row| (0..SIDE).map(move |column| (row, column)));
    let mut tokens: Vec<f32> = places(0..SIDE).map(|(row, column)| token(0, row, column)).collect();
    if tiles == 1 {
        tokens.push(NEWLINE);
        return tokens;
    }
    let (down, across) = tile_grid(size, &tiled().pinpoints(), TILE).unwrap();
    assert_eq!(tiles, 1 + down * across);
    let (rows, columns) = naive_unpad(size, (down * SIDE, across * SIDE));
    for row in 0..down * SIDE {
        for column in 0..across * SIDE {
            if rows.contains(&row) && columns.contains(&column) {
                let tile = 1 + (row / SIDE) * across + column / SIDE;
                tokens.push(token(tile, row % SIDE, column % SIDE));
            }
        }
        if rows.contains(&row) {
            tokens.push(NEWLINE);
        }
    }
    tokens
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Tiles of any pictures, each whole or as its base tile alone, come in the order of a loop over the places.
    #[test]
    fn packing_is_that_of_a_naive_loop(pictures in vec((size(), any::<bool>()), 0..6)) {
        let config = tiled();
        let pictures: Vec<(Size, usize)> = pictures
            .into_iter()
            .filter_map(|(size, single)| Some((size, if single { 1 } else { config.num_tiles(size).ok()? })))
            .collect();
        let (sizes, tiles): (Vec<Size>, Vec<usize>) = pictures.iter().copied().unzip();
        let packing = config.packing(&tiles, &sizes).unwrap();
        let (mut expected, mut counts, mut first) = (Vec::new(), Vec::new(), 0);
        for (size, tiles) in &pictures {
            let picture = naive_picture(*size, first, *tiles);
            counts.push(picture.len());
            expected.extend(picture);
            first += tiles;
        }
        prop_assert_eq!(packing.image_tokens(), &counts);
        for (place, (size, tiles)) in pictures.iter().enumerate() {
            let whole = config.num_image_tokens(*size).ok();
            prop_assert!(*tiles == 1 || whole == Some(counts[place]), "{:?}: {:?} promised, {} given", size, whole, counts[place]);
        }
        prop_assume!(first > 0);
        let device = Device::flex();
        let table: Vec<f32> = (0..first * SIDE * SIDE).map(|number| number as f32).collect();
        let tokens = Tensor::<3>::from_data(TensorData::new(table, [first, SIDE * SIDE, 1]), &device);
        let found = packing.apply(tokens, Some(Tensor::from_data([NEWLINE], &device))).unwrap();
        prop_assert_eq!(values(found), expected);
    }

    /// Any tile count that is neither one nor the grid's is refused.
    #[test]
    fn other_numbers_of_tiles_are_refused(size in size(), tiles in 0usize..9) {
        let config = tiled();
        let fits = tiles == 1 || config.num_tiles(size).is_ok_and(|expected| tiles == expected);
        prop_assert_eq!(config.packing(&[tiles], &[size]).is_ok(), fits);
    }

    /// The picture that is cut out of its padding is what whole numbers say, for grids of any shape.
    #[test]
    fn unpadding_is_that_of_whole_numbers(size in (1usize..4000, 1usize..4000), grid in (1usize..200, 1usize..200)) {
        prop_assert_eq!(unpad(size, grid), naive_unpad(size, grid));
    }

    /// Never fewer than the base tile, never more than that and the whole grid with one newline a row.
    #[test]
    fn tokens_of_a_picture_are_bounded(size in size(), tile in 1usize..50, side in 1usize..30, down in 1usize..5, across in 1usize..5) {
        let pinpoints = [(down * tile, across * tile)];
        if let Some(tokens) = num_image_tokens(size, &pinpoints, tile, side, None) {
            let (rows, columns) = (down * side, across * side);
            prop_assert!(tokens <= side * side + rows * (columns + 1));
            prop_assert!(tokens >= side * side);
        }
    }
}

/// A model, its table of embeddings as the first layer takes them, and what its visual tokens are multiplied by.
fn merging(scaled: bool) -> (Vlm, Vec<Vec<f32>>, f32) {
    let device = Device::flex();
    let text = if scaled { tiny::gemma2() } else { tiny::qwen2() };
    let config = VlmConfig { scale_visual_embeds: Some(scaled), ..tiny::vlm_config(tiny::siglip(), text) };
    let model = tiny::vlm(&config, 3, &device);
    let ids: Vec<i64> = (0..VOCABULARY as i64).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, VOCABULARY]), &device);
    let table = values(model.language_model.embed(ids));
    let width = model.language_model.hidden_size();
    let scale = if scaled { model.language_model.embed_scale() as f32 } else { 1.0 };
    (model, table.chunks(width).map(<[f32]>::to_vec).collect(), scale)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The n-th image token, row by row, is the n-th visual token; all else is the text's own embedding. As many visual tokens
    /// as places, or an error that counts both.
    #[test]
    fn merging_is_that_of_a_naive_loop(
        rows in (1usize..9).prop_flat_map(|width| vec(vec(prop_oneof![0..IMAGE_TOKEN, Just(IMAGE_TOKEN)], width), 1..5)),
        surplus in prop_oneof![4 => Just(0i64), 1 => -2i64..3],
        scaled: bool,
    ) {
        thread_local!(static MODELS: [(Vlm, Vec<Vec<f32>>, f32); 2] = [merging(false), merging(true)]);
        let device = Device::flex();
        let flat = rows.concat();
        let places = flat.iter().filter(|id| **id == IMAGE_TOKEN).count();
        let count = (places as i64 + surplus).max(0) as usize;
        MODELS.with(|models| {
            let (model, table, scale) = &models[usize::from(scaled)];
            let width = table[0].len();
            let ids = Tensor::<2, Int>::from_data(TensorData::new(flat.clone(), [rows.len(), rows[0].len()]), &device);
            let visual: Vec<f32> = (0..count * width).map(|number| 1000.0 + number as f32).collect();
            // Pictures of one token each: where one ends does not matter to merging.
            let given = (count > 0).then(|| Tensor::<3>::from_data(TensorData::new(visual.clone(), [count, 1, width]), &device));
            match model.merge(ids, given) {
                Ok(merged) => {
                    prop_assert_eq!(count, places);
                    let mut pictures = visual.chunks(width);
                    let mut expected = Vec::new();
                    for id in &flat {
                        match *id {
                            IMAGE_TOKEN => expected.extend(pictures.next().unwrap().iter().map(|value| value * scale)),
                            id => expected.extend(&table[id as usize]),
                        }
                    }
                    prop_assert_eq!(values(merged), expected);
                }
                Err(ModelError::ImageTokens { image_tokens, images, .. }) => {
                    prop_assert_ne!(count, places);
                    prop_assert_eq!((image_tokens, images), (places, count));
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
            Ok(())
        })?;
    }
}
