//! Every model against Hugging Face's on the fixtures in `tests/fixtures` (each folder's README.txt says how it was made).
//!
//! Prints one line a check (`cargo test --release -p burn-vlm --test parity -- --nocapture`).

#![cfg(feature = "flex")]

mod common;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::checkpoint::{Layout, Pretrained, TensorSource, load_parameters};
use burn_vlm::dual::{DualEncoder, clip_loss, siglip_loss};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::{Vlm, VlmConfig, VlmInput};
use common::*;

/// Bicubic position interpolation is not implemented yet.
const INTERPOLATION: [&str; 2] = ["interp.pixel_values", "interp.last_hidden_state"];

fn vision(name: &str) {
    let fixture = Fixture::open(name);
    let device = autodiff_device();
    let model = VisionEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pixels = fixture.float_tensor::<4>("pixel_values", &device);

    let output = model.forward(pixels.clone()).unwrap();
    fixture.check("last_hidden_state", output.last_hidden_state, FORWARD_TOLERANCE);
    fixture.check("pooler_output", output.pooler_output.unwrap(), FORWARD_TOLERANCE);

    let layers = model.config().num_hidden_layers() as i64;
    let all: Vec<i64> = (0..=layers).collect();
    let features = model.features(pixels.clone(), &all, false).unwrap();
    fixture.check("hidden_states", Tensor::stack::<4>(features.layers, 0), FORWARD_TOLERANCE);

    let features = model.features(pixels, &[-2], true).unwrap();
    let (hidden, pooled) = (features.layers[0].clone(), features.pooled.unwrap());
    fixture.check("hidden_states_m2", hidden.clone(), FORWARD_TOLERANCE);

    // As README.txt: 10 * mean(hidden_states[-2] * grad_w) + mean(pooler_output * grad_w[:, 0])
    let weights = fixture.float_tensor::<3>("grad_w", &device);
    let first = weights.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
    let loss = (hidden * weights).mean() * 10.0 + (pooled * first).mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), same);
    fixture.finish(&INTERPOLATION);
}

#[test]
fn siglip_vision() {
    vision("siglip_vision_p16");
}

#[test]
fn siglip2_vision_drops_the_last_pixels() {
    vision("siglip2_vision_p14");
}

#[test]
fn clip_vision() {
    vision("clip_vision_p14");
}

fn dual(name: &str) {
    let fixture = Fixture::open(name);
    let device = autodiff_device();
    let model = DualEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pixels = fixture.float_tensor::<4>("pixel_values", &device);
    let ids = fixture.int_tensor::<2>("input_ids", &device);

    let text = match &model {
        DualEncoder::Siglip(model) => {
            let image = model.vision_model.forward(pixels.clone()).unwrap();
            fixture.check("vision_last_hidden_state", image.last_hidden_state, FORWARD_TOLERANCE);
            fixture.check("vision_pooler_output", image.pooler_output.unwrap(), FORWARD_TOLERANCE);
            let text = model.text_model.forward(ids.clone()).unwrap();
            fixture.check("text_last_hidden_state", text.last_hidden_state, FORWARD_TOLERANCE);
            fixture.check("text_pooler_output", text.pooler_output, FORWARD_TOLERANCE);
            model.text_embeds(ids).unwrap()
        }
        DualEncoder::Clip(model) => {
            let image = model.vision_model.forward(pixels.clone()).unwrap();
            fixture.check("vision_last_hidden_state", image.last_hidden_state, FORWARD_TOLERANCE);
            // The fixture's pooled outputs are the projected ones.
            let pooled = model.visual_projection.forward(image.pooler_output.unwrap());
            fixture.check("vision_pooler_output", pooled, FORWARD_TOLERANCE);
            let mask = Some(fixture.mask("attention_mask", &device));
            let text = model.text_model.forward(ids.clone(), mask.clone()).unwrap();
            fixture.check("text_last_hidden_state", text.last_hidden_state, FORWARD_TOLERANCE);
            let pooled = model.text_projection.forward(text.pooler_output);
            fixture.check("text_pooler_output", pooled, FORWARD_TOLERANCE);
            model.text_embeds(ids, mask).unwrap()
        }
    };
    let image = model.image_embeds(pixels).unwrap();
    fixture.check("image_embeds", image.clone(), FORWARD_TOLERANCE);
    fixture.check("text_embeds", text.clone(), FORWARD_TOLERANCE);
    let logits = model.logits_per_image(image.clone(), text.clone());
    fixture.check("logits_per_image", logits.clone(), FORWARD_TOLERANCE);
    fixture.check("logits_per_text", logits.transpose(), FORWARD_TOLERANCE);

    let logits = model.logits_per_image(image.narrow(0, 0, 3), text.narrow(0, 0, 3));
    let loss = match &model {
        DualEncoder::Siglip(_) => siglip_loss(logits),
        DualEncoder::Clip(_) => clip_loss(logits),
    };
    fixture.check("loss_first3", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), same);
    fixture.finish(&[]);
}

