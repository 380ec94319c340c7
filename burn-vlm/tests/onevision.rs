//! Videos on tiny random parts: where newlines stand, videos of several lengths and pictures in a batch, chunks, limits of a
//! picture's grid, what is read from published configs, misfits.

#![cfg(feature = "flex")]

mod common;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::{Pretrained, StoreDtype, parameters};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::seeded_normal;
use burn_vlm::language::LanguageConfig;
use burn_vlm::vision::VisionConfig;
use burn_vlm::vlm::{
    FeatureLayer, Medium, NewlinePosition, PoolMode, SelectStrategy, VisualFeatures, Vlm, VlmConfig, VlmInput, VlmType,
    default_pinpoints,
};
use common::tiny::{self, IMAGE_TOKEN, VIDEO_TOKEN};
use common::{autodiff_device, ids, max_abs, values};
use serde_json::json;

/// Sums in another order, on values of order 1.
const ROUNDING: f32 = 2e-5;
/// Tokens of a frame: 4 x 4, pooled by two.
const POOLED: usize = 4;

fn models(device: &Device) -> Vec<Vlm> {
    [(tiny::siglip(), tiny::gemma2()), (tiny::clip(), tiny::qwen2())]
        .into_iter()
        .map(|(vision, text)| tiny::vlm(&tiny::onevision_config(vision, text), 3, device))
        .collect()
}

fn video(frames: usize) -> Medium {
    Medium::Video { frames }
}

/// 16 x 32 pixels: a base tile and two more.
const PICTURE: Medium = Medium::Picture { tiles: 3, size: (16, 32) };
/// One view.
const SQUARE: Medium = Medium::Picture { tiles: 1, size: (9, 9) };

/// A picture's or video's own pixels, the same in whatever batch.
fn pixels(media: &[(u64, Medium)], device: &Device) -> Tensor<4> {
    let own = |(seed, medium): &(u64, Medium)| seeded_normal([medium.views(), 3, 16, 16], *seed, device);
    Tensor::cat(media.iter().map(own).collect(), 0)
}

fn encode(model: &Vlm, media: &[(u64, Medium)], device: &Device) -> VisualFeatures {
    let kinds: Vec<Medium> = media.iter().map(|(_, medium)| *medium).collect();
    model.encode_media(pixels(media, device), &kinds).unwrap()
}

/// The places of pictures and videos with a word behind each, then text.
fn prompt(model: &Vlm, media: &[(u64, Medium)], text: &[u32]) -> Vec<u32> {
    let kinds: Vec<Medium> = media.iter().map(|(_, medium)| *medium).collect();
    let packing = model.config.pack(&kinds).unwrap();
    let places = kinds.iter().zip(packing.image_tokens()).flat_map(|(medium, count)| {
        let id = if matches!(medium, Medium::Video { .. }) { VIDEO_TOKEN } else { IMAGE_TOKEN };
        std::iter::repeat_n(id as u32, *count).chain([5])
    });
    [2].into_iter().chain(places).chain(text.iter().copied()).collect()
}

/// What stands in the places, before any scale.
fn tokens(model: &Vlm, features: VisualFeatures) -> Tensor<2> {
    let device = model.language_model.device();
    let input = VlmInput::new(ids(&[vec![1]], &device)).with_features(features);
    model.visual_tokens(&input).unwrap().unwrap().squeeze_dim::<2>(0)
}

