//! One checkpoint under three versions of transformers, which compute three things from the same Gemma 2 weights
//! (README.txt of the folder):
//!
//! | version | visual tokens times sqrt(hidden) | soft-cap on the logits | SigLIP's layer -1 |
//! |---|---|---|---|
//! | 4.51.3 | yes | yes | before `post_layernorm` |
//! | 4.57.1 | yes | no | after it |
//! | 5.23.0 | no | no | before it |
//!
//! The first two columns are the switches `scale_visual_embeds` and `softcap_logits`, which follow `transformers_version`. The
//! third is how 4.57 alone behaved; here it is computed by hand from the tower's `last_hidden_state`.

use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::{Layout, Pretrained, TensorSource, load_parameters};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::{FeatureLayer, VisualFeatures, Vlm, VlmConfig};

use crate::common::{FORWARD_TOLERANCE, Fixture, autodiff_device};
use crate::vlm::{Tiles, batch, check_forward, check_generation, last_logits, loss};

/// What marks such a folder.
pub const FILE: &str = "versions.safetensors";
/// The same model as written by 5.23.0: pixels and ids.
const SOURCE: &str = "../llava_next_siglip_gemma2";
/// The SigLIP tower that was run as well.
const TOWER: &str = "../siglip_vision_p16";
/// The version whose last hidden state of SigLIP is post-normed.
const POST_NORMED: &str = "4.57.1";

/// Checks the folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let inputs = Fixture::open_dir(&fixture.dir.join(SOURCE));
    let config: VlmConfig = serde_json::from_value(fixture.json("config.json")).unwrap();
    let tiles = Tiles::read(&inputs, &config, &device);

    // As loaded: the folder is 4.51.3's.
    let old = fixture.with_file("expected_v4.safetensors");
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    let features = model.encode_tiled_images(tiles.pixels.clone(), &tiles.counts, &tiles.sizes).unwrap();
    let (input, real) = batch(&old, features.clone(), &device);
    check_forward(&old, &model, &input, &real);
    let _ = loss(&old, &model, &input, &device);
    check_generation(&old, &model, &features, &device);
    old.finish(&[]);

    let versions = fixture.with_file(FILE);
    for version in ["4.51.3", "4.57.1", "5.23.0"] {
        for layer in [-1, -2] {
            let model = model_of(&fixture, version, layer, &device);
            let features = if version == POST_NORMED && layer == -1 {
                let states = model.vision_tower.forward(tiles.pixels.clone()).unwrap().last_hidden_state;
                let packing = model.config.packing(&tiles.counts, &tiles.sizes).unwrap();
                VisualFeatures { features: Some(states), packing: Some(packing) }
            } else {
                model.encode_tiled_images(tiles.pixels.clone(), &tiles.counts, &tiles.sizes).unwrap()
            };
            let (input, _) = batch(&inputs, features, &device);
            let logits = last_logits(&model, model.forward(&input).unwrap());
            versions.check(&format!("v{version}.layer{layer}.logits_last8"), logits, FORWARD_TOLERANCE);
        }
        let found = last_state(&fixture, version, &device);
        versions.check(&format!("v{version}.siglip_vision_p16.hidden_states_last"), found, FORWARD_TOLERANCE);
    }
    versions.finish(&[]);
    fixture.finish(&[]);
}

/// The model as a version of transformers runs it.
fn model_of(fixture: &Fixture, version: &str, layer: i64, device: &Device) -> Vlm {
    let mut config: VlmConfig = serde_json::from_value(fixture.json("config.json")).unwrap();
    config.transformers_version = Some(version.into());
    config.vision_feature_layer = FeatureLayer::One(layer);
    let source = TensorSource::open(&fixture.dir).unwrap();
    load_parameters(config.init(device).unwrap(), &source, &Layout::Llava).unwrap()
}

/// What a version calls `hidden_states[-1]` of a SigLIP tower.
fn last_state(fixture: &Fixture, version: &str, device: &Device) -> Tensor<3> {
    let tower = Fixture::open_dir(&fixture.dir.join(TOWER));
    let model = VisionEncoder::load_pretrained(&tower.dir, device).unwrap();
    let pixels = tower.float_tensor::<4>("pixel_values", device);
    if version == POST_NORMED {
        model.forward(pixels).unwrap().last_hidden_state
    } else {
        model.features(pixels, &[-1], false).unwrap().layers.remove(0)
    }
}
