//! The composed model on tiny random parts: visual tokens, the scatter, cached features, text-only rows.

#![cfg(feature = "flex")]

mod common;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::connector::Projector;
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::{Scope, seeded_normal};
use burn_vlm::language::{AttentionInput, LanguageConfig};
use burn_vlm::vision::VisionConfig;
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, VisualTokens, Vlm, VlmConfig, VlmInput};
use common::tiny::{self, IMAGE_TOKEN};
use common::{autodiff_device, max_abs, shifted, values};

/// Sums in another order, on values of order 1.
const ROUNDING: f32 = 2e-5;
/// Padding label.
const IGNORED: i64 = -100;

fn models(device: &Device) -> Vec<Vlm> {
    let mut models = Vec::new();
    for vision in [tiny::siglip(), tiny::clip()] {
        for text in [tiny::gemma2(), tiny::qwen2(), tiny::llama()] {
            models.push(tiny::vlm(&tiny::vlm_config(vision.clone(), text), 3, device));
        }
    }
    models
}

fn pixels(count: usize, device: &Device) -> Tensor<4> {
    seeded_normal([count, 3, 16, 16], 9, device)
}

fn tensor(ids: &[Vec<i64>], device: &Device) -> Tensor<2, Int> {
    let shape = [ids.len(), ids[0].len()];
    Tensor::from_data(TensorData::new(ids.concat(), shape), device)
}

/// A row with an image (5 tokens), right-padded to `width`.
fn with_image(text: &[i64], width: usize) -> Vec<i64> {
    let mut row = [vec![2], vec![IMAGE_TOKEN; 5], text.to_vec()].concat();
    row.resize(width, 0);
    row
}

#[test]
fn a_batch_equals_its_rows_with_and_without_images() {
    let device = Device::flex();
    for model in models(&device) {
        let features = model.encode_images(pixels(2, &device)).unwrap();
        assert_eq!(features.dims(), [2, 5, 16]);
        assert_eq!(model.config.num_visual_tokens(), 5);
        let rows =
            [with_image(&[7, 8, 9], 12), vec![2, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0], with_image(&[1, 3, 5, 7, 9], 12)];
        let input = VlmInput::new(tensor(&rows, &device)).with_features(features.clone());
        let batch = model.forward(&input).unwrap();
        for (row, length, image) in [(0, 9, Some(0)), (1, 4, None), (2, 11, Some(1))] {
            let mut input = VlmInput::new(tensor(&[rows[row][..length].to_vec()], &device));
            input.features = image.map(|image| features.clone().narrow(0, image, 1));
            let single = model.forward(&input).unwrap();
            let difference = max_abs(batch.clone().narrow(0, row, 1).narrow(1, 0, length) - single);
            assert!(difference < ROUNDING, "row {row}: {difference}");
        }
        // The text-only row is what the language model alone makes of it.
        let alone = &model.language_model;
        let text = alone.embed(tensor(&[vec![2, 5, 6, 7]], &device));
        let text = alone.forward(text, &AttentionInput::contiguous(), None).unwrap();
        assert!(max_abs(batch.narrow(0, 1, 1).narrow(1, 0, 4) - text) < ROUNDING);
    }
}

#[test]
fn features_computed_before_equal_the_way_from_the_pixels() {
    // Features of a frozen tower are computed without autodiff, leave the device, and are fed with autodiff later.
    let device = autodiff_device();
    for model in models(&device) {
        let direct = model.encode_images(pixels(1, &device)).unwrap();
        let plain = Device::flex();
        let stored = model.valid().encode_images(pixels(1, &plain)).unwrap().into_data();
        let stored = Tensor::<3>::from_data(stored, &device);
        let ids = tensor(&[with_image(&[7, 8, 9], 9)], &device);
        let labels = [vec![IGNORED; 6], vec![7, 8, 9]].concat();
        let mut losses = Vec::new();
        for features in [direct, stored] {
            let (target_rows, targets) = shifted(&labels, 9, &device);
            let input = VlmInput::new(ids.clone()).with_features(features);
            losses.push(values(model.target_losses(&input, target_rows, targets).unwrap()));
        }
        // Burn decomposes softmax under autodiff, so the two ways round differently.
        for (direct, stored) in losses[0].iter().zip(&losses[1]) {
            assert!((direct - stored).abs() < ROUNDING, "{losses:?}");
        }
        assert_eq!(losses[0].len(), 3);
    }
}

