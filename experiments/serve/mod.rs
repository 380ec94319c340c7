//! A server with OpenAI's chat API: `burn-vlm serve`.
//!
//! It belongs to the program and not to a crate: what a library user needs to answer many conversations at once, without HTTP, is
//! [`ChatBatch`](burn_vlm_train::chat::ChatBatch), and nobody who trains models is to build a web server with them.
//!
//! ```text
//! client ──► origin ──► routes: key, place, body ──► request: fields ──► ChatModel::prepare: template, tokens, pixels   (any thread)
//!                                                                  │ Job
//!                                                                  ▼
//!        stream or reply ◄── Event ── worker: ChatBatch, one token of every answer a step        (a thread for each model)
//! ```
//!
//! Unusual here:
//! - a client that leaves is noticed by its closed channel, streaming or not, and its place in the batch is free at the next token;
//! - whoever is told to wait (429) is told how long, and whoever sends a body that is not wanted still sees the answer;
//! - unknown fields are refused: a `max_token` that is passed over is an answer that nobody asked for;
//! - the page at `/` is a part of the program, and the only page of a browser that is answered.

mod body;
pub(crate) mod connections;
mod error;
mod fetch;
mod format;
mod inspect;
mod log;
mod metrics;
pub(crate) mod origin;
mod page;
mod reply;
mod request;
mod routes;
mod shown;
mod stream;
mod twice;
mod worker;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn_vlm_data::source::ImageRoot;
use burn_vlm_data::video::Clips;
use burn_vlm_train::chat::{BatchLimits, ChatModel, model_folder};
use burn_vlm_train::device::{ChosenDevice, choose};
use clap::Parser;
use tokio::sync::{Notify, Semaphore};

use crate::AnyError;
use crate::args::{FrameArgs, Place, bytes};
use crate::call::examples;
use crate::chat::warn_of_other_base;
use crate::compute::in_pool;
use crate::signals::left_to_the_server;
use fetch::{AllowedHost, Fetcher};
use metrics::Metrics;
use routes::{Hosted, Server, router};

/// Tokens of a question that the memory for keys and values must have room for: a short one, without a picture.
const SHORT_QUESTION: usize = 64;
/// How long replies that are written may take to reach their clients at the end.
const LAST_REPLIES_WITHIN: Duration = Duration::from_secs(10);

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("serve", "--model llava-1.5-7b-hf --dtype bf16", "on http://127.0.0.1:8000, for programs of this machine"),
        ("serve", "--model runs/train/emoji/model --name emoji --port 0", "a model trained here, on a free port"),
        (
            "serve",
            "--model llava-1.5-7b-hf --name base --model llava-1.5-7b-hf --name tuned --adapter tuned=my-lora",
            "a model beside itself with an adapter, to compare them on the page",
        ),
        (
            "serve",
            "--model llava-1.5-7b-hf --allow-fetch=images.example.org",
            "pictures by their addresses, of one host",
        ),
        (
            "serve",
            "--model TowerVision-2B --host 0.0.0.0 --api-key-env SERVE_KEY",
            "for other machines: SERVE_KEY holds the key that clients send",
        ),
    ];
    let more = "curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\\n  \
                -d '{\"model\": \"llava-1.5-7b-hf\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n\n\
                A page to talk to the models is at the address itself. docs/serving.md has what there is, what differs from OpenAI's API, and an example with openai-python.";
    examples(&lines, more)
}

/// Answer conversations about pictures and videos over HTTP, as OpenAI's chat API does
#[derive(Debug, Parser)]
#[command(name = "serve", max_term_width = 100, after_help = help())]
pub(crate) struct ServeArgs {
    /// The model: a checkpoint's folder, a decoder's GGUF file, or a finished cell of a study; several times for several
    #[arg(long, value_name = "DIR", required = true)]
    model: Vec<PathBuf>,

    /// What clients call it [default: the name of its folder]; of several models once for each, in their order
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Vec<String>,

