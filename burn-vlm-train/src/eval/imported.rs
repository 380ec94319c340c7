//! Replies that another system made: its predictions are scored as a model's own are.
//!
//! | file | what is read |
//! |---|---|
//! | `.jsonl`, `.json` | one object a reply: `id` (or `question_id`, `index`), and `prediction` (or `reply`, `text`, `answer`); a `benchmark` where several are scored |
//! | `..._samples_TASK.jsonl` | lmms-eval's samples: `doc_id`, the row of the file, and `resps` |
//! | `MODEL_DATASET.xlsx`, `.tsv` | VLMEvalKit's results: `index`, `prediction` |
//!
//! An item is found by its whole id (`mmmb/mmmb_en/7`), by `mmmb_en/7`, or by `7` alone where that is one item only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use burn_vlm_base::files::FileError;
use burn_vlm_base::shorten::shorten;
use burn_vlm_eval::Answer;
use burn_vlm_eval::ask::Reply;
use calamine::{Data, Reader};
use serde_json::Value;

use super::{Benchmark, Benchmarks};
use crate::error::{Result, TrainError};

/// Names of the fields that hold what an item is called.
const IDS: [&str; 3] = ["id", "question_id", "index"];
/// Names of the fields that hold the reply.
const REPLIES: [&str; 5] = ["prediction", "reply", "text", "answer", "resps"];
/// Ids that a message names.
const SHOWN: usize = 5;

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedReply {
    /// What it says the item is called.
    pub name: ItemName,
    /// The benchmark, where it says so.
    pub benchmark: Option<String>,
    /// The task in the name of lmms-eval's file: a benchmark's name or kind, or one with more behind it (`mmbench_en_dev`).
    pub task: Option<String>,
    /// The question that it is to, where it says so.
    pub question: Option<String>,
    /// The reply.
    pub reply: Reply,
    /// Where it stands.
    pub file: PathBuf,
    /// Its line or row, from 1.
    pub line: usize,
}

/// What a reply calls its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemName {
    /// By an id.
    Id(String),
    /// By the row of the published file, from 0.
    Row(u64),
}

/// Reads a file of replies.
///
/// # Errors
/// Names the file, and the line whose id or reply cannot be read.
pub fn read_predictions(path: &Path) -> Result<Vec<ImportedReply>> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "jsonl" | "ndjson" => json_lines(path),
        "json" => json(path),
        "xlsx" | "xls" | "ods" => spreadsheet(path),
        "tsv" => separated(path, b'\t'),
        "csv" => separated(path, b','),
        _ => Err(wrong(path, None, "expected .jsonl, .json, .xlsx, .tsv or .csv")),
    }
}

fn wrong(path: &Path, line: Option<usize>, message: &str) -> TrainError {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    TrainError::Data(format!("{}{line}: {message}", path.display()))
}

fn text_of_file(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(FileError::io("read", path))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn json_lines(path: &Path) -> Result<Vec<ImportedReply>> {
    let text = text_of_file(path)?;
    let mut replies = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = serde_json::from_str(line).map_err(|error| wrong(path, Some(number + 1), &error.to_string()))?;
        replies.push(of_object(path, number + 1, &value)?);
    }
    Ok(replies)
}

fn json(path: &Path) -> Result<Vec<ImportedReply>> {
    let text = text_of_file(path)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(path, None, &error.to_string()))?;
    match value {
        Value::Array(all) => all.iter().enumerate().map(|(at, value)| of_object(path, at + 1, value)).collect(),
        // {"7": "B", ...}
        Value::Object(all) => {
            let one = |(at, (id, reply)): (usize, (&String, &Value))| {
                let message = format!("the reply to {id:?} is no text");
                let reply = reply_of(reply).ok_or_else(|| wrong(path, None, &message))?;
                let name = ItemName::Id(id.clone());
                let (benchmark, task, question) = (None, None, None);
                Ok(ImportedReply { name, benchmark, task, question, reply, file: path.to_owned(), line: at + 1 })
            };
            all.iter().enumerate().map(one).collect()
        }
        _ => Err(wrong(path, None, "expected a list of objects, or an object from ids to replies")),
    }
}

