//! A request's body, field by field: what is asked, or which field is wrong.
//!
//! The rule for fields: what is known and does nothing to the text is passed over, what is known and cannot be done is refused unless it
//! asks for nothing (`tools: []`, `presence_penalty: 0`), what is unknown is refused with the name that was perhaps meant. `null` is as
//! good as absent.

use std::error::Error;
use std::path::PathBuf;

use burn_vlm_base::files::read_regular;
use burn_vlm_base::suggest;
use burn_vlm_data::constrain::Schema;
use burn_vlm_data::conversation::Role;
use burn_vlm_data::source::Limits;
use burn_vlm_data::video::Clip;
use burn_vlm_train::chat::SaidPiece;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::shown::{Given, PICTURE, VIDEO, given, shown, wrong_url};
use super::{format, twice};

/// Most pictures of a request: their pixels are held until it is answered.
const MOST_PICTURES: usize = 64;
/// Most videos of a request, each with as many frames as the server's rule chooses.
const MOST_VIDEOS: usize = 4;
/// Most stop texts.
const MOST_STOPS: usize = 16;
/// Most log-probabilities of a place, as in OpenAI's API.
const MOST_LOGPROBS: u64 = 20;
/// Highest temperature, as in OpenAI's API.
const MOST_TEMPERATURE: f64 = 2.0;
/// Characters of a client's value that a message shows.
const SHOWN: usize = 60;

/// Fields that are read.
const READ: [&str; 19] = [
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "n",
    "stop",
    "seed",
    "stream",
    "stream_options",
    "logprobs",
    "top_logprobs",
    "response_format",
    "frequency_penalty",
    "presence_penalty",
    "routing",
];

/// Fields that say nothing about the text.
const PASSED_OVER: [&str; 8] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
];

/// Fields that ask for what is not done here.
const NOT_DONE: [&str; 11] = [
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "modalities",
    "prediction",
    "reasoning_effort",
    "tool_choice",
    "tools",
    "verbosity",
    "web_search_options",
];

/// What a client asks for.
#[derive(Debug)]
pub(super) struct ChatRequest {
    /// Which of the models.
    pub(super) model: usize,
    pub(super) messages: Vec<Message>,
    pub(super) max_tokens: Option<usize>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<usize>,
    pub(super) repetition_penalty: Option<f64>,
    pub(super) n: usize,
    pub(super) stop: Vec<String>,
    pub(super) seed: Option<u64>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// Whether log-probabilities are wanted, and of how many of the likeliest tokens.
    pub(super) logprobs: Option<usize>,
    /// Whether it is asked how the experts are mixed.
    pub(super) routing: bool,
    /// What answers are kept to.
    pub(super) schema: Option<Schema>,
}

/// A message, its parts in their order.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) role: Role,
    pub(super) parts: Vec<Part>,
}

/// A part of a message.
#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    /// A picture, and the field that it stands in.
    Picture {
        field: String,
        bytes: Vec<u8>,
    },
    /// A video, and the field that it stands in.
    Video {
        field: String,
        clip: Clip,
    },
}

impl Part {
    /// The field of a picture or a video.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Picture { field, .. } | Self::Video { field, .. } => Some(field),
        }
    }

    /// As the model takes it.
    pub(super) fn piece(&self) -> SaidPiece<'_> {
        match self {
            Self::Text(text) => SaidPiece::Text(text),
            Self::Picture { bytes, .. } => SaidPiece::Picture(bytes),
            Self::Video { clip, .. } => SaidPiece::Video(clip),
        }
    }
}

/// Where pictures and videos come from that are named and not sent; what is wrong with a name is the message of an error.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// The file of this machine that is named.
    pub(super) file: &'a dyn Fn(&str) -> Result<PathBuf, String>,
    /// The bytes behind an address of http or https.
    pub(super) remote: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
}

/// Most of what a request may ask for, and who answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed<'a> {
    /// The models' names.
    pub(super) models: &'a [&'a str],
    /// Most answers of a request.
    pub(super) n: usize,
}

