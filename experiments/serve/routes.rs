//! The addresses, and the way of a request: who asks, is there a place, what is asked, and then to the model's thread.
//!
//! | address | what |
//! |---|---|
//! | `POST /v1/chat/completions` | an answer |
//! | `GET /v1/models`, `/v1/models/NAME` | the model's name |
//! | `GET /health` | whether requests are taken; needs no key |
//! | `GET /metrics` | counters for Prometheus |
//!
//! `/` is left free for a page.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use burn_vlm::generate::GenerationConfig;
use burn_vlm_base::files::read_regular;
use burn_vlm_data::source::{ImageRoot, Limits};
use burn_vlm_train::chat::{AnswerSettings, BatchLimits, ChatModel, ChatPrompt, PromptError, Said};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body;
use super::error::ApiError;
use super::log::Record;
use super::metrics::Metrics;
use super::reply::{Gathered, Head, now};
use super::request::{Allowed, ChatRequest, Part};
use super::stream::EventStream;
use super::worker::{Event, Job};

/// Most answers of a request, where there are places for so many.
const MOST_ANSWERS: usize = 64;
/// Characters of a path in the log.
const SHOWN: usize = 100;

/// What all requests share.
pub(super) struct Server {
    pub(super) chat: Arc<ChatModel>,
    /// Where the model is: no client's matter.
    pub(super) folder: PathBuf,
    /// What the model is called.
    pub(super) name: String,
    pub(super) limits: BatchLimits,
    /// Tokens of an answer whose request does not say how many.
    pub(super) max_new_tokens: usize,
    /// Bytes of a body.
    pub(super) body_limit: usize,
    /// Where pictures may be named as files.
    pub(super) image_root: Option<ImageRoot>,
    /// The hash of the key, if one is needed.
    pub(super) key: Option<blake3::Hash>,
    pub(super) quiet: bool,
    pub(super) metrics: Arc<Metrics>,
    /// Answers that are taken, those that wait included.
    pub(super) places: Arc<Semaphore>,
    /// How many there are.
    pub(super) capacity: usize,
    pub(super) jobs: Sender<Job>,
    /// Nothing new is taken.
    pub(super) ending: AtomicBool,
    /// The model's thread has ended.
    pub(super) broken: Arc<AtomicBool>,
    pub(super) created: u64,
}

/// The addresses of a server.
pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/metrics", get(metrics))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(server.clone(), with_key))
        .route("/health", get(health).fallback(other_method))
        .with_state(server)
}

impl Server {
    fn record(&self, request: &Request) -> Record {
        let path: String = request.uri().path().chars().take(SHOWN).collect();
        Record::new(self.metrics.clone(), self.quiet, format!("{} {path}", request.method()))
    }

