//! An answer as server-sent events.
//!
//! The connection of a stream is not used again: where an error ends it, the client sees the error event and then the end. Dropping the
//! stream, which happens as soon as the client has left, closes the channel that the model's thread looks at.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use burn_vlm_data::tokenizer::Tokenizer;
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::error::ApiError;
use super::log::Record;
use super::reply::Head;
use super::worker::Event;

/// The events of a request, on their way.
pub(super) struct EventStream {
    pub(super) head: Head,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) include_usage: bool,
    /// Answers that have not ended.
    left: usize,
    tokens: usize,
    /// Written, not yet sent.
    ready: VecDeque<Bytes>,
    done: bool,
    record: Record,
}

impl EventStream {
    /// A stream of `answers` answers.
    pub(super) fn new(
        head: Head,
        tokenizer: Arc<Tokenizer>,
        (events, answers): (UnboundedReceiver<Event>, usize),
        include_usage: bool,
        record: Record,
    ) -> Self {
        let (ready, done, tokens) = (VecDeque::new(), false, 0);
        let mut stream = Self { head, tokenizer, events, include_usage, left: answers, tokens, ready, done, record };
        for answer in 0..answers {
            let chunk = stream.head.first_chunk(answer, stream.no_usage());
            stream.write(&chunk);
        }
        stream
    }

    /// The reply with these events as its body.
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from_stream(self));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        // Proxies that gather answers would hold tokens back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    fn no_usage(&self) -> Option<Value> {
        self.include_usage.then_some(Value::Null)
    }

    fn write(&mut self, value: &Value) {
        self.ready.push_back(Bytes::from(format!("data: {value}\n\n")));
    }

    fn fail(&mut self, message: &str) {
        self.write(&ApiError::internal(message).body());
        self.record.failed();
        self.done = true;
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Begun(_) => {}
            Event::Failed(message) => self.fail(&message),
            Event::Part { answer, part } => {
                self.tokens += part.tokens;
                self.record.wrote(part.tokens);
                if !part.text.is_empty() || !part.written.is_empty() {
                    let of = (part.text.as_str(), part.written.as_slice());
                    let chunk = self.head.text_chunk(answer, of, &self.tokenizer, self.no_usage());
                    self.write(&chunk);
                }
                let Some(end) = part.end else { return };
                let chunk = self.head.last_chunk(answer, end, self.no_usage());
                self.write(&chunk);
                self.left -= 1;
                if self.left > 0 {
                    return;
                }
                if self.include_usage {
                    let chunk = self.head.usage_chunk(self.tokens);
                    self.write(&chunk);
                }
                self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                self.record.ended();
                self.done = true;
            }
        }
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.done {
                return Poll::Ready(None);
            }
            match self.events.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(event)) => self.take(event),
                Poll::Ready(None) => self.fail("the model's thread has ended"),
            }
        }
    }
}