    /// A low-rank adapter (LoRA, DoRA) in peft's layout, beside the model's weights. Of several models it is for all, or, as NAME=DIR, for
    /// the one of that name
    #[arg(long, value_name = "[NAME=]DIR")]
    adapter: Vec<String>,

    /// The address to listen on. Programs of other machines reach another one only, such as 0.0.0.0
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,

    /// The port; 0 takes one that is free, which the first line of the output names
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,

    /// Take requests with a key only: the value of this environment variable
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// Read pictures and videos that are named as files below this folder; without it, they are in the requests
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,

    /// Fetch pictures and videos that are named by http(s) addresses: of this HOST (HOST:PORT), several times for several, or, without
    /// one, of all that are on the public internet. Whoever may ask then chooses what this machine fetches
    #[arg(
        long, value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = AllowedHost::ANY,
        value_parser = AllowedHost::parse
    )]
    allow_fetch: Vec<AllowedHost>,

    /// How long all addresses of a request may take together
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = positive_seconds, requires = "allow_fetch")]
    fetch_timeout: f64,

    /// Answers that are written at a time, of each model
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Answers that may wait besides, of each model; others are refused with 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: u16,

    /// Tokens of an answer whose request does not say how many
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,

    /// The most memory for keys and values of each model, such as 2GB: fewer answers are written at a time [default: what --batch answers need]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    cache_memory: Option<u64>,

    /// The most memory for features of pictures that may be asked about again, of each model
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = bytes)]
    picture_cache: u64,

    /// The largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "32MB", value_parser = bytes)]
    body_limit: u64,

    #[command(flatten)]
    frames: FrameArgs,

    #[command(flatten)]
    place: Place,

    /// Print no line for every request
    #[arg(long, short)]
    quiet: bool,
}

impl ServeArgs {
    /// The key of the environment.
    fn key(&self) -> Result<Option<blake3::Hash>, AnyError> {
        let Some(name) = &self.api_key_env else { return Ok(None) };
        match std::env::var(name) {
            Ok(key) if !key.trim().is_empty() => Ok(Some(blake3::hash(key.trim().as_bytes()))),
            Ok(_) => Err(format!("--api-key-env: the environment variable {name} is empty").into()),
            Err(_) => Err(format!("--api-key-env: there is no environment variable {name} with a text").into()),
        }
    }

    /// The address, and whether nothing but this machine reaches it.
    fn address(&self) -> Result<SocketAddr, AnyError> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found = found.map_err(|error| format!("--host {}: {error}", self.host))?.next();
        found.ok_or_else(|| format!("--host {}: no address", self.host).into())
    }

    /// The models' names: those of their folders, unless others are given.
    fn names(&self) -> Result<Vec<String>, AnyError> {
        let own = |model: &PathBuf| {
            let folder = model.canonicalize().unwrap_or_else(|_| model.clone());
            folder.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
        };
        let (models, given) = (self.model.len(), self.name.len());
        if given > 0 && given != models {
            return Err(format!(
                "--name is given {given} times for {models} models: name each of them, in the order of --model"
            )
            .into());
        }
        let names = if given > 0 { self.name.clone() } else { self.model.iter().map(own).collect() };
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, name)) => Err(format!(
                "two models are called `{name}`: give each a name of its own with --name, in the order of --model"
            )
            .into()),
            None => Ok(names),
        }
    }

    /// The adapter of each model.
    fn adapters(&self, names: &[String]) -> Result<Vec<Option<PathBuf>>, AnyError> {
        let mut adapters: Vec<Option<PathBuf>> = vec![None; names.len()];
        for given in &self.adapter {
            let after = |name: &String| given.strip_prefix(name.as_str())?.strip_prefix('=');
            let named = names.iter().enumerate().find_map(|(at, name)| Some((at, after(name)?)));
            let (models, folder) = match named {
                Some((at, folder)) => (at..at + 1, Path::new(folder)),
                None => (0..names.len(), Path::new(given)),
            };
            if !folder.is_dir() {
                let why = match given.split_once('=') {
                    Some((name, _)) if named.is_none() => format!("there is no model `{name}` ({})", names.join(", ")),
                    _ => "there is no such folder".to_owned(),
                };
                return Err(format!("--adapter {given}: {why}").into());
            }
            for at in models {
                if adapters[at].replace(folder.to_owned()).is_some() {
                    return Err(format!("--adapter {given}: the model `{}` has an adapter already", names[at]).into());
                }
            }
        }
        Ok(adapters)
    }
}

