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

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::{Layout, Pretrained, TensorSource, load_parameters};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::{FeatureLayer, VisualFeatures, Vlm, VlmConfig};

use crate::common::{FORWARD_TOLERANCE, Fixture, autodiff_device};
use crate::vlm::{Tiles, batch, check_forward, check_generation, last_logits, loss};

/// What marks such a folder.
pub const FILE: &str = "versions.safetensors";
/// What 4.51.3 computes from the folder as it is.
pub const AS_LOADED: &str = "expected_v4.safetensors";
/// The version whose last hidden state of SigLIP is post-normed.
pub const POST_NORMED: &str = "4.57.1";

/// Checks the folder. README.txt names the folder beside it that has the same model with pixels and ids.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let inputs = Fixture::open_dir(&source(&fixture));
    let config: VlmConfig = serde_json::from_value(fixture.json("config.json")).unwrap();
    let tiles = Tiles::read(&inputs, &config, &device).expect("pixels of the folder that README.txt names");

    if fixture.dir.join(AS_LOADED).is_file() {
        // As loaded: the folder is 4.51.3's.
        let old = fixture.with_file(AS_LOADED);
        let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
        let features = model.encode_tiled_images(tiles.pixels.clone(), &tiles.counts, &tiles.sizes).unwrap();
        let (input, real) = batch(&old, features.clone(), &device);
        check_forward(&old, &model, &input, &real);
        let _ = loss(&old, &model, &input, &device);
        check_generation(&old, &model, &features, &device);
        old.finish(&[]);
    } else {
        fixture.skipped(AS_LOADED);
    }

    let versions = fixture.with_file(FILE);
    for name in versions.names() {
        // v4.51.3.layer-1.logits_last8, v4.51.3.siglip_vision_p16.hidden_states_last
        let parts: Vec<&str> = name.strip_prefix('v').unwrap_or_default().rsplitn(3, '.').collect();
        let [what, of, version] = parts[..] else { continue };
        let layer = of.strip_prefix("layer").and_then(|layer| layer.parse::<i64>().ok());
        let last = what.strip_prefix("logits_last").and_then(|last| last.parse::<usize>().ok());
        if let (Some(layer), Some(last)) = (layer, last) {
            let model = model_of(&fixture, version, layer, &device);
            let features = if version == POST_NORMED && layer == -1 {
                let states = model.vision_tower.forward(tiles.pixels.clone()).unwrap().last_hidden_state;
                let packing = model.config.packing(&tiles.counts, &tiles.sizes).unwrap();
                VisualFeatures { features: Some(states), packing: Some(packing), tokens: None }
            } else {
                model.encode_tiled_images(tiles.pixels.clone(), &tiles.counts, &tiles.sizes).unwrap()
            };
            let (input, _) = batch(&inputs, features, &device);
            let logits = last_logits(&model, model.forward(&input).unwrap(), last);
            versions.check(&name, logits, FORWARD_TOLERANCE);
        } else if what == "hidden_states_last" {
            let tower = Fixture::open_dir(&fixture.dir.join("..").join(of));
            versions.check(&name, last_state(&tower, version, &device), FORWARD_TOLERANCE);
        }
    }
    versions.finish(&[]);
    fixture.finish(&[]);
}

/// The folder beside this one that README.txt names first: the longest name, where one begins with another.
fn source(fixture: &Fixture) -> PathBuf {
    let readme = std::fs::read_to_string(fixture.dir.join("README.txt")).unwrap_or_default();
    let parent = fixture.dir.join("..");
    let names: Vec<String> = std::fs::read_dir(&parent)
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| *name != fixture.name && parent.join(name).join("expected.safetensors").is_file())
        .collect();
    let place = |name: &String| readme.find(name.as_str()).map(|at| (at, usize::MAX - name.len(), name.clone()));
    let first = names.iter().filter_map(place).min();
    let (_, _, name) =
        first.unwrap_or_else(|| panic!("{}: README.txt names no folder beside it with pixels and ids", fixture.name));
    parent.join(name)
}

/// The model as a version of transformers runs it.
pub fn model_of(fixture: &Fixture, version: &str, layer: i64, device: &Device) -> Vlm {
    let mut config: VlmConfig = serde_json::from_value(fixture.json("config.json")).unwrap();
    config.transformers_version = Some(version.into());
    config.vision_feature_layer = FeatureLayer::One(layer);
    let source = TensorSource::open(&fixture.dir).unwrap();
    load_parameters(config.init(device).unwrap(), &source, &Layout::Llava).unwrap()
}

/// What a version calls `hidden_states[-1]` of a SigLIP tower.
fn last_state(tower: &Fixture, version: &str, device: &Device) -> Tensor<3> {
    let model = VisionEncoder::load_pretrained(&tower.dir, device).unwrap();
    let pixels = tower.float_tensor::<4>("pixel_values", device);
    if version == POST_NORMED {
        model.forward(pixels).unwrap().last_hidden_state
    } else {
        model.features(pixels, &[-1], false).unwrap().layers.remove(0)
    }
}
