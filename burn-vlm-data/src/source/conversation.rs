//! From the fields of a record to turns, in the ways in which published data is written.

use super::answers::{MOST_OPTIONS, answer_texts, chosen, letters, option_texts};
use super::config::Fields;
use super::named::is_there;
use super::skip::{SkipKind, SkipReason};
use super::text::kind;
use super::turns::{Listed, NamedPart};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::sample::{VIDEO_PLACEHOLDER, count_placeholders};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Names of fields that hold a conversation.
pub(super) const CONVERSATIONS: [&str; 3] = ["conversations", "messages", "texts"];
/// Names of fields that hold a caption.
pub(super) const CAPTIONS: [&str; 3] = ["caption", "text", "txt"];
/// Names of fields that hold an answer.
pub(super) const ANSWERS: [&str; 2] = ["answer", "answers"];
/// Names of fields that hold the lettered options of a question.
pub(super) const OPTIONS: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
/// Names of fields that hold the options of a question as a list.
pub(super) const OPTION_LISTS: [&str; 2] = ["options", "choices"];
/// Names of fields that hold the place of the right option in the list, where there is no answer (A-OKVQA).
pub(super) const OPTION_PLACES: [&str; 4] = ["correct_choice_idx", "answer_index", "answer_idx", "correct_index"];
/// Name of the field with what is said before a question.
pub(super) const HINT: [&str; 1] = ["hint"];
/// Names of fields with what the system says before everything else.
pub(super) const SYSTEMS: [&str; 2] = ["system", "system_prompt"];

/// What a question with options ends with (VLMEvalKit).
const SELECT: &str = "Please select the correct answer from the options above.";

type Record = Map<String, Value>;

/// A conversation as the record has it.
pub(super) struct Conversation<'r> {
    pub(super) turns: Vec<Turn>,
    /// The record has a text but no conversation, so that nobody could place pictures in it.
    pub(super) places_pictures: bool,
    /// What the content parts of turns name themselves, each with the number of the placeholder that stands for it.
    pub(super) named: Vec<(usize, NamedPart)>,
    /// Fields of the record that it was made of.
    pub(super) read: BTreeSet<&'r str>,
    /// Keys of its turns that were not read, with the field before them: `conversations: weight`.
    pub(super) unread: BTreeSet<String>,
}

/// Finds fields, and notes which were read.
struct Reading<'r> {
    record: &'r Record,
    read: BTreeSet<&'r str>,
}

impl<'r> Reading<'r> {
    /// The first of the fields that is there and not null. It is not read yet.
    fn find(&self, names: &[&str]) -> Option<(&'r str, &'r Value)> {
        let found =
            names.iter().find_map(|name| self.record.get_key_value(*name).filter(|(_, value)| !value.is_null()));
        found.map(|(name, value)| (name.as_str(), value))
    }

    /// The field that the configuration names, else the first of the usual ones.
    fn field(&self, named: &Option<String>, usual: &[&str]) -> Option<(&'r str, &'r Value)> {
        named.as_deref().and_then(|name| self.find(&[name])).or_else(|| self.find(usual))
    }

    fn read(&mut self, (name, value): (&'r str, &'r Value)) -> (&'r str, &'r Value) {
        self.read.insert(name);
        (name, value)
    }
}

/// The turns of a record; the keys of turns that are not read only where they are to be told.
pub(super) fn conversation<'r>(
    record: &'r Record,
    fields: &Fields,
    max_depth: usize,
    told: bool,
) -> Result<Conversation<'r>, SkipReason> {
    let mut reading = Reading { record, read: BTreeSet::new() };
    let other = fields.question.is_some() || fields.caption.is_some();
    let usual: &[&str] = if other { &[] } else { &CONVERSATIONS };
    let found = reading.field(&fields.conversations, usual);
    // `texts` and the like may be a plain string, which is no conversation.
    let found = found.filter(|(_, turns)| fields.conversations.is_some() || !is_plain(turns));
    let mut listed = Listed::new(&fields.ignore, told);
    let mut places_pictures = true;
    if let Some(found) = found {
        let (name, turns) = reading.read(found);
        listed.read(name, turns, max_depth)?;
    } else {
        listed.turns = single(&mut reading, fields)?;
        places_pictures = count_placeholders(&listed.turns) > 0;
    }
    if let Some(found) = reading.field(&fields.system, &SYSTEMS) {
        let (name, value) = reading.read(found);
        add_system(&mut listed.turns, name, value)?;
    }
    let Listed { turns, named, unread, .. } = listed;
    Ok(Conversation { turns, places_pictures, named, read: reading.read, unread })
}

