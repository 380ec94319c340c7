//! Mutated requests: bodies by their bytes and by their meaning, damaged pictures, damaged heads, clients that leave in the middle of a
//! request or of an answer. No panic, no hang, no memory without end, no error of the server's own, and whatever is refused is refused by
//! an error with a short message.
//!
//! ```text
//! cargo test --release --workspace --test serve -- mutated                                                  # a few hundred, as in CI
//! BURN_VLM_SERVE_REQUESTS=10000 cargo test --release --workspace --test serve -- --nocapture mutated        # the table of docs/testing.md
//! ```
//!
//! Requests are drawn by a seed: the number that a finding names gives the same request again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_base::random::mix;
use serde_json::{Value, json};

use super::{LONGEST, Served, content, models, request, said, shown};

#[path = "../mutants/mutate.rs"]
mod mutate;

use mutate::Mutator;

/// Requests of the usual tests.
const FEW: u64 = 400;
/// Requests at a time.
const CLIENTS: usize = 4;
/// Kilobytes by which the server may grow between a tenth of the requests and all: what an allocator keeps from large requests. A leak of
/// a request's pixels or keys and values would be hundreds of megabytes after 10,000.
const MOST_GROWTH: u64 = 96 << 10;
/// Bytes of an error's texts: a client's own values are cut in them.
const LONGEST_ERROR: usize = 8000;
const SEED: u64 = 20;

const KINDS: [&str; 7] =
    ["body, bytes", "body, meaning", "picture", "head", "cut in the head", "cut in the body", "left while it answers"];

/// A good request of many kinds of fields.
fn whole(mutator: &mut Mutator) -> Value {
    let words = said(["what is this?", "and this?", "a red apple"][mutator.random.below(3)]);
    let picture = shown(mutator.random.below(4) as u8);
    let content = [json!("what is this?"), json!([picture, words]), json!([words, picture, picture])];
    let more = [
        json!({"max_tokens": 8}),
        json!({"max_tokens": 12, "n": 2, "temperature": 1.0, "seed": 3, "top_p": 0.9, "top_k": 7}),
        json!({"max_tokens": 6, "stream": true, "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 2}),
        json!({"max_completion_tokens": 5, "stop": ["a", "bc"], "repetition_penalty": 1.2, "user": "me", "tools": []}),
        json!({"max_tokens": 40, "response_format": {"type": "json_object"}}),
        json!({"max_tokens": 40, "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {
            "type": "object", "required": ["name", "count"], "additionalProperties": false, "properties": {
                "name": {"type": "string", "maxLength": 9}, "count": {"type": "integer", "minimum": 0, "maximum": 12},
                "kind": {"enum": ["a", "b", null]}, "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "maxItems": 3},
            }, "$defs": {"part": {"anyOf": [{"type": "number"}, {"type": "boolean"}]}},
        }}}}),
    ];
    let body = request("tiny", content[mutator.random.below(3)].clone(), more[mutator.random.below(6)].clone());
    if body["max_completion_tokens"].is_null() {
        return body;
    }
    let mut body = body;
    body.as_object_mut().unwrap().remove("max_tokens");
    body
}

/// A picture's bytes, in one of the formats.
fn picture(mutator: &mut Mutator) -> Vec<u8> {
    let png = models().picture(mutator.random.below(4) as u8);
    let formats = [image::ImageFormat::Png, image::ImageFormat::Gif];
    let image = image::load_from_memory(&png).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, formats[mutator.random.below(2)]).unwrap();
    bytes.into_inner()
}

/// A request as it is sent: the bytes, where its body begins, and how many bytes of an answer are read before the client leaves.
struct Sent {
    bytes: Vec<u8>,
    read: Option<usize>,
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: \
         {length}\r\n\r\n"
    )
}

