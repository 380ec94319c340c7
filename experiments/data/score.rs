//! `data score`: the quality of translations by COMETKiwi or XCOMET, as a column.
//!
//! Unusual here:
//! - every outcome goes to a log as soon as it is known, under a hash of what decides on it (texts, model, settings): a run that was killed
//!   goes on, and equal rows are scored once;
//! - the score is stored, and nothing is left out for it: what is kept is decided later, where the score can be looked at.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn_vlm_base::files::{FileError, create_dir_all, write_atomic_with, write_json_atomic};
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_base::stop;
use burn_vlm_data::pipeline::said;
use burn_vlm_data::source::{FileSource, Row, Skip, Source, SourceConfig};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::error::TrainError;
use burn_vlm_train::quality::{
    BATCH_TOKENS, LongText, Outcome, Pair, QualityFolder, QualityModel, QualityOptions, Score,
};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::opened::{FirstRows, open_files};
use super::references::{TokenizerArgs, Which};
use super::score_counts::Counts;
use super::score_reference;
use crate::AnyError;
use crate::call::examples;
use crate::signals::stop_after;

/// Rows that are read, and arranged by length, at once.
pub(super) const WINDOW: u64 = 2048;
/// Characters of a model's hash that records have.
const SHORT_HASH: usize = 16;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "score pairs.jsonl --model wmt22-cometkiwi-da --encoder infoxlm-large --out scored.jsonl",
            "the fields `source` and `translation` of each record",
        ),
        (
            "data",
            "score pairs.tsv --model XCOMET-XL --encoder xlm-roberta-xl --source en --translation de --reference human --out scored.jsonl",
            "by columns of other names, with references and error spans",
        ),
        (
            "data",
            "score captions.parquet --model DIR --long sentences --keep image_url --out scored.jsonl",
            "what is too long sentence by sentence, and a column that is kept",
        ),
        (
            "data",
            "score pairs.tsv --metric chrf --reference human --language-field lang --out scored.jsonl",
            "chrF against a reference, 0 to 1, where there is one",
        ),
    ];
    let more = "Running the same command again continues where it stopped. MODEL has hparams.yaml and checkpoints/model.ckpt; the encoder's \
                folder has config.json and tokenizer.json (or sentencepiece.bpe.model).";
    examples(&lines, more)
}

/// Score translations with COMETKiwi or XCOMET, or against references, and store the score as a column
///
/// Reads pairs of texts from JSON, JSONL, TSV or parquet, in the order of the file, and writes them as JSONL with a score, or with why
/// there is none. Pictures are not looked at.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct ScoreArgs {
    /// A file, several ('{a,b}.jsonl', 'data/*.parquet'), or a folder
    pub(super) path: String,

    /// The metric's folder as its repository has it: hparams.yaml and checkpoints/model.ckpt
    #[arg(long, value_name = "DIR", required_unless_present = "metric")]
    model: Option<PathBuf>,

    /// Compare with --reference by this metric instead: its score divided by 100, of TER what is left of 1
    #[arg(long, value_enum, value_name = "METRIC", requires = "reference", conflicts_with = "model")]
    metric: Option<Which>,

    /// The folder with config.json and tokenizer of the encoder that the metric was made from [default: encoder in --model]
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// The file to write (.jsonl); its log is beside it, FILE.log.jsonl
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,

    /// The field or column with the source: a text, or a conversation, whose last answer it is
    #[arg(long, value_name = "NAME", default_value = "source")]
    source: String,

    /// The same with the translation
    #[arg(long, value_name = "NAME", default_value = "translation")]
    pub(super) translation: String,

    /// The field or column with a reference, for models that read one; a row without one is scored without. With --metric it may have
    /// several, as a list, and texts by the tags of languages
    #[arg(long, value_name = "NAME")]
    pub(super) reference: Option<String>,

    /// With --metric: the field or column with each row's language
    #[arg(long, value_name = "NAME", default_value = "language", requires = "metric")]
    pub(super) language_field: String,

    #[command(flatten)]
    pub(super) tokenizers: TokenizerArgs,

    /// What becomes of pairs that are longer than the model reads
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Long::Truncate)]
    long: Long,

    /// What the score is called in the output
    #[arg(long, value_name = "NAME", default_value = "quality")]
    pub(super) column: String,

    /// A further column of a parquet file that the output shall have; several times for several
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,

    /// Most tokens of a batch, padding counted
    #[arg(long, value_name = "N", default_value_t = BATCH_TOKENS)]
    batch_tokens: usize,

    /// Score only the first N rows; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u64,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
}

