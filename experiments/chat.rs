//! The chat: one question, or a conversation in the terminal.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_vlm_train::ablation::chain;
use burn_vlm_train::chat::{AnswerStats, ChatModel, ChatSession};
use burn_vlm_train::device::{DeviceChoice, choose};
use clap::Parser;
use rustyline::error::ReadlineError;

use crate::AnyError;

const COMMANDS: &str =
    "/image FILE shows a picture with the next question, /new begins a new conversation, /help, /quit";

/// Talk to a vision-language model about pictures
#[derive(Debug, Parser)]
#[command(
    max_term_width = 100,
    after_help = "Examples:\n  \
        cargo run --release --example chat -- --model llava-1.5-7b-hf --image cat.jpg\n      \
        a conversation about a picture\n  \
        cargo run --release --example chat -- --model runs/encoder/tiny/cells/siglip2/en/seed0 --image apple.png --prompt 'What is this?'\n      \
        one question to a model trained here\n\n\
        DIR is a folder in the Hugging Face layout: config.json, model.safetensors (or shards), tokenizer.json, a chat\n\
        template, preprocessor_config.json."
)]
struct ChatArgs {
    /// The model: a checkpoint's folder, or a finished cell of a study
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// A picture to talk about; several times for several
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,

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
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,

    /// Sample among the K likeliest tokens
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,

    /// Sample among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,

    /// Make tokens that have occurred less likely: above 1
    #[arg(long, value_name = "R")]
    repetition_penalty: Option<f64>,

    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// End answers before this text; several times for several
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,

    /// Print the answer only
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `examples/chat` with the command line of this process.
pub fn chat() -> ExitCode {
    match run(&ChatArgs::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &ChatArgs) -> Result<(), AnyError> {
    let chosen = choose(args.device)?;
    let begin = std::time::Instant::now();
    let mut chat = ChatModel::load(&args.model, &chosen.device)?;
    chat.stop_strings = args.stop.clone();
    let generation = &mut chat.generation;
    generation.seed = args.seed;
    generation.max_new_tokens = args.max_new_tokens;
    generation.temperature = args.temperature.unwrap_or(generation.temperature);
    generation.top_k = args.top_k.or(generation.top_k);
    generation.top_p = args.top_p.or(generation.top_p);
    generation.repetition_penalty = args.repetition_penalty.unwrap_or(generation.repetition_penalty);
    if !args.quiet {
        eprintln!("{} on {}, loaded in {:.1} s", args.model.display(), chosen.choice, begin.elapsed().as_secs_f64());
    }
    let mut session = chat.session();
    if let Some(system) = &args.system {
        session.set_system(system);
    }
    for image in &args.image {
        show(&mut session, image, args.quiet)?;
    }
    let mut total = Total::default();
    let result = match &args.prompt {
        Some(prompt) => question(prompt).and_then(|text| answer(&mut session, &text, &mut total)),
        None => converse(&mut session, args.quiet, &mut total),
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
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text.trim_end().to_owned())
}

fn show(session: &mut ChatSession<'_>, path: &Path, quiet: bool) -> Result<(), AnyError> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read the picture {}: {error}", path.display()))?;
    let tokens = session.add_image(&path.display().to_string(), &bytes)?;
    if !quiet {
        eprintln!("picture {}: {} ({tokens} visual tokens)", session.num_images(), path.display());
    }
    Ok(())
}

/// Asks and prints the answer as it comes.
fn answer(session: &mut ChatSession<'_>, question: &str, total: &mut Total) -> Result<(), AnyError> {
    let mut answer = session.ask(question)?;
    let mut out = std::io::stdout();
    for piece in answer.by_ref() {
        out.write_all(piece?.as_bytes())?;
        out.flush()?;
    }
    writeln!(out)?;
    total.add(answer.stats());
    Ok(())
}

/// Reads questions until the end of the input.
fn converse(session: &mut ChatSession<'_>, quiet: bool, total: &mut Total) -> Result<(), AnyError> {
    if !quiet && std::io::stdin().is_terminal() {
        eprintln!("{COMMANDS}");
    }
    let mut editor = rustyline::DefaultEditor::new()?;
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
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
            "/image" => show(session, Path::new(rest.trim()), quiet),
            other if other.starts_with('/') => {
                eprintln!("unknown command {other}: {COMMANDS}");
                Ok(())
            }
            _ => answer(session, line, total),
        };
        // A picture that cannot be read, say: the conversation goes on.
        if let Err(error) = result {
            eprintln!("error: {}", chain(&*error));
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
        if self.answers == 0 {
            return;
        }
        let (read, seconds) = (self.sum.prompt_tokens - self.sum.reused_tokens, self.sum.prefill.as_secs_f64());
        let later = self.sum.new_tokens.saturating_sub(self.answers);
        let decode = self.sum.decode.as_secs_f64();
        eprintln!(
            "read {read} tokens in {seconds:.2} s ({:.0} tokens/s), wrote {} ({:.1} tokens/s)",
            read as f64 / seconds.max(1e-9),
            self.sum.new_tokens,
            if later == 0 { 0.0 } else { later as f64 / decode.max(1e-9) },
        );
    }
}
