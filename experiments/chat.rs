//! The chat: one question, or a conversation in the terminal.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_vlm::checkpoint::other_base;
use burn_vlm::generate::GenerationConfig;
use burn_vlm_base::files::{FileError, read_regular};
use burn_vlm_data::constrain::{Json, Schema};
use burn_vlm_data::source::Limits;
use burn_vlm_data::video::{Clip, Clips, VideoReader, VideoSettings};
use burn_vlm_train::chat::{AnswerStats, ChatModel, ChatSession, model_folder};
use burn_vlm_train::device::choose;
use burn_vlm_train::error::TrainError;
use clap::Parser;
use rustyline::error::ReadlineError;

use crate::AnyError;
use crate::args::{FrameArgs, Place};
use crate::call::examples;
use crate::compute::in_pool;

const COMMANDS: &str = "/image FILE or /video FILE shows a picture or a video with the next question, /new begins a new conversation, /help, /quit";

/// The most bytes of a schema's file.
const LARGEST_SCHEMA: u64 = 4 << 20;

/// The end of `--help`.
fn help() -> String {
    let cell = "--model runs/encoder/tiny/cells/siglip2/en/seed0 --image tests/fixtures/images/cat_451x300.png --prompt 'What is this?'";
    let lines = [
        ("chat", "--model llava-1.5-7b-hf --image cat.jpg", "a conversation about a picture"),
        ("chat", cell, "one question to a model trained here"),
        (
            "chat",
            "--model TowerVideo-2B --video clip.mp4 --frames 32 --prompt 'What happens?'",
            "one question about a video",
        ),
        ("chat", "--model SmolLM2-135M-Instruct", "a conversation with a language model alone, without pictures"),
    ];
    let folder = "DIR is a folder in the Hugging Face layout: config.json, model.safetensors (or shards), tokenizer.json, a chat\n\
                  template, preprocessor_config.json (a language model alone needs none). On a CPU --dtype q4 and q8 are the fastest.";
    examples(&lines, folder)
}

/// Talk to a vision-language model about pictures and videos, or to a language model alone
#[derive(Debug, Parser)]
#[command(name = "chat", max_term_width = 100, after_help = help())]
pub(crate) struct ChatArgs {
    /// The model: a checkpoint's folder, a decoder's GGUF file, or a finished cell of a study
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// A low-rank adapter (LoRA, DoRA) in peft's layout, beside the model's weights
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// A picture to talk about; several times for several. Of a file whose name begins with `-`: --image=-cat.png
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,

    /// A video to talk about (mp4, webm, mkv, gif, ..., read by the ffmpeg program), or a folder of frames; several times for several.
    /// A model that takes no videos is shown its frames as pictures
    #[arg(long, value_name = "FILE")]
    video: Vec<PathBuf>,

    #[command(flatten)]
    frames: FrameArgs,

    /// Ask this, print the answer and end; `-` reads the question from standard input
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Instructions before the conversation, for templates that have a place for them
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_new_tokens: usize,

    /// Sample at this temperature; 0 takes the likeliest token [default: the model's generation_config.json, else 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,

    /// Sample among the K likeliest tokens; 0 for all [default: the model's generation_config.json, else 50]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,

    /// Sample among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,

    /// Make tokens that have occurred less likely: above 1
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,

    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// End answers before this text; several times for several
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Keep answers to JSON that the schema in this file allows (docs/serving.md tells which keywords); one that --max-new-tokens cuts is
    /// an error
    #[arg(long, value_name = "FILE")]
    json_schema: Option<PathBuf>,

    #[command(flatten)]
    place: Place,

    /// Print the answer only
    #[arg(long, short)]
    quiet: bool,
}

impl ChatArgs {
    /// Puts what the command line says over what the model's files say.
    fn apply(&self, generation: &mut GenerationConfig) {
        generation.seed = self.seed;
        generation.max_new_tokens = self.max_new_tokens;
        generation.temperature = self.temperature.unwrap_or(generation.temperature);
        generation.top_k = self.top_k.or(generation.top_k).filter(|k| *k > 0);
        generation.top_p = self.top_p.or(generation.top_p);
        generation.repetition_penalty = self.repetition_penalty.unwrap_or(generation.repetition_penalty);
    }

