//! Pictures with grids of their own (SigLIP 2 NaFlex): padding that nothing sees, batches that do not matter, squares, misfits, and a
//! VLM around such a tower. That the numbers are transformers' is the root's parity test.

#![cfg(feature = "flex")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::checkpoint::{Layout, Pretrained, StoreDtype, TensorSource, parameters, save_parameters};
use burn_vlm::connector::{ConnectorConfig, ParrotConfig, PixelShuffleConfig};
use burn_vlm::init::{Scope, seeded_normal};
use burn_vlm::vision::{PatchPixels, Siglip2VisionConfig, VisionConfig, VisionEncoder, VisionTower};
use burn_vlm::vlm::{FeatureLayer, Packing, SelectStrategy, VisualTokens, Vlm, VlmConfig, VlmInput, VlmType};
use common::tiny::{self, IMAGE_TOKEN};
use common::{Fixture, autodiff_device, fixtures, max_abs, values};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// Sums in another order, on values of order 1.
const ROUNDING: f32 = 2e-5;
/// Grids that shrink the 4 x 4 positions, stretch them, and do both.
const GRIDS: [(usize, usize); 4] = [(4, 4), (2, 9), (1, 1), (18, 1)];
/// Places for the patches of a picture.
const MOST: usize = 20;
const PATCH_VALUES: usize = 3 * 4 * 4;

fn tower_config() -> VisionConfig {
    VisionConfig::Siglip2(Siglip2VisionConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        patch_size: 4,
        num_patches: 16,
        ..Siglip2VisionConfig::default()
    })
}

fn tower(device: &Device) -> VisionEncoder {
    tower_config().init_with(&Scope::new(5, device)).unwrap()
}

/// Some of the pictures of [`GRIDS`], padded to `most` with `padding`.
fn pixels(which: &[usize], most: usize, padding: f32, device: &Device) -> PatchPixels {
    let picture = |index: &usize| {
        let (rows, columns) = GRIDS[*index];
        let patches: Tensor<3> = seeded_normal([1, rows * columns, PATCH_VALUES], *index as u64 + 1, device);
        if most == rows * columns {
            return patches;
        }
        let rest = Tensor::full([1, most - rows * columns, PATCH_VALUES], padding, device);
        Tensor::cat(vec![patches, rest], 1)
    };
    let grids = which.iter().map(|index| GRIDS[*index]).collect();
    PatchPixels::new(Tensor::cat(which.iter().map(picture).collect(), 0), grids).unwrap()
}

/// Last hidden state of a picture's patches, and its pooled vector.
fn seen(tower: &VisionEncoder, pixels: &PatchPixels, picture: usize) -> (Tensor<3>, Tensor<2>) {
    let output = tower.forward_patches(pixels).unwrap();
    let count = pixels.counts()[picture];
    let hidden = output.last_hidden_state.narrow(0, picture, 1).narrow(1, 0, count);
    (hidden, output.pooler_output.unwrap().narrow(0, picture, 1))
}

#[test]
fn neither_padding_nor_the_batch_matters() {
    let device = Device::flex();
    let tower = tower(&device);
    let together = pixels(&[0, 1, 2, 3], MOST, 0.0, &device);
    for (picture, (rows, columns)) in GRIDS.into_iter().enumerate() {
        let (hidden, pooled) = seen(&tower, &together, picture);
        let alone = seen(&tower, &pixels(&[picture], MOST, 0.0, &device), 0);
        // The same number of places: the same numbers.
        assert_eq!((values(hidden.clone()), values(pooled.clone())), (values(alone.0), values(alone.1)), "{picture}");
        let count = rows * columns;
        for (most, padding) in [(MOST, 1e3), (count, 0.0), (3 * MOST, -7.0)] {
            let other = seen(&tower, &pixels(&[picture], most, padding, &device), 0);
            let apart = max_abs(hidden.clone() - other.0).max(max_abs(pooled.clone() - other.1));
            assert!(apart < ROUNDING, "picture {picture}, {most} places of {padding}: {apart}");
        }
    }
    // That the pictures differ at all, and that their grids matter.
    let grids = vec![(9, 2), (2, 9)];
    let same = pixels(&[1, 1], MOST, 0.0, &device);
    let turned = PatchPixels::new(same.patches().clone(), grids).unwrap();
    let apart = max_abs(seen(&tower, &turned, 0).0 - seen(&tower, &turned, 1).0);
    assert!(apart > 1e-2, "{apart}");
}

