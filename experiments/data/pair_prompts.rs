//! `data pair-prompts`: conversations of translated captions, each with a request in its language.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn_vlm_base::files::{publish_dir, temp_dir_for, write_json_atomic};
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::progress::Reporter;
use burn_vlm_base::suggest::hint;
use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::filter::{NO_LANGUAGE, language_of};
use burn_vlm_data::pipeline::pair_prompts::Requests;
use burn_vlm_data::pipeline::{RowWriter, said};
use burn_vlm_data::sample::{Media, VIDEO_PLACEHOLDER};
use burn_vlm_data::source::{Fields, Row, Source, SourceConfig, SourceError};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::opened::{FileArgs, open_files, paced};
use super::row_mixture::row_mixture;
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// Rows that are read at once.
const WINDOW: u64 = 256;
/// The usual field with the answer.
const ANSWER: &str = "translation";
/// Where a conversation stands that is replaced by the new one, beside `conversations`.
const CONVERSATIONS: [&str; 2] = ["messages", "texts"];
/// What is written.
const PAIRED: &str = "paired.jsonl";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "pair-prompts runs/filtered/kept.jsonl --out runs/paired",
            "the field `translation` answers \"What is this?\" in the row's language",
        ),
        (
            "data",
            "pair-prompts captions.parquet --answer caption --requests requests.toml --out runs/paired",
            "your own requests, of which one is drawn for each row",
        ),
    ];
    let more = "The file of requests:\n\n  \
                [requests]\n  \
                de = [\"Beschreibe dieses Bild.\", \"Was ist hier zu sehen?\"]\n  \
                fr = [\"Décris cette image.\"]\n\n\
                A request is drawn by the seed and the row's id alone: neither the order of rows nor which of them are there changes it.";
    examples(&lines, more)
}

/// Make conversations of translated captions: a request in the language of each, and the translation as its answer
///
/// Rows without a picture, a translation, a known language or a request in it are not written, but counted and listed.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct PairPromptsArgs {
    /// The rows: a file, several ('{a,b}.jsonl', 'data/*.parquet'), or a folder
    path: String,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The field or column with the answer: a text, or a conversation, whose last answer it is. Without the option, of rows that have no
    /// `translation` their `conversations`
    #[arg(long, value_name = "NAME", default_value = ANSWER)]
    answer: String,

    /// The field or column with each row's language
    #[arg(long, value_name = "NAME", default_value = "language")]
    language_field: String,

    /// The requests of each language, a TOML file [default: the library's "What is this?" in 32 languages]
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,

    /// Decides which request a row gets
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    files: FileArgs,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Counts {
    rows: u64,
    paired: u64,
    seed: u64,
    answer: String,
    requests: String,
    /// How often each request was drawn, by language.
    drawn: BTreeMap<String, BTreeMap<String, u64>>,
    /// Rows that are not written, by why, and of each reason by language.
    left_out: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

/// A row that is not written.
#[derive(Serialize)]
struct LeftOut<'a> {
    record: u64,
    id: &'a str,
    language: &'a str,
    reason: &'static str,
    detail: String,
}

