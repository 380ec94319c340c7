//! A vision tower of your own in the place of the shipped one, saved and loaded again: `cargo run --release --example own_encoder`
//!
//! It trains like any other (`train = { vision_tower = 1e-3, ... }`). The folder that is written is an encoder for recipes and studies
//! (`model.encoder = "runs/own_encoder"`), in a program with these types: `run_studies_of::<Towers, Connector>`, see own_connector.rs.

use std::path::Path;

use burn::{module::Module, tensor::Device, tensor::Tensor};
use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::connector::Connector;
use burn_vlm::vision::{TowerShape, VisionConfig, VisionEncoder, VisionFeatures, VisionTower};
use burn_vlm::{ModelError, init::Fill, init::Scope, nn::Linear, parts::Either, vlm::Vlm};
use burn_vlm_experiments::{AnyError, arguments};
use burn_vlm_train::{assemble::Assembled, assemble::assemble, recipe::read_recipe};

/// One matrix for every patch, and no attention.
#[derive(Module, Debug)]
struct Patches {
    project: Linear,
    #[module(skip)]
    config: VisionConfig,
}

impl VisionTower for Patches {
    fn accepts(config: &VisionConfig) -> bool {
        config.is_custom("patches")
    }
    fn from_config(config: &VisionConfig, scope: &Scope) -> Result<Self, ModelError> {
        let TowerShape { num_channels, patch_size, hidden_size, .. } = config.shape();
        let (input, config) = (num_channels * patch_size * patch_size, config.clone());
        let project = scope.linear("project", input, hidden_size, Fill::lecun_normal(input), Some(Fill::ZEROS));
        Ok(Self { project, config })
    }
    fn config(&self) -> VisionConfig {
        self.config.clone()
    }
    fn features(&self, pixels: Tensor<4>, layers: &[i64], _: bool) -> Result<VisionFeatures, ModelError> {
        let ([n, channels, ..], shape) = (pixels.dims(), self.config.shape());
        let (grid, side) = (shape.grid(), shape.patch_size);
        let patches = pixels.reshape([n, channels, grid, side, grid, side]).permute([0, 2, 4, 1, 3, 5]);
        let features = self.project.forward(patches.reshape([n, grid * grid, channels * side * side]));
        Ok(VisionFeatures { layers: vec![features; layers.len()], pooled: None })
    }
}

/// Your tower, or any that configs know.
type Towers = Either<Patches, VisionEncoder>;

const HELP: &str = "Puts an encoder of one's own in the place of a tower, saves the model to runs/own_encoder and loads it: no options";

fn main() -> Result<(), AnyError> {
    if arguments(HELP, 0)?.is_none() {
        return Ok(());
    }
    let (device, folder) = (Device::flex(), Path::new("runs/own_encoder"));
    let recipe = read_recipe("recipes/tiny.toml".as_ref(), &["model.visual_tokens={ pool = 4 }".into()])?;
    let parts: Assembled = assemble(&recipe.model, "parts/siglip2".as_ref(), "parts/backbone".as_ref(), 0, &device)?;
    let shape = TowerShape { pooled_output: false, ..parts.model.config.vision_config.shape() };
    let tower = Towers::from_config(&VisionConfig::custom("patches", shape, &())?, &Scope::new(0, &device))?;
    parts.model.with_tower(tower)?.save_pretrained(folder, StoreDtype::F32)?;
    let model = Vlm::<Towers, Connector>::load_pretrained(folder, &device)?;
    let tokens = model.encode_images(Tensor::ones([1, 3, shape.image_size, shape.image_size], &device))?;
    println!("the tower `{}` makes visual tokens {:?}", model.config.vision_config.name(), tokens.dims());
    Ok(())
}
