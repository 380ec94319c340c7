//! The page at an address of this machine, and what is done on it, kept as it comes.
//!
//! | address | what |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /records?since=N` | records from the N-th on, in the order in which they came |
//! | `POST /records` | a list of records; each is kept before it is answered |

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use burn_vlm_eval::build::calibrate::record::RecordFile;
use burn_vlm_eval::build::calibrate::{Record, Records, Task};
use serde_json::{Value, json};

use super::page::{Keeps, page};
use crate::AnyError;
use crate::serve::{connections, origin};

/// The most bytes of what is sent at once: a day's work.
const BODY: usize = 16 << 20;

/// What all requests share.
struct Shared {
    task: Task,
    kept: Mutex<Kept>,
}

struct Kept {
    file: RecordFile,
    known: Records,
    /// In the order in which they came.
    came: Vec<Record>,
}

/// Serves until a signal ends the program.
pub(super) fn serve(
    port: u16,
    task: Task,
    file: RecordFile,
    known: Records,
    out: &mut dyn Write,
) -> Result<(), AnyError> {
    let address = (Ipv4Addr::LOCALHOST, port);
    let listener = TcpListener::bind(address).map_err(|error| {
        format!("cannot listen on port {port} of this machine: {error}; `--port 0` takes a free one")
    })?;
    listener.set_nonblocking(true)?;
    writeln!(
        out,
        "listening on http://{} with {} items in {}; Ctrl-C ends it, everything is kept as it comes",
        listener.local_addr()?,
        task.items.len(),
        task.language
    )?;
    out.flush()?;
    let came = known.iter().cloned().collect();
    let shared = Arc::new(Shared { task, kept: Mutex::new(Kept { file, known, came }) });
    let router = Router::new()
        .route("/", get(the_page))
        .route("/records", get(records).post(add))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(from_here))
        .with_state(shared);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // Ended by a signal to the process alone.
        let (_never, closing) = tokio::sync::watch::channel(false);
        connections::serve(listener, router, closing).await;
        Ok(())
    })
}

/// Only pages of this server ask, and only by a name of this machine.
async fn from_here(request: Request, next: Next) -> Response {
    match origin::check(request.headers(), Some("localhost")) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn the_page(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(page) = page(&shared.task, Keeps::Server) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = Response::new(page.text.into());
    let headers: &mut HeaderMap = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = format!("{}; frame-ancestors 'none'", page.policy);
    headers.extend(HeaderValue::from_str(&policy).map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    response
}

async fn records(State(shared): State<Arc<Shared>>, uri: Uri) -> Json<Value> {
    let since =
        uri.query().and_then(|query| query.strip_prefix("since=")).and_then(|since| since.parse::<usize>().ok());
    let since = since.unwrap_or(0);
    let kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let records = kept.came.get(since..).unwrap_or_default();
    Json(json!({ "records": records, "next": kept.came.len() }))
}

/// Keeps what is whole; says of each that is not why. What is there already is kept already.
async fn add(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let given: Vec<Value> = match serde_json::from_slice(&body) {
        Ok(given) => given,
        Err(error) => return wrong(StatusCode::BAD_REQUEST, format!("{error}; expected a list of records")),
    };
    let mut kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let mut refused = Vec::new();
    for value in given {
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let record = serde_json::from_value::<Record>(value).map_err(|error| error.to_string());
        let record = match record.and_then(|record| record.check(&shared.task).map(|()| record)) {
            Ok(record) => record,
            Err(why) => {
                refused.push(json!({ "id": id, "why": why }));
                continue;
            }
        };
        if !kept.known.insert(record.clone()) {
            continue;
        }
        if let Err(error) = kept.file.append(&record) {
            kept.known.forget(&record);
            return wrong(StatusCode::INSUFFICIENT_STORAGE, error.to_string());
        }
        kept.came.push(record);
    }
    Json(json!({ "refused": refused, "next": kept.came.len() })).into_response()
}

fn wrong(status: StatusCode, message: String) -> Response {
    (status, Json(json!({ "error": { "message": message } }))).into_response()
}
