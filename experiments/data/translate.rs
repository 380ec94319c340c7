//! `data translate`: the texts of a source in other languages, by an endpoint or a model on this machine.
//!
//! Unusual here:
//! - whatever comes back is in a log before the next question is asked: a run that was killed goes on, and pays for nothing twice;
//! - replies are checked again whenever the result is written, so that another choice of checks asks nothing;
//! - the result is a source: a file to train on, with a mixture file that names it, and where every sample comes from.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use burn_vlm_base::files::write_atomic_with;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::translation::{
    Assembled, CaptionRequests, Draw, Template, Translated, TranslationCheck, TranslationChecks, TranslationPlan,
};
use burn_vlm_data::pipeline::{
    End, Key, LogError, MadeError, MadeSample, MadeWriter, Outcome, Record, RecordLog, Reply, Task,
};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{Skip, SkipKind};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::asking::{AskArgs, Asked, Reading, own_log};
use super::export::{Languages, languages};
use super::made_report::{Counts, Report, unreadable};
use super::rows_of::{ReadRow, RowArgs, Rows};
use crate::AnyError;
use crate::call::examples;

/// What the file of translations is called.
const NAME: &str = "translated";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "translate captions.jsonl --model TowerPlus-2B --languages towervision-20 --out runs/translated",
            "each caption into one of 20 languages, by a model on this machine",
        ),
        (
            "data",
            "translate mixture.toml --endpoint http://localhost:8000/v1 --endpoint-model tower --languages de,fr --draw all --out runs/translated",
            "every sample into both languages, by an endpoint",
        ),
        (
            "data",
            "translate mixture.toml --endpoint http://localhost:8000/v1 --endpoint-model tower --languages de --out runs/translated --dry-run 50",
            "50 of them, and how long the rest takes",
        ),
        (
            "data",
            "translate runs/assigned/assigned.jsonl --model TowerPlus-9B --target-field target_language --out runs/translated",
            "each row into the language that `data assign-languages` has given it",
        ),
    ];
    let more = "Running the same command again continues where it stopped, and asks nothing twice. The folder then has translated.jsonl and\n\
                mixture.toml to train on, left_out.jsonl with the reason of each, report.md and report.json, and log.jsonl.";
    examples(&lines, more)
}

/// Translate the captions and conversations of a source, and check every translation
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct TranslateArgs {
    #[command(flatten)]
    rows: RowArgs,

    /// The folder to write; the log in it keeps what was asked before
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Languages to translate into, by tag, or a set of them (towervision-20, parrot-6, ...), with commas between
    #[arg(long, value_name = "TAGS", value_parser = languages, required_unless_present = "target_field")]
    languages: Option<Languages>,

    /// The field or column that says which language each row is translated into, as `data assign-languages` writes it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["languages", "draw"])]
    target_field: Option<String>,

    /// Into how many of them each row is translated
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HowMany::One)]
    draw: HowMany,

    /// A further field or column of each row that its translation shall have too; several times for several
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,

    /// Decides which language a row is translated into, and which request a caption gets
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    /// The language of rows that do not say theirs
    #[arg(long, value_name = "TAG", default_value = "en")]
    from: Language,

    /// What is asked: tower-plus, tower-eval, tiny (what the shipped small backbones have learnt), or a file with {SRC}, {TGT} and {text}
    #[arg(long, value_name = "NAME|FILE", default_value = "tower-plus")]
    template: String,

    /// What the translator calls a language, where it is not Tower+'s name; several times for several
    #[arg(long, value_name = "TAG=NAME", value_parser = named)]
    language_name: Vec<(Language, String)>,

    /// Requests for captions, which have none: a TOML file with a list of texts for each tag [default: "What is this?" in 32 languages]
    #[arg(long, value_name = "FILE", conflicts_with = "no_requests")]
    requests: Option<PathBuf>,

    /// Leave the user's turn of a caption as it is: the picture alone
    #[arg(long)]
    no_requests: bool,

    /// Checks that are not made, with commas between
    #[arg(long, value_name = "CHECKS", value_delimiter = ',', value_parser = checks())]
    skip_checks: Vec<TranslationCheck>,

    /// The licence of the translator's output, for the records
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,

    #[command(flatten)]
    ask: AskArgs,
}

/// `--draw`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HowMany {
    /// One, drawn by the seed, each as likely as the others
    One,
    /// All
    All,
}

