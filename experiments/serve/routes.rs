//! The addresses, and the way of a request: who asks, is there a place, what is asked, and then to the model's thread.
//!
//! | address | what |
//! |---|---|
//! | `GET /` | a page to talk to the models; needs no key |
//! | `POST /v1/chat/completions` | an answer |
//! | `POST /v1/inspect` | what the model is shown of the pictures |
//! | `GET /v1/models`, `/v1/models/NAME` | the models' names, and what they can do |
//! | `GET /health` | whether requests are taken; needs no key |
//! | `GET /metrics` | counters for Prometheus |
//!
//! A request has a place among all that are taken, whatever it asks, before its body is read; once that says which model is asked, it needs
//! one of that model's places besides, one for each of its answers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use burn_vlm::generate::GenerationConfig;
use burn_vlm_data::source::ImageRoot;
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_data::video::{Clips, GivesUp, Waiting};
use burn_vlm_train::chat::{AnswerSettings, BatchLimits, ChatModel, ChatPrompt, PromptError, Said};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::body;
use super::error::ApiError;
use super::fetch::{Fetcher, Fetching};
use super::inspect::inspection;
use super::log::Record;
use super::metrics::Metrics;
use super::reply::{Gathered, Head, now};
use super::request::{Allowed, ChatRequest, Part, Sources, no_model};
use super::stream::EventStream;
use super::worker::{Event, Job};
use super::{origin, page};

/// Most answers of a request, where there are places for so many.
const MOST_ANSWERS: usize = 64;
/// How long bodies that are still coming have when the server ends.
const LAST_BODIES_WITHIN: Duration = Duration::from_secs(5);
/// Characters of a path in the log.
const SHOWN: usize = 100;

/// A model that a server has, and the way to its thread.
pub(super) struct Hosted {
    /// What it is called.
    pub(super) name: String,
    pub(super) chat: Arc<ChatModel>,
    /// Where it is: no client's matter.
    pub(super) folder: PathBuf,
    /// Whether an adapter is beside its weights.
    pub(super) adapted: bool,
    /// What shows videos to it; nothing where it is shown none.
    pub(super) clips: Option<Arc<Clips>>,
    /// Answers that it takes, those that wait included: [`Server::capacity`].
    pub(super) places: Arc<Semaphore>,
    pub(super) jobs: Sender<Job>,
    /// Its thread has ended.
    pub(super) broken: Arc<AtomicBool>,
}

/// What all requests share.
pub(super) struct Server {
    pub(super) models: Vec<Hosted>,
    pub(super) limits: BatchLimits,
    /// Tokens of an answer whose request does not say how many.
    pub(super) max_new_tokens: usize,
    /// Bytes of a body.
    pub(super) body_limit: usize,
    /// Where pictures may be named as files.
    pub(super) image_root: Option<ImageRoot>,
    /// What fetches pictures of other machines, where it may.
    pub(super) fetcher: Option<Fetcher>,
    /// How many requests are prepared at a time: their pictures are decoded then.
    pub(super) prepared: Semaphore,
    /// The hash of the key, if one is needed.
    pub(super) key: Option<blake3::Hash>,
    pub(super) quiet: bool,
    pub(super) metrics: Arc<Metrics>,
    /// Requests that are taken: as many as all models together have places.
    pub(super) places: Arc<Semaphore>,
    /// How many places a model has.
    pub(super) capacity: usize,
    /// Nothing new is taken.
    pub(super) ending: AtomicBool,
    /// Told once that it is so.
    pub(super) ends: Notify,
    /// What this machine is called, where the server is for it alone and asks for no key.
    pub(super) own_name: Option<String>,
    pub(super) created: u64,
}

