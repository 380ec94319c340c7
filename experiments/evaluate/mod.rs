//! `burn-vlm evaluate`: a finished model, or replies of another system, scored on the benchmarks of a file; and two such scored
//! against each other.

mod answers;
mod compare;
mod judge;
mod output;
mod questions;
mod videos;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_vlm::BURN_VERSION;
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_eval::Rules;
use burn_vlm_train::ablation::{Provenance, Shard};
use burn_vlm_train::eval::{Benchmarks, Evaluated, NamedAverage, Suite};
use burn_vlm_train::report::{ModelScore, model_scores};
use burn_vlm_train::run::{CardScores, write_scores};
use burn_vlm_train::stats::{Axes, Bootstrap, Outcome};
use clap::Parser;

use crate::AnyError;
use crate::args::{FrameArgs, Place, bytes};
use crate::call::examples;
use crate::compute::in_pool;
use crate::signals::stop_after;
use crate::study::repository;
use answers::Answers;
use questions::{Changes, Wanted};

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "evaluate",
            "questions.toml --model TowerVision-2B --dtype bf16",
            "a published checkpoint on your own questions",
        ),
        ("evaluate", "mine.toml --model runs/train/my/model --out runs/scores", "with a report; go on after a kill"),
        ("evaluate", "evaluations/parrot.toml --data ~/benchmarks --model DIR --out runs/parrot", "a paper's table"),
        ("evaluate", "evaluations/parrot.toml --predictions replies.jsonl", "score what another system replied"),
        ("evaluate", "--compare runs/a runs/b", "two evaluations, item by item"),
        ("evaluate", "encoder --preset smoke --model runs/encoder/tiny/cells/siglip2/en/seed0", "a built-in study's"),
    ];
    let file = "A file of questions has [[benchmark]] tables as a study has them (docs/benchmarks.md, docs/evaluation.md), such as\n\n  \
                [[benchmark]]\n  \
                name = \"mine\"\n  \
                kind = \"choice\"            # or short_answer, cloze, lettered, yes_no, caption, mmbench, pope, ...\n  \
                file = \"questions.tsv\"     # index, image, question, A, B, C, D, answer\n  \
                language = \"en\"\n\n\
                Running the same command with the same --out again goes on where it stopped.";
    examples(&lines, file)
}

/// Ask a model the questions of a file, or score replies that are there: scores with their number of questions, chance and 95 % interval
#[derive(Debug, Clone, Parser)]
#[command(name = "evaluate", max_term_width = 100, after_help = help())]
pub struct EvaluateArgs {
    /// What is asked: a suite (evaluations/*.toml), a TOML file with [[benchmark]] or [evaluation], a study's file, or a built-in
    /// study's name
    #[arg(value_name = "QUESTIONS", required_unless_present_any = ["compare", "suite"], conflicts_with_all = ["compare", "suite"])]
    questions: Option<String>,

    /// The same: a suite's file
    #[arg(long, value_name = "FILE")]
    suite: Option<String>,

    /// The model: a checkpoint's folder, or a finished cell of a study
    #[arg(long, value_name = "DIR", required_unless_present_any = ["predictions", "compare"])]
    model: Option<PathBuf>,

    /// A low-rank adapter (LoRA, DoRA) in peft's layout, beside the model's weights
    #[arg(long, value_name = "DIR", requires = "model")]
    adapter: Option<PathBuf>,

    /// Score these replies instead of asking a model: JSONL with `id` and `prediction`, lmms-eval's samples, VLMEvalKit's .xlsx or .tsv
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["model", "shard", "compare"])]
    predictions: Vec<PathBuf>,

    /// Compare two evaluations (their --out folders) item by item
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    compare: Vec<PathBuf>,

    /// Write replies as they come, and then predictions.jsonl, results.json, scores.json, scores.csv, scores.md and report.html to
    /// this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write the scores into the model's README.md too, or the adapter's, in a section of their own that the same questions replace; what
    /// else stands in the file stays
    #[arg(long, requires = "model", conflicts_with_all = ["predictions", "shard", "compare"])]
    card: bool,

    /// Where the files of a suite's benchmarks are [default: as the suite says]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Only these benchmarks, by their names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// Whose rules score the published benchmarks: vlmevalkit, parrot-vlmevalkit, lmms-eval, deep-spin, llava, official, burn-vlm
    /// [default: the file's, else the benchmark's]
    #[arg(long, value_name = "RULES")]
    rules: Option<Rules>,

    /// Most questions of each benchmark and language, drawn once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Only questions in these languages: en,de,zh-Hans
    #[arg(long, value_name = "TAG", value_delimiter = ',', value_parser = language)]
    languages: Vec<Language>,

    /// Ask every N-th picture's questions only, for job arrays on a shared --out; the same command without --shard then scores all
    #[arg(long, value_name = "I/N", requires = "out")]
    shard: Option<Shard>,

    /// The judge of benchmarks that need one: an endpoint that speaks as OpenAI's does, https://host/v1. Its key is read from
    /// BURN_VLM_JUDGE_KEY
    #[arg(long, value_name = "URL", requires = "judge_model")]
    judge: Option<String>,

    /// The judge's model
    #[arg(long, value_name = "NAME", requires = "judge")]
    judge_model: Option<String>,

    /// Ask translations with and without their picture too: what it is worth (CXMI), in nats a token
    #[arg(long, conflicts_with_all = ["predictions", "compare"])]
    picture_use: bool,

    /// Ask every question without its pictures and videos: what a model answers by the words alone (`data benchmark blind`). With
    /// --predictions, say that these were made so
    #[arg(long, conflicts_with_all = ["picture_use", "compare"])]
    without_pictures: bool,

    /// Of a study: the preset whose questions are asked [default: as `study`]
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,

    /// Rows of a forward pass, less for less memory [default: the file's, else 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,

    /// The most memory for keys and values of answers that are being written, such as 2GB: fewer are written at a time
    /// [default: what a batch needs]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    cache_memory: Option<u64>,

    #[command(flatten)]
    frames: FrameArgs,

    #[command(flatten)]
    place: Place,

    /// Print errors and the table only
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `examples/evaluate` with the command line of this process.
pub fn evaluate_command() -> ExitCode {
    crate::end(in_pool(|| evaluate(&EvaluateArgs::parse())))
}