/// A name that clients can write.
fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err("expected a name without spaces around it, such as emoji or org/emoji".to_owned());
    }
    Ok(text.to_owned())
}

/// More than no time, and no more than a client waits.
fn positive_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0 && *seconds <= 3600.0);
    seconds.ok_or_else(|| "expected seconds, more than 0 and at most 3600".to_owned())
}

fn listen(address: SocketAddr) -> Result<TcpListener, AnyError> {
    let help = "another program listens there, or the address is not this machine's; --port 0 takes a free port";
    TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error} ({help})").into())
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), AnyError> {
    let key = args.key()?;
    let root = |folder: &PathBuf| {
        ImageRoot::closed(folder).map_err(|error| format!("--image-root {}: {error}", folder.display()))
    };
    let image_root = args.image_root.as_ref().map(root).transpose()?;
    let address = args.address()?;
    // A port that is taken is told before the model is loaded, and nobody waits at it until then.
    drop(listen(address)?);
    let names = args.names()?;
    let adapters = args.adapters(&names)?;
    // What is no model is told before another one is loaded.
    args.model.iter().try_for_each(|model| model_folder(model).map(drop))?;
    let chosen = choose(args.place.device)?;
    if !address.ip().is_loopback() && key.is_none() {
        eprintln!(
            "warning: {address} is reached from other machines, and whoever reaches it may ask: set a key with --api-key-env"
        );
    }
    let limits = BatchLimits {
        rows: usize::from(args.batch),
        cache_bytes: args.cache_memory.map(size),
        feature_bytes: size(args.picture_cache),
    };
    let metrics = Arc::new(Metrics::default());
    let capacity = usize::from(args.batch) + usize::from(args.queue);
    let mut models = Vec::with_capacity(names.len());
    for ((name, folder), adapter) in names.into_iter().zip(&args.model).zip(adapters) {
        let chat = load(folder, adapter.as_deref(), &chosen, args)?;
        if chat.most_new_tokens(SHORT_QUESTION, &limits) == 0 {
            let bytes = args.cache_memory.unwrap_or_default();
            return Err(format!(
                "--cache-memory: {bytes} bytes do not hold the keys and values of one question of {SHORT_QUESTION} tokens of {name}; give more"
            )
            .into());
        }
        let clips = clips(&name, &chat, &args.frames)?;
        models.push(host(
            (name, model_folder(folder)?),
            chat,
            (adapter.is_some(), clips),
            (limits, capacity),
            &metrics,
        )?);
    }
    let fetcher = (!args.allow_fetch.is_empty()).then(|| {
        let within = Duration::from_secs_f64(args.fetch_timeout);
        Fetcher::new(args.allow_fetch.clone(), within, size(args.body_limit))
    });
    // Whoever fetches waits, and keeps nobody from preparing what has come.
    let waiting = fetcher.as_ref().map_or(0, |_| capacity * models.len());
    let preparing = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
    let own_name = (address.ip().is_loopback() && key.is_none()).then(|| args.host.clone());
    let server = Arc::new(Server {
        places: Arc::new(Semaphore::new(capacity * models.len())),
        models,
        limits,
        max_new_tokens: args.max_new_tokens as usize,
        body_limit: size(args.body_limit),
        image_root,
        fetcher,
        prepared: Semaphore::new(preparing),
        key,
        quiet: args.quiet,
        metrics,
        capacity,
        ending: AtomicBool::new(false),
        ends: Notify::new(),
        own_name,
        created: reply::now(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(preparing + waiting)
        .thread_name("serve")
        .enable_io()
        .enable_time()
        .build()?;
    let served = runtime.block_on(serve(server, listen(address)?));
    // Not waited for: a client that does not read its reply.
    runtime.shutdown_background();
    served
}

/// Loads a model, and says so.
fn load(folder: &Path, adapter: Option<&Path>, chosen: &ChosenDevice, args: &ServeArgs) -> Result<ChatModel, AnyError> {
    warn_of_other_base(adapter, folder)?;
    let begin = Instant::now();
    let chat: ChatModel = ChatModel::load_adapted(folder, adapter, &chosen.device, args.place.dtype.options())?;
    if !chat.unread_settings.is_empty() {
        eprintln!(
            "warning: generation_config.json asks for {}, which this program does not do",
            chat.unread_settings.join(", ")
        );
    }
    let with = adapter.map_or_else(String::new, |adapter| format!(" with {}", adapter.display()));
    let (folder, seconds) = (folder.display(), begin.elapsed().as_secs_f64());
    eprintln!("{folder}{with} on {}, loaded in {seconds:.1} s", chosen.choice);
    Ok(chat)
}

/// What shows videos to a model; nothing for one that is shown none.
///
/// # Errors
/// A rule that cannot choose frames, a folder for frames that cannot be made.
fn clips(name: &str, chat: &ChatModel, frames: &FrameArgs) -> Result<Option<Arc<Clips>>, AnyError> {
    let settings = frames.settings()?;
    if chat.vlm().is_err() {
        return Ok(None);
    }
    match chat.processor.frame_processor() {
        Ok(frames) => Ok(Some(Clips::new(&settings, frames, Path::new(""))?)),
        Err(error) => {
            eprintln!("{name} is shown no videos: {error}");
            Ok(None)
        }
    }
}

/// Gives a model its thread, which ends with the program.
fn host(
    (name, folder): (String, PathBuf),
    chat: ChatModel,
    (adapted, clips): (bool, Option<Arc<Clips>>),
    (limits, capacity): (BatchLimits, usize),
    metrics: &Arc<Metrics>,
) -> Result<Hosted, AnyError> {
    let (chat, broken) = (Arc::new(chat), Arc::new(AtomicBool::new(false)));
    let (jobs, waiting) = std::sync::mpsc::channel();
    let work = {
        let (name, chat, metrics, broken) = (name.clone(), chat.clone(), metrics.clone(), broken.clone());
        move || {
            if let Err(message) = worker::work(&chat, limits, &waiting, &metrics) {
                eprintln!("error: the thread of the model {name} has ended: {message}");
                broken.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::Builder::new().name("model".into()).spawn(|| in_pool(work))?;
    let places = Arc::new(Semaphore::new(capacity));
    Ok(Hosted { name, chat, folder, adapted, clips, places, jobs, broken })
}

/// Serves until a signal asks for an end, then finishes what is running.
async fn serve(server: Arc<Server>, listener: TcpListener) -> Result<(), AnyError> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut signals = Signals::new()?;
    left_to_the_server();
    {
        use std::io::Write;
        let mut out = std::io::stdout();
        let names: Vec<&str> = server.models.iter().map(|model| model.name.as_str()).collect();
        let what = if names.len() == 1 { "model" } else { "models" };
        writeln!(out, "listening on http://{} with the {what} {}", listener.local_addr()?, names.join(", "))?;
        out.flush()?;
    }
    let (close, closing) = tokio::sync::watch::channel(false);
    let mut serving = std::pin::pin!(connections::serve(listener, router(server.clone()), closing));
    tokio::select! {
        () = &mut serving => return Ok(()),
        () = signals.next() => {}
    }
    server.ending.store(true, Ordering::Relaxed);
    server.ends.notify_waiters();
    eprintln!("ending: what is running is finished, nothing new is taken (once more to end at once)");
    let last = async {
        let all = u32::try_from(server.all_places()).unwrap_or(u32::MAX);
        let done = server.places.acquire_many(all).await;
        // Connections that are waited for hold a receiver; without any there is nobody to tell.
        let _ = close.send(true);
        drop(done);
        tokio::time::sleep(LAST_REPLIES_WITHIN).await;
    };
    tokio::select! {
        () = serving => Ok(()),
        () = last => Ok(()),
        () = signals.next() => {
            server.metrics.cut();
            Err("ended before the answers under way".into())
        }
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// The next of either.
    async fn next(&mut self) {
        #[cfg(unix)]
        let terminated = self.terminate.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<Option<()>>();
        tokio::select! {
            _ = terminated => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(options: &[&str]) -> ServeArgs {
        ServeArgs::parse_from([&["serve", "--model", "models/tiny"][..], options].concat())
    }

    #[test]
    fn options_are_checked_before_a_model_is_loaded() {
        for (options, words) in [
            (["--api-key-env", "BURN_VLM_NO_SUCH_VARIABLE"], "BURN_VLM_NO_SUCH_VARIABLE"),
            (["--image-root", "nowhere"], "nowhere"),
            (["--host", "no host"], "no host"),
        ] {
            let error = run(&args(&options)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let error = run(&args(&["--port", &port])).unwrap_err().to_string();
        assert!(error.contains(&port) && error.contains("--port 0"), "{error}");
        assert!(ServeArgs::try_parse_from(["serve", "--model", "m", "--batch", "0"]).is_err());
    }

    #[test]
    fn a_model_is_called_as_its_folder() {
        assert_eq!(args(&[]).names().unwrap(), ["tiny"]);
        assert_eq!(args(&["--name", "org/tiny"]).names().unwrap(), ["org/tiny"]);
        assert!(args(&[]).address().unwrap().ip().is_loopback());
        for wrong in ["", " ", " tiny", "a\nb"] {
            let error = ServeArgs::try_parse_from(["serve", "--model", "m", "--name", wrong]).unwrap_err().to_string();
            assert!(error.contains("such as emoji"), "{error}");
        }
        assert!(ServeArgs::try_parse_from(["serve"]).unwrap_err().to_string().contains("--model"));
    }

    #[test]
    fn several_models_have_names_and_adapters_of_their_own() {
        let several = args(&["--model", "other/tiny"]);
        assert!(several.names().unwrap_err().to_string().contains("`tiny`"));
        let error = args(&["--model", "b", "--name", "a"]).names().unwrap_err().to_string();
        assert!(error.contains("1 times for 2 models"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let both = ["--model", "b", "--name", "a", "--name", "b=c"];
        let adapters = |more: &[&str]| {
            let args = args(&[&both[..], more].concat());
            args.adapters(&args.names().unwrap()).map_err(|error| error.to_string())
        };
        let own = Some(folder.path().to_owned());
        assert_eq!(adapters(&[]), Ok(vec![None, None]));
        assert_eq!(adapters(&["--adapter", &path]), Ok(vec![own.clone(), own.clone()]));
        assert_eq!(adapters(&["--adapter", &format!("a={path}")]), Ok(vec![own.clone(), None]));
        assert_eq!(adapters(&["--adapter", &format!("b=c={path}")]), Ok(vec![None, own]));
        assert!(adapters(&["--adapter", &path, "--adapter", &format!("a={path}")]).unwrap_err().contains("already"));
        assert!(adapters(&["--adapter", &format!("x={path}")]).unwrap_err().contains("no model `x` (a, b=c)"));
        assert!(adapters(&["--adapter", "nowhere"]).unwrap_err().contains("no such folder"));
    }
}
