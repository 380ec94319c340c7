//! `data benchmark build`: a benchmark in other languages, from a table of translations.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::files::write_atomic;
use burn_vlm_data::language::Language;
use burn_vlm_eval::build::check::{Flag, Problem};
use burn_vlm_eval::build::edition::{CHRF_BELOW, exclude_everywhere, source_edition};
use burn_vlm_eval::build::folder::{self, Manifest, QUESTIONS};
use burn_vlm_eval::build::{
    AnswerWords, BuildOptions, Edition, EditionFile, GivenWords, OnProblem, SourceBenchmark, Translations, edition,
};
use clap::{Args, ValueEnum};

use super::super::export::{Languages, languages};
use super::{Problems, SourceArgs, language, summary};
use crate::AnyError;
use crate::args::check_empty;
use crate::call::{call, examples};

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "benchmark build MMBench_DEV_EN.tsv --kind mmbench --translations de.jsonl fr.jsonl --out runs/mmbench",
            "MMBench with its rotations in two languages",
        ),
        (
            "data",
            "benchmark build MME.tsv --kind mme --translations sw.tsv --words words.toml --out runs/mme",
            "yes and no in words of your own",
        ),
        (
            "data",
            "benchmark build pope.tsv --kind pope --translations de.jsonl --yes-no english --on-problem exclude-everywhere --out runs/pope",
            "for scorers that know English only, with the same items in all languages",
        ),
    ];
    let more = "Columns of a table of translations: `translation`, `lang`, and `id` with `field`, or `source`; `back_translation` and `score` where \
        you have them.\n\nA file of words has, by language: [sw] letter = \"..\", yes_no = \"..\", yes = [\"ndiyo\"], no = [\"hapana\"].";
    examples(&lines, more)
}

/// Write a benchmark in other languages so that its own scorer still scores it
///
/// What is right, ids, the order and number of options, rotations and pairs stay as they are. What a translation breaks (two equal
/// options, a text without translation, yes and no in a language without words for them) is told, with the reason, and stays in the
/// source's language or is left out. Every file is read back, and the right answers must score 100 %.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct BuildArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Tables of translations: TSV, CSV or JSONL. Without any, only the source's edition is written
    #[arg(long, value_name = "FILE", num_args = 1..)]
    translations: Vec<PathBuf>,

    /// The language of rows that do not say theirs
    #[arg(long, value_name = "TAG", value_parser = language)]
    lang: Option<Language>,

    /// Only these languages, with commas between [default: those of the tables]
    #[arg(long, value_name = "TAGS", value_parser = languages)]
    languages: Option<Languages>,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// What the benchmark is called in scores [default: its kind; mmmb for choice]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// How it is written, both with a comma between
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tsv", value_name = "FORMAT")]
    format: Vec<Format>,

    /// Requests and words for yes and no of your own, a TOML file
    #[arg(long, value_name = "FILE")]
    words: Option<PathBuf>,

    /// Whether yes and no are asked for in the language's words, or in English for scorers that know no others
    #[arg(long, value_enum, default_value_t = YesNo::Local, value_name = "WORDS")]
    yes_no: YesNo,

    /// What becomes of items that cannot be asked in a language: they stay in the source's, are left out of it, or of all languages
    #[arg(long, value_enum, default_value_t = Problems::Source, value_name = "WHAT")]
    on_problem: Problems,

    /// A back translation whose chrF against the source is lower flags its item for a person
    #[arg(long, value_name = "CHRF", default_value_t = CHRF_BELOW)]
    chrf_below: f64,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Tsv,
    Parquet,
}

/// `--yes-no`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Local,
    English,
}

