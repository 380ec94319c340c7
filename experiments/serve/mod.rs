//! A server with OpenAI's chat API: `burn-vlm serve`.
//!
//! It belongs to the program and not to a crate: what a library user needs to answer many conversations at once, without HTTP, is
//! [`ChatBatch`](burn_vlm_train::chat::ChatBatch), and nobody who trains models is to build a web server with them.
//!
//! ```text
//! client ──► routes: key, place, body ──► request: fields ──► ChatModel::prepare: template, tokens, pixels   (any thread)
//!                                                                  │ Job
//!                                                                  ▼
//!        stream or reply ◄── Event ── worker: ChatBatch, one token of every answer a step        (the model's thread)
//! ```
//!
//! Unusual here:
//! - a client that leaves is noticed by its closed channel, streaming or not, and its place in the batch is free at the next token;
//! - whoever is told to wait (429) is told how long, and whoever sends a body that is not wanted still sees the answer;
//! - unknown fields are refused: a `max_token` that is passed over is an answer that nobody asked for.

mod body;
mod error;
mod log;
mod metrics;
mod reply;
mod request;
mod routes;
mod stream;
mod worker;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn_vlm_data::source::ImageRoot;
use burn_vlm_train::chat::{BatchLimits, ChatModel, model_folder};
use burn_vlm_train::device::choose;
use clap::Parser;
use tokio::sync::Semaphore;

use crate::AnyError;
use crate::args::{Place, bytes};
use crate::call::examples;
use metrics::Metrics;
use routes::{Server, router};

/// How long replies that are written may take to reach their clients at the end.
const LAST_REPLIES_WITHIN: Duration = Duration::from_secs(10);

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("serve", "--model llava-1.5-7b-hf --dtype bf16", "on http://127.0.0.1:8000, for programs of this machine"),
        ("serve", "--model runs/train/emoji/model --name emoji --port 0", "a model trained here, on a free port"),
        (
            "serve",
            "--model TowerVision-2B --host 0.0.0.0 --api-key-env SERVE_KEY",
            "for other machines: SERVE_KEY holds the key that clients send",
        ),
    ];
    let more = "curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\\n  \
                -d '{\"model\": \"llava-1.5-7b-hf\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n\n\
                docs/serving.md has what there is, what differs from OpenAI's API, and an example with openai-python.";
    examples(&lines, more)
}

/// Answer conversations about pictures over HTTP, as OpenAI's chat API does
#[derive(Debug, Parser)]
#[command(name = "serve", max_term_width = 100, after_help = help())]
pub(crate) struct ServeArgs {
    /// The model: a checkpoint's folder, or a finished cell of a study
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// What clients call it [default: the name of its folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The address to listen on. Programs of other machines reach another one only, such as 0.0.0.0
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,

    /// The port; 0 takes one that is free, which the first line of the output names
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,

    /// Take requests with a key only: the value of this environment variable
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// Read pictures that are named as files below this folder; without it, pictures are in the requests
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,

    /// Answers that are written at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Answers that may wait besides; others are refused with 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: u16,

    /// Tokens of an answer whose request does not say how many
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,

    /// The most memory for keys and values, such as 2GB: fewer answers are written at a time [default: what --batch answers need]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    cache_memory: Option<u64>,

    /// The most memory for features of pictures that may be asked about again
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = bytes)]
    picture_cache: u64,

    /// The largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "32MB", value_parser = bytes)]
    body_limit: u64,

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

    /// The model's name: that of its folder.
    fn name(&self) -> String {
        let folder = self.model.canonicalize().unwrap_or_else(|_| self.model.clone());
        let part = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        self.name.clone().or_else(|| part(&folder)).unwrap_or_else(|| "model".to_owned())
    }
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
        ImageRoot::new(folder, false).map_err(|error| format!("--image-root {}: {error}", folder.display()))
    };
    let image_root = args.image_root.as_ref().map(root).transpose()?;
    let address = args.address()?;
    // A port that is taken is told before the model is loaded, and nobody waits at it until then.
    drop(listen(address)?);
    let folder = model_folder(&args.model)?;
    let chosen = choose(args.place.device)?;
    let begin = Instant::now();
    let chat: ChatModel = ChatModel::load_as(&args.model, &chosen.device, args.place.dtype.store())?;
    if !chat.unread_settings.is_empty() {
        eprintln!(
            "warning: generation_config.json asks for {}, which this program does not do",
            chat.unread_settings.join(", ")
        );
    }
    if !address.ip().is_loopback() && key.is_none() {
        eprintln!(
            "warning: {address} is reached from other machines, and whoever reaches it may ask: set a key with --api-key-env"
        );
    }
    eprintln!("{} on {}, loaded in {:.1} s", args.model.display(), chosen.choice, begin.elapsed().as_secs_f64());
    let limits = BatchLimits {
        rows: usize::from(args.batch),
        cache_bytes: args.cache_memory.map(size),
        feature_bytes: size(args.picture_cache),
    };
    let (chat, metrics, broken) = (Arc::new(chat), Arc::new(Metrics::default()), Arc::new(AtomicBool::new(false)));
    let (jobs, waiting) = std::sync::mpsc::channel();
    {
        let (chat, metrics, broken) = (chat.clone(), metrics.clone(), broken.clone());
        let work = move || {
            if let Err(message) = worker::work(&chat, limits, &waiting, &metrics) {
                eprintln!("error: the model's thread has ended: {message}");
                broken.store(true, Ordering::Relaxed);
            }
        };
        // It ends with the program.
        std::thread::Builder::new().name("model".into()).spawn(work)?;
    }
    let capacity = usize::from(args.batch) + usize::from(args.queue);
    let server = Arc::new(Server {
        chat,
        folder,
        name: args.name(),
        limits,
        max_new_tokens: args.max_new_tokens as usize,
        body_limit: size(args.body_limit),
        image_root,
        key,
        quiet: args.quiet,
        metrics,
        places: Arc::new(Semaphore::new(capacity)),
        capacity,
        jobs,
        ending: AtomicBool::new(false),
        broken,
        created: reply::now(),
    });
    let preparing = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(preparing.max(2))
        .thread_name("serve")
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(serve(server, listen(address)?))?;
    // Not waited for: a client that does not read its reply.
    runtime.shutdown_background();
    Ok(())
}

/// Serves until a signal asks for an end, then finishes what is running.
async fn serve(server: Arc<Server>, listener: TcpListener) -> Result<(), AnyError> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut signals = Signals::new()?;
    {
        use std::io::Write;
        let mut out = std::io::stdout();
        writeln!(out, "listening on http://{} with the model {}", listener.local_addr()?, server.name)?;
        out.flush()?;
    }
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, router(server.clone()));
    let serving = serving.with_graceful_shutdown(async move {
        // A sender that is gone asks for the same.
        let _ = closed.await;
    });
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = signals.next() => {}
    }
    server.ending.store(true, Ordering::Relaxed);
    eprintln!("ending: what is running is finished, nothing new is taken (once more to end at once)");
    let last = async {
        let all = u32::try_from(server.capacity).unwrap_or(u32::MAX);
        let done = server.places.acquire_many(all).await;
        let _ = close.send(());
        drop(done);
        tokio::time::sleep(LAST_REPLIES_WITHIN).await;
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = last => Ok(()),
        () = signals.next() => Err("ended before the answers under way".into()),
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
        assert_eq!(args(&[]).name(), "tiny");
        assert_eq!(args(&["--name", "org/tiny"]).name(), "org/tiny");
        assert!(args(&[]).address().unwrap().ip().is_loopback());
    }
}