#[test]
fn known_places_equal_places_read_back() {
    let device = Device::flex();
    let model = models(&device).remove(0);
    let features = model.encode_images(pixels(1, &device)).unwrap();
    let ids = tensor(&[with_image(&[4], 8), vec![1, 2, 3, 4, 5, 6, 7, 8]], &device);
    let mut input = VlmInput::new(ids).with_features(features);
    let read = model.embed(&input).unwrap();
    input.image_positions = Some(Tensor::from_data(TensorData::new(vec![1i64, 2, 3, 4, 5], [5]), &device));
    assert_eq!(values(read), values(model.embed(&input).unwrap()));
}

#[test]
fn losses_are_those_of_the_full_logits() {
    let device = autodiff_device();
    for model in models(&device) {
        let features = model.encode_images(pixels(1, &device)).unwrap();
        let row = with_image(&[7, 8, 9, 1], 10);
        let input = VlmInput::new(tensor(std::slice::from_ref(&row), &device)).with_features(features);
        let logits = values(model.language_model.logits(model.forward(&input).unwrap()));
        let labels = [vec![IGNORED; 7], vec![8, IGNORED, 1]].concat();
        let (target_rows, targets) = shifted(&labels, 10, &device);
        let losses = values(model.target_losses(&input, target_rows, targets).unwrap());
        for (loss, position) in losses.iter().zip([7usize, 9]) {
            let row_logits = &logits[(position - 1) * tiny::VOCABULARY..position * tiny::VOCABULARY];
            let sum: f64 = row_logits.iter().map(|logit| f64::from(*logit).exp()).sum();
            let expected = sum.ln() - f64::from(row_logits[row[position] as usize]);
            assert!((f64::from(*loss) - expected).abs() < f64::from(ROUNDING), "{loss} {expected}");
        }
    }
}

#[test]
fn gradients_reach_every_part_and_not_the_image_tokens_row() {
    let device = autodiff_device();
    let model = models(&device).remove(1);
    let features = model.encode_images(pixels(1, &device)).unwrap();
    let input = VlmInput::new(tensor(&[with_image(&[7, 8, 9], 9)], &device)).with_features(features);
    let labels = [vec![IGNORED; 6], vec![7, 8, 9]].concat();
    let (target_rows, targets) = shifted(&labels, 9, &device);
    let gradients = model.target_losses(&input, target_rows, targets).unwrap().mean().backward();
    let gradients = burn::optim::GradientsParams::from_grads(gradients, &model);
    let parameters = burn_vlm::checkpoint::parameters(&model);
    let norm = |name: &str| {
        let id = parameters.iter().find(|parameter| parameter.name == name).unwrap().id;
        values(gradients.get::<2>(id).unwrap().abs().sum())[0]
    };
    assert!(norm("multi_modal_projector.linear_1.weight") > 0.0);
    assert!(norm("vision_tower.encoder.layers.0.mlp.fc1.weight") > 0.0);
    let table =
        parameters.iter().find(|parameter| parameter.name == "language_model.model.embed_tokens.weight").unwrap();
    // Untied head (Qwen): only tokens in the text have a gradient; neither the image token's row nor row 0, which stands in
    // for it, may get one.
    let rows = values(gradients.get::<2>(table.id).unwrap().abs().sum_dim(1));
    let touched: Vec<usize> = rows.iter().enumerate().filter(|(_, sum)| **sum > 0.0).map(|(row, _)| row).collect();
    assert_eq!(touched, [2, 7, 8]);
}

#[test]
fn gemma_scales_visual_tokens_and_caps_logits_as_the_switches_say() {
    let device = Device::flex();
    let config = tiny::vlm_config(tiny::siglip(), tiny::gemma2());
    assert!(config.scales_visual_embeds());
    for (version, scales) in [("4.51.3", true), ("5.3.0", true), ("5.4.0", false), ("5.23.0", false), ("6.0", false)] {
        let config = VlmConfig { transformers_version: Some(version.into()), ..config.clone() };
        assert_eq!(config.scales_visual_embeds(), scales, "{version}");
    }
    for (version, caps) in [("4.51.3", true), ("4.52.0", false), ("5.23.0", false)] {
        let config = VlmConfig { transformers_version: Some(version.into()), ..config.clone() };
        let model = tiny::vlm(&config, 3, &device);
        assert_eq!(
            (config.softcaps_logits(), model.language_model.final_softcap().is_some()),
            (caps, caps),
            "{version}"
        );
        // The decoder's own config stays what it was.
        assert_eq!(model.config.text_config, config.text_config);
    }
    let embeds = |scale| {
        let config = VlmConfig { scale_visual_embeds: Some(scale), ..config.clone() };
        let model = tiny::vlm(&config, 3, &device);
        let features = model.encode_images(pixels(1, &device)).unwrap();
        let input = VlmInput::new(tensor(&[with_image(&[4], 7)], &device)).with_features(features);
        model.embed(&input).unwrap()
    };
    let (scaled, plain) = (embeds(true), embeds(false));
    let visual = |embeds: &Tensor<3>| embeds.clone().narrow(1, 1, 5);
    // sqrt(24)
    assert!(max_abs(visual(&scaled) - visual(&plain) * 24f64.sqrt()) < ROUNDING * 10.0);
    assert_eq!(values(scaled.narrow(1, 6, 1)), values(plain.narrow(1, 6, 1)));
}