/// The addresses of a server.
pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/inspect", post(inspect))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/metrics", get(metrics))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(server.clone(), with_key))
        .route("/", get(the_page).fallback(other_method))
        .route("/health", get(health).fallback(other_method))
        .layer(middleware::from_fn_with_state(server.clone(), from_here))
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

    /// The models' names.
    fn names(&self) -> Vec<&str> {
        self.models.iter().map(|model| model.name.as_str()).collect()
    }

    /// Most answers of a request.
    fn most_answers(&self) -> usize {
        self.capacity.min(MOST_ANSWERS)
    }

    /// How many requests are taken at a time.
    pub(super) fn all_places(&self) -> usize {
        self.capacity * self.models.len()
    }

    /// Places for `count` answers, of all that there are or of a model's.
    fn places(&self, places: &Arc<Semaphore>, count: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        places.clone().try_acquire_many_owned(count).map_err(|_| {
            let message = format!(
                "all {} places of the model are taken ({} answers are written at a time, the others wait): try again later",
                self.capacity, self.limits.rows
            );
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, Some("queue_full"), message);
            ApiError { retry_after: Some(self.metrics.retry_after(self.limits.rows)), ..error }
        })
    }

    /// A picture or a video that is a file of this machine.
    fn file(&self, name: &str) -> Result<PathBuf, String> {
        let root = self.image_root.as_ref().ok_or(
            "not a data URI, and this server reads no files (it was started without --image-root); send the file itself",
        )?;
        root.file(name).map_err(|reason| reason.detail)
    }

    /// What a body asks. Takes time: what it names is read and fetched here.
    fn parse(&self, body: &[u8]) -> Result<ChatRequest, ApiError> {
        let allowed = Allowed { models: &self.names(), n: self.most_answers() };
        let fetching = self.fetcher.as_ref().map(Fetcher::request);
        let closed = "a remote address, and this server fetches nothing (it was started without --allow-fetch); send the file itself";
        let remote = |address: &str| {
            fetching.as_ref().map_or(Err(closed.to_owned()), |fetching: &Fetching<'_>| fetching.get(address))
        };
        ChatRequest::parse(body, allowed, &Sources { file: &|name| self.file(name), remote: &remote })
    }

    /// The model that a request is for.
    fn model_of(&self, request: &ChatRequest) -> Result<&Hosted, ApiError> {
        self.models.get(request.model).ok_or_else(|| ApiError::internal("a model that is not there"))
    }

    /// What a request asks for, ready for the model's thread. Takes time: pictures are decoded here.
    fn prepare(&self, request: &ChatRequest, taken: OwnedSemaphorePermit) -> Result<Ready, ApiError> {
        let model = self.model_of(request)?;
        let places = vec![taken, self.places(&model.places, request.n)?];
        if request.routing && model.chat.experts() == 0 {
            let message = format!("`routing`: the model `{}` has no experts that words choose among", model.name);
            return Err(ApiError::unsupported("routing", message));
        }
        let prompt = model.conversation(request)?;
        let room = model.chat.most_new_tokens(prompt.tokens(), &self.limits);
        if room == 0 {
            let message = format!(
                "the conversation has {} tokens, pictures and videos included, which with one token of an answer is more than the memory for keys \
                 and values holds: {} bytes (--cache-memory)",
                prompt.tokens(),
                self.limits.cache_bytes.unwrap_or(usize::MAX)
            );
            return Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::field("messages", message) });
        }
        let form = request.schema.clone().map(|schema| model.chat.form(schema)).transpose();
        let form = form.map_err(|error| ApiError::unsupported("response_format", error.to_string()))?;
        let own = &model.chat.generation;
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
            AnswerSettings { generation, stop, logprobs: request.logprobs, index, form: form.clone() }
        };
        Ok(Ready {
            model: request.model,
            prompt,
            answers: (0..request.n).map(answer).collect(),
            places,
            logprobs: request.logprobs.is_some(),
            routing: request.routing,
            stream: request.stream,
            include_usage: request.include_usage,
        })
    }
}

impl Hosted {
    /// A request's conversation, as the model reads it.
    fn conversation(&self, request: &ChatRequest) -> Result<ChatPrompt, ApiError> {
        let said = request.messages.iter();
        let said: Vec<Said<'_>> = said
            .map(|message| Said { role: message.role, pieces: message.parts.iter().map(Part::piece).collect() })
            .collect();
        self.chat.prepare_with(&said, self.clips.as_ref()).map_err(|error| told(error, request, &self.folder))
    }
}

/// A number that is another for every request.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A request that has been read.
struct Ready {
    /// Which model is asked.
    model: usize,
    prompt: ChatPrompt,
    answers: Vec<AnswerSettings>,
    places: Vec<OwnedSemaphorePermit>,
    logprobs: bool,
    routing: bool,
    stream: bool,
    include_usage: bool,
}

/// A conversation that cannot be answered, by the field that is wrong.
fn told(error: PromptError, request: &ChatRequest, folder: &std::path::Path) -> ApiError {
    let message = error.to_string().replace(&format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR), "");
    let picture = |number: usize| {
        let parts = request.messages.iter().flat_map(|message| &message.parts);
        parts.filter_map(Part::field).nth(number).unwrap_or("messages").to_owned()
    };
    let with = |param: String, code| ApiError { code: Some(code), ..ApiError::field(param, message.clone()) };
    match error {
        PromptError::NoPictures(_) => with(picture(0), "image_not_supported"),
        PromptError::Picture { number, .. } => with(picture(number), "invalid_image"),
        PromptError::NoVideos { number } => with(picture(number), "video_not_supported"),
        PromptError::Video { number, .. } => with(picture(number), "invalid_video"),
        PromptError::Mark { turn, .. } => with(format!("messages[{turn}].content"), "invalid_value"),
        PromptError::Conversation(_) => with("messages".to_owned(), "invalid_conversation"),
        PromptError::TooManyFrames { number, .. } => with(picture(number), "context_length_exceeded"),
        PromptError::TooLong { .. } => with("messages".to_owned(), "context_length_exceeded"),
        PromptError::Model(_) => ApiError::internal(message),
    }
}

