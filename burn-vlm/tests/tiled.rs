//! Any-resolution pictures on tiny random parts: several shapes in a batch, single tiles, text-only rows, misfits.

#![cfg(feature = "flex")]

mod common;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::checkpoint::parameters;
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::seeded_normal;
use burn_vlm::language::AttentionInput;
use burn_vlm::vision::VisionConfig;
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, VisualFeatures, Vlm, VlmConfig, VlmInput};
use common::tiny::{self, IMAGE_TOKEN};
use common::{autodiff_device, ids, max_abs, values};

/// Sums in another order, on values of order 1.
const ROUNDING: f32 = 2e-5;
/// (height, width): 1 x 2 tiles, 2 x 1 tiles with padding, and one that comes as its base tile alone.
const SIZES: [(usize, usize); 3] = [(16, 32), (64, 20), (9, 9)];

fn models(device: &Device) -> Vec<Vlm> {
    [tiny::siglip(), tiny::clip()]
        .into_iter()
        .map(|vision| tiny::vlm(&tiny::tiled_config(vision, tiny::gemma2()), 3, device))
        .collect()
}

/// Tiles of each picture and the pixels of all.
fn pictures(model: &Vlm, device: &Device) -> (Vec<usize>, Tensor<4>) {
    let tiles = vec![model.config.num_tiles(SIZES[0]).unwrap(), model.config.num_tiles(SIZES[1]).unwrap(), 1];
    assert_eq!(tiles, [3, 3, 1]);
    let pixels = seeded_normal([tiles.iter().sum(), 3, 16, 16], 9, device);
    (tiles, pixels)
}

fn encode(model: &Vlm, which: &[usize], device: &Device) -> VisualFeatures {
    let (tiles, pixels) = pictures(model, device);
    let firsts = [0, tiles[0], tiles[0] + tiles[1]];
    let chosen = which.iter().map(|&image| pixels.clone().narrow(0, firsts[image], tiles[image])).collect();
    let counts: Vec<usize> = which.iter().map(|&image| tiles[image]).collect();
    let sizes: Vec<(usize, usize)> = which.iter().map(|&image| SIZES[image]).collect();
    model.encode_tiled_images(Tensor::cat(chosen, 0), &counts, &sizes).unwrap()
}

/// Image tokens of `counts` pictures with text around.
fn prompt(counts: &[usize], text: &[u32]) -> Vec<u32> {
    let images = counts.iter().flat_map(|count| std::iter::repeat_n(IMAGE_TOKEN as u32, *count).chain([5]));
    [2].into_iter().chain(images).chain(text.iter().copied()).collect()
}

#[test]
fn pictures_of_all_shapes_share_a_batch() {
    let device = Device::flex();
    for model in models(&device) {
        let features = encode(&model, &[0, 1, 2], &device);
        let counts = features.packing.as_ref().unwrap().image_tokens().to_vec();
        // 4 x 4 tokens a tile. 1 x 2 tiles without padding; 64 x 20 pixels fill 2.5 of 4 columns, truncated to 2, so that one
        // is cut on each side; a tile and its newline.
        assert_eq!(counts, [16 + 4 * 9, 16 + 8 * 3, 17]);
        let rows = [prompt(&counts[..2], &[7, 8]), prompt(&[], &[3, 4, 6]), prompt(&counts[2..], &[9])];
        let batch = model.forward(&VlmInput::new(ids(&rows, &device)).with_features(features.clone())).unwrap();
        for (row, images) in [(0, vec![0, 1]), (1, vec![]), (2, vec![2])] {
            let mut input = VlmInput::new(ids(&rows[row..=row], &device));
            if !images.is_empty() {
                input = input.with_features(encode(&model, &images, &device));
            }
            let single = model.forward(&input).unwrap();
            let length = rows[row].len();
            let difference = max_abs(batch.clone().narrow(0, row, 1).narrow(1, 0, length) - single);
            assert!(difference < ROUNDING, "row {row}: {difference}");
        }
        let config = GenerationConfig { max_new_tokens: 4, ..Default::default() };
        let together = model.generate(&rows, features, &config, &device).unwrap();
        let alone = model.generate(&rows[2..], encode(&model, &[2], &device), &config, &device).unwrap();
        assert_eq!(together[2], alone[0]);
        let text = model.generate(&rows[1..2], None, &config, &device).unwrap();
        assert_eq!(together[1], text[0]);
    }
}

#[test]
fn tokens_are_put_side_by_side_and_rows_end_with_the_newline() {
    let device = Device::flex();
    let model = models(&device).remove(0);
    let features = encode(&model, &[0], &device);
    let tiles = model.connect(features.features.clone().unwrap(), None).unwrap();
    let input = VlmInput::new(ids(&[vec![1]], &device)).with_features(features);
    let packed = model.visual_tokens(&input).unwrap().unwrap().squeeze_dim::<2>(0);
    let row = |index: usize| values(packed.clone().narrow(0, index, 1));
    let token = |tile: usize, index: usize| values(tiles.clone().narrow(0, tile, 1).narrow(1, index, 1));
    let newline = values(model.image_newline.as_ref().unwrap().val());
    for index in 0..16 {
        assert_eq!(row(index), token(0, index), "base {index}");
    }
    for line in 0..4 {
        for column in 0..4 {
            assert_eq!(row(16 + line * 9 + column), token(1, line * 4 + column), "left {line} {column}");
            assert_eq!(row(16 + line * 9 + 4 + column), token(2, line * 4 + column), "right {line} {column}");
        }
        assert_eq!(row(16 + line * 9 + 8), newline, "newline {line}");
    }
}

