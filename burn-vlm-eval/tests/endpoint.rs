//! Endpoints with every fault that is known of real ones: each ends as a record with its reason, and the run ends by itself.

#[path = "endpoint/recorded.rs"]
mod recorded;
#[path = "../src/scripted_server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use burn_vlm_data::pipeline::{
    Answer, Budget, End, Fault, Finish, Outcome, Progress, Question, Record, RecordLog, Reply, Run, RunOptions, Schema,
    Settings, Task, Trouble,
};
use burn_vlm_eval::endpoint::{Client, EndpointOptions, KEY_VARIABLE, Key};
use serde_json::{Value, json};
use server::{Act, Server, ends, says, send, with};

/// Long enough for whoever answers at once, on a machine that has much to do.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Longer than that.
const SLOW: Duration = Duration::from_secs(6);
/// A first delta without text, choices in any order, usage in a last event without choices.
const STREAM: &str = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\"model\":\"tiny\"}\n\n\
    data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"a \"}}],\"model\":\"tiny\"}\n\n\
    data: {\"choices\":[{\"finish_reason\":null,\"index\":1,\"delta\":{\"content\":\"other\"}}],\"model\":\"tiny\"}\n\n\
    data: {\"choices\":[{\"finish_reason\":\"length\",\"index\":0,\"delta\":{\"content\":\"pear\"}}],\"model\":\"tiny\"}\n\n\
    data: {\"choices\":[],\"model\":\"tiny\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

fn options(server: &Server) -> EndpointOptions {
    EndpointOptions {
        timeout: TIMEOUT,
        tries: 3,
        first_wait: Duration::from_millis(5),
        // Far more than the waits of those that are answered in the end take together.
        patience: Duration::from_secs(8),
        max_bytes: 20_000,
        threads: 2,
        ..EndpointOptions::new(server.url(), "tiny", KEY_VARIABLE)
    }
}

fn settings() -> Settings {
    Settings::greedy(1000)
}

fn task(text: &str) -> Task {
    let question = Question::user(text, settings());
    Task { key: question.key(text, "tiny"), row: text.to_owned(), question, note: Value::Null }
}

/// What the check of a pipeline does: cut and broken replies are no answers.
fn check(_: &Task, reply: &Reply) -> Result<(), Fault> {
    let fault = |reason| Err(Fault { reason, detail: String::new() });
    match reply {
        reply if reply.is_cut() => fault("cut"),
        reply if reply.is_broken() => fault("broken_character"),
        reply if reply.finish == Finish::Filter => fault("filtered"),
        reply if reply.text.trim().is_empty() => fault("empty"),
        _ => Ok(()),
    }
}

fn run(options: EndpointOptions, log: &Path, texts: &[&str], how: RunOptions) -> (Progress, End) {
    let client = Client::new(options, Key::new(KEY_VARIABLE, "secret-key").ok()).unwrap();
    let mut log = RecordLog::open(log).unwrap();
    let tasks: Vec<Task> = texts.iter().map(|text| task(text)).collect();
    Run::new(&mut log, tasks.into_iter(), &check, &|_| {}, how).ask(&client).unwrap()
}

fn records(log: &Path) -> BTreeMap<String, Record<Option<Reply>>> {
    let lines = std::fs::read_to_string(log).unwrap();
    let records = lines.lines().map(|line| serde_json::from_str::<Record<Option<Reply>>>(line).unwrap());
    records.map(|record| (record.row.clone(), record)).collect()
}

