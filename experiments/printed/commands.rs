//! Commands on a page, by the parsers of the programs. Nothing is run.

use std::fs;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::pages::{pages, root};
use crate::args::StudyArgs;
use crate::chat::ChatArgs;
use crate::command::{Program, named};
use crate::data::DataArgs;
use crate::evaluate::EvaluateArgs;
use crate::pretrain::PretrainArgs;
use crate::train::TrainArgs;

/// Folders of the repository, in which what a command names must be there.
const FOLDERS: [&str; 8] =
    ["benches/", "evaluations/", "examples/", "experiments/", "findings/", "fuzz/", "recipes/", "tests/"];
/// Of these, what is made by a user or a run.
const MADE: [&str; 1] = ["recipes/data/"];
/// What stands before a command.
const BEFORE: [&str; 8] = ["sudo", "srun", "time", "exec", "then", "do", "else", "nice"];
/// Options of cargo that name something of the workspace.
const NAMES: [&str; 6] = ["--example", "--test", "--bench", "--bin", "--features", "-p"];

/// Whose command line a text is.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A block: it can be typed.
    Block,
    /// A mention in a sentence, which may leave away what is needed: `burn-vlm serve`.
    Mention,
}

/// A number for what a shell would put there.
fn without_variables(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let end = match after.chars().next() {
            Some('(') => {
                let mut depth = 0;
                let closes = |c: char| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                };
                after.find(closes).map(|at| at + 1)
            }
            Some('{') => after.find('}').map(|at| at + 1),
            _ => after.find(|c: char| !c.is_alphanumeric() && c != '_').or(Some(after.len())),
        };
        out.push('1');
        rest = &after[end.unwrap_or(after.len())..];
    }
    out + rest
}

/// The simple commands of a script, in words: without comments, here-documents and redirections.
fn simple_commands(script: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut here: Option<String> = None;
    for line in script.replace("\\\n", " ").lines() {
        match &here {
            Some(end) if line.trim() == end => here = None,
            Some(_) => {}
            None => {
                let end = line.split_once("<<").map(|(_, rest)| rest.trim_matches(|c: char| !c.is_alphanumeric()));
                here = end.map(str::to_owned);
                lines.push(line.split_once("<<").map_or(line, |(command, _)| command).to_owned());
            }
        }
    }
    let text = without_variables(&lines.join("\n"));
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    // Whether the next word is a file that is read or written.
    let mut names_file = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let inner: String = chars.by_ref().take_while(|next| *next != c).collect();
                word.get_or_insert_default().push_str(&inner);
            }
            '#' if word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            c if c.is_whitespace() || ";|&()<>".contains(c) => {
                // A number right before `>` is that of a stream.
                let stream = c == '>' && word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()));
                if let Some(done) = word.take()
                    && !std::mem::take(&mut names_file)
                    && !stream
                {
                    words.push(done);
                }
                match c {
                    '<' | '>' => names_file = true,
                    '\n' | ';' | '|' | '&' | '(' | ')' => commands.push(std::mem::take(&mut words)),
                    _ => {}
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.filter(|_| !names_file));
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    commands
}

/// Looks at one command.
///
/// # Errors
/// What no parser takes, or is not there.
fn check(words: &[String], form: Form) -> Result<bool, String> {
    let assigns = |word: &str| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
    };
    let begin = words.iter().position(|word| !assigns(word) && !BEFORE.contains(&&**word));
    let Some(words) = begin.map(|begin| &words[begin..]) else { return Ok(false) };
    for word in words {
        let inside =
            FOLDERS.iter().any(|folder| word.starts_with(folder)) && !MADE.iter().any(|made| word.starts_with(made));
        if inside && !word.contains(['*', '{']) && !root().join(word).exists() {
            return Err(format!("{word} is not there"));
        }
    }
    if let Some(at) = words.iter().position(|word| word == "--wrap") {
        return script(words.get(at + 1).map_or("", |script| script), form).map(|count| count > 0);
    }
    let (program, rest) = (words[0].as_str(), &words[1..]);
    match program.rsplit('/').next() {
        Some("burn-vlm") => program_line(rest, form).map(|()| true),
        Some("cargo") => cargo(rest, form).map(|()| true),
        Some(name) if program.contains("target/release/examples/") => example(name, rest, form).map(|()| true),
        _ => Ok(false),
    }
}

/// Commands of ours in a script.
fn script(text: &str, form: Form) -> Result<usize, String> {
    let mut count = 0;
    for words in simple_commands(text) {
        count += usize::from(check(&words, form).map_err(|error| format!("{}\n{error}", words.join(" ")))?);
    }
    Ok(count)
}

/// By a parser; a mention may lack what is required.
fn parse<P: Parser>(name: &str, words: &[String], form: Form) -> Result<Option<P>, String> {
    let line = std::iter::once(name).chain(words.iter().map(String::as_str));
    match P::try_parse_from(line) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(error) if form == Form::Mention && error.kind() == ErrorKind::MissingRequiredArgument => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn program_line(words: &[String], form: Form) -> Result<(), String> {
    let parsed = parse::<Program>("burn-vlm", words, form)?;
    match parsed.as_ref().and_then(Program::study) {
        Some(study) => named(study).map(|_| ()).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// The words behind an option.
fn values<'a>(words: &'a [String], option: &str) -> impl Iterator<Item = &'a str> {
    words.windows(2).filter(move |pair| pair[0] == option).map(|pair| &*pair[1])
}

/// The manifests of the workspace.
fn manifests() -> Vec<(PathBuf, toml::Table)> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = toml::from_str(&text).unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap().clone();
    let read = |member: &toml::Value| {
        let folder = root().join(member.as_str().unwrap());
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        (folder, toml::from_str(&text).unwrap())
    };
    let mut all: Vec<(PathBuf, toml::Table)> = members.iter().map(read).collect();
    all.push((root().to_owned(), workspace));
    all
}

