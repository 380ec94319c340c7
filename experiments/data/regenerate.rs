//! `data regenerate`: captions, questions and answers from the pictures of a source, by an endpoint or a model on this machine.
//!
//! As in `data translate`, whatever comes back is in a log at once, checks look at the log, and the result is a source to train on.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use burn_vlm_base::files::{write_atomic, write_atomic_with};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::regeneration::{PictureTask, Prompts, RegenerationPlan, check};
use burn_vlm_data::pipeline::translation::{CaptionRequests, LanguageNames};
use burn_vlm_data::pipeline::{End, MadeError, MadeSample, MadeWriter, Outcome, Record, RecordLog, Reply};
use burn_vlm_data::sample::Sample;
use clap::Args;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::asking::{AskArgs, Asked, Reading, own_log};
use super::export::{Languages, languages};
use super::made_report::{Counts, Report, unreadable};
use super::rows_of::{RowArgs, Rows};
use super::translate::own_requests;
use crate::AnyError;
use crate::call::examples;

/// What the file of what was made is called.
const NAME: &str = "regenerated";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "regenerate pictures.jsonl --model llava-1.5-7b-hf --languages en,de --out runs/regenerated",
            "a caption or questions of each picture in one of two languages, by a model on this machine",
        ),
        (
            "data",
            "regenerate mixture.toml --endpoint http://localhost:8000/v1 --endpoint-model qwen --prompts prompts.toml --licence Apache-2.0 --out runs/regenerated",
            "by prompts of one's own, with the generator's licence in each record",
        ),
        (
            "data",
            "regenerate pictures.jsonl --model llava-1.5-7b-hf --out runs/regenerated --write-prompts prompts.toml",
            "the program's prompts, as a file to change",
        ),
    ];
    let more = "Running the same command again continues where it stopped, and asks nothing twice. The folder then has regenerated.jsonl and\n\
                mixture.toml to train on, left_out.jsonl with the reason of each, report.md and report.json, and log.jsonl.";
    examples(&lines, more)
}

/// Write new captions, questions and answers from the pictures of a source, and check every one
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct RegenerateArgs {
    #[command(flatten)]
    rows: RowArgs,

    /// The folder to write; the log in it keeps what was asked before
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Languages to write in, by tag, or a set of them, with commas between; one is drawn for each row
    #[arg(long, value_name = "TAGS", default_value = "en", value_parser = languages)]
    languages: Languages,

    /// What is asked: a TOML file of prompts with their weights and the forms of their answers [default: the program's own]
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,

    /// Write the program's own prompts to this file, to be changed, and end
    #[arg(long, value_name = "FILE")]
    write_prompts: Option<PathBuf>,

    /// Decides which prompt and which language a row gets
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    /// Send the form of answers in JSON as a schema, to endpoints that hold the model to it
    #[arg(long, requires = "endpoint")]
    schema: bool,

    /// Requests for captions: a TOML file with a list of texts for each tag [default: "What is this?" in 32 languages]
    #[arg(long, value_name = "FILE", conflicts_with = "no_requests")]
    requests: Option<PathBuf>,

    /// Leave the user's turn of a caption as it is: the picture alone
    #[arg(long)]
    no_requests: bool,

    /// The licence of what the generator writes, for the records
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,

    #[command(flatten)]
    ask: AskArgs,
}

/// Runs the command.
pub(super) fn run(args: &RegenerateArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    if let Some(path) = &args.write_prompts {
        if path.exists() {
            return Err(format!("--write-prompts {}: it is there already; name another file", path.display()).into());
        }
        write_atomic(path, Prompts::DEFAULT.as_bytes())?;
        return Ok(writeln!(out, "{}: change it, and name it by --prompts", path.display())?);
    }
    let plan = args.plan()?;
    let rows = args.rows.open(None)?;
    let mut log = own_log(&args.out)?;
    let work = Work { args, plan: &plan, rows: &rows };
    let asked = work.ask(&mut log, reporter)?;
    asked.notes.iter().for_each(|note| reporter.warn(note));
    if args.ask.dry_run().is_some() {
        asked.check()?;
        // Rows that cannot be asked about are among them: it is a forecast.
        let left = rows.len().saturating_sub(log.len() as u64);
        return Ok(args.ask.forecast(&asked, left, out)?);
    }
    if asked.end == End::Stopped {
        let path = args.out.display();
        writeln!(out, "{path}: stopped; run the same command again to go on. {} answers are kept", log.len())?;
        return Ok(());
    }
    let report = work.write(&mut log, &asked)?;
    report.tell(&args.out, out)?;
    asked.check()
}

