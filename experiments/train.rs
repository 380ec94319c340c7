//! `cargo run --release --example train`: a recipe from parts to a Hugging Face folder.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use burn_vlm::nn::Precision;
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::device::{ChosenDevice, DeviceChoice, choose};
use burn_vlm_train::error::TrainError;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::{Recipe, read_recipe};
use burn_vlm_train::run::estimate::{Assumptions, EstimateInput, Machine, estimate_run, matmul_rate, matmul_rate_of};
use burn_vlm_train::run::{PartFolders, Start, TrainRun, Trained, TrainedStage};
use burn_vlm_train::trainer::Observer;
use clap::Parser;

use crate::args::Elsewhere;
use crate::call::{call, examples};
use crate::compute::in_pool;
use crate::signals::stop_at_a_step;
use crate::study::{default_parts, repository};
use crate::{AnyError, SHAPES};

/// Threads that decode pictures beside an accelerator, at most.
const MOST_WORKERS: usize = 8;
/// Side of the matrices that show an accelerator's rate.
const ACCELERATOR_SIDE: usize = 4096;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("train", "", "recipes/tiny.toml: a small model on the embedded corpus, in about a minute"),
        (
            "train",
            "recipes/towervision-2b.toml --dry-run",
            "what would be trained, tokens, steps, memory, operations; needs neither weights nor data",
        ),
        (
            "train",
            "recipes/towervision-2b.toml --dry-run --on h100x8",
            "days, and memory of each device, on another machine",
        ),
        (
            "train",
            "my.toml --out runs/mine --device cuda",
            "your own recipe on an NVIDIA GPU (docs/training.md); the program must be built with --features cuda",
        ),
        ("train", "--set stage.finetune.steps=10 --set seed=1 --out runs/short", "a recipe with other values"),
        (
            "train",
            "my.toml --mixture finetune=runs/paired/mixture.toml --out runs/paired-model",
            "one stage on other data",
        ),
        ("train", "my.toml --out runs/mine --set stage.finetune.epochs=2 --extend", "a finished run, trained longer"),
        (
            "train",
            "more.toml --out runs/more --init-from runs/mine/align",
            "from the weights of a stage of another run",
        ),
    ];
    let again = "Running the same command again continues where it stopped, bit for bit. A folder holds one recipe;\n\
                 stages that a run beside it has trained from the same parts, recipe, data and seed are taken from there.";
    examples(&lines, again)
}

/// Train a vision-language model by a recipe: its stages one after the other, then the model as a Hugging Face folder
#[derive(Debug, Clone, Parser)]
#[command(name = "train", max_term_width = 100, after_help = help())]
pub struct TrainArgs {
    /// The recipe; paths in it begin in its folder [default: recipes/tiny.toml]
    #[arg(value_name = "RECIPE")]
    pub file: Option<PathBuf>,

    /// The same as an option
    #[arg(long, value_name = "TOML", conflicts_with = "file")]
    pub recipe: Option<PathBuf>,

    /// Folder of the parts that the recipe names (it may name folders by their paths, too) [default: parts/ here, else that of the source
    /// tree which the program was built from]
    #[arg(long, value_name = "DIR")]
    pub parts: Option<PathBuf>,

    /// Folder of the results [default: runs/train/RECIPE, of a recipe.toml its folder's name]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Change a key of the recipe, in TOML's notation; several times for several
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,

    /// Read another mixture, from the current folder: of every stage that reads one, or of one of them; several times for several
    #[arg(long, value_name = "[STAGE=]FILE")]
    pub mixture: Vec<String>,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,

    /// Print parts, parameters, tokens, steps, memory and operations, and train nothing; needs neither weights nor data
    #[arg(long)]
    pub dry_run: bool,

    /// For dry runs: another machine
    #[command(flatten)]
    pub elsewhere: Elsewhere,

    /// For --dry-run without data: tokens of a sample's text
    #[arg(long, value_name = "N", default_value_t = Assumptions::default().text_tokens)]
    pub text_tokens: usize,

    /// For --dry-run without data: width and height of a picture
    #[arg(long, value_name = "WxH", default_value = "1024x768", value_parser = picture_size)]
    pub picture: (u32, u32),

    /// Go on with the finished run in --out: more steps or epochs for its last stage (--set stage.finetune.epochs=2), more data in its
    /// sources. Nothing else may change
    #[arg(long, conflicts_with = "dry_run")]
    pub extend: bool,