/// Pixels of one size are the patches cut of them: channels of a pixel together, rows of a patch, patches row by row.
#[test]
fn squares_are_patches_too() {
    let device = Device::flex();
    let tower = tower(&device);
    let picture: Tensor<4> = seeded_normal([2, 3, 8, 20], 3, &device);
    let cut = PatchPixels::cut(picture.clone(), 4).unwrap();
    assert_eq!((cut.grids(), cut.patches().dims()), ([(2, 5); 2].as_slice(), [2, 10, PATCH_VALUES]));
    let (all, patches) = (values(picture.clone()), values(cut.patches().clone()));
    for (patch, row, column, channel) in [(0, 0, 0, 0), (4, 3, 1, 2), (7, 0, 3, 1), (9, 2, 2, 0)] {
        let (y, x) = (patch / 5 * 4 + row, patch % 5 * 4 + column);
        let found = patches[(10 + patch) * PATCH_VALUES + (row * 4 + column) * 3 + channel];
        assert_eq!(found, all[((3 + channel) * 8 + y) * 20 + x], "{patch} {row} {column} {channel}");
    }
    let whole = tower.forward_interpolated(picture.clone()).unwrap().last_hidden_state;
    assert_eq!(values(whole), values(tower.forward_patches(&cut).unwrap().last_hidden_state));
    let square: Tensor<4> = seeded_normal([1, 3, 16, 16], 4, &device);
    let cut = PatchPixels::cut(square.clone(), 4).unwrap();
    let features = tower.features(square.clone(), &[-2, 0], true).unwrap();
    let again = tower.features_of_patches(&cut, &[-2, 0], true).unwrap();
    assert_eq!(values(Tensor::cat(features.layers, 0)), values(Tensor::cat(again.layers, 0)));
    assert_eq!(values(features.pooled.unwrap()), values(again.pooled.unwrap()));
    assert!(matches!(tower.forward(picture.clone()), Err(ModelError::Pixels { size: 16, .. })));
    assert!(matches!(tower.forward_interpolated(picture.narrow(2, 0, 3)), Err(ModelError::Input(_))));
}

