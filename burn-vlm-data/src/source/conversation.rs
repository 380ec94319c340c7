//! From the fields of a record to turns, in the ways in which published data is written.

use super::config::Fields;
use super::skip::{SkipKind, SkipReason};
use super::text::{kind, parse_object};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::sample::{VIDEO_PLACEHOLDER, count_placeholders};
use serde_json::{Map, Value};

/// Names of fields that hold a conversation.
pub(super) const CONVERSATIONS: [&str; 3] = ["conversations", "messages", "texts"];
/// Names of fields that hold a caption.
pub(super) const CAPTIONS: [&str; 3] = ["caption", "text", "txt"];
/// Names of fields that hold the lettered options of a question.
pub(super) const OPTIONS: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
/// Names of fields that hold the options of a question as a list.
pub(super) const OPTION_LISTS: [&str; 2] = ["options", "choices"];
/// Name of the field with what is said before a question.
pub(super) const HINT: [&str; 1] = ["hint"];

/// What a question with options ends with (VLMEvalKit).
const SELECT: &str = "Please select the correct answer from the options above.";

type Record = Map<String, Value>;

/// A conversation as the record has it.
pub(super) struct Conversation {
    pub(super) turns: Vec<Turn>,
    /// The record has a text but no conversation, so that nobody could place pictures in it.
    pub(super) places_pictures: bool,
}

/// The turns of a record.
pub(super) fn conversation(record: &Record, fields: &Fields, max_depth: usize) -> Result<Conversation, SkipReason> {
    let first = |names: &[&str]| names.iter().find_map(|name| record.get(*name).filter(|value| !value.is_null()));
    let named = |name: &Option<String>| name.as_deref().and_then(|name| first(&[name]));
    let other = fields.question.is_some() || fields.caption.is_some();
    let turns = named(&fields.conversations).or_else(|| if other { None } else { first(&CONVERSATIONS) });
    // `texts` and the like may be a plain string, which is no conversation.
    if let Some(turns) = turns.filter(|turns| fields.conversations.is_some() || !is_plain(turns)) {
        return Ok(Conversation { turns: listed(turns, max_depth)?, places_pictures: true });
    }
    let question = named(&fields.question).or_else(|| first(&["question"]).filter(|_| fields.caption.is_none()));
    let turns = if let Some(question) = question {
        let answer = named(&fields.answer).or_else(|| first(&["answer", "answers"]));
        if answer.is_some_and(Value::is_number) && first(&OPTION_LISTS).is_some_and(Value::is_array) {
            let detail = "the answer is a number, so a place in the list of options, which no turn shows: a conversation \
                needs the option's text, or ask the file as a benchmark";
            return Err(SkipReason::new(SkipKind::Malformed, detail.to_owned()));
        }
        let answer = answer.and_then(answer_text).unwrap_or_default();
        vec![Turn::user(asked(text("question", question)?, record)), Turn::assistant(answer)]
    } else {
        let nothing = || {
            let detail = "no conversations, question or caption; name the fields that hold the text".to_owned();
            SkipReason::new(SkipKind::NoConversation, detail)
        };
        let caption = named(&fields.caption).or_else(|| first(&CAPTIONS)).ok_or_else(nothing)?;
        let prompt = fields.caption_prompt.clone().unwrap_or_default();
        vec![Turn::user(prompt), Turn::assistant(text("caption", caption)?)]
    };
    let places_pictures = count_placeholders(&turns) > 0;
    Ok(Conversation { turns, places_pictures })
}

/// Puts the placeholders of pictures before the first turn of the user, one a line.
pub(super) fn prepend(turns: &mut [Turn], images: usize, videos: usize) {
    if let Some(turn) = turns.iter_mut().find(|turn| turn.role == Role::User) {
        let placeholders = [vec![IMAGE_PLACEHOLDER; images], vec![VIDEO_PLACEHOLDER; videos]].concat().join("\n");
        turn.text = if turn.text.is_empty() { placeholders } else { format!("{placeholders}\n{}", turn.text) };
    }
}

