//! A tower and a connector that this library does not know: built, trained, saved, loaded strictly, generated with.
#![cfg(feature = "flex")]

mod common;

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::checkpoint::{Pretrained, StoreDtype, parameters};
use burn_vlm::connector::{Connector, ConnectorConfig, ConnectorShape, PixelShuffleConfig, Projector, RoutingText};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::{Fill, Scope};
use burn_vlm::nn::Linear;
use burn_vlm::parts::Either;
use burn_vlm::vision::{TowerShape, VisionConfig, VisionEncoder, VisionFeatures, VisionTower};
use burn_vlm::vlm::{Vlm, VlmConfig, VlmInput};
use serde::{Deserialize, Serialize};

use common::tiny;

/// A gate on each visual token, and every `keep`-th token alone.
#[derive(Module, Debug)]
struct Gated {
    gate: Linear,
    value: Linear,
    #[module(skip)]
    keys: GatedKeys,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GatedKeys {
    keep: usize,
}

impl Projector for Gated {
    fn accepts(config: &ConnectorConfig) -> bool {
        config.is_custom("gated")
    }

    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        let fill = Fill::torch_linear(shape.input);
        let linear = |name: &str| scope.linear(name, shape.input, shape.hidden, fill, Some(fill));
        Ok(Self { gate: linear("gate"), value: linear("value"), keys: config.custom_keys("gated")? })
    }

    fn config(&self) -> ConnectorConfig {
        ConnectorConfig::custom("gated", &self.keys).unwrap()
    }

    fn input_width(&self) -> usize {
        self.value.weight.lazy_shape()[0]
    }

    fn output_width(&self) -> usize {
        self.value.weight.lazy_shape()[1]
    }

    fn output_tokens(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.keys.keep)
    }

    fn connect(&self, features: Tensor<3>, _: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        let kept = (0..features.dims()[1] as i64).step_by(self.keys.keep).collect::<Vec<_>>();
        let count = kept.len();
        let kept = Tensor::<1, Int>::from_data(TensorData::new(kept, [count]), &features.device());
        let features = features.select(1, kept);
        Ok(sigmoid(self.gate.forward(features.clone())) * self.value.forward(features))
    }
}

/// Means of patches, and one matrix.
#[derive(Module, Debug)]
struct Means {
    weight: Param<Tensor<2>>,
    #[module(skip)]
    shape: TowerShape,
}

impl VisionTower for Means {
    fn accepts(config: &VisionConfig) -> bool {
        config.is_custom("means")
    }

    fn from_config(config: &VisionConfig, scope: &Scope) -> Result<Self, ModelError> {
        config.custom_keys::<serde_json::Map<_, _>>("means")?;
        let shape = config.shape();
        let weight = scope.param("weight", [shape.num_channels, shape.hidden_size], Fill::Normal { std: 1.0 });
        Ok(Self { weight, shape })
    }

    fn config(&self) -> VisionConfig {
        VisionConfig::custom("means", self.shape, &()).unwrap()
    }

    fn features(&self, pixels: Tensor<4>, layers: &[i64], _: bool) -> Result<VisionFeatures, ModelError> {
        let [n, channels, ..] = pixels.dims();
        let (grid, patch) = (self.shape.grid(), self.shape.patch_size);
        let means = pixels.reshape([n, channels, grid, patch, grid * patch]).mean_dim(3);
        let means = means.reshape([n, channels, grid, grid, patch]).mean_dim(4).reshape([n, channels, grid * grid]);
        let features = means.swap_dims(1, 2).matmul(self.weight.val().unsqueeze());
        Ok(VisionFeatures { layers: vec![features; layers.len()], pooled: None })
    }
}

const TOWER: TowerShape = TowerShape {
    hidden_size: 12,
    num_hidden_layers: 2,
    num_channels: 3,
    image_size: 20,
    patch_size: 5,
    class_token: false,
    pooled_output: false,
    flexible: false,
};

/// Ids of a picture's tokens between two words.
fn ids(config: &VlmConfig, device: &Device) -> Tensor<2, Int> {
    let count = config.num_visual_tokens();
    let ids: Vec<i64> =
        [1].into_iter().chain(std::iter::repeat_n(config.image_token_index, count)).chain([2, 3]).collect();
    Tensor::from_data(TensorData::new(ids, [1, count + 3]), device)
}

