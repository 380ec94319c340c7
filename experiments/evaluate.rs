//! `burn-vlm evaluate`: a finished model, asked the benchmarks of a file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm::BURN_VERSION;
use burn_vlm_base::files::{create_dir_all, write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_base::suggest;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::ablation::{PatchRules, Provenance, Study, now, parse_toml};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::device::choose;
use burn_vlm_train::eval::{Benchmark, Benchmarks, Prediction, Scorer, asked};
use burn_vlm_train::recipe::EvaluationRecipe;
use burn_vlm_train::report::{ModelScore, model_scores, model_scores_markdown};
use burn_vlm_train::stats::{Axes, Bootstrap, Outcome};
use clap::Parser;
use serde::Serialize;
use toml::{Table, Value};

use crate::AnyError;
use crate::args::Place;
use crate::call::examples;
use crate::command::{Named, named};
use crate::study::repository;

/// Tables of a file of questions that is no study.
const TABLES: [&str; 2] = ["evaluation", "benchmark"];
/// Tables that only a study has.
const OF_A_STUDY: [&str; 2] = ["axis", "recipe"];

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "evaluate",
            "questions.toml --model TowerVision-2B --dtype bf16",
            "a published checkpoint on your own questions",
        ),
        ("evaluate", "mine.toml --model runs/train/my/model --out runs/scores", "the questions of a study; files too"),
        ("evaluate", "encoder --preset smoke --model runs/encoder/tiny/cells/siglip2/en/seed0", "a built-in study's"),
    ];
    let file = "A file of questions has [[benchmark]] tables as a study has them (docs/benchmarks.md), such as\n\n  \
                [[benchmark]]\n  \
                name = \"mine\"\n  \
                kind = \"choice\"            # or short_answer, mmmb, cloze, lettered, yes_no, caption\n  \
                file = \"questions.tsv\"     # index, image, question, A, B, C, D, answer\n  \
                language = \"en\"";
    examples(&lines, file)
}

/// Ask a finished model the questions of a file: scores with their number of questions, chance and 95 % interval
#[derive(Debug, Clone, Parser)]
#[command(name = "evaluate", max_term_width = 100, after_help = help())]
pub struct EvaluateArgs {
    /// What is asked: a TOML file with [[benchmark]] or [evaluation], a study's file, or a built-in study's name
    #[arg(value_name = "QUESTIONS")]
    questions: String,

    /// The model: a checkpoint's folder, or a finished cell of a study
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Write predictions.jsonl, scores.json and scores.md to this folder; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Of a study: the preset whose questions are asked [default: as `study`]
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,

    /// Rows of a forward pass, less for less memory [default: the file's, else 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,

    #[command(flatten)]
    place: Place,

    /// Print errors and the table only
    #[arg(long, short)]
    quiet: bool,
}

/// `scores.json`
#[derive(Serialize)]
struct Written<'a> {
    model: &'a Path,
    questions: &'a str,
    command: String,
    commit: String,
    device: String,
    finished: String,
    notes: &'a [String],
    scores: &'a [ModelScore],
}