fn of_object(path: &Path, line: usize, value: &Value) -> Result<ImportedReply> {
    let Value::Object(fields) = value else { return Err(wrong(path, Some(line), "expected an object")) };
    let id = IDS.iter().find_map(|name| match fields.get(*name)? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    });
    let name = match (id, fields.get("doc_id").and_then(Value::as_u64)) {
        (Some(id), _) => ItemName::Id(id),
        (None, Some(row)) => ItemName::Row(row),
        (None, None) => return Err(wrong(path, Some(line), &format!("expected one of {}, or doc_id", IDS.join(", ")))),
    };
    let reply = REPLIES.iter().find_map(|name| reply_of(fields.get(*name)?)).ok_or_else(|| {
        let there = shorten(&fields.keys().cloned().collect::<Vec<_>>().join(", "));
        wrong(path, Some(line), &format!("no reply: expected one of {} (there are {there})", REPLIES.join(", ")))
    })?;
    let benchmark = fields.get("benchmark").and_then(Value::as_str).map(str::to_owned);
    let question = fields.get("question").and_then(Value::as_str).map(str::to_owned);
    Ok(ImportedReply { name, benchmark, task: task_of(path), question, reply, file: path.to_owned(), line })
}

/// The task of lmms-eval's samples: the end of `2026_samples_mmstar.jsonl`.
fn task_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy();
    stem.rsplit_once("samples_").map(|(_, task)| task.to_owned())
}

/// A text, numbers (scores), or the first of lists of those.
fn reply_of(value: &Value) -> Option<Reply> {
    match value {
        Value::String(text) => Some(Reply::Text(text.clone())),
        Value::Number(number) => Some(Reply::Text(number.to_string())),
        Value::Bool(value) => Some(Reply::Text(value.to_string())),
        // An empty cell is an empty reply.
        Value::Null => Some(Reply::Text(String::new())),
        Value::Array(all) if !all.is_empty() && all.iter().all(Value::is_number) => {
            Some(Reply::Scores(all.iter().filter_map(Value::as_f64).collect()))
        }
        Value::Array(all) => reply_of(all.first()?),
        Value::Object(_) => None,
    }
}

/// A table with columns `index` and `prediction`.
fn table(path: &Path, mut rows: impl Iterator<Item = Result<Vec<String>>>) -> Result<Vec<ImportedReply>> {
    let head = rows.next().ok_or_else(|| wrong(path, None, "it is empty"))??;
    let column = |names: &[&str]| head.iter().position(|name| names.contains(&name.trim().to_lowercase().as_str()));
    let expected = |names: &[&str]| {
        let there = shorten(&head.join(", "));
        wrong(path, Some(1), &format!("no column {} (there are {there})", names.join(" or ")))
    };
    let id = column(&["index", "id", "question_id"]).ok_or_else(|| expected(&["index", "id"]))?;
    let reply = column(&["prediction", "reply"]).ok_or_else(|| expected(&["prediction", "reply"]))?;
    let (benchmark, question) = (column(&["benchmark"]), column(&["question"]));
    let mut replies = Vec::new();
    for (number, row) in rows.enumerate() {
        let row = row?;
        let cell = |at: usize| row.get(at).cloned().unwrap_or_default();
        if cell(id).is_empty() {
            return Err(wrong(path, Some(number + 2), "no index"));
        }
        replies.push(ImportedReply {
            name: ItemName::Id(cell(id)),
            benchmark: benchmark.map(cell).filter(|name| !name.is_empty()),
            task: None,
            question: question.map(cell).filter(|text| !text.is_empty()),
            reply: Reply::Text(cell(reply)),
            file: path.to_owned(),
            line: number + 2,
        });
    }
    Ok(replies)
}

fn separated(path: &Path, delimiter: u8) -> Result<Vec<ImportedReply>> {
    let fail = |error: csv::Error| wrong(path, None, &error.to_string());
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_path(path)
        .map_err(fail)?;
    let rows = reader.records().map(|row| Ok(row.map_err(fail)?.iter().map(str::to_owned).collect()));
    table(path, rows)
}

fn spreadsheet(path: &Path) -> Result<Vec<ImportedReply>> {
    let fail = |error: calamine::Error| wrong(path, None, &error.to_string());
    let mut book = calamine::open_workbook_auto(path).map_err(fail)?;
    let sheet = book.worksheet_range_at(0).ok_or_else(|| wrong(path, None, "it has no sheet"))?.map_err(fail)?;
    let cell = |cell: &Data| match cell {
        // Spreadsheets know one kind of number.
        Data::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
        other => other.to_string(),
    };
    table(path, sheet.rows().map(|row| Ok(row.iter().map(cell).collect())))
}