fn pixels(config: &VlmConfig, device: &Device) -> Tensor<4> {
    let size = config.vision_config.image_size();
    let values: Vec<f32> = (0..3 * size * size).map(|at| ((at * 37 % 101) as f32 / 50.0) - 1.0).collect();
    Tensor::from_data(TensorData::new(values, [1, 3, size, size]), device)
}

fn input<T: VisionTower, P: Projector>(model: &Vlm<T, P>, device: &Device) -> VlmInput {
    let features = model.encode_images(pixels(&model.config, device)).unwrap();
    VlmInput::new(ids(&model.config, device)).with_features(features)
}

fn hidden<T: VisionTower, P: Projector>(model: &Vlm<T, P>, device: &Device) -> Vec<f32> {
    model.forward(&input(model, device)).unwrap().into_data().try_into_vec().unwrap()
}

fn gated_config() -> VlmConfig {
    let connector = ConnectorConfig::custom("gated", &GatedKeys { keep: 3 }).unwrap();
    VlmConfig { connector, ..VlmConfig::new(tiny::siglip(), tiny::gemma2(), 5) }
}

fn json(folder: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn an_own_connector_is_saved_and_loaded() {
    let device = Device::flex();
    let model: Vlm<VisionEncoder, Gated> = gated_config().init_parts(&Scope::new(7, &device)).unwrap();
    let features = model.config.num_feature_tokens();
    assert_eq!(model.config.num_visual_tokens(), features.div_ceil(3));
    let dir = tempfile::tempdir().unwrap();
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let written = &json(dir.path())["connector"];
    let expected = serde_json::json!({
        "kind": "custom", "name": "gated", "keep": 3, "output_tokens": features.div_ceil(3)
    });
    assert_eq!(written, &expected);
    let back = Vlm::<VisionEncoder, Gated>::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(hidden(&back, &device), hidden(&model, &device));
    assert_eq!(back.config.connector, model.config.connector);
    let either = Vlm::<VisionEncoder, Either<Gated>>::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(hidden(&either, &device), hidden(&model, &device));
    // The library alone does not know it, and says so.
    let error = Vlm::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("connector.name") && error.contains("gated"), "{error}");
}

#[test]
fn a_file_that_does_not_fit_an_own_connector_is_refused_key_by_key() {
    let device = Device::flex();
    let mut model: Vlm<VisionEncoder, Gated> = gated_config().init_parts(&Scope::new(7, &device)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model.multi_modal_projector.gate = Scope::new(1, &device).linear("gate", 2, 3, Fill::ZEROS, None);
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let error = Vlm::<VisionEncoder, Gated>::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("shape: multi_modal_projector.gate.weight is [3, 2]"), "{error}");
    assert!(error.contains("missing: multi_modal_projector.gate.bias"), "{error}");
    // Keys of the configuration are the connector's to refuse.
    let config = dir.path().join("config.json");
    let mut value = json(dir.path());
    value["connector"]["kep"] = serde_json::json!(1);
    std::fs::write(&config, value.to_string()).unwrap();
    let error = Vlm::<VisionEncoder, Gated>::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("kep"), "{error}");
}

#[test]
fn an_own_connector_takes_the_place_of_another_and_is_trained() {
    let device = Device::flex().autodiff();
    let config = VlmConfig { connector: ConnectorConfig::default(), ..gated_config() };
    let plain = config.init_with(&Scope::new(7, &device)).unwrap();
    let own = gated_config().init_connector::<Gated>(&Scope::new(7, &device)).unwrap();
    let model = plain.with_projector(own).unwrap();
    let input = input(&model, &device);
    let ids = |values: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::from(values.as_slice()), &device);
    let last = model.config.num_visual_tokens() as i64 + 1;
    let loss = model.target_losses(&input, ids(vec![last]), ids(vec![3])).unwrap();
    let gradients = loss.sum().backward();
    let gate = model.multi_modal_projector.gate.weight.val().grad(&gradients).unwrap();
    assert!(gate.abs().sum().into_scalar::<f32>() > 0.0);
    // A connector of another width is refused.
    let shape = ConnectorShape { hidden: 3, ..model.config.connector_shape() };
    let narrow = Gated::from_config(&model.config.connector, &shape, &Scope::new(7, &device)).unwrap();
    let error = model.valid().with_projector(narrow.valid()).unwrap_err().to_string();
    assert!(error.contains("the connector's tokens") && error.contains('3'), "{error}");
}