#[test]
fn gradients_reach_the_newline() {
    let device = autodiff_device();
    let model = models(&device).remove(0);
    let features = encode(&model, &[0, 2], &device);
    let input = VlmInput::new(ids(&[vec![1]], &device)).with_features(features);
    let gradients = model.visual_tokens(&input).unwrap().unwrap().sum().backward();
    let gradients = GradientsParams::from_grads(gradients, &model);
    let newline = parameters(&model).into_iter().find(|parameter| parameter.name == "image_newline").unwrap();
    // Four rows of the first picture and the one tile of the other.
    let found = values(gradients.get::<1>(newline.id).unwrap());
    assert!(found.iter().all(|gradient| (gradient - 5.0).abs() < ROUNDING), "{found:?}");
}

#[test]
fn several_feature_layers_are_concatenated() {
    let device = Device::flex();
    let config = tiny::tiled_config(tiny::clip(), tiny::qwen2());
    let config = VlmConfig { vision_feature_layer: FeatureLayer::Many(vec![-2, -1]), ..config };
    let model = tiny::vlm(&config, 3, &device);
    let features = encode(&model, &[1], &device);
    assert_eq!(features.features.as_ref().unwrap().dims(), [3, 16, 32]);
    let count = features.packing.as_ref().unwrap().image_tokens()[0];
    assert!(model.forward(&VlmInput::new(ids(&[prompt(&[count], &[4])], &device)).with_features(features)).is_ok());
}

#[test]
fn misfits_are_errors_that_say_what_to_do() {
    let device = Device::flex();
    let model = models(&device).remove(0);
    let (_, pixels) = pictures(&model, &device);
    let two = || pixels.clone().narrow(0, 0, 2);
    let error = |result: Result<VisualFeatures, ModelError>| result.unwrap_err().to_string();
    let text = error(model.encode_tiled_images(two(), &[2], &[SIZES[0]]));
    assert!(text.contains("2 tiles") && text.contains("16 x 32") && text.contains("expected 3"), "{text}");
    let text = error(model.encode_tiled_images(two(), &[1, 1], &[SIZES[0]]));
    assert!(text.contains("2 tile counts") && text.contains("1 image sizes"), "{text}");
    let text = error(model.encode_tiled_images(pixels.clone().narrow(0, 0, 3), &[3], &[(1, 5000)]));
    assert!(text.contains("1 x 5000") && text.contains("too thin"), "{text}");

    let features = model.encode_tiled_images(two(), &[1, 1], &[SIZES[0]; 2]).unwrap();
    let input = VlmInput::new(ids(&[prompt(&[17, 16], &[4])], &device)).with_features(features.clone());
    let text = model.embed(&input).unwrap_err().to_string();
    assert!(text.contains("33 image tokens") && text.contains("[17, 17]"), "{text}");
    let wrong = VisualFeatures { features: features.features.map(|tiles| tiles.narrow(0, 0, 1)), ..features };
    let text = model.visual_tokens(&VlmInput::new(ids(&[vec![1]], &device)).with_features(wrong)).unwrap_err();
    assert!(text.to_string().contains("the packing is for 2 tiles"), "{text}");

    let plain = tiny::vlm(&tiny::vlm_config(tiny::siglip(), tiny::gemma2()), 3, &device);
    assert!(error(plain.encode_tiled_images(two(), &[2], &[SIZES[0]])).contains("not tiled"));

    let invalid = |vision: VisionConfig, change: &dyn Fn(&mut VlmConfig)| {
        let mut config = tiny::tiled_config(vision, tiny::gemma2());
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    let pinpoints = |config: &mut VlmConfig| config.image_grid_pinpoints = Some(vec![(16, 24)]);
    assert!(invalid(tiny::siglip(), &pinpoints).contains("multiples of the tower's image_size 16"));
    let full = |config: &mut VlmConfig| config.vision_feature_select_strategy = SelectStrategy::Full;
    assert!(invalid(tiny::clip(), &full).contains("`default`"));
    let default = |config: &mut VlmConfig| config.vision_feature_select_strategy = SelectStrategy::Default;
    assert!(invalid(tiny::siglip(), &default).contains("`full`"));
}

#[test]
fn padding_on_the_left_is_padding_on_the_right() {
    let device = Device::flex();
    let model = models(&device).remove(1);
    let features = encode(&model, &[0], &device);
    let row = prompt(features.packing.as_ref().unwrap().image_tokens(), &[7, 8]);
    let length = row.len();
    let right = model.forward(&VlmInput::new(ids(std::slice::from_ref(&row), &device)).with_features(features.clone()));
    let padded: Vec<u32> = [vec![0; 3], row].concat();
    let mask: Vec<bool> = (0..padded.len()).map(|at| at >= 3).collect();
    let mask = TensorData::new(mask, [1, padded.len()]);
    let mut input = VlmInput::new(ids(&[padded], &device)).with_features(features);
    input.attention = AttentionInput::left_padded(Tensor::from_data(mask, &device));
    let left = model.forward(&input).unwrap().narrow(1, 3, length);
    assert!(max_abs(left - right.unwrap()) < ROUNDING);
}
