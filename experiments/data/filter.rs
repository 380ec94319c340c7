//! `data filter`: which scored rows are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::Instant;

use burn_vlm_base::files::{FileError, publish_dir, temp_dir_for, write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_base::progress::Reporter;
use burn_vlm_base::suggest::hint;
use burn_vlm_data::pipeline::filter::{
    Cuts, FilterReport, OfLanguage, Rejection, Scored, Shown, filter_page, language_of,
};
use burn_vlm_data::pipeline::{RowWriter, said};
use burn_vlm_data::random::mix;
use burn_vlm_data::source::{FileSource, Row, Skip, Source};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::opened::{FileArgs, FirstRows, open_files, paced};
use super::row_mixture::row_mixture;
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// Rows that are read at once.
const WINDOW: u64 = 256;
/// The usual field of a row's language.
const LANGUAGE: &str = "language";
/// What rows that are kept are written to, and those that are not.
const KEPT: &str = "kept.jsonl";
const REJECTED: &str = "rejected.jsonl";
/// Where those are named that cannot be read at all.
const UNREADABLE: &str = "unreadable.jsonl";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "filter scored.jsonl --threshold 0.85 --out runs/filtered",
            "what `data score` wrote: keep scores of at least 0.85",
        ),
        (
            "data",
            "filter scored.jsonl --threshold 0.85,hi=0.7,ja=0.8 --out runs/filtered",
            "another threshold for some languages",
        ),
        (
            "data",
            "filter scored.jsonl --quantile 0.5 --out runs/filtered",
            "the better half of each language, since scores of two languages are not comparable",
        ),
        (
            "data",
            "filter scored.jsonl --threshold 0.85 --exclude excluded.jsonl --out runs/filtered",
            "without the rows that `data overlap --write-excluded` found in a benchmark",
        ),
    ];
    let more = "DIR has kept.jsonl and rejected.jsonl (with the reason of each row), mixture.toml (kept.jsonl as a source to train on), \
                filter.html (a random sheet of both, and histograms) and filter.json.";
    examples(&lines, more)
}

/// Keep the rows whose score is good enough
///
/// By one threshold, one for each language, or a quantile of each language's scores. Tells what is kept by language, why the rest is not,
/// what 0.75, 0.80, 0.85 and 0.90 would keep, and writes a random sheet of both for people to read. No row is lost: what is not kept is
/// written with its reason.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct FilterArgs {
    /// The scored rows: a file, several ('{a,b}.jsonl', 'data/*.parquet'), or a folder
    path: String,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The field or column with the score
    #[arg(long, value_name = "NAME", default_value = "quality")]
    score: String,

    /// The field or column with each row's language
    #[arg(long, value_name = "NAME", default_value = LANGUAGE)]
    language_field: String,

    /// Keep scores of at least T; LANGUAGE=T for one of them; several with commas between
    #[arg(
        long,
        value_name = "[LANGUAGE=]T",
        value_delimiter = ',',
        required_unless_present = "quantile",
        allow_hyphen_values = true
    )]
    threshold: Vec<OfLanguage>,

    /// Keep all but that part (0 to 1) of each language's scores, the lowest; LANGUAGE=Q for one of them
    #[arg(long, value_name = "[LANGUAGE=]Q", value_delimiter = ',')]
    quantile: Vec<OfLanguage>,

    /// Scores must be above the threshold, not equal to it
    #[arg(long)]
    strict: bool,

    /// Rows that are not kept whatever their score, one JSON object with an `id` a line, as `data overlap --write-excluded` writes them
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,

    /// Texts on the sheet [default: what there is of source, source_turns, translation, reference, caption, conversations]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    show: Vec<String>,

    /// Rows of the sheet, so many kept and so many rejected
    #[arg(long, value_name = "N", default_value_t = 30)]
    sheet: usize,

    /// Decides which
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    files: FileArgs,
}

/// A line of `--exclude`.
#[derive(Deserialize)]
struct ToExclude {
    id: String,
}

/// Some rows that a sheet shows: those with the least random numbers so far.
struct Drawn {
    most: usize,
    seed: u64,
    /// By random number, each with the number of its record.
    rows: BTreeMap<u64, (u64, Shown)>,
}