    /// Whether the request has the key. The time that this takes does not depend on where two keys differ.
    fn knows(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let error = |message: &str| Err(ApiError::new(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message));
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            return error("this server needs a key: send the header `Authorization: Bearer KEY`");
        };
        let scheme = b"bearer ";
        let given = given.as_bytes();
        let bearer = given.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
        // Hashes are compared in constant time.
        match bearer && blake3::hash(given[scheme.len()..].trim_ascii()) == *key {
            true => Ok(()),
            false => error("the key is not this server's"),
        }
    }

    fn places(&self, count: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.places.clone().try_acquire_many_owned(count).map_err(|_| {
            let message = format!(
                "all {} places are taken ({} answers are written at a time, the others wait): try again later",
                self.capacity, self.limits.rows
            );
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, Some("queue_full"), message);
            ApiError { retry_after: Some(self.metrics.retry_after(self.limits.rows)), ..error }
        })
    }

    /// The bytes of a picture that is a file of this machine.
    fn file(&self, name: &str) -> Result<Vec<u8>, String> {
        let root = self.image_root.as_ref().ok_or(
            "not a data URI, and this server reads no files (it was started without --image-root); send the picture itself",
        )?;
        let path = root.file(name).map_err(|reason| reason.detail)?;
        read_regular(&path, Limits::default().max_entry_bytes).map_err(|error| error.to_string())
    }

    /// What a request asks for, ready for the model's thread. Takes time: pictures are decoded here.
    fn prepare(&self, body: &[u8], first: OwnedSemaphorePermit) -> Result<Ready, ApiError> {
        let allowed = Allowed { model: &self.name, n: self.capacity.min(MOST_ANSWERS) };
        let request = ChatRequest::parse(body, allowed, &|name| self.file(name))?;
        let mut places = vec![first];
        if request.n > 1 {
            places.push(self.places(request.n - 1)?);
        }
        let said = request.messages.iter();
        let said: Vec<Said<'_>> = said
            .map(|message| Said { role: message.role, pieces: message.parts.iter().map(Part::piece).collect() })
            .collect();
        let prompt = self.chat.prepare(&said).map_err(|error| told(error, &request, &self.folder))?;
        let room = self.chat.most_new_tokens(prompt.tokens(), &self.limits);
        if room == 0 {
            let message = format!(
                "the conversation has {} tokens, pictures included, which with one token of an answer is more than the memory for keys \
                 and values holds: {} bytes (--cache-memory)",
                prompt.tokens(),
                self.limits.cache_bytes.unwrap_or(usize::MAX)
            );
            return Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::field("messages", message) });
        }
        let own = &self.chat.generation;
        let generation = GenerationConfig {
            max_new_tokens: request.max_tokens.unwrap_or(self.max_new_tokens).min(room),
            temperature: request.temperature.unwrap_or(own.temperature),
            top_k: request.top_k.or(own.top_k).filter(|k| *k > 0),
            top_p: request.top_p.or(own.top_p),
            repetition_penalty: request.repetition_penalty.unwrap_or(own.repetition_penalty),
            seed: request.seed.unwrap_or_else(random),
            ..own.clone()
        };
        let answer = |index| {
            let (generation, stop) = (generation.clone(), request.stop.clone());
            AnswerSettings { generation, stop, logprobs: request.logprobs, index }
        };
        Ok(Ready {
            prompt,
            answers: (0..request.n).map(answer).collect(),
            places,
            logprobs: request.logprobs.is_some(),
            stream: request.stream,
            include_usage: request.include_usage,
        })
    }
}

/// A number that is another for every request.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A request that has been read.
struct Ready {
    prompt: ChatPrompt,
    answers: Vec<AnswerSettings>,
    places: Vec<OwnedSemaphorePermit>,
    logprobs: bool,
    stream: bool,
    include_usage: bool,
}

/// A conversation that cannot be answered, by the field that is wrong.
fn told(error: PromptError, request: &ChatRequest, folder: &std::path::Path) -> ApiError {
    let message = error.to_string().replace(&format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR), "");
    let picture = |number: usize| {
        let parts = request.messages.iter().flat_map(|message| &message.parts);
        let mut fields = parts.filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Picture { field, .. } => Some(field.clone()),
        });
        fields.nth(number).unwrap_or_else(|| "messages".to_owned())
    };
    let with = |param: String, code| ApiError { code: Some(code), ..ApiError::field(param, message.clone()) };
    match error {
        PromptError::NoPictures(_) => with(picture(0), "image_not_supported"),
        PromptError::Picture { number, .. } => with(picture(number), "invalid_image"),
        PromptError::Mark { turn, .. } => with(format!("messages[{turn}].content"), "invalid_value"),
        PromptError::Conversation(_) => with("messages".to_owned(), "invalid_conversation"),
        PromptError::TooLong { .. } => with("messages".to_owned(), "context_length_exceeded"),
        PromptError::Model(_) => ApiError::internal(message),
    }
}

/// Ends a request that is answered at once.
fn end(mut record: Record, response: impl IntoResponse) -> Response {
    let response = response.into_response();
    record.status(response.status().as_u16());
    record.ended();
    response
}

async fn with_key(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    match server.knows(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let record = server.record(&request);
            body::throw_away(request.into_body()).await;
            end(record, error)
        }
    }
}

async fn health(State(server): State<Arc<Server>>) -> Response {
    let (status, word) = if server.broken.load(Ordering::Relaxed) {
        (StatusCode::INTERNAL_SERVER_ERROR, "broken")
    } else if server.ending.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "ending")
    } else {
        (StatusCode::OK, "ok")
    };
    (status, Json(json!({ "status": word }))).into_response()
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], server.metrics.text()).into_response()
}

fn described(server: &Server) -> Value {
    json!({ "id": server.name, "object": "model", "created": server.created, "owned_by": "burn-vlm" })
}

async fn models(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    end(record, Json(json!({ "object": "list", "data": [described(&server)] })))
}

