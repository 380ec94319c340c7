//! One request to an endpoint, and what its answer means.

use std::time::Duration;

use burn_vlm_base::shorten::shorten_message;
use jiff::Timestamp;
use serde_json::{Value, json};
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::key::{KEY_VARIABLE, Key};
use super::wait::retry_after;
use super::{JudgeError, JudgeOptions};
use crate::published::JudgePrompt;

/// Where chat completions are asked for.
const PATH: &str = "/chat/completions";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);
/// The most bytes of an answer that is an error.
const ERROR_BYTES: u64 = 64 << 10;
/// OpenAI says so, with the state of a busy endpoint, where no waiting helps.
const NO_QUOTA: &str = "insufficient_quota";

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    Reply(String),
    /// It may work later; the endpoint may have said when.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// It will not work with this prompt.
    Failed(String),
    /// It will not work with any.
    Refused(String),
}

/// An endpoint with its key.
#[derive(Debug)]
pub(super) struct Endpoint {
    agent: Agent,
    url: String,
    /// Without what follows a question mark, which may hold secrets.
    shown: String,
    model: String,
    key: Option<Key>,
    max_bytes: u64,
    /// The key goes unencrypted to another machine.
    exposed: bool,
}

impl Endpoint {
    pub(super) fn new(options: &JudgeOptions, key: Option<Key>) -> Result<Self, JudgeError> {
        let given = options.url.trim();
        let (path, query) = given.split_once('?').map_or((given, None), |(path, query)| (path, Some(query)));
        let path = path.trim_end_matches('/');
        let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}{PATH}") };
        let expected = "expected https://host/v1 or http://host:port/v1";
        let uri: Uri = path.parse().map_err(|_| JudgeError::Url(expected.to_owned()))?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(JudgeError::Url(expected.to_owned()));
        };
        // Whatever is shown or written would hold it.
        if authority.as_str().contains('@') {
            return Err(JudgeError::Url(format!("it holds a name or password; set {KEY_VARIABLE} instead")));
        }
        let here = is_here(authority.host());
        let mut config = Config::builder()
            .http_status_as_error(false)
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(CONNECT.min(options.timeout)))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(options.threads)
            .user_agent(concat!("burn-vlm/", env!("CARGO_PKG_VERSION")));
        if here {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url: query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")),
            exposed: key.is_some() && scheme == "http" && !here,
            shown: path,
            model: options.model.clone(),
            key,
            max_bytes: options.max_bytes,
        })
    }

    /// The address as it may be shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What a reader must know.
    pub(super) fn note(&self) -> Option<String> {
        self.exposed.then(|| format!("the key went to {} unencrypted (http); use https", self.shown))
    }

    pub(super) fn ask(&self, prompt: &JudgePrompt) -> Outcome {
        let mut messages = Vec::new();
        if let Some(system) = &prompt.system {
            messages.push(json!({ "role": "system", "content": system }));
        }
        messages.push(json!({ "role": "user", "content": prompt.text }));
        let body = json!({
            "model": self.model,
            "messages": messages,
            "temperature": f64::from(prompt.temperature_milli) / 1000.0,
            "max_tokens": prompt.max_tokens,
        });
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", key.header());
        }
        match request.send(body.to_string()) {
            Ok(response) => self.read(response),
            Err(error) => again(self.clean(&error.to_string())),
        }
    }

    fn read(&self, mut response: Response<Body>) -> Outcome {
        let status = response.status();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let after = header.and_then(|header| retry_after(header, Timestamp::now()));
        let most = if status.is_success() { self.max_bytes } else { ERROR_BYTES };
        let body = response.body_mut().with_config().limit(most).read_to_vec();
        if status.is_success() {
            return match body {
                Ok(body) => self.reply(&body),
                Err(ureq::Error::BodyExceedsLimit(_)) => {
                    Outcome::Failed(format!("its reply has more than the {most} bytes that are allowed"))
                }
                Err(error) => again(format!("its reply was cut: {}", self.clean(&error.to_string()))),
            };
        }
        let body = body.unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let said = format!("{status}: {}", self.clean(&text));
        match status.as_u16() {
            401 | 403 => {
                let what = if self.key.is_some() { "refuses the key" } else { "wants a key" };
                Outcome::Refused(format!("it {what}; set {KEY_VARIABLE} to one that is valid there ({said})"))
            }
            404 => Outcome::Refused(format!("it knows no such address or no model {:?} ({said})", self.model)),
            429 if text.contains(NO_QUOTA) => Outcome::Refused(format!("the quota of the key is spent ({said})")),
            408 | 409 | 425 | 429 | 500..=599 => Outcome::Again { why: said, after },
            300..=399 => Outcome::Refused(format!("it sends to another address, which is not followed ({said})")),
            _ => Outcome::Failed(said),
        }
    }

    /// The text of a chat completion.
    fn reply(&self, body: &[u8]) -> Outcome {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            let text = self.clean(&String::from_utf8_lossy(body));
            return again(format!("expected JSON, found {text:?}"));
        };
        let choice = &value["choices"][0];
        let content = match &choice["message"]["content"] {
            Value::String(text) => Some(text.clone()),
            Value::Array(parts) => parts.iter().map(|part| part["text"].as_str()).collect::<Option<String>>(),
            _ => None,
        };
        match content {
            Some(text) if !text.trim().is_empty() => Outcome::Reply(text),
            _ if choice.is_object() => {
                let reason = choice["finish_reason"].as_str().unwrap_or("none");
                Outcome::Failed(format!("its reply has no text (finish_reason: {})", self.clean(reason)))
            }
            _ => again(format!("expected choices[0].message.content, found {}", self.clean(&value.to_string()))),
        }
    }

    /// A text from outside as it may be shown: one short line without the key.
    fn clean(&self, text: &str) -> String {
        let text = self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.hide(text));
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
        shorten_message(&words.join(" "))
    }
}

fn again(why: String) -> Outcome {
    Outcome::Again { why, after: None }
}

/// Whether a host is this machine: no proxy leads there, and nobody listens.
fn is_here(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
