//! What every study's `main` does: read the study, find a device, run the cells, write the summary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_vlm::BURN_VERSION;
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::ablation::{
    AblationError, PatchRules, Plan, Provenance, RunOptions, Shard, Study, StudyError, finished_cells, run,
};
use burn_vlm_train::device::choose;
use burn_vlm_train::error::TrainError;
use burn_vlm_train::eval::Benchmark;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::study::{MissingInputs, StudyInputs, VlmJob, write_summary};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{CommandFactory, FromArgMatches};

use crate::args::{StudyArgs, examples};
use crate::built_in::FILES;
use crate::dry_run::{KnownStages, Needs, dry_run};
use crate::memory::keep_freed_pages;
use crate::signals::stop_at_a_step;
use crate::{BuiltIn, SHAPES};

/// Any error of a study; `explain` prints it with its causes.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Runs one of a program's built-in studies (`--study`, or the first) with the command line of this process.
pub fn run_studies(program: &str, studies: &[BuiltIn]) -> ExitCode {
    run_studies_of::<VisionEncoder, Connector>(program, studies)
}

/// The same for models of one's own towers and connectors, which the recipes of the studies may name.
pub fn run_studies_of<T: VisionTower, P: Projector>(program: &str, studies: &[BuiltIn]) -> ExitCode {
    keep_freed_pages();
    let Some(default) = studies.first() else { return ExitCode::FAILURE };
    let args = study_args(program, studies);
    let chosen = args.study.as_deref().and_then(|name| studies.iter().find(|study| study.name == name));
    stop_at_a_step();
    crate::end(execute_of::<T, P>(chosen.unwrap_or(default), &args, |job| job).map(|_| ()))
}

/// The command line of a study's program; `--help` begins with the first study's title and lists the others.
pub fn study_args(program: &str, studies: &[BuiltIn]) -> StudyArgs {
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
        let file = FILES.iter().find(|(known, _)| path.ends_with(known));
        file.map(|(_, text)| text.to_string()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    })
}

/// The same for a parsed command line: trains what is missing and writes the summary.
///
/// # Errors
/// A wrong study file or option, an output folder of another experiment, a device that does not answer, cells that
/// failed. What is finished is kept.
pub fn execute(built_in: &BuiltIn, args: &StudyArgs) -> Result<(), AnyError> {
    execute_of::<VisionEncoder, Connector>(built_in, args, |job| job).map(|_| ())
}

/// As [`execute`], with benchmarks of one's own beside those of the study's file.
///
/// # Errors
/// As [`execute`], and a benchmark that no column of the study can show.
pub fn execute_with(built_in: &BuiltIn, args: &StudyArgs, own: &[Arc<dyn Benchmark>]) -> Result<(), AnyError> {
    let add = |job: VlmJob| own.iter().fold(job, |job, benchmark| job.with_benchmark(benchmark.clone()));
    execute_of::<VisionEncoder, Connector>(built_in, args, add).map(|_| ())
}

/// The same for models of one's own towers and connectors; `more` may add benchmarks of one's own to the job. Returns the folder of the
/// results, in which `cells/CELL/seedN` has a finished cell.
///
/// # Errors
/// As [`execute`].
pub fn execute_of<T: VisionTower, P: Projector>(
    built_in: &BuiltIn,
    args: &StudyArgs,
    more: impl FnOnce(VlmJob<T, P>) -> VlmJob<T, P>,
) -> Result<PathBuf, AnyError> {
    Ok(perform(built_in, args, None, more)?.out)
}

/// What the studies of `--all` share.
pub(crate) struct Together {
    /// The folder of what cells of all of them share.
    pub(crate) shared: PathBuf,
    /// Their plans, each with its folder.
    pub(crate) plans: Vec<(Plan, PathBuf)>,
    /// Of a dry run, the stages that the studies before train.
    pub(crate) known: KnownStages,
}

impl Together {
    /// The built-in studies, each in a folder of its own below `root`. One that cannot be planned says so when it is performed.
    pub(crate) fn of(studies: &[BuiltIn], root: &Path, args: &StudyArgs) -> Self {
        let plan = |built_in: &BuiltIn| {
            let study = parse(built_in).ok()?;
            let preset = args.preset.as_deref().unwrap_or(study.usual_preset());
            let plan = study.plan(preset, args.seeds.map(|seeds| seeds as u64), &PatchRules::new()).ok()?;
            Some((plan, root.join(built_in.file)))
        };
        Self {
            shared: root.join("shared"),
            plans: studies.iter().filter_map(plan).collect(),
            known: KnownStages::new(),
        }
    }