/// `--long`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Long {
    /// Cut as COMET does, which cuts the source first
    Truncate,
    /// Mean over the sentences, the least beside it, where both sides have equally many
    Sentences,
    /// No score
    Reject,
}

impl Long {
    fn setting(self) -> LongText {
        match self {
            Self::Truncate => LongText::Truncate,
            Self::Sentences => LongText::Sentences,
            Self::Reject => LongText::Reject,
        }
    }
}

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
struct Logged {
    /// Of texts, model and settings.
    key: String,
    /// The row that was scored; equal rows share the line.
    id: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// What a line of the log is found by.
#[derive(Debug, Deserialize)]
struct Key {
    key: String,
}

/// A row's texts.
struct Texts {
    id: String,
    key: u128,
    source: String,
    translation: String,
    reference: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &ScoreArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    if let Some(metric) = args.metric {
        return score_reference::run(args, metric, out, reporter);
    }
    let log_path = beside(&args.out, ".log.jsonl");
    args.check(&log_path)?;
    let source = args.open()?;
    let model = args.model.as_deref().ok_or("name what scores: --model DIR, or --metric and --reference")?;
    let folder = QualityFolder::open(model, args.encoder.as_deref())?;
    let config = folder.config();
    if args.reference.is_some() && !config.takes_references() {
        let texts = "translation and source alone";
        return Err(format!("--reference: this model ({}) reads {texts}; leave it out", model.display()).into());
    }
    let about = json!({
        "model": model.display().to_string(),
        "pretrained_model": folder.files().pretrained_model,
        "class": config.class,
        "fingerprint": folder.fingerprint(),
        "burn_vlm": env!("CARGO_PKG_VERSION"),
        "long": args.long.setting(),
        "max_tokens": config.encoder.max_tokens(),
    });
    let scorer = Scorer { args, source: &source, settings: settings(&folder, args.long.setting()) };
    args.check_columns(&source)?;
    let lock = beside(&args.out, ".lock");
    let _lock = match FileLock::try_take(&lock)? {
        Attempt::Taken(lock) => lock,
        Attempt::Busy(who) => {
            return Err(
                format!("{}: {who} is writing it; wait for it, or name another --out", args.out.display()).into()
            );
        }
    };
    stop_after("the batch that is being scored");
    scorer.score(folder, &log_path, reporter)?;
    let counts = scorer.write(&log_path, &about)?;
    counts.tell(&args.out, out)?;
    let mut summary = json!({ "source": args.path, "scorer": about, "counts": counts });
    summary["columns"] = json!({ "source": args.source, "translation": args.translation, "reference": args.reference });
    write_json_atomic(&beside(&args.out, ".summary.json"), &summary)?;
    Ok(())
}

impl ScoreArgs {
    /// `mark` is there where the file is one's own.
    pub(super) fn check(&self, mark: &Path) -> Result<(), AnyError> {
        if self.out.extension().is_none_or(|ending| ending != "jsonl") {
            return Err(format!("--out {}: expected a name that ends in .jsonl", self.out.display()).into());
        }
        if self.batch_tokens == 0 {
            return Err("--batch-tokens: expected at least 1".into());
        }
        // Without its log the file is somebody else's.
        if self.out.exists() && !mark.exists() {
            return Err(
                format!("{} is there already; name another file, or remove it first", self.out.display()).into()
            );
        }
        if let Some(folder) = self.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            create_dir_all(folder)?;
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Result<FileSource, AnyError> {
        let mut config = SourceConfig::new("pairs", self.path.as_str());
        // References are compared with the translation alone.
        let own = if self.metric.is_some() { &self.language_field } else { &self.source };
        config.fields.more = [own, &self.translation].into_iter().cloned().collect();
        config.fields.more.extend(self.reference.iter().chain(&self.keep).cloned());
        Ok(open_files(config)?)
    }

    /// The columns must be there in one of the first rows, and that of the score must not.
    pub(super) fn check_columns(&self, source: &FileSource) -> Result<(), AnyError> {
        let named = [
            ("--source", Some(&self.source).filter(|_| self.metric.is_none())),
            ("--translation", Some(&self.translation)),
            ("--reference", self.reference.as_ref()),
        ];
        let named: Vec<_> = named.into_iter().filter_map(|(option, name)| Some((option, name?.as_str()))).collect();
        let first = FirstRows::of(&self.path, source, self.rows(source).min(WINDOW));
        first.must_have(&named)?;
        first.must_lack("--column", &self.column)
    }

    /// How many rows are scored.
    pub(super) fn rows(&self, source: &FileSource) -> u64 {
        if self.limit == 0 { source.len() } else { source.len().min(self.limit) }
    }
}

/// All that decides on an outcome beside the texts.
fn settings(folder: &QualityFolder, long: LongText) -> Vec<u8> {
    format!("1\n{}\n{long:?}", folder.fingerprint()).into_bytes()
}

/// A file beside another, of its name and an ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

struct Scorer<'a> {
    args: &'a ScoreArgs,
    source: &'a FileSource,
    settings: Vec<u8>,
}

impl Scorer<'_> {
    /// The texts of some rows; what cannot be read is left to [`Self::write`].
    fn texts(&self, rows: Vec<Result<Row, Box<Skip>>>) -> Vec<Texts> {
        rows.into_iter().flatten().map(|row| self.of_row(&row)).collect()
    }

