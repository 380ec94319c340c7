//! LLaVA and LLaVA-NeXT: visual tokens, merged embeddings, hidden states, logits, loss, gradients, greedy tokens.

use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::{Layout, TensorSource, load_parameters};
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::tiling::Size;
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmConfig, VlmInput};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, llava, shifted, values};
use crate::greedy::check_greedy;

/// Tokens whose logits are kept where all would be a large file.
const LAST: usize = 8;

/// Tiles of a batch: `pixel_values` are padded with zeros to the largest number of tiles.
pub struct Tiles {
    pub pixels: Tensor<4>,
    pub counts: Vec<usize>,
    pub sizes: Vec<Size>,
}

impl Tiles {
    pub fn read(fixture: &Fixture, config: &VlmConfig, device: &Device) -> Self {
        let (sizes, _) = fixture.ints("image_sizes");
        let sizes: Vec<Size> = sizes.chunks(2).map(|size| (size[0] as usize, size[1] as usize)).collect();
        let counts: Vec<usize> = sizes.iter().map(|size| config.num_tiles(*size).unwrap()).collect();
        let padded = fixture.float_tensor::<5>("pixel_values", device);
        let [_, most, channels, height, width] = padded.dims();
        assert_eq!(counts.iter().max(), Some(&most), "tile counts");
        let pictures = counts.iter().enumerate().map(|(picture, &count)| {
            let tiles = padded.clone().narrow(0, picture, 1).narrow(1, 0, count);
            tiles.reshape([count, channels, height, width])
        });
        Self { pixels: Tensor::cat(pictures.collect(), 0), counts, sizes }
    }
}

fn features(model: &Vlm, fixture: &Fixture, device: &Device) -> VisualFeatures {
    if !model.config.is_tiled() {
        return model.encode_images(fixture.float_tensor::<4>("pixel_values", device)).unwrap().into();
    }
    let tiles = Tiles::read(fixture, &model.config, device);
    let counted: Vec<usize> = tiles.sizes.iter().map(|size| model.config.num_image_tokens(*size).unwrap()).collect();
    let features = model.encode_tiled_images(tiles.pixels, &tiles.counts, &tiles.sizes).unwrap();
    assert_eq!(features.packing.as_ref().unwrap().image_tokens(), counted);
    let expected: Vec<usize> =
        serde_json::from_value(fixture.json("expected.json")["num_image_tokens"].clone()).unwrap();
    fixture.check_exact("num_image_tokens", &counted, &expected);
    features
}

/// The batch of a fixture, padded on the left, and its mask as `[batch, tokens, 1]`.
pub fn batch(fixture: &Fixture, features: VisualFeatures, device: &Device) -> (VlmInput, Tensor<3>) {
    let mask = fixture.mask("attention_mask", device);
    let real = mask.clone().float().unsqueeze_dim::<3>(2);
    let mut input = VlmInput::new(fixture.int_tensor::<2>("input_ids", device)).with_features(features);
    input.attention = AttentionInput::left_padded(mask);
    (input, real)
}

/// Logits of the last [`LAST`] positions.
pub fn last_logits(model: &Vlm, hidden: Tensor<3>) -> Tensor<3> {
    let [_, tokens, _] = hidden.dims();
    model.language_model.logits(hidden.narrow(1, tokens - LAST, LAST))
}

/// Merged embeddings, hidden states and logits.
pub fn check_forward(fixture: &Fixture, model: &Vlm, input: &VlmInput, real: &Tensor<3>) {
    fixture.check("hidden_state_0", model.embed(input).unwrap() * real.clone(), FORWARD_TOLERANCE);
    let hidden = model.forward(input).unwrap();
    fixture.check("last_hidden_state", hidden.clone() * real.clone(), FORWARD_TOLERANCE);
    if fixture.has("logits") {
        fixture.check("logits", model.language_model.logits(hidden) * real.clone(), FORWARD_TOLERANCE);
    } else {
        // No row is padded there.
        fixture.check("logits_last8", last_logits(model, hidden), FORWARD_TOLERANCE);
    }
}

pub fn loss(fixture: &Fixture, model: &Vlm, input: &VlmInput, device: &Device) -> Tensor<1> {
    let (labels, shape) = fixture.ints("labels");
    let (target_rows, targets) = shifted(&labels, shape[1], device);
    let loss = model.target_losses(input, target_rows, targets).unwrap().mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    loss
}

pub fn check_generation(fixture: &Fixture, model: &Vlm, features: &VisualFeatures, device: &Device) {
    let eos = model.config.text_config.eos_token_ids();
    check_greedy(fixture, "input_ids", "attention_mask", &eos, |prompts, config| {
        let rows = model.generate(prompts, features.clone(), config, device).unwrap();
        rows.into_iter().map(|row| row.ids).collect()
    });
}

/// Checks one VLM's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    let features = features(&model, &fixture, &device);
    let (input, real) = batch(&fixture, features.clone(), &device);

    let visual = model.visual_tokens(&input).unwrap().unwrap();
    let [images, tokens, hidden] = visual.dims();
    let mut rest = visual.reshape([images * tokens, hidden]);
    for image in 0.. {
        let name = format!("image_features.{image}");
        if !fixture.has(&name) {
            break;
        }
        let count = fixture.floats(&name).1[0];
        fixture.check(&name, rest.clone().narrow(0, 0, count), FORWARD_TOLERANCE);
        let left = rest.dims()[0] - count;
        rest = if left > 0 { rest.narrow(0, count, left) } else { Tensor::zeros([0, hidden], &device) };
    }
    assert_eq!(rest.dims()[0], 0, "visual tokens of no image");

    check_forward(&fixture, &model, &input, &real);
    let loss = loss(&fixture, &model, &input, &device);
    fixture.check_gradients(&model, loss.backward(), llava);
    check_generation(&fixture, &model, &features, &device);
    check_legacy(&fixture, &model, &input, &device);
    crate::vlm_prompt::check_prompts(&fixture, &model);
    fixture.finish(&["gen.margins"]);
}

/// The older config.json describes the same model, but for the version, which decides on the two switches.
fn check_legacy(fixture: &Fixture, model: &Vlm, input: &VlmInput, device: &Device) {
    let mut config: VlmConfig = serde_json::from_value(fixture.json("config_legacy.json")).unwrap();
    assert!(config.scales_visual_embeds() && config.softcaps_logits(), "written by 4.51");
    config.scale_visual_embeds = Some(model.config.scales_visual_embeds());
    config.softcap_logits = Some(model.config.softcaps_logits());
    let source = TensorSource::open(&fixture.dir).unwrap();
    let legacy = load_parameters(config.init(device).unwrap(), &source, &Layout::Llava).unwrap();
    let logits = |model: &Vlm| values(last_logits(model, model.forward(input).unwrap()));
    fixture.check_exact("legacy config", &(logits(&legacy) == logits(model)), &true);
}