    /// Start from the weights of another run of the same parts, or of one of its stages (runs/train/mine/align)
    #[arg(long, value_name = "RUN[/STAGE]", conflicts_with = "dry_run")]
    pub init_from: Option<PathBuf>,

    /// Train every stage, even where a run in a folder beside --out has trained the same one; a run that is in --out goes on
    #[arg(long, conflicts_with = "dry_run")]
    pub fresh: bool,

    /// More devices that share the micro-batches of each step: cuda:1,cuda:2
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    pub more_devices: Vec<DeviceChoice>,

    /// Threads that prepare samples [default: 1 on a CPU, else one a core up to 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: Option<u16>,

    /// Print errors and the end only
    #[arg(long, short)]
    pub quiet: bool,

    /// Show the run in Burn's dashboard; q, then s, stops it at a checkpoint, from which the same command goes on
    #[cfg(feature = "tui")]
    #[arg(long)]
    pub tui: bool,
}

/// Runs `examples/train` with the command line of this process.
pub fn train() -> ExitCode {
    crate::end(in_pool(|| run(&TrainArgs::parse())))
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), AnyError> {
    stop_at_a_step();
    writeln!(std::io::stdout(), "{}", run_training(args)?)?;
    Ok(())
}

/// The same for a parsed command line; returns what is printed at the end.
///
/// # Errors
/// A recipe that cannot be read or does not fit its parts, a device that does not answer, a folder of another run, and all that can
/// go wrong in training.
pub fn run_training(args: &TrainArgs) -> Result<String, AnyError> {
    let file =
        args.file.clone().or_else(|| args.recipe.clone()).unwrap_or_else(|| repository().join("recipes/tiny.toml"));
    let mut recipe = read_recipe(&file, &args.settings)?;
    if !args.mixture.is_empty() {
        let mixtures = mixture_settings(&recipe, &args.mixture)?;
        recipe = read_recipe(&file, &[args.settings.clone(), mixtures].concat())?;
    }
    let chosen = choose(args.device)?;
    let base = file.parent().unwrap_or(Path::new(""));
    let parts = args.parts.clone().unwrap_or_else(default_parts);
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs/train").join(run_name(&file)));
    let context = Context {
        corpus: EmojiCorpus::embedded()?,
        device: chosen.device.clone(),
        workers: args.workers.map_or_else(|| default_workers(&chosen), usize::from),
    };
    if args.dry_run {
        let assumptions = Assumptions { text_tokens: args.text_tokens, picture: args.picture };
        let input =
            EstimateInput { context: &context, recipe: &recipe, base, parts: &parts, shapes: &SHAPES, assumptions };
        let estimate = estimate_run(&input).map_err(TrainError::in_recipe(&file))?;
        let here = || Machine::timed(device_rate(&chosen, recipe.compute.precision));
        let machine = args.elsewhere.machine().unwrap_or_else(here);
        return Ok(format!("{}\n\n{}", file.display(), estimate.on(&machine).to_string().trim_end()));
    }
    let dashboard = dashboard(args);
    let printer = Reporter::new(args.quiet);
    // A dashboard has the terminal to itself; what is told meanwhile is printed when it is gone.
    let reporter = if dashboard.is_some() { Reporter::capture() } else { printer.clone() };
    reporter.line(&format!("{}: device {}, results in {}", file.display(), chosen.choice, out.display()));
    let more: Vec<ChosenDevice> = args.more_devices.iter().map(|choice| choose(*choice)).collect::<Result<_, _>>()?;
    let replicas: Vec<Device> = more.into_iter().map(|chosen| chosen.device.autodiff()).collect();
    let began = std::time::Instant::now();
    let trained = burn_vlm_train::run::train(&TrainRun {
        context: &context,
        recipe: &recipe,
        base,
        parts: &PartFolders::named(&recipe, &parts)?,
        features: &out.join("features"),
        out: &out,
        start: &Start {
            extend: args.extend,
            init_from: args.init_from.clone(),
            reuse: reused(&out, args.fresh),
            shared: None,
        },
        replicas: &replicas,
        reporter: &reporter,
        observer: dashboard.as_deref(),
    });
    drop(dashboard);
    reporter.captured().iter().for_each(|line| printer.line(line));
    let trained = trained.map_err(TrainError::in_recipe(&file))?;
    printer.line(&format!("took {}", show_duration(began.elapsed())));
    Ok(summary(&trained, recipe.video.is_some()))
}