#[test]
fn own_tower_and_own_connector_together() {
    let device = Device::flex();
    let config = VlmConfig { vision_config: VisionConfig::custom("means", TOWER, &()).unwrap(), ..gated_config() };
    let config = VlmConfig::new(config.vision_config, config.text_config, 5);
    let config = VlmConfig { connector: gated_config().connector, ..config };
    let model: Vlm<Means, Gated> = config.init_parts(&Scope::new(3, &device)).unwrap();
    assert_eq!((model.config.num_feature_tokens(), model.config.num_visual_tokens()), (16, 6));
    let dir = tempfile::tempdir().unwrap();
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    let back = Vlm::<Either<Means, VisionEncoder>, Either<Gated>>::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(hidden(&back, &device), hidden(&model, &device));
    let names: Vec<String> = parameters(&back).into_iter().map(|parameter| parameter.name).collect();
    assert!(names.contains(&"vision_tower.weight".into()) && names.contains(&"multi_modal_projector.gate.bias".into()));
    let prompt = ids(&config, &device).into_data().iter::<i64>().map(|id| id as u32).collect::<Vec<_>>();
    let prompt = prompt[..1].iter().copied().chain(std::iter::repeat_n(5, 6)).chain([2, 3]).collect::<Vec<_>>();
    let features = back.encode_images(pixels(&back.config, &device)).unwrap();
    let options = GenerationConfig { max_new_tokens: 3, ..GenerationConfig::default() };
    let text = back.generate(&[prompt], features, &options, &device).unwrap();
    assert_eq!(text[0].ids.len(), 3);
    let error = VisionEncoder::load_pretrained(dir.path(), &device).unwrap_err().to_string();
    assert!(error.contains("means"), "{error}");
}

#[test]
fn names_that_the_config_uses_are_refused() {
    #[derive(Serialize)]
    struct Keys {
        name: &'static str,
    }
    let error = ConnectorConfig::custom("a", &Keys { name: "b" }).unwrap_err().to_string();
    assert!(error.contains("name"), "{error}");
    let error = VisionConfig::custom("a", TOWER, &serde_json::json!({"hidden_size": 3})).unwrap_err().to_string();
    assert!(error.contains("hidden_size"), "{error}");
    assert!(ConnectorConfig::custom("a", &3).is_err());
}

#[test]
fn pixel_shuffle_is_chosen_by_the_config() {
    let device = Device::flex();
    let shuffle = |scale| ConnectorConfig::PixelShuffle(PixelShuffleConfig { scale });
    let side = VlmConfig::new(tiny::siglip(), tiny::gemma2(), 5).feature_side();
    let config = VlmConfig { connector: shuffle(side), ..VlmConfig::new(tiny::siglip(), tiny::gemma2(), 5) };
    let model = config.init(&device).unwrap();
    assert_eq!(config.num_visual_tokens(), 1);
    assert!(matches!(model.multi_modal_projector, Connector::PixelShuffle(_)));
    let dir = tempfile::tempdir().unwrap();
    model.save_pretrained(dir.path(), StoreDtype::F32).unwrap();
    assert_eq!(json(dir.path())["connector"], serde_json::json!({"kind": "pixel_shuffle", "scale": side}));
    let back = Vlm::load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(hidden(&back, &device), hidden(&model, &device));
    let error = VlmConfig { connector: shuffle(side + 1), ..config.clone() }.init(&device).unwrap_err().to_string();
    assert!(error.contains("`scale`"), "{error}");
    let clip = VlmConfig { connector: shuffle(1), ..VlmConfig::new(tiny::clip(), tiny::gemma2(), 5) };
    assert!(clip.init(&device).is_ok());
    let strategy = burn_vlm::vlm::SelectStrategy::Full;
    let error = VlmConfig { vision_feature_select_strategy: strategy, ..clip }.init(&device).unwrap_err().to_string();
    assert!(error.contains("no class token"), "{error}");
}
