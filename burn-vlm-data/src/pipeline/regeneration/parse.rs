//! The forms in which models are asked to answer, each with its parser.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What begins a question, an answer, and the last word of an answer.
const QUESTION: &str = "question:";
const ANSWER: &str = "answer:";
const FINAL: &str = "final answer:";

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The whole reply is a caption.
    Caption,
    /// The whole reply answers the row's own question.
    Answer,
    /// The last line that begins with `Final Answer:` answers the row's own question; what stands before it is left out.
    FinalAnswer,
    /// JSON: a list of objects with `question` and `answer`, or an object with such a list in `pairs`.
    QaJson,
    /// Lines that begin with `Question:` and `Answer:` by turns; an answer goes on until the next question.
    QaLines,
}

/// A question and its answer; no question where it is the row's own, or a request for a caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The question.
    pub question: Option<String>,
    /// The answer.
    pub answer: String,
}

/// What is not of a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON.
    #[error("no JSON: {0}")]
    Json(String),
    /// JSON of another form.
    #[error("expected a list of objects with a question and an answer, found {0}")]
    Shape(&'static str),
    /// Without what the form asks for.
    #[error("no line begins with {0:?}")]
    Missing(&'static str),
    /// A question or an answer without words.
    #[error("question {0} or its answer is empty")]
    Empty(usize),
    /// An answer without a question, or a question without an answer.
    #[error("question {0} has no answer, or an answer no question")]
    Unpaired(usize),
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Caption, Self::Answer, Self::FinalAnswer, Self::QaJson, Self::QaLines];

    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caption => "caption",
            Self::Answer => "answer",
            Self::FinalAnswer => "final_answer",
            Self::QaJson => "qa_json",
            Self::QaLines => "qa_lines",
        }
    }

    /// What a reply holds; at least one pair, none of it empty.
    ///
    /// # Errors
    /// What is not of this form. Nothing is mended.
    pub fn parse(self, reply: &str) -> Result<Vec<Pair>, ParseError> {
        let alone = |answer: &str| vec![Pair { question: None, answer: answer.trim().to_owned() }];
        let pairs = match self {
            Self::Caption | Self::Answer => alone(reply),
            Self::FinalAnswer => {
                let last = marked(reply).filter(|(_, marker, _)| *marker == Some(FINAL)).last();
                let (begin, _, _) = last.ok_or(ParseError::Missing("Final Answer:"))?;
                let after = reply[begin..].trim_start_matches(MARKS);
                alone(after.get(FINAL.len()..).unwrap_or_default().trim_start_matches(MARKS))
            }
            Self::QaJson => json(reply)?,
            Self::QaLines => lines(reply)?,
        };
        let empty = |text: &str| !text.chars().any(char::is_alphanumeric);
        for (number, pair) in pairs.iter().enumerate() {
            if pair.question.as_deref().is_some_and(empty) || empty(&pair.answer) {
                return Err(ParseError::Empty(number + 1));
            }
        }
        Ok(pairs)
    }
}

/// What may stand around a marker: white space, and Markdown's emphasis.
const MARKS: [char; 5] = ['*', '_', '#', ' ', '\t'];

/// The lines of a reply: where each begins, the marker that it begins with, and the line.
fn marked(reply: &str) -> impl Iterator<Item = (usize, Option<&'static str>, &str)> {
    let mut begin = 0;
    reply.split_inclusive('\n').map(move |line| {
        let at = begin;
        begin += line.len();
        let bare = line.trim_start_matches(MARKS).to_lowercase();
        let marker = [QUESTION, ANSWER, FINAL].into_iter().find(|marker| bare.starts_with(marker));
        (at, marker, line)
    })
}

fn json(reply: &str) -> Result<Vec<Pair>, ParseError> {
    // A fence of Markdown stands around the JSON, not in it.
    let inner = reply.trim().strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inner = inner.map(|inner| inner.strip_prefix("json").unwrap_or(inner)).unwrap_or(reply);
    let value: Value = serde_json::from_str(inner).map_err(|error| ParseError::Json(error.to_string()))?;
    let list = match &value {
        Value::Array(list) => list,
        Value::Object(object) => match object.get("pairs") {
            Some(Value::Array(list)) => list,
            _ => return Err(ParseError::Shape("an object without a list `pairs`")),
        },
        _ => return Err(ParseError::Shape("another value")),
    };
    if list.is_empty() {
        return Err(ParseError::Shape("an empty list"));
    }
    let text = |pair: &Value, name: &str| pair[name].as_str().map(|text| text.trim().to_owned());
    let pairs =
        list.iter().map(|pair| Some(Pair { question: Some(text(pair, "question")?), answer: text(pair, "answer")? }));
    pairs.collect::<Option<Vec<Pair>>>().ok_or(ParseError::Shape("an element without the two as texts"))
}

