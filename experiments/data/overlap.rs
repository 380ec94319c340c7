//! `data overlap`: what stands both in training data and in benchmarks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn_vlm_base::files::{FileError, publish_dir, temp_dir_for, write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::overlap::{
    AskedRecord, AskedRecords, Benchmarks, FileRecords, Fingerprint, LEAST_LETTERS, MOST_PAIRS, MOST_ROWS, NEAR_BITS,
    OverlapOptions, OverlapRecord, OverlapRecords, OverlapReport, Pair, Reason, SideCounts, fingerprints, overlap_page,
};
use burn_vlm_data::source::Skip;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::opened::{beside, is_mixture, mixture_records, open_files, paced};
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;
use crate::evaluate::open_benchmarks;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "overlap mixture.toml --benchmark questions.tsv --out runs/overlap",
            "all sources of a mixture against a table of questions",
        ),
        (
            "data",
            "overlap 'pixmo/*.jsonl' --benchmark evaluations/parrot.toml --data ~/benchmarks --out runs/overlap --write-excluded excluded.jsonl",
            "against the benchmarks of a paper, and the list of training rows to leave out",
        ),
        (
            "data",
            "overlap translated.jsonl --benchmark test.parquet --match-id question_id --column question_id --out runs/overlap",
            "by the ids of a column, too: a translation has no words in common with its original",
        ),
    ];
    let more = "Nothing is left out of the training data here. DIR has overlap.html (pairs side by side), pairs.jsonl and pairs.csv (all of \
                them), unreadable.jsonl (what cannot be compared) and overlap.json (the counts).";
    examples(&lines, more)
}

/// Find what stands both in training data and in benchmarks
///
/// Compares pictures by the bytes of their files (SHA-256, also against a column `image_sha256`) and by what they show (a perceptual hash:
/// the same picture in another size, format or quality), rows by the ids that they give, and texts: one of a benchmark that stands in one
/// of a training row, whatever its case, spaces and punctuation.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct OverlapArgs {
    /// The training data: a file, several ('{a,b}.json', 'data/*.parquet'), a folder, or a mixture (.toml), of which all records are
    /// looked at, whatever its `take` says
    training: String,

    /// A benchmark: data as above, or what `evaluate` takes (a suite, a file with [[benchmark]], a study); several times for several
    #[arg(long, value_name = "PATH", required = true)]
    benchmark: Vec<String>,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Pictures look alike whose hashes differ in at most N of 64 bits
    #[arg(long, value_name = "N", default_value_t = NEAR_BITS, value_parser = clap::value_parser!(u32).range(0..=64))]
    near: u32,

    /// Of such pictures only those whose colours differ by at most D of 255, in 8 x 8 pixels [default: whatever their colours]
    #[arg(long, value_name = "D")]
    most_difference: Option<f32>,

    /// Compare pictures by bytes alone
    #[arg(long, conflicts_with_all = ["near", "most_difference"])]
    bytes_only: bool,

    /// A further column with ids of the rows that a row was made of, on both sides; several times for several
    /// [source_id, source_row and original_id are looked at anyway]
    #[arg(long, value_name = "NAME")]
    match_id: Vec<String>,

    /// Compare ids that are plain numbers, too: where both sides number the same things
    #[arg(long)]
    numbers: bool,

    /// Letters and digits that a text of a benchmark must have to be looked for; 0 compares no texts
    #[arg(long, value_name = "N", default_value_t = LEAST_LETTERS)]
    least_letters: usize,

    /// A text that more rows of a benchmark share is part of its form, and is not looked for
    #[arg(long, value_name = "N", default_value_t = MOST_ROWS)]
    most_rows: usize,

    /// A further column of parquet files that is read; several times for several
    #[arg(long, value_name = "NAME")]
    column: Vec<String>,

    /// Where the paths of pictures and videos in a training file begin [default: its folder]
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,

    /// The same of benchmarks that are data
    #[arg(long, value_name = "DIR")]
    benchmark_image_root: Option<PathBuf>,

    /// Where the files of a suite's benchmarks are [default: as the suite says]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Follow links below the image roots that lead out of them
    #[arg(long)]
    allow_links: bool,

    /// Write the training rows that have something in common with a benchmark, one a line: the list for `data filter --exclude`
    #[arg(long, value_name = "FILE")]
    write_excluded: Option<PathBuf>,

    /// What puts a row on that list, with commas between
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',', requires = "write_excluded",
          default_values = ["bytes", "id", "text", "perceptual"])]
    exclude_by: Vec<By>,

    /// Pairs of each kind on the page
    #[arg(long, value_name = "N", default_value_t = 60)]
    page: usize,

    /// Pairs of one training row that are listed; all count
    #[arg(long, value_name = "N", default_value_t = MOST_PAIRS, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    most_pairs: usize,

    /// Threads that read and decode [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// `--exclude-by`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Bytes,
    Id,
    Text,
    Perceptual,
}