#[test]
fn siglip_dual() {
    dual("siglip_dual");
}

#[test]
fn clip_dual() {
    dual("clip_dual");
}

#[test]
fn clip_dual_with_the_old_end_of_text_id() {
    dual("clip_dual_eos2");
}

/// A model from the older transformers' `config.json` and the same weights.
fn legacy_language(dir: &Path, device: &Device) -> LanguageModel {
    let text = std::fs::read_to_string(dir.join("config_legacy.json")).unwrap();
    let config: LanguageConfig = serde_json::from_str(&text).unwrap();
    load_parameters(config.init(device).unwrap(), &TensorSource::open(dir).unwrap(), &Layout::Plain).unwrap()
}

fn language(name: &str) {
    let fixture = Fixture::open(name);
    let device = autodiff_device();
    let model = LanguageModel::load_pretrained(&fixture.dir, &device).unwrap();
    let legacy = legacy_language(&fixture.dir, &device);

    for side in ["left", "right"] {
        let ids = fixture.int_tensor::<2>(&format!("{side}.input_ids"), &device);
        let mask = fixture.mask(&format!("{side}.attention_mask"), &device);
        let real = mask.clone().float().unsqueeze_dim::<3>(2);
        // The expected hidden states count positions from the padding on, the logits from the first token on (README.txt).
        let input = AttentionInput { padding: Some(mask.clone()), positions: None };
        let states = model.hidden_states(model.embed(ids.clone()), &input).unwrap();
        let states: Vec<Tensor<3>> = states.into_iter().map(|state| state * real.clone()).collect();
        fixture.check(&format!("{side}.hidden_states"), Tensor::stack::<4>(states, 0), FORWARD_TOLERANCE);

        for model in [&model, &legacy] {
            let input = AttentionInput::left_padded(mask.clone());
            let hidden = model.forward(model.embed(ids.clone()), &input, None).unwrap();
            fixture.check(&format!("{side}.logits"), model.logits(hidden) * real.clone(), FORWARD_TOLERANCE);
        }
    }

    let ids = fixture.int_tensor::<2>("right.input_ids", &device);
    let (labels, shape) = fixture.ints("labels");
    let (target_rows, targets) = shifted(&labels, shape[1], &device);
    assert_eq!(fixture.ints("loss_n_tokens").0, [targets.dims()[0] as i64]);
    let hidden = model.forward(model.embed(ids), &AttentionInput::contiguous(), None).unwrap();
    let loss = model.target_losses(hidden, target_rows, targets).mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), same);

    let eos = model.config().eos_token_ids();
    check_greedy(&fixture, "gen.input_ids", "gen.attention_mask", &eos, |prompts, config| {
        model.generate(prompts, config, &Device::flex().autodiff()).unwrap().into_iter().map(|row| row.ids).collect()
    });
    fixture.finish(&["gen.margins"]);
}

