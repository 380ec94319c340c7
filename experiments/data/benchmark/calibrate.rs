//! `data benchmark calibrate`: a page on which people refine translations and vote, and what comes of it.

use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::files::write_atomic;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_eval::build::calibrate::record::RecordFile;
use burn_vlm_eval::build::calibrate::{RULE, Records, Task};
use burn_vlm_eval::build::folder::Folder;
use burn_vlm_eval::build::{AnswerWords, edition};
use clap::{ArgGroup, Args};

use super::export::export;
use super::page::{self, Keeps};
use super::{Problems, language, server};
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "benchmark calibrate runs/mmbench --language de --port 8010",
            "for people at this machine, or through a tunnel to it",
        ),
        (
            "data",
            "benchmark calibrate runs/mmbench --language de --html de.html",
            "one file to send to people, who send back what it saves",
        ),
        (
            "data",
            "benchmark calibrate runs/mmbench --language de --records ana.jsonl ben.jsonl --export runs/mmbench-de",
            "the benchmark as they decided",
        ),
    ];
    examples(&lines, RULE)
}

/// Let people refine a translated benchmark, vote for the best of three versions and leave comments, in a browser
///
/// Every person refines for himself; who did not refine an item may vote on it, without seeing who wrote which version. All that is
/// done is kept, a line each, and nothing is ever changed.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
#[command(group = ArgGroup::new("what").required(true).args(["port", "html", "export"]))]
pub(super) struct CalibrateArgs {
    /// A folder that `data benchmark build` wrote
    folder: PathBuf,

    /// The language to work on
    #[arg(long, value_name = "TAG", value_parser = language)]
    language: Language,

    /// Serve the page on this machine alone, at this port; 0 for a free one
    #[arg(long, value_name = "N")]
    port: Option<u16>,

    /// Write the page as one file that needs no server; it keeps what is done in the browser, for saving as a file. It must not be there
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the benchmark as decided to this folder, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,

    /// What people did: with --port the file that it is kept in [default: records_TAG.jsonl in the folder]; with --export files that pages
    /// saved or a server kept
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "html")]
    records: Vec<PathBuf>,

    /// With --export: what becomes of items that cannot be asked in a language [default: as the folder was built]
    #[arg(long, value_enum, value_name = "WHAT", requires = "export")]
    on_problem: Option<Problems>,

    /// Only items with a problem or something that a person should look at
    #[arg(long, conflicts_with = "export")]
    flagged: bool,
}

pub(super) fn run(args: &CalibrateArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    let mut built = Folder::read(&args.folder)?;
    if args.language == built.source.language {
        return Err(format!("{} is the language of the source, which nobody translated", args.language).into());
    }
    if !built.manifest.languages.contains(&args.language) {
        let known: Vec<&str> = built.manifest.languages.iter().map(|language| language.tag()).collect();
        return Err(
            format!("{} is not in {}, which has {}", args.language, args.folder.display(), known.join(", ")).into()
        );
    }
    let words = AnswerWords::of(args.language, &built.manifest.words)?;
    let edition = edition(&built.source, &built.translations, &words, &built.manifest.options);
    let task = Task::of(&built.manifest.name, &built.source, &edition, |report| {
        !args.flagged || !report.problems.is_empty() || !report.flags.is_empty()
    })?;
    if task.items.is_empty() {
        return Err("--flagged: no item has a problem or a flag".into());
    }
    let usual = args.folder.join(format!("records_{}.jsonl", args.language));
    if let Some(file) = &args.html {
        if file.exists() {
            return Err(format!("{} is there already; name another file, or remove it first", file.display()).into());
        }
        write_atomic(file, page::page(&task, Keeps::Browser)?.text.as_bytes())?;
        writeln!(out, "{}: {} items in {}", file.display(), task.items.len(), task.language)?;
        return Ok(());
    }
    if let Some(folder) = &args.export {
        check_empty(folder)?;
        let files = if args.records.is_empty() { vec![usual] } else { args.records.clone() };
        let mut records = Records::default();
        for file in &files {
            records.read(file, &task)?;
        }
        records.torn.iter().try_for_each(|(file, line)| {
            writeln!(out, "{}, line {line}: it was cut off while it was written, and does not count", file.display())
        })?;
        if records.foreign > 0 {
            writeln!(out, "{} records are about other languages or items, and do not count", records.foreign)?;
        }
        if let Some(problems) = args.on_problem {
            built.manifest.options.on_problem = problems.into();
        }
        return export((built, &edition), &task, &records, folder, out);
    }
    let file = match args.records.as_slice() {
        [] => usual,
        [one] => one.clone(),
        _ => return Err("--records: with --port one file, to which everything is written".into()),
    };
    let (kept, records) = RecordFile::open(&file, &task)?;
    for (file, line) in &records.torn {
        reporter.warn(&format!("{}, line {line}: it was cut off while it was written, and is removed", file.display()));
    }
    server::serve(args.port.unwrap_or_default(), task, kept, records, out)
}
