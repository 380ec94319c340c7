//! A connector of your own, trained in the tiny preset: `cargo run --release --example own_connector`
//!
//! The connector here gates each visual token by itself. Any module will do: say in `connect` how features become visual tokens.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::sigmoid};
use burn_vlm::{error::ModelError, vlm::Vlm, vlm::VlmInput};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_experiments::{AnyError, ENCODER, parse};
use burn_vlm_train::ablation::PatchRules;
use burn_vlm_train::recipe::{Recipe, StageRecipe};
use burn_vlm_train::{assemble, objective::VisionLanguage, pretrain::Context, study, trainer};

#[derive(Module, Debug)]
struct GatedVlm {
    vlm: Vlm,
    gate: Linear,
    value: Linear,
}

impl VisionLanguage for GatedVlm {
    fn vlm(&self) -> &Vlm {
        &self.vlm
    }

    fn connect(&self, features: Tensor<3>, _: &VlmInput) -> Result<Tensor<3>, ModelError> {
        Ok(sigmoid(self.gate.forward(features.clone())) * self.value.forward(features))
    }
}

fn main() -> Result<(), AnyError> {
    let context = Context { corpus: EmojiCorpus::embedded()?, device: Device::flex(), workers: 1 };
    let device = context.device.clone().autodiff();
    let cell = parse(&ENCODER)?.plan("tiny", None, &PatchRules::new())?.cells.remove(0);
    let recipe = Recipe::from_table(cell.recipe)?;
    let part = |name: &str| assemble::part_folder(name, "parts".as_ref());
    let (encoder, backbone) = (part(&recipe.model.encoder)?, part(&recipe.model.backbone)?);
    let parts = assemble::assemble(&recipe.model, &encoder, &backbone, 0, &device)?;
    let train = [("gate".to_string(), 3e-3), ("value".to_string(), 3e-3)].into(); // everything else is frozen
    let stage = StageRecipe { steps: 60, log_every: 10, train, ..recipe.stage["align"].clone() };
    let objective = study::stage_objective(&context, &recipe, &stage, &parts, 0)?;
    let linear = || LinearConfig::new(parts.model.config.feature_width(), parts.model.language_model.hidden_size());
    let model = GatedVlm { gate: linear().init(&device), value: linear().init(&device), vlm: parts.model.clone() };
    let run = trainer::StageRun {
        name: "align",
        recipe: &stage,
        folder: "runs/own_connector".as_ref(),
        fingerprint: "gated",
        device: &device,
        replicas: &[],
        workers: 1,
        reporter: &Reporter::new(false),
    };
    let (_, result) = trainer::train_stage(&run, objective, model)?;
    let loss = |entry: Option<&burn_vlm_train::log::StepLog>| entry.map_or(f32::NAN, |entry| entry.loss_mean);
    println!("loss {:.2} -> {:.2}", loss(result.log.first()), loss(result.log.last()));
    Ok(())
}
