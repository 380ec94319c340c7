//! `data benchmark`: translated benchmarks that stay scorable, from a published one and a table of translations.

mod blind;
mod build;
mod calibrate;
mod export;
mod page;
mod server;
mod texts;

use std::io::Write;
use std::path::{Path, PathBuf};

use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_eval::build::{Edition, OnProblem, SourceBenchmark, kinds};
use burn_vlm_eval::file::FileRecipe;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::AnyError;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("data", "benchmark texts MMBench_DEV_EN.tsv --kind mmbench --out texts.jsonl", "what has to be translated"),
        (
            "data",
            "benchmark build MMBench_DEV_EN.tsv --kind mmbench --translations de.jsonl --out runs/mmbench",
            "the benchmark in the table's languages",
        ),
        (
            "data",
            "benchmark blind runs/mmbench --predictions runs/text/predictions.jsonl --out runs/seen",
            "without what needs no picture",
        ),
        (
            "data",
            "benchmark calibrate runs/mmbench --language de --port 8010",
            "people refine it and vote, in the browser",
        ),
    ];
    examples(&lines, "")
}

/// Translate a published benchmark so that it stays scorable, find what needs no picture, and let people refine it
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct BenchmarkArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Texts(texts::TextsArgs),
    Build(Box<build::BuildArgs>),
    Blind(Box<blind::BlindArgs>),
    Calibrate(Box<calibrate::CalibrateArgs>),
}

/// Runs the command.
pub(super) fn run(args: &BenchmarkArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    match &args.command {
        Command::Texts(args) => texts::run(args, out),
        Command::Build(args) => build::run(args, out),
        Command::Blind(args) => blind::run(args, out),
        Command::Calibrate(args) => calibrate::run(args, out, reporter),
    }
}

/// The benchmark that is translated.
#[derive(Debug, Args)]
struct SourceArgs {
    /// The benchmark's file as published (TSV, JSON, JSONL or parquet; several as {a,b}.tsv), or MME's folder
    file: PathBuf,

    /// What it is; `choice` is a table of your own with the columns index, image, question, A, B, ..., answer
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(kinds().collect::<Vec<_>>()))]
    kind: String,

    /// The language that it is in
    #[arg(long, value_name = "TAG", default_value = "en", value_parser = language)]
    source_language: Language,

    /// Where the paths of its pictures and videos begin
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
}

impl SourceArgs {
    fn read(&self) -> Result<SourceBenchmark, AnyError> {
        let recipe = json!({
            "name": self.kind,
            "file": self.file,
            "language": self.source_language,
            "image_root": self.image_root,
        });
        let recipe: FileRecipe = serde_json::from_value(recipe)?;
        Ok(SourceBenchmark::read(&self.kind, &recipe, Path::new(""))?)
    }
}

/// `--on-problem`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Problems {
    Source,
    Exclude,
    ExcludeEverywhere,
}

impl From<Problems> for OnProblem {
    fn from(problems: Problems) -> Self {
        match problems {
            Problems::Source => Self::Source,
            Problems::Exclude => Self::Exclude,
            Problems::ExcludeEverywhere => Self::ExcludeEverywhere,
        }
    }
}

/// A tag of the command line.
fn language(text: &str) -> Result<Language, String> {
    Language::parse(text).map_err(|error| error.to_string())
}

/// What became of the items of each language, as a table, and what was found.
fn summary(editions: &[Edition], notes: &[String]) -> String {
    let mut text = String::from(
        "| language | items | translated | in the source's language | left out | flagged |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for edition in editions.iter().filter(|edition| !edition.reports.is_empty()) {
        let [translated, source, excluded] = edition.counts();
        let (items, flagged) =
            (edition.reports.len(), edition.reports.iter().filter(|report| !report.flags.is_empty()).count());
        text.push_str(&format!(
            "| {} | {items} | {translated} | {source} | {excluded} | {flagged} |\n",
            edition.language
        ));
    }
    for edition in editions {
        for (what, counts) in [("problems", edition.problems()), ("flags", edition.flags())] {
            if !counts.is_empty() {
                let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
                text.push_str(&format!("\n{}, {what}: {}", edition.language, counts.join(", ")));
            }
        }
    }
    let notes = notes.iter().chain(editions.iter().flat_map(|edition| &edition.notes));
    notes.for_each(|note| text.push_str(&format!("\n{note}")));
    text.trim_end().to_owned() + "\n"
}
