//! Image encoders at other resolutions than their own, and the names they are written under.

#![cfg(feature = "flex")]

mod common;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn_vlm::ModelError;
use burn_vlm::checkpoint::{Pretrained, StoreDtype, parameters};
use burn_vlm::init::{Scope, seeded_normal};
use burn_vlm::vision::VisionConfig;
use common::{autodiff_device, tiny, values};

#[test]
fn the_towers_own_size_needs_no_interpolation() {
    let device = Device::flex();
    for config in [tiny::siglip(), tiny::clip()] {
        let tower = config.init_with(&Scope::new(1, &device)).unwrap();
        let pixels = seeded_normal([2, 3, 16, 16], 5, &device);
        let plain = tower.forward(pixels.clone()).unwrap();
        let interpolated = tower.forward_interpolated(pixels).unwrap();
        assert_eq!(values(plain.last_hidden_state), values(interpolated.last_hidden_state));
    }
}

#[test]
fn other_sizes_have_their_own_grid_and_gradients_reach_the_table() {
    let device = autodiff_device();
    for (config, class) in [(tiny::siglip(), 0), (tiny::clip(), 1)] {
        let tower = config.init_with(&Scope::new(1, &device)).unwrap();
        // 20 x 27 pixels in patches of 4: 5 x 6, the last 3 columns are dropped.
        let pixels = seeded_normal([1, 3, 20, 27], 5, &device);
        assert!(matches!(tower.forward(pixels.clone()), Err(ModelError::Pixels { .. })));
        let features = tower.features_interpolated(pixels, &[-1], true).unwrap();
        assert_eq!(features.layers[0].dims(), [1, 30 + class, 16]);
        let gradients = (features.layers[0].clone().square().sum() + features.pooled.unwrap().sum()).backward();
        let gradients = GradientsParams::from_grads(gradients, &tower);
        let table = parameters(&tower)
            .into_iter()
            .find(|parameter| parameter.name == "embeddings.position_embedding.weight")
            .unwrap();
        let rows = values(gradients.get::<2>(table.id).unwrap().abs().sum_dim(1));
        assert_eq!(rows.len(), 16 + class);
        assert!(rows.iter().all(|sum| *sum > 0.0), "{rows:?}");
        let small = seeded_normal([1, 3, 3, 16], 5, &device);
        assert!(matches!(tower.forward_interpolated(small), Err(ModelError::Input(_))));
    }
}

#[test]
fn chinese_clip_keeps_its_name() {
    let device = Device::flex();
    let VisionConfig::Clip(config) = tiny::clip() else { panic!() };
    let tower = VisionConfig::ChineseClip(config).init_with(&Scope::new(1, &device)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    tower.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(json["model_type"], "chinese_clip_vision_model");
    assert_eq!(json["architectures"][0], "ChineseCLIPVisionModel");
    // A whole dual encoder's vision part, as old configs name it.
    let config: VisionConfig = serde_json::from_str(r#"{"model_type": "chinese_clip", "patch_size": 16}"#).unwrap();
    assert!(matches!(config, VisionConfig::ChineseClip(_)));
}