    /// The schema that answers are kept to.
    fn schema(&self) -> Result<Option<Schema>, AnyError> {
        let Some(path) = &self.json_schema else { return Ok(None) };
        let wrong = |words: String| format!("--json-schema {}: {words}", path.display());
        let bytes = read_regular(path, LARGEST_SCHEMA).map_err(|error| wrong(why(&error)))?;
        let schema: Json = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("no JSON: {error}")))?;
        Ok(Some(Schema::new(&schema).map_err(|error| wrong(error.to_string()))?))
    }

    /// What can be found wrong before the model is loaded, which may take minutes.
    fn check(&self) -> Result<(), AnyError> {
        self.schema()?;
        let mut generation = GenerationConfig::default();
        self.apply(&mut generation);
        generation.validate()?;
        for image in &self.image {
            picture_bytes(image)?;
        }
        let VideoSettings { sampling, reading, .. } = self.frames.settings()?;
        // Standard input is read later.
        if let Some(prompt) = self.prompt.as_deref().filter(|prompt| *prompt != "-") {
            check_asked(prompt, "--prompt")?;
        }
        for video in &self.video {
            check_local(video)?;
            let mut video = VideoReader::new(reading.clone()).open(video)?;
            let name = video.name().to_owned();
            let info = video.info()?;
            sampling.indices(&name, info.decoded.unwrap_or(info.frames), info.fps)?;
        }
        Ok(())
    }

    /// Options that do nothing, since nothing is sampled.
    fn idle_options(&self, generation: &GenerationConfig) -> Option<String> {
        let given = [("--top-k", self.top_k.is_some()), ("--top-p", self.top_p.is_some()), ("--seed", self.seed != 0)];
        let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        (generation.temperature == 0.0 && !given.is_empty()).then(|| given.join(", "))
    }
}

/// Refuses addresses of the web, which look like files that are not there.
fn check_local(path: &Path) -> Result<(), AnyError> {
    let text = path.to_string_lossy().to_lowercase();
    match ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        true => {
            Err(format!("{} is an address, and chat fetches nothing: download it, and name the file", path.display())
                .into())
        }
        false => Ok(()),
    }
}

/// The encoded picture: a regular file of a size that pictures have.
fn picture_bytes(path: &Path) -> Result<Vec<u8>, AnyError> {
    check_local(path)?;
    let most = Limits::default().max_entry_bytes;
    read_regular(path, most)
        .map_err(|error| format!("cannot read the picture {}: {}", path.display(), why(&error)).into())
}