/// A string that is not JSON.
fn is_plain(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim_start().starts_with('['))
}

/// The turns of a list, or of a list written as JSON in a string.
fn listed(turns: &Value, max_depth: usize) -> Result<Vec<Turn>, SkipReason> {
    match turns {
        Value::Array(turns) => turns.iter().map(exchange).collect::<Result<Vec<_>, _>>().map(|turns| turns.concat()),
        Value::String(json) => {
            // As a member of an object, so that the limits on JSON hold here too.
            let mut object = parse_object(format!("{{\"turns\":{json}}}").as_bytes(), max_depth)?;
            match object.remove("turns") {
                Some(turns @ Value::Array(_)) => listed(&turns, max_depth),
                _ => Err(SkipReason::malformed("the conversation is a string, expected a list of turns")),
            }
        }
        other => Err(SkipReason::malformed(format!("the conversation is {}, expected a list of turns", kind(other)))),
    }
}

/// One turn, or a question and its answer (`user`, `assistant`).
fn exchange(turn: &Value) -> Result<Vec<Turn>, SkipReason> {
    let Value::Object(turn) = turn else {
        return Err(SkipReason::malformed(format!("a turn is {}, expected an object", kind(turn))));
    };
    if let (Some(user), Some(assistant)) = (turn.get("user"), turn.get("assistant")) {
        return Ok(vec![Turn::user(text("user", user)?), Turn::assistant(text("assistant", assistant)?)]);
    }
    let pair = |speaker: &str, said: &str| Some((turn.get(speaker)?.clone(), turn.get(said)?.clone()));
    let Some((speaker, said)) = pair("from", "value").or_else(|| pair("role", "content")) else {
        let keys: Vec<&str> = turn.keys().map(String::as_str).collect();
        let detail = format!("a turn has {}; expected from and value, or role and content", keys.join(", "));
        return Err(SkipReason::malformed(detail));
    };
    let role = match speaker.as_str().unwrap_or_default() {
        "human" | "user" => Role::User,
        "gpt" | "assistant" | "model" | "chatgpt" => Role::Assistant,
        "system" => Role::System,
        _ => {
            let detail = format!("a turn of {speaker}; expected human or user, gpt or assistant, system");
            return Err(SkipReason::malformed(detail));
        }
    };
    let text = match &said {
        Value::Array(parts) => parts.iter().map(part).collect::<Result<Vec<_>, _>>()?.concat(),
        said => text("value", said)?,
    };
    Ok(vec![Turn { role, text }])
}

/// A part of a turn's content as chat templates have it; a picture stands on a line of its own.
fn part(part: &Value) -> Result<String, SkipReason> {
    if let Value::String(text) = part {
        return Ok(text.clone());
    }
    match part.get("type").and_then(Value::as_str) {
        Some("text") => text("text", part.get("text").unwrap_or(&Value::Null)),
        Some("image" | "image_url") => Ok(format!("{IMAGE_PLACEHOLDER}\n")),
        Some("video") => Ok(format!("{VIDEO_PLACEHOLDER}\n")),
        found => Err(SkipReason::malformed(format!("a part of type {found:?}; expected text, image or video"))),
    }
}

fn text(name: &str, value: &Value) -> Result<String, SkipReason> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(SkipReason::malformed(format!("{name} is {}, expected a string", kind(other)))),
    }
}

/// The answer; of a list the first that is not blank.
fn answer_text(answer: &Value) -> Option<String> {
    match answer {
        Value::Array(answers) => answers.iter().filter_map(answer_text).find(|answer| !answer.trim().is_empty()),
        other => text("answer", other).ok(),
    }
}