#[test]
fn newlines_stand_where_the_config_says() {
    let device = Device::flex();
    for (newline, after_rows, after_frames, at_the_end) in [
        (NewlinePosition::Grid, true, false, false),
        (NewlinePosition::Frame, false, true, false),
        (NewlinePosition::OneToken, false, false, true),
        (NewlinePosition::NoToken, false, false, false),
    ] {
        let config = tiny::onevision_config(tiny::siglip(), tiny::qwen2());
        let model = tiny::vlm(&VlmConfig { mm_newline_position: newline, ..config }, 3, &device);
        let media = [(1, video(2)), (2, video(1))];
        let pooled = values(model.encode_frames(pixels(&media, &device)).unwrap());
        let hidden = model.config.text_config.hidden_size();
        let pooled: Vec<&[f32]> = pooled.chunks(hidden).collect();
        let end = values(model.image_newline.as_ref().unwrap().val());
        let mut expected: Vec<&[f32]> = Vec::new();
        for (video, frames) in [0..2, 2..3].into_iter().enumerate() {
            let before = expected.len();
            for frame in frames.clone() {
                for row in 0..2 {
                    let first = frame * POOLED + row * 2;
                    expected.extend(&pooled[first..first + 2]);
                    expected.extend(after_rows.then_some(end.as_slice()));
                }
                expected.extend(after_frames.then_some(end.as_slice()));
            }
            expected.extend(at_the_end.then_some(end.as_slice()));
            let count = model.config.num_video_tokens(frames.len()).unwrap();
            assert_eq!(expected.len() - before, count, "{newline:?} video {video}");
        }
        let found = values(tokens(&model, encode(&model, &media, &device)));
        assert_eq!(found.chunks(hidden).collect::<Vec<_>>(), expected, "{newline:?}");
    }
}

#[test]
fn pictures_and_videos_of_all_lengths_share_a_batch() {
    let device = Device::flex();
    for model in models(&device) {
        let (long, short, picture, square) = ((1, video(5)), (2, video(2)), (3, PICTURE), (4, SQUARE));
        let shown = [vec![long], vec![], vec![picture, short], vec![short, square, picture]];
        let texts: [&[u32]; 4] = [&[7, 8], &[3, 4, 6], &[9], &[1, 2, 3, 4]];
        let rows: Vec<Vec<u32>> = shown.iter().zip(texts).map(|(media, text)| prompt(&model, media, text)).collect();
        let features = encode(&model, &shown.concat(), &device);
        let counts = features.packing.as_ref().unwrap().image_tokens().to_vec();
        // Four rows of 8 and a newline for the tiles.
        assert_eq!(counts, [5 * 4 + 1, 16 + 36, 2 * 4 + 1, 2 * 4 + 1, 17, 16 + 36]);
        let batch = model.forward(&VlmInput::new(ids(&rows, &device)).with_features(features.clone())).unwrap();
        let config = GenerationConfig { max_new_tokens: 4, ..Default::default() };
        let together = model.generate(&rows, features, &config, &device).unwrap();
        for (row, media) in shown.iter().enumerate() {
            let own = || match media.is_empty() {
                true => VisualFeatures::default(),
                false => encode(&model, media, &device),
            };
            let single = VlmInput::new(ids(&rows[row..=row], &device)).with_features(own());
            let single = model.forward(&single).unwrap();
            let length = rows[row].len();
            let difference = max_abs(batch.clone().narrow(0, row, 1).narrow(1, 0, length) - single);
            assert!(difference < ROUNDING, "row {row}: {difference}");
            let alone = model.generate(&rows[row..=row], own(), &config, &device).unwrap();
            assert_eq!(together[row], alone[0], "row {row}");
        }
    }
}

