//! Answers and options as published data writes them: texts, lists, objects, a place in a list.

use super::named::is_there;
use super::skip::{SkipKind, SkipReason};
use super::text::{kind, listing};
use burn_vlm_base::shorten::shorten;
use serde_json::{Map, Value};

/// Letters of options.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Keys of an object that hold its text.
pub(super) const TEXTS: [&str; 3] = ["answer", "text", "value"];
/// How deep lists and objects of answers lie in each other.
const DEPTH: usize = 4;

/// The answers of a value in their order: a text or number, a list, objects with `answer` (VQAv2, VizWiz) or `text` (SQuAD).
///
/// # Errors
/// What is no text and holds none; the key or type is named.
pub fn answer_texts(name: &str, value: &Value) -> Result<Vec<String>, SkipReason> {
    texts(name, value, DEPTH)
}

fn texts(name: &str, value: &Value, depth: usize) -> Result<Vec<String>, SkipReason> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Number(number) => Ok(vec![number.to_string()]),
        Value::Array(items) if depth > 0 => {
            let lists = items.iter().map(|item| texts(name, item, depth - 1)).collect::<Result<Vec<_>, _>>()?;
            Ok(lists.concat())
        }
        Value::Object(fields) if depth > 0 => match TEXTS.iter().find_map(|key| fields.get(*key)) {
            Some(text) => texts(name, text, depth - 1),
            None => {
                let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
                let detail = format!("{name} holds an object of {}; expected answer or text in it", keys.join(", "));
                Err(SkipReason::malformed(detail))
            }
        },
        other => Err(SkipReason::malformed(format!("{name} is {}, expected a string", kind(other)))),
    }
}

/// The options of a value: a list of texts or of objects with `text`, the same written into a string, an object of lists (`text` beside
/// `label`) or of letters (`{"A": "a cat"}`). What is null at the end is no option: tables have as many places in every row.
///
/// # Errors
/// What is no list of options.
pub fn option_texts(name: &str, value: &Value) -> Result<Vec<String>, SkipReason> {
    let wrong = |found: &str| {
        let detail = format!("{name} is {found}, expected a list of options");
        SkipReason::new(SkipKind::UnreadField, detail)
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(text) => listing(text).ok_or_else(|| wrong(&shorten(text))),
        Value::Array(items) => {
            let one = |item: &Value| match <[String; 1]>::try_from(answer_texts(name, item)?) {
                Ok([text]) => Ok(text),
                Err(_) => Err(wrong("a list with an item that is no text")),
            };
            let count = items.iter().rposition(|item| !item.is_null()).map_or(0, |last| last + 1);
            items[..count].iter().map(one).collect()
        }
        Value::Object(fields) => match fields.get("text") {
            Some(texts @ Value::Array(_)) => option_texts(name, texts),
            _ if fields.values().all(Value::is_null) => Ok(Vec::new()),
            _ => lettered(fields).ok_or_else(|| wrong("an object")),
        },
        other => Err(wrong(kind(other))),
    }
}

/// The texts of `A`, `B`, ... where an object has these keys and no others but for such that are null or empty.
fn lettered(fields: &Map<String, Value>) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let count = fields.values().filter(|value| is_there(value)).count();
    let texts = letters(count).map(|letter| text(fields.get(&letter).filter(|value| is_there(value))?));
    texts.collect::<Option<Vec<_>>>().filter(|texts| texts.len() == count && count > 0)
}

/// The first letters.
pub(super) fn letters(count: usize) -> impl Iterator<Item = String> {
    LETTERS.chars().take(count).map(String::from)
}

/// The most options that have a letter.
pub(super) const MOST_OPTIONS: usize = LETTERS.len();

/// The place of the right option, from 0: training and benchmarks read it by this rule alone. A JSON number is a place; of a text, a
/// letter before the option that reads so, and that before a place written out. `None` where no answer is given, or a text that means no
/// option.
///
/// # Errors
/// A number that is no place among the options; what is no answer at all, as [`answer_texts`].
pub fn option_place(name: &str, answer: &Value, options: &[String]) -> Result<Option<usize>, SkipReason> {
    Ok(given_and_place(name, answer, options)?.and_then(|(_, place)| place))
}

/// The first answer that is not blank, and the place that it means.
fn given_and_place(
    name: &str,
    answer: &Value,
    options: &[String],
) -> Result<Option<(String, Option<usize>)>, SkipReason> {
    let given = answer_texts(name, answer)?.into_iter().find(|answer| !answer.trim().is_empty());
    let Some(given) = given else { return Ok(None) };
    let text = given.trim();
    if !is_number(answer) {
        let by_letter = letters(options.len()).position(|letter| letter == text);
        let meant = by_letter.or_else(|| options.iter().position(|option| option.trim() == text));
        if meant.is_some() {
            return Ok(Some((given, meant)));
        }
    }
    match number(text).map(|place| usize::try_from(place).ok().filter(|place| *place < options.len())) {
        Some(None) => {
            let detail = format!("{name} is {text}, expected a place among {} options, from 0", options.len());
            Err(SkipReason::malformed(detail))
        }
        place => Ok(Some((given, place.flatten()))),
    }
}