/// Runs the command.
pub(super) fn run(args: &FilterArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let cuts = Cuts::new(&args.threshold, &args.quantile, args.strict)?;
    let excluded = args.excluded()?;
    let source = args.open()?;
    // Rows need not have the usual one.
    if args.language_field != LANGUAGE {
        FirstRows::of(&args.path, &source, WINDOW).must_have(&[("--language-field", &args.language_field)])?;
    }
    let mut scores = args.scores(&source, reporter)?;
    let thresholds = cuts.thresholds(&mut scores).map_err(|error| format!("{}: {error}", args.path))?;
    let mut report = FilterReport::new(&args.score, &cuts, &scores, &thresholds);
    let folder = temp_dir_for(&args.out)?;
    let mut kept = RowWriter::create(folder.path(), KEPT, &source)?;
    let mut rejected = RowWriter::create(folder.path(), REJECTED, &source)?;
    let mut sheets = [0, 1].map(|sheet| Drawn { most: args.sheet, seed: mix(args.seed, sheet), rows: BTreeMap::new() });
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut unread = Vec::new();
    args.each(&source, kept.needs_pictures(), "writing", reporter, |record, row| {
        let (row, unreadable) = match row {
            Ok(row) => (row, None),
            // What of it can be read is written with the reason.
            Err(skip) => match source.texts(&[record]).pop() {
                Some(Ok(row)) => (row, Some(skip)),
                _ => {
                    report.unreadable += 1;
                    unread.push(*skip);
                    return Ok(());
                }
            },
        };
        let language = language_of(&row, &args.language_field);
        let scored = Scored::of(&row, &args.score);
        let threshold = thresholds.get(&language).copied().unwrap_or(f64::INFINITY);
        let (rejection, detail) = match (&scored, unreadable) {
            _ if excluded.contains(&row.id) => {
                used.insert(row.id.clone());
                (Some(Rejection::Excluded), None)
            }
            (_, Some(skip)) => (Some(Rejection::Unreadable), Some(skip.to_string())),
            (Scored::Missing(why), _) => (Some(Rejection::NoScore), why.clone()),
            (Scored::Undefined(what), _) => (Some(Rejection::Undefined), Some(what.clone())),
            (Scored::Score(score), _) if cuts.keeps(*score, threshold) => (None, None),
            (Scored::Score(_), _) => (Some(Rejection::BelowThreshold), None),
        };
        report.add(&language, rejection);
        let score = match scored {
            Scored::Score(score) => Some(score),
            _ => None,
        };
        let shown = |why: Option<String>| args.shown(&row, &language, score, why);
        match rejection {
            None => {
                sheets[0].offer(record, || shown(None));
                kept.write(&row, Map::new())?;
            }
            Some(reason) => {
                let why = detail.as_ref().map_or_else(
                    || reason.as_str().replace('_', " "),
                    |detail| format!("{}: {detail}", reason.as_str().replace('_', " ")),
                );
                sheets[1].offer(record, || shown(Some(why)));
                let mut about = json!({ "reason": reason.as_str() });
                if let Some(detail) = detail {
                    about["detail"] = json!(detail);
                }
                if reason == Rejection::BelowThreshold && threshold.is_finite() {
                    about["threshold"] = json!(threshold);
                }
                // A rejected row is for people; its pictures stay where they are.
                let row = Row { media: Vec::new(), ..row };
                rejected.write(&row, Map::from_iter([("rejected".to_owned(), about)]))?;
            }
        }
        Ok(())
    })?;
    kept.finish()?;
    rejected.finish()?;
    if !unread.is_empty() {
        write_jsonl_atomic(&folder.path().join(UNREADABLE), &unread)?;
    }
    let [kept_sheet, rejected_sheet] = sheets.map(|sheet| with_pictures(&source, sheet.rows()));
    let page = filter_page(&format!("{}, filtered", args.path), &report, &kept_sheet, &rejected_sheet);
    write_atomic(&folder.path().join("filter.html"), page.as_bytes())?;
    write_json_atomic(&folder.path().join("filter.json"), &report)?;
    let trains = row_mixture(&source, folder.path(), &args.out, KEPT, &args.language_field)?;
    publish_dir(folder.path(), &args.out)?;
    writeln!(out, "{report}")?;
    if let Some(first) = unread.first() {
        writeln!(out, "rows that cannot be read: {}, the first: {first}", args.out.join(UNREADABLE).display())?;
    }
    let unused = excluded.len() - used.len();
    if unused > 0 {
        writeln!(out, "{unused} of {} ids to exclude are of no row here", excluded.len())?;
    }
    writeln!(out, "sheet of kept and rejected rows: {}", args.out.join("filter.html").display())?;
    writeln!(out, "{trains}")?;
    Ok(())
}