impl By {
    fn reason(self) -> Reason {
        match self {
            Self::Bytes => Reason::Bytes,
            Self::Id => Reason::Id,
            Self::Text => Reason::Text,
            Self::Perceptual => Reason::Perceptual,
        }
    }
}

/// A training row to exclude.
#[derive(Serialize)]
struct Excluded<'a> {
    source: &'a str,
    record: u64,
    id: &'a str,
    reasons: BTreeSet<Reason>,
    benchmarks: BTreeSet<&'a str>,
}

/// Runs the command.
pub(super) fn run(args: &OverlapArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    if let Some(path) = args.write_excluded.as_ref().filter(|path| path.exists()) {
        return Err(format!("--write-excluded {}: it is there already; name another file", path.display()).into());
    }
    let opening = reporter.bar(&format!("opening {}", args.training), 1);
    let training = args.open(&args.training, args.image_root.as_deref())?;
    let benchmarks = args.benchmarks()?;
    drop(opening);
    let folder = temp_dir_for(&args.out)?;
    let mut files = Files::create(folder.path())?;
    let mut held = Vec::new();
    for records in &benchmarks {
        let mut rows = Vec::new();
        args.look(records, reporter, |batch| {
            batch.iter().try_for_each(|row| files.unreadable(row))?;
            rows.extend(batch);
            Ok(())
        })?;
        held.push((records.name().to_owned(), rows));
    }
    let index = Benchmarks::new(held, args.options());
    let mut report = OverlapReport::new(&index);
    let mut shown: BTreeMap<Reason, Vec<(Pair, usize)>> = BTreeMap::new();
    let mut excluded = Vec::new();
    let by: BTreeSet<Reason> = args.exclude_by.iter().map(|by| by.reason()).collect();
    for (number, records) in training.iter().enumerate() {
        let mut counts = SideCounts::new(records.name());
        args.look(records, reporter, |batch| {
            for row in &batch {
                counts.add(row);
                files.unreadable(row)?;
                let found = index.find(records.name(), row);
                report.add(&index, &found);
                let mut reasons = BTreeSet::new();
                let mut of = BTreeSet::new();
                for (theirs, why) in found.rows.iter().filter(|(_, why)| why.iter().any(|why| by.contains(why))) {
                    reasons.extend(why);
                    of.insert(&*index.names()[index.rows()[*theirs].0]);
                }
                if args.write_excluded.is_some() && !reasons.is_empty() {
                    let (source, record, id) = (records.name(), row.record, row.id.as_str());
                    let line = serde_json::to_string(&Excluded { source, record, id, reasons, benchmarks: of })?;
                    excluded.push(line);
                }
                for pair in found.pairs {
                    files.pair(&pair)?;
                    let first = pair.reasons.first().copied().unwrap_or(Reason::Perceptual);
                    let of = shown.entry(first).or_default();
                    if of.len() < args.page {
                        of.push((pair, number));
                    }
                }
            }
            Ok(())
        })?;
        report.training.push(counts);
    }
    files.finish()?;
    write_json_atomic(&folder.path().join("overlap.json"), &report)?;
    let shown = with_records(shown, &training, &benchmarks);
    let title = format!("{} and its benchmarks", args.training);
    write_atomic(&folder.path().join("overlap.html"), overlap_page(&title, &report, &shown).as_bytes())?;
    publish_dir(folder.path(), &args.out)?;
    writeln!(out, "{report}")?;
    writeln!(
        out,
        "page: {} (also pairs.jsonl, pairs.csv, unreadable.jsonl, overlap.json)",
        args.out.join("overlap.html").display()
    )?;
    if let Some(path) = &args.write_excluded {
        let count = excluded.len();
        let text: String = excluded.into_iter().map(|line| line + "\n").collect();
        write_atomic(path, text.as_bytes())?;
        writeln!(out, "training rows to exclude: {} ({count}); nothing is excluded yet", path.display())?;
    }
    Ok(())
}

