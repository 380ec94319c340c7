//! What `data translate` and `data regenerate` share: who answers, what may be spent, what is told meanwhile, and the forecast.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burn_vlm_base::files::create_dir_all;
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_data::pipeline::{
    Answerer, Budget, Check, End, Progress, RecordLog, Run, RunOptions, Settings, Spent, Task,
};
use burn_vlm_eval::endpoint::{Client, EndpointOptions, KEY_VARIABLE, Key};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::device::choose;
use clap::Args;
use serde_json::{Map, Value, json};

use super::own_model::{OwnModel, model_name};
use crate::AnyError;
use crate::args::{Place, check_empty};
use crate::signals::stop_after;

/// Tokens that prices are given for.
const PER_PRICE: f64 = 1e6;

/// Who answers, and how.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// Ask an endpoint that speaks OpenAI's chat completions: https://host/v1. Its key is read from BURN_VLM_ENDPOINT_KEY
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "model",
        required_unless_present = "model",
        requires = "endpoint_model"
    )]
    endpoint: Option<String>,

    /// The model's name at the endpoint
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    endpoint_model: Option<String>,

    /// Ask a model on this machine: a checkpoint's folder, or a finished cell of a study
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,

    #[command(flatten)]
    place: Place,

    /// Requests at once; answers at once with --model
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    at_once: u16,

    /// Seconds that a reply of an endpoint may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    /// How often an endpoint is asked at most, after timeouts, cut connections and failures of the server; being turned away (429) is no try
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,

    /// Take replies of whatever model the endpoint says to be
    #[arg(long, requires = "endpoint")]
    any_model: bool,

    /// Most tokens of a reply; one that has so many is taken for cut
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Sample at this temperature; 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,

    /// Sample among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,

    /// Further fields of each request to an endpoint, as a JSON object; null takes one out
    #[arg(long, value_name = "JSON", requires = "endpoint", value_parser = fields)]
    request_fields: Option<Fields>,

    /// Make no more requests than this with one --out, tries included
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,

    /// Begin no request once so many tokens were read and written with one --out
    #[arg(long, value_name = "N")]
    max_tokens_total: Option<u64>,

    /// What a million tokens cost that are read, to tell the costs
    #[arg(long, value_name = "PRICE", requires = "price_out")]
    price_in: Option<f64>,

    /// What a million tokens cost that are written
    #[arg(long, value_name = "PRICE", requires = "price_in")]
    price_out: Option<f64>,

    /// Ask K questions, spread over all, and tell what the rest will take; what they bring is kept
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    dry_run: Option<u64>,

    /// Ask again what failed for good in earlier runs
    #[arg(long)]
    retry_failed: bool,
}

/// `--request-fields`
#[derive(Debug, Clone)]
struct Fields(Map<String, Value>);

fn fields(text: &str) -> Result<Fields, String> {
    serde_json::from_str(text).map(Fields).map_err(|error| format!("expected a JSON object: {error}"))
}

/// Questions of a run, and how far they have been read.
pub(super) struct Reading<'a> {
    /// Rows of all sources.
    pub(super) rows: u64,
    /// Rows whose questions were made.
    pub(super) read: &'a AtomicU64,
}

/// What a run came to.
pub(super) struct Asked {
    pub(super) progress: Progress,
    pub(super) end: End,
    pub(super) seconds: f64,
    pub(super) notes: Vec<String>,
}