/// Ends a request with an error, whose code and field are in its line.
fn refuse(mut record: Record, error: ApiError) -> Response {
    record.refused(&error);
    end(record, error)
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
            refuse(record, error)
        }
    }
}

/// Lets nobody in but programs and the page of this server.
async fn from_here(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    match origin::check(request.headers(), server.own_name.as_deref()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let record = server.record(&request);
            body::throw_away(request.into_body()).await;
            refuse(record, error)
        }
    }
}

async fn the_page(State(server): State<Arc<Server>>, request: Request) -> Response {
    end(server.record(&request), page::page())
}

async fn health(State(server): State<Arc<Server>>) -> Response {
    let broken = server.models.iter().any(|model| model.broken.load(Ordering::Relaxed));
    let (status, word) = if broken {
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

/// A model as OpenAI's API has it, and what its clients cannot know: under a name of its own what it can do, and how it answers those who
/// do not say.
fn described(server: &Server, model: &Hosted) -> Value {
    let GenerationConfig { temperature, top_k, top_p, repetition_penalty, .. } = &model.chat.generation;
    json!({
        "id": model.name,
        "object": "model",
        "created": server.created,
        "owned_by": "burn-vlm",
        "burn_vlm": {
            "pictures": model.chat.model.vlm().is_some(),
            "videos": model.clips.is_some(),
            "experts": model.chat.experts(),
            "adapter": model.adapted,
            "context": model.chat.model.language_model().config().max_position_embeddings(),
            "max_tokens": server.max_new_tokens,
            "max_n": server.most_answers(),
            "body_limit": server.body_limit,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repetition_penalty": repetition_penalty,
        },
    })
}

async fn models(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    let all: Vec<Value> = server.models.iter().map(|model| described(&server, model)).collect();
    end(record, Json(json!({ "object": "list", "data": all })))
}

async fn model(State(server): State<Arc<Server>>, Path(name): Path<String>, request: Request) -> Response {
    let record = server.record(&request);
    match server.models.iter().find(|model| model.name == name) {
        Some(model) => end(record, Json(described(&server, model))),
        None => refuse(record, no_model(&name, &server.names())),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

async fn nowhere(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    let message = format!(
        "there is nothing at {:?}; there is POST /v1/chat/completions and /v1/inspect, GET /v1/models, /health and /metrics, and a page \
         at /",
        shorten(request.uri().path())
    );
    body::throw_away(request.into_body()).await;
    refuse(record, ApiError::new(StatusCode::NOT_FOUND, Some("not_found"), message))
}

async fn other_method(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    let message = format!("{} is not for {:?}", request.method(), shorten(request.uri().path()));
    body::throw_away(request.into_body()).await;
    refuse(record, ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), message))
}

async fn chat(State(server): State<Arc<Server>>, request: Request) -> Response {
    // Dropped with this future when the client leaves.
    let mut record = server.record(&request);
    match begin(&server, request, &mut record).await {
        Err(error) => refuse(record, error),
        Ok(Begun { head, tokenizer, events, answers, stream: true, include_usage }) => {
            record.status(StatusCode::OK.as_u16());
            EventStream::new(head, tokenizer, (events, answers), include_usage, record).into_response()
        }
        Ok(Begun { head, tokenizer, events, answers, .. }) => match gather(events, answers, &mut record).await {
            Ok(answers) => end(record, Json(head.completion(&answers, &tokenizer))),
            Err(error) => refuse(record, error),
        },
    }
}

async fn inspect(State(server): State<Arc<Server>>, request: Request) -> Response {
    let record = server.record(&request);
    match look(&server, request).await {
        Ok(inspection) => end(record, Json(inspection)),
        Err(error) => refuse(record, error),
    }
}

/// What a model is shown of a conversation.
async fn look(server: &Arc<Server>, request: Request) -> Result<Value, ApiError> {
    let (place, bytes) = received(server, request).await?;
    let request = parsed(server, bytes).await?;
    prepared(server, move |server| {
        // Given back when the pictures are.
        let _place = place;
        let model = server.model_of(&request)?;
        let prompt = model.conversation(&request)?;
        inspection(&model.chat, &model.name, &request, &prompt)
    })
    .await
}

/// The work of a thread of its own.
async fn apart<T: Send + 'static>(
    server: &Arc<Server>,
    work: impl FnOnce(&Server) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let server = server.clone();
    let (waiting, _client) = client();
    let done = tokio::task::spawn_blocking(move || waiting.work(|| work(&server))).await;
    done.map_err(|_| ApiError::internal("the request could not be prepared: a library panicked"))?
}

/// What a body asks: many may wait for what they fetch.
async fn parsed(server: &Arc<Server>, body: Vec<u8>) -> Result<ChatRequest, ApiError> {
    apart(server, move |server| server.parse(&body)).await
}

/// Work with pictures and prompts, for as many requests at a time as there are cores.
async fn prepared<T: Send + 'static>(
    server: &Arc<Server>,
    work: impl FnOnce(&Server) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let _turn = server.prepared.acquire().await.map_err(|_| ApiError::ending())?;
    apart(server, work).await
}