fn checks() -> impl TypedValueParser<Value = TranslationCheck> {
    let names = PossibleValuesParser::new(TranslationCheck::ALL.map(TranslationCheck::as_str));
    names.try_map(|name| TranslationCheck::ALL.into_iter().find(|check| check.as_str() == name).ok_or("no such check"))
}

fn named(text: &str) -> Result<(Language, String), String> {
    let (tag, name) = text.split_once('=').filter(|(_, name)| !name.trim().is_empty()).ok_or("expected TAG=NAME")?;
    Ok((Language::parse(tag).map_err(|error| error.to_string())?, name.to_owned()))
}

/// Runs the command.
pub(super) fn run(args: &TranslateArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    args.check_kept()?;
    let plan = args.plan()?;
    let checks = TranslationChecks::new(plan.template.clone(), plan.names.clone(), args.skip_checks.iter().copied());
    let rows = args.rows.open_with(Some(args.from), &args.fields())?;
    let mut log = own_log(&args.out)?;
    let work = Work { args, plan: &plan, checks: &checks, rows: &rows };
    let asked = work.ask(&mut log, reporter)?;
    asked.notes.iter().for_each(|note| reporter.warn(note));
    if args.ask.dry_run().is_some() {
        asked.check()?;
        return Ok(args.ask.forecast(&asked, work.left(&log), out)?);
    }
    if asked.end == End::Stopped {
        let path = args.out.display();
        writeln!(out, "{path}: stopped; run the same command again to go on. {} answers are kept", log.len())?;
        return Ok(());
    }
    // Whatever is there is worth having, also where the rest cannot be asked.
    let report = work.write(&mut log, &asked)?;
    report.tell(&args.out, out)?;
    asked.check()
}

/// What a translation has beside what is read of its row; a field of that name is not kept.
const OWN_FIELDS: [&str; 8] =
    ["id", "image", "video", "conversations", "language", "source_language", "source_turns", "provenance"];

impl TranslateArgs {
    /// Fields of rows that are wanted, with the options that name them.
    fn fields(&self) -> Vec<(&str, &str)> {
        let keep = self.keep.iter().map(|name| ("--keep", name.as_str()));
        self.target_field.iter().map(|name| ("--target-field", name.as_str())).chain(keep).collect()
    }

    fn check_kept(&self) -> Result<(), AnyError> {
        match self.keep.iter().find(|name| OWN_FIELDS.contains(&name.as_str())) {
            Some(name) => Err(format!("--keep {name}: translations have a field of their own of this name").into()),
            None => Ok(()),
        }
    }

    fn plan(&self) -> Result<TranslationPlan, AnyError> {
        let template = match Template::named(&self.template) {
            Some(template) => template,
            None => {
                let names = Template::names().collect::<Vec<_>>().join(", ");
                let text = std::fs::read_to_string(&self.template)
                    .map_err(|error| format!("--template {}: {error}; expected {names}, or a file", self.template))?;
                Template::new(self.template.as_str(), text)?
            }
        };
        let requests = match (&self.requests, self.no_requests) {
            (_, true) => CaptionRequests::none(),
            (None, false) => CaptionRequests::new(self.seed, BTreeMap::new()),
            (Some(path), false) => CaptionRequests::new(self.seed, own_requests(path)?),
        };
        Ok(TranslationPlan {
            languages: self.languages.as_ref().map(|languages| languages.0.clone()).unwrap_or_default(),
            draw: match self.draw {
                HowMany::One => Draw::One { seed: self.seed },
                HowMany::All => Draw::All,
            },
            from: self.from,
            names: template.language_names(self.language_name.iter().cloned()),
            template,
            settings: self.ask.settings()?,
            model: self.ask.name()?,
            requests,
        })
    }
}

/// Requests by language.
pub(super) fn own_requests(path: &Path) -> Result<BTreeMap<Language, Vec<String>>, AnyError> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("--requests {}: {error}", path.display()))?;
    let requests: BTreeMap<Language, Vec<String>> = toml::from_str(&text)
        .map_err(|error| format!("--requests {}: expected a list of texts for each tag: {error}", path.display()))?;
    match requests.iter().find(|(_, texts)| texts.is_empty()) {
        Some((language, _)) => Err(format!("--requests {}: {language} has no text", path.display()).into()),
        None => Ok(requests),
    }
}

