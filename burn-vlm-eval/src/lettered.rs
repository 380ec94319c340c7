//! Options in a list and the place of the right one, as Hugging Face's files have them, made into what tables have:
//! lettered columns and a letter.

use burn_vlm_data::source::{Row, SkipReason, option_texts};
use serde_json::Value;

use crate::published::Item;
use crate::table::{as_text, refuse};

/// Letters of options.
const LETTERS: [&str; 26] = [
    "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W",
    "X", "Y", "Z",
];
/// Columns that hold the options as a list.
const LISTS: [&str; 2] = ["options", "choices"];

/// The letter of a place, from 0.
pub fn letter(place: usize) -> Option<char> {
    LETTERS.get(place)?.chars().next()
}

/// The texts of an option list; none where there is no cell of such a column.
///
/// # Errors
/// A column of that name that holds no list of texts, or more texts than there are letters.
pub fn listed<'a>(cell: impl Fn(&str) -> Option<&'a Value>) -> Result<Option<Vec<String>>, SkipReason> {
    let Some((name, list)) = LISTS.iter().find_map(|name| Some((*name, cell(name)?))) else {
        return Ok(None);
    };
    let texts = option_texts(name, list)?;
    if texts.len() > LETTERS.len() {
        return Err(refuse(format!("{name} has {} options, expected at most {}", texts.len(), LETTERS.len())));
    }
    Ok(Some(texts))
}

/// Puts the options of a list under their letters, and the letter of the right one in the place of its number. Rows
/// whose options have columns of their own stay as they are.
///
/// A text of digits is a place too, whatever the options read: AI2D's answers are `"0"` to `"3"`.
///
/// # Errors
/// A list that is none of texts, an answer that is no place in it.
pub fn spread(row: &mut Row) -> Result<(), SkipReason> {
    if LETTERS.iter().any(|letter| row.fields.contains_key(*letter)) {
        return Ok(());
    }
    let Some(texts) = listed(|name| row.fields.get(name))? else { return Ok(()) };
    LISTS.iter().for_each(|name| drop(row.fields.remove(*name)));
    if let Some(answer) = row.fields.get("answer").and_then(as_text) {
        let letter = place(&answer, texts.len())?;
        row.fields.insert("answer".into(), letter.into());
    }
    for (letter, text) in LETTERS.iter().zip(texts) {
        row.fields.insert((*letter).into(), Value::String(text));
    }
    Ok(())
}

/// The options as lmms-eval's tasks write them: a line each, `A. red`.
pub fn lines(item: &Item) -> String {
    let lines: Vec<String> = item.options.iter().map(|(letter, text)| format!("{letter}. {text}")).collect();
    lines.join("\n")
}

/// The letter that an answer means among some options: a place, from 0, or a letter.
fn place(answer: &str, options: usize) -> Result<&'static str, SkipReason> {
    let given = answer.trim();
    let letters = LETTERS.get(..options).unwrap_or_default();
    let by_place = given.parse::<usize>().ok().and_then(|place| letters.get(place));
    let found = by_place.or_else(|| letters.iter().find(|letter| **letter == given)).copied();
    found.ok_or_else(|| refuse(format!("answer {given:?} is no place among {options} options, from 0")))
}

#[cfg(test)]
mod tests {
    use burn_vlm_data::source::Place;
    use serde_json::json;

    use super::*;

    fn row(fields: Value) -> Row {
        let Value::Object(fields) = fields else { unreachable!("tests give objects") };
        let file = std::path::Path::new("a.parquet").into();
        Row {
            id: "a:0".into(),
            file,
            place: Place::Row(0),
            fields,
            media: Vec::new(),
            language: None,
            others: Default::default(),
        }
    }

    #[test]
    fn lists_get_letters() {
        for (answer, letter) in [(json!("1"), "B"), (json!(1), "B"), (json!("C"), "C"), (json!(" 0 "), "A")] {
            // The second option reads as the place of the first: the place counts.
            let mut row = row(json!({"options": ["x", "0", "1"], "answer": answer}));
            spread(&mut row).unwrap();
            assert_eq!(Value::Object(row.fields), json!({"A": "x", "B": "0", "C": "1", "answer": letter}));
        }
        let lettered = json!({"A": "x", "B": "y", "answer": "1", "options": ["z"]});
        let mut row = row(lettered.clone());
        spread(&mut row).unwrap();
        assert_eq!(Value::Object(row.fields), lettered);
    }

    #[test]
    fn answers_outside_the_options_are_refused() {
        for answer in [json!(3), json!(-1), json!("D"), json!("x"), json!("1.5")] {
            let reason = spread(&mut row(json!({"choices": ["x", "y", "z"], "answer": answer}))).unwrap_err();
            assert!(reason.detail.contains("3 options"), "{answer}: {reason}");
        }
        let many: Vec<String> = (0..27).map(|number| number.to_string()).collect();
        for (list, word) in [(json!(7), "a list"), (json!(many), "at most 26")] {
            let reason = spread(&mut row(json!({"choices": list, "answer": 0}))).unwrap_err();
            assert!(reason.detail.contains(word), "{reason}");
        }
    }
}