/// A client that waits for what another thread prepares, and gives up where its request is dropped: it has left.
fn client() -> (Waiting, GivesUp) {
    let waiting = Waiting::default();
    let client = waiting.until_dropped();
    (waiting, client)
}

/// A request in the batch.
struct Begun {
    head: Head,
    tokenizer: Arc<Tokenizer>,
    events: UnboundedReceiver<Event>,
    answers: usize,
    stream: bool,
    include_usage: bool,
}

/// A place for a request and its body, or why not.
async fn received(server: &Server, request: Request) -> Result<(OwnedSemaphorePermit, Vec<u8>), ApiError> {
    let (parts, body) = request.into_parts();
    match taken(server, &parts.headers) {
        Ok(place) => {
            let given_up = async {
                server.ends.notified().await;
                tokio::time::sleep(LAST_BODIES_WITHIN).await;
            };
            tokio::select! {
                read = body::read(body, server.body_limit) => Ok((place, read?)),
                () = given_up => Err(ApiError::ending()),
            }
        }
        Err(error) => {
            body::throw_away(body).await;
            Err(error)
        }
    }
}

/// Takes a request, or says why not, up to where its answers begin.
async fn begin(server: &Arc<Server>, request: Request, record: &mut Record) -> Result<Begun, ApiError> {
    let waits = server.metrics.waits();
    let (place, bytes) = received(server, request).await?;
    let request = parsed(server, bytes).await?;
    let ready = prepared(server, move |server| server.prepare(&request, place)).await?;
    let Ready { model, prompt, answers, places, logprobs, routing, stream, include_usage } = ready;
    let model = server.models.get(model).ok_or_else(|| ApiError::internal("a model that is not there"))?;
    record.read(prompt.tokens());
    let mut head = Head {
        id: format!("chatcmpl-{:016x}", random()),
        created: now(),
        model: model.name.clone(),
        prompt_tokens: prompt.tokens(),
        logprobs,
        routing: None,
    };
    let (sender, mut events) = unbounded_channel();
    let count = answers.len();
    let job = Job { prompt, answers, routing, events: sender, places, waits, came: record.came() };
    let gone = || ApiError::internal("the model's thread has ended; start the server again");
    model.jobs.send(job).map_err(|_| gone())?;
    match events.recv().await {
        Some(Event::Begun(weights)) => head.routing = weights,
        Some(Event::Failed(message)) => return Err(ApiError::internal(message)),
        // Parts come behind it.
        Some(Event::Part { .. }) | None => return Err(gone()),
    }
    let tokenizer = model.chat.processor.tokenizer().clone();
    Ok(Begun { head, tokenizer, events, answers: count, stream, include_usage })
}

/// A place for a request, whatever it asks.
fn taken(server: &Server, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
    if server.ending.load(Ordering::Relaxed) {
        return Err(ApiError::ending());
    }
    // A page of another site cannot send this type without being asked, so that no page sends requests here unseen.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let packed = headers.get(header::CONTENT_ENCODING).map(|packed| packed.to_str().unwrap_or("?").trim());
    if let Some(packed) = packed.filter(|packed| !packed.eq_ignore_ascii_case("identity")) {
        let message =
            format!("the body is packed ({:?}), which this server does not unpack; send it as it is", shorten(packed));
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"), message));
    }
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = format!("the body is {:?}; send the header `Content-Type: application/json`", shorten(kind));
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"), message));
    }
    server.places(&server.places, 1)
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
            Some(Event::Begun(_)) => {}
            Some(Event::Failed(message)) => return Err(ApiError::internal(message)),
            None => return Err(ApiError::internal("the model's thread has ended; start the server again")),
        }
    }
    Ok(gathered)
}