    fn of_row(&self, row: &Row) -> Texts {
        let text = |name: &str| match row.fields.get(name) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            // A cell that looks like a number is one in JSON; of a conversation it is what the assistant says last.
            Some(other) => said(other).map_or_else(|| other.to_string(), str::to_owned),
        };
        let (source, translation) = (text(&self.args.source), text(&self.args.translation));
        let reference = self.args.reference.as_deref().map(text).filter(|text| !text.trim().is_empty());
        let mut hasher = blake3::Hasher::new();
        for part in [Some(self.settings.as_slice()), Some(source.as_bytes()), Some(translation.as_bytes())]
            .into_iter()
            .chain([reference.as_ref().map(String::as_bytes)])
        {
            // With its length, so that no two rows run together to the same; an absent part has none.
            hasher.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hasher.update(part.unwrap_or_default());
        }
        let hash = hasher.finalize();
        let key = hash.as_bytes().iter().take(16).fold(0, |key: u128, byte| (key << 8) | u128::from(*byte));
        Texts { id: row.id.clone(), key, source, translation, reference }
    }

    /// Scores what the log does not have.
    fn score(&self, folder: QualityFolder, log: &Path, reporter: &Reporter) -> Result<(), AnyError> {
        let mut known: HashSet<u128> = HashSet::new();
        let mut log = JsonlWriter::resume(log, |line: &Key| {
            known.extend(u128::from_str_radix(&line.key, 16));
            true
        })?;
        let total = self.args.rows(self.source);
        let options = QualityOptions { long: self.args.long.setting(), batch_tokens: self.args.batch_tokens };
        let mut progress = Progress { began: Instant::now(), rows: 0, tokens: 0 };
        let bar = reporter.bar("scoring", total);
        let mut folder = Some(folder);
        let mut model: Option<QualityModel> = None;
        for begin in (0..total).step_by(WINDOW as usize) {
            let end = total.min(begin + WINDOW);
            let mut texts = self.texts(self.source.texts(&(begin..end).collect::<Vec<_>>()));
            texts.retain(|text| known.insert(text.key));
            if !texts.is_empty() {
                // Only where there is something to score.
                if let Some(folder) = folder.take() {
                    model = Some(folder.load(&choose(self.args.device)?.device)?);
                    progress.began = Instant::now();
                }
                let Some(model) = &model else { return Ok(()) };
                let pairs: Vec<Pair<'_>> = texts.iter().map(Texts::pair).collect();
                let mut done = 0u64;
                model.score_each(&pairs, &options, |index, outcome| {
                    let Texts { id, key, .. } = &texts[index];
                    done += 1;
                    progress.rows += 1;
                    progress.tokens += match &outcome {
                        Outcome::Scored(score) => score.tokens as u64,
                        Outcome::Rejected { .. } => 0,
                    };
                    log.append(&Logged { key: format!("{key:032x}"), id: id.clone(), outcome })?;
                    // Rows of the window that are known already count from the beginning on.
                    let position = end - (texts.len() as u64 - done);
                    bar.set(position, progress.message(total - position));
                    if stop::asked() { Err(TrainError::Stopped) } else { Ok(()) }
                })?;
                log.sync()?;
            }
            bar.set(end, progress.message(total - end));
        }
        Ok(())
    }

    /// Writes all rows with what the log has of them.
    fn write(&self, log: &Path, about: &Value) -> Result<Counts, AnyError> {
        let mut log = Log::open(log)?;
        let mut counts = Counts::default();
        let total = self.args.rows(self.source);
        let mut failed: Option<AnyError> = None;
        let model = about["fingerprint"].as_str().unwrap_or_default().chars().take(SHORT_HASH).collect::<String>();
        write_atomic_with(&self.args.out, |file| {
            let mut file = BufWriter::new(file);
            for begin in (0..total).step_by(WINDOW as usize) {
                let rows = self.source.texts(&(begin..total.min(begin + WINDOW)).collect::<Vec<_>>());
                for row in rows {
                    counts.rows += 1;
                    let row = match row {
                        Ok(row) => row,
                        Err(skip) => {
                            counts.unreadable(&skip);
                            continue;
                        }
                    };
                    let found = log.get(self.of_row(&row).key).and_then(|found| {
                        found.ok_or_else(|| format!("{}: the log has no line of this row; run again", row.id).into())
                    });
                    match found {
                        Ok(outcome) => {
                            counts.add(&outcome);
                            serde_json::to_writer(&mut file, &self.record(row, &outcome, &model))?;
                            file.write_all(b"\n")?;
                        }
                        Err(error) => {
                            failed = Some(error);
                            return Err(io::Error::other("the log"));
                        }
                    }
                }
            }
            file.flush()
        })
        .map_err(|error| failed.take().unwrap_or_else(|| error.into()))?;
        Ok(counts)
    }

    /// A row with its score.
    fn record(&self, row: Row, outcome: &Outcome, model: &str) -> Map<String, Value> {
        let column = &self.args.column;
        let mut record = row.fields;
        record.entry("id").or_insert(Value::String(row.id));
        let mut about = serde_json::to_value(outcome).unwrap_or_default();
        about["model"] = json!(model);
        let score = match outcome {
            Outcome::Scored(Score { score, .. }) => json!(score),
            Outcome::Rejected { .. } => Value::Null,
        };
        record.insert(column.clone(), score);
        record.insert(format!("{column}_record"), about);
        record
    }
}

