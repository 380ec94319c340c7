//! `burn-vlm`: every command of this library in one program.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_vlm_base::suggest;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::all::run_together;
use crate::args::{AFTER_HELP, StudyArgs};
use crate::call::{self, examples};
use crate::chat::ChatArgs;
use crate::compute::in_pool;
use crate::data::DataArgs;
use crate::evaluate::EvaluateArgs;
use crate::export::ExportArgs;
use crate::memory::keep_freed_pages;
use crate::merge::MergeArgs;
use crate::new_study::write_new;
use crate::pretrain::PretrainArgs;
use crate::serve::ServeArgs;
use crate::signals::{leave_nothing_running, stop_at_a_step, watch};
use crate::train::TrainArgs;
use crate::{AnyError, BuiltIn, ENCODER, STUDIES};

/// Vision-language models: compare, train, score and talk to them
#[derive(Debug, Parser)]
#[command(name = "burn-vlm", version, max_term_width = 100, after_help = help())]
pub(crate) struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Study(Box<StudyCommand>),
    Train(Box<TrainArgs>),
    Evaluate(Box<EvaluateArgs>),
    Chat(Box<ChatArgs>),
    Serve(Box<ServeArgs>),
    Data(Box<DataArgs>),
    Pretrain(Box<PretrainArgs>),
    Export(Box<ExportArgs>),
    Merge(Box<MergeArgs>),
    /// Print the completions of a shell
    #[command(after_help = "bash: burn-vlm completions bash > ~/.local/share/bash-completion/completions/burn-vlm")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("study", "encoder --preset smoke", "a study from end to end in a minute: table, intervals, report"),
        ("data", "export --out runs/emoji --format json", "a data set to begin with, in LLaVA's format"),
        ("train", "runs/emoji/recipe.toml", "train on it"),
        (
            "chat",
            "--model runs/train/emoji/model --image runs/emoji/images/circle-flags/1f1f0-1f1ff.png",
            "talk to what came out",
        ),
        ("serve", "--model runs/train/emoji/model", "let other programs talk to it, by OpenAI's chat API"),
        ("evaluate", "questions.toml --model runs/train/emoji/model", "score it on questions of your own"),
    ];
    examples(&lines, "`burn-vlm COMMAND --help` has more of each.")
}

/// Train and evaluate every cell of a study, then write a table with intervals, plots and a report
#[derive(Debug, Parser)]
#[command(name = "study", max_term_width = 100, after_help = study_help())]
#[command(mut_arg("study", |arg| arg.hide(true)))]
#[command(mut_arg("which", |arg| arg.help(format!("Your study's file (TOML), or a built-in study; several are run as with --all: {}", names().join(", ")))))]
struct StudyCommand {
    /// Your study's file (TOML), or built-in studies
    #[arg(value_name = "STUDY", required_unless_present_any = ["config", "study", "new", "all"], conflicts_with_all = ["config", "study"])]
    which: Vec<String>,

    /// Run or continue every built-in study, each in a folder of its name below --out [default: runs/all/PRESET], and write a page over
    /// all of them there, index.html. The same options hold for all; with --shard every run takes its share of each study
    #[arg(long, conflicts_with_all = ["which", "config", "study", "new", "only"])]
    all: bool,

    /// Write NAME.toml, a study to begin with, and do nothing else
    #[arg(long, value_name = "NAME", conflicts_with_all = ["which", "config", "study"])]
    new: Option<String>,

    #[command(flatten)]
    args: StudyArgs,
}

fn study_help() -> String {
    let lines = [
        ("study", "encoder --preset smoke", "does it run at all? (a minute)"),
        ("study", "encoder --dry-run", "what would be trained, how long it takes"),
        ("study", "encoder", "which vision encoder? in minutes, on this machine"),
        ("study", "--all --dry-run", "every study: what would be trained, how long it takes"),
        ("study", "--all", "every study, and a page over all of them"),
        ("study", "--new mine", "writes mine.toml, a study of your own to begin with"),
        ("study", "mine.toml --dry-run", "is my study right? mistakes are told before anything is trained"),
        ("study", "mine.toml --only siglip2/en --device cuda", "one cell of it, on an NVIDIA GPU"),
    ];
    let own = "docs/benchmarks.md tells how to ask your own questions, docs/training.md how to train on your own data;\n\
               examples/own_study.toml does both.";
    examples(&lines, &format!("{own}\n\n{AFTER_HELP}"))
}

/// The names of the built-in studies: those of their files.
fn names() -> Vec<&'static str> {
    STUDIES.iter().map(|study| study.file).collect()
}

/// What a study is called on the command line: a built-in one, or a file.
pub(crate) enum Named {
    /// One that is in the program.
    BuiltIn(BuiltIn),
    /// A user's own.
    File(PathBuf),
}