/// A row and what becomes of it.
struct TargetedRow {
    sample: Sample,
    fields: Map<String, Value>,
    targets: Vec<Language>,
}

/// The language that a row's field names.
fn target(read: &ReadRow, field: &str) -> Result<Language, Box<Skip>> {
    let value = read.row.as_ref().and_then(|row| row.fields.get(field));
    let tag = value.and_then(Value::as_str).unwrap_or_default();
    Language::parse(tag).map_err(|error| {
        let detail = match value {
            None | Some(Value::Null) => format!("{field} is not there; expected the tag of a language"),
            Some(value) => format!("{field} is {value}: {error}"),
        };
        let (file, place) =
            read.row.as_ref().map(|row| (row.file.display().to_string(), row.place.to_string())).unzip();
        Box::new(Skip {
            source: read.sample.source.to_string(),
            record: read.record,
            file: file.unwrap_or_default(),
            place: place.unwrap_or_default(),
            id: Some(read.sample.id.clone()),
            reason: SkipKind::UnknownLanguage,
            detail,
        })
    })
}

struct Work<'a> {
    args: &'a TranslateArgs,
    plan: &'a TranslationPlan,
    checks: &'a TranslationChecks,
    rows: &'a Rows,
}

impl Work<'_> {
    /// Rows with their fields, and the languages that each is translated into.
    fn rows(&self) -> impl Iterator<Item = Result<TargetedRow, Box<Skip>>> + Send + '_ {
        self.rows.walk_rows().map(|row| {
            let row = row?;
            let targets = match &self.args.target_field {
                None => self.plan.targets(&row.sample),
                Some(field) => {
                    let to = target(&row, field)?;
                    if to == self.plan.language_of(&row.sample) { Vec::new() } else { vec![to] }
                }
            };
            let fields = row.row.map(|row| row.fields).unwrap_or_default();
            Ok(TargetedRow { sample: row.sample, fields, targets })
        })
    }

    fn tasks(&self) -> impl Iterator<Item = Task> + Send + '_ {
        self.rows().flatten().flat_map(move |TargetedRow { sample, targets, .. }| {
            targets.into_iter().flat_map(move |to| self.plan.tasks(&sample, to)).map(|turn| turn.task)
        })
    }

    fn ask(&self, log: &mut RecordLog, reporter: &Reporter) -> Result<Asked, AnyError> {
        let reading = Reading { rows: self.rows.len(), read: &self.rows.read };
        let check = |task: &Task, reply: &Reply| self.checks.check(task, reply);
        match self.args.ask.dry_run() {
            None => self.args.ask.ask(log, self.tasks(), &check, &reading, reporter),
            Some(most) => {
                // From all of them: the first rows of a file are often alike.
                let apart = (self.left(log) / most).max(1);
                let open: Vec<Key> = self
                    .tasks()
                    .map(|task| task.key)
                    .filter(|key| !log.is_settled(*key))
                    .step_by(apart as usize)
                    .collect();
                let open: std::collections::HashSet<Key> = open.into_iter().collect();
                let tasks = self.tasks().filter(move |task| open.contains(&task.key));
                self.args.ask.ask(log, tasks, &check, &reading, reporter)
            }
        }
    }

    /// Questions that the log does not have.
    fn left(&self, log: &RecordLog) -> u64 {
        self.tasks().filter(|task| !log.is_settled(task.key)).count() as u64
    }

    fn known(log: &mut RecordLog, key: Key) -> Result<Translated, LogError> {
        let Some(Record { outcome, reason, detail, body, .. }) = log.get::<Option<Reply>>(key)? else {
            return Ok(Translated::Unknown);
        };
        Ok(match (outcome, body) {
            (Outcome::Deferred, _) => Translated::Unknown,
            (_, Some(reply)) => Translated::Reply(reply),
            (_, None) => Translated::Failed { reason: reason.unwrap_or_default(), detail: detail.unwrap_or_default() },
        })
    }

    /// The files of the result.
    fn write(&self, log: &mut RecordLog, asked: &Asked) -> Result<Report, AnyError> {
        let out = &self.args.out;
        let mut counts = Counts::default();
        let mut made = MadeWriter::create(out, NAME)?;
        let mut failed: Option<AnyError> = None;
        let left_out = out.join("left_out.jsonl");
        write_atomic_with(&left_out, |file| {
            let mut file = BufWriter::new(file);
            let written = self.rows_out(log, &mut counts, &mut made, &mut |record: Value| {
                serde_json::to_writer(&mut file, &record)?;
                Ok(file.write_all(b"\n")?)
            });
            if let Err(error) = written {
                failed = Some(error);
                return Err(std::io::Error::other("translations"));
            }
            file.flush()
        })
        .map_err(|error| failed.take().unwrap_or_else(|| error.into()))?;
        let about = format!("Translations of {} by {}.", self.args.rows.path.replace('\n', " "), self.plan.model);
        made.finish(&about, &["translated"])?;
        let settings = json!({
            "source": self.args.rows.path,
            "languages": self.plan.languages,
            "target_field": self.args.target_field,
            "draw": if self.args.draw == HowMany::All { "all" } else { "one" },
            "seed": self.args.seed,
            "from": self.plan.from,
            "template": { "name": self.plan.template.name(), "text": self.plan.template.to_string(), "hash": self.plan.template.hash() },
            "checks_left_out": self.args.skip_checks.iter().map(|check| check.as_str()).collect::<Vec<_>>(),
            "licence": self.args.licence,
            "asked": self.args.ask.about()?,
            "burn_vlm": env!("CARGO_PKG_VERSION"),
        });
        let cost = self.args.ask.cost(log.spent());
        let report =
            Report { title: "Translations", counts, spent: log.spent(), cost, settings, file: format!("{NAME}.jsonl") };
        report.write(out, asked)?;
        Ok(report)
    }

    fn rows_out(
        &self,
        log: &mut RecordLog,
        counts: &mut Counts,
        made: &mut MadeWriter,
        left_out: &mut dyn FnMut(Value) -> Result<(), AnyError>,
    ) -> Result<(), AnyError> {
        for row in self.rows() {
            let TargetedRow { sample, fields, targets } = match row {
                Ok(row) => row,
                Err(skip) => {
                    counts.unreadable(&skip);
                    left_out(unreadable(&skip))?;
                    continue;
                }
            };
            if targets.is_empty() {
                counts.untouched();
            }
            for to in targets {
                let assembled = self.plan.assemble(&sample, to, self.checks, |key| Self::known(log, key))?;
                let about = |outcome: &str, turn: usize, reason: &str, detail: &str| json!({ "id": sample.id, "language": to, "turn": turn, "outcome": outcome, "reason": reason, "detail": detail });
                match assembled {
                    Assembled::Unknown => counts.unknown(to),
                    Assembled::Failed { turn, reason, detail } => {
                        counts.failed(to, &reason);
                        left_out(about("failed", turn, &reason, &detail))?;
                    }
                    Assembled::Rejected { turn, faults, reply } => {
                        let reasons: Vec<&str> = faults.iter().map(|fault| fault.reason).collect();
                        counts.rejected(to, &reasons);
                        let details: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
                        let mut record = about("rejected", turn, &reasons.join(", "), &details.join("; "));
                        record["source_text"] = json!(sample.turns.get(turn).map(|turn| &turn.text));
                        record["reply"] = json!(reply);
                        left_out(record)?;
                    }
                    Assembled::Kept(turns) => {
                        let id = format!("{}.{to}", sample.id);
                        let mut more = self.provenance(&sample);
                        let kept =
                            self.args.keep.iter().filter_map(|name| Some((name.clone(), fields.get(name)?.clone())));
                        more.extend(kept);
                        let made_sample = MadeSample { id, turns: &turns, media: &sample.media, language: to, more };
                        match made.write(&made_sample) {
                            Ok(()) => counts.kept(to),
                            Err(MadeError::Media(reason)) => {
                                counts.failed(to, "media");
                                left_out(about("failed", 0, "media", &reason.to_string()))?;
                            }
                            Err(MadeError::File(error)) => return Err(error.into()),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Where a translation comes from.
    fn provenance(&self, sample: &Sample) -> Map<String, Value> {
        let source: Vec<Value> =
            sample.turns.iter().map(|turn| json!({ "from": turn.role.as_str(), "value": turn.text })).collect();
        let provenance = json!({
            "source": &*sample.source,
            "source_id": sample.id,
            "translator": self.plan.model,
            "template": self.plan.template.hash(),
            "licence": self.args.licence,
        });
        [
            ("source_language", json!(self.plan.language_of(sample))),
            ("source_turns", Value::Array(source)),
            ("provenance", provenance),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
    }
}
