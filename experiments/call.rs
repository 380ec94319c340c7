//! How a reader of help and messages starts a command: as they started this one.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once, before anything is printed: whether this is the program `burn-vlm`, whose commands are subcommands, or one of the
/// examples.
static PROGRAM: AtomicBool = AtomicBool::new(false);

/// Commands that are examples too.
const EXAMPLES: [&str; 17] = [
    "ablate_adapter",
    "ablate_alignment",
    "ablate_backbone",
    "ablate_encoder",
    "ablate_forgetting",
    "ablate_languages",
    "ablate_ocr",
    "ablate_parrot",
    "ablate_resolution",
    "ablate_threshold",
    "ablate_video",
    "chat",
    "data",
    "own_benchmark",
    "own_connector",
    "pretrain",
    "train",
];

/// From now on commands are those of the program.
pub(crate) fn is_program() {
    PROGRAM.store(true, Ordering::Relaxed);
}

/// The command line of a command with its options. An NVIDIA GPU is a feature of the build.
pub(crate) fn call(command: &str, options: &str) -> String {
    if PROGRAM.load(Ordering::Relaxed) {
        return format!("burn-vlm {command} {options}").trim_end().to_owned();
    }
    // The other commands have no example.
    if !EXAMPLES.contains(&command) {
        return format!("cargo run --release --bin burn-vlm -- {command} {options}").trim_end().to_owned();
    }
    let cuda = if options.contains("--device cuda") { " --features cuda" } else { "" };
    let options = if options.is_empty() { String::new() } else { format!(" -- {options}") };
    format!("cargo run --release{cuda} --example {command}{options}")
}

/// The end of a `--help`: commands with their options and what they do, then what else is to be said.
pub(crate) fn examples(examples: &[(&str, &str, &str)], more: &str) -> String {
    let example =
        |(command, options, what): &(&str, &str, &str)| format!("  {}\n      {what}\n", call(command, options));
    let more = if more.is_empty() { String::new() } else { format!("\n{more}") };
    format!("Examples:\n{}{more}", examples.iter().map(example).collect::<String>()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The program is another process: tests/command.rs looks at it.
    #[test]
    fn examples_are_started_by_cargo() {
        assert_eq!(call("train", ""), "cargo run --release --example train");
        assert_eq!(
            call("chat", "--model m --device cuda"),
            "cargo run --release --features cuda --example chat -- --model m --device cuda"
        );
        assert_eq!(call("study", "mine.toml"), "cargo run --release --bin burn-vlm -- study mine.toml");
        for name in EXAMPLES {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
            assert!(std::path::Path::new(file).join(format!("{name}.rs")).is_file(), "{name}");
        }
        let text = examples(&[("train", "", "a model")], "Then rest.");
        assert_eq!(text, "Examples:\n  cargo run --release --example train\n      a model\n\nThen rest.");
    }
}
