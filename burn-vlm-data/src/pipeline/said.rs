//! The text of a field: a text itself, or a conversation's last answer.

use serde_json::Value;

/// What names who speaks, what is said, and who answers, in the conversations of data.
const SPEAKERS: [&str; 2] = ["from", "role"];
const SAID: [&str; 2] = ["value", "content"];
const ANSWERERS: [&str; 3] = ["gpt", "assistant", "model"];

/// The text of a field: a string as it is; of a list of turns (`from` and `value`, or `role` and `content`) what the assistant says last.
/// `None` of anything else.
pub fn said(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(turns) => {
            let answers = |turn: &&Value| text(turn, &SPEAKERS).is_some_and(|who| ANSWERERS.contains(&who));
            turns.iter().rev().find(answers).and_then(|turn| text(turn, &SAID))
        }
        _ => None,
    }
}

/// The first of some fields that is a text.
fn text<'v>(turn: &'v Value, names: &[&str]) -> Option<&'v str> {
    names.iter().find_map(|name| turn.get(*name)?.as_str())
}