/// A number of JSON, or a list of one.
fn is_number(answer: &Value) -> bool {
    answer.is_number() || answer.as_array().is_some_and(|items| matches!(items.as_slice(), [Value::Number(_)]))
}

/// The answer to a question whose options stand in the prompt with letters: a place becomes its letter; a letter, an option's text and
/// any other text stay.
pub(super) fn chosen(name: &str, answer: &Value, options: &[String]) -> Result<Option<String>, SkipReason> {
    let Some((given, place)) = given_and_place(name, answer, options)? else { return Ok(None) };
    let Some(place) = place else { return Ok(Some(given)) };
    let text = given.trim();
    let letter = letters(options.len()).nth(place);
    let stays = letter.as_deref() == Some(text) || options.get(place).is_some_and(|option| option.trim() == text);
    Ok(if stays && !is_number(answer) { Some(given) } else { letter })
}

/// A whole number, also as a column with holes writes it (`1.0`).
fn number(text: &str) -> Option<i64> {
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_in_every_form() {
        for (value, expected) in [
            (json!("red"), &["red"][..]),
            (json!(4), &["4"]),
            (json!(["", "red", null]), &["", "red"]),
            (json!([{"answer": "red", "answer_id": 1}, {"answer": "blue"}]), &["red", "blue"]),
            (json!({"text": ["red"], "answer_start": [0]}), &["red"]),
            (json!(null), &[]),
        ] {
            assert_eq!(answer_texts("answers", &value).unwrap(), expected, "{value}");
        }
        for (value, word) in [(json!([{"label": "red"}]), "label"), (json!(true), "true or false")] {
            let reason = answer_texts("answers", &value).unwrap_err().detail;
            assert!(reason.contains(word) && reason.contains("answers"), "{reason}");
        }
    }

    #[test]
    fn options_in_every_form() {
        for value in [
            json!(["a cat", "a dog"]),
            json!("['a cat', \"a dog\"]"),
            json!([{"label": "A", "text": "a cat"}, {"label": "B", "text": "a dog"}]),
            json!({"text": ["a cat", "a dog"], "label": ["A", "B"]}),
            json!({"A": "a cat", "B": "a dog"}),
            // A table has as many places in every row.
            json!({"A": "a cat", "B": "a dog", "C": null, "D": ""}),
            json!(["a cat", "a dog", null, null]),
            json!({"text": ["a cat", "a dog", null], "label": ["A", "B", null]}),
            json!("['a cat', 'a dog', None]"),
            json!("[\"a cat\", \"a dog\", null]"),
        ] {
            assert_eq!(option_texts("choices", &value).unwrap(), ["a cat", "a dog"], "{value}");
        }
        for nothing in [json!([]), json!([null, null]), json!({"A": null, "B": null})] {
            assert!(option_texts("choices", &nothing).unwrap().is_empty(), "{nothing}");
        }
        assert_eq!(option_texts("choices", &json!({"A": 1, "B": 2.5})).unwrap(), ["1", "2.5"]);
        // A hole is no end.
        let holes = [json!(["a", null, "b"]), json!({"A": "a", "B": null, "C": "b"}), json!("['a', None, 'b']")];
        let wrong = [json!("a cat or a dog"), json!(3), json!({"first": "a"}), json!([["a", "b"]])];
        for value in holes.into_iter().chain(wrong) {
            let reason = option_texts("choices", &value).unwrap_err();
            assert!(reason.kind == SkipKind::UnreadField && reason.detail.contains("choices"), "{value}: {reason}");
        }
    }

    #[test]
    fn a_place_becomes_a_letter() {
        let options = ["3".to_owned(), "a dog".to_owned(), "4".to_owned()];
        let chosen = |answer: Value| chosen("answer", &answer, &options);
        for (answer, expected) in [
            (json!(0), "A"),
            (json!("1"), "B"),
            (json!("1.0"), "B"),
            // The text of an option is that option, and no place.
            (json!("3"), "3"),
            // A number is a place, whatever the options read.
            (json!([0]), "A"),
            (json!("C"), "C"),
            (json!("a dog"), "a dog"),
            (json!("It is a dog."), "It is a dog."),
        ] {
            assert_eq!(chosen(answer.clone()).unwrap().unwrap(), expected, "{answer}");
        }
        assert_eq!(chosen(json!(null)).unwrap(), None);
        for answer in [json!(3), json!(-1), json!("7")] {
            assert!(chosen(answer.clone()).unwrap_err().detail.contains("3 options"), "{answer}");
        }
    }
}