impl AskArgs {
    /// What decides on the answers beside the prompts; without a seed, as what is sampled is drawn by the row.
    pub(super) fn settings(&self) -> Result<Settings, AnyError> {
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(format!("--temperature {}: expected a number from 0 to 2", self.temperature).into());
        }
        if self.top_p.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
            return Err("--top-p: expected a number above 0 and up to 1".into());
        }
        let more = self.request_fields.as_ref().map(|fields| fields.0.clone()).unwrap_or_default();
        Ok(Settings { temperature: self.temperature, top_p: self.top_p, more, ..Settings::greedy(self.max_tokens) })
    }

    /// What the log calls who answers.
    pub(super) fn name(&self) -> Result<String, AnyError> {
        match (&self.endpoint_model, &self.model) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(folder)) => model_name(folder),
            (None, None) => Err("name who answers: --endpoint URL --endpoint-model NAME, or --model DIR".into()),
        }
    }

    /// Whether only some questions are asked.
    pub(super) fn dry_run(&self) -> Option<u64> {
        self.dry_run
    }

    /// For reports.
    pub(super) fn about(&self) -> Result<Value, AnyError> {
        let settings = json!(self.settings()?);
        Ok(
            json!({ "model": self.name()?, "endpoint": self.endpoint.as_deref().map(without_query), "settings": settings }),
        )
    }

    /// Asks all that the log does not have.
    pub(super) fn ask(
        &self,
        log: &mut RecordLog,
        tasks: impl Iterator<Item = Task> + Send,
        check: Check<'_>,
        reading: &Reading<'_>,
        reporter: &Reporter,
    ) -> Result<Asked, AnyError> {
        let mut notes = Vec::new();
        let answerer = self.answerer(&mut notes, reporter)?;
        stop_after("the answers under way");
        let bar = reporter.bar("rows", reading.rows);
        let begin = Instant::now();
        let watch = |progress: &Progress| {
            let read = reading.read.load(Ordering::Relaxed);
            bar.set(read, self.message(progress, read, reading.rows, begin.elapsed()));
        };
        let budget = Budget { requests: self.max_requests, tokens: self.max_tokens_total };
        let options = RunOptions { budget, retry_failed: self.retry_failed, most: self.dry_run };
        let run = Run::new(log, tasks, check, &watch, options);
        let (progress, end) = run.ask(answerer.as_ref())?;
        drop(bar);
        if self.max_tokens_total.is_some() && progress.asked() > 0 && progress.spent.tokens() == 0 {
            notes.push("replies do not say how many tokens they are (`usage`), so that --max-tokens-total bounds nothing; take --max-requests".into());
        }
        Ok(Asked { progress, end, seconds: begin.elapsed().as_secs_f64(), notes })
    }

    fn answerer(&self, notes: &mut Vec<String>, reporter: &Reporter) -> Result<Box<dyn Answerer>, AnyError> {
        if let (Some(url), Some(model)) = (&self.endpoint, &self.endpoint_model) {
            let options = EndpointOptions {
                timeout: Duration::from_secs(self.timeout),
                tries: self.tries,
                threads: usize::from(self.at_once),
                check_model: !self.any_model,
                ..EndpointOptions::new(url, model, KEY_VARIABLE)
            };
            let client = Client::new(options, Key::from_environment(KEY_VARIABLE)?)?;
            notes.extend(client.note());
            return Ok(Box::new(client));
        }
        let folder = self.model.as_deref().unwrap_or(Path::new("."));
        let chosen = choose(self.place.device)?;
        let begin = Instant::now();
        let chat = ChatModel::load_adapted(folder, None, &chosen.device, self.place.dtype.options())?;
        let seconds = begin.elapsed().as_secs_f64();
        reporter.line(&format!("{} on {}, loaded in {seconds:.1} s", folder.display(), chosen.choice));
        Ok(Box::new(OwnModel::new(chat, usize::from(self.at_once))))
    }

    fn message(&self, progress: &Progress, read: u64, rows: u64, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        let asked = progress.asked();
        let mut message = format!(
            "{:.1} answers/s  {:.0} tok/s  kept {} rejected {} failed {}",
            asked as f64 / seconds,
            progress.spent.tokens() as f64 / seconds,
            progress.kept,
            progress.rejected,
            progress.failed + progress.deferred,
        );
        if let Some(cost) = self.cost(progress.spent) {
            message.push_str(&format!("  cost {cost:.2}"));
        }
        // Rows that were known cost no time.
        let ahead = rows.saturating_sub(read) as f64 * progress.done() as f64 / read.max(1) as f64;
        if self.dry_run.is_none() && asked > 0 {
            let left = Duration::try_from_secs_f64(seconds * ahead / asked as f64).unwrap_or(Duration::MAX);
            message.push_str(&format!("  ETA {}", show_duration(left)));
        }
        message
    }

    /// What tokens cost, where prices are given.
    pub(super) fn cost(&self, spent: Spent) -> Option<f64> {
        let (read, written) = (self.price_in?, self.price_out?);
        Some((spent.prompt_tokens as f64 * read + spent.completion_tokens as f64 * written) / PER_PRICE)
    }

    /// What a dry run says of the questions that are left.
    pub(super) fn forecast(&self, asked: &Asked, left: u64, out: &mut dyn Write) -> std::io::Result<()> {
        let Progress { kept, rejected, failed, deferred, spent, .. } = asked.progress;
        let count = asked.progress.asked();
        writeln!(
            out,
            "dry run: {count} questions in {:.1} s: {kept} kept, {rejected} rejected, {} without reply",
            asked.seconds,
            failed + deferred
        )?;
        if count == 0 {
            return writeln!(out, "  nothing was left to ask");
        }
        let share = left as f64 / count as f64;
        let time = Duration::try_from_secs_f64(asked.seconds * share).unwrap_or(Duration::MAX);
        let tokens = |count: u64| count as f64 * share;
        writeln!(
            out,
            "  {left} questions are left: about {}, {:.0} tokens to read, {:.0} to write",
            show_duration(time),
            tokens(spent.prompt_tokens),
            tokens(spent.completion_tokens)
        )?;
        match self.cost(spent) {
            Some(cost) => writeln!(out, "  cost so far {cost:.4}, of the rest about {:.2}", cost * share),
            None => writeln!(out, "  --price-in and --price-out (for a million tokens) tell what they cost"),
        }
    }
}

/// The log of a command's own folder, which holds nothing of anybody else: what has no log is not gone on with, and would be overwritten.
pub(super) fn own_log(out: &Path) -> Result<RecordLog, AnyError> {
    let path = out.join("log.jsonl");
    if !path.exists() {
        check_empty(out)?;
    }
    create_dir_all(out)?;
    Ok(RecordLog::open(&path)?)
}

/// An address as it may be shown: what follows a question mark may be a secret.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

impl Asked {
    /// The end of a run that could not ask everything, as an error; a run that was stopped, or has spent its budget, is none.
    pub(super) fn check(&self) -> Result<(), AnyError> {
        match &self.end {
            End::Refused(trouble, why) => {
                Err(format!("{trouble}: {why}\nWhat was answered is kept: mend it and run the same command again").into())
            }
            End::GaveUp(trouble, why) => Err(format!(
                "{trouble}: many questions failed in a row, the last one so: {why}\nWhat was answered is kept: run the same command again \
                 (--retry-failed asks those that failed too)"
            )
            .into()),
            End::Done if self.progress.deferred > 0 => Err(format!(
                "{} questions had no answer, as the endpoint was away or busy: log.jsonl says of each why, with the outcome `deferred`\n\
                 What was answered is kept: run the same command again",
                self.progress.deferred
            )
            .into()),
            End::Done | End::Stopped | End::Budget => Ok(()),
        }
    }
}