    /// Removes the stages that cells took from one another, once no cell of any study is left that may need one.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub(crate) fn remove_stages(&self) -> Result<(), AnyError> {
        let finished = |(plan, folder): &(Plan, PathBuf)| finished_cells(plan, folder) == plan.cells.len();
        let stages = self.shared.join("stages");
        if self.plans.iter().all(finished) && stages.is_dir() {
            std::fs::remove_dir_all(&stages).map_err(|error| format!("cannot remove {}: {error}", stages.display()))?;
        }
        Ok(())
    }
}

/// What a study's command did.
pub(crate) struct Performed {
    /// The folder of the results.
    pub(crate) out: PathBuf,
    /// Of a dry run, the seconds that are still to do.
    pub(crate) left: f64,
}

/// As [`execute_of`].
pub(crate) fn perform<T: VisionTower, P: Projector>(
    built_in: &BuiltIn,
    args: &StudyArgs,
    together: Option<&mut Together>,
    more: impl FnOnce(VlmJob<T, P>) -> VlmJob<T, P>,
) -> Result<Performed, AnyError> {
    let reporter = Reporter::new(args.quiet);
    let origin = Provenance::collect(&repository(), &[("burn", BURN_VERSION)]);
    let study = match &args.config {
        Some(path) => Study::load(path)?,
        None => parse(built_in)?,
    };
    let preset = args.preset.as_deref().unwrap_or(study.usual_preset());
    let plan = study.plan(preset, args.seeds.map(|seeds| seeds as u64), &PatchRules::new())?;
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
        shared: together.as_ref().map_or_else(|| out.join("shared"), |together| together.shared.clone()),
        base: match &args.config {
            Some(_) => plan.study.folder().to_owned(),
            None => repository().join(plan.study.folder()),
        },
        from_scratch: pretrains_parts(args, &plan),
    };
    let job = VlmJob::<T, P>::new(context.clone(), inputs.clone());
    let job = more(job.with_origin(&origin, &chosen.choice.to_string()).of_study(&plan));
    // Its tables are in a file, which only we know.
    let in_file = |error: TrainError| match &args.config {
        Some(path) => AnyError::from(format!("{}: {error}", path.display())),
        None => error.into(),
    };
    let missing = MissingInputs::of(&plan, &inputs, &SHAPES).map_err(in_file)?;
    let benchmarks = match missing.is_empty() {
        true => job.benchmarks(&plan),
        false if args.dry_run => job.benchmarks_there(&plan, &missing),
        false => return Err(missing.to_string().into()),
    };
    let benchmarks = benchmarks.map_err(in_file)?;
    let job = match &together {
        _ if args.no_share => Ok(job),
        None => job.sharing_stages(&plan),
        Some(together) => {
            let plans = together.plans.iter().map(|(plan, _)| (plan, pretrains_parts(args, plan)));
            job.sharing_stages_among(&plan, &plans.collect::<Vec<_>>())
        }
    };
    let job = job.map_err(in_file)?;
    let options = RunOptions {
        shard: args.shard.unwrap_or(Shard::ALL),
        only: args.only.iter().cloned().collect(),
        jobs,
        merge: args.merge,
        ..RunOptions::new(&out)
    };
    if args.dry_run {
        let elsewhere = args.elsewhere.machine();
        let needs = Needs { context: &context, inputs: &inputs, benchmarks: &benchmarks, missing: &missing };
        let mut own = KnownStages::new();
        let known = together.map_or(&mut own, |together| &mut together.known);
        let left = dry_run(&plan, &job, &options, (&chosen, elsewhere), &needs, known)?;
        return Ok(Performed { out, left });
    }
    let began = std::time::Instant::now();
    // Cells of another study may need them still.
    let alone = together.is_none();
    let outcome = run(&plan, &job, &options, &reporter, |result| {
        write_summary(&out, result, &benchmarks, &corpus, &origin, &chosen.choice.to_string())?;
        if result.missing.is_empty() && alone {
            job.remove_shared_stages()?;
        }
        Ok(())
    });
    let outcome = outcome.map_err(|error| match (&error, &args.config) {
        // The cause speaks of the recipe; which file that is in only we know.
        (AblationError::Inputs { .. }, Some(path)) => AnyError::from(format!("{}: {error}", path.display())),
        _ => error.into(),
    })?;
    if outcome.summarised {
        if let Ok(table) = std::fs::read_to_string(out.join("summary.md")) {
            writeln!(std::io::stdout(), "{}", headline(&table))?;
        }
        writeln!(std::io::stdout(), "wrote {} (open report.html)", out.display())?;
    }
    reporter.line(&format!("took {}", show_duration(began.elapsed())));
    Ok(Performed { out, left: 0.0 })
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

/// Whether a study's parts are pretrained in it.
fn pretrains_parts(args: &StudyArgs, plan: &Plan) -> bool {
    args.from_scratch || (args.parts.is_none() && !has_shipped_parts(plan))
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