/// Replies by the items that they are to.
#[derive(Debug, Default)]
pub struct Matched {
    /// By benchmark, one answer a question; empty where there is no reply.
    pub answers: BTreeMap<String, Vec<Answer>>,
    /// By benchmark, how many questions have no reply.
    pub missing: BTreeMap<String, usize>,
    /// Replies to rows of the files that are not asked: the rules do not count them, or a limit leaves them out.
    pub unasked: usize,
}

/// Finds the item of each reply.
///
/// # Errors
/// A reply to no question of the benchmarks, or to one of several; two replies to one question.
pub fn match_predictions(benchmarks: &Benchmarks, replies: Vec<ImportedReply>) -> Result<Matched> {
    let index: Vec<Index<'_>> = benchmarks.iter().map(Index::new).collect();
    let mut answers: Vec<Vec<Option<ImportedReply>>> =
        benchmarks.iter().map(|benchmark| vec![None; benchmark.questions().len()]).collect();
    let mut unknown: Vec<ImportedReply> = Vec::new();
    let mut unasked = 0;
    for reply in replies {
        // The longest name that the task begins with: `mmmb_paired` is not `mmmb`.
        let meant = index.iter().filter_map(|index| index.begins(&reply)).max();
        let among = |index: &Index<'_>| index.begins(&reply) == meant || reply.task.is_none();
        let found: Vec<(usize, usize)> = index
            .iter()
            .enumerate()
            .filter(|(_, index)| among(index))
            .filter_map(|(at, index)| Some((at, index.find(&reply)?)))
            .collect();
        match found.as_slice() {
            [(at, number)] => {
                index[*at].check_question(*number, &reply)?;
                let place = &mut answers[*at][*number];
                if let Some(first) = place {
                    let message = format!("a second reply to {}; the first is in line {}", reply.shown(), first.line);
                    return Err(wrong(&reply.file, Some(reply.line), &message));
                }
                *place = Some(reply);
            }
            [] if index.iter().any(|index| index.leaves_out(&reply)) => unasked += 1,
            [] => unknown.push(reply),
            several => {
                let names: Vec<&str> = several.iter().map(|(at, _)| index[*at].benchmark.name()).collect();
                let message = format!(
                    "{} is a question of {}: say which by `benchmark`, or by the whole id",
                    reply.shown(),
                    names.join(" and of ")
                );
                return Err(wrong(&reply.file, Some(reply.line), &message));
            }
        }
    }
    if let Some(first) = unknown.first() {
        let some: Vec<String> = unknown.iter().take(SHOWN).map(ImportedReply::shown).collect();
        let of: Vec<String> =
            index.iter().filter_map(|index| index.benchmark.questions().first()).map(|q| q.id.clone()).collect();
        let message = format!(
            "{} replies are to none of the questions ({}); questions are called as {}",
            unknown.len(),
            some.join(", "),
            of.join(", ")
        );
        return Err(wrong(&first.file, Some(first.line), &message));
    }
    let mut matched = Matched { unasked, ..Matched::default() };
    for (benchmark, answers) in benchmarks.iter().zip(answers) {
        let missing = answers.iter().filter(|answer| answer.is_none()).count();
        let answer = |reply: Option<ImportedReply>| Answer { reply: reply.map(|reply| reply.reply), judge: None };
        matched.answers.insert(benchmark.name().to_owned(), answers.into_iter().map(answer).collect());
        if missing > 0 {
            matched.missing.insert(benchmark.name().to_owned(), missing);
        }
    }
    Ok(matched)
}

impl ImportedReply {
    fn shown(&self) -> String {
        match &self.name {
            ItemName::Id(id) => format!("{id:?}"),
            ItemName::Row(row) => format!("doc_id {row}"),
        }
    }
}

/// The questions of a benchmark by all that they may be called; what is called alike is found by nothing.
struct Index<'a> {
    benchmark: &'a dyn Benchmark,
    by_name: HashMap<String, Option<usize>>,
    by_row: HashMap<u64, usize>,
    unasked: HashSet<String>,
}