#[test]
fn chunks_of_views_give_what_all_at_once_give() {
    let device = Device::flex();
    for model in models(&device) {
        let media = [(1, video(5)), (3, PICTURE), (2, video(2)), (4, SQUARE)];
        let kinds: Vec<Medium> = media.iter().map(|(_, medium)| *medium).collect();
        let whole = tokens(&model, encode(&model, &media, &device));
        for step in [None, Some(1), Some(2), Some(3), Some(100)] {
            let model = Vlm { images_per_chunk: step, ..model.clone() };
            let features = tokens(&model, encode(&model, &media, &device));
            assert!(max_abs(features - whole.clone()) < ROUNDING, "features, {step:?}");
            let made = model.media_tokens(pixels(&media, &device), &kinds).unwrap();
            assert!(made.features.is_none());
            let made = made.tokens.unwrap().squeeze_dim::<2>(0);
            assert!(max_abs(made - whole.clone()) < ROUNDING, "tokens, {step:?}");
        }
        // A frame at a time, as a decoder gives them.
        let all = pixels(&media[..1], &device);
        let frames = (0..5).map(|frame| model.encode_frames(all.clone().narrow(0, frame, 1)).unwrap()).collect();
        let joined = model.join_tokens(&kinds[..1], vec![], frames).unwrap().tokens.unwrap().squeeze_dim::<2>(0);
        assert!(max_abs(joined - whole.narrow(0, 0, 21)) < ROUNDING);
        // Tokens made before go the same way through the decoder.
        let row = prompt(&model, &media, &[7, 8]);
        let forward =
            |features| model.forward(&VlmInput::new(ids(std::slice::from_ref(&row), &device)).with_features(features));
        let from_features = forward(encode(&model, &media, &device)).unwrap();
        let made = model.media_tokens(pixels(&media, &device), &kinds).unwrap();
        assert!(max_abs(forward(made.clone()).unwrap() - from_features) < ROUNDING);
        let config = GenerationConfig { max_new_tokens: 3, ..Default::default() };
        let generate =
            |features: VisualFeatures| model.generate(std::slice::from_ref(&row), features, &config, &device);
        assert_eq!(generate(made).unwrap(), generate(encode(&model, &media, &device)).unwrap());
    }
}

/// A grid of 12 x 12 tokens that may have one tile's, 4 x 4: the scale is 3 and the places are 1, 4, 7 and 10, so that every new token
/// is one of the old. The base tile stays, newlines follow the new rows.
#[test]
fn a_large_grid_is_scaled_down_before_its_newlines() {
    let device = Device::flex();
    let config = VlmConfig {
        image_grid_pinpoints: Some(vec![(48, 48)]),
        vision_aspect_ratio: Some("anyres_max_1".into()),
        ..tiny::onevision_config(tiny::siglip(), tiny::gemma2())
    };
    let model = tiny::vlm(&config, 3, &device);
    let picture = Medium::Picture { tiles: 10, size: (48, 48) };
    // A video before it: the table's parts are told apart.
    let media = [(2, video(1)), (1, picture)];
    let packed = tokens(&model, encode(&model, &media, &device)).narrow(0, POOLED + 1, 16 + 20);
    assert_eq!(model.config.num_image_tokens((48, 48)).unwrap(), 16 + 20);
    let tiles = model.encode_tiles(pixels(&media[1..], &device)).unwrap();
    let row = |index: usize| values(packed.clone().narrow(0, index, 1));
    let token = |tile: usize, index: usize| values(tiles.clone().narrow(0, tile, 1).narrow(1, index, 1));
    let close = |found: Vec<f32>, expected: Vec<f32>, place: &str| {
        let same = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < ROUNDING);
        assert!(same && found.len() == expected.len(), "{place}: {found:?} {expected:?}");
    };
    (0..16).for_each(|index| close(row(index), token(0, index), "base"));
    for (line, y) in [1, 4, 7, 10].into_iter().enumerate() {
        for (column, x) in [1, 4, 7, 10].into_iter().enumerate() {
            let (tile, within) = (1 + y / 4 * 3 + x / 4, y % 4 * 4 + x % 4);
            close(row(16 + line * 5 + column), token(tile, within), &format!("{line} {column}"));
        }
        close(row(16 + line * 5 + 4), values(model.image_newline.as_ref().unwrap().val()), "newline");
    }
    // Within 1.1 of the limit it stays: 12 x 12 tokens are 9 tiles' and 1.06 times 8 tiles'.
    for (limit, count) in
        [("anyres_max_9", 16 + 156), ("anyres_max_8", 16 + 156), ("anyres", 16 + 156), ("anyres_max_7", 16 + 110)]
    {
        let config = VlmConfig { vision_aspect_ratio: Some(limit.into()), ..config.clone() };
        assert_eq!(config.num_image_tokens((48, 48)).unwrap(), count, "{limit}");
    }
}

