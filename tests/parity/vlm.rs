//! LLaVA: visual tokens, merged embeddings, hidden states, logits, loss, gradients, greedy tokens.

use burn_vlm::checkpoint::Pretrained;
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::{Vlm, VlmConfig, VlmInput};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, llava, shifted};
use crate::greedy::check_greedy;

/// Checks one VLM's folder.
pub fn check(fixture: Fixture) {
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
    crate::vlm_prompt::check_prompts(&fixture);
    fixture.finish(&["gen.margins"]);
}