pub(super) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ChatRequest {
    /// Reads a body; pictures and videos that are named in it come `from` elsewhere.
    ///
    /// # Errors
    /// 404 for another model; 400 for all else, a key that stands twice among it, naming the field.
    pub(super) fn parse(body: &[u8], allowed: Allowed<'_>, from: &Sources<'_>) -> Result<Self> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let status = axum::http::StatusCode::BAD_REQUEST;
            ApiError::new(status, Some("invalid_json"), format!("the body is not JSON: {error}"))
        })?;
        let Value::Object(map) = &value else {
            let status = axum::http::StatusCode::BAD_REQUEST;
            let message = format!("the body is {}, expected an object", kind(&value));
            return Err(ApiError::new(status, Some("invalid_value"), message));
        };
        if let Some(path) = twice::find(body) {
            let path: String = path.chars().take(SHOWN).collect();
            let message = format!("`{path}` stands twice in the body: which of them counts is a guess, leave one out");
            return Err(ApiError { code: Some("repeated_parameter"), ..ApiError::field(path, message) });
        }
        let fields = Fields { at: String::new(), map };
        check_names(&fields)?;
        let model = fields.text("model")?.ok_or_else(|| fields.missing("model"))?;
        let found = allowed.models.iter().position(|name| *name == model);
        let model = found.ok_or_else(|| no_model(model, allowed.models))?;
        let temperature = fields.number("temperature", 0.0..=MOST_TEMPERATURE, "0 to 2")?;
        let top_p = fields.number("top_p", f64::MIN_POSITIVE..=1.0, "more than 0 and at most 1")?;
        let repetition_penalty = fields.number("repetition_penalty", f64::MIN_POSITIVE..=f64::MAX, "more than 0")?;
        for name in ["frequency_penalty", "presence_penalty"] {
            if fields.number(name, -2.0..=2.0, "-2 to 2")?.is_some_and(|penalty| penalty != 0.0) {
                let message = format!("`{name}` is not done here, except 0; `repetition_penalty` is");
                return Err(ApiError::unsupported(name, message));
            }
        }
        let stream = fields.flag("stream")?.unwrap_or(false);
        let n = fields.count("n", 1, allowed.n as u64)?.map_or(1, |n| n as usize);
        Ok(Self {
            model,
            messages: messages(&fields, from)?,
            max_tokens: max_tokens(&fields)?,
            temperature,
            top_p,
            top_k: fields.count("top_k", 0, u64::from(u32::MAX))?.map(|k| k as usize),
            repetition_penalty,
            n,
            stop: stop(&fields)?,
            seed: seed(&fields)?,
            stream,
            include_usage: include_usage(&fields, stream)?,
            logprobs: logprobs(&fields)?,
            routing: fields.flag("routing")?.unwrap_or(false),
            schema: format::read(&fields, body)?,
        })
    }
}

/// An object of the body, and where it is.
pub(super) struct Fields<'a> {
    /// `messages[0]`, empty for the body.
    pub(super) at: String,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object of a field.
    pub(super) fn of(at: String, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { at, map }),
            other => Err(wrong_type(&at, "an object", other)),
        }
    }

    pub(super) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// The value, if it is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn missing(&self, name: &str) -> ApiError {
        let path = self.path(name);
        let message = format!("`{path}` is missing");
        ApiError { code: Some("missing_required_parameter"), ..ApiError::field(path, message) }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.path(name), "a text", other)),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong_type(&self.path(name), "true or false", other)),
        }
    }

    fn number(&self, name: &str, range: std::ops::RangeInclusive<f64>, expected: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong_type(&self.path(name), "a number", value))?;
        if range.contains(&number) {
            return Ok(Some(number));
        }
        let path = self.path(name);
        let message = format!("`{path}` is {number}, expected {expected}");
        Err(ApiError::field(path, message))
    }

    fn count(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let path = self.path(name);
        if !value.is_number() {
            return Err(wrong_type(&path, "a whole number", value));
        }
        match value.as_u64() {
            Some(count) if (least..=most).contains(&count) => Ok(Some(count)),
            _ if most >= u64::from(u32::MAX) => {
                Err(ApiError::field(&path, format!("`{path}` is {value}, expected a whole number from {least} on")))
            }
            _ => {
                Err(ApiError::field(&path, format!("`{path}` is {value}, expected a whole number, {least} to {most}")))
            }
        }
    }

    /// Refuses names that are not among these.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let path = self.path(name);
                let hint = suggest::hint(name, known.iter().copied());
                let message = format!("unknown field `{}`{hint}", path.chars().take(SHOWN).collect::<String>());
                Err(ApiError { code: Some("unknown_parameter"), ..ApiError::field(path, message) })
            }
            None => Ok(()),
        }
    }
}