#[test]
fn only_a_lone_picture_is_tiled_unless_the_switch_says_so() {
    let config = tiny::onevision_config(tiny::siglip(), tiny::gemma2());
    for (version, switch, several) in [
        (Some("4.51.3"), None, true),
        (Some("4.52.4"), None, true),
        (Some("4.53.0"), None, false),
        (Some("5.24.0"), None, false),
        (None, None, true),
        (Some("5.24.0"), Some(true), true),
        (Some("4.51.3"), Some(false), false),
    ] {
        let config =
            VlmConfig { transformers_version: version.map(String::from), tile_every_image: switch, ..config.clone() };
        assert_eq!((config.tiles_images(1), config.tiles_images(2)), (true, several), "{version:?} {switch:?}");
    }
    let next = tiny::tiled_config(tiny::siglip(), tiny::gemma2());
    assert!(next.tiles_images(2));
    assert!(!tiny::vlm_config(tiny::siglip(), tiny::gemma2()).tiles_images(1));
}

#[test]
fn gemmas_scale_reaches_frames_and_the_newline() {
    let device = Device::flex();
    let config = tiny::onevision_config(tiny::siglip(), tiny::gemma2());
    let media = [(1, video(2))];
    let embeds = |scale| {
        let config = VlmConfig { scale_visual_embeds: Some(scale), ..config.clone() };
        let model = tiny::vlm(&config, 3, &device);
        let row = prompt(&model, &media, &[4]);
        let input = VlmInput::new(ids(&[row], &device)).with_features(encode(&model, &media, &device));
        model.embed(&input).unwrap()
    };
    let (scaled, plain) = (embeds(true), embeds(false));
    let visual = |embeds: &Tensor<3>| embeds.clone().narrow(1, 1, 9);
    // sqrt(24)
    assert!(max_abs(visual(&scaled) - visual(&plain) * 24f64.sqrt()) < ROUNDING * 10.0);
    assert_eq!(values(scaled.narrow(1, 10, 2)), values(plain.narrow(1, 10, 2)));
}

#[test]
fn gradients_go_through_the_pooling() {
    let device = autodiff_device();
    for mode in [PoolMode::Bilinear, PoolMode::Average, PoolMode::Max] {
        let config = tiny::onevision_config(tiny::siglip(), tiny::qwen2());
        let model = tiny::vlm(&VlmConfig { mm_spatial_pool_mode: mode, ..config }, 3, &device);
        let visual = tokens(&model, encode(&model, &[(1, video(3)), (2, video(1)), (4, SQUARE)], &device));
        let gradients = GradientsParams::from_grads(visual.sum().backward(), &model);
        let parameters = parameters(&model);
        let id = |name: &str| parameters.iter().find(|parameter| parameter.name == name).unwrap().id;
        let newline = values(gradients.get::<1>(id("image_newline")).unwrap());
        assert!(newline.iter().all(|gradient| (gradient - 3.0).abs() < ROUNDING), "{newline:?}");
        // The last bias is added to every token: once for each pooled token of 4 frames and each of the picture's 16, since the
        // weights of an interpolation sum to one.
        let bias = values(gradients.get::<1>(id("multi_modal_projector.linear_2.bias")).unwrap());
        assert!(bias.iter().all(|gradient| (gradient - 32.0).abs() < 1e-3), "{mode:?} {bias:?}");
        let tower = values(gradients.get::<2>(id("vision_tower.encoder.layers.0.mlp.fc1.weight")).unwrap().abs().sum());
        assert!(tower[0] > 0.0);
    }
}

