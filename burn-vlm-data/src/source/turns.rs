//! The turns of a list, with what their content parts name themselves.

use super::conversation::text;
use super::named::{KEYS, is_there};
use super::skip::{SkipKind, SkipReason};
use super::text::{kind, parse_value};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::sample::{VIDEO_PLACEHOLDER, count_placeholders};
use burn_vlm_base::shorten::shorten;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Keys of a turn under which a picture is known to stand; turns name pictures in their content.
const PICTURES_OF_TURNS: [&str; 4] = ["image", "images", "image_path", "video"];
/// Keys of a content part besides what it is: how a picture is to be shown.
const KEYS_OF_PARTS: [&str; 9] =
    ["type", "text", "index", "detail", "min_pixels", "max_pixels", "resized_height", "resized_width", "media_type"];

/// Keys of a content part that name a video.
const KEYS_OF_VIDEOS: [&str; 3] = ["video", "path", "frames"];
/// Those of them that name nothing else.
const VIDEOS_ALONE: [&str; 2] = ["video", "frames"];

/// A picture or video that a content part names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NamedPart {
    /// A picture: a path, an address, bytes, or an object with one of these.
    Image(Value),
    /// A video: its frames.
    Video(Value),
}

/// Turns so far.
#[derive(Debug)]
pub(super) struct Listed<'f> {
    pub(super) turns: Vec<Turn>,
    /// Each with the number of the placeholder that stands for it.
    pub(super) named: Vec<(usize, NamedPart)>,
    /// Keys that were not read, where they are to be told.
    pub(super) unread: BTreeSet<String>,
    /// Keys that are not read on purpose, with the field before them.
    ignore: &'f [String],
    told: bool,
    /// Placeholders in the turns so far.
    placeholders: usize,
}

impl<'f> Listed<'f> {
    /// No turns yet.
    pub(super) fn new(ignore: &'f [String], told: bool) -> Self {
        let (turns, named, unread) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { turns, named, unread, ignore, told, placeholders: 0 }
    }

    /// Reads a list of turns, or one written as JSON in a string.
    pub(super) fn read(&mut self, field: &str, turns: &Value, max_depth: usize) -> Result<(), SkipReason> {
        match turns {
            Value::Array(turns) => turns.iter().try_for_each(|turn| self.exchange(field, turn)),
            Value::String(json) => match parse_value(json.as_bytes(), max_depth)? {
                turns @ Value::Array(_) => self.read(field, &turns, max_depth),
                _ => Err(SkipReason::malformed("the conversation is a string, expected a list of turns")),
            },
            other => {
                let detail = format!("the conversation is {}, expected a list of turns", kind(other));
                Err(SkipReason::malformed(detail))
            }
        }
    }

    fn push(&mut self, turn: Turn) {
        self.placeholders += count_placeholders(std::slice::from_ref(&turn));
        self.turns.push(turn);
    }

    /// Notes the keys of a turn that are not read.
    fn note(&mut self, field: &str, turn: &Map<String, Value>, read: [&str; 2]) -> Result<(), SkipReason> {
        for (key, value) in turn {
            let is_picture = PICTURES_OF_TURNS.contains(&key.as_str());
            // Most turns have nothing else, and training is told nothing.
            if !(is_picture || self.told) || read.contains(&key.as_str()) || !is_there(value) {
                continue;
            }
            let name = format!("{field}: {}", shorten(key).trim_matches('"'));
            if is_picture && !self.ignore.contains(&name) {
                let detail = format!(
                    "a turn has {key:?}; pictures are named by the record, or in a turn's content parts ({name:?} among \
                     the fields to ignore leaves it unread)"
                );
                return Err(SkipReason::new(SkipKind::UnreadField, detail));
            }
            if self.told {
                self.unread.insert(name);
            }
        }
        Ok(())
    }