/// Compares greedy tokens exactly, up to the end of text.
fn check_greedy(
    fixture: &Fixture,
    ids: &str,
    mask: &str,
    eos: &[u32],
    generate: impl Fn(&[Vec<u32>], &GenerationConfig) -> Vec<Vec<u32>>,
) {
    let (expected, shape) = fixture.ints("gen.new_tokens");
    let expected: Vec<Vec<u32>> = expected
        .chunks(shape[1])
        .map(|row| row.iter().map(|id| *id as u32).take_while(|id| !eos.contains(id)).collect())
        .collect();
    let (ids, ids_shape) = fixture.ints(ids);
    let (mask, _) = fixture.ints(mask);
    let prompts = rows(&ids, &mask, ids_shape[1]);
    let config =
        GenerationConfig { max_new_tokens: shape[1], stop_tokens: eos.to_vec(), ..GenerationConfig::default() };
    let found = generate(&prompts, &config);
    println!("{:24} gen.new_tokens exact: {}", fixture.name, found == expected);
    if found != expected {
        fixture.fail(format!("gen.new_tokens: {found:?}, expected {expected:?}"));
    }
}

#[test]
fn gemma2() {
    language("gemma2");
}

#[test]
fn gemma2_in_bf16_shards() {
    language("gemma2_bf16_sharded");
}

#[test]
fn qwen2_tied() {
    language("qwen2_tied");
}

#[test]
fn qwen15_untied() {
    language("qwen2_untied");
}

#[test]
fn llava_clip_qwen2() {
    let fixture = Fixture::open("llava_clip_qwen2");
    let device = autodiff_device();
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    let text = std::fs::read_to_string(fixture.dir.join("config_legacy.json")).unwrap();
    let legacy: VlmConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(legacy.num_visual_tokens(), model.config.num_visual_tokens());
    assert_eq!(legacy.vision_config, model.config.vision_config);

    let pixels = fixture.float_tensor::<4>("pixel_values", &device);
    let features = model.encode_images(pixels).unwrap();
    let visual = model.connect(features.clone(), None).unwrap();
    for image in 0..3 {
        let found = visual.clone().narrow(0, image, 1).squeeze_dim::<2>(0);
        fixture.check(&format!("image_features.{image}"), found, FORWARD_TOLERANCE);
    }

    let ids = fixture.int_tensor::<2>("input_ids", &device);
    let mask = fixture.mask("attention_mask", &device);
    let real = mask.clone().float().unsqueeze_dim::<3>(2);
    let mut input = VlmInput::new(ids.clone()).with_features(features.clone());
    input.attention = AttentionInput::left_padded(mask);
    fixture.check("hidden_state_0", model.embed(&input).unwrap() * real.clone(), FORWARD_TOLERANCE);
    let hidden = model.forward(&input).unwrap();
    fixture.check("last_hidden_state", hidden.clone() * real.clone(), FORWARD_TOLERANCE);
    let logits = model.language_model.logits(hidden);
    fixture.check("logits", logits * real, FORWARD_TOLERANCE);

    let (labels, shape) = fixture.ints("labels");
    let (target_rows, targets) = shifted(&labels, shape[1], &device);
    let loss = model.target_losses(&input, target_rows, targets).unwrap().mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), llava);

    let eos = model.config.text_config.eos_token_ids();
    check_greedy(&fixture, "input_ids", "attention_mask", &eos, |prompts, config| {
        let rows = model.generate(prompts, Some(features.clone()), config, &device).unwrap();
        rows.into_iter().map(|row| row.ids).collect()
    });
    fixture.finish(&["gen.margins", "raw_ids."]);
}

#[test]
fn losses_of_hand_worked_logits() {
    let device = Device::flex();
    let logits = Tensor::<2>::from_data(TensorData::new(vec![2.0f32, -1.0, 0.5, 1.0], [2, 2]), &device);
    // -1/2 * (log s(2) + log s(1) + log s(-0.5) + log s(1)), s the sigmoid
    let sigmoid = |x: f64| -((-x).exp().ln_1p());
    let expected = -(sigmoid(2.0) + sigmoid(1.0) + sigmoid(-0.5) + sigmoid(1.0)) / 2.0;
    let found = f64::from(values(siglip_loss(logits.clone()))[0]);
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    // Rows: log(1 + e^-3), log(1 + e^-0.5); columns: log(1 + e^-1.5), log(1 + e^-2)
    let nll = |gap: f64| (-gap).exp().ln_1p();
    let expected = (nll(3.0) + nll(0.5) + nll(1.5) + nll(2.0)) / 4.0;
    let found = f64::from(values(clip_loss(logits))[0]);
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}