pub(super) fn run(args: &BuildArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    if !(0.0..=100.0).contains(&args.chrf_below) {
        return Err(format!("--chrf-below {}: expected a number from 0 to 100", args.chrf_below).into());
    }
    let words = given_words(args.words.as_ref())?;
    let mut translations = Translations::default();
    for file in &args.translations {
        translations.read(file, args.lang)?;
    }
    let source = args.source.read()?;
    let options = BuildOptions {
        on_problem: args.on_problem.into(),
        english_yes_no: args.yes_no == YesNo::English,
        chrf_below: args.chrf_below,
    };
    let of_tables =
        translations.languages.iter().map(|(language, _)| *language).filter(|language| *language != source.language);
    let wanted: Vec<Language> = args.languages.as_ref().map_or_else(|| of_tables.collect(), |given| given.0.clone());
    if let Some(language) =
        wanted.iter().find(|language| !translations.languages.iter().any(|(known, _)| known == *language))
    {
        let known: Vec<&str> = translations.languages.iter().map(|(language, _)| language.tag()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!("no translation is into {language}; the tables have {known}").into());
    }
    let mut notes = source.notes.clone();
    if translations.empty > 0 {
        notes.push(format!("{} rows of the tables have no translation", translations.empty));
    }
    let editions = editions(&source, &translations, &wanted, &words, &options)?;
    let mut formats = args.format.clone();
    formats.dedup();
    let formats: Vec<EditionFile> = formats
        .iter()
        .map(|format| match format {
            Format::Tsv => EditionFile::Tsv,
            Format::Parquet => EditionFile::Parquet,
        })
        .collect();
    let manifest = Manifest {
        name: args.name.clone().unwrap_or_else(|| source.published.name().to_owned()),
        kind: args.source.kind.clone(),
        source: args.source.file.display().to_string(),
        source_language: source.language,
        languages: Vec::new(),
        formats: Vec::new(),
        options,
        words,
        files: Vec::new(),
        notes,
    };
    let written = folder::write(&args.out, manifest, &source, &editions.iter().collect::<Vec<_>>(), &formats)?;
    report(&args.out, &written, &editions, out)
}

/// The words that the user gives.
pub(super) fn given_words(file: Option<&PathBuf>) -> Result<GivenWords, AnyError> {
    let Some(file) = file else { return Ok(GivenWords::default()) };
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let words: GivenWords = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    for tag in words.0.keys() {
        Language::parse(tag).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(words)
}

/// The editions of all languages, the source's first.
pub(super) fn editions(
    source: &SourceBenchmark,
    translations: &Translations,
    languages: &[Language],
    words: &GivenWords,
    options: &BuildOptions,
) -> Result<Vec<Edition>, AnyError> {
    let mut editions = vec![source_edition(source)];
    for language in languages {
        let words = AnswerWords::of(*language, words)?;
        editions.push(edition(source, translations, &words, options));
    }
    if options.on_problem == OnProblem::ExcludeEverywhere {
        let gone: BTreeSet<String> = exclude_everywhere(source, &mut editions);
        if gone.len() == source.items.len() {
            return Err(
                "no item is translated into all languages, so that nothing is left; see --on-problem source".into()
            );
        }
    }
    if let Some(empty) = editions.iter().find(|edition| edition.items.is_empty()) {
        let problems: Vec<String> = empty.problems().iter().map(|(name, count)| format!("{count} {name}")).collect();
        return Err(
            format!("{}: no item is left ({}); see --on-problem source", empty.language, problems.join(", ")).into()
        );
    }
    Ok(editions)
}

/// Every item that could not be taken as it is, and what a person should look at, each with its reasons.
fn listed(editions: &[Edition]) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut text = String::new();
    let reports = editions.iter().flat_map(|edition| &edition.reports);
    for report in reports.filter(|report| !report.problems.is_empty() || !report.flags.is_empty()) {
        let problems = report.problems.iter().map(Problem::words).collect::<Vec<_>>().join("; ");
        let flags = report.flags.iter().map(Flag::words).collect::<Vec<_>>().join("; ");
        let cells = [&report.id, &problems, &flags].map(|text| cell(text)).join(" | ");
        text.push_str(&format!("| {} | {cells} |\n", report.language));
    }
    if text.is_empty() {
        return text;
    }
    format!("\n| language | item | problems | to look at |\n|---|---|---|---|\n{text}")
}

/// Prints what was made, and keeps it beside it.
pub(super) fn report(
    folder: &std::path::Path,
    written: &Manifest,
    editions: &[Edition],
    out: &mut dyn Write,
) -> Result<(), AnyError> {
    let text = summary(editions, &written.notes);
    let title = format!("# {} in {} languages", written.name, 1 + written.languages.len());
    write_atomic(&folder.join("build.md"), format!("{title}\n\n{text}{}", listed(editions)).as_bytes())?;
    for file in &written.files {
        writeln!(out, "{}: {} rows", folder.join(&file.file).display(), file.rows)?;
    }
    writeln!(out, "\n{text}")?;
    writeln!(out, "The right answers score 100 % in every file, as far as the source's do.")?;
    let questions = folder.join(QUESTIONS);
    writeln!(out, "{}", call("evaluate", &format!("{} --model DIR", questions.display())))?;
    Ok(())
}