/// The pairs of the page with their records, read again.
fn with_records(
    shown: BTreeMap<Reason, Vec<(Pair, usize)>>,
    training: &[Arc<dyn OverlapRecords>],
    benchmarks: &[Arc<dyn OverlapRecords>],
) -> Vec<(Pair, OverlapRecord, OverlapRecord)> {
    let one = |records: &Arc<dyn OverlapRecords>, record: u64| records.read(record..record + 1).pop();
    let pairs = shown.into_values().flatten();
    pairs
        .filter_map(|(pair, number)| {
            let ours = one(&training[number], pair.training.record)?;
            let benchmark = benchmarks.iter().find(|records| records.name() == pair.benchmark.source)?;
            let theirs = one(benchmark, pair.benchmark.record)?;
            Some((pair, ours, theirs))
        })
        .collect()
}

impl OverlapArgs {
    fn options(&self) -> OverlapOptions {
        OverlapOptions {
            near_bits: (!self.bytes_only).then_some(self.near),
            most_difference: self.most_difference,
            least_letters: (self.least_letters > 0).then_some(self.least_letters),
            most_rows: self.most_rows,
            numbers: self.numbers,
            most_pairs: self.most_pairs,
        }
    }

    /// Data: files or a mixture.
    fn open(&self, path: &str, image_root: Option<&Path>) -> Result<Vec<Arc<dyn OverlapRecords>>, AnyError> {
        let more: Vec<String> = self.column.iter().chain(&self.match_id).cloned().collect();
        if is_mixture(path)? {
            if image_root.is_some() {
                return Err(format!("an image root is for single files; {path} says it for each of its sources").into());
            }
            return mixture_records(path, &self.match_id, &more);
        }
        let source = open_files(beside(path, image_root, self.allow_links, &more))?;
        Ok(vec![Arc::new(FileRecords::new(source, &self.match_id))])
    }