fn cargo(words: &[String], form: Form) -> Result<(), String> {
    let split = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (own, behind) = (&words[..split], words.get(split + 1..).unwrap_or_default());
    let manifests = manifests();
    for option in NAMES {
        for name in values(own, option).flat_map(|name| name.split(',')) {
            let is_there = |(folder, manifest): &(PathBuf, toml::Table)| match option {
                "--features" => manifest.get("features").is_some_and(|features| features.get(name).is_some()),
                "-p" => manifest["package"]["name"].as_str() == Some(name),
                "--bin" => name == "burn-vlm",
                _ => {
                    let place = folder.join(format!("{}s", option.trim_start_matches('-').replace("bench", "benche")));
                    place.join(format!("{name}.rs")).is_file() || place.join(name).join("main.rs").is_file()
                }
            };
            if !manifests.iter().any(is_there) && !is_placeholder(name) {
                return Err(format!("`{option} {name}`: the workspace has no such thing"));
            }
        }
    }
    match (own.first().map(String::as_str), values(own, "--example").next(), values(own, "--bin").next()) {
        (Some("run"), Some(name), _) if !is_placeholder(name) => example(name, behind, form),
        (Some("run"), None, Some(_)) => program_line(behind, form),
        _ => Ok(()),
    }
}

/// `NAME`: what a reader puts there.
fn is_placeholder(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_uppercase())
}

fn example(name: &str, words: &[String], form: Form) -> Result<(), String> {
    match name {
        "chat" => parse::<ChatArgs>(name, words, form).map(|_| ()),
        "data" => parse::<DataArgs>(name, words, form).map(|_| ()),
        "evaluate" => parse::<EvaluateArgs>(name, words, form).map(|_| ()),
        "pretrain" => parse::<PretrainArgs>(name, words, form).map(|_| ()),
        "train" => parse::<TrainArgs>(name, words, form).map(|_| ()),
        "own_benchmark" | "own_connector" => parse::<StudyArgs>(name, words, form).map(|_| ()),
        _ if name.starts_with("ablate_") => parse::<StudyArgs>(name, words, form).map(|_| ()),
        // They take no options.
        _ => match words.iter().find(|word| word.starts_with('-')) {
            Some(word) => Err(format!("{name} has no option {word}")),
            None => Ok(()),
        },
    }
}

/// Arguments of `["/bin/sh", "-c"]` in a description of a cluster's job.
fn scripts_of_yaml(text: &str) -> impl Iterator<Item = &str> {
    text.split("args: [\"").skip(1).filter_map(|rest| rest.split_once("\"]")).map(|(script, _)| script)
}

#[test]
fn commands_in_blocks_are_taken() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for block in pages().iter().flat_map(|page| page.blocks()) {
        let scripts: Vec<&str> = match &*block.language {
            "bash" | "sh" => vec![&block.text],
            "yaml" => scripts_of_yaml(&block.text).collect(),
            _ => continue,
        };
        for text in scripts {
            match script(text, Form::Block) {
                Ok(count) => checked += count,
                Err(error) => wrong.push(format!("{}: {error}", block.place)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(checked > 70, "{checked} commands: were they found?");
}

#[test]
fn commands_in_sentences_are_taken() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for (place, text) in pages().iter().flat_map(|page| page.spans()) {
        if !["burn-vlm ", "cargo "].iter().any(|program| text.starts_with(program)) {
            continue;
        }
        // What a reader puts there, in words that the parsers take.
        let text = text.replace("I/N", "1/2").replace(" N ", " 1 ").replace(" ...", "");
        match script(&text, Form::Mention) {
            Ok(count) => checked += count,
            Err(error) => wrong.push(format!("{place}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(checked > 50, "{checked} commands: were they found?");
}

/// Help shows commands too, as a reader of the examples' help would type them.
#[test]
fn commands_in_the_help_are_taken() {
    let program = Program::command();
    let help = program.get_subcommands().chain([&program]).filter_map(clap::Command::get_after_help);
    let mut checked = 0;
    for text in help.map(ToString::to_string) {
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("cargo run ")) {
            checked += script(line, Form::Block).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert!(checked > 20, "{checked} commands: were they found?");
}

#[test]
fn scripts_become_words() {
    let text = "# a comment\nA=1 nice b 'c d' \\\n  \"$X-${Y}\" > out # why\n(e; f) 2> log && g $(h (i) j) | k\ncat <<EOF\nno\nEOF\nl\n";
    let found: Vec<String> = simple_commands(text).iter().map(|words| words.join("_")).collect();
    assert_eq!(found, ["A=1_nice_b_c d_1-1", "e", "f", "g_1", "k", "cat", "l"]);
}

#[test]
fn what_is_stale_is_found() {
    let block =
        |text: &str| script(text, Form::Block).map_err(|error| error.lines().nth(1).unwrap_or_default().to_owned());
    assert_eq!(block("ls; time X=2 burn-vlm study encoder --preset smoke"), Ok(1));
    for stale in [
        "burn-vlm study encoder --presets smoke",
        "burn-vlm study encodr",
        "burn-vlm chat",
        "cargo run --release --example train -- --recepi x.toml",
        "cargo run --release --example trane",
        "cargo test --test nothing",
        "cargo build --features cudo",
        "burn-vlm train recipes/nothing.toml",
        "sbatch --wrap 'burn-vlm study --nothing'",
    ] {
        assert!(block(stale).is_err(), "{stale}");
    }
    assert_eq!(script("burn-vlm chat", Form::Mention), Ok(1));
}