/// What JSON calls a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong_type(path: &str, expected: &str, found: &Value) -> ApiError {
    let message = format!("`{path}` is {}, expected {expected}", kind(found));
    ApiError { code: Some("invalid_type"), ..ApiError::field(path, message) }
}

/// A client's text in a message.
pub(super) fn cut(text: &str) -> String {
    let begin: String = text.chars().take(SHOWN).collect();
    if begin.len() < text.len() { format!("{begin:?}...") } else { format!("{begin:?}") }
}

/// The error for a model that is not there.
pub(super) fn no_model(name: &str, models: &[&str]) -> ApiError {
    let here: Vec<String> = models.iter().map(|model| format!("`{model}`")).collect();
    let message = format!("there is no model {}; this server has {}", cut(name), here.join(", "));
    let error = ApiError::new(axum::http::StatusCode::NOT_FOUND, Some("model_not_found"), message);
    ApiError { param: Some("model".into()), ..error }
}

/// Whether a value asks for nothing.
fn is_idle(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) if name == "modalities" => items.iter().all(|item| item == "text"),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::String(text) => matches!(name, "tool_choice" | "function_call") && text == "none",
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn check_names(fields: &Fields<'_>) -> Result<()> {
    for name in NOT_DONE {
        if fields.map.get(name).is_some_and(|value| !is_idle(name, value)) {
            let message = format!("`{name}` is not supported by this server");
            return Err(ApiError::unsupported(name, message));
        }
    }
    fields.only(&[&READ[..], &PASSED_OVER, &NOT_DONE].concat())
}

fn max_tokens(fields: &Fields<'_>) -> Result<Option<usize>> {
    let [old, new] = ["max_tokens", "max_completion_tokens"].map(|name| fields.count(name, 1, u64::from(u32::MAX)));
    match (old?, new?) {
        (Some(old), Some(new)) if old != new => {
            let message = format!("`max_tokens` is {old}, `max_completion_tokens` {new}: name one of them");
            Err(ApiError::field("max_tokens", message))
        }
        (old, new) => Ok(old.or(new).map(|most| most as usize)),
    }
}

fn stop(fields: &Fields<'_>) -> Result<Vec<String>> {
    let texts: Vec<String> = match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => {
            let text = |(at, item): (usize, &Value)| match item {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong_type(&format!("stop[{at}]"), "a text", other)),
            };
            items.iter().enumerate().map(text).collect::<Result<_>>()?
        }
        Some(other) => return Err(wrong_type("stop", "a text or a list of texts", other)),
    };
    if texts.len() > MOST_STOPS {
        return Err(ApiError::field(
            "stop",
            format!("`stop` has {} texts, at most {MOST_STOPS} are taken", texts.len()),
        ));
    }
    if texts.iter().any(String::is_empty) {
        return Err(ApiError::field("stop", "`stop` has an empty text, which would end every answer at once"));
    }
    Ok(texts)
}