/// A tag of the command line.
fn language(text: &str) -> Result<Language, String> {
    Language::parse(text).map_err(|error| error.to_string())
}

/// The benchmarks of a suite, a file of questions or a study, as they are asked; `data` is where a suite's files are.
///
/// # Errors
/// As [`evaluate`].
pub(crate) fn open_benchmarks(name: &str, data: Option<&Path>) -> Result<Benchmarks, AnyError> {
    let changes = Changes { preset: None, data, only: &[], rules: None, limit: None, languages: &[] };
    let wanted = questions::read(name, &changes)?;
    let corpus = EmojiCorpus::embedded()?;
    Ok(Benchmarks::open(&wanted.recipe, &corpus, &wanted.base).map_err(|error| format!("{name}: {error}"))?)
}

/// Asks or reads, prints the table, and writes the files if they are wanted.
///
/// # Errors
/// Questions or a model that cannot be read or do not fit each other, a device that does not answer, an output folder of something else.
pub fn evaluate(args: &EvaluateArgs) -> Result<(), AnyError> {
    if let [a, b] = args.compare.as_slice() {
        return compare::compare(a, b, args.out.as_deref());
    }
    stop_after("the replies that are on their way");
    let reporter = Reporter::new(args.quiet);
    let origin = Provenance::collect(&repository(), &[("burn", BURN_VERSION)]);
    let began = std::time::Instant::now();
    let name = args.questions.as_deref().or(args.suite.as_deref()).unwrap_or_default();
    let changes = Changes {
        preset: args.preset.as_deref(),
        data: args.data.as_deref(),
        only: &args.only,
        rules: args.rules,
        limit: args.limit.map(|limit| limit as usize),
        languages: &args.languages,
    };
    // What is quick to find wrong comes before a model that takes minutes to load.
    if let Some(out) = &args.out {
        output::refuse_foreign(out)?;
    }
    let wanted = questions::read(name, &changes)?;
    let corpus = EmojiCorpus::embedded()?;
    let benchmarks =
        Benchmarks::open(&wanted.recipe, &corpus, &wanted.base).map_err(|error| format!("{name}: {error}"))?;
    judge::check(args, &benchmarks)?;
    // Before hours of asking: another file gives other scores.
    let other_files = wanted.suite.as_ref().map(Suite::check_sums).transpose()?.unwrap_or_default();
    other_files.iter().for_each(|line| reporter.warn(line));
    let Some(mut answers) = answers::get(args, &wanted, &benchmarks, &reporter)? else {
        // A shard's replies are there; nobody scores a part.
        reporter.line(&format!("took {}", show_duration(began.elapsed())));
        return Ok(());
    };
    let benchmarks = benchmarks.without(&answers.unreadable)?;
    judge::judge(args, &benchmarks, &mut answers, &reporter)?;
    let mut evaluated = score(&benchmarks, &answers)?;
    if args.without_pictures {
        let predictions = evaluated.iter_mut().flat_map(|one| &mut one.predictions);
        predictions.for_each(|prediction| prediction.picture.clear());
    }
    let scores = scores(&benchmarks, &evaluated)?;
    let (averages, untaken) = averages(&wanted, &scores);
    let mut notes: Vec<String> = wanted.notes.iter().chain(&answers.notes).cloned().collect();
    if args.without_pictures {
        notes.push("the questions were asked without their pictures and videos".to_owned());
    }
    notes.extend(evaluated.iter().flat_map(|one| one.notes.iter().cloned()));
    notes.extend(untaken);
    notes.extend(other_files);
    let table = output::table(&scores, &averages);
    let mut text = table.clone();
    notes.iter().for_each(|note| text.push_str(&format!("\n{note}\n")));
    write!(std::io::stdout(), "{text}")?;
    if let Some(out) = &args.out {
        let written = output::Written {
            questions: name,
            suite: wanted.suite.as_ref(),
            answers: &answers,
            benchmarks: &benchmarks,
            evaluated: &evaluated,
            scores: &scores,
            averages: &averages,
            notes: &notes,
            origin: &origin,
            seconds: began.elapsed().as_secs_f64(),
            limit: changes.limit,
        };
        let files = written.write(out, &table)?;
        reporter.line(&format!("wrote {}: {}", out.display(), files.join(", ")));
    }
    if let (true, Some(model)) = (args.card, &args.model) {
        let card =
            write_card(args, model, (name, &wanted, &origin), (&benchmarks, &evaluated), (&scores, &averages, &notes))?;
        reporter.line(&format!("scores written to {}", card.display()));
    }
    reporter.line(&format!("took {}", show_duration(began.elapsed())));
    Ok(())
}