/// A script for each text: its name says what goes wrong.
fn faults(text: &str, number: usize) -> Act {
    let good = || says("a pear");
    match (text, number) {
        ("429 seconds", 0..4) => with("Retry-After: 0.2", send("429 Too Many Requests", "busy")),
        ("429 date", 0) => {
            // In the past: at once, which is not at all.
            with("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", send("429 Too Many Requests", "busy"))
        }
        ("429 milliseconds", 0) => with("Retry-After-Ms: 30", send("429 Too Many Requests", "busy")),
        ("429 nothing", 0..5) => send("429 Too Many Requests", "busy"),
        ("429 for ever", _) => with("Retry-After: 1", send("429 Too Many Requests", "busy")),
        ("429 too long", _) => with("Retry-After: 4000", send("429 Too Many Requests", "busy")),
        ("500 heals", 0..2) | ("503 heals", 0..2) => send("503 Service Unavailable", "loading"),
        // llama.cpp's words while it reads its model: more often than there are tries.
        ("503 loading", 0..4) => send(
            "503 Service Unavailable",
            r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
        ),
        ("500 stays", _) => send("500 Internal Server Error", "Internal Server Error"),
        ("500 of the client", _) => {
            let body = r#"{"error":{"code":500,"message":"bad image_url","type":"invalid_request_error"}}"#;
            send("500 Internal Server Error", body)
        }
        ("cut", _) => Act::Cut(30, Box::new(good())),
        ("cut heals", 0) => Act::Cut(30, Box::new(good())),
        ("slow", _) => Act::Slow(SLOW, Box::new(good())),
        ("no choices", _) => send("200 OK", r#"{"model":"tiny","choices":[]}"#),
        ("no text", _) => {
            send("200 OK", r#"{"model":"tiny","choices":[{"message":{"content":null},"finish_reason":"stop"}]}"#)
        }
        ("length", _) => ends("a pe", "length", "tiny"),
        ("said to be whole", _) => ends(&"x".repeat(1000), "stop", "tiny"),
        ("filter", _) => send(
            "200 OK",
            r#"{"model":"tiny","choices":[{"message":{"content":null},"finish_reason":"content_filter"}]}"#,
        ),
        ("filter with text", _) => ends("I can", "content_filter", "tiny"),
        ("400 filter", _) => send("400 Bad Request", r#"{"error":{"code":"content_filter","message":"no"}}"#),
        ("not json", _) => send("200 OK", "<html>hello</html>"),
        ("broken", _) => says("a p\u{fffd}ar"),
        ("not http", _) => Act::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("huge", _) => says(&"pear ".repeat(10_000)),
        ("too long", _) => send(
            "400 Bad Request",
            r#"{"error":{"code":400,"type":"exceed_context_size_error","n_prompt_tokens":900,"n_ctx":512}}"#,
        ),
        ("422", _) => send("422 Unprocessable Entity", r#"{"detail":"Unexpected keys"}"#),
        _ => good(),
    }
}

#[test]
fn every_fault_is_a_record_with_its_reason() {
    let server = Server::start(|text, number| match text {
        "stream" => {
            Act::Send { status: "200 OK", headers: "Content-Type: text/event-stream\r\n".into(), body: STREAM.into() }
        }
        _ => faults(text, number),
    });
    // What would end the run is among the other tests; what counts toward giving up stands between what is answered.
    let expected = [
        ("429 seconds", "kept", "", 5),
        ("429 date", "kept", "", 2),
        ("429 milliseconds", "kept", "", 2),
        ("429 nothing", "kept", "", 6),
        ("429 too long", "deferred", "busy", 1),
        ("503 loading", "kept", "", 5),
        ("good 1", "kept", "", 1),
        ("500 heals", "kept", "", 3),
        ("500 stays", "failed", "server_error", 3),
        ("500 of the client", "failed", "bad_request", 1),
        ("cut heals", "kept", "", 2),
        ("cut", "failed", "connection", 3),
        ("slow", "failed", "timeout", 3),
        ("good 2", "kept", "", 1),
        ("no choices", "failed", "no_choice", 3),
        ("no text", "failed", "no_text", 1),
        ("length", "rejected", "cut", 1),
        ("said to be whole", "rejected", "cut", 1),
        ("filter", "failed", "content_filter", 1),
        ("filter with text", "rejected", "filtered", 1),
        ("400 filter", "failed", "content_filter", 1),
        ("not json", "failed", "not_json", 3),
        ("good 3", "kept", "", 1),
        ("broken", "rejected", "broken_character", 1),
        ("not http", "failed", "connection", 3),
        ("huge", "failed", "too_large", 1),
        ("too long", "failed", "too_long", 1),
        ("422", "failed", "bad_request", 1),
        ("stream", "rejected", "cut", 1),
        // The last one: all requests wait when one is told to, and no other one here is turned away meanwhile.
        ("429 for ever", "deferred", "busy", 0),
    ];
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let texts: Vec<&str> = expected.iter().map(|(text, ..)| *text).collect();
    let (progress, end) = run(options(&server), &log, &texts, RunOptions::default());
    assert_eq!(end, End::Done);
    assert_eq!(progress.asked(), expected.len() as u64);
    let found = records(&log);
    let counts = server.counts();
    for (text, outcome, reason, requests) in expected {
        let record = &found[text];
        let why = record.reason.as_deref().unwrap_or_default();
        assert_eq!((record.outcome.as_str(), why), (outcome, reason), "{text}: {record:?}");
        if requests > 0 {
            assert_eq!(counts[text], requests, "{text}");
            assert_eq!(record.spent.requests, requests as u64, "{text}");
        }
    }
    let stream = &found["stream"];
    assert_eq!(stream.body.as_ref().unwrap().text, "a pear");
    assert_eq!((stream.spent.prompt_tokens, stream.spent.completion_tokens), (7, 3));
    assert_eq!(found["good 1"].spent.tokens(), 10 + 6);
    // Once more: only what was put off is asked.
    let before = server.seen().len();
    run(options(&server), &log, &texts, RunOptions::default());
    let again: std::collections::BTreeSet<String> = server.seen()[before..].iter().map(server::Seen::text).collect();
    assert_eq!(again.iter().map(String::as_str).collect::<Vec<_>>(), ["429 for ever", "429 too long"]);
    // And what failed, if that is wanted.
    let before = server.seen().len();
    let how = RunOptions { retry_failed: true, ..RunOptions::default() };
    let (progress, _) = run(options(&server), &log, &["422", "length", "good 1"], how);
    assert_eq!((progress.known, progress.failed, server.seen().len() - before), (2, 1, 1));
    // The key is nowhere.
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("secret-key"));
    assert_eq!(server.seen()[0].authorization.as_deref(), Some("Bearer secret-key"));
}

/// What no question would survive ends the run: the first that meets it is put off, the rest stays unasked.
#[test]
fn what_cannot_heal_ends_the_run() {
    let quota = r#"{"error":{"message":"You exceeded your current quota, secret-key","code":"insufficient_quota"}}"#;
    let picture = r#"{"error":{"code":500,"message":"image input is not supported - hint: you need the mmproj","type":"server_error"}}"#;
    for (name, act, trouble, words) in [
        ("quota", send("429 Too Many Requests", quota), Trouble::Quota, "the quota of the key is spent"),
        ("key", send("401 Unauthorized", "wrong: secret-key"), Trouble::Key, KEY_VARIABLE),
        ("404", send("404 Not Found", "no such model"), Trouble::UnknownModel, "\"tiny\""),
        ("picture", send("500 Internal Server Error", picture), Trouble::NoPictures, "takes no pictures"),
        ("model", ends("a pear", "stop", "other"), Trouble::WrongModel, "\"other\" answered"),
        ("moved", with("Location: /v2", send("308 Permanent Redirect", "")), Trouble::Redirect, "not followed"),
    ] {
        let server = Server::start(move |_, _| act.clone());
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.jsonl");
        let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (progress, end) = run(options(&server), &log, &texts, RunOptions::default());
        let End::Refused(found, why) = &end else { panic!("{name}: {end:?}") };
        assert!(*found == trouble && why.contains(words) && !why.contains("secret-key"), "{name}: {why}");
        // As many as there are threads.
        assert!(progress.deferred <= 2 && server.seen().len() <= 2, "{name}: {progress:?}");
        let found = records(&log);
        assert!(found.values().all(|record| record.outcome == Outcome::Deferred && record.reason.as_deref() == Some(trouble.as_str())));
        assert!(!std::fs::read_to_string(&log).unwrap().contains("secret-key"));
    }
    // A version of the model that was asked for, or any other where that is wanted.
    for (answers, any) in [("tiny-2026-10-11", false), ("tiny.gguf", false), ("other", true)] {
        let server = Server::start(move |_, _| ends("a pear", "stop", answers));
        let folder = tempfile::tempdir().unwrap();
        let options = EndpointOptions { check_model: !any, ..options(&server) };
        let (progress, end) = run(options, &folder.path().join("log.jsonl"), &["a"], RunOptions::default());
        assert_eq!((progress.kept, end), (1, End::Done), "{answers}");
    }
}

#[test]
fn an_endpoint_that_is_gone_is_not_asked_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let server = Server::start(|_, _| send("500 Internal Server Error", "oops"));
    let (progress, end) = run(options(&server), &log, &texts, RunOptions::default());
    assert!(matches!(end, End::GaveUp(Trouble::Server, _)), "{end:?}");
    assert!(progress.failed < 12, "{progress:?}");
    let gone = options(&server);
    drop(server);
    let log = folder.path().join("gone.jsonl");
    let (progress, end) = run(gone, &log, &texts, RunOptions::default());
    assert!(matches!(end, End::GaveUp(Trouble::Unreachable, _)), "{end:?}");
    assert!(progress.failed == 0 && progress.deferred < 12, "{progress:?}");
}

/// All threads wait where one is told to.
#[test]
fn a_busy_endpoint_cools_down() {
    let server = Server::start(|text, number| match (text, number) {
        ("first", 0) => with("Retry-After: 1", send("429 Too Many Requests", "")),
        ("first", _) => says("a pear"),
        _ => Act::Slow(Duration::from_millis(300), Box::new(says("a pear"))),
    });
    let folder = tempfile::tempdir().unwrap();
    run(options(&server), &folder.path().join("log.jsonl"), &["first", "a", "b"], RunOptions::default());
    let seen = server.seen();
    let begin = seen.iter().map(|seen| seen.at).min().unwrap();
    let late = seen.iter().filter(|seen| seen.at - begin >= Duration::from_millis(900)).count();
    assert!(seen.len() == 4 && late >= 2, "{late} of {}", seen.len());
}

#[test]
fn budgets_hold_over_all_runs() {
    let server = Server::start(|text, number| match (text, number) {
        ("1", 0) => send("503 Service Unavailable", ""),
        _ => says("a pear"),
    });
    let texts: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let budget = |requests, tokens| RunOptions { budget: Budget { requests, tokens }, ..RunOptions::default() };
    let (progress, end) = run(options(&server), &log, &texts, budget(Some(5), None));
    assert_eq!((server.seen().len(), end), (5, End::Budget));
    assert_eq!(progress.spent.requests, 5);
    let (_, end) = run(options(&server), &log, &texts, budget(Some(5), None));
    assert_eq!((server.seen().len(), end), (5, End::Budget));
    let one = EndpointOptions { threads: 1, ..options(&server) };
    // 16 tokens an answer, of which at least three are there.
    let (_, end) = run(one, &log, &texts, budget(None, Some(160)));
    assert_eq!(end, End::Budget);
    let log = RecordLog::open(&log).unwrap();
    assert_eq!(log.spent().tokens(), 160);
}

#[test]
fn requests_say_what_was_asked() {
    let server = Server::start(|_, _| says("{\"a\": 1}"));
    let client = Client::new(options(&server), None).unwrap();
    let schema = Schema { name: "pairs".into(), schema: json!({ "type": "object" }) };
    let mut more = serde_json::Map::new();
    more.insert("max_tokens".into(), Value::Null);
    more.insert("max_completion_tokens".into(), json!(7));
    let settings =
        Settings { temperature: 0.5, top_p: Some(0.9), seed: Some(3), schema: Some(schema), more, max_tokens: 7 };
    let picture = burn_vlm_data::pipeline::Part::Picture(b"\x89PNG\r\n\x1a\nrest".as_slice().into());
    let mut question = Question::user("What?", settings);
    question.messages[0].parts.insert(0, picture);
    assert!(question.has_pictures());
    let (answer, spent) = client.ask(&question, "", &|| true);
    assert!(matches!(answer, Answer::Reply(Reply { full: true, .. })), "{answer:?}");
    assert_eq!((spent.requests, spent.tokens()), (1, 18));
    let content = json!([
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgpyZXN0" } },
        { "type": "text", "text": "What?" },
    ]);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "pairs", "strict": true, "schema": { "type": "object" } } });
    assert_eq!(
        server.seen()[0].body,
        json!({
            "model": "tiny", "messages": [{ "role": "user", "content": content }], "temperature": 0.5, "top_p": 0.9, "seed": 3,
            "max_completion_tokens": 7, "response_format": format,
        })
    );
    assert_eq!(server.seen()[0].authorization, None);
    // Another model, prompt, picture, row or setting is another key.
    let key = question.key("row", "tiny");
    let mut other = question.clone();
    other.settings.temperature = 0.6;
    assert!(
        [other.key("row", "tiny"), question.key("row", "big"), question.key("row 2", "tiny")]
            .iter()
            .all(|other| *other != key)
    );
    let mut other = question.clone();
    other.messages[0].parts[0] = burn_vlm_data::pipeline::Part::Picture(b"\x89PNG".as_slice().into());
    assert_ne!(other.key("row", "tiny"), key);
}