fn lines(reply: &str) -> Result<Vec<Pair>, ParseError> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    for (_, marker, line) in marked(reply) {
        let bare = line.trim_start_matches(MARKS);
        match (marker, pairs.last_mut()) {
            (Some(QUESTION), last) => {
                if last.is_some_and(|(_, answer)| answer.is_none()) {
                    return Err(ParseError::Unpaired(pairs.len()));
                }
                pairs.push((rest(bare, QUESTION), None));
            }
            (Some(ANSWER), Some((_, answer @ None))) => *answer = Some(rest(bare, ANSWER)),
            (Some(ANSWER), _) => return Err(ParseError::Unpaired(pairs.len() + 1)),
            // A text of several lines.
            (_, Some((_, Some(answer)))) => answer.push_str(line),
            (_, Some((question, None))) => question.push_str(line),
            // What a model says before it begins.
            (_, None) => {}
        }
    }
    if pairs.is_empty() {
        return Err(ParseError::Missing("Question:"));
    }
    let count = pairs.len();
    let whole = pairs.into_iter().map(|(question, answer)| {
        Some(Pair { question: Some(question.trim().to_owned()), answer: answer?.trim().to_owned() })
    });
    whole.collect::<Option<Vec<Pair>>>().ok_or(ParseError::Unpaired(count))
}

/// What stands behind a marker.
fn rest(line: &str, marker: &str) -> String {
    let rest = line.get(marker.len()..).unwrap_or_default();
    rest.trim_start_matches(MARKS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(form: Form, reply: &str) -> Result<Vec<(String, String)>, ParseError> {
        let pairs = form.parse(reply)?;
        Ok(pairs.into_iter().map(|pair| (pair.question.unwrap_or_default(), pair.answer)).collect())
    }

    fn owned(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, ParseError> {
        Ok(pairs.iter().map(|(question, answer)| ((*question).to_owned(), (*answer).to_owned())).collect())
    }

    #[test]
    fn each_form_has_its_parser() {
        assert_eq!(pairs(Form::Caption, " A pear.\nOn a table. "), owned(&[("", "A pear.\nOn a table.")]));
        for (reply, answer) in [
            ("It shows 3.\nFinal Answer: 3", "3"),
            ("Final answer: 2\nNo.\n**Final Answer:** 4 pears\n", "4 pears"),
            ("FINAL ANSWER: été\nvoilà", "été\nvoilà"),
        ] {
            assert_eq!(pairs(Form::FinalAnswer, reply), owned(&[("", answer)]), "{reply}");
        }
        let two = owned(&[("What?", "A pear."), ("Where?", "On a table.\nIn a room.")]);
        for reply in [
            "Question: What?\nAnswer: A pear.\n\nQuestion: Where?\nAnswer: On a table.\nIn a room.",
            "Here they are:\n**Question:** What?\n**Answer:** A pear.\n### Question: Where?\nAnswer: On a table.\nIn a room.\n",
        ] {
            assert_eq!(pairs(Form::QaLines, reply), two, "{reply}");
        }
        for reply in [
            r#"[{"question": "What?", "answer": "A pear."}, {"question": "Where?", "answer": "On a table.\nIn a room."}]"#,
            "```json\n{\"pairs\": [{\"question\": \" What?\", \"answer\": \"A pear.\"}, {\"question\": \"Where?\", \"answer\": \"On a table.\\nIn a room.\"}]}\n```",
        ] {
            assert_eq!(pairs(Form::QaJson, reply), two, "{reply}");
        }
    }

    #[test]
    fn what_is_of_another_form_is_never_mended() {
        for (form, reply, error) in [
            (Form::FinalAnswer, "3", ParseError::Missing("Final Answer:")),
            (Form::FinalAnswer, "Final Answer: ", ParseError::Empty(1)),
            (Form::QaLines, "A pear.", ParseError::Missing("Question:")),
            (Form::QaLines, "Question: What?\nQuestion: Where?\nAnswer: x", ParseError::Unpaired(1)),
            (Form::QaLines, "Question: What?\nAnswer: x\nQuestion: Where?", ParseError::Unpaired(2)),
            (Form::QaLines, "Answer: x", ParseError::Unpaired(1)),
            (Form::QaLines, "Question: ?\nAnswer: x", ParseError::Empty(1)),
            (Form::QaJson, "[]", ParseError::Shape("an empty list")),
            (Form::QaJson, "3", ParseError::Shape("another value")),
            (Form::QaJson, r#"[{"question": "x"}]"#, ParseError::Shape("an element without the two as texts")),
            (
                Form::QaJson,
                r#"{"question": "x", "answer": "y"}"#,
                ParseError::Shape("an object without a list `pairs`"),
            ),
        ] {
            assert_eq!(pairs(form, reply), Err(error), "{reply}");
        }
        assert!(matches!(pairs(Form::QaJson, "```jso"), Err(ParseError::Json(_))));
        assert!(matches!(pairs(Form::QaJson, r#"[{"question": "x", "answer": "y"}"#), Err(ParseError::Json(_))));
    }
}