impl Texts {
    fn pair(&self) -> Pair<'_> {
        Pair { source: &self.source, translation: &self.translation, reference: self.reference.as_deref() }
    }
}

struct Progress {
    began: Instant,
    rows: u64,
    tokens: u64,
}

impl Progress {
    fn message(&self, left: u64) -> String {
        let elapsed = self.began.elapsed();
        let rate = |count: u64| count as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        let left = elapsed.mul_f64(left as f64 / self.rows.max(1) as f64);
        format!("{:.1} rows/s  {:.0} tok/s  ETA {}", rate(self.rows), rate(self.tokens), show_duration(left))
    }
}

/// The log, by keys: where each line begins and how long it is, 40 bytes a row.
struct Log {
    file: File,
    path: PathBuf,
    places: HashMap<u128, (u64, usize)>,
}

impl Log {
    fn open(path: &Path) -> Result<Self, AnyError> {
        let file = File::open(path).map_err(FileError::io("read", path))?;
        let mut reader = BufReader::new(&file);
        let (mut places, mut begin, mut line) = (HashMap::new(), 0, Vec::new());
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(FileError::io("read", path))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let Key { key } = serde_json::from_slice(&line).map_err(|source| FileError::Json {
                path: path.to_owned(),
                line: Some(places.len() + 1),
                source,
            })?;
            if let Ok(key) = u128::from_str_radix(&key, 16) {
                places.insert(key, (begin, length));
            }
            begin += length as u64;
        }
        Ok(Self { file, path: path.to_owned(), places })
    }

    fn get(&mut self, key: u128) -> Result<Option<Outcome>, AnyError> {
        let Some((begin, length)) = self.places.get(&key).copied() else { return Ok(None) };
        let mut line = vec![0; length];
        let mut read = || self.file.seek(SeekFrom::Start(begin)).and_then(|_| self.file.read_exact(&mut line));
        read().map_err(FileError::io("read", &self.path))?;
        let logged: Logged = serde_json::from_slice(&line).map_err(|source| FileError::Json {
            path: self.path.clone(),
            line: None,
            source,
        })?;
        Ok(Some(logged.outcome))
    }
}