    /// All benchmarks, under different names.
    fn benchmarks(&self) -> Result<Vec<Arc<dyn OverlapRecords>>, AnyError> {
        let mut found: Vec<Arc<dyn OverlapRecords>> = Vec::new();
        for path in &self.benchmark {
            let is_toml = Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
            // A built-in study has a name and no file.
            let is_asked = if is_toml { !is_mixture(path)? } else { !path.contains(['.', '/', '*', '{']) };
            if is_asked && !Path::new(path).is_dir() {
                found.extend(asked(path, self.data.as_deref())?);
            } else {
                found.extend(self.open(path, self.benchmark_image_root.as_deref())?);
            }
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = found.iter().find(|records| !names.insert(records.name().to_owned())) {
            return Err(format!("two benchmarks are called {:?}; give their files other names", twice.name()).into());
        }
        Ok(found)
    }

    /// Looks at all records with a bar.
    fn look(
        &self,
        records: &Arc<dyn OverlapRecords>,
        reporter: &Reporter,
        mut each: impl FnMut(Vec<Fingerprint>) -> Result<(), AnyError>,
    ) -> Result<(), AnyError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let (total, began) = (records.len(), Instant::now());
        let bar = reporter.bar(records.name(), total);
        let (mut done, mut failed) = (0, None);
        fingerprints(records, self.workers.unwrap_or_else(cores), |batch| {
            done += batch.len() as u64;
            paced(&bar, done, total, began);
            match each(batch) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// The benchmarks of a file of questions, as they are asked.
fn asked(path: &str, data: Option<&Path>) -> Result<Vec<Arc<dyn OverlapRecords>>, AnyError> {
    let benchmarks = open_benchmarks(path, data)?;
    let records = |benchmark: &dyn burn_vlm_train::eval::Benchmark| -> Arc<dyn OverlapRecords> {
        let questions = benchmark.questions().iter().enumerate().map(|(number, question)| AskedRecord {
            id: question.id.clone(),
            language: benchmark.language_of(number).and_then(|tag| Language::parse(&tag).ok()),
            turns: question.turns.clone(),
            media: question.media.clone(),
        });
        let limits = burn_vlm_data::source::Limits { max_pixels: benchmark.limits().max_pixels, ..Default::default() };
        Arc::new(AskedRecords::new(benchmark.name(), questions.collect(), limits))
    };
    Ok(benchmarks.iter().map(records).collect())
}

/// The lists that are written while records are looked at.
struct Files {
    pairs: JsonlWriter,
    table: BufWriter<File>,
    table_path: PathBuf,
    unreadable: JsonlWriter,
}

/// The columns of pairs.csv.
const COLUMNS: [&str; 15] = [
    "training_source",
    "training_record",
    "training_id",
    "training_language",
    "training_picture",
    "benchmark",
    "benchmark_record",
    "benchmark_id",
    "benchmark_language",
    "benchmark_picture",
    "reasons",
    "distance",
    "difference",
    "shared_id",
    "shared_text",
];

impl Files {
    fn create(folder: &Path) -> Result<Self, AnyError> {
        let table_path = folder.join("pairs.csv");
        let table = File::create(&table_path).map_err(FileError::io("write", &table_path))?;
        let mut files = Self {
            pairs: JsonlWriter::create(&folder.join("pairs.jsonl"))?,
            table: BufWriter::new(table),
            table_path,
            unreadable: JsonlWriter::create(&folder.join("unreadable.jsonl"))?,
        };
        files.line(COLUMNS.iter().map(|name| (*name).to_owned()))?;
        Ok(files)
    }

    fn line(&mut self, cells: impl Iterator<Item = String>) -> Result<(), FileError> {
        let line = cells.map(|text| cell(&text)).collect::<Vec<_>>().join(",") + "\r\n";
        self.table.write_all(line.as_bytes()).map_err(FileError::io("write", &self.table_path))
    }

    fn pair(&mut self, pair: &Pair) -> Result<(), AnyError> {
        self.pairs.append(pair)?;
        let language = |language: Option<Language>| language.map_or_else(String::new, |language| language.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut cells = Vec::new();
        for side in [&pair.training, &pair.benchmark] {
            cells.extend([side.source.clone(), side.record.to_string(), side.id.clone()]);
            cells.extend([language(side.language), text(&side.picture)]);
        }
        cells.push(pair.reason_names().join(" "));
        cells.push(pair.distance.map_or_else(String::new, |bits| bits.to_string()));
        cells.push(pair.difference.map_or_else(String::new, |difference| format!("{difference:.2}")));
        cells.extend([text(&pair.shared_id), text(&pair.shared_text)]);
        Ok(self.line(cells.into_iter())?)
    }

    fn unreadable(&mut self, row: &Fingerprint) -> Result<(), AnyError> {
        row.problems.iter().try_for_each(|problem: &Skip| self.unreadable.append(problem))?;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.table.flush()
    }
}

/// A cell of a CSV file (RFC 4180).
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