fn drawn(number: u64) -> (&'static str, Sent) {
    let mut mutator = Mutator::new(mix(SEED, number));
    let kind = KINDS[mutator.random.below(KINDS.len())];
    let mut body = whole(&mut mutator);
    let sent = |body: &[u8]| Sent { bytes: [head(body.len()).as_bytes(), body].concat(), read: None };
    let text = body.to_string().into_bytes();
    let request = match kind {
        "body, bytes" => sent(&mutator.mutate("body.bytes", &text)),
        "body, meaning" => sent(&mutator.mutate("body.json", &text)),
        "picture" => {
            let bytes = picture(&mut mutator);
            let bytes = mutator.mutate("picture.bytes", &bytes);
            let data = STANDARD.encode(bytes);
            let address = format!("data:image/png;base64,{data}");
            let address = match mutator.random.below(4) {
                0 => String::from_utf8_lossy(&mutator.mutate("address.bytes", address.as_bytes())).into_owned(),
                _ => address,
            };
            body["messages"][0]["content"] =
                json!([{"type": "image_url", "image_url": {"url": address}}, said("what?")]);
            sent(body.to_string().as_bytes())
        }
        "head" => {
            let heads = [
                head(text.len()),
                head(text.len()).replace("Content-Length", "X-Length"),
                head(text.len()).replace("Content-Length", "Transfer-Encoding: chunked\r\nX-Length"),
                head(text.len()).replace("POST", ["GET", "PUT", "OPTIONS", "HEAD"][mutator.random.below(4)]),
                head(text.len()).replace(
                    "/v1/chat/completions",
                    ["/v1/inspect", "/v1/models", "/", "/metrics"][mutator.random.below(4)],
                ),
                head(text.len()).replace(
                    "\r\n\r\n",
                    "\r\nAuthorization: Bearer x\r\nOrigin: http://example.org\r\nExpect: 100-continue\r\n\r\n",
                ),
            ];
            let head = heads[mutator.random.below(heads.len())].clone();
            let head = mutator.mutate("head.bytes", head.as_bytes());
            Sent { bytes: [head, text].concat(), read: None }
        }
        "cut in the head" => {
            let whole = sent(&text).bytes;
            let begin = whole.len() - text.len();
            Sent { bytes: whole[..mutator.random.below(begin)].to_vec(), read: Some(0) }
        }
        "cut in the body" => {
            let whole = sent(&text).bytes;
            let at = whole.len() - text.len() + mutator.random.below(text.len());
            // Half of them leave, half wait for what they are told.
            Sent { bytes: whole[..at].to_vec(), read: [Some(0), None][mutator.random.below(2)] }
        }
        _ => {
            body["stream"] = json!(mutator.random.below(4) > 0);
            body["max_tokens"] = json!(200);
            let fields = body.as_object_mut().unwrap();
            fields.remove("max_completion_tokens");
            if fields["stream"] == json!(false) {
                fields.remove("stream_options");
            }
            Sent { read: Some(mutator.random.below(4000)), ..sent(body.to_string().as_bytes()) }
        }
    };
    (kind, request)
}

/// What came of a request, or what is wrong with that.
fn tried(served: &Served, kind: &str, sent: &Sent) -> Result<String, String> {
    let mut stream = TcpStream::connect(&served.address).map_err(|error| format!("no connection: {error}"))?;
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream.set_write_timeout(Some(LONGEST)).unwrap();
    // A server may refuse a request before it was sent whole.
    let _ = stream.write_all(&sent.bytes);
    // Else the server would wait for what never comes. It takes a client that is half gone for one that has left.
    if ["head", "cut in the body"].contains(&kind) {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut reply = Vec::new();
    match sent.read {
        Some(most) => {
            let mut buffer = [0; 512];
            while reply.len() < most {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => reply.extend_from_slice(&buffer[..read]),
                    Err(error) => return hung(&error).map_or(Ok("cut off".to_owned()), Err),
                }
            }
            return Ok("left".to_owned());
        }
        None => {
            if let Err(error) = stream.read_to_end(&mut reply)
                && let Some(hang) = hung(&error)
            {
                return Err(hang);
            }
        }
    }
    if reply.is_empty() {
        return Ok("closed without a word".to_owned());
    }
    judged(&reply)
}

fn hung(error: &std::io::Error) -> Option<String> {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut).then(|| format!("no end within {LONGEST:?}"))
}