impl<'a> Index<'a> {
    fn new(benchmark: &'a dyn Benchmark) -> Self {
        let mut by_name: HashMap<String, Option<usize>> = HashMap::new();
        let mut by_row = HashMap::new();
        for (number, question) in benchmark.questions().iter().enumerate() {
            let mut names = vec![question.id.clone()];
            if let Some(item) = benchmark.published().and_then(|published| published.items().get(number)) {
                names.extend([item.id.clone(), item.index.clone()]);
                by_row.insert(item.row, number);
            }
            let own = format!("{}/", benchmark.name());
            names.extend(question.id.strip_prefix(&own).map(str::to_owned));
            names.sort_unstable();
            names.dedup();
            for name in names {
                by_name.entry(name).and_modify(|known| *known = None).or_insert(Some(number));
            }
        }
        let rows = benchmark.published().map_or(&[][..], |published| published.unasked());
        let own = |id: &String| {
            let index = id.rsplit('/').next().unwrap_or(id);
            [id.clone(), index.to_owned(), format!("{}/{id}", benchmark.name())]
        };
        Self { benchmark, by_name, by_row, unasked: rows.iter().flat_map(own).collect() }
    }

    /// Whether the reply is to a row that is there and not asked. Rows by number are all of them.
    fn leaves_out(&self, reply: &ImportedReply) -> bool {
        match &reply.name {
            _ if !self.may_be(reply) => false,
            ItemName::Id(id) => self.unasked.contains(id),
            ItemName::Row(_) => !self.unasked.is_empty(),
        }
    }

    /// Whether the reply is to this question by the text that stands beside it: another file of the benchmark has the same indices.
    ///
    /// # Errors
    /// It is to another one.
    fn check_question(&self, number: usize, reply: &ImportedReply) -> Result<()> {
        let items = self.benchmark.published().map_or(&[][..], |published| published.items());
        let (Some(item), Some(question)) = (items.get(number), &reply.question) else { return Ok(()) };
        // Spreadsheets lose marks and line breaks, and some write the whole prompt.
        let words = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        if words(question).contains(&words(&item.question)) {
            return Ok(());
        }
        let message = format!(
            "the reply to {} is to another question: {}, and {} asks {}",
            reply.shown(),
            shorten(question),
            item.id,
            shorten(&item.question)
        );
        Err(wrong(&reply.file, Some(reply.line), &message))
    }

    /// Its name, and its kind.
    fn names(&self) -> impl Iterator<Item = &str> {
        let kind = self.benchmark.published().map(|published| published.spec().name());
        std::iter::once(self.benchmark.name()).chain(kind)
    }

    /// How much of the reply's task is this benchmark's name or kind.
    fn begins(&self, reply: &ImportedReply) -> Option<usize> {
        let task = reply.task.as_deref()?;
        let is = |name: &&str| task.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        self.names().filter(is).map(str::len).max()
    }

    /// Whether the reply is to this benchmark by what it says of itself.
    fn may_be(&self, reply: &ImportedReply) -> bool {
        let named = reply.benchmark.as_deref().is_none_or(|named| self.names().any(|name| name == named));
        named && (reply.task.is_none() || self.begins(reply).is_some())
    }

    fn find(&self, reply: &ImportedReply) -> Option<usize> {
        if !self.may_be(reply) {
            return None;
        }
        match &reply.name {
            ItemName::Row(row) => self.by_row.get(row).copied(),
            ItemName::Id(id) => {
                let of_file = || {
                    // MODEL_DATASET.xlsx: the dataset's name is a file's.
                    let stem = reply.file.file_stem()?.to_string_lossy().to_lowercase();
                    let items = self.benchmark.published()?.items();
                    // `model_MMBench_DEV_EN` is not the file of a part `EN`, if there is one `MMBench_DEV_EN`.
                    let fits = |part: &str| {
                        let before = stem.strip_suffix(&part.to_lowercase());
                        before.is_some_and(|before| before.is_empty() || before.ends_with('_'))
                    };
                    let of_index = items.iter().enumerate().filter(|(_, item)| item.index == *id && fits(&item.part));
                    of_index.max_by_key(|(_, item)| item.part.len()).map(|(number, _)| number)
                };
                self.by_name.get(id).copied().flatten().or_else(of_file)
            }
        }
    }
}