#[test]
fn misfits_are_named() {
    let device = Device::flex();
    let zeros = |pictures: usize, most: usize, values: usize| Tensor::<3>::zeros([pictures, most, values], &device);
    let new = |patches, grids: &[(usize, usize)]| {
        PatchPixels::new(patches, grids.to_vec()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(new(zeros(1, 20, 48), &[(4, 5)]), Ok(()));
    for (grids, expected) in [
        (vec![(4, 5), (3, 7)], "picture 1: 3 x 7, expected from 1 to 20"),
        (vec![(0, 5), (4, 5)], "picture 0: 0 x 5"),
        (vec![(4, 5), (usize::MAX, 2)], "picture 1"),
        (vec![(4, 5)], "2 pictures with 1 spatial_shapes"),
    ] {
        let error = new(zeros(2, 20, 48), &grids).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    // A patch of another size than the tower's.
    let tower = tower(&device);
    let wrong = PatchPixels::new(zeros(1, 4, 3 * 5 * 5), vec![(2, 2)]).unwrap();
    let error = tower.forward_patches(&wrong).unwrap_err().to_string();
    assert!(error.contains("75 values") && error.contains("48") && error.contains("patch_size 4"), "{error}");
    assert!(matches!(tower.features_of_patches(&wrong, &[9], false), Err(ModelError::FeatureLayer { .. })));
    // A tower that takes squares.
    let squares = tiny::siglip().init(&device).unwrap();
    let error = squares.features_of_patches(&wrong, &[-1], false).unwrap_err().to_string();
    assert!(error.contains("NaFlex") && error.contains("squares"), "{error}");
    assert!(squares.forward_patches(&wrong).is_err());
    // Positions that are no square, heads that do not divide.
    let VisionConfig::Siglip2(config) = tower_config() else { panic!() };
    for (config, key) in [
        (Siglip2VisionConfig { num_patches: 20, ..config.clone() }, "num_patches"),
        (Siglip2VisionConfig { num_patches: 0, ..config.clone() }, "num_patches"),
        (Siglip2VisionConfig { patch_size: 0, ..config.clone() }, "patch_size"),
        (Siglip2VisionConfig { num_attention_heads: 3, ..config }, "num_attention_heads"),
    ] {
        let error = config.init(&device).unwrap_err().to_string();
        assert!(error.contains("siglip2_vision_model") && error.contains(key), "{error}");
    }
}

/// A folder of the fixture with its config and tensors changed.
fn changed(
    name: &str,
    to: &Path,
    config: impl FnOnce(&mut Value),
    tensors: impl for<'a> FnOnce(&mut HashMap<String, TensorView<'a>>),
) {
    let from = fixtures().join(name);
    let mut json: Value = serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    std::fs::write(to.join("config.json"), json.to_string()).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: HashMap<String, TensorView> = whole.tensors().into_iter().collect();
    tensors(&mut all);
    safetensors::serialize_to_file(all, None, &to.join("model.safetensors")).unwrap();
}

#[test]
fn folders_load_strictly_and_are_written_back() {
    let device = Device::flex();
    let (tower, whole) = ("siglip2_naflex_vision", "siglip2_naflex_dual");
    let load = |folder: &Path| VisionEncoder::load_pretrained(folder, &device).map_err(|error| error.to_string());
    let model = load(&fixtures().join(tower)).unwrap();
    assert_eq!(values_of(&model), values_of(&load(&fixtures().join(whole)).unwrap()));

    // What is written is transformers' again, and loads.
    let saved = tempfile::tempdir().unwrap();
    model.save_pretrained(saved.path(), StoreDtype::F32).unwrap();
    let written: Value = serde_json::from_slice(&std::fs::read(saved.path().join("config.json")).unwrap()).unwrap();
    let original = Fixture::open(tower).json("config.json");
    for key in
        ["architectures", "model_type", "num_patches", "patch_size", "hidden_size", "vision_use_head", "hidden_act"]
    {
        assert_eq!(written[key], original[key], "{key}");
    }
    assert_eq!(values_of(&model), values_of(&load(saved.path()).unwrap()));

    // Whole configs leave out the tower's kind, and every size that is the class's default.
    let folder = tempfile::tempdir().unwrap();
    let forget = |config: &mut Value| {
        config["vision_config"].as_object_mut().unwrap().remove("model_type");
    };
    changed(whole, folder.path(), forget, |_| ());
    assert_eq!(values_of(&model), values_of(&load(folder.path()).unwrap()));

    let refused = |name: &str, config: &dyn Fn(&mut Value), remove: Option<&str>, parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        changed(name, folder.path(), config, |tensors| {
            if let Some(end) = remove {
                let before = tensors.len();
                tensors.retain(|key, _| key.starts_with("text_model.") || !key.ends_with(end));
                assert_eq!(tensors.len() + 1, before);
            }
        });
        let error = load(folder.path()).map(drop).unwrap_err();
        parts.iter().for_each(|part| assert!(error.contains(part), "{error}"));
    };
    for (name, vision) in [(tower, ""), (whole, "/vision_config")] {
        let set = |key: &'static str, value: i64| {
            move |config: &mut Value| config.pointer_mut(vision).unwrap()[key] = value.into()
        };
        refused(name, &|_| (), Some("embeddings.position_embedding.weight"), &["position_embedding.weight"]);
        refused(name, &|_| (), Some("head.attention.in_proj_bias"), &["head.attention.in_proj_bias"]);
        // Another patch size than the weights are of, another number of positions.
        refused(name, &set("patch_size", 8), None, &["patch_embedding.weight"]);
        refused(name, &set("num_patches", 25), None, &["position_embedding.weight"]);
        refused(name, &set("num_patches", 17), None, &["config.json", "num_patches"]);
        refused(name, &set("num_patches", 1 << 50), None, &["config.json", "num_patches"]);
    }
}

/// Every parameter with its values.
fn values_of(model: &VisionEncoder) -> Vec<(String, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    save_parameters(model, &path, &Layout::Plain, StoreDtype::F32).unwrap();
    let source = TensorSource::open(&path).unwrap();
    source.tensors().iter().map(|(key, tensor)| (key.clone(), source.read_f32(key, tensor).unwrap())).collect()
}

fn vlm_config() -> VlmConfig {
    let base = VlmConfig::new(tower_config(), tiny::qwen2(), IMAGE_TOKEN);
    VlmConfig { vision_feature_layer: FeatureLayer::One(-1), ..base }
}

/// A row with the visual tokens of some pictures, a word behind each.
fn row(which: &[usize]) -> Vec<i64> {
    let image = |index: &usize| std::iter::repeat_n(IMAGE_TOKEN, GRIDS[*index].0 * GRIDS[*index].1).chain([5]);
    [2].into_iter().chain(which.iter().flat_map(image)).chain([7, 8]).collect()
}

fn input(model: &Vlm, rows: &[&[usize]], device: &Device) -> VlmInput {
    let made: Vec<Vec<i64>> = rows.iter().map(|which| row(which)).collect();
    let width = made.iter().map(Vec::len).max().unwrap();
    let padded: Vec<i64> =
        made.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0, width - row.len()))).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(padded, [rows.len(), width]), device);
    let pixels = pixels(&rows.concat(), MOST, 0.0, device);
    VlmInput::new(ids).with_features(model.encode_patches(&pixels).unwrap())
}

