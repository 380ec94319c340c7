//! `burn-vlm merge`: a low-rank adapter in peft's layout, merged into its model's weights.

use std::io::Write;
use std::path::PathBuf;

use burn::tensor::Device;
use burn_vlm::checkpoint::{SaveOptions, StoreDtype, load_adapter, other_base};
use burn_vlm::language::LanguageModel;
use burn_vlm::lora::{Adapt, merge};
use burn_vlm::vlm::Vlm;
use burn_vlm_train::chat::{is_language_model, model_folder};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::run::write_merged_card;
use clap::Parser;

use crate::AnyError;
use crate::args::{Precision, bytes, check_empty};
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "merge",
            "--model llava-1.5-7b-hf --adapter my-lora --out merged --dtype bf16",
            "an adapter trained with peft",
        ),
        ("merge", "--model runs/train/my/base --adapter runs/train/my/adapter --out merged", "one trained here"),
    ];
    examples(
        &lines,
        "Tokenizer, template and processor files are copied. `chat` and `evaluate` take an adapter beside a model, too: --adapter DIR.",
    )
}

/// Merge a low-rank adapter (LoRA, DoRA), in peft's layout, into its model's weights
#[derive(Debug, Parser)]
#[command(name = "merge", max_term_width = 100, after_help = help())]
pub(crate) struct MergeArgs {
    /// The model that the adapter was trained on: a vision-language model's folder, or a language model's
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// The adapter: adapter_config.json, adapter_model.safetensors
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,

    /// Merge into these weights though the adapter was trained on others, as its base.json tells (a copy in another element type, say)
    #[arg(long)]
    any_base: bool,

    /// The folder that is written, a new or an empty one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Element type in the files; the merging is done in f32
    #[arg(long, value_enum, default_value_t = Precision::F32, value_name = "TYPE")]
    dtype: Precision,

    /// Largest file of weights, such as 500MB; above it there are several and an index
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = bytes)]
    max_shard_size: u64,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
}

/// Reads, merges and writes.
pub(crate) fn run(args: &MergeArgs) -> Result<(), AnyError> {
    // Nor the model or the adapter itself: the next merge would add the adapter once more.
    check_empty(&args.out)?;
    let device = &choose(args.device)?.device;
    let folder = model_folder(&args.model)?;
    if let Some(other) = other_base(&args.adapter, &folder)? {
        if other.proven && !args.any_base {
            return Err(format!("{}{}", other.message, where_to_find(args)).into());
        }
        eprintln!("warning: {}", other.message);
    }
    let layers = match is_language_model(&folder)? {
        true => merged::<LanguageModel>(args, &folder, device)?,
        false => merged::<Vlm>(args, &folder, device)?,
    };
    write_merged_card(&folder, &args.adapter, &args.out)?;
    let (model, adapter, out) = (folder.display(), args.adapter.display(), args.out.display());
    writeln!(std::io::stdout(), "{adapter}: {layers} layers merged into {model} -> {out}")?;
    Ok(())
}

/// What to do about weights that are not those of the adapter.
fn where_to_find(args: &MergeArgs) -> String {
    let base = args.adapter.canonicalize().ok().and_then(|adapter| Some(adapter.parent()?.join("base")));
    let own = match base.filter(|base| base.join("config.json").is_file()) {
        Some(base) => format!("; those of its run are in {}", base.display()),
        None => String::new(),
    };
    format!("{own}. A run's `model` has its adapter merged already; --any-base merges all the same")
}

/// How many layers the adapter had.
fn merged<M: Adapt>(args: &MergeArgs, folder: &std::path::Path, device: &Device) -> Result<usize, AnyError> {
    let model = M::load_pretrained(folder, device)?;
    let (model, plan) = load_adapter(model, &args.adapter, StoreDtype::F32, device)?;
    let model = merge(model, &plan.config, device)?;
    let (dtype, max_shard_size) = (args.dtype.store(), args.max_shard_size);
    let options = SaveOptions { dtype, max_shard_size, companions: Some(folder.to_owned()) };
    model.save_pretrained_with(&args.out, &options)?;
    Ok(plan.layers.len())
}