/// Writes the scores into the model's card, or into that of the adapter which it was asked with.
fn write_card(
    args: &EvaluateArgs,
    model: &Path,
    (questions, wanted, origin): (&str, &Wanted, &Provenance),
    (benchmarks, evaluated): (&Benchmarks, &[Evaluated]),
    (scores, averages, notes): (&[ModelScore], &[NamedAverage], &[String]),
) -> Result<PathBuf, AnyError> {
    let file = Path::new(questions);
    let stem = file.file_stem().map_or_else(|| questions.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let name = wanted.suite.as_ref().map_or(stem, |suite| suite.name.clone());
    let mut first =
        format!("Asked by `burn-vlm evaluate`, version {}, commit {}", env!("CARGO_PKG_VERSION"), origin.commit);
    let mut add = |words: String| first.push_str(&words);
    add(format!("; computed in {}", format!("{:?}", args.place.dtype).to_lowercase()));
    if let Some(limit) = args.limit {
        add(format!("; at most {limit} questions of each benchmark and language, drawn once"));
    }
    if !args.only.is_empty() {
        add(format!("; of the file's benchmarks only {}", args.only.join(", ")));
    }
    if !args.languages.is_empty() {
        let tags: Vec<&str> = args.languages.iter().map(|language| language.tag()).collect();
        add(format!("; only in {}", tags.join(", ")));
    }
    if args.adapter.is_some() {
        first.push_str(&format!("; with this adapter on `{}`", model.display()));
    }
    first.push('.');
    let mut said = vec![first];
    let rules = evaluated.iter().filter_map(|one| Some((&one.benchmark, one.published.as_ref()?)));
    said.extend(rules.map(|(benchmark, published)| {
        format!("{benchmark}: {}. Scored by the rules {}.", published.about, published.rules)
    }));
    said.extend(averages.iter().map(output::average));
    said.extend(notes.iter().cloned());
    // A finished cell holds its model.
    let inner = model.join("model");
    let folder = match &args.adapter {
        Some(adapter) => adapter.clone(),
        None if inner.is_dir() => inner,
        None => model.to_owned(),
    };
    let metrics = benchmarks.metrics();
    Ok(write_scores(&folder, &CardScores { name: &name, said: &said, metrics: &metrics, scores })?)
}

/// What the answers are worth.
fn score(benchmarks: &Benchmarks, answers: &Answers) -> Result<Vec<Evaluated>, AnyError> {
    let mut all = Vec::new();
    for benchmark in benchmarks.iter() {
        let mut evaluated = Evaluated::new(benchmark, answers.of(benchmark.name()))?;
        evaluated.predictions.iter_mut().for_each(|prediction| benchmarks.amend(prediction));
        all.push(evaluated);
    }
    Ok(all)
}

fn scores(benchmarks: &Benchmarks, evaluated: &[Evaluated]) -> Result<Vec<ModelScore>, AnyError> {
    let axes = Axes::new();
    let predictions = evaluated.iter().flat_map(|one| &one.predictions);
    let outcomes: Vec<Outcome> = predictions.flat_map(|prediction| prediction.outcomes(&axes, 0)).collect();
    Ok(model_scores(&benchmarks.metrics(), &outcomes, &Bootstrap::default())?)
}

/// The averages of a suite, and a line for each that cannot be taken.
fn averages(wanted: &Wanted, scores: &[ModelScore]) -> (Vec<NamedAverage>, Vec<String>) {
    let (mut taken, mut untaken) = (Vec::new(), Vec::new());
    for average in wanted.suite.iter().flat_map(|suite| &suite.averages) {
        match average.of(scores) {
            Ok(average) => taken.push(average),
            Err(why) => untaken.push(format!("the average {why}")),
        }
    }
    (taken, untaken)
}
