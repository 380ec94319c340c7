//! `data assign-languages`: which language each row is to be translated into.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use burn_vlm_base::files::{publish_dir, temp_dir_for, write_json_atomic};
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::Share;
use burn_vlm_data::pipeline::{RowWriter, assign_languages, language_key, picture_root};
use burn_vlm_data::source::{FileSource, Source};
use clap::Args;
use serde_json::{Map, json};

use super::export::{Languages, languages};
use super::opened::{FileArgs, FirstRows, open_files, paced};
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// Rows that are read at once.
const WINDOW: u64 = 256;
/// What is written: the rows to translate, and those that stay as they are.
const ASSIGNED: &str = "assigned.jsonl";
const STAYS: &str = "stays.jsonl";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "assign-languages captions.jsonl --languages de,fr,ja --out runs/assigned",
            "a third of the captions for each language",
        ),
        (
            "data",
            "assign-languages videos.jsonl --languages towervision-20 --stays 50% --out runs/assigned",
            "half of the rows stay English, the rest is spread over the other nineteen",
        ),
    ];
    let more = "The numbers are exact. The order of the rows in their files does not matter; which of them are there does. DIR has assigned.jsonl, \
                stays.jsonl (with --stays) and assigned.json (the counts).";
    examples(&lines, more)
}

/// Say which language each row is to be translated into: a part stays as it is, the rest is spread evenly
///
/// Writes the rows to translate with a field `target_language`, and those that stay into a file of their own, with the language that they are in.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct AssignArgs {
    /// The rows: a file, several ('{a,b}.jsonl', 'data/*.parquet'), or a folder
    path: String,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Languages by tag, or a set of them (tiny-5, parrot-6, towervision-20, ...), with commas between; --from is left out
    #[arg(long, value_name = "TAGS", value_parser = languages)]
    languages: Languages,

    /// The language that the rows are in
    #[arg(long, value_name = "TAG", default_value = "en")]
    from: Language,

    /// The part of the rows that stays as it is, rounded up
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    stays: Share,

    /// What the language is called in the output
    #[arg(long, value_name = "NAME", default_value = "target_language")]
    field: String,

    /// Decides which row gets which language
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    files: FileArgs,
}

/// Runs the command.
pub(super) fn run(args: &AssignArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let languages: Vec<Language> = args.languages.0.iter().copied().filter(|language| *language != args.from).collect();
    if languages.is_empty() && args.stays != Share::ONE {
        let from = args.from;
        return Err(format!("--languages: no language but {from}, which the rows are in; name others").into());
    }
    let source = open_files(args.files.of(&args.path, &args.files.column))?;
    FirstRows::of(&args.path, &source, WINDOW).must_lack("--field", &args.field)?;
    let keys = keys(&source, args.seed, reporter);
    let assigned = assign_languages(&keys, args.stays, &languages);
    let folder = temp_dir_for(&args.out)?;
    let mut writer = RowWriter::create(folder.path(), ASSIGNED, &source)?;
    let mut stays = match args.stays == Share::ZERO {
        true => None,
        false => Some(RowWriter::create(folder.path(), STAYS, &source)?),
    };
    let mut unreadable = JsonlWriter::create(&folder.path().join("unreadable.jsonl"))?;
    let mut counts: BTreeMap<Language, u64> = BTreeMap::new();
    let (total, began) = (source.len(), Instant::now());
    let bar = reporter.bar("writing", total);
    for begin in (0..total).step_by(WINDOW as usize) {
        let records: Vec<u64> = (begin..total.min(begin + WINDOW)).collect();
        let rows = if writer.needs_pictures() { source.rows(&records) } else { source.texts(&records) };
        for (row, record) in rows.into_iter().zip(&records) {
            match row {
                Ok(row) => {
                    let target = assigned[*record as usize];
                    let language = target.unwrap_or(args.from);
                    let writer = stays.as_mut().filter(|_| target.is_none()).unwrap_or(&mut writer);
                    writer.write(&row, Map::from_iter([(args.field.clone(), json!(language))]))?;
                    *counts.entry(language).or_default() += 1;
                }
                Err(skip) => unreadable.append(&*skip)?,
            }
        }
        paced(&bar, begin + records.len() as u64, total, began);
    }
    writer.finish()?;
    stays.map(RowWriter::finish).transpose()?;
    let left_out = unreadable.records();
    let about = json!({
        "rows": total, "from": args.from, "stays": args.stays, "seed": args.seed, "field": args.field, "languages": counts,
        "unreadable": left_out,
    });
    write_json_atomic(&folder.path().join("assigned.json"), &about)?;
    publish_dir(folder.path(), &args.out)?;
    writeln!(
        out,
        "{}: {} rows",
        args.out.join(ASSIGNED).display(),
        counts.values().sum::<u64>() - staying(&counts, args)
    )?;
    for (language, count) in counts.iter().filter(|(language, _)| **language != args.from) {
        writeln!(out, "  {language:8} {count}")?;
    }
    if args.stays != Share::ZERO {
        writeln!(
            out,
            "{}: {} rows, in {} as they are",
            args.out.join(STAYS).display(),
            staying(&counts, args),
            args.from
        )?;
    }
    if left_out > 0 {
        writeln!(out, "  {left_out} rows cannot be read: unreadable.jsonl")?;
    }
    // Paths of pictures are written as they are.
    if let Some(root) = picture_root(&source) {
        writeln!(out, "  for the next step: --image-root {}", root.display())?;
    }
    Ok(())
}

/// Rows that stay; no other is assigned their language.
fn staying(counts: &BTreeMap<Language, u64>, args: &AssignArgs) -> u64 {
    counts.get(&args.from).copied().unwrap_or(0)
}

/// Where each row stands in the random order. A row that cannot be read has a place, too, so that mending it moves no other.
fn keys(source: &FileSource, seed: u64, reporter: &Reporter) -> Vec<u64> {
    let (total, began) = (source.len(), Instant::now());
    let bar = reporter.bar("reading ids", total);
    let mut keys = Vec::new();
    for begin in (0..total).step_by(WINDOW as usize) {
        let records: Vec<u64> = (begin..total.min(begin + WINDOW)).collect();
        keys.extend(source.texts(&records).into_iter().map(|row| match row {
            Ok(row) => language_key(&row.id, seed),
            Err(skip) => language_key(skip.id.as_deref().unwrap_or(&skip.place), seed),
        }));
        paced(&bar, begin + records.len() as u64, total, began);
    }
    keys
}