#[test]
fn a_model_survives_a_round_trip() {
    let device = Device::flex();
    let config = VlmConfig {
        mm_newline_position: NewlinePosition::Grid,
        mm_spatial_pool_mode: PoolMode::Max,
        ..tiny::onevision_config(tiny::siglip(), tiny::gemma2())
    };
    let model = tiny::vlm(&config, 1, &device);
    let dir = tempfile::tempdir().unwrap();
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("model_type", json!("llava_onevision")),
        ("architectures", json!(["LlavaOnevisionForConditionalGeneration"])),
        ("video_token_index", json!(VIDEO_TOKEN)),
        ("mm_newline_position", json!("grid")),
        ("mm_spatial_pool_mode", json!("max")),
        ("mm_spatial_pool_stride", json!(null)),
        ("tile_every_image", json!(true)),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    let back = Vlm::load_pretrained(dir.path(), &device).unwrap();
    let media = [(1, video(2)), (3, PICTURE)];
    let made = |model: &Vlm| values(tokens(model, encode(model, &media, &device)));
    assert_eq!(made(&back), made(&model));
    // Where videos have no token of their own, the one of pictures stands for them afterwards too.
    let one = tiny::vlm(&VlmConfig { video_token_index: None, ..config }, 1, &device);
    let dir = tempfile::tempdir().unwrap();
    one.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let back = Vlm::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(back.config.visual_ids(), one.config.visual_ids());
    assert_eq!(made(&back), made(&one));
    // Keys of videos are not written of a model without.
    let plain = serde_json::to_value(tiny::tiled_config(tiny::siglip(), tiny::gemma2())).unwrap();
    let words = ["video_token_index", "vision_aspect_ratio", "tile_every_image"];
    let written = plain.as_object().unwrap().keys().any(|key| key.starts_with("mm_") || words.contains(&key.as_str()));
    assert!(!written, "{plain}");
}

#[test]
fn a_picture_model_becomes_one_for_videos() {
    let device = Device::flex();
    let next = tiny::vlm(&tiny::tiled_config(tiny::siglip(), tiny::gemma2()), 3, &device);
    let made = |model: &Vlm| values(tokens(model, encode(model, &[(3, PICTURE), (4, SQUARE)], &device)));
    let before = made(&next);
    // Whatever version wrote it: each of several pictures was tiled, and is.
    let newest = VlmConfig { transformers_version: Some("5.24.0".into()), ..next.config.clone() };
    assert!(newest.tiles_images(2) && newest.for_videos(None).tiles_images(2));
    let model = next.for_videos(Some(VIDEO_TOKEN)).unwrap();
    assert_eq!(made(&model), before);
    assert_eq!(tokens(&model, encode(&model, &[(1, video(3))], &device)).dims(), [13, 24]);
    assert!(model.config.scales_visual_embeds() && model.config.softcaps_logits());

    let plain = VlmConfig::new(tiny::siglip(), tiny::qwen2(), IMAGE_TOKEN);
    let model = tiny::vlm(&plain, 3, &device).for_videos(None).unwrap();
    assert_eq!((model.config.pinpoints(), model.config.visual_ids()), (vec![(16, 16)], vec![IMAGE_TOKEN]));
    assert!(model.image_newline.is_some());
}

/// The code that trained these models marks videos by the token of pictures.
#[test]
fn one_token_may_stand_for_both() {
    let device = Device::flex();
    let config = tiny::onevision_config(tiny::siglip(), tiny::qwen2());
    let (two, one) = (tiny::vlm(&config, 3, &device), VlmConfig { video_token_index: None, ..config });
    let one = tiny::vlm(&one, 3, &device);
    let media = [(1, video(2)), (3, PICTURE), (2, video(1))];
    let row = prompt(&two, &media, &[7, 8]);
    let marked = row.iter().map(|id| if *id == VIDEO_TOKEN as u32 { IMAGE_TOKEN as u32 } else { *id }).collect();
    let forward = |model: &Vlm, row: Vec<u32>| {
        let input = VlmInput::new(ids(&[row], &device)).with_features(encode(model, &media, &device));
        values(model.forward(&input).unwrap())
    };
    assert_eq!(forward(&one, marked), forward(&two, row));
}

