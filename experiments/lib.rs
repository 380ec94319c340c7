//! The studies of burn-vlm: one command line for all of them, their TOML files, and their recorded results.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod all;
mod args;
mod call;
mod chat;
mod command;
mod data;
mod dry_run;
mod evaluate;
mod export;
mod new_study;
mod pretrain;
mod signals;
mod study;
mod train;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use burn_vlm_base::shorten::shorten_lines;
use burn_vlm_base::stop;
use burn_vlm_train::run::estimate::ShippedShape;

pub use args::{Elsewhere, StudyArgs};
pub use chat::chat;
pub use command::command;
pub use data::{DataArgs, data, run_data};
pub use evaluate::{EvaluateArgs, evaluate, evaluate_command};
pub use pretrain::pretrain;
pub use study::{AnyError, execute, execute_of, execute_with, parse, run_studies, run_studies_of, study_args};
pub use train::{TrainArgs, run_training, train};

/// A study that is built into the programs.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// What `--study` calls it.
    pub name: &'static str,
    /// Its file below `experiments/`, without the extension.
    pub file: &'static str,
    /// The file's content.
    pub text: &'static str,
}

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

/// TowerVision's encoder study.
pub const ENCODER: BuiltIn = BuiltIn { name: "encoder", file: "encoder", text: include_str!("encoder.toml") };

/// TowerVision's backbones.
pub const BACKBONE: BuiltIn = BuiltIn { name: "backbone", file: "backbone", text: include_str!("backbone.toml") };

/// TowerVision's captions of the alignment.
pub const ALIGNMENT: BuiltIn = BuiltIn { name: "alignment", file: "alignment", text: include_str!("alignment.toml") };

/// TowerVision's ten or twenty languages.
pub const LANGUAGES: BuiltIn = BuiltIn { name: "languages", file: "languages", text: include_str!("languages.toml") };

/// What pictures cost the backbone in its own languages.
pub const FORGETTING: BuiltIn =
    BuiltIn { name: "forgetting", file: "forgetting", text: include_str!("forgetting.toml") };
/// TowerVision's pixels, patches and tiles.
pub const RESOLUTION: BuiltIn =
    BuiltIn { name: "resolution", file: "resolution", text: include_str!("resolution.toml") };

/// TowerVision's text in pictures; not among [`STUDIES`] as long as its encoder, which must be able to read, is not shipped.
pub const OCR: BuiltIn = BuiltIn { name: "ocr", file: "ocr", text: include_str!("ocr.toml") };

/// Parrot against LLaVA; the first is the program's default.
pub const PARROT: [BuiltIn; 6] = [
    BuiltIn { name: "connector", file: "parrot", text: include_str!("parrot.toml") },
    BuiltIn { name: "languages", file: "parrot_languages", text: include_str!("parrot_languages.toml") },
    BuiltIn { name: "scale", file: "parrot_scale", text: include_str!("parrot_scale.toml") },
    BuiltIn { name: "encoder", file: "parrot_encoder", text: include_str!("parrot_encoder.toml") },
    BuiltIn { name: "monolingual", file: "parrot_monolingual", text: include_str!("parrot_monolingual.toml") },
    BuiltIn { name: "translate", file: "parrot_translate", text: include_str!("parrot_translate.toml") },
];

const TOWER_2B: &str = include_str!("../recipes/shapes/Tower-Plus-2B/config.json");

/// All studies, in the order of `burn-vlm study --all`, by the names of their files. To add one, write its file and name it here.
pub const STUDIES: [BuiltIn; 12] = [
    ENCODER, BACKBONE, ALIGNMENT, LANGUAGES, RESOLUTION, FORGETTING, PARROT[0], PARROT[1], PARROT[2], PARROT[3],
    PARROT[4], PARROT[5],
];

