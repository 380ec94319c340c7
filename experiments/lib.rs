//! The studies of burn-vlm: one command line for all of them, their TOML files, and their recorded results.
//!
//! The book begins with [a first study](https://github.com/burn-vlm/burn-vlm/blob/main/docs/first-study.md).
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod all;
mod args;
mod built_in;
mod call;
mod chat;
mod command;
mod compute;
mod data;
mod dry_run;
mod evaluate;
mod export;
mod memory;
mod merge;
mod new_study;
mod pretrain;
#[cfg(test)]
mod printed;
mod serve;
mod signals;
mod study;
mod train;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use burn_vlm_base::shorten::shorten_lines;
use burn_vlm_base::stop;

pub use args::{Elsewhere, StudyArgs};
pub use built_in::{
    ADAPTER, ALIGNMENT, BACKBONE, BuiltIn, ENCODER, FORGETTING, LANGUAGES, OCR, PARROT, RESOLUTION, SHAPES, STUDIES,
    THRESHOLD, VIDEO,
};
pub use chat::chat;
pub use command::command;
pub use data::{DataArgs, data, run_data};
pub use evaluate::{EvaluateArgs, evaluate, evaluate_command};
pub use pretrain::pretrain;
pub use study::{AnyError, execute, execute_of, execute_with, parse, run_studies, run_studies_of, study_args};
pub use train::{TrainArgs, run_training, train};

/// What is printed of an error: `error: ...`, then a line `caused by: ...` for each cause that the lines above do not quote
/// already.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) {
            text.push_str(&format!("\n  caused by: {message}"));
        }
        cause = inner.source();
    }
    text
}

/// The command line of a program that takes at most so many arguments and no option but `--help`, for which `about` is printed. `None`
/// where that was asked for.
///
/// # Errors
/// Another option, too many arguments.
pub fn arguments(about: &str, at_most: usize) -> Result<Option<Vec<String>>, AnyError> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.iter().any(|word| word == "--help" || word == "-h") {
        writeln!(io::stdout(), "{about}")?;
        return Ok(None);
    }
    match given.iter().find(|word| word.starts_with('-')).or(given.get(at_most)) {
        Some(word) => Err(format!("unexpected `{word}`; --help says what there is").into()),
        None => Ok(Some(given)),
    }
}

/// The command line of this process. Where it cannot be read because the name of a file begins with `-`, the error is followed by how
/// to write it.
pub(crate) fn parse_line<P: clap::Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| {
        // There is nowhere else to say it.
        let _ = error.print();
        let words = std::env::args_os().skip(1).filter_map(|word| word.into_string().ok());
        if let Some(tip) = dashed_file(words, |name| std::path::Path::new(name).exists()).filter(|_| error.use_stderr())
        {
            eprintln!("{tip}");
        }
        std::process::exit(error.exit_code())
    })
}

/// How to name a file that begins with `-`, where there is one among some words.
fn dashed_file(mut words: impl Iterator<Item = String>, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let name = words.find(|word| word.len() > 1 && word.starts_with('-') && is_there(word))?;
    Some(format!("\n  tip: {name:?} is a file, and its name reads as an option: write ./{name}, or --video={name}"))
}

/// How every command ends: with its error, if there is one.
pub(crate) fn end(result: Result<(), AnyError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has gone away (`| head`) has seen enough.
        Err(error) if error.downcast_ref().is_some_and(is_broken_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", shorten_lines(&explain(&*error)));
            if stop::asked() { ExitCode::from(signals::INTERRUPTED) } else { ExitCode::FAILURE }
        }
    }
}

pub(crate) fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use burn_vlm_data::tokenizer::Tokenizer;
    use burn_vlm_train::error::TrainError;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as &(dyn Error + 'static))
        }
    }

    #[test]
    fn files_that_read_as_options_are_told() {
        let words = ["chat", "--video", "-dash.mp4"].map(str::to_owned);
        let tip = dashed_file(words.clone().into_iter(), |name| name == "-dash.mp4").unwrap();
        assert!(tip.contains("./-dash.mp4") && tip.contains("--video=-dash.mp4"), "{tip}");
        assert_eq!(dashed_file(words.into_iter(), |_| false), None);
    }

    #[test]
    fn causes_are_printed_once() {
        let inner = Layer("the disk is full", None);
        let quoted = Layer("cannot write x: the disk is full", Some(Box::new(inner)));
        let outer = Layer("the study stopped", Some(Box::new(quoted)));
        assert_eq!(explain(&outer), "error: the study stopped\n  caused by: cannot write x: the disk is full");
    }

    #[test]
    fn a_typed_error_keeps_its_type_and_its_causes() {
        let missing = Tokenizer::from_file("nowhere/tokenizer.json").map(|_| ()).map_err(TrainError::from);
        let Err(error @ TrainError::Tokenizer(_)) = missing else { panic!("{missing:?}") };
        let causes = std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source());
        assert!(causes.into_iter().any(|cause| cause.is::<std::io::Error>()), "{error:?}");
        let within = TrainError::within::<TrainError>("[stage.align]")(error);
        let first = within.source().and_then(|cause| cause.downcast_ref::<TrainError>());
        assert!(matches!(first, Some(TrainError::Tokenizer(_))), "{within:?}");
        let text = explain(&within);
        assert_eq!((text.lines().count(), text.matches("nowhere").count()), (1, 1), "{text}");
    }
}