/// Why a file cannot be read, without its name.
fn why(error: &FileError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Runs `examples/chat` with the command line of this process.
pub fn chat() -> ExitCode {
    crate::end(in_pool(|| run(&crate::parse_line())))
}

/// Says where an adapter was trained on other weights than the model's.
pub(crate) fn warn_of_other_base(adapter: Option<&Path>, model: &Path) -> Result<(), AnyError> {
    if let Some(adapter) = adapter
        && let Some(other) = other_base(adapter, &model_folder(model)?)?
    {
        eprintln!("warning: {}", other.message);
    }
    Ok(())
}

pub(crate) fn run(args: &ChatArgs) -> Result<(), AnyError> {
    args.check()?;
    warn_of_other_base(args.adapter.as_deref(), &args.model)?;
    let chosen = choose(args.place.device)?;
    let begin = std::time::Instant::now();
    let mut chat =
        ChatModel::load_adapted(&args.model, args.adapter.as_deref(), &chosen.device, args.place.dtype.options())?;
    chat.stop_strings = args.stop.clone();
    args.apply(&mut chat.generation);
    if let Some(options) = args.idle_options(&chat.generation) {
        eprintln!(
            "warning: {options} without effect: the temperature is 0, which takes the likeliest token; add --temperature 1"
        );
    }
    if !chat.unread_settings.is_empty() {
        eprintln!(
            "warning: generation_config.json asks for {}, which this program does not do",
            chat.unread_settings.join(", ")
        );
    }
    if !args.quiet {
        eprintln!("{} on {}, loaded in {:.1} s", args.model.display(), chosen.choice, begin.elapsed().as_secs_f64());
    }
    let form = args
        .schema()?
        .map(|schema| chat.form(schema))
        .transpose()
        .map_err(|error| format!("--json-schema: {error}"))?;
    let mut session = chat.session();
    session.form = form;
    if let Some(system) = &args.system {
        session.set_system(system);
    }
    for image in &args.image {
        show(&mut session, image, args.quiet)?;
    }
    // Why a model is shown no videos matters to those who show one.
    let clips = match chat.vlm() {
        Ok(_) => chat.clips(&args.frames.settings()?).map_err(|error| error.to_string()),
        Err(_) => {
            Err("a language model alone is shown no videos; name the folder of a vision-language model".to_owned())
        }
    };
    for video in &args.video {
        show_video(&mut session, video, &clips, args.quiet)?;
    }
    let mut total = Total::default();
    let result = match &args.prompt {
        Some(prompt) => question(prompt).and_then(|text| answer(&mut session, &text, args.quiet, &mut total)),
        None => converse(&mut session, &clips, args.quiet, &mut total),
    };
    if !args.quiet {
        total.print();
    }
    result
}

/// The question of `--prompt`.
fn question(prompt: &str) -> Result<String, AnyError> {
    if prompt != "-" {
        return Ok(prompt.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("the question on standard input: {error}"))?;
    check_asked(&text, "standard input (--prompt -)")?;
    Ok(text.trim_end().to_owned())
}

/// Refuses a question without words: in a script, most often one whose variable or file is empty.
fn check_asked(question: &str, place: &str) -> Result<(), AnyError> {
    match question.trim().is_empty() {
        true => Err(format!("{place}: the question is empty; write one, such as --prompt \"What is this?\"").into()),
        false => Ok(()),
    }
}

fn show(session: &mut ChatSession<'_>, path: &Path, quiet: bool) -> Result<(), AnyError> {
    let bytes = picture_bytes(path)?;
    let tokens = session.add_image(&path.display().to_string(), &bytes)?;
    if !quiet {
        eprintln!("picture {}: {} ({tokens} visual tokens)", session.num_images(), path.display());
    }
    Ok(())
}

fn show_video(
    session: &mut ChatSession<'_>,
    path: &Path,
    clips: &Result<Arc<Clips>, String>,
    quiet: bool,
) -> Result<(), AnyError> {
    check_local(path)?;
    let clips = clips.as_ref().map_err(String::as_str)?;
    let (tokens, record) = session.add_video(&Clip::File(path.to_owned()), clips)?;
    if let Some(damage) = &record.damage {
        eprintln!("warning: {} is not whole and is shown as far as it goes: {damage}", path.display());
    }
    if !quiet {
        eprintln!(
            "video {}: {} by {} ({tokens} visual tokens): {}",
            path.display(),
            record.shown(),
            record.sampling.name(),
            numbers(&record.indices)
        );
    }
    Ok(())
}

/// The most numbers of frames that are printed, half of them from the beginning and half from the end.
const NUMBERS: usize = 40;

/// Numbers of frames; of many, the first and the last.
fn numbers(indices: &[usize]) -> String {
    let words = |part: &[usize]| part.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    if indices.len() <= NUMBERS {
        return words(indices);
    }
    let (first, last) = (&indices[..NUMBERS / 2], &indices[indices.len() - NUMBERS / 2..]);
    format!("{} ... {}", words(first), words(last))
}

/// Asks and prints the answer as it comes.
fn answer(session: &mut ChatSession<'_>, question: &str, quiet: bool, total: &mut Total) -> Result<(), AnyError> {
    let most = session.generation.max_new_tokens;
    let of_a_form = session.form.is_some();
    let mut answer = session.ask(question)?;
    let mut out = std::io::stdout();
    for piece in answer.by_ref() {
        out.write_all(piece?.as_bytes())?;
        out.flush()?;
    }
    writeln!(out)?;
    let (stats, cut) = (answer.stats(), answer.is_cut());
    if stats.new_tokens == 0 && !quiet {
        let why = match most {
            0 => "no token was asked for (--max-new-tokens 0)",
            _ => "the model ended its turn at once",
        };
        eprintln!("wrote nothing: {why}; the prompt has {} tokens", stats.prompt_tokens);
    }
    total.add(stats);
    if !cut {
        return Ok(());
    }
    let why = cut_because(stats.new_tokens, most);
    // What came of it is no JSON, which a program that reads it must know.
    if of_a_form {
        return Err(format!("the answer was cut before it was what --json-schema asks for: {why}").into());
    }
    if !quiet && most > 0 {
        eprintln!("the answer was cut: {why}");
    }
    Ok(())
}

/// Why an answer ended that the model had not ended, after so many tokens of the `most` that were asked for.
fn cut_because(tokens: usize, most: usize) -> String {
    if tokens < most {
        format!("with {tokens} tokens of it the conversation is as long as the model reads (max_position_embeddings)")
    } else {
        format!("it has as many tokens as --max-new-tokens allows ({most})")
    }
}

/// Reads questions until the end of the input.
fn converse(
    session: &mut ChatSession<'_>,
    clips: &Result<Arc<Clips>, String>,
    quiet: bool,
    total: &mut Total,
) -> Result<(), AnyError> {
    if !quiet && std::io::stdin().is_terminal() {
        eprintln!("{COMMANDS}");
    }
    let piped = !std::io::stdin().is_terminal();
    let mut number = 0;
    let mut editor = rustyline::DefaultEditor::new()?;
    loop {
        number += 1;
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            // The line is read by then; the next one may be text. Where nobody sees that, answers would no longer be in the questions' order.
            Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                let what = "is not valid UTF-8";
                if piped {
                    return Err(format!("standard input, line {number}: {what}").into());
                }
                eprintln!("error: the line {what}, and is passed over");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // An entry that cannot be remembered is no reason to end.
        let _ = editor.add_history_entry(line);
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let result = match command {
            "/quit" | "/exit" => return Ok(()),
            "/help" => {
                eprintln!("{COMMANDS}");
                Ok(())
            }
            "/new" => {
                session.clear();
                Ok(())
            }
            "/image" | "/video" if rest.trim().is_empty() => {
                Err(format!("{command} needs a file: /image cat.jpg, /video clip.mp4").into())
            }
            "/video" => show_video(session, Path::new(rest.trim()), clips, quiet),
            "/image" => show(session, Path::new(rest.trim()), quiet),
            other if other.starts_with('/') => Err(format!("unknown command {other}: {COMMANDS}").into()),
            _ => answer(session, line, quiet, total),
        };
        // A picture or a video that cannot be read, say: the conversation goes on where somebody sees that. Where nobody does, the next
        // question would be asked without it.
        if let Err(error) = result {
            // Whoever reads the answers has seen enough.
            if error.downcast_ref().is_some_and(crate::is_broken_pipe) {
                return Err(error);
            }
            if piped {
                return Err(TrainError::within(format!("standard input, line {number}"))(error).into());
            }
            eprintln!("{}", crate::explain(&*error));
        }
    }
}

/// Sums over the answers.
#[derive(Default)]
struct Total {
    answers: usize,
    sum: AnswerStats,
}

impl Total {
    fn add(&mut self, stats: AnswerStats) {
        self.answers += 1;
        self.sum.prompt_tokens += stats.prompt_tokens;
        self.sum.reused_tokens += stats.reused_tokens;
        self.sum.new_tokens += stats.new_tokens;
        self.sum.prefill += stats.prefill;
        self.sum.decode += stats.decode;
    }

    fn print(&self) {
        if self.answers == 0 || self.sum.new_tokens == 0 {
            return;
        }
        let (read, seconds) = (self.sum.prompt_tokens - self.sum.reused_tokens, self.sum.prefill.as_secs_f64());
        let later = self.sum.new_tokens.saturating_sub(self.answers);
        let decode = self.sum.decode.as_secs_f64();
        let rate =
            if later == 0 { String::new() } else { format!(" ({:.1} tokens/s)", later as f64 / decode.max(1e-9)) };
        eprintln!(
            "read {read} tokens in {seconds:.2} s ({:.0} tokens/s, pictures and videos included), wrote {}{rate}",
            read as f64 / seconds.max(1e-9),
            self.sum.new_tokens,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(options: &[&str]) -> ChatArgs {
        ChatArgs::parse_from([&["chat", "--model", "m"][..], options].concat())
    }

    #[test]
    fn options_are_checked_before_a_model_is_loaded() {
        for (options, word) in [
            (["--temperature=-1", "--top-k=5"], "temperature"),
            (["--temperature", "-1"], "temperature"),
            (["--top-p", "1.5"], "top_p"),
            (["--repetition-penalty", "0"], "repetition_penalty"),
            (["--image", "nowhere.png"], "nowhere.png"),
            (["--video", "nowhere.mp4"], "nowhere.mp4"),
        ] {
            let error = args(&options).check().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(args(&["--top-k", "0", "--max-new-tokens", "0"]).check().is_ok());
        for frames in ["0", "4097"] {
            let error = ChatArgs::try_parse_from(["chat", "--model", "m", "--frames", frames]).unwrap_err().to_string();
            assert!(error.contains("--frames") && error.contains("1..=4096"), "{error}");
        }
    }

    #[test]
    fn many_numbers_are_abbreviated() {
        let all: Vec<usize> = (0..4096).collect();
        assert_eq!(numbers(&all[..3]), "0 1 2");
        let short = numbers(&all);
        assert!(short.starts_with("0 1 2 ") && short.contains(" 19 ... 4076 ") && short.ends_with(" 4095"), "{short}");
        assert_eq!(numbers(&all[..40]).split(' ').count(), 40);
    }

    #[test]
    fn the_command_line_wins_and_idle_options_are_named() {
        let mut generation = GenerationConfig { top_k: Some(20), temperature: 0.7, ..Default::default() };
        let off = args(&["--top-k", "0", "--temperature", "0", "--seed", "3"]);
        off.apply(&mut generation);
        assert_eq!((generation.top_k, generation.temperature, generation.seed), (None, 0.0, 3));
        assert_eq!(off.idle_options(&generation).as_deref(), Some("--top-k, --seed"));
        generation.temperature = 0.5;
        assert_eq!(off.idle_options(&generation), None);
    }
}