/// Why a row is not written, and what is there.
type Why = (&'static str, String);

/// Runs the command.
pub(super) fn run(args: &PairPromptsArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let requests = match &args.requests {
        Some(path) => Requests::from_file(path)?,
        None => Requests::own(),
    };
    let mut more = vec![args.answer.clone(), args.language_field.clone()];
    more.extend(args.files.column.iter().cloned());
    let config = args.files.of(&args.path, &more);
    let source = match open_files(config.clone()) {
        // A parquet file without any conversation: the answer is the caption.
        Err(SourceError::Column { .. }) => {
            let fields = Fields { caption: Some(args.answer.clone()), ..config.fields.clone() };
            open_files(SourceConfig { fields, ..config })?
        }
        opened => opened?,
    };
    let folder = temp_dir_for(&args.out)?;
    let mut writer = RowWriter::create(folder.path(), PAIRED, &source)?;
    let mut left_out = JsonlWriter::create(&folder.path().join("left_out.jsonl"))?;
    let origin = args.requests.as_ref().map_or_else(|| "built-in".to_owned(), |path| path.display().to_string());
    let mut counts = Counts {
        rows: source.len(),
        paired: 0,
        seed: args.seed,
        answer: args.answer.clone(),
        requests: origin,
        drawn: BTreeMap::new(),
        left_out: BTreeMap::new(),
    };
    let (total, began) = (source.len(), Instant::now());
    let bar = reporter.bar("pairing", total);
    let mut names: Vec<String> = Vec::new();
    for begin in (0..total).step_by(WINDOW as usize) {
        let records: Vec<u64> = (begin..total.min(begin + WINDOW)).collect();
        for (record, row) in records.iter().zip(source.rows(&records)) {
            let (id, language, paired) = match &row {
                Ok(row) => {
                    names.extend(row.fields.keys().filter(|_| begin == 0).cloned());
                    let language = language_of(row, &args.language_field);
                    (row.id.clone(), language, args.pair(row, &requests))
                }
                Err(skip) => {
                    let id = skip.id.clone().unwrap_or_else(|| skip.place.clone());
                    (id, NO_LANGUAGE.to_owned(), Err(("unreadable", skip.to_string())))
                }
            };
            match (paired, &row) {
                (Ok((request, more)), Ok(row)) => {
                    let mut row = row.clone();
                    CONVERSATIONS.iter().for_each(|name| drop(row.fields.remove(*name)));
                    writer.write(&row, more)?;
                    counts.paired += 1;
                    *counts.drawn.entry(language).or_default().entry(request).or_default() += 1;
                }
                (Err((reason, detail)), _) => {
                    left_out.append(&LeftOut { record: *record, id: &id, language: &language, reason, detail })?;
                    *counts.left_out.entry(reason).or_default().entry(language).or_default() += 1;
                }
                (Ok(_), Err(_)) => {}
            }
        }
        paced(&bar, begin + records.len() as u64, total, began);
    }
    if counts.paired == 0
        && !names.is_empty()
        && !names.contains(&args.answer)
        && !names.iter().any(|name| name == "conversations")
    {
        let close = hint(&args.answer, names.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>());
        return Err(format!("{}: none of the first rows has {:?} (--answer){close}", args.path, args.answer).into());
    }
    writer.finish()?;
    write_json_atomic(&folder.path().join("paired.json"), &counts)?;
    let trains = row_mixture(&source, folder.path(), &args.out, PAIRED, &args.language_field)?;
    publish_dir(folder.path(), &args.out)?;
    tell(&counts, &args.out, out)?;
    writeln!(out, "{trains}")?;
    Ok(())
}

fn tell(counts: &Counts, folder: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}: {} of {} rows", folder.join(PAIRED).display(), counts.paired, counts.rows)?;
    for (language, drawn) in &counts.drawn {
        let sum: u64 = drawn.values().sum();
        let most = drawn.values().max().copied().unwrap_or(0);
        let requests = if drawn.len() == 1 { "one request".to_owned() } else { format!("{} requests", drawn.len()) };
        writeln!(out, "  {language:8} {sum} with {requests}, the most frequent {most} times")?;
    }
    for (reason, languages) in &counts.left_out {
        let sum: u64 = languages.values().sum();
        let by: Vec<String> = languages.iter().map(|(language, count)| format!("{language} {count}")).collect();
        writeln!(out, "  left out {sum}: {} ({}); left_out.jsonl names them", reason.replace('_', " "), by.join(", "))?;
    }
    Ok(())
}

impl PairPromptsArgs {
    /// The request and the fields of the conversation.
    fn pair(&self, row: &Row, requests: &Requests) -> Result<(String, Map<String, Value>), Why> {
        let field = row.fields.get(&self.answer).or_else(|| {
            let usual = self.answer == ANSWER;
            row.fields.get("conversations").filter(|_| usual)
        });
        let answer = match field {
            Some(value) if said(value).is_some_and(|text| !text.trim().is_empty()) => {
                said(value).unwrap_or_default().trim()
            }
            None | Some(Value::Null | Value::String(_)) => {
                return Err(("no_answer", format!("{} is empty", self.answer)));
            }
            Some(_) => return Err(("no_answer", format!("{} is neither a text nor a conversation", self.answer))),
        };
        if row.media.is_empty() {
            return Err(("no_picture", "a captioning request needs a picture or a video".to_owned()));
        }
        let tag = language_of(row, &self.language_field);
        let language = Language::parse(&tag).map_err(|error| ("unknown_language", error.to_string()))?;
        let Some((_, request)) = requests.draw(language, &row.id, self.seed) else {
            return Err(("no_request", format!("there is no request in {tag}")));
        };
        let placeholder = |medium: &Media| match medium {
            Media::Image(_) => "<image>\n".to_owned(),
            Media::Video(_) => format!("{VIDEO_PLACEHOLDER}\n"),
        };
        let shown: String = row.media.iter().map(placeholder).collect();
        let turns = json!([
            { "from": "human", "value": format!("{shown}{request}") },
            { "from": "gpt", "value": answer },
        ]);
        let more = [("conversations".to_owned(), turns), (self.language_field.clone(), json!(language.tag()))];
        Ok((request.to_owned(), Map::from_iter(more)))
    }
}
