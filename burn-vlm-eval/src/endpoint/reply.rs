//! What came, and what it means.

use std::io::ErrorKind;
use std::time::Duration;

use burn_vlm_base::shorten::shorten_message;
use burn_vlm_data::pipeline::{Answer, Finish, Reply, Spent, Trouble};
use jiff::Timestamp;
use serde_json::Value;
use ureq::Body;
use ureq::http::Response;

use super::Client;
use super::wait::retry_after;

/// The most bytes of an answer that is an error.
const ERROR_BYTES: u64 = 64 << 10;
/// OpenAI says so, with the state of a busy endpoint, where no waiting helps.
const NO_QUOTA: &str = "insufficient_quota";
/// What llama.cpp says (503, without `Retry-After`) while it reads its model, which takes minutes: more than all tries do.
const LOADING: &str = "Loading model";
/// Servers of models without pictures say so, with the state of a server that failed (llama.cpp: 500).
const NO_PICTURES: [&str; 3] = ["image input is not supported", "does not support image", "not a multimodal model"];
/// A question that is too long, in the words of llama.cpp, OpenAI and vLLM.
const TOO_LONG: [&str; 3] = ["exceed_context_size", "context_length_exceeded", "maximum context length"];
/// OpenAI's word for a question that is wrong by itself, whatever the state.
const WRONG: &str = "invalid_request_error";
/// Azure's words for a question that its filter refuses.
const FILTERED: [&str; 2] = ["content_filter", "content_policy_violation"];
/// What may stand between a model's name and the version that answers: `gpt-4o` and `gpt-4o-2024-08-06`, `tiny` and `tiny.gguf`.
const VERSION: [char; 5] = ['-', '.', ':', '@', '_'];

/// What came of a request.
#[derive(Debug)]
pub(super) enum Came {
    Answer(Answer),
    /// It may work later; the endpoint may have said when.
    Again {
        trouble: Trouble,
        why: String,
        after: Option<Duration>,
    },
}

/// A chat completion, or what a stream of its parts comes to.
#[derive(Debug, Default)]
struct Completion {
    text: Option<String>,
    finish: Option<String>,
    model: Option<String>,
    prompt_tokens: u64,
    completion_tokens: u64,
    has_choice: bool,
}

impl Client {
    pub(super) fn read(&self, mut response: Response<Body>, spent: &mut Spent) -> Came {
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let milliseconds = header("retry-after-ms").and_then(|header| header.trim().parse().ok());
        let after = milliseconds.map(Duration::from_millis);
        let after = after.or_else(|| retry_after(header("retry-after")?, Timestamp::now()));
        let streams = header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let most = if status.is_success() { self.options.max_bytes } else { ERROR_BYTES };
        let body = response.body_mut().with_config().limit(most).read_to_vec();
        if status.is_success() {
            return match body {
                Ok(body) => self.reply(&body, streams, spent),
                Err(ureq::Error::BodyExceedsLimit(_)) => {
                    let why = format!("its reply has more than the {most} bytes that are allowed");
                    Came::Answer(Answer::Failed(Trouble::TooLarge, why))
                }
                Err(error) => self.broken(&error, "its reply was cut: "),
            };
        }
        let body = body.unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let said = format!("{status}: {}", self.clean(&text));
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let refused = |trouble, why: String| Came::Answer(Answer::Refused(trouble, format!("{why} ({said})")));
        let failed = |trouble| Came::Answer(Answer::Failed(trouble, said.clone()));
        let (model, variable) = (&self.options.model, self.options.key_variable);
        match status.as_u16() {
            401 | 403 => {
                let what = if self.key.is_some() { "refuses the key" } else { "wants a key" };
                refused(Trouble::Key, format!("it {what}; set {variable} to one that is valid there"))
            }
            404 => refused(Trouble::UnknownModel, format!("it knows no such address or no model {model:?}")),
            402 => refused(Trouble::Quota, "the quota of the key is spent".to_owned()),
            429 if says(&[NO_QUOTA]) => refused(Trouble::Quota, "the quota of the key is spent".to_owned()),
            300..=399 => refused(Trouble::Redirect, "it sends to another address, which is not followed".to_owned()),
            429 => Came::Again { trouble: Trouble::Busy, why: said, after },
            503 if says(&[LOADING]) => Came::Again { trouble: Trouble::Busy, why: said, after },
            _ if says(&NO_PICTURES) => refused(Trouble::NoPictures, format!("the model {model:?} takes no pictures")),
            _ if says(&TOO_LONG) => failed(Trouble::TooLong),
            400..=499 if says(&FILTERED) => failed(Trouble::Filter),
            _ if status.is_server_error() && says(&[WRONG]) => failed(Trouble::BadRequest),
            408 | 409 | 425 | 500..=599 => Came::Again { trouble: Trouble::Server, why: said, after },
            _ => failed(Trouble::BadRequest),
        }
    }