impl FilterArgs {
    fn open(&self) -> Result<FileSource, AnyError> {
        let mut more = vec![self.score.clone(), self.language_field.clone()];
        more.extend(self.files.column.iter().chain(&self.show).cloned());
        let config = self.files.of(&self.path, &more);
        Ok(open_files(config)?)
    }

    /// The ids of all lists.
    fn excluded(&self) -> Result<BTreeSet<String>, AnyError> {
        let mut ids = BTreeSet::new();
        for path in &self.exclude {
            let file = std::fs::File::open(path).map_err(FileError::io("read", path))?;
            for (number, line) in BufReader::new(file).lines().enumerate() {
                let line = line.map_err(FileError::io("read", path))?;
                if line.trim().is_empty() {
                    continue;
                }
                let ToExclude { id } = serde_json::from_str(&line).map_err(|source| FileError::Json {
                    path: path.clone(),
                    line: Some(number + 1),
                    source,
                })?;
                ids.insert(id);
            }
        }
        Ok(ids)
    }

    /// Shows every row with a bar; with their pictures where they have to be there.
    fn each(
        &self,
        source: &FileSource,
        pictures: bool,
        label: &str,
        reporter: &Reporter,
        mut each: impl FnMut(u64, Result<Row, Box<Skip>>) -> Result<(), AnyError>,
    ) -> Result<(), AnyError> {
        let (total, began) = (source.len(), Instant::now());
        let bar = reporter.bar(label, total);
        for begin in (0..total).step_by(WINDOW as usize) {
            let records: Vec<u64> = (begin..total.min(begin + WINDOW)).collect();
            let rows = if pictures { source.rows(&records) } else { source.texts(&records) };
            for (record, row) in records.iter().zip(rows) {
                each(*record, row)?;
            }
            paced(&bar, begin + records.len() as u64, total, began);
        }
        Ok(())
    }

    /// The scores by language.
    fn scores(&self, source: &FileSource, reporter: &Reporter) -> Result<BTreeMap<String, Vec<f64>>, AnyError> {
        let mut scores: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut names: BTreeSet<String> = BTreeSet::new();
        self.each(source, false, "reading scores", reporter, |_, row| {
            let Ok(row) = row else { return Ok(()) };
            let of = scores.entry(language_of(&row, &self.language_field)).or_default();
            if let Scored::Score(score) = Scored::of(&row, &self.score) {
                of.push(score);
            }
            if !names.contains(&self.score) {
                names.extend(row.fields.keys().cloned());
            }
            Ok(())
        })?;
        if !names.contains(&self.score) && !names.is_empty() {
            let close = hint(&self.score, names.iter().map(String::as_str));
            return Err(format!("{}: no row has {:?} (--score){close}", self.path, self.score).into());
        }
        Ok(scores)
    }

    /// A row on the sheet.
    fn shown(&self, row: &Row, language: &str, score: Option<f64>, rejected: Option<String>) -> Shown {
        const USUAL: [&str; 6] = ["source", "source_turns", "translation", "reference", "caption", "conversations"];
        let text = |name: &str| match row.fields.get(name)? {
            Value::Null => None,
            other => Some((name.to_owned(), said(other).map_or_else(|| other.to_string(), str::to_owned))),
        };
        let texts = match self.show.as_slice() {
            [] => USUAL.iter().filter_map(|name| text(name)).collect(),
            names => names.iter().filter_map(|name| text(name)).collect(),
        };
        let (id, language) = (row.id.clone(), language.to_owned());
        Shown { id, language, score, rejected, texts, media: Vec::new() }
    }
}

/// The rows with their pictures, where these can be read.
fn with_pictures(source: &FileSource, rows: Vec<(u64, Shown)>) -> Vec<Shown> {
    let with = |(record, shown): (u64, Shown)| match source.rows(&[record]).pop() {
        Some(Ok(row)) => Shown { media: row.media, ..shown },
        _ => shown,
    };
    rows.into_iter().map(with).collect()
}

impl Drawn {
    /// Takes the row if it is among those of the sheet so far.
    fn offer(&mut self, record: u64, shown: impl FnOnce() -> Shown) {
        let key = mix(self.seed, record);
        let last = self.rows.keys().next_back().copied();
        if self.rows.len() < self.most || last.is_some_and(|last| key < last) {
            self.rows.insert(key, (record, shown()));
            if self.rows.len() > self.most {
                self.rows.pop_last();
            }
        }
    }

    /// The rows in the order of their source.
    fn rows(self) -> Vec<(u64, Shown)> {
        let mut rows: Vec<(u64, Shown)> = self.rows.into_values().collect();
        rows.sort_by_key(|(record, _)| *record);
        rows
    }
}
