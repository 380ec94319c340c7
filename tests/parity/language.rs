//! Decoders: hidden states and logits under both paddings, loss, gradients, greedy tokens, and the words of a folder that has a
//! tokenizer too.

use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::{Layout, Pretrained, TensorSource, load_parameters};
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same, shifted};
use crate::greedy::{check_greedy, stop_tokens};
use crate::tokenizer;

/// A model from the older transformers' `config.json` and the same weights.
fn legacy_language(fixture: &Fixture, device: &Device) -> Option<LanguageModel> {
    let config: LanguageConfig = serde_json::from_value(fixture.json_if("config_legacy.json")?).unwrap();
    let source = TensorSource::open(&fixture.dir).unwrap();
    Some(load_parameters(config.init(device).unwrap(), &source, &Layout::Plain).unwrap())
}

/// Checks one decoder's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = LanguageModel::load_pretrained(&fixture.dir, &device).unwrap();
    let models: Vec<LanguageModel> =
        [Some(model.clone()), legacy_language(&fixture, &device)].into_iter().flatten().collect();

    for side in ["left", "right"] {
        let name = |what: &str| format!("{side}.{what}");
        if !fixture.asks(&name("input_ids")) {
            continue;
        }
        let ids = fixture.int_tensor::<2>(&name("input_ids"), &device);
        let mask = fixture.mask_of(&name("attention_mask"), &name("input_ids"), &device);
        let real = mask.clone().float().unsqueeze_dim::<3>(2);
        // The expected hidden states count positions from the padding on, the logits from the first token on (README.txt).
        fixture.check_if(&name("hidden_states"), FORWARD_TOLERANCE, || {
            let input = AttentionInput { padding: Some(mask.clone()), ..AttentionInput::contiguous() };
            let states = model.hidden_states(model.embed(ids.clone()), &input).unwrap();
            let states: Vec<Tensor<3>> = states.into_iter().map(|state| state * real.clone()).collect();
            Tensor::stack::<4>(states, 0)
        });
        for model in &models {
            fixture.check_if(&name("logits"), FORWARD_TOLERANCE, || {
                let input = AttentionInput::left_padded(mask.clone());
                let hidden = model.forward(model.embed(ids.clone()), &input, None).unwrap();
                model.logits(hidden) * real.clone()
            });
        }
    }

    if fixture.asks("labels") && fixture.asks("loss") && fixture.asks("right.input_ids") {
        let ids = fixture.int_tensor::<2>("right.input_ids", &device);
        let (labels, shape) = fixture.ints("labels");
        let (target_rows, targets) = shifted(&labels, shape[1], &device);
        fixture.check_ints_if("loss_n_tokens", &[targets.dims()[0] as i64]);
        let hidden = model.forward(model.embed(ids), &AttentionInput::contiguous(), None).unwrap();
        let loss = model.target_losses(hidden, target_rows, targets).mean();
        fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
        fixture.check_gradients(&model, loss.backward(), same);
    }

    let eos = stop_tokens(&fixture, model.config().eos_token_ids());
    check_greedy(&fixture, "gen.input_ids", "gen.attention_mask", &eos, |prompts, config| {
        model.generate(prompts, config, &Device::flex().autodiff()).unwrap().into_iter().map(|row| row.ids).collect()
    });
    if fixture.dir.join("expected.json").is_file() {
        tokenizer::check_words(&fixture);
    }
    fixture.finish(&["gen.margins"]);
}