    /// A request that came to nothing.
    pub(super) fn broken(&self, error: &ureq::Error, begin: &str) -> Came {
        let trouble = match error {
            ureq::Error::Timeout(ureq::Timeout::Connect) => Trouble::Unreachable,
            ureq::Error::Timeout(_) => Trouble::Timeout,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => Trouble::Unreachable,
            ureq::Error::Io(error) if error.kind() == ErrorKind::TimedOut => Trouble::Timeout,
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => Trouble::Unreachable,
            _ => Trouble::Connection,
        };
        Came::Again { trouble, why: format!("{begin}{}", self.clean(&error.to_string())), after: None }
    }

    /// A chat completion, by what it is and not by what was asked for.
    fn reply(&self, body: &[u8], streams: bool, spent: &mut Spent) -> Came {
        let again = |trouble, why| Came::Again { trouble, why, after: None };
        let text = String::from_utf8_lossy(body);
        let completion = match streams {
            true => streamed(&text),
            false => serde_json::from_str::<Value>(&text).ok().map(|value| {
                let mut completion = Completion::default();
                completion.take(&value, "message");
                completion
            }),
        };
        let Some(completion) = completion else {
            return again(Trouble::NotJson, format!("expected JSON, found {:?}", self.clean(&text)));
        };
        let Completion { text: said, finish, model, prompt_tokens, completion_tokens, has_choice } = completion;
        spent.prompt_tokens += prompt_tokens;
        spent.completion_tokens += completion_tokens;
        if !has_choice {
            let found = self.clean(&text);
            return again(Trouble::NoChoice, format!("expected choices[0].message.content, found {found}"));
        }
        let asked = &self.options.model;
        if let Some(other) = model.as_deref().filter(|model| self.options.check_model && !is_version(asked, model)) {
            let other = self.clean(other);
            let why =
                format!("asked for the model {asked:?}, {other:?} answered; name that one if it is the one you mean");
            return Came::Answer(Answer::Refused(Trouble::WrongModel, why));
        }
        let finish = finish.unwrap_or_default();
        // Tokens that came to no whole character, or that were thought and not said.
        let said = said.or_else(|| (finish == "length").then(String::new));
        let Some(said) = said else {
            let trouble = if finish == "content_filter" { Trouble::Filter } else { Trouble::NoText };
            let finish = if finish.is_empty() { "none".to_owned() } else { self.clean(&finish) };
            return Came::Answer(Answer::Failed(trouble, format!("its reply has no text (finish_reason: {finish})")));
        };
        let finish = match finish.as_str() {
            "stop" | "eos" | "end_turn" => Finish::Stop,
            "length" | "max_tokens" => Finish::Length,
            "content_filter" => Finish::Filter,
            _ => Finish::Unknown,
        };
        Came::Answer(Answer::Reply(Reply { text: said, finish, model, full: false }))
    }

    /// A text from outside as it may be shown: one short line without the key.
    fn clean(&self, text: &str) -> String {
        let text = self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.hide(text));
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
        shorten_message(&words.join(" "))
    }
}

impl Completion {
    /// Takes in a completion, or a part of one.
    fn take(&mut self, value: &Value, content: &str) {
        if let Some(model) = value["model"].as_str() {
            self.model = Some(model.to_owned());
        }
        let usage = |name: &str| value["usage"][name].as_u64();
        self.prompt_tokens = usage("prompt_tokens").unwrap_or(self.prompt_tokens);
        self.completion_tokens = usage("completion_tokens").unwrap_or(self.completion_tokens);
        // One is asked for; of several in a stream the first is read.
        let choices = value["choices"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0) else { return };
        self.has_choice |= choice.is_object();
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
        }
        let said = match &choice[content]["content"] {
            Value::String(text) => Some(text.clone()),
            Value::Array(parts) => parts.iter().map(|part| part["text"].as_str()).collect::<Option<String>>(),
            _ => None,
        };
        if let Some(said) = said {
            self.text.get_or_insert_default().push_str(&said);
        }
    }
}

/// What the events of a stream come to; `None` where one is no JSON. Some servers end without `[DONE]`.
fn streamed(text: &str) -> Option<Completion> {
    let mut completion = Completion::default();
    let events = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    for event in events.filter(|event| !event.is_empty() && *event != "[DONE]") {
        completion.take(&serde_json::from_str(event).ok()?, "delta");
    }
    Some(completion)
}

/// Whether a model's name in a reply is the one that was asked for, or a version of it.
fn is_version(asked: &str, answered: &str) -> bool {
    answered.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with(VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_model() {
        for (asked, answered, same) in [
            ("gpt-4o", "gpt-4o-2024-08-06", true),
            ("tiny", "tiny.gguf", true),
            ("a/b", "a/b", true),
            ("gpt-4", "gpt-4o", false),
            ("tower", "llama", false),
            ("tower-9b", "tower", false),
        ] {
            assert_eq!(is_version(asked, answered), same, "{asked} {answered}");
        }
    }
}