/// Shapes of published parts, for dry runs without their files.
pub const SHAPES: [ShippedShape; 16] = [
    ShippedShape {
        name: "siglip-so400m-patch14-384",
        repository: "google/siglip-so400m-patch14-384",
        config: include_str!("../recipes/shapes/siglip-so400m-patch14-384/config.json"),
    },
    ShippedShape {
        name: "siglip2-so400m-patch14-384",
        repository: "google/siglip2-so400m-patch14-384",
        config: include_str!("../recipes/shapes/siglip2-so400m-patch14-384/config.json"),
    },
    ShippedShape {
        name: "siglip2-so400m-patch14-224",
        repository: "google/siglip2-so400m-patch14-224",
        config: include_str!("../recipes/shapes/siglip2-so400m-patch14-224/config.json"),
    },
    ShippedShape {
        name: "siglip2-base-patch16-224",
        repository: "google/siglip2-base-patch16-224",
        config: include_str!("../recipes/shapes/siglip2-base-patch16-224/config.json"),
    },
    ShippedShape {
        name: "siglip2-so400m-patch16-512",
        repository: "google/siglip2-so400m-patch16-512",
        config: include_str!("../recipes/shapes/siglip2-so400m-patch16-512/config.json"),
    },
    ShippedShape {
        name: "siglip2-so400m-patch16-naflex",
        repository: "google/siglip2-so400m-patch16-naflex",
        config: include_str!("../recipes/shapes/siglip2-so400m-patch16-naflex/config.json"),
    },
    ShippedShape {
        name: "clip-vit-large-patch14-336",
        repository: "openai/clip-vit-large-patch14-336",
        config: include_str!("../recipes/shapes/clip-vit-large-patch14-336/config.json"),
    },
    ShippedShape {
        name: "chinese-clip-vit-large-patch14-336px",
        repository: "OFA-Sys/chinese-clip-vit-large-patch14-336px",
        config: include_str!("../recipes/shapes/chinese-clip-vit-large-patch14-336px/config.json"),
    },
    // Gemma 2 and Tower+ are one shape.
    ShippedShape { name: "base-2b-pt", repository: "google/gemma-2-2b", config: TOWER_2B },
    ShippedShape { name: "base-2b-it", repository: "google/gemma-2-2b-it", config: TOWER_2B },
    ShippedShape { name: "tower-2b-pt", repository: "", config: TOWER_2B },
    ShippedShape { name: "tower-2b-it", repository: "Unbabel/Tower-Plus-2B", config: TOWER_2B },
    ShippedShape { name: "Tower-Plus-2B", repository: "Unbabel/Tower-Plus-2B", config: TOWER_2B },
    ShippedShape {
        name: "Tower-Plus-9B",
        repository: "Unbabel/Tower-Plus-9B",
        config: include_str!("../recipes/shapes/Tower-Plus-9B/config.json"),
    },
    ShippedShape {
        name: "Qwen1.5-7B-Chat",
        repository: "Qwen/Qwen1.5-7B-Chat",
        config: include_str!("../recipes/shapes/Qwen1.5-7B-Chat/config.json"),
    },
    ShippedShape {
        name: "vicuna-7b-v1.5",
        repository: "lmsys/vicuna-7b-v1.5",
        config: include_str!("../recipes/shapes/vicuna-7b-v1.5/config.json"),
    },
];

/// What built-in studies name, by folder and file name: their recipes, and the studies that are their presets.
const FILES: [(&str, &str); 18] = [
    ("paper/alignment.toml", include_str!("paper/alignment.toml")),
    ("paper/backbone.toml", include_str!("paper/backbone.toml")),
    ("paper/encoder.toml", include_str!("paper/encoder.toml")),
    ("paper/forgetting.toml", include_str!("paper/forgetting.toml")),
    ("paper/languages.toml", include_str!("paper/languages.toml")),
    ("paper/ocr.toml", include_str!("paper/ocr.toml")),
    ("paper/resolution.toml", include_str!("paper/resolution.toml")),
    ("paper/parrot.toml", include_str!("paper/parrot.toml")),
    ("paper/parrot_encoder.toml", include_str!("paper/parrot_encoder.toml")),
    ("paper/parrot_languages.toml", include_str!("paper/parrot_languages.toml")),
    ("paper/parrot_monolingual.toml", include_str!("paper/parrot_monolingual.toml")),
    ("paper/parrot_scale.toml", include_str!("paper/parrot_scale.toml")),
    ("paper/parrot_translate.toml", include_str!("paper/parrot_translate.toml")),
    ("recipes/parrot.toml", include_str!("../recipes/parrot.toml")),
    ("recipes/parrot-tiny.toml", include_str!("../recipes/parrot-tiny.toml")),
    ("recipes/tiny.toml", include_str!("../recipes/tiny.toml")),
    ("recipes/towervision-2b.toml", include_str!("../recipes/towervision-2b.toml")),
    ("recipes/towervision-tiny.toml", include_str!("../recipes/towervision-tiny.toml")),
];

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
