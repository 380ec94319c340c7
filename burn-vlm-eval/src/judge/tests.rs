//! A judge behind a scripted endpoint on this machine.

use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::*;
use scripted_server::{Act, Server, says, send, with};

// Tests of other programs have it from here too.
#[path = "../scripted_server.rs"]
mod scripted_server;

/// Long enough for whoever answers at once, on a machine that has much to do.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Longer than that.
const SLOW: Duration = Duration::from_secs(6);

fn slow(wait: Duration, act: Act) -> Act {
    Act::Slow(wait, Box::new(act))
}

/// So many bytes of what is announced.
fn cut(bytes: usize, act: Act) -> Act {
    Act::Cut(bytes, Box::new(act))
}

fn asking(server: &Server) -> JudgeOptions {
    JudgeOptions {
        timeout: Duration::from_secs(5),
        tries: 3,
        first_wait: Duration::from_millis(5),
        max_bytes: 2000,
        ..JudgeOptions::new(format!("{}/", server.url()), "judge-1")
    }
}

fn prompt(text: &str) -> JudgePrompt {
    JudgePrompt { system: Some("Be fair.".into()), text: text.into(), temperature_milli: 200, max_tokens: 1024 }
}

fn ask(options: JudgeOptions, key: Option<&str>, texts: &[&str]) -> Result<Judged, JudgeError> {
    let prompts: Vec<JudgePrompt> = texts.iter().map(|text| prompt(text)).collect();
    Judge::new(options, key.map(|key| Key::new(KEY_VARIABLE, key).unwrap()))?.ask_all(&prompts, &|_| {})
}

#[test]
fn prompts_are_sent_as_chats_and_repeated_ones_once() {
    let endpoint = Server::start(|prompt, _| says(&format!("8 9\n{prompt}")));
    let progress = Mutex::new(Vec::new());
    let prompts = ["a", "b", "a"].map(prompt);
    let judge = Judge::new(asking(&endpoint), Some(Key::new(KEY_VARIABLE, " secret-key\n").unwrap())).unwrap();
    let judged = judge.ask_all(&prompts, &|now| progress.lock().unwrap().push(*now)).unwrap();
    assert_eq!(judged.replies, ["8 9\na", "8 9\nb", "8 9\na"].map(|text| Ok(text.to_owned())));
    assert_eq!(judged.progress, Progress { prompts: 3, done: 3, cached: 1, failed: 0, repeated: 0 });
    assert_eq!(progress.lock().unwrap().last(), Some(&judged.progress));
    assert!(judged.notes.is_empty());
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 2);
    let sent = seen.iter().find(|seen| seen.body["messages"][1]["content"] == "b").unwrap();
    assert_eq!(
        sent.body,
        json!({
            "model": "judge-1",
            "messages": [{ "role": "system", "content": "Be fair." }, { "role": "user", "content": "b" }],
            "temperature": 0.2,
            "max_tokens": 1024,
        })
    );
    assert_eq!(sent.authorization.as_deref(), Some("Bearer secret-key"));
    assert!(!format!("{judge:?}").contains("secret-key"));
}

#[test]
fn a_second_run_asks_nothing_and_damage_is_asked_again() {
    let endpoint = Server::start(|prompt, number| says(&format!("{number} {prompt}")));
    let folder = tempfile::tempdir().unwrap();
    let options = || JudgeOptions { cache: Some(folder.path().join("judge")), ..asking(&endpoint) };
    let replies = |judged: &Judged| judged.replies.iter().map(|reply| reply.clone().unwrap()).collect::<Vec<_>>();
    let first = ask(options(), Some("secret-key"), &["a", "b", "c", "d"]).unwrap();
    assert_eq!(replies(&first), ["0 a", "0 b", "0 c", "0 d"]);
    let second = ask(options(), None, &["d", "c", "b", "a"]).unwrap();
    assert_eq!(
        (replies(&second), second.progress.cached),
        (vec!["0 d".into(), "0 c".into(), "0 b".into(), "0 a".into()], 4)
    );
    assert_eq!(endpoint.seen().len(), 4);
    // Each damaged in another way: cut, another reply, another prompt's file.
    let cache = Cache::open(&folder.path().join("judge"), &options()).unwrap();
    let path = |text: &str| cache.path(&cache::key("judge-1", &prompt(text)));
    let text = std::fs::read_to_string(path("a")).unwrap();
    assert!(!text.contains("secret-key"));
    std::fs::write(path("a"), &text[..text.len() / 2]).unwrap();
    std::fs::write(path("b"), std::fs::read_to_string(path("b")).unwrap().replace("0 b", "9 b")).unwrap();
    std::fs::copy(path("d"), path("c")).unwrap();
    let third = ask(options(), None, &["a", "b", "c", "d"]).unwrap();
    assert_eq!(replies(&third), ["1 a", "1 b", "1 c", "0 d"]);
    assert_eq!(third.notes.len(), 3);
    assert!(
        third.notes.iter().all(|note| note.contains("judge") && note.ends_with("it is asked again")),
        "{:?}",
        third.notes
    );
    // Mended on the way; another model is another question.
    let fourth = ask(options(), None, &["a", "b", "c", "d"]).unwrap();
    assert!(fourth.notes.is_empty() && endpoint.seen().len() == 7);
    ask(JudgeOptions { model: "judge-2".into(), ..options() }, None, &["a"]).unwrap();
    assert_eq!(endpoint.seen().len(), 8);
}

