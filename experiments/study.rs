//! What every study's `main` does: read the study, find a device, run the cells, write the summary.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::ablation::{
    AblationError, CellState, PatchRules, Plan, Provenance, RunOptions, Shard, Study, StudyError, run, status,
};
use burn_vlm_train::device::{ChosenDevice, choose};
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::study::{StudyInputs, VlmJob, estimate, matmul_rate, write_summary};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{CommandFactory, FromArgMatches};

use crate::args::{StudyArgs, examples};
use crate::{BuiltIn, RECIPES};

/// Any error of a study; `explain` prints it with its causes.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Runs one of a program's built-in studies (`--study`, or the first) with the command line of this process.
pub fn run_studies(program: &str, studies: &[BuiltIn]) -> ExitCode {
    let Some(default) = studies.first() else { return ExitCode::FAILURE };
    let args = parse_args(program, studies);
    let chosen = args.study.as_deref().and_then(|name| studies.iter().find(|study| study.name == name));
    match execute(chosen.unwrap_or(default), &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crate::explain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The command line; `--help` begins with the first study's title and lists the others.
fn parse_args(program: &str, studies: &[BuiltIn]) -> StudyArgs {
    let study = studies.first().and_then(|study| parse(study).ok());
    let title = study.as_ref().map_or(program, |study| &study.title);
    let about =
        format!("{title}: trains and evaluates every cell, then writes a table with intervals, plots and a report");
    let settings = study.map(|study| study.settings()).unwrap_or_default();
    let cell = settings.last().map_or("", String::as_str);
    let titles = studies.iter().map(|study| {
        let title = parse(study).map_or_else(|error| error.to_string(), |study| study.title);
        PossibleValue::new(study.name).help(title)
    });
    let values = PossibleValuesParser::new(titles.collect::<Vec<_>>());
    let mut command = StudyArgs::command().about(about).after_help(examples(program, cell));
    command = command.mut_arg("study", |arg| arg.value_parser(values).hide(studies.len() < 2));
    StudyArgs::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// Reads a built-in study with the recipe it names.
///
/// # Errors
/// A mistake in the study's file, with its place.
pub fn parse(study: &BuiltIn) -> Result<Study, StudyError> {
    let path = PathBuf::from(format!("experiments/{}.toml", study.file));
    Study::parse_with(&path, study.text, |path| {
        let name = path.file_name().unwrap_or_default();
        let recipe = RECIPES.iter().find(|(known, _)| name == *known);
        recipe.map(|(_, text)| text.to_string()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    })
}

/// The same for a parsed command line: trains what is missing and writes the summary.
///
/// # Errors
/// A wrong study file or option, an output folder of another experiment, a device that does not answer, cells that
/// failed. What is finished is kept.
pub fn execute(built_in: &BuiltIn, args: &StudyArgs) -> Result<(), AnyError> {
    let reporter = Reporter::new(args.quiet);
    let origin = Provenance::collect(&repository(), &[("burn", "0.22.1")]);
    let study = match &args.config {
        Some(path) => Study::load(path)?,
        None => parse(built_in)?,
    };
    let plan = study.plan(&args.preset, args.seeds.map(|seeds| seeds as u64), &PatchRules::new())?;
    let chosen = choose(args.device)?;
    reporter.line(&format!(
        "{}: preset {}, {} cells, device {}",
        study.title,
        plan.preset,
        plan.cells.len(),
        chosen.choice
    ));

    let corpus = match &args.corpus {
        Some(folder) => Arc::new(EmojiCorpus::open(folder)?),
        None => EmojiCorpus::embedded()?,
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&study.name).join(&plan.preset));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(if chosen.is_cpu() { cores.min(2) } else { 1 });
    let context = Context { corpus: corpus.clone(), device: chosen.device.clone(), workers: 1 };
    let inputs = StudyInputs {
        parts: args.parts.clone().unwrap_or_else(default_parts),
        shared: out.join("shared"),
        from_scratch: args.from_scratch || (args.parts.is_none() && !has_shipped_parts(&plan)),
    };
    let job = VlmJob::new(context, inputs).with_origin(&origin, &chosen.choice.to_string());
    let options = RunOptions {
        shard: args.shard.unwrap_or(Shard::ALL),
        only: args.only.iter().cloned().collect(),
        jobs,
        merge: args.merge,
        ..RunOptions::new(&out)
    };
    if args.dry_run {
        return dry_run(&plan, &job, &options, &chosen, &corpus);
    }
    let began = std::time::Instant::now();
    let outcome = run(&plan, &job, &options, &reporter, |result| {
        write_summary(&out, result, &corpus, &origin, &chosen.choice.to_string()).map_err(Into::into)
    });
    let outcome = outcome.map_err(|error| match (&error, &args.config) {
        // The cause speaks of the recipe; which file that is in only we know.
        (AblationError::Inputs { .. }, Some(path)) => AnyError::from(format!("{}: {error}", path.display())),
        _ => error.into(),
    })?;
    if outcome.summarised {
        if let Ok(table) = std::fs::read_to_string(out.join("summary.md")) {
            println!("{}", headline(&table));
        }
        println!("wrote {} (open report.html)", out.display());
    }
    reporter.line(&format!("took {}", show_duration(began.elapsed())));
    Ok(())
}

/// The first table of `summary.md` with what stands above it.
fn headline(markdown: &str) -> String {
    let mut lines = Vec::new();
    let mut in_table = false;
    for line in markdown.lines() {
        if in_table && !line.starts_with('|') {
            break;
        }
        in_table |= line.starts_with('|');
        lines.push(line);
    }
    lines.join("\n")
}

fn dry_run(
    plan: &Plan,
    job: &VlmJob,
    options: &RunOptions,
    chosen: &ChosenDevice,
    corpus: &Arc<EmojiCorpus>,
) -> Result<(), AnyError> {
    let template = burn_vlm_data::chat_template::ChatTemplate::tiny()?;
    println!("{:<28} {:>5} {:>12} {:>12} {:>9}  state", "cell", "seed", "parameters", "tokens", "time");
    let rate = matmul_rate(&chosen.device);
    let mut left = 0.0;
    for cell in status(plan, job, options)? {
        let cost = estimate(&cell.cell, corpus, &template, &chosen.device, rate)?;
        let state = match (&cell.state, cell.selected) {
            (CellState::Done(_), _) => "done",
            (_, false) => "not selected",
            _ => {
                left += cost.seconds;
                "to do"
            }
        };
        println!(
            "{:<28} {:>5} {:>12} {:>12} {:>9}  {state}",
            cell.cell.setting,
            cell.cell.seed,
            cost.parameters,
            cost.tokens,
            show_duration(std::time::Duration::from_secs_f64(cost.seconds))
        );
    }
    println!(
        "to do: about {} on {} (from a timed matrix product; evaluation not counted)",
        show_duration(std::time::Duration::from_secs_f64(left)),
        chosen.choice
    );
    Ok(())
}

/// The shipped parts are those that the recipe describes; a preset that changes a part's model needs its own, which are
/// pretrained in the study.
fn has_shipped_parts(plan: &Plan) -> bool {
    let preset = plan.study.presets.get(&plan.preset);
    let parts = preset.and_then(|preset| preset.patch.get("part")).and_then(|part| part.as_table());
    parts.is_none_or(|parts| parts.values().all(|part| part.get("model").is_none()))
}

/// Root of the repository: where the program was built, or the current folder if that is gone.
pub(crate) fn repository() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if built.is_dir() { built } else { PathBuf::from(".") }
}

pub(crate) fn default_parts() -> PathBuf {
    let here = PathBuf::from("parts");
    if here.is_dir() { here } else { repository().join("parts") }
}