/// A question with its hint and lettered options, where it has them.
fn asked(question: String, record: &Record) -> String {
    let field =
        |name: &&str| record.get(*name).and_then(|value| text(name, value).ok()).filter(|text| !text.is_empty());
    let options: Vec<String> =
        OPTIONS.iter().filter_map(|letter| Some(format!("{letter}. {}\n", field(letter)?))).collect();
    // One option is no choice: a column that happens to be called A.
    if options.len() < 2 {
        return question;
    }
    let hint = HINT.iter().find_map(field).map(|hint| format!("Hint: {hint}\n")).unwrap_or_default();
    format!("{hint}Question: {question}\nOptions:\n{}{SELECT}", options.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn turns(record: Value) -> Result<Vec<Turn>, SkipReason> {
        let Value::Object(record) = record else { panic!("an object") };
        conversation(&record, &Fields::default(), 32).map(|conversation| conversation.turns)
    }

    #[test]
    fn every_way_of_writing_gives_the_same_turns() {
        let expected = [Turn::user("<image>\nWhat?"), Turn::assistant("A cat.")];
        for record in [
            json!({"conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]}),
            json!({"messages": [{"role": "user", "content": "<image>\nWhat?"}, {"role": "assistant", "content": "A cat."}]}),
            json!({"messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
            ]}),
            json!({"texts": [{"user": "<image>\nWhat?", "assistant": "A cat.", "source": "x"}]}),
            json!({"conversations": r#"[{"from":"human","value":"<image>\nWhat?"},{"from":"gpt","value":"A cat."}]"#}),
            json!({"question": "<image>\nWhat?", "answer": "A cat."}),
            json!({"question": "<image>\nWhat?", "answers": ["", "A cat.", "A dog."]}),
        ] {
            assert_eq!(turns(record.clone()).unwrap(), expected, "{record}");
        }
        assert_eq!(turns(json!({"caption": "A cat."})).unwrap(), [Turn::user(""), Turn::assistant("A cat.")]);
    }

    #[test]
    fn options_are_lettered() {
        let record = json!({"question": "Which?", "hint": "Look.", "A": "cat", "B": "dog", "C": "", "answer": "B"});
        let expected = "Hint: Look.\nQuestion: Which?\nOptions:\nA. cat\nB. dog\n\
                        Please select the correct answer from the options above.";
        assert_eq!(turns(record).unwrap(), [Turn::user(expected), Turn::assistant("B")]);
        let record = json!({"question": "Which?", "A": "a column of something else", "answer": "B"});
        assert_eq!(turns(record).unwrap()[0].text, "Which?");
    }

    #[test]
    fn what_is_no_conversation_is_told() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        for (record, kind, word) in [
            (json!({"id": 1}), SkipKind::NoConversation, "no conversations"),
            (json!({"conversations": 3}), SkipKind::Malformed, "a number"),
            (json!({"conversations": ["hello"]}), SkipKind::Malformed, "a string"),
            (json!({"conversations": [{"from": "narrator", "value": "x"}]}), SkipKind::Malformed, "narrator"),
            (json!({"conversations": [{"speaker": "human"}]}), SkipKind::Malformed, "speaker"),
            (json!({"conversations": [{"from": "human", "value": null}]}), SkipKind::Malformed, "null"),
            (json!({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}), SkipKind::Malformed, "audio"),
            (json!({"conversations": deep}), SkipKind::NestedTooDeep, "levels"),
        ] {
            let reason = turns(record.clone()).unwrap_err();
            assert!(reason.kind == kind && reason.detail.contains(word), "{record}: {reason}");
        }
    }

    #[test]
    fn placeholders_before_the_first_question() {
        let mut turns = vec![Turn::system("Be brief."), Turn::user("What?"), Turn::assistant("A cat.")];
        prepend(&mut turns, 2, 1);
        assert_eq!(turns[1].text, "<image>\n<image>\n<video>\nWhat?");
        let mut turns = vec![Turn::user("")];
        prepend(&mut turns, 1, 0);
        assert_eq!(turns[0].text, "<image>");
    }
}