#[test]
fn trouble_that_passes_is_waited_for() {
    let endpoint = Server::start(|prompt, number| match (prompt, number) {
        (_, 2) => says("8 9"),
        ("cut", _) => cut(10, says("8 9")),
        ("500", _) => send("500 Internal Server Error", "oops"),
        ("slow", 0) => slow(SLOW, says("late")),
        ("slow", _) => says("8 9"),
        ("html", _) => send("200 OK", "<html>busy</html>"),
        ("error", _) => send("200 OK", r#"{"error": {"message": "overloaded"}}"#),
        _ => send("503 Service Unavailable", ""),
    });
    let texts = ["cut", "500", "slow", "html", "error", "other"];
    let options = JudgeOptions { timeout: TIMEOUT, ..asking(&endpoint) };
    let judged = ask(options, None, &texts).unwrap();
    assert_eq!(judged.replies, vec![Ok("8 9".to_owned()); texts.len()]);
    assert_eq!(judged.progress.repeated, 11);
}

#[test]
fn trouble_that_stays_is_an_error_and_no_score() {
    let endpoint = Server::start(|prompt, _| match prompt {
        "cut" => cut(10, says("8 9")),
        "500" => send("500 Internal Server Error", "out of\nmemory"),
        "slow" => slow(SLOW, says("8 9")),
        "html" => send("200 OK", "<html>8 9</html>"),
        "shape" => send("200 OK", r#"{"choices": [{"text": "8 9"}]}"#),
        "none" => send("200 OK", r#"{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}"#),
        "huge" => says(&"8 9 ".repeat(1000)),
        "400" => send("400 Bad Request", "context length"),
        "echo" => send("400 Bad Request", "Incorrect key secret-key"),
        _ => says("8 9"),
    });
    let expected = [
        ("cut", "failed 3 times, the last time: its reply was cut"),
        ("500", "failed 3 times, the last time: 500 Internal Server Error: out of memory"),
        ("slow", "failed 3 times, the last time: timeout"),
        ("html", "expected JSON, found \"<html>8 9</html>\""),
        ("shape", "has no text"),
        ("none", "content_filter"),
        ("huge", "more than the 2000 bytes"),
        ("400", "400 Bad Request: context length"),
        ("echo", "Incorrect key ***"),
    ];
    let texts: Vec<&str> = expected.iter().map(|(text, _)| *text).chain(["good"]).collect();
    let options = JudgeOptions { timeout: TIMEOUT, ..asking(&endpoint) };
    let judged = ask(options, Some("secret-key"), &texts).unwrap();
    for ((text, words), reply) in expected.iter().zip(&judged.replies) {
        let why = reply.as_ref().unwrap_err();
        assert!(why.contains(words) && !why.contains("secret-key"), "{text}: {why}");
    }
    assert_eq!(judged.replies.last(), Some(&Ok("8 9".to_owned())));
    assert_eq!((judged.progress.failed, judged.progress.done), (9, 10));
    let of = |text: &str| endpoint.seen().iter().filter(|seen| seen.body["messages"][1]["content"] == text).count();
    assert_eq!((of("500"), of("400"), of("huge"), of("none")), (3, 1, 1, 1));
}

#[test]
fn a_busy_endpoint_is_waited_for_as_long_as_it_asks() {
    let endpoint = Server::start(|prompt, number| match (prompt, number) {
        ("first", 0) => with("Retry-After: 1", send("429 Too Many Requests", "")),
        ("long", _) => with("Retry-After: 4000", send("429 Too Many Requests", "busy")),
        _ => says("8 9"),
    });
    let options = JudgeOptions { threads: 1, ..asking(&endpoint) };
    let judged = ask(options.clone(), None, &["first", "second"]).unwrap();
    assert!(judged.replies.iter().all(Result::is_ok));
    let seen = endpoint.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
    let judged = ask(options, None, &["long"]).unwrap();
    let why = judged.replies[0].as_ref().unwrap_err();
    assert!(why.contains("wait for 4000 s, at most 300 s"), "{why}");
    // Other threads wait too.
    let endpoint = Server::start(|prompt, number| match (prompt, number) {
        ("first", 0) => with("Retry-After: 1", send("429 Too Many Requests", "")),
        ("first", _) => says("8 9"),
        _ => slow(Duration::from_millis(300), says("8 9")),
    });
    ask(JudgeOptions { threads: 2, ..asking(&endpoint) }, None, &["first", "a", "b"]).unwrap();
    let seen = endpoint.seen();
    let begin = seen.iter().map(|seen| seen.at).min().unwrap();
    let late = seen.iter().filter(|seen| seen.at - begin >= Duration::from_millis(900)).count();
    assert!(seen.len() == 4 && late >= 2, "{late} of {}", seen.len());
}

#[test]
fn a_refused_key_ends_all_at_once_and_says_what_to_set() {
    let endpoint = Server::start(|_, _| send("401 Unauthorized", "Incorrect API key provided: secret-key"));
    let texts: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (key, words) in [(Some("secret-key"), "it refuses the key"), (None, "it wants a key")] {
        let before = endpoint.seen().len();
        let error = ask(asking(&endpoint), key, &texts).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("BURN_VLM_JUDGE_KEY"), "{error}");
        assert!(error.contains("/v1/chat/completions"), "{error}");
        assert!(endpoint.seen().len() - before <= 4, "{}", endpoint.seen().len());
        if key.is_some() {
            assert!(!error.contains("secret-key"), "{error}");
        }
    }
    let endpoint = Server::start(|_, _| send("404 Not Found", "no such model"));
    let error = ask(asking(&endpoint), None, &["a"]).unwrap_err().to_string();
    assert!(error.contains("judge-1") && error.contains("no such model"), "{error}");
}

#[test]
fn an_endpoint_that_is_gone_is_not_asked_for_ever() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let options = JudgeOptions {
        tries: 2,
        first_wait: Duration::from_millis(1),
        threads: 1,
        ..JudgeOptions::new(format!("http://{address}/v1"), "judge-1")
    };
    let texts: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let judged = ask(options, None, &texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(judged.progress.failed, 30);
    assert_eq!(judged.progress.repeated, GIVE_UP_AFTER);
    assert!(judged.replies[29].as_ref().unwrap_err().starts_with("not asked, as the 8 before it failed"), "{judged:?}");
}

#[test]
fn requests_at_once_are_bounded() {
    let endpoint = Server::start(|_, _| slow(Duration::from_millis(40), says("8 9")));
    let texts: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    let options = JudgeOptions { threads: 3, ..asking(&endpoint) };
    ask(options, None, &texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let most = endpoint.most_at_once();
    assert!((2..=3).contains(&most), "{most}");
}

#[test]
fn addresses_and_keys_that_are_none_are_refused() {
    for (url, words) in [
        ("host/v1", "expected https://"),
        ("ftp://host/v1", "expected https://"),
        ("", "expected https://"),
        ("https://name:secret@host/v1", "BURN_VLM_JUDGE_KEY"),
    ] {
        let error = Judge::new(JudgeOptions::new(url, "m"), None).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("secret"), "{url}: {error}");
    }
    let judge = Judge::new(
        JudgeOptions::new("http://host/v1/chat/completions?token=secret", "m"),
        Key::new(KEY_VARIABLE, "k").ok(),
    )
    .unwrap();
    assert_eq!(judge.client.shown(), "http://host/v1/chat/completions");
    assert!(judge.client.note().unwrap().contains("unencrypted"));
    for key in ["", "two words", "é", "a\nb"] {
        assert!(Key::new(KEY_VARIABLE, key).unwrap_err().to_string().contains("BURN_VLM_JUDGE_KEY"), "{key:?}");
    }
}

/// A judge whose replies hold no two scores: they come back as they are, and the benchmark takes them for failures.
#[test]
fn replies_of_another_form_are_failures_of_the_judge() {
    use crate::published::{Answer, Flag};
    use crate::{PromptStyle, Rules, benchmarks};

    let endpoint = Server::start(|prompt, _| says(if prompt.contains("good") { "8 4\nSo." } else { "eight, four" }));
    let benchmark = benchmarks::find("llava_bench").unwrap();
    let items = ["good", "bad"].map(|reply| crate::plain_text::tests::item("questions", reply, "q", "a"));
    let prompts: Vec<JudgePrompt> =
        items.iter().map(|item| benchmark.judge(item, &item.index, Rules::Official).unwrap()).collect();
    let judge = Judge::new(asking(&endpoint), None).unwrap();
    let judged = judge.ask_all(&prompts, &|_| {}).unwrap();
    let answers: Vec<Answer> =
        judged.replies.into_iter().map(|reply| Answer { judge: reply.ok(), ..Answer::text("x") }).collect();
    let scored = benchmark.score(&items, &answers, Rules::Official, PromptStyle::Official);
    let scores: Vec<_> = scored.verdicts.iter().flatten().map(|verdict| verdict.score("judged")).collect();
    assert_eq!(scores, [Some(0.4), None]);
    assert_eq!(scored.verdicts[1].as_ref().unwrap().flags, [Flag::JudgeFailed]);
}