/// The study of that name, else the file at that path.
///
/// # Errors
/// Neither.
pub(crate) fn named(name: &str) -> Result<Named, AnyError> {
    if let Some(study) = STUDIES.iter().find(|study| study.file == name) {
        return Ok(Named::BuiltIn(*study));
    }
    let path = Path::new(name);
    if path.extension().is_some_and(|ending| ending == "toml") || path.is_file() {
        return Ok(Named::File(path.to_owned()));
    }
    let meant = suggest::hint(name, names());
    Err(format!("there is no study `{name}`{meant}; a study of your own is a file that ends in .toml").into())
}

/// Built-in studies that are named together.
///
/// # Errors
/// A name that is none or there twice, a file, one cell of several studies.
fn several(names: &[String], args: &StudyArgs) -> Result<Vec<BuiltIn>, AnyError> {
    if args.only.is_some() {
        return Err("--only is a cell of one study: name that study alone".into());
    }
    let mut studies: Vec<BuiltIn> = Vec::new();
    for name in names {
        match named(name)? {
            Named::File(_) => {
                return Err(format!("{name}: a study of your own runs alone, without others beside it").into());
            }
            Named::BuiltIn(study) if studies.iter().any(|other| other.file == study.file) => {
                return Err(format!("the study `{name}` is named twice").into());
            }
            Named::BuiltIn(study) => studies.push(study),
        }
    }
    Ok(studies)
}

impl StudyCommand {
    fn run(self) -> Result<(), AnyError> {
        let Self { which, all, new, mut args } = self;
        if all {
            stop_at_a_step();
            return run_together(&STUDIES, &args);
        }
        if which.len() > 1 {
            let studies = several(&which, &args)?;
            stop_at_a_step();
            return run_together(&studies, &args);
        }
        if let Some(name) = new {
            writeln!(io::stdout(), "{}", write_new(&name)?)?;
            return Ok(());
        }
        let study = match named(which.into_iter().next().or(args.study.take()).as_deref().unwrap_or(ENCODER.file))? {
            Named::BuiltIn(study) => study,
            Named::File(path) => {
                args.config = Some(path);
                ENCODER
            }
        };
        stop_at_a_step();
        crate::execute(&study, &args)
    }
}

/// Runs `burn-vlm` with the command line of this process.
pub fn command() -> ExitCode {
    keep_freed_pages();
    call::is_program();
    let program = crate::parse_line();
    watch();
    let code = crate::end(run(program));
    leave_nothing_running();
    code
}

fn run(program: Program) -> Result<(), AnyError> {
    match program.command {
        Command::Study(study) => study.run(),
        Command::Train(args) => in_pool(|| crate::train::run(&args)),
        Command::Evaluate(args) => in_pool(|| crate::evaluate(&args)),
        Command::Chat(args) => in_pool(|| crate::chat::run(&args)),
        Command::Serve(args) => crate::serve::run(&args),
        Command::Data(args) => in_pool(|| crate::run_data(&args, &mut io::stdout())),
        Command::Pretrain(args) => in_pool(|| crate::pretrain::run(&args)),
        Command::Export(args) => crate::export::run(&args),
        Command::Merge(args) => crate::merge::run(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Program::command(), "burn-vlm", &mut text);
            io::stdout().write_all(&text)?;
            Ok(())
        }
    }
}

#[cfg(test)]
impl Program {
    /// The study that `study` names.
    pub(crate) fn study(&self) -> Option<&str> {
        match &self.command {
            Command::Study(study) => study.which.first().map(String::as_str),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn a_study_is_a_name_or_a_file() {
        assert!(matches!(named("parrot_scale"), Ok(Named::BuiltIn(study)) if study.name == "scale"));
        assert!(matches!(named("nowhere/mine.toml"), Ok(Named::File(_))));
        let Err(error) = named("encodr") else { panic!("it is none") };
        assert!(error.to_string().contains("did you mean `encoder`?"), "{error}");
        assert!(Program::try_parse_from(["burn-vlm", "study"]).is_err());
        let together = |words: &[&str]| {
            let program = Program::try_parse_from([&["burn-vlm", "study"], words].concat()).unwrap();
            let Command::Study(study) = program.command else { panic!("another command") };
            several(&study.which, &study.args).map(|studies| studies.iter().map(|study| study.file).collect::<Vec<_>>())
        };
        assert_eq!(together(&["ocr", "parrot"]).unwrap(), ["ocr", "parrot"]);
        for (words, reason) in [
            (&["ocr", "encodr"][..], "did you mean `encoder`?"),
            (&["ocr", "mine.toml"], "mine.toml: a study of your own"),
            (&["ocr", "ocr"], "twice"),
            (&["ocr", "parrot", "--only", "a/b"], "--only"),
        ] {
            let error = together(words).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Program::try_parse_from(["burn-vlm", "study", "encoder", "--config", "mine.toml"]).is_err());
    }
}