/// The turns of a question and its answer, or of a caption.
fn single(reading: &mut Reading<'_>, fields: &Fields) -> Result<Vec<Turn>, SkipReason> {
    let usual: &[&str] = if fields.caption.is_some() { &[] } else { &["question"] };
    if let Some(question) = reading.field(&fields.question, usual) {
        let (name, question) = reading.read(question);
        return asked(reading, fields, text(name, question)?);
    }
    let Some(caption) = reading.field(&fields.caption, &CAPTIONS) else {
        let there: Vec<&str> = reading.record.keys().map(String::as_str).collect();
        let detail = match there.as_slice() {
            [] => "the record is empty".to_owned(),
            there => format!(
                "no conversations, question or caption (there are {}); name the fields that hold the text",
                there.join(", ")
            ),
        };
        return Err(SkipReason::new(SkipKind::NoConversation, detail));
    };
    let (name, caption) = reading.read(caption);
    let prompt = fields.caption_prompt.clone().unwrap_or_default();
    let caption = answer_texts(name, caption)?.into_iter().find(|caption| !caption.trim().is_empty());
    Ok(vec![Turn::user(prompt), Turn::assistant(caption.unwrap_or_default())])
}

/// A question with its hint and lettered options, where it has them, and its answer.
fn asked(reading: &mut Reading<'_>, fields: &Fields, question: String) -> Result<Vec<Turn>, SkipReason> {
    let answer = reading.field(&fields.answer, &ANSWERS).map(|found| reading.read(found));
    let lettered: Vec<_> = OPTIONS.iter().filter_map(|letter| reading.find(&[letter])).collect();
    let lettered: Vec<_> =
        lettered.into_iter().filter_map(|(name, value)| Some((name, text(name, value).ok()?, value))).collect();
    let lettered: Vec<_> = lettered.into_iter().filter(|(_, text, _)| !text.is_empty()).collect();
    let mut options: Vec<(String, String)> = Vec::new();
    let mut answer_text = None;
    // One option is no choice: a column that happens to be called A.
    if lettered.len() >= 2 {
        for (name, text, value) in lettered {
            reading.read((name, value));
            options.push((name.to_owned(), text));
        }
    } else if let Some(found) = reading.find(&OPTION_LISTS) {
        let texts = option_texts(found.0, found.1)?;
        if texts.len() >= 2 {
            let (name, _) = reading.read(found);
            if texts.len() > MOST_OPTIONS {
                let detail = format!("{name} has {} options, at most {MOST_OPTIONS} have a letter", texts.len());
                return Err(SkipReason::new(SkipKind::UnreadField, detail));
            }
            options = letters(texts.len()).zip(texts).collect();
        }
    }
    // Where a letter is left out, it is not said which places are counted.
    if !options.is_empty() && letters(options.len()).zip(&options).all(|(letter, (name, _))| letter == *name) {
        let place = || reading.find(&OPTION_PLACES);
        if let Some(found) = answer.filter(|(_, answer)| is_there(answer)).or_else(place) {
            let (name, answer) = reading.read(found);
            let texts: Vec<String> = options.iter().map(|(_, text)| text.clone()).collect();
            answer_text = chosen(name, answer, &texts)?;
        }
    }
    let answer = match (answer_text, answer) {
        (Some(answer), _) => answer,
        (None, None) => String::new(),
        (None, Some((name, answer))) => {
            let answers = answer_texts(name, answer)?;
            answers.into_iter().find(|answer| !answer.trim().is_empty()).unwrap_or_default()
        }
    };
    if options.is_empty() {
        return Ok(vec![Turn::user(question), Turn::assistant(answer)]);
    }
    let hint = match reading.find(&HINT).filter(|(_, hint)| is_there(hint)) {
        Some(found) => {
            let (name, hint) = reading.read(found);
            format!("Hint: {}\n", text(name, hint)?)
        }
        None => String::new(),
    };
    let options: String = options.iter().map(|(letter, text)| format!("{letter}. {text}\n")).collect();
    let question = format!("{hint}Question: {question}\nOptions:\n{options}{SELECT}");
    Ok(vec![Turn::user(question), Turn::assistant(answer)])
}

/// Puts what the system says before the turns.
fn add_system(turns: &mut Vec<Turn>, name: &str, value: &Value) -> Result<(), SkipReason> {
    let Value::String(system) = value else {
        return Err(SkipReason::malformed(format!("{name} is {}, expected a string", kind(value))));
    };
    if system.trim().is_empty() {
        return Ok(());
    }
    match turns.first() {
        Some(first) if first.role == Role::System && first.text == *system => {}
        Some(first) if first.role == Role::System => {
            let detail = format!("a system text stands in the field {name:?} and another in the first turn");
            return Err(SkipReason::new(SkipKind::UnreadField, detail));
        }
        _ => turns.insert(0, Turn::system(system.clone())),
    }
    Ok(())
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

/// A text, or a number written out.
pub(super) fn text(name: &str, value: &Value) -> Result<String, SkipReason> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(SkipReason::malformed(format!("{name} is {}, expected a string", kind(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn turns(record: Value) -> Result<Vec<Turn>, SkipReason> {
        let Value::Object(record) = record else { panic!("an object") };
        conversation(&record, &Fields::default(), 32, false).map(|conversation| conversation.turns)
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
        // A place among them is a letter, as in a list; where one is left out, what is there stays.
        for (second, answer, expected) in [("B", json!(1), "B"), ("B", json!("0"), "A"), ("C", json!("1"), "1")] {
            let record = json!({"question": "Which?", "A": "cat", second: "dog", "answer": answer});
            assert_eq!(turns(record.clone()).unwrap()[1].text, expected, "{record}");
        }
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
