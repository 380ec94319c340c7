//! `data chain`: the steps of a pipeline one after the other, each in a folder of its own, with a page over all of them.
//!
//! Unusual here:
//! - a step is a command as one would type it, so what a chain does can be done, looked at and changed by hand;
//! - a step that is done is known by its command and those of all steps before it: a chain that was killed goes on, one whose settings have
//!   changed does not mix old and new.

mod file;
mod page;
mod setting;
mod shipped;

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn_vlm_base::files::{create_dir_all, read_json_if_there, remove_if_there, write_atomic, write_json_atomic};
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_base::stop;
use clap::{Args, Parser};
use serde::{Deserialize, Serialize};

use super::{DataArgs, run_data};
use crate::AnyError;
use crate::call::{call, examples};
use crate::train::{TrainArgs, run_training};
use file::{ChainFile, FILES, Filled, Step};
pub(super) use shipped::{ShippedArgs, multi_pixmo, visionblocks};

/// Verbs that go on by themselves in their folder; the others write a folder that is whole or not there.
const GO_ON: [&str; 4] = ["train", "score", "translate", "regenerate"];
/// The verb that is no verb of `data`.
const TRAIN: &str = "train";
/// The page over all steps.
const PAGE: &str = "index.html";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("data", "chain mine.toml --out runs/mine --dry-run", "the commands of all steps, checked and not run"),
        ("data", "chain mine.toml --out runs/mine --set captions=pixmo.jsonl", "all steps, with a setting of your own"),
    ];
    let more = "The file:\n\n  \
                [chain]\n  \
                name = \"mine\"\n  \
                about = \"the better half of my translations\"\n\n  \
                [settings]\n  \
                scored = { value = \"\", about = \"what data score wrote\", kind = \"file\" }    # empty: has to be given\n  \
                quantile = 0.5\n\n  \
                [[step]]\n  \
                name = \"filter\"\n  \
                about = \"the better half of each language\"\n  \
                run = [\"filter\", \"{scored}\", \"--quantile\", \"{quantile}\", \"--out\", \"{out}\"]\n  \
                show = [\"filter.html\"]\n\n\
                Running the same command again goes on with the step that is not done. DIR/index.html has all steps.";
    examples(&lines, more)
}

/// Run the steps of a pipeline one after the other
///
/// Each step is a verb of `data`, or `train`, as one would type it, and has a folder of its own. What is done is not done again.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct ChainArgs {
    /// The chain's file (.toml)
    file: PathBuf,

    /// The folder to write, with a folder for each step
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// A preset of the file
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Another value of a setting; several times for several
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Print the commands, check them, and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is known of a step that is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Done {
    /// Of its command and all before it.
    key: String,
    run: Vec<String>,
    seconds: f64,
    /// What it printed.
    text: String,
}

/// A command of a step.
enum Command {
    Data(Box<DataArgs>),
    Train(Box<TrainArgs>),
}

/// Runs the command.
pub(super) fn run(args: &ChainArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    let name = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).map_err(|error| format!("cannot read {name}: {error}"))?;
    let file = ChainFile::parse(&text, &name)?;
    let filled = file.fill(args.preset.as_deref(), &args.set, &args.out)?;
    let run = ChainRun { filled, preset: args.preset.as_deref(), out: &args.out };
    if args.dry_run {
        run.dry_run(out)?;
        let presets: Vec<&str> = file.presets().collect();
        if args.preset.is_none() && !presets.is_empty() {
            writeln!(out, "presets: {}", presets.join(", "))?;
        }
        return Ok(());
    }
    run.run(out, reporter)
}

/// A chain that is run.
struct ChainRun<'a> {
    filled: Filled,
    preset: Option<&'a str>,
    out: &'a Path,
}

