//! LLaVA and LLaVA-NeXT: visual tokens, merged embeddings, hidden states, logits, loss, gradients, greedy tokens.

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::checkpoint::{Layout, TensorSource, load_parameters};
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::tiling::Size;
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmConfig, VlmInput};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, llava, shifted, values};
use crate::greedy::{check_greedy, stop_tokens};
use crate::pictures;
use crate::vision::pixels;
use crate::vlm_prompt::check_prompts;

/// Logits of the last tokens, where all would be a large file: `logits_last8` are those of eight.
const LAST: &str = "logits_last";

/// Tiles of a batch: `pixel_values` are padded with zeros to the largest number of tiles.
pub struct Tiles {
    pub pixels: Tensor<4>,
    pub counts: Vec<usize>,
    pub sizes: Vec<Size>,
}

impl Tiles {
    /// Those of the folder, else what its image processor makes of its pictures.
    pub fn read(fixture: &Fixture, config: &VlmConfig, device: &Device) -> Option<Self> {
        let expected = expected(fixture);
        let pictures = || pictures::batch(fixture, expected.as_ref());
        let computed = (!fixture.has("pixel_values") || !fixture.has("image_sizes")).then(pictures).flatten();
        let sizes: Vec<Size> = if fixture.has("image_sizes") {
            fixture.ints("image_sizes").0.chunks(2).map(|size| (size[0] as usize, size[1] as usize)).collect()
        } else {
            computed.as_ref()?.image_sizes.iter().map(|(height, width)| (*height as usize, *width as usize)).collect()
        };
        let padded = if fixture.has("pixel_values") {
            fixture.float_tensor::<5>("pixel_values", device)
        } else {
            let batch = computed?;
            Tensor::from_data(TensorData::new(batch.data, batch.shape), device)
        };
        let counts: Vec<usize> = sizes.iter().map(|size| config.num_tiles(*size).unwrap()).collect();
        let [_, most, channels, height, width] = padded.dims();
        assert_eq!(counts.iter().max(), Some(&most), "tile counts");
        let pictures = counts.iter().enumerate().map(|(picture, &count)| {
            let tiles = padded.clone().narrow(0, picture, 1).narrow(1, 0, count);
            tiles.reshape([count, channels, height, width])
        });
        Some(Self { pixels: Tensor::cat(pictures.collect(), 0), counts, sizes })
    }
}

/// What the folder has in expected.json.
fn expected(fixture: &Fixture) -> Option<serde_json::Value> {
    fixture.dir.join("expected.json").is_file().then(|| fixture.json("expected.json"))
}

fn features(model: &Vlm, fixture: &Fixture, device: &Device) -> Option<VisualFeatures> {
    let expected = expected(fixture);
    if !model.config.is_tiled() {
        let pixels = pixels(fixture, expected.as_ref(), device)?;
        return Some(model.encode_images(pixels).unwrap().into());
    }
    let tiles = Tiles::read(fixture, &model.config, device)?;
    let counted: Vec<usize> = tiles.sizes.iter().map(|size| model.config.num_image_tokens(*size).unwrap()).collect();
    let features = model.encode_tiled_images(tiles.pixels, &tiles.counts, &tiles.sizes).unwrap();
    assert_eq!(features.packing.as_ref().unwrap().image_tokens(), counted);
    if let Some(numbers) = expected.as_ref().and_then(|expected| expected.get("num_image_tokens")) {
        let numbers: Vec<usize> = serde_json::from_value(numbers.clone()).unwrap();
        fixture.check_exact("num_image_tokens", &counted, &numbers);
    }
    Some(features)
}

/// The batch of a fixture, padded on the left, and its mask as `[batch, tokens, 1]`.
pub fn batch(fixture: &Fixture, features: VisualFeatures, device: &Device) -> (VlmInput, Tensor<3>) {
    let mask = fixture.mask_of("attention_mask", "input_ids", device);
    let real = mask.clone().float().unsqueeze_dim::<3>(2);
    let mut input = VlmInput::new(fixture.int_tensor::<2>("input_ids", device)).with_features(features);
    input.attention = AttentionInput::left_padded(mask);
    (input, real)
}

/// Logits of the last positions.
pub fn last_logits(model: &Vlm, hidden: Tensor<3>, last: usize) -> Tensor<3> {
    let [_, tokens, _] = hidden.dims();
    model.language_model.logits(hidden.narrow(1, tokens - last, last))
}

