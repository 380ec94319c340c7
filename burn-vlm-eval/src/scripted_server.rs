//! An endpoint on this machine that does what a script says, and counts what it was asked.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What is done with one request.
#[derive(Debug, Clone)]
pub enum Act {
    /// A reply with its state and further headers.
    Send { status: &'static str, headers: String, body: String },
    /// The same after a wait.
    Slow(Duration, Box<Act>),
    /// So many bytes of what is announced, and the end.
    Cut(usize, Box<Act>),
    /// Bytes that are no HTTP.
    Raw(Vec<u8>),
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub authorization: Option<String>,
    pub body: Value,
    pub at: Instant,
}

impl Seen {
    /// The words of the last turn.
    pub fn text(&self) -> String {
        words(&self.body)
    }
}

/// The words of a request's last turn.
fn words(body: &Value) -> String {
    match &body["messages"].as_array().and_then(|turns| turns.last()).map_or(&Value::Null, |turn| &turn["content"]) {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Any reply.
pub fn send(status: &'static str, body: impl Into<String>) -> Act {
    Act::Send { status, headers: "Content-Type: application/json\r\n".to_owned(), body: body.into() }
}

/// A reply with a header.
pub fn with(header: &str, act: Act) -> Act {
    match act {
        Act::Send { status, headers, body } => Act::Send { status, headers: format!("{headers}{header}\r\n"), body },
        other => other,
    }
}

/// A whole answer of the model `tiny`.
pub fn says(text: &str) -> Act {
    ends(text, "stop", "tiny")
}

/// An answer with its end and its model; ten tokens were read, and one was written for each byte.
pub fn ends(text: &str, finish: &str, model: &str) -> Act {
    let message = json!({ "role": "assistant", "content": text });
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": text.len(), "total_tokens": 10 + text.len() });
    let body = json!({
        "model": model, "object": "chat.completion", "usage": usage,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
    });
    send("200 OK", body.to_string())
}

type Script = dyn Fn(&str, usize) -> Act + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    most_at_once: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    counts: Mutex<HashMap<String, usize>>,
    now: AtomicUsize,
    most_at_once: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `script` says what is done with a text that comes for the n-th time, from 0.
    pub fn start(script: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, over, most_at_once) =
            (Arc::default(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let shared = Arc::new(Shared {
            script: Box::new(script),
            counts: Mutex::default(),
            now: AtomicUsize::new(0),
            most_at_once: Arc::clone(&most_at_once),
            seen: Arc::clone(&seen),
        });
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, seen, most_at_once, over, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often each text was asked.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        self.seen.lock().unwrap().iter().for_each(|seen| *counts.entry(seen.text()).or_default() += 1);
        counts
    }

    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

impl Shared {
    /// Answers one connection until it ends.
    fn serve(&self, stream: &TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Some(seen) = receive(&mut reader) {
            let text = seen.text();
            self.seen.lock().unwrap().push(seen);
            self.most_at_once.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let number = {
                let mut counts = self.counts.lock().unwrap();
                let count = counts.entry(text.clone()).or_default();
                *count += 1;
                *count - 1
            };
            let mut act = (self.script)(&text, number);
            let mut sent = usize::MAX;
            loop {
                act = match act {
                    Act::Slow(wait, next) => {
                        std::thread::sleep(wait);
                        *next
                    }
                    Act::Cut(bytes, next) => {
                        sent = bytes;
                        *next
                    }
                    act => break self.write(&mut writer, act, sent),
                };
            }
            if sent < usize::MAX {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    fn write(&self, writer: &mut TcpStream, act: Act, sent: usize) {
        // Before the client knows, which then sends the next.
        self.now.fetch_sub(1, Ordering::SeqCst);
        // The client may have gone.
        let _ = match act {
            Act::Send { status, headers, body } => {
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
                writer.write_all([head.as_bytes(), &body.as_bytes()[..sent.min(body.len())]].concat().as_slice())
            }
            Act::Raw(bytes) => writer.write_all(&bytes).and_then(|()| writer.shutdown(Shutdown::Both)),
            Act::Slow(..) | Act::Cut(..) => Ok(()),
        };
    }
}

fn receive(reader: &mut BufReader<&TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    if !line.starts_with("POST /v1/chat/completions ") {
        return None;
    }
    let (mut authorization, mut length) = (None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { authorization, body: serde_json::from_slice(&body).unwrap(), at: Instant::now() })
}