#[test]
fn configs_read_the_published_keys() {
    // TowerVideo-2B's in its essence: nothing of OneVision's own but the ids.
    let text = json!({
        "model_type": "llava_onevision", "image_token_id": 256_000, "video_token_id": 256_001,
        "vision_config": {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, "hidden_size": 1152,
            "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16, "vision_use_head": false},
        "text_config": {"model_type": "gemma2", "vocab_size": 256_002},
        "use_image_newline_parameter": true, "transformers_version": "4.51.3"
    });
    let read = |json: serde_json::Value| Vlm::read_config(json, std::path::Path::new("m"));
    let config = read(text).unwrap();
    config.validate().unwrap();
    assert_eq!(config.num_video_tokens(32).unwrap(), 6273);
    assert_eq!(config.visual_ids(), [256_000, 256_001]);
    assert_eq!((config.pinpoints().len(), config.max_tiles()), (36, Some(9)));
    assert_eq!(config.vision_feature_layer, FeatureLayer::One(-1));
    assert_eq!(config.vision_feature_select_strategy, SelectStrategy::Full);
    assert!(config.scales_visual_embeds() && config.softcaps_logits() && config.tiles_every_image());

    // What a config leaves out altogether.
    let config = read(json!({"model_type": "llava_onevision"})).unwrap();
    assert_eq!(config.visual_ids(), [151_646, 151_647]);
    let VisionConfig::Siglip(vision) = &config.vision_config else { panic!() };
    assert_eq!((vision.num_hidden_layers, vision.hidden_size, vision.vision_use_head), (26, 1152, false));
    assert!(matches!(config.text_config, LanguageConfig::Qwen2(_)));
    config.validate().unwrap();
}

#[test]
fn the_layout_of_the_code_that_trained_is_read() {
    let read = |keys: serde_json::Value| {
        let mut json = json!({ "model_type": "llava_qwen", "mm_vision_tower": "google/siglip-so400m-patch14-384",
            "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
            "vocab_size": 100, "image_grid_pinpoints": [[384, 768], [768, 384]], "mm_patch_merge_type": "spatial_unpad" });
        json.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        Vlm::read_config(json, std::path::Path::new("m")).map_err(|error| error.to_string())
    };
    let config = read(json!({"image_aspect_ratio": "anyres_max_4", "mm_newline_position": "grid",
        "mm_spatial_pool_mode": "average", "mm_spatial_pool_stride": 3}))
    .unwrap();
    config.validate().unwrap();
    // The tower's last layer is cut off and its output read, whatever is said of layers and tokens.
    assert_eq!(config.vision_feature_layer, FeatureLayer::One(-1));
    assert_eq!(config.num_visual_tokens(), 729);
    assert_eq!((config.model_type, config.max_tiles()), (VlmType::LlavaOnevision, Some(4)));
    // 27 / 3 rows of 9 and a newline.
    assert_eq!(config.num_video_tokens(2).unwrap(), 2 * 9 * 10);
    assert_eq!(config.visual_ids(), [100]);
    assert!(!config.tiles_images(2));

    // The newline's place is written of pictures alone too.
    let config = read(json!({"image_aspect_ratio": "anyres", "mm_newline_position": "grid"})).unwrap();
    assert_eq!(config.model_type, VlmType::LlavaNext);
    let config = read(json!({"image_aspect_ratio": "anyres", "mm_spatial_pool_mode": "bilinear"})).unwrap();
    assert_eq!((config.model_type, config.max_tiles()), (VlmType::LlavaOnevision, None));
    assert_eq!(config.num_video_tokens(1).unwrap(), 197);
    // As the published OneVision models have it: a range of grids, narrow ones first where transformers has the low ones first.
    let config =
        read(json!({"image_aspect_ratio": "anyres_max_9", "image_grid_pinpoints": "(1x1),...,(6x6)"})).unwrap();
    let turned: Vec<_> = config.pinpoints().into_iter().map(|(height, width)| (width, height)).collect();
    assert_eq!((turned, config.max_tiles()), (default_pinpoints(), Some(9)));
    let error = read(json!({"image_aspect_ratio": "anyres_max_9", "image_grid_pinpoints": "6x6"})).unwrap_err();
    assert!(error.contains("image_grid_pinpoints") && error.contains("anyres_max_9"), "{error}");
    let error = read(json!({"image_aspect_ratio": "anyres_max_9", "add_faster_video": true})).unwrap_err();
    assert!(error.contains("add_faster_video"), "{error}");
    let error = read(json!({"image_aspect_ratio": "anyres_max_9", "mm_patch_merge_type": "flat"})).unwrap_err();
    assert!(error.contains("mm_patch_merge_type") && error.contains("spatial_unpad"), "{error}");
}

#[test]
fn misfits_are_errors_that_say_what_to_do() {
    let device = Device::flex();
    let model = models(&device).remove(0);
    let frames = |count: usize| seeded_normal([count, 3, 16, 16], 1, &device);
    let error = |made: Result<VisualFeatures, burn_vlm::ModelError>| made.unwrap_err().to_string();
    let text = error(model.encode_media(frames(3), &[video(2)]));
    assert!(text.contains("3 tiles") && text.contains("2 tiles"), "{text}");
    assert!(error(model.media_tokens(frames(1), &[video(2)])).contains("1 tiles"));
    assert!(error(model.encode_media(frames(1), &[video(0), SQUARE])).contains("without frames"));
    assert!(error(model.media_tokens(frames(1), &[])).contains("packing is for 0"));
    let pooled = || vec![model.encode_frames(frames(2)).unwrap()];
    let text = error(model.join_tokens(&[video(3)], vec![], pooled()));
    assert!(text.contains("8 tokens") && text.contains("for 12"), "{text}");
    let next = tiny::vlm(&tiny::tiled_config(tiny::siglip(), tiny::gemma2()), 3, &device);
    assert!(error(next.encode_media(frames(2), &[video(2)])).contains("takes no videos"));
    let plain = tiny::vlm(&tiny::vlm_config(tiny::siglip(), tiny::gemma2()), 3, &device);
    assert!(error(plain.encode_media(frames(2), &[video(2)])).contains("neither tiles nor videos"));

    // Pictures and videos in another order than their places.
    let media = [(1, video(4)), (4, SQUARE)];
    let input = |row: Vec<u32>| VlmInput::new(ids(&[row], &device)).with_features(encode(&model, &media, &device));
    let turned = prompt(&model, &[media[1], media[0]], &[3]);
    let text = model.embed(&input(turned)).unwrap_err().to_string();
    assert!(text.contains("number 0") && text.contains("order of their places"), "{text}");
    let text = model.embed(&input(vec![VIDEO_TOKEN as u32; 4])).unwrap_err().to_string();
    assert!(text.contains("4 image tokens") && text.contains("[17, 17]"), "{text}");
    let text = model.embed(&VlmInput::new(ids(&[vec![VIDEO_TOKEN as u32]], &device))).unwrap_err().to_string();
    assert!(text.contains("1 image tokens"), "{text}");

    let invalid = |change: &dyn Fn(&mut VlmConfig)| {
        let mut config = tiny::onevision_config(tiny::siglip(), tiny::gemma2());
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(invalid(&|config| config.vision_aspect_ratio = Some("pad".into())).contains("anyres_max_N"));
    assert!(invalid(&|config| config.mm_spatial_pool_stride = 0).contains("from 1 to 4"));
    assert!(invalid(&|config| config.mm_spatial_pool_stride = 5).contains("mm_spatial_pool_stride"));
    assert!(invalid(&|config| config.video_token_index = Some(-1)).contains("video_token_index"));
}