#[test]
fn visual_tokens_follow_their_config() {
    let device = Device::flex();
    let base = tiny::vlm_config(tiny::clip(), tiny::qwen2());
    let tokens = |config: &VlmConfig| tiny::vlm(config, 0, &device).encode_images(pixels(2, &device)).unwrap();
    let plain = VlmConfig { visual_tokens: VisualTokens::default(), ..base.clone() };
    let patches = tokens(&plain);
    assert_eq!(patches.dims(), [2, 16, 16]);
    let full = VlmConfig { vision_feature_select_strategy: SelectStrategy::Full, ..plain.clone() };
    let full_tokens = tokens(&full);
    assert_eq!((full_tokens.dims(), full.num_visual_tokens()), ([2, 17, 16], 17));
    assert_eq!(values(full_tokens.narrow(1, 1, 16)), values(patches.clone()));
    let two = VlmConfig { vision_feature_layer: FeatureLayer::Many(vec![-2, -1]), ..plain.clone() };
    assert_eq!((tokens(&two).dims(), two.feature_width()), ([2, 16, 32], 32));

    // Without a class token `default` costs a patch, as in the published code; `new` therefore keeps all of SigLIP's tokens.
    let siglip = VlmConfig::new(tiny::siglip(), tiny::qwen2(), IMAGE_TOKEN);
    let all = tokens(&siglip);
    assert_eq!((all.dims(), siglip.num_visual_tokens()), ([2, 16, 16], 16));
    let default = VlmConfig { vision_feature_select_strategy: SelectStrategy::Default, ..siglip };
    assert_eq!(default.num_visual_tokens(), 15);
    assert_eq!(values(tokens(&default)), values(all.narrow(1, 1, 15)));
    let pooled = VlmConfig { visual_tokens: VisualTokens { pool: Some(2), ..Default::default() }, ..default };
    let error = pooled.validate().unwrap_err().to_string();
    assert!(error.contains("vision_feature_select_strategy") && error.contains("`full`"), "{error}");

    // Window 2 of a 4 x 4 grid: token 0 is the mean of patches 0, 1, 4, 5.
    let pooled = VlmConfig { visual_tokens: VisualTokens { pool: Some(2), ..Default::default() }, ..plain.clone() };
    let index = Tensor::<1, Int>::from_data(TensorData::new(vec![0i64, 1, 4, 5], [4]), &device);
    let expected = patches.select(1, index).mean_dim(1);
    assert!(max_abs(tokens(&pooled).narrow(1, 0, 1) - expected) < ROUNDING);

    let normalised = tokens(&base);
    assert_eq!(normalised.dims(), [2, 5, 16]);
    assert!(max_abs(normalised.square().mean_dim(2) - 1.0) < 1e-3);
}

#[test]
fn noise_is_a_function_of_its_seed_and_absent_without_one() {
    let device = Device::flex();
    let mut config = tiny::vlm_config(tiny::siglip(), tiny::qwen2());
    config.visual_tokens.noise = 0.3;
    let model = tiny::vlm(&config, 0, &device);
    let features = model.encode_images(pixels(1, &device)).unwrap();
    let tokens = |seed| values(model.connect(features.clone(), seed).unwrap());
    assert_eq!(tokens(Some(1)), tokens(Some(1)));
    assert_ne!(tokens(Some(1)), tokens(Some(2)));
    assert_ne!(tokens(Some(1)), tokens(None));
    let expected = features.clone() + seeded_normal([1, 5, 16], 1, &device) * 0.3;
    assert_eq!(tokens(Some(1)), values(model.multi_modal_projector.connect(expected, None).unwrap()));
}