async fn model(State(server): State<Arc<Server>>, Path(name): Path<String>, request: Request) -> Response {
    let record = server.record(&request);
    if name == server.name {
        return end(record, Json(described(&server)));
    }
    let message = format!("there is no model {:?}; this server has `{}`", shorten(&name), server.name);
    let error = ApiError::new(StatusCode::NOT_FOUND, Some("model_not_found"), message);
    end(record, ApiError { param: Some("model".into()), ..error })
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

async fn nowhere(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    let message = format!(
        "there is nothing at {:?}; there is POST /v1/chat/completions, GET /v1/models, /health and /metrics",
        shorten(request.uri().path())
    );
    body::throw_away(request.into_body()).await;
    end(record, ApiError::new(StatusCode::NOT_FOUND, Some("not_found"), message))
}

async fn other_method(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    let message = format!("{} is not for {:?}", request.method(), shorten(request.uri().path()));
    body::throw_away(request.into_body()).await;
    end(record, ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), message))
}

async fn chat(State(server): State<Arc<Server>>, request: Request) -> Response {
    // Dropped with this future when the client leaves.
    let mut record = server.record(&request);
    match begin(&server, request, &mut record).await {
        Err(error) => end(record, error),
        Ok(Begun { head, events, answers, stream: true, include_usage }) => {
            record.status(StatusCode::OK.as_u16());
            let tokenizer = server.chat.processor.tokenizer().clone();
            EventStream::new(head, tokenizer, (events, answers), include_usage, record).into_response()
        }
        Ok(Begun { head, events, answers, .. }) => match gather(events, answers, &mut record).await {
            Ok(answers) => end(record, Json(head.completion(&answers, server.chat.processor.tokenizer()))),
            Err(error) => end(record, error),
        },
    }
}

/// A request in the batch.
struct Begun {
    head: Head,
    events: UnboundedReceiver<Event>,
    answers: usize,
    stream: bool,
    include_usage: bool,
}

/// Takes a request, or says why not, up to where its answers begin.
async fn begin(server: &Arc<Server>, request: Request, record: &mut Record) -> Result<Begun, ApiError> {
    let (parts, body) = request.into_parts();
    let place = match taken(server, &parts.headers) {
        Ok(place) => place,
        Err(error) => {
            body::throw_away(body).await;
            return Err(error);
        }
    };
    let waits = server.metrics.waits();
    let bytes = body::read(body, server.body_limit).await?;
    let preparing = server.clone();
    let ready = tokio::task::spawn_blocking(move || preparing.prepare(&bytes, place)).await;
    let ready = ready.map_err(|_| ApiError::internal("the request could not be prepared: a library panicked"))??;
    let Ready { prompt, answers, places, logprobs, stream, include_usage } = ready;
    record.read(prompt.tokens());
    let head = Head {
        id: format!("chatcmpl-{:016x}", random()),
        created: now(),
        model: server.name.clone(),
        prompt_tokens: prompt.tokens(),
        logprobs,
    };
    let (sender, mut events) = unbounded_channel();
    let count = answers.len();
    let job = Job { prompt, answers, events: sender, places, waits, came: record.came() };
    let gone = || ApiError::internal("the model's thread has ended; start the server again");
    server.jobs.send(job).map_err(|_| gone())?;
    match events.recv().await {
        Some(Event::Failed(message)) => Err(ApiError::internal(message)),
        Some(_) => Ok(Begun { head, events, answers: count, stream, include_usage }),
        None => Err(gone()),
    }
}

/// A place for a request, whatever it asks.
fn taken(server: &Server, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
    if server.ending.load(Ordering::Relaxed) {
        return Err(ApiError::ending());
    }
    // A page of another site cannot send this type without being asked, so that no page sends requests here unseen.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = format!("the body is {:?}; send the header `Content-Type: application/json`", shorten(kind));
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"), message));
    }
    server.places(1)
}

/// All answers of a request, whole.
async fn gather(
    mut events: UnboundedReceiver<Event>,
    answers: usize,
    record: &mut Record,
) -> Result<Vec<Gathered>, ApiError> {
    let mut gathered = vec![Gathered::default(); answers];
    while !gathered.iter().all(Gathered::has_ended) {
        match events.recv().await {
            Some(Event::Part { answer, part }) => {
                record.wrote(part.tokens);
                if let Some(answer) = gathered.get_mut(answer) {
                    answer.add(part);
                }
            }
            Some(Event::Begun) => {}
            Some(Event::Failed(message)) => return Err(ApiError::internal(message)),
            None => return Err(ApiError::internal("the model's thread has ended; start the server again")),
        }
    }
    Ok(gathered)
}
