//! What is asked of a model, wherever it runs, and what comes of it.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::log::{Key, Spent};
use crate::conversation::Role;
use crate::sample::MediaKey;

/// Stands in a reply for bytes that are no character: an endpoint that cuts a text by tokens may cut a character.
const BROKEN: char = char::REPLACEMENT_CHARACTER;

/// A conversation up to where the answer begins, and how it is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Its turns; the last is the user's.
    pub messages: Vec<Message>,
    /// How it is to be answered.
    pub settings: Settings,
}

/// A turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Words and pictures in their order.
    pub parts: Vec<Part>,
}

/// A part of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Words.
    Text(String),
    /// The bytes of a picture's file.
    Picture(Bytes),
}

/// How a question is to be answered. One answer is asked for, always: endpoints that give several count the tokens of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Sample among the likeliest tokens that together have this probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Most tokens of the answer. Without a bound, some endpoints write until the context is full.
    pub max_tokens: u32,
    /// Seed of the sampling, for endpoints that take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The form that the answer must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// Other fields of the request, for endpoints that want them; null takes one out.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub more: Map<String, Value>,
}

/// A JSON schema of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// The schema.
    pub schema: Value,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was complete.
    Stop,
    /// It had as many tokens as it may.
    Length,
    /// A filter cut it.
    Filter,
    /// The endpoint does not say, or says it of what it has not counted.
    Unknown,
}

/// What a model has said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The text; may be blank.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The model that says to have written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether it had all tokens that it may, whatever the endpoint says of its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A reply.
    Reply(Reply),
    /// This question has none.
    Failed(Trouble, String),
    /// No question would have one; why, and what to do.
    Refused(Trouble, String),
}

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// It took longer than is waited.
    Timeout,
    /// The connection was cut, or what came was not HTTP.
    Connection,
    /// There is nobody at the address.
    Unreachable,
    /// The endpoint failed (500 and above).
    Server,
    /// It turned the question away for longer than is waited (429).
    Busy,
    /// The quota of the key is spent.
    Quota,
    /// The key is refused, or missing.
    Key,
    /// It knows no such address or model.
    UnknownModel,
    /// Another model answered.
    WrongModel,
    /// The model takes no pictures.
    NoPictures,
    /// It sends to another address.
    Redirect,
    /// It does not take the question.
    BadRequest,
    /// The question is longer than the model reads.
    TooLong,
    /// A filter refused question or reply.
    Filter,
    /// The reply has no choices.
    NoChoice,
    /// The reply has no text.
    NoText,
    /// The reply is not JSON, or of another form.
    NotJson,
    /// The reply has more bytes than are allowed.
    TooLarge,
    /// The text cannot be said to this model: it holds what stands for a picture.
    Unsayable,
    /// The model failed on this machine.
    Model,
    /// As many requests or tokens were spent as may be.
    Budget,
    /// The process was asked to stop.
    Stopped,
}

/// The questions of a run, for who answers them. Any thread may take one.
pub trait Questions: Sync {
    /// The next; `None` where there is none, or no more are to be asked.
    fn next(&self) -> Option<Task>;

    /// Whether one more request may be made; it counts then. Ask it before each, tries after the first included.
    fn may_ask(&self) -> bool;

    /// What became of one, and what it has cost.
    fn answered(&self, task: Task, answer: Answer, spent: Spent);
}

/// A question of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What its record is found by.
    pub key: Key,
    /// The row, for people.
    pub row: String,
    /// What is asked.
    pub question: Question,
    /// What the check of its reply must know.
    pub note: Value,
}

/// Who answers questions: an endpoint, or a model on this machine.
pub trait Answerer {
    /// Answers questions until there are none.
    ///
    /// # Errors
    /// What ends the run beyond what was told by [`Questions::answered`].
    fn answer(&self, questions: &dyn Questions) -> Result<(), String>;
}

impl Question {
    /// One turn of the user.
    pub fn user(text: impl Into<String>, settings: Settings) -> Self {
        Self { messages: vec![Message { role: Role::User, parts: vec![Part::Text(text.into())] }], settings }
    }

    /// What its record is found by: the row, the words, the pictures (by what is in them), the model and the settings decide.
    pub fn key(&self, row: &str, model: &str) -> Key {
        let messages = self.messages.iter().map(|message| (message.role, message.parts.iter().map(Said::of).collect()));
        let messages: Vec<(Role, Vec<Said<'_>>)> = messages.collect();
        // Texts and names in lists cannot fail to be written.
        let messages = serde_json::to_string(&messages).unwrap_or_default();
        Key::of([row, &messages, model, &json!(self.settings).to_string()])
    }

    /// Whether a picture is shown.
    pub fn has_pictures(&self) -> bool {
        self.messages.iter().flat_map(|message| &message.parts).any(|part| matches!(part, Part::Picture(_)))
    }
}

/// A part as keys have it. Keys are made by the million: nothing is copied for them.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said<'a> {
    Text(&'a str),
    Picture(String),
}

impl<'a> Said<'a> {
    fn of(part: &'a Part) -> Self {
        match part {
            Part::Text(text) => Self::Text(text),
            Part::Picture(bytes) => Self::Picture(MediaKey::of(bytes).to_string()),
        }
    }
}

impl Settings {
    /// The likeliest tokens, at most so many.
    pub fn greedy(max_tokens: u32) -> Self {
        Self { temperature: 0.0, top_p: None, max_tokens, seed: None, schema: None, more: Map::new() }
    }
}

impl Reply {
    /// Whether it was cut, by what the endpoint says or by its number of tokens.
    pub fn is_cut(&self) -> bool {
        self.finish == Finish::Length || self.full
    }

    /// Whether a character of it is broken.
    pub fn is_broken(&self) -> bool {
        self.text.contains(BROKEN)
    }
}

impl Trouble {
    /// The word in logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Unreachable => "unreachable",
            Self::Server => "server_error",
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::Key => "key",
            Self::UnknownModel => "unknown_model",
            Self::WrongModel => "wrong_model",
            Self::NoPictures => "no_pictures",
            Self::Redirect => "redirect",
            Self::BadRequest => "bad_request",
            Self::TooLong => "too_long",
            Self::Filter => "content_filter",
            Self::NoChoice => "no_choice",
            Self::NoText => "no_text",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::Unsayable => "unsayable",
            Self::Model => "model",
            Self::Budget => "budget",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it lies outside of the question, which the next run asks again then.
    pub fn is_outside(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Busy
                | Self::Quota
                | Self::Key
                | Self::UnknownModel
                | Self::WrongModel
                | Self::NoPictures
                | Self::Redirect
                | Self::Budget
                | Self::Stopped
        )
    }

    /// Whether many of it in a row say that the endpoint is gone, or does not take questions of this form.
    pub fn is_of_the_endpoint(self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Connection
                | Self::Unreachable
                | Self::Server
                | Self::Busy
                | Self::BadRequest
                | Self::NoChoice
                | Self::NotJson
                | Self::Model
        )
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