/// Merged embeddings, hidden states and logits.
pub fn check_forward(fixture: &Fixture, model: &Vlm, input: &VlmInput, real: &Tensor<3>) {
    fixture.check_if("hidden_state_0", FORWARD_TOLERANCE, || model.embed(input).unwrap() * real.clone());
    let hidden = model.forward(input).unwrap();
    fixture.check_if("last_hidden_state", FORWARD_TOLERANCE, || hidden.clone() * real.clone());
    fixture.check_if("logits", FORWARD_TOLERANCE, || model.language_model.logits(hidden.clone()) * real.clone());
    let count = |name: &String| name.strip_prefix(LAST).and_then(|count| count.parse::<usize>().ok());
    match fixture.names().iter().find_map(count) {
        Some(last) => {
            let tokens = real.dims()[1];
            let real = real.clone().narrow(1, tokens - last, last);
            fixture.check(&format!("{LAST}{last}"), last_logits(model, hidden, last) * real, FORWARD_TOLERANCE);
        }
        None => fixture.skipped(&format!("{LAST}N")),
    }
}

/// The loss, where the folder has one.
pub fn loss(fixture: &Fixture, model: &Vlm, input: &VlmInput, device: &Device) -> Option<Tensor<1>> {
    if !fixture.asks("labels") || !fixture.asks("loss") {
        return None;
    }
    let (labels, shape) = fixture.ints("labels");
    let (target_rows, targets) = shifted(&labels, shape[1], device);
    let loss = model.target_losses(input, target_rows, targets).unwrap().mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    Some(loss)
}

pub fn check_generation(fixture: &Fixture, model: &Vlm, features: &VisualFeatures, device: &Device) {
    let eos = stop_tokens(fixture, model.config.text_config.eos_token_ids());
    check_greedy(fixture, "input_ids", "attention_mask", &eos, |prompts, config| {
        let rows = model.generate(prompts, features.clone(), config, device).unwrap();
        rows.into_iter().map(|row| row.ids).collect()
    });
}

/// Checks one VLM's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    match features(&model, &fixture, &device) {
        Some(features) => check_features(&fixture, &model, features, &device),
        None => fixture.skipped("pixel_values, nor pictures to make them of"),
    }
    check_prompts(&fixture, &model);
    fixture.finish(&["gen.margins"]);
}

/// All that begins with the pictures.
fn check_features(fixture: &Fixture, model: &Vlm, features: VisualFeatures, device: &Device) {
    check_image_features(fixture, model, &features, device);
    if !fixture.asks("input_ids") {
        return;
    }
    let (input, real) = batch(fixture, features.clone(), device);
    check_forward(fixture, model, &input, &real);
    if let Some(loss) = loss(fixture, model, &input, device) {
        fixture.check_gradients(model, loss.backward(), llava);
    }
    check_generation(fixture, model, &features, device);
    check_legacy(fixture, model, &input, device);
}

/// What replaces the image tokens of each picture, where the connector needs no words for it.
fn check_image_features(fixture: &Fixture, model: &Vlm, features: &VisualFeatures, device: &Device) {
    if !fixture.asks("image_features.0") {
        return;
    }
    let input = VlmInput::new(Tensor::zeros([1, 1], device)).with_features(features.clone());
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
        rest = if left > 0 { rest.narrow(0, count, left) } else { Tensor::zeros([0, hidden], device) };
    }
    assert_eq!(rest.dims()[0], 0, "visual tokens of no image");
}

/// The older config.json describes the same model, but for the version, which decides on the two switches.
pub fn check_legacy(fixture: &Fixture, model: &Vlm, input: &VlmInput, device: &Device) {
    let Some(legacy) = fixture.json_if("config_legacy.json") else { return };
    let old = legacy["transformers_version"].as_str().is_some_and(|version| version.starts_with("4.51"));
    let mut config: VlmConfig = serde_json::from_value(legacy).unwrap();
    assert!(!old || config.scales_visual_embeds() && config.softcaps_logits(), "written by 4.51");
    config.scale_visual_embeds = Some(model.config.scales_visual_embeds());
    config.softcap_logits = Some(model.config.softcaps_logits());
    let source = TensorSource::open(&fixture.dir).unwrap();
    let legacy = load_parameters(config.init(device).unwrap(), &source, &Layout::Llava).unwrap();
    let logits = |model: &Vlm| values(last_logits(model, model.forward(input).unwrap(), 1));
    fixture.check_exact("legacy config", &(logits(&legacy) == logits(model)), &true);
}
