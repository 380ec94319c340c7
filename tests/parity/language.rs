//! Decoders: hidden states and logits under both paddings, loss, gradients, greedy tokens.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::{Layout, Pretrained, TensorSource, load_parameters};
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same, shifted};
use crate::greedy::check_greedy;

/// A model from the older transformers' `config.json` and the same weights.
fn legacy_language(dir: &Path, device: &Device) -> LanguageModel {
    let text = std::fs::read_to_string(dir.join("config_legacy.json")).unwrap();
    let config: LanguageConfig = serde_json::from_str(&text).unwrap();
    load_parameters(config.init(device).unwrap(), &TensorSource::open(dir).unwrap(), &Layout::Plain).unwrap()
}

/// Checks one decoder's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = LanguageModel::load_pretrained(&fixture.dir, &device).unwrap();
    let legacy = legacy_language(&fixture.dir, &device);

    for side in ["left", "right"] {
        let ids = fixture.int_tensor::<2>(&format!("{side}.input_ids"), &device);
        let mask = fixture.mask(&format!("{side}.attention_mask"), &device);
        let real = mask.clone().float().unsqueeze_dim::<3>(2);
        // The expected hidden states count positions from the padding on, the logits from the first token on (README.txt).
        let input = AttentionInput { padding: Some(mask.clone()), ..AttentionInput::contiguous() };
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
