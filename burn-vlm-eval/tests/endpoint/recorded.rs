//! What real servers said, replayed: what the client makes of it, and whether it asks again.

use std::path::Path;

use burn_vlm_data::pipeline::{Answer, Finish, Question, Settings, Trouble};
use burn_vlm_eval::endpoint::{Client, EndpointOptions};
use serde_json::Value;

use super::options;
use super::server::{Act, Server};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/endpoint").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the client makes of a body, the tokens that it counts, and how often it asks.
fn made(status: u64, kind: &str, body: &str, max_tokens: u32) -> (Answer, u64, usize) {
    let status = match status {
        200 => "200 OK",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        404 => "404 Not Found",
        422 => "422 Unprocessable Entity",
        500 => "500 Internal Server Error",
        other => panic!("{other}"),
    };
    let act = Act::Send { status, headers: format!("Content-Type: {kind}\r\n"), body: body.to_owned() };
    let server = Server::start(move |_, _| act.clone());
    let client = Client::new(EndpointOptions { tries: 2, ..options(&server) }, None).unwrap();
    let (answer, spent) = client.ask(&Question::user("x", Settings::greedy(max_tokens)), "", &|| true);
    (answer, spent.completion_tokens, server.seen().len())
}

#[test]
fn whole_replies() {
    let cases: Vec<Value> = serde_json::from_str(&fixture("replies.json")).unwrap();
    let expected = [
        ("plain_length", Ok((Finish::Length, "& redü世WK안è")), 1),
        ("stop_string", Ok((Finish::Stop, "& r")), 1),
        // Complete though it says `length`: who wants JSON parses it.
        ("json_schema", Ok((Finish::Length, "{ \"translation\": \":6&ñX0\",\"ok\": false }")), 1),
        ("json_schema_truncated", Ok((Finish::Length, "\n   ")), 1),
        ("json_schema_bad", Err(Trouble::BadRequest), 1),
        ("max_tokens_0", Ok((Finish::Length, "&")), 1),
        ("no_messages", Err(Trouble::BadRequest), 1),
        ("not_json", Err(Trouble::BadRequest), 1),
        ("context_overflow", Err(Trouble::TooLong), 1),
        ("wrong_path", Err(Trouble::UnknownModel), 1),
        ("bad_key", Err(Trouble::Key), 1),
        ("image", Ok((Finish::Length, "}(hv dogü世W")), 1),
        ("image_bad_base64", Err(Trouble::BadRequest), 1),
        ("image_file_url", Err(Trouble::BadRequest), 1),
        // Nothing tells it from a failure that passes.
        ("image_url_as_string", Err(Trouble::Server), 2),
        ("image_on_text_only_model", Err(Trouble::NoPictures), 1),
        ("transformers_unknown_field", Err(Trouble::BadRequest), 1),
        ("transformers_wrong_model", Err(Trouble::Server), 2),
        ("transformers_no_messages", Err(Trouble::Server), 2),
        ("transformers_not_json", Err(Trouble::BadRequest), 1),
    ];
    assert_eq!(cases.len(), expected.len());
    for (case, (name, outcome, asked)) in cases.iter().zip(expected) {
        assert_eq!(case["case"], name);
        let kind = if case["body"].as_str().unwrap().starts_with('{') { "application/json" } else { "text/plain" };
        let (answer, _, times) = made(case["status"].as_u64().unwrap(), kind, case["body"].as_str().unwrap(), 1000);
        match (&answer, outcome) {
            (Answer::Reply(reply), Ok((finish, text))) => {
                assert_eq!((reply.finish, reply.text.as_str()), (finish, text), "{name}")
            }
            (Answer::Failed(found, _) | Answer::Refused(found, _), Err(trouble)) => {
                assert_eq!(*found, trouble, "{name}")
            }
            _ => panic!("{name}: {answer:?}"),
        }
        assert_eq!(times, asked, "{name}");
    }
}

#[test]
fn streams_that_nobody_asked_for() {
    for (name, model, text, finish, tokens, full) in [
        ("llamacpp_stream_basic.sse", "tiny", "& redü世W", Finish::Length, 5, true),
        // Of two choices the first, whichever comes first.
        ("llamacpp_stream_n2.sse", "tiny", "", Finish::Length, 0, false),
        // The cap cut a character: nothing was said at all.
        ("llamacpp_stream_cut_utf8.sse", "tiny", "", Finish::Length, 2, false),
        // No usage, and `stop` of what was cut: that is not believed.
        ("transformers_serve_stream_false.sse", "tiny", "", Finish::Unknown, 0, false),
    ] {
        let (answer, counted, times) = made(200, "text/event-stream; charset=utf-8", &fixture(name), 5);
        let Answer::Reply(reply) = answer else { panic!("{name}: {answer:?}") };
        assert_eq!((reply.finish, times), (finish, 1), "{name}");
        assert!(reply.model.as_deref().is_some_and(|found| found.starts_with(model)), "{name}: {reply:?}");
        if tokens > 0 {
            assert_eq!((reply.text.as_str(), counted, reply.full), (text, tokens, full), "{name}");
        }
        // Bytes that are no character are seen for what they are.
        assert_eq!(reply.is_broken(), name.starts_with("transformers"), "{name}: {reply:?}");
    }
}
