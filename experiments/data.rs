//! The `data` command: what is in a source or mixture, and a first data set to try it on.

mod agreement;
mod asking;
mod assign_languages;
mod benchmark;
mod captions;
mod chain;
mod export;
mod filter;
mod inspect;
mod looking;
mod made_report;
mod mixture_file;
mod mt_score;
mod opened;
mod overlap;
mod own_model;
mod pair_prompts;
mod questions;
mod recipe_file;
mod references;
mod regenerate;
mod row_mixture;
mod rows_of;
mod score;
mod score_counts;
mod score_reference;
mod translate;

use std::io::{self, Write};
use std::process::ExitCode;

use burn_vlm_base::progress::Reporter;
use clap::{Parser, Subcommand};

use crate::AnyError;
use crate::call::examples;
use crate::compute::in_pool;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "export --out runs/emoji --format json",
            "a first data set: the embedded emoji corpus as LLaVA JSON, with a mixture file",
        ),
        ("data", "inspect runs/emoji/mixture.toml --html runs/page.html", "what is in it, and a page to look at"),
        (
            "data",
            "filter scored.jsonl --threshold 0.85 --out runs/filtered",
            "keep the translations that are good enough",
        ),
        (
            "data",
            "overlap mixture.toml --benchmark test.tsv --out runs/overlap",
            "what stands in training and in a benchmark",
        ),
        ("data", "visionblocks --preset tiny", "the whole pipeline of translated captions, offline, in minutes"),
        ("data", "agreement ratings.csv --out runs/agreement", "how far annotators agree"),
        ("data", "mt-score pairs.tsv --language de --out runs/scores", "BLEU, chrF and TER of translations"),
        (
            "data",
            "benchmark build MME.tsv --kind mme --translations de.jsonl --out runs/mme",
            "a benchmark in other languages",
        ),
    ];
    examples(&lines, "Each command has its own `--help`, such as `data agreement --help`.")
}

/// Look at training data before it is trained on, write some to begin with, translate and make some, and measure what annotators and translators made
#[derive(Debug, Parser)]
#[command(name = "data", max_term_width = 100, after_help = help())]
pub struct DataArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(Box<inspect::InspectArgs>),
    Export(export::ExportArgs),
    Captions(captions::CaptionsArgs),
    Questions(questions::QuestionsArgs),
    Score(Box<score::ScoreArgs>),
    AssignLanguages(Box<assign_languages::AssignArgs>),
    Filter(Box<filter::FilterArgs>),
    PairPrompts(Box<pair_prompts::PairPromptsArgs>),
    Overlap(Box<overlap::OverlapArgs>),
    Translate(Box<translate::TranslateArgs>),
    Regenerate(Box<regenerate::RegenerateArgs>),
    Chain(Box<chain::ChainArgs>),
    /// Make VisionBlocks' translated captions and videos: TowerVision's whole pipeline, one command a step
    ///
    /// Languages, translations, COMETKiwi, the filter, overlap with benchmarks, requests, the half of the videos that stays English. What the
    /// paper does not state is a setting that says so.
    Visionblocks(chain::ShippedArgs),
    /// Make a corpus as Multi-PixMo is: captions, questions and documents regenerated and translated, one command a step
    ///
    /// What the paper's abstract and cards do not state is a setting that says so.
    MultiPixmo(chain::ShippedArgs),
    Agreement(Box<agreement::AgreementArgs>),
    MtScore(Box<mt_score::MtScoreArgs>),
    Benchmark(Box<benchmark::BenchmarkArgs>),
}

/// Runs `examples/data` with the command line of this process.
pub fn data() -> ExitCode {
    crate::end(in_pool(|| run_data(&DataArgs::parse(), &mut io::stdout())))
}

/// The same for a parsed command line; what it finds is written to `out`.
///
/// # Errors
/// Files that cannot be opened or written, options that contradict each other, a mixture that cannot be drawn. Records that cannot
/// be used are no error: they are counted and listed.
pub fn run_data(args: &DataArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    let reporter = Reporter::new(false);
    match &args.command {
        Command::Inspect(args) => inspect::run(args, out, &reporter),
        Command::Export(args) => export::run(args, out, &reporter),
        Command::Captions(args) => captions::run(args, out, &reporter),
        Command::Questions(args) => questions::run(args, out),
        Command::Score(args) => score::run(args, out, &reporter),
        Command::AssignLanguages(args) => assign_languages::run(args, out, &reporter),
        Command::Filter(args) => filter::run(args, out, &reporter),
        Command::PairPrompts(args) => pair_prompts::run(args, out, &reporter),
        Command::Overlap(args) => overlap::run(args, out, &reporter),
        Command::Translate(args) => translate::run(args, out, &reporter),
        Command::Regenerate(args) => regenerate::run(args, out, &reporter),
        Command::Chain(args) => chain::run(args, out, &reporter),
        Command::Visionblocks(args) => chain::visionblocks(args, out, &reporter),
        Command::MultiPixmo(args) => chain::multi_pixmo(args, out, &reporter),
        Command::Agreement(args) => agreement::run(args, out),
        Command::MtScore(args) => mt_score::run(args, out),
        Command::Benchmark(args) => benchmark::run(args, out, &reporter),
    }
}