/// What `--mixture` sets: a path in a recipe begins in its folder, one that is typed where one is.
fn mixture_settings(recipe: &Recipe, given: &[String]) -> Result<Vec<String>, AnyError> {
    let reading = |name: &&String| recipe.stage.get(*name).is_some_and(|stage| stage.mixture.is_some());
    let stages: Vec<&String> = recipe.stages.iter().filter(reading).collect();
    let mut settings = Vec::new();
    for given in given {
        let named = given.split_once('=').and_then(|(stage, file)| Some((recipe.stage.get_key_value(stage)?.0, file)));
        let (of, file) = named.map_or_else(|| (stages.clone(), given.as_str()), |(stage, file)| (vec![stage], file));
        if of.is_empty() || !of.iter().all(|stage| stages.contains(stage)) {
            let known = stages.iter().map(|stage| stage.as_str()).collect::<Vec<_>>().join(", ");
            let known =
                if known.is_empty() { "no stage of the recipe does".to_owned() } else { format!("these do: {known}") };
            return Err(format!("--mixture {given}: expected a stage that reads a mixture; {known}").into());
        }
        let path = std::path::absolute(file).map_err(|error| format!("--mixture {given}: {error}"))?;
        let path = toml::Value::from(path.display().to_string());
        settings.extend(of.iter().map(|stage| format!("stage.{stage}.mixture.file={path}")));
    }
    Ok(settings)
}

/// Where runs may be that have trained the same stages: beside this one.
fn reused(out: &Path, fresh: bool) -> Option<PathBuf> {
    let beside = out.parent().filter(|_| !fresh)?;
    Some(if beside.as_os_str().is_empty() { PathBuf::from(".") } else { beside.to_owned() })
}

/// Burn's dashboard, where one is wanted and there is a terminal.
#[cfg(feature = "tui")]
fn dashboard(args: &TrainArgs) -> Option<Box<dyn Observer>> {
    let dashboard = args.tui.then(burn_vlm_train::learn::Dashboard::terminal).flatten();
    dashboard.map(|dashboard| Box::new(dashboard) as Box<dyn Observer>)
}

#[cfg(not(feature = "tui"))]
fn dashboard(_: &TrainArgs) -> Option<Box<dyn Observer>> {
    None
}

/// What a run is called by its recipe's file; `recipe.toml`, which every exported data set has, by its folder.
fn run_name(file: &Path) -> &OsStr {
    let folder = || file.parent().and_then(Path::file_name);
    match file.file_stem() {
        Some(stem) if stem != "recipe" => stem,
        stem => folder().or(stem).unwrap_or_default(),
    }
}

fn default_workers(chosen: &ChosenDevice) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if chosen.is_cpu() { 1 } else { cores.min(MOST_WORKERS) }
}

/// Operations a second of a matrix product in the precision of the recipe; on a CPU in f32, the faster one there.
fn device_rate(chosen: &ChosenDevice, precision: Precision) -> f64 {
    match chosen.is_cpu() {
        true => matmul_rate(&chosen.device),
        false => matmul_rate_of(&chosen.device, ACCELERATOR_SIDE, precision),
    }
}

/// `1024x768`
fn picture_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x').map(|(width, height)| (width.parse(), height.parse()));
    match sides {
        Some((Ok(width), Ok(height))) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err("expected width and height in pixels, such as 1024x768".into()),
    }
}

/// First and last loss of each stage, and what to do with the model, which was perhaps shown videos.
fn summary(trained: &Trained, videos: bool) -> String {
    let mut lines = Vec::new();
    for TrainedStage { name, log, validations, validated, .. } in &trained.stages {
        if let (Some(first), Some(last)) = (log.first(), log.last()) {
            lines.push(format!(
                "{name}: loss {:.4} (mean to step {}) -> {:.4} (to step {}), {} tokens",
                first.loss_mean, first.step, last.loss_mean, last.step, last.tokens
            ));
        }
        if let Some(entry) = validated {
            let kept = match validations.last() {
                Some(last) if last.step != entry.step => format!(" (step {}, whose weights are kept)", entry.step),
                _ => String::new(),
            };
            lines.push(format!("{name}: validation {}{kept}", entry.validation.line()));
        }
    }
    let model = trained.model.display();
    lines.push(format!("model: {model}"));
    lines.push(format!(
        "talk to it: {}",
        call("chat", &format!("--model {model} {}", if videos { "--video VIDEO" } else { "--image PICTURE" }))
    ));
    lines.join("\n")
}
