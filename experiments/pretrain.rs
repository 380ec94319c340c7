//! `cargo run --release --example pretrain`: makes the pretrained parts that ship with the repository.

use std::path::PathBuf;
use std::process::ExitCode;

use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::ablation::{PatchRules, Study};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::pretrain::{Context, PartPlaces, is_made_from, pretrain_part};
use burn_vlm_train::recipe::{PartRecipe, Recipe};
use clap::Parser;

use crate::AnyError;
use crate::call::{call, examples};
use crate::compute::in_pool;
use crate::signals::stop_at_a_step;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("pretrain", "siglip2", "the encoder `siglip2` of the built-in encoder study, to runs/parts/siglip2"),
        ("pretrain", "--config my.toml --out my-parts", "all parts that the recipe of your own study describes"),
        ("pretrain", "--preset smoke --out runs/smoke-parts", "does it run at all?"),
    ];
    let next = call("study", "my.toml --parts my-parts");
    examples(&lines, &format!("Running the same command again continues where it stopped. Then use them:\n  {next}"))
}

/// Pretrain the parts (encoders and backbone) of a study by its recipe
#[derive(Debug, Parser)]
#[command(name = "pretrain", max_term_width = 100, after_help = help())]
pub(crate) struct PretrainArgs {
    /// Parts to pretrain [default: all of the recipe]
    parts: Vec<String>,

    /// Study file whose recipe describes the parts [default: the built-in encoder study]
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,

    /// Preset of the study [default: tiny, if the study has it]
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,

    /// Folder to write the parts to; checkpoints go to `<out>/.work`, so that a killed run continues
    #[arg(long, default_value = "runs/parts", value_name = "DIR")]
    out: PathBuf,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,

    /// Print errors only
    #[arg(long, short)]
    quiet: bool,
}

/// The program.
pub fn pretrain() -> ExitCode {
    crate::end(in_pool(|| run(&PretrainArgs::parse())))
}

pub(crate) fn run(args: &PretrainArgs) -> Result<(), AnyError> {
    stop_at_a_step();
    let reporter = Reporter::new(args.quiet);
    let chosen = choose(args.device)?;
    reporter.line(&format!("device: {}", chosen.choice));
    let study = match &args.config {
        Some(path) => Study::load(path)?,
        None => crate::parse(&crate::ENCODER)?,
    };
    let plan = study.plan(args.preset.as_deref().unwrap_or(study.usual_preset()), None, &PatchRules::new())?;
    let first = plan.cells.first().ok_or("the study has no cells")?;
    let recipe = Recipe::from_table(first.recipe.clone())?;
    let context = Context { corpus: EmojiCorpus::embedded()?, device: chosen.device, workers: 1 };
    let names: Vec<String> =
        if args.parts.is_empty() { recipe.part.keys().cloned().collect() } else { args.parts.clone() };
    let mut order: Vec<&str> = Vec::new();
    for name in &names {
        for one in recipe.lineage(name)? {
            // What others begin with is made before them, unless it is there and nobody asked for it anew.
            let folder = args.out.join(one);
            let there = folder.join("model.safetensors").is_file() && !names.iter().any(|name| name == one);
            if there && !is_made_from(&folder, &recipe, one)? {
                let folder = folder.display();
                let message = format!(
                    "{name} begins with {one}, and {folder} was made by another recipe: name {one} too to make it anew, or choose \
                     another --out"
                );
                return Err(message.into());
            }
            if !there && !order.contains(&one) {
                order.push(one);
            }
        }
    }
    for name in order {
        let (work, out) = (args.out.join(".work").join(name), args.out.join(name));
        let from = recipe.part.get(name).and_then(PartRecipe::begin_from).map(|from| args.out.join(from));
        let places = PartPlaces { begin_from: from.as_deref(), work: &work, out: &out };
        pretrain_part(&context, &recipe, name, places, &reporter)?;
        reporter.line(&format!("{name}: written to {}", out.display()));
    }
    Ok(())
}