#[test]
fn generation_sees_the_picture_and_ignores_the_batch() {
    let device = Device::flex();
    let config = GenerationConfig { max_new_tokens: 6, ..Default::default() };
    for model in models(&device) {
        let features = model.encode_images(pixels(2, &device)).unwrap();
        let image = vec![IMAGE_TOKEN as u32; 5];
        let prompts =
            [[vec![2], image.clone(), vec![3, 4]].concat(), vec![2, 3, 4], [vec![2], image, vec![3, 4, 5, 6]].concat()];
        let batch = model.generate(&prompts, Some(features.clone()), &config, &device).unwrap();
        for (row, image) in [(0, Some(0)), (1, None), (2, Some(1))] {
            let features = image.map(|image| features.clone().narrow(0, image, 1));
            let single = model.generate(&prompts[row..=row], features, &config, &device).unwrap();
            assert_eq!(single[0], batch[row]);
        }
        let mut heard = vec![Vec::new(); 3];
        for step in model.stream(&prompts, Some(features), &config, &device).unwrap() {
            step.unwrap().into_iter().for_each(|token| heard[token.row].push(token.id));
        }
        assert_eq!(heard, batch.into_iter().map(|row| row.ids).collect::<Vec<_>>());
    }
}

#[test]
fn misfits_are_errors_that_say_what_to_do() {
    let device = Device::flex();
    let model = models(&device).remove(0);
    let features = model.encode_images(pixels(1, &device)).unwrap();
    let ids = tensor(&[vec![2, IMAGE_TOKEN, IMAGE_TOKEN, 4]], &device);
    let error = model.embed(&VlmInput::new(ids.clone()).with_features(features.clone())).unwrap_err();
    assert_eq!(
        error,
        ModelError::ImageTokens { image_tokens: 2, image_token: IMAGE_TOKEN, images: 1, tokens_per_image: 5 }
    );
    assert!(model.embed(&VlmInput::new(ids)).is_err());
    assert!(matches!(model.encode_images(seeded_normal([1, 3, 8, 8], 0, &device)), Err(ModelError::Pixels { .. })));
    let narrow = features.narrow(2, 0, 8);
    assert!(matches!(model.connect(narrow, None), Err(ModelError::Width { found: 8, expected: 16, .. })));

    let config = tiny::vlm_config(tiny::siglip(), tiny::qwen2());
    let invalid = |change: &dyn Fn(&mut VlmConfig)| {
        let mut config = config.clone();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(invalid(&|config| config.visual_tokens.pool = Some(3)).contains("visual_tokens.pool"));
    assert!(invalid(&|config| config.vision_feature_layer = FeatureLayer::One(-4)).contains("vision_feature_layer -4"));
    assert!(invalid(&|config| config.visual_tokens.noise = f64::NAN).contains("noise"));
    let other = tiny::vlm(&config, 0, &device);
    let wide = LanguageConfig::Qwen2(burn_vlm::language::Qwen2Config {
        vocab_size: 10,
        hidden_size: 32,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        max_position_embeddings: 8,
        ..Default::default()
    });
    let wide = wide.init_with(&Scope::new(0, &device)).unwrap();
    let error = Vlm::from_parts(other.vision_tower, other.multi_modal_projector, wide, &config).unwrap_err();
    assert!(matches!(error, ModelError::Width { found: 24, expected: 32, .. }), "{error}");
}

#[test]
fn configs_read_the_published_keys() {
    let text = r#"{
        "model_type": "llava", "image_token_id": 7,
        "vision_config": {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, "hidden_size": 1152,
            "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16, "vision_use_head": false},
        "text_config": {"model_type": "gemma2", "final_logit_softcapping": null, "eos_token_id": [1, 107]},
        "vision_feature_layer": -1, "vision_feature_select_strategy": "full", "transformers_version": "4.51.3"
    }"#;
    let config: VlmConfig = serde_json::from_str(text).unwrap();
    // 384 / 14 = 27, the last 6 pixels are dropped
    assert_eq!((config.num_visual_tokens(), config.image_token_index), (729, 7));
    assert!(config.scales_visual_embeds());
    assert_eq!(config.text_config.eos_token_ids(), [1, 107]);
    let LanguageConfig::Gemma2(gemma) = &config.text_config else { panic!() };
    assert_eq!((gemma.final_logit_softcapping, gemma.attn_logit_softcapping), (None, Some(50.0)));
    assert_eq!((gemma.hidden_size, gemma.layer_window(0), gemma.layer_window(1)), (2304, Some(4096), None));
    let unknown = text.replace("siglip_vision_model", "dinov2");
    let error = serde_json::from_str::<VlmConfig>(&unknown).unwrap_err().to_string();
    assert!(error.contains("dinov2") && error.contains("siglip_vision_model"), "{error}");
    assert!(matches!(config.vision_config, VisionConfig::Siglip(_)));
}