/// Asks, prints the table, and writes the files if they are wanted.
///
/// # Errors
/// Questions or a model that cannot be read or do not fit each other, a device that does not answer, an output folder that has something
/// in it.
pub fn evaluate(args: &EvaluateArgs) -> Result<(), AnyError> {
    let reporter = Reporter::new(args.quiet);
    let origin = Provenance::collect(&repository(), &[("burn", BURN_VERSION)]);
    // What is quick to find wrong comes before a model that takes minutes to load.
    if let Some(out) = &args.out {
        refuse_used(out)?;
    }
    let (recipe, base) = questions(&args.questions, args.preset.as_deref())?;
    let corpus = EmojiCorpus::embedded()?;
    let benchmarks =
        Benchmarks::open(&recipe, &corpus, &base).map_err(|error| format!("{}: {error}", args.questions))?;
    let chosen = choose(args.place.device)?;
    let began = std::time::Instant::now();
    let chat: ChatModel = ChatModel::load_as(&args.model, &chosen.device, args.place.dtype.store())?;
    let (model, processor) = chat.into_vlm()?;
    reporter.line(&format!("{} on {}", args.model.display(), chosen.choice));
    let batch = args.batch.map_or(recipe.batch, |batch| batch as usize);
    let scorer = Scorer::new(&model, &chosen.device, Arc::new(processor.with_limits(benchmarks.limits())), None, batch);
    let mut predictions: Vec<Prediction> = Vec::new();
    for benchmark in benchmarks.iter() {
        reporter.line(&asked(benchmark));
        let bar = reporter.bar(benchmark.name(), 0);
        let told = |done, total| bar.set_of(done as u64, total as u64);
        predictions.extend(burn_vlm_train::eval::evaluate(&scorer, benchmark, told)?);
    }
    predictions.iter_mut().for_each(|prediction| benchmarks.amend(prediction));
    let axes: Axes = BTreeMap::new();
    let outcomes: Vec<Outcome> = predictions.iter().flat_map(|prediction| prediction.outcomes(&axes, 0)).collect();
    let scores = model_scores(&benchmarks.metrics(), &outcomes, &Bootstrap::default())?;
    let notes: Vec<String> = benchmarks.iter().flat_map(Benchmark::notes).collect();
    let table = model_scores_markdown(&scores);
    let mut text = table.clone();
    notes.iter().for_each(|note| text.push_str(&format!("\n{note}\n")));
    write!(std::io::stdout(), "{text}")?;
    if let Some(out) = &args.out {
        create_dir_all(out)?;
        let written = Written {
            model: &args.model,
            questions: &args.questions,
            command: origin.command_text(),
            commit: origin.commit.to_string(),
            device: origin.device_text(&chosen.choice.to_string()),
            finished: now(),
            notes: &notes,
            scores: &scores,
        };
        write_jsonl_atomic(&out.join("predictions.jsonl"), &predictions)?;
        write_json_atomic(&out.join("scores.json"), &written)?;
        write_atomic(&out.join("scores.md"), page(&written, &benchmarks, &table).as_bytes())?;
        reporter.line(&format!("wrote {}: predictions.jsonl, scores.json, scores.md", out.display()));
    }
    reporter.line(&format!("took {}", show_duration(began.elapsed())));
    Ok(())
}

/// `scores.md`: the table, what its rows mean, and where it comes from.
fn page(written: &Written<'_>, benchmarks: &Benchmarks, table: &str) -> String {
    let mut text = format!("# Scores of {}\n\n{table}\n", written.model.display());
    text.push_str("Scores are percent; the intervals say how they may move with other questions of the same kind.\n\n");
    for metric in benchmarks.metrics() {
        text.push_str(&format!("- {}: {}\n", metric.label, metric.explanation));
    }
    written.notes.iter().for_each(|note| text.push_str(&format!("\n{note}\n")));
    text.push_str(&format!(
        "\n```sh\n{}\n```\n\nCommit {}; {}; {}.\n",
        written.command, written.commit, written.device, written.finished
    ));
    text
}

/// Another evaluation's files are not written over.
fn refuse_used(out: &Path) -> Result<(), AnyError> {
    let used = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    match used {
        true => Err(format!("{} has something in it already: name another folder with --out", out.display()).into()),
        false => Ok(()),
    }
}

/// What is asked, and where its relative paths begin.
fn questions(name: &str, preset: Option<&str>) -> Result<(EvaluationRecipe, PathBuf), AnyError> {
    let file = match named(name)? {
        Named::BuiltIn(study) => return of_study(&crate::parse(&study)?, preset),
        Named::File(file) => file,
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut table: Table = parse_toml(&file, &text)?;
    if OF_A_STUDY.iter().any(|key| table.contains_key(*key)) {
        return of_study(&Study::load(&file)?, preset);
    }
    let wrong = |message: String| AnyError::from(format!("{}: {message}", file.display()));
    if let Some(key) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
        return Err(wrong(format!("unknown key `{key}`{}", suggest::hint(key, TABLES))));
    }
    if let Some(preset) = preset {
        return Err(wrong(format!("only a study has presets; leave `--preset {preset}` away")));
    }
    let mut evaluation = match table.remove("evaluation") {
        None => Table::new(),
        Some(Value::Table(evaluation)) => evaluation,
        Some(_) => return Err(wrong("`evaluation` must be a table: [evaluation]".into())),
    };
    if let Some(benchmarks) = table.remove("benchmark") {
        evaluation.insert("benchmark".into(), benchmarks);
    }
    let recipe = EvaluationRecipe::from_table(evaluation).map_err(|error| wrong(error.to_string()))?;
    Ok((recipe, file.parent().unwrap_or(Path::new("")).to_owned()))
}

/// What the cells of a study are asked.
fn of_study(study: &Study, preset: Option<&str>) -> Result<(EvaluationRecipe, PathBuf), AnyError> {
    let plan = study.plan(preset.unwrap_or(study.usual_preset()), None, &PatchRules::new())?;
    let first = plan.cells.first().ok_or("the study has no cells")?;
    Ok((EvaluationRecipe::from_table(first.evaluation.clone())?, study.folder().to_owned()))
}