#[test]
fn a_vlm_reads_as_many_tokens_as_a_picture_has_patches() {
    let device = autodiff_device();
    let mut model: Vlm = vlm_config().init_with(&Scope::new(3, &device)).unwrap();
    let rows: [&[usize]; 3] = [&[1, 2], &[0], &[3, 2]];
    let together = input(&model, &rows, &device);
    assert_eq!(together.packing.as_ref().unwrap().image_tokens(), [18, 1, 16, 18, 1]);
    let visual = model.visual_tokens(&together).unwrap().unwrap();
    assert_eq!(visual.dims(), [1, 54, 24]);
    let hidden = model.forward(&together).unwrap();
    for (at, which) in rows.iter().enumerate() {
        let alone = model.forward(&input(&model, &[*which], &device)).unwrap();
        let [_, tokens, _] = alone.dims();
        let apart = max_abs(hidden.clone().narrow(0, at, 1).narrow(1, 0, tokens) - alone);
        assert!(apart < ROUNDING, "row {at}: {apart}");
    }
    // In chunks the same.
    model.images_per_chunk = Some(2);
    let chunked = model.forward(&input(&model, &rows, &device)).unwrap();
    assert!(max_abs(hidden.clone() - chunked) < ROUNDING);
    // Gradients reach the table of positions, and every place of it.
    let gradients = GradientsParams::from_grads(hidden.square().mean().backward(), &model);
    let table = parameters(&model).into_iter().find(|found| found.name.ends_with("position_embedding.weight")).unwrap();
    let gradient = values(gradients.get::<2>(table.id).unwrap());
    assert!(gradient.chunks(16).all(|place| place.iter().any(|value| *value != 0.0)));

    // Saved, loaded, the same.
    let folder = tempfile::tempdir().unwrap();
    model.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
    let plain = Device::flex();
    let back = Vlm::load_pretrained(folder.path(), &plain).unwrap();
    assert_eq!(back.config.vision_config, model.config.vision_config);
    let again = back.forward(&input(&back, &rows, &plain)).unwrap();
    let before = model.forward(&input(&model, &rows, &device)).unwrap();
    // One in chunks, the other not.
    assert!(max_abs(again - before.inner()) < ROUNDING);

    // Another number of image tokens than of patches.
    let mut wrong = input(&model, &[&[1]], &device);
    wrong.ids = Tensor::from_data(TensorData::new(row(&[0]), [1, row(&[0]).len()]), &device);
    let error = model.forward(&wrong).unwrap_err().to_string();
    assert!(error.contains("16 image tokens") && error.contains("18"), "{error}");
    assert!(Packing::of_padded(&[3, 5], 4).unwrap_err().to_string().contains("picture 1 has 5 tokens"));
    assert!(model.config.num_image_tokens((30, 40)).is_err());
}

#[test]
fn what_takes_a_square_is_refused() {
    let base = vlm_config();
    let plain = VisualTokens::default();
    let pool = VisualTokens { pool: Some(2), ..plain };
    let pooled_head = VisualTokens { pooled_head: true, ..plain };
    let shuffle = ConnectorConfig::PixelShuffle(PixelShuffleConfig { scale: 2 });
    let parrot = ConnectorConfig::Parrot(ParrotConfig::default());
    for (config, key) in [
        (VlmConfig { visual_tokens: pool, ..base.clone() }, "visual_tokens.pool"),
        (VlmConfig { visual_tokens: pooled_head, ..base.clone() }, "visual_tokens.pooled_head"),
        (VlmConfig { model_type: VlmType::LlavaNext, ..base.clone() }, "model_type"),
        (
            VlmConfig { vision_feature_select_strategy: SelectStrategy::Default, ..base.clone() },
            "vision_feature_select_strategy",
        ),
        (VlmConfig { connector: shuffle, ..base.clone() }, "connector"),
        (VlmConfig { connector: parrot, ..base.clone() }, "connector"),
    ] {
        let error = config.init(&Device::flex()).map(drop).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains("grid of its own"), "{key}: {error}");
    }
    let normalised = VisualTokens { normalize: true, noise: 0.3, ..plain };
    assert!(VlmConfig { visual_tokens: normalised, ..base }.validate().is_ok());
    // A model of squares takes no patches.
    let device = Device::flex();
    let squares = tiny::vlm(&VlmConfig::new(tiny::siglip(), tiny::qwen2(), IMAGE_TOKEN), 0, &device);
    assert!(squares.encode_patches(&pixels(&[0], MOST, 0.0, &device)).unwrap_err().to_string().contains("NaFlex"));
}