impl RegenerateArgs {
    fn plan(&self) -> Result<RegenerationPlan, AnyError> {
        let prompts = match &self.prompts {
            None => Prompts::of_this_library()?,
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| format!("--prompts {}: {error}", path.display()))?;
                Prompts::parse(&text).map_err(|error| format!("--prompts {}: {error}", path.display()))?
            }
        };
        let own = self.requests.as_deref().map(own_requests).transpose()?;
        Ok(RegenerationPlan {
            prompts,
            languages: self.languages.0.clone(),
            seed: self.seed,
            names: LanguageNames::default(),
            settings: self.ask.settings()?,
            model: self.ask.name()?,
            schema: self.schema,
            requests: match self.no_requests {
                true => CaptionRequests::none(),
                false => CaptionRequests::new(self.seed, own.unwrap_or_else(BTreeMap::new)),
            },
        })
    }
}

struct Work<'a> {
    args: &'a RegenerateArgs,
    plan: &'a RegenerationPlan,
    rows: &'a Rows,
}

impl Work<'_> {
    fn ask(&self, log: &mut RecordLog, reporter: &Reporter) -> Result<Asked, AnyError> {
        let rows = self.rows.len();
        // A dry run asks rows from all of them: the first of a file are often alike.
        let apart = self.args.ask.dry_run().map_or(1, |most| (rows / most).max(1));
        let sampled = self.rows.walk().step_by(usize::try_from(apart).unwrap_or(usize::MAX));
        let tasks = sampled.flatten().filter_map(move |sample| Some(self.plan.task(&sample).ok()?.task));
        let reading = Reading { rows, read: &self.rows.read };
        self.args.ask.ask(log, tasks, &check, &reading, reporter)
    }

    /// The files of the result.
    fn write(&self, log: &mut RecordLog, asked: &Asked) -> Result<Report, AnyError> {
        let out = &self.args.out;
        let mut counts = Counts::default();
        let mut made = MadeWriter::create(out, NAME)?;
        let mut prompts: BTreeMap<String, u64> = BTreeMap::new();
        let mut failed: Option<AnyError> = None;
        write_atomic_with(&out.join("left_out.jsonl"), |file| {
            let mut file = BufWriter::new(file);
            for sample in self.rows.walk() {
                let sample = match sample {
                    Ok(sample) => sample,
                    Err(skip) => {
                        counts.unreadable(&skip);
                        serde_json::to_writer(&mut file, &unreadable(&skip))?;
                        file.write_all(b"\n")?;
                        continue;
                    }
                };
                match self.row(&sample, log, &mut counts, &mut made) {
                    Ok(Made::Kept(prompt)) => *prompts.entry(prompt).or_default() += 1,
                    Ok(Made::LeftOut(record)) => {
                        serde_json::to_writer(&mut file, &record)?;
                        file.write_all(b"\n")?;
                    }
                    Ok(Made::Unknown) => {}
                    Err(error) => {
                        failed = Some(error);
                        return Err(std::io::Error::other("what was made"));
                    }
                }
            }
            file.flush()
        })
        .map_err(|error| failed.take().unwrap_or_else(|| error.into()))?;
        let about =
            format!("Made from the pictures of {} by {}.", self.args.rows.path.replace('\n', " "), self.plan.model);
        made.finish(&about, &["synthetic"])?;
        let settings = json!({
            "source": self.args.rows.path,
            "languages": self.plan.languages,
            "seed": self.args.seed,
            "prompts": self.plan.prompts,
            "kept_by_prompt": prompts,
            "schema": self.plan.schema,
            "licence": self.args.licence,
            "asked": self.args.ask.about()?,
            "burn_vlm": env!("CARGO_PKG_VERSION"),
        });
        let cost = self.args.ask.cost(log.spent());
        let report = Report {
            title: "Made from pictures",
            counts,
            spent: log.spent(),
            cost,
            settings,
            file: format!("{NAME}.jsonl"),
        };
        report.write(out, asked)?;
        Ok(report)
    }

    fn row(
        &self,
        sample: &Sample,
        log: &mut RecordLog,
        counts: &mut Counts,
        made: &mut MadeWriter,
    ) -> Result<Made, AnyError> {
        let left_out = |language: Option<Language>, outcome: &str, reason: &str, detail: &str, reply: Option<&str>| {
            Made::LeftOut(json!({
                "id": sample.id, "language": language, "outcome": outcome, "reason": reason, "detail": detail, "reply": reply,
            }))
        };
        let PictureTask { prompt, language, task } = match self.plan.task(sample) {
            Ok(task) => task,
            Err(reason) => {
                counts.not_askable();
                return Ok(left_out(None, "failed", "not_askable", &reason.to_string(), None));
            }
        };
        let Some(Record { outcome, reason, detail, body, .. }) = log.get::<Option<Reply>>(task.key)? else {
            counts.unknown(language);
            return Ok(Made::Unknown);
        };
        let reply = match (outcome, body) {
            (Outcome::Deferred, _) => {
                counts.unknown(language);
                return Ok(Made::Unknown);
            }
            (_, Some(reply)) => reply,
            (_, None) => {
                let (reason, detail) = (reason.unwrap_or_default(), detail.unwrap_or_default());
                counts.failed(language, &reason);
                return Ok(left_out(Some(language), "failed", &reason, &detail, None));
            }
        };
        let turns = match self.plan.turns(sample, prompt.form, language, &reply) {
            Ok(turns) => turns,
            Err(faults) => {
                let reasons: Vec<&str> = faults.iter().map(|fault| fault.reason).collect();
                counts.rejected(language, &reasons);
                let details: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
                let (reasons, details) = (reasons.join(", "), details.join("; "));
                return Ok(left_out(Some(language), "rejected", &reasons, &details, Some(&reply.text)));
            }
        };
        let provenance = json!({
            "source": &*sample.source,
            "source_id": sample.id,
            "picture_sha256": pictures(sample)?,
            "generator": self.plan.model,
            "prompt": prompt.name,
            "prompt_hash": prompt.hash(),
            "licence": self.args.licence,
        });
        let more: Map<String, Value> = [("provenance".to_owned(), provenance)].into_iter().collect();
        let id = format!("{}.{}", sample.id, prompt.name);
        match made.write(&MadeSample { id, turns: &turns, media: &sample.media, language, more }) {
            Ok(()) => {
                counts.kept(language);
                Ok(Made::Kept(prompt.name.clone()))
            }
            Err(MadeError::Media(reason)) => {
                counts.failed(language, "media");
                Ok(left_out(Some(language), "failed", "media", &reason.to_string(), None))
            }
            Err(MadeError::File(error)) => Err(error.into()),
        }
    }
}

/// What became of a row.
enum Made {
    /// It is written; its prompt.
    Kept(String),
    /// It is not; why.
    LeftOut(Value),
    /// It has not been asked about.
    Unknown,
}

/// The SHA-256 of each picture: addresses die, and what is behind them changes.
fn pictures(sample: &Sample) -> Result<Vec<String>, AnyError> {
    let mut sums = Vec::new();
    for picture in sample.pictures() {
        let bytes = picture.read().map_err(|reason| reason.to_string())?;
        sums.push(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect());
    }
    Ok(sums)
}
