//! The `data` command: what is in a source or mixture, and a first data set to try it on.

mod agreement;
mod asking;
mod export;
mod inspect;
mod looking;
mod made_report;
mod mixture_file;
mod mt_score;
mod own_model;
mod questions;
mod recipe_file;
mod regenerate;
mod rows_of;
mod score;
mod translate;

use std::io::{self, Write};
use std::process::ExitCode;

use burn_vlm_base::progress::Reporter;
use clap::{Parser, Subcommand};

use crate::AnyError;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "export --out runs/emoji --format json",
            "a first data set: the embedded emoji corpus as LLaVA JSON, with a mixture file",
        ),
        ("data", "inspect runs/emoji/mixture.toml --html runs/page.html", "what is in it, and a page to look at"),
        ("data", "agreement ratings.csv --out runs/agreement", "how far annotators agree"),
        ("data", "mt-score pairs.tsv --language de --out runs/scores", "BLEU, chrF and TER of translations"),
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
    Questions(questions::QuestionsArgs),
    Score(Box<score::ScoreArgs>),
    Translate(Box<translate::TranslateArgs>),
    Regenerate(Box<regenerate::RegenerateArgs>),
    Agreement(Box<agreement::AgreementArgs>),
    MtScore(Box<mt_score::MtScoreArgs>),
}

/// Runs `examples/data` with the command line of this process.
pub fn data() -> ExitCode {
    crate::end(run_data(&DataArgs::parse(), &mut io::stdout()))
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
        Command::Questions(args) => questions::run(args, out),
        Command::Score(args) => score::run(args, out, &reporter),
        Command::Translate(args) => translate::run(args, out, &reporter),
        Command::Regenerate(args) => regenerate::run(args, out, &reporter),
        Command::Agreement(args) => agreement::run(args, out),
        Command::MtScore(args) => mt_score::run(args, out),
    }
}
