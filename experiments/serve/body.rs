//! The body of a request: read up to a limit and within a time, or thrown away.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::StatusCode;
use futures_core::Stream;

use super::error::ApiError;

/// A body that takes longer has been given up by its client, or is meant to take places.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// The most that is read of a body only to be thrown away: a client sees an answer once it has sent its request.
const THROWN_AWAY: usize = 64 << 20;
/// How long that may take.
const THROWN_AWAY_WITHIN: Duration = Duration::from_secs(5);
/// A client that sends nothing for so long waits for the answer.
const SILENT_FOR: Duration = Duration::from_millis(300);

async fn next(stream: &mut BodyDataStream) -> Option<Result<Bytes, axum::Error>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// Reads a body.
///
/// # Errors
/// 413 above `limit` bytes, at once where its header says so, 408 after a minute, 400 for one that breaks off.
pub(super) async fn read(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes (--body-limit)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large"), message)
    };
    let announced = HttpBody::size_hint(&body).lower();
    let mut stream = body.into_data_stream();
    if announced > limit as u64 {
        throw_away_rest(&mut stream).await;
        return Err(too_large());
    }
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(piece) = next(&mut stream).await {
            let broken = |error| {
                let message = format!("the body broke off: {error}");
                ApiError::new(StatusCode::BAD_REQUEST, Some("broken_body"), message)
            };
            let piece = piece.map_err(broken)?;
            if bytes.len() + piece.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(READ_WITHIN, reading).await.unwrap_or_else(|_| {
        let message = format!("the body did not come within {} s", READ_WITHIN.as_secs());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, Some("body_timeout"), message))
    });
    if read.as_ref().is_err_and(|error| error.status == StatusCode::PAYLOAD_TOO_LARGE) {
        throw_away_rest(&mut stream).await;
    }
    read
}

/// Reads a body that is not wanted, within limits.
pub(super) async fn throw_away(body: Body) {
    throw_away_rest(&mut body.into_data_stream()).await;
}

async fn throw_away_rest(stream: &mut BodyDataStream) {
    let reading = async {
        let mut bytes = 0;
        while let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENT_FOR, next(stream)).await {
            bytes += piece.len();
            if bytes > THROWN_AWAY {
                break;
            }
        }
    };
    // What is left then is cut off with the connection.
    let _ = tokio::time::timeout(THROWN_AWAY_WITHIN, reading).await;
}