    /// One turn, or a question and its answer (`user`, `assistant`).
    fn exchange(&mut self, field: &str, turn: &Value) -> Result<(), SkipReason> {
        let Value::Object(turn) = turn else {
            return Err(SkipReason::malformed(format!("a turn is {}, expected an object", kind(turn))));
        };
        if let (Some(user), Some(assistant)) = (turn.get("user"), turn.get("assistant")) {
            self.note(field, turn, ["user", "assistant"])?;
            self.push(Turn::user(text("user", user)?));
            self.push(Turn::assistant(text("assistant", assistant)?));
            return Ok(());
        }
        let pair = |keys: [&'static str; 2]| Some((keys, turn.get(keys[0])?, turn.get(keys[1])?));
        let Some((keys, speaker, said)) = pair(["from", "value"]).or_else(|| pair(["role", "content"])) else {
            let keys: Vec<&str> = turn.keys().map(String::as_str).collect();
            let detail = format!("a turn has {}; expected from and value, or role and content", keys.join(", "));
            return Err(SkipReason::malformed(detail));
        };
        self.note(field, turn, keys)?;
        let role = match speaker.as_str().unwrap_or_default() {
            "human" | "user" => Role::User,
            "gpt" | "assistant" | "model" | "chatgpt" => Role::Assistant,
            "system" => Role::System,
            _ => {
                let speaker = shorten(&speaker.to_string());
                let detail = format!("a turn of {speaker}; expected human or user, gpt or assistant, system");
                return Err(SkipReason::malformed(detail));
            }
        };
        let text = match said {
            Value::Array(parts) => self.parts(parts)?,
            said => text(keys[1], said)?,
        };
        self.push(Turn { role, text });
        Ok(())
    }

    /// The text of a turn's content parts.
    fn parts(&mut self, parts: &[Value]) -> Result<String, SkipReason> {
        let mut whole = String::new();
        // Placeholders up to `counted`: behind a placeholder, where none can begin before and end after it.
        let (mut placeholders, mut counted) = (self.placeholders, 0);
        for part in parts {
            match part_of(part)? {
                Part::Text(text) => whole.push_str(&text),
                Part::Media(placeholder, named) => {
                    placeholders += placeholders_in(&whole[counted..]);
                    self.named.extend(named.map(|named| (placeholders, named)));
                    placeholders += 1;
                    whole.push_str(placeholder);
                    counted = whole.len();
                    whole.push('\n');
                }
            }
        }
        Ok(whole)
    }
}

/// What a content part is.
enum Part<'v> {
    Text(Cow<'v, str>),
    /// A placeholder, which stands on a line of its own, and what it stands for where the part names that.
    Media(&'static str, Option<NamedPart>),
}

fn placeholders_in(text: &str) -> usize {
    text.matches(IMAGE_PLACEHOLDER).count() + text.matches(VIDEO_PLACEHOLDER).count()
}

/// A part of a turn's content as chat templates have it.
fn part_of(part: &Value) -> Result<Part<'_>, SkipReason> {
    let part = match part {
        Value::String(text) => return Ok(Part::Text(Cow::Borrowed(text))),
        Value::Object(part) => part,
        other => return Err(SkipReason::malformed(format!("a content part is {}, expected an object", kind(other)))),
    };
    let there = |key: &str| part.get(key).is_some_and(is_there);
    let kind = match part.get("type").and_then(Value::as_str) {
        Some(kind) => kind,
        // Qwen-VL's, where the key is the type.
        None if there("image") => "image",
        None if there("video") => "video",
        None if part.contains_key("text") => "text",
        None => "",
    };
    match kind {
        "text" | "input_text" => {
            check_alone(part, kind, KEYS.iter().chain(&VIDEOS_ALONE))?;
            match part.get("text").unwrap_or(&Value::Null) {
                Value::String(text) => Ok(Part::Text(Cow::Borrowed(text))),
                other => Ok(Part::Text(Cow::Owned(text("text", other)?))),
            }
        }
        "image" | "image_url" | "input_image" => {
            check_alone(part, kind, ["text"].iter().chain(&VIDEOS_ALONE))?;
            check_keys(part, kind, &KEYS)?;
            // The part is itself an object that names a picture.
            let named = KEYS.iter().any(|key| there(key)).then(|| NamedPart::Image(Value::Object(part.clone())));
            Ok(Part::Media(IMAGE_PLACEHOLDER, named))
        }
        "video" => {
            check_keys(part, kind, &KEYS_OF_VIDEOS)?;
            let pictures = KEYS.iter().filter(|key| !KEYS_OF_VIDEOS.contains(key));
            check_alone(part, kind, ["text"].iter().chain(pictures))?;
            let named = KEYS_OF_VIDEOS.iter().find_map(|key| part.get(*key).filter(|value| is_there(value)));
            Ok(Part::Media(VIDEO_PLACEHOLDER, named.cloned().map(NamedPart::Video)))
        }
        _ => {
            let keys: Vec<&str> = part.keys().map(String::as_str).collect();
            let found = part.get("type").map_or_else(|| "nothing".to_owned(), |found| shorten(&found.to_string()));
            let detail =
                format!("a content part of type {found} with {}; expected text, image or video", keys.join(", "));
            Err(SkipReason::malformed(detail))
        }
    }
}

/// A part is one thing: a text beside a picture would be lost, or the picture, and their order is not said.
fn check_alone<'k>(
    part: &Map<String, Value>,
    kind: &str,
    mut others: impl Iterator<Item = &'k &'k str>,
) -> Result<(), SkipReason> {
    match others.find(|key| part.get(**key).is_some_and(is_there)) {
        Some(key) => {
            let detail = format!("a content part of type {kind} has {key:?} too; expected a part of its own for it");
            Err(SkipReason::new(SkipKind::UnreadField, detail))
        }
        None => Ok(()),
    }
}

/// A part of type image or video with a key that nobody knows may name its picture there.
fn check_keys(part: &Map<String, Value>, kind: &str, names: &[&str]) -> Result<(), SkipReason> {
    let known = |key: &str| names.contains(&key) || KEYS_OF_PARTS.contains(&key);
    match part.iter().find(|(key, value)| !known(key) && value.is_string() && is_there(value)) {
        Some((key, _)) => {
            let key = shorten(key);
            let detail = format!("a content part of type {kind} has {key}; expected {}", names.join(", "));
            Err(SkipReason::new(SkipKind::UnreadField, detail))
        }
        None => Ok(()),
    }
}