fn seed(fields: &Fields<'_>) -> Result<Option<u64>> {
    let Some(value) = fields.get("seed") else { return Ok(None) };
    let signed = value.as_i64().map(|seed| seed.cast_unsigned());
    match signed.or(value.as_u64()) {
        Some(seed) => Ok(Some(seed)),
        None => Err(wrong_type("seed", "a whole number of 64 bits", value)),
    }
}

fn include_usage(fields: &Fields<'_>, stream: bool) -> Result<bool> {
    let Some(value) = fields.get("stream_options") else { return Ok(false) };
    if !stream {
        return Err(ApiError::field("stream_options", "`stream_options` is for `stream: true`"));
    }
    let options = Fields::of("stream_options".into(), value)?;
    options.only(&["include_usage", "include_obfuscation"])?;
    if options.flag("include_obfuscation")? == Some(true) {
        let path = "stream_options.include_obfuscation";
        return Err(ApiError::unsupported(path, format!("`{path}` is not supported by this server")));
    }
    Ok(options.flag("include_usage")?.unwrap_or(false))
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<usize>> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0, MOST_LOGPROBS)?;
    match (wanted, top) {
        (true, top) => Ok(Some(top.map_or(0, |top| top as usize))),
        (false, Some(1..)) => Err(ApiError::field("top_logprobs", "`top_logprobs` needs `logprobs: true`")),
        (false, _) => Ok(None),
    }
}

fn messages(fields: &Fields<'_>, from: &Sources<'_>) -> Result<Vec<Message>> {
    let list = match fields.get("messages") {
        None => return Err(fields.missing("messages")),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong_type("messages", "a list", other)),
    };
    // Before any of them is read or fetched.
    let parts = || list.iter().filter_map(|message| message.get("content")?.as_array()).flatten();
    let count = |name: &str| parts().filter(|part| part.get("type").is_some_and(|kind| kind == name)).count();
    for (name, most, what) in [("image_url", MOST_PICTURES, "pictures"), ("video_url", MOST_VIDEOS, "videos")] {
        let found = count(name);
        if found > most {
            let message = format!("{found} {what}, a request may have {most}");
            return Err(ApiError::field("messages", message));
        }
    }
    let one = |(at, value)| message(Fields::of(format!("messages[{at}]"), value)?, from);
    let messages: Vec<Message> = list.iter().enumerate().map(one).collect::<Result<_>>()?;
    let Some(last) = messages.last() else {
        return Err(ApiError::field("messages", "`messages` is empty, expected at least one of the role `user`"));
    };
    let number = messages.len() - 1;
    if last.role != Role::User {
        let message = format!(
            "the last message is of the role `{}`, expected `user`: beginnings of answers are not continued here",
            last.role.as_str()
        );
        return Err(ApiError::field(format!("messages[{number}].role"), message));
    }
    let late = messages.iter().skip(1).position(|message| message.role == Role::System);
    if let Some(at) = late.map(|at| at + 1) {
        let message = "instructions (`system`, `developer`) are taken as the first message only";
        return Err(ApiError::field(format!("messages[{at}].role"), message));
    }
    Ok(messages)
}

fn message(fields: Fields<'_>, from: &Sources<'_>) -> Result<Message> {
    let role = fields.text("role")?.ok_or_else(|| fields.missing("role"))?;
    let role = match role {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => {
            let message = format!("the role `{role}` is not supported by this server, which calls no tools");
            return Err(ApiError::unsupported(fields.path("role"), message));
        }
        other => {
            let message = format!("unknown role {}, expected `system`, `developer`, `user` or `assistant`", cut(other));
            return Err(ApiError::field(fields.path("role"), message));
        }
    };
    // An answer of openai-python comes back with these, empty.
    const EMPTY: [&str; 7] = ["name", "refusal", "annotations", "audio", "function_call", "tool_calls", "tool_call_id"];
    for name in EMPTY {
        if fields.map.get(name).is_some_and(|value| !is_idle(name, value)) {
            let path = fields.path(name);
            let message = format!("`{path}` is not supported by this server");
            return Err(ApiError::unsupported(path, message));
        }
    }
    fields.only(&[&["role", "content"], &EMPTY[..]].concat())?;
    let at = fields.path("content");
    let parts = match fields.get("content") {
        None => return Err(fields.missing("content")),
        Some(Value::String(text)) => vec![Part::Text(text.clone())],
        Some(Value::Array(list)) => {
            let one = |(number, value)| part(Fields::of(format!("{at}[{number}]"), value)?, role, from);
            list.iter().enumerate().map(one).collect::<Result<Vec<Part>>>()?
        }
        Some(other) => return Err(wrong_type(&at, "a text or a list of parts", other)),
    };
    if parts.is_empty() {
        return Err(ApiError::field(&at, format!("`{at}` is an empty list")));
    }
    Ok(Message { role, parts })
}