/// The status of a reply that is as it should be.
fn judged(reply: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(reply);
    let (mut head, mut body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no head: {text:?}"))?;
    while head.starts_with("HTTP/1.1 100") {
        // It was asked to go on, and had left.
        let Some(next) = body.split_once("\r\n\r\n") else { return Ok("closed behind 100".to_owned()) };
        (head, body) = next;
    }
    // Behind a length that is too small the rest is another request, with a reply of its own; to HEAD that follows at once.
    let body = if body.starts_with("HTTP/1.1 ") { "" } else { body };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    let body = length.and_then(|length| body.get(..length)).unwrap_or(body);
    let status = head.split(' ').nth(1).unwrap_or_default().get(..3).unwrap_or_default().to_owned();
    if status.starts_with('5') {
        return Err(format!("{status}: {}", cut(body)));
    }
    if status.starts_with('4') && head.to_lowercase().contains("content-type: application/json") && !body.is_empty() {
        let error: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {}", cut(body)))?;
        let error = &error["error"];
        if error["message"].as_str().is_none_or(str::is_empty) || error.to_string().len() > LONGEST_ERROR {
            return Err(format!("{status}, an error of {} bytes: {}", error.to_string().len(), cut(body)));
        }
    }
    // The error of a stream has status 200.
    if body.contains("data: {\"error\"") {
        return Err(format!("an error in a stream: {}", cut(body)));
    }
    Ok(status)
}

fn cut(text: &str) -> String {
    text.chars().take(400).collect()
}

/// Kilobytes of memory that a process has.
fn resident(served: &Served) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", served.child.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}

type Counts = BTreeMap<(&'static str, String), u64>;

/// Sends requests of some numbers; what came of them, and the findings.
fn run(served: &Served, numbers: std::ops::Range<u64>) -> (Counts, Vec<String>) {
    let next = AtomicU64::new(numbers.start);
    let found: Mutex<(Counts, Vec<String>)> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let (kind, sent) = drawn(number);
                    let outcome = tried(served, kind, &sent);
                    let mut found = found.lock().unwrap();
                    match outcome {
                        Ok(outcome) => *found.0.entry((kind, outcome)).or_default() += 1,
                        Err(text) => found.1.push(format!("{kind}, request {number}: {text}")),
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn mutated_requests_do_no_harm() {
    let count = std::env::var("BURN_VLM_SERVE_REQUESTS").map_or(FEW, |count| count.parse().expect("a number"));
    let options = ["--max-new-tokens", "16", "--batch", "3", "--picture-cache", "1MB", "--body-limit", "4MB"];
    let mut served = Served::start(&models().vlm(), &options);
    let question = request("tiny", json!([shown(0), said("what is this?")]), json!({}));
    // A pipe that nobody reads would stop the server.
    let mut lines = served.child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut log = String::new();
        lines.read_to_string(&mut log).map(|_| log)
    });
    let before = content(&served.answer(&question)).to_owned();
    let (mut counts, mut findings) = run(&served, 0..count / 10);
    let warm = resident(&served);
    let (more, found) = run(&served, count / 10..count);
    more.into_iter().for_each(|(outcome, more)| *counts.entry(outcome).or_default() += more);
    findings.extend(found);
    // Whoever has left is noticed, and nothing is left over.
    served.wait_for("burn_vlm_requests_running", 0.0);
    served.wait_for("burn_vlm_requests_waiting", 0.0);
    assert_eq!(content(&served.answer(&question)), before);
    let last = resident(&served);
    served.signal("TERM");
    let log = reader.join().unwrap().unwrap();
    let code = served.child.wait().unwrap().code();
    println!("| requests | outcome | number |\n|---|---|--:|");
    counts.iter().for_each(|((kind, outcome), number)| println!("| {kind} | {outcome} | {number} |"));
    println!("memory: {warm:?} kB after a tenth, {last:?} kB after {count}");
    findings.extend(log.lines().filter(|line| line.contains("panic")).map(str::to_owned));
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    assert_eq!(code, Some(0), "{log}");
    if let (Some(warm), Some(last)) = (warm, last) {
        assert!(last < warm + MOST_GROWTH, "{warm} kB after a tenth, {last} kB after all");
    }
}