/// The hash of a step's command and those before it.
fn key_of(before: &str, step: &Step) -> String {
    let mut hasher = blake3::Hasher::new();
    for word in [before, step.name.as_str()].into_iter().chain(step.run.iter().map(String::as_str)) {
        // With its length, so that no two commands run together to the same.
        hasher.update(&(word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// A step's command, by the parser that it would be typed for.
fn command(step: &Step) -> Result<Command, AnyError> {
    let wrong =
        |error: clap::Error| AnyError::from(format!("step {:?}: {}\n{}", step.name, line(step), error.render()));
    let verb = step.run.first().map(String::as_str).unwrap_or_default();
    if verb == TRAIN {
        return Ok(Command::Train(Box::new(TrainArgs::try_parse_from(&step.run).map_err(wrong)?)));
    }
    let words = std::iter::once("data").chain(step.run.iter().map(String::as_str));
    Ok(Command::Data(Box::new(DataArgs::try_parse_from(words).map_err(wrong)?)))
}

/// The command as one would type it.
fn line(step: &Step) -> String {
    let quoted = |word: &String| {
        let plain = |c: char| c.is_alphanumeric() || "-_./=,:%".contains(c);
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { format!("'{word}'") }
    };
    let words: Vec<String> = step.run.iter().map(quoted).collect();
    match words.split_first() {
        Some((verb, rest)) if verb == TRAIN => call(TRAIN, &rest.join(" ")),
        _ => call("data", &words.join(" ")),
    }
}

impl ChainRun<'_> {
    /// Tells the commands, checked where nothing of them is missing, and what is.
    fn dry_run(&self, out: &mut dyn Write) -> Result<(), AnyError> {
        for step in &self.filled.steps {
            if !step.lacks {
                command(step)?;
            }
            writeln!(out, "{}: {}\n  {}", step.name, step.about, line(step))?;
        }
        let missing = &self.filled.missing;
        if !missing.is_empty() {
            writeln!(out, "missing:")?;
            missing.iter().try_for_each(|missing| writeln!(out, "  {missing}"))?;
        }
        Ok(())
    }

    fn run(&self, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
        let filled = &self.filled;
        filled.check_given()?;
        // All of them are checked before the first is run.
        let commands = filled.steps.iter().map(command).collect::<Result<Vec<_>, _>>()?;
        create_dir_all(self.out)?;
        let _lock = match FileLock::try_take(&self.out.join("chain.lock"))? {
            Attempt::Taken(lock) => lock,
            Attempt::Busy(who) => {
                return Err(format!("{}: {who} is running it; wait, or name another --out", self.out.display()).into());
            }
        };
        let began = Instant::now();
        let mut key = self.key_of_files();
        let mut done: Vec<Done> = Vec::new();
        for (step, command) in filled.steps.iter().zip(&commands) {
            key = key_of(&key, step);
            let one = match self.known(step, &key)? {
                Some(known) => {
                    writeln!(out, "{}: done before", step.name)?;
                    known
                }
                None => {
                    // Not before: what is done was done with what is there.
                    self.write_files()?;
                    reporter.line(&format!("{}: {}", step.name, step.about));
                    let one =
                        self.perform(step, command, &key).map_err(|error| format!("step {:?}: {error}", step.name))?;
                    writeln!(out, "{}: {}", step.name, show_duration(std::time::Duration::from_secs_f64(one.seconds)))?;
                    one
                }
            };
            done.push(one);
            self.write_page(&done)?;
            if stop::asked() && done.len() < filled.steps.len() {
                writeln!(out, "stopped; run the same command again to go on")?;
                return Ok(());
            }
        }
        let page = self.out.join(PAGE);
        writeln!(out, "{} steps, {}: {}", done.len(), show_duration(began.elapsed()), page.display())?;
        Ok(())
    }

    /// The hash of the texts that the chain brings along, where there are some.
    fn key_of_files(&self) -> String {
        let files = &self.filled.files;
        let mut hasher = blake3::Hasher::new();
        for part in files.iter().flat_map(|(name, text)| [name, text]) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        if files.is_empty() { String::new() } else { hasher.finalize().to_hex().to_string() }
    }

    /// Writes these texts.
    fn write_files(&self) -> Result<(), AnyError> {
        let folder = self.out.join(FILES);
        for (name, text) in &self.filled.files {
            create_dir_all(&folder)?;
            write_atomic(&folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    fn marker(&self, step: &Step) -> PathBuf {
        self.out.join(format!("{}.step.json", step.name))
    }

    /// What is known of a step that was done by the same commands.
    fn known(&self, step: &Step, key: &str) -> Result<Option<Done>, AnyError> {
        let marker = self.marker(step);
        match read_json_if_there::<Done>(&marker)? {
            Some(known) if known.key == key => Ok(Some(known)),
            Some(known) => {
                let before = known.run.join(" ");
                Err(format!(
                    "step {:?} was run by other commands ({before}), or one before it was; name another --out, or remove {} and what is of \
                     later steps",
                    step.name,
                    marker.display()
                )
                .into())
            }
            None => Ok(None),
        }
    }

    fn perform(&self, step: &Step, command: &Command, key: &str) -> Result<Done, AnyError> {
        let began = Instant::now();
        let folder = self.out.join(&step.name);
        let verb = step.run.first().map(String::as_str).unwrap_or_default();
        let begun = self.out.join(format!("{}.begun", step.name));
        if folder.exists() && !begun.exists() {
            let help = "and this chain has not begun it; name another --out, or move it away";
            return Err(format!("{} is there already, {help}", folder.display()).into());
        }
        write_atomic(&begun, key.as_bytes())?;
        // What a killed step has left.
        if !GO_ON.contains(&verb) && folder.is_dir() {
            std::fs::remove_dir_all(&folder).map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
        }
        let text = match command {
            Command::Data(args) => {
                let mut text = Vec::new();
                run_data(args, &mut text)?;
                String::from_utf8_lossy(&text).into_owned()
            }
            Command::Train(args) => run_training(args)?,
        };
        let run = step.run.clone();
        let done = Done { key: key.to_owned(), run, seconds: began.elapsed().as_secs_f64(), text };
        write_json_atomic(&self.marker(step), &done)?;
        remove_if_there(&begun)?;
        Ok(done)
    }

    fn write_page(&self, done: &[Done]) -> Result<(), AnyError> {
        let filled = &self.filled;
        let mut body = String::new();
        for (number, step) in filled.steps.iter().enumerate() {
            let links: Vec<String> = step
                .show
                .iter()
                .map(|file| format!("{}/{file}", step.name))
                .filter(|file| self.out.join(file).is_file())
                .collect();
            let of = done.get(number).map(|done| (done.seconds, done.text.as_str()));
            let _ = write!(body, "{}", page::step(step, &line(step), &links, of));
        }
        let html = page::page(filled, self.preset, &body);
        write_atomic(&self.out.join(PAGE), html.as_bytes())?;
        Ok(())
    }
}