fn part(fields: Fields<'_>, role: Role, from: &Sources<'_>) -> Result<Part> {
    match fields.text("type")?.ok_or_else(|| fields.missing("type"))? {
        "text" => {
            fields.only(&["type", "text"])?;
            let text = fields.text("text")?.ok_or_else(|| fields.missing("text"))?;
            Ok(Part::Text(text.to_owned()))
        }
        "image_url" => {
            let image = shown(&fields, &PICTURE, role)?;
            image.only(&["url", "detail"])?;
            if let Some(detail) = image.text("detail")?.filter(|detail| !["auto", "low", "high"].contains(detail)) {
                let message = format!("unknown detail {}, expected `auto`, `low` or `high`", cut(detail));
                return Err(ApiError::field(image.path("detail"), message));
            }
            let (field, given) = given(&image, &PICTURE, from)?;
            let bytes = match given {
                Given::Bytes(bytes) => Ok(bytes),
                Given::File(path) => {
                    // The reason; where the file lies on this machine is no client's matter.
                    read_regular(&path, Limits::default().max_entry_bytes).map_err(|error| match error.source() {
                        Some(reason) => format!("cannot be read: {reason}"),
                        None => error.to_string(),
                    })
                }
            };
            let bytes = bytes.map_err(|message| wrong_url(&field, &PICTURE, &message))?;
            Ok(Part::Picture { field, bytes })
        }
        "video_url" => {
            let video = shown(&fields, &VIDEO, role)?;
            video.only(&["url"])?;
            let (field, given) = given(&video, &VIDEO, from)?;
            let clip = match given {
                Given::Bytes(bytes) => Clip::Encoded { name: "of the request".to_owned(), bytes: bytes.into() },
                Given::File(path) => Clip::File(path),
            };
            Ok(Part::Video { field, clip })
        }
        other @ ("input_audio" | "file" | "refusal") => {
            let message = format!(
                "parts of the type `{other}` are not supported by this server, `text`, `image_url` and `video_url` are"
            );
            Err(ApiError::unsupported(fields.path("type"), message))
        }
        other => {
            let message = format!("unknown type {}, expected `text`, `image_url` or `video_url`", cut(other));
            Err(ApiError::field(fields.path("type"), message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALLOWED: Allowed<'_> = Allowed { models: &["tiny", "other/tiny"], n: 8 };

    /// Nothing is found.
    const NOTHING: Sources<'_> = Sources { file: &|_| Err(String::new()), remote: &|_| Err(String::new()) };

    fn parse(body: &Value) -> Result<ChatRequest> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), [7]).unwrap();
        let file = |name: &str| match name {
            "a.png" => Ok(folder.path().join(name)),
            _ => Err(format!("no file {name:?}")),
        };
        let remote = |address: &str| match address {
            "https://example.org/there.png" => Ok(vec![8]),
            _ => Err("nothing is fetched".to_owned()),
        };
        ChatRequest::parse(body.to_string().as_bytes(), ALLOWED, &Sources { file: &file, remote: &remote })
    }

    /// A good body with some fields over it.
    fn with(more: Value) -> Value {
        let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]});
        let (Value::Object(body_map), Value::Object(more)) = (&mut body, more) else { panic!("objects") };
        body_map.extend(more);
        body
    }

    fn refused(more: Value) -> ApiError {
        let body = with(more);
        match parse(&body) {
            Err(error) => error,
            Ok(request) => panic!("{body}: {request:?}"),
        }
    }

    #[test]
    fn all_fields_are_read() {
        let picture = |url: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}});
        let video = |url: &str| json!({"type": "video_url", "video_url": {"url": url}});
        let request = parse(&with(json!({
            "messages": [
                {"role": "developer", "content": "Be short."},
                {"role": "user", "content": [picture("data:image/png;base64,AQI="), {"type": "text", "text": "What?"}]},
                {"role": "assistant", "content": "A cat.", "refusal": null, "tool_calls": null, "annotations": []},
                {"role": "user", "content": [picture("a.png"), picture("file://a.png")]},
                {"role": "user", "content": [picture("https://example.org/there.png")]},
                {"role": "user", "content": [video("data:image/gif;base64,AQI="), video("a.png")]},
            ],
            "max_completion_tokens": 7, "max_tokens": 7, "temperature": 0.5, "top_p": 1, "top_k": 0, "n": 3, "stop": ["x", "y"],
            "seed": -1, "stream": true, "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 4,
            "repetition_penalty": 1.5, "user": "me", "tools": [], "tool_choice": "none", "presence_penalty": 0,
            "logit_bias": {}, "response_format": {"type": "text"}, "modalities": ["text"], "audio": null,
            "model": "other/tiny", "routing": true,
        })))
        .unwrap();
        let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User, Role::User, Role::User]);
        assert_eq!((request.model, request.routing), (1, true));
        let Part::Picture { field, bytes } = &request.messages[1].parts[0] else { panic!("{request:?}") };
        assert_eq!((field.as_str(), bytes.as_slice()), ("messages[1].content[0].image_url.url", &[1, 2][..]));
        assert!(
            request.messages[3].parts.iter().all(|part| matches!(part, Part::Picture { bytes, .. } if bytes == &[7]))
        );
        assert!(matches!(&request.messages[4].parts[..], [Part::Picture { bytes, .. }] if bytes == &[8]));
        let clips = request.messages[5].parts.iter().map(|part| match part {
            Part::Video { clip: Clip::Encoded { bytes, .. }, .. } => bytes.len(),
            Part::Video { clip: Clip::File(path), .. } if path.ends_with("a.png") => 0,
            other => panic!("{other:?}"),
        });
        assert_eq!(clips.collect::<Vec<_>>(), [2, 0]);
        assert_eq!((request.max_tokens, request.temperature, request.top_p), (Some(7), Some(0.5), Some(1.0)));
        assert_eq!((request.top_k, request.n, request.seed), (Some(0), 3, Some(u64::MAX)));
        assert_eq!((request.stop.as_slice(), request.logprobs), (&["x".to_owned(), "y".to_owned()][..], Some(4)));
        assert_eq!((request.stream, request.include_usage, request.repetition_penalty), (true, true, Some(1.5)));
        let request = parse(&with(json!({"stop": "x", "seed": u64::MAX, "stream": null, "max_tokens": 3}))).unwrap();
        assert_eq!((request.stop.len(), request.seed, request.stream), (1, Some(u64::MAX), false));
        assert_eq!((request.max_tokens, request.n, request.logprobs), (Some(3), 1, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |value: Value| json!({"messages": [value]});
        let picture =
            |url: Value| message(json!({"role": "user", "content": [{"type": "image_url", "image_url": url}]}));
        let url = "messages[0].content[0].image_url.url";
        let video = |url: Value| message(json!({"role": "user", "content": [{"type": "video_url", "video_url": url}]}));
        let moving = "messages[0].content[0].video_url.url";
        let cases = [
            (json!({"temperature": -1}), "temperature", "-1"),
            (json!({"temperature": 2.5}), "temperature", "0 to 2"),
            (json!({"temperature": "hot"}), "temperature", "a text, expected a number"),
            (json!({"top_p": 0}), "top_p", "more than 0"),
            (json!({"top_p": 1.5}), "top_p", "1.5"),
            (json!({"top_k": -1}), "top_k", "-1"),
            (json!({"repetition_penalty": 0}), "repetition_penalty", "more than 0"),
            (json!({"max_tokens": 0}), "max_tokens", "`max_tokens` is 0"),
            (json!({"max_tokens": 1.5}), "max_tokens", "whole number"),
            (json!({"max_completion_tokens": 0}), "max_completion_tokens", "is 0"),
            (json!({"max_tokens": 1, "max_completion_tokens": 2}), "max_tokens", "name one"),
            (json!({"n": 0}), "n", "1 to 8"),
            (json!({"n": 9}), "n", "1 to 8"),
            (json!({"n": true}), "n", "true or false"),
            (json!({"seed": 0.5}), "seed", "whole number"),
            (json!({"stop": 3}), "stop", "a number"),
            (json!({"stop": ["a", 3]}), "stop[1]", "a number"),
            (json!({"stop": ""}), "stop", "empty"),
            (json!({"stop": vec!["a"; 17]}), "stop", "17"),
            (json!({"stream": 1}), "stream", "a number"),
            (json!({"stream_options": {}}), "stream_options", "stream: true"),
            (json!({"stream": true, "stream_options": {"usage": true}}), "stream_options.usage", "unknown"),
            (json!({"logprobs": 3}), "logprobs", "a number"),
            (json!({"top_logprobs": 3}), "top_logprobs", "needs `logprobs: true`"),
            (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs", "0 to 20"),
            (json!({"frequency_penalty": 0.5}), "frequency_penalty", "repetition_penalty"),
            (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema", "missing"),
            (json!({"tools": [{}]}), "tools", "not supported"),
            (json!({"tool_choice": "auto"}), "tool_choice", "not supported"),
            (json!({"modalities": ["text", "audio"]}), "modalities", "not supported"),
            (json!({"logit_bias": {"5": 1}}), "logit_bias", "not supported"),
            (json!({"max_token": 5}), "max_token", "did you mean `max_tokens`?"),
            (json!({"messages": []}), "messages", "empty"),
            (json!({"messages": "Hi"}), "messages", "a text"),
            (json!({"messages": ["Hi"]}), "messages[0]", "a text"),
            (json!({"messages": null}), "messages", "missing"),
            (json!({"model": null}), "model", "missing"),
            (json!({"model": 5}), "model", "a number"),
            (json!({"routing": 1}), "routing", "a number"),
            (message(json!({"role": "robot", "content": "Hi"})), "messages[0].role", "robot"),
            (message(json!({"role": "tool", "content": "Hi"})), "messages[0].role", "tool"),
            (message(json!({"content": "Hi"})), "messages[0].role", "missing"),
            (message(json!({"role": "user"})), "messages[0].content", "missing"),
            (message(json!({"role": "user", "content": []})), "messages[0].content", "empty"),
            (message(json!({"role": "user", "content": 5})), "messages[0].content", "a number"),
            (message(json!({"role": "user", "content": "Hi", "name": "Ada"})), "messages[0].name", "not supported"),
            (message(json!({"role": "user", "content": "Hi", "nam": 1})), "messages[0].nam", "unknown"),
            (message(json!({"role": "assistant", "content": "Hi"})), "messages[0].role", "last message"),
            (message(json!({"role": "user", "content": [{"type": "text"}]})), "messages[0].content[0].text", "missing"),
            (
                message(json!({"role": "user", "content": [{"type": "input_audio"}]})),
                "messages[0].content[0].type",
                "input_audio",
            ),
            (message(json!({"role": "user", "content": [{"type": "x"}]})), "messages[0].content[0].type", "\"x\""),
            (picture(json!("data:image/png;base64,AQI=")), "messages[0].content[0].image_url", "expected an object"),
            (picture(json!({"url": "AQI="})), url, "data:image/png"),
            (picture(json!({"url": "https://example.org/a.png"})), url, "nothing is fetched"),
            (picture(json!({"url": "ftp://example.org/a.png"})), url, "ftp"),
            (picture(json!({"url": "file:///etc/passwd"})), url, "no file \"/etc/passwd\""),
            (picture(json!({"url": " file://localhost/%C3%BC%20b.png"})), url, "no file \"/ü b.png\""),
            (picture(json!({"url": "data:text/plain;base64,AQI="})), url, "text/plain"),
            (picture(json!({"url": "data:image/png,AQI="})), url, "not base64"),
            (picture(json!({"url": "data:image/png;base64"})), url, "comma"),
            (picture(json!({"url": "data:image/png;base64,A*"})), url, "not base64"),
            (picture(json!({"url": "data:image/png;base64,"})), url, "empty"),
            (picture(json!({"url": 5})), url, "a number"),
            (picture(json!({"url": "data:video/mp4;base64,AQI="})), url, "video/mp4"),
            (video(json!("data:video/mp4;base64,AQI=")), "messages[0].content[0].video_url", "data:video/mp4;base64"),
            (video(json!({"url": "data:image/png;base64,AQI="})), moving, "image/png"),
            (video(json!({"url": "https://example.org/a.mp4"})), moving, "nothing is fetched"),
            (video(json!({"url": "b.mp4"})), moving, "no file \"b.mp4\""),
            (video(json!({"url": "a.png", "fps": 2})), "messages[0].content[0].video_url.fps", "unknown"),
            (picture(json!({"url": "a.png", "detail": "x"})), "messages[0].content[0].image_url.detail", "\"x\""),
        ];
        for (more, param, words) in cases {
            let error = refused(more.clone());
            assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(param)), "{more}: {error:?}");
            assert!(error.message.contains(words), "{more}: {error:?}");
        }
        let shows = json!([{"type": "image_url", "image_url": {"url": "a.png"}}]);
        let error = refused(json!({"messages": [{"role": "system", "content": shows}]}));
        assert_eq!(error.param.as_deref(), Some("messages[0].content[0]"));
        let hi = |role: &str| json!({"role": role, "content": "Hi"});
        let error = refused(json!({"messages": [hi("user"), hi("system"), hi("user")]}));
        assert_eq!(error.param.as_deref(), Some("messages[1].role"));
        let many = vec![json!({"type": "image_url", "image_url": {"url": "a.png"}}); MOST_PICTURES + 1];
        let error = refused(json!({"messages": [{"role": "user", "content": many}]}));
        assert!(error.message.contains("65 pictures"), "{error:?}");
        let many = vec![json!({"type": "video_url", "video_url": {"url": "a.png"}}); MOST_VIDEOS + 1];
        let error = refused(json!({"messages": [{"role": "user", "content": many}]}));
        assert!(error.message.contains("5 videos"), "{error:?}");
        let error = refused(json!({"model": "other"}));
        assert_eq!((error.status.as_u16(), error.code), (404, Some("model_not_found")));
        assert!(error.message.contains("`tiny`, `other/tiny`"), "{error:?}");
        for (body, path) in [
            (r#"{"model": "tiny", "seed": 1, "messages": [], "seed": 1}"#, "seed"),
            (
                r#"{"model": "tiny", "messages": [{"role": "user", "content": "a", "content": "b"}]}"#,
                "messages[0].content",
            ),
        ] {
            let error = ChatRequest::parse(body.as_bytes(), ALLOWED, &NOTHING).unwrap_err();
            assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(path)), "{error:?}");
            assert!(error.code == Some("repeated_parameter") && error.message.contains(path), "{error:?}");
        }
        for body in ["", "{", "[]", "3", "{\"model\": \"tiny\", }"] {
            let error = ChatRequest::parse(body.as_bytes(), ALLOWED, &NOTHING).unwrap_err();
            assert_eq!(error.status.as_u16(), 400, "{body}");
        }
    }
}
